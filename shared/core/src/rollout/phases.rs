//! What each phase makes of an endpoint that is `InService`: is what was asked for there, has the
//! phase lasted long enough, and what is asked for next.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::moves::Moves;
use super::share::{share_before, share_before_all, share_of, shift};
use super::{ATTEMPTS, Cause, Phase, Reason, Rollout, asked, finish, judge, undo};
use crate::audit::What;
use crate::decision::Note;
use crate::evidence::Verdict;
use crate::facts::Facts;
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::pipeline::OnLowTraffic;
use crate::world::{Answer, ConfigSpec, Effect, Endpoint, Question, VariantSpec};

/// How many minutes of a step have to be judged before it may end early.
pub const FEWEST_MINUTES: u32 = 3;

pub(super) fn smoke_question(rollout: &Rollout) -> Option<Question> {
    (!rollout.plan.smoke.is_empty()).then(|| Question::Smoke {
        endpoint: rollout.endpoint.clone(),
        variant: rollout.canary.clone(),
        payloads: rollout.plan.smoke.clone(),
        content_type: rollout.plan.smoke_content_type.clone(),
    })
}

/// Why a deployment did not come: what SageMaker says of the endpoint, else what it refused.
fn reason(rollout: &Rollout, endpoint: &Endpoint) -> String {
    let said = endpoint.failure.clone().or_else(|| rollout.refused.clone());
    said.unwrap_or_else(|| "SageMaker gave no reason".to_owned())
}

pub(super) fn prepared(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    now: Timestamp,
    reject: bool,
    moves: &mut Moves,
) {
    if endpoint.config == rollout.config {
        if rollout.replaces {
            return watch_alone(rollout, now, moves);
        }
        rollout.phase = Phase::Smoke;
        moves.notes.push(
            Note::new(
                What::RolloutPreparing,
                match &rollout.incumbent {
                    Some(_) => format!(
                        "{} is up beside what serves, with no traffic.",
                        rollout.candidate.version
                    ),
                    None => format!("{} is up.", rollout.candidate.version),
                },
                json!({ "endpoint": endpoint }),
            )
            .rollout(rollout),
        );
        return;
    }
    if asked::is_of_before(rollout, endpoint) {
        return;
    }
    let came_back = rollout
        .incumbent
        .as_ref()
        .is_some_and(|i| i.config == endpoint.config);
    if !came_back {
        finish::foreign(rollout, endpoint, "its config", now, moves);
        return;
    }
    let reason = reason(rollout, endpoint);
    if rollout.attempts < ATTEMPTS || Mutation::RetryForever.is_on() {
        rollout.attempts = rollout.attempts.saturating_add(1);
        moves.notes.push(
            Note::new(
                What::RolloutPreparing,
                format!(
                    "{} went back to what served before ({reason}); the deployment is tried again.",
                    rollout.endpoint
                ),
                json!({ "attempt": rollout.attempts, "endpoint": endpoint }),
            )
            .rollout(rollout),
        );
        moves.effects.push(Effect::UpdateEndpoint {
            endpoint: rollout.endpoint.clone(),
            config: rollout.config.clone(),
            retain: false,
        });
    } else {
        let sentence = format!(
            "SageMaker could not bring {} up on {} in {ATTEMPTS} attempts: {reason}",
            rollout.candidate.version, rollout.endpoint
        );
        let why = Reason {
            cause: Cause::Deployment,
            sentence,
        };
        finish::rolled_back(rollout, why, now, reject, moves);
    }
}

pub(super) fn smoke(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    facts: &Facts,
    now: Timestamp,
    moves: &mut Moves,
) {
    if endpoint.config != rollout.config {
        return finish::foreign(rollout, endpoint, "its config", now, moves);
    }
    if rollout.incumbent.is_some() && share_of(rollout, endpoint) != Some(0) {
        return finish::foreign(rollout, endpoint, "its weights", now, moves);
    }
    let mut seen = json!([]);
    if let Some(question) = smoke_question(rollout).filter(|_| !Mutation::SkipSmoke.is_on()) {
        if let Some(Answer::Refused(error)) = facts.answer(&question)
            && !error.is_passing()
        {
            let sentence = format!(
                "the smoke requests could not be made: AWS refused {}: {}",
                error.call, error.message
            );
            let why = Reason {
                cause: Cause::Deployment,
                sentence,
            };
            return undo::roll_back(rollout, why, now, moves);
        }
        let Some(answers) = facts.smoke(&question).is() else {
            return;
        };
        seen = json!(answers);
        let slowest = u64::from(rollout.plan.smoke_milliseconds);
        let bad = answers
            .iter()
            .find(|a| !(200..300).contains(&a.status) || a.milliseconds > slowest);
        if let Some(bad) = bad {
            let sentence = match &bad.problem {
                Some(problem) => format!("smoke request {} failed: {problem}", bad.payload),
                None => format!(
                    "smoke request {} was answered with status {} after {} ms (at most {slowest} ms)",
                    bad.payload, bad.status, bad.milliseconds
                ),
            };
            moves.notes.push(
                Note::new(
                    What::SmokeFailed,
                    sentence.clone(),
                    json!({ "answers": seen }),
                )
                .rollout(rollout),
            );
            undo::roll_back(
                rollout,
                Reason {
                    cause: Cause::Smoke,
                    sentence,
                },
                now,
                moves,
            );
            return;
        }
    }
    moves.notes.push(
        Note::new(
            What::SmokePassed,
            match rollout.plan.smoke.len() {
                0 => "The policy has no smoke requests.".to_owned(),
                1 => "The smoke request was answered well.".to_owned(),
                n => format!("All {n} smoke requests were answered well."),
            },
            json!({ "answers": seen }),
        )
        .rollout(rollout),
    );
    if rollout.incumbent.is_none() {
        watch_alone(rollout, now, moves);
    } else {
        rollout.judged_until = Some(judge::floor_minute(now));
        start_step(rollout, 0, moves);
    }
}

/// Watches a candidate that was deployed alone, if anything can be said of it: against the past of
/// what served before, or by a ceiling.
fn watch_alone(rollout: &mut Rollout, now: Timestamp, moves: &mut Moves) {
    rollout.weights.push((now, 100));
    let guards = rollout.plan.guards_or_default();
    let has_measure = rollout.incumbent.is_some() || guards.iter().any(|g| g.ceiling.is_some());
    if rollout.plan.watch_minutes == 0 || !has_measure {
        finish::done(rollout, now, moves);
        return;
    }
    rollout.judged_until = Some(judge::floor_minute(now));
    rollout.phase = Phase::Reducing { since: Some(now) };
    let headline = format!(
        "{} has all the traffic of {}",
        rollout.candidate.version, rollout.endpoint
    );
    let watched = format!(
        "It was deployed alone and is watched for {} minutes.",
        rollout.plan.watch_minutes
    );
    moves.notes.push(
        Note::new(
            What::Promoted,
            format!("{headline}. {watched}"),
            json!({ "guards": judge::summary(rollout) }),
        )
        .rollout(rollout)
        .tell(Severity::Info, headline, vec![watched]),
    );
}

fn start_step(rollout: &mut Rollout, index: usize, moves: &mut Moves) {
    rollout.attempts = 1;
    rollout.told_of_wait = false;
    if let Some(share) = rollout.plan.strategy.canary.get(index).copied() {
        rollout.phase = Phase::Step { index, since: None };
        shift(rollout, share, moves);
    } else {
        rollout.phase = Phase::Promoting;
        shift(rollout, 100, moves);
    }
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

pub(super) fn step(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    index: usize,
    since: Option<Timestamp>,
    now: Timestamp,
    moves: &mut Moves,
) {
    let shares = rollout.plan.strategy.canary.clone();
    let Some(&share) = shares.get(index) else {
        start_step(rollout, index, moves);
        return;
    };
    let before = share_before(rollout, index);
    if !has_share(
        rollout,
        endpoint,
        share,
        before,
        since.is_some(),
        now,
        moves,
    ) {
        return;
    }
    let Some(since) = since else {
        rollout.phase = Phase::Step {
            index,
            since: Some(now),
        };
        rollout.weights.push((now, share));
        moves.notes.push(
            Note::new(
                What::StepStarted,
                format!(
                    "Step {} of {}: {} has {share} % of the traffic of {}.",
                    index + 1,
                    shares.len(),
                    rollout.candidate.version,
                    rollout.endpoint
                ),
                json!({ "share": share, "guards": judge::summary(rollout) }),
            )
            .rollout(rollout),
        );
        return;
    };
    let strategy = rollout.plan.strategy.clone();
    let requests = judge::requests_since(rollout, since);
    let judged = judge::judged_since(rollout, since, now);
    let blind = judge::blind_guard(rollout, since);
    // What was safe at a smaller share is no word on a guard that has gone blind since.
    let is_safe = blind.is_none() && judge::says(rollout) == Verdict::Safe;
    let early = is_safe && judged >= FEWEST_MINUTES.min(strategy.minutes);
    if early || Mutation::EndStepEarly.is_on() {
        start_step(rollout, index + 1, moves);
        return;
    }
    if judge::minutes_since(rollout, since, now) < strategy.minutes {
        return;
    }
    if let Some(guard) = blind {
        hold_blind(rollout, guard, share, moves);
        return;
    }
    if requests >= strategy.min_requests {
        if judged >= strategy.minutes {
            start_step(rollout, index + 1, moves);
        }
        return;
    }
    let longest = SignedDuration::from_mins(i64::from(strategy.longest_minutes()));
    if now.duration_since(since) >= longest {
        low_traffic(rollout, index, share, requests, now, moves);
    }
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

/// A step had too few requests by its longest time: the policy decides, and people are told.
fn low_traffic(
    rollout: &mut Rollout,
    index: usize,
    share: u8,
    requests: u64,
    now: Timestamp,
    moves: &mut Moves,
) {
    let strategy = rollout.plan.strategy.clone();
    let sentence = format!(
        "{} had {requests} requests in {} minutes of step {}, fewer than the {} that the policy \
         asks for",
        rollout.candidate.version,
        strategy.longest_minutes(),
        index + 1,
        strategy.min_requests
    );
    match strategy.on_low_traffic {
        _ if Mutation::PromoteOnHold.is_on() => start_step(rollout, index + 1, moves),
        OnLowTraffic::Promote => {
            let next = match strategy.canary.get(index + 1) {
                Some(next) => format!("{next} %"),
                None => "all".to_owned(),
            };
            moves.notes.push(
                Note::new(
                    What::StepHeld,
                    format!("{sentence}; the policy promotes then"),
                    json!({ "requests": requests, "guards": judge::summary(rollout) }),
                )
                .rollout(rollout)
                .tell(
                    Severity::Warning,
                    format!(
                        "{} goes on to {next} of {} with too little traffic to tell",
                        rollout.candidate.version, rollout.endpoint
                    ),
                    vec![
                        format!("{sentence}."),
                        "The policy says `on_low_traffic = \"promote\"`.".to_owned(),
                    ],
                ),
            );
            start_step(rollout, index + 1, moves);
        }
        OnLowTraffic::RollBack => {
            undo::roll_back(
                rollout,
                Reason {
                    cause: Cause::LowTraffic,
                    sentence,
                },
                now,
                moves,
            );
        }
        OnLowTraffic::Hold if rollout.told_of_wait => {}
        OnLowTraffic::Hold => {
            rollout.told_of_wait = true;
            moves.notes.push(
                Note::new(
                    What::StepHeld,
                    sentence.clone(),
                    json!({ "requests": requests }),
                )
                .rollout(rollout)
                .tell(
                    Severity::Warning,
                    format!(
                        "{} holds at {share} % on {}: too little traffic",
                        rollout.candidate.version, rollout.endpoint
                    ),
                    vec![
                        format!("{sentence}."),
                        "It goes on by itself when there is enough; `on_low_traffic` in the \
                             policy can say otherwise."
                            .to_owned(),
                    ],
                ),
            );
        }
    }
}

pub(super) fn promoting(
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

pub(super) fn baking(
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

pub(super) fn reducing(
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
