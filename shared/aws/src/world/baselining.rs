//! Baselining jobs: Model Monitor's own container looks at training data and writes
//! `statistics.json` and `constraints.json`; Clarify's looks at it by an analysis config and writes
//! `analysis.json`.
//!
//! Sources: "Create a Baseline", "Container contract inputs" and "Configure a SageMaker Clarify
//! Processing Job" in the SageMaker developer guide. A processing job can't be deleted, so its name
//! is taken for ever: one that is there is used.

use aws_sdk_sagemaker::operation::describe_processing_job::DescribeProcessingJobOutput;
use aws_sdk_sagemaker::types::{
    AppSpecification, ProcessingClusterConfig, ProcessingInput, ProcessingInstanceType,
    ProcessingJobStatus, ProcessingOutput, ProcessingOutputConfig, ProcessingResources,
    ProcessingS3DataDistributionType, ProcessingS3DataType, ProcessingS3Input,
    ProcessingS3InputMode, ProcessingS3Output, ProcessingS3UploadMode, ProcessingStoppingCondition,
};
use tidegate_core::monitors::analysis::{Use, place};
use tidegate_core::name::ScheduleName;
use tidegate_core::pipeline::{Baseline, DataFormat, MonitorKind};
use tidegate_core::world::{Answer, BaselineSpec, Outcome, PipelineRun, RunStatus, WorldError};

use super::AwsWorld;
use super::monitors::{OUTPUT, aws_tags, network, problem};
use super::values::aws_count;
use crate::error::{cut, failed, refused};

const CREATE: &str = "CreateProcessingJob";
const DESCRIBE: &str = "DescribeProcessingJob";
const CLARIFY_DATA: &str = "/opt/ml/processing/input/data";
const CLARIFY_CONFIG: &str = "/opt/ml/processing/input/config";
const DATA: &str = "/opt/ml/processing/input/baseline_dataset_input";
/// Of a reason, bytes.
const LONGEST_TEXT: usize = 500;

impl AwsWorld {
    pub(super) async fn start_baselining(
        &self,
        spec: &BaselineSpec,
    ) -> Result<Outcome, WorldError> {
        let monitor = &spec.monitor;
        if let Some(analysis) = &spec.analysis {
            self.ensure_configs(monitor, analysis).await?;
        }
        let cluster = ProcessingClusterConfig::builder()
            .instance_count(1)
            .instance_type(ProcessingInstanceType::from(monitor.instance.as_str()))
            .volume_size_in_gb(aws_count(monitor.volume_gb))
            .set_volume_kms_key_id(monitor.kms_key.clone());
        let resources = ProcessingResources::builder().cluster_config(cluster.build());
        let seconds = aws_count(monitor.max_minutes.saturating_mul(60));
        let stopping = ProcessingStoppingCondition::builder().max_runtime_in_seconds(seconds);
        let app = AppSpecification::builder().image_uri(&monitor.image);
        let mut create = self
            .clients
            .sagemaker
            .create_processing_job()
            .processing_job_name(spec.name.as_str())
            .set_processing_inputs(Some(inputs(spec)))
            .processing_output_config(output(spec))
            .processing_resources(resources.build())
            .stopping_condition(stopping.build())
            .app_specification(app.build())
            .set_network_config(network(monitor))
            .role_arn(&monitor.role)
            .set_tags(aws_tags(&spec.tags));
        for (name, value) in environment(spec) {
            create = create.environment(name, value);
        }
        match create.send().await.map_err(failed(CREATE)) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.already => self.is_the_baselining(spec).await,
            Err(failure) => Err(failure.into()),
        }
    }

    /// The job of this name, which is there already, if it looks at the same data.
    async fn is_the_baselining(&self, spec: &BaselineSpec) -> Result<Outcome, WorldError> {
        let there = self.processing_job(&spec.name).await?;
        let looks_at_it = there.as_ref().is_some_and(|job| {
            let mut uris = job.processing_inputs().iter();
            uris.any(|i| i.s3_input().and_then(|s3| s3.s3_uri()) == Some(spec.data.as_str()))
        });
        if looks_at_it {
            return Ok(Outcome::Done);
        }
        Err(refused(
            CREATE,
            format!(
                "there is a processing job {} already, and it does not look at {}; change a key of \
                 the monitor in the policy, so that it gets another name",
                spec.name, spec.data
            ),
        ))
    }

    pub(super) async fn baselining(&self, name: &ScheduleName) -> Result<Answer, WorldError> {
        let Some(job) = self.processing_job(name).await? else {
            return Ok(Answer::Missing);
        };
        let status = match job.processing_job_status {
            Some(ProcessingJobStatus::Completed) => RunStatus::Succeeded,
            Some(ProcessingJobStatus::Failed) => RunStatus::Failed,
            Some(ProcessingJobStatus::Stopped) => RunStatus::Stopped,
            _ => RunStatus::Running,
        };
        let said = job.failure_reason.or(job.exit_message);
        Ok(Answer::Execution(Box::new(PipelineRun {
            status,
            failure: said.map(|why| cut(&why, LONGEST_TEXT).to_owned()),
        })))
    }

    async fn processing_job(
        &self,
        name: &ScheduleName,
    ) -> Result<Option<DescribeProcessingJobOutput>, WorldError> {
        let asked = self.clients.sagemaker.describe_processing_job();
        let asked = asked.processing_job_name(name.as_str()).send();
        match asked.await.map_err(failed(DESCRIBE)) {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// The data; for Clarify also what it is to do, by the names that it knows them by.
fn inputs(spec: &BaselineSpec) -> Vec<ProcessingInput> {
    if !spec.monitor.kind.takes_config() {
        return vec![input("baseline_dataset_input", &spec.data, DATA)];
    }
    let config = place(&spec.monitor, &spec.name, Use::Baselining);
    vec![
        input("dataset", &spec.data, CLARIFY_DATA),
        input("analysis_config", &config, CLARIFY_CONFIG),
    ]
}

fn input(name: &str, uri: &str, path: &str) -> ProcessingInput {
    let s3 = ProcessingS3Input::builder()
        .s3_uri(uri)
        .local_path(path)
        .s3_data_type(ProcessingS3DataType::S3Prefix)
        .s3_input_mode(ProcessingS3InputMode::File)
        .s3_data_distribution_type(ProcessingS3DataDistributionType::Fullyreplicated);
    ProcessingInput::builder()
        .input_name(name)
        .s3_input(s3.build())
        .build()
}

fn output(spec: &BaselineSpec) -> ProcessingOutputConfig {
    let s3 = ProcessingS3Output::builder()
        .s3_uri(&spec.output)
        .local_path(OUTPUT)
        .s3_upload_mode(ProcessingS3UploadMode::EndOfJob);
    let name = if spec.monitor.kind.takes_config() {
        "analysis_result"
    } else {
        "monitoring_output"
    };
    let output = ProcessingOutput::builder()
        .output_name(name)
        .s3_output(s3.build());
    ProcessingOutputConfig::builder()
        .outputs(output.build())
        .set_kms_key_id(spec.monitor.kms_key.clone())
        .build()
}

/// What Model Monitor's container is told; Clarify's reads its config.
fn environment(spec: &BaselineSpec) -> Vec<(&'static str, String)> {
    if spec.monitor.kind.takes_config() {
        return Vec::new();
    }
    let baseline = spec.monitor.baseline.as_ref();
    let format = match baseline.map(|b| b.format).unwrap_or_default() {
        DataFormat::Csv => r#"{"csv":{"header":false,"output_columns_position":"START"}}"#,
        DataFormat::CsvWithHeader => r#"{"csv":{"header":true,"output_columns_position":"START"}}"#,
        DataFormat::JsonLines => r#"{"json":{"lines":true}}"#,
    };
    let mut said = vec![
        ("dataset_format", format.to_owned()),
        ("dataset_source", DATA.to_owned()),
        ("output_path", OUTPUT.to_owned()),
        ("publish_cloudwatch_metrics", "Disabled".to_owned()),
    ];
    if spec.monitor.kind == MonitorKind::ModelQuality {
        said.push(("analysis_type", "MODEL_QUALITY".to_owned()));
        said.extend(of_model(spec, baseline));
    }
    said
}

fn of_model(
    spec: &BaselineSpec,
    baseline: Option<&Baseline>,
) -> impl Iterator<Item = (&'static str, String)> {
    let kind = spec.monitor.problem.map(|p| problem(p).as_str().to_owned());
    let threshold = spec.monitor.threshold.map(|t| t.to_string());
    let of = |part: fn(&Baseline) -> &Option<String>| baseline.and_then(|b| part(b).clone());
    [
        ("problem_type", kind),
        ("ground_truth_attribute", of(|b| &b.label)),
        ("inference_attribute", of(|b| &b.inference)),
        ("probability_attribute", of(|b| &b.probability)),
        ("probability_threshold_attribute", threshold),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}
