//! Model Monitor's schedules and their executions, as records. The analysis itself is not
//! computed: the admin API says what it found, and then everything looks as if it had run.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{list, pick, required, text, without};
use crate::moment::{Moment, Span};
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::storage;
use crate::world::World;

/// Executions kept of each schedule.
const EXECUTIONS_KEPT: usize = 500;
/// A monitoring job looks at the hour before it.
const WINDOW: Span = Span::seconds(3600);
/// What an execution takes.
const RUN_TIME: Span = Span::seconds(300);

/// Schedules by name and processing jobs by name.
#[derive(Debug, Default)]
pub(crate) struct Monitoring {
    schedules: BTreeMap<String, Schedule>,
    processing: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Schedule {
    arn: String,
    created: Moment,
    modified: Moment,
    status: &'static str,
    endpoint: Option<String>,
    body: Map<String, Value>,
    executions: Vec<Value>,
}

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

impl Schedule {
    fn describe(&self, name: &str, time: impl Fn(Moment) -> Value) -> Value {
        let mut body = self.body.clone();
        body.insert("MonitoringScheduleArn".into(), json!(self.arn));
        body.insert("MonitoringScheduleName".into(), json!(name));
        body.insert("MonitoringScheduleStatus".into(), json!(self.status));
        body.insert("CreationTime".into(), time(self.created));
        body.insert("LastModifiedTime".into(), time(self.modified));
        if let Some(endpoint) = &self.endpoint {
            body.insert("EndpointName".into(), json!(endpoint));
        }
        if let Some(kind) = self
            .body
            .get("MonitoringScheduleConfig")
            .and_then(|config| config.get("MonitoringType"))
        {
            body.insert("MonitoringType".into(), kind.clone());
        }
        if let Some(last) = self.executions.last() {
            body.insert("LastMonitoringExecutionSummary".into(), last.clone());
        }
        Value::Object(body)
    }
}

fn job_definition(body: &Map<String, Value>) -> Option<&Value> {
    body.get("MonitoringScheduleConfig")?
        .get("MonitoringJobDefinition")
}

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "MonitoringScheduleName");
    let arn = arn::sagemaker("monitoring-schedule", &name);
    if world.monitoring.schedules.contains_key(&name) {
        return Err(ApiError::in_use(format!(
            "Monitoring Schedule with name {name} already exists: {arn}"
        )));
    }
    let body = without(input, &["Tags", "MonitoringScheduleName"]);
    let endpoint = job_definition(&body).and_then(|definition| {
        let input = list(definition, "MonitoringInputs").first()?;
        Some(required(input.get("EndpointInput")?, "EndpointName"))
    });
    world.tags.create(&arn, input);
    let schedule = Schedule {
        arn: arn.clone(),
        created: call.now,
        modified: call.now,
        status: "Scheduled",
        endpoint,
        body,
        executions: Vec::new(),
    };
    let event = event(&schedule, &name, call.now);
    world.monitoring.schedules.insert(name, schedule);
    world.emit(event);
    Ok(json!({"MonitoringScheduleArn": arn}))
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "MonitoringScheduleName");
    Ok(find(world, &name)?.describe(&name, Moment::json))
}

pub(crate) fn list_schedules(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let rows = world
        .monitoring
        .schedules
        .iter()
        .filter(|(_, schedule)| {
            text(input, "EndpointName")
                .is_none_or(|wanted| schedule.endpoint.as_deref() == Some(wanted))
        })
        .map(|(name, schedule)| Row {
            name: name.clone(),
            status: schedule.status.to_owned(),
            created: schedule.created,
            modified: schedule.modified,
            summary: Value::Object(pick(
                &schedule.describe(name, Moment::json),
                &[
                    "MonitoringScheduleName",
                    "MonitoringScheduleArn",
                    "CreationTime",
                    "LastModifiedTime",
                    "MonitoringScheduleStatus",
                    "EndpointName",
                    "MonitoringType",
                ],
            )),
        });
    page::answer(
        input,
        "MonitoringScheduleSummaries",
        rows.collect(),
        Order::Descending,
    )
}

pub(crate) fn list_executions(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let schedules = world
        .monitoring
        .schedules
        .iter()
        .filter(|(name, schedule)| {
            text(input, "MonitoringScheduleName").is_none_or(|wanted| wanted == name.as_str())
                && text(input, "EndpointName")
                    .is_none_or(|wanted| schedule.endpoint.as_deref() == Some(wanted))
        });
    let rows = schedules.flat_map(|(name, schedule)| {
        schedule.executions.iter().map(|execution| {
            let time = |member: &str| {
                Moment::from_epoch_seconds(execution[member].as_f64().unwrap_or_default())
            };
            Row {
                name: name.clone(),
                status: required(execution, "MonitoringExecutionStatus"),
                created: time("CreationTime"),
                modified: time("LastModifiedTime"),
                summary: execution.clone(),
            }
        })
    });
    page::answer(
        input,
        "MonitoringExecutionSummaries",
        rows.collect(),
        Order::Descending,
    )
}

pub(crate) fn stop(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    set_status(call, world, input, "Stopped")
}

pub(crate) fn start(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    set_status(call, world, input, "Scheduled")
}

fn set_status(
    call: &Call,
    world: &mut World,
    input: &Value,
    status: &'static str,
) -> Result<Value, ApiError> {
    let name = required(input, "MonitoringScheduleName");
    find(world, &name)?;
    if let Some(schedule) = world.monitoring.schedules.get_mut(&name) {
        schedule.status = status;
        schedule.modified = call.now;
        let event = event(schedule, &name, call.now);
        world.emit(event);
    }
    Ok(json!({}))
}

pub(crate) fn delete(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "MonitoringScheduleName");
    let arn = find(world, &name)?.arn.clone();
    world.monitoring.schedules.remove(&name);
    world.tags.remove(&arn);
    Ok(json!({}))
}

pub(crate) fn describe_processing(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let name = required(input, "ProcessingJobName");
    world
        .monitoring
        .processing
        .get(&name)
        .cloned()
        .ok_or_else(|| {
            ApiError::validation(format!("Could not find requested job with name: {name}"))
        })
}

fn find<'a>(world: &'a World, name: &str) -> Result<&'a Schedule, ApiError> {
    world.monitoring.schedules.get(name).ok_or_else(|| {
        ApiError::not_found(format!(
            "Monitoring Schedule with name {name} does not exist: {}",
            arn::sagemaker("monitoring-schedule", name)
        ))
    })
}

fn event(schedule: &Schedule, name: &str, at: Moment) -> Event {
    let detail = schedule.describe(name, |at| json!(at.as_millis()));
    Event::new(
        at,
        "SageMaker Monitoring Schedule State Change",
        &schedule.arn,
        detail,
    )
}

/// `2026/03/01/12`: Model Monitor files its results by the hour.
fn hour_folder(end: Moment) -> String {
    end.iso_seconds()
        .chars()
        .take(13)
        .collect::<String>()
        .replace(['-', 'T'], "/")
}

/// Makes it look as if a monitoring job had run and found something: the findings in S3, a
/// processing job, an execution of the schedule, and the events.
pub(crate) async fn report(app: &Arc<App>, violation: Violation) -> anyhow::Result<Value> {
    let now = app.clock.now();
    let end = match &violation.data_window_end {
        Some(end) => Moment::parse(end).context("data_window_end")?,
        None => Moment::from_millis(now.as_millis().div_euclid(3_600_000) * 3_600_000),
    };
    let (name, body, endpoint, job) = {
        let mut world = app.world();
        let suffix = world.suffix(12);
        let schedules = &world.monitoring.schedules;
        let (name, schedule) = schedules
            .iter()
            .find(|(name, schedule)| {
                violation
                    .schedule
                    .as_deref()
                    .is_none_or(|wanted| wanted == name.as_str())
                    && violation
                        .endpoint
                        .as_deref()
                        .is_none_or(|wanted| schedule.endpoint.as_deref() == Some(wanted))
            })
            .context(
                "there is no such monitoring schedule; create one with CreateMonitoringSchedule",
            )?;
        let job = format!("model-monitoring-{}{suffix}", end.as_millis() / 1000);
        (
            name.clone(),
            schedule.body.clone(),
            schedule.endpoint.clone(),
            job,
        )
    };
    let definition = job_definition(&body)
        .context("the schedule has no MonitoringJobDefinition, which says where its output goes")?;
    let output = list(&definition["MonitoringOutputConfig"], "MonitoringOutputs")
        .first()
        .and_then(|output| text(output.get("S3Output")?, "S3Uri"))
        .context("the schedule's job definition has no S3 output")?
        .trim_end_matches('/');
    let folder = format!(
        "{output}/{}/{name}/{}",
        endpoint.as_deref().unwrap_or("endpoint"),
        hour_folder(end)
    );
    let uri = format!("{folder}/constraint_violations.json");
    let findings = json!({"version": 0.0, "violations": violation.violations});
    storage::write(
        &app.aws()?.s3,
        &uri,
        ByteStream::from(findings.to_string().into_bytes()),
    )
    .await?;

    let arn = arn::sagemaker("processing-job", &job);
    let mut world = app.world();
    let schedule = world
        .monitoring
        .schedules
        .get_mut(&name)
        .context("the schedule was deleted meanwhile")?;
    let status = if violation.violations.is_empty() {
        "Completed"
    } else {
        "CompletedWithViolations"
    };
    let exit = if violation.violations.is_empty() {
        "Completed: Job completed successfully with no violations.".to_owned()
    } else {
        format!(
            "CompletedWithViolations: Job completed successfully with {} violations.",
            violation.violations.len()
        )
    };
    let mut execution = json!({
        "MonitoringScheduleName": name,
        "ScheduledTime": end.json(),
        "CreationTime": (now - RUN_TIME).json(),
        "LastModifiedTime": now.json(),
        "MonitoringExecutionStatus": status,
        "ProcessingJobArn": arn,
    });
    if let Some(endpoint) = &endpoint {
        execution["EndpointName"] = json!(endpoint);
    }
    if schedule.executions.len() >= EXECUTIONS_KEPT {
        schedule.executions.remove(0);
    }
    schedule.executions.push(execution);
    schedule.modified = now;
    let schedule_arn = schedule.arn.clone();
    let schedule_event = event(schedule, &name, now);
    let described = processing_job(
        definition,
        &job,
        &arn,
        &schedule_arn,
        &exit,
        &folder,
        end,
        now,
    );
    let mut detail = described.clone();
    for member in [
        "CreationTime",
        "LastModifiedTime",
        "ProcessingStartTime",
        "ProcessingEndTime",
    ] {
        let seconds = detail[member].as_f64().unwrap_or_default();
        detail[member] = json!(Moment::from_epoch_seconds(seconds).as_millis());
    }
    detail["Tags"] = json!({});
    world.monitoring.processing.insert(job.clone(), described);
    world.tags.create(&arn, &json!({}));
    world.emit(Event::new(
        now,
        "SageMaker Processing Job State Change",
        &arn,
        detail,
    ));
    world.emit(schedule_event);
    Ok(json!({"processing_job": job, "processing_job_arn": arn, "constraint_violations": uri}))
}

#[allow(clippy::too_many_arguments)]
fn processing_job(
    definition: &Value,
    job: &str,
    arn: &str,
    schedule_arn: &str,
    exit: &str,
    output: &str,
    end: Moment,
    now: Moment,
) -> Value {
    let app = definition
        .get("MonitoringAppSpecification")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let mut body = json!({
        "ProcessingJobName": job,
        "ProcessingJobArn": arn,
        "ProcessingJobStatus": "Completed",
        "ExitMessage": exit,
        "MonitoringScheduleArn": schedule_arn,
        "CreationTime": (now - RUN_TIME).json(),
        "ProcessingStartTime": (now - RUN_TIME).json(),
        "ProcessingEndTime": now.json(),
        "LastModifiedTime": now.json(),
        "AppSpecification": pick(&app, &["ImageUri", "ContainerEntrypoint", "ContainerArguments"]),
        "ProcessingResources": {
            "ClusterConfig": definition["MonitoringResources"]["ClusterConfig"],
        },
        "ProcessingOutputConfig": {"Outputs": [{
            "OutputName": "result",
            "S3Output": {"S3Uri": output, "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "Continuous"},
        }]},
        "Environment": {
            "dataset_source": "/opt/ml/processing/input/endpoint",
            "start_time": (end - WINDOW).iso_seconds(),
            "end_time": end.iso_seconds(),
            "publish_cloudwatch_metrics": "Enabled",
        },
    });
    for member in ["RoleArn", "NetworkConfig", "StoppingCondition"] {
        if let Some(value) = definition.get(member) {
            body[member] = value.clone();
        }
    }
    body
}
