//! What each phase makes of an endpoint that is `InService`: is what was asked for there, has the
//! phase lasted long enough, and what is asked for next.

use jiff::Timestamp;
use serde_json::json;

use super::moves::Moves;
use super::share::{share_of, shift};
use super::{ATTEMPTS, Cause, Reason, Rollout, asked, finish, judge, undo};
use crate::audit::What;
use crate::decision::Note;
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::world::Endpoint;

mod prepare;
mod step;
mod whole;

pub(super) use prepare::{prepared, smoke, smoke_question};
pub(super) use step::step;
pub(super) use whole::{baking, promoting, reducing};

/// How many minutes of a step have to be judged before it may end early.
pub const FEWEST_MINUTES: u32 = 3;

/// Why a deployment did not come: what SageMaker says of the endpoint, else what it refused.
fn reason(rollout: &Rollout, endpoint: &Endpoint) -> String {
    let said = endpoint.failure.clone().or_else(|| rollout.refused.clone());
    said.unwrap_or_else(|| "SageMaker gave no reason".to_owned())
}

/// Whether the endpoint has the share that was asked for. If not: it is asked for again, or the
/// rollout ends, because SageMaker went back twice or because somebody else changed it.
fn has_share(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    wanted: u8,
    before: u8,
    is_confirmed: bool,
    now: Timestamp,
    moves: &mut Moves,
) -> bool {
    if endpoint.config != rollout.config {
        finish::foreign(rollout, endpoint, "its config", now, moves);
        return false;
    }
    let share = share_of(rollout, endpoint);
    if share == Some(wanted) {
        return true;
    }
    if Mutation::IgnoreForeignWeights.is_on() && share != Some(before) {
        return true;
    }
    if asked::is_of_before(rollout, endpoint) {
        return false;
    }
    if is_confirmed || share != Some(before) {
        finish::foreign(rollout, endpoint, "its weights", now, moves);
    } else if rollout.attempts < ATTEMPTS {
        rollout.attempts += 1;
        shift(rollout, wanted, moves);
    } else {
        let sentence = format!(
            "SageMaker did not give {} {wanted} % of the traffic in {ATTEMPTS} attempts",
            rollout.candidate.version
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
    false
}

/// A guard measures nothing: nobody is promoted on it.
fn hold_blind(rollout: &mut Rollout, guard: usize, share: u8, moves: &mut Moves) {
    if rollout.told_of_wait {
        return;
    }
    rollout.told_of_wait = true;
    let version = rollout.candidate.version;
    let guards = rollout.plan.guards_or_default();
    let guard = guards.into_iter().nth(guard).unwrap_or_default();
    let words = guard.metric.words();
    let sentence = format!(
        "CloudWatch has nothing of {words} on {version} ({} of {}), although it serves {share} % \
         of {}",
        guard.metric.of_what(),
        rollout.canary,
        rollout.endpoint
    );
    moves.notes.push(
        Note::new(
            What::StepHeld,
            sentence.clone(),
            json!({ "guard": guard, "guards": judge::summary(rollout) }),
        )
        .rollout(rollout)
        .tell(
            Severity::Action,
            format!(
                "{version} holds on {}: {words} can't be measured",
                rollout.endpoint
            ),
            vec![
                format!("{sentence}."),
                "Is the metric published, with the dimensions that the policy says? It goes on by \
                 itself when there is data."
                    .to_owned(),
                format!("To take it back, reject {version}."),
            ],
        ),
    );
}
