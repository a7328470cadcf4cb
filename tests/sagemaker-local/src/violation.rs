//! A violation that a test reports: then everything looks as if a monitoring job had run and
//! found it. The findings are in S3, a processing job is described, the schedule has an execution,
//! and the events are sent.

use std::sync::Arc;

use anyhow::Context as _;
use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::arn;
use crate::events::Event;
use crate::json::{list, pick, text};
use crate::moment::{Moment, Span};
use crate::monitoring::{self, job_definition};
use crate::storage;
use crate::world::World;

/// A monitoring job looks at the hour before it.
const WINDOW: Span = Span::seconds(3600);
/// What an execution takes.
const RUN_TIME: Span = Span::seconds(300);

/// What a monitoring job is to have found.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Violation {
    schedule: Option<String>,
    endpoint: Option<String>,
    violations: Vec<Finding>,
    /// RFC 3339; the latest full hour if not given.
    data_window_end: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Finding {
    feature_name: String,
    constraint_check_type: String,
    description: String,
}

/// The execution that is made up.
struct Run {
    schedule: String,
    endpoint: Option<String>,
    definition: Value,
    job: String,
    /// Where its results go.
    folder: String,
    exit: String,
    status: &'static str,
    end: Moment,
    now: Moment,
}

/// Makes it look as if a monitoring job had run and found something.
pub(crate) async fn report(app: &Arc<App>, violation: Violation) -> anyhow::Result<Value> {
    let run = plan(&mut app.world(), &violation, app.clock.now())?;
    let uri = format!("{}/constraint_violations.json", run.folder);
    let findings = json!({"version": 0.0, "violations": violation.violations}).to_string();
    storage::write(
        &app.aws()?.s3,
        &uri,
        ByteStream::from(findings.into_bytes()),
    )
    .await?;
    let arn = arn::sagemaker("processing-job", &run.job);
    run.record(&mut app.world(), &arn)?;
    Ok(json!({"processing_job": run.job, "processing_job_arn": arn, "constraint_violations": uri}))
}

fn plan(world: &mut World, violation: &Violation, now: Moment) -> anyhow::Result<Run> {
    let end = match &violation.data_window_end {
        Some(end) => Moment::parse(end).context("data_window_end")?,
        None => Moment::from_millis(now.as_millis().div_euclid(3_600_000) * 3_600_000),
    };
    let suffix = world.suffix(12);
    let wanted =
        |wish: Option<&str>, given: Option<&str>| wish.is_none_or(|wish| given == Some(wish));
    let (name, schedule) = world
        .monitoring
        .schedules
        .iter()
        .find(|(name, schedule)| {
            wanted(violation.schedule.as_deref(), Some(name))
                && wanted(violation.endpoint.as_deref(), schedule.endpoint.as_deref())
        })
        .context(
            "there is no such monitoring schedule; create one with CreateMonitoringSchedule",
        )?;
    let definition = job_definition(&schedule.body)
        .context("the schedule has no MonitoringJobDefinition, which says where its output goes")?;
    let output = list(&definition["MonitoringOutputConfig"], "MonitoringOutputs")
        .first()
        .and_then(|output| text(output.get("S3Output")?, "S3Uri"))
        .context("the schedule's job definition has no S3 output")?
        .trim_end_matches('/');
    let endpoint = schedule.endpoint.clone();
    let folder = format!(
        "{output}/{}/{name}/{}",
        endpoint.as_deref().unwrap_or("endpoint"),
        hour_folder(end)
    );
    let count = violation.violations.len();
    let (status, exit) = if count == 0 {
        let exit = "Completed: Job completed successfully with no violations.".to_owned();
        ("Completed", exit)
    } else {
        let exit =
            format!("CompletedWithViolations: Job completed successfully with {count} violations.");
        ("CompletedWithViolations", exit)
    };
    Ok(Run {
        schedule: name.clone(),
        definition: definition.clone(),
        job: format!("model-monitoring-{}{suffix}", end.as_millis() / 1000),
        endpoint,
        folder,
        exit,
        status,
        end,
        now,
    })
}

/// `2026/03/01/12`: Model Monitor files its results by the hour.
fn hour_folder(end: Moment) -> String {
    end.iso_seconds()
        .chars()
        .take(13)
        .collect::<String>()
        .replace(['-', 'T'], "/")
}

impl Run {
    /// The execution, the processing job and the events.
    fn record(&self, world: &mut World, arn: &str) -> anyhow::Result<()> {
        let schedule = world
            .monitoring
            .schedules
            .get_mut(&self.schedule)
            .context("the schedule was deleted meanwhile")?;
        let mut execution = json!({
            "MonitoringScheduleName": self.schedule,
            "ScheduledTime": self.end.json(),
            "CreationTime": (self.now - RUN_TIME).json(),
            "LastModifiedTime": self.now.json(),
            "MonitoringExecutionStatus": self.status,
            "ProcessingJobArn": arn,
        });
        if let Some(endpoint) = &self.endpoint {
            execution["EndpointName"] = json!(endpoint);
        }
        schedule.executed(execution, self.now);
        let schedule_arn = schedule.arn.clone();
        let schedule_event = monitoring::event(schedule, &self.schedule, self.now);
        let described = self.processing_job(arn, &schedule_arn, Moment::json);
        let mut detail = self.processing_job(arn, &schedule_arn, |at| json!(at.as_millis()));
        detail.insert("Tags".into(), json!({}));
        world
            .monitoring
            .processing
            .insert(self.job.clone(), Value::Object(described));
        world.tags.create(arn, &json!({}));
        let kind = "SageMaker Processing Job State Change";
        world.emit(Event::new(self.now, kind, arn, Value::Object(detail)));
        world.emit(schedule_event);
        Ok(())
    }

    fn processing_job(
        &self,
        arn: &str,
        schedule_arn: &str,
        time: impl Fn(Moment) -> Value,
    ) -> Map<String, Value> {
        let app = &self.definition["MonitoringAppSpecification"];
        let app = pick(
            app,
            &["ImageUri", "ContainerEntrypoint", "ContainerArguments"],
        );
        let output = json!({
            "S3Uri": self.folder,
            "LocalPath": "/opt/ml/processing/output",
            "S3UploadMode": "Continuous",
        });
        let mut body = pick(
            &self.definition,
            &["RoleArn", "NetworkConfig", "StoppingCondition"],
        );
        for (member, value) in [
            ("ProcessingJobName", json!(self.job)),
            ("ProcessingJobArn", json!(arn)),
            ("ProcessingJobStatus", json!("Completed")),
            ("ExitMessage", json!(self.exit)),
            ("MonitoringScheduleArn", json!(schedule_arn)),
            ("CreationTime", time(self.now - RUN_TIME)),
            ("ProcessingStartTime", time(self.now - RUN_TIME)),
            ("ProcessingEndTime", time(self.now)),
            ("LastModifiedTime", time(self.now)),
            ("AppSpecification", Value::Object(app)),
            (
                "ProcessingResources",
                json!({"ClusterConfig": self.definition["MonitoringResources"]["ClusterConfig"]}),
            ),
            (
                "ProcessingOutputConfig",
                json!({"Outputs": [{"OutputName": "result", "S3Output": output}]}),
            ),
            (
                "Environment",
                json!({
                    "dataset_source": "/opt/ml/processing/input/endpoint",
                    "start_time": (self.end - WINDOW).iso_seconds(),
                    "end_time": self.end.iso_seconds(),
                    "publish_cloudwatch_metrics": "Enabled",
                }),
            ),
        ] {
            body.insert(member.to_owned(), value);
        }
        body
    }
}
