//! Hyperparameter tuning jobs, created as a user's notebook does: nothing but a tag says Tidegate.

use anyhow::{Context as _, Result};
use aws_sdk_sagemaker::types::{
    ContinuousParameterRange, HyperParameterAlgorithmSpecification,
    HyperParameterTrainingJobDefinition, HyperParameterTuningJobConfig,
    HyperParameterTuningJobObjective, HyperParameterTuningJobObjectiveType,
    HyperParameterTuningJobStrategyType, ParameterRanges, ResourceLimits, Tag, TrainingInputMode,
};

use crate::clients::{self, Clients};
use crate::training::{Job, ROLE, SCIKIT_LEARN, a_small_instance, an_hour};

/// What a tuning job is made from.
#[derive(Debug, Clone)]
pub struct Tuning<'a> {
    /// What its training jobs have in common; the name and the tags are the tuning job's.
    pub job: Job<'a>,
    /// How many of them there are.
    pub jobs: i32,
    /// The metric to make as great as it can be.
    pub metric: &'a str,
    /// The hyperparameter that is tuned, and the ends of its range.
    pub range: (&'a str, &'a str, &'a str),
}

impl Tuning<'_> {
    /// Creates it.
    pub async fn create(&self, clients: &Clients) -> Result<()> {
        let job = &self.job;
        let (name, least, most) = self.range;
        let range = ContinuousParameterRange::builder()
            .name(name)
            .min_value(least)
            .max_value(most);
        let ranges = ParameterRanges::builder().continuous_parameter_ranges(range.build());
        let objective = HyperParameterTuningJobObjective::builder()
            .r#type(HyperParameterTuningJobObjectiveType::Maximize)
            .metric_name(self.metric);
        let limits = ResourceLimits::builder()
            .max_number_of_training_jobs(self.jobs)
            .max_parallel_training_jobs(self.jobs);
        let config = HyperParameterTuningJobConfig::builder()
            .strategy(HyperParameterTuningJobStrategyType::Bayesian)
            .hyper_parameter_tuning_job_objective(objective.build())
            .parameter_ranges(ranges.build())
            .resource_limits(limits.build());
        let algorithm = HyperParameterAlgorithmSpecification::builder()
            .training_image(SCIKIT_LEARN)
            .training_input_mode(TrainingInputMode::File)
            .set_metric_definitions(Some(job.metrics()));
        let definition = HyperParameterTrainingJobDefinition::builder()
            .algorithm_specification(algorithm.build())
            .role_arn(clients::role(ROLE))
            .set_static_hyper_parameters(Some(job.hyperparameters()?))
            .set_input_data_config(Some(job.channels()?))
            .output_data_config(job.output())
            .resource_config(a_small_instance())
            .stopping_condition(an_hour());
        let mut request = clients
            .sagemaker
            .create_hyper_parameter_tuning_job()
            .hyper_parameter_tuning_job_name(&job.name)
            .hyper_parameter_tuning_job_config(config.build())
            .training_job_definition(definition.build());
        for (key, value) in &job.tags {
            request = request.tags(Tag::builder().key(key).value(value).build());
        }
        request
            .send()
            .await
            .with_context(|| format!("the tuning job {} can't be created", job.name))?;
        Ok(())
    }
}
