//! A function's queues: `lambda-<function>` stands for Lambda's own, with events that are to be
//! delivered; `tidegate-dlq-<function>` is the template's, with what was given up.

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use serde_json::Value;

use crate::clients;
use crate::clients::Clients;
use crate::invoke::STACK;
use crate::lambda::FUNCTIONS;

/// The queue of a function's events.
pub fn of(function: &str) -> String {
    format!("lambda-{function}")
}

/// The queue of what a function gave up.
pub fn dead_letters(function: &str) -> String {
    format!("{STACK}-dlq-{function}")
}

/// A queue's ARN.
pub fn arn(queue: &str) -> String {
    clients::arn("sqs", queue)
}

/// A queue's URL.
pub fn url(moto: &str, queue: &str) -> String {
    format!("{moto}/{}/{queue}", crate::ACCOUNT)
}

/// Makes all of them.
pub async fn create_all(clients: &Clients) -> Result<()> {
    for function in FUNCTIONS {
        for queue in [of(function), dead_letters(function)] {
            create(clients, &queue).await?;
        }
    }
    Ok(())
}

/// Makes one.
pub async fn create(clients: &Clients, queue: &str) -> Result<()> {
    let create = clients.sqs.create_queue().queue_name(queue);
    create
        .send()
        .await
        .with_context(|| format!("the queue {queue} can't be made"))?;
    Ok(())
}

/// How many messages wait in it.
pub async fn depth(clients: &Clients, url: &str) -> Result<u64> {
    let name = QueueAttributeName::ApproximateNumberOfMessages;
    let answer = clients
        .sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(name.clone())
        .send()
        .await?;
    let value = answer
        .attributes()
        .and_then(|all| all.get(&name))
        .map_or("0", String::as_str);
    Ok(value.parse()?)
}

/// Takes what is there now, up to 10 messages, after waiting up to `wait` seconds for the first.
pub async fn take(clients: &Clients, url: &str, wait: i32) -> Result<Vec<Message>> {
    let receive = clients
        .sqs
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .wait_time_seconds(wait);
    let messages = receive.send().await?.messages.unwrap_or_default();
    for message in &messages {
        let receipt = message.receipt_handle().unwrap_or_default();
        clients
            .sqs
            .delete_message()
            .queue_url(url)
            .receipt_handle(receipt)
            .send()
            .await?;
    }
    Ok(messages)
}

/// What a function gave up, as Lambda tells a destination of failures; reading takes it away.
pub async fn take_dead_letters(
    clients: &Clients,
    moto: &str,
    function: &str,
) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    loop {
        let messages = take(clients, &url(moto, &dead_letters(function)), 0).await?;
        if messages.is_empty() {
            return Ok(all);
        }
        for message in messages {
            all.push(serde_json::from_str(message.body().unwrap_or_default())?);
        }
    }
}
