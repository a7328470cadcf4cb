//! How a rollout's minutes are fed to the evidence: each settled minute once, in order, however
//! late or bunched the ticks come.

use jiff::{SignedDuration, Timestamp};

use super::{JudgedMinute, KEPT_MINUTES, Phase, Rollout};
use crate::evidence::{
    self, Counts, Evidence, Minute, Rule, Verdict, dispersion, pair_with_history, verdict,
    verdict_alone,
};
use crate::facts::Facts;
use crate::mutation::Mutation;
use crate::pipeline::{GuardMetric, Stage};
use crate::world::{MinuteCounts, Question};

/// The most minutes that one question asks for; the rest is asked for by the next tick.
const MINUTES_A_QUESTION: i64 = 1_440;

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

fn rule(stage: &Stage) -> Rule {
    Rule::from(&stage.judge)
}

fn alone_rule(stage: &Stage) -> Rule {
    let rule = rule(stage);
    let tolerated_ratio = evidence::tolerated_against_history(rule.tolerated_ratio, None);
    Rule {
        tolerated_ratio,
        margin_ratio: rule.margin_ratio.max(tolerated_ratio * 1.5),
        ..rule
    }
}

/// Evidence without a minute yet, its dispersion fixed by the champion's history.
pub(super) fn fresh_evidence(stage: &Stage, history: &[Vec<Counts>]) -> Vec<Evidence> {
    evidence_by(&rule(stage), stage, history)
}

fn evidence_by(rule: &Rule, stage: &Stage, history: &[Vec<Counts>]) -> Vec<Evidence> {
    stage
        .guards_or_default()
        .iter()
        .enumerate()
        .map(|(g, guard)| {
            let phi = dispersion(history.get(g).map_or(&[], Vec::as_slice));
            Evidence::new(rule, guard.ceiling, phi)
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
    let Some(question) = minutes_question(rollout, now) else {
        return;
    };
    let Some(minutes) = facts.minutes(&question).is() else {
        return;
    };
    let minutes = minutes.to_vec();
    let Question::Minutes { to, variants, .. } = question else {
        return;
    };
    for minute in &minutes {
        judge_minute(rollout, &variants, minute);
    }
    rollout.judged_until = Some(to);
    let surplus = rollout.minutes.len().saturating_sub(KEPT_MINUTES);
    rollout.minutes.drain(..surplus);
}

fn judge_minute(rollout: &mut Rollout, names: &[String], counts: &MinuteCounts) {
    let all_since = rollout.all_traffic_since();
    let is_alone = all_since.is_some_and(|since| counts.at >= since);
    let is_mixed = all_since.is_none_or(|since| counts.at < floor_minute(since));
    if is_alone && rollout.alone.is_empty() {
        rollout.alone = evidence_by(&alone_rule(&rollout.plan), &rollout.plan, &rollout.history);
    }
    let weight = weight_at(rollout, counts.at);
    let is_warmup = is_warmup(rollout, counts.at);
    let mut minute_of_guards = Vec::with_capacity(rollout.evidence.len());
    for g in 0..rollout.evidence.len() {
        let minute = measured(rollout, names, counts, g);
        minute_of_guards.push(minute);
        if is_warmup {
            continue;
        }
        if is_mixed && let Some(evidence) = rollout.evidence.get_mut(g) {
            evidence.add(&minute);
            if Mutation::CountMinuteTwice.is_on() {
                evidence.add(&minute);
            }
        }
        if is_alone
            && let Some(since) = all_since
            && let Some(evidence) = rollout.alone.get_mut(g)
        {
            let index = counts.at.duration_since(since).as_mins().unsigned_abs();
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            let past = rollout.history.get(g).map_or(&[][..], Vec::as_slice);
            evidence.add(&pair_with_history(past, index, minute.canary));
        }
    }
    let harm = if is_alone {
        &rollout.alone
    } else {
        &rollout.evidence
    }
    .iter()
    .map(Evidence::harm)
    .fold(f64::NEG_INFINITY, f64::max);
    let harm = if harm.is_finite() { harm } else { 0.0 };
    rollout.minutes.push(JudgedMinute {
        at: counts.at,
        weight,
        guards: minute_of_guards,
        harm,
    });
}

/// One guard's minute: the champion's counts and the candidate's, in whichever of its variants.
fn measured(rollout: &Rollout, names: &[String], counts: &MinuteCounts, guard: usize) -> Minute {
    // Before the candidate had all the traffic, a name that both have is the champion's.
    let all_since = rollout.all_traffic_since();
    let is_reduced_name = |name: &str| {
        matches!(rollout.phase, Phase::Reducing { .. })
            && name == rollout.final_variant
            && (all_since.is_some_and(|since| counts.at >= since)
                || Mutation::SharedNameIsCanarys.is_on())
    };
    let mut minute = Minute::default();
    for (name, of_guards) in names.iter().zip(&counts.variants) {
        let count = of_guards.get(guard).copied().unwrap_or_default();
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
    rollout
        .weights
        .iter()
        .any(|(since, _)| *since <= at && at < *since + warmup)
}

/// What the guards say now: against the champion while both serve, against history afterwards.
pub(super) fn says(rollout: &Rollout) -> Verdict {
    let rule = rule(&rollout.plan);
    match verdict(&rule, &rollout.evidence) {
        Verdict::RollBack { guard } => Verdict::RollBack { guard },
        live if rollout.alone.is_empty() => live,
        _ => verdict_alone(&alone_rule(&rollout.plan), &rollout.alone),
    }
}

/// Requests that the canary had since `since`, and how many minutes of it are judged.
pub(super) fn traffic_since(rollout: &Rollout, since: Timestamp) -> (u64, u32) {
    let judged = rollout
        .minutes
        .iter()
        .filter(|m| m.at >= floor_minute(since));
    judged.fold((0, 0), |(requests, minutes), m| {
        (
            requests + m.guards.first().map_or(0, |g| g.canary.requests),
            minutes + 1,
        )
    })
}

/// One sentence on one guard: counts, rates and odds.
pub(super) fn sentence(rollout: &Rollout, guard: usize) -> String {
    let alone = rollout
        .alone
        .get(guard)
        .filter(|e| e.totals().canary.requests > 0);
    let (evidence, against) = match (alone, rollout.evidence.get(guard)) {
        (Some(alone), Some(live)) if live.harm() <= alone.harm() => {
            (alone, "the champion's history")
        }
        (_, Some(live)) => (live, "the champion"),
        (Some(alone), None) => (alone, "the champion's history"),
        (None, None) => return "no guard has any evidence yet".to_owned(),
    };
    let totals = evidence.totals();
    let name = rollout
        .plan
        .guards_or_default()
        .get(guard)
        .map_or_else(|| "guard".to_owned(), |g| metric_words(&g.metric));
    let harm = evidence
        .harm_ceiling()
        .map_or(evidence.harm(), |c| c.max(evidence.harm()));
    format!(
        "{name}: {} of {} requests on {} against {} of {} on {against}; the chance of that is {}, were it no worse",
        totals.canary.bad,
        totals.canary.requests,
        rollout.candidate.version,
        totals.baseline.bad,
        totals.baseline.requests,
        evidence::odds(harm),
    )
}

/// What a guard counts, in words.
pub(super) fn metric_words(metric: &GuardMetric) -> String {
    use crate::pipeline::CountMetric;
    match metric {
        GuardMetric::Metric(CountMetric::ModelErrors) => "model errors".to_owned(),
        GuardMetric::Metric(CountMetric::ClientErrors) => "4xx answers".to_owned(),
        GuardMetric::Metric(CountMetric::ServerErrors) => "5xx answers".to_owned(),
        GuardMetric::SlowerThanMs(ms) => format!("answers slower than {ms} ms"),
    }
}

/// What all guards saw, for the audit trail.
pub(super) fn summary(rollout: &Rollout) -> serde_json::Value {
    let guards: Vec<_> = rollout
        .plan
        .guards_or_default()
        .iter()
        .enumerate()
        .map(|(g, guard)| {
            let row = |e: &Evidence| {
                let totals = e.totals();
                serde_json::json!({
                    "canary": { "requests": totals.canary.requests, "bad": totals.canary.bad },
                    "baseline": { "requests": totals.baseline.requests, "bad": totals.baseline.bad },
                    "harm": e.harm(), "odds": evidence::odds(e.harm()),
                    "harm_by_ceiling": e.harm_ceiling(),
                    "safe_by_ratio": e.safe_ratio(), "safe_by_ceiling": e.safe_ceiling(),
                })
            };
            serde_json::json!({
                "guard": metric_words(&guard.metric),
                "ceiling": guard.ceiling,
                "against_champion": rollout.evidence.get(g).map(row),
                "against_history": rollout.alone.get(g).map(row),
            })
        })
        .collect();
    serde_json::Value::Array(guards)
}
