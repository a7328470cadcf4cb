//! What a retraining is, and the call that starts it: names are derived from the finding, so that
//! doing it twice is one retraining.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ancestry::{FINDING_KEY, PARENT_KEY, tag_value};
use crate::case::Case;
use crate::name::{EndpointName, JobName, PackageVersion, TuningName};
use crate::pipeline::{OnDrift, Policy, Retrain, Stage, Training};
use crate::triage::Found;
use crate::world::{Effect, RetrainingRequest, TrainingClone, TuningClone, TuningLike};

/// The most characters of why a retraining starts, and of a filled-in parameter.
const LONGEST_WHY: usize = 1_000;

/// A retraining that was started, until the next one is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retraining {
    /// What it is called by in the ledger: made from the group and the finding.
    pub token: String,
    /// What runs.
    pub run: Run,
    /// When it was decided on.
    pub since: Timestamp,
    /// When it is followed no more.
    pub give_up_at: Timestamp,
    /// The endpoint that it is for.
    pub endpoint: EndpointName,
    /// The version that served then.
    pub parent: Option<PackageVersion>,
    /// The monitoring job or alarm that led to it.
    pub finding: String,
    /// Versions that others registered of its jobs, the newest 20.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub models: BTreeSet<PackageVersion>,
    /// How many findings were withheld before it, of which people were not told.
    pub withheld: u32,
    /// When it ended, or was given up.
    pub ended: Option<Timestamp>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// An execution of a SageMaker pipeline.
    Execution {
        /// The pipeline.
        pipeline: String,
        /// The execution's ARN, once it was started.
        arn: Option<String>,
    },
    /// A training job.
    TrainingJob {
        /// Its name.
        name: JobName,
    },
    /// A hyperparameter tuning job.
    TuningJob {
        /// Its name.
        name: TuningName,
    },
    /// Something that others start on an event.
    Request,
}

impl Run {
    /// For people, at the start of a sentence.
    pub fn in_words(&self) -> String {
        match self {
            Self::Execution { pipeline, .. } => format!("The SageMaker pipeline {pipeline}"),
            Self::TrainingJob { name } => format!("The training job {name}"),
            Self::TuningJob { name } => format!("The tuning job {name}"),
            Self::Request => "The retraining that was asked for by event".to_owned(),
        }
    }
}

impl Retraining {
    /// Whether it has not ended.
    pub fn is_under_way(&self) -> bool {
        self.ended.is_none()
    }
}

/// What runs, and the call that starts it; why it can't be started, if it can't.
pub(super) fn start(
    case: &Case<'_>,
    stage: &Stage,
    on_drift: &OnDrift,
    found: &Found,
    token: &str,
) -> Result<(Run, Effect), String> {
    let champion = case.snapshot.head.champions.get(&stage.name);
    let champion = champion.map(|c| &c.candidate);
    let parent = champion.map(|c| c.version.to_string()).unwrap_or_default();
    let champion_job = champion.and_then(|c| c.job.clone());
    let why: String = found.sentence.chars().take(LONGEST_WHY).collect();
    let values = BTreeMap::from([
        ("reason", why.clone()),
        ("data_from", seconds(found.since)),
        ("data_to", seconds(case.now)),
        ("day", seconds(case.now).chars().take(10).collect()),
        ("parent_version", parent.clone()),
        ("champion_job", champion_job.clone().unwrap_or_default()),
        ("feature", found.feature.clone().unwrap_or_default()),
    ]);
    let filled = |texts: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let filled = texts.iter().map(|(k, v)| (k.clone(), fill(v, &values)));
        filled.collect()
    };
    let policy = case.policy();
    Ok(match &on_drift.retrain {
        Retrain::Pipeline(run) => (
            Run::Execution {
                pipeline: run.pipeline.clone(),
                arn: None,
            },
            Effect::StartRetraining {
                pipeline: run.pipeline.clone(),
                token: token.to_owned(),
                parameters: filled(&run.parameters),
                why,
            },
        ),
        Retrain::TrainingJob { training_job } => {
            let like = like_champion(champion_job.as_deref(), stage)?;
            let name = name_of(&training_job.name_prefix, token);
            let name = JobName::parse(&name).map_err(|error| error.to_string())?;
            let clone = TrainingClone {
                name: name.clone(),
                like,
                inputs: filled(&training_job.inputs),
                hyperparameters: filled(&training_job.hyperparameters),
                tags: tags(policy, found, parent),
            };
            (
                Run::TrainingJob { name },
                Effect::CloneTrainingJob(Box::new(clone)),
            )
        }
        Retrain::TuningJob { tuning_job } => {
            let like = match &tuning_job.like {
                Some(name) => TuningLike::Tuning(name.clone()),
                None => TuningLike::OfJob(like_champion(champion_job.as_deref(), stage)?),
            };
            let name = name_of(&tuning_job.name_prefix, token);
            let name = TuningName::parse(&name).map_err(|error| error.to_string())?;
            let clone = TuningClone {
                name: name.clone(),
                like,
                inputs: filled(&tuning_job.inputs),
                hyperparameters: filled(&tuning_job.hyperparameters),
                tags: tags(policy, found, parent),
            };
            (
                Run::TuningJob { name },
                Effect::CloneTuningJob(Box::new(clone)),
            )
        }
        Retrain::Event { event } => (
            Run::Request,
            Effect::RequestRetraining(Box::new(RetrainingRequest {
                id: token.to_owned(),
                at: case.now,
                pipeline: policy.pipeline.name.clone(),
                group: policy.pipeline.group.clone(),
                endpoint: stage.endpoint.clone(),
                finding: tag_value(&found.id),
                reason: why,
                data_from: found.since,
                data_to: case.now,
                parent_version: champion.map(|c| c.version),
                champion_job,
                feature: found.feature.clone(),
                detail: filled(&event.detail),
            })),
        ),
    })
}

/// The training job of what serves.
fn like_champion(job: Option<&str>, stage: &Stage) -> Result<JobName, String> {
    if let Some(Ok(job)) = job.map(JobName::parse) {
        return Ok(job);
    }
    Err(format!(
        "What serves {} names no training job in its package (tidegate:job), so none can be \
         cloned. Train it by hand this time: a version that Tidegate registers names its job.",
        stage.endpoint
    ))
}

/// The name of a job for a finding: the same each time.
fn name_of(prefix: &str, token: &str) -> String {
    format!("{}-{token:.12}", prefix.trim_end_matches('-'))
}

/// What a job says of why it was started, and the tag by which the pipeline knows its jobs.
fn tags(policy: &Policy, found: &Found, parent: String) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([(FINDING_KEY.to_owned(), tag_value(&found.id))]);
    if !parent.is_empty() {
        tags.insert(PARENT_KEY.to_owned(), parent);
    }
    if let Training::Tag(tag) = policy.training_rule()
        && let Some((key, value)) = tag.split_once('=')
    {
        tags.insert(key.to_owned(), value.to_owned());
    }
    tags
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The text with `{name}` filled in, in one go: what a value brings is not filled in again.
fn fill(text: &str, values: &BTreeMap<&str, String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let value = after
            .split_once('}')
            .and_then(|(name, after)| Some((values.get(name)?, after)));
        if let Some((value, after)) = value {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled.chars().take(LONGEST_WHY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_value_brings_is_not_filled_in_again() {
        let values = BTreeMap::from([
            ("reason", "{day}".to_owned()),
            ("day", "2026-11-28".to_owned()),
        ]);
        assert_eq!(
            fill("s3://b/{day}/{reason}/{x}/{", &values),
            "s3://b/2026-11-28/{day}/{x}/{"
        );
    }
}
