//! The gate: whether a candidate's metrics are good enough, alone and beside the champion's.
//!
//! Every bound of the policy gives one check, and every check says in words why it passed or not:
//! the sentence reaches people. Values are compared at the precision that `SageMaker` reports them
//! with (`FinalMetricDataList` holds 32-bit numbers: 0.9 comes as 0.89999998).

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::event::Approval;
use crate::mutation::Mutation;
use crate::pipeline::{ApprovalRule, Gate, Requirement};

mod evaluation;

#[cfg(test)]
mod tests;

pub use evaluation::{GateError, metrics_from_evaluation};

/// Metrics by name.
pub type Metrics = BTreeMap<String, f64>;

/// How many names a reason lists.
const LISTED: usize = 10;

/// Two values that differ by less than this, relatively, are the same 32-bit number.
const PRECISION: f64 = 1e-7;

/// One bound of the policy, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The metric.
    pub metric: String,
    /// The candidate's value, if a finite one was reported.
    pub value: Option<f64>,
    /// The champion's value, if the bound looks at it and there is a finite one.
    pub champion: Option<f64>,
    /// The bound in words: "at least 0.92".
    pub rule: String,
    /// Whether it holds.
    pub passed: bool,
    /// Why, as a clause for people: "validation:auc is 0.871, below the required 0.92".
    pub why: String,
}

/// What the gate found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The checks, in the policy's order; none if the policy requires nothing.
    pub checks: Vec<Check>,
}

impl Judgement {
    /// Whether every check holds; so does a gate without requirements.
    pub fn passed(&self) -> bool {
        Mutation::GateOpen.is_on() || self.checks.iter().all(|check| check.passed)
    }

    /// What the candidate is registered as.
    pub fn approval(&self, rule: ApprovalRule) -> Approval {
        match (self.passed(), rule) {
            (false, _) => Approval::Rejected,
            (true, ApprovalRule::Automatic) => Approval::Approved,
            (true, ApprovalRule::Manual) => Approval::PendingManualApproval,
        }
    }

    /// One sentence for people, without a full stop: what failed, or else what held.
    pub fn sentence(&self) -> String {
        if self.checks.is_empty() {
            return "the policy requires nothing of the metrics".to_owned();
        }
        let passed = self.passed();
        let told: Vec<&str> = self
            .checks
            .iter()
            .filter(|c| c.passed == passed)
            .map(|c| c.why.as_str())
            .collect();
        let mut sentence = told.iter().take(3).copied().collect::<Vec<_>>().join("; ");
        if told.len() > 3 {
            // Writing to a string does not fail.
            let _ = write!(sentence, "; and {} more", told.len() - 3);
        }
        sentence
    }
}

/// Judges a candidate's metrics, beside those of the champion if there is one.
pub fn judge(gate: &Gate, candidate: &Metrics, champion: Option<&Metrics>) -> Judgement {
    let checks = gate
        .require
        .iter()
        .flat_map(|required| checks(required, candidate, champion))
        .collect();
    Judgement { checks }
}

/// The checks of one requirement, one for each bound.
fn checks(required: &Requirement, candidate: &Metrics, champion: Option<&Metrics>) -> Vec<Check> {
    let bounds: Vec<Bound> = [
        required.at_least.map(Bound::AtLeast),
        required.at_most.map(Bound::AtMost),
        required.champion_minus_at_most.map(Bound::NotBelowChampion),
        required.champion_plus_at_most.map(Bound::NotAboveChampion),
    ]
    .into_iter()
    .flatten()
    .collect();
    let bounds = if bounds.is_empty() {
        vec![Bound::Reported]
    } else {
        bounds
    };
    bounds
        .iter()
        .map(|bound| bound.check(&required.metric, candidate, champion))
        .collect()
}

/// One bound of a requirement.
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    NotBelowChampion(f64),
    NotAboveChampion(f64),
    Reported,
}

impl Bound {
    fn check(&self, metric: &str, candidate: &Metrics, champion: Option<&Metrics>) -> Check {
        let value = candidate.get(metric).copied().filter(|v| v.is_finite());
        let theirs = match self {
            Self::NotBelowChampion(_) | Self::NotAboveChampion(_) => champion
                .and_then(|m| m.get(metric))
                .copied()
                .filter(|v| v.is_finite()),
            _ => None,
        };
        let (passed, why) = match value {
            None => (false, absent(metric, candidate)),
            Some(value) => self.holds(metric, value, theirs, champion.is_some()),
        };
        Check {
            metric: metric.to_owned(),
            value,
            champion: theirs,
            rule: self.rule(),
            passed,
            why,
        }
    }

    fn rule(&self) -> String {
        match self {
            Self::AtLeast(bound) => format!("at least {}", short(*bound)),
            Self::AtMost(bound) => format!("at most {}", short(*bound)),
            Self::NotBelowChampion(slack) => {
                format!("at most {} below the champion's", short(*slack))
            }
            Self::NotAboveChampion(slack) => {
                format!("at most {} above the champion's", short(*slack))
            }
            Self::Reported => "reported".to_owned(),
        }
    }

    fn holds(
        &self,
        metric: &str,
        value: f64,
        champion: Option<f64>,
        has_champion: bool,
    ) -> (bool, String) {
        let is = format!("{metric} is {}", short(value));
        let against_champion = |passed: &dyn Fn(f64) -> bool, slack: f64, side: &str| {
            let Some(theirs) = champion else {
                let whose = if has_champion {
                    "the champion has no such metric to compare with"
                } else {
                    "there is no champion to compare with"
                };
                return (true, format!("{is}, and {whose}"));
            };
            let theirs_is = format!("the champion's {}", short(theirs));
            if passed(theirs) {
                (
                    true,
                    format!("{is}, not more than {} {side} {theirs_is}", short(slack)),
                )
            } else {
                (
                    false,
                    format!("{is}, more than {} {side} {theirs_is}", short(slack)),
                )
            }
        };
        match *self {
            Self::AtLeast(bound) if reaches(value, bound) => {
                (true, format!("{is}, at least {}", short(bound)))
            }
            Self::AtLeast(bound) => (false, format!("{is}, below the required {}", short(bound))),
            Self::AtMost(bound) if reaches(bound, value) => {
                (true, format!("{is}, at most {}", short(bound)))
            }
            Self::AtMost(bound) => (false, format!("{is}, above the allowed {}", short(bound))),
            Self::NotBelowChampion(slack) => {
                against_champion(&|theirs| reaches(value, theirs - slack), slack, "below")
            }
            Self::NotAboveChampion(slack) => {
                against_champion(&|theirs| reaches(theirs + slack, value), slack, "above")
            }
            Self::Reported => (true, format!("{is}, reported")),
        }
    }
}

/// Whether `a` is `b` or more, at the precision of the report; never if either is not a number.
fn reaches(a: f64, b: f64) -> bool {
    a >= b - PRECISION * a.abs().max(b.abs())
}

/// Why a metric can't be judged, with what was reported instead.
fn absent(metric: &str, candidate: &Metrics) -> String {
    if let Some(value) = candidate.get(metric) {
        return format!("{metric} is {value}, which is not a number to judge by");
    }
    if candidate.is_empty() {
        return format!("{metric} was not reported, nor was any other metric");
    }
    // The nearest names first: most often a name is misspelt.
    let mut names: Vec<&str> = candidate.keys().map(String::as_str).collect();
    names.sort_by(|a, b| strsim::jaro(b, metric).total_cmp(&strsim::jaro(a, metric)));
    let mut listed = names
        .iter()
        .take(LISTED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > LISTED {
        let _ = write!(listed, " and {} more", names.len() - LISTED);
    }
    format!("{metric} was not reported (reported: {listed})")
}

/// A number with up to seven digits: what a 32-bit number can be trusted for.
fn short(value: f64) -> String {
    format!("{value:.6e}")
        .parse::<f64>()
        .unwrap_or(value)
        .to_string()
}
