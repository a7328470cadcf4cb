//! With all the traffic: the candidate stands beside what served before, which is then taken away.

use jiff::Timestamp;
use serde_json::json;

use super::{has_share, hold_blind, reason};
use crate::audit::What;
use crate::decision::Note;
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::rollout::moves::Moves;
use crate::rollout::share::{share_before_all, share_of};
use crate::rollout::{ATTEMPTS, Phase, Rollout, asked, finish, judge};
use crate::world::{ConfigSpec, Effect, Endpoint, VariantSpec};

pub(in crate::rollout) fn promoting(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    now: Timestamp,
    moves: &mut Moves,
) {
    let before = share_before_all(rollout);
    if !has_share(rollout, endpoint, 100, before, false, now, moves) {
        return;
    }
    rollout.phase = Phase::Baking { since: now };
    rollout.weights.push((now, 100));
    rollout.attempts = 1;
    rollout.told_of_wait = false;
    let kept = match rollout.plan.bake_minutes {
        0 => "what served before goes now".to_owned(),
        bake => format!("what served before is kept for {bake} minutes"),
    };
    moves.notes.push(
        Note::new(
            What::Promoted,
            format!(
                "{} has all the traffic of {}; {kept}.",
                rollout.candidate.version, rollout.endpoint
            ),
            json!({ "guards": judge::summary(rollout) }),
        )
        .rollout(rollout)
        .tell(
            Severity::Info,
            format!(
                "{} has all the traffic of {}",
                rollout.candidate.version, rollout.endpoint
            ),
            vec![
                format!("{}.", judge::sentence(rollout)),
                format!("W{}.", kept.trim_start_matches('w')),
            ],
        ),
    );
}

pub(in crate::rollout) fn baking(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    since: Timestamp,
    now: Timestamp,
    moves: &mut Moves,
) {
    if !has_share(rollout, endpoint, 100, 100, true, now, moves) {
        return;
    }
    // Its last minutes are judged, too, before what served before goes.
    let bake = rollout.plan.bake_minutes;
    if judge::judged_since(rollout, since, now) < bake && !Mutation::SkipBake.is_on() {
        return;
    }
    if bake > 0
        && let Some(guard) = judge::blind_alone(rollout, since)
    {
        return hold_blind(rollout, guard, 100, moves);
    }
    rollout.phase = Phase::Reducing { since: None };
    rollout.attempts = 1;
    rollout.told_of_wait = false;
    moves.notes.push(
        Note::new(
            What::Reducing,
            format!(
                "{} stood {} minutes with all the traffic: {} is reduced to it.",
                rollout.candidate.version, rollout.plan.bake_minutes, rollout.endpoint
            ),
            json!({ "guards": judge::summary(rollout) }),
        )
        .rollout(rollout),
    );
    reduce(rollout, endpoint, moves);
}

fn reduce(rollout: &Rollout, endpoint: &Endpoint, moves: &mut Moves) {
    let count = endpoint
        .variant(&rollout.canary)
        .map_or(1, |v| v.desired_count.max(1));
    let at_start = rollout.incumbent.as_ref().map(|i| i.count);
    let count = match at_start.filter(|_| Mutation::ForgetScaling.is_on()) {
        Some(at_start) => at_start,
        None => count,
    };
    moves
        .effects
        .push(Effect::CreateEndpointConfig(Box::new(ConfigSpec {
            name: rollout.final_config.clone(),
            like: Some(rollout.config.clone()),
            variants: vec![VariantSpec {
                name: rollout.final_variant.clone(),
                model: rollout.model.clone(),
                like: Some(rollout.canary.clone())
                    .filter(|_| !Mutation::ForgetVariantSettings.is_on()),
                instance: None,
                count,
                weight: 100,
                model_download_seconds: None,
                startup_seconds: None,
            }],
            // Copied with the rest.
            capture: None,
            tags: std::collections::BTreeMap::new(),
        })));
    moves.effects.push(Effect::UpdateEndpoint {
        endpoint: rollout.endpoint.clone(),
        config: rollout.final_config.clone(),
        retain: false,
    });
}

pub(in crate::rollout) fn reducing(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    since: Option<Timestamp>,
    now: Timestamp,
    moves: &mut Moves,
) {
    if endpoint.config == rollout.served_config() {
        let since = since.unwrap_or(now);
        rollout.phase = Phase::Reducing { since: Some(since) };
        if judge::judged_since(rollout, since, now) >= rollout.plan.watch_minutes
            || Mutation::SkipWatch.is_on()
        {
            finish::done(rollout, now, moves);
        }
        return;
    }
    if asked::is_of_before(rollout, endpoint) {
        return;
    }
    if endpoint.config != rollout.config || since.is_some() {
        finish::foreign(rollout, endpoint, "its config", now, moves);
        return;
    }
    if share_of(rollout, endpoint) != Some(100) {
        finish::foreign(rollout, endpoint, "its weights", now, moves);
        return;
    }
    let reason = reason(rollout, endpoint);
    if rollout.attempts < ATTEMPTS {
        rollout.attempts += 1;
        reduce(rollout, endpoint, moves);
    } else {
        finish::fail(
            rollout,
            format!(
                "{} has all the traffic of {}, but SageMaker could not take the old fleet away in \
                 {ATTEMPTS} attempts: {reason}. Update the endpoint to the config {} by hand.",
                rollout.candidate.version, rollout.endpoint, rollout.final_config
            ),
            now,
            moves,
        );
    }
}
