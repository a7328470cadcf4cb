//! Monitors follow the champion: a version becomes champion, housekeeping has its baseline made and
//! sets its monitor up. It pauses while the next version is a canary, and goes when that one takes
//! over and gets its own. The traffic drifts, Model Monitor computes it, and a retraining starts. Then
//! the policy drops the monitor, and nothing of it is left.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::ScheduleStatus;
use serde_json::json;
use tidegate_core::audit::What;
use tidegate_core::monitors::{Kept, Phase};
use tidegate_core::name::ScheduleName;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::project::put as put_object;
use tidegate_end_to_end::training::ROLE;
use tidegate_end_to_end::world::{BUCKET, World};

use crate::common::{
    Approval, Book, TWO_INSTANCES, calls, champion, endpoint, package, policy_with_steps, tell,
};
use crate::senders::written;

const FOLLOWED: &str = "followed";
const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";
/// Requests a minute, few enough that all are captured.
const CUSTOMERS: u32 = 20;

#[tokio::test]
async fn a_champions_monitor_is_set_up_finds_the_drift_and_starts_the_retraining() {
    tell(async |book| {
        let data = format!("age,amount,country\n{}\n", customers(100.0).join("\n"));
        let data = put_object(
            &book.world.clients,
            BUCKET,
            "train/customers.csv",
            data.into(),
        );
        let data = data.await?;
        let watched = format!("{TWO_INSTANCES}\n{}", monitored(&data));
        book.world
            .apply(FOLLOWED, &with_retraining(&watched))
            .await?;
        package(&book.world, FOLLOWED, &json!({}), Approval::Given).await?;
        book.ended(FOLLOWED, 1, 20).await?;
        ensure!(champion(&book.world, FOLLOWED).await? == Some(1));
        users(&book.world, 100.0).await?;

        let first = is_set_up(book, 1).await?;
        package(&book.world, FOLLOWED, &json!({}), Approval::Given).await?;
        book.until("the monitor pauses", 15, async |world| {
            let describe = world.clients.sagemaker.describe_monitoring_schedule();
            let found = describe
                .monitoring_schedule_name(first.as_str())
                .send()
                .await?;
            let is_stopped = found.monitoring_schedule_status == Some(ScheduleStatus::Stopped);
            Ok(is_stopped.then_some(()))
        })
        .await?;
        book.ended(FOLLOWED, 2, 60).await?;
        ensure!(champion(&book.world, FOLLOWED).await? == Some(2));
        let name = is_set_up(book, 2).await?;
        ensure!(
            schedules(&book.world).await? == [name.to_string()],
            "{first} is left"
        );

        book.world
            .admin()
            .advance(until_the_next_hour(&book.world, 2).await?)
            .await?;
        users(&book.world, 160.0).await?;
        // The whole hour that the next run looks at is of the new kind.
        book.world.admin().advance(65 * 60).await?;
        book.until(
            "the drift that is found starts a retraining",
            45,
            async |world| {
                let started = written(world, FOLLOWED, What::RetrainingStarted).await?;
                Ok(started.into_iter().next())
            },
        )
        .await?;
        let found = written(&book.world, FOLLOWED, What::ViolationSeen).await?;
        ensure!(
            found
                .iter()
                .any(|f| f.why.contains(name.as_str()) && f.why.contains("amount")),
            "what was found was written down as {found:#?}"
        );

        book.world
            .admin()
            .traffic(&endpoint(FOLLOWED), 0, &[], "text/csv")
            .await?;
        book.world
            .apply(FOLLOWED, &with_retraining(TWO_INSTANCES))
            .await?;
        book.until("the monitor is removed", 15, async |world| {
            let is_gone = kept(world).await?.is_none();
            Ok(is_gone.then_some(()))
        })
        .await?;
        let left = schedules(&book.world).await?;
        ensure!(left.is_empty(), "left: {left:?}");
        let list = book
            .world
            .clients
            .sagemaker
            .list_data_quality_job_definitions();
        let left = list.endpoint_name(endpoint(FOLLOWED)).send().await?;
        ensure!(left.job_definition_summaries().is_empty(), "left: {left:?}");
        book.close(&[FOLLOWED]).await
    })
    .await;
}

/// The schedules that watch the endpoint.
async fn schedules(world: &World) -> Result<Vec<String>> {
    let list = world.clients.sagemaker.list_monitoring_schedules();
    let list = list.endpoint_name(endpoint(FOLLOWED)).send().await?;
    let all = list.monitoring_schedule_summaries().iter();
    Ok(all
        .filter_map(|s| s.monitoring_schedule_name.clone())
        .collect())
}

/// The baseline of a version is made of the data, and its monitor runs within a few housekeepings.
async fn is_set_up(book: &mut Book, version: u32) -> Result<ScheduleName> {
    let name = book
        .until("its monitor runs", 30, async |world| {
            let kept = kept(world).await?;
            Ok(kept
                .filter(|(_, k)| k.phase == Phase::Running && k.version.0 == version)
                .map(|(name, _)| name))
        })
        .await?;
    let describe = book
        .world
        .clients
        .sagemaker
        .describe_data_quality_job_definition();
    let definition = describe.job_definition_name(name.as_str()).send().await?;
    let baseline = definition
        .data_quality_baseline_config()
        .context("it has a baseline")?;
    let constraints = baseline.constraints_resource().and_then(|c| c.s3_uri());
    let made = format!("s3://{BUCKET}/monitors/baselines/{name}/constraints.json");
    ensure!(
        constraints == Some(&made),
        "it compares with {constraints:?}"
    );
    let jobs = calls(&book.world, "CreateProcessingJob")?;
    let n = usize::try_from(version)?;
    ensure!(jobs.len() == n, "{} baselining jobs", jobs.len());
    let configs = calls(&book.world, "CreateEndpointConfig")?;
    let capture = &configs[0]["DataCaptureConfig"];
    ensure!(
        capture["InitialSamplingPercentage"] == 100 && capture["EnableCapture"] == true,
        "the config captures {capture}"
    );
    Ok(name)
}

async fn kept(world: &World) -> Result<Option<(ScheduleName, Kept)>> {
    let head = world.ledger.head(FOLLOWED).await?;
    Ok(head.monitors.kept.into_iter().next())
}

/// Seconds until so many minutes after the next full hour.
async fn until_the_next_hour(world: &World, minutes: i64) -> Result<u64> {
    let now = world.admin().now().await?.as_second();
    Ok((3_600 - now.rem_euclid(3_600) + minutes * 60).unsigned_abs())
}

/// The monitor, and capture of requests alone, since the baseline has no answers.
fn monitored(data: &str) -> String {
    format!(
        r#"
capture = {{ percent = 100, to = "s3://{BUCKET}/captured", what = "input" }}

[[stage.monitor]]
kind = "data_quality"
role = "{}"
image = "{ANALYZER}"
to = "s3://{BUCKET}/monitors/"
baseline = {{ data = "{data}", format = "csv_with_header" }}
"#,
        clients::role(ROLE),
    )
}

fn with_retraining(stage: &str) -> String {
    let retrains = "[monitor]\non_drift = { retrain = { event = {} } }\n";
    format!("{}\n{retrains}", policy_with_steps(FOLLOWED, &[50], stage))
}

/// Rows of customers whose amounts are about this size.
fn customers(size: f64) -> Vec<String> {
    (0..400_u32)
        .map(|n| {
            let amount = size * (0.5 + f64::from(n * 7 % 100) / 100.0);
            let country = if n % 10 < 3 { "fr" } else { "de" };
            format!("{},{amount:.3},{country}", n * 31 % 90 + 18)
        })
        .collect()
}

async fn users(world: &World, size: f64) -> Result<()> {
    let rows = customers(size);
    world
        .admin()
        .traffic(&endpoint(FOLLOWED), CUSTOMERS, &rows, "text/csv")
        .await
}
