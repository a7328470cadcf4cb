//! Functions that are killed between deciding and doing: Lambda tries the event again, and what was
//! decided is done once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidegate_core::audit::What;
use tidegate_end_to_end::lambda::Lambda;
use tidegate_end_to_end::world::World;

use crate::common::{Approval, Book, calls, champion, package, policy_that_creates, tell};
use crate::senders::{invoke, sent, written};

const GROUP: &str = "killed";
/// How long the first call to SageMaker is held up: long enough to kill its caller.
const HELD_UP_MS: u64 = 8_000;

#[tokio::test]
async fn what_a_killed_function_decided_is_done_once_by_the_next_attempt() {
    tell(async |book| {
        // Approved before there is a pipeline of its group, so nobody acts on it yet.
        package(&book.world, GROUP, &json!({}), Approval::Given).await?;
        book.world.pass_minutes(3).await?;
        book.world.apply(GROUP, &policy_that_creates(GROUP)).await?;
        let sent = sent(&book.world).await?;
        let event = sent
            .iter()
            .find(|event| event["detail-type"] == "SageMaker Model Package State Change");
        let event = event.context("SageMaker sent the event of the package")?;

        let left = killed_while_it_acts(&book.world, event).await?;
        ensure!(left > 0, "nothing was left to be done");
        ensure!(champion(&book.world, GROUP).await?.is_none());
        the_next_attempt_finishes_it(book, event).await?;
        book.close(&[GROUP]).await
    })
    .await;
}

/// Has functions of their own handle the event and kills them at their first call to SageMaker that
/// changes something; gives how many effects are pending then.
async fn killed_while_it_acts(world: &World, event: &Value) -> Result<usize> {
    let run = world.place.new_run(true)?;
    let doomed = Lambda::start(&world.place, &run, &world.environment()).await?;
    doomed.warm_up().await?;
    delay(world, "CreateModel").await?;
    let invoker = doomed.invoker().clone();
    let text = event.to_string();
    let answer = tokio::spawn(async move { invoker.invoke("package-approved", text).await });
    let start = Instant::now();
    while world.ledger.pending(GROUP).await? == 0 {
        ensure!(
            start.elapsed() < Duration::from_millis(HELD_UP_MS),
            "the function decided nothing: {}",
            doomed.last_lines(20)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(doomed);
    let answer = answer.await?;
    ensure!(answer.is_err(), "a killed function answered {answer:?}");
    world.ledger.pending(GROUP).await
}

async fn delay(world: &World, operation: &str) -> Result<()> {
    let url = format!("{}/_local/faults", world.emulator.url);
    let body = json!({
        "operation": operation, "kind": "delay", "count": 1, "delay_ms": HELD_UP_MS,
    });
    let post = reqwest::Client::new().post(url).json(&body);
    post.send().await?.error_for_status()?;
    Ok(())
}

/// The event took effect, so it is not decided again; what it left is done.
async fn the_next_attempt_finishes_it(book: &mut Book, event: &Value) -> Result<()> {
    invoke(&book.world, "package-approved", &event.to_string()).await?;
    book.ended(GROUP, 1, 20).await?;
    let world = &book.world;
    ensure!(champion(world, GROUP).await? == Some(1));
    let started = written(world, GROUP, What::RolloutStarted).await?;
    ensure!(
        started.len() == 1,
        "the rollout started {} times: {started:#?}",
        started.len()
    );
    for operation in ["CreateEndpointConfig", "CreateEndpoint"] {
        let made = calls(world, operation)?.len();
        ensure!(made == 1, "{operation} worked {made} times");
    }
    let models = world.clients.sagemaker.list_models().send().await?;
    ensure!(
        models.models().len() == 1,
        "there are models left over: {:?}",
        models.models()
    );
    Ok(())
}
