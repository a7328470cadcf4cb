//! A monitor of batch transform data, which watches no endpoint: what Model Monitor computes from
//! the captured data leads to a retraining, and so does a run by hand. `tidegate monitor` shows it.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::{
    AppSpecification, BatchTransformInput, DataQualityAppSpecification, DataQualityBaselineConfig,
    DataQualityJobInput, MonitoringClusterConfig, MonitoringConstraintsResource,
    MonitoringCsvDatasetFormat, MonitoringDatasetFormat, MonitoringOutput, MonitoringOutputConfig,
    MonitoringResources, MonitoringS3Output, MonitoringScheduleConfig,
    MonitoringStatisticsResource, MonitoringType, ProcessingClusterConfig, ProcessingInput,
    ProcessingInstanceType, ProcessingOutput, ProcessingOutputConfig, ProcessingResources,
    ProcessingS3DataType, ProcessingS3Input, ProcessingS3InputMode, ProcessingS3Output,
    ProcessingS3UploadMode, ScheduleConfig,
};
use serde_json::{Value, json};
use tidegate_core::audit::What;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::project::put as put_object;
use tidegate_end_to_end::training::ROLE;
use tidegate_end_to_end::world::{BUCKET, World};

use crate::common::{Approval, Book, TWO_INSTANCES, champion, package, policy, tell};
use crate::senders::written;

const GROUP: &str = "scored";
const SCHEDULE: &str = "scored-batch";
const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";

#[tokio::test]
async fn drift_of_batch_data_retrains_and_a_run_by_hand_counts_as_the_schedules() {
    tell(async |book| {
        let text = format!(
            "{}\n[monitor]\nschedules = [\"{SCHEDULE}\"]\non_drift = {{ retrain = {{ event = {{}} }} }}\n",
            policy(GROUP, TWO_INSTANCES)
        );
        book.world.apply(GROUP, &text).await?;
        package(&book.world, GROUP, &json!({}), Approval::Given).await?;
        book.ended(GROUP, 1, 20).await?;
        baseline(&book.world).await?;
        book.world.admin().advance(3_600).await?;
        define(&book.world).await?;
        captured(&book.world, "captured", 160.0).await?;
        run_by_schedule(book).await?;
        run_by_hand(book).await?;
        ensure!(champion(&book.world, GROUP).await? == Some(1));
        book.close(&[GROUP]).await
    })
    .await;
}

async fn run_by_schedule(book: &mut Book) -> Result<()> {
    book.world.admin().advance(5_400).await?;
    book.world.pass_minutes(3).await?;
    book.listen().await?;
    let started = written(&book.world, GROUP, What::RetrainingStarted).await?;
    ensure!(started.len() == 1, "retrainings: {started:#?}");
    let told = book.notice(GROUP, "violation-seen")?;
    ensure!(
        told.subject
            .contains(&format!("Drift in batch data, by {SCHEDULE}"))
            && told.text.contains("amount ("),
        "people were told: {} {}",
        told.subject,
        told.text
    );
    Ok(())
}

async fn run_by_hand(book: &mut Book) -> Result<()> {
    captured(&book.world, "captured", 160.0).await?;
    let (code, text) = book
        .world
        .tidegate(&["monitor", "run", SCHEDULE, "--hours", "2", "--json"])
        .await?;
    ensure!(code == 0, "monitor run ended with {code}: {text}");
    let start = text.find('{').context("it answers in JSON")?;
    let end = text.rfind('}').context("it answers in JSON")?;
    let answer: Value = serde_json::from_str(&text[start..=end])?;
    let run = answer["run"].as_str().context("the run has a name")?;
    ensure!(run.starts_with("scored-batch-run-"), "it is {run}");

    book.world.admin().advance(2_400).await?;
    book.world.pass_minutes(3).await?;
    book.listen().await?;
    let seen = written(&book.world, GROUP, What::ViolationSeen).await?;
    ensure!(
        seen.iter().any(|entry| entry.facts["schedule"] == run),
        "the run's finding is not dealt with: {seen:#?}"
    );
    let withheld = written(&book.world, GROUP, What::RetrainingWithheld).await?;
    ensure!(
        withheld
            .iter()
            .any(|entry| entry.why.contains("one runs at a time")),
        "it would have retrained, but: {withheld:#?}"
    );

    let (code, text) = book.world.tidegate(&["monitor", "list", GROUP]).await?;
    for words in [SCHEDULE, "batch transform data", "Tidegate   #"] {
        ensure!(
            code == 0 && text.contains(words),
            "{words:?} is not in {text}"
        );
    }
    let data = format!("s3://{BUCKET}/captured");
    for (schedule, words) in [
        (SCHEDULE, "retraining-started"),
        (run, "retraining-withheld"),
        (SCHEDULE, data.as_str()),
    ] {
        let (code, text) = book.world.tidegate(&["monitor", "show", schedule]).await?;
        ensure!(
            code == 0 && text.contains(words),
            "{words:?} is not in {text}"
        );
    }
    Ok(())
}

/// Customers whose amounts are about this size, as rows of CSV with a header.
pub(crate) fn rows(size: f64) -> Vec<u8> {
    let rows = (0..600_u32).map(|n| {
        let spread = f64::from(n * 7 % 100) / 100.0;
        format!("{},{:.3}", n * 31 % 90 + 18, size * (0.5 + spread))
    });
    let rows: Vec<String> = rows.collect();
    format!("age,amount\n{}\n", rows.join("\n")).into_bytes()
}

/// What a transform job of this hour leaves: its input, and a manifest of it below this key.
pub(crate) async fn captured(world: &World, below: &str, size: f64) -> Result<()> {
    let hour = world.admin().now().await?.strftime("%Y/%m/%d/%H");
    let prefix = put_object(
        &world.clients,
        BUCKET,
        &format!("batch/{hour}/rows.csv"),
        rows(size),
    )
    .await?;
    let prefix = prefix.trim_end_matches("rows.csv");
    let manifest = json!([{ "prefix": prefix }, "rows.csv"]);
    let key = format!("{below}/input/{hour}/transform-1.manifest");
    put_object(
        &world.clients,
        BUCKET,
        &key,
        manifest.to_string().into_bytes(),
    )
    .await?;
    Ok(())
}

/// A baselining job over customers whose amounts are about 100.
async fn baseline(world: &World) -> Result<()> {
    let data = put_object(&world.clients, BUCKET, "baseline/rows.csv", rows(100.0)).await?;
    let input = ProcessingS3Input::builder()
        .s3_uri(data)
        .local_path("/opt/ml/processing/input")
        .s3_data_type(ProcessingS3DataType::S3Prefix)
        .s3_input_mode(ProcessingS3InputMode::File);
    let input = ProcessingInput::builder()
        .input_name("data")
        .s3_input(input.build());
    let output = ProcessingS3Output::builder()
        .s3_uri(format!("s3://{BUCKET}/baseline/results"))
        .local_path("/opt/ml/processing/output")
        .s3_upload_mode(ProcessingS3UploadMode::EndOfJob);
    let output = ProcessingOutput::builder()
        .output_name("result")
        .s3_output(output.build());
    let cluster = ProcessingClusterConfig::builder()
        .instance_count(1)
        .instance_type(ProcessingInstanceType::MlM5Large)
        .volume_size_in_gb(10);
    let create = world.clients.sagemaker.create_processing_job();
    create
        .processing_job_name("scored-baseline")
        .processing_inputs(input.build())
        .processing_output_config(
            ProcessingOutputConfig::builder()
                .outputs(output.build())
                .build(),
        )
        .processing_resources(
            ProcessingResources::builder()
                .cluster_config(cluster.build())
                .build(),
        )
        .app_specification(AppSpecification::builder().image_uri(ANALYZER).build())
        .environment("dataset_format", "{\"csv\": {\"header\": true}}")
        .environment("dataset_source", "/opt/ml/processing/input")
        .environment("output_path", "/opt/ml/processing/output")
        .role_arn(clients::role(ROLE))
        .send()
        .await
        .context("the baselining job can't be created")?;
    Ok(())
}

/// The definition and its hourly schedule.
async fn define(world: &World) -> Result<()> {
    let result = |file: &str| format!("s3://{BUCKET}/baseline/results/{file}");
    let constraints = MonitoringConstraintsResource::builder().s3_uri(result("constraints.json"));
    let statistics = MonitoringStatisticsResource::builder().s3_uri(result("statistics.json"));
    let baseline = DataQualityBaselineConfig::builder()
        .constraints_resource(constraints.build())
        .statistics_resource(statistics.build());
    let csv = MonitoringCsvDatasetFormat::builder().header(true);
    let batch = BatchTransformInput::builder()
        .data_captured_destination_s3_uri(format!("s3://{BUCKET}/captured"))
        .dataset_format(MonitoringDatasetFormat::builder().csv(csv.build()).build())
        .local_path("/opt/ml/processing/input");
    let output = MonitoringS3Output::builder()
        .s3_uri(format!("s3://{BUCKET}/monitoring"))
        .local_path("/opt/ml/processing/output");
    let output = MonitoringOutput::builder().s3_output(output.build());
    let cluster = MonitoringClusterConfig::builder()
        .instance_count(1)
        .instance_type(ProcessingInstanceType::MlM5Large)
        .volume_size_in_gb(20);
    let create = world.clients.sagemaker.create_data_quality_job_definition();
    create
        .job_definition_name("scored-quality")
        .data_quality_baseline_config(baseline.build())
        .data_quality_app_specification(
            DataQualityAppSpecification::builder()
                .image_uri(ANALYZER)
                .build(),
        )
        .data_quality_job_input(
            DataQualityJobInput::builder()
                .batch_transform_input(batch.build())
                .build(),
        )
        .data_quality_job_output_config(
            MonitoringOutputConfig::builder()
                .monitoring_outputs(output.build())
                .build(),
        )
        .job_resources(
            MonitoringResources::builder()
                .cluster_config(cluster.build())
                .build(),
        )
        .role_arn(clients::role(ROLE))
        .send()
        .await
        .context("the job definition can't be created")?;
    let hourly = ScheduleConfig::builder().schedule_expression("cron(0 * ? * * *)");
    let config = MonitoringScheduleConfig::builder()
        .schedule_config(hourly.build())
        .monitoring_type(MonitoringType::DataQuality)
        .monitoring_job_definition_name("scored-quality");
    let create = world.clients.sagemaker.create_monitoring_schedule();
    create
        .monitoring_schedule_name(SCHEDULE)
        .monitoring_schedule_config(config.build())
        .send()
        .await
        .context("the monitoring schedule can't be created")?;
    Ok(())
}
