//! Training jobs, created as a user's notebook does: nothing but a tag says Tidegate.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use aws_sdk_sagemaker::types::{
    AlgorithmSpecification, Channel, DataSource, MetricDefinition, OutputDataConfig,
    ResourceConfig, S3DataSource, S3DataType, StoppingCondition, Tag, TrainingInputMode,
    TrainingInstanceType,
};
use serde_json::{Value, json};

use crate::clients::{self, Clients};
use crate::project::{self, Project};

/// scikit-learn's framework container, which trains and serves.
pub const SCIKIT_LEARN: &str =
    "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3";

/// The role that jobs and models run as.
pub const ROLE: &str = "SageMakerExecutionRole";

/// What a job is made from.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// Its name.
    pub name: String,
    /// The project.
    pub project: &'a Project,
    /// The version of the project.
    pub version: &'a str,
    /// The bucket with data, source and results.
    pub bucket: &'a str,
    /// Where the packed source is.
    pub source: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl Job<'_> {
    /// Creates it.
    pub async fn create(&self, clients: &Clients) -> Result<()> {
        let algorithm = AlgorithmSpecification::builder()
            .training_image(SCIKIT_LEARN)
            .training_input_mode(TrainingInputMode::File)
            .set_metric_definitions(Some(self.metrics()));
        let mut request = clients
            .sagemaker
            .create_training_job()
            .training_job_name(&self.name)
            .role_arn(clients::role(ROLE))
            .algorithm_specification(algorithm.build())
            .set_hyper_parameters(Some(self.hyperparameters()?))
            .set_input_data_config(Some(self.channels()?))
            .output_data_config(self.output())
            .resource_config(a_small_instance())
            .stopping_condition(an_hour());
        for (key, value) in &self.tags {
            request = request.tags(Tag::builder().key(key).value(value).build());
        }
        request
            .send()
            .await
            .with_context(|| format!("the training job {} can't be created", self.name))?;
        Ok(())
    }

    /// How metrics are found in the log.
    pub(crate) fn metrics(&self) -> Vec<MetricDefinition> {
        let known = self.project.metric_definitions.iter();
        let metric = |known: &project::MetricDefinition| {
            MetricDefinition::builder()
                .name(&known.name)
                .regex(&known.regex)
                .build()
        };
        known.map(metric).collect()
    }

    /// Where the data is.
    pub(crate) fn channels(&self) -> Result<Vec<Channel>> {
        let channels = &self.project.version(self.version)?.channels;
        let channel = |(name, folder): (&String, &String)| {
            let source = S3DataSource::builder()
                .s3_data_type(S3DataType::S3Prefix)
                .s3_uri(self.data(folder))
                .build();
            Channel::builder()
                .channel_name(name)
                .data_source(DataSource::builder().s3_data_source(source).build())
                .content_type("text/csv")
                .build()
        };
        Ok(channels.iter().map(channel).collect())
    }

    /// Where the model goes.
    pub(crate) fn output(&self) -> OutputDataConfig {
        OutputDataConfig::builder()
            .s3_output_path(format!("s3://{}/models", self.bucket))
            .build()
    }

    /// The same as the arguments of a SageMaker pipeline's training step.
    pub fn as_step(&self) -> Result<Value> {
        let version = self.project.version(self.version)?;
        let channels: Vec<Value> = version
            .channels
            .iter()
            .map(|(channel, folder)| {
                json!({
                    "ChannelName": channel, "ContentType": "text/csv",
                    "DataSource": { "S3DataSource": {
                        "S3DataType": "S3Prefix", "S3Uri": self.data(folder),
                        "S3DataDistributionType": "FullyReplicated",
                    } },
                })
            })
            .collect();
        let metrics: Vec<Value> = self
            .project
            .metric_definitions
            .iter()
            .map(|metric| json!({ "Name": metric.name, "Regex": metric.regex }))
            .collect();
        let tags: Vec<Value> = self
            .tags
            .iter()
            .map(|(key, value)| json!({ "Key": key, "Value": value }))
            .collect();
        Ok(json!({
            "AlgorithmSpecification": {
                "TrainingImage": SCIKIT_LEARN, "TrainingInputMode": "File", "MetricDefinitions": metrics,
            },
            "RoleArn": clients::role(ROLE),
            "HyperParameters": self.hyperparameters()?,
            "InputDataConfig": channels,
            "OutputDataConfig": { "S3OutputPath": format!("s3://{}/models", self.bucket) },
            "ResourceConfig": { "InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10 },
            "StoppingCondition": { "MaxRuntimeInSeconds": 3600 },
            "Tags": tags,
        }))
    }

    fn data(&self, folder: &str) -> String {
        format!("s3://{}/{}/data/{folder}", self.bucket, self.project.name)
    }

    /// Each value as JSON, as the SageMaker SDK sends it.
    pub(crate) fn hyperparameters(&self) -> Result<HashMap<String, String>> {
        let mut all: HashMap<String, String> = self
            .project
            .version(self.version)?
            .hyperparameters
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str()).to_string()))
            .collect();
        for (name, value) in [
            ("sagemaker_program", self.project.entry_point.as_str()),
            ("sagemaker_submit_directory", self.source.as_str()),
            ("sagemaker_region", crate::REGION),
            ("sagemaker_job_name", self.name.as_str()),
        ] {
            all.insert(name.to_owned(), Value::from(value).to_string());
        }
        all.insert("sagemaker_container_log_level".to_owned(), "20".to_owned());
        Ok(all)
    }
}

/// One instance of the usual kind.
pub(crate) fn a_small_instance() -> ResourceConfig {
    ResourceConfig::builder()
        .instance_type(TrainingInstanceType::MlM5Large)
        .instance_count(1)
        .volume_size_in_gb(10)
        .build()
}

/// A job runs no longer.
pub(crate) fn an_hour() -> StoppingCondition {
    StoppingCondition::builder()
        .max_runtime_in_seconds(3600)
        .build()
}
