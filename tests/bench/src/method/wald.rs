//! Wald's test run on the same minutes: it knows how many times the champion's rate the canary's is,
//! and takes it back once the likelihood ratio of that is what alpha asks for ("Sequential
//! Analysis", 1947). No test of the same alpha finds it sooner on average, so where it needs longer
//! than the computed bound, whole minutes and single bad answers are what takes the time.

use tidegate_core::evidence::Minute;

use super::Watch;
use crate::bound::ALPHA;
use crate::scenario::Scenario;

/// What it looks for in a healthy canary.
const TWICE: f64 = 2.0;

pub(super) struct Wald {
    /// By guard: how many times worse, what was gathered since both variants had requests, and the
    /// log-likelihood ratio so far.
    guards: Vec<(f64, Minute, f64)>,
    needed: f64,
}

impl Wald {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let is_worse = scenario.guards.iter().any(|g| g.ratio > 1.0);
        let guards = scenario.guards.iter().map(|g| {
            let ratio = if is_worse { g.ratio } else { TWICE };
            (ratio, Minute::default(), 0.0)
        });
        Self {
            guards: guards.collect(),
            needed: (1.0 / ALPHA).ln(),
        }
    }
}

impl Watch for Wald {
    fn minute(&mut self, guards: &[Minute]) -> bool {
        for ((ratio, pool, evidence), minute) in self.guards.iter_mut().zip(guards) {
            pool.baseline = pool.baseline.plus(minute.baseline);
            pool.canary = pool.canary.plus(minute.canary);
            if pool.baseline.requests == 0 || pool.canary.requests == 0 {
                continue;
            }
            let [nb, bb, nc, bc] = <[u64; 4]>::from(std::mem::take(pool)).map(|n| n as f64);
            let (fine, worse) = (nc / (nc + nb), *ratio * nc / (*ratio * nc + nb));
            *evidence += bc * (worse / fine).ln() + bb * ((1.0 - worse) / (1.0 - fine)).ln();
        }
        self.guards.iter().any(|(_, _, e)| *e >= self.needed)
    }

    fn shifted(&mut self) {
        for (_, pool, _) in &mut self.guards {
            *pool = Minute::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ratio: f64) -> Wald {
        Wald {
            guards: vec![(ratio, Minute::default(), 0.0)],
            needed: 100.0_f64.ln(),
        }
    }

    #[test]
    fn it_adds_up_the_likelihood_of_what_it_knows() {
        // Each bad answer of a canary with half of the requests says (2 / 3) / (1 / 2) = 4 / 3.
        let mut wald = of(2.0);
        let minute = [Minute::from([100, 0, 100, 1])];
        let minutes = (1..100).find(|_| wald.minute(&minute));
        assert_eq!(minutes, Some(17));
    }

    #[test]
    fn what_one_variant_had_waits_for_the_other() {
        let mut wald = of(50.0);
        assert!(!wald.minute(&[Minute::from([19, 0, 0, 0])]));
        assert!(wald.guards[0].2.abs() < f64::EPSILON);
        assert!(!wald.minute(&[Minute::from([0, 0, 1, 1])]));
        assert!(wald.guards[0].2 > 2.0);
    }
}
