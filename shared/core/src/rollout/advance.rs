//! One look at a rollout: what its endpoint is now, and what it should be asked to become.
//!
//! Every phase compares the described endpoint with what was asked for. So a look too many changes
//! nothing, a look too late changes nothing but time, and what somebody else did is seen.

use jiff::Timestamp;
use serde_json::json;

use super::moves::Moves;
use super::phases::{baking, prepared, promoting, reducing, smoke, smoke_question, step};
use super::share::disturbed;
use super::{Cause, Phase, Reason, Rollout, asked, finish, judge, observe, past, silence, undo};
use crate::audit::What;
use crate::decision::Note;
use crate::event::EndpointStatus;
use crate::evidence::Verdict;
use crate::facts::{Facts, Known};
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::world::{Answer, Endpoint, Question, WorldError};

/// What has to be known for a look.
pub fn needs(rollout: &Rollout, facts: &Facts, now: Timestamp) -> Vec<Question> {
    if rollout.observed.is_some() {
        return observe::needs_to_watch(rollout, facts, now);
    }
    let mut questions = vec![Question::Endpoint(rollout.endpoint.clone())];
    questions.extend(judge::minutes_question(rollout, now));
    questions.extend(past::questions(rollout));
    let is_up = facts
        .endpoint(&rollout.endpoint)
        .is()
        .is_some_and(|e| e.status == EndpointStatus::InService && e.config == rollout.config);
    if is_up && matches!(rollout.phase, Phase::Preparing | Phase::Smoke) {
        questions.extend(smoke_question(rollout));
    }
    questions
}

/// Looks at a rollout. `busy`: effects of it are still to be done. `reject`: the policy wants a
/// rolled back package rejected.
pub fn advance(
    rollout: &mut Rollout,
    facts: &Facts,
    now: Timestamp,
    busy: bool,
    reject: bool,
) -> Moves {
    let mut moves = Moves::default();
    silence::note(rollout, facts, now, &mut moves);
    let endpoint = match facts.endpoint(&rollout.endpoint) {
        Known::NotAsked => return moves,
        Known::Missing => {
            endpoint_is_gone(rollout, now, busy, reject, &mut moves);
            return moves;
        }
        Known::Is(endpoint) => endpoint,
    };
    asked::exists(rollout, endpoint);
    let question = judge::minutes_question(rollout, now);
    match question.and_then(|question| facts.answer(&question)) {
        Some(Answer::Refused(error)) => {
            if !error.is_passing() {
                tell_of_blindness(rollout, error, &mut moves);
            }
            if !busy {
                stop_if_broken(rollout, endpoint, facts, now, reject, &mut moves);
            }
            // Nothing moves on unwatched.
            if !Mutation::MoveUnwatched.is_on() {
                return moves;
            }
        }
        Some(_) => judge::sees_again(rollout),
        None => {}
    }
    let was_crossed = rollout.crossed.is_some();
    judge::judge(rollout, facts, now);
    if rollout.is_lone() {
        if rollout.crossed.is_some() && !was_crossed {
            tell_of_harm(rollout, &mut moves);
        }
    } else if rollout.serves_candidate()
        && !Mutation::IgnoreVerdict.is_on()
        && matches!(judge::says(rollout), Verdict::RollBack { .. })
    {
        let sentence = judge::sentence(rollout);
        undo::roll_back(
            rollout,
            Reason {
                cause: Cause::Guard,
                sentence,
            },
            now,
            &mut moves,
        );
    }
    let is_free = !busy || moves.cancel;
    // Every turn passes one phase; there are fewer phases than turns.
    for _ in 0..8 {
        if !is_free || !moves.effects.is_empty() || !rollout.is_running() {
            break;
        }
        let before = rollout.phase.clone();
        turn(rollout, endpoint, facts, now, reject, &mut moves);
        if rollout.phase == before {
            break;
        }
    }
    asked::note(rollout, endpoint, &moves);
    moves
}

/// What needs no counts: an endpoint that does not serve any more, or that somebody else changed.
fn stop_if_broken(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    facts: &Facts,
    now: Timestamp,
    reject: bool,
    moves: &mut Moves,
) {
    if endpoint.status != EndpointStatus::InService {
        turn(rollout, endpoint, facts, now, reject, moves);
    } else if let Some(what) = disturbed(rollout, endpoint)
        && !asked::is_of_before(rollout, endpoint)
    {
        finish::foreign(rollout, endpoint, what, now, moves);
    }
}

/// Harm on an endpoint that has nothing to go back to.
fn tell_of_harm(rollout: &Rollout, moves: &mut Moves) {
    let version = rollout.candidate.version;
    let sentence = judge::sentence(rollout);
    moves.notes.push(
        Note::new(
            What::HarmFound,
            sentence.clone(),
            json!({ "guards": judge::summary(rollout) }),
        )
        .rollout(rollout)
        .tell(
            Severity::Action,
            format!("{version} does badly on {}", rollout.endpoint),
            vec![
                format!("{sentence}."),
                format!(
                    "It was deployed alone, so there is nothing to shift the traffic back to, and \
                     it goes on to no further stage. Reject {version} to have the version before \
                     it take over, if there is one, or approve a better one."
                ),
            ],
        ),
    );
}

fn tell_of_blindness(rollout: &mut Rollout, error: &WorldError, moves: &mut Moves) {
    if !judge::is_blinded_anew(rollout, error) {
        return;
    }
    let why = format!(
        "AWS refused {}: {}. The guards of the rollout can't be read, and it stays where it is.",
        error.call, error.message
    );
    moves.notes.push(
        Note::new(What::StepHeld, why.clone(), json!({ "error": error }))
            .rollout(rollout)
            .tell(
                Severity::Action,
                format!(
                    "{} holds on {}: nobody watches it",
                    rollout.candidate.version, rollout.endpoint
                ),
                vec![
                    why,
                    format!(
                        "It goes on by itself when they can be read. To take it back, reject {}.",
                        rollout.candidate.version
                    ),
                ],
            ),
    );
}

/// Looks before calls are made that were left to do: nothing is asked of an endpoint that somebody
/// else changed meanwhile.
pub fn resume(rollout: &mut Rollout, facts: &Facts, now: Timestamp) -> Moves {
    let mut moves = Moves::default();
    if let Some(endpoint) = facts.endpoint(&rollout.endpoint).is()
        && endpoint.status == EndpointStatus::InService
    {
        if let Some(what) = disturbed(rollout, endpoint) {
            finish::foreign(rollout, endpoint, what, now, &mut moves);
        } else {
            asked::anew(rollout, endpoint);
        }
    }
    moves
}

fn turn(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    facts: &Facts,
    now: Timestamp,
    reject: bool,
    moves: &mut Moves,
) {
    if let Phase::RollingBack { why, undo } = rollout.phase.clone() {
        undo::look(rollout, endpoint, &why, undo, now, reject, moves);
        return;
    }
    match endpoint.status {
        EndpointStatus::InService => in_service(rollout, endpoint, facts, now, reject, moves),
        EndpointStatus::Failed if rollout.incumbent.is_none() => {
            let sentence = format!(
                "SageMaker could not create the endpoint: {}",
                endpoint.failure.as_deref().unwrap_or("it gave no reason")
            );
            undo::roll_back(
                rollout,
                Reason {
                    cause: Cause::Deployment,
                    sentence,
                },
                now,
                moves,
            );
        }
        EndpointStatus::Failed
        | EndpointStatus::OutOfService
        | EndpointStatus::UpdateRollbackFailed
        | EndpointStatus::Deleting => {
            let why = format!(
                "The endpoint {} is {}: SageMaker lets nobody update it. Look at it now; it \
                 may not answer requests.",
                endpoint.name,
                endpoint.status_in_words()
            );
            finish::fail(rollout, why, now, moves);
        }
        EndpointStatus::Creating
        | EndpointStatus::Updating
        | EndpointStatus::SystemUpdating
        | EndpointStatus::RollingBack
        | EndpointStatus::Unknown => {}
    }
}

fn in_service(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    facts: &Facts,
    now: Timestamp,
    reject: bool,
    moves: &mut Moves,
) {
    match rollout.phase.clone() {
        Phase::Preparing => prepared(rollout, endpoint, now, reject, moves),
        Phase::Smoke => smoke(rollout, endpoint, facts, now, moves),
        Phase::Step { index, since } => step(rollout, endpoint, index, since, now, moves),
        Phase::Promoting => promoting(rollout, endpoint, now, moves),
        Phase::Baking { since } => baking(rollout, endpoint, since, now, moves),
        Phase::Reducing { since } => reducing(rollout, endpoint, since, now, moves),
        Phase::RollingBack { .. }
        | Phase::Done
        | Phase::RolledBack { .. }
        | Phase::Superseded { .. }
        | Phase::Failed { .. }
        | Phase::Observing { .. }
        | Phase::Observed { .. } => {}
    }
}

fn endpoint_is_gone(
    rollout: &mut Rollout,
    now: Timestamp,
    busy: bool,
    reject: bool,
    moves: &mut Moves,
) {
    let is_first = rollout.incumbent.is_none();
    // It has not been created yet, or is not shown yet.
    let is_to_come = matches!(rollout.phase, Phase::Preparing) && busy;
    if is_first && (is_to_come || asked::is_not_shown_yet(rollout)) {
        return;
    }
    match (&rollout.phase, &rollout.incumbent) {
        (Phase::RollingBack { why, .. }, None) => {
            let why = why.clone();
            finish::rolled_back(rollout, why, now, reject, moves);
        }
        _ => {
            finish::gone(rollout, now, moves);
        }
    }
}
