//! The parts that job definitions and baselining jobs are made of.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{
    EndpointInput, ModelQualityAppSpecification, MonitoringClusterConfig,
    MonitoringConstraintsResource, MonitoringGroundTruthS3Input, MonitoringNetworkConfig,
    MonitoringOutput, MonitoringOutputConfig, MonitoringProblemType, MonitoringResources,
    MonitoringS3Output, MonitoringStoppingCondition, NetworkConfig, ProcessingInstanceType,
    ProcessingS3UploadMode, Tag,
};
use tidegate_core::pipeline::{ModelMonitor, Problem};
use tidegate_core::world::MonitorSpec;

use super::super::values::{aws_count, aws_vpc};

/// Where a job finds what was captured, and leaves what it found ("Container contract inputs").
const INPUT: &str = "/opt/ml/processing/input/endpoint";
pub(crate) const OUTPUT: &str = "/opt/ml/processing/output";

pub(crate) fn aws_tags(tags: &BTreeMap<String, String>) -> Option<Vec<Tag>> {
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build());
    Some(tags.collect::<Vec<_>>()).filter(|tags| !tags.is_empty())
}

/// The network of a processing job.
pub(crate) fn network(monitor: &ModelMonitor) -> Option<NetworkConfig> {
    let vpc = aws_vpc(monitor.vpc.as_ref()?);
    Some(NetworkConfig::builder().vpc_config(vpc).build())
}

/// The network of a monitor's jobs.
pub(super) fn monitoring_network(monitor: &ModelMonitor) -> Option<MonitoringNetworkConfig> {
    let vpc = aws_vpc(monitor.vpc.as_ref()?);
    Some(MonitoringNetworkConfig::builder().vpc_config(vpc).build())
}

/// The endpoint, where an answer's parts are, and which time is looked at: labels that come late are
/// of older data.
pub(super) fn endpoint(spec: &MonitorSpec) -> EndpointInput {
    let monitor = &spec.monitor;
    let late = monitor.label_delay_hours;
    let offset = |hours: u32| (late > 0).then(|| format!("-PT{hours}H"));
    EndpointInput::builder()
        .endpoint_name(spec.endpoint.as_str())
        .local_path(INPUT)
        .set_features_attribute(monitor.features.clone())
        .set_inference_attribute(monitor.inference.clone())
        .set_probability_attribute(monitor.probability.clone())
        .set_probability_threshold_attribute(monitor.threshold)
        .set_start_time_offset(offset(late.saturating_add(monitor.every_hours())))
        .set_end_time_offset(offset(late))
        .build()
}

pub(super) fn output(monitor: &ModelMonitor) -> MonitoringOutputConfig {
    let s3 = MonitoringS3Output::builder()
        .s3_uri(monitor.to.trim_end_matches('/'))
        .local_path(OUTPUT)
        .s3_upload_mode(ProcessingS3UploadMode::EndOfJob);
    let output = MonitoringOutput::builder().s3_output(s3.build());
    MonitoringOutputConfig::builder()
        .monitoring_outputs(output.build())
        .set_kms_key_id(monitor.kms_key.clone())
        .build()
}

pub(super) fn resources(monitor: &ModelMonitor) -> MonitoringResources {
    let cluster = MonitoringClusterConfig::builder()
        .instance_count(1)
        .instance_type(ProcessingInstanceType::from(monitor.instance.as_str()))
        .volume_size_in_gb(aws_count(monitor.volume_gb))
        .set_volume_kms_key_id(monitor.kms_key.clone());
    MonitoringResources::builder()
        .cluster_config(cluster.build())
        .build()
}

pub(super) fn stopping(monitor: &ModelMonitor) -> MonitoringStoppingCondition {
    let seconds = aws_count(monitor.max_minutes.saturating_mul(60));
    MonitoringStoppingCondition::builder()
        .max_runtime_in_seconds(seconds)
        .build()
}

pub(super) fn constraints(spec: &MonitorSpec) -> Option<MonitoringConstraintsResource> {
    let uri = spec.baseline.constraints.as_ref()?;
    Some(MonitoringConstraintsResource::builder().s3_uri(uri).build())
}

pub(super) fn ground_truth(monitor: &ModelMonitor) -> MonitoringGroundTruthS3Input {
    let uri = monitor.ground_truth.clone();
    MonitoringGroundTruthS3Input::builder()
        .set_s3_uri(uri)
        .build()
}

pub(super) fn model_quality(monitor: &ModelMonitor) -> ModelQualityAppSpecification {
    ModelQualityAppSpecification::builder()
        .image_uri(&monitor.image)
        .set_problem_type(monitor.problem.map(problem))
        .build()
}

pub(crate) fn problem(problem: Problem) -> MonitoringProblemType {
    match problem {
        Problem::Regression => MonitoringProblemType::Regression,
        Problem::Binary => MonitoringProblemType::BinaryClassification,
        Problem::Multiclass => MonitoringProblemType::MulticlassClassification,
    }
}
