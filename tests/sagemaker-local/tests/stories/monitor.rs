//! Data capture and Model Monitor, on an endpoint `e` with customers as users: the ground that its
//! stories stand on.

use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};

use crate::support::{Emulator, Moto, ROLE};

mod api;
mod batch;
mod clarify;
mod drift;

const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";
const HOURLY: &str = "cron(0 * ? * * *)";

/// Customers: a whole number, an amount about some size, and a country.
fn customers(count: usize, size: f64) -> Vec<String> {
    let spread = |index: usize| f64::from(u32::try_from(index * 7 % 100).unwrap()) / 100.0;
    (0..count)
        .map(|index| {
            let amount = size * (0.5 + spread(index));
            let country = if index % 10 < 3 { "fr" } else { "de" };
            format!("{},{amount:.3},{country}", index * 31 % 90 + 18)
        })
        .collect()
}

async fn put(moto: &Moto, key: &str, content: String) {
    let content = ByteStream::from(content.into_bytes());
    let s3 = moto.s3().await;
    let put = s3.put_object().bucket("bucket").key(key).body(content);
    put.send().await.unwrap();
}

async fn get(moto: &Moto, key: &str) -> String {
    let s3 = moto.s3().await;
    let object = s3.get_object().bucket("bucket").key(key).send().await;
    let content = object.unwrap().body.collect().await.unwrap().into_bytes();
    String::from_utf8(content.to_vec()).unwrap()
}

async fn read(moto: &Moto, key: &str) -> Value {
    serde_json::from_str(&get(moto, key).await).unwrap()
}

async fn keys(moto: &Moto, prefix: &str) -> Vec<String> {
    let s3 = moto.s3().await;
    let listed = s3.list_objects_v2().bucket("bucket").prefix(prefix).send();
    let listed = listed.await.unwrap();
    let keys = listed.contents().iter().map(|object| object.key().unwrap());
    keys.map(str::to_owned).collect()
}

/// An endpoint `e` in service at 12:04 that captures what is asked for and answers with what it
/// gets.
async fn capturing(emulator: &Emulator, modes: &[&str]) {
    capturing_of(emulator, json!({}), modes).await;
}

/// The same of a model that answers as its script says.
async fn capturing_of(emulator: &Emulator, script: Value, modes: &[&str]) {
    emulator.scripted_model("model", script).await;
    let modes: Vec<Value> = modes
        .iter()
        .map(|mode| json!({"CaptureMode": mode}))
        .collect();
    let capture = json!({
        "EnableCapture": true, "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/capture", "CaptureOptions": modes,
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]}});
    let variant = json!({"VariantName": "v1", "ModelName": "model", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1});
    let config = json!({"EndpointConfigName": "config", "ProductionVariants": [variant], "DataCaptureConfig": capture});
    emulator.ok("CreateEndpointConfig", config).await;
    let endpoint = json!({"EndpointName": "e", "EndpointConfigName": "config"});
    emulator.ok("CreateEndpoint", endpoint).await;
    emulator.advance(240).await;
}

async fn traffic(emulator: &Emulator, payloads: &[String]) {
    let order = json!({"endpoint": "e", "requests_per_minute": 20, "payloads": payloads,
        "content_type": "text/csv", "accept": "text/csv"});
    emulator.admin("traffic", order).await;
}

fn input(name: &str, uri: &str, path: &str) -> Value {
    json!({"InputName": name, "S3Input": {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}})
}

fn baselining(name: &str, environment: &Value) -> Value {
    let mut variables = json!({
        "dataset_format": "{\"csv\": {\"header\": true, \"output_columns_position\": \"START\"}}",
        "dataset_source": "/opt/ml/processing/input/baseline_dataset_input",
        "output_path": "/opt/ml/processing/output",
        "publish_cloudwatch_metrics": "Disabled",
    });
    for (variable, value) in environment.as_object().unwrap() {
        variables[variable] = value.clone();
    }
    let data = "s3://bucket/baseline/data/rows.csv";
    let output = json!({"S3Uri": format!("s3://bucket/baseline/{name}"), "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"});
    json!({
        "ProcessingJobName": name,
        "ProcessingInputs": [input("baseline_dataset_input", data, "/opt/ml/processing/input/baseline_dataset_input")],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "monitoring_output", "S3Output": output}]},
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}},
        "AppSpecification": {"ImageUri": ANALYZER},
        "Environment": variables,
        "RoleArn": ROLE,
    })
}

/// A baseline of customers whose amounts are about 100.
async fn baseline(moto: &Moto, emulator: &Emulator) {
    let rows = customers(1_000, 100.0).join("\n");
    put(
        moto,
        "baseline/data/rows.csv",
        format!("age,amount,country\n{rows}\n"),
    )
    .await;
    emulator
        .ok("CreateProcessingJob", baselining("data", &json!({})))
        .await;
    emulator.advance(600).await;
}

fn definition(name: &str) -> Value {
    json!({
        "JobDefinitionName": name,
        "DataQualityBaselineConfig": {
            "ConstraintsResource": {"S3Uri": "s3://bucket/baseline/data/constraints.json"},
            "StatisticsResource": {"S3Uri": "s3://bucket/baseline/data/statistics.json"},
        },
        "DataQualityAppSpecification": {"ImageUri": ANALYZER},
        "DataQualityJobInput": {"EndpointInput": {"EndpointName": "e", "LocalPath": "/opt/ml/processing/input/endpoint"}},
        "DataQualityJobOutputConfig": output(),
        "JobResources": resources(),
        "RoleArn": ROLE,
    })
}

fn output() -> Value {
    let output = json!({"S3Uri": "s3://bucket/reports", "LocalPath": "/opt/ml/processing/output"});
    json!({"MonitoringOutputs": [{"S3Output": output}]})
}

fn resources() -> Value {
    json!({"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}})
}

fn schedule(name: &str, kind: &str, definition: &str, when: &Value) -> Value {
    json!({"MonitoringScheduleName": name, "MonitoringScheduleConfig": {
        "ScheduleConfig": when, "MonitoringType": kind, "MonitoringJobDefinitionName": definition}})
}

fn named(name: &str) -> Value {
    json!({"MonitoringScheduleName": name})
}

/// A schedule `hourly` over the endpoint, with its baseline.
async fn monitored(moto: &Moto, emulator: &Emulator) {
    baseline(moto, emulator).await;
    emulator
        .ok("CreateDataQualityJobDefinition", definition("quality"))
        .await;
    let when = json!({"ScheduleExpression": HOURLY});
    let hourly = schedule("hourly", "DataQuality", "quality", &when);
    emulator.ok("CreateMonitoringSchedule", hourly).await;
}

/// The executions of a schedule, newest first.
async fn executions(emulator: &Emulator, name: &str) -> Vec<Value> {
    let query = json!({"MonitoringScheduleName": name, "SortBy": "ScheduledTime"});
    let listed = emulator.ok("ListMonitoringExecutions", query).await;
    listed["MonitoringExecutionSummaries"]
        .as_array()
        .unwrap()
        .clone()
}

async fn job_of(emulator: &Emulator, execution: &Value) -> Value {
    let arn = execution["ProcessingJobArn"].as_str().unwrap();
    let name = arn.rsplit('/').next().unwrap();
    emulator
        .ok("DescribeProcessingJob", json!({"ProcessingJobName": name}))
        .await
}

async fn processing_events(emulator: &Emulator) -> Vec<Value> {
    let events = emulator.look("events").await;
    let events = events["events"].as_array().unwrap().iter();
    let of_jobs =
        events.filter(|event| event["detail-type"] == "SageMaker Processing Job State Change");
    of_jobs.map(|event| event["detail"].clone()).collect()
}
