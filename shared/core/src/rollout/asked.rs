//! Whether a description of an endpoint is of before what was asked of it.
//!
//! Reads of `SageMaker` are consistent only in the end: seconds after `UpdateEndpoint` an endpoint
//! may still be shown as it was, which looks as if the change had been taken back. Its
//! `LastModifiedTime` tells the two apart.

use super::moves::Moves;
use super::{Asked, Rollout};
use crate::event::EndpointStatus;
use crate::mutation::Mutation;
use crate::world::{Effect, Endpoint};

/// So many descriptions that are no newer, and it is believed that nothing changed. They come once
/// a minute, and what is written shows within seconds.
const MOST_LOOKS: u8 = 5;

/// Notes what the endpoint is, if something is asked of it now.
pub(super) fn note(rollout: &mut Rollout, endpoint: &Endpoint, moves: &Moves) {
    if moves.effects.iter().any(Effect::changes_endpoint) {
        rollout.asked = Some(Asked {
            of: endpoint.modified,
            looks: 0,
        });
    }
}

/// What is still to be asked is asked of the endpoint as it is now.
pub(super) fn anew(rollout: &mut Rollout, endpoint: &Endpoint) {
    if let Some(asked) = &mut rollout.asked
        && endpoint.modified > asked.of
    {
        asked.of = endpoint.modified;
    }
}

/// An endpoint that was created is up: it was made long enough ago to be shown.
pub(super) fn exists(rollout: &mut Rollout, endpoint: &Endpoint) {
    let is_up = endpoint.status != EndpointStatus::Creating;
    if is_up && rollout.incumbent.is_none() && rollout.asked.is_some_and(|a| a.of.is_none()) {
        rollout.asked = None;
    }
}

/// Whether this shows the endpoint as it was before something was asked of it.
pub(super) fn is_of_before(rollout: &mut Rollout, endpoint: &Endpoint) -> bool {
    let Some(asked) = &mut rollout.asked else {
        return false;
    };
    let is_newer = endpoint.modified.is_none() || endpoint.modified > asked.of;
    if is_newer || asked.looks >= MOST_LOOKS || Mutation::TrustStale.is_on() {
        return false;
    }
    asked.looks += 1;
    true
}

/// Whether an endpoint that was created may not be shown yet.
pub(super) fn is_not_shown_yet(rollout: &mut Rollout) -> bool {
    let Some(asked) = rollout.asked.as_mut().filter(|a| a.of.is_none()) else {
        return false;
    };
    if asked.looks >= MOST_LOOKS || Mutation::TrustStale.is_on() {
        return false;
    }
    asked.looks += 1;
    true
}
