//! Random counts that a seed repeats on every machine: Poisson, binomial, beta-binomial.
//!
//! Few expected events are drawn by walking up the distribution function; many by transformed
//! rejection (Hörmann, "The generation of binomial random variates", 1993, algorithm BTRS). Bursts
//! are a beta-distributed rate (Marsaglia, Tsang, "A simple method for generating gamma variables",
//! 2000). All are exact. A crate of distributions would switch on a feature that has the AWS SDK
//! built twice.

// The papers' names of one letter.
#![allow(clippy::many_single_char_names)]

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

/// From this expectation on, rejection is faster than walking and allowed.
const MANY: f64 = 10.0;

/// The random counts of one simulated rollout.
pub(super) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// The dice of a run; `line` keeps the lines of one answer apart.
    pub(super) fn new(seed: u64, line: u64, run: u64) -> Self {
        // Odd multipliers keep different runs different; the generator's seeding mixes them.
        let mixed = seed
            ^ line.wrapping_mul(0xD1B5_4A32_D192_ED03).rotate_left(23)
            ^ run.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// Uniform, 0 included, 1 excluded.
    fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// How many arrive, each by itself, if `mean` do on average (Hörmann, "The transformed
    /// rejection method for generating Poisson random variables", 1993, algorithm PTRS).
    pub(super) fn poisson(&mut self, mean: f64) -> u64 {
        if mean < MANY {
            let limit = (-mean).exp();
            let mut product = self.unit();
            let mut k = 0;
            while product > limit {
                product *= self.unit();
                k += 1;
            }
            return k;
        }
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.024_83 * b;
        let alpha = 1.123_9 + 1.132_8 / (b - 3.4);
        let inner = 0.927_7 - 3.622_4 / (b - 2.0);
        loop {
            let u = self.unit() - 0.5;
            // Never 0, so that its logarithm is finite.
            let v = 1.0 - self.unit();
            let edge = 0.5 - u.abs();
            let k = ((2.0 * a / edge + b) * u + mean + 0.43).floor();
            if edge >= 0.07 && v <= inner {
                return whole(k);
            }
            if k < 0.0 || (edge < 0.013 && v > edge) {
                continue;
            }
            let chance = k * mean.ln() - mean - libm::lgamma(k + 1.0);
            if (v * alpha / (a / (edge * edge) + b)).ln() <= chance {
                return whole(k);
            }
        }
    }

    /// How many of `n` come about, each with probability `p`, and all more alike than independent
    /// ones by the intraclass correlation `icc`, 0 (independent) to 1.
    pub(super) fn bursty(&mut self, n: u64, p: f64, icc: f64) -> u64 {
        if icc <= 0.0 || n == 0 || p <= 0.0 || p >= 1.0 {
            return self.binomial(n, p);
        }
        let size = (1.0 - icc).max(1e-9) / icc;
        let (a, b) = (self.gamma(p * size), self.gamma((1.0 - p) * size));
        // Both are zero if their shapes are tiny: then all or none come about.
        let rate = if a + b > 0.0 {
            a / (a + b)
        } else {
            f64::from(u8::from(self.unit() < p))
        };
        self.binomial(n, rate)
    }

    /// How many of `n` come about, each with probability `p` by itself.
    pub(super) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 {
            0
        } else if p >= 1.0 {
            n
        } else if p > 0.5 {
            n - self.binomial(n, 1.0 - p)
        } else if real(n) * p < MANY {
            self.walk(n, p)
        } else {
            self.reject(n, p)
        }
    }

    fn walk(&mut self, n: u64, p: f64) -> u64 {
        let odds = p / (1.0 - p);
        let mut chance = (real(n) * (-p).ln_1p()).exp();
        let mut left = self.unit();
        let mut k = 0;
        while left >= chance && k < n {
            left -= chance;
            k += 1;
            chance *= odds * real(n - k + 1) / real(k);
            if chance < f64::MIN_POSITIVE {
                break;
            }
        }
        k
    }

    fn reject(&mut self, n: u64, p: f64) -> u64 {
        let count = real(n);
        let deviation = (count * p * (1.0 - p)).sqrt();
        let b = 1.15 + 2.53 * deviation;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let c = count * p + 0.5;
        let inner = 0.92 - 4.2 / b;
        let alpha = (2.83 + 5.1 / b) * deviation;
        let mode = ((count + 1.0) * p).floor();
        let log_odds = (p / (1.0 - p)).ln();
        // The log of the probability of k, but for what is the same for every k.
        let weight = |k: f64| k * log_odds - libm::lgamma(k + 1.0) - libm::lgamma(count - k + 1.0);
        let highest = weight(mode);
        loop {
            let u = self.unit() - 0.5;
            // Never 0, so that its logarithm is finite.
            let v = 1.0 - self.unit();
            let edge = 0.5 - u.abs();
            let k = ((2.0 * a / edge + b) * u + c).floor();
            if !(0.0..=count).contains(&k) {
                continue;
            }
            let is_inside = edge >= 0.07 && v <= inner;
            if is_inside || (v * alpha / (a / (edge * edge) + b)).ln() <= weight(k) - highest {
                return whole(k);
            }
        }
    }

    /// Gamma with this shape, above 0, and scale 1.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let lift = (1.0 - self.unit()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * lift;
        }
        let d = shape - 1.0 / 3.0;
        let c = (9.0 * d).sqrt().recip();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.unit()).ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                return d * v;
            }
        }
    }

    /// Standard normal (Box, Muller).
    fn normal(&mut self) -> f64 {
        let angle = std::f64::consts::TAU * self.unit();
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * angle.cos()
    }
}

/// Counts here are far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn real(n: u64) -> f64 {
    n as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(n: f64) -> u64 {
    n as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_precision_loss)]
    use super::*;

    /// Mean and variance of draws.
    fn moments(mut draw: impl FnMut() -> u64, draws: u32) -> (f64, f64) {
        let all: Vec<f64> = (0..draws).map(|_| draw() as f64).collect();
        let mean = all.iter().sum::<f64>() / f64::from(draws);
        let square = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        (mean, square / f64::from(draws - 1))
    }

    #[test]
    fn draws_have_the_chances_of_the_formula() {
        // One of each way: walking, rejection, and the mirror of either.
        for (n, p) in [(40, 0.02), (60, 0.4), (60, 0.7), (30, 0.9)] {
            let mut dice = Dice::new(5, n, 0);
            let mut seen = vec![0_u32; usize::try_from(n).unwrap() + 1];
            for _ in 0..40_000 {
                seen[usize::try_from(dice.binomial(n, p)).unwrap()] += 1;
            }
            let ln = |k: u64| libm::lgamma(k as f64 + 1.0);
            let (mut chi_square, mut cells) = (0.0, 0.0);
            for (k, seen) in (0..).zip(seen) {
                let choose = ln(n) - ln(k) - ln(n - k);
                let chance = choose + k as f64 * f64::ln(p) + (n - k) as f64 * f64::ln(1.0 - p);
                let expected = 40_000.0 * chance.exp();
                if expected > 8.0 {
                    chi_square += (f64::from(seen) - expected).powi(2) / expected;
                    cells += 1.0;
                }
            }
            let limit = cells + 4.0 * (2.0_f64 * cells).sqrt();
            assert!(chi_square < limit, "{n} {p}: {chi_square} > {limit}");
        }
    }

    #[test]
    fn bursts_have_the_variance_of_their_correlation() {
        let (n, p, icc) = (300, 0.03, 0.02);
        let mut dice = Dice::new(6, 0, 0);
        let (mean, variance) = moments(|| dice.bursty(n, p, icc), 40_000);
        let independent = n as f64 * p * (1.0 - p);
        let expected = independent * (1.0 + (n - 1) as f64 * icc);
        assert!((mean / 9.0 - 1.0).abs() < 0.02, "{mean}");
        assert!(
            (variance / expected - 1.0).abs() < 0.08,
            "{variance} {expected}"
        );
    }

    #[test]
    fn arrivals_have_their_mean_as_variance() {
        let mut dice = Dice::new(7, 0, 0);
        for expected in [0.5, 7.0, 12.0, 900.0] {
            let (mean, variance) = moments(|| dice.poisson(expected), 40_000);
            assert!((mean / expected - 1.0).abs() < 0.03, "{expected}: {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "{expected}: {variance}"
            );
        }
        assert_eq!(dice.poisson(0.0), 0);
    }

    #[test]
    fn the_same_seed_line_and_run_draw_the_same() {
        let draws = |seed, line, run| {
            let mut dice = Dice::new(seed, line, run);
            [0, 1, 2, 3].map(|_| dice.binomial(1_000, 0.3))
        };
        assert_eq!(draws(1, 2, 3), draws(1, 2, 3));
        for other in [draws(2, 2, 3), draws(1, 3, 3), draws(1, 2, 4)] {
            assert_ne!(draws(1, 2, 3), other);
        }
    }

    #[test]
    fn what_is_certain_or_impossible_comes_out_so() {
        let mut dice = Dice::new(8, 0, 0);
        assert_eq!(dice.binomial(0, 0.5), 0);
        assert_eq!(dice.bursty(9, 0.0, 0.5), 0);
        assert_eq!(dice.bursty(9, 1.0, 0.5), 9);
        assert!(dice.bursty(9, 0.5, 1.0) <= 9);
    }
}
