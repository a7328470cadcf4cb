//! Processing jobs: what the API says and refuses. The images that run here are Model Monitor's
//! analyzer and Clarify's; what they do is in `monitor/analyzer.rs` and `monitor/clarify.rs`, and when
//! in `processing_run.rs`.

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{required, text, without};
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::processing_run;
use crate::sagemaker::Call;
use crate::training::Status;
use crate::world::World;

/// The repository of Model Monitor's own container.
const ANALYZER: &str = "sagemaker-model-monitor-analyzer";
/// The repository of Clarify's.
const CLARIFY: &str = "sagemaker-clarify-processing";
/// AWS cuts exit messages and failure reasons here.
const LONGEST_REASON: usize = 1024;

/// One processing job.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) body: Map<String, Value>,
    pub(crate) status: Status,
    created: Moment,
    modified: Moment,
    started: Option<Moment>,
    ended: Option<Moment>,
    pub(crate) failure: Option<String>,
    pub(crate) exit: Option<String>,
    /// What the job wrote to its log.
    pub(crate) log: Vec<String>,
    /// Set to true: the job is to end.
    stop: watch::Sender<bool>,
}

/// How a job ended.
pub(crate) enum Outcome {
    /// With the exit message.
    Completed(String),
    Failed(String),
    Stopped,
}

impl Job {
    /// A job in progress; the body has the request's members, or those that Model Monitor fills in.
    pub(crate) fn new(name: &str, mut body: Map<String, Value>, created: Moment) -> Self {
        let default = json!({"MaxRuntimeInSeconds": 86_400});
        body.entry("StoppingCondition").or_insert(default);
        Self {
            name: name.to_owned(),
            arn: arn::sagemaker("processing-job", name),
            body,
            status: Status::InProgress,
            created,
            modified: created,
            started: None,
            ended: None,
            failure: None,
            exit: None,
            log: Vec::new(),
            stop: watch::Sender::new(false),
        }
    }

    pub(crate) fn stops(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// The container runs. It sends no event: the status stays the same.
    pub(crate) fn start(&mut self, at: Moment) {
        self.started = Some(at);
        self.modified = at;
    }

    /// The job ends; answers its event.
    pub(crate) fn end(&mut self, outcome: Outcome, at: Moment, tags: Value) -> Event {
        let cut = |text: String| Some(text.chars().take(LONGEST_REASON).collect());
        self.status = match outcome {
            Outcome::Completed(exit) => {
                self.exit = cut(exit);
                Status::Completed
            }
            Outcome::Failed(reason) => {
                self.failure = cut(format!("AlgorithmError: {reason}"));
                self.exit = cut(format!("Error: {reason}"));
                Status::Failed
            }
            Outcome::Stopped => Status::Stopped,
        };
        self.ended = Some(at);
        self.modified = at;
        self.event(at, tags)
    }

    /// The event has what a description has, with times in milliseconds.
    pub(crate) fn event(&self, at: Moment, tags: Value) -> Event {
        let mut detail = self.describe(|at| json!(at.as_millis()));
        detail["Tags"] = tags;
        Event::new(
            at,
            "SageMaker Processing Job State Change",
            &self.arn,
            detail,
        )
    }

    fn describe(&self, time: impl Fn(Moment) -> Value) -> Value {
        let mut body = Value::Object(self.body.clone());
        body["ProcessingJobName"] = json!(self.name);
        body["ProcessingJobArn"] = json!(self.arn);
        body["ProcessingJobStatus"] = json!(self.status.api());
        body["CreationTime"] = time(self.created);
        body["LastModifiedTime"] = time(self.modified);
        for (member, at) in [
            ("ProcessingStartTime", self.started),
            ("ProcessingEndTime", self.ended),
        ] {
            if let Some(at) = at {
                body[member] = time(at);
            }
        }
        for (member, said) in [
            ("ExitMessage", &self.exit),
            ("FailureReason", &self.failure),
        ] {
            if let Some(said) = said {
                body[member] = json!(said);
            }
        }
        body
    }
}

/// Whether an image is the analyzer, of any region's registry.
pub(crate) fn is_analyzer(image: &str) -> bool {
    repository(image) == ANALYZER
}

/// Whether an image is Clarify's, of any region's registry.
pub(crate) fn is_clarify(image: &str) -> bool {
    repository(image) == CLARIFY
}

fn repository(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split(['@', ':']).next().unwrap_or(name)
}

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "ProcessingJobName");
    if world.processing.contains_key(&name) {
        return Err(ApiError::in_use(
            "Job name must be unique within an AWS account and region, and a job with this name already exists",
        ));
    }
    let image = required(&input["AppSpecification"], "ImageUri");
    if !is_analyzer(&image) && !is_clarify(&image) {
        let why = format!("the processing image {image}; {ANALYZER} and {CLARIFY} are");
        return Err(ApiError::unsupported(&why));
    }
    let job = Job::new(
        &name,
        without(input, &["Tags", "ProcessingJobName"]),
        call.now,
    );
    let arn = job.arn.clone();
    world.tags.create(&arn, input);
    insert(world, job, call.now);
    processing_run::start(&call.app, name);
    Ok(json!({"ProcessingJobArn": arn}))
}

/// A job begins; its event is sent.
pub(crate) fn insert(world: &mut World, job: Job, at: Moment) {
    let event = job.event(at, world.tags.map(&job.arn));
    world.processing.insert(job.name.clone(), job);
    world.emit(event);
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    Ok(find(world, &required(input, "ProcessingJobName"))?.describe(Moment::json))
}

pub(crate) fn list_jobs(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    const MEMBERS: [&str; 8] = [
        "ProcessingJobName",
        "ProcessingJobArn",
        "CreationTime",
        "ProcessingEndTime",
        "LastModifiedTime",
        "ProcessingJobStatus",
        "FailureReason",
        "ExitMessage",
    ];
    let rows = world.processing.values().map(|job| Row {
        name: job.name.clone(),
        status: job.status.api().to_owned(),
        created: job.created,
        modified: job.modified,
        summary: Value::Object(crate::json::pick(&job.describe(Moment::json), &MEMBERS)),
    });
    page::answer(
        input,
        "ProcessingJobSummaries",
        rows.collect(),
        Order::Descending,
    )
}

pub(crate) fn stop(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "ProcessingJobName");
    let arn = find(world, &name)?.arn.clone();
    let tags = world.tags.map(&arn);
    let Some(job) = world.processing.get_mut(&name) else {
        return Ok(json!({}));
    };
    match job.status {
        Status::InProgress => {
            job.status = Status::Stopping;
            job.modified = call.now;
            job.stop.send_replace(true);
            let event = job.event(call.now, tags);
            world.emit(event);
            Ok(json!({}))
        }
        Status::Stopping => Ok(json!({})),
        status => Err(ApiError::validation(format!(
            "The request was rejected because the processing job is in status {}.",
            status.api()
        ))),
    }
}

/// The job's log so far; `None` without such a job.
pub(crate) fn log(world: &World, name: &str) -> Option<String> {
    let log = &world.processing.get(name)?.log;
    Some(log.iter().flat_map(|line| [line.as_str(), "\n"]).collect())
}

fn find<'a>(world: &'a World, name: &str) -> Result<&'a Job, ApiError> {
    world.processing.get(name).ok_or_else(|| {
        ApiError::validation(format!("Could not find requested job with name: {name}"))
    })
}

/// A variable of a job's environment.
pub(crate) fn variable<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    text(body.get("Environment")?, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_analyzer_is_known_in_every_registry() {
        let registry = "156813124566.dkr.ecr.us-east-1.amazonaws.com";
        assert!(is_analyzer(&format!("{registry}/{ANALYZER}")));
        assert!(is_analyzer(&format!("{registry}/{ANALYZER}:latest")));
        assert!(!is_analyzer(
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/fraud:1"
        ));
    }
}
