//! Real jobs and models as processes, and the parts that need S3, SQS and EventBridge.

use std::time::{Duration, Instant};

use crate::support::{Emulator, IMAGE, Moto, ROLE};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, Target};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

const SCRIPT: &str = r#"
import argparse, json, os, pathlib, sys, time

def model_fn(folder):
    return json.loads(pathlib.Path(folder, "model.json").read_text())

def input_fn(body, content_type):
    return json.loads(body)

def predict_fn(data, model):
    if data == "die":
        os._exit(3)
    return {"factor": model["factor"], "x": data}

def output_fn(result, accept):
    return json.dumps(result)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=int)
    parser.add_argument("--sleep", type=float, default=0)
    given = parser.parse_args()
    rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "part", "rows.csv").read_text().split()
    print(f"validation:auc=0.5; rows={len(rows)}", flush=True)
    time.sleep(given.sleep)
    if given.factor < 0:
        sys.exit("a factor can not be negative")
    print("validation:auc=0.93;", flush=True)
    print(f"validation:gain={given.factor / 10};", flush=True)
    pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps({"factor": given.factor}))
"#;

fn archive(name: &str, text: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len().try_into().unwrap());
    header.set_mode(0o644);
    archive
        .append_data(&mut header, name, text.as_bytes())
        .unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

pub(crate) async fn world(arguments: &[&str]) -> (Moto, Emulator) {
    let moto = Moto::start().await;
    let s3 = moto.s3().await;
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    for (key, content) in [
        ("code/sourcedir.tar.gz", archive("train.py", SCRIPT)),
        ("data/train/part/rows.csv", b"1\n2\n3\n".to_vec()),
    ] {
        s3.put_object()
            .bucket("bucket")
            .key(key)
            .body(ByteStream::from(content))
            .send()
            .await
            .unwrap();
    }
    let mut all = vec!["--aws-endpoint", moto.url.as_str()];
    all.extend(arguments);
    let emulator = Emulator::start(&all);
    (moto, emulator)
}

pub(crate) fn job(name: &str, factor: &str) -> Value {
    json!({
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE, "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "validation:auc", "Regex": "validation:auc=([0-9.]+)"}],
        },
        "HyperParameters": {
            "sagemaker_program": "\"train.py\"",
            "sagemaker_submit_directory": "\"s3://bucket/code/sourcedir.tar.gz\"",
            "factor": factor,
        },
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": "s3://bucket/data/train"}}}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "Tags": [{"Key": "tidegate:pipeline", "Value": "fraud"}],
    })
}

async fn described(emulator: &Emulator, name: &str) -> Value {
    emulator
        .ok("DescribeTrainingJob", json!({"TrainingJobName": name}))
        .await
}

/// A model of a real job on an endpoint in service, with instances as ordered.
async fn serve(emulator: &Emulator, instances: u32) {
    emulator.ok("CreateTrainingJob", job("job", "3")).await;
    emulator.advance(120).await;
    let data = described(emulator, "job").await["ModelArtifacts"]["S3ModelArtifacts"].clone();
    let container = json!({"Image": IMAGE, "ModelDataUrl": data, "Environment": {
        "SAGEMAKER_PROGRAM": "train.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/code/sourcedir.tar.gz"}});
    emulator
        .ok(
            "CreateModel",
            json!({"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": container}),
        )
        .await;
    let variant = json!({"VariantName": "v1", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": instances});
    emulator
        .ok(
            "CreateEndpointConfig",
            json!({"EndpointConfigName": "c", "ProductionVariants": [variant]}),
        )
        .await;
    emulator
        .ok(
            "CreateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "c"}),
        )
        .await;
    emulator.advance(240).await;
    assert_eq!(emulator.status("e").await, "InService");
}

#[tokio::test]
async fn a_training_job_runs_the_users_script_and_leaves_a_model() {
    let (moto, emulator) = world(&[]).await;
    let queue = moto.event_queue().await;
    emulator.ok("CreateTrainingJob", job("job", "3")).await;
    assert_eq!(
        described(&emulator, "job").await["SecondaryStatus"],
        "Starting"
    );
    emulator.advance(120).await;
    let done = described(&emulator, "job").await;
    assert_eq!(done["TrainingJobStatus"], "Completed", "{done}");
    assert_eq!(
        done["FinalMetricDataList"][0]["MetricName"],
        "validation:auc"
    );
    assert_eq!(done["FinalMetricDataList"][0]["Value"], 0.93);
    let stages = done["SecondaryStatusTransitions"].as_array().unwrap();
    let stages: Vec<&str> = stages
        .iter()
        .map(|stage| stage["Status"].as_str().unwrap())
        .collect();
    assert_eq!(
        stages,
        [
            "Starting",
            "Downloading",
            "Training",
            "Uploading",
            "Completed"
        ]
    );
    let model = moto
        .s3()
        .await
        .get_object()
        .bucket("bucket")
        .key("out/job/output/model.tar.gz")
        .send()
        .await;
    assert!(model.unwrap().content_length().unwrap() > 0);
    assert!(emulator.text("log?job=job").await.contains("rows=3"));

    let events = moto.drain(&queue).await;
    let last = events
        .iter()
        .rfind(|event| event["detail-type"] == "SageMaker Training Job State Change")
        .unwrap();
    assert_eq!(last["source"], "aws.sagemaker");
    assert_eq!(last["detail"]["TrainingJobStatus"], "Completed");
    assert_eq!(
        last["detail"]["Tags"],
        json!({"tidegate:pipeline": "fraud"})
    );
    assert!(
        last["detail"]["CreationTime"].is_string(),
        "times are milliseconds in strings"
    );
    assert!(last["detail"].get("ModelArtifacts").is_none());
    assert_eq!(last["time"].as_str().unwrap()[..16], *"2026-03-01T12:00");
}

#[tokio::test]
async fn a_script_that_fails_says_why() {
    let (_moto, emulator) = world(&[]).await;
    emulator.ok("CreateTrainingJob", job("job", "-1")).await;
    emulator.advance(120).await;
    let done = described(&emulator, "job").await;
    assert_eq!(done["TrainingJobStatus"], "Failed");
    let reason = done["FailureReason"].as_str().unwrap();
    assert!(
        reason.starts_with("AlgorithmError") && reason.contains("a factor can not be negative"),
        "{reason}"
    );
    let again = emulator.refused("CreateTrainingJob", job("job", "3")).await;
    assert_eq!(again.code, "ResourceInUse");
}

#[tokio::test]
async fn missing_data_fails_the_job() {
    let (_moto, emulator) = world(&[]).await;
    let mut missing = job("job", "3");
    missing["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] =
        json!("s3://bucket/nothing");
    emulator.ok("CreateTrainingJob", missing).await;
    emulator.advance(120).await;
    let reason = described(&emulator, "job").await["FailureReason"].clone();
    assert!(
        reason.as_str().unwrap().contains("s3://bucket/nothing"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_stopped_job_is_stopping_and_then_stopped() {
    let (_moto, emulator) = world(&["--speed", "600"]).await;
    let mut slow = job("job", "3");
    slow["HyperParameters"]["sleep"] = json!("60");
    emulator.ok("CreateTrainingJob", slow).await;
    let began = Instant::now();
    while described(&emulator, "job").await["SecondaryStatus"] != "Training" {
        assert!(began.elapsed() < Duration::from_mins(1));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    emulator
        .ok("StopTrainingJob", json!({"TrainingJobName": "job"}))
        .await;
    while described(&emulator, "job").await["TrainingJobStatus"] != "Stopped" {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "{}",
            described(&emulator, "job").await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        emulator
            .refused("StopTrainingJob", json!({"TrainingJobName": "job"}))
            .await
            .message
            .contains("Stopped")
    );
}

#[tokio::test]
async fn a_model_serves_by_the_users_functions() {
    let (_moto, emulator) = world(&[]).await;
    serve(&emulator, 2).await;
    let answer = emulator.invoke("e", None, "[1]").await;
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body, json!({"factor": 3, "x": [1]}));
    let bad = emulator.invoke("e", None, "not json").await;
    assert_eq!(bad.status(), 424);
    let bad: Value = bad.json().await.unwrap();
    assert!(bad["OriginalStatusCode"].as_u64().unwrap() >= 400);

    emulator
        .admin(
            "traffic",
            json!({"endpoint": "e", "requests_per_minute": 60, "payloads": ["[1]", "[2]"]}),
        )
        .await;
    emulator.advance(120).await;
    let timeline = emulator.look("timeline?endpoint=e").await;
    let minutes = timeline["minutes"].as_array().unwrap();
    let requests: u64 = minutes
        .iter()
        .filter_map(|minute| minute["counts"]["v1"]["requests"].as_u64())
        .sum();
    assert!(requests >= 122, "{requests}");
    let errors: u64 = minutes
        .iter()
        .filter_map(|minute| minute["counts"]["v1"]["model_errors"].as_u64())
        .sum();
    assert_eq!(errors, 1, "only the one that was not JSON");
}

#[tokio::test]
async fn a_crashed_server_counts_as_model_errors_and_is_started_again() {
    let (_moto, emulator) = world(&[]).await;
    serve(&emulator, 1).await;
    let crash = emulator.invoke("e", None, "\"die\"").await;
    assert_eq!(crash.status(), 424);
    let crash: Value = crash.json().await.unwrap();
    assert_eq!(crash["OriginalStatusCode"], 0);
    let began = Instant::now();
    while emulator.invoke("e", None, "[1]").await.status() != 200 {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "it is not started again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let timeline = emulator.look("timeline?endpoint=e").await;
    let last = timeline["minutes"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert!(last["counts"]["v1"]["model_errors"].as_u64().unwrap() >= 1);
    assert_eq!(last["counts"]["v1"]["errors_5xx"], 0);
    assert_eq!(last["counts"]["v1"]["errors_4xx"], 0);
}

#[tokio::test]
async fn a_pipeline_execution_runs_its_training_step_once() {
    let (_moto, emulator) = world(&["--speed", "600"]).await;
    let mut arguments = job("x", "0");
    arguments.as_object_mut().unwrap().remove("TrainingJobName");
    arguments["HyperParameters"]["factor"] = json!({"Get": "Parameters.Factor"});
    let definition = json!({
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Factor", "Type": "String", "DefaultValue": "2"}],
        "Steps": [{"Name": "Train", "Type": "Training", "Arguments": arguments}],
    });
    let pipeline = json!({"PipelineName": "retrain", "RoleArn": ROLE, "ClientRequestToken": "c".repeat(32), "PipelineDefinition": definition.to_string()});
    emulator.ok("CreatePipeline", pipeline).await;
    let start = json!({"PipelineName": "retrain", "ClientRequestToken": "s".repeat(32), "PipelineParameters": [{"Name": "Factor", "Value": "5"}]});
    let execution = emulator.ok("StartPipelineExecution", start.clone()).await;
    assert_eq!(
        emulator.ok("StartPipelineExecution", start).await,
        execution
    );
    let began = Instant::now();
    let done = loop {
        let done = emulator
            .ok("DescribePipelineExecution", execution.clone())
            .await;
        if done["PipelineExecutionStatus"] != "Executing" {
            break done;
        }
        assert!(began.elapsed() < Duration::from_mins(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(done["PipelineExecutionStatus"], "Succeeded", "{done}");
    let jobs = emulator.ok("ListTrainingJobs", json!({})).await;
    let jobs = jobs["TrainingJobSummaries"].as_array().unwrap();
    assert_eq!(jobs.len(), 1);
    let job = described(&emulator, jobs[0]["TrainingJobName"].as_str().unwrap()).await;
    assert_eq!(job["HyperParameters"]["factor"], "5");
}

#[tokio::test]
async fn schedules_fire_by_the_emulators_clock_into_the_functions_queue() {
    let (moto, emulator) = world(&[]).await;
    let config = moto.config().await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let queue = sqs
        .create_queue()
        .queue_name("lambda-canary-shift")
        .send()
        .await
        .unwrap();
    let queue = queue.queue_url().unwrap();
    let scheduler = aws_sdk_scheduler::Client::new(&config);
    let target = Target::builder()
        .arn("arn:aws:lambda:us-east-1:123456789012:function:canary-shift")
        .role_arn(ROLE)
        .input(r#"{"tidegate":"tick","scheduled":"<aws.scheduler.scheduled-time>"}"#)
        .build()
        .unwrap();
    let window = FlexibleTimeWindow::builder()
        .mode(FlexibleTimeWindowMode::Off)
        .build()
        .unwrap();
    scheduler
        .create_schedule_group()
        .name("tidegate")
        .send()
        .await
        .unwrap();
    for (name, state) in [
        ("tick", ScheduleState::Enabled),
        ("off", ScheduleState::Disabled),
    ] {
        scheduler
            .create_schedule()
            .name(name)
            .group_name("tidegate")
            .schedule_expression("rate(1 minute)")
            .flexible_time_window(window.clone())
            .target(target.clone())
            .state(state)
            .send()
            .await
            .unwrap();
    }
    emulator.advance(300).await;
    let mut fired: Vec<String> = moto
        .drain(queue)
        .await
        .iter()
        .map(|message| message["scheduled"].as_str().unwrap().to_owned())
        .collect();
    fired.sort();
    let last = fired.last().unwrap().clone();
    fired.dedup();
    assert!((3..=5).contains(&fired.len()), "{fired:?}");
    assert_eq!(last, "2026-03-01T12:05:00Z");
    scheduler
        .delete_schedule()
        .group_name("tidegate")
        .name("tick")
        .send()
        .await
        .unwrap();
    emulator.advance(300).await;
    assert_eq!(moto.drain(queue).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_reported_violation_looks_as_if_a_monitoring_job_had_run() {
    let (moto, emulator) = world(&[]).await;
    emulator.endpoint("e", json!({})).await;
    let definition = json!({
        "MonitoringInputs": [{"EndpointInput": {"EndpointName": "e", "LocalPath": "/opt/ml/processing/input"}}],
        "MonitoringOutputConfig": {"MonitoringOutputs": [{"S3Output": {"S3Uri": "s3://bucket/monitor", "LocalPath": "/opt/ml/processing/output"}}]},
        "MonitoringResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}},
        "MonitoringAppSpecification": {"ImageUri": IMAGE},
        "RoleArn": ROLE,
    });
    let schedule = json!({"MonitoringScheduleName": "hourly", "MonitoringScheduleConfig": {
        "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"}, "MonitoringType": "DataQuality", "MonitoringJobDefinition": definition}});
    emulator.ok("CreateMonitoringSchedule", schedule).await;
    let finding = json!({"feature_name": "age", "constraint_check_type": "baseline_drift_check", "description": "Baseline drift distance: 0.4 exceeds threshold: 0.1"});
    let reported = emulator
        .admin("violation", json!({"endpoint": "e", "violations": [finding], "data_window_end": "2026-03-01T12:00:00Z"}))
        .await;
    let uri = reported["constraint_violations"].as_str().unwrap();
    assert_eq!(
        uri,
        "s3://bucket/monitor/e/hourly/2026/03/01/12/constraint_violations.json"
    );
    let object = moto
        .s3()
        .await
        .get_object()
        .bucket("bucket")
        .key(&uri["s3://bucket/".len()..])
        .send()
        .await
        .unwrap();
    let findings: Value =
        serde_json::from_slice(&object.body.collect().await.unwrap().into_bytes()).unwrap();
    assert_eq!(findings["violations"][0]["feature_name"], "age");
    let job = emulator
        .ok(
            "DescribeProcessingJob",
            json!({"ProcessingJobName": reported["processing_job"]}),
        )
        .await;
    assert!(
        job["ExitMessage"]
            .as_str()
            .unwrap()
            .starts_with("CompletedWithViolations")
    );
    let executions = emulator
        .ok(
            "ListMonitoringExecutions",
            json!({"MonitoringScheduleName": "hourly"}),
        )
        .await;
    assert_eq!(
        executions["MonitoringExecutionSummaries"][0]["MonitoringExecutionStatus"],
        "CompletedWithViolations"
    );
    let events = emulator.look("events").await;
    let events = events["events"].as_array().unwrap();
    let event = events
        .iter()
        .find(|event| event["detail-type"] == "SageMaker Processing Job State Change")
        .unwrap();
    assert_eq!(event["detail"]["ProcessingJobStatus"], "Completed");
    assert_eq!(
        event["detail"]["MonitoringScheduleArn"],
        "arn:aws:sagemaker:us-east-1:123456789012:monitoring-schedule/hourly"
    );
}

#[tokio::test]
async fn no_process_outlives_the_emulator() {
    let (_moto, mut emulator) = world(&[]).await;
    serve(&emulator, 2).await;
    let own = emulator.child.id().to_string();
    let children = std::process::Command::new("ps")
        .args(["-o", "pid=", "--ppid", &own])
        .output()
        .unwrap();
    let children: Vec<String> = String::from_utf8(children.stdout)
        .unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(children.len(), 2, "two instances");
    emulator.child.kill().unwrap();
    emulator.child.wait().unwrap();
    let began = Instant::now();
    while children.iter().any(|pid| alive(pid)) {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{children:?} are left"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A zombie that nobody has reaped yet counts as ended.
fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
    })
}
