//! Notices, announcements, ticks and objects against moto.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use serde_json::Value;
use tidegate_aws::{AwsWorld, Clients};
use tidegate_core::name::{GroupName, PipelineName, RolloutId, StageName};
use tidegate_core::notice::{Notice, Severity};
use tidegate_core::world::{Answer, Effect, Outcome, Question, World, WorldErrorKind};

struct Fixture {
    world: AwsWorld,
    clients: Clients,
    sqs: aws_sdk_sqs::Client,
    topic: String,
    queue: String,
    _moto: support::Server,
}

async fn fixture() -> Fixture {
    let moto = support::moto();
    let clients = support::clients(&moto);
    let sqs = aws_sdk_sqs::Client::new(&support::config(&moto.url));
    let topic = clients
        .sns
        .create_topic()
        .name("notices")
        .send()
        .await
        .unwrap();
    let topic = topic.topic_arn.unwrap();
    let queue = sqs
        .create_queue()
        .queue_name("seen")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    // As the stack does; moto fails where Scheduler says that there is no such group.
    clients
        .scheduler
        .create_schedule_group()
        .name("tidegate")
        .send()
        .await
        .unwrap();
    let world = AwsWorld::new(clients.clone(), support::settings(&topic));
    Fixture {
        world,
        clients,
        sqs,
        topic,
        queue,
        _moto: moto,
    }
}

impl Fixture {
    async fn received(&self) -> Vec<Value> {
        let answer = self
            .sqs
            .receive_message()
            .queue_url(&self.queue)
            .max_number_of_messages(10)
            .send()
            .await
            .unwrap();
        let messages = answer.messages.unwrap_or_default();
        messages
            .iter()
            .map(|m| serde_json::from_str(m.body().unwrap()).unwrap())
            .collect()
    }
}

fn notice() -> Notice {
    Notice {
        id: "fraud-detection/7".to_owned(),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        severity: Severity::Warning,
        what: "rolled-back".to_owned(),
        headline: "fraud v3 was rolled back".to_owned(),
        lines: vec!["It failed on 4 % of requests.".to_owned()],
        pipeline: PipelineName::parse("fraud").unwrap(),
        group: GroupName::parse("fraud-detection").unwrap(),
        version: None,
        endpoint: None,
        rollout: None,
    }
}

fn ticks(rollout: &str) -> Effect {
    Effect::StartTicks {
        group: GroupName::parse("fraud-detection").unwrap(),
        stage: StageName::parse("production").unwrap(),
        rollout: RolloutId(rollout.to_owned()),
    }
}

#[tokio::test]
async fn a_notice_reaches_the_topic_with_its_attributes() {
    let fixture = fixture().await;
    fixture
        .clients
        .sns
        .subscribe()
        .topic_arn(&fixture.topic)
        .protocol("sqs")
        .endpoint("arn:aws:sqs:us-east-1:123456789012:seen")
        .send()
        .await
        .unwrap();
    let tell = Effect::Tell {
        topic: None,
        notice: Box::new(notice()),
    };
    assert_eq!(fixture.world.perform(&tell).await.unwrap(), Outcome::Done);
    let received = fixture.received().await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["Subject"], "fraud v3 was rolled back");
    let attribute = |name: &str| received[0]["MessageAttributes"][name]["Value"].clone();
    assert_eq!(attribute("severity"), "warning");
    assert_eq!(attribute("what"), "rolled-back");
    assert_eq!(attribute("pipeline"), "fraud");
    assert_eq!(attribute("notice_id"), "fraud-detection/7");
    let message: Notice = serde_json::from_str(received[0]["Message"].as_str().unwrap()).unwrap();
    assert_eq!(message, notice());
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_gone() {
    let fixture = fixture().await;
    let topic = Some("arn:aws:sns:us-east-1:123456789012:nowhere".to_owned());
    let tell = Effect::Tell {
        topic,
        notice: Box::new(notice()),
    };
    let error = fixture.world.perform(&tell).await.unwrap_err();
    assert_eq!(
        (error.kind, error.call.as_str()),
        (WorldErrorKind::Gone, "Publish"),
        "{error}"
    );
}

#[tokio::test]
async fn a_notice_is_announced_to_other_software() {
    let fixture = fixture().await;
    let events = &fixture.clients.events;
    let pattern = r#"{"source":["tidegate"],"detail-type":["Tidegate Notice"]}"#;
    events
        .put_rule()
        .name("r")
        .event_pattern(pattern)
        .send()
        .await
        .unwrap();
    let target = aws_sdk_eventbridge::types::Target::builder()
        .id("1")
        .arn("arn:aws:sqs:us-east-1:123456789012:seen")
        .build()
        .unwrap();
    events
        .put_targets()
        .rule("r")
        .targets(target)
        .send()
        .await
        .unwrap();
    let announce = Effect::Announce {
        notice: Box::new(notice()),
    };
    assert_eq!(
        fixture.world.perform(&announce).await.unwrap(),
        Outcome::Done
    );
    let received = fixture.received().await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["detail"]["what"], "rolled-back");
    assert_eq!(received[0]["time"], "2026-01-01T00:00:00Z");
}

#[tokio::test]
async fn ticks_are_started_once_and_stopped_once() {
    let fixture = fixture().await;
    // Started twice is started.
    for _ in 0..2 {
        let done = fixture
            .world
            .perform(&ticks("production-v2-0123456789"))
            .await;
        assert_eq!(done.unwrap(), Outcome::Done);
    }
    let schedule = fixture
        .clients
        .scheduler
        .get_schedule()
        .group_name("tidegate")
        .name("tidegate-production-v2-0123456789")
        .send()
        .await
        .unwrap();
    assert_eq!(schedule.schedule_expression(), Some("rate(1 minute)"));
    let target = schedule.target().unwrap();
    assert!(target.arn().ends_with(":function:canary-shift"));
    let retry = target.retry_policy().unwrap();
    assert_eq!(retry.maximum_retry_attempts(), Some(0));
    assert_eq!(retry.maximum_event_age_in_seconds(), Some(60));
    let input: Value = serde_json::from_str(target.input().unwrap()).unwrap();
    assert_eq!(input["tidegate"], "tick");
    assert_eq!(input["scheduled"], "<aws.scheduler.scheduled-time>");

    let stop = Effect::StopTicks {
        rollout: RolloutId("production-v2-0123456789".to_owned()),
    };
    for _ in 0..2 {
        assert_eq!(fixture.world.perform(&stop).await.unwrap(), Outcome::Done);
    }
}

#[tokio::test]
async fn a_schedule_that_does_something_else_is_left_alone() {
    let fixture = fixture().await;
    let rollout = "production-v2-0123456789";
    fixture.world.perform(&ticks(rollout)).await.unwrap();
    let mut other = support::settings(&fixture.topic);
    other.shift_function = "arn:aws:lambda:us-east-1:123456789012:function:other".to_owned();
    let other = AwsWorld::new(fixture.clients.clone(), other);
    let error = other.perform(&ticks(rollout)).await.unwrap_err();
    assert_eq!(error.kind, WorldErrorKind::Refused, "{error}");
}

#[tokio::test]
async fn objects_are_small_texts() {
    let fixture = fixture().await;
    let s3 = &fixture.clients.s3;
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    let objects: HashMap<&str, Vec<u8>> = HashMap::from([
        ("text.json", b"{\"auc\": 0.9}".to_vec()),
        ("binary", vec![0xff, 0xfe]),
        ("large", vec![b'x'; 1024 * 1024 + 1]),
    ]);
    for (key, body) in objects {
        s3.put_object()
            .bucket("bucket")
            .key(key)
            .body(body.into())
            .send()
            .await
            .unwrap();
    }
    let ask = async |uri: &str| {
        fixture
            .world
            .ask(&Question::Object {
                uri: uri.to_owned(),
            })
            .await
    };
    assert_eq!(
        ask("s3://bucket/text.json").await.unwrap(),
        Answer::Object("{\"auc\": 0.9}".to_owned())
    );
    assert_eq!(ask("s3://bucket/absent").await.unwrap(), Answer::Missing);
    assert_eq!(ask("s3://absent/x").await.unwrap(), Answer::Missing);
    for uri in [
        "s3://bucket/binary",
        "s3://bucket/large",
        "https://b/text.json",
    ] {
        let error = ask(uri).await.unwrap_err();
        assert_eq!(error.kind, WorldErrorKind::Refused, "{uri}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let clients = Clients::new(&support::config("http://127.0.0.1:1"), true);
    let world = AwsWorld::new(clients, support::settings("arn"));
    let asked = world
        .ask(&Question::Object {
            uri: "s3://bucket/k".to_owned(),
        })
        .await;
    assert_eq!(asked.unwrap_err().kind, WorldErrorKind::Unavailable);
}
