//! Counts by minute or by hour for variants and guards: one `GetMetricData`, paged; and the
//! variants that have counts, by `ListMetrics`.
//!
//! Sources: the `CloudWatch` API reference of both calls for their limits and result codes;
//! "Metrics retention" of `CloudWatch`'s user guide for how long minutes are kept.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
use aws_sdk_cloudwatch::types::{
    Dimension, DimensionFilter, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy,
    StatusCode,
};
use jiff::{SignedDuration, Timestamp};
use tidegate_core::evidence::Counts;
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::GuardMetric;
use tidegate_core::world::{Answer, MinuteCounts, WorldError, WorldErrorKind};

use super::AwsWorld;
use super::values::{aws_time, time};
use crate::error::{error, failed, refused};

mod series;
#[cfg(test)]
mod tests;

use series::{ENDPOINT, NAMESPACE, REQUESTS, Series, VARIANT};

const CALL: &str = "GetMetricData";
const LIST: &str = "ListMetrics";
/// `GetMetricData` takes no more queries.
const MOST_QUERIES: usize = 500;
/// 500 queries of a day in pages of 100,800 values are 8 pages.
const MOST_PAGES: usize = 20;

/// What a line of the answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Minute,
    Hour,
}

impl Period {
    fn seconds(self) -> i32 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// The port's own limit.
    fn most(self) -> usize {
        match self {
            Self::Minute => 1_440,
            Self::Hour => 15 * 24,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Minute => "minutes",
            Self::Hour => "hours",
        }
    }
}

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) endpoint: &'a EndpointName,
    pub(super) variants: &'a [String],
    pub(super) guards: &'a [GuardMetric],
    pub(super) period: Period,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl AwsWorld {
    pub(super) async fn counts(&self, asked: &Asked<'_>) -> Result<Answer, WorldError> {
        let lines = asked.lines();
        if lines > asked.period.most() {
            let (words, most) = (asked.period.words(), asked.period.most());
            return Err(refused(
                CALL,
                format!("{lines} {words} are more than {most}"),
            ));
        }
        let mut gathered = Gathered::new(asked);
        if gathered.series.len() > MOST_QUERIES {
            let why = format!(
                "{} metrics are more than {MOST_QUERIES}",
                gathered.series.len()
            );
            return Err(refused(CALL, why));
        }
        if lines == 0 || gathered.series.is_empty() {
            return Ok(Answer::Minutes(gathered.lines()));
        }
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let page = self
                .clients
                .cloudwatch
                .get_metric_data()
                .start_time(aws_time(asked.start()))
                .end_time(aws_time(asked.at(lines)))
                .scan_by(ScanBy::TimestampAscending)
                .set_metric_data_queries(Some(gathered.queries()))
                .set_next_token(next)
                .send()
                .await
                .map_err(failed(CALL))?;
            next = page.next_token.clone().filter(|token| !token.is_empty());
            gathered.take(&page)?;
            if next.is_none() {
                gathered.check_complete()?;
                return Ok(Answer::Minutes(gathered.lines()));
            }
        }
        Err(endless(CALL))
    }

    pub(super) async fn variants_of(&self, endpoint: &EndpointName) -> Result<Answer, WorldError> {
        let filter = DimensionFilter::builder()
            .name(ENDPOINT)
            .value(endpoint.as_str())
            .build();
        let mut variants = BTreeSet::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let page = self
                .clients
                .cloudwatch
                .list_metrics()
                .namespace(NAMESPACE)
                .metric_name(REQUESTS)
                .dimensions(filter.clone())
                .set_next_token(next)
                .send()
                .await
                .map_err(failed(LIST))?;
            variants.extend(page.metrics().iter().filter_map(variant));
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(Answer::Variants(variants.into_iter().collect()));
            }
        }
        Err(endless(LIST))
    }
}

fn endless(call: &'static str) -> WorldError {
    error(WorldErrorKind::Unavailable, call, "the answer has no end")
}

/// The variant that a metric is of; none for metrics of another make, such as those of inference
/// components.
fn variant(metric: &Metric) -> Option<String> {
    match metric.dimensions() {
        [a, b] => [a, b]
            .into_iter()
            .find(|each| each.name() == Some(VARIANT))
            .and_then(Dimension::value)
            .map(str::to_owned),
        _ => None,
    }
}

impl Asked<'_> {
    fn seconds(&self) -> i64 {
        i64::from(self.period.seconds())
    }

    /// The start of the first line, a whole minute or hour.
    fn start(&self) -> Timestamp {
        let second = self.from.as_second();
        Timestamp::from_second(second - second.rem_euclid(self.seconds())).unwrap_or(self.from)
    }

    /// How many whole minutes or hours there are.
    fn lines(&self) -> usize {
        let seconds = self.to.as_second() - self.start().as_second();
        usize::try_from(seconds / self.seconds()).unwrap_or(0)
    }

    fn at(&self, line: usize) -> Timestamp {
        let seconds = i64::try_from(line).unwrap_or(0) * self.seconds();
        self.start()
            .saturating_add(SignedDuration::from_secs(seconds))
            .unwrap_or(self.to)
    }

    /// The line that a moment belongs to, if it was asked for.
    fn line_of(&self, at: Timestamp) -> Option<usize> {
        let seconds = at.as_second() - self.start().as_second();
        let line = usize::try_from(seconds.div_euclid(self.seconds())).ok()?;
        (line < self.lines()).then_some(line)
    }
}

/// What the pages had so far.
struct Gathered<'a> {
    asked: &'a Asked<'a>,
    /// Every series that is needed, once.
    series: Vec<Series>,
    /// Where all and bad events of each variant and guard are in `series`.
    places: Vec<Vec<(usize, usize)>>,
    /// Values by series and line.
    values: Vec<BTreeMap<usize, f64>>,
    /// Series of which everything was there.
    complete: Vec<bool>,
    /// What `CloudWatch` had to say.
    messages: BTreeSet<String>,
}

impl<'a> Gathered<'a> {
    fn new(asked: &'a Asked<'a>) -> Self {
        let pairs: Vec<Vec<(Series, Series)>> = asked
            .variants
            .iter()
            .map(|variant| {
                let pair = |guard| Series::pair(guard, asked.endpoint, variant);
                asked.guards.iter().map(pair).collect()
            })
            .collect();
        let all = pairs.iter().flatten().flat_map(|(all, bad)| [all, bad]);
        let series: Vec<Series> = all.cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let place = |each: &Series| {
            series
                .binary_search(each)
                .expect("the series were made of these")
        };
        let places = pairs
            .iter()
            .map(|of| {
                of.iter()
                    .map(|(all, bad)| (place(all), place(bad)))
                    .collect()
            })
            .collect();
        Self {
            asked,
            places,
            values: vec![BTreeMap::new(); series.len()],
            complete: vec![false; series.len()],
            messages: BTreeSet::new(),
            series,
        }
    }

    fn queries(&self) -> Vec<MetricDataQuery> {
        let query = |(index, series): (usize, &Series)| {
            let stat = MetricStat::builder()
                .metric(series.metric())
                .period(self.asked.period.seconds())
                .stat(&series.stat)
                .build();
            MetricDataQuery::builder()
                .id(id(index))
                .metric_stat(stat)
                .return_data(true)
                .build()
        };
        self.series.iter().enumerate().map(query).collect()
    }

    /// Takes over a page's values; what is outside of the asked time is left out.
    fn take(&mut self, page: &GetMetricDataOutput) -> Result<(), WorldError> {
        let general = page.messages().iter().filter_map(|m| m.value());
        self.messages.extend(general.map(str::to_owned));
        for result in page.metric_data_results() {
            let index = result
                .id()
                .and_then(|id| id.strip_prefix('m')?.parse::<usize>().ok());
            let Some(index) = index.filter(|index| *index < self.series.len()) else {
                continue;
            };
            match result.status_code() {
                Some(StatusCode::Forbidden) => {
                    return Err(self.says(WorldErrorKind::Denied, index, result, "is forbidden"));
                }
                Some(StatusCode::InternalError) => {
                    let kind = WorldErrorKind::Unavailable;
                    return Err(self.says(kind, index, result, "had an internal error"));
                }
                // More of it is on a later page, which ends with another code.
                Some(StatusCode::PartialData) => self.complete[index] = false,
                _ => self.complete[index] = true,
            }
            for (at, &value) in result.timestamps().iter().zip(result.values()) {
                let Some(line) = time(Some(at)).and_then(|at| self.asked.line_of(at)) else {
                    continue;
                };
                // Counts only grow, so of a point that is there twice the larger is the later one,
                // in whatever order they come.
                let kept = self.values[index].entry(line).or_insert(value);
                *kept = kept.max(value);
            }
        }
        Ok(())
    }

    /// No traffic and no answer are two things: a series without a complete answer is an error.
    fn check_complete(&self) -> Result<(), WorldError> {
        let Some(index) = self.complete.iter().position(|complete| !complete) else {
            return Ok(());
        };
        let mut message = format!("{} is incomplete", self.series[index]);
        for each in &self.messages {
            message.push_str("; ");
            message.push_str(each);
        }
        Err(error(WorldErrorKind::Unavailable, CALL, message))
    }

    fn says(
        &self,
        kind: WorldErrorKind,
        index: usize,
        result: &MetricDataResult,
        what: &str,
    ) -> WorldError {
        let mut message = format!("{} {what}", self.series[index]);
        for each in result.messages().iter().filter_map(|m| m.value()) {
            message.push_str("; ");
            message.push_str(each);
        }
        error(kind, CALL, message)
    }

    /// One line per asked minute or hour. `CloudWatch` has no value for one without requests.
    fn lines(&self) -> Vec<MinuteCounts> {
        let value = |series: usize, line| self.values[series].get(&line).copied().map_or(0, whole);
        let counts = |line, &(all, bad): &(usize, usize)| {
            let all = value(all, line);
            Counts::new(all, value(bad, line).min(all))
        };
        (0..self.asked.lines())
            .map(|line| MinuteCounts {
                at: self.asked.at(line),
                variants: self
                    .places
                    .iter()
                    .map(|guards| guards.iter().map(|place| counts(line, place)).collect())
                    .collect(),
            })
            .collect()
    }
}

/// An id within the answer: it has to begin with a small letter.
fn id(index: usize) -> String {
    format!("m{index}")
}

/// A count: not negative, not a fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    // The cast saturates, and takes NaN to 0.
    value.round().max(0.0) as u64
}
