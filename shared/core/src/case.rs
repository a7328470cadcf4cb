//! What a decision rests on.

use jiff::Timestamp;

use crate::facts::Facts;
use crate::ledger::{JobRecord, Lane, Snapshot};
use crate::pipeline::{Mode, Policy, RolledBackPackage, Stage};
use crate::rollout::Rollout;

/// What a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Policy, state and effects to do.
    pub snapshot: &'a Snapshot,
    /// What became of the event's training job, if it is one's.
    pub job: Option<&'a JobRecord>,
    /// What AWS said.
    pub facts: &'a Facts,
    /// The time of the decision.
    pub now: Timestamp,
}

impl<'a> Case<'a> {
    pub(crate) fn policy(&self) -> &'a Policy {
        &self.snapshot.applied.policy
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = &'a Stage> {
        self.policy().stages.iter()
    }

    /// Whether Tidegate only says what it would do.
    pub(crate) fn observes(&self) -> bool {
        self.policy().pipeline.mode == Mode::Observe
    }

    pub(crate) fn rejects_rolled_back(&self) -> bool {
        self.policy().pipeline.rolled_back_package == RolledBackPackage::Reject
    }

    /// Whether effects of the rollout are still to be done.
    pub(crate) fn is_busy(&self, rollout: &Rollout) -> bool {
        let lane = Lane::Rollout(rollout.id.clone());
        self.snapshot.pending.iter().any(|p| p.lane == lane)
    }
}
