//! What a guard's counts say so far about a canary, as four sequential likelihood ratios.
//!
//! Sharing out the bad events between the variants, instead of comparing rates with a threshold,
//! makes a base error rate, an incident that hits both, and a change of weights harmless; looking
//! every minute costs nothing (e-processes). Sources: Lindon, Sanden, Shirikian, "Rapid regression
//! detection in software deployments through sequential testing" (KDD 2022); Turner, Ly, Grünwald,
//! "Generic e-variables for exact sequential k-sample tests" (2024).

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::pipeline::Judge;

mod dispersion;
mod exact;
mod history;
mod interval;
mod outlook;
mod report;
mod verdict;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use outlook::stakes;

pub use dispersion::dispersion;
pub use history::{pair_with_history, tolerated_against_history};
pub use interval::{CONFIDENCE, Interval, rate_interval};
pub use outlook::Outlook;
pub use report::{Report, Side};
pub use verdict::{Verdict, grouped, needed, odds, tests_alone, verdict, verdict_alone};

/// How many alternatives, "so many times worse", the evidence is averaged over.
const GRID: usize = 40;

/// The logarithms of the alternatives: 1.15 to 30 times, evenly spaced.
static LN_GRID: LazyLock<[f64; GRID]> = LazyLock::new(|| {
    let (low, high) = (1.15_f64.ln(), 30.0_f64.ln());
    #[allow(clippy::cast_precision_loss)]
    std::array::from_fn(|k| low + (high - low) * k as f64 / (GRID - 1) as f64)
});

/// The alternatives themselves.
static FACTORS: LazyLock<[f64; GRID]> = LazyLock::new(|| LN_GRID.map(f64::exp));

/// The highest rate that harm by ceiling has as an alternative, so that logarithms stay finite.
const HIGHEST_RATE: f64 = 0.999;

/// A ceiling nearer to 0 or 1 than this is taken to be this far away; policies can't say such.
const EDGE: f64 = 1e-9;

/// The highest count of a minute that is taken for one; a metric of the user's may say anything.
pub const MOST_COUNT: u64 = 999_999_999_999;

/// Requests of one variant in some time, and how many of them were bad. Written `[n, b]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 2]", into = "[u64; 2]")]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Bad ones among them. Metrics that are counted apart can give more than `requests`; what is
    /// more counts for nothing.
    pub bad: u64,
}

impl Counts {
    /// These counts.
    pub const fn new(requests: u64, bad: u64) -> Self {
        Self { requests, bad }
    }

    /// The counts, at most [`MOST_COUNT`] each.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            requests: self.requests.min(MOST_COUNT),
            bad: self.bad.min(MOST_COUNT),
        }
    }

    /// The counts with no more bad ones than requests.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self {
            requests: self.requests,
            bad: self.bad.min(self.requests),
        }
    }

    /// Both added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            bad: self.bad.saturating_add(other.bad),
        }
    }

    /// The share of bad ones, 0 to 1; none without requests.
    pub fn rate(self) -> Option<f64> {
        let counts = self.clamped();
        (counts.requests > 0).then(|| real(counts.bad) / real(counts.requests))
    }
}

impl From<[u64; 2]> for Counts {
    fn from([requests, bad]: [u64; 2]) -> Self {
        Self { requests, bad }
    }
}

impl From<Counts> for [u64; 2] {
    fn from(counts: Counts) -> Self {
        [counts.requests, counts.bad]
    }
}

/// One closed minute of a guard on both variants. Written `[nB, bB, nC, bC]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 4]", into = "[u64; 4]")]
pub struct Minute {
    /// The champion's.
    pub baseline: Counts,
    /// The canary's.
    pub canary: Counts,
}

impl Minute {
    fn clamped(self) -> Self {
        Self {
            baseline: self.baseline.clamped(),
            canary: self.canary.clamped(),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            baseline: self.baseline.plus(other.baseline),
            canary: self.canary.plus(other.canary),
        }
    }
}

impl From<[u64; 4]> for Minute {
    fn from([nb, bb, nc, bc]: [u64; 4]) -> Self {
        Self {
            baseline: Counts::new(nb, bb),
            canary: Counts::new(nc, bc),
        }
    }
}

impl From<Minute> for [u64; 4] {
    fn from(minute: Minute) -> Self {
        let Minute { baseline, canary } = minute;
        [baseline.requests, baseline.bad, canary.requests, canary.bad]
    }
}

/// How sure a verdict has to be, and of what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// The chance that a healthy canary is rolled back, over the whole rollout.
    pub alpha: f64,
    /// The chance that a harmful canary is called safe.
    pub beta: f64,
    /// How many times the baseline's rate is still tolerated, 1 or more.
    pub tolerated_ratio: f64,
    /// How many times the baseline's rate "safe" rules out, more than `tolerated_ratio`.
    pub margin_ratio: f64,
}

/// The part of alpha for the time beside the champion. The rest is for the time when the candidate
/// has all the traffic.
pub const BESIDE: f64 = 0.9;

impl Rule {
    /// The rule for a rollout's time beside the champion. Both times together have a chance of
    /// alpha; this one gets nine tenths of it.
    pub fn beside(judge: &Judge) -> Self {
        let rule = Self::from(judge);
        Self {
            alpha: rule.alpha * BESIDE,
            ..rule
        }
    }

    /// The rule for the time after it, against history.
    pub fn afterwards(judge: &Judge) -> Self {
        let rule = Self::from(judge);
        Self {
            alpha: rule.alpha * (1.0 - BESIDE),
            ..rule
        }
    }
}

impl From<&Judge> for Rule {
    fn from(judge: &Judge) -> Self {
        Self {
            alpha: judge.alpha,
            beta: judge.beta,
            tolerated_ratio: judge.tolerated_ratio,
            margin_ratio: judge.margin_ratio,
        }
    }
}

/// The evidence on one guard. A minute costs the same however long the rollout is.
///
/// By ratio, the likelihood depends on how the minutes pair up, so two rows of sums are kept, one
/// sum for each alternative. By ceiling it depends on the canary's totals alone, so those two rows
/// are computed when asked for, exactly. Numbers are stored in a form that reads back bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    #[serde(with = "exact::number")]
    tolerated: f64,
    #[serde(with = "exact::number")]
    margin: f64,
    #[serde(with = "exact::number")]
    phi: f64,
    #[serde(with = "exact::maybe", default)]
    ceiling: Option<f64>,
    totals: Minute,
    #[serde(with = "exact::row")]
    worse: [f64; GRID],
    #[serde(with = "exact::row")]
    better: [f64; GRID],
    /// The log-likelihood ratio of the margin against the tolerated ratio: what joins both rows.
    #[serde(with = "exact::number", default)]
    step: f64,
    /// Minutes in which only one variant had requests, until the other has some.
    #[serde(default, skip_serializing_if = "is_empty")]
    pool: Minute,
    /// The place on the grid from which on the stakes on harm are aimed; none: all are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aim: Option<u8>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde asks for
fn is_empty(minute: &Minute) -> bool {
    *minute == Minute::default()
}

impl Evidence {
    /// No evidence yet. `ceiling` is the share of bad events that is fine whatever the champion's
    /// is, 0 to 1; `phi` the [`dispersion`] of the champion's history, 1 or more.
    pub fn new(rule: &Rule, ceiling: Option<f64>, phi: f64) -> Self {
        Self {
            tolerated: ratio(rule.tolerated_ratio),
            margin: ratio(rule.margin_ratio),
            phi: if phi.is_finite() { phi.max(1.0) } else { 1.0 },
            ceiling: ceiling
                .filter(|c| c.is_finite())
                .map(|c| c.clamp(EDGE, 1.0 - EDGE)),
            totals: Minute::default(),
            worse: [0.0; GRID],
            better: [0.0; GRID],
            step: 0.0,
            pool: Minute::default(),
            aim: None,
        }
    }

    /// Takes one closed minute into account, on its own.
    pub fn add(&mut self, minute: &Minute) {
        let minute = minute.clamped();
        self.totals = self.totals.plus(minute);
        self.share_out(minute);
    }

    /// Takes one closed minute into account, together with those before it in which only one of the
    /// variants had requests: on a quiet endpoint single minutes say nothing. Valid, since when to
    /// stop gathering depends on requests alone, never on how many were bad; within what is
    /// gathered, rates are taken to be steady.
    pub fn gather(&mut self, minute: &Minute) {
        let minute = minute.clamped();
        self.totals = self.totals.plus(minute);
        self.pool = self.pool.plus(minute);
        if self.pool.baseline.requests > 0 && self.pool.canary.requests > 0 {
            let gathered = std::mem::take(&mut self.pool);
            self.share_out(gathered);
        }
    }

    /// The shares of traffic changed: what was gathered before doesn't belong to what comes.
    pub fn traffic_shifted(&mut self) {
        self.pool = Minute::default();
    }

    fn share_out(&mut self, minute: Minute) {
        let Minute { baseline, canary } = minute;
        let bad = real(baseline.bad) + real(canary.bad);
        if baseline.requests == 0 || canary.requests == 0 || bad == 0.0 {
            return;
        }
        let counts = <[u64; 4]>::from(minute).map(real);
        for k in 0..GRID {
            self.worse[k] += shift(counts, self.tolerated, LN_GRID[k]);
            self.better[k] += shift(counts, self.margin, -LN_GRID[k]);
        }
        let apart = (self.margin / self.tolerated).ln();
        self.step += shift(counts, self.tolerated, apart);
    }

    /// Log-evidence that the canary's rate is above the tolerated ratio times the baseline's.
    pub fn harm(&self) -> f64 {
        self.averaged(&self.worse, &stakes(self.aim))
    }

    /// Log-evidence that the canary's rate is below the margin ratio times the baseline's.
    pub fn safe_ratio(&self) -> f64 {
        self.averaged(&self.better, &stakes(None))
    }

    /// Log-evidence that the canary's rate is below the ceiling; none without a ceiling.
    pub fn safe_ceiling(&self) -> Option<f64> {
        let ceiling = self.ceiling?;
        let row = FACTORS.map(|g| self.against(ceiling, ceiling / g));
        Some(self.averaged(&row, &stakes(None)))
    }

    /// Log-evidence that the canary's rate is above the ceiling; none without a ceiling. Only a
    /// verdict without a live baseline looks at it.
    pub fn harm_ceiling(&self) -> Option<f64> {
        let ceiling = self.ceiling?;
        // Above the highest alternative there is no worse rate to find: such a row stays at 0.
        let highest = HIGHEST_RATE.max(ceiling);
        let row = FACTORS.map(|g| self.against(ceiling, (ceiling * g).min(highest)));
        Some(self.averaged(&row, &stakes(None)))
    }

    /// The sums over all minutes.
    pub fn totals(&self) -> Minute {
        self.totals
    }

    /// The log-likelihood ratio of the canary's totals: rate `p` against the ceiling.
    fn against(&self, ceiling: f64, p: f64) -> f64 {
        let Counts { requests, bad } = self.totals.canary.clamped();
        real(bad) * (p / ceiling).ln() + real(requests - bad) * ((-p).ln_1p() - (-ceiling).ln_1p())
    }

    /// `ln(sum(stakes * exp(row / phi)))`, with the maximum taken out so that nothing overflows.
    fn averaged(&self, row: &[f64; GRID], stakes: &[f64; GRID]) -> f64 {
        let highest = row.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b)) / self.phi;
        let grown = row.iter().map(|a| (a / self.phi - highest).exp());
        let mean: f64 = grown.zip(stakes).map(|(grown, stake)| grown * stake).sum();
        highest + mean.ln()
    }
}

/// `l(ratio * g) - l(ratio)` of a minute, where `l(rho) = bC ln theta + bB ln(1 - theta)` and
/// `theta = rho nC / (rho nC + nB)` is the canary's share of the bad events at the rate ratio rho.
///
/// Both quotients of shares have the same `(ratio nC + nB) / (ratio g nC + nB)` in them, so one
/// logarithm does, and nothing large is subtracted from something large.
fn shift([nb, bb, nc, bc]: [f64; 4], ratio: f64, ln_g: f64) -> f64 {
    let weighted = ratio * nc;
    let share = weighted / (weighted + nb);
    let grown = (share * ln_g.exp_m1()).ln_1p();
    bc * (ln_g - grown) - bb * grown
}

/// A ratio from a policy, kept where logarithms are finite whatever the policy said.
fn ratio(value: f64) -> f64 {
    if value.is_finite() {
        value.clamp(1e-3, 1e3)
    } else {
        1.0
    }
}

/// Counts beyond 2^53 lose their last digits, which no verdict depends on.
#[allow(clippy::cast_precision_loss)]
fn real(count: u64) -> f64 {
    count as f64
}
