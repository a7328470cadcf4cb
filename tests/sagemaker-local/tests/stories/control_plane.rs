//! What the control plane answers and refuses, with AWS's codes and messages.

use crate::support::{Emulator, IMAGE, ROLE};
use serde_json::{Value, json};

#[tokio::test]
async fn operations_outside_the_slice_say_so() {
    let emulator = Emulator::start(&[]);
    let refused = emulator.refused("CreateApp", json!({})).await;
    assert_eq!(refused.message, "not implemented here: CreateApp");
    let refused = emulator.refused("NoSuchOperation", json!({})).await;
    assert_eq!(refused.message, "not implemented here: NoSuchOperation");
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_aws_words() {
    let emulator = Emulator::start(&[]);
    let arn = |rest: &str| format!("arn:aws:sagemaker:us-east-1:123456789012:{rest}");
    for (operation, input, code, message) in [
        (
            "DescribeEndpoint",
            json!({"EndpointName": "x"}),
            "ValidationException",
            format!("Could not find endpoint \"{}\".", arn("endpoint/x")),
        ),
        (
            "DeleteEndpoint",
            json!({"EndpointName": "x"}),
            "ValidationException",
            format!("Could not find endpoint \"{}\".", arn("endpoint/x")),
        ),
        (
            "DescribeEndpointConfig",
            json!({"EndpointConfigName": "x"}),
            "ValidationException",
            format!(
                "Could not find endpoint configuration \"{}\".",
                arn("endpoint-config/x")
            ),
        ),
        (
            "DescribeModel",
            json!({"ModelName": "x"}),
            "ValidationException",
            format!("Could not find model \"{}\".", arn("model/x")),
        ),
        (
            "DescribeTrainingJob",
            json!({"TrainingJobName": "x"}),
            "ValidationException",
            "Requested resource not found.".to_owned(),
        ),
        (
            "DescribeModelPackage",
            json!({"ModelPackageName": arn("model-package/x/1")}),
            "ValidationException",
            format!("ModelPackage {} does not exist.", arn("model-package/x/1")),
        ),
        (
            "DescribeModelPackageGroup",
            json!({"ModelPackageGroupName": "x"}),
            "ValidationException",
            format!(
                "ModelPackageGroup {} does not exist.",
                arn("model-package-group/x")
            ),
        ),
        (
            "DescribePipeline",
            json!({"PipelineName": "x"}),
            "ResourceNotFound",
            format!("Pipeline '{}' does not exist.", arn("pipeline/x")),
        ),
    ] {
        let refused = emulator.refused(operation, input).await;
        assert_eq!(
            (refused.code.as_str(), refused.message),
            (code, message),
            "{operation}"
        );
    }
}

#[tokio::test]
async fn invalid_input_is_refused_member_by_member() {
    let emulator = Emulator::start(&[]);
    let refused = emulator
        .refused("CreateModel", json!({"ModelName": "a_b"}))
        .await;
    assert_eq!(refused.code, "ValidationException");
    assert!(refused.message.contains("Value 'a_b' at 'modelName' failed to satisfy constraint: Member must satisfy regular expression pattern"), "{refused:?}");
    let refused = emulator
        .refused("CreateEndpoint", json!({"EndpointName": "e"}))
        .await;
    assert!(refused.message.contains(
        "Value null at 'endpointConfigName' failed to satisfy constraint: Member must not be null"
    ));
    let refused = emulator
        .refused("DescribeModel", json!({"ModelName": 5}))
        .await;
    assert_eq!(refused.code, "SerializationException");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let emulator = Emulator::start(&[]);
    let response = reqwest::Client::new()
        .post(&emulator.url)
        .header("x-amz-target", "SageMaker.ListModels")
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["__type"], "SerializationException");
}

fn package(group: &str, token: &str) -> Value {
    json!({
        "ModelPackageGroupName": group,
        "ClientToken": token,
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    })
}

#[tokio::test]
async fn a_client_token_makes_a_package_once() {
    let emulator = Emulator::start(&[]);
    emulator
        .ok(
            "CreateModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    let first = emulator
        .ok("CreateModelPackage", package("fraud", "one"))
        .await;
    let again = emulator
        .ok("CreateModelPackage", package("fraud", "one"))
        .await;
    assert_eq!(first, again);
    let second = emulator
        .ok("CreateModelPackage", package("fraud", "two"))
        .await;
    assert_eq!(
        second["ModelPackageArn"],
        "arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud/2"
    );
    let mut other = package("fraud", "one");
    other["ModelPackageDescription"] = json!("different");
    assert_eq!(
        emulator.refused("CreateModelPackage", other).await.code,
        "ConflictException"
    );
}

#[tokio::test]
async fn a_versioned_package_takes_no_tags_and_its_metadata_no_commas() {
    let emulator = Emulator::start(&[]);
    emulator
        .ok(
            "CreateModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    let mut tagged = package("fraud", "one");
    tagged["Tags"] = json!([{"Key": "a", "Value": "b"}]);
    assert!(
        emulator
            .refused("CreateModelPackage", tagged)
            .await
            .message
            .contains("Tags")
    );
    let mut comma = package("fraud", "one");
    comma["CustomerMetadataProperties"] = json!({"metrics": "a,b"});
    let refused = emulator.refused("CreateModelPackage", comma).await;
    assert!(refused.message.contains("'customerMetadataProperties' failed to satisfy constraint: Map value must satisfy constraint"), "{refused:?}");
}

#[tokio::test]
async fn an_update_of_a_package_is_described_and_says_who_did_it() {
    let emulator = Emulator::start(&[]);
    emulator
        .ok(
            "CreateModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    let arn = emulator
        .ok("CreateModelPackage", package("fraud", "one"))
        .await["ModelPackageArn"]
        .clone();
    let described = emulator
        .ok("DescribeModelPackage", json!({"ModelPackageName": arn}))
        .await;
    assert_eq!(described["ModelApprovalStatus"], "PendingManualApproval");
    assert!(described.get("LastModifiedTime").is_none());
    let update = json!({
        "ModelPackageArn": arn, "ModelApprovalStatus": "Approved", "ApprovalDescription": "good",
        "CustomerMetadataProperties": {"commit": "abc"},
    });
    emulator.ok("UpdateModelPackage", update).await;
    let described = emulator
        .ok("DescribeModelPackage", json!({"ModelPackageName": arn}))
        .await;
    assert_eq!(described["ModelApprovalStatus"], "Approved");
    assert_eq!(
        described["CustomerMetadataProperties"],
        json!({"commit": "abc"})
    );
    assert_eq!(
        described["LastModifiedBy"]["IamIdentity"]["Arn"],
        "arn:aws:iam::123456789012:user/tester"
    );
    let events = emulator.look("events").await;
    let event = events["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(event["detail-type"], "SageMaker Model Package State Change");
    assert_eq!(event["detail"]["ModelApprovalStatus"], "Approved");
    assert_eq!(event["detail"]["CreationTime"], "2026-03-01T12:00:00Z");
    assert!(event["detail"].get("LastModifiedBy").is_none());
}

#[tokio::test]
async fn packages_are_listed_by_group_and_approval_in_pages() {
    let emulator = Emulator::start(&[]);
    emulator
        .ok(
            "CreateModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    for version in 0..12 {
        let mut package = package("fraud", &format!("token-{version}"));
        package["ModelApprovalStatus"] = json!(if version % 2 == 0 {
            "Approved"
        } else {
            "Rejected"
        });
        emulator.ok("CreateModelPackage", package).await;
    }
    let mut input = json!({"ModelPackageGroupName": "fraud", "ModelApprovalStatus": "Approved", "MaxResults": 4, "SortOrder": "Descending"});
    let mut versions = Vec::new();
    loop {
        let page = emulator.ok("ListModelPackages", input.clone()).await;
        let list = page["ModelPackageSummaryList"].as_array().unwrap();
        versions.extend(
            list.iter()
                .map(|one| one["ModelPackageVersion"].as_u64().unwrap()),
        );
        let Some(token) = page.get("NextToken") else {
            break;
        };
        input["NextToken"] = token.clone();
    }
    assert_eq!(versions, [11, 9, 7, 5, 3, 1]);
}

#[tokio::test]
async fn only_an_approved_package_is_deployed() {
    let emulator = Emulator::start(&[]);
    emulator
        .ok(
            "CreateModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    let mut script = package("fraud", "one");
    script["InferenceSpecification"]["Containers"][0]["Environment"] =
        json!({"SAGEMAKER_LOCAL_SCRIPT": "{}"});
    let arn = emulator.ok("CreateModelPackage", script).await["ModelPackageArn"].clone();
    let model = json!({"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"ModelPackageName": arn}});
    emulator.ok("CreateModel", model).await;
    emulator.config("c", &[("v1", "m", 1.0)]).await;
    let endpoint = json!({"EndpointName": "e", "EndpointConfigName": "c"});
    let refused = emulator.refused("CreateEndpoint", endpoint.clone()).await;
    assert!(
        refused.message.contains("PendingManualApproval"),
        "{refused:?}"
    );
    emulator
        .ok(
            "UpdateModelPackage",
            json!({"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"}),
        )
        .await;
    emulator.ok("CreateEndpoint", endpoint).await;
    emulator.advance(240).await;
    assert_eq!(emulator.status("e").await, "InService");
}

#[tokio::test]
async fn a_container_has_an_image_or_a_package_never_both() {
    let emulator = Emulator::start(&[]);
    emulator
        .ok(
            "CreateModelPackageGroup",
            json!({"ModelPackageGroupName": "fraud"}),
        )
        .await;
    let mut scripted = package("fraud", "one");
    scripted["ModelApprovalStatus"] = json!("Approved");
    scripted["InferenceSpecification"]["Containers"][0]["Environment"] =
        json!({"SAGEMAKER_LOCAL_SCRIPT": "{\"answer\": 1}"});
    let arn = emulator.ok("CreateModelPackage", scripted).await["ModelPackageArn"].clone();
    let model = |container: Value| json!({"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": container});
    emulator
        .refused(
            "CreateModel",
            model(json!({"ModelPackageName": arn, "Image": IMAGE})),
        )
        .await;
    emulator
        .refused("CreateModel", model(json!({"Environment": {"A": "b"}})))
        .await;
    // An environment may be in both, and then the model's comes on top of the package's.
    emulator
        .ok(
            "CreateModel",
            model(json!({"ModelPackageName": arn, "Environment": {"A": "b"}})),
        )
        .await;
    emulator.config("c", &[("v1", "m", 1.0)]).await;
    emulator
        .ok(
            "CreateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "c"}),
        )
        .await;
    emulator.advance(240).await;
    assert_eq!(
        emulator.invoke("e", None, "{}").await.text().await.unwrap(),
        "1"
    );
}

#[tokio::test]
async fn a_config_gives_back_every_member_it_came_with() {
    let emulator = Emulator::start(&[]);
    emulator.scripted_model("m", json!({})).await;
    let config = json!({
        "EndpointConfigName": "c",
        "KmsKeyId": "alias/key",
        "DataCaptureConfig": {
            "EnableCapture": true, "InitialSamplingPercentage": 20, "DestinationS3Uri": "s3://b/c",
            "CaptureOptions": [{"CaptureMode": "Input"}],
        },
        "ProductionVariants": [{
            "VariantName": "v1", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 3,
            "InitialVariantWeight": 2.5, "VolumeSizeInGB": 30, "ContainerStartupHealthCheckTimeoutInSeconds": 120,
            "InferenceAmiVersion": "al2-ami-sagemaker-inference-gpu-2",
        }],
    });
    emulator.ok("CreateEndpointConfig", config.clone()).await;
    let described = emulator
        .ok("DescribeEndpointConfig", json!({"EndpointConfigName": "c"}))
        .await;
    for (member, value) in config.as_object().unwrap() {
        assert_eq!(&described[member], value, "{member}");
    }
}

#[tokio::test]
async fn tags_are_added_replaced_and_removed() {
    let emulator = Emulator::start(&[]);
    let model = json!({"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}, "Tags": [{"Key": "a", "Value": "1"}]});
    let arn = emulator.ok("CreateModel", model).await["ModelArn"].clone();
    emulator.ok("AddTags", json!({"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}]})).await;
    emulator
        .ok("DeleteTags", json!({"ResourceArn": arn, "TagKeys": ["b"]}))
        .await;
    let tags = emulator.ok("ListTags", json!({"ResourceArn": arn})).await;
    assert_eq!(tags["Tags"], json!([{"Key": "a", "Value": "2"}]));
}

#[tokio::test]
async fn ordered_faults_hit_and_then_stop() {
    let emulator = Emulator::start(&[]);
    emulator
        .admin(
            "faults",
            json!({"operation": "ListModels", "kind": "throttle"}),
        )
        .await;
    assert_eq!(
        emulator.refused("ListModels", json!({})).await.code,
        "ThrottlingException"
    );
    emulator.ok("ListModels", json!({})).await;
    emulator
        .admin(
            "faults",
            json!({"operation": "CreateModel", "kind": "error_after_success"}),
        )
        .await;
    let model =
        json!({"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}});
    assert_eq!(
        emulator.refused("CreateModel", model).await.code,
        "InternalFailure"
    );
    emulator
        .ok("DescribeModel", json!({"ModelName": "m"}))
        .await;
}

#[tokio::test]
async fn requests_and_answers_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.jsonl");
    let emulator = Emulator::start(&["--record", file.to_str().unwrap()]);
    emulator.ok("ListModels", json!({})).await;
    emulator
        .refused("DescribeModel", json!({"ModelName": "x"}))
        .await;
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["operation"], "ListModels");
    assert_eq!(lines[0]["output"], json!({"Models": []}));
    assert_eq!(lines[1]["error"]["code"], "ValidationException");
    assert_eq!(lines[1]["status"], 400);
}
