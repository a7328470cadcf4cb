//! What a rollout makes of a call that AWS refused for good.

use jiff::Timestamp;
use serde_json::json;

use super::moves::Moves;
use super::{Cause, Phase, Reason, Rollout, finish, observe, undo};
use crate::audit::What;
use crate::decision::Note;
use crate::world::{Effect, WorldError, WorldErrorKind};

/// Notes that AWS refused a call. Where nothing has moved yet the rollout ends; where it has, the
/// next look sees what is missing and asks again, a bounded number of times.
pub fn effect_failed(
    rollout: &mut Rollout,
    effect: &Effect,
    error: &WorldError,
    now: Timestamp,
    reject: bool,
) -> Moves {
    if rollout.observed.is_some() {
        return observe::refused(rollout, effect, error, now);
    }
    let mut moves = Moves::default();
    rollout.refused = Some(format!("{}: {}", error.call, error.message));
    moves.notes.push(
        Note::new(
            What::EffectFailed,
            format!("AWS refused {}: {}", error.call, error.message),
            json!({ "effect": effect, "error": error }),
        )
        .rollout(rollout),
    );
    let is_gone = error.kind == WorldErrorKind::Gone;
    if !is_gone {
        // What was not changed is shown as it was.
        rollout.asked = None;
    }
    let is_first_step = matches!(
        effect,
        Effect::StartTicks { .. }
            | Effect::CreateModel(_)
            | Effect::CreateEndpointConfig(_)
            | Effect::CreateEndpoint { .. }
    );
    match (&rollout.phase, effect) {
        // Somebody else may have found it, and the endpoint be on its way: a look tells.
        (Phase::Preparing, _) if is_first_step && is_gone => {
            let sentence = format!("AWS refused {}: {}", error.call, error.message);
            let why = Reason {
                cause: Cause::Deployment,
                sentence,
            };
            undo::roll_back(rollout, why, now, &mut moves);
        }
        (Phase::Preparing, _) if is_first_step => {
            moves.cancel = true;
            let sentence = format!("AWS refused {}: {}", error.call, error.message);
            finish::rolled_back(
                rollout,
                Reason {
                    cause: Cause::Deployment,
                    sentence,
                },
                now,
                reject,
                &mut moves,
            );
        }
        // What comes after it in its lane needs it.
        (_, Effect::CreateEndpointConfig(_)) if rollout.is_running() => moves.cancel = true,
        _ => {}
    }
    moves
}
