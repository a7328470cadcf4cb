//! Training jobs: what the API says and refuses. What a job does is in `training_run.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{list, required, text, without};
use crate::lineage::automatic;
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::training_run;
use crate::world::World;

/// Lines of a job's log that are kept; older ones go.
const LOG_LINES: usize = 20_000;

/// One training job.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) body: Map<String, Value>,
    pub(crate) status: Status,
    secondary: &'static str,
    pub(crate) created: Moment,
    modified: Moment,
    pub(crate) started: Option<Moment>,
    pub(crate) ended: Option<Moment>,
    /// The tuning job that launched it.
    tuning: Option<String>,
    pub(crate) failure: Option<String>,
    /// The latest value of each metric, in the order of the definitions.
    pub(crate) metrics: Vec<Metric>,
    transitions: Vec<Transition>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    /// Says that the job is to end.
    stop: watch::Sender<Stop>,
}

/// One metric definition and what its regular expression found last.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) regex: Regex,
    pub(crate) last: Option<(Moment, f64)>,
}

/// How a running job is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    /// SIGTERM, then its artifacts are kept.
    Asked,
    /// At once: the emulator ends.
    Killed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    InProgress,
    Stopping,
    Completed,
    Failed,
    Stopped,
}

impl Status {
    pub(crate) const fn api(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Stopping => "Stopping",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
        }
    }

    pub(crate) const fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Stopped)
    }
}

#[derive(Debug)]
struct Transition {
    status: &'static str,
    from: Moment,
    to: Option<Moment>,
    message: &'static str,
}

impl Job {
    /// Enters a status; the event is sent when the status or secondary status changes.
    pub(crate) fn enter(
        &mut self,
        status: Status,
        secondary: &'static str,
        at: Moment,
        tags: Value,
    ) -> Event {
        if let Some(last) = self.transitions.last_mut().filter(|last| last.to.is_none()) {
            last.to = Some(at);
        }
        self.status = status;
        self.secondary = secondary;
        self.modified = at;
        if secondary == "Downloading" {
            self.started = Some(at);
        }
        if status.ended() {
            self.ended = Some(at);
        }
        self.transitions.push(Transition {
            status: secondary,
            from: at,
            to: status.ended().then_some(at),
            message: message_of(secondary),
        });
        self.event(at, tags)
    }

    /// The event has no artifact location and no metrics; its times are milliseconds in strings.
    fn event(&self, at: Moment, tags: Value) -> Event {
        let mut detail = self.body.clone();
        detail.insert("TrainingJobArn".into(), json!(self.arn));
        detail.insert("TrainingJobStatus".into(), json!(self.status.api()));
        detail.insert("SecondaryStatus".into(), json!(self.secondary));
        detail.insert("CreationTime".into(), self.created.millis_text());
        detail.insert("LastModifiedTime".into(), self.modified.millis_text());
        if let Some(started) = self.started {
            detail.insert("TrainingStartTime".into(), started.millis_text());
        }
        if let Some(ended) = self.ended {
            detail.insert("TrainingEndTime".into(), ended.millis_text());
        }
        if let Some(failure) = &self.failure {
            detail.insert("FailureReason".into(), json!(failure));
        }
        let transitions = self
            .transitions
            .iter()
            .map(|one| one.json(Moment::millis_text));
        detail.insert("SecondaryStatusTransitions".into(), transitions.collect());
        detail.insert("Tags".into(), tags);
        Event::new(
            at,
            "SageMaker Training Job State Change",
            &self.arn,
            Value::Object(detail),
        )
    }

    /// Where the model is, or will be.
    pub(crate) fn artifact(&self) -> String {
        let output = self
            .body
            .get("OutputDataConfig")
            .map(|config| required(config, "S3OutputPath"));
        let output = output.unwrap_or_default();
        format!(
            "{}/{}/output/model.tar.gz",
            output.trim_end_matches('/'),
            self.name
        )
    }

    fn describe(&self) -> Value {
        let mut body = self.body.clone();
        body.insert("TrainingJobArn".into(), json!(self.arn));
        body.insert("TrainingJobStatus".into(), json!(self.status.api()));
        body.insert("SecondaryStatus".into(), json!(self.secondary));
        body.insert(
            "ModelArtifacts".into(),
            json!({"S3ModelArtifacts": self.artifact()}),
        );
        body.insert("CreationTime".into(), self.created.json());
        body.insert("LastModifiedTime".into(), self.modified.json());
        if let Some(started) = self.started {
            body.insert("TrainingStartTime".into(), started.json());
        }
        if let Some(ended) = self.ended {
            body.insert("TrainingEndTime".into(), ended.json());
        }
        if let (Some(started), Some(ended)) = (self.started, self.ended) {
            // AWS bills whole seconds, at least one.
            let seconds = ((ended - started).as_millis() / 1000).max(1);
            body.insert("TrainingTimeInSeconds".into(), json!(seconds));
            body.insert("BillableTimeInSeconds".into(), json!(seconds));
        }
        if let Some(failure) = &self.failure {
            body.insert("FailureReason".into(), json!(failure));
        }
        if let Some(tuning) = &self.tuning {
            body.insert("TuningJobArn".into(), json!(tuning));
        }
        let metrics: Vec<Value> = self
            .metrics
            .iter()
            .filter_map(|metric| {
                let (at, value) = metric.last?;
                Some(json!({"MetricName": metric.name, "Value": value, "Timestamp": at.json()}))
            })
            .collect();
        if !metrics.is_empty() {
            body.insert("FinalMetricDataList".into(), json!(metrics));
        }
        let transitions = self.transitions.iter().map(|one| one.json(Moment::json));
        body.insert("SecondaryStatusTransitions".into(), transitions.collect());
        Value::Object(body)
    }

    /// Ends the job's process at once.
    pub(crate) fn kill(&self) {
        self.stop.send_replace(Stop::Killed);
    }

    pub(crate) fn stops(&self) -> watch::Receiver<Stop> {
        self.stop.subscribe()
    }

    /// Takes a line of the job's output into the log and reads metrics from it.
    pub(crate) fn read_line(&mut self, line: &str, at: Moment) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= LOG_LINES {
            log.remove(0);
        }
        log.push(line.to_owned());
        for metric in &mut self.metrics {
            let Some(found) = metric.regex.captures(line) else {
                continue;
            };
            let number = found
                .get(1)
                .or_else(|| found.get(0))
                .map(|part| part.as_str().trim());
            if let Some(value) = number
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|value| value.is_finite())
            {
                metric.last = Some((at, value));
            }
        }
    }
}

impl Transition {
    fn json(&self, time: impl Fn(Moment) -> Value) -> Value {
        let mut transition = json!({
            "Status": self.status, "StartTime": time(self.from), "StatusMessage": self.message,
        });
        if let Some(to) = self.to {
            transition["EndTime"] = time(to);
        }
        transition
    }
}

fn message_of(secondary: &str) -> &'static str {
    match secondary {
        "Starting" => "Preparing the instances for training",
        "Downloading" => "Downloading input data",
        "Training" => "Training image download completed. Training in progress.",
        "Uploading" => "Uploading generated training model",
        "Completed" => "Training job completed",
        "Failed" => "Training job failed",
        "Stopping" => "Stopping the training job",
        _ => "Training job stopped",
    }
}

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    launch(call, world, input, None)
}

/// Starts a training job, of a tuning job if that is given.
pub(crate) fn launch(
    call: &Call,
    world: &mut World,
    input: &Value,
    tuning: Option<&str>,
) -> Result<Value, ApiError> {
    let name = required(input, "TrainingJobName");
    let arn = arn::sagemaker("training-job", &name);
    if world.jobs.contains_key(&name) {
        return Err(ApiError::in_use(
            "Training job names must be unique within an AWS account and region, and a training job with this name already exists",
        ));
    }
    for member in [
        "AlgorithmSpecification",
        "ResourceConfig",
        "StoppingCondition",
    ] {
        if input.get(member).is_none() {
            return Err(ApiError::validation(format!("{member} must be specified.")));
        }
    }
    let metrics = metrics(&input["AlgorithmSpecification"])?;
    world.tags.create(&arn, input);
    let mut job = Job {
        name: name.clone(),
        arn: arn.clone(),
        body: without(input, &["Tags"]),
        status: Status::InProgress,
        secondary: "Starting",
        created: call.now,
        modified: call.now,
        started: None,
        ended: None,
        tuning: tuning.map(str::to_owned),
        failure: None,
        metrics,
        transitions: Vec::new(),
        log: Arc::default(),
        stop: watch::Sender::new(Stop::No),
    };
    for member in [
        "EnableNetworkIsolation",
        "EnableInterContainerTrafficEncryption",
        "EnableManagedSpotTraining",
    ] {
        job.body.entry(member).or_insert(json!(false));
    }
    let event = job.enter(
        Status::InProgress,
        "Starting",
        call.now,
        world.tags.map(&arn),
    );
    world.jobs.insert(name.clone(), job);
    automatic::job_began(world, &name, call.now);
    world.emit(event);
    training_run::start(&call.app, name);
    Ok(json!({"TrainingJobArn": arn}))
}

fn metrics(algorithm: &Value) -> Result<Vec<Metric>, ApiError> {
    list(algorithm, "MetricDefinitions")
        .iter()
        .map(|definition| {
            let (name, regex) = (required(definition, "Name"), required(definition, "Regex"));
            let regex = Regex::new(&regex).map_err(|error| {
                ApiError::validation(format!(
                    "Invalid regular expression for metric {name}: {error}"
                ))
            })?;
            Ok(Metric {
                name,
                regex,
                last: None,
            })
        })
        .collect()
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    Ok(find(world, &required(input, "TrainingJobName"))?.describe())
}

pub(crate) fn list_jobs(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let rows = world.jobs.values().map(|job| {
        let mut summary = json!({
            "TrainingJobName": job.name,
            "TrainingJobArn": job.arn,
            "CreationTime": job.created.json(),
            "LastModifiedTime": job.modified.json(),
            "TrainingJobStatus": job.status.api(),
            "SecondaryStatus": job.secondary,
        });
        if let Some(ended) = job.ended {
            summary["TrainingEndTime"] = ended.json();
        }
        Row {
            name: job.name.clone(),
            status: job.status.api().to_owned(),
            created: job.created,
            modified: job.modified,
            summary,
        }
    });
    page::answer(
        input,
        "TrainingJobSummaries",
        rows.collect(),
        Order::Ascending,
    )
}

pub(crate) fn stop(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "TrainingJobName");
    let arn = find(world, &name)?.arn.clone();
    let tags = world.tags.map(&arn);
    let Some(job) = world.jobs.get_mut(&name) else {
        return Ok(json!({}));
    };
    match job.status {
        Status::InProgress => {
            job.stop.send_replace(Stop::Asked);
            let event = job.enter(Status::Stopping, "Stopping", call.now, tags);
            world.emit(event);
            Ok(json!({}))
        }
        Status::Stopping => Ok(json!({})),
        status => Err(ApiError::validation(format!(
            "The request was rejected because the training job is in status {}.",
            status.api()
        ))),
    }
}

/// The job's log so far; `None` without such a job.
pub(crate) fn log(world: &World, name: &str) -> Option<String> {
    let job = world.jobs.get(name)?;
    let log = job.log.lock().unwrap_or_else(PoisonError::into_inner);
    Some(log.iter().flat_map(|line| [line.as_str(), "\n"]).collect())
}

fn find<'a>(world: &'a World, name: &str) -> Result<&'a Job, ApiError> {
    world
        .jobs
        .get(name)
        .ok_or_else(|| ApiError::validation("Requested resource not found."))
}

/// The name in a pipeline step's arguments, if it has one.
pub(crate) fn name_in(arguments: &Value) -> Option<&str> {
    text(arguments, "TrainingJobName")
}
