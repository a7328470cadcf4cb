//! Executions of monitoring schedules: one at each due time, some minutes late, as a processing
//! job over what the endpoint captured in its window.
//!
//! Without data an execution fails and has no processing job, as in AWS. Of a schedule whose
//! endpoint captures nothing at all there are no executions here, so that tests can report their
//! own (`violation.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::definition::{Kind, Plan, Run};
use super::{batch, schedule, timing};
use crate::app::{App, Working};
use crate::json::text;
use crate::moment::{Moment, Span};
use crate::page::{self, Order, Row};
use crate::processing::{self, Job};
use crate::sagemaker::Call;
use crate::training::Status;
use crate::world::World;
use crate::{capture, errors, events, processing_run, storage};

/// What AWS says of a window without data.
const NO_DATA: &str = "Job inputs had no data";
const HOUR: Span = Span::seconds(3600);

/// One execution.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    pub(crate) number: u64,
    pub(crate) schedule: String,
    pub(crate) kind: Kind,
    pub(crate) definition: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) scheduled: Moment,
    pub(crate) created: Moment,
    pub(crate) modified: Moment,
    pub(crate) status: &'static str,
    /// ARN of its processing job.
    pub(crate) job: Option<String>,
    pub(crate) failure: Option<String>,
}

impl Execution {
    /// An execution that is to begin.
    pub(crate) fn pending(
        world: &mut World,
        of: &schedule::Schedule,
        scheduled: Moment,
        now: Moment,
    ) -> Self {
        Self {
            number: world.monitoring.number(),
            schedule: of.name.clone(),
            kind: of.kind,
            definition: text(&of.config, "MonitoringJobDefinitionName").map(str::to_owned),
            endpoint: of.endpoint.clone(),
            scheduled,
            created: now,
            modified: now,
            status: "Pending",
            job: None,
            failure: None,
        }
    }

    pub(crate) fn summary(&self, time: impl Fn(Moment) -> Value) -> Value {
        let mut summary = json!({
            "MonitoringScheduleName": self.schedule,
            "MonitoringType": self.kind.name(),
            "ScheduledTime": time(self.scheduled),
            "CreationTime": time(self.created),
            "LastModifiedTime": time(self.modified),
            "MonitoringExecutionStatus": self.status,
        });
        for (member, value) in [
            ("ProcessingJobArn", &self.job),
            ("EndpointName", &self.endpoint),
            ("FailureReason", &self.failure),
            ("MonitoringJobDefinitionName", &self.definition),
        ] {
            if let Some(value) = value {
                summary[member] = json!(value);
            }
        }
        summary
    }
}

pub(crate) fn list_executions(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, errors::ApiError> {
    let wanted = |member: &str, found: Option<&str>| {
        text(input, member).is_none_or(|wanted| found == Some(wanted))
    };
    let bound = |member: &str| input.get(member).and_then(Value::as_f64);
    let mut found: Vec<&Execution> = world
        .monitoring
        .executions
        .iter()
        .filter(|one| {
            let scheduled = one.scheduled.epoch_seconds();
            wanted("MonitoringScheduleName", Some(&one.schedule))
                && wanted("EndpointName", one.endpoint.as_deref())
                && wanted("MonitoringJobDefinitionName", one.definition.as_deref())
                && wanted("MonitoringTypeEquals", Some(one.kind.name()))
                && bound("ScheduledTimeAfter").is_none_or(|bound| scheduled > bound)
                && bound("ScheduledTimeBefore").is_none_or(|bound| scheduled < bound)
                && page::keeps(input, &row(one))
        })
        .collect();
    match text(input, "SortBy") {
        Some("Status") => found.sort_by_key(|one| one.status),
        Some("ScheduledTime") => found.sort_by_key(|one| one.scheduled),
        _ => found.sort_by_key(|one| one.created),
    }
    if page::order(input, Order::Descending) == Order::Descending {
        found.reverse();
    }
    let summaries = found
        .into_iter()
        .map(|one| one.summary(Moment::json))
        .collect();
    page::cut(input, "MonitoringExecutionSummaries", summaries, 10)
}

fn row(execution: &Execution) -> Row {
    Row {
        name: execution.schedule.clone(),
        status: execution.status.to_owned(),
        created: execution.created,
        modified: execution.modified,
        summary: Value::Null,
    }
}

/// An execution is due: it is remembered, and begins some minutes later.
pub(crate) fn begin(app: &Arc<App>, name: &str, generation: u64, at: Moment) {
    let (number, delay) = {
        let mut world = app.world();
        let schedules = &world.monitoring.schedules;
        let Some(schedule) = schedules
            .get(name)
            .filter(|one| one.generation == generation)
            .cloned()
        else {
            return;
        };
        if let Some(next) = schedule.timing.next(at) {
            schedule::put_down(&mut world, &schedule, next);
        }
        let captures = |endpoint: &String| {
            let endpoint = world.endpoints.get(endpoint);
            endpoint.is_some_and(|endpoint| endpoint.capture.is_some())
        };
        if !schedule.endpoint.as_ref().is_none_or(captures) {
            tracing::debug!(
                schedule = name,
                "no execution: its endpoint captures no data"
            );
            return;
        }
        let execution = Execution::pending(&mut world, &schedule, at, at);
        let number = execution.number;
        world.monitoring.remember(execution);
        (number, world.monitoring.delay())
    };
    let (app, name, working) = (app.clone(), name.to_owned(), app.working());
    tokio::spawn(async move {
        if let Some(working) = app.sleep(delay, working).await {
            run(&app, &name, number, at, working).await;
        }
    });
}

async fn run(
    app: &Arc<App>,
    schedule: &str,
    number: u64,
    at: Moment,
    working: Working,
) -> Option<Working> {
    let prepared = prepare(app, schedule, at).await;
    let job = match prepared {
        Ok(job) => job,
        Err(reason) => {
            finish(app, schedule, number, "Failed", Some(reason));
            events::flush(app).await;
            return Some(working);
        }
    };
    let name = job.name.clone();
    {
        let mut world = app.world();
        world.tags.create(&job.arn, &json!({}));
        update(&mut world, number, |execution| {
            execution.job = Some(job.arn.clone());
            execution.status = "InProgress";
        });
        processing::insert(&mut world, job, app.clock.now());
    }
    events::flush(app).await;
    let working = processing_run::run(app, &name, working).await;
    let (status, failure) = outcome(&app.world(), &name);
    finish(app, schedule, number, status, failure);
    events::flush(app).await;
    working
}

/// How a processing job's end counts for its execution.
fn outcome(world: &World, job: &str) -> (&'static str, Option<String>) {
    let Some(job) = world.processing.get(job) else {
        return ("Failed", None);
    };
    let violated = job
        .exit
        .as_deref()
        .is_some_and(|exit| exit.starts_with("CompletedWithViolations"));
    match job.status {
        Status::Completed if violated => ("CompletedWithViolations", None),
        Status::Completed => ("Completed", None),
        Status::Stopped | Status::Stopping => ("Stopped", None),
        _ => ("Failed", job.failure.clone()),
    }
}

fn finish(
    app: &Arc<App>,
    schedule: &str,
    number: u64,
    status: &'static str,
    failure: Option<String>,
) {
    let now = app.clock.now();
    let mut world = app.world();
    tracing::info!(schedule, status, failure, "monitoring execution ended");
    update(&mut world, number, |execution| {
        execution.status = status;
        execution.failure = failure;
        execution.modified = now;
    });
    let event = world
        .monitoring
        .schedules
        .get(schedule)
        .map(|schedule| schedule.event(&world, now));
    if let Some(event) = event {
        world.emit(event);
    }
}

fn update(world: &mut World, number: u64, change: impl FnOnce(&mut Execution)) {
    let mut executions = world.monitoring.executions.iter_mut().rev();
    if let Some(execution) = executions.find(|execution| execution.number == number) {
        change(execution);
    }
}

/// Looks for data and makes the processing job; the reason if there is none to make.
async fn prepare(app: &Arc<App>, name: &str, at: Moment) -> Result<Job, String> {
    let (plan, window, captured, truth) = {
        let world = app.world();
        let schedule = world
            .monitoring
            .schedules
            .get(name)
            .ok_or("The schedule was deleted.")?;
        let plan = Plan::of(&world, schedule.kind, &schedule.config)
            .ok_or("The job definition was deleted.")?;
        if let Some(missing) = plan.lacks() {
            return Err(format!("not implemented here: {missing}"));
        }
        let window = timing::window(
            &schedule.timing,
            &schedule.config["ScheduleConfig"],
            &plan.input,
            at,
        );
        let captured = plan
            .endpoint()
            .map(|endpoint| capture_folders(&world, &endpoint, window));
        // Labels are filed by when they were learned, which may be as late as now.
        let truth: Option<Vec<String>> = plan.ground_truth.as_ref().map(|uri| {
            let uri = uri.trim_end_matches('/');
            hours(window.0, app.clock.now())
                .map(|hour| format!("{uri}/{}", hour.hour_folder()))
                .collect()
        });
        (plan, window, captured, truth)
    };
    let captured = match captured {
        Some(folders) => with_data(app, folders).await?,
        None => batch::manifests(app, &plan.input, window).await?,
    };
    let ground_truth = match truth {
        Some(folders) => Some(with_data(app, folders).await?),
        None => None,
    };
    if captured.is_empty() || ground_truth.as_ref().is_some_and(Vec::is_empty) {
        return Err(NO_DATA.to_owned());
    }
    let mut world = app.world();
    let schedule_arn = world
        .monitoring
        .schedules
        .get(name)
        .ok_or("The schedule was deleted.")?
        .arn
        .clone();
    let run = Run {
        schedule: name,
        schedule_arn: &schedule_arn,
        window,
        scheduled: at,
        captured: &captured,
        ground_truth: ground_truth.as_deref().unwrap_or_default(),
    };
    let job = world.monitoring.job_name(at);
    Ok(Job::new(&job, plan.job(&run), app.clock.now()))
}

/// The folders in which an endpoint's captured data of a time may be.
fn capture_folders(world: &World, name: &str, window: (Moment, Moment)) -> Vec<String> {
    let endpoint = world.endpoints.get(name);
    let destination =
        endpoint.and_then(|endpoint| text(endpoint.capture.as_ref()?, "DestinationS3Uri"));
    let variants: BTreeSet<&str> = endpoint
        .iter()
        .flat_map(|endpoint| {
            endpoint
                .variants
                .iter()
                .map(|variant| variant.name.as_str())
        })
        .collect();
    let folders = variants.into_iter().flat_map(|variant| {
        let of_hour = move |hour| destination.map(|to| capture::folder(to, name, variant, hour));
        hours(window.0, window.1).filter_map(of_hour)
    });
    folders.collect()
}

/// The hours that a time has a part in.
pub(super) fn hours(start: Moment, end: Moment) -> impl Iterator<Item = Moment> {
    let first = start.as_millis().div_euclid(HOUR.as_millis());
    let until = (end.as_millis() - 1).div_euclid(HOUR.as_millis());
    (first..=until).map(|hour| Moment::from_millis(hour * HOUR.as_millis()))
}

async fn with_data(app: &Arc<App>, folders: Vec<String>) -> Result<Vec<String>, String> {
    let mut full = Vec::new();
    for folder in folders {
        let aws = app.aws().map_err(|error| error.to_string())?;
        let keys = storage::list(&aws.s3, &format!("{folder}/")).await;
        if !keys.map_err(|error| format!("{error:#}"))?.is_empty() {
            full.push(folder);
        }
    }
    Ok(full)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_a_part_in_each_hour_it_touches() {
        let at = |text: &str| Moment::parse(text).unwrap();
        let of = |start: &str, end: &str| {
            hours(at(start), at(end))
                .map(Moment::hour_folder)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"),
            ["2026/03/01/12"]
        );
        assert_eq!(
            of("2026-03-01T23:30:00Z", "2026-03-02T00:30:00Z"),
            ["2026/03/01/23", "2026/03/02/00"]
        );
    }
}
