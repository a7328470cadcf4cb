//! CloudWatch: `GetMetricData` over the endpoints' metrics, and `PutMetricData` for custom ones.
//!
//! Unknown metrics have empty values and no error, as in CloudWatch; so have old ones that are asked
//! for with too short a period. Metric math is not here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::faults::Kind;
use crate::json::{list, required, text};
use crate::listing::list_metrics;
use crate::moment::{Moment, Span};
use crate::page;
use crate::statistics::Statistic;
use crate::world::World;

/// A request may have this many queries.
const MOST_QUERIES: usize = 500;
/// A page has at most this many values.
const MOST_VALUES: u64 = 100_800;
/// Values kept of each custom metric.
const CUSTOM_LIMIT: usize = 100_000;

/// Custom metrics by namespace, name and dimensions: their values with their times.
pub(crate) type Custom = BTreeMap<(String, String, BTreeMap<String, String>), Vec<(Moment, f64)>>;

/// Does one operation; `None` if the emulator does not have it.
pub(crate) fn perform(
    world: &mut World,
    operation: &str,
    input: &Value,
    now: Moment,
) -> Option<Result<Value, ApiError>> {
    match operation {
        "GetMetricData" => {
            let answer = get_metric_data(world, input, now);
            let fault = |kind| kind == Kind::ForbidMetric;
            let forbid = answer.is_ok() && world.faults.hit(operation, fault).is_some();
            Some(answer.map(|answer| if forbid { forbid_last(answer) } else { answer }))
        }
        "ListMetrics" => Some(list_metrics(world, input, now)),
        "PutMetricData" => Some(put_metric_data(world, input, now)),
        _ => None,
    }
}

fn get_metric_data(world: &World, input: &Value, now: Moment) -> Result<Value, ApiError> {
    let time = |member: &str| {
        input
            .get(member)
            .and_then(Value::as_f64)
            .map(Moment::from_epoch_seconds)
            .ok_or_else(|| ApiError::parameter(format!("The parameter {member} is required.")))
    };
    let (start, end) = (time("StartTime")?, time("EndTime")?);
    if start >= end {
        return Err(ApiError::parameter(
            "The parameter StartTime must be less than the parameter EndTime.",
        ));
    }
    let queries = list(input, "MetricDataQueries");
    if queries.is_empty() || queries.len() > MOST_QUERIES {
        return Err(ApiError::parameter(format!(
            "The parameter MetricDataQueries must have 1 to {MOST_QUERIES} queries."
        )));
    }
    let descending = match text(input, "ScanBy") {
        None | Some("TimestampDescending") => true,
        Some("TimestampAscending") => false,
        Some(other) => {
            return Err(ApiError::parameter(format!(
                "The value {other} for parameter ScanBy is not supported."
            )));
        }
    };
    let mut ids = BTreeSet::new();
    let mut series = Vec::new();
    for query in queries {
        let query = Query::read(query)?;
        if !ids.insert(query.id.clone()) {
            return Err(ApiError::parameter(format!(
                "The id {} is used twice.",
                query.id
            )));
        }
        if query.returned {
            let mut points = query.points(world, start, end, now);
            if descending {
                points.reverse();
            }
            series.push((query, points));
        }
    }
    let most = input
        .get("MaxDatapoints")
        .and_then(Value::as_u64)
        .unwrap_or(MOST_VALUES)
        .clamp(1, MOST_VALUES);
    let first = match text(input, "NextToken") {
        None => 0,
        Some(token) => page::read_token(token)
            .ok_or_else(|| ApiError::next_token("The NextToken is not valid."))?,
    };
    Ok(cut(
        &series,
        first,
        usize::try_from(most).unwrap_or(usize::MAX),
    ))
}

/// Takes the last metric of a page from who asks.
fn forbid_last(mut answer: Value) -> Value {
    let results = answer["MetricDataResults"].as_array_mut();
    if let Some(last) = results.and_then(|results| results.last_mut()) {
        last["Timestamps"] = json!([]);
        last["Values"] = json!([]);
        last["StatusCode"] = json!("Forbidden");
        last["Messages"] = json!([{"Code": "Forbidden", "Value": "You may not see this metric."}]);
    }
    answer
}

/// One page: values `first..first + most` of all series one after the other.
fn cut(series: &[(Query, Vec<(Moment, f64)>)], first: usize, most: usize) -> Value {
    let mut results = Vec::new();
    let mut passed = 0;
    let last = first.saturating_add(most);
    let mut more = false;
    for (query, points) in series {
        let from = first.saturating_sub(passed).min(points.len());
        let to = last.saturating_sub(passed).min(points.len());
        passed += points.len();
        more |= to < points.len();
        if from == to && (first > 0 || !points.is_empty()) {
            continue;
        }
        results.push(json!({
            "Id": query.id,
            "Label": query.label,
            "Timestamps": points[from..to].iter().map(|(at, _)| at.json()).collect::<Vec<_>>(),
            "Values": points[from..to].iter().map(|(_, value)| *value).collect::<Vec<f64>>(),
            "StatusCode": if to < points.len() { "PartialData" } else { "Complete" },
        }));
    }
    let mut answer = json!({"MetricDataResults": results, "Messages": []});
    if more {
        answer["NextToken"] = json!(page::write_token(last));
    }
    answer
}

struct Query {
    id: String,
    label: String,
    namespace: String,
    metric: String,
    dimensions: BTreeMap<String, String>,
    /// Minutes.
    period: i64,
    statistic: Statistic,
    returned: bool,
}

impl Query {
    fn read(query: &Value) -> Result<Self, ApiError> {
        let id = required(query, "Id");
        let valid = id.starts_with(|first: char| first.is_ascii_lowercase())
            && id
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !valid {
            return Err(ApiError::parameter(format!(
                "The value {id:?} for parameter Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$."
            )));
        }
        if query.get("Expression").is_some() {
            return Err(ApiError::unsupported("metric math (Expression)"));
        }
        let stat = query
            .get("MetricStat")
            .ok_or_else(|| ApiError::parameter(format!("The query {id} has no MetricStat.")))?;
        let metric = stat
            .get("Metric")
            .ok_or_else(|| ApiError::parameter(format!("The query {id} has no Metric.")))?;
        let period = stat.get("Period").and_then(Value::as_i64).unwrap_or(0);
        if period < 60 || period % 60 != 0 {
            return Err(ApiError::parameter(format!(
                "The period of query {id} must be a multiple of 60, not {period}."
            )));
        }
        let name = required(metric, "MetricName");
        let statistic = text(stat, "Stat").unwrap_or_default();
        Ok(Self {
            label: text(query, "Label").unwrap_or(&name).to_owned(),
            namespace: required(metric, "Namespace"),
            metric: name,
            dimensions: dimensions(metric),
            period: period / 60,
            statistic: Statistic::parse(statistic).ok_or_else(|| {
                ApiError::parameter(format!(
                    "The value {statistic} for parameter Stat is not supported."
                ))
            })?,
            returned: query
                .get("ReturnData")
                .and_then(Value::as_bool)
                .unwrap_or(true),
            id,
        })
    }

    /// A value for each period that has data, oldest first.
    fn points(&self, world: &World, start: Moment, end: Moment, now: Moment) -> Vec<(Moment, f64)> {
        if self.period % shortest_period(now - start) != 0 {
            return Vec::new();
        }
        let align = |minute: i64| minute.div_euclid(self.period) * self.period;
        let from = align(start.minute());
        // A period that begins before the end counts whole.
        let last_start = (end.as_millis() - 1).div_euclid(60_000);
        let to = align(last_start) + self.period;
        let mut periods: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (minute, values) in self.minutes(world, from..to, now) {
            periods.entry(align(minute)).or_default().extend(values);
        }
        periods
            .into_iter()
            .filter_map(|(minute, values)| {
                Some((Moment::of_minute(minute), self.statistic.of(&values)?))
            })
            .collect()
    }

    fn minutes(
        &self,
        world: &World,
        minutes: std::ops::Range<i64>,
        now: Moment,
    ) -> Vec<(i64, Vec<f64>)> {
        if self.namespace == "AWS/SageMaker" {
            let (Some(endpoint), Some(variant), 2) = (
                self.dimensions.get("EndpointName"),
                self.dimensions.get("VariantName"),
                self.dimensions.len(),
            ) else {
                return Vec::new();
            };
            return world
                .metrics
                .values(endpoint, variant, &self.metric, minutes, now);
        }
        let key = (
            self.namespace.clone(),
            self.metric.clone(),
            self.dimensions.clone(),
        );
        let values = world.custom.get(&key).into_iter().flatten();
        values
            .filter(|(at, _)| minutes.contains(&at.minute()))
            .map(|(at, value)| (at.minute(), vec![*value]))
            .collect()
    }
}

/// The shortest period, minutes, of data that is so old: what CloudWatch keeps for how long.
fn shortest_period(age: Span) -> i64 {
    match age.as_millis() / (24 * 3_600 * 1_000) {
        ..15 => 1,
        15..63 => 5,
        _ => 60,
    }
}

fn dimensions(metric: &Value) -> BTreeMap<String, String> {
    list(metric, "Dimensions")
        .iter()
        .map(|dimension| (required(dimension, "Name"), required(dimension, "Value")))
        .collect()
}

/// Custom metrics are visible at once.
fn put_metric_data(world: &mut World, input: &Value, now: Moment) -> Result<Value, ApiError> {
    let namespace = required(input, "Namespace");
    if namespace.is_empty() || namespace.starts_with("AWS/") {
        return Err(ApiError::parameter(format!(
            "The value {namespace} for parameter Namespace is invalid."
        )));
    }
    for datum in list(input, "MetricData") {
        let name = required(datum, "MetricName");
        if name.is_empty() {
            return Err(ApiError::parameter(
                "The parameter MetricData.MetricName is required.",
            ));
        }
        let at = datum
            .get("Timestamp")
            .and_then(Value::as_f64)
            .map_or(now, Moment::from_epoch_seconds);
        let mut values = Vec::new();
        if let Some(value) = datum.get("Value").and_then(Value::as_f64) {
            values.push((value, 1.0));
        }
        let counts = list(datum, "Counts");
        for (index, value) in list(datum, "Values").iter().enumerate() {
            let count = counts.get(index).and_then(Value::as_f64).unwrap_or(1.0);
            values.push((value.as_f64().unwrap_or_default(), count));
        }
        let series = world
            .custom
            .entry((namespace.clone(), name, dimensions(datum)))
            .or_default();
        for (value, count) in values {
            let mut left = count.clamp(0.0, 10_000.0);
            while left >= 1.0 && series.len() < CUSTOM_LIMIT {
                series.push((at, value));
                left -= 1.0;
            }
        }
    }
    Ok(json!({}))
}
