//! Which pipeline an event belongs to. Accounts are shared: most events belong to none.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::EngineError;
use crate::event::{JobStatus, Kind};
use crate::ledger::{Ledger, Route, RouteKind};
use crate::name::{EndpointName, GroupName, ScheduleName, TuningName};
use crate::run_once;
use crate::world::{Answer, Question, World};

/// Where an event leads.
pub(super) enum Routed {
    To(GroupName),
    Nowhere(String),
}

/// The tag that names a pipeline.
const PIPELINE_TAG: &str = "tidegate:pipeline";

/// Finds the pipeline of an event.
pub(super) async fn route<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    kind: &Kind,
) -> Result<Routed, EngineError> {
    match kind {
        Kind::TrainingJob { job, tags, status } => {
            if matches!(status, JobStatus::InProgress | JobStatus::Stopping) {
                return Ok(Routed::Nowhere(format!(
                    "the training job {job} is not over"
                )));
            }
            by_tags_or_name(ledger, world, &Question::TrainingJob(job.clone()), tags).await
        }
        Kind::TuningJob { job, tags, status } => {
            if matches!(status, JobStatus::InProgress | JobStatus::Stopping) {
                return Ok(Routed::Nowhere(format!("the tuning job {job} is not over")));
            }
            by_tags_or_name(ledger, world, &Question::TuningJob(job.clone()), tags).await
        }
        Kind::TrainingStarted {
            job,
            is_tuning,
            tags,
            ..
        } => {
            let question = match TuningName::parse(job.as_str()) {
                Ok(tuning) if *is_tuning => Question::TuningJob(tuning),
                _ => Question::TrainingJob(job.clone()),
            };
            by_tags_or_name(ledger, world, &question, tags).await
        }
        Kind::Package { group, .. } | Kind::Tick { group, .. } => Ok(Routed::To(group.clone())),
        Kind::Endpoint { endpoint, .. } | Kind::Alarm { endpoint, .. } => {
            of_endpoint(ledger, endpoint).await
        }
        Kind::Monitoring {
            schedule, endpoint, ..
        } => monitoring(ledger, world, schedule, endpoint.as_ref()).await,
        Kind::Execution { arn, .. } => {
            let name = arn.to_ascii_lowercase();
            Ok(match find(ledger, RouteKind::Execution, name).await? {
                Some(group) => Routed::To(group),
                None => Routed::Nowhere(format!("{arn} is no retraining of a pipeline")),
            })
        }
        Kind::Housekeeping => Ok(Routed::Nowhere(
            "housekeeping looks after every pipeline with something unfinished".to_owned(),
        )),
        Kind::Unhandled { why, .. } => Ok(Routed::Nowhere(why.clone())),
    }
}

async fn find<L: Ledger>(
    ledger: &L,
    kind: RouteKind,
    name: impl Into<String>,
) -> Result<Option<GroupName>, EngineError> {
    Ok(ledger
        .route(&Route {
            kind,
            name: name.into(),
        })
        .await?)
}

/// Of a training or tuning job, which the question names.
async fn by_tags_or_name<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    question: &Question,
    tags: &BTreeMap<String, String>,
) -> Result<Routed, EngineError> {
    let (name, what) = match question {
        Question::TuningJob(job) => (job.as_str(), format!("the tuning job {job}")),
        Question::TrainingJob(job) => (job.as_str(), format!("the training job {job}")),
        _ => ("", String::new()),
    };
    if let Some(group) = by_tags(ledger, tags).await? {
        return Ok(Routed::To(group));
    }
    let prefixes = ledger.routes(RouteKind::Prefix).await?;
    let longest = prefixes
        .into_iter()
        .filter(|(route, _)| name.starts_with(&route.name))
        .max_by_key(|(route, _)| route.name.len());
    if let Some((_, group)) = longest {
        return Ok(Routed::To(group));
    }
    let mut tags = tags.clone();
    if tags.is_empty() {
        // Events may come without the tags that the job has.
        let described = world.ask(question).await.map_err(EngineError::Fact)?;
        tags = match described {
            Answer::TrainingJob(described) => described.tags,
            Answer::TuningJob(described) => described.tags,
            _ => tags,
        };
        if let Some(group) = by_tags(ledger, &tags).await? {
            return Ok(Routed::To(group));
        }
    }
    Ok(Routed::Nowhere(match tags.get(PIPELINE_TAG) {
        Some(name) => format!(
            "{what} is tagged {PIPELINE_TAG}={name}, and no pipeline {name} is applied (`tidegate \
             status` lists those that are)"
        ),
        None => format!("{what} has no tag and no name of a pipeline"),
    }))
}

async fn by_tags<L: Ledger>(
    ledger: &L,
    tags: &BTreeMap<String, String>,
) -> Result<Option<GroupName>, EngineError> {
    // SageMaker allows 50 tags; the one that names a pipeline is looked up first.
    let mut pairs: Vec<_> = tags.iter().take(50).collect();
    pairs.sort_by_key(|(key, _)| key.as_str() != PIPELINE_TAG);
    let lookups = pairs
        .into_iter()
        .map(|(k, v)| find(ledger, RouteKind::Tag, format!("{k}={v}")));
    for found in join_all(lookups).await {
        if let Some(group) = found? {
            return Ok(Some(group));
        }
    }
    Ok(None)
}

async fn of_endpoint<L: Ledger>(
    ledger: &L,
    endpoint: &EndpointName,
) -> Result<Routed, EngineError> {
    Ok(
        match find(ledger, RouteKind::Endpoint, endpoint.as_str()).await? {
            Some(group) => Routed::To(group),
            None => Routed::Nowhere(format!("the endpoint {endpoint} is no stage of a pipeline")),
        },
    )
}

async fn monitoring<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    schedule: &ScheduleName,
    endpoint: Option<&EndpointName>,
) -> Result<Routed, EngineError> {
    for listed in [Some(schedule.clone()), run_once::origin(schedule)] {
        if let Some(listed) = listed
            && let Some(group) = find(ledger, RouteKind::Schedule, listed.as_str()).await?
        {
            return Ok(Routed::To(group));
        }
    }
    if let Some(endpoint) = endpoint {
        return of_endpoint(ledger, endpoint).await;
    }
    let question = Question::MonitoringSchedule(schedule.clone());
    match world.ask(&question).await.map_err(EngineError::Fact)? {
        Answer::MonitoringSchedule(described) => match &described.endpoint {
            Some(endpoint) => of_endpoint(ledger, endpoint).await,
            None => Ok(Routed::Nowhere(format!(
                "the monitoring schedule {schedule} watches no endpoint, and no policy lists it"
            ))),
        },
        _ => Ok(Routed::Nowhere(format!(
            "the monitoring schedule {schedule} does not exist"
        ))),
    }
}
