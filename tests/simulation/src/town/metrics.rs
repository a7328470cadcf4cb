//! What CloudWatch knows of each minute: generated from the traffic, the version's true rate of bad
//! requests and the seed; a minute to three late, and with gaps.

use jiff::Timestamp;
use tidegate_core::evidence::Counts;
use tidegate_core::pipeline::GuardMetric;
use tidegate_core::world::MinuteCounts;

use super::{MINUTE, Town, time_of};
use crate::aws::Aws;
use crate::dice::{Dice, hash, mix};

impl Town {
    /// Counts by minute, as they can be seen now.
    pub(crate) fn minutes(
        &self,
        endpoint: &str,
        variants: &[String],
        guards: &[GuardMetric],
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<MinuteCounts> {
        let (mut at, to) = (from.as_millisecond(), to.as_millisecond());
        let mut all = Vec::new();
        while at < to {
            all.push(MinuteCounts {
                at: time_of(at),
                variants: variants
                    .iter()
                    .map(|v| self.seen(endpoint, v, guards, at))
                    .collect(),
            });
            at += MINUTE;
        }
        all
    }

    /// Counts by the hour, of every quarter's first minute: enough to tell how days differ.
    pub(crate) fn hours(
        &self,
        endpoint: &str,
        variants: &[String],
        guards: &[GuardMetric],
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<MinuteCounts> {
        let (mut at, to) = (from.as_millisecond(), to.as_millisecond());
        let mut all = Vec::new();
        while at < to {
            let sum = |variant: &String| {
                let mut sum = vec![Counts::default(); guards.len()];
                for quarter in 0..4 {
                    let minute = at + quarter * 15 * MINUTE;
                    let counts = self.seen(endpoint, variant, guards, minute);
                    for (sum, counts) in sum.iter_mut().zip(counts) {
                        *sum = sum.plus(counts);
                    }
                }
                sum
            };
            all.push(MinuteCounts {
                at: time_of(at),
                variants: variants.iter().map(sum).collect(),
            });
            at += 60 * MINUTE;
        }
        all
    }

    fn seen(
        &self,
        endpoint: &str,
        variant: &str,
        guards: &[GuardMetric],
        minute: i64,
    ) -> Vec<Counts> {
        let key = mix(hash(endpoint), mix(hash(variant), minute.unsigned_abs()));
        let late = match self.luck(key, 20) {
            0 => 120_000 + self.luck(mix(key, 1), 60_000),
            _ => 50_000 + self.luck(mix(key, 1), 60_000),
        };
        let late = i64::try_from(late).unwrap_or(MINUTE);
        let is_gap = |gaps: &[(i64, i64)]| gaps.iter().any(|(a, b)| *a <= minute && minute < *b);
        if self.now < minute + MINUTE + late || is_gap(&self.aws.gaps) {
            return vec![Counts::default(); guards.len()];
        }
        let traffic = self.plan(self.plan_of(endpoint)).traffic;
        // A plain story has no false alarm: there, good versions do nothing wrong at all.
        let fewest_slow = if self.story.is_plain { 0 } else { 30 };
        let (requests, rate) = self.aws.truth(traffic, endpoint, variant, minute);
        guards
            .iter()
            .zip(0_u64..)
            .map(|(guard, g)| {
                let mut dice = Dice::new(mix(key, mix(self.story.seed, g)));
                let bad = match guard {
                    GuardMetric::Metric(_) | GuardMetric::Custom(_) => {
                        dice.binomial(requests, rate)
                    }
                    GuardMetric::SlowerThanMs(_) => {
                        dice.binomial(requests, (rate / 4).max(fewest_slow))
                    }
                };
                Counts::new(requests, bad)
            })
            .collect()
    }
}

impl Aws {
    /// Requests to a variant in a minute, and of 65,536 how many go wrong. `traffic` is what the
    /// endpoint has in a minute.
    pub(crate) fn truth(
        &self,
        mut traffic: u64,
        endpoint: &str,
        variant: &str,
        minute: i64,
    ) -> (u64, u16) {
        let Some(place) = self.endpoints.get(endpoint) else {
            return (0, 0);
        };
        if self.lulls.iter().any(|(a, b)| *a <= minute && minute < *b) {
            traffic /= 100;
        }
        let shares = &place.shares;
        let first = shares
            .partition_point(|s| s.since <= minute)
            .saturating_sub(1);
        let (mut requests, mut worst) = (0.0, 0);
        for (i, part) in shares.iter().enumerate().skip(first) {
            if part.since >= minute + MINUTE {
                break;
            }
            let end = shares.get(i + 1).map_or(i64::MAX, |next| next.since);
            let overlap = end.min(minute + MINUTE) - part.since.max(minute);
            if let Some((_, share, rate)) = part.of.iter().find(|(name, _, _)| name == variant) {
                // A minute in milliseconds and a number of requests are exact in a float.
                #[allow(clippy::cast_precision_loss)]
                let part = traffic as f64 * share * overlap as f64 / MINUTE as f64;
                requests += part;
                worst = worst.max(*rate);
            }
        }
        // Not negative, and far below the largest whole number of a float.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let requests = requests.round() as u64;
        (requests, worst)
    }
}
