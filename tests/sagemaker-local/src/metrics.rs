//! What CloudWatch knows of endpoints: each request of each variant, by the minute.
//!
//! Every request counts in Invocations and, with 0 or 1, in each of the error metrics, so that an
//! average is a rate. `InvocationModelErrors` counts all answers that are not 2xx and alone counts
//! requests that got no answer. Samples become visible late, so the newest minutes are missing or
//! partial, as in CloudWatch.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};

use crate::args::Range;
use crate::moment::{Moment, Span};

/// Older minutes of a series are forgotten: CloudWatch keeps minutes for 15 days.
const MINUTES_KEPT: usize = 15 * 24 * 60;
/// The metrics of a variant.
const NAMES: [&str; 6] = [
    "Invocations",
    "Invocation4XXErrors",
    "Invocation5XXErrors",
    "InvocationModelErrors",
    "ModelLatency",
    "OverheadLatency",
];
/// A minute's further samples are dropped, with a warning in the log.
const SAMPLES_A_MINUTE: usize = 100_000;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Client,
    Server,
    /// A timeout or socket error.
    NoAnswer,
}

impl Outcome {
    /// From the model server's status; 0 stands for no answer.
    pub(crate) fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            0 => Self::NoAnswer,
            400..=499 => Self::Client,
            _ => Self::Server,
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    at: Moment,
    outcome: Outcome,
    /// Microseconds.
    latency: f32,
    overhead: f32,
}

/// A metric that has values.
pub(crate) struct Listed<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) variant: &'a str,
    pub(crate) name: &'static str,
    /// The first and the last that has values.
    pub(crate) minutes: (i64, i64),
}

/// All series.
pub(crate) struct Metrics {
    delay: Range,
    seed: u64,
    series: BTreeMap<(String, String), BTreeMap<i64, Vec<Sample>>>,
}

impl Metrics {
    pub(crate) fn new(delay: Range, seed: u64) -> Self {
        Self {
            delay,
            seed,
            series: BTreeMap::new(),
        }
    }

    /// Counts one request. Latencies are in microseconds.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn record(
        &mut self,
        endpoint: &str,
        variant: &str,
        at: Moment,
        outcome: Outcome,
        latency: f64,
        overhead: f64,
    ) {
        let series = self
            .series
            .entry((endpoint.to_owned(), variant.to_owned()))
            .or_default();
        let samples = series.entry(at.minute()).or_default();
        if samples.len() >= SAMPLES_A_MINUTE {
            if samples.len() == SAMPLES_A_MINUTE {
                tracing::warn!(
                    endpoint,
                    variant,
                    "too many requests in a minute; the rest is not counted"
                );
            }
            return;
        }
        samples.push(Sample {
            at,
            outcome,
            latency: latency as f32,
            overhead: overhead as f32,
        });
        if series.len() > MINUTES_KEPT {
            series.pop_first();
        }
    }

    /// The values of a metric in `from..to` (minutes since 1970) that are visible by now.
    pub(crate) fn values(
        &self,
        endpoint: &str,
        variant: &str,
        metric: &str,
        minutes: std::ops::Range<i64>,
        now: Moment,
    ) -> Vec<(i64, Vec<f64>)> {
        let Some(read) = reader(metric) else {
            return Vec::new();
        };
        let key = (endpoint.to_owned(), variant.to_owned());
        let Some(series) = self.series.get(&key) else {
            return Vec::new();
        };
        if minutes.start >= minutes.end {
            return Vec::new();
        }
        series
            .range(minutes)
            .map(|(minute, samples)| {
                let visible_until = now - self.delay_of(endpoint, variant, *minute);
                let visible = samples.iter().filter(|sample| sample.at <= visible_until);
                (*minute, visible.filter_map(read).collect::<Vec<f64>>())
            })
            .filter(|(_, values)| !values.is_empty())
            .collect()
    }

    /// Each metric that has values, with its first and its last minute.
    pub(crate) fn listed(&self) -> impl Iterator<Item = Listed<'_>> {
        self.series
            .iter()
            .flat_map(|((endpoint, variant), series)| {
                NAMES.iter().filter_map(move |name| {
                    let read = reader(name)?;
                    let has =
                        |samples: &Vec<Sample>| samples.iter().any(|each| read(each).is_some());
                    let mut minutes = series.iter().filter(|(_, samples)| has(samples));
                    let (first, _) = minutes.next()?;
                    let last = minutes.next_back().map_or(first, |(last, _)| last);
                    Some(Listed {
                        endpoint,
                        variant,
                        name,
                        minutes: (*first, *last),
                    })
                })
            })
    }

    /// The truth about one minute, without delay, for the timeline.
    pub(crate) fn truth(&self, endpoint: &str, minute: i64) -> Value {
        let of_endpoint = self.series.iter().filter(|((name, _), _)| name == endpoint);
        let counts = of_endpoint.filter_map(|((_, variant), series)| {
            let samples = series.get(&minute)?;
            let count = |outcome| {
                samples
                    .iter()
                    .filter(|sample| sample.outcome == outcome)
                    .count()
            };
            let (client, server, none) = (
                count(Outcome::Client),
                count(Outcome::Server),
                count(Outcome::NoAnswer),
            );
            let counts = json!({
                "requests": samples.len(),
                "errors_4xx": client,
                "errors_5xx": server,
                "model_errors": client + server + none,
            });
            Some((variant.clone(), counts))
        });
        Value::Object(counts.collect())
    }

    /// Each minute of each variant has its own delay, always the same.
    fn delay_of(&self, endpoint: &str, variant: &str, minute: i64) -> Span {
        let width = u64::from(self.delay.max - self.delay.min) * 1000 + 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, endpoint, variant, minute).hash(&mut hasher);
        let extra = i64::try_from(hasher.finish() % width).unwrap_or(0);
        Span::millis(i64::from(self.delay.min) * 1000 + extra)
    }
}

fn reader(metric: &str) -> Option<fn(&Sample) -> Option<f64>> {
    Some(match metric {
        "Invocations" => |_| Some(1.0),
        "Invocation4XXErrors" => |sample| number(sample.outcome == Outcome::Client),
        "Invocation5XXErrors" => |sample| number(sample.outcome == Outcome::Server),
        "InvocationModelErrors" => |sample| number(sample.outcome != Outcome::Success),
        "ModelLatency" => {
            |sample| Some(f64::from(sample.latency)).filter(|_| sample.outcome != Outcome::NoAnswer)
        }
        "OverheadLatency" => |sample| {
            Some(f64::from(sample.overhead)).filter(|_| sample.outcome != Outcome::NoAnswer)
        },
        _ => return None,
    })
}

#[allow(clippy::unnecessary_wraps)]
fn number(set: bool) -> Option<f64> {
    Some(f64::from(u8::from(set)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    #[test]
    fn a_minute_is_first_missing_then_partial_then_whole() {
        let mut metrics = Metrics::new(Range { min: 90, max: 90 }, 1);
        for second in 0..60 {
            metrics.record("e", "v1", at(second), Outcome::Success, 1000.0, 10.0);
        }
        let visible = |now: i64| {
            metrics
                .values("e", "v1", "Invocations", 0..1, at(now))
                .first()
                .map_or(0, |(_, values)| values.len())
        };
        assert_eq!(visible(60), 0);
        assert_eq!(visible(90 + 29), 30);
        assert_eq!(visible(90 + 59), 60);
    }

    #[test]
    fn a_request_without_answer_is_a_model_error_alone() {
        let mut metrics = Metrics::new(Range { min: 0, max: 0 }, 1);
        metrics.record("e", "v1", at(0), Outcome::NoAnswer, 0.0, 0.0);
        let sum = |metric| -> f64 {
            metrics
                .values("e", "v1", metric, 0..1, at(60))
                .iter()
                .flat_map(|(_, values)| values)
                .sum()
        };
        assert!((sum("Invocations") - 1.0).abs() < f64::EPSILON);
        assert!((sum("InvocationModelErrors") - 1.0).abs() < f64::EPSILON);
        assert!(sum("Invocation4XXErrors").abs() < f64::EPSILON);
        assert!(sum("Invocation5XXErrors").abs() < f64::EPSILON);
        assert!(
            metrics
                .values("e", "v1", "ModelLatency", 0..1, at(60))
                .is_empty()
        );
    }

    #[test]
    fn unknown_metrics_have_no_values() {
        let metrics = Metrics::new(Range { min: 0, max: 0 }, 1);
        assert!(
            metrics
                .values("e", "v1", "Nonsense", 0..1, at(60))
                .is_empty()
        );
    }
}
