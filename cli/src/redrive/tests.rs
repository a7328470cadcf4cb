#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::Function;
use super::letter::{By, Letter, Message, sorted};
use super::shown::{Shown, paragraph, whole};
use crate::render::Screen;

/// Spaces and the order of keys are the sender's, and stay.
const TRAINING: &str = r#"{"version":"0", "id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718",  "detail-type":"SageMaker Training Job State Change","source":"aws.sagemaker","account":"123456789012","time":"2026-11-28T10:00:00Z","region":"us-east-1","resources":[],"detail":{"TrainingJobName":"churn-7","TrainingJobArn":"arn:aws:sagemaker:us-east-1:123456789012:training-job/churn-7","TrainingJobStatus":"Completed","Tags":{"tidegate:pipeline":"churn"}}}"#;
const TICK: &str = r#"{"tidegate":"tick","group":"churn","stage":"production","rollout":"production-v12-0123456789","scheduled":"2026-11-28T10:01:00Z"}"#;

fn screen() -> Screen {
    Screen {
        width: 100,
        color: false,
        now: "2026-11-28T11:00:00Z".parse().unwrap(),
    }
}

/// A record of Lambda's, in the form of the example on the page that `letter.rs` names.
fn record(payload: &str, minute: u8, response: &Value) -> Message {
    let body = format!(
        r#"{{
    "version": "1.0",
    "timestamp": "2026-11-28T10:{minute:02}:05.568Z",
    "requestContext": {{
        "requestId": "e4b46cbf-b738-4c1f-8880-a18cdf61200e",
        "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:tidegate-x:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3
    }},
    "requestPayload": {payload},
    "responseContext": {{
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled"
    }},
    "responsePayload": {response}
}}"#
    );
    Message {
        body,
        receipt: format!("receipt-{minute}"),
        ..Message::default()
    }
}

fn denied() -> Value {
    json!({
        "errorType": "Tidegate.Fact",
        "errorMessage": "DescribeTrainingJob: AccessDenied: not authorized to perform: sagemaker:DescribeTrainingJob",
    })
}

/// A bare event with the attributes of EventBridge's letters.
fn undelivered(payload: &str, attributes: &[(&str, &str)]) -> Message {
    let attributes = attributes
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Message {
        body: payload.to_owned(),
        attributes: attributes.collect(),
        sent: Some("2026-11-28T10:30:00Z".parse().unwrap()),
        receipt: "receipt".to_owned(),
    }
}

fn letters() -> Vec<Letter> {
    let poison = record(
        "[1, 2]",
        2,
        &json!({"errorType": "Tidegate.Event", "errorMessage": "the event is a list, not a JSON object"}),
    );
    let rule = undelivered(
        TRAINING,
        &[
            (
                "RULE_ARN",
                "arn:aws:events:us-east-1:123456789012:rule/tidegate-training-job-ended",
            ),
            (
                "TARGET_ARN",
                "arn:aws:lambda:us-east-1:123456789012:function:tidegate-training-complete",
            ),
            ("ERROR_CODE", "NO_PERMISSIONS"),
            ("ERROR_MESSAGE", "The rule may not invoke the function."),
            ("RETRY_ATTEMPTS", "0"),
        ],
    );
    sorted(vec![
        Letter::read(
            Function::CanaryShift,
            record(
                TICK,
                9,
                &json!({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 55.00 seconds"}),
            ),
        ),
        Letter::read(Function::MonitorViolation, rule),
        Letter::read(Function::TrainingComplete, record(TRAINING, 4, &denied())),
        Letter::read(Function::PackageApproved, poison),
        Letter::read(Function::TrainingComplete, record(TRAINING, 3, &denied())),
    ])
}

#[test]
fn a_list_of_letters_reads_well() {
    let text: Vec<String> = letters()
        .iter()
        .map(|l| paragraph(l, "tidegate", &screen()))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_letter_is_told_to_programs() {
    let all = letters();
    let json: Vec<Value> = all
        .iter()
        .map(|l| serde_json::to_value(Shown::of(l, "tidegate")).unwrap())
        .collect();
    insta::assert_json_snapshot!(json);
}

#[test]
fn what_is_sent_again_is_what_came_byte_for_byte() {
    for (function, message) in [
        (Function::TrainingComplete, record(TRAINING, 1, &denied())),
        (Function::TrainingComplete, undelivered(TRAINING, &[])),
    ] {
        assert_eq!(Letter::read(function, message).payload, TRAINING);
    }
    // A text stays a text, with its quotes; what is no JSON stays as it is.
    assert_eq!(
        Letter::read(
            Function::Housekeeping,
            record(r#""a\u00e4""#, 1, &json!(null))
        )
        .payload,
        r#""a\u00e4""#
    );
    assert_eq!(
        Letter::read(Function::Housekeeping, undelivered("{ no", &[])).payload,
        "{ no"
    );
}

#[test]
fn copies_of_one_event_are_one_letter_however_they_came() {
    let all = letters();
    assert_eq!(all.len(), 4);
    let twice = all
        .iter()
        .find(|l| l.function == Function::TrainingComplete)
        .unwrap();
    assert_eq!(twice.receipts, ["receipt-3", "receipt-4"]);
    assert_eq!(
        twice.given_up,
        Some("2026-11-28T10:04:05.568Z".parse().unwrap())
    );

    let both = sorted(vec![
        Letter::read(Function::TrainingComplete, undelivered(TRAINING, &[])),
        Letter::read(Function::TrainingComplete, record(TRAINING, 4, &denied())),
    ]);
    assert_eq!(both.len(), 1, "Lambda's and EventBridge's");
    let poison = sorted(vec![
        Letter::read(Function::TrainingComplete, undelivered("[1,2]", &[])),
        Letter::read(Function::TrainingComplete, record("[1,  2]", 4, &denied())),
    ]);
    assert_eq!(poison.len(), 1, "spaces are no difference");
    let apart = sorted(vec![
        Letter::read(Function::TrainingComplete, undelivered("[1]", &[])),
        Letter::read(Function::PackageApproved, undelivered("[1]", &[])),
        Letter::read(Function::PackageApproved, undelivered("[2]", &[])),
    ]);
    assert_eq!(
        apart.len(),
        3,
        "other functions and other events are others"
    );
}

#[test]
fn a_reason_is_found_wherever_it_is() {
    let reason = |message| Letter::read(Function::Housekeeping, message).reason;
    assert_eq!(reason(record(TICK, 1, &json!("plain"))), "\"plain\"");
    assert_eq!(
        reason(record(TICK, 1, &json!(null))),
        "Lambda gives no reason"
    );
    let mut old = record(TICK, 1, &json!(null));
    old.body = old.body.replace("RetriesExhausted", "EventAgeExceeded");
    assert!(reason(old).contains("longer than Lambda keeps"));
    let code = undelivered(TICK, &[("ERROR_CODE", "SDK_CLIENT_ERROR")]);
    assert!(reason(code).contains("SDK_CLIENT_ERROR"));
    assert_eq!(reason(undelivered(TICK, &[])), "the letter gives no reason");
}

#[test]
fn an_event_that_was_cut_off_is_not_sent_again() {
    let cut = undelivered(
        TRAINING,
        &[("IS_PAYLOAD_TRUNCATED", "true"), ("RETRY_ATTEMPTS", "2")],
    );
    let letter = Letter::read(Function::TrainingComplete, cut);
    assert!(letter.is_poison());
    assert_eq!((letter.by, letter.tries), (By::EventBridge, Some(3)));
    assert!(
        letter.advice("tidegate")[0].contains("cut")
            || letter.advice("tidegate")[0].contains("what is left")
    );
}

#[test]
fn nothing_in_a_letter_steers_the_terminal() {
    let evil = format!("{{\"a\": \"\u{1b}[2J\u{9b}\", {}}}", r#""b": 1"#);
    let response = json!({"errorMessage": "\u{1b}]0;x\u{7}", "errorType": "\u{1b}[1m"});
    let letter = Letter::read(
        Function::Housekeeping,
        record(&evil.replace('\u{1b}', "\\u001b"), 1, &response),
    );
    let raw = Letter::read(
        Function::Housekeeping,
        undelivered(&evil, &[("ERROR_MESSAGE", "\u{1b}[2J")]),
    );
    for letter in [letter, raw] {
        let text =
            whole(&letter, "tidegate", &screen()) + &paragraph(&letter, "tidegate", &screen());
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
}

#[test]
fn any_message_can_be_listed() {
    let deep = "[".repeat(50_000) + &"]".repeat(50_000);
    for body in [
        "",
        "null",
        "{}",
        "\u{0}",
        &deep,
        r#"{"requestContext": 1, "requestPayload": 2}"#,
    ] {
        let message = Message {
            body: body.to_owned(),
            attributes: BTreeMap::new(),
            ..Message::default()
        };
        let letter = Letter::read(Function::Housekeeping, message);
        assert!(letter.is_poison());
        assert!(paragraph(&letter, "tidegate", &screen()).contains("can't be read"));
    }
    let inside = Letter::read(Function::Housekeeping, record(&deep, 1, &denied()));
    assert_eq!(inside.payload, deep);
}
