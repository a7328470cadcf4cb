//! Does what is to be done: lane by lane side by side, within a lane one after the other.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::ledger::{Lane, Pending};
use crate::mutation::Mutation;
use crate::world::{Outcome, World, WorldError, WorldErrorKind};

/// From then on what is not found does not exist. What is shown within seconds may have been made
/// by a try again, minutes after it was decided, and the own time of who looks may be ahead.
const SHOWN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// A record that could not be written for so long is given up: others need it less than room.
const RECORDED_WITHIN: SignedDuration = SignedDuration::from_hours(6);

/// What came of the effects that were to be done.
#[derive(Debug, Default)]
pub(super) struct Acted {
    /// Done, or refused for good.
    pub(super) settled: Vec<(Pending, Outcome)>,
    /// Can't be done now; they stay, and what comes after them in their lane with them.
    pub(super) waiting: Vec<(Pending, WorldError)>,
}

/// Does the effects that are not in `skip`.
pub(super) async fn act<W: World>(
    world: &W,
    pending: &[Pending],
    skip: &[String],
    now: Timestamp,
) -> Acted {
    let mut lanes: BTreeMap<&Lane, Vec<&Pending>> = BTreeMap::new();
    for effect in pending {
        lanes.entry(&effect.lane).or_default().push(effect);
    }
    // A lane whose head could not be done a moment ago is left alone.
    lanes.retain(|_, effects| effects.first().is_some_and(|e| !skip.contains(&e.id)));
    let mut acted = Acted::default();
    for lane in join_all(
        lanes
            .into_values()
            .map(|effects| act_in_order(world, effects, now)),
    )
    .await
    {
        acted.settled.extend(lane.settled);
        acted.waiting.extend(lane.waiting);
    }
    acted.settled.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    acted
}

/// Whether what a call needs may have been made so short a time ago that `SageMaker` does not find
/// it yet: the page of `CreateEndpoint` says so and asks to try again. A rollout's ticks do.
fn is_not_found_yet(pending: &Pending, error: &WorldError, follows: bool, now: Timestamp) -> bool {
    let is_new = follows || now.duration_since(pending.at) < SHOWN_AFTER;
    matches!(pending.lane, Lane::Rollout(_))
        && error.kind == WorldErrorKind::Gone
        && is_new
        && !Mutation::TrustStale.is_on()
}

/// Whether the call may go through later, and is still worth it.
fn is_passing(pending: &Pending, error: &WorldError, now: Timestamp) -> bool {
    let is_late = now.duration_since(pending.at) >= RECORDED_WITHIN;
    error.is_passing() && !(is_late && pending.effect.is_record())
}

async fn act_in_order<W: World>(world: &W, effects: Vec<&Pending>, now: Timestamp) -> Acted {
    let mut acted = Acted::default();
    for effect in effects {
        match world.perform(&effect.effect).await {
            Ok(outcome) => {
                let refused = matches!(outcome, Outcome::Failed(_));
                acted.settled.push((effect.clone(), outcome));
                if refused {
                    break;
                }
            }
            Err(error) if error.is_passing() && Mutation::SettleUndone.is_on() => {
                tracing::debug!(%error, "a deliberate bug");
                acted.settled.push((effect.clone(), Outcome::Done));
            }
            Err(error)
                if is_passing(effect, &error, now)
                    || is_not_found_yet(effect, &error, !acted.settled.is_empty(), now) =>
            {
                tracing::info!(effect = %effect.id, %error, "to be done later");
                acted.waiting.push((effect.clone(), error));
                break;
            }
            // What comes after it may need it: the decision sees the refusal first.
            Err(error) => {
                tracing::warn!(effect = %effect.id, %error, "refused");
                acted.settled.push((effect.clone(), Outcome::Failed(error)));
                break;
            }
        }
    }
    acted
}
