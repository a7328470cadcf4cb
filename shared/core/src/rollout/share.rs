//! Shares of traffic: asked for in whole percents, compared with what the endpoint has, and what
//! somebody else changed told apart from what is still on its way.

use super::moves::Moves;
use super::{Phase, Rollout};
use crate::mutation::Mutation;
use crate::world::{Effect, Endpoint};

/// What somebody else changed of an endpoint that was asked for a change, if anything.
pub(super) fn disturbed(rollout: &Rollout, endpoint: &Endpoint) -> Option<&'static str> {
    let incumbent = rollout.incumbent.as_ref()?;
    let ours = [
        &incumbent.config,
        &rollout.config,
        &rollout.final_config,
        &rollout.back_config(),
    ];
    if !ours.contains(&&endpoint.config) {
        return Some("its config");
    }
    if endpoint.config != rollout.config {
        return None;
    }
    let share = share_of(rollout, endpoint);
    let is_expected = match &rollout.phase {
        Phase::Step { index, .. } => {
            share == Some(share_before(rollout, *index))
                || share == rollout.plan.strategy.canary.get(*index).copied()
        }
        Phase::Promoting => share == Some(share_before_all(rollout)) || share == Some(100),
        Phase::Reducing { .. } => share == Some(100),
        // The way back goes before anybody's weights.
        _ => true,
    };
    (!is_expected).then_some("its weights")
}

/// The canary's share before a step.
pub(super) fn share_before(rollout: &Rollout, index: usize) -> u8 {
    let before = index.checked_sub(1);
    let share = before.and_then(|i| rollout.plan.strategy.canary.get(i));
    share.copied().unwrap_or(0)
}

/// The canary's share before it gets all the traffic.
pub(super) fn share_before_all(rollout: &Rollout) -> u8 {
    share_before(rollout, rollout.plan.strategy.canary.len())
}

/// Asks for the canary's share of traffic, percent.
pub(super) fn shift(rollout: &Rollout, share: u8, moves: &mut Moves) {
    debug_assert!(share <= 100);
    let mut weights = std::collections::BTreeMap::new();
    if let Some(incumbent) = &rollout.incumbent {
        let of_canary = share.min(100)
            / if Mutation::WeightsDontSum.is_on() {
                2
            } else {
                1
            };
        weights.insert(incumbent.variant.clone(), 100 - of_canary);
    }
    weights.insert(rollout.canary.clone(), share.min(100));
    moves.effects.push(Effect::ShiftWeights {
        endpoint: rollout.endpoint.clone(),
        weights,
    });
}

/// The canary's share of traffic, percent, as it is asked for; none if it isn't a whole one of
/// these two variants.
pub(super) fn share_of(rollout: &Rollout, endpoint: &Endpoint) -> Option<u8> {
    let total: f64 = endpoint.variants.iter().map(|v| v.desired_weight).sum();
    let canary = endpoint.variant(&rollout.canary)?.desired_weight;
    let incumbent = rollout.incumbent.as_ref()?;
    let champion = endpoint.variant(&incumbent.variant)?.desired_weight;
    if total <= 0.0 || ((canary + champion) / total - 1.0).abs() > 1e-6 {
        return None;
    }
    let share = 100.0 * canary / total;
    let whole = share.round();
    // A float holds every whole percent exactly.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    ((share - whole).abs() < 1e-3).then_some(whole as u8)
}
