//! Runs a scenario many times under the eyes of every method, and sums up what each did.

use std::num::NonZero;
use std::thread;

use serde::Serialize;

use crate::bound::{self, bound};
use crate::method::{Method, Watch};
use crate::random::Dice;
use crate::scenario::{Kind, Scenario};
use crate::statistics::{Share, minute_of};
use crate::world::{Moment, World};

/// One scenario's line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The scenario's name.
    pub(crate) name: &'static str,
    /// The scenario in words.
    pub(crate) words: &'static str,
    /// What it is about.
    pub(crate) kind: Kind,
    /// Whether documentation shows it.
    pub(crate) is_headline: bool,
    /// Whether bad answers come in bursts.
    pub(crate) is_bursty: bool,
    /// How long a rollout was watched, in minutes.
    pub(crate) minutes: u32,
    /// How many rollouts were simulated.
    pub(crate) runs: usize,
    /// The minutes that the best test needs.
    pub(crate) bound: Option<f64>,
    /// What that test knows.
    pub(crate) bound_of: &'static str,
    /// What was measured of our judge when the method was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<&'static str>,
    /// What each method did, in the order of `Method::ALL`.
    pub(crate) outcomes: Vec<Outcome>,
}

/// What one method did in all runs of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Outcome {
    /// Which method.
    pub(crate) method: Method,
    /// The share of runs that it rolled back.
    pub(crate) rolled_back: Share,
    /// The minute that half of the runs were rolled back by; none if fewer were.
    pub(crate) median: Option<u32>,
    /// The minute that 95 % of the runs were rolled back by; none if fewer were.
    pub(crate) p95: Option<u32>,
    /// Bad answers of the canary until the rollback or the end, on average.
    pub(crate) bad_answers: f64,
    /// Those of them that the champion would not have given.
    pub(crate) excess: f64,
}

impl Row {
    /// What our judge did.
    pub(crate) fn ours(&self) -> Option<&Outcome> {
        self.outcome(Method::Tidegate)
    }

    /// What a method did.
    pub(crate) fn outcome(&self, method: Method) -> Option<&Outcome> {
        self.outcomes.iter().find(|o| o.method == method)
    }

    /// Our median in multiples of the bound.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let median = self.ours()?.median?;
        Some(f64::from(median) / self.bound?)
    }
}

/// One run as one method saw it.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The minute after which it rolled back, counted from 1.
    minute: Option<u32>,
    bad: u64,
    excess: f64,
}

type Run = [Seen; Method::ALL.len()];

/// Simulates `runs` rollouts on all cores.
pub(crate) fn trial(scenario: &Scenario, seed: u64, runs: usize) -> Row {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let chunk = runs.div_ceil(threads).max(1);
    let mut all = vec![Run::default(); runs];
    thread::scope(|scope| {
        for (index, part) in all.chunks_mut(chunk).enumerate() {
            scope.spawn(move || {
                for (i, seen) in part.iter_mut().enumerate() {
                    let number = (index * chunk + i) as u64;
                    *seen = run(scenario, Dice::new(seed, scenario.name, number));
                }
            });
        }
    });
    Row {
        name: scenario.name,
        words: scenario.words,
        kind: scenario.kind(),
        is_headline: scenario.is_headline,
        is_bursty: scenario.is_bursty(),
        minutes: scenario.minutes(),
        runs,
        bound: bound(scenario),
        bound_of: bound::words(scenario),
        expected: scenario.expected,
        outcomes: Method::ALL
            .iter()
            .enumerate()
            .map(|(m, method)| outcome(*method, all.iter().map(|run| run[m])))
            .collect(),
    }
}

fn run(scenario: &Scenario, dice: Dice) -> Run {
    let mut world = World::new(scenario, dice);
    let mut watches: Vec<Option<Box<dyn Watch>>> = Method::ALL
        .iter()
        .map(|method| Some(method.watch(scenario, world.past())))
        .collect();
    let mut seen = Run::default();
    let mut moment = Moment::default();
    let (mut bad, mut excess) = (0, 0.0);
    for at in 0..scenario.minutes() {
        if watches.iter().all(Option::is_none) {
            break;
        }
        world.minute(at, &mut moment);
        let is_shifted = at > 0
            && scenario
                .weight(at)
                .total_cmp(&scenario.weight(at - 1))
                .is_ne();
        bad += moment.bad;
        excess += moment.excess;
        for (watch, seen) in watches.iter_mut().zip(&mut seen) {
            let Some(watching) = watch else { continue };
            if is_shifted {
                watching.shifted();
            }
            seen.bad = bad;
            seen.excess = excess;
            if watching.minute(&moment.guards) {
                seen.minute = Some(at + 1);
                *watch = None;
            }
        }
    }
    seen
}

fn outcome(method: Method, seen: impl Iterator<Item = Seen>) -> Outcome {
    let seen: Vec<Seen> = seen.collect();
    let runs = seen.len();
    let mut minutes: Vec<u32> = seen.iter().filter_map(|s| s.minute).collect();
    minutes.sort_unstable();
    let mean = |of: &dyn Fn(&Seen) -> f64| seen.iter().map(of).sum::<f64>() / runs.max(1) as f64;
    Outcome {
        method,
        rolled_back: Share::of(minutes.len(), runs),
        median: minute_of(&minutes, runs, 0.5),
        p95: minute_of(&minutes, runs, 0.95),
        bad_answers: mean(&|s| s.bad as f64),
        excess: mean(&|s| s.excess),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scenario::catalogue;

    fn of(name: &str, runs: usize) -> Row {
        let scenario = catalogue().into_iter().find(|s| s.name == name).unwrap();
        trial(&scenario, 42, runs)
    }

    #[test]
    fn a_healthy_canary_is_rolled_back_as_rarely_as_alpha_says() {
        // At 1 % of 300 runs, ten or more have a chance of 0.1 %.
        for name in ["fine-1%", "fine-incident", "fine-bursty-0.01"] {
            let row = of(name, 300);
            let share = row.ours().unwrap().rolled_back.of_runs;
            assert!(share < 10.0 / 300.0, "{name}: {share}");
        }
    }

    #[test]
    fn thresholds_roll_back_a_healthy_canary_at_their_own_error_rate() {
        let row = of("fine-1%", 100);
        let flagger = row.outcome(Method::Flagger).unwrap();
        assert!(flagger.rolled_back.low > 0.9, "{flagger:?}");
    }

    #[test]
    fn five_times_the_errors_are_found_soon_after_the_bound() {
        let row = of("0.2%x5", 200);
        let ours = row.ours().unwrap();
        assert!(ours.rolled_back.of_runs > 0.99);
        let median = f64::from(ours.median.unwrap());
        assert!(
            (0.6..1.5).contains(&(median / row.bound.unwrap())),
            "{median}"
        );
        assert!(ours.p95.unwrap() >= ours.median.unwrap());
        assert!(ours.excess > 0.0 && ours.excess < ours.bad_answers);
    }

    #[test]
    fn without_a_live_baseline_five_times_the_errors_are_found_in_minutes() {
        let row = of("alone-x5-0.2", 100);
        assert!(row.ours().unwrap().p95.unwrap() <= 10);
        let fine = of("alone-0", 100);
        assert!(fine.ours().unwrap().rolled_back.of_runs < 0.06);
    }

    #[test]
    fn the_same_seed_gives_the_same_row_and_another_does_not() {
        let scenario = &catalogue()[1];
        let outcomes = |seed| trial(scenario, seed, 40).outcomes;
        assert_eq!(outcomes(1), outcomes(1));
        assert_ne!(outcomes(1), outcomes(2));
    }

    #[test]
    fn runs_do_not_depend_on_how_they_are_shared_out_among_threads() {
        let scenario = &catalogue()[1];
        let alone = run(scenario, Dice::new(9, scenario.name, 0));
        let row = trial(scenario, 9, 1);
        let ours = row.ours().unwrap();
        assert!((ours.bad_answers - alone[0].bad as f64).abs() < 1e-12);
    }
}
