//! Counts by minute for variants and guards: one `GetMetricData`, paged.
//!
//! Sources: "Amazon SageMaker AI metrics in Amazon CloudWatch" for names and dimensions;
//! `CloudWatch`'s "Statistics definitions" for `TC`, the trimmed count. It counts what is above its
//! lower bound, is interpolated and may be a fraction, so it is rounded and clamped.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricDataQuery, MetricStat, ScanBy, StatusCode,
};
use jiff::{SignedDuration, Timestamp};
use tidegate_core::evidence::Counts;
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::{CountMetric, GuardMetric};
use tidegate_core::world::{Answer, MinuteCounts, WorldError, WorldErrorKind};

use super::AwsWorld;
use super::values::{aws_time, time};
use crate::error::{error, failed, refused};

const CALL: &str = "GetMetricData";
const NAMESPACE: &str = "AWS/SageMaker";
const PERIOD: i32 = 60;
/// The port's own limit.
const MOST_MINUTES: usize = 1_440;
/// `GetMetricData` takes no more queries.
const MOST_QUERIES: usize = 500;
/// 500 queries of a day in pages of 100,800 values are 8 pages.
const MOST_PAGES: usize = 20;

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) endpoint: &'a EndpointName,
    pub(super) variants: &'a [String],
    pub(super) guards: &'a [GuardMetric],
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// A metric and how it is summed up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    variant: usize,
    metric: &'static str,
    stat: String,
}

/// Values by series and minute.
type Values = BTreeMap<(Series, usize), f64>;

impl AwsWorld {
    pub(super) async fn minutes(&self, asked: &Asked<'_>) -> Result<Answer, WorldError> {
        let minutes = asked.minutes();
        if minutes > MOST_MINUTES {
            return Err(refused(
                CALL,
                format!("{minutes} minutes are more than {MOST_MINUTES}"),
            ));
        }
        let series = asked.series();
        if series.len() > MOST_QUERIES {
            let why = format!("{} metrics are more than {MOST_QUERIES}", series.len());
            return Err(refused(CALL, why));
        }
        if minutes == 0 || series.is_empty() {
            return Ok(Answer::Minutes(asked.counts(&Values::new())));
        }
        let mut values = Values::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let page = self
                .clients
                .cloudwatch
                .get_metric_data()
                .start_time(aws_time(asked.start()))
                .end_time(aws_time(asked.minute(minutes)))
                .scan_by(ScanBy::TimestampAscending)
                .set_metric_data_queries(Some(asked.queries(&series)))
                .set_next_token(next)
                .send()
                .await
                .map_err(failed(CALL))?;
            next = page.next_token.clone().filter(|token| !token.is_empty());
            asked.take(&series, page, &mut values)?;
            if next.is_none() {
                return Ok(Answer::Minutes(asked.counts(&values)));
            }
        }
        Err(error(
            WorldErrorKind::Unavailable,
            CALL,
            "the answer has no end",
        ))
    }
}

impl Asked<'_> {
    /// The first minute, whole.
    fn start(&self) -> Timestamp {
        let second = self.from.as_second();
        Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(self.from)
    }

    /// How many whole minutes there are.
    fn minutes(&self) -> usize {
        let seconds = self.to.as_second() - self.start().as_second();
        usize::try_from(seconds / 60).unwrap_or(0)
    }

    fn minute(&self, index: usize) -> Timestamp {
        let seconds = i64::try_from(index).unwrap_or(0) * 60;
        self.start()
            .saturating_add(SignedDuration::from_secs(seconds))
            .unwrap_or(self.to)
    }

    /// Every series that is needed, once.
    fn series(&self) -> Vec<Series> {
        let mut all: Vec<Series> = (0..self.variants.len())
            .flat_map(|v| {
                self.guards
                    .iter()
                    .flat_map(move |g| [requests(v, g), bad(v, g)])
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }

    fn queries(&self, series: &[Series]) -> Vec<MetricDataQuery> {
        let dimension =
            |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
        let query = |(index, series): (usize, &Series)| {
            let metric = Metric::builder()
                .namespace(NAMESPACE)
                .metric_name(series.metric)
                .dimensions(dimension("EndpointName", self.endpoint.as_str()))
                .dimensions(dimension("VariantName", &self.variants[series.variant]))
                .build();
            let stat = MetricStat::builder()
                .metric(metric)
                .period(PERIOD)
                .stat(&series.stat)
                .build();
            MetricDataQuery::builder()
                .id(id(index))
                .metric_stat(stat)
                .return_data(true)
                .build()
        };
        series.iter().enumerate().map(query).collect()
    }

    /// Takes over a page's values; what is outside of the asked minutes is left out.
    fn take(
        &self,
        series: &[Series],
        page: GetMetricDataOutput,
        values: &mut Values,
    ) -> Result<(), WorldError> {
        for result in page.metric_data_results.unwrap_or_default() {
            let says = || {
                let messages = result.messages();
                messages
                    .iter()
                    .filter_map(|m| m.value())
                    .collect::<Vec<_>>()
                    .join("; ")
            };
            match result.status_code() {
                Some(StatusCode::InternalError) => {
                    return Err(error(WorldErrorKind::Unavailable, CALL, says()));
                }
                Some(StatusCode::Forbidden) => {
                    return Err(error(WorldErrorKind::Denied, CALL, says()));
                }
                _ => {}
            }
            let index = result
                .id()
                .and_then(|id| id.strip_prefix('m')?.parse::<usize>().ok());
            let Some(series) = index.and_then(|index| series.get(index)) else {
                continue;
            };
            for (at, &value) in result.timestamps().iter().zip(result.values()) {
                if let Some(minute) = time(Some(at)).and_then(|at| self.index_of(at)) {
                    values.insert((series.clone(), minute), value);
                }
            }
        }
        Ok(())
    }

    fn index_of(&self, at: Timestamp) -> Option<usize> {
        let seconds = at.as_second() - self.start().as_second();
        let index = usize::try_from(seconds.div_euclid(60)).ok()?;
        (index < self.minutes()).then_some(index)
    }

    /// One line per asked minute. `CloudWatch` has no value for a minute without requests.
    fn counts(&self, values: &Values) -> Vec<MinuteCounts> {
        let value =
            |series: Series, minute: usize| values.get(&(series, minute)).copied().map_or(0, whole);
        let of = |v: usize, guard: &GuardMetric, minute: usize| {
            let requests = value(requests(v, guard), minute);
            Counts::new(requests, value(bad(v, guard), minute).min(requests))
        };
        (0..self.minutes())
            .map(|minute| MinuteCounts {
                at: self.minute(minute),
                variants: (0..self.variants.len())
                    .map(|v| {
                        self.guards
                            .iter()
                            .map(|guard| of(v, guard, minute))
                            .collect()
                    })
                    .collect(),
            })
            .collect()
    }
}

/// What a guard's bad requests are a part of.
fn requests(variant: usize, guard: &GuardMetric) -> Series {
    let (metric, stat) = match guard {
        GuardMetric::Metric(_) => ("Invocations", "Sum"),
        GuardMetric::SlowerThanMs(_) => ("ModelLatency", "SampleCount"),
    };
    Series {
        variant,
        metric,
        stat: stat.to_owned(),
    }
}

/// A guard's bad requests.
fn bad(variant: usize, guard: &GuardMetric) -> Series {
    let (metric, stat) = match guard {
        GuardMetric::Metric(CountMetric::ModelErrors) => {
            ("InvocationModelErrors", "Sum".to_owned())
        }
        GuardMetric::Metric(CountMetric::ClientErrors) => ("Invocation4XXErrors", "Sum".to_owned()),
        GuardMetric::Metric(CountMetric::ServerErrors) => ("Invocation5XXErrors", "Sum".to_owned()),
        // `ModelLatency` is in microseconds.
        GuardMetric::SlowerThanMs(ms) => {
            ("ModelLatency", format!("TC({}:)", u64::from(*ms) * 1_000))
        }
    };
    Series {
        variant,
        metric,
        stat,
    }
}

fn id(index: usize) -> String {
    format!("m{index}")
}

/// A count: not negative, not a fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    // The cast saturates, and takes NaN to 0.
    value.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aws_sdk_cloudwatch::types::MetricDataResult;

    const GUARDS: [GuardMetric; 2] = [
        GuardMetric::Metric(CountMetric::ModelErrors),
        GuardMetric::SlowerThanMs(200),
    ];

    fn asked<'a>(endpoint: &'a EndpointName, variants: &'a [String]) -> Asked<'a> {
        Asked {
            endpoint,
            variants,
            guards: &GUARDS,
            from: "2026-01-01T00:00:30Z".parse().unwrap(),
            to: "2026-01-01T00:03:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn every_series_is_asked_for_once() {
        let endpoint = EndpointName::parse("e").unwrap();
        let variants = ["a".to_owned(), "b".to_owned()];
        let asked = asked(&endpoint, &variants);
        let series = asked.series();
        assert_eq!(series.len(), 8);
        assert!(series.iter().any(|s| s.stat == "TC(200000:)"));
        assert_eq!(asked.queries(&series).len(), 8);
    }

    #[test]
    fn minutes_are_dense_aligned_rounded_and_clamped() {
        let endpoint = EndpointName::parse("e").unwrap();
        let variants = ["a".to_owned()];
        let asked = asked(&endpoint, &variants);
        let series = asked.series();
        let at = |text: &str| aws_time(text.parse().unwrap());
        let result = |metric: &str, stat: &str, value: f64| {
            let index = series
                .iter()
                .position(|s| s.metric == metric && s.stat == stat)
                .unwrap();
            MetricDataResult::builder()
                .id(id(index))
                .timestamps(at("2026-01-01T00:01:00Z"))
                .values(value)
                .timestamps(at("2026-01-01T00:09:00Z"))
                .values(1e9)
                .build()
        };
        let page = GetMetricDataOutput::builder()
            .metric_data_results(result("Invocations", "Sum", 100.0))
            .metric_data_results(result("InvocationModelErrors", "Sum", 3.0))
            .metric_data_results(result("ModelLatency", "SampleCount", 100.0))
            .metric_data_results(result("ModelLatency", "TC(200000:)", 100.6))
            .build();
        let mut values = Values::new();
        asked.take(&series, page, &mut values).unwrap();
        let counts = asked.counts(&values);
        assert_eq!(counts.len(), 3);
        assert_eq!(counts[0].at, "2026-01-01T00:00:00Z".parse().unwrap());
        let none = vec![vec![Counts::new(0, 0), Counts::new(0, 0)]];
        assert_eq!(counts[0].variants, none);
        assert_eq!(
            counts[1].variants,
            [[Counts::new(100, 3), Counts::new(100, 100)]]
        );
        assert_eq!(counts[2].variants, none);
    }

    #[test]
    fn an_inner_error_of_a_page_is_not_taken_for_no_traffic() {
        let endpoint = EndpointName::parse("e").unwrap();
        let variants = ["a".to_owned()];
        let asked = asked(&endpoint, &variants);
        let failed = MetricDataResult::builder()
            .id("m0")
            .status_code(StatusCode::InternalError)
            .build();
        let page = GetMetricDataOutput::builder()
            .metric_data_results(failed)
            .build();
        let error = asked
            .take(&asked.series(), page, &mut Values::new())
            .unwrap_err();
        assert_eq!(error.kind, WorldErrorKind::Unavailable);
    }
}
