//! What people were told: a queue that is subscribed to the notice topic.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clients::{self, Clients};
use crate::queues;

const QUEUE: &str = "notices";

/// A message that SNS delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The subject: the headline.
    pub subject: String,
    /// The message, as an e-mail subscriber gets it.
    pub text: String,
    /// `info`, `warning` or `action`.
    pub severity: Option<String>,
    /// What happened, in the audit trail's word.
    pub what: Option<String>,
    /// The notice's id; the same for repeats.
    pub id: Option<String>,
}

/// Makes the topic and subscribes a queue to it; gives the topic's ARN.
pub async fn create_topic(clients: &Clients) -> Result<String> {
    let topic = clients.sns.create_topic().name("tidegate").send().await?;
    let arn = topic.topic_arn.context("CreateTopic gave no ARN")?;
    queues::create(clients, QUEUE).await?;
    clients
        .sns
        .subscribe()
        .topic_arn(&arn)
        .protocol("sqs")
        .endpoint(clients::arn("sqs", QUEUE))
        .send()
        .await?;
    Ok(arn)
}

/// Takes what was told since the last call, in order.
pub async fn take(clients: &Clients, moto: &str) -> Result<Vec<Told>> {
    let mut all = Vec::new();
    loop {
        let messages = queues::take(clients, &queues::url(moto, QUEUE), 0).await?;
        if messages.is_empty() {
            return Ok(all);
        }
        for message in messages {
            let envelope: Value = serde_json::from_str(message.body().unwrap_or_default())?;
            all.push(read(&envelope));
        }
    }
}

/// Reads SNS's envelope. A message for queues may be the notice as JSON instead of its text.
fn read(envelope: &Value) -> Told {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let attribute = |name: &str| text(&envelope["MessageAttributes"][name]["Value"]);
    let message = text(&envelope["Message"]).unwrap_or_default();
    let notice: Value = serde_json::from_str(&message).unwrap_or_default();
    let lines = notice["lines"].as_array().map(|lines| {
        let head = notice["headline"].as_str().unwrap_or_default();
        lines
            .iter()
            .filter_map(Value::as_str)
            .fold(head.to_owned(), |all, line| all + "\n" + line)
    });
    Told {
        subject: text(&envelope["Subject"])
            .or_else(|| text(&notice["headline"]))
            .unwrap_or_default(),
        severity: attribute("severity").or_else(|| text(&notice["severity"])),
        what: attribute("what").or_else(|| text(&notice["what"])),
        id: attribute("notice_id").or_else(|| text(&notice["id"])),
        text: lines.unwrap_or(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_notice_is_read_as_text_and_as_json() {
        let attributes = json!({ "severity": { "Type": "String", "Value": "warning" } });
        let plain = json!({ "Subject": "v3 rolled back", "Message": "v3 rolled back\nWhy.", "MessageAttributes": attributes });
        let told = read(&plain);
        assert_eq!(
            (told.subject.as_str(), told.severity.as_deref()),
            ("v3 rolled back", Some("warning"))
        );
        let notice = json!({ "headline": "v3 rolled back", "lines": ["Why."], "what": "rolled-back", "id": "g/7" });
        let told = read(&json!({ "Message": notice.to_string() }));
        assert_eq!(told.text, "v3 rolled back\nWhy.");
        assert_eq!(
            (told.what.as_deref(), told.id.as_deref()),
            (Some("rolled-back"), Some("g/7"))
        );
    }
}
