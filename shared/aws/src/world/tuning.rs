//! Hyperparameter tuning jobs, as `DescribeHyperParameterTuningJob` has them, and one like another,
//! on other data.
//!
//! Strategy, ranges, objective, limits and everything else of the other one are asked for again, but
//! for what the policy says and for what is its own: its warm start, since its parents saw other
//! data, its checkpoints, and the hyperparameter that SageMaker itself sets.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sagemaker::operation::describe_hyper_parameter_tuning_job::DescribeHyperParameterTuningJobOutput;
use aws_sdk_sagemaker::types::{
    HyperParameterTrainingJobDefinition, HyperParameterTrainingJobSummary,
    HyperParameterTuningJobStatus,
};
use tidegate_core::event::JobStatus;
use tidegate_core::name::{JobName, TuningName};
use tidegate_core::world::{
    Answer, BestJob, Outcome, TuningClone, TuningJob, TuningLike, WorldError,
};

use super::AwsWorld;
use super::cloning::{FINDING, NAME_PARAMETER, checkpoints, cloned, inputs, own, unknown_channel};
use super::tags::inherited;
use super::values::{count, decimal, name_of_arn, required};
use crate::error::{Failure, failed, refused};

const CREATE: &str = "CreateHyperParameterTuningJob";
const DESCRIBE: &str = "DescribeHyperParameterTuningJob";
/// SageMaker adds it to the static hyperparameters, and takes it from nobody.
const OBJECTIVE_PARAMETER: &str = "_tuning_objective_metric";

impl AwsWorld {
    pub(super) async fn tuning_job(&self, job: &TuningName) -> Result<Answer, WorldError> {
        let found = match self.described_tuning(job.as_str()).await {
            Ok(found) => found,
            Err(failure) if failure.is_gone() => return Ok(Answer::Missing),
            Err(failure) => return Err(failure.into()),
        };
        let arn = required(DESCRIBE, "HyperParameterTuningJobArn", {
            found.hyper_parameter_tuning_job_arn
        })?;
        let tags = self.tags_of(&arn).await?;
        let counts = found.training_job_status_counters;
        let counted = |of: fn(&_) -> Option<i32>| count(counts.as_ref().and_then(of));
        let failed = counted(|c| c.retryable_error) + counted(|c| c.non_retryable_error);
        let stopped = counted(|c| c.stopped);
        let others = counted(|c| c.completed) + counted(|c| c.in_progress);
        Ok(Answer::TuningJob(Box::new(TuningJob {
            name: job.clone(),
            arn,
            status: status(found.hyper_parameter_tuning_job_status.as_ref()),
            failure: found.failure_reason.filter(|why| !why.is_empty()),
            tags,
            best: found.best_training_job.and_then(best),
            launched: others + failed + stopped,
            failed,
            stopped,
        })))
    }

    async fn described_tuning(
        &self,
        name: &str,
    ) -> Result<DescribeHyperParameterTuningJobOutput, Failure> {
        let asked = self
            .clients
            .sagemaker
            .describe_hyper_parameter_tuning_job()
            .hyper_parameter_tuning_job_name(name)
            .send();
        asked.await.map_err(failed(DESCRIBE))
    }

    pub(super) async fn clone_tuning_job(
        &self,
        clone: &TuningClone,
    ) -> Result<Outcome, WorldError> {
        let like = self
            .described_tuning(&self.like(&clone.like).await?)
            .await?;
        let arn = like.hyper_parameter_tuning_job_arn.clone();
        let arn = required(DESCRIBE, "HyperParameterTuningJobArn", arn)?;
        let tags = self.tags_of(&arn).await?;
        cloned(
            |with_metrics| self.create_tuning(clone, &like, &tags, with_metrics),
            || self.is_the_tuning(clone),
        )
        .await
    }

    /// The name of the tuning job whose settings are taken.
    async fn like(&self, like: &TuningLike) -> Result<String, WorldError> {
        let job = match like {
            TuningLike::Tuning(name) => return Ok(name.to_string()),
            TuningLike::OfJob(job) => job,
        };
        let described = self.described_job(job.as_str()).await?;
        let arn = described.tuning_job_arn.filter(|arn| !arn.is_empty());
        let Some(arn) = arn else {
            return Err(refused(
                CREATE,
                format!(
                    "the training job {job}, from which what serves comes, was launched by no \
                     tuning job; name one in the policy with `like`"
                ),
            ));
        };
        Ok(name_of_arn(&arn).to_owned())
    }

    async fn create_tuning(
        &self,
        clone: &TuningClone,
        like: &DescribeHyperParameterTuningJobOutput,
        tags: &BTreeMap<String, String>,
        with_metrics: bool,
    ) -> Result<String, Failure> {
        let one = like.training_job_definition.iter();
        let all: Vec<_> = one.chain(like.training_job_definitions()).collect();
        let channels = all.iter().flat_map(|each| each.input_data_config());
        unknown_channel(CREATE, &clone.inputs, &clone.like.to_string(), channels).map_err(own)?;
        let again = |each: &HyperParameterTrainingJobDefinition| {
            definition(clone, each, with_metrics).map_err(own)
        };
        let one = like.training_job_definition.as_ref();
        let one = one.map(again).transpose()?;
        let list = like.training_job_definitions().iter();
        let list: Vec<_> = list.map(again).collect::<Result<_, _>>()?;
        let made = self
            .clients
            .sagemaker
            .create_hyper_parameter_tuning_job()
            .hyper_parameter_tuning_job_name(clone.name.as_str())
            .set_hyper_parameter_tuning_job_config(like.hyper_parameter_tuning_job_config.clone())
            .set_training_job_definition(one)
            .set_training_job_definitions(Some(list).filter(|list| !list.is_empty()))
            .set_autotune(like.autotune.clone())
            .set_tags(Some(inherited(tags, &clone.tags)))
            .send()
            .await
            .map_err(failed(CREATE))?;
        let arn = made.hyper_parameter_tuning_job_arn;
        required(CREATE, "HyperParameterTuningJobArn", arn).map_err(own)
    }

    /// The tuning job of this name, which is there already, if it is about the same finding.
    async fn is_the_tuning(&self, clone: &TuningClone) -> Result<Outcome, WorldError> {
        let there = self.described_tuning(clone.name.as_str()).await?;
        let arn = there.hyper_parameter_tuning_job_arn;
        let arn = required(DESCRIBE, "HyperParameterTuningJobArn", arn)?;
        let tags = self.tags_of(&arn).await?;
        if tags.get(FINDING) == clone.tags.get(FINDING) {
            return Ok(Outcome::Started { arn });
        }
        Err(refused(
            CREATE,
            format!(
                "there is a tuning job {} already, and it is not tagged {FINDING} as this one \
                 would be; choose another name_prefix",
                clone.name
            ),
        ))
    }
}

/// A status that this version doesn't know is not an end.
fn status(status: Option<&HyperParameterTuningJobStatus>) -> JobStatus {
    match status {
        Some(HyperParameterTuningJobStatus::Completed) => JobStatus::Completed,
        Some(HyperParameterTuningJobStatus::Failed) => JobStatus::Failed,
        Some(HyperParameterTuningJobStatus::Stopped) => JobStatus::Stopped,
        Some(HyperParameterTuningJobStatus::Stopping) => JobStatus::Stopping,
        _ => JobStatus::InProgress,
    }
}

fn best(summary: HyperParameterTrainingJobSummary) -> Option<BestJob> {
    let objective = summary.final_hyper_parameter_tuning_job_objective_metric;
    Some(BestJob {
        job: JobName::parse(&summary.training_job_name?).ok()?,
        objective: objective.and_then(|metric| Some((metric.metric_name?, decimal(metric.value?)))),
    })
}

/// What training jobs are launched by, on the data that the policy names.
fn definition(
    clone: &TuningClone,
    like: &HyperParameterTrainingJobDefinition,
    with_metrics: bool,
) -> Result<HyperParameterTrainingJobDefinition, WorldError> {
    let mut own = like.clone();
    let name = clone.like.to_string();
    let channels = inputs(CREATE, &clone.inputs, &name, like.input_data_config())?;
    own.input_data_config = Some(channels).filter(|list| !list.is_empty());
    own.static_hyper_parameters =
        Some(hyperparameters(clone, like)).filter(|given| !given.is_empty());
    own.checkpoint_config = checkpoints(clone.name.as_str(), like.checkpoint_config());
    if let Some(algorithm) = own
        .algorithm_specification
        .as_mut()
        .filter(|_| !with_metrics)
    {
        algorithm.metric_definitions = None;
    }
    Ok(own)
}

fn hyperparameters(
    clone: &TuningClone,
    like: &HyperParameterTrainingJobDefinition,
) -> HashMap<String, String> {
    let mut all = like.static_hyper_parameters.clone().unwrap_or_default();
    all.remove(OBJECTIVE_PARAMETER);
    if let Some(name) = all.get_mut(NAME_PARAMETER) {
        *name = format!("\"{}\"", clone.name);
    }
    all.extend(clone.hyperparameters.clone());
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_sdk_sagemaker::types::{CheckpointConfig, FinalHyperParameterTuningJobObjectiveMetric};

    use super::*;

    #[test]
    fn what_sagemaker_sets_itself_is_not_asked_for_and_names_are_its_own() {
        let pair = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
        let clone = TuningClone {
            name: TuningName::parse("again").unwrap(),
            like: TuningLike::Tuning(TuningName::parse("first").unwrap()),
            inputs: BTreeMap::new(),
            hyperparameters: pair("rounds", "9"),
            tags: BTreeMap::new(),
        };
        let like = HyperParameterTrainingJobDefinition::builder()
            .static_hyper_parameters(OBJECTIVE_PARAMETER, "auc")
            .static_hyper_parameters(NAME_PARAMETER, "\"first\"")
            .static_hyper_parameters("rounds", "5")
            .static_hyper_parameters("loss", "log")
            .checkpoint_config(CheckpointConfig::builder().s3_uri("s3://b/c").build())
            .build();
        let own = definition(&clone, &like, true).unwrap();
        let given = own.static_hyper_parameters().unwrap();
        let mut given: Vec<_> = given
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        given.sort_unstable();
        assert_eq!(
            given,
            [
                ("loss", "log"),
                ("rounds", "9"),
                (NAME_PARAMETER, "\"again\"")
            ]
        );
        let folder = own.checkpoint_config().and_then(CheckpointConfig::s3_uri);
        assert_eq!(folder, Some("s3://b/c/again"));
    }

    #[test]
    fn the_best_has_the_value_that_was_meant() {
        let metric = FinalHyperParameterTuningJobObjectiveMetric::builder()
            .metric_name("auc")
            .value(0.95);
        let summary = HyperParameterTrainingJobSummary::builder()
            .training_job_name("first-001-abcdef01")
            .final_hyper_parameter_tuning_job_objective_metric(metric.build());
        let best = best(summary.build()).unwrap();
        assert_eq!(best.objective, Some(("auc".to_owned(), 0.95)));
    }
}
