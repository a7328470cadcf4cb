//! What a simulated rollout is like: traffic, error rates, what is wrong with the canary if
//! anything is, and what happens beside it.

mod catalogue;

pub(crate) use catalogue::catalogue;

use serde::Serialize;

/// The canary's share of traffic in each step.
pub(crate) const WEIGHTS: [f64; 4] = [0.05, 0.10, 0.25, 0.50];

/// Minutes of the champion that judging may look back on.
pub(crate) const HISTORY_MINUTES: u32 = 180;

/// Minutes of a day.
pub(crate) const DAY: f64 = 1_440.0;

/// One kind of rollout, to be simulated many times.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// A short name, unique: what `--only` takes.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) words: &'static str,
    /// Whether documentation shows it.
    pub(crate) is_headline: bool,
    /// What the canary is compared with.
    pub(crate) baseline: Baseline,
    /// Requests a minute to both variants, expected.
    pub(crate) traffic: f64,
    /// The shape of the gamma distribution that multiplies each minute's traffic; none: steady.
    pub(crate) burst_shape: Option<f64>,
    /// Minutes at each weight; without a live baseline, a quarter of the time that is watched.
    pub(crate) step_minutes: u32,
    /// What is counted, one to three.
    pub(crate) guards: Vec<Guard>,
    /// Something that goes wrong for both variants.
    pub(crate) incident: Option<Incident>,
    /// How traffic and rates go up and down over a day.
    pub(crate) cycle: Option<Cycle>,
    /// What was measured of our judge when the method was chosen, where no bar says what to expect.
    pub(crate) expected: Option<&'static str>,
}

/// What a canary is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Baseline {
    /// The champion, minute by minute.
    Live,
    /// The champion's minutes of yesterday; the canary has all the traffic.
    Yesterday {
        /// The standard deviation between days of the logarithm of the rate.
        spread: f64,
    },
}

/// One kind of bad answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    /// The champion's rate, 0 to 1.
    pub(crate) rate: f64,
    /// The canary's rate in multiples of it.
    pub(crate) ratio: f64,
    /// The intraclass correlation of bad answers within a minute and variant; 0: independent.
    pub(crate) icc: f64,
    /// A cold start after each shift, on both variants.
    pub(crate) hump: Option<Hump>,
}

/// After each shift the rate is so many times higher, and that decays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hump {
    /// How many times the rate, at first.
    pub(crate) times: f64,
    /// The minutes after which e times less of it is left.
    pub(crate) minutes: f64,
}

/// Both variants have more errors for some minutes, at a random time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incident {
    /// What is added to each rate.
    pub(crate) added: f64,
    /// For how long.
    pub(crate) minutes: u32,
}

/// A sine over the day that begins anywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cycle {
    /// By which part of itself traffic goes up and down.
    pub(crate) traffic: f64,
    /// By which part of itself each rate does.
    pub(crate) rate: f64,
}

/// What a scenario is about, for tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Nothing is wrong with the canary.
    Healthy,
    /// Something is.
    Regression,
    /// Nothing is, and there is no live baseline.
    HealthyAlone,
    /// Something is, and there is no live baseline.
    RegressionAlone,
}

impl Scenario {
    /// What it is about.
    pub(crate) fn kind(&self) -> Kind {
        match (self.is_healthy(), self.baseline) {
            (true, Baseline::Live) => Kind::Healthy,
            (false, Baseline::Live) => Kind::Regression,
            (true, Baseline::Yesterday { .. }) => Kind::HealthyAlone,
            (false, Baseline::Yesterday { .. }) => Kind::RegressionAlone,
        }
    }

    /// Whether the canary is no worse than the champion.
    pub(crate) fn is_healthy(&self) -> bool {
        self.guards.iter().all(|g| g.ratio <= 1.0)
    }

    /// Whether bad answers come in bursts.
    pub(crate) fn is_bursty(&self) -> bool {
        self.guards.iter().any(|g| g.icc > 0.0)
    }

    /// How long it is watched.
    pub(crate) fn minutes(&self) -> u32 {
        self.step_minutes * WEIGHTS.len() as u32
    }

    /// The canary's share of traffic in minute `at`, counted from 0.
    pub(crate) fn weight(&self, at: u32) -> f64 {
        if self.baseline != Baseline::Live {
            return 1.0;
        }
        let step = (at / self.step_minutes.max(1)) as usize;
        WEIGHTS[step.min(WEIGHTS.len() - 1)]
    }
}

impl Guard {
    /// Independent bad answers at this rate, and nothing wrong.
    pub(crate) fn healthy(rate: f64) -> Self {
        Self {
            rate,
            ratio: 1.0,
            icc: 0.0,
            hump: None,
        }
    }

    /// The canary has `ratio` times the rate.
    pub(crate) fn worse(rate: f64, ratio: f64) -> Self {
        Self {
            ratio,
            ..Self::healthy(rate)
        }
    }
}
