//! Monitors of the policies and what people do to them, kinds of findings and overwritten artifacts. They are drawn apart from
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

/// What a person does to a monitor of Tidegate's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ByHand {
    /// Stops it, if it runs.
    Stop,
    /// Starts it, if it is stopped.
    Start,
    /// Deletes it.
    Delete,
}

pub(super) fn add(plans: &mut [Plan], acts: &mut Vec<Act>, is_plain: bool, dice: &mut Dice) {
    for plan in plans.iter_mut() {
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
    if !is_plain {
        for plan in plans.iter().filter(|p| p.watching != Watching::No) {
            by_hand(plan, acts, dice);
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

/// Some times, at any time from the first training on to a day after the last act.
fn by_hand(plan: &Plan, acts: &mut Vec<Act>, dice: &mut Dice) {
    let times = acts.iter().filter(|a| a.plan == plan.index).map(|a| a.at);
    let last = times.max().unwrap_or_default().unsigned_abs();
    for _ in 0..dice.below(4) {
        let at = i64::try_from(dice.between(3_600, last + 24 * 3_600)).unwrap_or(3_600);
        let stage = usize::try_from(dice.below(plan.stages as u64)).unwrap_or(0);
        let does = dice.pick(&[ByHand::Stop, ByHand::Stop, ByHand::Start, ByHand::Delete]);
        let what = What::Monitor { stage, does };
        acts.push(Act {
            at,
            plan: plan.index,
            what,
        });
        if does == ByHand::Delete && dice.chance(500) {
            let again = at + i64::try_from(dice.between(1_800, 40 * 3_600)).unwrap_or(1_800);
            let what = What::Monitor { stage, does };
            acts.push(Act {
                at: again,
                plan: plan.index,
                what,
            });
        }
    }
}
