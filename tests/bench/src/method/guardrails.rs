//! `SageMaker`'s deployment guardrails with auto-rollback. Documented in SageMaker's developer guide,
//! "Auto-Rollback Configuration and Monitoring": any alarm that goes off while the canary bakes takes
//! all traffic back to the old fleet. Its examples are one alarm on both fleets together (average
//! of two periods of 600 seconds), which an old fleet that errs trips by itself, and one on the new
//! fleet alone (`EndpointConfigName` of the new configuration, two periods of 300 seconds,
//! `notBreaching`). The second one is taken here, on the share of bad answers, over 1 %.
//!
//! Guardrails shift in two steps (canary) or in equal ones (linear) with a bake after each; here all
//! methods get the same weights.

use tidegate_core::evidence::{Counts, Minute};

use super::{Watch, is_over};

/// Minutes in a period.
const PERIOD: u32 = 5;

/// How many periods in a row have to be over the threshold.
const PERIODS: u32 = 2;

pub(super) struct Guardrails {
    minute: u32,
    /// By guard: what the period has so far, and periods over the threshold in a row.
    alarms: Vec<(Counts, u32)>,
}

impl Guardrails {
    pub(super) fn new(guards: usize) -> Self {
        Self {
            minute: 0,
            alarms: vec![(Counts::default(), 0); guards],
        }
    }
}

impl Watch for Guardrails {
    fn minute(&mut self, guards: &[Minute]) -> bool {
        self.minute += 1;
        let is_end = self.minute.is_multiple_of(PERIOD);
        for ((period, breaching), minute) in self.alarms.iter_mut().zip(guards) {
            *period = period.plus(minute.canary);
            if is_end {
                *breaching = match is_over(*period) {
                    Some(true) => *breaching + 1,
                    Some(false) | None => 0,
                };
                *period = Counts::default();
            }
        }
        self.alarms.iter().any(|(_, n)| *n >= PERIODS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::minutes_until;

    #[test]
    fn two_periods_of_five_minutes_have_to_be_over() {
        let mut guardrails = Guardrails::new(1);
        assert_eq!(minutes_until(&mut guardrails, &[(100, 2); 12]), Some(9));
    }

    #[test]
    fn a_period_is_judged_as_a_whole() {
        // One bad minute of five: 4 of 500 are under 1 %, 6 are over.
        let burst = |bad| [(100, bad), (100, 0), (100, 0), (100, 0), (100, 0)].repeat(2);
        assert_eq!(minutes_until(&mut Guardrails::new(1), &burst(4)), None);
        assert_eq!(minutes_until(&mut Guardrails::new(1), &burst(6)), Some(9));
    }
}
