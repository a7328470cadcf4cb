//! Endpoint configs: which models an endpoint serves, on which instances, by which weights.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{list, required, text, without};
use crate::models;
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::resource::Resource;
use crate::sagemaker::Call;
use crate::world::World;

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "EndpointConfigName");
    let arn = arn::sagemaker("endpoint-config", &name);
    if world.configs.contains_key(&name) {
        return Err(ApiError::validation(format!(
            "Cannot create already existing endpoint configuration \"{arn}\"."
        )));
    }
    check_variants(world, list(input, "ProductionVariants"))?;
    let mut body = without(input, &["Tags"]);
    body.entry("EnableNetworkIsolation").or_insert(json!(false));
    // AWS fills the weight in; everything else comes back as it was given.
    for variant in body
        .get_mut("ProductionVariants")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(variant) = variant.as_object_mut() {
            variant.entry("InitialVariantWeight").or_insert(json!(1.0));
        }
    }
    world.tags.create(&arn, input);
    let config = Resource {
        arn: arn.clone(),
        created: call.now,
        body,
    };
    let event = event(world, &config, call.now);
    world.configs.insert(name, config);
    world.emit(event);
    Ok(json!({"EndpointConfigArn": arn}))
}

fn check_variants(world: &World, variants: &[Value]) -> Result<(), ApiError> {
    let mut names = BTreeSet::new();
    for variant in variants {
        let name = required(variant, "VariantName");
        if !names.insert(name.clone()) {
            return Err(ApiError::validation(format!(
                "Duplicate variant name: {name}"
            )));
        }
        let serverless = variant.get("ServerlessConfig").is_some();
        if serverless && variants.len() > 1 {
            return Err(ApiError::validation(
                "Serverless endpoints can have one production variant only.",
            ));
        }
        if !serverless
            && (variant.get("InstanceType").is_none()
                || variant.get("InitialInstanceCount").is_none())
        {
            return Err(ApiError::validation(format!(
                "InstanceType and InitialInstanceCount must be specified for variant {name}."
            )));
        }
        let model = text(variant, "ModelName").ok_or_else(|| {
            ApiError::validation(format!("ModelName must be specified for variant {name}."))
        })?;
        models::find(world, model)?;
    }
    Ok(())
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    Ok(find(world, &required(input, "EndpointConfigName"))?.describe("EndpointConfigArn"))
}

pub(crate) fn list_configs(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let rows = world.configs.iter().map(|(name, config)| Row {
        name: name.clone(),
        status: String::new(),
        created: config.created,
        modified: config.created,
        summary: json!({
            "EndpointConfigName": name,
            "EndpointConfigArn": config.arn,
            "CreationTime": config.created.json(),
        }),
    });
    page::answer(input, "EndpointConfigs", rows.collect(), Order::Descending)
}

/// AWS lets a config go that an endpoint uses; that endpoint can then no longer be updated.
pub(crate) fn delete(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "EndpointConfigName");
    let config = find(world, &name)?.clone();
    let event = event(world, &config, call.now);
    world.configs.remove(&name);
    world.tags.remove(&config.arn);
    world.emit(event);
    Ok(json!({}))
}

/// The config, or AWS's refusal.
pub(crate) fn find<'a>(world: &'a World, name: &str) -> Result<&'a Resource, ApiError> {
    world.configs.get(name).ok_or_else(|| {
        ApiError::validation(format!(
            "Could not find endpoint configuration \"{}\".",
            arn::sagemaker("endpoint-config", name)
        ))
    })
}

fn event(world: &World, config: &Resource, at: Moment) -> Event {
    let mut detail = config.body.clone();
    detail.insert("EndpointConfigArn".into(), json!(config.arn));
    detail.insert("CreationTime".into(), json!(config.created.as_millis()));
    detail.insert("Tags".into(), world.tags.map(&config.arn));
    Event::new(
        at,
        "SageMaker Endpoint Config State Change",
        &config.arn,
        Value::Object(detail),
    )
}
