//! A monitor of batch transform data that the policy asks for: housekeeping has its baseline made and
//! sets it up for the champion, Model Monitor computes drift from what a transform job captured, and a
//! retraining starts. Somebody stops it and starts it, deletes it, and it is set up again; then the
//! policy drops it.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tidegate_core::audit::What;
use tidegate_core::monitors::{Kept, Phase};
use tidegate_core::name::ScheduleName;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::project::put as put_object;
use tidegate_end_to_end::training::ROLE;
use tidegate_end_to_end::world::{BUCKET, World};

use crate::batch::{captured, rows};
use crate::common::{Approval, Book, TWO_INSTANCES, champion, package, policy, tell};
use crate::senders::written;

const GROUP: &str = "nightly";
const CAPTURED: &str = "nightly-captured";
const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";

#[tokio::test]
async fn a_monitor_of_batch_data_follows_the_champion_and_what_people_do_to_it_is_seen() {
    tell(async |book| {
        let key = "nightly/train/rows.csv";
        let data = put_object(&book.world.clients, BUCKET, key, rows(100.0)).await?;
        book.world.apply(GROUP, &with(&monitor(&data))).await?;
        package(&book.world, GROUP, &json!({}), Approval::Given).await?;
        book.ended(GROUP, 1, 20).await?;
        let name = book
            .until("its monitor runs", 40, async |world| {
                let kept = kept(world).await?;
                Ok(kept.filter(|(_, k)| k.phase == Phase::Running))
            })
            .await?
            .0;
        is_of_batch_data(&book.world, &name).await?;
        drifts(book, &name).await?;
        by_hand(book, &name).await?;

        book.world.apply(GROUP, &with("")).await?;
        book.until("the monitor is removed", 15, async |world| {
            let is_gone = kept(world).await?.is_none();
            Ok(is_gone.then_some(()))
        })
        .await?;
        let list = book.world.clients.sagemaker.list_monitoring_schedules();
        let left = list.name_contains(GROUP).send().await?;
        let left = left.monitoring_schedule_summaries();
        ensure!(left.is_empty(), "left: {left:?}");
        ensure!(champion(&book.world, GROUP).await? == Some(1));
        book.close(&[GROUP]).await
    })
    .await;
}

async fn is_of_batch_data(world: &World, name: &ScheduleName) -> Result<()> {
    let describe = world
        .clients
        .sagemaker
        .describe_data_quality_job_definition();
    let found = describe.job_definition_name(name.as_str()).send().await?;
    let input = found.data_quality_job_input().context("it has an input")?;
    ensure!(input.endpoint_input().is_none(), "it watches an endpoint");
    let batch = input.batch_transform_input().context("it has batch data")?;
    let uri = batch.data_captured_destination_s3_uri();
    let captured = format!("s3://{BUCKET}/{CAPTURED}");
    ensure!(uri == Some(&captured), "it watches {uri:?}");
    let baseline = found.data_quality_baseline_config();
    let constraints = baseline.and_then(|b| b.constraints_resource()?.s3_uri());
    let made = format!("s3://{BUCKET}/monitors/baselines/{name}/constraints.json");
    ensure!(constraints == Some(&made), "compared with {constraints:?}");
    let (code, text) = world.tidegate(&["monitor", "show", name.as_str()]).await?;
    let of_pipeline = format!("group {GROUP}");
    for words in [captured.as_str(), "v1 of", "running", &of_pipeline] {
        ensure!(
            code == 0 && text.contains(words),
            "{words:?} is not in {text}"
        );
    }
    Ok(())
}

/// A transform job reads rows of another kind than those of the training.
async fn drifts(book: &mut Book, name: &ScheduleName) -> Result<()> {
    captured(&book.world, CAPTURED, 100.0).await?;
    // In an hour in which it was the champion from the start.
    book.world.admin().advance(3_600).await?;
    captured(&book.world, CAPTURED, 160.0).await?;
    book.world.admin().advance(5_400).await?;
    let what = "the drift that is found starts a retraining";
    book.until(what, 15, async |world| {
        let started = written(world, GROUP, What::RetrainingStarted).await?;
        Ok(started.into_iter().next())
    })
    .await?;
    let told = book.notice(GROUP, "violation-seen")?;
    let headline = format!("Drift in batch data, by {name}");
    ensure!(
        told.subject.contains(&headline) && told.text.contains("amount ("),
        "people were told: {} {}",
        told.subject,
        told.text
    );
    Ok(())
}

async fn by_hand(book: &mut Book, name: &ScheduleName) -> Result<()> {
    let sagemaker = book.world.clients.sagemaker.clone();
    let stop = sagemaker.stop_monitoring_schedule();
    stop.monitoring_schedule_name(name.as_str()).send().await?;
    becomes(book, &Phase::Stopped).await?;
    let told = book.notice(GROUP, "monitor-stopped")?;
    ensure!(
        told.text.contains("start-monitoring-schedule"),
        "people were told: {}",
        told.text
    );
    let (code, text) = book.world.tidegate(&["monitor", "list", GROUP]).await?;
    ensure!(
        code == 0 && text.contains("stopped by hand") && text.contains(name.as_str()),
        "monitor list says {text}"
    );
    let start = sagemaker.start_monitoring_schedule();
    start.monitoring_schedule_name(name.as_str()).send().await?;
    becomes(book, &Phase::Running).await?;

    book.world.admin().advance(300).await?;
    let delete = sagemaker.delete_monitoring_schedule();
    delete
        .monitoring_schedule_name(name.as_str())
        .send()
        .await?;
    book.world.admin().advance(2_100).await?;
    book.until("it is seen that it was deleted", 15, async |world| {
        let seen = written(world, GROUP, What::MonitorDeleted).await?;
        Ok(seen.into_iter().next())
    })
    .await?;
    becomes(book, &Phase::Running).await?;
    let describe = sagemaker.describe_monitoring_schedule();
    let found = describe.monitoring_schedule_name(name.as_str()).send();
    found.await.context("it is set up again")?;
    Ok(())
}

/// Housekeeping asks a schedule twice an hour.
async fn becomes(book: &mut Book, phase: &Phase) -> Result<()> {
    book.world.admin().advance(2_100).await?;
    let what = format!("its monitor is {phase:?}");
    book.until(&what, 15, async |world| {
        let kept = kept(world).await?;
        Ok(kept.filter(|(_, k)| k.phase == *phase).map(|_| ()))
    })
    .await
}

async fn kept(world: &World) -> Result<Option<(ScheduleName, Kept)>> {
    let head = world.ledger.head(GROUP).await?;
    Ok(head.monitors.kept.into_iter().next())
}

fn with(monitor: &str) -> String {
    format!(
        "{}\n[monitor]\non_drift = {{ retrain = {{ event = {{}} }} }}\n",
        policy(GROUP, &format!("{TWO_INSTANCES}\n{monitor}"))
    )
}

fn monitor(data: &str) -> String {
    format!(
        r#"
[[stage.monitor]]
kind = "data_quality"
batch = {{ captured = "s3://{BUCKET}/{CAPTURED}/", format = "csv_with_header" }}
role = "{}"
image = "{ANALYZER}"
to = "s3://{BUCKET}/monitors/"
baseline = {{ data = "{data}", format = "csv_with_header" }}
"#,
        clients::role(ROLE),
    )
}
