//! A `CloudWatch` alarm on the canary's variant: more than 1 % bad in 3 of 3 periods of a minute.
//! Documented in CloudWatch's user guide, "Evaluating an alarm" (datapoints to alarm) and
//! "Configuring how `CloudWatch` alarms treat missing data"; `notBreaching` as in `SageMaker`'s
//! examples.

use tidegate_core::evidence::Minute;

use super::{Watch, is_over};

/// How many periods in a row have to be over the threshold.
const PERIODS: u32 = 3;

pub(super) struct Alarm {
    /// By guard, since each has an alarm of its own: periods over the threshold in a row.
    breaching: Vec<u32>,
}

impl Alarm {
    pub(super) fn new(guards: usize) -> Self {
        Self {
            breaching: vec![0; guards],
        }
    }
}

impl Watch for Alarm {
    fn minute(&mut self, guards: &[Minute]) -> bool {
        for (breaching, minute) in self.breaching.iter_mut().zip(guards) {
            *breaching = match is_over(minute.canary) {
                Some(true) => *breaching + 1,
                Some(false) | None => 0,
            };
        }
        self.breaching.iter().any(|n| *n >= PERIODS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::minutes_until;

    #[test]
    fn the_alarm_needs_three_periods_in_a_row() {
        let series = [(50, 1), (50, 1), (50, 0), (50, 1), (50, 1), (50, 1)];
        assert_eq!(minutes_until(&mut Alarm::new(1), &series), Some(5));
    }

    #[test]
    fn a_period_without_requests_is_not_breaching() {
        let series = [(50, 1), (50, 1), (0, 0), (50, 1), (50, 1)];
        assert_eq!(minutes_until(&mut Alarm::new(1), &series), None);
    }

    #[test]
    fn each_guard_has_an_alarm_of_its_own() {
        let mut alarm = Alarm::new(2);
        let (fine, over) = (Minute::from([0, 0, 50, 0]), Minute::from([0, 0, 50, 1]));
        assert!(!alarm.minute(&[over, fine]));
        assert!(!alarm.minute(&[fine, over]));
        assert!(!alarm.minute(&[over, over]));
        assert!(alarm.minute(&[over, over]));
    }
}
