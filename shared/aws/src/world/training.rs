//! Training jobs, as `DescribeTrainingJob` has them.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{Channel, MetricData, TrainingJobStatus};
use tidegate_core::event::JobStatus;
use tidegate_core::gate::Metrics;
use tidegate_core::name::{JobName, TuningName};
use tidegate_core::world::{Answer, TrainingJob, WorldError};

use super::AwsWorld;
use super::values::{decimal, name_of_arn, required, time, vpc};
use crate::error::failed;

const CALL: &str = "DescribeTrainingJob";

impl AwsWorld {
    pub(super) async fn training_job(&self, job: &JobName) -> Result<Answer, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_training_job()
            .training_job_name(job.as_str())
            .send();
        let found = match asked.await.map_err(failed(CALL)) {
            Ok(found) => found,
            Err(failure) if failure.is_gone() => return Ok(Answer::Missing),
            Err(failure) => return Err(failure.into()),
        };
        let arn = required(CALL, "TrainingJobArn", found.training_job_arn)?;
        let tags = self.tags_of(&arn).await?;
        let image = found
            .algorithm_specification
            .and_then(|algorithm| algorithm.training_image);
        Ok(Answer::TrainingJob(Box::new(TrainingJob {
            name: job.clone(),
            status: found
                .training_job_status
                .as_ref()
                .map_or(JobStatus::InProgress, status),
            failure: found.failure_reason,
            tags,
            created: required(CALL, "CreationTime", time(found.creation_time.as_ref()))?,
            ended: time(found.training_end_time.as_ref()),
            metrics: metrics(found.final_metric_data_list.unwrap_or_default()),
            artifact: found
                .model_artifacts
                .and_then(|artifacts| artifacts.s3_model_artifacts)
                .filter(|uri| !uri.is_empty()),
            kms_key: found
                .output_data_config
                .as_ref()
                .and_then(|o| o.kms_key_id.clone())
                .filter(|key| !key.is_empty()),
            output: found
                .output_data_config
                .and_then(|o| o.s3_output_path)
                .unwrap_or_default(),
            image,
            hyperparameters: found
                .hyper_parameters
                .unwrap_or_default()
                .into_iter()
                .collect(),
            role: found.role_arn.unwrap_or_default(),
            vpc: vpc(found.vpc_config.as_ref()),
            network_isolation: found.enable_network_isolation.unwrap_or(false),
            inputs: inputs(found.input_data_config.unwrap_or_default()),
            tuning: found
                .tuning_job_arn
                .and_then(|arn| TuningName::parse(name_of_arn(&arn)).ok()),
            arn,
        })))
    }
}

/// A status that this version doesn't know is not an end.
fn status(status: &TrainingJobStatus) -> JobStatus {
    match status {
        TrainingJobStatus::Completed => JobStatus::Completed,
        TrainingJobStatus::Failed => JobStatus::Failed,
        TrainingJobStatus::Stopped => JobStatus::Stopped,
        TrainingJobStatus::Stopping => JobStatus::Stopping,
        _ => JobStatus::InProgress,
    }
}

/// Of a name that is there twice, the newest.
fn metrics(mut list: Vec<MetricData>) -> Metrics {
    list.sort_by_key(|metric| time(metric.timestamp.as_ref()));
    list.into_iter()
        .filter_map(|metric| Some((metric.metric_name?, decimal(metric.value?))))
        .collect()
}

fn inputs(channels: Vec<Channel>) -> BTreeMap<String, String> {
    channels
        .into_iter()
        .filter_map(|channel| {
            let uri = channel.data_source?.s3_data_source?.s3_uri?;
            Some((channel.channel_name?, uri))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_types::DateTime;

    #[test]
    fn of_a_metric_reported_twice_the_newest_counts() {
        let metric = |value, at| {
            MetricData::builder()
                .metric_name("auc")
                .value(value)
                .timestamp(DateTime::from_secs(at))
                .build()
        };
        let found = metrics(vec![metric(0.95, 20), metric(0.5, 10)]);
        assert_eq!(found, Metrics::from([("auc".to_owned(), 0.95)]));
    }
}
