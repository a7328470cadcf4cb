//! One event's way through a pipeline: finish what is pending, decide on the event, act, settle,
//! and start what waits.
//!
//! Many at once get in each other's way, so whoever loses a race lets others go first for a while,
//! keeps what came of the calls it made, and leaves to others what they are only just doing.

use std::collections::BTreeSet;

use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};

use super::act::act;
use super::gather::{gather, training_job};
use super::seal::{self, seal};
use super::{EngineError, Handled, RACES, ROUNDS, now_of};
use crate::case::Case;
use crate::decide::{Input, decide};
use crate::decision::{Decision, Note};
use crate::event::{Event, Kind};
use crate::facts::Facts;
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
        unsettled: Vec::new(),
        lanes: BTreeSet::new(),
        takes_over: false,
        due: Due::Event,
        has_left_overs: false,
        known: Facts::default(),
        gates: None,
        job: None,
    };
    session.run().await
}

/// How long, by the times of events, what one function decided is left to it: as long as a function
/// may run (`Timeout` in `infra/template.yaml`).
const GRACE: SignedDuration = SignedDuration::from_secs(55);

struct Session<'a, L, W> {
    ledger: &'a L,
    world: &'a W,
    group: &'a GroupName,
    event: &'a Event,
    handled: &'a mut Handled,
    /// Effects that could not be done a moment ago, and why.
    waiting: Vec<(String, WorldError)>,
    /// What came of effects whose settling lost a race: they need not be done again for it.
    unsettled: Vec<(Pending, Outcome)>,
    /// The lanes that this session put effects into.
    lanes: BTreeSet<Lane>,
    /// Whether everything that is to be done is done here: by housekeeping, and by an event that
    /// comes again, maybe because its first function died.
    takes_over: bool,
    has_left_overs: bool,
    due: Due,
    /// What was read of the event's training or tuning job.
    known: Facts,
    /// The training job that the event may gate.
    gates: Option<JobName>,
    /// What the ledger knows of it.
    job: Option<JobRecord>,
}

/// What is still to be decided.
#[derive(PartialEq)]
enum Due {
    /// The event, and what may start after it.
    Event,
    /// What may start now.
    Next,
    Nothing,
}

/// What a round came to.
enum Round {
    /// It changed something.
    Committed(Box<Snapshot>),
    /// Somebody else changed something first.
    Lost,
    /// There was nothing to change.
    Idle,
    /// There is nothing to decide any more.
    Over,
}

impl<L: Ledger, W: World> Session<'_, L, W> {
    async fn run(&mut self) -> Result<(), EngineError> {
        let Some(mut snapshot) = self.load().await? else {
            return Ok(());
        };
        self.takes_over = snapshot.seen || matches!(self.event.kind, Kind::Housekeeping);
        self.take_in(&snapshot);
        if snapshot.seen {
            self.handled.nothing_because = Some("the event took effect before".to_owned());
        }
        let mut races = 0;
        for _ in 0..ROUNDS + RACES {
            match self.next_round(&snapshot).await? {
                Round::Committed(next) => snapshot = *next,
                Round::Idle => {}
                Round::Over => return self.finish(&snapshot),
                Round::Lost => {
                    races += 1;
                    if races > RACES {
                        return Err(EngineError::Contended);
                    }
                    self.ledger.give_way(races).await;
                    let Some(next) = self.load().await? else {
                        return Ok(());
                    };
                    self.take_in(&next);
                    snapshot = next;
                }
            }
        }
        Err(EngineError::Endless)
    }

    /// Takes in what was read anew.
    fn take_in(&mut self, snapshot: &Snapshot) {
        if snapshot.seen && self.due == Due::Event {
            self.due = Due::Next;
        }
        self.has_left_overs = snapshot.pending.iter().any(|p| self.is_ours(snapshot, p));
    }

    /// Left-overs first, then what came of effects, then the event, then what waits.
    async fn next_round(&mut self, snapshot: &Snapshot) -> Result<Round, EngineError> {
        if std::mem::take(&mut self.has_left_overs) {
            let round = self.resume(snapshot).await?;
            if !matches!(round, Round::Idle) {
                return Ok(round);
            }
        }
        if Mutation::SettleBeforeAct.is_on() {
            let now = now_of(self.event, snapshot.head.now);
            let round = self.settle_first(snapshot, now).await?;
            if !matches!(round, Round::Idle) {
                return Ok(round);
            }
        }
        let settled = self.act(snapshot).await;
        if !settled.is_empty() {
            let round = self.settle(snapshot, &settled).await?;
            if matches!(round, Round::Lost) {
                self.unsettled = settled;
            }
            Ok(round)
        } else if self.due == Due::Event {
            let round = self.decide_event(snapshot).await?;
            if !matches!(round, Round::Lost) {
                self.due = Due::Next;
            }
            Ok(round)
        } else if self.due == Due::Next && has_next(&snapshot.head) {
            let round = self.decide_next(snapshot).await?;
            if matches!(round, Round::Idle) {
                self.due = Due::Nothing;
            }
            Ok(round)
        } else {
            Ok(Round::Over)
        }
    }

    /// Whether an effect is done here. The calls of a rollout are, by whoever comes: a way back must
    /// not wait. Others are left for a while to who decided them, else all that come at once would
    /// do them all.
    fn is_ours(&self, snapshot: &Snapshot, pending: &Pending) -> bool {
        let age = now_of(self.event, snapshot.head.now).duration_since(pending.at);
        if pending.effect.is_record() {
            // SageMaker's records are not worth a tick's time.
            return self.takes_over || self.lanes.contains(&pending.lane);
        }
        matches!(pending.lane, Lane::Rollout(_))
            || self.takes_over
            || self.lanes.contains(&pending.lane)
            || age >= GRACE
    }

    /// Does what is to be done here, and gives what came of it. A refusal that was not settled is
    /// looked into again: somebody else may have had more luck.
    async fn act(&mut self, snapshot: &Snapshot) -> Vec<(Pending, Outcome)> {
        let mut settled = std::mem::take(&mut self.unsettled);
        settled.retain(|(known, outcome)| {
            let is_pending = snapshot.pending.iter().any(|p| p.id == known.id);
            is_pending && !matches!(outcome, Outcome::Failed(_))
        });
        let is_to_do = |p: &&Pending| {
            self.is_ours(snapshot, p)
                && observe::may_be_done(snapshot, p)
                && settled.iter().all(|(known, _)| known.id != p.id)
        };
        let to_do: Vec<Pending> = snapshot.pending.iter().filter(is_to_do).cloned().collect();
        let now = now_of(self.event, snapshot.head.now);
        let acted = act(self.world, &to_do, &self.waiting_ids(), now).await;
        let waiting = acted.waiting.into_iter().map(|(p, error)| (p.id, error));
        self.waiting.extend(waiting);
        settled.extend(acted.settled);
        settled.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        settled
    }

    async fn load(&mut self) -> Result<Option<Snapshot>, EngineError> {
        self.gates = training_job(self.world, &self.event.kind, &mut self.known).await?;
        let state = self.ledger.load(self.group, Some(&self.event.id));
        // Beside the state, not after it: who reads longer loses every race.
        let snapshot = match &self.gates {
            Some(job) => {
                let (snapshot, record) = join(state, self.ledger.job(self.group, job)).await;
                self.job = record?;
                snapshot?
            }
            None => state.await?,
        };
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
    async fn settle(
        &mut self,
        snapshot: &Snapshot,
        settled: &[(Pending, Outcome)],
    ) -> Result<Round, EngineError> {
        let mut latest: Option<Box<Snapshot>> = None;
        for settled in one_job_each(settled) {
            let job = match settled.iter().find_map(registered_job) {
                Some(job) => match self.job.as_ref().filter(|known| &known.job == job) {
                    Some(known) => Some(known.clone()),
                    None => self.ledger.job(self.group, job).await?,
                },
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
        now: Timestamp,
    ) -> Result<Round, EngineError> {
        let is_call =
            |p: &&Pending| matches!(p.lane, Lane::Rollout(_)) && observe::may_be_done(snapshot, p);
        let calls: Vec<Pending> = snapshot.pending.iter().filter(is_call).cloned().collect();
        let early: Vec<_> = calls.iter().map(|p| (p.clone(), Outcome::Done)).collect();
        let round = self.settle(snapshot, &early).await?;
        if matches!(round, Round::Committed(_)) {
            act(self.world, &calls, &[], now).await;
        }
        Ok(round)
    }

    /// Looks at the endpoints of rollouts whose calls were left by somebody who died or had to
    /// wait: somebody else may have changed an endpoint meanwhile, and that is not overwritten.
    async fn resume(&mut self, snapshot: &Snapshot) -> Result<Round, EngineError> {
        self.round(snapshot, &Input::Resume, None, Vec::new(), None)
            .await
    }

    /// Decides on the event.
    async fn decide_event(&mut self, snapshot: &Snapshot) -> Result<Round, EngineError> {
        let job = self.job.clone();
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
        // A training that ended stays as it is: after a lost race it need not be read again, and who
        // reads much would lose every race to who reads little.
        let is_training = |event: &Event| {
            matches!(
                event.kind,
                Kind::TrainingJob { .. } | Kind::TuningJob { .. }
            )
        };
        let lasts = matches!(input, Input::Event(event) if is_training(event));
        let known = if lasts {
            std::mem::take(&mut self.known)
        } else {
            Facts::default()
        };
        let facts = gather(self.world, snapshot, job, input, now, &known).await?;
        if lasts {
            self.known = facts.clone();
        }
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
        if !decision.changes(&snapshot.head) && matches!(input, Input::Settled(_)) {
            // A message that was sent changes no state: nobody has to race for it.
            self.ledger.forget(self.group, &done).await?;
            let mut next = snapshot.clone();
            next.pending.retain(|p| !done.contains(&p.id));
            return Ok(Round::Committed(Box::new(next)));
        }
        let said = said(&decision);
        let nothing = decision.nothing_because.clone();
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
        if job.is_none() && matches!(input, Input::Event(_)) {
            commit.new_jobs = commit.jobs.iter().map(|j| j.job.clone()).collect();
        }
        seal::check(&commit)?;
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
                if matches!(input, Input::Event(_)) && said.is_empty() {
                    // Something is remembered, and nothing is done yet.
                    self.handled.nothing_because = nothing;
                }
                self.handled
                    .done
                    .extend(said.into_iter().map(|(_, sentence)| sentence));
                self.lanes.extend(commit.add.iter().map(|p| p.lane.clone()));
                let is_ours = |j: &&JobRecord| Some(&j.job) == self.gates.as_ref();
                if let Some(record) = commit.jobs.iter().find(is_ours) {
                    self.job = Some(record.clone());
                }
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
                .any(|p| &p.id == id && !p.effect.is_record() && !has_ticks(snapshot, p))
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

/// Whether somebody comes by himself who will do this effect: its rollout runs, and the schedule of
/// its ticks is made.
fn has_ticks(snapshot: &Snapshot, pending: &Pending) -> bool {
    let id = match &pending.lane {
        Lane::Rollout(id) => id,
        // Housekeeping looks after it until it is done.
        Lane::Monitor(_) => return true,
        _ => return false,
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

/// Parts of what was settled, with at most one registered job each: a decision knows one. And no
/// more than one transaction takes, however much was kept to be done.
fn one_job_each(settled: &[(Pending, Outcome)]) -> impl Iterator<Item = &[(Pending, Outcome)]> {
    settled
        .chunk_by(|_, next| registered_job(next).is_none())
        .flat_map(|part| part.chunks(seal::MOST_SETTLED))
}
