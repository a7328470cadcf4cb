//! What a monitoring schedule's job is to do: its inputs, baseline, machine and output, whether the
//! schedule brings its definition along or names one of the four kinds.

use aws_sdk_sagemaker::types::{
    BatchTransformInput, EndpointInput, MonitoringConstraintsResource,
    MonitoringGroundTruthS3Input, MonitoringOutputConfig, MonitoringResources,
    MonitoringStatisticsResource, MonitoringStoppingCondition,
};
use serde::Serialize;

use super::aws::{Monitors, Schedule};
use crate::error::Problem;

/// What a job is to do.
#[derive(Debug, Default, Serialize)]
pub(super) struct Definition {
    /// Its name; none if the schedule brings it along.
    pub(super) name: Option<String>,
    pub(super) image: Option<String>,
    pub(super) input: Input,
    /// Where the labels are.
    pub(super) labels: Option<String>,
    /// Files of the baseline, and the job that made it.
    pub(super) baseline: Vec<String>,
    /// `1 ml.m5.large, 20 GB`.
    pub(super) instances: Option<String>,
    /// The longest that a job may run, seconds.
    pub(super) longest_seconds: Option<i32>,
    pub(super) output: Vec<String>,
    pub(super) role: Option<String>,
}

/// Which data is looked at.
#[derive(Debug, Default, Serialize)]
pub(super) struct Input {
    pub(super) endpoint: Option<String>,
    /// Where batch transform jobs capture data.
    pub(super) batch: Option<String>,
    /// From so long before a run, as `-PT2H`, if the definition says so.
    pub(super) from: Option<String>,
    /// Until so long before it.
    pub(super) to: Option<String>,
}

impl Input {
    fn of(endpoint: Option<&EndpointInput>, batch: Option<&BatchTransformInput>) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        match (endpoint, batch) {
            (Some(input), _) => Self {
                endpoint: text(input.endpoint_name()),
                batch: None,
                from: text(input.start_time_offset()),
                to: text(input.end_time_offset()),
            },
            (None, Some(input)) => Self {
                endpoint: None,
                batch: text(input.data_captured_destination_s3_uri()),
                from: text(input.start_time_offset()),
                to: text(input.end_time_offset()),
            },
            (None, None) => Self::default(),
        }
    }
}

/// Describes a named definition of one kind.
macro_rules! described {
    ($monitors:expr, $name:expr, $operation:ident, $call:literal, $input:ident, $app:ident, $baseline:ident, $output:ident,
     $($labels:ident)?; $($statistics:ident)?) => {{
        let ask = $monitors.sagemaker.$operation().job_definition_name($name);
        let found = ask.send().await.map_err(|error| $monitors.failed($call, &error))?;
        let input = found.$input();
        let baseline = found.$baseline();
        Definition {
            name: Some($name.to_owned()),
            image: found.$app().and_then(|app| app.image_uri()).map(str::to_owned),
            input: Input::of(
                input.and_then(|i| i.endpoint_input()),
                input.and_then(|i| i.batch_transform_input()),
            ),
            labels: labels(None$(.or(input.and_then(|i| i.$labels())))?),
            baseline: files(
                baseline.and_then(|b| b.constraints_resource()),
                None$(.or(baseline.and_then(|b| b.$statistics())))?,
                baseline.and_then(|b| b.baselining_job_name()),
            ),
            instances: instances(found.job_resources()),
            longest_seconds: longest(found.stopping_condition()),
            output: outputs(found.$output()),
            role: found.role_arn().map(str::to_owned),
        }
    }};
}

/// The definition of a schedule's jobs; none if the schedule is gone.
pub(super) async fn of(
    monitors: &Monitors,
    schedule: &Schedule,
) -> Result<Option<Definition>, Problem> {
    let Some(config) = &schedule.config else {
        return Ok(None);
    };
    if let Some(inline) = config.monitoring_job_definition() {
        let input = inline.monitoring_inputs().first();
        let baseline = inline.baseline_config();
        return Ok(Some(Definition {
            name: None,
            image: inline
                .monitoring_app_specification()
                .and_then(|app| app.image_uri())
                .map(str::to_owned),
            input: Input::of(
                input.and_then(|i| i.endpoint_input()),
                input.and_then(|i| i.batch_transform_input()),
            ),
            labels: None,
            baseline: files(
                baseline.and_then(|b| b.constraints_resource()),
                baseline.and_then(|b| b.statistics_resource()),
                baseline.and_then(|b| b.baselining_job_name()),
            ),
            instances: instances(inline.monitoring_resources()),
            longest_seconds: longest(inline.stopping_condition()),
            output: outputs(inline.monitoring_output_config()),
            role: inline.role_arn().map(str::to_owned),
        }));
    }
    let Some(name) = config.monitoring_job_definition_name() else {
        return Ok(None);
    };
    Ok(Some(match schedule.kind.as_str() {
        "ModelQuality" => {
            described!(monitors, name, describe_model_quality_job_definition,
                "DescribeModelQualityJobDefinition", model_quality_job_input,
                model_quality_app_specification, model_quality_baseline_config,
                model_quality_job_output_config, ground_truth_s3_input;)
        }
        "ModelBias" => {
            described!(monitors, name, describe_model_bias_job_definition,
                "DescribeModelBiasJobDefinition", model_bias_job_input,
                model_bias_app_specification, model_bias_baseline_config,
                model_bias_job_output_config, ground_truth_s3_input;)
        }
        "ModelExplainability" => {
            described!(monitors, name, describe_model_explainability_job_definition,
                "DescribeModelExplainabilityJobDefinition", model_explainability_job_input,
                model_explainability_app_specification, model_explainability_baseline_config,
                model_explainability_job_output_config,;)
        }
        _ => {
            described!(monitors, name, describe_data_quality_job_definition,
                "DescribeDataQualityJobDefinition", data_quality_job_input,
                data_quality_app_specification, data_quality_baseline_config,
                data_quality_job_output_config,; statistics_resource)
        }
    }))
}

fn labels(input: Option<&MonitoringGroundTruthS3Input>) -> Option<String> {
    input?.s3_uri().map(str::to_owned)
}

fn files(
    constraints: Option<&MonitoringConstraintsResource>,
    statistics: Option<&MonitoringStatisticsResource>,
    job: Option<&str>,
) -> Vec<String> {
    let constraints = constraints.and_then(|c| c.s3_uri().map(str::to_owned));
    let statistics = statistics.and_then(|s| s.s3_uri().map(str::to_owned));
    let job = job.map(|job| format!("of the job {job}"));
    [constraints, statistics, job]
        .into_iter()
        .flatten()
        .collect()
}

fn instances(resources: Option<&MonitoringResources>) -> Option<String> {
    let cluster = resources?.cluster_config()?;
    Some(format!(
        "{} {}, {} GB",
        cluster.instance_count()?,
        cluster.instance_type()?,
        cluster.volume_size_in_gb()?
    ))
}

fn longest(condition: Option<&MonitoringStoppingCondition>) -> Option<i32> {
    condition?.max_runtime_in_seconds()
}

fn outputs(config: Option<&MonitoringOutputConfig>) -> Vec<String> {
    let outputs = config.map(MonitoringOutputConfig::monitoring_outputs);
    let outputs = outputs.unwrap_or_default().iter();
    outputs
        .filter_map(|output| output.s3_output()?.s3_uri().map(str::to_owned))
        .collect()
}
