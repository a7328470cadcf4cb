//! The API of endpoints: what it answers and refuses. What happens over time is in
//! `deployment.rs`.
//!
//! An endpoint can be changed only while InService (or deleted while Failed); a refusal is a
//! `ValidationException` that only its message tells apart, as in AWS.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::arn;
use crate::deployment::{self, Change};
use crate::endpoint::{Endpoint, Status};
use crate::errors::ApiError;
use crate::json::{list, required, text};
use crate::lineage::automatic;
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::world::World;
use crate::{configs, models};

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "EndpointName");
    let arn = arn::sagemaker("endpoint", &name);
    if world.endpoints.contains_key(&name) {
        return Err(ApiError::validation(format!(
            "Cannot create already existing endpoint \"{arn}\"."
        )));
    }
    let config = required(input, "EndpointConfigName");
    check_deployable(world, &config)?;
    let routing = StdRng::from_rng(&mut world.rng);
    let mut endpoint = Endpoint {
        name: name.clone(),
        arn: arn.clone(),
        config: config.clone(),
        status: Status::Creating,
        created: call.now,
        modified: call.now,
        failure: None,
        variants: Vec::new(),
        capture: None,
        deployment: None,
        deployment_config: input.get("DeploymentConfig").cloned(),
        generation: 1,
        rng: routing,
        traffic: None,
        traffic_generation: 0,
        history: Vec::new(),
    };
    world.tags.create(&arn, input);
    deployment::start(
        call,
        world,
        &mut endpoint,
        Change::Create,
        &config,
        &|_, _| {},
    )?;
    let event = endpoint.set_status(Status::Creating, call.now, &world.tags.map(&arn));
    automatic::endpoint_made(world, &name, &config, call.now);
    world.endpoints.insert(name, endpoint);
    world.emit(event);
    Ok(json!({"EndpointArn": arn}))
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    Ok(find(world, &required(input, "EndpointName"))?.describe())
}

pub(crate) fn list_endpoints(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let rows = world.endpoints.values().map(|endpoint| Row {
        name: endpoint.name.clone(),
        status: endpoint.status.api().to_owned(),
        created: endpoint.created,
        modified: endpoint.modified,
        summary: json!({
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "CreationTime": endpoint.created.json(),
            "LastModifiedTime": endpoint.modified.json(),
            "EndpointStatus": endpoint.status.api(),
        }),
    });
    page::answer(input, "Endpoints", rows.collect(), Order::Descending)
}

/// Brings up a new fleet for every variant of the new config; the old one serves until the switch.
/// Weights and counts are the config's unless retained for variants of the same name.
pub(crate) fn update(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "EndpointName");
    let config = required(input, "EndpointConfigName");
    let endpoint = changeable(world, &name)?;
    let current = endpoint.config.clone();
    configs::find(world, &current)?;
    check_deployable(world, &config)?;
    let retain = input
        .get("RetainAllVariantProperties")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let excluded: Vec<&str> = list(input, "ExcludeRetainedVariantProperties")
        .iter()
        .filter_map(|property| text(property, "VariantPropertyType"))
        .collect();
    if !retain && !excluded.is_empty() {
        return Err(ApiError::validation(
            "ExcludeRetainedVariantProperties requires RetainAllVariantProperties to be true.",
        ));
    }
    let Some(mut endpoint) = world.endpoints.remove(&name) else {
        return Err(missing(&name));
    };
    let kept: Vec<(String, f64, u32)> = endpoint
        .variants
        .iter()
        .map(|old| (old.name.clone(), old.desired_weight, old.desired_count))
        .collect();
    let retain_properties = |variant: &mut f64, count: &mut u32, name: &str| {
        let Some((_, weight, instances)) = kept.iter().find(|(kept, ..)| kept == name) else {
            return;
        };
        if retain && !excluded.contains(&"DesiredWeight") {
            *variant = *weight;
        }
        if retain && !excluded.contains(&"DesiredInstanceCount") {
            *count = *instances;
        }
    };
    let started = deployment::start(
        call,
        world,
        &mut endpoint,
        Change::Update,
        &config,
        &|name, target| {
            retain_properties(&mut target.desired_weight, &mut target.desired_count, name);
        },
    );
    if started.is_ok() {
        if retain
            && !excluded.contains(&"DataCaptureConfig")
            && endpoint.capture.is_some()
            && let Some(new) = &mut endpoint.deployment
        {
            new.capture.clone_from(&endpoint.capture);
        }
        if let Some(given) = input.get("DeploymentConfig") {
            endpoint.deployment_config = Some(given.clone());
        } else if input.get("RetainDeploymentConfig").and_then(Value::as_bool) != Some(true) {
            endpoint.deployment_config = None;
        }
        let event = endpoint.set_status(Status::Updating, call.now, &world.tags.map(&endpoint.arn));
        world.emit(event);
    }
    let arn = endpoint.arn.clone();
    world.endpoints.insert(name, endpoint);
    started.map(|()| json!({"EndpointArn": arn}))
}

/// Weights of several variants, or the capacity of one, per call.
pub(crate) fn update_weights(
    call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let name = required(input, "EndpointName");
    let endpoint = changeable(world, &name)?;
    let config = endpoint.config.clone();
    let wishes = list(input, "DesiredWeightsAndCapacities");
    let unknown: Vec<String> = wishes
        .iter()
        .map(|wish| required(wish, "VariantName"))
        .filter(|wanted| {
            !endpoint
                .variants
                .iter()
                .any(|variant| variant.name == *wanted)
        })
        .collect();
    if !unknown.is_empty() {
        return Err(ApiError::validation(format!(
            "The following variants could not be found on endpoint \"{}\": {}",
            endpoint.arn,
            unknown.join(", ")
        )));
    }
    let capacities = wishes
        .iter()
        .filter(|wish| wish.get("DesiredInstanceCount").is_some())
        .count();
    if capacities > 0 && wishes.len() > 1 {
        return Err(ApiError::validation(
            "The capacity of only one variant can be updated at a time.",
        ));
    }
    configs::find(world, &config)?;
    let Some(mut endpoint) = world.endpoints.remove(&name) else {
        return Err(missing(&name));
    };
    for wish in wishes {
        let wanted = required(wish, "VariantName");
        for variant in endpoint
            .variants
            .iter_mut()
            .filter(|variant| variant.name == wanted)
        {
            if let Some(weight) = wish.get("DesiredWeight").and_then(Value::as_f64) {
                variant.desired_weight = weight;
            }
            if let Some(count) = wish.get("DesiredInstanceCount").and_then(Value::as_u64) {
                variant.desired_count = u32::try_from(count).unwrap_or(u32::MAX).min(1000);
            }
        }
    }
    deployment::start_weights(call, world, &mut endpoint);
    let event = endpoint.set_status(Status::Updating, call.now, &world.tags.map(&endpoint.arn));
    let arn = endpoint.arn.clone();
    world.endpoints.insert(name, endpoint);
    world.emit(event);
    Ok(json!({"EndpointArn": arn}))
}

pub(crate) fn delete(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "EndpointName");
    let endpoint = find(world, &name)?;
    if !matches!(endpoint.status, Status::InService | Status::Failed) {
        return Err(in_progress(endpoint));
    }
    let tags = world.tags.map(&arn::sagemaker("endpoint", &name));
    let Some(endpoint) = world.endpoints.get_mut(&name) else {
        return Err(missing(&name));
    };
    let event = endpoint.set_status(Status::Deleting, call.now, &tags);
    deployment::start_delete(endpoint);
    let generation = endpoint.generation;
    world.emit(event);
    deployment::schedule_deletion(world, &name, generation, call.now);
    Ok(json!({}))
}

/// The endpoint, or AWS's refusal.
pub(crate) fn find<'a>(world: &'a World, name: &str) -> Result<&'a Endpoint, ApiError> {
    world.endpoints.get(name).ok_or_else(|| missing(name))
}

fn changeable<'a>(world: &'a World, name: &str) -> Result<&'a Endpoint, ApiError> {
    let endpoint = find(world, name)?;
    match endpoint.status {
        Status::InService => Ok(endpoint),
        Status::Failed => Err(ApiError::validation(format!(
            "Cannot update endpoint \"{}\" because it is in status Failed.",
            endpoint.arn
        ))),
        _ => Err(in_progress(endpoint)),
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::validation(format!(
        "Could not find endpoint \"{}\".",
        arn::sagemaker("endpoint", name)
    ))
}

fn in_progress(endpoint: &Endpoint) -> ApiError {
    ApiError::validation(format!(
        "Cannot update in-progress endpoint \"{}\".",
        endpoint.arn
    ))
}

/// Config and models exist, and packages are approved.
fn check_deployable(world: &World, config: &str) -> Result<(), ApiError> {
    let config = configs::find(world, config)?;
    for variant in config
        .body
        .get("ProductionVariants")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let model = models::find(world, text(variant, "ModelName").unwrap_or_default())?;
        models::check_approval(world, model)?;
    }
    Ok(())
}
