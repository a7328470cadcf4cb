//! Job definitions, schedules, executions and processing jobs as the API has them.

use serde_json::json;

use super::{
    HOURLY, baselining, capturing, customers, definition, executions, job_of, keys, monitored,
    named, output, put, resources, schedule, traffic,
};
use crate::processes::world;
use crate::support::{Emulator, IMAGE, ROLE};

#[tokio::test]
async fn a_processing_job_can_be_stopped_and_its_name_is_taken() {
    let (moto, emulator) = world(&[]).await;
    put(&moto, "baseline/data/rows.csv", "a\n1\n".to_owned()).await;
    emulator
        .ok("CreateProcessingJob", baselining("data", &json!({})))
        .await;
    let again = emulator
        .refused("CreateProcessingJob", baselining("data", &json!({})))
        .await;
    assert_eq!(again.code, "ResourceInUse");
    let name = json!({"ProcessingJobName": "data"});
    emulator.advance(60).await;
    emulator.ok("StopProcessingJob", name.clone()).await;
    emulator.advance(600).await;
    let job = emulator.ok("DescribeProcessingJob", name.clone()).await;
    assert_eq!(job["ProcessingJobStatus"], "Stopped");
    assert_eq!(
        keys(&moto, "baseline/data/stat").await,
        Vec::<String>::new()
    );
    assert_eq!(
        emulator.refused("StopProcessingJob", name).await.code,
        "ValidationException"
    );
    let mut other = baselining("other", &json!({}));
    other["AppSpecification"]["ImageUri"] = json!(IMAGE);
    let refused = emulator.refused("CreateProcessingJob", other).await;
    assert!(refused.message.starts_with("not implemented here"));
}

#[tokio::test]
async fn a_job_definition_is_kept_as_long_as_a_schedule_names_it() {
    let emulator = Emulator::start(&[]);
    let name = json!({"JobDefinitionName": "quality"});
    let missing = emulator
        .refused("DescribeDataQualityJobDefinition", name.clone())
        .await;
    assert_eq!(missing.code, "ResourceNotFound");
    let created = emulator
        .ok("CreateDataQualityJobDefinition", definition("quality"))
        .await;
    assert_eq!(
        created["JobDefinitionArn"],
        "arn:aws:sagemaker:us-east-1:123456789012:data-quality-job-definition/quality"
    );
    let again = emulator
        .refused("CreateDataQualityJobDefinition", definition("quality"))
        .await;
    assert_eq!(again.code, "ResourceInUse");
    let described = emulator
        .ok("DescribeDataQualityJobDefinition", name.clone())
        .await;
    assert_eq!(described["StoppingCondition"]["MaxRuntimeInSeconds"], 3600);
    let listed = emulator
        .ok(
            "ListDataQualityJobDefinitions",
            json!({"EndpointName": "e"}),
        )
        .await;
    assert_eq!(
        listed["JobDefinitionSummaries"].as_array().unwrap().len(),
        1
    );
    let none = emulator
        .ok("ListModelQualityJobDefinitions", json!({}))
        .await;
    assert_eq!(none["JobDefinitionSummaries"], json!([]));

    let when = json!({"ScheduleExpression": HOURLY});
    emulator
        .ok(
            "CreateMonitoringSchedule",
            schedule("hourly", "DataQuality", "quality", &when),
        )
        .await;
    let used = emulator
        .refused("DeleteDataQualityJobDefinition", name.clone())
        .await;
    assert!(
        used.message
            .contains("in use by the Monitoring Schedule hourly")
    );
    emulator.advance(60).await;
    emulator
        .ok("DeleteMonitoringSchedule", named("hourly"))
        .await;
    emulator
        .ok("DeleteDataQualityJobDefinition", name.clone())
        .await;
    let gone = emulator
        .refused("DeleteDataQualityJobDefinition", name)
        .await;
    assert_eq!(gone.code, "ResourceNotFound");
}

#[tokio::test]
async fn a_schedule_is_pending_after_each_change_and_refuses_others() {
    let emulator = Emulator::start(&[]);
    emulator
        .ok("CreateDataQualityJobDefinition", definition("quality"))
        .await;
    let hourly = |when: &str| {
        let when = json!({"ScheduleExpression": when});
        schedule("hourly", "DataQuality", "quality", &when)
    };
    emulator
        .ok("CreateMonitoringSchedule", hourly(HOURLY))
        .await;
    let status = async || {
        let described = emulator
            .ok("DescribeMonitoringSchedule", named("hourly"))
            .await;
        described["MonitoringScheduleStatus"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(status().await, "Pending");
    let pending = emulator
        .refused("StopMonitoringSchedule", named("hourly"))
        .await;
    assert_eq!(pending.message, "Monitoring schedule in status Pending");
    emulator.advance(30).await;
    assert_eq!(status().await, "Scheduled");
    emulator.ok("StopMonitoringSchedule", named("hourly")).await;
    emulator.advance(30).await;
    assert_eq!(status().await, "Stopped");
    emulator
        .ok("StartMonitoringSchedule", named("hourly"))
        .await;
    emulator.advance(30).await;
    let daily = hourly("cron(0 12 ? * * *)");
    emulator.ok("UpdateMonitoringSchedule", daily).await;
    emulator.advance(30).await;
    assert_eq!(status().await, "Scheduled");
    let bad = emulator
        .refused("UpdateMonitoringSchedule", hourly("rate(1 hour)"))
        .await;
    assert!(bad.message.starts_with("Invalid ScheduleExpression"));
    let mut long = definition("long");
    long["StoppingCondition"] = json!({"MaxRuntimeInSeconds": 7200});
    emulator.ok("CreateDataQualityJobDefinition", long).await;
    let when = json!({"ScheduleExpression": HOURLY});
    let long = schedule("long", "DataQuality", "long", &when);
    let long = emulator.refused("CreateMonitoringSchedule", long).await;
    assert!(long.message.starts_with("MaxRuntimeInSeconds"));
    let unknown = schedule(
        "x",
        "ModelQuality",
        "quality",
        &json!({"ScheduleExpression": HOURLY}),
    );
    let unknown = emulator.refused("CreateMonitoringSchedule", unknown).await;
    assert_eq!(unknown.code, "ResourceNotFound");
}

#[tokio::test]
async fn a_stopped_schedule_has_no_executions_and_a_deleted_ones_stay_listed() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input"]).await;
    monitored(&moto, &emulator).await;
    traffic(&emulator, &customers(100, 100.0)).await;
    emulator.advance(90 * 60).await;
    emulator.ok("StopMonitoringSchedule", named("hourly")).await;
    emulator.advance(3 * 3600).await;
    assert_eq!(executions(&emulator, "hourly").await.len(), 1);
    emulator
        .ok("DeleteMonitoringSchedule", named("hourly"))
        .await;
    assert_eq!(executions(&emulator, "hourly").await.len(), 1);
}

#[tokio::test]
async fn now_runs_once_over_the_window_that_it_names() {
    let (moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input"]).await;
    monitored(&moto, &emulator).await;
    traffic(&emulator, &customers(100, 100.0)).await;
    emulator.advance(30 * 60).await; // 12:44
    let bare = schedule(
        "once",
        "DataQuality",
        "quality",
        &json!({"ScheduleExpression": "NOW"}),
    );
    let refused = emulator.refused("CreateMonitoringSchedule", bare).await;
    assert!(refused.message.contains("DataAnalysisStartTime"));
    let when = json!({"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "-PT0H"});
    emulator
        .ok(
            "CreateMonitoringSchedule",
            schedule("once", "DataQuality", "quality", &when),
        )
        .await;
    emulator.advance(3 * 3600).await;
    let executions = executions(&emulator, "once").await;
    assert_eq!(executions.len(), 1);
    assert_eq!(executions[0]["MonitoringExecutionStatus"], "Completed");
    let job = job_of(&emulator, &executions[0]).await;
    assert_eq!(job["Environment"]["start_time"], "2026-03-01T11:44:20Z");
}

#[tokio::test]
async fn what_is_not_here_fails_and_says_so() {
    let (_moto, emulator) = world(&[]).await;
    capturing(&emulator, &["Input"]).await;
    let bias = json!({
        "JobDefinitionName": "bias",
        "ModelBiasAppSpecification": {"ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/my-own-bias:1.0", "ConfigUri": "s3://bucket/config.json"},
        "ModelBiasJobInput": {
            "EndpointInput": {"EndpointName": "e", "LocalPath": "/opt/ml/processing/input/endpoint"},
            "GroundTruthS3Input": {"S3Uri": "s3://bucket/truth"},
        },
        "ModelBiasJobOutputConfig": output(),
        "JobResources": resources(),
        "RoleArn": ROLE,
    });
    emulator.ok("CreateModelBiasJobDefinition", bias).await;
    let when = json!({"ScheduleExpression": HOURLY});
    let hourly = schedule("bias", "ModelBias", "bias", &when);
    emulator.ok("CreateMonitoringSchedule", hourly).await;
    let mut scripted = definition("scripted");
    scripted["DataQualityAppSpecification"]["RecordPreprocessorSourceUri"] =
        json!("s3://bucket/flatten.py");
    emulator
        .ok("CreateDataQualityJobDefinition", scripted)
        .await;
    let when = json!({"ScheduleExpression": HOURLY});
    let hourly = schedule("scripted", "DataQuality", "scripted", &when);
    emulator.ok("CreateMonitoringSchedule", hourly).await;
    traffic(&emulator, &customers(10, 100.0)).await;
    emulator.advance(90 * 60).await;
    for (name, missing) in [
        ("bias", "ModelBias by the image"),
        ("scripted", "RecordPreprocessorSourceUri"),
    ] {
        let execution = &executions(&emulator, name).await[0];
        assert_eq!(execution["MonitoringExecutionStatus"], "Failed");
        let reason = execution["FailureReason"].as_str().unwrap();
        assert!(reason.starts_with("not implemented here"), "{reason}");
        assert!(reason.contains(missing), "{reason}");
    }
}

#[tokio::test]
async fn a_test_can_report_that_an_execution_failed() {
    let (_moto, emulator) = world(&[]).await;
    emulator
        .ok("CreateDataQualityJobDefinition", definition("quality"))
        .await;
    let when = json!({"ScheduleExpression": HOURLY});
    emulator
        .ok(
            "CreateMonitoringSchedule",
            schedule("hourly", "DataQuality", "quality", &when),
        )
        .await;
    let order = json!({"schedule": "hourly", "failure": "the instance was lost"});
    let reported = emulator.admin("violation", order).await;
    let execution = &executions(&emulator, "hourly").await[0];
    assert_eq!(execution["MonitoringExecutionStatus"], "Failed");
    let job = json!({"ProcessingJobName": reported["processing_job"]});
    let job = emulator.ok("DescribeProcessingJob", job).await;
    assert_eq!(
        job["FailureReason"],
        "AlgorithmError: the instance was lost"
    );
}
