//! Notices: to people by SNS, to other software by EventBridge.
//!
//! Sources: `Publish` in the SNS API reference (`MessageStructure` json, Subject of at most 100
//! ASCII characters); "Custom notifications" in Amazon Q Developer's chat guide for its schema,
//! which subscribes by `https`; `PutEvents` in EventBridge's.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sns::types::MessageAttributeValue;
use jiff::Timestamp;
use serde_json::json;
use tidegate_core::notice::{Notice, Severity, headline};
use tidegate_core::world::{Outcome, WorldError, WorldErrorKind};

use super::AwsWorld;
use super::values::aws_time;
use crate::error::{error, failed, refused};

const PUT: &str = "PutEvents";
const PUBLISH: &str = "Publish";

impl AwsWorld {
    /// SNS delivers at least once; receivers drop repeats by the attribute `notice_id`.
    pub(super) async fn tell(
        &self,
        topic: Option<&str>,
        notice: &Notice,
    ) -> Result<Outcome, WorldError> {
        let mut publish = self
            .clients
            .sns
            .publish()
            .topic_arn(topic.unwrap_or(&self.settings.topic))
            .subject(subject(notice))
            .message_structure("json")
            .message(message(notice)?);
        for (name, value) in attributes(notice) {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()
                .map_err(|error| refused(PUBLISH, error.to_string()))?;
            publish = publish.message_attributes(name, value);
        }
        publish.send().await.map_err(failed(PUBLISH))?;
        Ok(Outcome::Done)
    }

    pub(super) async fn announce(&self, notice: &Notice) -> Result<Outcome, WorldError> {
        self.put_event("Tidegate Notice", notice.at, text_of(PUT, notice)?)
            .await
    }

    /// An event of Tidegate's own, on the default bus.
    pub(super) async fn put_event(
        &self,
        detail_type: &str,
        at: Timestamp,
        detail: String,
    ) -> Result<Outcome, WorldError> {
        let entry = PutEventsRequestEntry::builder()
            .source("tidegate")
            .detail_type(detail_type)
            .time(aws_time(at))
            .detail(detail)
            .build();
        let put = self
            .clients
            .events
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(failed(PUT))?;
        if put.failed_entry_count() == 0 {
            return Ok(Outcome::Done);
        }
        // The call itself went through; the one entry says what became of it.
        let entry = put.entries().first();
        let code = entry.and_then(|e| e.error_code()).unwrap_or("unknown");
        let message = entry.and_then(|e| e.error_message()).unwrap_or_default();
        let kind = match code {
            "ThrottlingException" => WorldErrorKind::Throttled,
            "InternalFailure" | "InternalException" => WorldErrorKind::Unavailable,
            _ => WorldErrorKind::Refused,
        };
        Err(error(kind, PUT, format!("{code}: {message}")))
    }
}

/// A subject has at most 100 ASCII characters and none at all is refused.
fn subject(notice: &Notice) -> String {
    let text = headline(&notice.headline);
    if text.is_empty() {
        "Tidegate".to_owned()
    } else {
        text
    }
}

/// One message in the forms of its receivers: text for people, the notice for software, a card for
/// chat.
fn message(notice: &Notice) -> Result<String, WorldError> {
    let text = notice.text();
    let whole = text_of(PUBLISH, notice)?;
    let card = json!({
        "version": "1.0",
        "source": "custom",
        "id": notice.id,
        "content": {
            "textType": "client-markdown",
            "title": notice.headline,
            "description": if notice.lines.is_empty() { text.clone() } else { notice.lines.join("\n") },
        },
        "metadata": {
            "threadId": notice.rollout.as_ref().map_or(notice.id.as_str(), |id| id.0.as_str()),
            "summary": notice.headline,
            "eventType": notice.what,
            "relatedResources": notice.endpoint.iter().collect::<Vec<_>>(),
        },
    });
    let forms = json!({
        "default": text,
        "lambda": whole,
        "sqs": whole,
        "https": card.to_string(),
    });
    Ok(forms.to_string())
}

/// What subscriptions filter by.
fn attributes(notice: &Notice) -> [(&'static str, String); 4] {
    let severity = match notice.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Action => "action",
    };
    [
        ("severity", severity.to_owned()),
        (
            "what",
            if notice.what.is_empty() {
                "notice".to_owned()
            } else {
                notice.what.clone()
            },
        ),
        ("pipeline", notice.pipeline.to_string()),
        ("notice_id", notice.id.clone()),
    ]
}

fn text_of(call: &'static str, notice: &Notice) -> Result<String, WorldError> {
    serde_json::to_string(notice).map_err(|error| refused(call, error.to_string()))
}
