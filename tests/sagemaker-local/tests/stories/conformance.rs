//! Everything the emulator answers has the shape that botocore's service models say it has.

use std::process::Command;

use serde_json::{Value, json};

use crate::lineage::lineage;
use crate::metrics::cloudwatch;
use crate::processes::{job, world};
use crate::support::{Emulator, IMAGE, ROLE, python, workspace};
use crate::tuning::{ended, tuning};

#[tokio::test]
async fn every_answer_has_the_shape_that_botocore_knows() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record.jsonl");
    let (_moto, emulator) = world(&["--record", record.to_str().unwrap()]).await;

    training_jobs(&emulator).await;
    tuning_jobs(&emulator).await;
    let package = registry(&emulator).await;
    endpoints(&emulator, &package).await;
    lineage(&emulator, &package).await;
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

async fn tuning_jobs(emulator: &Emulator) {
    for name in ["tune", "stopped"] {
        emulator
            .ok("CreateHyperParameterTuningJob", tuning(name, 2, -5, 9))
            .await;
    }
    let stopped = json!({"HyperParameterTuningJobName": "stopped"});
    emulator.ok("StopHyperParameterTuningJob", stopped).await;
    for name in ["tune", "stopped"] {
        ended(emulator, name).await;
        let list = json!({"HyperParameterTuningJobName": name, "MaxResults": 1});
        emulator
            .ok("ListTrainingJobsForHyperParameterTuningJob", list)
            .await;
    }
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

/// Job definitions of every kind, as (kind, what is special to it).
fn definitions() -> [(&'static str, Value); 4] {
    let problem = json!({"ImageUri": IMAGE, "ProblemType": "BinaryClassification"});
    let clarify = json!({"ImageUri": IMAGE, "ConfigUri": "s3://bucket/config.json"});
    let truth = json!({"S3Uri": "s3://bucket/truth"});
    [
        ("DataQuality", json!({"App": {"ImageUri": IMAGE}})),
        ("ModelQuality", json!({"App": problem, "Truth": truth})),
        ("ModelBias", json!({"App": clarify, "Truth": truth})),
        ("ModelExplainability", json!({"App": clarify})),
    ]
}

/// The same definition, looking at what batch transform captured.
async fn batch_monitoring(emulator: &Emulator, inline: &Value) {
    let mut config = inline.clone();
    config["MonitoringJobDefinition"]["MonitoringInputs"] = json!([{"BatchTransformInput": {
        "DataCapturedDestinationS3Uri": "s3://bucket/captured", "LocalPath": "/opt/ml/processing/input",
        "DatasetFormat": {"Csv": {"Header": true}}}}]);
    config["ScheduleConfig"] = json!({"ScheduleExpression": "cron(0 * ? * * *)"});
    let schedule = json!({"MonitoringScheduleName": "batch", "MonitoringScheduleConfig": config});
    emulator.ok("CreateMonitoringSchedule", schedule).await;
    let order = json!({"schedule": "batch", "violations": [{"feature_name": "age",
        "constraint_check_type": "baseline_drift_check", "description": "d"}]});
    let reported = emulator.admin("violation", order).await;
    let job = json!({"ProcessingJobName": reported["processing_job"]});
    emulator.ok("DescribeProcessingJob", job).await;
    let name = json!({"MonitoringScheduleName": "batch"});
    emulator
        .ok("DescribeMonitoringSchedule", name.clone())
        .await;
    emulator.ok("ListMonitoringExecutions", name).await;
}

async fn monitoring(emulator: &Emulator) {
    let resources = json!({"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}});
    let output = json!({"MonitoringOutputs": [{"S3Output": {"S3Uri": "s3://bucket/monitor", "LocalPath": "/opt/ml/processing/output"}}]});
    let input =
        json!({"EndpointInput": {"EndpointName": "e", "LocalPath": "/opt/ml/processing/input"}});
    let hourly = |name: &str, config: Value| {
        let mut config = config;
        config["ScheduleConfig"] = json!({"ScheduleExpression": "cron(0 * ? * * *)"});
        json!({"MonitoringScheduleName": name, "MonitoringScheduleConfig": config})
    };
    for (kind, special) in definitions() {
        let mut input = input.clone();
        if let Some(truth) = special.get("Truth") {
            input["GroundTruthS3Input"] = truth.clone();
        }
        let mut definition =
            json!({"JobDefinitionName": "d", "JobResources": resources, "RoleArn": ROLE});
        definition[format!("{kind}AppSpecification")] = special["App"].clone();
        definition[format!("{kind}JobInput")] = input;
        definition[format!("{kind}JobOutputConfig")] = output.clone();
        let name = json!({"JobDefinitionName": "d"});
        emulator
            .ok(&format!("Create{kind}JobDefinition"), definition.clone())
            .await;
        emulator
            .refused(&format!("Create{kind}JobDefinition"), definition)
            .await;
        emulator
            .ok(&format!("Describe{kind}JobDefinition"), name.clone())
            .await;
        emulator
            .ok(&format!("List{kind}JobDefinitions"), json!({}))
            .await;
        let config = json!({"MonitoringType": kind, "MonitoringJobDefinitionName": "d"});
        let schedule = format!("s-{kind}");
        emulator
            .ok("CreateMonitoringSchedule", hourly(&schedule, config))
            .await;
        emulator
            .refused(&format!("Delete{kind}JobDefinition"), name)
            .await;
    }
    let inline = json!({"MonitoringJobDefinition": {
        "MonitoringInputs": [input], "MonitoringOutputConfig": output, "MonitoringResources": resources,
        "MonitoringAppSpecification": {"ImageUri": IMAGE}, "RoleArn": ROLE}});
    emulator
        .ok("CreateMonitoringSchedule", hourly("hourly", inline.clone()))
        .await;
    let finding = json!({"feature_name": "age", "constraint_check_type": "baseline_drift_check", "description": "d"});
    for order in [
        json!({"schedule": "hourly", "violations": [finding]}),
        json!({"schedule": "hourly", "failure": "lost"}),
        json!({"schedule": "hourly", "report": "{"}),
    ] {
        let reported = emulator.admin("violation", order).await;
        let job = json!({"ProcessingJobName": reported["processing_job"]});
        emulator.ok("DescribeProcessingJob", job).await;
    }
    batch_monitoring(emulator, &inline).await;
    // An execution of its own, which fails: nothing is captured as this image could analyze it.
    emulator.advance(2 * 3600).await;
    let name = json!({"MonitoringScheduleName": "hourly"});
    emulator
        .ok("UpdateMonitoringSchedule", hourly("hourly", inline))
        .await;
    emulator
        .ok("DescribeMonitoringSchedule", name.clone())
        .await;
    emulator
        .refused("StopMonitoringSchedule", name.clone())
        .await;
    emulator.ok("ListMonitoringSchedules", json!({})).await;
    let executions = emulator
        .ok(
            "ListMonitoringExecutions",
            json!({"SortBy": "ScheduledTime"}),
        )
        .await;
    let executions = executions["MonitoringExecutionSummaries"].as_array();
    assert!(executions.unwrap().len() > 6);
    for operation in [
        "StopMonitoringSchedule",
        "StartMonitoringSchedule",
        "DeleteMonitoringSchedule",
    ] {
        emulator.advance(60).await;
        emulator.ok(operation, name.clone()).await;
    }
    for (kind, _) in definitions() {
        let schedule = json!({"MonitoringScheduleName": format!("s-{kind}")});
        emulator.ok("DeleteMonitoringSchedule", schedule).await;
        let definition = json!({"JobDefinitionName": "d"});
        emulator
            .ok(&format!("Delete{kind}JobDefinition"), definition)
            .await;
    }
    processing_jobs(emulator).await;
}

async fn processing_jobs(emulator: &Emulator) {
    let image = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";
    let output = json!({"OutputName": "result", "S3Output": {
        "S3Uri": "s3://bucket/baseline", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}});
    let job = |name: &str| {
        json!({
            "ProcessingJobName": name, "RoleArn": ROLE, "AppSpecification": {"ImageUri": image},
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}},
            "ProcessingOutputConfig": {"Outputs": [output]},
        })
    };
    for name in ["failed", "stopped"] {
        emulator.ok("CreateProcessingJob", job(name)).await;
    }
    emulator.refused("CreateProcessingJob", job("failed")).await;
    let stopped = json!({"ProcessingJobName": "stopped"});
    emulator.ok("StopProcessingJob", stopped.clone()).await;
    emulator.advance(600).await;
    for name in ["failed", "stopped"] {
        let name = json!({"ProcessingJobName": name});
        emulator.ok("DescribeProcessingJob", name).await;
    }
    emulator
        .ok("ListProcessingJobs", json!({"StatusEquals": "Failed"}))
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
