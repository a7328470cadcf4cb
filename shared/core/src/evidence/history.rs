//! Judging without a live baseline: a candidate that has all the traffic is compared with the
//! champion's past.
//!
//! What is lost is the protection from days that differ, so more has to be tolerated: how much
//! more comes from how much the days did differ.

use super::{Counts, Minute, real};

/// What is tolerated against history at the least; days differ by some tenths without any cause.
const LEAST: f64 = 1.5;

/// What is tolerated against history at most, the highest that a policy may say itself.
const MOST: f64 = 10.0;

/// Fewer days than this say nothing about how much days differ.
const FEWEST_DAYS: usize = 5;

/// A day beside another: both vary, so their quotient does by the square root of two as much.
const TWO_DAYS: f64 = std::f64::consts::SQRT_2;

/// The quantile of a normal distribution that 1 % lie above.
const ONE_PERCENT: f64 = 2.33;

/// The candidate's minute `i` since it has all the traffic, beside the champion's minute of the
/// same place in the history, over and over; beside nothing if there is no history.
pub fn pair_with_history(history: &[Counts], i: usize, canary: Counts) -> Minute {
    let baseline = match history.len() {
        0 => Counts::default(),
        len => history[i % len],
    };
    Minute { baseline, canary }
}

/// How many times the history's rate is tolerated: at least 1.5, at least what the policy
/// tolerates, and at least what one day in a hundred exceeds, if `days` (the totals of the same
/// hours on earlier days) are enough to tell.
pub fn tolerated_against_history(policy: f64, days: Option<&[Counts]>) -> f64 {
    let spread = days.and_then(spread).unwrap_or(0.0);
    policy
        .max(LEAST)
        .max((ONE_PERCENT * TWO_DAYS * spread).exp())
        .min(MOST)
}

/// The standard deviation of the log rate between days, with what mere counting adds taken off.
fn spread(days: &[Counts]) -> Option<f64> {
    // Half an event more keeps the logarithm finite on a day without bad events.
    let days: Vec<(f64, f64)> = days
        .iter()
        .filter(|c| c.requests > 0)
        .map(|c| (real(c.clamped().bad) + 0.5, real(c.requests) + 1.0))
        .collect();
    if days.len() < FEWEST_DAYS {
        return None;
    }
    #[allow(clippy::cast_precision_loss)]
    let count = days.len() as f64;
    let mean = days.iter().map(|(b, n)| (b / n).ln()).sum::<f64>() / count;
    let variance = days
        .iter()
        .map(|(b, n)| ((b / n).ln() - mean).powi(2))
        .sum::<f64>()
        / (count - 1.0);
    let counting = days.iter().map(|(b, _)| 1.0 / b).sum::<f64>() / count;
    Some((variance - counting).max(0.0).sqrt())
}
