//! Who sends events here: EventBridge at the emulator's time, or whoever puts something straight
//! into a function's queue; and what is looked at afterwards.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::{Value, json};
use tidegate_core::audit::{Entry, Read, What};
use tidegate_end_to_end::world::{TABLE, World};
use tidegate_end_to_end::{ACCOUNT, REGION, queues};

/// Puts a text into a function's queue, as if an asynchronous invocation had brought it.
pub(crate) async fn invoke(world: &World, function: &str, text: &str) -> Result<()> {
    let send = world.clients.sqs.send_message();
    send.queue_url(queues::url(&world.moto.url, &queues::of(function)))
        .message_body(text)
        .send()
        .await
        .with_context(|| format!("the queue of {function} takes no message"))?;
    Ok(())
}

/// Sends an event to the default event bus at the emulator's time.
pub(crate) async fn put(
    world: &World,
    source: &str,
    detail_type: &str,
    resource: &str,
    detail: &Value,
) -> Result<()> {
    let now = world.admin().now().await?;
    let entry = PutEventsRequestEntry::builder()
        .source(source)
        .detail_type(detail_type)
        .resources(resource)
        .time(DateTime::from_millis(now.as_millisecond()))
        .detail(detail.to_string())
        .build();
    let put = world.clients.events.put_events();
    let put = put.entries(entry).send().await?;
    ensure!(
        put.failed_entry_count() == 0,
        "the event was refused: {:?}",
        put.entries()
    );
    Ok(())
}

/// The latest events that SageMaker sent, as EventBridge delivers them; the ids are made up here.
pub(crate) async fn sent(world: &World) -> Result<Vec<Value>> {
    let url = format!("{}/_local/events", world.emulator.url);
    let text = reqwest::get(url).await?.error_for_status()?.text().await?;
    let mut answer: Value = serde_json::from_str(&text)?;
    let events = answer["events"].take();
    let events = events.as_array().context("the emulator lists events")?;
    let envelope = |(number, event): (usize, &Value)| {
        let mut event = event.clone();
        event["version"] = json!("0");
        event["id"] = json!(format!("00000000-0000-4000-8000-{number:012}"));
        event["source"] = json!("aws.sagemaker");
        event["account"] = json!(ACCOUNT);
        event["region"] = json!(REGION);
        event
    };
    Ok(events.iter().enumerate().map(envelope).collect())
}

/// How many items the ledger has, of whatever kind.
pub(crate) async fn items(world: &World) -> Result<usize> {
    let scan = world.clients.dynamodb.scan().table_name(TABLE);
    let mut pages = scan.consistent_read(true).into_paginator().items().send();
    let mut count = 0;
    while pages.try_next().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// What was written down of a group about `what`, oldest first.
pub(crate) async fn written(world: &World, group: &str, what: What) -> Result<Vec<Read>> {
    let mut found = Vec::new();
    for (_, text) in world.ledger.entries(group).await? {
        let entry: Entry = serde_json::from_str(&text)?;
        let read = entry.read()?;
        if read.what == what {
            found.push(read);
        }
    }
    Ok(found)
}
