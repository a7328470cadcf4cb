//! A training job like another one, on other data.
//!
//! Everything that `DescribeTrainingJob` gives back is asked for again, but for what the policy says
//! and for what is the old job's own: its debugger and profiler, its experiment, the package that it
//! made, and its checkpoints, from which the new job would go on instead of training anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_sagemaker::operation::describe_training_job::DescribeTrainingJobOutput;
use aws_sdk_sagemaker::types::{Channel, CheckpointConfig};
use tidegate_core::world::{Outcome, TrainingClone, WorldError};

use super::AwsWorld;
use super::tags::inherited;
use super::values::required;
use crate::error::{Failure, failed, refused};

const CREATE: &str = "CreateTrainingJob";
const DESCRIBE: &str = "DescribeTrainingJob";
/// The tag that says which finding a job is about; it is what makes a job ours.
pub(super) const FINDING: &str = "tidegate:finding";
/// Where the SageMaker SDK tells a script its job's name (a JSON text).
pub(super) const NAME_PARAMETER: &str = "sagemaker_job_name";

impl AwsWorld {
    pub(super) async fn clone_training_job(
        &self,
        clone: &TrainingClone,
    ) -> Result<Outcome, WorldError> {
        let like = self.described_job(clone.like.as_str()).await?;
        let arn = required(DESCRIBE, "TrainingJobArn", like.training_job_arn.clone())?;
        let tags = self.tags_of(&arn).await?;
        cloned(
            |with_metrics| self.create_clone(clone, &like, &tags, with_metrics),
            || self.is_the_clone(clone),
        )
        .await
    }

    pub(super) async fn described_job(
        &self,
        name: &str,
    ) -> Result<DescribeTrainingJobOutput, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_training_job()
            .training_job_name(name)
            .send();
        Ok(asked.await.map_err(failed(DESCRIBE))?)
    }

    async fn create_clone(
        &self,
        clone: &TrainingClone,
        like: &DescribeTrainingJobOutput,
        tags: &BTreeMap<String, String>,
        with_metrics: bool,
    ) -> Result<String, Failure> {
        let (given, of) = (&clone.inputs, clone.like.as_str());
        let channels = like.input_data_config();
        unknown_channel(CREATE, given, of, channels).map_err(own)?;
        let inputs = inputs(CREATE, given, of, channels).map_err(own)?;
        let mut algorithm = like.algorithm_specification.clone();
        if let Some(algorithm) = algorithm.as_mut().filter(|_| !with_metrics) {
            algorithm.metric_definitions = None;
        }
        let made = self
            .clients
            .sagemaker
            .create_training_job()
            .training_job_name(clone.name.as_str())
            .set_hyper_parameters(Some(hyperparameters(clone, like)).filter(|h| !h.is_empty()))
            .set_algorithm_specification(algorithm)
            .set_role_arn(like.role_arn.clone())
            .set_input_data_config(Some(inputs).filter(|list| !list.is_empty()))
            .set_output_data_config(like.output_data_config.clone())
            .set_resource_config(like.resource_config.clone())
            .set_vpc_config(like.vpc_config.clone())
            .set_stopping_condition(like.stopping_condition.clone())
            .set_enable_network_isolation(like.enable_network_isolation)
            .set_enable_inter_container_traffic_encryption(
                like.enable_inter_container_traffic_encryption,
            )
            .set_enable_managed_spot_training(like.enable_managed_spot_training)
            .set_checkpoint_config(checkpoints(clone.name.as_str(), like.checkpoint_config()))
            .set_tensor_board_output_config(like.tensor_board_output_config.clone())
            .set_environment(like.environment.clone())
            .set_retry_strategy(like.retry_strategy.clone())
            .set_tags(Some(inherited(tags, &clone.tags)))
            .send()
            .await
            .map_err(failed(CREATE))?;
        required(CREATE, "TrainingJobArn", made.training_job_arn).map_err(own)
    }

    /// The job of this name, which is there already, if it is about the same finding.
    async fn is_the_clone(&self, clone: &TrainingClone) -> Result<Outcome, WorldError> {
        let there = self.described_job(clone.name.as_str()).await?;
        let arn = required(DESCRIBE, "TrainingJobArn", there.training_job_arn)?;
        let tags = self.tags_of(&arn).await?;
        if tags.get(FINDING) == clone.tags.get(FINDING) {
            return Ok(Outcome::Started { arn });
        }
        Err(refused(
            CREATE,
            format!(
                "there is a training job {} already, and it is not tagged {FINDING} as this one \
                 would be; choose another name_prefix",
                clone.name
            ),
        ))
    }
}

/// Creates a job, with metric definitions if it may have some. `is_ours` says whether one of its name
/// that is there already is the one that was to be made.
pub(super) async fn cloned<C, O>(
    create: impl Fn(bool) -> C,
    is_ours: impl FnOnce() -> O,
) -> Result<Outcome, WorldError>
where
    C: Future<Output = Result<String, Failure>>,
    O: Future<Output = Result<Outcome, WorldError>>,
{
    let made = match create(true).await {
        // SageMaker's own algorithms have metric definitions that may not be asked for.
        Err(failure) if wants_no_metrics(&failure) => create(false).await,
        made => made,
    };
    match made {
        Ok(arn) => Ok(Outcome::Started { arn }),
        Err(failure) if failure.already => is_ours().await,
        Err(failure) => Err(failure.into()),
    }
}

pub(super) fn own(error: WorldError) -> Failure {
    Failure {
        error,
        already: false,
    }
}

fn wants_no_metrics(failure: &Failure) -> bool {
    let message = failure.error.message.to_ascii_lowercase();
    message.contains("metric definitions") && message.contains("algorithm")
}

/// Refuses data for a channel that none of those of the job `of` is called by.
pub(super) fn unknown_channel<'a>(
    call: &'static str,
    given: &BTreeMap<String, String>,
    of: &str,
    channels: impl IntoIterator<Item = &'a Channel>,
) -> Result<(), WorldError> {
    let names: BTreeSet<String> = channels.into_iter().map(name_of).collect();
    let Some(unknown) = given.keys().find(|name| !names.contains(*name)) else {
        return Ok(());
    };
    let names: Vec<String> = names.into_iter().collect();
    Err(refused(
        call,
        format!(
            "the policy gives data for the channel {unknown}, and {of} has the channels {}",
            names.join(", ")
        ),
    ))
}

fn name_of(channel: &Channel) -> String {
    channel.channel_name.clone().unwrap_or_default()
}

/// The channels of the job `of`, on the data that the policy names.
pub(super) fn inputs(
    call: &'static str,
    given: &BTreeMap<String, String>,
    of: &str,
    like: &[Channel],
) -> Result<Vec<Channel>, WorldError> {
    let mut channels = like.to_vec();
    for channel in &mut channels {
        let Some(uri) = given.get(&name_of(channel)) else {
            continue;
        };
        let source = channel.data_source.as_mut();
        let Some(s3) = source.and_then(|source| source.s3_data_source.as_mut()) else {
            return Err(refused(
                call,
                format!(
                    "the channel {} of {of} does not read from S3, so the policy can't give it data",
                    name_of(channel)
                ),
            ));
        };
        s3.s3_uri = Some(uri.clone());
    }
    Ok(channels)
}

fn hyperparameters(
    clone: &TrainingClone,
    like: &DescribeTrainingJobOutput,
) -> HashMap<String, String> {
    let mut all = like.hyper_parameters.clone().unwrap_or_default();
    if let Some(name) = all.get_mut(NAME_PARAMETER) {
        *name = format!("\"{}\"", clone.name);
    }
    all.extend(clone.hyperparameters.clone());
    all
}

/// A folder for the checkpoints of the job `name` alone.
pub(super) fn checkpoints(name: &str, like: Option<&CheckpointConfig>) -> Option<CheckpointConfig> {
    let mut own = like?.clone();
    let uri = own.s3_uri.as_deref()?.trim_end_matches('/');
    own.s3_uri = Some(format!("{uri}/{name}"));
    Some(own)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_sdk_sagemaker::types::{DataSource, S3DataSource, S3DataType};
    use tidegate_core::name::JobName;

    use super::*;

    fn clone() -> TrainingClone {
        TrainingClone {
            name: JobName::parse("fraud-again-1").unwrap(),
            like: JobName::parse("fraud-1").unwrap(),
            inputs: BTreeMap::new(),
            hyperparameters: BTreeMap::from([("depth".to_owned(), "7".to_owned())]),
            tags: BTreeMap::new(),
        }
    }

    fn channel(name: &str, uri: &str) -> Channel {
        let s3 = S3DataSource::builder()
            .s3_uri(uri)
            .s3_data_type(S3DataType::S3Prefix)
            .build();
        let source = DataSource::builder().s3_data_source(s3).build();
        Channel::builder()
            .channel_name(name)
            .data_source(source)
            .build()
    }

    #[test]
    fn only_the_channels_that_are_named_get_other_data() {
        let old = [
            channel("train", "s3://b/old"),
            channel("test", "s3://b/test"),
        ];
        let given = BTreeMap::from([("train".to_owned(), "s3://b/new".to_owned())]);
        let new = inputs(CREATE, &given, "fraud-1", &old).unwrap();
        assert_eq!(new, [channel("train", "s3://b/new"), old[1].clone()]);
        unknown_channel(CREATE, &given, "fraud-1", &old).unwrap();
        let given = BTreeMap::from([("trian".to_owned(), "s3://b/new".to_owned())]);
        let error = unknown_channel(CREATE, &given, "fraud-1", &old).unwrap_err();
        assert!(
            error
                .message
                .ends_with("fraud-1 has the channels test, train"),
            "{error}"
        );
    }

    #[test]
    fn a_clone_knows_its_own_name_and_goes_on_from_nobodys_checkpoint() {
        let like = DescribeTrainingJobOutput::builder()
            .hyper_parameters("sagemaker_job_name", "\"fraud-1\"")
            .hyper_parameters("depth", "5")
            .build();
        let given = hyperparameters(&clone(), &like);
        assert_eq!(given["sagemaker_job_name"], "\"fraud-again-1\"");
        assert_eq!(given["depth"], "7");
        let old = CheckpointConfig::builder().s3_uri("s3://b/c/").build();
        let own = checkpoints("fraud-again-1", Some(&old)).unwrap();
        assert_eq!(own.s3_uri(), Some("s3://b/c/fraud-again-1"));
    }
}
