//! One event's way through a pipeline: finish what is pending, decide on the event, act, settle,
//! and start what waits.

use jiff::Timestamp;

use super::act::{Acted, act};
use super::gather::gather;
use super::seal::seal;
use super::{EngineError, Handled, RACES, ROUNDS, now_of};
use crate::case::Case;
use crate::decide::{Input, decide};
use crate::decision::{Decision, Note};
use crate::event::{Event, Kind};
use crate::ledger::{Commit, CommitError, JobRecord, Lane, Ledger, Pending, Snapshot};
use crate::mutation::Mutation;
use crate::name::{EventId, GroupName, JobName, RolloutId};
use crate::observe;
use crate::turn::has_next;
use crate::world::{Effect, Outcome, World, WorldError};

/// Runs an event through the pipeline of `group`.
pub(super) async fn run<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    group: &GroupName,
    event: &Event,
    handled: &mut Handled,
) -> Result<(), EngineError> {
    let mut session = Session {
        ledger,
        world,
        group,
        event,
        handled,
        waiting: Vec::new(),
    };
    session.run().await
}

struct Session<'a, L, W> {
    ledger: &'a L,
    world: &'a W,
    group: &'a GroupName,
    event: &'a Event,
    handled: &'a mut Handled,
    /// Effects that could not be done a moment ago, and why.
    waiting: Vec<(String, WorldError)>,
}

/// What a round came to.
enum Round {
    /// It changed something.
    Committed(Box<Snapshot>),
    /// Somebody else changed something first.
    Lost,
    /// There was nothing to change.
    Idle,
}

impl<L: Ledger, W: World> Session<'_, L, W> {
    async fn run(&mut self) -> Result<(), EngineError> {
        let Some(mut snapshot) = self.load().await? else {
            return Ok(());
        };
        let mut is_decided = snapshot.seen;
        if is_decided {
            self.handled.nothing_because = Some("the event took effect before".to_owned());
        }
        let mut may_continue = true;
        let mut has_left_overs = !snapshot.pending.is_empty();
        let mut races = 0;
        for _ in 0..ROUNDS {
            if std::mem::take(&mut has_left_overs) {
                match self.resume(&snapshot).await? {
                    Round::Committed(next) => snapshot = *next,
                    Round::Idle | Round::Lost => {}
                }
            }
            let may_be_done = |p: &&Pending| observe::may_be_done(&snapshot, p);
            let pending: Vec<Pending> = snapshot
                .pending
                .iter()
                .filter(may_be_done)
                .cloned()
                .collect();
            let now = now_of(self.event, snapshot.head.now);
            if Mutation::SettleBeforeAct.is_on()
                && let Some(next) = self.settle_first(&snapshot, &pending, now).await?
            {
                snapshot = next;
                continue;
            }
            let acted = act(self.world, &pending, &self.waiting_ids(), now).await;
            self.waiting
                .extend(acted.waiting.iter().map(|(p, e)| (p.id.clone(), e.clone())));
            let round = if !acted.settled.is_empty() {
                self.settle(&snapshot, &acted).await?
            } else if !is_decided {
                let round = self.decide_event(&snapshot).await?;
                is_decided = !matches!(round, Round::Lost);
                round
            } else if may_continue && has_next(&snapshot.head) {
                let round = self.decide_next(&snapshot).await?;
                may_continue = matches!(round, Round::Committed(_) | Round::Lost);
                round
            } else {
                return self.finish(&snapshot);
            };
            match round {
                Round::Committed(next) => snapshot = *next,
                Round::Idle => {}
                Round::Lost => {
                    races += 1;
                    if races > RACES {
                        return Err(EngineError::Contended);
                    }
                    let Some(next) = self.load().await? else {
                        return Ok(());
                    };
                    is_decided = is_decided || next.seen;
                    has_left_overs = !next.pending.is_empty();
                    snapshot = next;
                }
            }
        }
        Err(EngineError::Endless)
    }

    async fn load(&mut self) -> Result<Option<Snapshot>, EngineError> {
        let snapshot = self.ledger.load(self.group, Some(&self.event.id)).await?;
        if snapshot.is_none() {
            self.handled.nothing_because = Some(format!(
                "the model package group {} belongs to no pipeline",
                self.group
            ));
        }
        Ok(snapshot)
    }

    fn waiting_ids(&self) -> Vec<String> {
        self.waiting.iter().map(|(id, _)| id.clone()).collect()
    }

    /// Takes in what came of effects.
    async fn settle(&mut self, snapshot: &Snapshot, acted: &Acted) -> Result<Round, EngineError> {
        let mut latest: Option<Box<Snapshot>> = None;
        for settled in one_job_each(&acted.settled) {
            let job = match settled.iter().find_map(registered_job) {
                Some(job) => self.ledger.job(self.group, job).await?,
                None => None,
            };
            let input = Input::Settled(settled);
            let done = settled.iter().map(|(p, _)| p.id.clone()).collect();
            let before = latest.as_deref().unwrap_or(snapshot);
            match self.round(before, &input, job.as_ref(), done, None).await? {
                Round::Committed(next) => latest = Some(next),
                other => return Ok(other),
            }
        }
        Ok(latest.map_or(Round::Idle, Round::Committed))
    }

    /// A deliberate bug: the calls of rollouts are settled, and then made.
    async fn settle_first(
        &mut self,
        snapshot: &Snapshot,
        pending: &[Pending],
        now: Timestamp,
    ) -> Result<Option<Snapshot>, EngineError> {
        let is_of_rollout = |p: &&Pending| matches!(p.lane, Lane::Rollout(_));
        let calls: Vec<Pending> = pending.iter().filter(is_of_rollout).cloned().collect();
        let early = Acted {
            settled: calls.iter().map(|p| (p.clone(), Outcome::Done)).collect(),
            waiting: Vec::new(),
        };
        let Round::Committed(next) = self.settle(snapshot, &early).await? else {
            return Ok(None);
        };
        act(self.world, &calls, &[], now).await;
        Ok(Some(*next))
    }

    /// Looks at the endpoints of rollouts whose calls were left by somebody who died or had to
    /// wait: somebody else may have changed an endpoint meanwhile, and that is not overwritten.
    async fn resume(&mut self, snapshot: &Snapshot) -> Result<Round, EngineError> {
        self.round(snapshot, &Input::Resume, None, Vec::new(), None)
            .await
    }

    /// Decides on the event.
    async fn decide_event(&mut self, snapshot: &Snapshot) -> Result<Round, EngineError> {
        let job = match &self.event.kind {
            Kind::TrainingJob { job, .. } => self.ledger.job(self.group, job).await?,
            _ => None,
        };
        let seen = Some(self.event.id.clone());
        self.round(
            snapshot,
            &Input::Event(self.event),
            job.as_ref(),
            Vec::new(),
            seen,
        )
        .await
    }

    /// Starts what waits.
    async fn decide_next(&mut self, snapshot: &Snapshot) -> Result<Round, EngineError> {
        self.round(snapshot, &Input::Continue, None, Vec::new(), None)
            .await
    }

    async fn round(
        &mut self,
        snapshot: &Snapshot,
        input: &Input<'_>,
        job: Option<&JobRecord>,
        done: Vec<String>,
        seen: Option<EventId>,
    ) -> Result<Round, EngineError> {
        let now = now_of(self.event, snapshot.head.now);
        let facts = gather(self.world, snapshot, job, input, now).await?;
        let decision = decide(
            &Case {
                snapshot,
                job,
                facts: &facts,
                now,
            },
            input,
        );
        if !decision.changes(&snapshot.head) && done.is_empty() {
            if matches!(input, Input::Event(_)) {
                self.handled.nothing_because = decision.nothing_because;
            }
            return Ok(Round::Idle);
        }
        let said = said(&decision);
        let mut commit = seal(
            decision,
            &snapshot.applied,
            &snapshot.pending,
            &self.event.id,
            now,
        );
        commit.done.extend(done);
        commit.done.sort_unstable();
        commit.done.dedup();
        commit.seen = seen.filter(|_| !Mutation::ForgetMarker.is_on());
        match self.ledger.commit(self.group, &commit).await {
            Ok(()) => {
                let pipeline = &snapshot.applied.policy.pipeline.name;
                for (rollout, sentence) in &said {
                    tracing::info!(
                        %pipeline,
                        group = %self.group,
                        rollout = rollout.as_ref().map(|id| id.0.as_str()),
                        event = %self.event.id,
                        "{sentence}"
                    );
                }
                self.handled
                    .done
                    .extend(said.into_iter().map(|(_, sentence)| sentence));
                Ok(Round::Committed(Box::new(after(snapshot, commit))))
            }
            Err(CommitError::Lost) if Mutation::LostIsDone.is_on() => Ok(Round::Idle),
            Err(CommitError::Lost | CommitError::Seen) => Ok(Round::Lost),
            Err(error) => Err(EngineError::Commit(error)),
        }
    }

    /// Says what is left. A tick's successor finishes it; other events are delivered again.
    fn finish(&mut self, snapshot: &Snapshot) -> Result<(), EngineError> {
        self.handled.left = snapshot.pending.len();
        let blocked = self.waiting.iter().find(|(id, _)| {
            snapshot
                .pending
                .iter()
                .any(|p| &p.id == id && !has_ticks(snapshot, p))
        });
        match blocked {
            Some((_, first)) => Err(EngineError::Unfinished {
                left: self.handled.left,
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// Whether ticks come that will do this effect: its rollout runs, and its schedule is made.
fn has_ticks(snapshot: &Snapshot, pending: &Pending) -> bool {
    let Lane::Rollout(id) = &pending.lane else {
        return false;
    };
    let has_schedule = !snapshot
        .pending
        .iter()
        .any(|p| p.lane == pending.lane && matches!(p.effect, Effect::StartTicks { .. }));
    has_schedule && snapshot.head.rollout(id).is_some()
}

/// The snapshot after a commit, without reading it again.
fn after(before: &Snapshot, commit: Commit) -> Snapshot {
    let mut pending: Vec<Pending> = before
        .pending
        .iter()
        .filter(|p| !commit.done.contains(&p.id))
        .cloned()
        .collect();
    pending.extend(commit.add);
    Snapshot {
        applied: before.applied.clone(),
        head: commit.head,
        pending,
        seen: true,
    }
}

/// What a decision says, with the rollout that it is about.
fn said(decision: &Decision) -> Vec<(Option<RolloutId>, String)> {
    let said = |note: &Note| (note.about.rollout.clone(), note.draft.why.clone());
    decision.notes.iter().map(said).collect()
}

fn registered_job((pending, outcome): &(Pending, Outcome)) -> Option<&JobName> {
    match (&pending.effect, outcome) {
        (Effect::RegisterPackage(spec), Outcome::Registered { .. }) => Some(&spec.job),
        _ => None,
    }
}

/// Parts of what was settled, with at most one registered job each: a decision knows one.
fn one_job_each(settled: &[(Pending, Outcome)]) -> impl Iterator<Item = &[(Pending, Outcome)]> {
    settled.chunk_by(|_, next| registered_job(next).is_none())
}
