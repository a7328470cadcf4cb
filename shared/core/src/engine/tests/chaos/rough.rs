//! A ledger and a world in rough weather: calls that are throttled, calls that are done and whose
//! answer is lost, and a crash after which nothing answers until the next start.

use std::sync::Mutex;

use super::super::memory::Memory;
use super::super::town::Town;
use crate::audit::Entry;
use crate::ledger::{
    Commit, CommitError, JobRecord, Ledger, LedgerError, Route, RouteKind, Snapshot,
};
use crate::name::{EventId, GroupName, JobName, RolloutId};
use crate::rollout::Rollout;
use crate::world::{Answer, Effect, Outcome, Question, World, WorldError, WorldErrorKind};

/// A seeded source of chance (`SplitMix64`).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Whether something happens that does so many times of a thousand.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// How rough it is.
pub(super) struct Weather {
    pub(super) dice: Dice,
    /// Of a thousand calls, how many are refused for now.
    pub(super) throttled: u64,
    /// Of a thousand calls, how many are done and not answered.
    pub(super) lost: u64,
    /// After so many calls nothing answers any more.
    pub(super) calls_left: Option<u32>,
}

/// How a call goes.
enum Luck {
    Fine,
    Refused,
    DoneButLost,
}

pub(super) struct Rough<'a> {
    pub(super) memory: &'a Memory,
    pub(super) town: &'a Town,
    pub(super) weather: &'a Mutex<Weather>,
}

impl Rough<'_> {
    /// Lets others go first for a while, and then says how this call goes.
    async fn luck(&self) -> Luck {
        let turns = self.weather.lock().unwrap().dice.below(3);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let mut weather = self.weather.lock().unwrap();
        if let Some(left) = &mut weather.calls_left {
            if *left == 0 {
                return Luck::Refused;
            }
            *left -= 1;
            if *left == 0 && weather.dice.chance(500) {
                return Luck::DoneButLost;
            }
        }
        let (throttled, lost) = (weather.throttled, weather.lost);
        if weather.dice.chance(throttled) {
            Luck::Refused
        } else if weather.dice.chance(lost) {
            Luck::DoneButLost
        } else {
            Luck::Fine
        }
    }

    async fn read(&self) -> Result<(), LedgerError> {
        match self.luck().await {
            Luck::Fine => Ok(()),
            Luck::Refused | Luck::DoneButLost => Err(away()),
        }
    }
}

fn away() -> LedgerError {
    LedgerError::Unavailable("rough weather".to_owned())
}

fn no_answer(kind: WorldErrorKind) -> WorldError {
    WorldError {
        kind,
        call: "a call".to_owned(),
        message: "rough weather".to_owned(),
    }
}

impl World for Rough<'_> {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        match self.luck().await {
            Luck::Fine => self.town.ask(question).await,
            _ => Err(no_answer(WorldErrorKind::Throttled)),
        }
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        match self.luck().await {
            Luck::Fine => self.town.perform(effect).await,
            Luck::Refused => Err(no_answer(WorldErrorKind::Throttled)),
            Luck::DoneButLost => {
                self.town.perform(effect).await?;
                Err(no_answer(WorldErrorKind::Unavailable))
            }
        }
    }
}

impl Ledger for Rough<'_> {
    async fn route(&self, route: &Route) -> Result<Option<GroupName>, LedgerError> {
        self.read().await?;
        self.memory.route(route).await
    }

    async fn routes(&self, kind: RouteKind) -> Result<Vec<(Route, GroupName)>, LedgerError> {
        self.read().await?;
        self.memory.routes(kind).await
    }

    async fn load(
        &self,
        group: &GroupName,
        event: Option<&EventId>,
    ) -> Result<Option<Snapshot>, LedgerError> {
        self.read().await?;
        self.memory.load(group, event).await
    }

    async fn unfinished(&self, limit: u32) -> Result<Vec<GroupName>, LedgerError> {
        self.read().await?;
        self.memory.unfinished(limit).await
    }

    async fn job(
        &self,
        group: &GroupName,
        job: &JobName,
    ) -> Result<Option<JobRecord>, LedgerError> {
        self.read().await?;
        self.memory.job(group, job).await
    }

    async fn forget(&self, group: &GroupName, done: &[String]) -> Result<(), LedgerError> {
        match self.luck().await {
            Luck::Fine => self.memory.forget(group, done).await,
            Luck::Refused => Err(away()),
            Luck::DoneButLost => {
                self.memory.forget(group, done).await?;
                Err(away())
            }
        }
    }

    async fn commit(&self, group: &GroupName, commit: &Commit) -> Result<(), CommitError> {
        match self.luck().await {
            Luck::Fine => self.memory.commit(group, commit).await,
            Luck::Refused => Err(away().into()),
            Luck::DoneButLost => {
                self.memory.commit(group, commit).await?;
                Err(away().into())
            }
        }
    }

    async fn give_way(&self, _races: u32) {
        tokio::task::yield_now().await;
    }

    async fn entries(
        &self,
        group: &GroupName,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, LedgerError> {
        self.memory.entries(group, after, limit).await
    }

    async fn rollouts(&self, group: &GroupName, limit: u32) -> Result<Vec<Rollout>, LedgerError> {
        self.memory.rollouts(group, limit).await
    }

    async fn rollout(
        &self,
        group: &GroupName,
        rollout: &RolloutId,
    ) -> Result<Option<Rollout>, LedgerError> {
        self.memory.rollout(group, rollout).await
    }
}
