//! `[[stage.guard]]`: what is watched during a rollout. In a file a guard has one of `metric`,
//! `slower_than_ms` and `custom`; here it is one value, so that a guard of none or two can't be.

use std::collections::BTreeMap;

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

/// What counts as a bad event: `metric = "model_errors"`, `"4xx"`, `"5xx"`,
/// `slower_than_ms = 200`, or a `custom` pair of counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardMetric {
    /// A count that SageMaker reports.
    Metric(CountMetric),
    /// Requests whose model latency was more than so many milliseconds, 1 to 60,000.
    SlowerThanMs(u32),
    /// A pair of counts that the user publishes.
    Custom(Box<CustomMetric>),
}

impl GuardMetric {
    /// What it counts, in a few words for people: `answers slower than 200 ms`.
    pub fn words(&self) -> String {
        match self {
            Self::Metric(CountMetric::ModelErrors) => "model errors".to_owned(),
            Self::Metric(CountMetric::ClientErrors) => "4xx answers".to_owned(),
            Self::Metric(CountMetric::ServerErrors) => "5xx answers".to_owned(),
            Self::SlowerThanMs(ms) => format!("answers slower than {ms} ms"),
            Self::Custom(custom) => match &custom.name {
                Some(name) => name.clone(),
                None => format!("{} of {}", custom.bad, custom.all),
            },
        }
    }

    /// What it counts, a word or two for filters, as a policy spells it: `slower_than_ms 200`.
    pub fn key(&self) -> String {
        match self {
            Self::Metric(CountMetric::ModelErrors) => "model_errors".to_owned(),
            Self::Metric(CountMetric::ClientErrors) => "4xx".to_owned(),
            Self::Metric(CountMetric::ServerErrors) => "5xx".to_owned(),
            Self::SlowerThanMs(ms) => format!("slower_than_ms {ms}"),
            Self::Custom(custom) => format!("custom {}/{}", custom.namespace, custom.bad),
        }
    }

    /// What it is a share of, for people: requests, or the user's own word for all events.
    pub fn of_what(&self) -> &str {
        match self {
            Self::Custom(custom) => &custom.all,
            _ => "requests",
        }
    }
}

/// Two counts that the user publishes to `CloudWatch`: bad events and all events, each summed up
/// by the minute. `{endpoint}` and `{variant}` in a dimension's value are filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomMetric {
    /// What the bad events are, for people, for example `failed checkouts`; by default the metrics'
    /// names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::word")]
    pub name: Option<String>,
    /// The `CloudWatch` namespace.
    #[schemars(schema_with = "super::schema::namespace")]
    pub namespace: String,
    /// The metric that counts bad events.
    #[schemars(schema_with = "super::schema::word")]
    pub bad: String,
    /// The metric that counts all events, bad ones too.
    #[schemars(schema_with = "super::schema::word")]
    pub all: String,
    /// The dimensions of both metrics, 1 to 30; `{variant}` has to be in the value of one of them,
    /// or both variants would have the same counts.
    #[schemars(schema_with = "super::schema::dimensions")]
    pub dimensions: BTreeMap<String, String>,
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

/// A guard as files spell it. Give one of `metric`, `slower_than_ms` and `custom`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["metric"]},
    {"required": ["slower_than_ms"]},
    {"required": ["custom"]},
]))]
struct Fields {
    /// A count of bad events that SageMaker reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<CountMetric>,
    /// Requests slower than so many milliseconds of model latency are bad events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    slower_than_ms: Option<u32>,
    /// A pair of counts that you publish: bad events and all events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    custom: Option<CustomMetric>,
    /// The share of bad events that is fine whatever the champion's is: the user's objective, 0 to
    /// 1, both excluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    ceiling: Option<f64>,
}

impl TryFrom<Fields> for Guard {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let metric = match (fields.metric, fields.slower_than_ms, fields.custom) {
            (Some(count), None, None) => GuardMetric::Metric(count),
            (None, Some(milliseconds), None) => GuardMetric::SlowerThanMs(milliseconds),
            (None, None, Some(custom)) => GuardMetric::Custom(Box::new(custom)),
            (None, None, None) => {
                return Err("a guard needs one of `metric`, `slower_than_ms` and `custom`");
            }
            _ => {
                return Err("a guard has one of `metric`, `slower_than_ms` and `custom`, not more");
            }
        };
        Ok(Self {
            metric,
            ceiling: fields.ceiling,
        })
    }
}

impl From<Guard> for Fields {
    fn from(guard: Guard) -> Self {
        let (metric, slower_than_ms, custom) = match guard.metric {
            GuardMetric::Metric(count) => (Some(count), None, None),
            GuardMetric::SlowerThanMs(milliseconds) => (None, Some(milliseconds), None),
            GuardMetric::Custom(custom) => (None, None, Some(*custom)),
        };
        Self {
            metric,
            slower_than_ms,
            custom,
            ceiling: guard.ceiling,
        }
    }
}
