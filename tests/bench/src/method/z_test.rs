//! The test that a spreadsheet would do: two proportions, pooled, one-sided, on all counts so far,
//! again each minute as if it were the only look (Johari, Pekelis, Walsh, "Peeking at A/B tests",
//! 2017, is about what that does).

use tidegate_core::evidence::{Counts, Minute};

use super::Watch;

/// The normal quantile that 1 % lie above.
const QUANTILE: f64 = 2.326_347_874_040_841;

pub(super) struct ZTest {
    totals: Vec<Minute>,
}

impl ZTest {
    pub(super) fn new(guards: usize) -> Self {
        Self {
            totals: vec![Minute::default(); guards],
        }
    }
}

impl Watch for ZTest {
    fn minute(&mut self, guards: &[Minute]) -> bool {
        for (total, minute) in self.totals.iter_mut().zip(guards) {
            total.baseline = total.baseline.plus(minute.baseline);
            total.canary = total.canary.plus(minute.canary);
        }
        self.totals
            .iter()
            .any(|total| statistic(total.baseline, total.canary) > QUANTILE)
    }
}

/// How many standard deviations the canary's rate is above the baseline's; 0 if that can't be said.
fn statistic(baseline: Counts, canary: Counts) -> f64 {
    let (Some(before), Some(now), Some(pooled)) =
        (baseline.rate(), canary.rate(), baseline.plus(canary).rate())
    else {
        return 0.0;
    };
    let per_request = 1.0 / baseline.requests as f64 + 1.0 / canary.requests as f64;
    let variance = pooled * (1.0 - pooled) * per_request;
    if variance > 0.0 {
        (now - before) / variance.sqrt()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistic_is_the_one_of_the_textbook() {
        // 30 of 1,000 against 15 of 1,000: pooled 0.0225, z = 0.015 / sqrt(2 * 0.0225 * 0.9775 / 1000).
        let z = statistic(Counts::new(1_000, 15), Counts::new(1_000, 30));
        assert!((z - 2.2616).abs() < 1e-3, "{z}");
        assert_eq!(statistic(Counts::new(10, 0), Counts::new(10, 0)), 0.0);
        assert_eq!(statistic(Counts::new(0, 0), Counts::new(10, 5)), 0.0);
    }

    #[test]
    fn counts_add_up_until_they_are_significant() {
        let mut test = ZTest::new(1);
        let minute = Minute::from([1_000, 15, 1_000, 30]);
        assert!(!test.minute(&[minute]));
        assert!(test.minute(&[minute]));
    }
}
