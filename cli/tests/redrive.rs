//! The built `tidegate redrive` on moto's SQS: what it lists, leaves and refuses. That Lambda takes
//! what is sent again is shown in the local world (`tests/end-to-end/tests/events/deadletters.rs`).
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "each test binary uses its part")]
mod moto;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use serde_json::{Value, json};

use moto::Moto;

const FUNCTIONS: [&str; 5] = [
    "training-complete",
    "package-approved",
    "canary-shift",
    "monitor-violation",
    "housekeeping",
];

/// Nobody can be asked: standard input is no terminal.
fn redrive(moto: &Moto, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("redrive")
        .args(args)
        .stdin(Stdio::null())
        .env_clear()
        .envs(moto.environment())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn client(moto: &Moto) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("testing", "testing", None, None, "test"))
        .endpoint_url(&moto.environment()["AWS_ENDPOINT_URL"])
        .build();
    Client::from_conf(config)
}

/// The letters that are listed, and the whole answer.
fn listed(moto: &Moto, args: &[&str]) -> (Vec<Value>, Value) {
    let output = redrive(moto, &[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    (answer["letters"].as_array().unwrap().clone(), answer)
}

async fn queues(moto: &Moto, stack: &str) -> Client {
    let client = client(moto);
    for function in FUNCTIONS {
        let name = format!("{stack}-dlq-{function}");
        client.create_queue().queue_name(name).send().await.unwrap();
    }
    client
}

/// Puts a training job's event among the dead letters so many times, as Lambda does.
async fn give_up(client: &Client, stack: &str, n: u32, copies: u32) {
    let event = json!({
        "version": "0", "id": format!("00000000-0000-4000-8000-{n:012}"), "account": "123456789012",
        "source": "aws.sagemaker", "detail-type": "SageMaker Training Job State Change",
        "time": "2026-03-02T10:15:30Z", "region": "us-east-1", "resources": [],
        "detail": {
            "TrainingJobName": format!("job-{n}"), "TrainingJobStatus": "Completed",
            "TrainingJobArn": format!("arn:aws:sagemaker:us-east-1:123456789012:training-job/job-{n}"),
        },
    });
    let record = json!({
        "version": "1.0", "timestamp": "2026-03-02T10:20:30.123Z",
        "requestContext": { "condition": "RetriesExhausted", "approximateInvokeCount": 3 },
        "requestPayload": event,
        "responsePayload": { "errorType": "Tidegate.Fact", "errorMessage": "no answer" },
    });
    let url = client
        .get_queue_url()
        .queue_name(format!("{stack}-dlq-training-complete"));
    let url = url.send().await.unwrap().queue_url.unwrap();
    for _ in 0..copies {
        let send = client
            .send_message()
            .queue_url(&url)
            .message_body(record.to_string());
        send.send().await.unwrap();
    }
}

#[tokio::test]
async fn looking_takes_no_letter_away_and_what_lambda_refuses_stays() {
    let moto = Moto::start().await;
    let client = queues(&moto, "tidegate").await;
    let (none, _) = listed(&moto, &[]);
    assert!(none.is_empty(), "{none:?}");
    assert_eq!(
        redrive(&moto, &["replay", "--all", "--yes"]).status.code(),
        Some(0),
        "none is fine"
    );

    for n in 0..12 {
        give_up(&client, "tidegate", n, 2).await;
    }
    let (letters, answer) = listed(&moto, &["list"]);
    assert_eq!(
        (letters.len(), &answer["more"]),
        (12, &json!(false)),
        "three pages of SQS"
    );
    assert!(letters.iter().all(|letter| letter["copies"] == 2));
    assert_eq!(listed(&moto, &[]).0, letters, "looking changed something");
    assert!(listed(&moto, &["--function", "canary-shift"]).0.is_empty());
    let (some, answer) = listed(&moto, &["--limit", "5"]);
    let copies: u64 = some
        .iter()
        .filter_map(|letter| letter["copies"].as_u64())
        .sum();
    assert_eq!((copies, &answer["more"]), (5, &json!(true)));

    let id = letters[0]["id"].as_str().unwrap();
    let shown = redrive(&moto, &["show", &id[..6], "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        shown["payload"]["id"], letters[0]["event_id"],
        "by the start of its ID"
    );
    let event = letters[0]["event_id"].as_str().unwrap();
    assert_eq!(
        redrive(&moto, &["show", event]).status.code(),
        Some(0),
        "by the event's id"
    );

    // moto has no such function.
    let refused = redrive(&moto, &["replay", id, "--yes"]);
    let why = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{why}");
    assert!(
        why.contains("was not sent") && why.contains("tidegate-training-complete"),
        "{why}"
    );
    for args in [&["replay", "--all"][..], &["drop", id]] {
        let unasked = redrive(&moto, args);
        assert_eq!(unasked.status.code(), Some(2), "{}", text(&unasked.stderr));
        assert!(
            text(&unasked.stderr).contains("--yes"),
            "{}",
            text(&unasked.stderr)
        );
    }
    let unknown = redrive(&moto, &["replay", id, "ffffffffff", "--yes"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", text(&unknown.stderr));
    assert_eq!(
        listed(&moto, &[]).0,
        letters,
        "none of these may change anything"
    );

    let dropped = redrive(&moto, &["drop", id, "--yes"]);
    assert_eq!(dropped.status.code(), Some(0), "{}", text(&dropped.stderr));
    assert!(
        text(&dropped.stdout).contains(event),
        "its last copy is printed"
    );
    assert_eq!(
        listed(&moto, &[]).0,
        letters[1..],
        "both copies of one letter went"
    );
}

#[tokio::test]
async fn a_stack_that_is_not_there_is_named() {
    let moto = Moto::start().await;
    queues(&moto, "other").await;
    let output = redrive(&moto, &[]);
    let why = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{why}");
    for words in [
        "no stack tidegate",
        "tidegate-dlq-",
        "us-east-1",
        "--stack",
        "AWS_REGION",
    ] {
        assert!(why.contains(words), "{words} is not in {why}");
    }
    let (letters, answer) = listed(&moto, &["--stack", "other"]);
    assert!(letters.is_empty() && answer["stack"] == "other", "{answer}");
    let gone = redrive(&Moto::gone(), &[]);
    assert_eq!(gone.status.code(), Some(3), "{}", text(&gone.stderr));
}

#[test]
fn help_teaches_and_the_documentation_names_every_command_and_option() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let doc = std::fs::read_to_string(path).unwrap();
    let (_, doc) = doc.split_once("## tidegate redrive\n").unwrap();
    let mut all = String::new();
    for args in [&[][..], &["list"], &["show"], &["replay"], &["drop"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("redrive")
            .args(args)
            .arg("--help")
            .env_clear()
            .output()
            .unwrap();
        let help = text(&output.stdout);
        for option in [
            "--stack",
            "--function",
            "--limit",
            "--all",
            "--yes",
            "--force",
        ] {
            assert!(
                !help.contains(option) || doc.contains(option),
                "docs/cli.md lacks {option}"
            );
        }
        for command in args {
            assert!(
                doc.contains(&format!("redrive {command}"))
                    || doc.contains(&format!("[{command}]"))
            );
        }
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
        all.push_str(&help);
        all.push('\n');
    }
    insta::assert_snapshot!(all);
}
