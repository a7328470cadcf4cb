//! How fast a rollback can be at best, with a chance of a false one of alpha.
//!
//! Wald, "Sequential Analysis" (1947): the most powerful test, which knows both rates beforehand,
//! needs `ln(1 / alpha)` of log-likelihood ratio, and gets the Kullback-Leibler information of a
//! minute in each minute. What the information is of depends on what is compared:
//!
//! - with a live baseline and independent answers: the canary's share of the bad answers;
//! - bursty answers: the canary's count itself, beta-binomial, by a test that knows the
//!   champion's rate and the bursts' strength as well. That is more than can be known;
//! - without a live baseline: the canary's count, binomial, against yesterday's rate.

use crate::scenario::{Baseline, Guard, Scenario};

/// The chance of a false rollback that the bound is for.
pub(crate) const ALPHA: f64 = 0.01;

/// The longest rollout that a bound is looked for in, in minutes.
const LONGEST: u32 = 100_000;

/// The minutes that the best test needs on average; none for a healthy canary or if it would need
/// more than 100,000. After its last step the rollout is taken to go on at that weight.
pub(crate) fn bound(scenario: &Scenario) -> Option<f64> {
    let needed = (1.0 / ALPHA).ln();
    let guard = scenario
        .guards
        .iter()
        .max_by(|a, b| a.ratio.total_cmp(&b.ratio))
        .filter(|g| g.ratio > 1.0)?;
    let (mut so_far, mut at) = (0.0, 0);
    while at < LONGEST {
        // Information changes with the weight alone.
        let weight = scenario.weight(at);
        let until = (at..LONGEST)
            .find(|m| scenario.weight(*m) > weight)
            .unwrap_or(LONGEST);
        let a_minute = information(scenario, guard, weight);
        let here = f64::from(until - at) * a_minute;
        if so_far + here >= needed {
            return Some(f64::from(at) + (needed - so_far) / a_minute);
        }
        so_far += here;
        at = until;
    }
    None
}

/// What the bound of a scenario is the bound of.
pub(crate) fn words(scenario: &Scenario) -> &'static str {
    match scenario.baseline {
        Baseline::Yesterday { .. } => "knows yesterday's rate, and that days are alike",
        Baseline::Live if scenario.is_bursty() => "knows both rates and the bursts",
        Baseline::Live => "knows both rates",
    }
}

fn information(scenario: &Scenario, guard: &Guard, weight: f64) -> f64 {
    let (fine, worse) = (guard.rate, guard.rate * guard.ratio);
    let to_canary = scenario.traffic * weight;
    match scenario.baseline {
        Baseline::Yesterday { .. } => to_canary * divergence(worse, fine),
        Baseline::Live if guard.icc > 0.0 => {
            bursty(to_canary.round() as u64, guard.icc, worse, fine)
        }
        Baseline::Live => {
            let kept = scenario.traffic - to_canary;
            let bad = kept * fine + to_canary * worse;
            let share = to_canary * worse / bad;
            bad * divergence(share, weight)
        }
    }
}

/// The Kullback-Leibler divergence of a coin that falls with `p` from one that falls with `q`.
fn divergence(p: f64, q: f64) -> f64 {
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    part(p, q) + part(1.0 - p, 1.0 - q)
}

/// The same for beta-binomial counts of `n` with means `p` and `q`.
fn bursty(n: u64, icc: f64, p: f64, q: f64) -> f64 {
    (0..=n)
        .map(|k| {
            let (with_p, with_q) = (
                log_beta_binomial(n, icc, p, k),
                log_beta_binomial(n, icc, q, k),
            );
            with_p.exp() * (with_p - with_q)
        })
        .sum()
}

fn log_beta_binomial(n: u64, icc: f64, p: f64, k: u64) -> f64 {
    let size = (1.0 - icc) / icc;
    let (alpha, beta) = (p * size, (1.0 - p) * size);
    let (hits, misses) = (k as f64, (n - k) as f64);
    let log_beta = |x: f64, y: f64| libm::lgamma(x) + libm::lgamma(y) - libm::lgamma(x + y);
    let log_choose = -(n as f64 + 1.0).ln() - log_beta(misses + 1.0, hits + 1.0);
    log_choose + log_beta(hits + alpha, misses + beta) - log_beta(alpha, beta)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scenario::catalogue;

    fn of(name: &str) -> Option<f64> {
        bound(catalogue().iter().find(|s| s.name == name).unwrap())
    }

    #[test]
    fn the_bound_is_the_one_that_was_measured_with() {
        for (name, minutes) in [("0.2%x5", 18.2), ("1%x2-6000", 4.2)] {
            let got = of(name).unwrap();
            assert!((got - minutes).abs() < 0.06, "{name}: {got}");
        }
        let mut scenario = catalogue()
            .into_iter()
            .find(|s| s.name == "0.1%x50")
            .unwrap();
        scenario.guards[0].ratio = 51.0;
        let got = bound(&scenario).unwrap();
        assert!((got - 1.4).abs() < 0.06, "{got}");
    }

    #[test]
    fn nothing_is_to_be_found_where_nothing_is_wrong() {
        assert_eq!(of("fine-1%"), None);
        assert_eq!(of("alone-0.2"), None);
    }

    #[test]
    fn beta_binomial_probabilities_add_up_and_have_their_mean() {
        let (n, icc, p) = (60, 0.05, 0.03);
        let of = |k| log_beta_binomial(n, icc, p, k).exp();
        let sum: f64 = (0..=n).map(of).sum();
        let mean: f64 = (0..=n).map(|k| k as f64 * of(k)).sum();
        assert!((sum - 1.0).abs() < 1e-9 && (mean - 1.8).abs() < 1e-9);
    }

    #[test]
    fn bursts_that_vanish_leave_the_binomial_information() {
        let almost = bursty(100, 1e-9, 0.05, 0.01);
        assert!((almost / (100.0 * divergence(0.05, 0.01)) - 1.0).abs() < 1e-3);
        assert!(bursty(100, 0.05, 0.05, 0.01) < 0.5 * almost);
    }
}
