//! Custom guards against the emulator's CloudWatch: what a user's service published is what is
//! counted, by variant, and what may not be seen is an error and not a zero.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_aws::{AwsWorld, Clients};
use tidegate_core::evidence::Counts;
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::{CustomMetric, GuardMetric};
use tidegate_core::world::{Answer, MinuteCounts, Question, World as _, WorldErrorKind};

struct Fixture {
    world: AwsWorld,
    clients: Clients,
    emulator: support::Server,
    _moto: support::Server,
}

fn fixture() -> Fixture {
    let moto = support::moto();
    let emulator = support::sagemaker_local(&moto);
    let clients = support::clients_of_both(&moto, &emulator);
    let world = AwsWorld::new(clients.clone(), support::settings("arn:aws:sns:::t"));
    // The emulator's clock stands at `start` until it is moved.
    support::order(&emulator, "/clock", &json!({"advance_seconds": 7_200}));
    Fixture {
        world,
        clients,
        emulator,
        _moto: moto,
    }
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn minute(n: i64) -> Timestamp {
    start() + SignedDuration::from_mins(n)
}

impl Fixture {
    /// Publishes a count as a user's service does.
    async fn put(&self, of: (&str, &str), metric: &str, at: Timestamp, count: u32) {
        let dimension =
            |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
        let datum = MetricDatum::builder()
            .metric_name(metric)
            .dimensions(dimension("Endpoint", of.0))
            .dimensions(dimension("Variant", of.1))
            .timestamp(aws_smithy_types::DateTime::from_secs(at.as_second() + 30))
            .value(f64::from(count))
            .build();
        self.clients
            .cloudwatch
            .put_metric_data()
            .namespace("Shop")
            .metric_data(datum)
            .send()
            .await
            .unwrap();
    }

    async fn ask(&self, question: &Question) -> Vec<MinuteCounts> {
        match self.world.ask(question).await.unwrap() {
            Answer::Minutes(minutes) => minutes,
            other => panic!("{other:?}"),
        }
    }
}

fn checkouts() -> GuardMetric {
    let dimensions = [("Endpoint", "{endpoint}"), ("Variant", "{variant}")];
    GuardMetric::Custom(Box::new(CustomMetric {
        name: Some("failed checkouts".to_owned()),
        namespace: "Shop".to_owned(),
        bad: "Failed".to_owned(),
        all: "Checkouts".to_owned(),
        dimensions: BTreeMap::from(
            dimensions.map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
    }))
}

fn minutes(from: i64, to: i64) -> Question {
    Question::Minutes {
        endpoint: EndpointName::parse("shop").unwrap(),
        variants: vec!["v1".to_owned(), "v2".to_owned()],
        guards: vec![checkouts()],
        from: minute(from),
        to: minute(to),
    }
}

#[tokio::test]
async fn a_custom_pair_is_counted_by_variant_and_minute() {
    let fixture = fixture();
    let (champion, canary) = (("shop", "v1"), ("shop", "v2"));
    // Two processes of a service publish of the same minute.
    fixture.put(champion, "Checkouts", minute(5), 60).await;
    fixture.put(champion, "Checkouts", minute(5), 40).await;
    fixture.put(champion, "Failed", minute(5), 2).await;
    fixture.put(canary, "Checkouts", minute(5), 50).await;
    fixture.put(canary, "Failed", minute(5), 7).await;
    // More bad events than events: one of the two is late.
    fixture.put(canary, "Checkouts", minute(6), 10).await;
    fixture.put(canary, "Failed", minute(6), 12).await;
    fixture
        .put(("other", "v2"), "Failed", minute(5), 1_000)
        .await;
    let counted = fixture.ask(&minutes(4, 8)).await;
    let of = |index: usize| [counted[index].variants[0][0], counted[index].variants[1][0]];
    assert_eq!(counted.len(), 4);
    assert_eq!(counted[1].at, minute(5));
    assert_eq!(of(0), [Counts::new(0, 0); 2]);
    assert_eq!(of(1), [Counts::new(100, 2), Counts::new(50, 7)]);
    assert_eq!(of(2), [Counts::new(0, 0), Counts::new(10, 10)]);
    assert_eq!(of(3), [Counts::new(0, 0); 2]);

    let Question::Minutes {
        endpoint,
        variants,
        guards,
        ..
    } = minutes(0, 0)
    else {
        panic!()
    };
    let by_hour = Question::Hours {
        endpoint,
        variants,
        guards,
        from: minute(0),
        to: minute(120),
    };
    let hours = fixture.ask(&by_hour).await;
    assert_eq!((hours.len(), hours[1].at), (2, minute(60)));
    assert_eq!(
        hours[0].variants,
        [[Counts::new(100, 2)], [Counts::new(60, 19)]]
    );
    assert_eq!(hours[1].variants, [[Counts::new(0, 0)]; 2]);
}

#[tokio::test]
async fn a_metric_that_may_not_be_seen_is_an_error_and_not_a_zero() {
    let fixture = fixture();
    fixture
        .put(("shop", "v1"), "Checkouts", minute(5), 60)
        .await;
    for (fault, says) in [("deny", "AccessDenied"), ("forbid_metric", "Shop Failed")] {
        let order = json!({"operation": "GetMetricData", "kind": fault});
        support::order(&fixture.emulator, "/faults", &order);
        let error = fixture.world.ask(&minutes(4, 8)).await.unwrap_err();
        assert_eq!(error.kind, WorldErrorKind::Denied, "{fault}: {error}");
        assert!(error.message.contains(says), "{fault}: {error}");
    }
    let order = json!({"operation": "ListMetrics", "kind": "deny"});
    support::order(&fixture.emulator, "/faults", &order);
    let variants = Question::VariantsOf {
        endpoint: EndpointName::parse("shop").unwrap(),
    };
    let error = fixture.world.ask(&variants).await.unwrap_err();
    assert_eq!(error.kind, WorldErrorKind::Denied, "{error}");
    assert_eq!(fixture.ask(&minutes(4, 8)).await.len(), 4);
}

#[tokio::test]
async fn more_than_the_port_allows_is_refused_before_it_is_asked() {
    let fixture = fixture();
    let error = fixture.world.ask(&minutes(0, 1_441)).await.unwrap_err();
    assert_eq!(error.kind, WorldErrorKind::Refused, "{error}");
    let hours = Question::Hours {
        endpoint: EndpointName::parse("shop").unwrap(),
        variants: vec!["v1".to_owned()],
        guards: vec![checkouts()],
        from: start(),
        to: start() + SignedDuration::from_hours(15 * 24 + 1),
    };
    let error = fixture.world.ask(&hours).await.unwrap_err();
    assert!(
        error.message.contains("361 hours are more than 360"),
        "{error}"
    );
}
