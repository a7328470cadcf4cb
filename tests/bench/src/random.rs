//! Random draws that a seed repeats: binomial, gamma, beta and normal.
//!
//! Each run of each scenario has a generator of its own, so the table is the same whatever the
//! number of threads. The samplers are exact: Hörmann, "The generation of binomial random
//! variates" (1993), algorithm BTRS; Marsaglia, Tsang, "A simple method for generating gamma
//! variables" (2000). They are here, and not from a crate of distributions, because such a crate
//! switches on a feature of a crate that the AWS SDK shares, and would have that built twice.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Below this expectation a binomial is drawn by walking up its probabilities.
const FEW: f64 = 10.0;

/// The generator of one run.
pub(crate) struct Dice(SmallRng);

impl Dice {
    /// The dice of one run of a scenario.
    pub(crate) fn new(seed: u64, scenario: &str, run: u64) -> Self {
        // FNV-1a of the name; the generator's own seeding mixes what comes out.
        let name = scenario
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        let run = run.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(SmallRng::seed_from_u64(
            seed.rotate_left(32) ^ name ^ run.rotate_left(17),
        ))
    }

    /// Uniform, 0 (included) to 1 (not included).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    /// Standard normal, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Gamma with this shape and scale 1; `shape` is more than 0.
    pub(crate) fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = (1.0 - self.uniform()).powf(1.0 / shape);
            return boost * self.gamma(shape + 1.0);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v <= 0.0 {
                continue;
            }
            let log_u = (1.0 - self.uniform()).ln();
            if log_u < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Beta; both parameters are more than 0.
    pub(crate) fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        if x + y > 0.0 { x / (x + y) } else { 0.0 }
    }

    /// How many of `n` happen if each does with probability `p`.
    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        if n as f64 * p < FEW {
            self.few(n, p)
        } else {
            self.many(n, p)
        }
    }

    fn few(&mut self, n: u64, p: f64) -> u64 {
        let odds = p / (1.0 - p);
        let mut term = (n as f64 * (-p).ln_1p()).exp();
        let mut left = self.uniform();
        for k in 0..n {
            if left < term {
                return k;
            }
            left -= term;
            term *= odds * (n - k) as f64 / (k + 1) as f64;
            // What rounding leaves over after the last term that matters.
            if term < 1e-300 {
                return k;
            }
        }
        n
    }

    // The letters are those of Hörmann's paper.
    #[allow(clippy::many_single_char_names)]
    fn many(&mut self, n: u64, p: f64) -> u64 {
        let count = n as f64;
        let spread = (count * p * (1.0 - p)).sqrt();
        let b = 1.15 + 2.53 * spread;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let centre = count * p + 0.5;
        let quick = 0.92 - 4.2 / b;
        let alpha = (2.83 + 5.1 / b) * spread;
        let log_odds = (p / (1.0 - p)).ln();
        let mode = ((count + 1.0) * p).floor();
        let log_factorials = |k: f64| libm::lgamma(k + 1.0) + libm::lgamma(count - k + 1.0);
        let at_mode = log_factorials(mode);
        loop {
            let u = self.uniform() - 0.5;
            let v = 1.0 - self.uniform();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + centre).floor();
            if k < 0.0 || k > count {
                continue;
            }
            if us >= 0.07 && v <= quick {
                return k as u64;
            }
            let v = (v * alpha / (a / (us * us) + b)).ln();
            if v <= at_mode - log_factorials(k) + (k - mode) * log_odds {
                return k as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The probability of `k` of `n`.
    fn probability(n: u64, p: f64, k: u64) -> f64 {
        let choose = libm::lgamma(n as f64 + 1.0)
            - libm::lgamma(k as f64 + 1.0)
            - libm::lgamma((n - k) as f64 + 1.0);
        (choose + k as f64 * p.ln() + (n - k) as f64 * (1.0 - p).ln()).exp()
    }

    #[test]
    fn binomial_draws_have_the_frequencies_of_the_formula() {
        const DRAWS: u32 = 100_000;
        for (n, p) in [(30, 0.01), (40, 0.45), (600, 0.05), (90, 0.8), (7, 0.5)] {
            let mut dice = Dice::new(7, "binomial", n);
            let mut seen = vec![0_u32; usize::try_from(n).unwrap() + 1];
            for _ in 0..DRAWS {
                seen[usize::try_from(dice.binomial(n, p)).unwrap()] += 1;
            }
            let mut chi_square = 0.0;
            let mut cells = 0.0;
            for (k, seen) in seen.iter().enumerate() {
                let expected = f64::from(DRAWS) * probability(n, p, k as u64);
                if expected >= 10.0 {
                    chi_square += (f64::from(*seen) - expected).powi(2) / expected;
                    cells += 1.0;
                }
            }
            // Five standard deviations of a chi-square above its mean.
            let limit = cells + 5.0 * (2.0_f64 * cells).sqrt();
            assert!(chi_square < limit, "n {n} p {p}: {chi_square} > {limit}");
        }
    }

    #[test]
    fn large_binomials_have_their_mean_and_variance() {
        let mut dice = Dice::new(1, "large", 0);
        let (n, p, times) = (100_000_u64, 0.3, 20_000);
        let drawn: Vec<f64> = (0..times).map(|_| dice.binomial(n, p) as f64).collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(times);
        let variance = drawn.iter().map(|k| (k - mean).powi(2)).sum::<f64>() / f64::from(times);
        assert!((mean - 30_000.0).abs() < 5.0, "{mean}");
        assert!((variance / 21_000.0 - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn beta_draws_have_their_mean_and_intraclass_correlation() {
        let (p, icc, times) = (0.05, 0.02, 40_000);
        let size = (1.0 - icc) / icc;
        let mut dice = Dice::new(2, "beta", 0);
        let drawn: Vec<f64> = (0..times)
            .map(|_| dice.beta(p * size, (1.0 - p) * size))
            .collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(times);
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(times);
        assert!((mean / p - 1.0).abs() < 0.02, "{mean}");
        assert!(
            (variance / (icc * p * (1.0 - p)) - 1.0).abs() < 0.1,
            "{variance}"
        );
    }

    #[test]
    fn the_same_seed_scenario_and_run_draw_the_same() {
        let draw = |seed, name, run| {
            let mut dice = Dice::new(seed, name, run);
            [dice.uniform(), dice.normal(), dice.gamma(0.3)]
        };
        assert_eq!(draw(1, "a", 0), draw(1, "a", 0));
        for other in [draw(2, "a", 0), draw(1, "b", 0), draw(1, "a", 1)] {
            assert_ne!(draw(1, "a", 0), other);
        }
    }

    #[test]
    fn certain_and_impossible_events_need_no_luck() {
        let mut dice = Dice::new(1, "edge", 0);
        assert_eq!(dice.binomial(0, 0.5), 0);
        assert_eq!(dice.binomial(9, 0.0), 0);
        assert_eq!(dice.binomial(9, 1.0), 9);
        assert!(dice.binomial(9, 1.0 - 1e-12) >= 8);
    }
}
