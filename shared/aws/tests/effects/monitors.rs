//! Monitors of Model Monitor: effects by the case's word, what somebody else does by hand, and how to
//! see what there is.

use aws_sdk_sagemaker::types::{
    DataQualityAppSpecification, DataQualityJobInput, EndpointInput, MonitoringClusterConfig,
    MonitoringOutput, MonitoringOutputConfig, MonitoringResources, MonitoringS3Output,
    MonitoringScheduleConfig, MonitoringType, ProcessingInstanceType, ScheduleConfig,
};
use tidegate_core::name::{EndpointName, ScheduleName};
use tidegate_core::pipeline::{ModelMonitor, MonitorKind};
use tidegate_core::world::{BaselineFiles, BaselineSpec, Effect, MonitorSpec};

use crate::bench::Bench;
use crate::look::LASTING;
use crate::parts::ROLE;

const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";
const TO: &str = "s3://bucket/monitors";
const HOURLY: &str = "cron(0 * ? * * *)";

fn name(word: &str) -> ScheduleName {
    ScheduleName::parse(word).unwrap()
}

fn policy() -> ModelMonitor {
    serde_json::from_value(serde_json::json!({
        "kind": "data_quality", "role": ROLE, "image": ANALYZER, "to": TO,
    }))
    .unwrap()
}

pub(crate) fn baseline(word: &str, data: &str) -> Effect {
    Effect::StartBaselining(Box::new(BaselineSpec {
        name: name(word),
        monitor: policy(),
        data: format!("s3://bucket/{data}/"),
        output: format!("{TO}/baselines/{word}"),
        analysis: None,
        tags: [("tidegate:monitor".to_owned(), word.to_owned())].into(),
    }))
}

pub(crate) fn set_up(word: &str) -> Effect {
    Effect::SetUpMonitor(Box::new(MonitorSpec {
        name: name(word),
        endpoint: EndpointName::parse(word).unwrap(),
        monitor: policy(),
        baseline: BaselineFiles::default(),
        analysis: None,
        tags: [("tidegate:monitor".to_owned(), word.to_owned())].into(),
    }))
}

pub(crate) fn pause(word: &str, pause: bool) -> Effect {
    Effect::PauseMonitor {
        name: name(word),
        pause,
    }
}

pub(crate) fn remove(word: &str) -> Effect {
    Effect::RemoveMonitor {
        name: name(word),
        kind: MonitorKind::DataQuality,
    }
}

/// Whether it changes a schedule, which takes no other change for some seconds then.
pub(crate) fn is_of_schedule(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::SetUpMonitor(_) | Effect::PauseMonitor { .. } | Effect::RemoveMonitor { .. }
    )
}

pub(crate) async fn definition_by_hand(bench: &Bench, word: &str, endpoint: &str) {
    let s3 = MonitoringS3Output::builder()
        .s3_uri(TO)
        .local_path("/opt/ml/processing/output");
    let output = MonitoringOutput::builder().s3_output(s3.build());
    let output = MonitoringOutputConfig::builder().monitoring_outputs(output.build());
    let cluster = MonitoringClusterConfig::builder()
        .instance_count(1)
        .instance_type(ProcessingInstanceType::MlM5Xlarge)
        .volume_size_in_gb(20);
    let input = EndpointInput::builder()
        .endpoint_name(endpoint)
        .local_path("/opt/ml/processing/input/endpoint");
    let input = DataQualityJobInput::builder().endpoint_input(input.build());
    let app = DataQualityAppSpecification::builder().image_uri(ANALYZER);
    let resources = MonitoringResources::builder().cluster_config(cluster.build());
    let create = bench.clients.sagemaker.create_data_quality_job_definition();
    create
        .job_definition_name(word)
        .data_quality_app_specification(app.build())
        .data_quality_job_input(input.build())
        .data_quality_job_output_config(output.build())
        .job_resources(resources.build())
        .role_arn(ROLE)
        .send()
        .await
        .unwrap();
}

pub(crate) async fn schedule_by_hand(bench: &Bench, word: &str) {
    let when = ScheduleConfig::builder().schedule_expression(HOURLY);
    let config = MonitoringScheduleConfig::builder()
        .schedule_config(when.build())
        .monitoring_job_definition_name(word)
        .monitoring_type(MonitoringType::DataQuality);
    let create = bench.clients.sagemaker.create_monitoring_schedule();
    create
        .monitoring_schedule_name(word)
        .monitoring_schedule_config(config.build())
        .send()
        .await
        .unwrap();
}

pub(crate) async fn stop_by_hand(bench: &Bench, word: &str) {
    let stop = bench.clients.sagemaker.stop_monitoring_schedule();
    stop.monitoring_schedule_name(word).send().await.unwrap();
}

pub(crate) async fn delete_schedule_by_hand(bench: &Bench, word: &str) {
    let delete = bench.clients.sagemaker.delete_monitoring_schedule();
    delete.monitoring_schedule_name(word).send().await.unwrap();
}

pub(crate) async fn delete_definition_by_hand(bench: &Bench, word: &str) {
    let delete = bench.clients.sagemaker.delete_data_quality_job_definition();
    delete.job_definition_name(word).send().await.unwrap();
}

/// The baselining job and what it looks at.
pub(crate) async fn baselining(bench: &Bench, word: &str) -> String {
    let describe = bench.clients.sagemaker.describe_processing_job();
    let found = describe.processing_job_name(word).send().await.ok();
    let data = found.as_ref().and_then(|job| {
        let first = job.processing_inputs().first()?;
        first.s3_input()?.s3_uri()
    });
    let made = bench.calls("CreateProcessingJob", &format!("\"{word}\""));
    format!("{data:?}, {made} made")
}

/// Definition and schedule, once it is not Pending any more.
pub(crate) async fn monitor(bench: &Bench, word: &str) -> String {
    bench.minutes_pass(1);
    let describe = bench.clients.sagemaker.describe_monitoring_schedule();
    let schedule = describe.monitoring_schedule_name(word).send().await.ok();
    let schedule = schedule.map(|s| (s.monitoring_schedule_status, s.monitoring_schedule_config));
    let describe = bench
        .clients
        .sagemaker
        .describe_data_quality_job_definition();
    let definition = describe.job_definition_name(word).send().await.ok();
    let input = definition.and_then(|d| d.data_quality_job_input);
    let endpoint = input.and_then(|i| i.endpoint_input?.endpoint_name);
    let calls = [
        "CreateDataQualityJobDefinition",
        "CreateMonitoringSchedule",
        "StopMonitoringSchedule",
        "StartMonitoringSchedule",
        "DeleteMonitoringSchedule",
        "DeleteDataQualityJobDefinition",
    ];
    let calls = calls.map(|call| bench.calls(call, word));
    format!("{schedule:?} {endpoint:?}{LASTING}{calls:?}")
}
