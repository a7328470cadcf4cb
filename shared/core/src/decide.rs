//! The decision: state, input and facts in, next state and everything to do out.
//!
//! A pure function. [`needs`] says which facts are missing, [`decide`] decides on them; who calls
//! them and in which order is the [`crate::engine`]'s part.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::case::Case;
use crate::decision::Decision;
use crate::event::{Event, Kind};
use crate::ledger::{Lane, Pending};
use crate::name::StageName;
use crate::rollout::{self, Rollout};
use crate::turn::{self, take};
use crate::world::{Effect, Outcome, Question};
use crate::{approval, monitors, observe, registration, retrain, triage, tuning};

mod outcomes;

/// A rollout whose settled minutes were not judged for so long has no ticks any more, or `CloudWatch`
/// is late.
const TICKS_STOPPED: SignedDuration = SignedDuration::from_mins(4);

/// What a decision is about.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Something happened.
    Event(&'a Event),
    /// Effects were done, or refused for good.
    Settled(&'a [(Pending, Outcome)]),
    /// Calls were left to do: may they still be done?
    Resume,
    /// Nothing new: whose turn is it now?
    Continue,
}

/// What has to be asked before this can be decided, given the facts so far; empty when all is
/// known.
pub fn needs(case: &Case<'_>, input: &Input<'_>) -> Vec<Question> {
    let mut questions = match input {
        Input::Settled(_) => Vec::new(),
        Input::Resume => left_over(case)
            .map(|r| Question::Endpoint(r.endpoint.clone()))
            .collect(),
        Input::Continue => turn::needs(case),
        Input::Event(event) => match &event.kind {
            Kind::TrainingJob { job, .. } => registration::needs(case, job),
            Kind::TuningJob { job, .. } => tuning::needs(case, job),
            Kind::Package { arn, version, .. } => approval::needs(case, arn, *version),
            Kind::Endpoint { endpoint, .. } => case
                .snapshot
                .head
                .rollouts
                .values()
                .filter(|r| &r.endpoint == endpoint)
                .flat_map(|r| rollout::needs(r, case.facts, case.now))
                .chain(observe::needs_of_endpoint(case, endpoint))
                .collect(),
            Kind::Tick { rollout, .. } => case
                .snapshot
                .head
                .rollout(rollout)
                .map(|r| {
                    let mut questions = rollout::needs(r, case.facts, case.now);
                    questions.extend(observe::needs_of_endpoint(case, &r.endpoint));
                    questions
                })
                .unwrap_or_default(),
            Kind::Housekeeping => case
                .snapshot
                .head
                .rollouts
                .values()
                .flat_map(|r| rollout::needs(r, case.facts, case.now))
                .chain(
                    case.stages()
                        .flat_map(|s| observe::needs_of_endpoint(case, &s.endpoint)),
                )
                .chain(retrain::needs(case))
                .chain(triage::watch_needs(case))
                .chain(monitors::needs(case))
                .collect(),
            Kind::Monitoring { .. } | Kind::Alarm { .. } => triage::needs(case, &event.kind),
            Kind::Execution { arn, .. } => retrain::execution_needs(case, arn),
            Kind::TrainingStarted { .. } | Kind::Unhandled { .. } => Vec::new(),
        },
    };
    questions.retain(|q| !case.facts.has(q));
    let mut asked: Vec<Question> = Vec::with_capacity(questions.len());
    for question in questions {
        if !asked.contains(&question) {
            asked.push(question);
        }
    }
    asked
}

/// Decides.
pub fn decide(case: &Case<'_>, input: &Input<'_>) -> Decision {
    let mut decision = Decision::on(&case.snapshot.head);
    match input {
        Input::Settled(outcomes) => outcomes::settle(case, outcomes, &mut decision),
        Input::Resume => {
            observe::drop_left_overs(case, &mut decision);
            for running in left_over(case) {
                let mut rollout = running.clone();
                let moves = rollout::resume(&mut rollout, case.facts, case.now);
                if moves.cancel {
                    take(case, rollout, moves, &mut decision);
                }
            }
        }
        Input::Continue => turn::start_what_waits(case, &mut decision),
        Input::Event(event) => match &event.kind {
            Kind::TrainingJob { job, .. } => {
                registration::decide(case, job, &mut decision);
                retrain::job_ended(case, job, &mut decision);
            }
            Kind::TuningJob { job, .. } => tuning::decide(case, job, &mut decision),
            Kind::TrainingStarted {
                job, is_tuning, by, ..
            } => {
                approval::remember_trainer(case, job, *is_tuning, by, &mut decision);
            }
            Kind::Package { arn, version, .. } => {
                approval::decide(case, arn, *version, &mut decision);
            }
            Kind::Endpoint { endpoint, .. } => {
                let stages: Vec<StageName> = case
                    .stages()
                    .filter(|s| &s.endpoint == endpoint)
                    .map(|s| s.name.clone())
                    .collect();
                for stage in stages {
                    look(case, &stage, &mut decision);
                }
                let is_silent = decision.nothing_because.is_none();
                if is_silent && !decision.changes(&case.snapshot.head) {
                    decision.nothing(format!("nothing of {endpoint} waits for this"));
                }
            }
            Kind::Tick { rollout, .. } => match case.snapshot.head.rollout(rollout) {
                Some(running) => look(case, &running.stage.clone(), &mut decision),
                None => decision.nothing(format!("the rollout {rollout} is over")),
            },
            Kind::Housekeeping => housekeep(case, &mut decision),
            Kind::Monitoring { .. } | Kind::Alarm { .. } => {
                triage::decide(case, event, &mut decision);
            }
            Kind::Execution { arn, .. } => {
                retrain::follow(case, &mut decision);
                if !decision.changes(&case.snapshot.head) {
                    decision.nothing(format!("nothing is left to follow of {arn}"));
                }
            }
            Kind::Unhandled { why, .. } => decision.nothing(why.clone()),
        },
    }
    observe::hold_back(case, &mut decision);
    if matches!(input, Input::Event(_) | Input::Continue) {
        observe::mark(case, &mut decision);
    }
    decision
}

/// One look at every rollout, and new ticks where they seem to have stopped.
fn housekeep(case: &Case<'_>, decision: &mut Decision) {
    let head = &case.snapshot.head;
    let of_policy = case.stages().map(|s| &s.name);
    let stages: BTreeSet<StageName> = head.rollouts.keys().chain(of_policy).cloned().collect();
    for stage in &stages {
        look(case, stage, decision);
    }
    let ticks: Vec<(Lane, Effect)> = head
        .rollouts
        .values()
        .filter(|r| have_ticks_stopped(case, r))
        .filter(|r| decision.head.rollout(&r.id).is_some())
        .map(|r| (Lane::Rollout(r.id.clone()), start_ticks(case, r)))
        .collect();
    // A schedule that is there is left as it is.
    decision.effects.extend(ticks);
    retrain::follow(case, decision);
    triage::watch(case, decision);
    monitors::follow(case, decision);
    if !decision.changes(head) {
        decision.nothing("nothing is unfinished");
    }
}

/// Whether nobody judged the minutes of a rollout that has some to judge. Before it has any, looking
/// at it every five minutes does.
fn have_ticks_stopped(case: &Case<'_>, rollout: &Rollout) -> bool {
    let settle = SignedDuration::from_mins(i64::from(rollout.plan.judge.settle_minutes));
    let is_behind = |judged: Timestamp| case.now.duration_since(judged) >= settle + TICKS_STOPPED;
    rollout.serves_candidate()
        && rollout.judged_until.is_some_and(is_behind)
        && !case.is_busy(rollout)
}

fn start_ticks(case: &Case<'_>, rollout: &Rollout) -> Effect {
    Effect::StartTicks {
        group: case.policy().pipeline.group.clone(),
        stage: rollout.stage.clone(),
        rollout: rollout.id.clone(),
    }
}

/// The rollouts with a call to do that changes their endpoint.
fn left_over<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Rollout> {
    let pending = &case.snapshot.pending;
    let lanes: Vec<&Lane> = pending
        .iter()
        .filter(|p| p.effect.changes_endpoint())
        .map(|p| &p.lane)
        .collect();
    let running = case.snapshot.head.rollouts.values();
    running.filter(move |r| {
        lanes
            .iter()
            .any(|lane| matches!(lane, Lane::Rollout(id) if id == &r.id))
    })
}

/// One look at the rollout of a stage, if there is one.
fn look(case: &Case<'_>, stage: &StageName, decision: &mut Decision) {
    let running = decision.head.rollouts.get(stage).cloned();
    let Some(mut rollout) = running.filter(|r| r.observed.is_none()) else {
        observe::look_at(case, stage, decision);
        return;
    };
    let is_busy = case.is_busy(&rollout);
    let moves = rollout::advance(
        &mut rollout,
        case.facts,
        case.now,
        is_busy,
        case.rejects_rolled_back(),
    );
    take(case, rollout, moves, decision);
}
