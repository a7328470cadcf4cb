//! What a guard saw, for people and programs: the same facts in `status`, `history`, `rollout show`
//! and `canary backtest`. The numbers are the judge's own ([`GuardReport`]).

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::evidence::{Interval, Side, odds};
use tidegate_core::rollout::{Against, GuardReport, Rollout, Source, percent};

use crate::render::{Paint, Screen, clean, number, wrap};

/// What one guard saw.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GuardStatus {
    /// The guard as the policy spells it.
    pub(crate) guard: String,
    /// What it counts, in words.
    pub(crate) words: String,
    /// What the counts are of.
    pub(crate) of: String,
    /// What the canary is compared with: the `champion` beside it, or the `history` of it.
    pub(crate) against: Against,
    /// The champion's counts, rate and its interval.
    pub(crate) champion: Side,
    /// The canary's.
    pub(crate) canary: Side,
    /// How many times the champion's rate the canary's is.
    pub(crate) ratio: Option<f64>,
    pub(crate) ratio_interval: Interval,
    /// What is tolerated of it.
    pub(crate) tolerated_ratio: f64,
    pub(crate) ceiling: Option<f64>,
    /// How much burstier than independent requests bad events come, 1 or more.
    pub(crate) dispersion: f64,
    /// Log-evidence of harm that the verdict looks at.
    pub(crate) harm: f64,
    /// The same as odds.
    pub(crate) odds: String,
    /// The log-evidence of harm that takes the canary back.
    pub(crate) needed: f64,
    /// The minute whose evidence did.
    pub(crate) crossed: Option<Timestamp>,
    /// Log-evidence of harm by ratio, and by ceiling if there is one.
    pub(crate) harm_ratio: f64,
    pub(crate) harm_ceiling: Option<f64>,
    /// Log-evidence that there is no harm beyond the margin, or the ceiling.
    pub(crate) safe_ratio: f64,
    pub(crate) safe_ceiling: Option<f64>,
    /// The log-evidence that makes it safe.
    pub(crate) needed_safe: f64,
    /// What makes it safe, if anything does.
    pub(crate) safe: Option<SafeBy>,
    /// All of it in a sentence.
    pub(crate) sentence: String,
}

/// What makes a canary safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SafeBy {
    /// It is no worse than the champion, within the margin.
    Ratio,
    /// It is below the ceiling.
    Ceiling,
}

impl GuardStatus {
    /// A guard's facts about the canary `who`; `beta` is the chance that a harmful one is called
    /// safe.
    pub(crate) fn of(report: &GuardReport, who: &str, beta: f64) -> Self {
        let facts = &report.report;
        let needed_safe = -beta.ln();
        let by_ceiling = facts.safe_ceiling.filter(|safe| *safe >= needed_safe);
        let safe = if facts.safe_ratio >= needed_safe {
            Some(SafeBy::Ratio)
        } else {
            by_ceiling.map(|_| SafeBy::Ceiling)
        };
        Self {
            guard: report.key.clone(),
            words: report.guard.clone(),
            of: report.of.clone(),
            against: report.against,
            champion: facts.baseline,
            canary: facts.canary,
            ratio: facts.ratio,
            ratio_interval: facts.ratio_interval,
            tolerated_ratio: facts.tolerated_ratio,
            ceiling: facts.ceiling,
            dispersion: facts.dispersion,
            harm: report.looked_at(),
            odds: facts.odds.clone(),
            needed: report.needed,
            crossed: report.crossed,
            harm_ratio: facts.harm,
            harm_ceiling: facts.harm_ceiling,
            safe_ratio: facts.safe_ratio,
            safe_ceiling: facts.safe_ceiling,
            needed_safe,
            safe,
            sentence: report.sentence(who),
        }
    }

    /// The facts of all guards of a rollout.
    pub(crate) fn all(rollout: &Rollout) -> Vec<Self> {
        let who = who(rollout);
        let beta = rollout.plan.judge.beta;
        let reports = rollout.guard_reports();
        reports.iter().map(|r| Self::of(r, &who, beta)).collect()
    }

    /// Whether it saw anything of the canary.
    pub(crate) fn saw_anything(&self) -> bool {
        self.canary.requests > 0
    }

    /// The evidence of harm in words.
    fn speaks_against(&self) -> String {
        if self.harm < 2.0_f64.ln() {
            "nothing speaks against it".to_owned()
        } else {
            format!("{} if it were no worse", self.odds)
        }
    }

    /// The facts as a block of lines; `who` and `beside` are the variants.
    pub(crate) fn text(&self, who: &str, beside: &str, screen: &Screen) -> String {
        let (state, paint) = self.state();
        let beside = match self.against {
            Against::Champion => beside.to_owned(),
            Against::History => format!("{beside}, past"),
        };
        let head = match self.against {
            Against::Champion => clean(&self.words),
            Against::History => format!("{}, all the traffic", clean(&self.words)),
        };
        let mut text = format!(
            "  {}: {}\n",
            screen.paint(Paint::Bold, &head),
            screen.paint(paint, &state)
        );
        let mut field = |label: &str, value: &str| {
            let columns = screen.width.saturating_sub(14);
            for (i, part) in wrap(&clean(value), columns).iter().enumerate() {
                let label = if i == 0 { label } else { "" };
                let _ = writeln!(text, "    {label:<9} {part}");
            }
        };
        field(
            "canary",
            &format!("{who}: {}", side(&self.canary, &self.of)),
        );
        field(
            "compared",
            &format!("{beside}: {}", side(&self.champion, &self.of)),
        );
        field("ratio", &self.ratio_text());
        if let Some(ceiling) = self.ceiling {
            field(
                "ceiling",
                &format!("{} is fine whatever the champion's is", percent(ceiling)),
            );
        }
        field(
            "harm",
            &format!(
                "{}; {} takes it back",
                self.speaks_against(),
                odds(self.needed)
            ),
        );
        let by_ceiling = self.safe_ceiling.map_or_else(String::new, |safe| {
            format!(", {} by the ceiling", odds(safe))
        });
        field(
            "safe",
            &format!(
                "{} by the ratio{by_ceiling}, if it did harm; {} is enough",
                odds(self.safe_ratio),
                odds(self.needed_safe)
            ),
        );
        if self.dispersion > 1.05 {
            field(
                "bursts",
                &format!(
                    "bad events came {:.1} times as bunched as by chance; the evidence is divided by that",
                    self.dispersion
                ),
            );
        }
        text
    }

    fn state(&self) -> (String, Paint) {
        if let Some(at) = self.crossed {
            let at = at.strftime("%H:%M");
            return (
                format!("worse, sure enough with the minute of {at} UTC"),
                Paint::Bad,
            );
        }
        if !self.saw_anything() {
            return (format!("no {} seen on the canary", self.of), Paint::Busy);
        }
        match self.safe {
            Some(SafeBy::Ratio) => ("safe, no worse within the margin".to_owned(), Paint::Good),
            Some(SafeBy::Ceiling) => ("safe, below the ceiling".to_owned(), Paint::Good),
            None if self.harm > 0.0 => {
                ("somewhat suspicious, not sure yet".to_owned(), Paint::Busy)
            }
            None => (
                "nothing wrong so far, not sure yet".to_owned(),
                Paint::Plain,
            ),
        }
    }

    fn ratio_text(&self) -> String {
        let tolerated = format!("up to {} is tolerated", short(self.tolerated_ratio));
        let range = range(self.ratio_interval, short);
        match (self.ratio, range) {
            (Some(ratio), Some(range)) => {
                format!("{} times the rate ({range}); {tolerated}", short(ratio))
            }
            (Some(ratio), None) => format!("{} times the rate; {tolerated}", short(ratio)),
            (None, Some(range)) => format!("{range} times the rate; {tolerated}"),
            (None, None) => format!("nothing known yet; {tolerated}"),
        }
    }
}

/// The candidate, for people.
pub(crate) fn who(rollout: &Rollout) -> String {
    rollout.name()
}

/// What the candidate is compared with, for people; nothing before that is known.
pub(crate) fn compared_with(rollout: &Rollout) -> Option<&'static str> {
    Some(match rollout.past.as_ref()?.source {
        Source::Yesterday => "the champion's same minutes of the day before",
        Source::LastWeek => "the champion's same minutes a week before",
        Source::HourBefore => "the champion's hour before the rollout",
        Source::Nothing => "nothing: no past of a champion is known, so only ceilings are judged",
    })
}

/// `40 of 812 requests, 4.9 % (3.1 % to 7.4 %)`.
fn side(side: &Side, of: &str) -> String {
    let counts = format!("{} of {} {of}", number(side.bad), number(side.requests));
    match (side.rate, range(side.interval, percent)) {
        (Some(rate), Some(range)) => format!("{counts}, {} ({range})", percent(rate)),
        (Some(rate), None) => format!("{counts}, {}", percent(rate)),
        _ => counts,
    }
}

/// An interval in words; none if both ends are open.
fn range(interval: Interval, show: impl Fn(f64) -> String) -> Option<String> {
    match (interval.low, interval.high) {
        (Some(low), Some(high)) => Some(format!("{} to {}", show(low), show(high))),
        (Some(low), None) => Some(format!("at least {}", show(low))),
        (None, Some(high)) => Some(format!("at most {}", show(high))),
        (None, None) => None,
    }
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
