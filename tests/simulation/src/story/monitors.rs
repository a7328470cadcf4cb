//! Monitors of the policies, kinds of findings and overwritten artifacts. They are drawn apart from
//! the rest of a story.

use serde::Serialize;

use super::{Act, Plan, What};
use crate::dice::Dice;

/// What a monitoring report has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// A feature drifted.
    Drift,
    /// A metric of quality crossed its limit.
    Quality,
    /// A column is missing.
    Schema,
    /// A column is missing, and another drifted.
    Mixed,
    /// Values are missing.
    Values,
    /// The job failed.
    Failed,
}

impl Report {
    /// The checks that were violated, by Model Monitor's names.
    pub(crate) fn checks(self) -> &'static [&'static str] {
        match self {
            Self::Drift => &["baseline_drift_check"],
            Self::Quality => &["LessThanThreshold"],
            Self::Schema => &["missing_column_check"],
            Self::Mixed => &["missing_column_check", "baseline_drift_check"],
            Self::Values => &["completeness_check"],
            Self::Failed => &[],
        }
    }
}

/// Which monitors a pipeline's policy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Watching {
    /// None.
    No,
    /// Of data, compared with files that are there.
    Files,
    /// Of data, compared with what a job makes.
    Job,
}

pub(super) fn add(plans: &mut [Plan], acts: &mut Vec<Act>, is_plain: bool, dice: &mut Dice) {
    for plan in plans {
        plan.watching = match dice.below(10) {
            0 => Watching::Files,
            1 => Watching::Job,
            _ => Watching::No,
        };
        let trained = acts.iter().filter(|a| a.plan == plan.index);
        let trained = trained.filter_map(|a| match a.what {
            What::Train { job, .. } => Some((a.at, job)),
            _ => None,
        });
        let trained: Vec<(i64, u32)> = trained.collect();
        if !is_plain && dice.chance(100) {
            let (at, job) = dice.pick(&trained);
            let later = i64::try_from(dice.between(60, 6 * 3_600)).unwrap_or(60);
            acts.push(Act {
                at: at + later,
                plan: plan.index,
                what: What::Overwrite { job },
            });
        }
    }
    for act in acts {
        if let What::Violation { report, .. } = &mut act.what {
            *report = dice.pick(&[
                Report::Drift,
                Report::Drift,
                Report::Drift,
                Report::Quality,
                Report::Schema,
                Report::Mixed,
                Report::Values,
                Report::Failed,
            ]);
        }
    }
}
