//! Deployments over time: a new fleet comes up beside the one that serves, then the switch; or it
//! fails, and the endpoint fails or goes back.
//!
//! From the developer guide ("Update an endpoint", "Deployment guardrails"): without a deployment
//! config all instances are replaced at once, and the endpoint stays in service meanwhile.

use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::drive::Pace;
use crate::endpoint::{Endpoint, Status, Variant};
use crate::errors::ApiError;
use crate::faults::Kind;
use crate::fleet::{self, Fleet, State};
use crate::json::{required, text};
use crate::moment::{Moment, Span};
use crate::sagemaker::Call;
use crate::world::{Due, World};
use crate::{configs, models};

/// How long an endpoint takes to go back to its old config.
const ROLLBACK: Span = Span::seconds(60);
/// How long an endpoint takes to be deleted.
const DELETION: Span = Span::seconds(30);

/// What is coming up.
pub(crate) struct Deployment {
    pub(crate) change: Change,
    pub(crate) config: String,
    pub(crate) variants: Vec<Variant>,
    pub(crate) capture: Option<Value>,
    pub(crate) started: Moment,
    /// It is not finished earlier, however fast the servers are up.
    ready_at: Moment,
    /// It fails in the end, whatever the servers say.
    sabotaged: bool,
}

/// Why something comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Create,
    Update,
    /// New weights or counts for the fleet that serves.
    Weights,
}

/// Starts to bring up a config; `adjust` sets what is retained from the endpoint as it is.
pub(crate) fn start(
    call: &Call,
    world: &mut World,
    endpoint: &mut Endpoint,
    change: Change,
    config_name: &str,
    adjust: &dyn Fn(&str, &mut Variant),
) -> Result<(), ApiError> {
    let config = configs::find(world, config_name)?.clone();
    endpoint.generation += 1;
    let (operation, seconds) = match change {
        Change::Create => ("CreateEndpoint", call.app.args.create_seconds),
        _ => ("UpdateEndpoint", call.app.args.update_seconds),
    };
    let mut shortest = world.jitter(seconds);
    let mut variants = Vec::new();
    for body in config
        .body
        .get("ProductionVariants")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let mut variant = planned(call, world, endpoint, body)?;
        adjust(&variant.name.clone(), &mut variant);
        variant.weight = variant.desired_weight;
        variant.count = variant.desired_count;
        if let Some(seconds) = variant.fleet.start_seconds() {
            shortest = shortest.max(Span::from_secs_f64(seconds));
        }
        variants.push(variant);
    }
    for variant in &variants {
        let report = Due::Deployment {
            endpoint: endpoint.name.clone(),
            generation: endpoint.generation,
        };
        fleet::scale(&call.app, &variant.fleet, variant.count, Some(report));
    }
    let ready_at = call.now + shortest;
    let sabotaged = world
        .faults
        .hit(operation, |kind| kind == Kind::FailDeployment)
        .is_some();
    endpoint.deployment = Some(Deployment {
        change,
        config: config_name.to_owned(),
        variants,
        capture: config.body.get("DataCaptureConfig").cloned(),
        started: call.now,
        ready_at,
        sabotaged,
    });
    let due = Due::Deployment {
        endpoint: endpoint.name.clone(),
        generation: endpoint.generation,
    };
    world.schedule(ready_at, due);
    Ok(())
}

/// A variant with a fleet that has no instances yet.
fn planned(
    call: &Call,
    world: &World,
    endpoint: &Endpoint,
    body: &Value,
) -> Result<Variant, ApiError> {
    let name = required(body, "VariantName");
    let model = models::find(world, text(body, "ModelName").unwrap_or_default())?;
    let containers = models::containers(world, model);
    let images = containers
        .iter()
        .filter_map(|container| text(container, "Image").map(str::to_owned))
        .collect();
    let count = body
        .get("InitialInstanceCount")
        .and_then(Value::as_u64)
        .unwrap_or(1);
    let fleet = Fleet::planned(&endpoint.name, &name, &containers);
    Ok(Variant {
        desired_weight: body
            .get("InitialVariantWeight")
            .and_then(Value::as_f64)
            .unwrap_or(1.0),
        desired_count: u32::try_from(count).unwrap_or(1).clamp(1, 1000),
        weight: 0.0,
        count: 0,
        name,
        body: body.clone(),
        images,
        fleet: Arc::new(fleet),
        since: call.now,
    })
}

/// Starts to bring the endpoint's fleet to the desired weights and counts.
pub(crate) fn start_weights(call: &Call, world: &mut World, endpoint: &mut Endpoint) {
    endpoint.generation += 1;
    let ready_at = call.now + world.jitter(call.app.args.weights_seconds);
    let variants: Vec<Variant> = endpoint
        .variants
        .iter()
        .map(|variant| Variant {
            weight: variant.desired_weight,
            count: variant.desired_count,
            ..variant.clone()
        })
        .collect();
    for variant in &variants {
        if variant.desired_count > variant.fleet.size() {
            let report = Due::Deployment {
                endpoint: endpoint.name.clone(),
                generation: endpoint.generation,
            };
            fleet::scale(
                &call.app,
                &variant.fleet,
                variant.desired_count,
                Some(report),
            );
        }
    }
    endpoint.deployment = Some(Deployment {
        change: Change::Weights,
        config: endpoint.config.clone(),
        variants,
        capture: endpoint.capture.clone(),
        started: call.now,
        ready_at,
        sabotaged: false,
    });
    let due = Due::Deployment {
        endpoint: endpoint.name.clone(),
        generation: endpoint.generation,
    };
    world.schedule(ready_at, due);
}

/// Finishes a deployment if its time is over and its servers are up, or undoes it.
pub(crate) async fn check(app: &Arc<App>, name: &str, generation: u64, at: Moment, pace: Pace) {
    let fleets: Vec<Arc<Fleet>> = {
        let world = app.world();
        let Some(new) = pending(&world, name, generation).filter(|new| at >= new.ready_at) else {
            return;
        };
        new.variants
            .iter()
            .map(|variant| variant.fleet.clone())
            .collect()
    };
    if pace == Pace::ByHand {
        // Time that is moved by hand waits for servers, which need real time to start.
        for fleet in &fleets {
            fleet.settled().await;
        }
    }
    let mut world = app.world();
    let Some(new) = pending(&world, name, generation) else {
        return;
    };
    let mut waiting = false;
    let mut failure = new
        .sabotaged
        .then(|| "The deployment failed because of an internal error. Try again.".to_owned());
    for fleet in &fleets {
        match fleet.state() {
            State::Starting => waiting = true,
            State::Ready => {}
            State::Failed(reason) => failure = failure.or(Some(reason)),
        }
    }
    match failure {
        Some(reason) => fail(app, &mut world, name, at, &reason),
        None if waiting => {} // The fleet reports when it is up, and this check runs again.
        None => finish(app, &mut world, name, at),
    }
}

fn pending<'a>(world: &'a World, name: &str, generation: u64) -> Option<&'a Deployment> {
    let endpoint = world.endpoints.get(name)?;
    endpoint
        .deployment
        .as_ref()
        .filter(|_| endpoint.generation == generation)
}

fn finish(app: &Arc<App>, world: &mut World, name: &str, at: Moment) {
    let Some(mut endpoint) = world.endpoints.remove(name) else {
        return;
    };
    let Some(new) = endpoint.deployment.take() else {
        world.endpoints.insert(name.to_owned(), endpoint);
        return;
    };
    let old = std::mem::replace(&mut endpoint.variants, new.variants);
    for variant in &mut endpoint.variants {
        if new.change == Change::Weights {
            fleet::scale(app, &variant.fleet, variant.count, None);
        } else {
            variant.since = at;
        }
    }
    if new.change != Change::Weights {
        for variant in old {
            tokio::spawn(fleet::drain(variant.fleet));
        }
    }
    endpoint.config = new.config;
    endpoint.capture = new.capture;
    endpoint.failure = None;
    let event = endpoint.set_status(Status::InService, at, &world.tags.map(&endpoint.arn));
    tracing::info!(endpoint = name, config = endpoint.config, "in service");
    world.endpoints.insert(name.to_owned(), endpoint);
    world.emit(event);
}

fn fail(app: &Arc<App>, world: &mut World, name: &str, at: Moment, reason: &str) {
    let Some(mut endpoint) = world.endpoints.remove(name) else {
        return;
    };
    let Some(new) = endpoint.deployment.take() else {
        world.endpoints.insert(name.to_owned(), endpoint);
        return;
    };
    tracing::warn!(
        endpoint = name,
        config = new.config,
        reason,
        "deployment failed"
    );
    endpoint.failure = Some(reason.to_owned());
    let status = match new.change {
        Change::Create => Status::Failed,
        Change::Update | Change::Weights => Status::RollingBack,
    };
    if new.change == Change::Weights {
        for variant in &mut endpoint.variants {
            variant.desired_weight = variant.weight;
            variant.desired_count = variant.count;
            fleet::scale(app, &variant.fleet, variant.count, None);
        }
    } else {
        new.variants.iter().for_each(|variant| variant.fleet.stop());
    }
    if status == Status::RollingBack {
        endpoint.generation += 1;
        let due = Due::RolledBack {
            endpoint: name.to_owned(),
            generation: endpoint.generation,
        };
        world.schedule(at + ROLLBACK, due);
    }
    let event = endpoint.set_status(status, at, &world.tags.map(&endpoint.arn));
    world.endpoints.insert(name.to_owned(), endpoint);
    world.emit(event);
}

/// The old config serves again, or rather still.
pub(crate) fn rolled_back(world: &mut World, name: &str, generation: u64, at: Moment) {
    let tags = world.tags.map(&crate::arn::sagemaker("endpoint", name));
    let Some(endpoint) = world.endpoints.get_mut(name) else {
        return;
    };
    if endpoint.generation == generation && endpoint.status == Status::RollingBack {
        let event = endpoint.set_status(Status::InService, at, &tags);
        world.emit(event);
    }
}

/// Stops the servers of an endpoint that is being deleted.
pub(crate) fn start_delete(endpoint: &mut Endpoint) {
    endpoint.generation += 1;
    endpoint.traffic = None;
    endpoint.traffic_generation += 1;
    endpoint.deployment = None;
    endpoint
        .variants
        .iter()
        .for_each(|variant| variant.fleet.stop());
}

pub(crate) fn schedule_deletion(world: &mut World, name: &str, generation: u64, at: Moment) {
    world.schedule(
        at + DELETION,
        Due::Deleted {
            endpoint: name.to_owned(),
            generation,
        },
    );
}

pub(crate) fn deleted(world: &mut World, name: &str, generation: u64) {
    let gone = world.endpoints.get(name).is_some_and(|endpoint| {
        endpoint.generation == generation && endpoint.status == Status::Deleting
    });
    if gone && let Some(endpoint) = world.endpoints.remove(name) {
        world.tags.remove(&endpoint.arn);
    }
}
