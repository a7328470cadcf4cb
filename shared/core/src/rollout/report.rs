//! What the guards of a rollout saw and how sure they are, for people and programs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Rollout, judge};
use crate::evidence::{Evidence, Interval, Report, Side, grouped, needed, odds, tests_alone};
use crate::pipeline::Guard;

/// What a candidate is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The champion beside it, minute by minute.
    Champion,
    /// The champion's past, since the candidate has all the traffic.
    History,
}

/// What one guard saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardReport {
    /// What it counts, in words: `answers slower than 200 ms`.
    pub guard: String,
    /// The same as a policy spells it: `slower_than_ms 200`.
    pub key: String,
    /// What the counts are of, for people: `requests`, or the name of a custom metric.
    pub of: String,
    /// What the candidate is compared with.
    pub against: Against,
    /// The evidence of harm, a natural logarithm, that takes the candidate back.
    pub needed: f64,
    /// The minute after which it did, if it did.
    pub crossed: Option<Timestamp>,
    /// Counts, rates, ratio and evidence.
    #[serde(flatten)]
    pub report: Report,
}

impl Rollout {
    /// What each guard saw beside the champion and, once the candidate has all the traffic, against
    /// history: first the ones, then the others. A guard that saw nothing is there, with zeros.
    pub fn guard_reports(&self) -> Vec<GuardReport> {
        let guards = self.plan.guards_or_default();
        let rows = |against: Against| {
            let (evidence, tests) = match against {
                Against::Champion => (&self.evidence, self.evidence.len()),
                Against::History => (&self.alone, tests_alone(&self.alone)),
            };
            let rule = judge::rule(self, against);
            let row = move |(g, (guard, evidence)): (usize, (&Guard, &Evidence))| {
                let crossed = self
                    .crossed
                    .filter(|c| c.guard == g && c.against == against);
                GuardReport {
                    guard: guard.metric.words(),
                    key: guard.metric.key(),
                    of: guard.metric.of_what().to_owned(),
                    against,
                    needed: needed(&rule, tests),
                    crossed: crossed.map(|c| c.at),
                    report: evidence.report(against == Against::History),
                }
            };
            guards
                .iter()
                .zip(evidence)
                .enumerate()
                .map(row)
                .collect::<Vec<_>>()
        };
        let live = if self.has_canary() || self.observed.is_some() {
            rows(Against::Champion)
        } else {
            Vec::new()
        };
        [live, rows(Against::History)].concat()
    }

    /// The guard that objects most, if any saw something.
    pub fn strongest(&self) -> Option<GuardReport> {
        let reports = self.guard_reports();
        let seen = reports.into_iter().filter(|r| r.report.canary.requests > 0);
        seen.max_by(|a, b| {
            let key = |r: &GuardReport| (r.crossed.is_some(), r.looked_at() - r.needed);
            let ((ca, ha), (cb, hb)) = (key(a), key(b));
            ca.cmp(&cb).then(ha.total_cmp(&hb))
        })
    }
}

impl GuardReport {
    /// The evidence of harm that the verdict looks at.
    pub fn looked_at(&self) -> f64 {
        match (self.against, self.report.harm_ceiling) {
            (Against::History, Some(ceiling)) => ceiling.max(self.report.harm),
            _ => self.report.harm,
        }
    }

    /// One sentence without a full stop, for people: counts, rates, ratio and odds. `who` is the
    /// candidate.
    pub fn sentence(&self, who: &str) -> String {
        let Report {
            canary,
            baseline,
            ratio,
            ratio_interval,
            ..
        } = &self.report;
        let against = match self.against {
            Against::Champion => "on the champion beside it",
            Against::History => "in the champion's past",
        };
        let mut parts = vec![format!(
            "{}: {} on {who}",
            self.guard,
            side(canary, &self.of)
        )];
        if baseline.requests > 0 {
            parts.push(format!("{} {against}", side(baseline, &self.of)));
        }
        parts.extend(times(*ratio, *ratio_interval));
        if let (Against::History, Some(ceiling), Some(by_ceiling)) =
            (self.against, self.report.ceiling, self.report.harm_ceiling)
            && by_ceiling > self.report.harm
        {
            parts.push(format!("over the ceiling of {}", percent(ceiling)));
        }
        let parts = parts.join(", ");
        let evidence = self.looked_at();
        if let Some(crossed) = self.crossed.filter(|_| evidence < self.needed) {
            // What came after it makes it look better; what took it back is this.
            let (at, odds) = (crossed.strftime("%H:%M UTC"), odds(self.needed));
            return format!(
                "{parts}; until {at} it had done so badly that the chance of that was {odds}, \
                 were it no worse"
            );
        }
        // Less than odds of 2 is nothing that anybody should read odds into.
        if evidence < 2.0_f64.ln() {
            return format!("{parts}; nothing speaks against it");
        }
        let odds = odds(evidence);
        format!("{parts}; the chance of that is {odds}, were it no worse")
    }
}

/// `40 of 812 requests (4.9 %)`.
fn side(side: &Side, of: &str) -> String {
    let counts = format!("{} of {} {of}", grouped(side.bad), grouped(side.requests));
    match side.rate {
        Some(rate) => format!("{counts} ({})", percent(rate)),
        None => counts,
    }
}

/// How many times the baseline's rate, in words; none if nothing can be said.
fn times(ratio: Option<f64>, interval: Interval) -> Option<String> {
    let range = match (interval.low, interval.high) {
        (Some(low), Some(high)) => format!("{} to {}", short(low), short(high)),
        (Some(low), None) => format!("at least {}", short(low)),
        (None, Some(high)) => format!("at most {}", short(high)),
        (None, None) => return None,
    };
    Some(match ratio {
        Some(ratio) => format!("{} times the rate ({range})", short(ratio)),
        None => format!("{range} times the rate"),
    })
}

/// A number to two digits: `0.18`, `5.6`, `57`.
fn short(number: f64) -> String {
    let digits = match number.abs() {
        n if n >= 9.95 || n == 0.0 => 0,
        n if n >= 0.995 => 1,
        _ => 2,
    };
    format!("{number:.digits$}")
}

/// A rate as a percentage to two digits: `4.9 %`, `0.086 %`.
pub fn percent(rate: f64) -> String {
    let hundred = rate * 100.0;
    if hundred == 0.0 {
        return "0 %".to_owned();
    }
    if (99.95..100.0).contains(&hundred) {
        return format!("{hundred:.3} %");
    }
    // The first two digits that say something.
    let magnitude = hundred.abs().log10().floor();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let digits = (1.0 - magnitude).clamp(0.0, 6.0) as usize;
    format!("{hundred:.digits$} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_the_digits_that_say_something() {
        for (rate, text) in [
            (0.0, "0 %"),
            (0.000_857, "0.086 %"),
            (0.01, "1.0 %"),
            (0.0493, "4.9 %"),
            (0.125, "12 %"),
            (0.999_9, "99.990 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(rate), text);
        }
    }

    #[test]
    fn the_ratio_is_said_as_far_as_it_is_known() {
        let interval = |low, high| Interval { low, high };
        let said = |ratio, low, high| times(ratio, interval(low, high));
        assert_eq!(said(None, None, None), None);
        assert_eq!(
            said(Some(5.63), Some(3.2), Some(9.96)).as_deref(),
            Some("5.6 times the rate (3.2 to 10)")
        );
        assert_eq!(
            said(None, Some(2.04), None).as_deref(),
            Some("at least 2.0 times the rate")
        );
        assert_eq!(
            said(Some(0.0), None, Some(0.4)).as_deref(),
            Some("0 times the rate (at most 0.40)")
        );
    }
}
