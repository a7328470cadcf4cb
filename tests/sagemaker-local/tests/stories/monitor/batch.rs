//! What batch transform jobs captured is found by its manifests, and drift in it is computed.

use serde_json::{Value, json};

use super::{HOURLY, baseline, customers, definition, executions, job_of, put, read, schedule};
use crate::processes::world;
use crate::support::{Emulator, Moto};

/// A definition that looks at what batch transform jobs captured.
fn batch_definition(name: &str) -> Value {
    let mut definition = definition(name);
    definition["DataQualityJobInput"] = json!({"BatchTransformInput": {
        "DataCapturedDestinationS3Uri": "s3://bucket/captured",
        "DatasetFormat": {"Csv": {"Header": true}},
        "LocalPath": "/opt/ml/processing/input",
    }});
    definition
}

/// A transform job's input of this hour: two files with a header each, and the manifest of them.
async fn transformed(moto: &Moto, hour: &str, size: f64) {
    let rows = customers(600, size);
    for (n, rows) in rows.chunks(300).enumerate() {
        let file = format!("batch/{hour}/rows-{n}.csv");
        put(
            moto,
            &file,
            format!("age,amount,country\n{}\n", rows.join("\n")),
        )
        .await;
    }
    let prefix = format!("s3://bucket/batch/{hour}/");
    let manifest = json!([{"prefix": prefix}, "rows-0.csv", "rows-1.csv"]);
    let key = format!("captured/input/{hour}/transform-1.manifest");
    put(moto, &key, manifest.to_string()).await;
}

async fn hourly(moto: &Moto, emulator: &Emulator) {
    baseline(moto, emulator).await;
    emulator
        .ok("CreateDataQualityJobDefinition", batch_definition("batch"))
        .await;
    let when = json!({"ScheduleExpression": HOURLY});
    let hourly = schedule("batch-hourly", "DataQuality", "batch", &when);
    emulator.ok("CreateMonitoringSchedule", hourly).await;
}

#[tokio::test]
async fn drift_of_what_a_transform_job_read_is_found_and_an_hour_without_one_fails() {
    let (moto, emulator) = world(&[]).await;
    hourly(&moto, &emulator).await; // 12:10
    transformed(&moto, "2026/03/01/12", 160.0).await;
    transformed(&moto, "2026/03/01/13", 100.0).await;
    emulator.advance(12_600).await; // 15:40
    let executions = executions(&emulator, "batch-hourly").await;
    let statuses: Vec<&str> = executions
        .iter()
        .map(|one| one["MonitoringExecutionStatus"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["Failed", "Completed", "CompletedWithViolations"]);
    assert_eq!(executions[0]["FailureReason"], "Job inputs had no data");
    assert!(executions[0].get("EndpointName").is_none());

    let report = "reports/batch-hourly/2026/03/01/13/constraint_violations.json";
    let violations = read(&moto, report).await["violations"].clone();
    assert_eq!(violations.as_array().unwrap().len(), 1, "{violations}");
    assert_eq!(violations[0]["feature_name"], "amount");
    let job = job_of(&emulator, &executions[2]).await;
    let environment = &job["Environment"];
    assert_eq!(
        environment["dataset_format"],
        r#"{"csv":{"header":"true"}}"#
    );
    assert!(environment.get("sagemaker_endpoint_name").is_none());
    let sources = job["ProcessingInputs"].as_array().unwrap();
    let manifest = sources
        .iter()
        .find(|i| i["S3Input"]["S3DataType"] == "ManifestFile");
    assert_eq!(
        manifest.unwrap()["S3Input"]["S3Uri"],
        "s3://bucket/captured/input/2026/03/01/12/transform-1.manifest"
    );
    let log = format!("log?job={}", job["ProcessingJobName"].as_str().unwrap());
    assert_eq!(
        emulator.text(&log).await,
        "600 rows of 3 columns were analyzed; 0 lines or rows were malformed\n"
    );
}

#[tokio::test]
async fn a_schedule_without_an_endpoint_is_described_as_such_and_runs_once_when_asked() {
    let (moto, emulator) = world(&[]).await;
    hourly(&moto, &emulator).await;
    transformed(&moto, "2026/03/01/12", 160.0).await;
    let of_endpoint = json!({"EndpointName": "e"});
    let listed = emulator.ok("ListMonitoringSchedules", of_endpoint).await;
    assert_eq!(listed["MonitoringScheduleSummaries"], json!([]));
    let when = json!({"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "-PT0H"});
    let once = schedule("batch-once", "DataQuality", "batch", &when);
    emulator.ok("CreateMonitoringSchedule", once).await;
    emulator.advance(1800).await;
    let executions = executions(&emulator, "batch-once").await;
    assert_eq!(executions.len(), 1);
    assert_eq!(
        executions[0]["MonitoringExecutionStatus"],
        "CompletedWithViolations"
    );

    let mut both = batch_definition("both");
    both["DataQualityJobInput"]["EndpointInput"] =
        json!({"EndpointName": "e", "LocalPath": "/opt/ml/processing/input/endpoint"});
    let refused = emulator
        .refused("CreateDataQualityJobDefinition", both)
        .await;
    assert!(refused.message.starts_with("Exactly one of EndpointInput"));
}

#[tokio::test]
async fn a_manifest_that_is_none_fails_its_job_with_the_reason() {
    let (moto, emulator) = world(&[]).await;
    hourly(&moto, &emulator).await;
    put(&moto, "captured/input/2026/03/01/12/x", "{}".to_owned()).await;
    emulator.advance(5400).await;
    let executions = executions(&emulator, "batch-hourly").await;
    assert_eq!(executions[0]["MonitoringExecutionStatus"], "Failed");
    let why = executions[0]["FailureReason"].as_str().unwrap();
    assert!(why.contains("is no manifest"), "{why}");
}
