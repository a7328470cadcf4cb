//! What becomes of `GetMetricData`'s pages.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::MessageData;
use tidegate_core::pipeline::{CountMetric, CustomMetric};

use super::*;

fn custom(bad: &str, dimensions: &[(&str, &str)]) -> GuardMetric {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    GuardMetric::Custom(Box::new(CustomMetric {
        name: None,
        namespace: "Shop".to_owned(),
        bad: bad.to_owned(),
        all: "Checkouts".to_owned(),
        dimensions: dimensions.iter().map(owned).collect::<BTreeMap<_, _>>(),
    }))
}

fn checkouts(bad: &str) -> GuardMetric {
    custom(
        bad,
        &[("Service", "{endpoint}/{variant}"), ("Stage", "live")],
    )
}

/// A question to try, and what it borrows from.
struct Case {
    endpoint: EndpointName,
    variants: Vec<String>,
    guards: Vec<GuardMetric>,
    period: Period,
    from: &'static str,
    to: &'static str,
}

impl Case {
    fn new(variants: &[&str], guards: Vec<GuardMetric>) -> Self {
        Self {
            endpoint: EndpointName::parse("shop").unwrap(),
            variants: variants.iter().map(|v| (*v).to_owned()).collect(),
            guards,
            period: Period::Minute,
            from: "2026-01-01T00:00:30Z",
            to: "2026-01-01T00:03:00Z",
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            endpoint: &self.endpoint,
            variants: &self.variants,
            guards: &self.guards,
            period: self.period,
            from: self.from.parse().unwrap(),
            to: self.to.parse().unwrap(),
        }
    }
}

/// Some points of a series, by its name and statistic.
fn result(
    gathered: &Gathered<'_>,
    (name, stat): (&str, &str),
    points: &[(&str, f64)],
) -> MetricDataResult {
    let of = |s: &Series| s.name == name && s.stat == stat;
    let index = gathered.series.iter().position(of).unwrap();
    let mut built = MetricDataResult::builder()
        .id(id(index))
        .status_code(StatusCode::Complete);
    for (at, value) in points {
        let at = format!("2026-01-01T{at}Z").parse().unwrap();
        built = built.timestamps(aws_time(at)).values(*value);
    }
    built.build()
}

fn page(results: Vec<MetricDataResult>) -> GetMetricDataOutput {
    GetMetricDataOutput::builder()
        .set_metric_data_results(Some(results))
        .build()
}

fn errors_and_latency() -> Vec<GuardMetric> {
    vec![
        GuardMetric::Metric(CountMetric::ModelErrors),
        GuardMetric::SlowerThanMs(200),
    ]
}

#[test]
fn every_series_is_asked_for_once() {
    let mut guards = errors_and_latency();
    guards.push(GuardMetric::Metric(CountMetric::ServerErrors));
    guards.push(checkouts("Failed"));
    guards.push(checkouts("Abandoned"));
    let case = Case::new(&["a", "b"], guards);
    let asked = case.asked();
    let gathered = Gathered::new(&asked);
    // Of each variant: requests once for two guards, two counts of errors, two of latency, all
    // checkouts once for two guards, two counts of bad ones.
    assert_eq!(gathered.series.len(), 2 * (1 + 2 + 2 + 1 + 2));
    assert!(gathered.series.iter().any(|s| s.stat == "TC(200000:)"));
    let queries = gathered.queries();
    assert_eq!(queries.len(), gathered.series.len());
    let ids: BTreeSet<_> = queries.iter().map(|query| query.id().unwrap()).collect();
    assert_eq!(ids.len(), queries.len());
}

#[test]
fn a_custom_guard_s_dimensions_are_filled_in() {
    let case = Case::new(&["v12"], vec![checkouts("Failed")]);
    let asked = case.asked();
    let gathered = Gathered::new(&asked);
    let shown: Vec<String> = gathered.series.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "Shop Checkouts (Sum) of Service=shop/v12, Stage=live",
            "Shop Failed (Sum) of Service=shop/v12, Stage=live",
        ]
    );
    let metric = gathered.series[0].metric();
    assert_eq!(metric.namespace(), Some("Shop"));
    assert_eq!(metric.dimensions().len(), 2);
}

#[test]
fn minutes_are_dense_aligned_rounded_and_clamped() {
    let mut guards = errors_and_latency();
    guards.push(checkouts("Failed"));
    let case = Case::new(&["a"], guards);
    let asked = case.asked();
    let mut gathered = Gathered::new(&asked);
    let one = |series, value| result(&gathered, series, &[("00:01:00", value), ("00:09:00", 1e9)]);
    let page = page(vec![
        one(("Invocations", "Sum"), 100.0),
        one(("InvocationModelErrors", "Sum"), 3.0),
        one(("ModelLatency", "SampleCount"), 100.0),
        one(("ModelLatency", "TC(200000:)"), 100.6),
        one(("Checkouts", "Sum"), 7.0),
        one(("Failed", "Sum"), 8.0),
    ]);
    gathered.take(&page).unwrap();
    gathered.check_complete().unwrap();
    let lines = gathered.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].at, "2026-01-01T00:00:00Z".parse().unwrap());
    let none = vec![vec![Counts::new(0, 0); 3]];
    assert_eq!(lines[0].variants, none);
    assert_eq!(
        lines[1].variants,
        [[
            Counts::new(100, 3),
            Counts::new(100, 100),
            Counts::new(7, 7)
        ]]
    );
    assert_eq!(lines[2].variants, none);
}

#[test]
fn hours_are_whole_hours() {
    let mut case = Case::new(&["a"], errors_and_latency());
    case.period = Period::Hour;
    case.from = "2026-01-01T01:30:00Z";
    case.to = "2026-01-01T04:59:00Z";
    let asked = case.asked();
    let mut gathered = Gathered::new(&asked);
    let periods: BTreeSet<_> = gathered
        .queries()
        .iter()
        .map(|query| query.metric_stat().unwrap().period())
        .collect();
    assert_eq!(periods, BTreeSet::from([Some(3_600)]));
    let requests = result(&gathered, ("Invocations", "Sum"), &[("02:00:00", 6_000.0)]);
    gathered.take(&page(vec![requests])).unwrap();
    let lines = gathered.lines();
    let starts: Vec<String> = lines.iter().map(|line| line.at.to_string()).collect();
    assert_eq!(
        starts,
        [
            "2026-01-01T01:00:00Z",
            "2026-01-01T02:00:00Z",
            "2026-01-01T03:00:00Z"
        ]
    );
    assert_eq!(lines[1].variants[0][0], Counts::new(6_000, 0));
}

#[test]
fn points_that_are_repeated_late_or_out_of_order_change_nothing() {
    let case = Case::new(&["a"], vec![GuardMetric::Metric(CountMetric::ModelErrors)]);
    let asked = case.asked();
    let lines_of = |pages: &[&[(&str, f64)]]| {
        let mut gathered = Gathered::new(&asked);
        for points in pages {
            let requests = result(&gathered, ("Invocations", "Sum"), points);
            let errors = result(&gathered, ("InvocationModelErrors", "Sum"), &[]);
            gathered.take(&page(vec![requests, errors])).unwrap();
        }
        gathered.check_complete().unwrap();
        gathered.lines()
    };
    let in_order = lines_of(&[&[("00:00:00", 10.0), ("00:01:00", 20.0), ("00:02:00", 30.0)]]);
    assert_eq!(in_order[2].variants[0][0], Counts::new(30, 0));
    let shuffled = lines_of(&[
        &[("00:02:00", 30.0), ("00:00:00", 10.0)],
        &[("00:00:00", 10.0), ("00:01:00", 20.0), ("00:01:00", 20.0)],
    ]);
    assert_eq!(shuffled, in_order);
    // A first count that was not all of it, whichever comes first.
    let grown = lines_of(&[
        &[("00:02:00", 12.0), ("00:00:00", 10.0), ("00:01:00", 20.0)],
        &[("00:02:00", 30.0), ("00:01:00", 3.0)],
    ]);
    assert_eq!(grown, in_order);
}

#[test]
fn an_inner_error_of_a_page_is_not_taken_for_no_traffic() {
    let case = Case::new(&["a"], vec![checkouts("Failed")]);
    let asked = case.asked();
    let cases = [
        (StatusCode::InternalError, WorldErrorKind::Unavailable),
        (StatusCode::Forbidden, WorldErrorKind::Denied),
    ];
    for (status, kind) in cases {
        let mut gathered = Gathered::new(&asked);
        let fine = result(&gathered, ("Checkouts", "Sum"), &[("00:01:00", 5.0)]);
        let said = MessageData::builder()
            .code("x")
            .value("not for you")
            .build();
        let failed = MetricDataResult::builder()
            .id("m1")
            .status_code(status)
            .messages(said)
            .build();
        let error = gathered.take(&page(vec![fine, failed])).unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(
            error
                .message
                .contains("Shop Failed (Sum) of Service=shop/a"),
            "{error}"
        );
        assert!(error.message.contains("not for you"), "{error}");
    }
}

#[test]
fn a_series_that_stays_incomplete_is_an_error() {
    let case = Case::new(&["a"], vec![checkouts("Failed")]);
    let asked = case.asked();
    let partial = |gathered: &Gathered<'_>| {
        let index = gathered.series.iter().position(|s| s.name == "Failed");
        MetricDataResult::builder()
            .id(id(index.unwrap()))
            .status_code(StatusCode::PartialData)
            .build()
    };
    let mut gathered = Gathered::new(&asked);
    let all = result(&gathered, ("Checkouts", "Sum"), &[]);
    let half = partial(&gathered);
    gathered
        .take(&page(vec![all.clone(), half.clone()]))
        .unwrap();
    let error = gathered.check_complete().unwrap_err();
    assert_eq!(error.kind, WorldErrorKind::Unavailable);
    assert!(error.message.contains("Shop Failed"), "{error}");
    // The rest of it on the next page mends it.
    let rest = result(&gathered, ("Failed", "Sum"), &[("00:01:00", 1.0)]);
    gathered.take(&page(vec![rest])).unwrap();
    gathered.check_complete().unwrap();
    // A series that no page mentions is as incomplete.
    let mut silent = Gathered::new(&asked);
    silent.take(&page(vec![all])).unwrap();
    assert!(silent.check_complete().is_err());
}

#[test]
fn a_metric_s_variant_is_known_by_its_two_dimensions() {
    let metric = |names: &[(&str, &str)]| {
        let each =
            |(name, value): &(&str, &str)| Dimension::builder().name(*name).value(*value).build();
        Metric::builder()
            .set_dimensions(Some(names.iter().map(each).collect()))
            .build()
    };
    let of_variant = metric(&[("VariantName", "v2"), ("EndpointName", "shop")]);
    assert_eq!(variant(&of_variant), Some("v2".to_owned()));
    assert_eq!(variant(&metric(&[("EndpointName", "shop")])), None);
    let of_component = [
        ("EndpointName", "shop"),
        ("VariantName", "v2"),
        ("ContainerName", "c"),
    ];
    assert_eq!(variant(&metric(&of_component)), None);
}
