//! A background analysis of Argo Rollouts. Documented in Argo Rollouts' "Analysis & Progressive
//! Delivery" (features/analysis): an `AnalysisTemplate` measures a success rate at each `interval`,
//! `successCondition: result >= 0.99` here, and the run fails once more than `failureLimit` (3 in its
//! examples) of its measurements failed; a failed analysis aborts the rollout.
//!
//! A minute without requests to the canary is `NaN`, which the page shows how to let pass
//! ("Handling Metric Results"); so it does here.

use tidegate_core::evidence::Minute;

use super::{Watch, is_over};

/// `failureLimit` of the documentation's examples.
const FAILURE_LIMIT: u32 = 3;

pub(super) struct Argo {
    /// By metric, since each has a limit of its own.
    failed: Vec<u32>,
}

impl Argo {
    pub(super) fn new(guards: usize) -> Self {
        Self {
            failed: vec![0; guards],
        }
    }
}

impl Watch for Argo {
    fn minute(&mut self, guards: &[Minute]) -> bool {
        for (failed, minute) in self.failed.iter_mut().zip(guards) {
            *failed += u32::from(is_over(minute.canary).unwrap_or(false));
        }
        self.failed.iter().any(|n| *n > FAILURE_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::minutes_until;

    #[test]
    fn the_fourth_failed_measurement_aborts() {
        let series = [
            (100, 2),
            (100, 0),
            (0, 0),
            (100, 2),
            (100, 2),
            (100, 1),
            (100, 2),
        ];
        assert_eq!(minutes_until(&mut Argo::new(1), &series), Some(6));
    }
}
