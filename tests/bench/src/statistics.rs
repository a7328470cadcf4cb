//! What is told of many runs: a share with its interval, and quantiles of the minutes.

use serde::Serialize;

/// The two-sided 95 % quantile of a normal distribution.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// A share of runs with Wilson's 95 % interval (Wilson, "Probable inference", 1927); 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Share {
    /// The share itself.
    pub(crate) of_runs: f64,
    /// The lower end of its interval.
    pub(crate) low: f64,
    /// The upper end of its interval.
    pub(crate) high: f64,
}

impl Share {
    /// `hits` of `runs`; of no runs nothing is known.
    pub(crate) fn of(hits: usize, runs: usize) -> Self {
        if runs == 0 {
            return Self {
                of_runs: 0.0,
                low: 0.0,
                high: 1.0,
            };
        }
        let n = runs as f64;
        let p = hits as f64 / n;
        let z2 = NORMAL_95 * NORMAL_95;
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = NORMAL_95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        Self {
            of_runs: p,
            low: if hits == 0 {
                0.0
            } else {
                (centre - half).max(0.0)
            },
            high: if hits == runs {
                1.0
            } else {
                (centre + half).min(1.0)
            },
        }
    }
}

/// The minute that a share `q` of all runs had rolled back by; none if fewer ever did. `minutes`
/// holds the minutes of the runs that did, in order.
pub(crate) fn minute_of(minutes: &[u32], runs: usize, q: f64) -> Option<u32> {
    let rank = (q * runs as f64).ceil().max(1.0) as usize;
    minutes.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_the_one_of_the_book() {
        // Agresti, Coull (1998): 0 of 10 and 5 of 10.
        let none = Share::of(0, 10);
        assert!(none.low.abs() < 1e-12 && (none.high - 0.2775).abs() < 1e-4);
        let half = Share::of(5, 10);
        assert!((half.low - 0.2366).abs() < 1e-4 && (half.high - 0.7634).abs() < 1e-4);
    }

    #[test]
    fn the_median_counts_runs_that_never_rolled_back() {
        assert_eq!(minute_of(&[3, 5, 9], 3, 0.5), Some(5));
        assert_eq!(minute_of(&[3, 5, 9], 6, 0.5), Some(9));
        assert_eq!(minute_of(&[3, 5, 9], 7, 0.5), None);
        assert_eq!(minute_of(&[], 4, 0.5), None);
    }
}
