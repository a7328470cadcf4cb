//! One look at an observed canary: what they did with it, and what Tidegate would have done.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::super::moves::Moves;
use super::super::{Phase, Rollout, judge, silence};
use super::{Over, Theirs, model_in, share};
use crate::audit::What;
use crate::decision::Note;
use crate::event::EndpointStatus;
use crate::evidence::Verdict;
use crate::facts::{Facts, Known};
use crate::notice::Severity;
use crate::world::{Answer, Effect, Endpoint, Question, Variant, WorldError};

/// How long a canary may stay at one share before it is taken for something else: an A/B test, or
/// something that people forgot.
const LONGEST_STAY: SignedDuration = SignedDuration::from_hours(24);

/// How long the end waits for the last minutes beyond the time that they take to settle, minutes.
const GRACE_MINUTES: i64 = 3;

/// How many shares over time are kept: who shifts every minute for weeks must not fill the ledger.
const MOST_WEIGHTS: usize = 1_000;

/// How many minutes have to be judged before "safe" is told.
const FEWEST_MINUTES: usize = 3;

/// What has to be known for a look.
pub(crate) fn needs_to_watch(rollout: &Rollout, facts: &Facts, now: Timestamp) -> Vec<Question> {
    let mut questions = vec![Question::Endpoint(rollout.endpoint.clone())];
    questions.extend(judge::minutes_question(rollout, now));
    let endpoint = facts.endpoint(&rollout.endpoint).is();
    if let Some(endpoint) = endpoint.filter(|e| e.config != rollout.config) {
        questions.push(Question::EndpointConfig {
            name: endpoint.config.clone(),
        });
    }
    questions
}

/// Looks at an observed canary. The effects are Tidegate's own schedule alone.
pub(crate) fn look(rollout: &mut Rollout, facts: &Facts, now: Timestamp) -> Moves {
    let mut moves = Moves::default();
    let Phase::Observing { mut over } = rollout.phase else {
        return moves;
    };
    silence::note(rollout, facts, now, &mut moves);
    if over.is_none() {
        over =
            what_they_did(rollout, facts, now, &mut moves).map(|theirs| Over { at: now, theirs });
        rollout.phase = Phase::Observing { over };
    }
    let question = judge::minutes_question(rollout, now);
    match question.and_then(|q| facts.answer(&q)) {
        Some(Answer::Refused(error)) if error.is_passing() => {}
        Some(Answer::Refused(error)) => tell_of_blindness(rollout, error, &mut moves),
        Some(_) => judge::sees_again(rollout),
        None => {}
    }
    let was_crossed = rollout.crossed.is_some();
    judge::judge(rollout, facts, now);
    match over {
        None => tell_of_verdict(rollout, was_crossed, now, &mut moves),
        Some(over) if is_judged_until(rollout, over.at, now) => end(rollout, over, now, &mut moves),
        Some(_) => {}
    }
    moves
}

/// AWS refused Tidegate's own schedule: without ticks nobody would see to the canary.
pub(crate) fn refused(
    rollout: &mut Rollout,
    effect: &Effect,
    error: &WorldError,
    now: Timestamp,
) -> Moves {
    let mut moves = Moves::default();
    let why = format!("AWS refused {}: {}", error.call, error.message);
    let facts = json!({ "effect": effect, "error": error });
    let note = Note::new(What::EffectFailed, why.clone(), facts).rollout(rollout);
    if !matches!(effect, Effect::StartTicks { .. }) || !rollout.is_running() {
        moves.notes.push(note);
        return moves;
    }
    moves.notes.push(note.tell(
        Severity::Action,
        format!(
            "Observed: the canary on {} can't be watched",
            rollout.endpoint
        ),
        vec![
            format!("{why}."),
            "Tidegate looks at an endpoint by a schedule of its own, every minute. Allow the call, \
             and it is tried again at the endpoint's next change."
                .to_owned(),
        ],
    ));
    moves.cancel = true;
    rollout.ended = Some(now);
    rollout.phase = Phase::Observed {
        over: Over {
            at: now,
            theirs: Theirs::Changed,
        },
        why,
    };
    moves
}

/// What they did in the end, if it is over. What they did on the way is written down.
fn what_they_did(
    rollout: &mut Rollout,
    facts: &Facts,
    now: Timestamp,
    moves: &mut Moves,
) -> Option<Theirs> {
    let endpoint = match facts.endpoint(&rollout.endpoint) {
        Known::NotAsked => return None,
        Known::Missing => return Some(Theirs::Deleted),
        Known::Is(endpoint) => endpoint,
    };
    match endpoint.status {
        EndpointStatus::InService => {}
        EndpointStatus::Deleting => return Some(Theirs::Deleted),
        EndpointStatus::Failed
        | EndpointStatus::OutOfService
        | EndpointStatus::UpdateRollbackFailed => return Some(Theirs::Changed),
        // On its way: what serves serves on.
        EndpointStatus::Creating
        | EndpointStatus::Updating
        | EndpointStatus::SystemUpdating
        | EndpointStatus::RollingBack
        | EndpointStatus::Unknown => return None,
    }
    if endpoint.config != rollout.config && facts.config(&endpoint.config) == Known::NotAsked {
        return None;
    }
    let share = match found(rollout, endpoint, facts) {
        (Some(baseline), Some(canary)) if endpoint.variants.len() == 2 => {
            share(baseline.weight, canary.weight)
        }
        (None, Some(_)) if endpoint.variants.len() == 1 => 100,
        (Some(_), None) if endpoint.variants.len() == 1 => 0,
        _ => return Some(Theirs::Changed),
    };
    rollout.config.clone_from(&endpoint.config);
    let &(since, before) = rollout.weights.last()?;
    if share != before {
        if rollout.weights.len() >= MOST_WEIGHTS {
            // The first says when it began; the oldest after it are judged long since.
            rollout.weights.remove(1);
        }
        rollout.weights.push((now, share));
        moves.notes.push(
            Note::new(
                What::Observing,
                format!(
                    "Somebody shifted {} from {before} to {share} % of {}.",
                    rollout.name(),
                    rollout.endpoint
                ),
                json!({ "share": share, "before": before, "guards": judge::summary(rollout) }),
            )
            .rollout(rollout),
        );
    }
    match share {
        100 => Some(Theirs::Promoted),
        0 => Some(Theirs::TookBack),
        _ if share == before && now.duration_since(since) >= LONGEST_STAY => Some(Theirs::Left),
        _ => None,
    }
}

/// The baseline and the canary on the endpoint as it is now: by name while the config is the same
/// and where models can't tell, else by model.
fn found<'a>(
    rollout: &Rollout,
    endpoint: &'a Endpoint,
    facts: &Facts,
) -> (Option<&'a Variant>, Option<&'a Variant>) {
    let Some(incumbent) = &rollout.incumbent else {
        return (None, None);
    };
    let (baseline, canary) = (&incumbent.model, &rollout.model);
    let config = facts.config(&endpoint.config).is();
    let config = config.filter(|_| {
        let can_tell = !baseline.is_empty() && !canary.is_empty() && baseline != canary;
        endpoint.config != rollout.config && can_tell
    });
    let Some(config) = config else {
        return (
            endpoint.variant(&incumbent.variant),
            endpoint.variant(&rollout.canary),
        );
    };
    let is_alone = endpoint.variants.len() == 1;
    let find = |model: &str, name: &str| {
        // Alone it may have any name; beside the other the counts are asked for by name.
        endpoint
            .variants
            .iter()
            .find(|v| model_in(config, &v.name) == Some(model) && (is_alone || v.name == name))
    };
    (
        find(baseline, &incumbent.variant),
        find(canary, &rollout.canary),
    )
}

/// Whether all minutes before `at` are judged, or have been waited for long enough.
fn is_judged_until(rollout: &Rollout, at: Timestamp, now: Timestamp) -> bool {
    let settle = i64::from(rollout.plan.judge.settle_minutes);
    let is_judged = rollout
        .judged_until
        .is_none_or(|until| until >= judge::floor_minute(at));
    is_judged || now.duration_since(at) >= SignedDuration::from_mins(settle + GRACE_MINUTES)
}

/// Tells once that it would be rolled back, once that it looks safe, and once that it can't be
/// seen.
fn tell_of_verdict(rollout: &mut Rollout, was_crossed: bool, now: Timestamp, moves: &mut Moves) {
    let (name, endpoint) = (rollout.name(), rollout.endpoint.clone());
    let verdict = judge::says(rollout);
    if matches!(verdict, Verdict::RollBack { .. }) {
        if !was_crossed {
            let sentence = judge::sentence(rollout);
            let line = format!("Tidegate would roll {name} back on {endpoint} now: {sentence}.");
            moves.notes.push(would(rollout, line.clone()).tell(
                Severity::Warning,
                format!("Observed: {name} would be rolled back on {endpoint}"),
                vec![line, "Nothing was changed.".to_owned()],
            ));
        }
        return;
    }
    if tell_of_blind_guard(rollout, now, moves) {
        return;
    }
    let is_told = rollout.observed.as_ref().is_none_or(|o| o.told_safe);
    if verdict == Verdict::Safe && !is_told && rollout.minutes.len() >= FEWEST_MINUTES {
        if let Some(observed) = &mut rollout.observed {
            observed.told_safe = true;
        }
        let sentence = judge::sentence(rollout);
        let line =
            format!("{name} looks safe on {endpoint}, and Tidegate would go on: {sentence}.");
        moves.notes.push(would(rollout, line.clone()).tell(
            Severity::Info,
            format!("Observed: {name} looks safe on {endpoint}"),
            vec![line],
        ));
    }
}

fn would(rollout: &Rollout, why: String) -> Note {
    let facts = json!({ "guards": judge::summary(rollout), "weights": rollout.weights });
    Note::new(What::WouldAct, why, facts).rollout(rollout)
}

/// A guard that should measure the canary and does not: nothing is called safe on it.
fn tell_of_blind_guard(rollout: &mut Rollout, now: Timestamp, moves: &mut Moves) -> bool {
    let Some(&(since, _)) = rollout.weights.last() else {
        return false;
    };
    if judge::minutes_since(rollout, since, now) < rollout.plan.strategy.minutes {
        return false;
    }
    let Some(blind) = judge::blind_guard(rollout, since) else {
        return false;
    };
    if !std::mem::replace(&mut rollout.told_of_wait, true) {
        let guards = rollout.plan.guards_or_default();
        let words = guards
            .get(blind)
            .map(|g| g.metric.words())
            .unwrap_or_default();
        let line = format!(
            "CloudWatch has nothing of {words} on {}, although it serves a part of {}: Tidegate \
             would hold there. Is the metric published, with the dimensions that the policy says?",
            rollout.name(),
            rollout.endpoint
        );
        moves.notes.push(would(rollout, line.clone()).tell(
            Severity::Action,
            format!(
                "Observed: {words} can't be measured on {}",
                rollout.endpoint
            ),
            vec![line],
        ));
    }
    true
}

fn tell_of_blindness(rollout: &mut Rollout, error: &WorldError, moves: &mut Moves) {
    if !judge::is_blinded_anew(rollout, error) {
        return;
    }
    let why = format!(
        "AWS refused {}: {}. The guards can't be read; Tidegate goes on looking.",
        error.call, error.message
    );
    moves.notes.push(
        Note::new(What::StepHeld, why.clone(), json!({ "error": error }))
            .rollout(rollout)
            .tell(
                Severity::Action,
                format!("Observed: nobody sees how {} does", rollout.name()),
                vec![why],
            ),
    );
}

/// The observation is over: what they did, beside what Tidegate would have done.
fn end(rollout: &mut Rollout, over: Over, now: Timestamp, moves: &mut Moves) {
    let (name, endpoint) = (rollout.name(), rollout.endpoint.clone());
    let at = clock(over.at, now);
    let did = match over.theirs {
        Theirs::Promoted => format!("Somebody gave {name} all the traffic of {endpoint} at {at}."),
        Theirs::TookBack => format!("Somebody took {name} off {endpoint} at {at}."),
        Theirs::Changed => format!(
            "{endpoint} was changed at {at}, and serves no more by the two variants that were \
             compared."
        ),
        Theirs::Deleted => format!("The endpoint {endpoint} was deleted at {at}."),
        Theirs::Left => format!(
            "{name} has stood at {} % of {endpoint} for a day: Tidegate takes that for no canary \
             any more, and looks again when the weights change.",
            rollout.weights.last().map_or(0, |(_, share)| *share)
        ),
    };
    let ours = what_we_would_have(rollout, now);
    let why = format!("{did} {ours}");
    let (severity, verdict) = match (over.theirs, rollout.crossed) {
        (Theirs::Promoted | Theirs::Left, Some(_)) => {
            (Severity::Action, "; Tidegate would have rolled it back")
        }
        (_, Some(_)) => (Severity::Info, "; so would Tidegate"),
        (_, None) => (Severity::Info, ""),
    };
    let headline = match over.theirs {
        Theirs::Promoted => format!("Observed: {name} got all of {endpoint}{verdict}"),
        Theirs::TookBack => format!("Observed: {name} was taken off {endpoint}{verdict}"),
        Theirs::Changed => format!("Observed: {endpoint} was changed during the canary"),
        Theirs::Deleted => format!("Observed: {endpoint} was deleted during the canary"),
        Theirs::Left => format!("Observed: {name} has stood on {endpoint} for a day{verdict}"),
    };
    rollout.ended = Some(now);
    moves.cancel = true;
    moves.effects.push(Effect::StopTicks {
        rollout: rollout.id.clone(),
    });
    moves.notes.push(
        Note::new(
            What::Observed,
            why.clone(),
            json!({
                "theirs": over,
                "would_have_rolled_back": rollout.crossed,
                "weights": rollout.weights,
                "guards": judge::summary(rollout),
            }),
        )
        .rollout(rollout)
        .tell(severity, headline, vec![did, ours]),
    );
    rollout.phase = Phase::Observed { over, why };
}

fn what_we_would_have(rollout: &Rollout, now: Timestamp) -> String {
    let sentence = judge::sentence(rollout);
    let is_safe = rollout.observed.as_ref().is_some_and(|o| o.told_safe);
    match rollout.crossed {
        Some(crossed) => {
            let settle = i64::from(rollout.plan.judge.settle_minutes);
            // A minute counts once it is over and settled.
            let known = crossed.at + SignedDuration::from_mins(1 + settle);
            let at = clock(known, now);
            format!("Tidegate would have rolled it back at {at}. In the end, {sentence}.")
        }
        None if is_safe => format!("Tidegate would have gone on, too: {sentence}."),
        None => {
            format!("Tidegate had no objection, and not enough yet to call it safe: {sentence}.")
        }
    }
}

/// A time for people: without the day, if it is today.
fn clock(at: Timestamp, now: Timestamp) -> String {
    let day = |t: Timestamp| t.strftime("%Y-%m-%d").to_string();
    if day(at) == day(now) {
        at.strftime("%H:%M UTC").to_string()
    } else {
        at.strftime("%Y-%m-%d %H:%M UTC").to_string()
    }
}
