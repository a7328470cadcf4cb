//! What a user sets up by hand so that Model Monitor watches an endpoint: capture of its requests, a
//! baseline of the training data, an hourly schedule (developer guide, "Monitor data quality").

use anyhow::{Context as _, Result, bail};
use aws_sdk_sagemaker::types::{
    AppSpecification, CaptureContentTypeHeader, CaptureMode, CaptureOption, DataCaptureConfig,
    DataQualityAppSpecification, DataQualityBaselineConfig, DataQualityJobInput, EndpointInput,
    EndpointStatus, MonitoringClusterConfig, MonitoringConstraintsResource, MonitoringOutput,
    MonitoringOutputConfig, MonitoringResources, MonitoringS3Output, MonitoringScheduleConfig,
    MonitoringStatisticsResource, MonitoringType, ProcessingClusterConfig, ProcessingInput,
    ProcessingInstanceType, ProcessingJobStatus, ProcessingOutput, ProcessingOutputConfig,
    ProcessingResources, ProcessingS3DataType, ProcessingS3Input, ProcessingS3InputMode,
    ProcessingS3Output, ProcessingS3UploadMode, ScheduleConfig,
};
use serde_json::Value;

use super::{ENDPOINT, PROJECT, SCHEDULE, Story};
use crate::clients;
use crate::project::{get, put};
use crate::training::ROLE;
use crate::world::BUCKET;

const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";
/// The endpoint config that captures.
const CAPTURING: &str = "tumours-prod-capturing";
/// The processing job that makes the baseline, and the folder of what it finds.
const BASELINE: &str = "tumours-baseline";
/// What clinics may leave out, and the least share of requests that have it. In the training data it
/// is exactly 0.8, which an hour can be below by chance.
const OPTIONAL: (&str, f64) = ("worst_concave_points", 0.7);
/// An execution looks at the hour before it: the first hour has to have some requests.
const FIRST_HOUR_SECONDS: i64 = 20 * 60;
/// Where a monitoring container finds its data, and leaves what it finds.
const INPUT: &str = "/opt/ml/processing/input";
const OUTPUT: &str = "/opt/ml/processing/output";

impl Story {
    /// Sets up all of it; afterwards the schedule runs at each full hour.
    pub(super) async fn set_up_monitoring(&mut self) -> Result<()> {
        self.make_baseline().await?;
        self.capture().await?;
        self.say(
            "you",
            "switch on data capture: the endpoint's requests are kept in S3",
        )
        .await?;
        self.adjust_baseline().await?;
        self.say(
            "you",
            "make a baseline of the data that v2 was trained on, and an hourly monitor of data quality",
        )
        .await?;
        let past = self.now().await?.as_second().rem_euclid(3_600);
        if 3_600 - past < FIRST_HOUR_SECONDS {
            let rest = u64::try_from(3_600 - past + 60)?;
            self.world.admin().advance(rest).await?;
        }
        self.schedule().await
    }

    /// The same config once more, with capture: an endpoint config can't be changed.
    async fn capture(&self) -> Result<()> {
        let client = &self.world.clients.sagemaker;
        let describe = client.describe_endpoint().endpoint_name(ENDPOINT);
        let serving = describe.send().await?.endpoint_config_name;
        let serving = serving.context("an endpoint has a config")?;
        let describe = client.describe_endpoint_config();
        let config = describe.endpoint_config_name(&serving).send().await?;
        let capture = DataCaptureConfig::builder()
            .enable_capture(true)
            .initial_sampling_percentage(100)
            .destination_s3_uri(format!("s3://{BUCKET}/{PROJECT}/captured"))
            .capture_options(
                CaptureOption::builder()
                    .capture_mode(CaptureMode::Input)
                    .build(),
            )
            .capture_content_type_header(
                CaptureContentTypeHeader::builder()
                    .csv_content_types("text/csv")
                    .build(),
            )
            .build();
        client
            .create_endpoint_config()
            .endpoint_config_name(CAPTURING)
            .set_production_variants(config.production_variants)
            .data_capture_config(capture)
            .send()
            .await
            .context("the endpoint config with capture can't be created")?;
        client
            .update_endpoint()
            .endpoint_name(ENDPOINT)
            .endpoint_config_name(CAPTURING)
            .send()
            .await
            .context("the endpoint can't be updated to capture")?;
        self.hasten("the endpoint captures its requests", 30, async || {
            let describe = client.describe_endpoint().endpoint_name(ENDPOINT);
            let endpoint = describe.send().await?;
            let is_so = endpoint.endpoint_status == Some(EndpointStatus::InService)
                && endpoint.endpoint_config_name.as_deref() == Some(CAPTURING);
            Ok(is_so.then_some(()))
        })
        .await
    }

    /// Starts the baselining job.
    async fn make_baseline(&self) -> Result<()> {
        let input = ProcessingS3Input::builder()
            .s3_uri(format!("s3://{BUCKET}/{PROJECT}/data/first/features"))
            .local_path(INPUT)
            .s3_data_type(ProcessingS3DataType::S3Prefix)
            .s3_input_mode(ProcessingS3InputMode::File)
            .build();
        let output = ProcessingS3Output::builder()
            .s3_uri(baseline(""))
            .local_path(OUTPUT)
            .s3_upload_mode(ProcessingS3UploadMode::EndOfJob)
            .build();
        let cluster = ProcessingClusterConfig::builder()
            .instance_count(1)
            .instance_type(ProcessingInstanceType::MlM5Large)
            .volume_size_in_gb(20)
            .build();
        let mut request = self
            .world
            .clients
            .sagemaker
            .create_processing_job()
            .processing_job_name(BASELINE)
            .role_arn(clients::role(ROLE))
            .app_specification(AppSpecification::builder().image_uri(ANALYZER).build())
            .processing_inputs(
                ProcessingInput::builder()
                    .input_name("training-data")
                    .s3_input(input)
                    .build(),
            )
            .processing_output_config(
                ProcessingOutputConfig::builder()
                    .outputs(
                        ProcessingOutput::builder()
                            .output_name("baseline")
                            .s3_output(output)
                            .build(),
                    )
                    .build(),
            )
            .processing_resources(
                ProcessingResources::builder()
                    .cluster_config(cluster)
                    .build(),
            );
        for (name, value) in [
            ("dataset_format", r#"{"csv": {"header": true}}"#),
            ("dataset_source", INPUT),
            ("output_path", OUTPUT),
            ("publish_cloudwatch_metrics", "Disabled"),
        ] {
            request = request.environment(name, value);
        }
        request
            .send()
            .await
            .context("the baselining job can't be created")?;
        Ok(())
    }

    /// Waits for the baseline, and loosens its one constraint that is a matter of chance.
    async fn adjust_baseline(&self) -> Result<()> {
        let clients = &self.world.clients;
        self.hasten("the baselining job ends", 60, async || {
            let describe = clients.sagemaker.describe_processing_job();
            let job = describe.processing_job_name(BASELINE).send().await?;
            match job.processing_job_status {
                Some(ProcessingJobStatus::Completed) => Ok(Some(())),
                Some(ProcessingJobStatus::InProgress) => Ok(None),
                other => bail!("{BASELINE} is {other:?}: {:?}", job.failure_reason),
            }
        })
        .await?;
        let mut file: Value =
            serde_json::from_slice(&get(clients, &baseline("/constraints.json")).await?)?;
        let features = file["features"].as_array_mut();
        let feature = features
            .into_iter()
            .flatten()
            .find(|feature| feature["name"] == OPTIONAL.0)
            .with_context(|| format!("the baseline knows {}", OPTIONAL.0))?;
        feature["completeness"] = OPTIONAL.1.into();
        let key = format!("{PROJECT}/{BASELINE}/constraints.json");
        put(clients, BUCKET, &key, file.to_string().into_bytes()).await?;
        Ok(())
    }

    /// Deletes what Tidegate leaves alone, since somebody else made the config: that, and the model
    /// that it names.
    pub(super) async fn tidy_monitoring(&self) -> Result<()> {
        let client = &self.world.clients.sagemaker;
        let describe = client.describe_endpoint_config();
        let config = describe.endpoint_config_name(CAPTURING).send().await?;
        let delete = client.delete_endpoint_config();
        delete.endpoint_config_name(CAPTURING).send().await?;
        for variant in config.production_variants() {
            let delete = client.delete_model();
            delete
                .set_model_name(variant.model_name.clone())
                .send()
                .await?;
        }
        self.say("you", "delete the config that you made, and its model")
            .await
    }

    /// The baseline is of the old data, and two models must not be mixed in an hour.
    pub(super) async fn pause_monitoring(&self) -> Result<()> {
        let stop = self.world.clients.sagemaker.stop_monitoring_schedule();
        stop.monitoring_schedule_name(SCHEDULE).send().await?;
        self.say(
            "you",
            "stop the monitor: its baseline is of the old scanners",
        )
        .await
    }

    async fn schedule(&self) -> Result<()> {
        let client = &self.world.clients.sagemaker;
        let files = DataQualityBaselineConfig::builder()
            .constraints_resource(
                MonitoringConstraintsResource::builder()
                    .s3_uri(baseline("/constraints.json"))
                    .build(),
            )
            .statistics_resource(
                MonitoringStatisticsResource::builder()
                    .s3_uri(baseline("/statistics.json"))
                    .build(),
            )
            .build();
        let input = EndpointInput::builder()
            .endpoint_name(ENDPOINT)
            .local_path(INPUT)
            .build();
        let output = MonitoringS3Output::builder()
            .s3_uri(format!("s3://{BUCKET}/{PROJECT}/monitoring"))
            .local_path(OUTPUT)
            .build();
        let cluster = MonitoringClusterConfig::builder()
            .instance_count(1)
            .instance_type(ProcessingInstanceType::MlM5Large)
            .volume_size_in_gb(20)
            .build();
        client
            .create_data_quality_job_definition()
            .job_definition_name(SCHEDULE)
            .data_quality_baseline_config(files)
            .data_quality_app_specification(
                DataQualityAppSpecification::builder()
                    .image_uri(ANALYZER)
                    .build(),
            )
            .data_quality_job_input(DataQualityJobInput::builder().endpoint_input(input).build())
            .data_quality_job_output_config(
                MonitoringOutputConfig::builder()
                    .monitoring_outputs(MonitoringOutput::builder().s3_output(output).build())
                    .build(),
            )
            .job_resources(
                MonitoringResources::builder()
                    .cluster_config(cluster)
                    .build(),
            )
            .role_arn(clients::role(ROLE))
            .send()
            .await
            .context("the monitor's job definition can't be created")?;
        let hourly = ScheduleConfig::builder()
            .schedule_expression("cron(0 * ? * * *)")
            .build();
        client
            .create_monitoring_schedule()
            .monitoring_schedule_name(SCHEDULE)
            .monitoring_schedule_config(
                MonitoringScheduleConfig::builder()
                    .schedule_config(hourly)
                    .monitoring_type(MonitoringType::DataQuality)
                    .monitoring_job_definition_name(SCHEDULE)
                    .build(),
            )
            .send()
            .await
            .context("the monitoring schedule can't be created")?;
        Ok(())
    }
}

fn baseline(file: &str) -> String {
    format!("s3://{BUCKET}/{PROJECT}/{BASELINE}{file}")
}
