//! Monitoring schedules: what the API says and refuses, and when executions are due.
//!
//! A change takes a moment, in which a schedule is Pending and refuses others, as AWS's does.

use rand::RngExt as _;
use serde_json::{Value, json};

use super::definition::{self, Kind, Plan};
use super::timing::{self, Timing};
use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{pick, required, text};
use crate::moment::{Moment, Span};
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::world::{Due, World};

/// How long a change keeps a schedule Pending.
const PENDING: Span = Span::seconds(20);

/// One schedule.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) kind: Kind,
    pub(crate) endpoint: Option<String>,
    /// `MonitoringScheduleConfig`.
    pub(crate) config: Value,
    pub(crate) timing: Timing,
    created: Moment,
    pub(crate) modified: Moment,
    stopped: bool,
    /// Until then it is Pending.
    settled: Moment,
    /// Work that was put down for an earlier one is void.
    pub(crate) generation: u64,
}

impl Schedule {
    pub(crate) fn status(&self, now: Moment) -> &'static str {
        if now < self.settled {
            "Pending"
        } else if self.stopped {
            "Stopped"
        } else {
            "Scheduled"
        }
    }

    fn describe(&self, world: &World, now: Moment, time: impl Fn(Moment) -> Value) -> Value {
        let mut body = json!({
            "MonitoringScheduleName": self.name,
            "MonitoringScheduleArn": self.arn,
            "MonitoringScheduleStatus": self.status(now),
            "MonitoringType": self.kind.name(),
            "MonitoringScheduleConfig": self.config,
            "CreationTime": time(self.created),
            "LastModifiedTime": time(self.modified),
        });
        if let Some(endpoint) = &self.endpoint {
            body["EndpointName"] = json!(endpoint);
        }
        let mut executions = world.monitoring.executions.iter().rev();
        if let Some(last) = executions.find(|execution| execution.schedule == self.name) {
            body["LastMonitoringExecutionSummary"] = last.summary(time);
        }
        body
    }

    /// The event of a change, or of an execution that has ended.
    pub(crate) fn event(&self, world: &World, at: Moment) -> Event {
        let detail = self.describe(world, at, |at| json!(at.as_millis()));
        Event::new(
            at,
            "SageMaker Monitoring Schedule State Change",
            &self.arn,
            detail,
        )
    }
}

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "MonitoringScheduleName");
    let arn = arn::sagemaker("monitoring-schedule", &name);
    if world.monitoring.schedules.contains_key(&name) {
        return Err(ApiError::in_use(format!(
            "Monitoring Schedule with name {name} already exists: {arn}"
        )));
    }
    let read = read(world, &input["MonitoringScheduleConfig"])?;
    world.tags.create(&arn, input);
    let schedule = Schedule {
        name,
        arn: arn.clone(),
        kind: read.kind,
        endpoint: read.endpoint,
        config: read.config,
        timing: read.timing,
        created: call.now,
        modified: call.now,
        stopped: false,
        settled: call.now,
        generation: 0,
    };
    change(world, schedule, call.now);
    Ok(json!({"MonitoringScheduleArn": arn}))
}

pub(crate) fn update(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let mut schedule = changeable(world, input, call.now)?;
    let read = read(world, &input["MonitoringScheduleConfig"])?;
    schedule.kind = read.kind;
    schedule.endpoint = read.endpoint;
    schedule.config = read.config;
    schedule.timing = read.timing;
    let arn = schedule.arn.clone();
    change(world, schedule, call.now);
    Ok(json!({"MonitoringScheduleArn": arn}))
}

pub(crate) fn stop(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    set(call, world, input, true)
}

pub(crate) fn start(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    set(call, world, input, false)
}

fn set(call: &Call, world: &mut World, input: &Value, stopped: bool) -> Result<Value, ApiError> {
    let mut schedule = changeable(world, input, call.now)?;
    schedule.stopped = stopped;
    change(world, schedule, call.now);
    Ok(json!({}))
}

/// Its executions stay listed, as in AWS.
pub(crate) fn delete(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let schedule = changeable(world, input, call.now)?;
    world.monitoring.schedules.remove(&schedule.name);
    world.tags.remove(&schedule.arn);
    Ok(json!({}))
}

pub(crate) fn describe(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let schedule = find(world, &required(input, "MonitoringScheduleName"))?;
    Ok(schedule.describe(world, call.now, Moment::json))
}

pub(crate) fn list_schedules(
    call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    const MEMBERS: [&str; 7] = [
        "MonitoringScheduleName",
        "MonitoringScheduleArn",
        "CreationTime",
        "LastModifiedTime",
        "MonitoringScheduleStatus",
        "EndpointName",
        "MonitoringType",
    ];
    let wanted = |member: &str, found: Option<&str>| {
        text(input, member).is_none_or(|wanted| found == Some(wanted))
    };
    let schedules = world.monitoring.schedules.values().filter(|schedule| {
        wanted("EndpointName", schedule.endpoint.as_deref())
            && wanted("MonitoringTypeEquals", Some(schedule.kind.name()))
            && wanted(
                "MonitoringJobDefinitionName",
                text(&schedule.config, "MonitoringJobDefinitionName"),
            )
    });
    let rows = schedules.map(|schedule| {
        let mut summary = pick(&schedule.describe(world, call.now, Moment::json), &MEMBERS);
        if let Some(name) = schedule.config.get("MonitoringJobDefinitionName") {
            summary.insert("MonitoringJobDefinitionName".to_owned(), name.clone());
        }
        Row {
            name: schedule.name.clone(),
            status: schedule.status(call.now).to_owned(),
            created: schedule.created,
            modified: schedule.modified,
            summary: Value::Object(summary),
        }
    });
    page::answer(
        input,
        "MonitoringScheduleSummaries",
        rows.collect(),
        Order::Descending,
    )
}

/// Keeps a schedule as it was changed, sends the event and puts down the next execution.
fn change(world: &mut World, mut schedule: Schedule, now: Moment) {
    schedule.modified = now;
    schedule.settled = now + PENDING;
    schedule.generation = world.monitoring.number();
    let first = match schedule.timing {
        Timing::Once => Some(schedule.settled),
        Timing::Hours(_) => schedule.timing.next(now),
    };
    if let Some(at) = first.filter(|_| !schedule.stopped) {
        put_down(world, &schedule, at);
    }
    let event = schedule.event(world, now);
    world
        .monitoring
        .schedules
        .insert(schedule.name.clone(), schedule);
    world.emit(event);
}

/// An execution is due.
pub(crate) fn put_down(world: &mut World, schedule: &Schedule, at: Moment) {
    let due = Due::Monitor {
        schedule: schedule.name.clone(),
        generation: schedule.generation,
    };
    world.schedule(at, due);
}

struct Read {
    kind: Kind,
    endpoint: Option<String>,
    config: Value,
    timing: Timing,
}

/// Reads a schedule's config, with what AWS fills in.
fn read(world: &mut World, config: &Value) -> Result<Read, ApiError> {
    let mut config = config.clone();
    let named = text(&config, "MonitoringJobDefinitionName").map(str::to_owned);
    let given = text(&config, "MonitoringType").and_then(Kind::parse);
    let kind = match (&named, config.get("MonitoringJobDefinition")) {
        (Some(name), None) => {
            let kind = given.ok_or_else(|| {
                ApiError::validation(
                    "MonitoringType must be specified with MonitoringJobDefinitionName.",
                )
            })?;
            definition::find(world, kind, name)?;
            kind
        }
        (None, Some(_)) => {
            let inline = &mut config["MonitoringJobDefinition"];
            if inline.get("StoppingCondition").is_none() {
                inline["StoppingCondition"] = json!({"MaxRuntimeInSeconds": 3600});
            }
            given.unwrap_or(Kind::DataQuality)
        }
        _ => {
            return Err(ApiError::validation(
                "Exactly one of MonitoringJobDefinition and MonitoringJobDefinitionName must be specified.",
            ));
        }
    };
    config["MonitoringType"] = json!(kind.name());
    let when = &config["ScheduleConfig"];
    let timing = match text(when, "ScheduleExpression") {
        None => Timing::daily(world.monitoring.rng.random_range(0..24)),
        Some(expression) => Timing::parse(expression).ok_or_else(|| {
            ApiError::validation(format!(
                "Invalid ScheduleExpression {expression}: it must be NOW, cron(0 * ? * * *), cron(0 [00-23] ? * * *) or cron(0 [00-23]/[01-24] ? * * *)."
            ))
        })?,
    };
    if let Some(complaint) = timing::complaint(&timing, when) {
        return Err(ApiError::validation(complaint));
    }
    let plan = Plan::of(world, kind, &config);
    let runtime = plan.as_ref().and_then(Plan::longest_run);
    if let (Some(runtime), Some(period)) = (runtime, timing.shortest())
        && runtime > period
    {
        return Err(ApiError::validation(
            "MaxRuntimeInSeconds cannot exceed the frequency of the schedule.",
        ));
    }
    Ok(Read {
        kind,
        endpoint: plan.and_then(|plan| plan.endpoint()),
        config,
        timing,
    })
}

fn changeable(world: &World, input: &Value, now: Moment) -> Result<Schedule, ApiError> {
    let schedule = find(world, &required(input, "MonitoringScheduleName"))?;
    match schedule.status(now) {
        "Pending" => Err(ApiError::validation(
            "Monitoring schedule in status Pending",
        )),
        _ => Ok(schedule.clone()),
    }
}

fn find<'a>(world: &'a World, name: &str) -> Result<&'a Schedule, ApiError> {
    world.monitoring.schedules.get(name).ok_or_else(|| {
        ApiError::not_found(format!(
            "Monitoring Schedule with name {name} does not exist: {}",
            arn::sagemaker("monitoring-schedule", name)
        ))
    })
}
