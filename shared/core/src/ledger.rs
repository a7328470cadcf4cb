//! The port to the ledger: one partition per model package group, changed by one transaction a
//! decision.
//!
//! | sort key | item |
//! |---|---|
//! | `audit#<n>` | an entry of the audit trail |
//! | `effect#<id>` | an effect that is to be done |
//! | `head` | the state ([`Head`]), with the version that every commit is conditioned on |
//! | `head#policy` | the policy and its version; beside `head` so that one query reads both and the effects |
//! | `job#<training job>` | what became of a training job |
//! | `rollout#<id>` | a finished rollout, with its minutes |
//! | `seen#<event id>` | an event that took effect; expires |
//!
//! Routes lie in partitions of their own, `route#<kind>`, sort key the name.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::Entry;
use crate::gate::{Judgement, Metrics};
use crate::head::Head;
use crate::name::{EventId, GroupName, JobName, PackageVersion, RolloutId, ScheduleName};
use crate::pipeline::Policy;
use crate::rollout::Rollout;
use crate::world::Effect;

/// The ledger.
pub trait Ledger: Sync {
    /// The group that a name belongs to.
    fn route(
        &self,
        route: &Route,
    ) -> impl Future<Output = Result<Option<GroupName>, LedgerError>> + Send;

    /// All routes of the kind of `kind_of` (its name is not looked at), in the order of names; at
    /// most 10,000.
    fn routes(
        &self,
        kind: RouteKind,
    ) -> impl Future<Output = Result<Vec<(Route, GroupName)>, LedgerError>> + Send;

    /// What a decision starts from, strongly consistent; none if no policy was applied.
    fn load(
        &self,
        group: &GroupName,
        event: Option<&EventId>,
    ) -> impl Future<Output = Result<Option<Snapshot>, LedgerError>> + Send;

    /// Up to `limit` (1 to 10,000) groups with effects to do or with a rollout under way or waiting;
    /// one that became so a moment ago may be missing.
    fn unfinished(
        &self,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<GroupName>, LedgerError>> + Send;

    /// What became of a training job.
    fn job(
        &self,
        group: &GroupName,
        job: &JobName,
    ) -> impl Future<Output = Result<Option<JobRecord>, LedgerError>> + Send;

    /// Takes away effects that are done and that no decision follows from, without a race for the
    /// state; an id that is not there any more is fine. At most 100.
    fn forget(
        &self,
        group: &GroupName,
        done: &[String],
    ) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Writes a decision, all or nothing.
    fn commit(
        &self,
        group: &GroupName,
        commit: &Commit,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Lets others go first after so many lost races (1 and up), for as long as [`wait_after`] says.
    fn give_way(&self, races: u32) -> impl Future<Output = ()> + Send;

    /// Up to `limit` (1 to 1,000) audit entries after the entry `after`, oldest first.
    fn entries(
        &self,
        group: &GroupName,
        after: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Entry>, LedgerError>> + Send;

    /// Up to `limit` (1 to 100) finished rollouts, newest first.
    fn rollouts(
        &self,
        group: &GroupName,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Rollout>, LedgerError>> + Send;

    /// A finished rollout.
    fn rollout(
        &self,
        group: &GroupName,
        rollout: &RolloutId,
    ) -> impl Future<Output = Result<Option<Rollout>, LedgerError>> + Send;
}

/// How long who lost the first race waits at most.
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// How long anybody waits at most.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long to wait after so many lost races (1 and up) before the ledger is read again: by a
/// random number, anything up to a bound that doubles with each race. Who waits for the same time
/// meets the same others again (AWS Architecture Blog, "Exponential Backoff And Jitter": full
/// jitter).
pub fn wait_after(races: u32, random: u64) -> Duration {
    let doubled = 1_u32.checked_shl(races.saturating_sub(1));
    let bound = doubled.and_then(|times| FIRST_WAIT.checked_mul(times));
    let bound = bound.map_or(LONGEST_WAIT, |bound| bound.min(LONGEST_WAIT));
    let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random % micros.max(1))
}

/// What leads from an event to its pipeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// What the name is of.
    pub kind: RouteKind,
    /// The name: a pipeline's, an endpoint's, a schedule's, the start of a job's, a tag as
    /// `key=value`.
    pub name: String,
}

/// What a route's name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// A pipeline's name.
    Pipeline,
    /// An endpoint.
    Endpoint,
    /// A monitoring schedule.
    Schedule,
    /// The start of a training job's name.
    Prefix,
    /// A tag of a training job, `key=value`.
    Tag,
    /// An execution of a SageMaker pipeline that trains again, its ARN in lower case; while it runs.
    Execution,
}

impl RouteKind {
    /// The word in the ledger's key.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Endpoint => "endpoint",
            Self::Schedule => "schedule",
            Self::Prefix => "prefix",
            Self::Tag => "tag",
            Self::Execution => "execution",
        }
    }
}

/// A policy as it was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppliedPolicy {
    /// 1 and up.
    pub version: u32,
    /// The Git commit that it came from, if it was said.
    pub commit: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The policy.
    pub policy: Policy,
}

/// What a decision starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The policy in force.
    pub applied: AppliedPolicy,
    /// The state.
    pub head: Head,
    /// Effects that are to be done, in order.
    pub pending: Vec<Pending>,
    /// Whether the event took effect before.
    pub seen: bool,
}

/// An effect that is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// Sorts in the order in which effects are to be done: `<head version>-<index>`, zero-padded.
    pub id: String,
    /// What it belongs to: effects of one lane are done one after the other, and wait when one
    /// can't be done yet; lanes don't wait for each other.
    pub lane: Lane,
    /// When it was decided.
    pub at: Timestamp,
    /// The effect.
    pub effect: Effect,
}

/// What an effect belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// A rollout's calls.
    Rollout(RolloutId),
    /// A training job's registration.
    Job(JobName),
    /// A version's approval.
    Version(PackageVersion),
    /// What is written down of a version in SageMaker's own records.
    Record(PackageVersion),
    /// A retraining, by its token.
    Retraining(String),
    /// A monitor, by its name.
    Monitor(ScheduleName),
    /// A message, by its id.
    Notice(String),
}

/// What became of a training job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub job: JobName,
    /// When it was gated.
    pub at: Timestamp,
    /// Its metrics.
    pub metrics: Metrics,
    /// The gate's judgement.
    pub judgement: Judgement,
    /// The package's ARN and version, once registered.
    pub package: Option<(String, PackageVersion)>,
}

/// One transaction: all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The head's version that this was decided on; 0 if there was none.
    pub expected: u64,
    /// The new head, its version one higher.
    pub head: Head,
    /// The event that took effect; refused if it did before.
    pub seen: Option<EventId>,
    /// New audit entries.
    pub entries: Vec<Entry>,
    /// New effects.
    pub add: Vec<Pending>,
    /// Ids of effects that are done or not wanted any more.
    pub done: Vec<String>,
    /// Finished rollouts.
    pub finished: Vec<Rollout>,
    /// Training jobs that were gated or registered.
    pub jobs: Vec<JobRecord>,
    /// Those of them that the ledger must not know yet; else it is a lost race.
    pub new_jobs: Vec<JobName>,
    /// A new policy.
    pub policy: Option<AppliedPolicy>,
    /// Routes to put; refused if one leads to another group.
    pub routes: Vec<Route>,
    /// Routes to take away.
    pub dropped_routes: Vec<Route>,
}

impl Commit {
    /// A commit of a head and nothing else yet.
    pub fn of(expected: u64, head: Head) -> Self {
        Self {
            expected,
            head,
            seen: None,
            entries: Vec::new(),
            add: Vec::new(),
            done: Vec::new(),
            finished: Vec::new(),
            jobs: Vec::new(),
            new_jobs: Vec::new(),
            policy: None,
            routes: Vec::new(),
            dropped_routes: Vec::new(),
        }
    }
}

impl Commit {
    /// The most items of the ledger that it writes.
    pub fn items(&self) -> usize {
        let head = 1;
        // A finished rollout has a pointer beside it.
        let finished = 2 * self.finished.len();
        let others = [
            usize::from(self.seen.is_some()),
            self.entries.len(),
            self.add.len(),
            self.done.len(),
            self.jobs.len(),
            usize::from(self.policy.is_some()),
            self.routes.len(),
            self.dropped_routes.len(),
        ];
        head + finished + others.iter().sum::<usize>()
    }
}

/// Why the ledger did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Throttled, timed out, not reachable: try again.
    #[error("the ledger can't be reached now: {0}")]
    Unavailable(String),
    /// Not allowed, or no such table: see the installation.
    #[error("the ledger refused: {0}")]
    Refused(String),
    /// An item that can't be read: see the item.
    #[error("the ledger's item {key} can't be read: {why}")]
    Unreadable {
        /// The item's keys.
        key: String,
        /// Why.
        why: String,
    },
}

/// Why a commit was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else committed first: read again and decide again.
    #[error("somebody else committed first")]
    Lost,
    /// The event took effect before.
    #[error("the event took effect before")]
    Seen,
    /// A route leads to another group.
    #[error("{} {:?} belongs to another pipeline, of the group {group}", route.kind.word(), route.name)]
    Taken {
        /// The route.
        route: Route,
        /// The group that has it.
        group: String,
    },
    /// Anything else.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_loses_again_waits_longer_and_nobody_for_ever() {
        let longest = |races| {
            let all = (0..50_000).map(|random| wait_after(races, random * 997));
            all.max().unwrap_or_default()
        };
        let about = |wait: Duration, bound: Duration| bound / 100 * 99 < wait && wait < bound;
        assert!(about(longest(1), FIRST_WAIT), "{:?}", longest(1));
        assert!(about(longest(2), FIRST_WAIT * 2), "{:?}", longest(2));
        assert!(about(longest(5), FIRST_WAIT * 16), "{:?}", longest(5));
        for races in [8, 40, 200, u32::MAX] {
            assert!(about(longest(races), LONGEST_WAIT), "{races}");
        }
    }

    #[test]
    fn some_hardly_wait_so_that_the_pipeline_is_not_idle() {
        assert_eq!(wait_after(9, 0), Duration::ZERO);
        assert_eq!(wait_after(0, 7), Duration::from_micros(7));
    }
}
