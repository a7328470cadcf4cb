//! Kayenta's default judge, `NetflixACAJudge`. Documented in Spinnaker's "How canary judgment works"
//! (guides/user/canary/judge): a metric is High when the 98 % confidence interval of the
//! Mann-Whitney test lies above a quarter of the Hodges-Lehmann estimate; minutes without data are
//! left out, outliers are kept, and the score is the share of metrics that pass. A score under the
//! marginal threshold of 75 fails the canary.
//!
//! It judges after each step, on all minutes since the start. Its best practices ask for 50 points of
//! time a run and several hours; a rollout of an hour has them at its end only.

use tidegate_core::evidence::Minute;

use super::Watch;

/// The normal quantile of a two-sided confidence of 98 %.
const QUANTILE: f64 = 2.326_347_874_040_841;

/// The tolerance band in parts of the estimate.
const TOLERANCE: f64 = 0.25;

/// Below this score the canary fails.
const MARGINAL: f64 = 75.0;

/// How often an interval is halved in search of the estimate.
const HALVINGS: u32 = 30;

pub(super) struct Kayenta {
    every: u32,
    minute: u32,
    metrics: Vec<Metric>,
}

/// Shares of bad answers by minute.
#[derive(Clone, Default)]
struct Metric {
    control: Vec<f64>,
    experiment: Vec<f64>,
}

impl Kayenta {
    pub(super) fn new(guards: usize, every: u32) -> Self {
        Self {
            every: every.max(1),
            minute: 0,
            metrics: vec![Metric::default(); guards],
        }
    }
}

impl Watch for Kayenta {
    fn minute(&mut self, guards: &[Minute]) -> bool {
        for (metric, minute) in self.metrics.iter_mut().zip(guards) {
            metric.control.extend(minute.baseline.rate());
            metric.experiment.extend(minute.canary.rate());
        }
        self.minute += 1;
        if !self.minute.is_multiple_of(self.every) {
            return false;
        }
        let with_data = || {
            self.metrics
                .iter()
                .filter(|m| !m.control.is_empty() && !m.experiment.is_empty())
        };
        let total = with_data().count();
        // Half of the metrics without data fail the canary.
        if total * 2 <= self.metrics.len() {
            return true;
        }
        let passed = with_data()
            .filter(|m| !is_high(&m.control, &m.experiment))
            .count();
        100.0 * passed as f64 / (total as f64) < MARGINAL
    }
}

/// Whether the experiment is significantly higher, beyond the tolerance band.
///
/// The statistic falls as the shift grows, so "the interval's lower end is above the band's upper
/// end" is the same as "at the band's upper end the statistic is still above the quantile".
fn is_high(control: &[f64], experiment: &[f64]) -> bool {
    if statistic(control, experiment, 0.0) <= QUANTILE {
        return false;
    }
    let band = TOLERANCE * estimate(control, experiment).abs();
    statistic(control, experiment, band) > QUANTILE
}

/// The Hodges-Lehmann estimate of the shift: where the statistic changes its sign.
fn estimate(control: &[f64], experiment: &[f64]) -> f64 {
    let least = |of: &[f64]| of.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |of: &[f64]| of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut low = least(experiment) - most(control);
    let mut high = most(experiment) - least(control);
    for _ in 0..HALVINGS {
        let middle = low.midpoint(high);
        if apart(control, experiment, middle).0 > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    low.midpoint(high)
}

/// The normal approximation of the Mann-Whitney statistic for the experiment minus `shift` against
/// the control, corrected for continuity; 0 if all are tied.
fn statistic(control: &[f64], experiment: &[f64], shift: f64) -> f64 {
    let (apart, variance) = apart(control, experiment, shift);
    if variance <= 0.0 || apart == 0.0 {
        return 0.0;
    }
    (apart - 0.5 * apart.signum()) / variance.sqrt()
}

/// How far the experiment's rank sum is from the one of equal distributions, and the variance it
/// then has, corrected for ties.
fn apart(control: &[f64], experiment: &[f64], shift: f64) -> (f64, f64) {
    let (m, n) = (experiment.len() as f64, control.len() as f64);
    let shifted = experiment.iter().map(|x| (x - shift, true));
    let mut all: Vec<(f64, bool)> = shifted.chain(control.iter().map(|y| (*y, false))).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut before) = (0.0, 0.0, 0.0);
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let size = tied.len() as f64;
        let of_experiment = tied.iter().filter(|(_, is)| *is).count() as f64;
        rank_sum += of_experiment * (before + size.midpoint(1.0));
        ties += size.powi(3) - size;
        before += size;
    }
    let apart = rank_sum - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let variance = m * n / 12.0 * (m + n + 1.0 - ties / ((m + n) * (m + n - 1.0)));
    (apart, variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two-sided p-value of a normal statistic.
    fn p_value(z: f64) -> f64 {
        libm::erfc(z.abs() / std::f64::consts::SQRT_2)
    }

    #[test]
    fn the_statistic_has_the_known_p_value() {
        // Hollander, Wolfe, "Nonparametric Statistical Methods", permeability of the human chorio-
        // amnion: W = 35, exactly p = 0.2544. The normal approximation comes near.
        let term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let early = [1.15, 0.88, 0.90, 0.74, 1.21];
        let z = statistic(&early, &term, 0.0);
        assert!(
            (z - 9.5 / f64::sqrt(50.0 * 16.0 / 12.0)).abs() < 1e-12,
            "{z}"
        );
        let p = p_value(z);
        assert!((p - 0.2544).abs() < 0.012, "{p}");
    }

    #[test]
    fn ties_make_the_variance_smaller() {
        // Ranks by hand: 1, 1, 1 (2 each), 2, 2 (4.5 each), 3 (6). Experiment: 1, 2, 3.
        let z = statistic(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0], 0.0);
        let variance = 9.0 / 12.0 * (7.0 - 30.0 / 30.0);
        assert!(
            (z - (12.5 - 6.0 - 4.5 - 0.5) / f64::sqrt(variance)).abs() < 1e-12,
            "{z}"
        );
        assert_eq!(statistic(&[1.0; 5], &[1.0; 5], 0.0), 0.0);
    }

    #[test]
    fn the_estimate_is_the_median_of_the_differences() {
        let control = [1.0, 2.0, 4.0];
        let experiment = [11.0, 13.0, 18.0];
        // Differences: 7, 9, 9, 10, 11, 12, 14, 16, 17.
        let estimate = estimate(&control, &experiment);
        assert!((estimate - 11.0).abs() < 1e-6, "{estimate}");
    }

    fn after(control: &[u64], experiment: &[u64]) -> bool {
        let mut kayenta = Kayenta::new(1, 15);
        let mut says = false;
        for i in 0..15 {
            says = kayenta.minute(&[Minute::from([
                1_000,
                control[i % control.len()],
                1_000,
                experiment[i % experiment.len()],
            ])]);
            assert!(!says || i == 14, "it judges after a step only");
        }
        says
    }

    #[test]
    fn a_canary_that_is_clearly_higher_fails_and_one_that_is_lower_passes() {
        assert!(after(&[8, 10, 12], &[28, 30, 32]));
        assert!(!after(&[8, 10, 12], &[1, 2, 3]));
        assert!(!after(&[8, 10, 12], &[8, 10, 12]));
        assert!(!after(&[5], &[5]));
    }

    #[test]
    fn no_data_at_all_fails() {
        let mut kayenta = Kayenta::new(1, 1);
        assert!(kayenta.minute(&[Minute::from([10, 0, 0, 0])]));
    }
}
