//! What users send ends in S3, and what drifts is found in it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    ANALYZER, HOURLY, baseline, baselining, capturing, customers, executions, get, job_of, keys,
    monitored, named, output, processing_events, put, read, resources, schedule, traffic,
};
use crate::processes::world;
use crate::support::{Moto, ROLE};

#[tokio::test]
async fn a_shift_of_the_traffic_is_found_as_drift() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input"]).await;
    monitored(&moto, &emulator).await;
    traffic(&emulator, &customers(400, 100.0)).await;
    emulator.advance(90 * 60).await; // 13:44
    let healthy = executions(&emulator, "hourly").await;
    assert_eq!(healthy.len(), 1, "{healthy:?}");
    assert_eq!(healthy[0]["MonitoringExecutionStatus"], "Completed");

    traffic(&emulator, &customers(400, 160.0)).await;
    emulator.advance(100 * 60).await; // 15:24; the hour from 14:00 is all of the new kind
    let executions = executions(&emulator, "hourly").await;
    assert_eq!(
        executions[0]["MonitoringExecutionStatus"],
        "CompletedWithViolations"
    );
    let file = "reports/e/hourly/2026/03/01/15/constraint_violations.json";
    let violations = read(&moto, file).await["violations"].clone();
    assert_eq!(violations.as_array().unwrap().len(), 1, "{violations}");
    assert_eq!(violations[0]["feature_name"], "amount");
    assert_eq!(
        violations[0]["constraint_check_type"],
        "baseline_drift_check"
    );
    let told = violations[0]["description"].as_str().unwrap();
    assert!(
        told.starts_with("Baseline drift distance: 0.")
            && told.ends_with(" exceeds threshold: 0.1"),
        "{told}"
    );

    let job = job_of(&emulator, &executions[0]).await;
    assert_eq!(
        job["ExitMessage"],
        "CompletedWithViolations: Job completed successfully with 1 violations."
    );
    assert_eq!(job["Environment"]["start_time"], "2026-03-01T14:00:00Z");
    assert_eq!(job["Environment"]["end_time"], "2026-03-01T15:00:00Z");
    let statistics = read(&moto, "reports/e/hourly/2026/03/01/15/statistics.json").await;
    let rows = statistics["dataset"]["item_count"].as_u64().unwrap();
    assert_eq!(rows, 1200, "60 minutes of 20 requests");
    assert_eq!(statistics["features"][1]["name"], "amount");
    let log = format!("log?job={}", job["ProcessingJobName"].as_str().unwrap());
    assert_eq!(
        emulator.text(&log).await,
        "1200 rows of 3 columns were analyzed; 0 lines or rows were malformed\n"
    );
}

#[tokio::test]
async fn a_monitoring_jobs_events_are_those_of_a_processing_job_with_its_schedule() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input"]).await;
    monitored(&moto, &emulator).await;
    traffic(&emulator, &customers(400, 160.0)).await;
    emulator.advance(90 * 60).await;
    let arn = "arn:aws:sagemaker:us-east-1:123456789012:monitoring-schedule/hourly";
    let events = processing_events(&emulator).await;
    let of_schedule: Vec<_> = events
        .iter()
        .filter(|event| event["MonitoringScheduleArn"] == arn)
        .map(|event| event["ProcessingJobStatus"].as_str().unwrap())
        .collect();
    assert_eq!(of_schedule, ["InProgress", "Completed"]);
    let ended = events.last().unwrap();
    assert!(
        ended["ExitMessage"]
            .as_str()
            .unwrap()
            .starts_with("CompletedWithViolations")
    );
    assert!(ended["ProcessingEndTime"].is_i64());
    let schedule = emulator
        .ok("DescribeMonitoringSchedule", named("hourly"))
        .await;
    assert_eq!(
        schedule["LastMonitoringExecutionSummary"]["MonitoringExecutionStatus"],
        "CompletedWithViolations"
    );
}

#[tokio::test]
async fn drift_is_a_metric_of_its_column() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input"]).await;
    monitored(&moto, &emulator).await;
    traffic(&emulator, &customers(400, 160.0)).await;
    emulator.advance(90 * 60).await;
    let metric = json!({"Namespace": "/aws/sagemaker/Endpoints/data-metrics",
        "MetricName": "feature_baseline_drift_amount", "Dimensions": [
            {"Name": "Endpoint", "Value": "e"}, {"Name": "MonitoringSchedule", "Value": "hourly"}]});
    let ask = json!({"StartTime": 1_772_366_400, "EndTime": 1_772_373_600, "MetricDataQueries": [
        {"Id": "drift", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Maximum"}}]});
    let answer = crate::metrics::cloudwatch(&emulator, "GetMetricData", ask).await;
    let drift = answer["MetricDataResults"][0]["Values"][0]
        .as_f64()
        .unwrap();
    assert!((0.2..0.5).contains(&drift), "{drift}");
}

#[tokio::test]
async fn an_hour_without_data_fails_and_has_no_job() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input"]).await;
    monitored(&moto, &emulator).await;
    emulator.advance(90 * 60).await;
    let executions = executions(&emulator, "hourly").await;
    assert_eq!(executions[0]["MonitoringExecutionStatus"], "Failed");
    assert_eq!(executions[0]["FailureReason"], "Job inputs had no data");
    assert_eq!(executions[0].get("ProcessingJobArn"), None);
}

#[tokio::test]
async fn captured_data_is_in_s3_by_variant_and_hour() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input", "Output"]).await;
    let invoke = |id: &'static str| {
        reqwest::Client::new()
            .post(format!("{}/endpoints/e/invocations", emulator.url))
            .header("content-type", "text/csv")
            .header("x-amzn-sagemaker-inference-id", id)
            .body("1,2.5,de")
            .send()
    };
    assert!(invoke("mine").await.unwrap().status().is_success());
    assert_eq!(keys(&moto, "capture/").await, Vec::<String>::new());
    emulator.advance(180).await;
    let files = keys(&moto, "capture/").await;
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].starts_with("capture/e/v1/2026/03/01/12/04-00-000-"));
    assert_eq!(files[0].rsplit('.').next(), Some("jsonl"));
    let line: Value = serde_json::from_str(get(&moto, &files[0]).await.trim_end()).unwrap();
    assert_eq!(line["captureData"]["endpointInput"]["data"], "1,2.5,de");
    assert_eq!(line["captureData"]["endpointInput"]["encoding"], "CSV");
    assert_eq!(line["captureData"]["endpointOutput"]["mode"], "OUTPUT");
    assert_eq!(line["captureData"]["endpointOutput"]["encoding"], "JSON");
    assert_eq!(line["eventMetadata"]["inferenceId"], "mine");
    assert_eq!(
        line["eventMetadata"]["inferenceTime"],
        "2026-03-01T12:04:00Z"
    );
    assert_eq!(line["eventVersion"], "0");
}

#[tokio::test]
async fn answers_of_another_type_than_the_requests_can_not_be_analyzed() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input", "Output"]).await;
    monitored(&moto, &emulator).await;
    let order = json!({"endpoint": "e", "requests_per_minute": 5, "payloads": ["1,2,de"], "content_type": "text/csv"});
    emulator.admin("traffic", order).await;
    emulator.advance(90 * 60).await;
    let execution = &executions(&emulator, "hourly").await[0];
    assert_eq!(execution["MonitoringExecutionStatus"], "Failed");
    let reason = execution["FailureReason"].as_str().unwrap();
    assert!(reason.contains("Encoding mismatch"), "{reason}");
    let job = job_of(&emulator, execution).await;
    assert_eq!(job["ProcessingJobStatus"], "Failed");
}

#[tokio::test]
async fn the_answers_columns_are_monitored_with_the_requests() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input", "Output"]).await;
    monitored(&moto, &emulator).await;
    traffic(&emulator, &customers(100, 100.0)).await;
    emulator.advance(90 * 60).await;
    let file = "reports/e/hourly/2026/03/01/13/constraint_violations.json";
    let violations = read(&moto, file).await["violations"].clone();
    assert_eq!(violations[0]["constraint_check_type"], "extra_column_check");
    assert_eq!(
        violations[0]["description"],
        "There are extra columns in current dataset. Number of columns in current dataset: 6, Number of columns in baseline constraints: 3"
    );
}

#[tokio::test]
async fn a_baselining_job_really_reads_its_data() {
    let (moto, emulator) = world(&[]).await;
    baseline(&moto, &emulator).await;
    let constraints = read(&moto, "baseline/data/constraints.json").await;
    let kinds: Vec<_> = constraints["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feature| (feature["name"].clone(), feature["inferred_type"].clone()))
        .collect();
    let expected = [
        ("age", "Integral"),
        ("amount", "Fractional"),
        ("country", "String"),
    ];
    assert_eq!(
        kinds,
        expected.map(|(name, kind)| (json!(name), json!(kind)))
    );
    let statistics = read(&moto, "baseline/data/statistics.json").await;
    let numbers = &statistics["features"][1]["numerical_statistics"];
    assert_eq!(
        (numbers["min"].clone(), numbers["max"].clone()),
        (json!(50.0), json!(149.0))
    );
    let listed = emulator.ok("ListProcessingJobs", json!({})).await;
    assert_eq!(
        listed["ProcessingJobSummaries"][0]["ProcessingJobStatus"],
        "Completed"
    );
}

/// The ids of what was captured.
async fn captured_ids(moto: &Moto) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for key in keys(moto, "capture/").await {
        for line in get(moto, &key).await.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            ids.insert(
                line["eventMetadata"]["eventId"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    ids
}

#[tokio::test]
async fn predictions_that_turn_out_wrong_break_the_model_quality() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input", "Output"]).await;
    let labelled = "prediction,label\n1,1\n0,0\n1,1\n0,0\n1,0\n".repeat(20);
    put(
        &moto,
        "baseline/data/rows.csv",
        labelled.replacen("prediction,label\n", "", 20),
    )
    .await;
    let rows = get(&moto, "baseline/data/rows.csv").await;
    put(
        &moto,
        "baseline/data/rows.csv",
        format!("prediction,label\n{rows}"),
    )
    .await;
    let environment = json!({"analysis_type": "MODEL_QUALITY", "problem_type": "BinaryClassification",
        "inference_attribute": "prediction", "ground_truth_attribute": "label"});
    emulator
        .ok("CreateProcessingJob", baselining("model", &environment))
        .await;
    emulator.advance(600).await; // 12:14
    let constraints = read(&moto, "baseline/model/constraints.json").await;
    let accuracy = &constraints["binary_classification_constraints"]["accuracy"];
    assert_eq!(
        accuracy,
        &json!({"threshold": 0.8, "comparison_operator": "LessThanThreshold"})
    );

    let definition = json!({
        "JobDefinitionName": "model",
        "ModelQualityBaselineConfig": {"ConstraintsResource": {"S3Uri": "s3://bucket/baseline/model/constraints.json"}},
        "ModelQualityAppSpecification": {"ImageUri": ANALYZER, "ProblemType": "BinaryClassification"},
        "ModelQualityJobInput": {
            "EndpointInput": {"EndpointName": "e", "LocalPath": "/opt/ml/processing/input/endpoint", "InferenceAttribute": "0"},
            "GroundTruthS3Input": {"S3Uri": "s3://bucket/truth"},
        },
        "ModelQualityJobOutputConfig": output(),
        "JobResources": resources(),
        "RoleArn": ROLE,
    });
    emulator
        .ok("CreateModelQualityJobDefinition", definition)
        .await;
    let when = json!({"ScheduleExpression": HOURLY});
    let hourly = schedule("quality", "ModelQuality", "model", &when);
    emulator.ok("CreateMonitoringSchedule", hourly).await;
    traffic(&emulator, &["1".to_owned(), "0".to_owned()]).await;
    emulator.advance(30 * 60).await;
    // The model says 1 and 0 by turns; the truth is always 1.
    let truth: Vec<String> = captured_ids(&moto)
        .await
        .iter()
        .map(|id| {
            let truth = json!({"data": "1", "encoding": "CSV"});
            json!({"groundTruthData": truth, "eventMetadata": {"eventId": id}, "eventVersion": "0"})
                .to_string()
        })
        .collect();
    put(&moto, "truth/2026/03/01/12/truth.jsonl", truth.join("\n")).await;
    emulator.advance(60 * 60).await; // 13:44
    let execution = &executions(&emulator, "quality").await[0];
    assert_eq!(
        execution["MonitoringExecutionStatus"], "CompletedWithViolations",
        "{execution}"
    );
    let file = "reports/e/quality/2026/03/01/13/constraint_violations.json";
    let violations = read(&moto, file).await["violations"].clone();
    let violations = violations.as_array().unwrap();
    let accuracy = violations
        .iter()
        .find(|violation| violation["metric_name"] == "accuracy")
        .unwrap();
    assert_eq!(accuracy["constraint_check_type"], "LessThanThreshold");
    let told = accuracy["description"].as_str().unwrap();
    assert!(told.starts_with("Metric accuracy with 0."), "{told}");
    assert!(told.ends_with("was LessThanThreshold '0.8'"), "{told}");
}
