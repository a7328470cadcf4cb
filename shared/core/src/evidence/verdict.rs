//! What the guards of a rollout say together: roll back, safe, or go on watching.
//!
//! Roll back wins over safe. By Ville's inequality evidence that ever reaches `m / alpha` on one
//! of `m` tests has a chance of at most alpha if nothing is wrong, however often it is looked at.

use super::{Evidence, Rule};

/// What the guards say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The canary does harm.
    RollBack {
        /// The guard that objects most, by its place.
        guard: usize,
    },
    /// Every guard rules out harm beyond the margin.
    Safe,
    /// Neither is sure enough yet.
    Continue,
}

/// The verdict with a live baseline: one test of harm for each guard.
pub fn verdict(rule: &Rule, guards: &[Evidence]) -> Verdict {
    decide(rule, guards, guards.len(), Evidence::harm)
}

/// The verdict when the baseline is history. A guard's ceiling is then judged for harm as well,
/// without any baseline; tests are counted as guards plus guards that have a ceiling, and alpha is
/// shared among them.
pub fn verdict_alone(rule: &Rule, guards: &[Evidence]) -> Verdict {
    decide(rule, guards, tests_alone(guards), Evidence::strongest_harm)
}

impl Evidence {
    /// The stronger of harm by ratio and harm by ceiling: what [`verdict_alone`] looks at.
    pub fn strongest_harm(&self) -> f64 {
        self.harm_ceiling()
            .map_or(self.harm(), |ceiling| ceiling.max(self.harm()))
    }

    /// The stronger of safe by ratio and safe by ceiling.
    pub fn strongest_safe(&self) -> f64 {
        self.safe_ceiling()
            .map_or(self.safe_ratio(), |ceiling| ceiling.max(self.safe_ratio()))
    }
}

/// The evidence, a natural logarithm, that rolls back at `alpha` shared among so many tests.
pub fn needed(rule: &Rule, tests: usize) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let tests = tests.max(1) as f64;
    (tests / rule.alpha).ln()
}

/// How many tests of harm these guards are without a live baseline: a ceiling is one of its own.
pub fn tests_alone(guards: &[Evidence]) -> usize {
    guards
        .iter()
        .map(|g| 1 + usize::from(g.ceiling.is_some()))
        .sum()
}

fn decide(
    rule: &Rule,
    guards: &[Evidence],
    tests: usize,
    harm: impl Fn(&Evidence) -> f64,
) -> Verdict {
    let worst = guards
        .iter()
        .map(harm)
        .enumerate()
        .max_by(|(_, a), (_, b)| a.total_cmp(b));
    let Some((guard, harm)) = worst else {
        return Verdict::Continue;
    };
    if harm >= needed(rule, tests) {
        Verdict::RollBack { guard }
    } else if guards.iter().all(|g| g.strongest_safe() >= -rule.beta.ln()) {
        Verdict::Safe
    } else {
        Verdict::Continue
    }
}

/// Log-evidence of harm as odds for people: how likely so much of it would be at most, ever, if
/// the canary were no worse. `8.3` is "1 in 4,000"; rounded so as never to claim more than it has.
pub fn odds(log_evidence: f64) -> String {
    const TRILLION: f64 = 1e12;
    let times = log_evidence.exp();
    if times > TRILLION {
        return "less than 1 in a trillion".to_owned();
    }
    // Also evidence that is not a number counts as none.
    let times = if times >= 1.0 { times } else { 1.0 };
    // Two digits say enough; the small addend keeps 1,000 from becoming 990 by a rounding error.
    let unit = 10_f64.powi(2).recip() * 10_f64.powf(times.log10().floor() + 1.0);
    let rounded = ((times / unit + 1e-9).floor() * unit).floor().max(1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rounded = rounded as u64;
    format!("1 in {}", grouped(rounded))
}

/// A count with a comma before every third digit from the end.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
