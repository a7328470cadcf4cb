//! What each step of a rollout saw: how long, how many requests, how many bad ones.

use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::evidence::{Counts, Minute};
use tidegate_core::rollout::{Rollout, percent};

use super::chart::{compared, whole_minute};
use crate::render::{Paint, Screen, Table, number, span};

/// The time that the candidate had one share of traffic.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// The share, percent.
    pub(crate) percent: u8,
    pub(crate) from: Timestamp,
    /// None for the last while the rollout is under way.
    pub(crate) to: Option<Timestamp>,
    /// Judged minutes, as far as they are kept.
    pub(crate) minutes: usize,
    pub(crate) guards: Vec<StepGuard>,
}

/// What a guard saw in that time.
#[derive(Debug, Serialize)]
pub(crate) struct StepGuard {
    pub(crate) guard: String,
    pub(crate) canary: Totals,
    /// Of what it is compared with: the champion beside it or in its past.
    pub(crate) champion: Totals,
}

#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) bad: u64,
}

impl From<Counts> for Totals {
    fn from(counts: Counts) -> Self {
        Self {
            requests: counts.requests,
            bad: counts.bad,
        }
    }
}

/// The steps of a rollout in order.
pub(crate) fn of(rollout: &Rollout) -> Vec<Step> {
    let guards = rollout.plan.guards_or_default();
    let alone_since = rollout.all_traffic_since().map(whole_minute);
    let ends = rollout.weights.iter().skip(1).map(|(at, _)| Some(*at));
    let ends: Vec<_> = ends.chain([rollout.ended]).collect();
    let mut steps = Vec::new();
    for (n, (&(from, percent), to)) in rollout.weights.iter().zip(ends).enumerate() {
        let first = if n == 0 {
            None
        } else {
            Some(whole_minute(from))
        };
        let last = rollout.weights.get(n + 1).map(|(at, _)| whole_minute(*at));
        let minutes: Vec<_> = rollout
            .minutes
            .iter()
            .filter(|m| first.is_none_or(|f| m.at >= f) && last.is_none_or(|l| m.at < l))
            .collect();
        let saw = |(g, guard): (usize, &tidegate_core::pipeline::Guard)| {
            let sum = minutes.iter().fold(Minute::default(), |sum, minute| {
                let is_alone = alone_since.is_some_and(|since| minute.at >= since);
                let (canary, baseline) = compared(rollout.past.as_ref(), minute, g, is_alone);
                Minute {
                    canary: sum.canary.plus(canary.clamped()),
                    baseline: sum.baseline.plus(baseline.clamped()),
                }
            });
            StepGuard {
                guard: guard.metric.key(),
                canary: sum.canary.into(),
                champion: sum.baseline.into(),
            }
        };
        steps.push(Step {
            percent,
            from,
            to,
            minutes: minutes.len(),
            guards: guards.iter().enumerate().map(saw).collect(),
        });
    }
    steps
}

/// The steps as a table of one guard's counts.
pub(crate) fn text(steps: &[Step], guard: usize, screen: &Screen) -> String {
    let mut table = Table::new(&[
        "SHARE",
        "FROM (UTC)",
        "TOOK",
        "JUDGED",
        "CANARY",
        "CHAMPION",
    ]);
    for step in steps {
        let took = step.to.unwrap_or(screen.now).as_second() - step.from.as_second();
        let counts = |of: fn(&StepGuard) -> &Totals| {
            let totals = step.guards.get(guard).map(of).filter(|t| t.requests > 0);
            totals.map_or_else(
                || "-".to_owned(),
                |t| {
                    let rate = Counts::new(t.requests, t.bad).rate().unwrap_or(0.0);
                    format!(
                        "{} of {}, {}",
                        number(t.bad),
                        number(t.requests),
                        percent(rate)
                    )
                },
            )
        };
        table.row([
            (format!("{} %", step.percent), Paint::Plain),
            (step.from.strftime("%F %H:%M").to_string(), Paint::Plain),
            (span(took.max(0)), Paint::Plain),
            (format!("{} min", step.minutes), Paint::Plain),
            (counts(|g| &g.canary), Paint::Plain),
            (counts(|g| &g.champion), Paint::Plain),
        ]);
    }
    table.render(screen, 2)
}
