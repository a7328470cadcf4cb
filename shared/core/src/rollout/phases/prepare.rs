//! From the asked-for endpoint to the first step: the candidate is up without traffic, and answers the
//! smoke requests. One that was deployed alone is only watched.

use jiff::Timestamp;
use serde_json::json;

use super::{reason, step::start_step};
use crate::audit::What;
use crate::decision::Note;
use crate::facts::Facts;
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::rollout::moves::Moves;
use crate::rollout::share::share_of;
use crate::rollout::{ATTEMPTS, Cause, Phase, Reason, Rollout, asked, finish, judge, undo};
use crate::world::{Answer, Effect, Endpoint, Question};

pub(in crate::rollout) fn smoke_question(rollout: &Rollout) -> Option<Question> {
    (!rollout.plan.smoke.is_empty()).then(|| Question::Smoke {
        endpoint: rollout.endpoint.clone(),
        variant: rollout.canary.clone(),
        payloads: rollout.plan.smoke.clone(),
        content_type: rollout.plan.smoke_content_type.clone(),
    })
}

pub(in crate::rollout) fn prepared(
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

pub(in crate::rollout) fn smoke(
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
