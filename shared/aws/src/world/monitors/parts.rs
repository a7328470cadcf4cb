//! The parts that job definitions and baselining jobs are made of.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{
    BatchTransformInput, EndpointInput, ModelQualityAppSpecification, MonitoringClusterConfig,
    MonitoringConstraintsResource, MonitoringCsvDatasetFormat, MonitoringDatasetFormat,
    MonitoringGroundTruthS3Input, MonitoringJsonDatasetFormat, MonitoringNetworkConfig,
    MonitoringOutput, MonitoringOutputConfig, MonitoringProblemType, MonitoringResources,
    MonitoringS3Output, MonitoringStoppingCondition, NetworkConfig, ProcessingInstanceType,
    ProcessingS3UploadMode, Tag,
};
use tidegate_core::pipeline::{DataFormat, ModelMonitor, Problem};
use tidegate_core::world::MonitorSpec;

use super::super::values::{aws_count, aws_vpc};

/// Where a job finds what was captured, and leaves what it found ("Container contract inputs").
const INPUT: &str = "/opt/ml/processing/input/endpoint";
const BATCH_INPUT: &str = "/opt/ml/processing/input/batch_transform";
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

/// The endpoint, where an answer's parts are, and which time is looked at; none of batch data.
pub(super) fn endpoint(spec: &MonitorSpec) -> Option<EndpointInput> {
    let monitor = &spec.monitor;
    if monitor.batch.is_some() {
        return None;
    }
    let input = EndpointInput::builder()
        .endpoint_name(spec.endpoint.as_str())
        .local_path(INPUT)
        .set_features_attribute(monitor.features.clone())
        .set_inference_attribute(monitor.inference.clone())
        .set_probability_attribute(monitor.probability.clone())
        .set_probability_threshold_attribute(monitor.threshold)
        .set_start_time_offset(offset(monitor, monitor.every_hours()))
        .set_end_time_offset(offset(monitor, 0));
    Some(input.build())
}

/// What batch transform jobs captured, in the same terms; none of an endpoint's data.
pub(super) fn batch(spec: &MonitorSpec) -> Option<BatchTransformInput> {
    let monitor = &spec.monitor;
    let batch = monitor.batch.as_ref()?;
    let input = BatchTransformInput::builder()
        .data_captured_destination_s3_uri(batch.captured.trim_end_matches('/'))
        .dataset_format(dataset_format(batch.format))
        .local_path(BATCH_INPUT)
        .set_features_attribute(monitor.features.clone())
        .set_inference_attribute(monitor.inference.clone())
        .set_probability_attribute(monitor.probability.clone())
        .set_probability_threshold_attribute(monitor.threshold)
        .set_start_time_offset(offset(monitor, monitor.every_hours()))
        .set_end_time_offset(offset(monitor, 0));
    Some(input.build())
}

/// Labels that come late are of data that is older by so much, and these hours.
fn offset(monitor: &ModelMonitor, hours: u32) -> Option<String> {
    let late = monitor.label_delay_hours;
    (late > 0).then(|| format!("-PT{}H", late.saturating_add(hours)))
}

fn dataset_format(format: DataFormat) -> MonitoringDatasetFormat {
    let csv = |header: bool| MonitoringCsvDatasetFormat::builder().header(header).build();
    let dataset = MonitoringDatasetFormat::builder();
    let dataset = match format {
        DataFormat::Csv => dataset.csv(csv(false)),
        DataFormat::CsvWithHeader => dataset.csv(csv(true)),
        DataFormat::JsonLines => {
            dataset.json(MonitoringJsonDatasetFormat::builder().line(true).build())
        }
    };
    dataset.build()
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
