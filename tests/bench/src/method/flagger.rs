//! Flagger's built-in metric check. Documented in Flagger's "Metrics Analysis" (docs.flagger.app,
//! usage/metrics: `request-success-rate` with `thresholdRange.min: 99`, `request-duration` of the
//! 99th percentile, both over one minute) and "How it works" (usage/how-it-works: `interval: 1m`,
//! `threshold` is the number of failed checks before a rollback).
//!
//! Checks that failed are counted over the whole analysis, and the analysis that finds `threshold`
//! of them rolls back: the one after the last failure. A minute without requests to the canary is a
//! failed check ("no values found"). A failed check would also hold the weight where it is; here all
//! methods get the same weights.

use tidegate_core::evidence::Minute;

use super::{Watch, is_over};

/// `threshold` of the documentation's examples.
const THRESHOLD: u32 = 5;

#[derive(Default)]
pub(super) struct Flagger {
    failed: u32,
}

impl Watch for Flagger {
    fn minute(&mut self, guards: &[Minute]) -> bool {
        if self.failed >= THRESHOLD {
            return true;
        }
        let is_failed = guards.iter().any(|m| is_over(m.canary).unwrap_or(true));
        self.failed += u32::from(is_failed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::minutes_until;

    #[test]
    fn five_failed_checks_roll_back_at_the_sixth() {
        let mut flagger = Flagger::default();
        assert_eq!(minutes_until(&mut flagger, &[(100, 2); 10]), Some(5));
    }

    #[test]
    fn failed_checks_are_counted_though_others_passed_between() {
        let mut flagger = Flagger::default();
        let series: Vec<_> = (0..20)
            .map(|i| (100, if i % 3 == 0 { 2 } else { 0 }))
            .collect();
        // The failures are minutes 0, 3, 6, 9, 12.
        assert_eq!(minutes_until(&mut flagger, &series), Some(13));
    }

    #[test]
    fn exactly_99_percent_pass_and_no_requests_fail() {
        let mut flagger = Flagger::default();
        assert_eq!(minutes_until(&mut flagger, &[(100, 1); 60]), None);
        assert_eq!(minutes_until(&mut flagger, &[(0, 0); 6]), Some(5));
    }
}
