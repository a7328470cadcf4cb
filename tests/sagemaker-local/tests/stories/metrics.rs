//! Traffic, what it leaves in CloudWatch, and the three protocols in which CloudWatch is asked.

use crate::support::Emulator;
use ciborium::Value as Cbor;
use serde_json::{Value, json};

const START: f64 = 1_772_366_400.0; // 2026-03-01T12:00:00Z

fn query(id: &str, variant: &str, metric: &str, stat: &str) -> Value {
    json!({"Id": id, "MetricStat": {"Period": 60, "Stat": stat, "Metric": {
        "Namespace": "AWS/SageMaker", "MetricName": metric,
        "Dimensions": [{"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": variant}]}}})
}

async fn ask(emulator: &Emulator, input: Value) -> Value {
    cloudwatch(emulator, "GetMetricData", input).await
}

pub(crate) async fn cloudwatch(emulator: &Emulator, operation: &str, input: Value) -> Value {
    let target = format!("GraniteServiceVersion20100801.{operation}");
    let response = reqwest::Client::new()
        .post(&emulator.url)
        .header("x-amz-target", target)
        .body(input.to_string())
        .send()
        .await
        .unwrap();
    response.json().await.unwrap()
}

fn range(from_minute: f64, to_minute: f64, queries: &[Value]) -> Value {
    json!({"StartTime": START + from_minute * 60.0, "EndTime": START + to_minute * 60.0,
        "ScanBy": "TimestampAscending", "MetricDataQueries": queries})
}

fn values(answer: &Value, index: usize) -> Vec<f64> {
    let values = answer["MetricDataResults"][index]["Values"]
        .as_array()
        .unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

async fn with_traffic() -> Emulator {
    let emulator = Emulator::start(&[]);
    let script = json!({"error_rate": 0.1, "four_xx_rate": 0.05, "latency_ms": {"median": 100, "sigma": 0.5}});
    emulator.endpoint("e", script).await;
    emulator.advance(60).await; // 12:05:00
    emulator
        .admin(
            "traffic",
            json!({"endpoint": "e", "requests_per_minute": 300}),
        )
        .await;
    emulator
}

#[tokio::test]
async fn each_minute_has_the_requests_that_were_ordered() {
    let emulator = with_traffic().await;
    emulator.advance(600).await;
    let queries = [
        query("all", "v1", "Invocations", "Sum"),
        query("client", "v1", "Invocation4XXErrors", "Sum"),
        query("server", "v1", "Invocation5XXErrors", "Sum"),
        query("model", "v1", "InvocationModelErrors", "Sum"),
        query("samples", "v1", "InvocationModelErrors", "SampleCount"),
        query("rate", "v1", "InvocationModelErrors", "Average"),
    ];
    let answer = ask(&emulator, range(5.0, 13.0, &queries)).await;
    assert_eq!(values(&answer, 0), [300.0; 8]);
    assert_eq!(values(&answer, 4), [300.0; 8]);
    let sum = |index| values(&answer, index).iter().sum::<f64>();
    assert!((sum(2) / 2400.0 - 0.1).abs() < 0.03, "{}", sum(2));
    assert!((sum(1) / 2400.0 - 0.05).abs() < 0.02, "{}", sum(1));
    assert_eq!(sum(3), sum(1) + sum(2));
    assert!((values(&answer, 5)[0] - values(&answer, 3)[0] / 300.0).abs() < 1e-9);
}

#[tokio::test]
async fn slow_requests_are_counted_by_a_trimmed_count() {
    let emulator = with_traffic().await;
    emulator.advance(600).await;
    let queries = [
        query("slow", "v1", "ModelLatency", "TC(100000:)"),
        query("median", "v1", "ModelLatency", "p50"),
    ];
    let answer = ask(&emulator, range(5.0, 13.0, &queries)).await;
    let slow = values(&answer, 0);
    assert!((slow.iter().sum::<f64>() / 2400.0 - 0.5).abs() < 0.05);
    assert!(
        slow.iter().any(|count| count.fract() != 0.0),
        "trimmed counts may be fractions"
    );
    assert!((values(&answer, 1)[0] / 100_000.0 - 1.0).abs() < 0.15);
}

#[tokio::test]
async fn an_hour_has_what_its_minutes_have() {
    let emulator = with_traffic().await;
    emulator.advance(2 * 3600).await;
    let minutes = [
        query("all", "v1", "Invocations", "Sum"),
        query("slow", "v1", "ModelLatency", "TC(100000:)"),
    ];
    let hours = minutes.clone().map(|mut query| {
        query["MetricStat"]["Period"] = json!(3600);
        query
    });
    let by_minute = ask(&emulator, range(60.0, 120.0, &minutes)).await;
    let by_hour = ask(&emulator, range(60.0, 120.0, &hours)).await;
    assert_eq!(values(&by_hour, 0), [60.0 * 300.0]);
    assert_eq!(values(&by_minute, 0), [300.0; 60]);
    let sum: f64 = values(&by_minute, 1).iter().sum();
    let slow = values(&by_hour, 1)[0];
    assert!((slow / sum - 1.0).abs() < 0.05, "{slow} and {sum}");
}

#[tokio::test]
async fn minutes_are_kept_for_15_days_and_hours_longer() {
    let emulator = with_traffic().await;
    emulator.advance(600).await;
    emulator
        .admin(
            "traffic",
            json!({"endpoint": "e", "requests_per_minute": 0}),
        )
        .await;
    let mut by_hour = query("hour", "v1", "Invocations", "Sum");
    by_hour["MetricStat"]["Period"] = json!(3600);
    let queries = [query("minute", "v1", "Invocations", "Sum"), by_hour];
    let answer = ask(&emulator, range(0.0, 60.0, &queries)).await;
    assert!(!values(&answer, 0).is_empty() && values(&answer, 1).len() == 1);
    emulator.advance(16 * 24 * 3600).await;
    let answer = ask(&emulator, range(0.0, 60.0, &queries)).await;
    assert_eq!(values(&answer, 0), [0.0; 0]);
    assert_eq!(values(&answer, 1).len(), 1);
}

#[tokio::test]
async fn metrics_are_listed_with_the_variants_that_they_are_of() {
    let emulator = with_traffic().await;
    let requests = json!({"Namespace": "AWS/SageMaker", "MetricName": "Invocations",
        "Dimensions": [{"Name": "EndpointName", "Value": "e"}]});
    emulator.advance(600).await;
    let early = cloudwatch(&emulator, "ListMetrics", requests.clone()).await;
    assert_eq!(early["Metrics"], json!([]));
    emulator.advance(600).await;
    let listed = cloudwatch(&emulator, "ListMetrics", requests).await;
    let dimensions =
        json!([{"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v1"}]);
    assert_eq!(
        listed["Metrics"],
        json!([{"Namespace": "AWS/SageMaker", "MetricName": "Invocations", "Dimensions": dimensions}])
    );
}

#[tokio::test]
async fn a_metric_can_be_forbidden_and_a_call_denied() {
    let emulator = with_traffic().await;
    emulator.advance(600).await;
    let queries = [
        query("a", "v1", "Invocations", "Sum"),
        query("b", "v1", "ModelLatency", "SampleCount"),
    ];
    let fault = |kind: &str| json!({"operation": "GetMetricData", "kind": kind});
    emulator.admin("faults", fault("forbid_metric")).await;
    let answer = ask(&emulator, range(5.0, 13.0, &queries)).await;
    assert_eq!(values(&answer, 0), [300.0; 8]);
    assert_eq!(answer["MetricDataResults"][1]["StatusCode"], "Forbidden");
    assert_eq!(values(&answer, 1), [0.0; 0]);
    emulator.admin("faults", fault("deny")).await;
    let answer = ask(&emulator, range(5.0, 13.0, &queries)).await;
    assert_eq!(answer["__type"], "AccessDenied");
    assert_eq!(
        values(&ask(&emulator, range(5.0, 13.0, &queries)).await, 1).len(),
        8
    );
}

#[tokio::test]
async fn the_newest_minutes_are_missing_or_partial() {
    let emulator = with_traffic().await;
    emulator.advance(330).await; // 12:10:30, a delay of 60 s
    let answer = ask(
        &emulator,
        range(5.0, 12.0, &[query("all", "v1", "Invocations", "Sum")]),
    )
    .await;
    let counts = values(&answer, 0);
    assert_eq!(counts.len(), 5);
    assert_eq!(counts[..4], [300.0; 4]);
    assert!((counts[4] - 150.0).abs() <= 25.0, "{counts:?}");
}

#[tokio::test]
async fn unknown_metrics_are_empty_and_bad_queries_refused() {
    let emulator = with_traffic().await;
    emulator.advance(300).await;
    let answer = ask(
        &emulator,
        range(
            5.0,
            9.0,
            &[
                query("a", "v9", "Invocations", "Sum"),
                query("b", "v1", "Nope", "Sum"),
            ],
        ),
    )
    .await;
    assert_eq!(values(&answer, 0), [0.0; 0]);
    assert_eq!(values(&answer, 1), [0.0; 0]);
    assert_eq!(
        ask(
            &emulator,
            range(9.0, 5.0, &[query("a", "v1", "Invocations", "Sum")])
        )
        .await["__type"],
        "InvalidParameterValue"
    );
    assert_eq!(
        ask(
            &emulator,
            range(5.0, 9.0, &[query("A", "v1", "Invocations", "Sum")])
        )
        .await["__type"],
        "InvalidParameterValue"
    );
    assert_eq!(
        ask(
            &emulator,
            range(5.0, 9.0, &[query("a", "v1", "Invocations", "Sums")])
        )
        .await["__type"],
        "InvalidParameterValue"
    );
}

#[tokio::test]
async fn pages_of_metric_data_hold_everything_once() {
    let emulator = with_traffic().await;
    emulator.advance(600).await;
    let mut input = range(
        5.0,
        13.0,
        &[
            query("a", "v1", "Invocations", "Sum"),
            query("b", "v1", "ModelLatency", "SampleCount"),
        ],
    );
    input["MaxDatapoints"] = json!(5);
    let mut count = 0;
    let mut pages = 0;
    loop {
        let page = ask(&emulator, input.clone()).await;
        for result in page["MetricDataResults"].as_array().unwrap() {
            count += result["Values"].as_array().unwrap().len();
        }
        pages += 1;
        let Some(token) = page.get("NextToken") else {
            break;
        };
        input["NextToken"] = token.clone();
    }
    assert_eq!((count, pages), (16, 4));
}

#[tokio::test]
async fn cloudwatch_speaks_cbor_as_todays_sdks_do() {
    let emulator = with_traffic().await;
    emulator.advance(600).await;
    let text = |text: &str| Cbor::Text(text.to_owned());
    let time = |minute: f64| Cbor::Tag(1, Box::new(Cbor::Float(START + minute * 60.0)));
    let pair = |name: &str, value: &str| {
        Cbor::Map(vec![
            (text("Name"), text(name)),
            (text("Value"), text(value)),
        ])
    };
    let metric = Cbor::Map(vec![
        (text("Namespace"), text("AWS/SageMaker")),
        (text("MetricName"), text("Invocations")),
        (
            text("Dimensions"),
            Cbor::Array(vec![pair("EndpointName", "e"), pair("VariantName", "v1")]),
        ),
    ]);
    let stat = Cbor::Map(vec![
        (text("Metric"), metric),
        (text("Period"), Cbor::Integer(60.into())),
        (text("Stat"), text("Sum")),
    ]);
    let request = Cbor::Map(vec![
        (
            text("MetricDataQueries"),
            Cbor::Array(vec![Cbor::Map(vec![
                (text("Id"), text("a")),
                (text("MetricStat"), stat),
            ])]),
        ),
        (text("StartTime"), time(5.0)),
        (text("EndTime"), time(8.0)),
    ]);
    let mut body = Vec::new();
    ciborium::into_writer(&request, &mut body).unwrap();
    let response = reqwest::Client::new()
        .post(format!(
            "{}/service/GraniteServiceVersion20100801/operation/GetMetricData",
            emulator.url
        ))
        .header("smithy-protocol", "rpc-v2-cbor")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["smithy-protocol"], "rpc-v2-cbor");
    let answer: Cbor = ciborium::from_reader(response.bytes().await.unwrap().as_ref()).unwrap();
    let shown = format!("{answer:?}");
    assert!(shown.contains("Tag(1, Float(1772366820.0))"), "{shown}");
    assert!(shown.contains("Float(300.0)"), "{shown}");
}

#[tokio::test]
async fn cloudwatch_still_speaks_the_query_protocol() {
    let emulator = with_traffic().await;
    emulator.advance(600).await;
    let body = "Action=GetMetricData&Version=2010-08-01&StartTime=2026-03-01T12%3A05%3A00Z&EndTime=2026-03-01T12%3A07%3A00Z&MetricDataQueries.member.1.Id=a&MetricDataQueries.member.1.MetricStat.Period=60&MetricDataQueries.member.1.MetricStat.Stat=Sum&MetricDataQueries.member.1.MetricStat.Metric.Namespace=AWS%2FSageMaker&MetricDataQueries.member.1.MetricStat.Metric.MetricName=Invocations&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.1.Name=EndpointName&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.1.Value=e&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.2.Name=VariantName&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.2.Value=v1";
    let response = reqwest::Client::new()
        .post(&emulator.url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let xml = response.text().await.unwrap();
    assert!(xml.contains("<Timestamps><member>2026-03-01T12:06:00Z</member><member>2026-03-01T12:05:00Z</member></Timestamps>"), "{xml}");
    assert!(
        xml.contains("<Values><member>300.0</member><member>300.0</member></Values>"),
        "{xml}"
    );
}

#[tokio::test]
async fn a_model_error_tells_the_original_status_and_message() {
    let emulator = Emulator::start(&[]);
    emulator.endpoint("e", json!({"error_rate": 1.0})).await;
    let answer = emulator.invoke("e", None, "{}").await;
    assert_eq!(answer.status(), 424);
    assert_eq!(answer.headers()["x-amzn-errortype"], "ModelError");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["OriginalStatusCode"], 500);
    assert_eq!(body["OriginalMessage"], "scripted server error");
    let missing = emulator.invoke("nope", None, "{}").await;
    assert_eq!(missing.headers()["x-amzn-errortype"], "ValidationError");
    let body: Value = missing.json().await.unwrap();
    assert_eq!(
        body["Message"],
        "Endpoint nope of account 123456789012 not found."
    );
}

#[tokio::test]
async fn traffic_follows_the_weights_and_the_seed() {
    let share = || async {
        let emulator = Emulator::start(&["--seed", "7"]);
        emulator.endpoint("e", json!({})).await;
        emulator.scripted_model("model-2", json!({})).await;
        emulator
            .config(
                "config-2",
                &[("v1", "model-1", 95.0), ("v2", "model-2", 5.0)],
            )
            .await;
        emulator
            .ok(
                "UpdateEndpoint",
                json!({"EndpointName": "e", "EndpointConfigName": "config-2"}),
            )
            .await;
        emulator.advance(240).await;
        emulator
            .admin(
                "traffic",
                json!({"endpoint": "e", "requests_per_minute": 200, "seed": 3}),
            )
            .await;
        emulator.advance(6000).await;
        let timeline = emulator.look("timeline?endpoint=e").await;
        let minutes = timeline["minutes"].as_array().unwrap();
        minutes
            .iter()
            .filter_map(|minute| minute["counts"]["v2"]["requests"].as_u64())
            .collect::<Vec<u64>>()
    };
    let (first, second) = (share().await, share().await);
    let total: u64 = first.iter().sum();
    assert!(
        (900..1100).contains(&total),
        "{total} of 20000 by a weight of 5 in 100"
    );
    assert_eq!(first, second);
}
