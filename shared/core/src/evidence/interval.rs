//! Intervals that stay true however often they are looked at: for a rate, and for the ratio of the
//! canary's rate to the baseline's.
//!
//! Each is what a sequential test would not have rejected yet (a confidence sequence): the values
//! whose e-process is still below 1 / (1 - confidence). For a rate the e-process is the mixture of
//! Bernoulli likelihoods over Jeffreys' prior (Robbins, "Statistical methods related to the law of
//! the iterated logarithm", 1970); for the ratio it is the mixture of the shared-out likelihoods
//! over the alternatives that the evidence keeps sums of anyway. Exponents are divided by the
//! dispersion, as the evidence's are.

use serde::{Deserialize, Serialize};

use super::{Counts, Evidence, FACTORS, GRID, LN_GRID, real};

/// How sure the intervals are: the chance that one ever leaves the true value out is 5 % at most.
pub const CONFIDENCE: f64 = 0.95;

/// Bisections of an end: each halves its error, so 60 leave nothing of it.
const BISECTIONS: u32 = 60;

/// An interval; an end that the data say nothing of is open.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end; none if it may be as low as can be.
    pub low: Option<f64>,
    /// The upper end; none if it may be as high as can be.
    pub high: Option<f64>,
}

impl Interval {
    /// Whether a value is in it.
    pub fn holds(&self, value: f64) -> bool {
        self.low.is_none_or(|low| value >= low) && self.high.is_none_or(|high| value <= high)
    }
}

/// Where the rate of bad events is, 0 to 1; both ends open without requests. `phi` is the
/// [`super::dispersion`], 1 or more.
pub fn rate_interval(counts: Counts, phi: f64) -> Interval {
    let counts = counts.clamped();
    if counts.requests == 0 {
        return Interval {
            low: None,
            high: None,
        };
    }
    let phi = if phi.is_finite() { phi.max(1.0) } else { 1.0 };
    let bad = real(counts.bad) / phi;
    let good = real(counts.requests - counts.bad) / phi;
    let mixture = ln_beta(bad + 0.5, good + 0.5) - ln_beta(0.5, 0.5);
    // The log of the e-process against the rate p; it rises on both sides of the measured rate.
    let against = |p: f64| mixture - term(bad, p.ln()) - term(good, (-p).ln_1p());
    let limit = -(1.0 - CONFIDENCE).ln();
    let rate = real(counts.bad) / real(counts.requests);
    Interval {
        low: (counts.bad > 0).then(|| bisect(0.0, rate, |p| against(p) >= limit)),
        high: (counts.bad < counts.requests).then(|| bisect(1.0, rate, |p| against(p) >= limit)),
    }
}

impl Evidence {
    /// How many times the baseline's rate the canary's is most likely: none without a bad event of
    /// the baseline beside the canary, 0 if the canary had none.
    pub fn ratio(&self) -> Option<f64> {
        let totals = self.totals();
        if totals.baseline.bad == 0 || totals.canary.requests == 0 {
            return None;
        }
        if totals.canary.bad == 0 {
            return Some(0.0);
        }
        let points = self.likelihood();
        let best = (0..points.len()).max_by(|a, b| points[*a].1.total_cmp(&points[*b].1))?;
        if best == 0 || best + 1 == points.len() {
            return Some(points[best].0.exp());
        }
        // The top of the parabola through the best point and its neighbours.
        let [(xa, ya), (xb, yb), (xc, yc)] = [points[best - 1], points[best], points[best + 1]];
        let (left, right) = ((yb - ya) / (xb - xa), (yc - yb) / (xc - xb));
        let bend = left - right;
        let top = if bend > 0.0 {
            0.5 * (xa + xb) + (xc - xa) * 0.5 * left / bend
        } else {
            xb
        };
        Some(top.clamp(xa, xc).exp())
    }

    /// Where that ratio is. Ends beyond some 0.05 or 30 times are open.
    pub fn ratio_interval(&self) -> Interval {
        let points = self.likelihood();
        let highest = points
            .iter()
            .fold(f64::NEG_INFINITY, |highest, (_, l)| highest.max(*l));
        let sum: f64 = points
            .iter()
            .map(|(_, l)| ((l - highest) / self.phi).exp())
            .sum();
        // A ratio is ruled out once its log-likelihood is this low.
        #[allow(clippy::cast_precision_loss)]
        let limit =
            highest + self.phi * ((sum / points.len() as f64).ln() + (1.0 - CONFIDENCE).ln());
        let inside = |i: &usize| points[*i].1 > limit;
        let first = (0..points.len()).find(inside);
        let last = (0..points.len()).rev().find(inside);
        let end = |at: Option<usize>, outer: i32| {
            let at = at?;
            let next = at.checked_add_signed(if outer < 0 { -1 } else { 1 })?;
            let (x, l) = points[at];
            let beyond = points.get(next)?.0;
            // The log-likelihood is concave in the log ratio: the chord of the two points on the
            // inner side, drawn on outwards, stays above it, so the end is never too near.
            let inner = at.checked_add_signed(if outer < 0 { 1 } else { -1 });
            let crossing = inner
                .and_then(|i| points.get(i))
                .map_or(beyond, |(xi, li)| {
                    let slope = (li - l) / (xi - x);
                    let falls = slope * f64::from(outer) < 0.0;
                    if falls {
                        x + (limit - l) / slope
                    } else {
                        beyond
                    }
                });
            let nearer = if outer < 0 {
                crossing.max(beyond)
            } else {
                crossing.min(beyond)
            };
            Some(nearer.exp())
        };
        Interval {
            low: end(first, -1),
            high: end(last, 1),
        }
    }

    /// The log-likelihood at the ratios that sums are kept of, beside that of the tolerated ratio:
    /// log ratio and log-likelihood, rising in the ratio. Both rows are one function of the ratio,
    /// joined by the step from the tolerated ratio to the margin.
    fn likelihood(&self) -> Vec<(f64, f64)> {
        let (tolerated, margin) = (self.tolerated.ln(), self.margin.ln());
        let mut points = Vec::with_capacity(2 * GRID + 1);
        for k in (0..GRID).rev() {
            let x = margin - LN_GRID[k];
            if self.margin / FACTORS[k] < self.tolerated * 0.999 {
                points.push((x, self.step + self.better[k]));
            }
        }
        points.push((tolerated, 0.0));
        points.extend((0..GRID).map(|k| (tolerated + LN_GRID[k], self.worse[k])));
        points
    }
}

/// `count * ln`, where nothing times minus infinity is nothing.
fn term(count: f64, ln: f64) -> f64 {
    if count == 0.0 { 0.0 } else { count * ln }
}

/// Where `is_out` changes between `out` and `inside`, on the outer side.
fn bisect(mut out: f64, mut inside: f64, is_out: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (out + inside);
        if is_out(middle) {
            out = middle;
        } else {
            inside = middle;
        }
    }
    out
}

fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_precision_loss)]
    use super::super::{Minute, Rule};
    use super::*;

    const RULE: Rule = Rule {
        alpha: 0.01,
        beta: 0.05,
        tolerated_ratio: 1.0,
        margin_ratio: 1.5,
    };

    #[track_caller]
    fn is_near(got: Option<f64>, expected: Option<f64>) {
        match (got, expected) {
            (Some(got), Some(expected)) => {
                assert!((got / expected - 1.0).abs() < 1e-9, "{got} {expected}");
            }
            (got, expected) => assert_eq!(got, expected),
        }
    }

    #[test]
    fn rates_are_where_an_independent_computation_has_them() {
        // Roots of the same equation by SciPy's betaln and brentq.
        for (counts, phi, low, high) in [
            ([100, 0], 1.0, None, Some(0.057_028_597_638_772_34)),
            (
                [812, 40],
                1.0,
                Some(0.026_448_293_305_284_004),
                Some(0.081_725_636_465_168_67),
            ),
            (
                [14_000, 12],
                1.0,
                Some(0.000_205_939_025_516_776_15),
                Some(0.002_257_564_600_085_978_4),
            ),
            ([5, 5], 1.0, Some(0.414_967_531_845_723_27), None),
            (
                [812, 40],
                4.0,
                Some(0.013_381_885_301_217_979),
                Some(0.118_997_842_905_666_63),
            ),
        ] {
            let interval = rate_interval(Counts::from(counts), phi);
            is_near(interval.low, low);
            is_near(interval.high, high);
        }
        let nothing = rate_interval(Counts::default(), 1.0);
        assert_eq!((nothing.low, nothing.high), (None, None));
    }

    /// A generator that is the same everywhere (Knuth's MMIX constants).
    struct Dice(u64);

    impl Dice {
        fn unit(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn bad(&mut self, requests: u64, rate: f64) -> u64 {
            (0..requests).map(|_| u64::from(self.unit() < rate)).sum()
        }
    }

    #[test]
    fn looking_every_minute_leaves_the_true_values_in_the_intervals() {
        let (runs, rate, times) = (300, 0.03, 2.0);
        let (mut rates_left, mut ratios_left) = (0, 0);
        let mut dice = Dice(7);
        for _ in 0..runs {
            let mut evidence = Evidence::new(&RULE, None, 1.0);
            let (mut is_rate_in, mut is_ratio_in) = (true, true);
            for minute in 0..40 {
                let canary = 20 + 2 * minute;
                let bad = (dice.bad(200, rate), dice.bad(canary, rate * times));
                evidence.add(&Minute::from([200, bad.0, canary, bad.1]));
                let side = rate_interval(evidence.totals().canary, 1.0);
                is_rate_in &= side.holds(rate * times);
                is_ratio_in &= evidence.ratio_interval().holds(times);
            }
            rates_left += u32::from(!is_rate_in);
            ratios_left += u32::from(!is_ratio_in);
        }
        // 5 % of 300 are 15; more than 25 has a chance of 1 in 150 at exactly 5 %.
        assert!(rates_left <= 25, "{rates_left} of {runs}");
        assert!(ratios_left <= 25, "{ratios_left} of {runs}");
    }

    #[test]
    fn the_ratio_is_where_all_minutes_together_say_it_is() {
        let minutes: Vec<Minute> = (0..30)
            .map(|i| Minute::from([950 - 10 * i, 9 + i % 3, 50 + 10 * i, 1 + i % 4]))
            .collect();
        for phi in [1.0, 3.0] {
            let mut evidence = Evidence::new(&RULE, None, phi);
            for minute in &minutes {
                evidence.add(minute);
            }
            // The likelihood from the minutes themselves, at any ratio.
            let whole = |rho: f64| -> f64 {
                minutes
                    .iter()
                    .map(|m| {
                        let [nb, bb, nc, bc] = <[u64; 4]>::from(*m).map(|n| n as f64);
                        let theta = rho * nc / (rho * nc + nb);
                        bc * theta.ln() + bb * (1.0 - theta).ln()
                    })
                    .sum()
            };
            let points = evidence.likelihood();
            for (x, l) in &points {
                assert!((whole(x.exp()) - whole(1.0) - l).abs() < 1e-9, "{x}");
            }
            let mean: f64 = points
                .iter()
                .map(|(x, _)| ((whole(x.exp()) - whole(1.0)) / phi).exp())
                .sum::<f64>()
                / points.len() as f64;
            let is_in = |rho: f64| mean.ln() - (whole(rho) - whole(1.0)) / phi < 20.0_f64.ln();
            let interval = evidence.ratio_interval();
            let (low, high) = (interval.low.unwrap(), interval.high.unwrap());
            // Never too narrow, and no wider than the next point of the grid.
            assert!(!is_in(low * 0.999) && !is_in(high * 1.001), "{interval:?}");
            assert!(is_in(low * 1.09) && is_in(high / 1.09), "{interval:?}");
            let best = evidence.ratio().unwrap();
            let step = 1.001_f64;
            assert!(
                whole(best) > whole(best * step.powi(20))
                    && whole(best) > whole(best / step.powi(20)),
                "{best}"
            );
        }
    }

    #[test]
    fn ends_that_nothing_is_known_of_are_open() {
        let after = |minute: [u64; 4]| {
            let mut evidence = Evidence::new(&RULE, Some(0.02), 1.0);
            evidence.add(&Minute::from(minute));
            evidence
        };
        let nothing = Interval {
            low: None,
            high: None,
        };
        assert_eq!(after([0, 0, 0, 0]).ratio_interval(), nothing);
        assert_eq!(after([1_000, 0, 100, 0]).ratio_interval(), nothing);
        assert_eq!(after([0, 0, 0, 0]).ratio(), None);
        assert_eq!(after([1_000, 10, 1_000, 0]).ratio(), Some(0.0));
        assert_eq!(after([1_000, 10, 1_000, 0]).ratio_interval().low, None);
        let none_of_the_champion = after([100_000, 0, 1_000, 40]);
        assert_eq!(none_of_the_champion.ratio(), None);
        assert!(none_of_the_champion.ratio_interval().low.unwrap() > 2.0);
        assert_eq!(none_of_the_champion.ratio_interval().high, None);
    }
}
