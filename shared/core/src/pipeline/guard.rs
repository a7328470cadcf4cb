//! `[[stage.guard]]`: what is watched during a rollout. In a file a guard has either `metric` or
//! `slower_than_ms`; here it is one value, so that a guard of neither or both can't be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[stage.guard]]`: a metric that is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Fields", into = "Fields")]
#[schemars(with = "Fields")]
pub struct Guard {
    /// What counts as a bad event.
    pub metric: GuardMetric,
    /// The share of bad events that is fine whatever the champion's is: the user's objective, 0 to
    /// 1, both excluded.
    pub ceiling: Option<f64>,
}

impl Default for Guard {
    /// `model_errors` without a ceiling: what a stage without guards is watched by.
    fn default() -> Self {
        Self {
            metric: GuardMetric::Metric(CountMetric::ModelErrors),
            ceiling: None,
        }
    }
}

/// What counts as a bad event: `metric = "model_errors"`, `"4xx"`, `"5xx"`, or
/// `slower_than_ms = 200`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardMetric {
    /// A count that SageMaker reports.
    Metric(CountMetric),
    /// Requests whose model latency was more than so many milliseconds, 1 to 60,000.
    SlowerThanMs(u32),
}

/// A count of bad events that SageMaker reports for a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CountMetric {
    /// `InvocationModelErrors`: every answer that is not 2xx, timeouts and crashed containers.
    #[serde(rename = "model_errors")]
    ModelErrors,
    /// `Invocation4XXErrors`.
    #[serde(rename = "4xx")]
    ClientErrors,
    /// `Invocation5XXErrors`.
    #[serde(rename = "5xx")]
    ServerErrors,
}

/// A guard as files spell it. Give either `metric` or `slower_than_ms`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["metric"]}, {"required": ["slower_than_ms"]}]))]
struct Fields {
    /// A count of bad events that SageMaker reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<CountMetric>,
    /// Requests slower than so many milliseconds of model latency are bad events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    slower_than_ms: Option<u32>,
    /// The share of bad events that is fine whatever the champion's is: the user's objective, 0 to
    /// 1, both excluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    ceiling: Option<f64>,
}

impl TryFrom<Fields> for Guard {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let metric = match (fields.metric, fields.slower_than_ms) {
            (Some(count), None) => GuardMetric::Metric(count),
            (None, Some(milliseconds)) => GuardMetric::SlowerThanMs(milliseconds),
            (Some(_), Some(_)) => return Err("a guard has `metric` or `slower_than_ms`, not both"),
            (None, None) => return Err("a guard needs `metric` or `slower_than_ms`"),
        };
        Ok(Self {
            metric,
            ceiling: fields.ceiling,
        })
    }
}

impl From<Guard> for Fields {
    fn from(guard: Guard) -> Self {
        let (metric, slower_than_ms) = match guard.metric {
            GuardMetric::Metric(count) => (Some(count), None),
            GuardMetric::SlowerThanMs(milliseconds) => (None, Some(milliseconds)),
        };
        Self {
            metric,
            slower_than_ms,
            ceiling: guard.ceiling,
        }
    }
}
