//! The way back: traffic to the champion first, then the canary goes.

use jiff::Timestamp;
use serde_json::json;

use super::moves::Moves;
use super::share::{share_of, shift};
use super::{Phase, Reason, Rollout, UNDO_ATTEMPTS, Undo, asked, finish, judge, start};
use crate::audit::What;
use crate::decision::Note;
use crate::event::EndpointStatus;
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::world::{ConfigSpec, Effect, Endpoint, VariantSpec};

/// Takes a rollout back: from now on its looks lead to the champion. What was asked for before is
/// not wanted any more.
pub fn roll_back(rollout: &mut Rollout, why: Reason, now: Timestamp, moves: &mut Moves) {
    if !rollout.is_running() || matches!(rollout.phase, Phase::RollingBack { .. }) {
        return;
    }
    let undo = if rollout.serves_candidate() && !Mutation::SkipShiftBack.is_on() {
        Undo::Shift
    } else {
        Undo::Restore
    };
    let phase = rollout.phase_word();
    moves.cancel = !Mutation::KeepPendingOnRollback.is_on();
    moves.effects.clear();
    rollout.attempts = 0;
    rollout.told_of_wait = false;
    // A call that was never made leaves the endpoint as it was: the way back does not wait for it.
    rollout.asked = None;
    moves.notes.push(
        Note::new(
            What::RollingBack,
            why.sentence.clone(),
            json!({ "cause": why.cause, "phase": phase, "guards": judge::summary(rollout), "at": now }),
        )
        .rollout(rollout)
        .tell(
            if why.cause.blames() { Severity::Warning } else { Severity::Info },
            format!("{} is being rolled back on {}", rollout.candidate.version, rollout.endpoint),
            vec![format!("During {phase}: {}.", why.sentence.trim_end_matches('.'))],
        ),
    );
    rollout.phase = Phase::RollingBack { why, undo };
}

/// One look at a rollout that goes back.
pub(super) fn look(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    why: &Reason,
    undo: Undo,
    now: Timestamp,
    reject: bool,
    moves: &mut Moves,
) {
    match endpoint.status {
        EndpointStatus::InService => {}
        EndpointStatus::Failed | EndpointStatus::OutOfService if rollout.incumbent.is_none() => {}
        // Over only when it is gone: nobody says so, and what waits for the stage needs its name.
        EndpointStatus::Deleting if rollout.incumbent.is_none() => return,
        EndpointStatus::Failed
        | EndpointStatus::OutOfService
        | EndpointStatus::UpdateRollbackFailed
        | EndpointStatus::Deleting => {
            finish::fail(
                rollout,
                format!(
                    "The way back is blocked: the endpoint {} is {}. Look at it now; it may \
                     not answer requests.",
                    endpoint.name,
                    endpoint.status_in_words()
                ),
                now,
                moves,
            );
            return;
        }
        _ => {
            tell_of_wait(rollout, endpoint, moves);
            return;
        }
    }
    if Mutation::NeverGoBack.is_on() && rollout.has_canary() {
        return;
    }
    if Mutation::DeleteChampionsEndpoint.is_on() {
        rollout.incumbent = None;
    }
    let Some(incumbent) = rollout.incumbent.clone() else {
        if is_spent(rollout, now, moves) {
            return;
        }
        moves.effects.push(Effect::DeleteEndpoint {
            endpoint: rollout.endpoint.clone(),
        });
        return;
    };
    if asked::is_of_before(rollout, endpoint) {
        return;
    }
    let is_reduced = endpoint.config == rollout.final_config;
    if endpoint.config == incumbent.config || endpoint.config == rollout.back_config() {
        rollout.went_back_by_own_config = endpoint.config == rollout.back_config();
        // What was asked for may still be on its way in the decision that cancels it: only a
        // later look can tell that the champion is really back.
        if !moves.cancel {
            finish::rolled_back(rollout, why.clone(), now, reject, moves);
        }
    } else if endpoint.config != rollout.config && !is_reduced {
        finish::foreign(rollout, endpoint, "its config", now, moves);
    } else if undo == Undo::Shift && !is_reduced {
        // The first look may show the endpoint before the canary's share: the traffic is asked for
        // in any case.
        if share_of(rollout, endpoint) == Some(0) && rollout.attempts > 0 {
            rollout.attempts = 0;
            rollout.weights.push((now, 0));
            rollout.phase = Phase::RollingBack {
                why: why.clone(),
                undo: Undo::Restore,
            };
        } else if !is_spent(rollout, now, moves) {
            shift(rollout, 0, moves);
        }
    } else if !is_spent(rollout, now, moves) {
        restore(rollout, endpoint, &incumbent, is_reduced, moves);
    }
}

/// Asks for the champion alone, with its present count.
fn restore(
    rollout: &Rollout,
    endpoint: &Endpoint,
    incumbent: &super::Incumbent,
    is_reduced: bool,
    moves: &mut Moves,
) {
    let keeps_variant = !is_reduced || rollout.final_variant == incumbent.variant;
    if keeps_variant {
        // The variant is in both configs, so it keeps its count and, alone, all the weight.
        moves.effects.push(Effect::UpdateEndpoint {
            endpoint: rollout.endpoint.clone(),
            config: if Mutation::BackToCanary.is_on() {
                rollout.config.clone()
            } else {
                incumbent.config.clone()
            },
            retain: true,
        });
        return;
    }
    moves
        .effects
        .push(Effect::CreateEndpointConfig(Box::new(ConfigSpec {
            name: rollout.back_config(),
            like: Some(incumbent.config.clone()),
            variants: vec![VariantSpec {
                // What serves may have been scaled since the champion went.
                count: endpoint
                    .variant(&rollout.final_variant)
                    .map_or(incumbent.count, |v| v.desired_count.max(1)),
                ..start::champion_variant(incumbent)
            }],
            // Copied with the rest.
            capture: None,
            tags: std::collections::BTreeMap::new(),
        })));
    moves.effects.push(Effect::UpdateEndpoint {
        endpoint: rollout.endpoint.clone(),
        config: rollout.back_config(),
        retain: false,
    });
}

/// Counts an attempt; after the last the rollout fails, and a person has to look.
fn is_spent(rollout: &mut Rollout, now: Timestamp, moves: &mut Moves) -> bool {
    if rollout.attempts < UNDO_ATTEMPTS {
        rollout.attempts += 1;
        return false;
    }
    finish::fail(
        rollout,
        format!(
            "The way back did not succeed in {UNDO_ATTEMPTS} attempts. Give all the traffic of {} \
             to the champion's variant by hand.",
            rollout.endpoint
        ),
        now,
        moves,
    );
    true
}

fn tell_of_wait(rollout: &mut Rollout, endpoint: &Endpoint, moves: &mut Moves) {
    // Once something was asked for, Updating is the way back itself.
    if rollout.told_of_wait || rollout.attempts > 0 {
        return;
    }
    rollout.told_of_wait = true;
    let why = format!(
        "The endpoint {} is {:?} and takes no calls until that is over; the way back begins then.",
        endpoint.name, endpoint.status
    );
    moves.notes.push(
        Note::new(
            What::RollingBack,
            why.clone(),
            json!({ "status": endpoint.status }),
        )
        .rollout(rollout)
        .tell(
            Severity::Warning,
            format!("The way back on {} waits for SageMaker", endpoint.name),
            vec![why],
        ),
    );
}
