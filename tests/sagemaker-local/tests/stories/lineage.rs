//! The lineage graph: what SageMaker makes by itself, what users add, and what is refused.

use serde_json::{Value, json};

use crate::support::{Emulator, IMAGE};

const ACCOUNT: &str = "arn:aws:sagemaker:us-east-1:123456789012";

/// Every operation on the graph, after a training job `job`, a package and an endpoint `e` with it
/// were made.
pub(crate) async fn lineage(emulator: &Emulator, package: &Value) {
    let job = json!({"SourceArn": format!("{ACCOUNT}:training-job/job")});
    let components = emulator.ok("ListTrialComponents", job).await;
    let component = &components["TrialComponentSummaries"][0];
    assert_eq!(component["TrialComponentName"], "job-aws-training-job");
    let component = component["TrialComponentArn"].clone();
    // What the job was made of, and its model.
    let into = types(emulator, "DestinationArn", &component, "SourceType").await;
    assert!(into.contains(&"Image".to_owned()), "{into:?}");
    let out = types(emulator, "SourceArn", &component, "DestinationType").await;
    assert_eq!(out, ["Model"]);

    deployment(emulator, package).await;
    made_by_hand(emulator, &component).await;
    refusals(emulator, &component).await;
}

/// The endpoint's context leads to the package by way of the deployment that created it alone.
async fn deployment(emulator: &Emulator, package: &Value) {
    let endpoint = json!({"SourceUri": format!("{ACCOUNT}:endpoint/e")});
    let contexts = emulator.ok("ListContexts", endpoint).await;
    let context = contexts["ContextSummaries"][0].clone();
    let name = json!({"ContextName": context["ContextName"]});
    let described = emulator.ok("DescribeContext", name).await;
    assert_eq!(described["ContextType"], "Endpoint");
    let into = associations(emulator, "DestinationArn", &context["ContextArn"]).await;
    assert_eq!(into.len(), 1, "an update adds nothing: {into:?}");
    assert_eq!(into[0]["SourceType"], "ModelDeployment");
    let action = json!({"ActionName": into[0]["SourceArn"]});
    emulator.ok("DescribeAction", action).await;
    let into = associations(emulator, "DestinationArn", &into[0]["SourceArn"]).await;
    let mut sources = Vec::new();
    for edge in into {
        let artifact = json!({"ArtifactArn": edge["SourceArn"]});
        let described = emulator.ok("DescribeArtifact", artifact).await;
        sources.push(described["Source"]["SourceUri"].clone());
    }
    assert!(sources.contains(package), "{sources:?}");
    assert!(sources.contains(&json!(IMAGE)), "{sources:?}");
}

async fn made_by_hand(emulator: &Emulator, component: &Value) {
    let source = json!({
        "SourceUri": "s3://data/d.csv#1", "SourceTypes": [{"SourceIdType": "Custom", "Value": "1"}]});
    let artifact = json!({
        "ArtifactName": "d", "ArtifactType": "DataSet", "Source": source,
        "Properties": {"channel": "train"}, "Tags": [{"Key": "a", "Value": "b"}]});
    let data = emulator.ok("CreateArtifact", artifact.clone()).await;
    let data = data["ArtifactArn"].clone();
    emulator.refused("CreateArtifact", artifact).await;
    let found = json!({"SourceUri": "s3://data/d.csv#1", "ArtifactType": "DataSet"});
    let found = emulator.ok("ListArtifacts", found).await;
    assert_eq!(found["ArtifactSummaries"][0]["ArtifactArn"], data);
    let described = json!({"ArtifactArn": data});
    let described = emulator.ok("DescribeArtifact", described).await;
    assert_eq!(described["Properties"]["channel"], "train");
    let source = json!({"SourceUri": "theirs", "SourceType": "ARN"});
    let action = json!({
        "ActionName": "theirs", "ActionType": "ModelDeployment", "Source": source,
        "Status": "Completed"});
    let context = json!({"ContextName": "their_s", "ContextType": "Endpoint", "Source": source});
    emulator.ok("CreateAction", action.clone()).await;
    emulator.refused("CreateAction", action).await;
    emulator.ok("CreateContext", context.clone()).await;
    emulator.refused("CreateContext", context).await;
    let edge = json!({
        "SourceArn": data, "DestinationArn": component, "AssociationType": "ContributedTo"});
    emulator.ok("AddAssociation", edge.clone()).await;
    let twice = emulator.refused("AddAssociation", edge).await;
    assert!(twice.message.contains("already exists"), "{twice:?}");
}

async fn refusals(emulator: &Emulator, component: &Value) {
    let absent = format!("{ACCOUNT}:action/absent");
    let edge = json!({"SourceArn": absent, "DestinationArn": component});
    let refused = emulator.refused("AddAssociation", edge).await;
    assert_eq!(refused.code, "ResourceNotFound");
    let edge = json!({"SourceArn": component, "DestinationArn": component});
    emulator.refused("AddAssociation", edge).await;
    let action = json!({"ActionName": "absent"});
    let refused = emulator.refused("DescribeAction", action).await;
    assert_eq!(refused.code, "ResourceNotFound");
}

async fn types(emulator: &Emulator, end: &str, arn: &Value, of: &str) -> Vec<String> {
    let edges = associations(emulator, end, arn).await;
    let types = edges.iter().filter_map(|edge| edge[of].as_str());
    types.map(str::to_owned).collect()
}

async fn associations(emulator: &Emulator, end: &str, arn: &Value) -> Vec<Value> {
    let input = json!({end: arn, "MaxResults": 100});
    let found = emulator.ok("ListAssociations", input).await;
    found["AssociationSummaries"].as_array().unwrap().clone()
}
