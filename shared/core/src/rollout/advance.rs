//! One look at a rollout: what its endpoint is now, and what it should be asked to become.
//!
//! Every phase compares the described endpoint with what was asked for. So a look too many changes
//! nothing, a look too late changes nothing but time, and what somebody else did is seen.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ATTEMPTS, Cause, Phase, Reason, Rollout, finish, judge, undo};
use crate::audit::What;
use crate::decision::Note;
use crate::event::EndpointStatus;
use crate::evidence::Verdict;
use crate::facts::{Facts, Known};
use crate::notice::Severity;
use crate::pipeline::OnLowTraffic;
use crate::world::{Answer, ConfigSpec, Effect, Endpoint, Question, VariantSpec};

/// How many minutes of a step have to be judged before it may end early.
const FEWEST_MINUTES: u32 = 3;

/// What a look came to.
#[derive(Debug, Default)]
pub struct Moves {
    /// What to call, in order.
    pub effects: Vec<Effect>,
    /// What to write down and tell.
    pub notes: Vec<Note>,
    /// Whether what was asked for before is not wanted any more.
    pub cancel: bool,
}

/// What has to be known for a look.
pub fn needs(rollout: &Rollout, facts: &Facts, now: Timestamp) -> Vec<Question> {
    let mut questions = vec![Question::Endpoint(rollout.endpoint.clone())];
    questions.extend(judge::minutes_question(rollout, now));
    let is_up = facts
        .endpoint(&rollout.endpoint)
        .is()
        .is_some_and(|e| e.status == EndpointStatus::InService && e.config == rollout.config);
    if is_up && matches!(rollout.phase, Phase::Preparing | Phase::Smoke) {
        questions.extend(smoke_question(rollout));
    }
    questions
}

fn smoke_question(rollout: &Rollout) -> Option<Question> {
    (!rollout.plan.smoke.is_empty()).then(|| Question::Smoke {
        endpoint: rollout.endpoint.clone(),
        variant: rollout.canary.clone(),
        payloads: rollout.plan.smoke.clone(),
        content_type: rollout.plan.smoke_content_type.clone(),
    })
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
    let endpoint = match facts.endpoint(&rollout.endpoint) {
        Known::NotAsked => return moves,
        Known::Missing => {
            endpoint_is_gone(rollout, now, busy, reject, &mut moves);
            return moves;
        }
        Known::Is(endpoint) => endpoint,
    };
    judge::judge(rollout, facts, now);
    if rollout.serves_candidate()
        && let Verdict::RollBack { guard } = judge::says(rollout)
    {
        let sentence = judge::sentence(rollout, guard);
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
    moves
}

/// Looks before calls are made that were left to do: nothing is asked of an endpoint that somebody
/// else changed meanwhile.
pub fn resume(rollout: &mut Rollout, facts: &Facts, now: Timestamp) -> Moves {
    let mut moves = Moves::default();
    if let Some(endpoint) = facts.endpoint(&rollout.endpoint).is()
        && endpoint.status == EndpointStatus::InService
        && let Some(what) = disturbed(rollout, endpoint)
    {
        finish::foreign(rollout, endpoint, what, now, &mut moves);
    }
    moves
}

/// What somebody else changed of an endpoint that was asked for a change, if anything.
fn disturbed(rollout: &Rollout, endpoint: &Endpoint) -> Option<&'static str> {
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
fn share_before(rollout: &Rollout, index: usize) -> u8 {
    let before = index.checked_sub(1);
    let share = before.and_then(|i| rollout.plan.strategy.canary.get(i));
    share.copied().unwrap_or(0)
}

/// The canary's share before it gets all the traffic.
fn share_before_all(rollout: &Rollout) -> u8 {
    if rollout.urgent {
        0
    } else {
        share_before(rollout, rollout.plan.strategy.canary.len())
    }
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
                "The endpoint {} is {:?}{}: SageMaker lets nobody update it. Look at it now; it \
                 may not answer requests.",
                endpoint.name,
                endpoint.status,
                endpoint
                    .failure
                    .as_deref()
                    .map(|f| format!(" ({f})"))
                    .unwrap_or_default()
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
        | Phase::Failed { .. } => {}
    }
}

fn endpoint_is_gone(
    rollout: &mut Rollout,
    now: Timestamp,
    busy: bool,
    reject: bool,
    moves: &mut Moves,
) {
    match (&rollout.phase, &rollout.incumbent) {
        // It has not been created yet.
        (Phase::Preparing, None) if busy => {}
        (Phase::RollingBack { why, .. }, None) => {
            let why = why.clone();
            finish::rolled_back(rollout, why, now, reject, moves);
        }
        _ => {
            finish::gone(rollout, now, moves);
        }
    }
}

fn prepared(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    now: Timestamp,
    reject: bool,
    moves: &mut Moves,
) {
    if endpoint.config == rollout.config {
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
    let came_back = rollout
        .incumbent
        .as_ref()
        .is_some_and(|i| i.config == endpoint.config);
    if !came_back {
        finish::foreign(rollout, endpoint, "its config", now, moves);
        return;
    }
    let reason = endpoint
        .failure
        .clone()
        .unwrap_or_else(|| "SageMaker gave no reason".to_owned());
    if rollout.attempts < ATTEMPTS {
        rollout.attempts += 1;
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

fn smoke(
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
    if let Some(question) = smoke_question(rollout) {
        if let Some(Answer::Refused(error)) = facts.answer(&question) {
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
        rollout.weights.push((now, 100));
        finish::done(rollout, now, moves);
    } else {
        rollout.judged_until = Some(judge::floor_minute(now));
        if rollout.urgent {
            rollout.phase = Phase::Promoting;
            shift(rollout, 100, moves);
        } else {
            start_step(rollout, 0, moves);
        }
    }
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

/// Asks for the canary's share of traffic, percent.
pub(super) fn shift(rollout: &Rollout, share: u8, moves: &mut Moves) {
    debug_assert!(share <= 100);
    let mut weights = std::collections::BTreeMap::new();
    if let Some(incumbent) = &rollout.incumbent {
        weights.insert(incumbent.variant.clone(), 100 - share.min(100));
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

fn step(
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
    let (requests, minutes) = judge::traffic_since(rollout, since);
    let is_safe = judge::says(rollout) == Verdict::Safe;
    let early = is_safe && minutes >= FEWEST_MINUTES.min(strategy.minutes);
    let full = minutes >= strategy.minutes && requests >= strategy.min_requests;
    if early || full {
        start_step(rollout, index + 1, moves);
        return;
    }
    let longest = SignedDuration::from_mins(i64::from(strategy.longest_minutes()));
    if now.duration_since(since) < longest || requests >= strategy.min_requests {
        return;
    }
    let sentence = format!(
        "{} had {requests} requests in {} minutes of step {}, fewer than the {} that the policy \
         asks for",
        rollout.candidate.version,
        strategy.longest_minutes(),
        index + 1,
        strategy.min_requests
    );
    match strategy.on_low_traffic {
        OnLowTraffic::Promote => start_step(rollout, index + 1, moves),
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

fn promoting(rollout: &mut Rollout, endpoint: &Endpoint, now: Timestamp, moves: &mut Moves) {
    let before = share_before_all(rollout);
    if !has_share(rollout, endpoint, 100, before, false, now, moves) {
        return;
    }
    rollout.phase = Phase::Baking { since: now };
    rollout.weights.push((now, 100));
    rollout.attempts = 1;
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
                format!("{}.", judge::sentence(rollout, 0)),
                format!("W{}.", kept.trim_start_matches('w')),
            ],
        ),
    );
}

fn baking(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    since: Timestamp,
    now: Timestamp,
    moves: &mut Moves,
) {
    if !has_share(rollout, endpoint, 100, 100, true, now, moves) {
        return;
    }
    let bake = SignedDuration::from_mins(i64::from(rollout.plan.bake_minutes));
    if now.duration_since(since) < bake {
        return;
    }
    rollout.phase = Phase::Reducing { since: None };
    rollout.attempts = 1;
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
    moves
        .effects
        .push(Effect::CreateEndpointConfig(Box::new(ConfigSpec {
            name: rollout.final_config.clone(),
            like: Some(rollout.config.clone()),
            variants: vec![VariantSpec {
                name: rollout.final_variant.clone(),
                model: rollout.model.clone(),
                like: Some(rollout.canary.clone()),
                instance: None,
                count,
                weight: 100,
                model_download_seconds: None,
                startup_seconds: None,
            }],
            tags: std::collections::BTreeMap::new(),
        })));
    moves.effects.push(Effect::UpdateEndpoint {
        endpoint: rollout.endpoint.clone(),
        config: rollout.final_config.clone(),
        retain: false,
    });
}

fn reducing(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    since: Option<Timestamp>,
    now: Timestamp,
    moves: &mut Moves,
) {
    if endpoint.config == rollout.final_config {
        let since = since.unwrap_or(now);
        rollout.phase = Phase::Reducing { since: Some(since) };
        let watch = SignedDuration::from_mins(i64::from(rollout.plan.watch_minutes));
        if now.duration_since(since) >= watch {
            finish::done(rollout, now, moves);
        }
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
    let reason = endpoint
        .failure
        .clone()
        .unwrap_or_else(|| "SageMaker gave no reason".to_owned());
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
