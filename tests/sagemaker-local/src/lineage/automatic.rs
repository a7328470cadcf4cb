//! What SageMaker puts into the graph by itself: jobs, packages, and endpoints when they are created.
//!
//! Source: "Amazon SageMaker AI-Created Tracking Entities" in the developer guide. Data is known by
//! its S3 URI alone, and an endpoint's update adds nothing: the page names only the deployment that
//! created it.

use serde_json::{Map, Value, json};

use super::{Edge, Node, What, arn_of, channels};
use crate::arn;
use crate::json::text;
use crate::moment::Moment;
use crate::world::World;
use crate::{configs, models};

/// A training job began: its trial component, its image and its channels.
pub(crate) fn job_began(world: &mut World, name: &str, at: Moment) {
    let Some(job) = world.jobs.get(name) else {
        return;
    };
    let image = text(
        job.body
            .get("AlgorithmSpecification")
            .unwrap_or(&Value::Null),
        "TrainingImage",
    );
    let image = image.map(str::to_owned);
    let (job_arn, uris) = (job.arn.clone(), channels(&job.body));
    let component = component(name);
    let source = json!({"SourceUri": job_arn, "SourceType": "SageMakerTrainingJob"});
    put(
        world,
        What::Component,
        &component,
        "SageMakerTrainingJob",
        source,
        at,
    );
    let component = arn_of(What::Component, &component);
    let images = image.into_iter().map(|image| (image, "Image"));
    let inputs = uris.into_iter().map(|uri| (uri, "DataSet"));
    for (source, kind) in inputs.chain(images) {
        let input = artifact(world, &source, kind, at);
        link(world, input, "ContributedTo", component.clone(), at);
    }
}

/// A training job ended well: its model.
pub(crate) fn job_completed(world: &mut World, name: &str, at: Moment) {
    let Some(model) = world.jobs.get(name).map(crate::training::Job::artifact) else {
        return;
    };
    let model = artifact(world, &model, "Model", at);
    let component = arn_of(What::Component, &component(name));
    link(world, component, "Produced", model, at);
}

/// A version was registered: its artifact, what its containers are made of, its group.
pub(crate) fn package_made(world: &mut World, package_arn: &str, at: Moment) {
    let Some(package) = world.registry.find(package_arn) else {
        return;
    };
    let mut parts = Vec::new();
    for container in package.containers() {
        let image = text(container, "Image").map(|image| (image.to_owned(), "Image"));
        let model = text(container, "ModelDataUrl").map(|model| (model.to_owned(), "Model"));
        parts.extend(image.into_iter().chain(model));
    }
    let package = artifact(world, package_arn, "Model", at);
    for (source, kind) in parts {
        let part = artifact(world, &source, kind, at);
        link(world, part, "ContributedTo", package.clone(), at);
    }
    let name = arn::name_of("model-package", package_arn);
    let Some((group, version)) = name.split_once('/') else {
        return;
    };
    let context = format!("{group}-aws-model-group");
    let source =
        json!({"SourceUri": arn::sagemaker("model-package-group", group), "SourceType": "ARN"});
    put(world, What::Context, &context, "ModelGroup", source, at);
    let context = arn_of(What::Context, &context);
    link(world, package.clone(), "AssociatedWith", context, at);
    let action = format!("{group}-{version}-aws-model-package");
    let source = json!({"SourceUri": package_arn, "SourceType": "ARN"});
    put(world, What::Action, &action, "Approval", source, at);
    let action = arn_of(What::Action, &action);
    link(world, package, "ContributedTo", action, at);
}

/// An endpoint was created: its context, and the deployment of its models.
pub(crate) fn endpoint_made(world: &mut World, name: &str, config: &str, at: Moment) {
    let parts = deployed(world, config);
    let endpoint = arn::sagemaker("endpoint", name);
    let source = json!({"SourceUri": endpoint, "SourceType": "ARN", "SourceId": at.iso()});
    let name = format!("{name}-{}-aws-endpoint", at.as_millis());
    put(world, What::Context, &name, "Endpoint", source.clone(), at);
    put(world, What::Action, &name, "ModelDeployment", source, at);
    let action = arn_of(What::Action, &name);
    for (source, kind) in parts {
        let part = artifact(world, &source, kind, at);
        link(world, part, "ContributedTo", action.clone(), at);
    }
    let context = arn_of(What::Context, &name);
    link(world, action, "AssociatedWith", context, at);
}

/// Packages, models and images of a config's variants.
fn deployed(world: &World, config: &str) -> Vec<(String, &'static str)> {
    let Ok(config) = configs::find(world, config) else {
        return Vec::new();
    };
    let variants = config.body.get("ProductionVariants");
    let mut parts = Vec::new();
    for variant in variants.and_then(Value::as_array).into_iter().flatten() {
        let name = text(variant, "ModelName").unwrap_or_default();
        let Ok(model) = models::find(world, name) else {
            continue;
        };
        let body = Value::Object(model.body.clone());
        let own = std::iter::once(&body["PrimaryContainer"])
            .chain(body["Containers"].as_array().into_iter().flatten());
        let packages = own.filter_map(|c| world.registry.find(text(c, "ModelPackageName")?));
        parts.extend(packages.map(|package| (package.arn.clone(), "Model")));
        for container in models::containers(world, model) {
            let of = |member: &str| text(&container, member).map(str::to_owned);
            parts.extend(of("ModelDataUrl").map(|uri| (uri, "Model")));
            parts.extend(of("Image").map(|image| (image, "Image")));
        }
    }
    parts
}

fn component(job: &str) -> String {
    format!("{job}-aws-training-job")
}

/// The artifact of a source, made if there is none.
fn artifact(world: &mut World, source: &str, kind: &str, at: Moment) -> String {
    put(
        world,
        What::Artifact,
        source,
        kind,
        json!({"SourceUri": source}),
        at,
    );
    arn_of(What::Artifact, source)
}

fn put(world: &mut World, what: What, key: &str, kind: &str, source: Value, at: Moment) {
    let arn = arn_of(what, key);
    let node = Node {
        what,
        arn: arn.clone(),
        name: (what != What::Artifact).then(|| key.to_owned()),
        kind: kind.to_owned(),
        source,
        created: at,
        by: None,
        body: Map::new(),
    };
    world.tags.create(&arn, &Value::Null);
    world.lineage.nodes.entry(arn).or_insert(node);
}

fn link(world: &mut World, from: String, kind: &str, to: String, at: Moment) {
    let edges = &mut world.lineage.edges;
    if edges.iter().any(|edge| edge.from == from && edge.to == to) {
        return;
    }
    edges.push(Edge {
        from,
        to,
        kind: Some(kind.to_owned()),
        at,
        by: None,
    });
}
