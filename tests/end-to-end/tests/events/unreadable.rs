//! What can't be read ends in the dead-letter queue with the reason and does no harm to the next
//! event; what belongs to no pipeline leaves no trace; `tidegate explain` foretells both.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidegate_end_to_end::lambda::FUNCTIONS;
use tidegate_end_to_end::pump::{Tally, reason};
use tidegate_end_to_end::queues;
use tidegate_end_to_end::world::World;

use crate::common::{Approval, Book, champion, endpoint, package, policy_that_creates, tell};
use crate::senders::{invoke, items, put, sent};

const GROUP: &str = "orders";

#[tokio::test]
async fn what_cant_be_read_is_kept_and_what_is_not_ours_is_dropped() {
    tell(async |book| {
        // Approved before there is a pipeline of its group, so nobody acts on it yet.
        package(&book.world, GROUP, &json!({}), Approval::Given).await?;
        book.world.pass_minutes(3).await?;
        book.world.apply(GROUP, &policy_that_creates(GROUP)).await?;

        events_of_others_leave_no_trace(book).await?;
        what_cant_be_read_is_kept_with_the_reason(book).await?;
        every_event_of_sagemaker_is_explained(&book.world).await?;
        a_good_event_is_foretold_and_then_takes_effect(book).await?;
        book.close(&[GROUP]).await
    })
    .await;
}

/// Accounts are shared: most events belong to no pipeline.
async fn events_of_others_leave_no_trace(book: &mut Book) -> Result<()> {
    let before = items(&book.world).await?;
    let failures = book.world.pump.failures();
    let invoked = total(&book.world, |tally| tally.invocations);
    send_events_of_others(&book.world).await?;

    // Three come by rules, one goes into each function's queue, and each of them is delivered twice.
    let expected = 2 * (3 + FUNCTIONS.len() as u64);
    let new = |world: &World| total(world, |tally| tally.invocations) - invoked;
    book.until("the functions have had them all", 6, async |world| {
        Ok((new(world) >= expected).then_some(()))
    })
    .await?;
    let world = &book.world;
    let invocations = new(world);
    ensure!(
        invocations == expected,
        "{invocations} invocations instead of {expected}: something was tried again"
    );
    ensure!(
        world.pump.failures() == failures,
        "an event of others is no failure: {:?}",
        world.pump.failures()
    );
    let after = items(world).await?;
    ensure!(
        after == before,
        "the ledger has {after} items now, and had {before}: an event of others left a trace"
    );
    book.listen().await?;
    ensure!(
        book.told.is_empty(),
        "people were told of others' events: {:?}",
        book.told
    );
    Ok(())
}

/// A count of all functions together.
fn total(world: &World, pick: fn(&Tally) -> u64) -> u64 {
    world.pump.tallies().values().map(pick).sum()
}

/// Jobs of an unknown pipeline and of a foreign account, an endpoint that is no stage, a model card.
async fn send_events_of_others(world: &World) -> Result<()> {
    let seen = endpoint("somebody-else");
    let training = "SageMaker Training Job State Change";
    for (arn, tags) in [
        (
            "arn:aws:sagemaker:us-east-1:123456789012:training-job/theirs",
            json!({ "tidegate:pipeline": "typo" }),
        ),
        (
            "arn:aws:sagemaker:us-east-1:999999999999:training-job/foreign",
            json!({}),
        ),
    ] {
        let (_, name) = arn.rsplit_once('/').context("an ARN ends in a name")?;
        let detail = json!({
            "TrainingJobName": name, "TrainingJobArn": arn, "TrainingJobStatus": "Completed",
            "SecondaryStatus": "Completed", "Tags": tags,
        });
        put(world, "aws.sagemaker", training, arn, &detail).await?;
    }
    let arn = format!("arn:aws:sagemaker:us-east-1:123456789012:endpoint/{seen}");
    let detail = json!({
        "EndpointName": seen, "EndpointArn": arn, "EndpointStatus": "IN_SERVICE",
        "CreationTime": 1_583_831_889_050_u64, "LastModifiedTime": 1_583_831_889_050_u64,
    });
    put(
        world,
        "aws.sagemaker",
        "SageMaker Endpoint State Change",
        &arn,
        &detail,
    )
    .await?;
    // No rule has model cards; a function that gets one nevertheless lets it be.
    let card = fixture("model-card-state-change.json")?;
    for function in FUNCTIONS {
        invoke(world, function, &card).await?;
    }
    Ok(())
}

/// A function's name, what is put into its queue, and what the reason has to say.
type Unreadable = (&'static str, String, &'static str);

fn unreadable() -> Vec<Unreadable> {
    let tick = json!({
        "tidegate": "tick", "group": GROUP, "stage": "production",
        "scheduled": "2026-03-02T10:15:00Z",
    });
    let nameless = json!({
        "version": "0", "id": "5f1c0e7a-0000-4000-8000-000000000901", "account": "123456789012",
        "source": "aws.sagemaker", "detail-type": "SageMaker Training Job State Change",
        "time": "2026-03-02T10:15:30Z", "region": "us-east-1", "resources": [],
        "detail": { "TrainingJobStatus": "Completed", "Tags": { "tidegate:pipeline": GROUP } },
    });
    let mut typeless = nameless.clone();
    typeless
        .as_object_mut()
        .map(|event| event.remove("detail-type"));
    typeless["detail"] = json!({ "ModelPackageGroupName": GROUP });
    let depth = 128 * 1024;
    vec![
        // Lambda's runtime says this one, before our code has it.
        (
            "training-complete",
            "{ this is not JSON".to_owned(),
            "failed to deserialize",
        ),
        ("package-approved", "[1, 2, 3]".to_owned(), "object"),
        ("package-approved", typeless.to_string(), "detail-type"),
        ("canary-shift", tick.to_string(), "rollout"),
        ("training-complete", nameless.to_string(), "TrainingJobName"),
        (
            "monitor-violation",
            "[".repeat(depth) + &"]".repeat(depth),
            "JSON",
        ),
        (
            "monitor-violation",
            format!(
                r#"{{"detail":{}1{}}}"#,
                r#"{"a":"#.repeat(40_000),
                "}".repeat(40_000)
            ),
            "JSON",
        ),
    ]
}

/// Each is tried three times and then kept as it came; nothing of it is lost.
async fn what_cant_be_read_is_kept_with_the_reason(book: &mut Book) -> Result<()> {
    let before = items(&book.world).await?;
    let all = unreadable();
    for (function, text, _) in &all {
        invoke(&book.world, function, text).await?;
    }
    // Every event is delivered twice here. The second attempt of each delivery comes after one
    // minute, the third after two more.
    let expected = 2 * u64::try_from(all.len())?;
    book.until("all of them are given up", 12, async |world| {
        Ok((total(world, |tally| tally.dead) >= expected).then_some(()))
    })
    .await?;
    let world = &book.world;

    for function in FUNCTIONS {
        let dead = queues::take_dead_letters(&world.clients, &world.moto.url, function).await?;
        let own: Vec<&Unreadable> = all.iter().filter(|one| one.0 == function).collect();
        ensure!(
            dead.len() == 2 * own.len(),
            "{function} should have given up {} deliveries, and gave up {}",
            2 * own.len(),
            dead.len()
        );
        for (_, text, word) in own {
            let payload: Value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            let records: Vec<&Value> = dead
                .iter()
                .filter(|record| record["requestPayload"] == payload)
                .collect();
            let begin: String = text.chars().take(60).collect();
            ensure!(
                records.len() == 2,
                "{function} kept {} of 2 deliveries of {begin}",
                records.len()
            );
            for record in records {
                let why = reason(&record["responsePayload"]);
                ensure!(
                    why.contains(word),
                    "the reason of {begin} does not speak of {word}: {why}"
                );
                ensure!(
                    record["requestContext"]["approximateInvokeCount"] == 3,
                    "{begin} was not tried three times: {}",
                    record["requestContext"]
                );
            }
        }
    }
    let after = items(world).await?;
    ensure!(
        after == before,
        "the ledger has {after} items now, and had {before}: half an event took effect"
    );
    Ok(())
}

/// One of each kind that SageMaker sent so far.
async fn every_event_of_sagemaker_is_explained(world: &World) -> Result<()> {
    let mut kinds = BTreeSet::new();
    for event in sent(world).await? {
        if kinds.insert(event["detail-type"].to_string()) {
            let (code, text) = explain(world, &event).await?;
            ensure!(code == 0, "explaining {event} ended with {code}:\n{text}");
            ensure!(
                text.contains("Tidegate would"),
                "it is not said what would be done:\n{text}"
            );
        }
    }
    ensure!(!kinds.is_empty(), "SageMaker sent events");
    Ok(())
}

async fn a_good_event_is_foretold_and_then_takes_effect(book: &mut Book) -> Result<()> {
    let sent = sent(&book.world).await?;
    let is_ours = |event: &&Value| event["detail"]["ModelPackageGroupName"] == GROUP;
    let event = sent
        .iter()
        .find(is_ours)
        .context("SageMaker sent the event of the package")?;

    let (code, text) = explain(&book.world, event).await?;
    ensure!(code == 0, "explain ended with {code}:\n{text}");
    for words in ["v1 is Approved", "start the rollout of v1", GROUP] {
        ensure!(
            text.contains(words),
            "explain does not say {words}:\n{text}"
        );
    }
    ensure!(
        champion(&book.world, GROUP).await?.is_none(),
        "explain has done something"
    );

    invoke(&book.world, "package-approved", &event.to_string()).await?;
    book.ended(GROUP, 1, 20).await?;
    ensure!(
        champion(&book.world, GROUP).await? == Some(1),
        "the functions do not work after what they could not read"
    );

    let (code, text) = explain(&book.world, event).await?;
    ensure!(
        code == 0 && text.contains("took effect before"),
        "explain ended with {code} on an event that took effect:\n{text}"
    );
    Ok(())
}

async fn explain(world: &World, event: &Value) -> Result<(i32, String)> {
    let file = world.run.path().join("event.json");
    std::fs::write(&file, event.to_string())?;
    let path = file.to_string_lossy().into_owned();
    let (code, text) = world.tidegate(&["explain", &path]).await?;
    // Long lines are broken to fit a screen.
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok((code, words.join(" ")))
}

fn fixture(name: &str) -> Result<String> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/core/fixtures/events/"
    );
    std::fs::read_to_string(format!("{path}{name}")).with_context(|| format!("fixture {name}"))
}
