//! State-change events, sent through EventBridge's `PutEvents`.
//!
//! Their details have the oddities of the real ones (developer guide, "Events that Amazon
//! SageMaker AI sends to Amazon EventBridge"): statuses in capitals for endpoints, times as
//! milliseconds in strings, numbers or ISO 8601 depending on the kind, tags as a map.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::Value;

use crate::app::App;
use crate::moment::Moment;

/// How often a batch is tried before it is given up.
const ATTEMPTS: u32 = 4;

/// One event before EventBridge gives it an id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) at: Moment,
    pub(crate) detail_type: &'static str,
    pub(crate) resources: Vec<String>,
    pub(crate) detail: Value,
}

impl Event {
    pub(crate) fn new(
        at: Moment,
        detail_type: &'static str,
        resource: &str,
        detail: Value,
    ) -> Self {
        Self {
            at,
            detail_type,
            resources: vec![resource.to_owned()],
            detail,
        }
    }
}

/// Sends all waiting events, oldest first; one sender at a time, so their order is kept.
pub(crate) async fn flush(app: &Arc<App>) {
    let _turn = app.sending.lock().await;
    loop {
        let batch = app.world().take_events();
        if batch.is_empty() {
            return;
        }
        if let Some(aws) = &app.aws {
            put(&aws.events, batch).await;
        }
    }
}

async fn put(client: &aws_sdk_eventbridge::Client, batch: Vec<Event>) {
    let entries: Vec<_> = batch.iter().map(entry).collect();
    for attempt in 1..=ATTEMPTS {
        match client
            .put_events()
            .set_entries(Some(entries.clone()))
            .send()
            .await
        {
            Ok(output) if output.failed_entry_count() == 0 => return,
            Ok(output) => {
                tracing::error!(
                    failed = output.failed_entry_count(),
                    "EventBridge refused events"
                );
                return;
            }
            Err(error) if attempt == ATTEMPTS => {
                tracing::error!(
                    events = batch.len(),
                    error = %aws_sdk_eventbridge::error::DisplayErrorContext(&error),
                    "events could not be sent and are lost"
                );
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100 * u64::from(attempt))).await,
        }
    }
}

fn entry(event: &Event) -> PutEventsRequestEntry {
    PutEventsRequestEntry::builder()
        .source("aws.sagemaker")
        .detail_type(event.detail_type)
        .time(DateTime::from_millis(event.at.as_millis()))
        .set_resources(Some(event.resources.clone()))
        .detail(event.detail.to_string())
        .build()
}
