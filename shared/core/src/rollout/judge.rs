//! How a rollout's minutes are fed to the evidence: each settled minute once, in order, however
//! late or bunched the ticks come.

use jiff::{SignedDuration, Timestamp};

use super::{Against, Crossed, JudgedMinute, Phase, Rollout, kept_minutes, past};
use crate::evidence::{
    Counts, Evidence, Minute, Outlook, Rule, Verdict, dispersion, needed, verdict, verdict_alone,
};
use crate::facts::Facts;
use crate::mutation::Mutation;
use crate::pipeline::{GuardMetric, OnLowTraffic, Stage};
use crate::world::{MinuteCounts, Question, WorldError};

/// The most minutes that one question asks for; the rest is asked for by the next tick.
const MINUTES_A_QUESTION: i64 = 1_440;

/// The newest minutes without any event on any variant are asked for again until they are this old:
/// what is missing may be late.
const LATE_MINUTES: i64 = 15;

/// A canary that should have had this many events by its share and had none is not measured.
const HANDFUL: f64 = 5.0;

/// The end of the last minute that counts: `CloudWatch` is late.
pub(super) fn settled(now: Timestamp, stage: &Stage) -> Timestamp {
    if Mutation::JudgeUnsettled.is_on() {
        return floor_minute(now);
    }
    floor_minute(now) - SignedDuration::from_mins(i64::from(stage.judge.settle_minutes))
}

/// The start of the minute of `at`.
pub(super) fn floor_minute(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(at)
}

/// What the guards of a stage count.
pub(super) fn metrics(stage: &Stage) -> Vec<GuardMetric> {
    stage
        .guards_or_default()
        .into_iter()
        .map(|g| g.metric)
        .collect()
}

/// How sure a verdict has to be. A candidate that was deployed alone has all of alpha for the one
/// time that it is watched.
pub(super) fn rule(rollout: &Rollout, against: Against) -> Rule {
    let judge = &rollout.plan.judge;
    match against {
        Against::Champion => Rule::beside(judge),
        Against::History if rollout.has_canary() => Rule::afterwards(judge),
        Against::History => Rule::from(judge),
    }
}

/// Evidence without a minute yet, its dispersion fixed by the champion's history.
pub(super) fn fresh_evidence(stage: &Stage, history: &[Vec<Counts>]) -> Vec<Evidence> {
    evidence_by(stage, history, |_| Rule::beside(&stage.judge))
}

/// The same, aimed at what the stage's steps can find by the traffic of that history.
pub(super) fn aimed_evidence(stage: &Stage, history: &[Vec<Counts>]) -> Vec<Evidence> {
    let evidence = fresh_evidence(stage, history);
    let needed = needed(&Rule::beside(&stage.judge), evidence.len());
    let aimed = evidence.into_iter().enumerate().map(|(g, evidence)| {
        match history.get(g).and_then(|h| Outlook::traffic(h)) {
            Some((requests, rate)) => evidence.aimed(&outlook(stage, requests, rate), needed),
            None => evidence,
        }
    });
    aimed.collect()
}

/// A step lasts until it has its time and its requests.
fn outlook(stage: &Stage, requests: f64, rate: f64) -> Outlook {
    let strategy = &stage.strategy;
    let longest = match strategy.on_low_traffic {
        OnLowTraffic::Hold => f64::INFINITY,
        _ => f64::from(strategy.longest_minutes()),
    };
    let warmup = f64::from(stage.judge.warmup_minutes);
    let steps = strategy.canary.iter().map(|percent| {
        let share = f64::from(*percent) / 100.0;
        #[allow(clippy::cast_precision_loss)]
        let fill = strategy.min_requests as f64 / (requests * share);
        let minutes = fill.min(longest).max(f64::from(strategy.minutes));
        (share, (minutes - warmup).max(0.0))
    });
    Outlook {
        requests,
        rate,
        steps: steps.collect(),
    }
}

/// Evidence against the past: what is tolerated comes from the past, and "safe" rules out half as
/// much again at the least.
fn evidence_alone(rollout: &Rollout, past: &past::Past) -> Vec<Evidence> {
    let rule = rule(rollout, Against::History);
    evidence_by(&rollout.plan, &rollout.history, |g| {
        let tolerated_ratio = past
            .tolerated
            .get(g)
            .copied()
            .unwrap_or(rule.tolerated_ratio);
        Rule {
            tolerated_ratio,
            margin_ratio: rule.margin_ratio.max(tolerated_ratio * 1.5),
            ..rule
        }
    })
}

fn evidence_by(
    stage: &Stage,
    history: &[Vec<Counts>],
    rule: impl Fn(usize) -> Rule,
) -> Vec<Evidence> {
    stage
        .guards_or_default()
        .iter()
        .enumerate()
        .map(|(g, guard)| {
            let phi = dispersion(history.get(g).map_or(&[], Vec::as_slice));
            Evidence::new(&rule(g), guard.ceiling, phi)
        })
        .collect()
}

/// The question for the minutes that are settled and not judged yet, if there are any.
pub(super) fn minutes_question(rollout: &Rollout, now: Timestamp) -> Option<Question> {
    if !rollout.serves_candidate() {
        return None;
    }
    let from = rollout.judged_until?;
    let to = settled(now, &rollout.plan).min(from + SignedDuration::from_mins(MINUTES_A_QUESTION));
    (to > from).then(|| Question::Minutes {
        endpoint: rollout.endpoint.clone(),
        variants: variants(rollout),
        guards: metrics(&rollout.plan),
        from,
        to,
    })
}

/// The variants whose counts matter, the champion first: while both serve, champion and canary;
/// once the candidate has all the traffic, its variants before and after the reduction.
fn variants(rollout: &Rollout) -> Vec<String> {
    let mut names = Vec::with_capacity(3);
    if let Some(incumbent) = &rollout.incumbent {
        names.push(incumbent.variant.clone());
    }
    names.push(rollout.canary.clone());
    if matches!(rollout.phase, Phase::Reducing { .. }) && !names.contains(&rollout.final_variant) {
        names.push(rollout.final_variant.clone());
    }
    names
}

/// Judges the minutes that the facts have.
pub(super) fn judge(rollout: &mut Rollout, facts: &Facts, now: Timestamp) {
    past::settle(rollout, facts);
    let Some(question) = minutes_question(rollout, now) else {
        return;
    };
    let Some(minutes) = facts.minutes(&question).is() else {
        return;
    };
    let Question::Minutes { variants, .. } = &question else {
        return;
    };
    let oldest_late = now - SignedDuration::from_mins(LATE_MINUTES);
    let is_due = |minute: &MinuteCounts| {
        minute.at < oldest_late
            || minute
                .variants
                .iter()
                .flatten()
                .any(|counts| counts.requests > 0)
    };
    let due = minutes.iter().rposition(is_due).map_or(0, |last| last + 1);
    for minute in &minutes[..due] {
        let is_comparable = |past: &past::Past| past.covers(minute.at);
        if is_alone(rollout, minute.at) && !rollout.past.as_ref().is_some_and(is_comparable) {
            // It waits for what it is compared with.
            break;
        }
        judge_minute(rollout, variants, minute);
        rollout.judged_until = Some(minute.at + SignedDuration::from_mins(1));
    }
}

/// What a rollout's last refusal begins with while its guards can't be read.
const UNREADABLE: &str = "the guards can't be read: ";

/// Notes that AWS refuses the counts; whether it is new, so that people are told once of each time.
pub(super) fn is_blinded_anew(rollout: &mut Rollout, error: &WorldError) -> bool {
    let refused = rollout.refused.as_deref().unwrap_or_default();
    if refused.starts_with(UNREADABLE) {
        return false;
    }
    rollout.refused = Some(format!("{UNREADABLE}{}: {}", error.call, error.message));
    true
}

/// Notes that the counts can be read.
pub(super) fn sees_again(rollout: &mut Rollout) {
    rollout
        .refused
        .take_if(|refused| refused.starts_with(UNREADABLE));
}

/// Whether the candidate had all the traffic for the whole of the minute.
fn is_alone(rollout: &Rollout, minute: Timestamp) -> bool {
    rollout
        .all_traffic_since()
        .is_some_and(|since| minute >= since)
}

fn judge_minute(rollout: &mut Rollout, names: &[String], counts: &MinuteCounts) {
    let is_alone = is_alone(rollout, counts.at);
    let is_mixed = rollout
        .all_traffic_since()
        .is_none_or(|since| counts.at < floor_minute(since));
    let past = if is_alone { rollout.past.take() } else { None };
    if let Some(past) = &past
        && rollout.alone.is_empty()
    {
        rollout.alone = evidence_alone(rollout, past);
    }
    let weight = weight_at(rollout, counts.at);
    if rollout.minutes.last().is_some_and(|m| m.weight != weight) {
        for evidence in rollout.evidence.iter_mut().chain(&mut rollout.alone) {
            evidence.traffic_shifted();
        }
    }
    let is_warmup = is_warmup(rollout, counts.at);
    let mut minute_of_guards = Vec::with_capacity(rollout.evidence.len());
    for g in 0..rollout.evidence.len() {
        let minute = measured(rollout, names, counts, g);
        minute_of_guards.push(minute);
        // Before the canary has any traffic there is nothing to compare.
        let is_before = weight == 0 && minute.canary.requests == 0;
        if is_warmup || is_before {
            continue;
        }
        if is_mixed && let Some(evidence) = rollout.evidence.get_mut(g) {
            evidence.gather(&minute);
            if Mutation::CountMinuteTwice.is_on() {
                evidence.gather(&minute);
            }
        }
        if let Some(past) = &past
            && let Some(evidence) = rollout.alone.get_mut(g)
        {
            evidence.gather(&past.beside(g, counts.at, minute.canary));
        }
    }
    if past.is_some() {
        rollout.past = past;
    }
    note_crossing(rollout, is_alone, counts.at);
    let harm = if is_alone {
        &rollout.alone
    } else {
        &rollout.evidence
    }
    .iter()
    .map(|e| {
        if is_alone {
            e.strongest_harm()
        } else {
            e.harm()
        }
    })
    .fold(f64::NEG_INFINITY, f64::max);
    let harm = if harm.is_finite() { harm } else { 0.0 };
    rollout.minutes.push(JudgedMinute {
        at: counts.at,
        weight,
        guards: minute_of_guards,
        harm,
    });
    thin_out(rollout);
}

/// Keeps what is kept of the minutes small: when there are too many, each two of the older half
/// become one, as long as the canary had the same share in both.
fn thin_out(rollout: &mut Rollout) {
    thin_out_to(rollout, kept_minutes(rollout.evidence.len()));
}

pub(super) fn thin_out_to(rollout: &mut Rollout, most: usize) {
    if rollout.minutes.len() <= most {
        return;
    }
    let newer = rollout.minutes.split_off(most / 2);
    let older = std::mem::take(&mut rollout.minutes);
    let mut thin = two_and_two(older, |first, second| first.weight == second.weight);
    if thin.len() + newer.len() > most {
        // Somebody shifts every minute: small goes before exact.
        thin = two_and_two(thin, |_, _| true);
    }
    thin.extend(newer);
    rollout.minutes = thin;
}

fn two_and_two(
    minutes: Vec<JudgedMinute>,
    may_be_one: impl Fn(&JudgedMinute, &JudgedMinute) -> bool,
) -> Vec<JudgedMinute> {
    let mut thin = Vec::with_capacity(minutes.len());
    let mut minutes = minutes.into_iter().peekable();
    while let Some(mut first) = minutes.next() {
        if let Some(second) = minutes.next_if(|second| may_be_one(&first, second)) {
            for (sum, more) in first.guards.iter_mut().zip(&second.guards) {
                sum.baseline = sum.baseline.plus(more.baseline);
                sum.canary = sum.canary.plus(more.canary);
            }
            first.harm = second.harm;
        }
        thin.push(first);
    }
    thin
}

/// Keeps the first guard that objects for good: a verdict is the same whether the minutes after it
/// came with the same tick or not.
fn note_crossing(rollout: &mut Rollout, is_alone: bool, at: Timestamp) {
    if rollout.crossed.is_some() {
        return;
    }
    let against = if is_alone {
        Against::History
    } else {
        Against::Champion
    };
    if let Verdict::RollBack { guard } = verdict_of(rollout, against) {
        rollout.crossed = Some(Crossed { guard, against, at });
    }
}

/// One guard's minute: the champion's counts and the candidate's, in whichever of its variants.
fn measured(rollout: &Rollout, names: &[String], counts: &MinuteCounts, guard: usize) -> Minute {
    // Before the candidate had all the traffic, the name may have been the champion's.
    let is_reduced_name = |name: &str| {
        matches!(rollout.phase, Phase::Reducing { .. })
            && rollout.has_canary()
            && (is_alone(rollout, counts.at) || Mutation::SharedNameIsCanarys.is_on())
            && name == rollout.final_variant
    };
    let mut minute = Minute::default();
    for (name, of_guards) in names.iter().zip(&counts.variants) {
        let count = of_guards.get(guard).copied().unwrap_or_default().bounded();
        let is_candidate =
            (*name == rollout.canary || is_reduced_name(name)) != Mutation::SwapSides.is_on();
        let side = if is_candidate {
            &mut minute.canary
        } else {
            &mut minute.baseline
        };
        side.requests = side.requests.saturating_add(count.requests);
        side.bad = side.bad.saturating_add(count.bad);
    }
    minute
}

fn weight_at(rollout: &Rollout, at: Timestamp) -> u8 {
    rollout
        .weights
        .iter()
        .rev()
        .find(|(since, _)| *since <= at)
        .map_or(0, |(_, w)| *w)
}

fn is_warmup(rollout: &Rollout, at: Timestamp) -> bool {
    let warmup = SignedDuration::from_mins(i64::from(rollout.plan.judge.warmup_minutes));
    if warmup.is_zero() {
        return false;
    }
    // SageMaker shifts a little before it says so: what the canary does before its first share is
    // confirmed is the coldest of all.
    let is_unconfirmed = rollout.weights.first().is_none_or(|(first, _)| at < *first);
    // The reduction brings up a fleet of its own.
    let reduced = match rollout.phase {
        Phase::Reducing { since } => since,
        _ => None,
    };
    let shifts = rollout.weights.iter().map(|(since, _)| *since);
    is_unconfirmed
        || shifts
            .chain(reduced)
            .any(|since| floor_minute(since) <= at && at < since + warmup)
}

/// What the guards say now: against the champion while both serve, against history afterwards.
pub(super) fn says(rollout: &Rollout) -> Verdict {
    if let Some(crossed) = rollout.crossed {
        return Verdict::RollBack {
            guard: crossed.guard,
        };
    }
    verdict_of(
        rollout,
        if rollout.alone.is_empty() {
            Against::Champion
        } else {
            Against::History
        },
    )
}

fn verdict_of(rollout: &Rollout, against: Against) -> Verdict {
    let rule = rule(rollout, against);
    match against {
        Against::Champion => verdict(&rule, &rollout.evidence),
        Against::History => verdict_alone(&rule, &rollout.alone),
    }
}

/// Requests that the canary had since `since`, by the guard that counts most of them.
pub(super) fn requests_since(rollout: &Rollout, since: Timestamp) -> u64 {
    let guards = rollout.evidence.len();
    (0..guards)
        .map(|g| {
            step_minutes(rollout, since)
                .filter_map(|m| m.guards.get(g))
                .fold(0_u64, |sum, m| sum.saturating_add(m.canary.requests))
        })
        .max()
        .unwrap_or(0)
}

/// How many settled minutes there are since `since`, by the clock.
pub(super) fn minutes_since(rollout: &Rollout, since: Timestamp, now: Timestamp) -> u32 {
    let passed = settled(now, &rollout.plan).duration_since(floor_minute(since));
    u32::try_from(passed.as_mins()).unwrap_or(0)
}

/// How many minutes since `since` are judged: a phase ends on what was seen, not on the clock. It
/// is behind the clock while `CloudWatch` is late, by [`LATE_MINUTES`] at most, and after looks
/// that did not come. Where nobody ever used the endpoint there is nothing to wait for.
pub(super) fn judged_since(rollout: &Rollout, since: Timestamp, now: Timestamp) -> u32 {
    if !has_traffic(rollout) {
        return minutes_since(rollout, since, now);
    }
    let judged = rollout.judged_until.map_or(0, |until| {
        until.duration_since(floor_minute(since)).as_mins()
    });
    u32::try_from(judged).unwrap_or(0)
}

/// Whether the endpoint had any traffic, before the rollout or during it.
fn has_traffic(rollout: &Rollout) -> bool {
    let has_any = |counts: &Counts| counts.requests > 0;
    let during = rollout.minutes.iter().flat_map(|m| &m.guards);
    rollout.history.iter().flatten().any(has_any)
        || during
            .flat_map(|m| [m.baseline, m.canary])
            .any(|counts| has_any(&counts))
}

fn step_minutes(rollout: &Rollout, since: Timestamp) -> impl Iterator<Item = &JudgedMinute> {
    let from = floor_minute(since);
    rollout.minutes.iter().filter(move |m| m.at >= from)
}

/// A guard that measures nothing of the canary in this step although it should: by the canary's
/// share of what it measures of the champion, while others do measure the canary, or because its
/// metric has no data at all. Nothing is promoted on it.
pub(super) fn blind_guard(rollout: &Rollout, since: Timestamp) -> Option<usize> {
    let guards = rollout.plan.guards_or_default();
    let is_custom = |g: usize| matches!(guards[g].metric, GuardMetric::Custom(_));
    let is_reached = step_minutes(rollout, since)
        .flat_map(|m| m.guards.iter().enumerate())
        .any(|(g, counts)| g < guards.len() && !is_custom(g) && counts.canary.requests > 0);
    (0..guards.len()).find(|&g| {
        let (mut expected, mut seen, mut any) = (0.0, 0_u64, false);
        for minute in step_minutes(rollout, since) {
            let Some(counts) = minute.guards.get(g) else {
                continue;
            };
            any |= counts.baseline.requests > 0;
            seen = seen.saturating_add(counts.canary.requests);
            let share = f64::from(minute.weight.min(99)) / 100.0;
            #[allow(clippy::cast_precision_loss)]
            let beside = counts.baseline.requests as f64;
            expected += beside * share / (1.0 - share);
        }
        let should = expected >= HANDFUL || !any;
        seen == 0 && should && (is_reached || is_custom(g))
    })
}

/// The same once the candidate has all the traffic: by what the champion's past had of it, or
/// because its metric never had any data.
pub(super) fn blind_alone(rollout: &Rollout, since: Timestamp) -> Option<usize> {
    let guards = rollout.plan.guards_or_default();
    let is_custom = |g: usize| matches!(guards[g].metric, GuardMetric::Custom(_));
    let is_seen = |g: usize| {
        let mut counts = step_minutes(rollout, since).filter_map(|m| m.guards.get(g));
        counts.any(|counts| counts.canary.requests > 0)
    };
    let is_reached = (0..guards.len()).any(|g| !is_custom(g) && is_seen(g));
    (0..guards.len()).find(|&g| {
        let alone = rollout.alone.get(g);
        let past = alone.map_or(0, |evidence| evidence.totals().baseline.requests);
        let mut before = rollout.history.get(g).into_iter().flatten();
        let mut judged = rollout.minutes.iter().filter_map(|m| m.guards.get(g));
        let any = past > 0
            || before.any(|counts| counts.requests > 0)
            || judged.any(|m| m.baseline.requests > 0 || m.canary.requests > 0);
        #[allow(clippy::cast_precision_loss)]
        let should = past as f64 >= HANDFUL || !any;
        should && (is_reached || is_custom(g)) && !is_seen(g)
    })
}

/// One sentence on the guard that objects most.
pub(super) fn sentence(rollout: &Rollout) -> String {
    match rollout.strongest() {
        Some(report) => report.sentence(&rollout.name()),
        None => "no guard has any evidence yet".to_owned(),
    }
}

/// What all guards saw, for the audit trail.
pub(super) fn summary(rollout: &Rollout) -> serde_json::Value {
    serde_json::to_value(rollout.guard_reports()).unwrap_or_default()
}
