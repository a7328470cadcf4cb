//! What a run of Model Monitor found: read from the processing job of its execution, as a user does.

use anyhow::{Context as _, Result, bail};
use aws_sdk_sagemaker::types::{ExecutionStatus, MonitoringExecutionSummary};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::name::ScheduleName;

use super::Story;
use crate::clients::Clients;
use crate::project::get;

/// A run of the monitor.
#[derive(Debug, Clone, Serialize)]
pub struct MonitorRun {
    /// Its processing job.
    pub job: String,
    /// The schedule that the job says it is of.
    pub schedule: Option<String>,
    /// Captured requests that it looked at.
    pub requests: u64,
    /// What its container logged; nothing, if the finding was made up (`/_local/violation`).
    pub log: String,
    /// What it found, as it wrote it.
    pub violations: Vec<Violation>,
}

/// An entry of `constraint_violations.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Violation {
    /// The column.
    pub feature_name: String,
    /// The check that it did not pass.
    pub constraint_check_type: String,
    /// What was seen.
    pub description: String,
}

impl Story {
    /// Lets time pass until a schedule's `nth` run has ended, and tells what it found.
    pub(super) async fn monitored(
        &mut self,
        schedule: &ScheduleName,
        nth: usize,
    ) -> Result<MonitorRun> {
        let clients = &self.world.clients;
        let what = format!("run {nth} of {schedule} ends");
        let ended = self
            .hasten(&what, 120, async || {
                let list = clients.sagemaker.list_monitoring_executions();
                let all = list
                    .monitoring_schedule_name(schedule.as_str())
                    .send()
                    .await?;
                let mut all = all.monitoring_execution_summaries.unwrap_or_default();
                all.sort_by_key(|run| run.creation_time);
                Ok(all.into_iter().nth(nth - 1).filter(has_ended))
            })
            .await?;
        let Some(job) = ended.processing_job_arn else {
            bail!("{what}: {:?}", ended.failure_reason);
        };
        let job = job.rsplit('/').next().unwrap_or(&job);
        let log = self.world.admin().training_log(job).await?;
        let run = MonitorRun::read(clients, job, log).await?;
        self.say(
            "monitor",
            &format!("{} captured requests: {}", run.requests, run.in_words()),
        )
        .await?;
        self.report.monitoring.push(run.clone());
        Ok(run)
    }
}

fn has_ended(run: &MonitoringExecutionSummary) -> bool {
    use ExecutionStatus::{InProgress, Pending, Stopping};
    !matches!(
        run.monitoring_execution_status,
        None | Some(Pending | InProgress | Stopping)
    )
}

impl MonitorRun {
    async fn read(clients: &Clients, name: &str, log: String) -> Result<Self> {
        let describe = clients.sagemaker.describe_processing_job();
        let job = describe.processing_job_name(name).send().await?;
        let outputs = job.processing_output_config();
        let output = outputs
            .and_then(|config| config.outputs().first()?.s3_output()?.s3_uri())
            .with_context(|| format!("{name} writes to S3"))?;
        let file = async |file: &str| -> Result<Value> {
            let uri = format!("{}/{file}", output.trim_end_matches('/'));
            Ok(serde_json::from_slice(&get(clients, &uri).await?)?)
        };
        let mut found = file("constraint_violations.json").await?;
        let statistics = file("statistics.json").await?;
        Ok(Self {
            job: name.to_owned(),
            schedule: job
                .monitoring_schedule_arn
                .and_then(|arn| Some(arn.rsplit('/').next()?.to_owned())),
            requests: statistics["dataset"]["item_count"]
                .as_u64()
                .context("statistics.json counts what it is about")?,
            log: log.trim_end().to_owned(),
            violations: serde_json::from_value(found["violations"].take())?,
        })
    }

    /// Whether its container looked at captured requests, for this schedule.
    pub(super) fn is_computed(&self, schedule: &ScheduleName) -> bool {
        self.schedule.as_deref() == Some(schedule.as_str())
            && self.requests > 0
            && self.log.starts_with(&format!("{} rows of ", self.requests))
    }

    fn in_words(&self) -> String {
        let names = self.violations.iter().map(|one| one.feature_name.as_str());
        let names: Vec<&str> = names.collect();
        match names.as_slice() {
            [] => "no violation".to_owned(),
            [one] => format!("a violation: {one}"),
            names => format!("{} violations\n{}", names.len(), names.join(", ")),
        }
    }
}
