//! The events that Tidegate wakes on, read from what EventBridge and Scheduler really send.
//!
//! Lenient in what AWS varies (case of statuses, forms of times and tags), strict in what a
//! decision needs. Source: "Automating Amazon SageMaker with Amazon EventBridge" in the SageMaker
//! developer guide; "CloudWatch events and EventBridge" for alarms.

mod alarm;
mod call;
mod describe;
mod field;
mod json;
mod sagemaker;
#[cfg(test)]
mod tests;
mod tick;
mod time;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{
    EndpointName, EventId, GroupName, JobName, PackageVersion, RolloutId, ScheduleName, StageName,
    TuningName,
};

pub use describe::describe;

/// The most bytes that are read of one event: no service that invokes a function sends more.
pub const MAX_BYTES: usize = 1 << 20;

/// Reads one event: an `EventBridge` envelope, or a tick of the scheduler.
///
/// What is known and not acted on comes back as [`Kind::Unhandled`]; an error is an event that
/// should have been acted on and can't be read.
pub fn parse(bytes: &[u8]) -> Result<Event, EventError> {
    if bytes.len() > MAX_BYTES {
        return Err(EventError::TooLarge {
            bytes: bytes.len(),
            limit: MAX_BYTES,
        });
    }
    // Of a doubled key the last one stays; nesting deeper than 128 is an error of the reader's.
    let value = json::read(bytes).map_err(|error| EventError::NotJson {
        reason: error.to_string(),
    })?;
    let root = field::Object::root(&value)?;
    if root.has("tidegate") {
        return tick::parse(&root);
    }
    let source = root.need_text(
        "source",
        "an EventBridge event names who sent it; a tick has `tidegate`",
    )?;
    let detail_type =
        root.need_text("detail-type", "an EventBridge event says what it is about")?;
    let id = root.need_text(
        "id",
        "an EventBridge event has an id, by which a repeat is known",
    )?;
    let at = root.need_time("time", "a decision is made at the event's own time")?;
    let kind = match source.as_str() {
        "aws.sagemaker" => sagemaker::kind(&root, &source, &detail_type)?,
        "aws.cloudwatch" => alarm::kind(&root, &source, &detail_type)?,
        _ => unhandled(
            &source,
            &detail_type,
            "Tidegate acts on events of aws.sagemaker and aws.cloudwatch, and on its own ticks",
        ),
    };
    Ok(Event {
        id: EventId(id),
        at,
        kind,
    })
}

/// An event that can't be read, with the place in it and what should be there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// More than any service delivers.
    #[error("the event has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most that is read.
        limit: usize,
    },
    /// Not JSON, or nested too deep to be an event.
    #[error("the event is not JSON that can be read: {reason}")]
    NotJson {
        /// What the JSON reader says, with line and column.
        reason: String,
    },
    /// JSON, and not an object.
    #[error("the event is {found}, not a JSON object")]
    NotObject {
        /// What it is.
        found: &'static str,
    },
    /// Something that is needed is absent, null or empty.
    #[error("the event has no `{path}`: {why}")]
    Missing {
        /// The dotted path.
        path: String,
        /// What it is needed for.
        why: &'static str,
    },
    /// Something that is needed is not of the right kind.
    #[error("the event's `{path}` is {found}; it should be {expected}")]
    Invalid {
        /// The dotted path.
        path: String,
        /// What it is, cut to 80 characters.
        found: String,
        /// What it should be.
        expected: String,
    },
}

fn unhandled(source: &str, detail_type: &str, why: impl Into<String>) -> Kind {
    Kind::Unhandled {
        what: format!("{source} / {detail_type}"),
        why: why.into(),
    }
}

/// One event, parsed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The envelope's id; for a tick, made from the rollout and the scheduled minute.
    pub id: EventId,
    /// The event's own time: it is the decision's *now*.
    pub at: Timestamp,
    /// What happened.
    pub kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A training job changed its status.
    TrainingJob {
        /// The job.
        job: JobName,
        /// Its status.
        status: JobStatus,
        /// Its tags, as far as the event has them.
        tags: BTreeMap<String, String>,
    },
    /// A hyperparameter tuning job changed its status.
    TuningJob {
        /// The tuning job.
        job: TuningName,
        /// Its status.
        status: JobStatus,
        /// Its tags, as far as the event has them.
        tags: BTreeMap<String, String>,
    },
    /// Somebody started a training job (`CreateTrainingJob`, as `CloudTrail` tells of it), or a
    /// tuning job (`CreateHyperParameterTuningJob`).
    TrainingStarted {
        /// The job, of either kind.
        job: JobName,
        /// Whether it is a tuning job.
        is_tuning: bool,
        /// The principal's ARN.
        by: String,
        /// Its tags, as far as the event has them.
        tags: BTreeMap<String, String>,
    },
    /// A model package changed, its approval above all.
    Package {
        /// The group.
        group: GroupName,
        /// The version in the group.
        version: PackageVersion,
        /// The package's ARN.
        arn: String,
        /// The approval that the event tells of (the described one counts).
        approval: Approval,
    },
    /// An endpoint changed its status.
    Endpoint {
        /// The endpoint.
        endpoint: EndpointName,
        /// The status that the event tells of (the described one counts).
        status: EndpointStatus,
    },
    /// A minute passed for a running rollout.
    Tick {
        /// The group of the pipeline.
        group: GroupName,
        /// The stage that rolls out.
        stage: StageName,
        /// The rollout that the schedule was made for.
        rollout: RolloutId,
    },
    /// An execution of a SageMaker pipeline ended.
    Execution {
        /// Its ARN.
        arn: String,
        /// Its status, in SageMaker's word (the described one counts).
        status: String,
    },
    /// Some minutes passed: what is unfinished anywhere is looked after.
    Housekeeping,
    /// A monitoring job of a schedule ended, or the schedule's status tells of one that did.
    Monitoring {
        /// The schedule.
        schedule: ScheduleName,
        /// The endpoint, where the event names it.
        endpoint: Option<EndpointName>,
        /// The processing job, where the event names it.
        job: Option<String>,
        /// How it ended.
        outcome: MonitoringOutcome,
    },
    /// A `CloudWatch` alarm went to ALARM on a metric of an endpoint.
    Alarm {
        /// The alarm's name.
        alarm: String,
        /// The endpoint that its metric's dimensions name.
        endpoint: EndpointName,
        /// The variant that its metric's dimensions name, if any.
        variant: Option<String>,
        /// The metric, for people: namespace and name.
        metric: String,
        /// Why, in `CloudWatch`'s words.
        reason: String,
        /// Since when the data that it judged: the start of its data window, if it says.
        data_since: Option<Timestamp>,
    },
    /// Known, and nothing that Tidegate acts on.
    Unhandled {
        /// The envelope's source and detail-type.
        what: String,
        /// Why nothing is done.
        why: String,
    },
}

/// A training job's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Not ended yet.
    InProgress,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Being stopped.
    Stopping,
    /// Stopped by somebody or by its time limit.
    Stopped,
}

/// A model package's approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Approval {
    /// May serve.
    Approved,
    /// Must not serve.
    Rejected,
    /// Waits for a person.
    PendingManualApproval,
}

/// An endpoint's status (`DescribeEndpoint`, `EndpointStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum EndpointStatus {
    OutOfService,
    Creating,
    Updating,
    SystemUpdating,
    RollingBack,
    InService,
    Deleting,
    Failed,
    UpdateRollbackFailed,
    /// A status that this version doesn't know; nothing is done to such an endpoint.
    Unknown,
}

/// How a monitoring job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonitoringOutcome {
    /// Found nothing, or has not ended.
    Quiet,
    /// Found violations; the findings are in the job's output.
    Violations,
    /// Failed to run, with the reason.
    Failed(String),
}
