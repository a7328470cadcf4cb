//! The monitor that follows the champion: what a user writes in the policy, and whether SageMaker has
//! what that asks for (docs/monitoring.md, "Monitors that follow the champion").

use anyhow::{Context as _, Result};
use tidegate_core::audit::{Entry, What};
use tidegate_core::monitors::Phase;
use tidegate_core::name::ScheduleName;

use super::{ENDPOINT, PROJECT, Story};
use crate::clients;
use crate::training::ROLE;
use crate::world::BUCKET;

const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";
/// Where reports and baselines go.
const REPORTS: &str = "tumours/monitoring";
/// The channel of each training job with the measurements alone: requests have no label.
const CHANNEL: &str = "features";
/// How long housekeeping and the baselining job may take, emulator minutes.
const SET_UP_MINUTES: u32 = 45;

/// What the endpoint keeps of its requests: `[stage.capture]`.
pub(super) fn capture() -> String {
    format!(
        "[stage.capture]\npercent = 100\nto = \"s3://{BUCKET}/{PROJECT}/captured\"\nwhat = \"input\"\n"
    )
}

/// What watches each champion: `[[stage.monitor]]`.
pub(super) fn monitor() -> String {
    format!(
        r#"[[stage.monitor]]
kind = "data_quality"
schedule = "hourly"
role = "{}"
image = "{ANALYZER}"
to = "s3://{BUCKET}/{REPORTS}"
baseline = {{ channel = "{CHANNEL}", format = "csv_with_header" }}
"#,
        clients::role(ROLE),
    )
}

impl Story {
    /// Waits until a version has its monitor, and checks what it is compared with. Gives its name.
    pub(super) async fn watched(&mut self, version: u32, data: &str) -> Result<ScheduleName> {
        let ledger = &self.world.ledger;
        let what = format!("v{version} has its monitor");
        let name = self
            .hasten(&what, SET_UP_MINUTES, async || {
                let kept = ledger.head(PROJECT).await?.monitors.kept;
                let mut running = kept
                    .into_iter()
                    .filter(|(_, kept)| kept.version.0 == version && kept.phase == Phase::Running);
                Ok(running.next().map(|(name, _)| name))
            })
            .await?;
        self.say(
            "tidegate",
            &format!("makes a baseline of what v{version} was trained on, and sets up the monitor\n{name}"),
        )
        .await?;
        let is_own = self.has_own_baseline(&name, data).await?;
        let is_alone = self.schedules().await? == [name.to_string()];
        let what = match version {
            2 => "v2 is monitored, with a baseline of its own training data",
            _ => "v2's monitor is gone, v5's is there with its own baseline",
        };
        self.check(is_own && is_alone, what)?;
        Ok(name)
    }

    /// Whether a monitor compares with what a job of its name made of this data.
    async fn has_own_baseline(&self, name: &ScheduleName, data: &str) -> Result<bool> {
        let client = &self.world.clients.sagemaker;
        let describe = client.describe_data_quality_job_definition();
        let definition = describe.job_definition_name(name.as_str()).send().await?;
        let constraints = definition
            .data_quality_baseline_config()
            .and_then(|config| config.constraints_resource()?.s3_uri());
        let made = format!("s3://{BUCKET}/{REPORTS}/baselines/{name}/constraints.json");
        let describe = client.describe_processing_job();
        let job = describe.processing_job_name(name.as_str()).send().await?;
        let input = job.processing_inputs().first();
        let read = input
            .and_then(|input| input.s3_input()?.s3_uri())
            .context("a baselining job reads from S3")?;
        Ok(constraints == Some(made.as_str()) && read.ends_with(data))
    }

    /// The schedules that watch the endpoint.
    async fn schedules(&self) -> Result<Vec<String>> {
        let list = self.world.clients.sagemaker.list_monitoring_schedules();
        let list = list.endpoint_name(ENDPOINT).send().await?;
        let all = list.monitoring_schedule_summaries().iter();
        Ok(all
            .filter_map(|one| one.monitoring_schedule_name.clone())
            .collect())
    }

    /// Checks that a monitor did not look at what two versions answered.
    pub(super) async fn paused_meanwhile(&mut self, name: &ScheduleName) -> Result<()> {
        let mut is_paused = false;
        for (_, text) in self.world.ledger.entries(PROJECT).await? {
            let entry = serde_json::from_str::<Entry>(&text)?.read()?;
            is_paused |= entry.what == What::MonitorPaused && entry.why.contains(name.as_str());
        }
        self.check(
            is_paused,
            "v2's monitor paused while two versions served: it takes data of one",
        )
    }
}
