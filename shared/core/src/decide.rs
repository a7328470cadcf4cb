//! The decision: state, input and facts in, next state and everything to do out.
//!
//! A pure function. [`needs`] says which facts are missing, [`decide`] decides on them; who calls
//! them and in which order is the [`crate::engine`]'s part.

use crate::case::Case;
use crate::decision::Decision;
use crate::event::{Event, Kind};
use crate::ledger::{Lane, Pending};
use crate::name::StageName;
use crate::rollout::{self, Rollout};
use crate::turn::{self, take};
use crate::world::{Effect, Outcome, Question};
use crate::{approval, registration, triage};

mod outcomes;

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
            Kind::Package { arn, version, .. } => approval::needs(case, arn, *version),
            Kind::Endpoint { endpoint, .. } => case
                .snapshot
                .head
                .rollouts
                .values()
                .filter(|r| &r.endpoint == endpoint)
                .flat_map(|r| rollout::needs(r, case.facts, case.now))
                .collect(),
            Kind::Tick { rollout, .. } => case
                .snapshot
                .head
                .rollout(rollout)
                .map(|r| rollout::needs(r, case.facts, case.now))
                .unwrap_or_default(),
            Kind::Monitoring { .. } | Kind::Alarm { .. } => triage::needs(case, &event.kind),
            Kind::Unhandled { .. } => Vec::new(),
        },
    };
    questions.retain(|q| !case.facts.has(q));
    questions
}

/// Decides.
pub fn decide(case: &Case<'_>, input: &Input<'_>) -> Decision {
    let mut decision = Decision::on(&case.snapshot.head);
    match input {
        Input::Settled(outcomes) => outcomes::settle(case, outcomes, &mut decision),
        Input::Resume => {
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
            Kind::TrainingJob { job, .. } => registration::decide(case, job, &mut decision),
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
                if !decision.changes(&case.snapshot.head) {
                    decision.nothing(format!("nothing of {endpoint} waits for this"));
                }
            }
            Kind::Tick { rollout, .. } => match case.snapshot.head.rollout(rollout) {
                Some(running) => look(case, &running.stage.clone(), &mut decision),
                None => decision.nothing(format!("the rollout {rollout} is over")),
            },
            Kind::Monitoring { .. } | Kind::Alarm { .. } => {
                triage::decide(case, event, &mut decision);
            }
            Kind::Unhandled { why, .. } => decision.nothing(why.clone()),
        },
    }
    decision
}

/// The rollouts with a call to do that changes their endpoint.
fn left_over<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Rollout> {
    let pending = &case.snapshot.pending;
    let changes = |effect: &Effect| {
        matches!(
            effect,
            Effect::UpdateEndpoint { .. } | Effect::ShiftWeights { .. }
        )
    };
    let lanes: Vec<&Lane> = pending
        .iter()
        .filter(|p| changes(&p.effect))
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
    let Some(mut rollout) = decision.head.rollouts.get(stage).cloned() else {
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
