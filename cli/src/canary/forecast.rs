//! When a planned rollout sees a regression, computed: along the course that counts take on
//! average.
//!
//! Evidence is linear in the counts while the weight stays, so a whole step is one minute with so
//! many times the counts; fractions of a request are counted in millionths, and the dispersion with
//! them. The chance to see a regression by the end is that of a normal variable with the variance
//! that the counts give (the delta method). The bound is Wald's ("Sequential Analysis", 1947): a
//! test that knows both rates needs ln(1 / alpha), at the Kullback-Leibler information of a minute.

use tidegate_core::evidence::{Counts, Evidence, Minute};

use super::course::{Course, HORIZON, Traffic};

/// Counts are in units of a request over this.
const UNIT: f64 = 1e6;

/// A change of the counts that is small beside one bad answer.
const LITTLE: f64 = 1e-3;

/// What is expected of a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    /// The minute after which the canary is taken back, though it be after the last step.
    pub(super) taken_back: Option<u32>,
    /// The minute after which all guards say safe.
    pub(super) safe: Option<u32>,
    /// The end of the last step.
    pub(super) end: u32,
    /// The chance that it is taken back by the end of the last step.
    pub(super) chance: f64,
}

/// The course that a rollout takes on average if the canary's rate is `ratio` times as high in each
/// of these guards.
pub(super) fn expected(course: &Course, guards: &[Traffic], ratio: f64) -> Expected {
    let mut paths: Vec<Path> = guards
        .iter()
        .map(|traffic| Path::new(course, traffic, ratio))
        .collect();
    let (needed, safe_needed) = (course.needed(), course.safe_needed());
    let (mut at, mut taken_back, mut safe) = (0, None, None);
    for &share in &course.steps {
        let share = f64::from(share) / 100.0;
        let busiest = guards.iter().map(|t| t.requests).fold(0.0, f64::max);
        let full = course
            .step_minutes(busiest * share)
            .min(HORIZON.saturating_sub(at));
        let step = Step {
            share,
            warmup: course.warmup,
        };
        let crossing = paths
            .iter()
            .filter_map(|p| p.first(step, full, |e| e.harm() >= needed))
            .min();
        let all_safe = paths
            .iter()
            .map(|p| p.first(step, full, |e| e.strongest_safe() >= safe_needed))
            .collect::<Option<Vec<u32>>>()
            .and_then(|minutes| minutes.into_iter().max());
        if let Some(minute) = crossing {
            taken_back.get_or_insert(at + minute);
        }
        if let Some(minute) = all_safe {
            safe.get_or_insert(at + minute);
        }
        let length = all_safe.map_or(full, |minute| minute.max(course.earliest()).min(full));
        for path in &mut paths {
            path.go(step, length);
        }
        at += length;
    }
    let chance = paths
        .iter()
        .map(|path| path.chance(needed))
        .fold(0.0, f64::max);
    if taken_back.is_none() {
        // As if it went on at the last weight.
        let step = Step {
            share: course.steps.last().map_or(0.0, |s| f64::from(*s) / 100.0),
            warmup: 0,
        };
        taken_back = paths
            .iter()
            .filter_map(|p| p.first(step, HORIZON, |e| e.harm() >= needed))
            .min()
            .map(|minute| at + minute);
    }
    Expected {
        taken_back,
        safe,
        end: at,
        chance,
    }
}

/// The smallest ratio that is seen with this chance by the end of the last step; none if not even a
/// canary that is all bad, or a hundred times worse.
pub(super) fn smallest(course: &Course, traffic: &Traffic, chance: f64) -> Option<f64> {
    let most = (0.99 / traffic.rate).min(100.0);
    let of = |ratio: f64| expected(course, std::slice::from_ref(traffic), ratio).chance;
    if of(most) < chance {
        return None;
    }
    let (mut low, mut high) = (course.rule.tolerated_ratio.ln(), most.ln());
    for _ in 0..30 {
        let middle = 0.5 * (low + high);
        if of(middle.exp()) < chance {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high.exp())
}

/// The minutes that the best test needs on average, which knows both rates beforehand; none if more
/// than the horizon. After the last step the weight stays.
pub(super) fn bound(course: &Course, traffic: &Traffic, ratio: f64) -> Option<f64> {
    let mut left = (1.0 / course.rule.alpha).ln();
    let mut at = 0.0;
    for (i, &share) in course.steps.iter().enumerate() {
        let share = f64::from(share) / 100.0;
        let a_minute = information(traffic, share, ratio);
        let is_last = i + 1 == course.steps.len();
        let minutes = if is_last {
            f64::from(HORIZON)
        } else {
            f64::from(course.step_minutes(traffic.requests * share))
        };
        if minutes * a_minute >= left {
            return Some(at + left / a_minute).filter(|minutes| *minutes <= f64::from(HORIZON));
        }
        left -= minutes * a_minute;
        at += minutes;
    }
    None
}

/// What a minute tells of the canary's share of the bad answers. Bursts leave as much as so many
/// times fewer independent answers.
fn information(traffic: &Traffic, share: f64, ratio: f64) -> f64 {
    let canary = share * traffic.rate * ratio;
    let bad = canary + (1.0 - share) * traffic.rate;
    let of_bad = canary / bad;
    let part = |p: f64, q: f64| p * (p / q).ln();
    traffic.requests * bad * (part(of_bad, share) + part(1.0 - of_bad, 1.0 - share)) / traffic.phi
}

#[derive(Debug, Clone, Copy)]
struct Step {
    /// The canary's share of traffic, 0 to 1.
    share: f64,
    /// Minutes at its start that count for nothing.
    warmup: u32,
}

/// What one guard has by now.
struct Path<'a> {
    traffic: &'a Traffic,
    ratio: f64,
    evidence: Evidence,
    /// Weight and minutes that counted, of the steps so far.
    steps: Vec<(f64, u32)>,
}

impl<'a> Path<'a> {
    fn new(course: &Course, traffic: &'a Traffic, ratio: f64) -> Self {
        Self {
            traffic,
            ratio,
            evidence: course.evidence(traffic, UNIT),
            steps: Vec::new(),
        }
    }

    /// The evidence after so many minutes of a step.
    fn after(&self, step: Step, minutes: u32) -> Evidence {
        let counted = minutes.saturating_sub(step.warmup);
        let mut evidence = self.evidence.clone();
        if counted > 0 {
            for kind in self.kinds(step.share) {
                evidence.add(&kind.times(f64::from(counted) * kind.chance));
            }
        }
        evidence
    }

    /// The kinds of minutes that there are, by their requests. Where one of the variants has less
    /// than one a minute, minutes are gathered until both have some: there the average counts.
    fn kinds(&self, share: f64) -> Vec<Kind> {
        let Traffic { requests, rate, .. } = *self.traffic;
        let worse = (rate * self.ratio).min(1.0);
        let (kept, given) = (requests * (1.0 - share), requests * share);
        if kept.min(given) < 1.0 {
            return vec![Kind {
                chance: 1.0,
                baseline: (kept, kept * rate),
                canary: (given, given * worse),
            }];
        }
        let baseline = arrivals(requests * (1.0 - share));
        let canary = arrivals(requests * share);
        let mut kinds = Vec::with_capacity(baseline.len() * canary.len());
        for (chance, kept) in &baseline {
            kinds.extend(canary.iter().map(|(of, given)| Kind {
                chance: chance * of,
                baseline: (*kept, kept * rate),
                canary: (*given, given * worse),
            }));
        }
        kinds
    }

    /// The first minute of a step at which something holds. Along a straight course evidence is
    /// convex, so that what is reached stays reached.
    fn first(&self, step: Step, most: u32, holds: impl Fn(&Evidence) -> bool) -> Option<u32> {
        if !holds(&self.after(step, most)) {
            return None;
        }
        let (mut not, mut yes) = (0, most);
        while yes - not > 1 {
            let middle = not + (yes - not) / 2;
            if holds(&self.after(step, middle)) {
                yes = middle;
            } else {
                not = middle;
            }
        }
        Some(yes)
    }

    fn go(&mut self, step: Step, minutes: u32) {
        self.evidence = self.after(step, minutes);
        self.steps
            .push((step.share, minutes.saturating_sub(step.warmup)));
    }

    /// The chance that the evidence of harm was ever what is needed, as far as it is normal.
    fn chance(&self, needed: f64) -> f64 {
        let harm = self.evidence.harm();
        let mut variance = 0.0;
        for &(share, minutes) in &self.steps {
            for kind in self.kinds(share) {
                for is_canary in [false, true] {
                    let (requests, bad) = if is_canary {
                        kind.canary
                    } else {
                        kind.baseline
                    };
                    if requests <= 0.0 {
                        continue;
                    }
                    let mut more = self.evidence.clone();
                    more.add(&kind.with_little(is_canary));
                    let slope = (more.harm() - harm) / LITTLE;
                    let spread =
                        bad * (1.0 - bad / requests).max(0.0) * self.traffic.phi_of(requests);
                    variance += slope * slope * spread * kind.chance * f64::from(minutes);
                }
            }
        }
        if variance <= 0.0 {
            return f64::from(u8::from(harm >= needed));
        }
        // By the end, and before the end but not at it, as of a Brownian motion with drift.
        let below = |z: f64| 0.5 * libm::erfc(-z / (2.0 * variance).sqrt());
        let reflected = (2.0 * harm * needed / variance).min(700.0).exp() * below(-needed - harm);
        (below(harm - needed) + reflected).min(1.0)
    }
}

/// A minute with so many requests and bad answers, and how often it is like that.
struct Kind {
    chance: f64,
    baseline: (f64, f64),
    canary: (f64, f64),
}

impl Kind {
    /// So many of them as one.
    fn times(&self, times: f64) -> Minute {
        Minute {
            baseline: units(self.baseline.0 * times, self.baseline.1 * times),
            canary: units(self.canary.0 * times, self.canary.1 * times),
        }
    }

    /// A little of one bad answer more, in such a minute.
    fn with_little(&self, is_canary: bool) -> Minute {
        let of = |is_it: bool| if is_it { LITTLE } else { 0.0 };
        Minute {
            baseline: units(self.baseline.0, of(!is_canary).min(self.baseline.0)),
            canary: units(self.canary.0, of(is_canary).min(self.canary.0)),
        }
    }
}

/// From this mean on, a minute's requests are taken to be always the same.
const ALIKE: f64 = 200.0;

/// Below this mean each number of requests is looked at by itself.
const FEW: f64 = 4.0;

/// Medians of the sevenths of a standard normal variable.
const SEVENTHS: [f64; 7] = [-1.465, -0.792, -0.366, 0.0, 0.366, 0.792, 1.465];

/// How many requests arrive in a minute, with the chance of each number.
fn arrivals(mean: f64) -> Vec<(f64, f64)> {
    if mean >= ALIKE {
        return vec![(1.0, mean)];
    }
    if mean >= FEW {
        let point = |z: &f64| (1.0 / 7.0, (mean + z * mean.sqrt()).max(0.5));
        return SEVENTHS.iter().map(point).collect();
    }
    let (mut points, mut chance, mut left, mut k) = (Vec::new(), (-mean).exp(), 1.0, 0.0);
    while left > 1e-4 {
        points.push((chance, k));
        left -= chance;
        k += 1.0;
        chance *= mean / k;
    }
    points
}

/// Counts in units; negative and beyond all numbers saturate.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn units(requests: f64, bad: f64) -> Counts {
    Counts::new(
        (requests * UNIT).round() as u64,
        (bad * UNIT).round() as u64,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{course, traffic};
    use super::*;

    fn of(traffic: &Traffic, ratio: f64) -> Expected {
        expected(&course(), std::slice::from_ref(traffic), ratio)
    }

    #[test]
    fn the_average_course_is_that_of_whole_counts() {
        // Whole counts, minute by minute.
        let path_traffic = traffic(20_000.0, 0.002);
        let course = course();
        let step = Step {
            share: 0.05,
            warmup: 0,
        };
        let path = Path::new(&course, &path_traffic, 2.0);
        let mut real = course.evidence(&path_traffic, 1.0);
        for _ in 0..7 {
            real.add(&Minute::from([19_000, 38, 1_000, 4]));
        }
        let computed = path.after(step, 7);
        assert!((computed.harm() - real.harm()).abs() < 1e-6);
        assert!((computed.safe_ratio() - real.safe_ratio()).abs() < 1e-6);
    }

    #[test]
    fn worse_is_found_sooner_and_never_before_the_bound() {
        let traffic = traffic(600.0, 0.01);
        let mut before = u32::MAX;
        for ratio in [1.5, 2.0, 5.0, 10.0] {
            let minutes = of(&traffic, ratio).taken_back.unwrap();
            let bound = bound(&course(), &traffic, ratio).unwrap();
            assert!(f64::from(minutes) > bound, "{ratio}: {minutes} {bound}");
            assert!(minutes < before, "{ratio}");
            before = minutes;
        }
        assert_eq!(of(&traffic, 1.0).taken_back, None);
    }

    #[test]
    fn the_bound_is_the_one_that_was_measured_with() {
        let course = Course {
            steps: vec![5, 10, 25, 50],
            minutes: 15,
            ..course()
        };
        for (traffic, ratio, minutes) in [
            (traffic(600.0, 0.002), 5.0, 18.2),
            (traffic(6_000.0, 0.01), 2.0, 4.2),
            (traffic(600.0, 0.001), 51.0, 1.4),
        ] {
            let got = bound(&course, &traffic, ratio).unwrap();
            assert!((got - minutes).abs() < 0.06, "{got} {minutes}");
        }
    }

    #[test]
    fn more_traffic_sees_less() {
        let of = |requests| smallest(&course(), &traffic(requests, 0.01), 0.8);
        let (some, more, most) = (
            of(200.0).unwrap(),
            of(2_000.0).unwrap(),
            of(20_000.0).unwrap(),
        );
        assert!(
            some > more && more > most && most > 1.0,
            "{some} {more} {most}"
        );
        let short = Course {
            min_requests: 0,
            ..course()
        };
        assert_eq!(smallest(&short, &traffic(0.1, 0.01), 0.8), None);
    }

    #[test]
    fn bursts_need_more_minutes() {
        let mut bursty = traffic(600.0, 0.01);
        bursty.phi = 3.0;
        let plain = of(&traffic(600.0, 0.01), 5.0).taken_back;
        assert!(of(&bursty, 5.0).taken_back > plain);
    }

    #[test]
    fn minutes_that_are_left_out_only_delay() {
        let warm = Course {
            warmup: 3,
            ..course()
        };
        let traffic = traffic(6_000.0, 0.01);
        let expected = expected(&warm, std::slice::from_ref(&traffic), 10.0);
        assert_eq!(
            expected.taken_back.unwrap(),
            of(&traffic, 10.0).taken_back.unwrap() + 3
        );
    }
}
