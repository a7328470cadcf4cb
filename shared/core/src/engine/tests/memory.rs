//! A ledger in memory, with DynamoDB's conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::audit::Entry;
use crate::head::Head;
use crate::ledger::{
    AppliedPolicy, Commit, CommitError, JobRecord, Lane, Ledger, LedgerError, Pending, Route,
    RouteKind, Snapshot,
};
use crate::name::{EventId, GroupName, JobName, RolloutId};
use crate::rollout::Rollout;
use crate::world::Effect;

#[derive(Default)]
struct Partition {
    head: Head,
    policy: Option<AppliedPolicy>,
    entries: Vec<Entry>,
    pending: BTreeMap<String, Pending>,
    jobs: BTreeMap<JobName, JobRecord>,
    rollouts: BTreeMap<RolloutId, Rollout>,
    seen: BTreeSet<EventId>,
}

#[derive(Default)]
struct State {
    routes: BTreeMap<Route, GroupName>,
    groups: BTreeMap<GroupName, Partition>,
    races_to_lose: u32,
    settlings_to_lose: u32,
    gave_way: Vec<u32>,
}

#[derive(Default)]
pub(super) struct Memory(Mutex<State>);

impl Memory {
    /// The next `n` commits find that somebody else was first.
    pub(super) fn lose_races(&self, n: u32) {
        self.0.lock().unwrap().races_to_lose = n;
    }

    /// The next `n` commits that settle something find that somebody else was first.
    pub(super) fn lose_settlings(&self, n: u32) {
        self.0.lock().unwrap().settlings_to_lose = n;
    }

    /// After which races somebody let others go first.
    pub(super) fn gave_way(&self) -> Vec<u32> {
        self.0.lock().unwrap().gave_way.clone()
    }

    /// Housekeeping finds something unfinished there, which nobody can finish.
    pub(super) fn leave_unfinished(&self, group: &GroupName) {
        let mut state = self.0.lock().unwrap();
        let partition = state.groups.get_mut(group).unwrap();
        let pending = Pending {
            id: "effect".to_owned(),
            lane: Lane::Notice("notice".to_owned()),
            at: "2026-03-01T00:00:00Z".parse().unwrap(),
            effect: Effect::StopTicks {
                rollout: RolloutId("rollout".to_owned()),
            },
        };
        partition.pending.insert(pending.id.clone(), pending);
    }

    /// The state is another one: of long before, or after much.
    pub(super) fn change_head(&self, group: &GroupName, change: impl Fn(&mut Head)) {
        change(&mut self.0.lock().unwrap().groups.get_mut(group).unwrap().head);
    }

    pub(super) fn head(&self, group: &GroupName) -> Head {
        self.0.lock().unwrap().groups[group].head.clone()
    }

    pub(super) fn all_entries(&self, group: &GroupName) -> Vec<Entry> {
        self.0.lock().unwrap().groups[group].entries.clone()
    }

    pub(super) fn pending(&self, group: &GroupName) -> Vec<Pending> {
        self.0.lock().unwrap().groups[group]
            .pending
            .values()
            .cloned()
            .collect()
    }

    pub(super) fn finished(&self, group: &GroupName) -> Vec<Rollout> {
        let mut all: Vec<Rollout> = self.0.lock().unwrap().groups[group]
            .rollouts
            .values()
            .cloned()
            .collect();
        all.sort_by_key(|r| r.started);
        all
    }
}

impl Ledger for Memory {
    async fn route(&self, route: &Route) -> Result<Option<GroupName>, LedgerError> {
        Ok(self.0.lock().unwrap().routes.get(route).cloned())
    }

    async fn routes(&self, kind: RouteKind) -> Result<Vec<(Route, GroupName)>, LedgerError> {
        let state = self.0.lock().unwrap();
        Ok(state
            .routes
            .iter()
            .filter(|(r, _)| r.kind == kind)
            .map(|(r, g)| (r.clone(), g.clone()))
            .collect())
    }

    async fn load(
        &self,
        group: &GroupName,
        event: Option<&EventId>,
    ) -> Result<Option<Snapshot>, LedgerError> {
        let state = self.0.lock().unwrap();
        let Some(partition) = state.groups.get(group) else {
            return Ok(None);
        };
        Ok(partition.policy.clone().map(|applied| Snapshot {
            applied,
            head: partition.head.clone(),
            pending: partition.pending.values().cloned().collect(),
            seen: event.is_some_and(|e| partition.seen.contains(e)),
        }))
    }

    async fn unfinished(&self, limit: u32) -> Result<Vec<GroupName>, LedgerError> {
        let state = self.0.lock().unwrap();
        let is_unfinished = |p: &Partition| !p.pending.is_empty() || p.head.is_unfinished();
        let groups = state.groups.iter().filter(|(_, p)| is_unfinished(p));
        Ok(groups
            .map(|(g, _)| g.clone())
            .take(limit as usize)
            .collect())
    }

    async fn job(
        &self,
        group: &GroupName,
        job: &JobName,
    ) -> Result<Option<JobRecord>, LedgerError> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .groups
            .get(group)
            .and_then(|p| p.jobs.get(job).cloned()))
    }

    async fn forget(&self, group: &GroupName, done: &[String]) -> Result<(), LedgerError> {
        let mut state = self.0.lock().unwrap();
        if let Some(partition) = state.groups.get_mut(group) {
            partition.pending.retain(|id, _| !done.contains(id));
        }
        Ok(())
    }

    async fn commit(&self, group: &GroupName, commit: &Commit) -> Result<(), CommitError> {
        let mut state = self.0.lock().unwrap();
        if state.races_to_lose > 0 {
            state.races_to_lose -= 1;
            return Err(CommitError::Lost);
        }
        if state.settlings_to_lose > 0 && !commit.done.is_empty() {
            state.settlings_to_lose -= 1;
            return Err(CommitError::Lost);
        }
        for route in &commit.routes {
            if let Some(other) = state.routes.get(route).filter(|g| *g != group) {
                return Err(CommitError::Taken {
                    route: route.clone(),
                    group: other.to_string(),
                });
            }
        }
        let partition = state.groups.entry(group.clone()).or_default();
        if commit
            .seen
            .as_ref()
            .is_some_and(|e| partition.seen.contains(e))
        {
            return Err(CommitError::Seen);
        }
        if commit
            .new_jobs
            .iter()
            .any(|j| partition.jobs.contains_key(j))
        {
            return Err(CommitError::Lost);
        }
        if partition.head.version != commit.expected {
            return Err(CommitError::Lost);
        }
        assert_eq!(commit.head.version, commit.expected + 1);
        partition.head = commit.head.clone();
        partition.seen.extend(commit.seen.clone());
        partition.entries.extend(commit.entries.iter().cloned());
        for id in &commit.done {
            partition.pending.remove(id);
        }
        for pending in &commit.add {
            assert!(
                partition
                    .pending
                    .insert(pending.id.clone(), pending.clone())
                    .is_none()
            );
        }
        for job in &commit.jobs {
            partition.jobs.insert(job.job.clone(), job.clone());
        }
        for rollout in &commit.finished {
            let other = partition
                .rollouts
                .insert(rollout.id.clone(), rollout.clone());
            assert!(other.is_none(), "{} ended twice", rollout.id);
        }
        if commit.policy.is_some() {
            partition.policy.clone_from(&commit.policy);
        }
        for route in &commit.dropped_routes {
            state.routes.remove(route);
        }
        for route in &commit.routes {
            state.routes.insert(route.clone(), group.clone());
        }
        Ok(())
    }

    async fn give_way(&self, races: u32) {
        self.0.lock().unwrap().gave_way.push(races);
    }

    async fn entries(
        &self,
        group: &GroupName,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, LedgerError> {
        let all = self.all_entries(group);
        Ok(all
            .into_iter()
            .filter(|e| e.n > after)
            .take(limit as usize)
            .collect())
    }

    async fn rollouts(&self, group: &GroupName, limit: u32) -> Result<Vec<Rollout>, LedgerError> {
        Ok(self
            .finished(group)
            .into_iter()
            .rev()
            .take(limit as usize)
            .collect())
    }

    async fn rollout(
        &self,
        group: &GroupName,
        rollout: &RolloutId,
    ) -> Result<Option<Rollout>, LedgerError> {
        Ok(self.finished(group).into_iter().find(|r| &r.id == rollout))
    }
}
