//! The ledger, with DynamoDB's conditions, and what is remembered of it for the checks.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::audit::{Entry, Verifier};
use tidegate_core::head::Head;
use tidegate_core::ledger::{AppliedPolicy, Commit, CommitError, JobRecord, Pending, Route};
use tidegate_core::mutation::Mutation;
use tidegate_core::name::{EventId, GroupName, JobName, RolloutId};
use tidegate_core::rollout::Rollout;

use crate::town::HOUR;

/// How long the ledger keeps an event's marker, days: `shared/aws/src/ledger/commit.rs`.
const MARKER_DAYS: i64 = 30;

/// One pipeline's partition.
#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) head: Head,
    pub(crate) policy: Option<AppliedPolicy>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) pending: BTreeMap<String, Pending>,
    pub(crate) jobs: BTreeMap<JobName, JobRecord>,
    pub(crate) finished: BTreeMap<RolloutId, Rollout>,
    /// Markers, and when they were written.
    pub(crate) seen: BTreeMap<EventId, i64>,
    pub(crate) verifier: Verifier,
    pub(crate) memory: Memory,
}

/// What the checks remember.
#[derive(Default)]
pub(crate) struct Memory {
    /// The calls that the audit trail names.
    pub(crate) explained: BTreeSet<String>,
    /// Every event that ever took effect.
    pub(crate) events: BTreeSet<EventId>,
    /// Every rollout that ever ran.
    pub(crate) rollouts: BTreeSet<RolloutId>,
    /// Notices that were decided on.
    pub(crate) notices: BTreeSet<String>,
    /// When retrainings were decided on.
    pub(crate) retrainings: Vec<jiff::Timestamp>,
    /// Looks at a rollout that goes back while its endpoint was ready and the canary had traffic.
    pub(crate) looks: BTreeMap<RolloutId, u32>,
    /// When a rollout began to go back, by the clock.
    pub(crate) going_back: BTreeMap<RolloutId, i64>,
    /// Calls that were accepted, by rollout and what for.
    pub(crate) calls: BTreeMap<(String, String), u32>,
}

impl Partition {
    /// Whether an event's marker is there still.
    pub(crate) fn is_seen(&self, event: &EventId, now: i64) -> bool {
        let days = if Mutation::MarkerExpiresEarly.is_on() {
            10
        } else {
            MARKER_DAYS
        };
        let written = self.seen.get(event);
        written.is_some_and(|at| now - at < days * 24 * HOUR)
    }
}

/// The whole table.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) routes: BTreeMap<Route, GroupName>,
    pub(crate) groups: BTreeMap<GroupName, Partition>,
    /// Calls that were committed before they may be made, in words.
    pub(crate) committed: BTreeSet<u64>,
}

impl Books {
    /// Whether a commit may be written, as DynamoDB's conditions have it.
    pub(crate) fn refuses(
        &self,
        group: &GroupName,
        commit: &Commit,
        now: i64,
    ) -> Option<CommitError> {
        for route in &commit.routes {
            if let Some(other) = self.routes.get(route).filter(|g| *g != group) {
                return Some(CommitError::Taken {
                    route: route.clone(),
                    group: other.to_string(),
                });
            }
        }
        let (version, is_seen) = match self.groups.get(group) {
            None => (0, false),
            Some(partition) => (
                partition.head.version,
                commit
                    .seen
                    .as_ref()
                    .is_some_and(|e| partition.is_seen(e, now)),
            ),
        };
        if is_seen && !Mutation::IgnoreMarker.is_on() {
            return Some(CommitError::Seen);
        }
        let is_known = |job: &JobName| {
            let partition = self.groups.get(group);
            partition.is_some_and(|p| p.jobs.contains_key(job))
        };
        if commit.new_jobs.iter().any(is_known) {
            return Some(CommitError::Lost);
        }
        (version != commit.expected && !Mutation::DropVersionCondition.is_on())
            .then_some(CommitError::Lost)
    }

    /// Writes a commit.
    pub(crate) fn write(&mut self, group: &GroupName, commit: &Commit, now: i64) {
        let partition = self.groups.entry(group.clone()).or_default();
        partition.head = commit.head.clone();
        // Its time is the decision's, which may be days before the clock's.
        let at = commit.head.now.map_or(now, jiff::Timestamp::as_millisecond);
        partition.seen.extend(commit.seen.clone().map(|e| (e, at)));
        partition.entries.extend(commit.entries.iter().cloned());
        for id in &commit.done {
            partition.pending.remove(id);
        }
        for pending in &commit.add {
            partition
                .pending
                .insert(pending.id.clone(), pending.clone());
        }
        for job in &commit.jobs {
            partition.jobs.insert(job.job.clone(), job.clone());
        }
        for rollout in &commit.finished {
            partition
                .finished
                .insert(rollout.id.clone(), rollout.clone());
        }
        if commit.policy.is_some() {
            partition.policy.clone_from(&commit.policy);
        }
        for route in &commit.dropped_routes {
            self.routes.remove(route);
        }
        for route in &commit.routes {
            self.routes.insert(route.clone(), group.clone());
        }
    }
}
