//! CloudWatch alarms on a metric of an endpoint. Source: "Alarm events and EventBridge" in the
//! CloudWatch user guide; dimensions from "Monitor SageMaker with CloudWatch" and, for Model
//! Monitor's own metrics, "CloudWatch metrics for model monitoring".

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::field::{Object, fold};
use super::{EventError, Kind, json, time, unhandled};
use crate::name::EndpointName;

/// What Application Auto Scaling calls the alarms of its target-tracking policies on endpoints.
const SCALING_ALARMS: &str = "TargetTracking-";

/// What a CloudWatch event is about.
pub(super) fn kind(root: &Object<'_>, source: &str, detail_type: &str) -> Result<Kind, EventError> {
    if fold(detail_type) != "cloudwatchalarmstatechange" {
        return Ok(unhandled(
            source,
            detail_type,
            "of CloudWatch's events, only changes of an alarm's state are acted on",
        ));
    }
    let detail = root.need_object("detail", "it holds the alarm")?;
    let alarm = detail.need_text("alarmName", "it names the alarm")?;
    let state = detail.need_object("state", "it says how the alarm is")?;
    let value = state.need_text("value", "it says whether the alarm is in ALARM")?;
    if fold(&value) != "alarm" {
        return Ok(unhandled(
            source,
            detail_type,
            format!("alarm {alarm} is {value}; only ALARM tells of harm"),
        ));
    }
    if alarm.starts_with(SCALING_ALARMS) {
        return Ok(unhandled(
            source,
            detail_type,
            format!("alarm {alarm} belongs to autoscaling: it tells of load, not of harm"),
        ));
    }
    let configuration = detail.object("configuration")?;
    let metrics = configuration
        .as_ref()
        .map(|configuration| configuration.objects("metrics"))
        .unwrap_or_default();
    let Some(watched) = metrics.iter().find_map(Watched::read) else {
        let composite = configuration.is_some_and(|configuration| configuration.has("alarmRule"));
        return Ok(unhandled(
            source,
            detail_type,
            if composite {
                format!("alarm {alarm} is composite; the alarms in it send events of their own")
            } else {
                format!("alarm {alarm} watches no metric with the dimension of an endpoint")
            },
        ));
    };
    Ok(Kind::Alarm {
        alarm,
        endpoint: watched.endpoint,
        variant: watched.variant,
        metric: watched.metric,
        reason: state.prose("reason"),
        data_since: data_since(&state),
    })
}

/// The metric of an endpoint that an alarm watches.
struct Watched {
    endpoint: EndpointName,
    variant: Option<String>,
    metric: String,
}

impl Watched {
    fn read(entry: &Object<'_>) -> Option<Self> {
        let metric = entry.hint("metricStat")?.hint("metric")?;
        let namespace = metric.hint_text("namespace").unwrap_or_default();
        let name = metric.hint_text("name").unwrap_or_default();
        let mut dimensions = metric.pairs("dimensions").ok()?;
        let endpoint = endpoint_of(&dimensions, &namespace)?;
        Some(Self {
            endpoint,
            variant: dimensions
                .remove("VariantName")
                .filter(|variant| !variant.is_empty()),
            metric: format!("{namespace} {name}").trim().to_owned(),
        })
    }
}

/// SageMaker's own metrics have `EndpointName`. Model Monitor's have `Endpoint`, a word that other
/// namespaces use for other things.
fn endpoint_of(dimensions: &BTreeMap<String, String>, namespace: &str) -> Option<EndpointName> {
    let folded = namespace.to_ascii_lowercase();
    let monitors = folded.trim_start_matches('/').starts_with("aws/sagemaker/");
    let name = dimensions
        .get("EndpointName")
        .or_else(|| monitors.then(|| dimensions.get("Endpoint")).flatten())?;
    EndpointName::parse(name).ok()
}

/// The start of the data that the alarm judged: `startDate` of its reason data, else its first
/// evaluated point, else as many periods before the query as it looked at.
fn data_since(state: &Object<'_>) -> Option<Timestamp> {
    let data: Value = match state.raw("reasonData")? {
        Value::String(text) => json::read(text.as_bytes()).ok()?,
        other => other.clone(),
    };
    if let Some(start) = data.get("startDate").and_then(time::from_json) {
        return Some(start);
    }
    let points = data.get("evaluatedDatapoints").and_then(Value::as_array);
    let first = points
        .into_iter()
        .flatten()
        .filter_map(|point| time::from_json(point.get("timestamp")?))
        .min();
    if first.is_some() {
        return first;
    }
    let queried = data.get("queryDate").and_then(time::from_json)?;
    let period = data
        .get("period")
        .and_then(Value::as_i64)
        .filter(|s| *s > 0)?;
    let periods = data
        .get("recentDatapoints")
        .and_then(Value::as_array)
        .map_or(1, |points| i64::try_from(points.len()).unwrap_or(1).max(1));
    let span = SignedDuration::from_secs(period.checked_mul(periods)?);
    queried.checked_sub(span).ok()
}
