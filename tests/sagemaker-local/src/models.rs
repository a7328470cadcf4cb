//! Models: containers with their data, or a model package that has them.

use serde_json::{Value, json};

use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{list, required, text, without};
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::resource::Resource;
use crate::sagemaker::Call;
use crate::world::World;

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "ModelName");
    let arn = arn::sagemaker("model", &name);
    if world.models.contains_key(&name) {
        return Err(ApiError::validation(format!(
            "Cannot create already existing model \"{arn}\"."
        )));
    }
    let mut body = without(input, &["Tags"]);
    let containers: Vec<&Value> = match (input.get("PrimaryContainer"), list(input, "Containers")) {
        (Some(_), [_, ..]) => {
            return Err(ApiError::validation(
                "Both PrimaryContainer and Containers are provided. Specify one of them.",
            ));
        }
        (None, []) => {
            return Err(ApiError::validation(
                "Both PrimaryContainer and Containers are empty. Specify one of them.",
            ));
        }
        (Some(primary), []) => vec![primary],
        (None, several) => several.iter().collect(),
    };
    for container in &containers {
        check_container(world, container)?;
    }
    if text(input, "ExecutionRoleArn").is_none() {
        return Err(ApiError::validation(
            "Model requires an execution role: ExecutionRoleArn must not be null.",
        ));
    }
    body.entry("EnableNetworkIsolation").or_insert(json!(false));
    world.tags.create(&arn, input);
    let model = Resource {
        arn: arn.clone(),
        created: call.now,
        body,
    };
    let event = event(world, &model, call.now);
    world.models.insert(name, model);
    world.emit(event);
    Ok(json!({"ModelArn": arn}))
}

/// A container has an image or a package, never both. An environment may be in both: AWS refused
/// that until January 2023 (aws/sagemaker-python-sdk, pull request 3581).
fn check_container(world: &World, container: &Value) -> Result<(), ApiError> {
    match (
        text(container, "ModelPackageName"),
        text(container, "Image"),
    ) {
        (None, None) => Err(ApiError::validation(
            "Container must have either Image or ModelPackageName specified.",
        )),
        (None, Some(_)) => Ok(()),
        (Some(_), Some(_)) => Err(ApiError::validation(
            "Image cannot be specified together with ModelPackageName.",
        )),
        (Some(name), None) => {
            let package = world.registry.find(name).ok_or_else(|| {
                ApiError::validation(format!("ModelPackage {name} does not exist."))
            })?;
            if package.containers().is_empty() {
                return Err(ApiError::validation(format!(
                    "ModelPackage {} has no inference specification to make a model from.",
                    package.arn
                )));
            }
            Ok(())
        }
    }
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    Ok(find(world, &required(input, "ModelName"))?.describe("ModelArn"))
}

pub(crate) fn list_models(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let rows = world.models.iter().map(|(name, model)| Row {
        name: name.clone(),
        status: String::new(),
        created: model.created,
        modified: model.created,
        summary: json!({"ModelName": name, "ModelArn": model.arn, "CreationTime": model.created.json()}),
    });
    page::answer(input, "Models", rows.collect(), Order::Descending)
}

pub(crate) fn delete(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "ModelName");
    let model = find(world, &name)?.clone();
    let event = event(world, &model, call.now);
    world.models.remove(&name);
    world.tags.remove(&model.arn);
    world.emit(event);
    Ok(json!({}))
}

/// The model, or AWS's refusal.
pub(crate) fn find<'a>(world: &'a World, name: &str) -> Result<&'a Resource, ApiError> {
    world.models.get(name).ok_or_else(|| {
        ApiError::validation(format!(
            "Could not find model \"{}\".",
            arn::sagemaker("model", name)
        ))
    })
}

/// The containers that serve: those of the model, with a package's in place of its name.
pub(crate) fn containers(world: &World, model: &Resource) -> Vec<Value> {
    let own: Vec<&Value> = match model.body.get("PrimaryContainer") {
        Some(primary) => vec![primary],
        None => model
            .body
            .get("Containers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .collect(),
    };
    let mut all = Vec::new();
    for container in own {
        let package =
            text(container, "ModelPackageName").and_then(|name| world.registry.find(name));
        match package {
            None => all.push(container.clone()),
            Some(package) => all.extend(package.containers().iter().map(|packaged| {
                let mut packaged = packaged.clone();
                if let (Some(Value::Object(own)), Some(object)) =
                    (container.get("Environment"), packaged.as_object_mut())
                {
                    let merged = object.entry("Environment").or_insert_with(|| json!({}));
                    if let Value::Object(merged) = merged {
                        merged.extend(own.clone());
                    }
                }
                packaged
            })),
        }
    }
    all
}

/// Only an approved version can be deployed.
pub(crate) fn check_approval(world: &World, model: &Resource) -> Result<(), ApiError> {
    let primary = model.body.get("PrimaryContainer").into_iter();
    let several = model
        .body
        .get("Containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for name in primary
        .chain(several)
        .filter_map(|container| text(container, "ModelPackageName"))
    {
        let Some(package) = world.registry.find(name) else {
            return Err(ApiError::validation(format!(
                "ModelPackage {name} does not exist."
            )));
        };
        match package.approval() {
            None | Some("Approved") => {}
            Some(status) => {
                return Err(ApiError::validation(format!(
                    "Cannot deploy model package {} with approval status {status}: it must be Approved.",
                    package.arn
                )));
            }
        }
    }
    Ok(())
}

fn event(world: &World, model: &Resource, at: Moment) -> Event {
    let mut detail = model.body.clone();
    detail.insert("ModelArn".into(), json!(model.arn));
    detail.insert("CreationTime".into(), json!(model.created.as_millis()));
    detail.insert("Tags".into(), world.tags.map(&model.arn));
    Event::new(
        at,
        "SageMaker Model State Change",
        &model.arn,
        Value::Object(detail),
    )
}
