//! Model Monitor's schedules and their executions, as records. The analysis itself is not
//! computed: `violation.rs` makes it look as if it had run.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{list, pick, required, text, without};
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::world::World;

/// Executions kept of each schedule.
const EXECUTIONS_KEPT: usize = 500;

/// Schedules by name and processing jobs by name.
#[derive(Debug, Default)]
pub(crate) struct Monitoring {
    pub(crate) schedules: BTreeMap<String, Schedule>,
    pub(crate) processing: BTreeMap<String, Value>,
}

/// One schedule with its executions, oldest first.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) arn: String,
    created: Moment,
    modified: Moment,
    status: &'static str,
    pub(crate) endpoint: Option<String>,
    pub(crate) body: Map<String, Value>,
    executions: Vec<Value>,
}

impl Schedule {
    /// Remembers an execution.
    pub(crate) fn executed(&mut self, execution: Value, at: Moment) {
        if self.executions.len() >= EXECUTIONS_KEPT {
            self.executions.remove(0);
        }
        self.executions.push(execution);
        self.modified = at;
    }

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

pub(crate) fn job_definition(body: &Map<String, Value>) -> Option<&Value> {
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

pub(crate) fn event(schedule: &Schedule, name: &str, at: Moment) -> Event {
    let detail = schedule.describe(name, |at| json!(at.as_millis()));
    Event::new(
        at,
        "SageMaker Monitoring Schedule State Change",
        &schedule.arn,
        detail,
    )
}
