//! Dead letters hold nobody up and are not lost: a good event of the same group takes effect beside
//! one that can't be read and one whose call is refused, and `tidegate redrive` shows both, sends
//! again what can be dealt with, once, and says why the other stays.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::{Value, json};
use tidegate_core::audit::What;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::project::{Project, put as put_object};
use tidegate_end_to_end::queues;
use tidegate_end_to_end::training::{Job, ROLE};
use tidegate_end_to_end::world::{BUCKET, World};

use crate::common::{Approval, Book, STAGE, champion, package, tell};
use crate::senders::{invoke, sent, written};

const GROUP: &str = "tumours";
const JOB: &str = "refused-at-first";
/// `SageMaker` tells the job's end in two events, each is delivered twice, and each delivery tried
/// three times.
const TRIES: u32 = 2 * 2 * 3;

#[tokio::test]
async fn dead_letters_hold_nobody_up_and_are_sent_again_once() {
    tell(async |book| {
        let project = prepared(&book.world).await?;
        ensure!(
            letters(&book.world).await?.is_empty(),
            "there are letters before anything happened"
        );

        book.world
            .admin()
            .fault("DescribeTrainingJob", "deny", TRIES)
            .await?;
        train(&book.world, &project).await?;
        invoke(&book.world, "package-approved", "[1, 2, 3]").await?;
        package(&book.world, GROUP, &json!({}), Approval::Given).await?;

        the_good_event_takes_effect(book).await?;
        let event = the_letters_hold_event_and_reason(book).await?;
        replay_makes_it_take_effect_once(book, &event).await?;
        the_poison_stays_until_it_is_dropped(book).await?;
        book.close(&[GROUP]).await
    })
    .await;
}

/// A project to train, and a pipeline in which a person has the last word on what was trained.
async fn prepared(world: &World) -> Result<Project> {
    let project = Project::read(&world.place, GROUP)?;
    let data = world.run.path().join("export");
    project.export(&world.place, &data).await?;
    let prefix = format!("{}/data", project.name);
    project
        .upload(&world.clients, BUCKET, &prefix, &data)
        .await?;
    let policy = format!(
        r#"
[pipeline]
name = "{GROUP}"
group = "{GROUP}"

[gate]
require = [{{ metric = "{metric}", at_least = 0.5 }}]

[serve]
role = "{role}"

[[stage]]
name = "{STAGE}"
endpoint = "{GROUP}-prod"
instance = {{ type = "ml.m5.large", count = 1 }}
"#,
        metric = project.gate.metric,
        role = clients::role(ROLE),
    );
    world.apply(GROUP, &policy).await?;
    Ok(project)
}

async fn train(world: &World, project: &Project) -> Result<()> {
    let source = put_object(
        &world.clients,
        BUCKET,
        "source/sourcedir.tar.gz",
        project.pack("v1")?,
    );
    let job = Job {
        name: JOB.to_owned(),
        project,
        version: "v1",
        bucket: BUCKET,
        source: source.await?,
        tags: BTreeMap::from([("tidegate:pipeline".to_owned(), GROUP.to_owned())]),
    };
    job.create(&world.clients).await
}

/// While the others are tried again and again.
async fn the_good_event_takes_effect(book: &mut Book) -> Result<()> {
    book.ended(GROUP, 1, 20).await?;
    ensure!(
        champion(&book.world, GROUP).await? == Some(1),
        "v1 does not serve: an event that fails held up one that is fine"
    );
    ensure!(
        book.world.ledger.jobs(GROUP).await?.is_empty(),
        "the refused event took effect, so nothing is tested here"
    );
    Ok(())
}

/// Gives the training job's event as `SageMaker` sent it.
async fn the_letters_hold_event_and_reason(book: &mut Book) -> Result<Value> {
    book.until("all tries are over", 30, async |world| {
        let dead: u64 = world.pump.tallies().values().map(|tally| tally.dead).sum();
        Ok((dead >= 6).then_some(()))
    })
    .await?;
    // EventBridge writes otherwise than Lambda, for example when a permission is missing.
    let sent = sent(&book.world).await?;
    let ours = |event: &&Value| {
        event["detail"]["TrainingJobName"] == JOB
            && event["detail"]["TrainingJobStatus"] == "Completed"
    };
    let event = sent.iter().find(ours).context("the job's end was told")?;
    let endpoint = sent
        .iter()
        .find(|event| event["detail"]["EndpointName"] == format!("{GROUP}-prod"));
    undelivered(
        &book.world,
        "canary-shift",
        endpoint.context("the endpoint was told of")?,
    )
    .await?;

    let letters = letters(&book.world).await?;
    ensure!(
        letters.len() == 4,
        "one cannot be read, two were refused, one was not delivered: {letters:#?}"
    );
    let [poison, undelivered] = ["package-approved", "canary-shift"].map(|name| of(&letters, name));
    ensure!(
        poison.len() == 1 && poison[0]["copies"] == 2 && poison[0]["tries"] == 3,
        "both deliveries of what can't be read are one letter: {poison:#?}"
    );
    ensure!(
        says(&poison[0]["unreadable"], "not a JSON object"),
        "{poison:#?}"
    );
    ensure!(
        undelivered.len() == 1
            && says(&undelivered[0]["reason"], "may not invoke")
            && undelivered[0]["by"] == "eventbridge",
        "{undelivered:#?}"
    );
    let refused = of(&letters, "training-complete");
    ensure!(
        refused.len() == 2,
        "the two events of the job's end: {refused:#?}"
    );
    for letter in refused {
        ensure!(
            letter["group"] == GROUP && letter["copies"] == 2,
            "{letter:#?}"
        );
        for words in ["DescribeTrainingJob", "AccessDenied"] {
            ensure!(
                says(&letter["reason"], words),
                "the reason does not say {words}: {letter:#?}"
            );
        }
        let id = letter["id"].as_str().context("a letter has an ID")?;
        let whole = redrive(&book.world, &["show", id]).await?;
        ensure!(
            whole["payload"]["detail"] == event["detail"],
            "the letter does not hold what SageMaker sent: {whole:#?}"
        );
    }
    let again = self::letters(&book.world).await?;
    ensure!(
        again == letters,
        "looking has changed something: {again:#?}"
    );
    Ok(event.clone())
}

/// The fault is over: it hit each try once.
async fn replay_makes_it_take_effect_once(book: &mut Book, event: &Value) -> Result<()> {
    let (code, text) = book
        .world
        .tidegate(&["redrive", "replay", "--all", "--yes"])
        .await?;
    ensure!(
        code == 1,
        "replay should end with 1, since one letter stays; it ended with {code}:\n{text}"
    );
    ensure!(
        text.matches("sent   ").count() == 3 && text.matches("stays  ").count() == 1,
        "three can be sent, and one not:\n{text}"
    );
    ensure!(
        text.contains("would fail again") && text.contains("--force"),
        "it is not said why:\n{text}"
    );

    book.until("the job is registered", 5, async |world| {
        let jobs = world.ledger.jobs(GROUP).await?;
        Ok(jobs
            .iter()
            .any(|job| job.job.as_str() == JOB && job.package.is_some())
            .then_some(()))
    })
    .await?;
    // Sent once more by somebody who did not know.
    invoke(&book.world, "training-complete", &event.to_string()).await?;
    book.world.pass_minutes(4).await?;
    for what in [What::CandidateGated, What::CandidateRegistered] {
        let entries = written(&book.world, GROUP, what).await?;
        ensure!(
            entries.len() == 1,
            "{what} was written down {} times: {entries:#?}",
            entries.len()
        );
    }
    let packages = book.world.clients.sagemaker.list_model_packages();
    let packages = packages.model_package_group_name(GROUP).send().await?;
    let count = packages.model_package_summary_list().len();
    ensure!(count == 2, "the job gave {} packages", count - 1);
    Ok(())
}

async fn the_poison_stays_until_it_is_dropped(book: &mut Book) -> Result<()> {
    let world = &book.world;
    let letters = letters(world).await?;
    ensure!(
        letters.len() == 1
            && letters[0]["function"] == "package-approved"
            && letters[0]["copies"] == 2,
        "the poison alone stays: {letters:#?}"
    );
    let id = letters[0]["id"].as_str().context("a letter has an ID")?;
    let (code, text) = world.tidegate(&["redrive", "drop", id, "--yes"]).await?;
    ensure!(
        code == 0 && text.contains("can't be read"),
        "drop ended with {code}:\n{text}"
    );
    let (code, text) = world.tidegate(&["redrive"]).await?;
    ensure!(
        code == 0 && text.contains("No dead letters"),
        "redrive ended with {code}:\n{text}"
    );
    Ok(())
}

/// Puts an event among a function's dead letters as `EventBridge` does (page "Using dead-letter
/// queues to process undelivered events").
async fn undelivered(world: &World, function: &str, event: &Value) -> Result<()> {
    let mut send = world.clients.sqs.send_message();
    let target = clients::arn("lambda", &format!("function:tidegate-{function}"));
    for (name, text) in [
        (
            "RULE_ARN",
            clients::arn("events", "rule/tidegate-endpoint-changed"),
        ),
        ("TARGET_ARN", target),
        ("ERROR_CODE", "NO_PERMISSIONS".to_owned()),
        (
            "ERROR_MESSAGE",
            "the rule may not invoke the function".to_owned(),
        ),
        ("RETRY_ATTEMPTS", "0".to_owned()),
    ] {
        let value = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(text);
        send = send.message_attributes(name, value.build()?);
    }
    send.queue_url(queues::url(
        &world.moto.url,
        &queues::dead_letters(function),
    ))
    .message_body(event.to_string())
    .send()
    .await?;
    Ok(())
}

async fn letters(world: &World) -> Result<Vec<Value>> {
    let mut answer = redrive(world, &["list"]).await?;
    let letters = answer["letters"].take();
    Ok(letters.as_array().context("redrive lists letters")?.clone())
}

fn of<'a>(letters: &'a [Value], function: &str) -> Vec<&'a Value> {
    letters
        .iter()
        .filter(|letter| letter["function"] == function)
        .collect()
}

fn says(value: &Value, words: &str) -> bool {
    value.as_str().is_some_and(|text| text.contains(words))
}

/// What a command of `tidegate redrive` answers in JSON.
async fn redrive(world: &World, args: &[&str]) -> Result<Value> {
    let args = [&["redrive"], args, &["--json"]].concat();
    let (code, text) = world.tidegate(&args).await?;
    ensure!(code == 0, "{args:?} ended with {code}:\n{text}");
    serde_json::from_str(&text).with_context(|| format!("{args:?} answered {text}"))
}
