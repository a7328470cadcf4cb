//! Why a verdict is what it is: everything that is known of one guard, for people and programs.

use serde::{Deserialize, Serialize};

use super::{Counts, Evidence, Interval, odds, rate_interval};

/// One variant's part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Events of any kind.
    pub requests: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// The share of bad ones, 0 to 1; none without requests.
    pub rate: Option<f64>,
    /// Where the rate is, at [`super::CONFIDENCE`], however often it is looked at.
    pub interval: Interval,
}

impl Side {
    /// The rate, its interval and the counts behind them.
    pub fn of(counts: Counts, phi: f64) -> Self {
        Self {
            requests: counts.requests,
            bad: counts.bad,
            rate: counts.rate(),
            interval: rate_interval(counts, phi),
        }
    }
}

/// Everything that is known of one guard. All evidence is in natural logarithms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The canary's part.
    pub canary: Side,
    /// The champion's part: beside the canary, or in its history.
    pub baseline: Side,
    /// How many times the baseline's rate the canary's is; none if the baseline had no bad event.
    pub ratio: Option<f64>,
    /// Where that ratio is, at [`super::CONFIDENCE`].
    pub ratio_interval: Interval,
    /// How many times the baseline's rate is tolerated.
    pub tolerated_ratio: f64,
    /// The share of bad events that is fine whatever the baseline's is.
    pub ceiling: Option<f64>,
    /// The dispersion that everything is divided by, 1 or more.
    pub dispersion: f64,
    /// Evidence of more than the tolerated ratio.
    pub harm: f64,
    /// Evidence of more than the ceiling; none without one. It counts where there is no live
    /// baseline.
    pub harm_ceiling: Option<f64>,
    /// Evidence of less than the margin ratio.
    pub safe_ratio: f64,
    /// Evidence of less than the ceiling; none without one.
    pub safe_ceiling: Option<f64>,
    /// The evidence of harm that the verdict looks at, as odds: `1 in 4,000` canaries that are fine
    /// would ever look so bad.
    pub odds: String,
}

impl Evidence {
    /// What is known. `alone`: there is no live baseline, so that the ceiling counts for harm, too.
    pub fn report(&self, alone: bool) -> Report {
        let totals = self.totals();
        let looked_at = if alone {
            self.strongest_harm()
        } else {
            self.harm()
        };
        Report {
            canary: Side::of(totals.canary, self.phi),
            baseline: Side::of(totals.baseline, self.phi),
            ratio: self.ratio(),
            ratio_interval: self.ratio_interval(),
            tolerated_ratio: self.tolerated,
            ceiling: self.ceiling,
            dispersion: self.phi,
            harm: self.harm(),
            harm_ceiling: self.harm_ceiling(),
            safe_ratio: self.safe_ratio(),
            safe_ceiling: self.safe_ceiling(),
            odds: odds(looked_at),
        }
    }
}
