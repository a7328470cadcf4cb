//! What Tidegate reads in an event, in one or two sentences for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Approval, Event, JobStatus, Kind, MonitoringOutcome};

/// Says in plain words what the event tells.
pub fn describe(event: &Event) -> String {
    match &event.kind {
        Kind::TrainingJob { job, status, tags } => {
            format!(
                "Training job {job} {}.{}",
                how(*status),
                tags_in_words(tags)
            )
        }
        Kind::TuningJob { job, status, tags } => {
            format!("Tuning job {job} {}.{}", how(*status), tags_in_words(tags))
        }
        Kind::TrainingStarted {
            job, is_tuning, by, ..
        } => {
            let what = if *is_tuning { "tuning" } else { "training" };
            format!("{by} started the {what} job {job}.")
        }
        Kind::Package {
            group,
            version,
            approval,
            ..
        } => {
            let how = match approval {
                Approval::Approved => "is approved",
                Approval::Rejected => "is rejected",
                Approval::PendingManualApproval => "waits for a person's approval",
            };
            format!("Model package {version} of the group {group} {how}.")
        }
        Kind::Endpoint { endpoint, status } => format!("Endpoint {endpoint} is {status:?}."),
        Kind::Tick {
            group,
            stage,
            rollout,
        } => format!(
            "A minute passed for the rollout {rollout} of the group {group}, stage {stage}; it \
             was scheduled for {}.",
            event.at
        ),
        Kind::Execution { arn, status } => execution(arn, status),
        Kind::Housekeeping => format!(
            "It is time to look after what is unfinished anywhere; it was scheduled for {}.",
            event.at
        ),
        Kind::Monitoring {
            schedule,
            endpoint,
            job,
            outcome,
        } => {
            let mut text = format!("The monitoring schedule {schedule}");
            if let Some(endpoint) = endpoint {
                let _ = write!(text, " of endpoint {endpoint}");
            }
            text.push_str(match outcome {
                MonitoringOutcome::Quiet => " has nothing to report",
                MonitoringOutcome::Violations => " found violations",
                MonitoringOutcome::Failed(_) => " could not run",
            });
            if let Some(job) = job {
                let _ = write!(text, " in the job {job}");
            }
            match outcome {
                MonitoringOutcome::Failed(reason) => {
                    let _ = write!(text, ": {}", sentence(reason));
                }
                _ => text.push('.'),
            }
            text
        }
        Kind::Alarm {
            alarm,
            endpoint,
            variant,
            metric,
            reason,
            data_since,
        } => {
            let mut text = format!("Alarm {alarm} went off for endpoint {endpoint}");
            if let Some(variant) = variant {
                let _ = write!(text, ", variant {variant}");
            }
            let _ = write!(text, ", on {metric}");
            if let Some(since) = data_since {
                let _ = write!(text, " since {since}");
            }
            if reason.trim().is_empty() {
                text.push('.');
            } else {
                let _ = write!(text, ": {}", sentence(reason));
            }
            text
        }
        Kind::Unhandled { what, why } => format!("Nothing is done about {what}: {}", sentence(why)),
    }
}

fn how(status: JobStatus) -> &'static str {
    match status {
        JobStatus::InProgress => "is in progress",
        JobStatus::Completed => "completed",
        JobStatus::Failed => "failed",
        JobStatus::Stopping => "is being stopped",
        JobStatus::Stopped => "was stopped",
    }
}

fn tags_in_words(tags: &BTreeMap<String, String>) -> String {
    if tags.is_empty() {
        return " The event has no tags of it.".to_owned();
    }
    let tags: Vec<_> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!(" Its tags: {}.", tags.join(", "))
}

fn execution(arn: &str, status: &str) -> String {
    let id = arn.rsplit(":pipeline/").next().unwrap_or(arn);
    format!("The pipeline execution {id} is {status}.")
}

/// The text with a full stop at its end.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?', '…']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}
