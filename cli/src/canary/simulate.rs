//! A plan confirmed: rollouts with drawn counts, judged by the very code that judges real ones.

use tidegate_core::evidence::{Counts, Evidence, Minute};

use super::course::{Course, HORIZON, Traffic};
use super::dice::Dice;

/// The most minutes of guards that one line simulates: a few seconds, also without optimisation.
const MOST_MINUTES: u64 = 1_500_000;

/// The fewest rollouts, though they take longer.
const FEWEST_RUNS: u32 = 100;

/// What became of the simulated rollouts of one line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Simulated {
    /// How many there were.
    pub(super) runs: u32,
    /// How many were taken back.
    pub(super) taken_back: u32,
    /// The minutes after which they were; of all runs, none if never.
    pub(super) minutes: Spread,
    /// The minutes after which all guards said safe; of all runs.
    pub(super) safe: Spread,
    /// The share that ever was safe.
    pub(super) safe_share: f64,
    /// The minutes at which they had gone through all steps or were taken back.
    pub(super) ended: Spread,
    /// Bad answers of the canary above the champion's rate, until then, on average.
    pub(super) hit: f64,
}

/// Percentiles; none if so few runs came there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) p5: Option<u32>,
    pub(super) median: Option<u32>,
    pub(super) p95: Option<u32>,
}

impl Spread {
    fn of(mut minutes: Vec<Option<u32>>) -> Self {
        minutes.sort_by_key(|m| m.unwrap_or(u32::MAX));
        let at = |percent: usize| {
            let rank = (minutes.len() * percent).div_ceil(100).max(1);
            minutes.get(rank - 1).copied().flatten()
        };
        Self {
            p5: at(5),
            median: at(50),
            p95: at(95),
        }
    }
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) course: &'a Course,
    /// The guards that are drawn, all of them as many times worse. Where one of many is worse, it
    /// stands alone: the others could only take the canary back by mistake.
    pub(super) guards: &'a [Traffic],
    pub(super) ratio: f64,
    pub(super) seed: u64,
    /// Keeps lines of one answer apart.
    pub(super) number: u64,
}

/// How many rollouts there is time for.
pub(super) fn affordable(line: &Line<'_>, wanted: u32) -> u32 {
    let minutes: u64 = line
        .course
        .steps
        .iter()
        .map(|share| {
            let share = f64::from(*share) / 100.0;
            let busiest = line.guards.iter().map(|t| t.requests).fold(0.0, f64::max);
            u64::from(line.course.step_minutes(busiest * share))
        })
        .sum();
    let a_run = minutes.min(u64::from(HORIZON)).max(1) * line.guards.len().max(1) as u64;
    let most = u32::try_from(MOST_MINUTES / a_run).unwrap_or(u32::MAX);
    wanted.min(most.max(FEWEST_RUNS))
}

/// Simulates so many rollouts, on all processors.
pub(super) fn simulate(line: &Line<'_>, runs: u32) -> Simulated {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(16));
    let chunk = (runs as usize).div_ceil(threads).max(1);
    let mut all = vec![Run::default(); runs as usize];
    std::thread::scope(|scope| {
        for (part, results) in all.chunks_mut(chunk).enumerate() {
            scope.spawn(move || {
                for (i, result) in results.iter_mut().enumerate() {
                    let run = (part * chunk + i) as u64;
                    *result = roll_out(line, &mut Dice::new(line.seed, line.number, run));
                }
            });
        }
    });
    let count = |of: &dyn Fn(&Run) -> bool| {
        u32::try_from(all.iter().filter(|run| of(run)).count()).unwrap_or(u32::MAX)
    };
    let spread = |of: &dyn Fn(&Run) -> Option<u32>| Spread::of(all.iter().map(of).collect());
    let of_runs = f64::from(runs.max(1));
    Simulated {
        runs,
        taken_back: count(&|run| run.taken_back.is_some()),
        minutes: spread(&|run| run.taken_back),
        safe: spread(&|run| run.safe),
        safe_share: f64::from(count(&|run| run.safe.is_some())) / of_runs,
        ended: spread(&|run| Some(run.ended)),
        hit: all.iter().map(|run| run.hit).sum::<f64>() / of_runs,
    }
}

/// With fewer requests a minute to one of the variants, minutes without any of them happen.
const QUIET: f64 = 40.0;

#[derive(Debug, Clone, Default)]
struct Run {
    taken_back: Option<u32>,
    safe: Option<u32>,
    ended: u32,
    hit: f64,
}

fn roll_out(line: &Line<'_>, dice: &mut Dice) -> Run {
    let course = line.course;
    let (needed, safe_needed) = (course.needed(), course.safe_needed());
    let mut evidence: Vec<Evidence> = line
        .guards
        .iter()
        .map(|traffic| course.evidence(traffic, 1.0))
        .collect();
    let mut is_safe = vec![false; evidence.len()];
    let mut run = Run::default();
    for &share in &course.steps {
        let share = f64::from(share) / 100.0;
        let (mut minutes, mut requests) = (0, 0);
        for evidence in &mut evidence {
            evidence.traffic_shifted();
        }
        loop {
            if run.ended >= HORIZON {
                return run;
            }
            run.ended += 1;
            minutes += 1;
            let mut busiest = 0;
            for ((traffic, evidence), is_safe) in
                line.guards.iter().zip(&mut evidence).zip(&mut is_safe)
            {
                let minute = draw(traffic, share, line.ratio, dice);
                busiest = busiest.max(minute.canary.requests);
                run.hit += real(minute.canary.bad) - real(minute.canary.requests) * traffic.rate;
                if minutes <= course.warmup {
                    continue;
                }
                evidence.gather(&minute);
                // Without a bad answer nothing changes but how safe the canary is by its ceiling;
                // on a quiet endpoint it may be one of an earlier minute.
                let is_quiet = traffic.requests * share.min(1.0 - share) < QUIET;
                let has_bad = is_quiet || minute.canary.bad + minute.baseline.bad > 0;
                if has_bad && evidence.harm() >= needed {
                    run.taken_back = Some(run.ended);
                }
                if has_bad || traffic.ceiling.is_some() {
                    *is_safe = evidence.strongest_safe() >= safe_needed;
                }
            }
            if run.taken_back.is_some() {
                return run;
            }
            requests += busiest;
            let all_safe = is_safe.iter().all(|safe| *safe);
            if all_safe {
                run.safe.get_or_insert(run.ended);
            }
            let has_enough = requests >= course.min_requests
                || course.longest.is_some_and(|longest| minutes >= longest);
            if (all_safe && minutes >= course.earliest())
                || (minutes >= course.minutes && has_enough)
            {
                break;
            }
        }
    }
    run
}

/// A minute of traffic: requests arrive by themselves, the weights split them, and bursts come to each variant by itself.
fn draw(traffic: &Traffic, share: f64, ratio: f64, dice: &mut Dice) -> Minute {
    let all = dice.poisson(traffic.requests);
    let canary = dice.binomial(all, share);
    let icc = traffic.icc();
    let worse = (traffic.rate * ratio).min(1.0);
    Minute {
        baseline: Counts::new(all - canary, dice.bursty(all - canary, traffic.rate, icc)),
        canary: Counts::new(canary, dice.bursty(canary, worse, icc)),
    }
}

#[allow(clippy::cast_precision_loss)]
fn real(count: u64) -> f64 {
    count as f64
}

/// Where a share is, at 95 % (Wilson's interval).
pub(super) fn wilson(of: u32, runs: u32) -> (f64, f64) {
    let (n, z) = (f64::from(runs.max(1)), 1.959_964);
    let p = f64::from(of) / n;
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::forecast::expected;
    use super::super::tests::{course, traffic};
    use super::*;

    fn of(course: &Course, traffic: &Traffic, ratio: f64, runs: u32) -> Simulated {
        let line = Line {
            course,
            guards: std::slice::from_ref(traffic),
            ratio,
            seed: 1,
            number: 0,
        };
        simulate(&line, runs)
    }

    #[test]
    fn what_is_computed_is_what_comes_out() {
        for (requests, rate, ratio) in [
            (600.0, 0.01, 2.0),
            (600.0, 0.01, 5.0),
            (6_000.0, 0.01, 2.0),
            (6_000.0, 0.05, 1.5),
            (600.0, 0.002, 5.0),
        ] {
            let traffic = traffic(requests, rate);
            let computed = expected(&course(), std::slice::from_ref(&traffic), ratio);
            let simulated = of(&course(), &traffic, ratio, 300);
            let case = format!("{requests} {rate} {ratio}");
            if let (Some(a), Some(b)) = (computed.taken_back, simulated.minutes.median) {
                // Chance and whole answers move the median by two minutes or a quarter.
                let (a, b) = (f64::from(a), f64::from(b));
                assert!((a - b).abs() <= 2.0_f64.max(0.25 * b), "{case}: {a} {b}");
            }
            let share = f64::from(simulated.taken_back) / 300.0;
            assert!(
                (share - computed.chance).abs() < 0.12,
                "{case}: {share} {}",
                computed.chance
            );
        }
    }

    #[test]
    fn the_first_monte_carlo_comes_out_again() {
        // Weights of 5, 10, 25 and 50 % for 15 minutes: 20 minutes from 0.2 % to 1 % at 600.
        let course = Course {
            steps: vec![5, 10, 25, 50],
            minutes: 15,
            min_requests: 0,
            ..course()
        };
        let median = of(&course, &traffic(600.0, 0.002), 5.0, 400).minutes.median;
        assert!((18..=22).contains(&median.unwrap()), "{median:?}");
        let median = of(&course, &traffic(6_000.0, 0.01), 2.0, 400)
            .minutes
            .median;
        assert!((5..=7).contains(&median.unwrap()), "{median:?}");
        let healthy = of(&course, &traffic(600.0, 0.01), 1.0, 800);
        // 0.4 % were measured; 8 of 800 would be 1 %, and more than 16 has a chance of 1 in 200.
        assert!(healthy.taken_back <= 16, "{}", healthy.taken_back);
    }

    #[test]
    fn bursts_do_not_take_healthy_canaries_back() {
        let mut bursty = traffic(600.0, 0.02);
        bursty.phi = 8.0;
        let healthy = of(&course(), &bursty, 1.0, 500);
        assert!(healthy.taken_back <= 11, "{}", healthy.taken_back);
    }

    #[test]
    fn the_same_seed_gives_the_same_answer() {
        let traffic = traffic(600.0, 0.01);
        let first = of(&course(), &traffic, 5.0, 120);
        assert_eq!(first, of(&course(), &traffic, 5.0, 120));
        assert!(first.hit > 0.0 && first.taken_back > 100);
    }

    #[test]
    fn long_rollouts_are_fewer() {
        let mut slow = course();
        slow.min_requests = 1_000_000;
        let traffic = traffic(1.0, 0.01);
        let line = Line {
            course: &slow,
            guards: std::slice::from_ref(&traffic),
            ratio: 1.0,
            seed: 1,
            number: 0,
        };
        assert_eq!(affordable(&line, 2_000), FEWEST_RUNS);
    }

    #[test]
    fn spreads_count_runs_that_never_came_there() {
        let spread = Spread::of((1..=60).map(Some).chain((0..40).map(|_| None)).collect());
        assert_eq!(
            (spread.p5, spread.median, spread.p95),
            (Some(5), Some(50), None)
        );
    }

    #[test]
    fn intervals_of_shares_hold_the_share() {
        let (low, high) = wilson(20, 2_000);
        assert!((low - 0.006_48).abs() < 1e-4 && (high - 0.015_39).abs() < 1e-4);
        assert!(wilson(0, 100).0 < 1e-9 && wilson(0, 100).1 > 0.03);
    }
}
