#![allow(clippy::unwrap_used, clippy::format_collect)]

use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Every event in `fixtures/events`, by name.
fn fixtures() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn fixture(name: &str) -> String {
    let found = fixtures().into_iter().find(|(each, _)| each == name);
    found.unwrap_or_else(|| panic!("no fixture {name}")).1
}

fn kind(name: &str) -> Kind {
    parse(fixture(name).as_bytes()).unwrap().kind
}

fn error(text: &str) -> String {
    parse(text.as_bytes()).unwrap_err().to_string()
}

/// The fixture with one change to it, parsed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Result<Event, EventError> {
    let mut value: Value = serde_json::from_str(&fixture(name)).unwrap();
    change(&mut value);
    parse(value.to_string().as_bytes())
}

#[test]
fn every_fixture_is_read_as_a_person_would_read_it() {
    let mut all = String::new();
    for (name, text) in fixtures() {
        let event = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kind = serde_json::to_string(&event.kind).unwrap();
        let said = describe(&event);
        writeln!(
            all,
            "{name}\n  {} {}\n  {kind}\n  {said}",
            event.id, event.at
        )
        .unwrap();
    }
    insta::assert_snapshot!("fixtures", all);
}

#[test]
fn tags_are_one_map_whatever_their_form() {
    for (name, expected) in [
        (
            "training-job-tags-as-map",
            vec![("cost-centre", "4711"), ("tidegate:pipeline", "fraud")],
        ),
        (
            "training-job-tags-as-list",
            vec![("team", "risk"), ("tidegate:pipeline", "fraud")],
        ),
        (
            "training-job-tags-as-list-lower-case",
            vec![("reviewed", ""), ("tidegate:pipeline", "fraud")],
        ),
        ("training-job-tags-null", vec![]),
        ("training-job-tags-absent", vec![]),
        ("training-job-tags-empty-list", vec![]),
        ("training-job-state-change", vec![]),
    ] {
        let Kind::TrainingJob { tags, .. } = kind(name) else {
            panic!("{name} is a training job");
        };
        let tags: Vec<_> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, expected, "{name}");
    }
}

#[test]
fn the_events_own_time_is_read_from_every_form() {
    let quarter: Timestamp = "2026-03-02T10:15:30.25Z".parse().unwrap();
    for name in [
        "training-job-time-in-milliseconds",
        "training-job-time-in-a-text-of-milliseconds",
        "training-job-time-in-seconds",
        "training-job-time-with-fraction-and-offset",
    ] {
        assert_eq!(
            parse(fixture(name).as_bytes()).unwrap().at,
            quarter,
            "{name}"
        );
    }
}

#[test]
fn a_status_is_the_same_in_any_spelling() {
    for spelling in [
        "InService",
        "IN_SERVICE",
        "in_service",
        "inservice",
        "In Service",
        "IN-SERVICE",
    ] {
        let event = changed(
            "endpoint-updating-time-in-a-text-of-milliseconds",
            |event| {
                event["detail"]["EndpointStatus"] = json!(spelling);
            },
        );
        let Kind::Endpoint { status, .. } = event.unwrap().kind else {
            panic!("an endpoint");
        };
        assert_eq!(status, EndpointStatus::InService, "{spelling}");
    }
}

#[test]
fn of_a_doubled_key_the_last_one_counts() {
    let text = fixture("model-package-approved").replace(
        "\"ModelApprovalStatus\": \"Approved\"",
        "\"ModelApprovalStatus\": \"Approved\", \"ModelApprovalStatus\": \"Rejected\"",
    );
    let Kind::Package { approval, .. } = parse(text.as_bytes()).unwrap().kind else {
        panic!("a package");
    };
    assert_eq!(approval, Approval::Rejected);
}

#[test]
fn a_tick_is_known_by_its_rollout_and_minute() {
    let first = parse(fixture("tick").as_bytes()).unwrap();
    let late = parse(fixture("tick-with-seconds-and-more-keys").as_bytes()).unwrap();
    assert_eq!(
        first.id.0,
        "tick/fraud-detection-production-v7-1c9a/2026-03-02T10:15Z"
    );
    assert_eq!(first.id, late.id);
    assert_eq!(first.at.to_string(), "2026-03-02T10:15:00Z");
    assert_eq!(late.at.to_string(), "2026-03-02T10:15:42.918Z");
}

#[test]
fn an_alarm_says_since_when_its_data_is() {
    for (name, expected) in [
        ("alarm-model-errors", Some("2026-03-02T10:11:00Z")),
        ("alarm-with-evaluated-points", Some("2026-03-02T10:12:00Z")),
        ("alarm-without-start-date", Some("2026-03-02T10:12:30.11Z")),
        ("alarm-without-reason-data", None),
        ("alarm-metric-math", None),
    ] {
        let Kind::Alarm { data_since, .. } = kind(name) else {
            panic!("{name} is an alarm");
        };
        assert_eq!(
            data_since.map(|at| at.to_string()).as_deref(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn an_alarm_of_autoscaling_is_not_harm() {
    assert!(matches!(
        kind("alarm-of-autoscaling"),
        Kind::Unhandled { .. }
    ));
}

#[test]
fn reason_data_that_is_no_json_costs_the_date_and_not_the_alarm() {
    for broken in [
        json!("{"),
        json!(7),
        json!([]),
        json!("null"),
        json!({"period": -1}),
    ] {
        let event = changed("alarm-model-errors", |event| {
            event["detail"]["state"]["reasonData"] = broken;
        });
        assert!(matches!(
            event.unwrap().kind,
            Kind::Alarm {
                data_since: None,
                ..
            }
        ));
    }
}

#[test]
fn what_is_no_event_says_what_is_wrong() {
    insta::assert_snapshot!(error(""), @r###"the event is not JSON that can be read: EOF while parsing a value at line 1 column 0"###);
    insta::assert_snapshot!(error("hello"), @r###"the event is not JSON that can be read: expected value at line 1 column 1"###);
    insta::assert_snapshot!(error("[]"), @r###"the event is a list, not a JSON object"###);
    insta::assert_snapshot!(error("\"text\""), @r###"the event is a text, not a JSON object"###);
    insta::assert_snapshot!(error("{}"), @r###"the event has no `source`: an EventBridge event names who sent it; a tick has `tidegate`"###);
    insta::assert_snapshot!(error(r#"{"source":"aws.sagemaker"}"#), @r###"the event has no `detail-type`: an EventBridge event says what it is about"###);
    insta::assert_snapshot!(error(r#"{"source":["a","b"],"detail-type":"x"}"#), @r###"the event's `source` is a list; it should be a text"###);
    insta::assert_snapshot!(error(r#"{"source":"aws.sagemaker","detail-type":"SageMaker Endpoint State Change","id":"1"}"#), @r###"the event has no `time`: a decision is made at the event's own time"###);
    insta::assert_snapshot!(error(r#"{"source":"aws.sagemaker","detail-type":"SageMaker Endpoint State Change","id":"1","time":"soon"}"#), @r###"the event's `time` is "soon"; it should be a time: ISO 8601, or seconds or milliseconds since 1970"###);
    insta::assert_snapshot!(error(r#"{"source":"aws.sagemaker","detail-type":"SageMaker Endpoint State Change","id":"1","time":1772446530}"#), @r###"the event has no `detail`: it holds what changed"###);
    insta::assert_snapshot!(error(r#"{"source":"aws.sagemaker","detail-type":"SageMaker Endpoint State Change","id":"1","time":1772446530,"detail":[]}"#), @r###"the event's `detail` is a list; it should be an object"###);
    insta::assert_snapshot!(error(r#"{"source":"aws.sagemaker","detail-type":"SageMaker Endpoint State Change","id":"1","time":1772446530,"detail":{}}"#), @r###"the event has no `detail.EndpointName`: it names the endpoint that changed"###);
    insta::assert_snapshot!(error(r#"{"source":"aws.sagemaker","detail-type":"SageMaker Endpoint State Change","id":"1","time":1772446530,"detail":{"EndpointName":"no/name","EndpointStatus":"InService"}}"#), @r###"the event's `detail.EndpointName` is "no/name"; it should be a name of an endpoint: 1 to 63 letters, digits and hyphens, with no hyphen at either end"###);
}

#[test]
fn a_tick_that_lacks_something_says_what() {
    insta::assert_snapshot!(error(r#"{"tidegate":"tock"}"#), @r###"the event's `tidegate` is "tock"; it should be "tick" or "housekeeping""###);
    insta::assert_snapshot!(error(r#"{"tidegate":"tick"}"#), @r###"the event has no `group`: a tick names the pipeline's model package group"###);
    insta::assert_snapshot!(error(r#"{"tidegate":"tick","group":"g","stage":"s"}"#), @r###"the event has no `rollout`: a tick names the rollout that it was made for"###);
    insta::assert_snapshot!(error(r#"{"tidegate":"tick","group":"g","stage":"s","rollout":"r"}"#), @r###"the event has no `scheduled`: a tick has the time that it was scheduled for, put in by EventBridge Scheduler"###);
    insta::assert_snapshot!(error(r#"{"tidegate":"tick","group":"g","stage":"s","rollout":"r","scheduled":"<aws.scheduler.scheduled-time>"}"#), @r###"the event's `scheduled` is "<aws.scheduler.scheduled-time>"; it should be a time: ISO 8601, or seconds or milliseconds since 1970"###);
    insta::assert_snapshot!(error(r#"{"tidegate":"tick","group":"g","stage":"a b","rollout":"r","scheduled":1772446530}"#), @r###"the event's `stage` is "a b"; it should be a name of a stage: 1 to 63 letters, digits and hyphens, with no hyphen at either end"###);
}

#[test]
fn what_a_decision_needs_may_not_be_missing() {
    for (name, key) in [
        ("training-job-failed", "TrainingJobStatus"),
        ("training-job-failed", "TrainingJobName"),
        ("model-package-approved", "ModelApprovalStatus"),
        ("model-package-approved", "ModelPackageArn"),
        ("endpoint-rolling-back", "EndpointStatus"),
        ("processing-job-violations", "ProcessingJobStatus"),
        ("monitoring-schedule-violations", "MonitoringScheduleName"),
        ("alarm-model-errors", "alarmName"),
        ("alarm-model-errors", "state"),
    ] {
        let error = changed(name, |event| {
            event["resources"] = json!([]);
            let detail = event["detail"].as_object_mut().unwrap();
            detail.retain(|each, _| {
                each != key && !(key.ends_with("Name") && each == &key.replace("Name", "Arn"))
            });
        })
        .unwrap_err();
        assert!(
            matches!(&error, EventError::Missing { path, .. } if path == &format!("detail.{key}")),
            "{name} without {key}: {error}"
        );
    }
}

#[test]
fn tags_in_no_known_form_are_an_error_since_they_decide_the_route() {
    for tags in [
        json!("a=b"),
        json!(7),
        json!([1]),
        json!([{"Key": 1}, {"x": 2}]),
        json!({"a": {}}),
    ] {
        let error = changed("training-job-failed", |event| {
            event["detail"]["Tags"] = tags;
        })
        .unwrap_err();
        assert!(
            matches!(error, EventError::Invalid { ref path, .. } if path == "detail.Tags"),
            "{error}"
        );
    }
}

#[test]
fn a_version_is_a_whole_number_from_one() {
    for (version, expected) in [
        (json!(7), Some(7)),
        (json!("7"), Some(7)),
        (json!(7.0), Some(7)),
        (json!(0), None),
        (json!(-1), None),
        (json!(7.5), None),
        (json!("seven"), None),
        (json!(5_000_000_000_u64), None),
    ] {
        let event = changed("model-package-approved", |event| {
            event["detail"]["ModelPackageVersion"] = version.clone();
        });
        let read = event.ok().map(|event| match event.kind {
            Kind::Package { version, .. } => version.0,
            other => panic!("{other:?}"),
        });
        assert_eq!(read, expected, "{version}");
    }
}

#[test]
fn a_quarter_megabyte_of_nesting_is_an_error_and_no_overflow() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 262_144 / (open.len() + close.len());
        for text in [
            open.repeat(depth),
            format!("{}1{}", open.repeat(depth), close.repeat(depth)),
        ] {
            assert!(error(&text).contains("recursion limit"), "{}", error(&text));
        }
        let inside = format!(
            r#"{{"source":"aws.sagemaker","detail-type":"x","id":"1","time":1,"detail":{}1{}}}"#,
            open.repeat(depth),
            close.repeat(depth)
        );
        assert!(error(&inside).contains("recursion limit"));
    }
}

#[test]
fn nesting_that_hides_in_texts_of_json_does_not_overflow_a_small_stack() {
    // serde_json's own Value reads a lone key of this name as a text that is JSON again.
    let key = "$serde_json::private::RawValue";
    let mut text = "1".to_owned();
    loop {
        let nested = format!("{}{text}{}", "[".repeat(120), "]".repeat(120));
        let next = format!("{{\"{key}\":{}}}", Value::from(nested));
        if next.len() > MAX_BYTES {
            break;
        }
        text = next;
    }
    let read = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || parse(text.as_bytes()))
        .unwrap()
        .join()
        .unwrap();
    assert!(matches!(read, Err(EventError::Missing { ref path, .. }) if path == "source"));
}

#[test]
fn what_is_longer_than_any_service_sends_is_refused_before_it_is_read() {
    let long = " ".repeat(MAX_BYTES + 1);
    assert_eq!(
        parse(long.as_bytes()),
        Err(EventError::TooLarge {
            bytes: MAX_BYTES + 1,
            limit: MAX_BYTES
        })
    );
}

#[test]
fn long_reasons_are_cut_and_long_names_refused() {
    let long = "é".repeat(100_000);
    let event = changed("alarm-model-errors", |event| {
        event["detail"]["state"]["reason"] = json!(long);
    });
    let Kind::Alarm { reason, .. } = event.unwrap().kind else {
        panic!("an alarm");
    };
    assert_eq!(reason.chars().count(), 1_001);
    assert!(
        changed("alarm-model-errors", |event| event["detail"]["alarmName"] =
            json!(long))
        .is_err()
    );
    assert!(changed("alarm-model-errors", |event| event["id"] = json!(long)).is_err());
}

/// Any JSON, small.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~é]{0,12}".prop_map(Value::from),
        Just(json!("aws.sagemaker")),
        Just(json!("1583831889050")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Replaces the `nth` value within `value` (counted depth first), or drops it.
fn mutate(value: &mut Value, nth: &mut usize, with: Option<&Value>) {
    if *nth == 0 {
        *value = with.cloned().unwrap_or(Value::Null);
    }
    *nth = nth.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mutate(item, nth, with)),
        Value::Object(map) => map.values_mut().for_each(|item| mutate(item, nth, with)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_json_is_read_without_a_panic(detail in any_json(), which in 0..9_usize) {
        let detail_type = [
            "SageMaker Training Job State Change",
            "SageMaker Model Package State Change",
            "SageMaker Endpoint State Change",
            "SageMaker Processing Job State Change",
            "SageMaker Monitoring Schedule State Change",
            "CloudWatch Alarm State Change",
            "", "x", "tick",
        ][which];
        let source = if which == 5 { "aws.cloudwatch" } else { "aws.sagemaker" };
        let event = json!({"source": source, "detail-type": detail_type, "id": "1", "time": 1, "detail": detail});
        if let Ok(event) = parse(event.to_string().as_bytes()) {
            prop_assert!(!describe(&event).is_empty());
        }
        let _ = parse(event["detail"].to_string().as_bytes());
    }

    #[test]
    fn a_fixture_with_any_value_changed_is_read_without_a_panic(
        pick in any::<prop::sample::Index>(),
        nth in 0..60_usize,
        with in prop::option::of(any_json()),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = fixtures();
        let (_, text) = &all[pick.index(all.len())];
        let mut value: Value = serde_json::from_str(text).unwrap();
        mutate(&mut value, &mut { nth }, with.as_ref());
        if let Ok(event) = parse(value.to_string().as_bytes()) {
            prop_assert!(!describe(&event).is_empty());
        }
        let bytes = text.as_bytes();
        prop_assert!(parse(&bytes[..cut.index(bytes.len() - 2)]).is_err());
    }

    #[test]
    fn a_status_folds_in_case_and_underscores(
        status in prop::sample::select(vec!["InProgress", "Completed", "Failed", "Stopping", "Stopped"]),
        upper in prop::collection::vec(any::<bool>(), 12),
        gaps in prop::collection::vec(prop::sample::select(vec!["", "_", "-", " "]), 12),
    ) {
        let spelled: String = status
            .chars()
            .zip(upper.iter().zip(gaps))
            .map(|(c, (upper, gap))| {
                let c = if *upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
                format!("{c}{gap}")
            })
            .collect();
        let read = |spelling: &str| changed("training-job-failed", |event| {
            event["detail"]["TrainingJobStatus"] = json!(spelling);
        });
        prop_assert_eq!(read(&spelled), read(status));
    }
}
