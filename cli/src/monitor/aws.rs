//! What `SageMaker` is asked about monitoring schedules, their runs, and what these found.
//!
//! Sources: the API reference of `DescribeMonitoringSchedule`, `ListMonitoringSchedules` and
//! `ListMonitoringExecutions`; a report is read as Tidegate's functions read it.

use std::error::Error;

use aws_sdk_sagemaker::Client;
use aws_sdk_sagemaker::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sagemaker::operation::list_monitoring_schedules::builders::ListMonitoringSchedulesFluentBuilder;
use aws_sdk_sagemaker::primitives::DateTime;
use aws_sdk_sagemaker::types::{
    ExecutionStatus, MonitoringExecutionSortKey, MonitoringScheduleConfig, SortOrder,
};
use jiff::Timestamp;
use serde::Serialize;
use tidegate_aws::AwsWorld;
use tidegate_core::name::{EndpointName, ScheduleName};
use tidegate_core::run_once;
use tidegate_core::world::{Answer, Findings, Question, World as _};

use super::timing::Timing;
use crate::connect::open_sagemaker;
use crate::error::{Exit, Problem, advice};

/// How many schedules of one endpoint are looked at; `SageMaker` gives a page of 100.
const MOST_LISTED: usize = 500;
/// How many schedules are named to who asked for one that is not there.
const NAMED: i32 = 10;

/// `SageMaker`, for monitors.
#[derive(Debug)]
pub(super) struct Monitors {
    pub(super) sagemaker: Client,
    world: AwsWorld,
    region: String,
}

/// A monitoring schedule.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Schedule {
    pub(super) name: ScheduleName,
    /// `DataQuality`, `ModelQuality`, `ModelBias`, `ModelExplainability`; `unknown` if it is missing.
    pub(super) kind: String,
    /// None of batch transform data.
    pub(super) endpoint: Option<String>,
    /// `cron(0 * ? * * *)`, `NOW`.
    pub(super) expression: Option<String>,
    /// `pending`, `scheduled`, `stopped`, `failed`; `missing` if `SageMaker` does not know it,
    /// `deleted` if it did.
    pub(super) state: String,
    /// Why it failed.
    pub(super) failure: Option<String>,
    #[serde(skip)]
    pub(super) config: Option<MonitoringScheduleConfig>,
}

impl Schedule {
    /// One that `SageMaker` does not know.
    pub(super) fn missing(name: &ScheduleName) -> Self {
        Self {
            name: name.clone(),
            kind: "unknown".to_owned(),
            endpoint: None,
            expression: None,
            state: "missing".to_owned(),
            failure: None,
            config: None,
        }
    }

    /// One that was deleted, as this run of it knows it.
    pub(super) fn deleted(name: &ScheduleName, run: &Execution) -> Self {
        let missing = Self::missing(name);
        Self {
            kind: run.kind.clone().unwrap_or(missing.kind),
            endpoint: run.endpoint.clone(),
            state: "deleted".to_owned(),
            ..missing
        }
    }

    pub(super) fn timing(&self) -> Timing {
        Timing::read(self.expression.as_deref())
    }

    /// When it runs next, if it does.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let runs = matches!(self.state.as_str(), "scheduled" | "pending");
        runs.then(|| self.timing().next(now)).flatten()
    }
}

/// A run of a schedule.
#[derive(Debug, Serialize)]
pub(super) struct Execution {
    pub(super) scheduled: Timestamp,
    /// When its status changed last.
    pub(super) changed: Timestamp,
    /// `pending`, `in_progress`, `completed`, `completed_with_violations`, `failed`, `stopping`,
    /// `stopped`.
    pub(super) status: String,
    /// Its processing job, if it came to have one.
    pub(super) job: Option<String>,
    /// Why it failed.
    pub(super) failure: Option<String>,
    /// The schedule's, which may be gone.
    #[serde(skip)]
    pub(super) endpoint: Option<String>,
    #[serde(skip)]
    pub(super) kind: Option<String>,
}

impl Execution {
    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.status.as_str(), "pending" | "in_progress" | "stopping")
    }

    pub(super) fn has_violations(&self) -> bool {
        self.status == "completed_with_violations"
    }

    /// Whether it ended without a result.
    pub(super) fn is_failed(&self) -> bool {
        matches!(self.status.as_str(), "failed" | "stopped")
    }
}

impl Monitors {
    /// Nothing is called yet.
    pub(super) async fn open() -> Result<Self, Problem> {
        let (sagemaker, world, region) = open_sagemaker().await?;
        Ok(Self {
            sagemaker,
            world,
            region,
        })
    }

    /// A schedule; none if there is no such.
    pub(super) async fn find(&self, name: &ScheduleName) -> Result<Option<Schedule>, Problem> {
        let ask = self.sagemaker.describe_monitoring_schedule();
        let found = match ask.monitoring_schedule_name(name.as_str()).send().await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.failed("DescribeMonitoringSchedule", &error)),
        };
        let config = found.monitoring_schedule_config;
        let inline = config
            .as_ref()
            .and_then(|config| config.monitoring_job_definition());
        let in_definition = inline.and_then(|definition| {
            let inputs = definition.monitoring_inputs().iter();
            let mut endpoints = inputs.filter_map(|i| i.endpoint_input()?.endpoint_name());
            endpoints.next().map(str::to_owned)
        });
        let kind = found.monitoring_type.or_else(|| {
            let config = config.as_ref()?;
            config.monitoring_type().cloned()
        });
        let when = config.as_ref().and_then(|config| config.schedule_config());
        Ok(Some(Schedule {
            name: name.clone(),
            kind: kind.map_or_else(|| "DataQuality".to_owned(), |kind| kind.as_str().to_owned()),
            endpoint: found.endpoint_name.or(in_definition),
            expression: when.and_then(|when| when.schedule_expression().map(str::to_owned)),
            state: found
                .monitoring_schedule_status
                .map_or_else(|| "unknown".to_owned(), |s| s.as_str().to_ascii_lowercase()),
            failure: found.failure_reason,
            config,
        }))
    }

    /// The schedules of an endpoint, by name.
    pub(super) async fn of_endpoint(
        &self,
        endpoint: &EndpointName,
    ) -> Result<Vec<ScheduleName>, Problem> {
        let ask = self.sagemaker.list_monitoring_schedules();
        self.names(ask.endpoint_name(endpoint.as_str())).await
    }

    /// The schedules of runs by hand of a schedule, as long as nobody deleted them.
    pub(super) async fn runs_of(
        &self,
        schedule: &ScheduleName,
    ) -> Result<Vec<ScheduleName>, Problem> {
        let ask = self.sagemaker.list_monitoring_schedules();
        let mut names = self.names(ask.name_contains(schedule.as_str())).await?;
        names.retain(|name| run_once::origin(name).as_ref() == Some(schedule));
        Ok(names)
    }

    async fn names(
        &self,
        ask: ListMonitoringSchedulesFluentBuilder,
    ) -> Result<Vec<ScheduleName>, Problem> {
        let mut names = Vec::new();
        let mut next = None;
        loop {
            let page = ask.clone().max_results(100).set_next_token(next);
            let page = page.send().await;
            let page = page.map_err(|error| self.failed("ListMonitoringSchedules", &error))?;
            let listed = page.monitoring_schedule_summaries().iter();
            names.extend(listed.filter_map(|one| {
                ScheduleName::parse(one.monitoring_schedule_name().unwrap_or_default()).ok()
            }));
            next = page.next_token;
            if next.is_none() || names.len() >= MOST_LISTED {
                return Ok(names);
            }
        }
    }

    /// The newest runs of a schedule, newest first; also of one that was deleted.
    pub(super) async fn executions(
        &self,
        name: &ScheduleName,
        most: u8,
    ) -> Result<Vec<Execution>, Problem> {
        let ask = self.sagemaker.list_monitoring_executions();
        let listed = ask
            .monitoring_schedule_name(name.as_str())
            .sort_by(MonitoringExecutionSortKey::ScheduledTime)
            .sort_order(SortOrder::Descending)
            .max_results(i32::from(most))
            .send()
            .await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("ListMonitoringExecutions", &error)),
        };
        let executions = listed.monitoring_execution_summaries().iter().map(|one| {
            let job = one.processing_job_arn();
            Execution {
                scheduled: time(one.scheduled_time()),
                changed: time(one.last_modified_time()),
                status: word(one.monitoring_execution_status()),
                job: job.map(|arn| arn.rsplit('/').next().unwrap_or(arn).to_owned()),
                failure: one.failure_reason().map(str::to_owned),
                endpoint: one.endpoint_name().map(str::to_owned),
                kind: one.monitoring_type().map(|kind| kind.as_str().to_owned()),
            }
        });
        Ok(executions.collect())
    }

    /// What a run found, read as Tidegate reads it.
    pub(super) async fn findings(&self, job: &str) -> Findings {
        let question = Question::Violations {
            job: job.to_owned(),
        };
        let unreadable = |why: String| Findings {
            job: job.to_owned(),
            unreadable: Some(why),
            ..Findings::default()
        };
        match self.world.ask(&question).await {
            Ok(Answer::Violations(findings)) => *findings,
            Ok(_) => unreadable(format!("the job {job} does not exist any more")),
            Err(error) => unreadable(format!("AWS refused {}: {}", error.call, error.message)),
        }
    }

    /// There is no such schedule; those that there are, are named.
    pub(super) async fn no_schedule(&self, name: &str) -> Problem {
        let problem = Problem::new(
            Exit::No,
            format!(
                "there is no monitoring schedule {:?}",
                crate::error::short(name)
            ),
        )
        .at(format!("region {}", self.region))
        .help("`tidegate status` says how far one is that the policy asks for");
        let ask = self.sagemaker.list_monitoring_schedules();
        let Ok(listed) = ask.max_results(NAMED).send().await else {
            return problem.help("`tidegate monitor list` shows those of the pipelines");
        };
        let listed_names: Vec<&str> = listed
            .monitoring_schedule_summaries()
            .iter()
            .filter_map(|one| one.monitoring_schedule_name())
            .collect();
        if listed_names.is_empty() {
            return problem.help("there is none at all in this region; see AWS_REGION");
        }
        let newest = if listed.next_token().is_some() {
            "the newest are"
        } else {
            "there are"
        };
        problem.help(format!("{newest}: {}", listed_names.join(", ")))
    }

    /// What to tell of a call that failed.
    pub(super) fn failed<E>(&self, call: &str, error: &SdkError<E>) -> Problem
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let why = match error.as_service_error() {
            Some(said) => format!(
                "{}: {}",
                said.code().unwrap_or("no code"),
                said.message().unwrap_or("no message")
            ),
            None => DisplayErrorContext(error).to_string(),
        };
        let mut problem = Problem::new(Exit::Aws, format!("{call} failed"))
            .at(format!("SageMaker in {}", self.region))
            .why(&why);
        problem.help = advice(&why, None);
        if let Some(help) = closed(&why) {
            problem = problem.help(help);
        }
        problem
    }
}

/// Model Monitor takes no new customers, and no page says in which words it refuses them. What IAM
/// refuses is told in IAM's words.
fn closed(why: &str) -> Option<&'static str> {
    let lower = why.to_ascii_lowercase();
    let words = [
        "new customer",
        "no longer",
        "not available",
        "not supported",
        "accessdenied",
    ];
    let may_be = words.iter().any(|word| lower.contains(word));
    (may_be && !lower.contains("is not authorized to perform")).then_some(
        "Model Monitor is closed to accounts that did not use it before 30 July 2026: if this is \
         one, alarms on metrics of your own lead to the same (docs/monitoring.md)",
    )
}

fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    code == Some("ResourceNotFound")
}

/// `CompletedWithViolations` is `completed_with_violations`.
fn word(status: Option<&ExecutionStatus>) -> String {
    let mut word = String::new();
    for c in status.map_or("Unknown", ExecutionStatus::as_str).chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

fn time(at: Option<&DateTime>) -> Timestamp {
    let millis = at.and_then(|at| at.to_millis().ok()).unwrap_or_default();
    Timestamp::from_millisecond(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_word_of_json() {
        let of = |status: ExecutionStatus| word(Some(&status));
        assert_eq!(
            of(ExecutionStatus::CompletedWithViolations),
            "completed_with_violations"
        );
        assert_eq!(of(ExecutionStatus::InProgress), "in_progress");
    }

    #[test]
    fn a_refusal_that_may_be_the_closed_door_says_so() {
        assert!(closed("AccessDeniedException: no").is_some());
        assert!(closed("ValidationException: is not available to new customers").is_some());
        assert!(closed("ThrottlingException: Rate exceeded").is_none());
        assert!(closed("AccessDeniedException: x is not authorized to perform: y").is_none());
    }
}
