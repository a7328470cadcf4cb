//! Everything the emulator answers has the shape that botocore's service models say it has.

use std::process::Command;

use serde_json::{Value, json};

use crate::metrics::cloudwatch;
use crate::processes::{job, world};
use crate::support::{Emulator, IMAGE, ROLE, python, workspace};

#[tokio::test]
async fn every_answer_has_the_shape_that_botocore_knows() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record.jsonl");
    let (_moto, emulator) = world(&["--record", record.to_str().unwrap()]).await;

    training_jobs(&emulator).await;
    let package = registry(&emulator).await;
    endpoints(&emulator, &package).await;
    metrics(&emulator).await;
    pipelines(&emulator).await;
    monitoring(&emulator).await;
    tags_and_deletions(&emulator, &package).await;

    let check = Command::new(python())
        .arg(workspace().join("tests/sagemaker-local/conformance/check.py"))
        .arg(&record)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&check.stderr)
    );
}

async fn training_jobs(emulator: &Emulator) {
    emulator.ok("CreateTrainingJob", job("job", "3")).await;
    emulator
        .ok("DescribeTrainingJob", json!({"TrainingJobName": "job"}))
        .await;
    emulator.ok("CreateTrainingJob", job("stopped", "3")).await;
    emulator
        .ok("StopTrainingJob", json!({"TrainingJobName": "stopped"}))
        .await;
    emulator.advance(120).await;
    emulator
        .ok("DescribeTrainingJob", json!({"TrainingJobName": "job"}))
        .await;
    emulator
        .ok("ListTrainingJobs", json!({"MaxResults": 1}))
        .await;
}

async fn registry(emulator: &Emulator) -> Value {
    emulator
        .ok(
            "CreateModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    emulator
        .ok(
            "DescribeModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    emulator.ok("ListModelPackageGroups", json!({})).await;
    let container = json!({"Image": IMAGE, "Environment": {"SAGEMAKER_LOCAL_SCRIPT": "{}"}});
    let specification = json!({
        "Containers": [container], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]});
    let package = emulator
        .ok(
            "CreateModelPackage",
            json!({"ModelPackageGroupName": "fraud", "InferenceSpecification": specification}),
        )
        .await["ModelPackageArn"]
        .clone();
    emulator
        .ok(
            "UpdateModelPackage",
            json!({"ModelPackageArn": package, "ModelApprovalStatus": "Approved"}),
        )
        .await;
    emulator
        .ok("DescribeModelPackage", json!({"ModelPackageName": package}))
        .await;
    emulator
        .ok(
            "ListModelPackages",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    package
}

async fn endpoints(emulator: &Emulator, package: &Value) {
    let model = json!({"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"ModelPackageName": package}});
    emulator.ok("CreateModel", model).await;
    emulator
        .ok("DescribeModel", json!({"ModelName": "m"}))
        .await;
    emulator.ok("ListModels", json!({})).await;
    let capture = json!({
        "EnableCapture": true, "InitialSamplingPercentage": 10, "DestinationS3Uri": "s3://bucket/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}]});
    let variant = json!({"VariantName": "v1", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1});
    let config = json!({"EndpointConfigName": "c", "ProductionVariants": [variant], "DataCaptureConfig": capture});
    emulator.ok("CreateEndpointConfig", config).await;
    emulator
        .ok("DescribeEndpointConfig", json!({"EndpointConfigName": "c"}))
        .await;
    emulator.ok("ListEndpointConfigs", json!({})).await;
    emulator
        .ok(
            "CreateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "c"}),
        )
        .await;
    emulator
        .ok("DescribeEndpoint", json!({"EndpointName": "e"}))
        .await;
    emulator.advance(240).await;
    emulator
        .ok(
            "UpdateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "c"}),
        )
        .await;
    emulator
        .ok("DescribeEndpoint", json!({"EndpointName": "e"}))
        .await;
    emulator
        .refused(
            "UpdateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "c"}),
        )
        .await;
    emulator.advance(240).await;
    let weights = json!({"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "v1", "DesiredWeight": 2}]});
    emulator
        .ok("UpdateEndpointWeightsAndCapacities", weights)
        .await;
    emulator.advance(120).await;
    emulator
        .ok("DescribeEndpoint", json!({"EndpointName": "e"}))
        .await;
    emulator
        .ok("ListEndpoints", json!({"StatusEquals": "InService"}))
        .await;
    emulator.invoke("e", None, "{}").await;
    emulator.invoke("nope", None, "{}").await;
}

async fn metrics(emulator: &Emulator) {
    let dimensions =
        json!([{"Name": "Endpoint", "Value": "e"}, {"Name": "Variant", "Value": "v1"}]);
    let failed = json!({"MetricName": "Failed", "Dimensions": dimensions, "Value": 3.0});
    let put = json!({"Namespace": "Shop", "MetricData": [failed]});
    cloudwatch(emulator, "PutMetricData", put).await;
    emulator.advance(20 * 60).await;
    let listed = cloudwatch(emulator, "ListMetrics", json!({"RecentlyActive": "PT3H"})).await;
    let metrics = listed["Metrics"].as_array().unwrap().clone();
    assert!(metrics.iter().any(|metric| metric["Namespace"] == "Shop"));
    assert!(
        metrics
            .iter()
            .any(|metric| metric["MetricName"] == "ModelLatency")
    );
    let query = |(index, metric): (usize, &Value)| {
        json!({"Id": format!("m{index}"),
            "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Sum"}})
    };
    let queries: Vec<Value> = metrics.iter().enumerate().map(query).collect();
    let now = emulator.look("clock").await["epoch_seconds"]
        .as_f64()
        .unwrap();
    let ask = json!({"StartTime": now - 7200.0, "EndTime": now, "MetricDataQueries": queries});
    for fault in [None, Some("forbid_metric"), Some("deny"), Some("throttle")] {
        if let Some(kind) = fault {
            let order = json!({"operation": "GetMetricData", "kind": kind});
            emulator.admin("faults", order).await;
        }
        cloudwatch(emulator, "GetMetricData", ask.clone()).await;
    }
    let order = json!({"operation": "ListMetrics", "kind": "deny"});
    emulator.admin("faults", order).await;
    cloudwatch(emulator, "ListMetrics", json!({})).await;
    cloudwatch(emulator, "ListMetrics", json!({"NextToken": "x"})).await;
}

async fn pipelines(emulator: &Emulator) {
    let arguments = job("from-pipeline", "3");
    let definition = json!({"Version": "2020-12-01", "Steps": [{"Name": "Train", "Type": "Training", "Arguments": arguments}]});
    let pipeline = json!({"PipelineName": "p", "RoleArn": ROLE, "ClientRequestToken": "c".repeat(32), "PipelineDefinition": definition.to_string()});
    emulator.ok("CreatePipeline", pipeline).await;
    emulator
        .ok("DescribePipeline", json!({"PipelineName": "p"}))
        .await;
    emulator
        .ok(
            "UpdatePipeline",
            json!({"PipelineName": "p", "PipelineDescription": "d"}),
        )
        .await;
    emulator.ok("ListPipelines", json!({})).await;
    let start = json!({"PipelineName": "p", "ClientRequestToken": "s".repeat(32)});
    let execution = emulator.ok("StartPipelineExecution", start).await;
    emulator
        .ok("DescribePipelineExecution", execution.clone())
        .await;
    emulator.advance(120).await;
    emulator
        .ok("ListPipelineExecutionSteps", execution.clone())
        .await;
    emulator
        .ok("ListPipelineExecutions", json!({"PipelineName": "p"}))
        .await;
}

async fn monitoring(emulator: &Emulator) {
    let monitoring = json!({
        "MonitoringInputs": [{"EndpointInput": {"EndpointName": "e", "LocalPath": "/opt/ml/processing/input"}}],
        "MonitoringOutputConfig": {"MonitoringOutputs": [{"S3Output": {"S3Uri": "s3://bucket/monitor", "LocalPath": "/opt/ml/processing/output"}}]},
        "MonitoringResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}},
        "MonitoringAppSpecification": {"ImageUri": IMAGE},
        "RoleArn": ROLE,
    });
    let schedule = json!({"MonitoringScheduleName": "hourly", "MonitoringScheduleConfig": {
        "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"}, "MonitoringType": "DataQuality", "MonitoringJobDefinition": monitoring}});
    emulator.ok("CreateMonitoringSchedule", schedule).await;
    let finding = json!({"feature_name": "age", "constraint_check_type": "baseline_drift_check", "description": "d"});
    let reported = emulator
        .admin(
            "violation",
            json!({"endpoint": "e", "violations": [finding]}),
        )
        .await;
    emulator
        .ok(
            "DescribeMonitoringSchedule",
            json!({"MonitoringScheduleName": "hourly"}),
        )
        .await;
    emulator.ok("ListMonitoringSchedules", json!({})).await;
    emulator
        .ok(
            "ListMonitoringExecutions",
            json!({"MonitoringScheduleName": "hourly"}),
        )
        .await;
    emulator
        .ok(
            "DescribeProcessingJob",
            json!({"ProcessingJobName": reported["processing_job"]}),
        )
        .await;
    emulator
        .ok(
            "StopMonitoringSchedule",
            json!({"MonitoringScheduleName": "hourly"}),
        )
        .await;
    emulator
        .ok(
            "DeleteMonitoringSchedule",
            json!({"MonitoringScheduleName": "hourly"}),
        )
        .await;
}

async fn tags_and_deletions(emulator: &Emulator, package: &Value) {
    let arn = json!("arn:aws:sagemaker:us-east-1:123456789012:endpoint/e");
    emulator
        .ok(
            "AddTags",
            json!({"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}]}),
        )
        .await;
    emulator.ok("ListTags", json!({"ResourceArn": arn})).await;
    emulator
        .ok("DeleteTags", json!({"ResourceArn": arn, "TagKeys": ["a"]}))
        .await;
    emulator
        .ok("DeleteEndpoint", json!({"EndpointName": "e"}))
        .await;
    emulator
        .ok("DeleteEndpointConfig", json!({"EndpointConfigName": "c"}))
        .await;
    emulator.ok("DeleteModel", json!({"ModelName": "m"})).await;
    emulator
        .ok("DeleteModelPackage", json!({"ModelPackageName": package}))
        .await;
    emulator
        .ok(
            "DeleteModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    emulator
        .ok(
            "DeletePipeline",
            json!({"PipelineName": "p", "ClientRequestToken": "d".repeat(32)}),
        )
        .await;
}
