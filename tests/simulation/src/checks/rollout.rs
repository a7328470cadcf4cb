//! What must hold when a rollout moves: steps are earned, minutes count once, harm goes back, and
//! the way back is free.

use jiff::{SignedDuration, Timestamp};
use tidegate_core::event::Approval;
use tidegate_core::evidence::{Evidence, Rule, Verdict, dispersion, verdict};
use tidegate_core::ledger::Lane;
use tidegate_core::pipeline::OnLowTraffic;
use tidegate_core::rollout::{Cause, Phase, Rollout, kept_minutes};
use tidegate_core::world::Effect;

use super::commit::Look;
use super::silence;
use crate::invariant::Invariant;

/// A history whose minutes differ so much more than by chance says little.
pub(super) const WILD: f64 = 2.0;

/// How far a phase is on the way forward; none on the way back or at an end.
pub(super) fn rank(phase: &Phase) -> Option<usize> {
    Some(match phase {
        Phase::Preparing => 0,
        Phase::Smoke => 1,
        Phase::Step { index, .. } => 2 + index,
        Phase::Promoting => 20,
        Phase::Baking { .. } => 21,
        Phase::Reducing { .. } => 22,
        Phase::Done => 23,
        _ => return None,
    })
}

/// Looks at a rollout before and after a commit.
pub(super) fn moves(look: &mut Look<'_>, old: &Rollout, new: &Rollout) {
    let now = look.commit.head.now.unwrap_or(new.started);
    let goes_back = |p: &Phase| {
        matches!(
            p,
            Phase::RollingBack { .. } | Phase::RolledBack { .. } | Phase::Superseded { .. }
        )
    };
    let (from, to) = (rank(&old.phase), rank(&new.phase));
    let is_forward = match (from, to) {
        (Some(from), Some(to)) => from <= to,
        (None, Some(_)) => false,
        _ => true,
    };
    look.hold(Invariant::StepsEarned, is_forward, || {
        format!("{} went from {:?} to {:?}", new.id, old.phase, new.phase)
    });
    let is_told = from == to || rank_only_confirmed(old, new) || !look.commit.entries.is_empty();
    look.hold(Invariant::AuditExplains, is_told, || {
        format!(
            "{} went from {:?} to {:?} untold",
            new.id, old.phase, new.phase
        )
    });
    if let (Phase::Step { index, since }, Some(to)) = (&old.phase, to)
        && to > 2 + index
    {
        let is_earned = is_earned(new, *index, *since, now);
        look.hold(Invariant::StepsEarned, is_earned, || {
            format!("{} left step {} too early", new.id, index + 1)
        });
    }
    is_time_kept(look, old, new, now);
    silence::holds(look, old, new);
    are_minutes_right(look, new, now);
    are_minutes_true(look, old, new);
    does_harm_go_back(look, new);
    if !goes_back(&old.phase) && goes_back(&new.phase) {
        begins_to_go_back(look, old, new);
    }
    are_calls_right(look, new);
}

/// The next step is asked for, and told once it is there.
fn rank_only_confirmed(old: &Rollout, new: &Rollout) -> bool {
    matches!(old.phase, Phase::Step { .. } | Phase::Smoke)
        && matches!(
            new.phase,
            Phase::Step { since: None, .. } | Phase::Promoting
        )
}

fn rule(rollout: &Rollout) -> Rule {
    Rule::beside(&rollout.plan.judge)
}

/// Whether a step may end, by the policy.
fn is_earned(rollout: &Rollout, index: usize, since: Option<Timestamp>, now: Timestamp) -> bool {
    let strategy = &rollout.plan.strategy;
    if index >= strategy.canary.len() {
        return true;
    }
    let Some(since) = since else {
        return false;
    };
    let first = since - SignedDuration::from_secs(since.as_second().rem_euclid(60));
    let judged = rollout
        .minutes
        .iter()
        .filter(|m| m.at >= first - SignedDuration::from_secs(1));
    let (mut requests, mut minutes) = (0, 0_u32);
    for minute in judged {
        requests += minute.guards.first().map_or(0, |g| g.canary.requests);
        minutes += 1;
    }
    // On an endpoint without any traffic there is nothing to wait for but time.
    let is_quiet = rollout.minutes.iter().all(|m| {
        let mut guards = m.guards.iter();
        guards.all(|g| g.canary.requests == 0 && g.baseline.requests == 0)
    });
    if is_quiet {
        let passed = i64::from(minutes);
        let settle = i64::from(rollout.plan.judge.settle_minutes);
        let passed = passed.max(now.as_second() / 60 - since.as_second() / 60 - settle);
        minutes = u32::try_from(passed).unwrap_or(0);
    }
    let is_safe = verdict(&rule(rollout), &rollout.evidence) == Verdict::Safe;
    let longest = SignedDuration::from_mins(i64::from(strategy.longest_minutes()));
    let is_low = strategy.on_low_traffic == OnLowTraffic::Promote
        && requests < strategy.min_requests
        && now.duration_since(since) >= longest;
    (is_safe && minutes >= 3.min(strategy.minutes))
        || (minutes >= strategy.minutes && requests >= strategy.min_requests)
        || is_low
}

fn is_time_kept(look: &mut Look<'_>, old: &Rollout, new: &Rollout, now: Timestamp) {
    let lasts = |minutes: u32, since: Timestamp| {
        now.duration_since(since) >= SignedDuration::from_mins(i64::from(minutes))
    };
    match (&old.phase, &new.phase) {
        (Phase::Baking { since }, Phase::Reducing { .. } | Phase::Done) => {
            let is = lasts(new.plan.bake_minutes, *since);
            look.hold(Invariant::BakeKept, is, || {
                format!("{} baked from {since} to {now}", new.id)
            });
        }
        (Phase::Promoting, Phase::Reducing { .. } | Phase::Done) => {
            look.hold(Invariant::BakeKept, new.plan.bake_minutes == 0, || {
                format!("{} did not bake", new.id)
            });
        }
        // What was deployed alone has nothing to go back to: a rejection or a newer version ends
        // its watch.
        (Phase::Reducing { .. }, Phase::Done) if !new.has_canary() => {}
        (Phase::Reducing { since: Some(since) }, Phase::Done) => {
            let is = lasts(new.plan.watch_minutes, *since);
            look.hold(Invariant::BakeKept, is, || {
                format!("{} was watched from {since} to {now}", new.id)
            });
        }
        (Phase::Reducing { since: None }, Phase::Done) => {
            look.hold(Invariant::BakeKept, new.plan.watch_minutes == 0, || {
                format!("{} was not watched", new.id)
            });
        }
        _ => {}
    }
}

fn are_minutes_right(look: &mut Look<'_>, new: &Rollout, now: Timestamp) {
    let is_in_order = new.minutes.is_sorted_by(|a, b| a.at < b.at);
    let settle = SignedDuration::from_mins(1 + i64::from(new.plan.judge.settle_minutes));
    let is_settled = new.minutes.last().is_none_or(|m| m.at + settle <= now);
    let mut is_once = true;
    if new.minutes.len() < kept_minutes(new.evidence.len()) {
        for (g, evidence) in new.evidence.iter().enumerate() {
            let totals = evidence.totals();
            let sum = |of: fn(&tidegate_core::evidence::Minute) -> u64| -> u64 {
                let minutes = new.minutes.iter().filter_map(|m| m.guards.get(g));
                minutes.map(of).sum()
            };
            is_once &= totals.canary.requests <= sum(|m| m.canary.requests)
                && totals.baseline.requests <= sum(|m| m.baseline.requests);
        }
    }
    look.hold(
        Invariant::MinutesOnce,
        is_in_order && is_settled && is_once,
        || {
            let last = new.minutes.last().map(|m| m.at);
            format!(
                "{}: in order {is_in_order}, settled {is_settled} ({last:?} at {now}), once {is_once}",
                new.id
            )
        },
    );
}

/// What was counted for the canary beside the champion was its own.
fn are_minutes_true(look: &mut Look<'_>, old: &Rollout, new: &Rollout) {
    let known = old.minutes.last().map(|m| m.at);
    let all_since = new.all_traffic_since();
    let beside = new
        .minutes
        .iter()
        .filter(|m| known.is_none_or(|at| m.at > at))
        .filter(|m| all_since.is_none_or(|since| m.at < since));
    let mut wrong = None;
    for minute in beside {
        let counted = minute.guards.first().map_or(0, |g| g.canary.requests);
        let at = minute.at.as_millisecond();
        let (endpoint, canary) = (new.endpoint.as_str(), &new.canary);
        let (truth, _) = look.aws.truth(look.traffic, endpoint, canary, at);
        if counted > truth {
            wrong = Some(format!(
                "{counted} requests at {}, it had {truth}",
                minute.at
            ));
        }
    }
    let is_true = wrong.is_none();
    look.hold(Invariant::MinutesTrue, is_true, || {
        format!("{}: {}", new.id, wrong.unwrap_or_default())
    });
}

fn does_harm_go_back(look: &mut Look<'_>, new: &Rollout) {
    // What was deployed alone has nothing to go back to: there people are told.
    if !new.serves_candidate() || !new.has_canary() {
        return;
    }
    let says = verdict(&rule(new), &new.evidence);
    let is_harmful = matches!(says, Verdict::RollBack { .. });
    look.hold(Invariant::HarmGoesBack, !is_harmful, || {
        format!(
            "{}: the verdict is {says:?}, and it is {}",
            new.id,
            new.phase_word()
        )
    });
    // Plain counting, whatever the evidence makes of it.
    let warmup = SignedDuration::from_mins(i64::from(new.plan.judge.warmup_minutes));
    let first = new.weights.first().map(|(since, _)| *since);
    let is_warm = |at: Timestamp| {
        let minute = |t: Timestamp| t.as_second() / 60;
        let is_cold = |since: Timestamp| minute(since) <= minute(at) && at < since + warmup;
        warmup.is_zero()
            || (first.is_some_and(|first| at >= first)
                && !new.weights.iter().any(|(since, _)| is_cold(*since)))
    };
    let (mut canary, mut baseline) = ((0, 0), (0, 0));
    for minute in new.minutes.iter().filter(|m| is_warm(m.at)) {
        // A minute of which only one side is known compares nothing.
        let guard = minute.guards.first();
        let guard = guard.filter(|g| g.canary.requests > 0 && g.baseline.requests > 0);
        if let Some(guard) = guard {
            canary = (
                canary.0 + guard.canary.requests,
                canary.1 + guard.canary.bad,
            );
            baseline = (
                baseline.0 + guard.baseline.requests,
                baseline.1 + guard.baseline.bad,
            );
        }
    }
    // Where the champion's past was wild, the evidence has reason to wait.
    let is_wild = new.history.first().is_some_and(|h| dispersion(h) > WILD);
    let is_clear = !is_wild
        && canary.0 >= 400
        && canary.1 * 7 >= canary.0
        && baseline.0 >= 400
        && baseline.1 * 50 <= baseline.0;
    look.hold(Invariant::HarmGoesBack, !is_clear, || {
        format!(
            "{}: {} of {} requests went wrong against {} of {}, and it is {}; {}",
            new.id,
            canary.1,
            canary.0,
            baseline.1,
            baseline.0,
            new.phase_word(),
            minutes_in_words(new)
        )
    });
}

/// The newest minutes of the first guard, for people.
fn minutes_in_words(rollout: &Rollout) -> String {
    let newest = rollout.minutes.len().saturating_sub(12);
    let minutes = rollout.minutes.iter().skip(newest).filter_map(|m| {
        let guard = m.guards.first()?;
        Some(format!(
            "{} {}/{} against {}/{}",
            m.at,
            guard.canary.bad,
            guard.canary.requests,
            guard.baseline.bad,
            guard.baseline.requests
        ))
    });
    let minutes = minutes.collect::<Vec<_>>().join(", ");
    let totals: Vec<_> = rollout.evidence.iter().map(Evidence::totals).collect();
    format!(
        "{minutes}; shares {:?}; counted {totals:?}",
        rollout.weights
    )
}

/// Whether an effect leads to the candidate.
pub(super) fn is_forward(effect: &Effect, rollout: &Rollout) -> bool {
    match effect {
        Effect::CreateEndpoint { endpoint, .. } => *endpoint == rollout.endpoint,
        Effect::UpdateEndpoint { config, .. } => {
            *config == rollout.config || *config == rollout.final_config
        }
        Effect::ShiftWeights { weights, .. } => {
            weights.get(&rollout.canary).is_some_and(|w| *w > 0)
        }
        _ => false,
    }
}

fn begins_to_go_back(look: &mut Look<'_>, old: &Rollout, new: &Rollout) {
    let lane = Lane::Rollout(new.id.clone());
    let commit = look.commit;
    let left = look
        .before
        .pending
        .values()
        .filter(|p| !commit.done.contains(&p.id))
        .chain(&commit.add)
        .filter(|p| p.lane == lane)
        .find(|p| is_forward(&p.effect, new))
        .map(|p| p.effect.in_words());
    look.hold(Invariant::RollbackUnblocked, left.is_none(), || {
        format!(
            "{} goes back, and this is still to be done: {left:?}",
            new.id
        )
    });
    let now = look.now;
    look.before.memory.going_back.insert(new.id.clone(), now);
    let (Phase::RollingBack { why, .. } | Phase::RolledBack { why } | Phase::Superseded { why }) =
        &new.phase
    else {
        return;
    };
    if why.cause == Cause::Violation {
        let all_since = old.all_traffic_since().map(Timestamp::as_millisecond);
        let is_fair = look.aws.blames.iter().any(|(endpoint, variant, since)| {
            endpoint == new.endpoint.as_str()
                && (variant.as_ref() == Some(&new.canary)
                    || all_since.is_some_and(|all| *since >= all))
        });
        look.hold(Invariant::BlameIsFair, is_fair, || {
            format!(
                "{} goes back for what it had no part in: {}",
                new.id, why.sentence
            )
        });
    }
}

/// Calls that lead forward are for an Approved version, in the policy's shares.
fn are_calls_right(look: &mut Look<'_>, new: &Rollout) {
    let lane = Lane::Rollout(new.id.clone());
    let version = new.candidate.version;
    let approval = look.commit.head.approvals.get(&version).map(|(a, _)| *a);
    let commit = look.commit;
    for pending in commit.add.iter().filter(|p| p.lane == lane) {
        if is_forward(&pending.effect, new) {
            let is = approval.is_none_or(|a| a == Approval::Approved) && new.is_running();
            look.hold(Invariant::OnlyApproved, is, || {
                format!("{version} is {approval:?}: {}", pending.effect.in_words())
            });
        }
        if let Effect::ShiftWeights { weights, .. } = &pending.effect {
            let sum: u32 = weights.values().map(|w| u32::from(*w)).sum();
            let share = weights.get(&new.canary).copied().unwrap_or(0);
            let is_planned = match &new.phase {
                Phase::Step { index, .. } => {
                    new.plan.strategy.canary.get(*index).copied() == Some(share)
                }
                Phase::RollingBack { .. } => share == 0,
                _ => share == 100,
            };
            look.hold(Invariant::WeightsSum, sum == 100 && is_planned, || {
                format!("{weights:?} in {}", new.phase_word())
            });
        }
    }
}
