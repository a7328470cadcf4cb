//! Endpoints: what the API says and refuses. What happens over time is in `deployment.rs`.
//!
//! An endpoint can be changed only while InService (or deleted while Failed); a refusal is a
//! ValidationException that only its message tells apart, as in AWS.

use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use crate::arn;
use crate::deployment::{self, Change, Deployment};
use crate::errors::ApiError;
use crate::events::Event;
use crate::fleet::Fleet;
use crate::json::{list, required, text};
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::traffic::Traffic;
use crate::world::World;
use crate::{configs, models, packages};

/// How many changes of one endpoint are remembered for its timeline.
const HISTORY_LIMIT: usize = 20_000;

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) config: String,
    pub(crate) status: Status,
    pub(crate) created: Moment,
    pub(crate) modified: Moment,
    pub(crate) failure: Option<String>,
    /// What serves now.
    pub(crate) variants: Vec<Variant>,
    /// `DataCaptureConfig` of the config that serves.
    pub(crate) capture: Option<Value>,
    /// What is coming up.
    pub(crate) deployment: Option<Deployment>,
    pub(crate) deployment_config: Option<Value>,
    /// Counts changes; work put down for an earlier one is void.
    pub(crate) generation: u64,
    /// Routing and scripted answers draw from it.
    pub(crate) rng: StdRng,
    pub(crate) traffic: Option<Traffic>,
    pub(crate) traffic_generation: u64,
    /// Every change, for the timeline.
    pub(crate) history: Vec<(Moment, Value)>,
}

/// One production variant with its instances.
#[derive(Clone)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// Share of the traffic now, relative to the others.
    pub(crate) weight: f64,
    pub(crate) desired_weight: f64,
    pub(crate) count: u32,
    pub(crate) desired_count: u32,
    /// The variant as the endpoint config has it.
    pub(crate) body: Value,
    pub(crate) images: Vec<String>,
    pub(crate) fleet: Arc<Fleet>,
    /// When it came into service.
    pub(crate) since: Moment,
}

/// SageMaker's endpoint statuses, those that the emulator reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Creating,
    Updating,
    RollingBack,
    InService,
    Failed,
    Deleting,
}

impl Status {
    /// As the API writes it.
    pub(crate) const fn api(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::RollingBack => "RollingBack",
            Self::InService => "InService",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }

    /// As events write it.
    const fn event(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Updating => "UPDATING",
            Self::RollingBack => "ROLLING_BACK",
            Self::InService => "IN_SERVICE",
            Self::Failed => "FAILED",
            Self::Deleting => "DELETING",
        }
    }

    /// Whether InvokeEndpoint works.
    pub(crate) const fn serves(self) -> bool {
        matches!(self, Self::InService | Self::Updating | Self::RollingBack)
    }
}

impl Variant {
    fn summary(&self, at: Moment) -> Value {
        let mut summary = json!({
            "VariantName": self.name,
            "DeployedImages": self.images.iter().map(|image| deployed(image, at)).collect::<Vec<_>>(),
            "CurrentWeight": self.weight,
            "DesiredWeight": self.desired_weight,
            "CurrentInstanceCount": self.count,
            "DesiredInstanceCount": self.desired_count,
        });
        for member in ["ManagedInstanceScaling", "RoutingConfig"] {
            if let Some(value) = self.body.get(member) {
                summary[member] = value.clone();
            }
        }
        summary
    }
}

fn deployed(image: &str, at: Moment) -> Value {
    let repository = image.split('@').next().unwrap_or(image);
    // A colon after the last slash starts a tag; one before it is a registry's port.
    let repository = match repository.rfind('/').map_or(0, |slash| slash + 1) {
        start if repository[start..].contains(':') => {
            let colon = repository[start..]
                .find(':')
                .map_or(repository.len(), |colon| start + colon);
            &repository[..colon]
        }
        _ => repository,
    };
    json!({
        "SpecifiedImage": image,
        "ResolvedImage": format!("{repository}@{}", packages::image_digest(image)),
        "ResolutionTime": at.json(),
    })
}

impl Endpoint {
    /// Changes the status: the time, the timeline and the event follow.
    pub(crate) fn set_status(&mut self, status: Status, at: Moment, tags: &Value) -> Event {
        self.status = status;
        self.modified = at;
        self.note(at);
        let variants: Vec<Value> = self
            .variants
            .iter()
            .chain(
                self.deployment
                    .iter()
                    .filter(|_| self.variants.is_empty())
                    .flat_map(|new| &new.variants),
            )
            .map(|variant| {
                json!({
                    "VariantName": variant.name,
                    "CurrentWeight": variant.weight,
                    "DesiredWeight": variant.desired_weight,
                    "CurrentInstanceCount": variant.count,
                    "DesiredInstanceCount": variant.desired_count,
                })
            })
            .collect();
        let mut detail = json!({
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "EndpointConfigName": self.config,
            "ProductionVariants": variants,
            "EndpointStatus": status.event(),
            "CreationTime": milliseconds(self.created),
            "LastModifiedTime": milliseconds(at),
            "Tags": tags,
        });
        if let Some(failure) = &self.failure {
            detail["FailureReason"] = json!(failure);
        }
        Event::new(at, "SageMaker Endpoint State Change", &self.arn, detail)
    }

    /// Remembers the state for the timeline.
    fn note(&mut self, at: Moment) {
        if self.history.len() >= HISTORY_LIMIT {
            self.history.remove(0);
        }
        let variants: Map<String, Value> = self
            .variants
            .iter()
            .map(|variant| {
                let state = json!({
                    "weight": variant.weight,
                    "desired_weight": variant.desired_weight,
                    "instances": variant.count,
                });
                (variant.name.clone(), state)
            })
            .collect();
        let state =
            json!({"status": self.status.api(), "config": self.config, "variants": variants});
        self.history.push((at, state));
    }

    fn describe(&self) -> Value {
        let mut body = json!({
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "EndpointConfigName": self.config,
            "EndpointStatus": self.status.api(),
            "CreationTime": self.created.json(),
            "LastModifiedTime": self.modified.json(),
        });
        if !self.variants.is_empty() {
            body["ProductionVariants"] = self
                .variants
                .iter()
                .map(|variant| variant.summary(variant.since))
                .collect();
        }
        if let Some(failure) = &self.failure {
            body["FailureReason"] = json!(failure);
        }
        if let Some(capture) = &self.capture {
            body["DataCaptureConfig"] = capture_summary(capture);
        }
        if let Some(config) = &self.deployment_config {
            body["LastDeploymentConfig"] = config.clone();
        }
        if let Some(new) = self
            .deployment
            .as_ref()
            .filter(|new| new.change != Change::Weights)
        {
            let variants: Vec<Value> = new
                .variants
                .iter()
                .map(|variant| {
                    let mut summary = variant.summary(new.started);
                    summary["CurrentWeight"] = json!(0.0);
                    summary["CurrentInstanceCount"] = json!(0);
                    if let Some(instance) = variant.body.get("InstanceType") {
                        summary["InstanceType"] = instance.clone();
                    }
                    summary["VariantStatus"] =
                        json!([{"Status": "Creating", "StartTime": new.started.json()}]);
                    summary
                })
                .collect();
            body["PendingDeploymentSummary"] = json!({
                "EndpointConfigName": new.config,
                "ProductionVariants": variants,
                "StartTime": new.started.json(),
            });
        }
        body
    }
}

#[allow(clippy::cast_precision_loss)]
fn milliseconds(at: Moment) -> f64 {
    at.as_millis() as f64
}

fn capture_summary(capture: &Value) -> Value {
    let enabled = capture
        .get("EnableCapture")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    json!({
        "EnableCapture": enabled,
        "CaptureStatus": if enabled { "Started" } else { "Stopped" },
        "CurrentSamplingPercentage":
            capture.get("InitialSamplingPercentage").cloned().unwrap_or_else(|| json!(100)),
        "DestinationS3Uri": text(capture, "DestinationS3Uri").unwrap_or_default(),
        "KmsKeyId": text(capture, "KmsKeyId").unwrap_or_default(),
    })
}

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
        if retain && !excluded.contains(&"DataCaptureConfig") && endpoint.capture.is_some() {
            if let Some(new) = &mut endpoint.deployment {
                new.capture.clone_from(&endpoint.capture);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_resolved_to_its_digest_without_its_tag() {
        let at = Moment::from_millis(0);
        let image = deployed("localhost:5000/fraud:1.0", at);
        let resolved = image["ResolvedImage"].as_str().unwrap_or_default();
        assert!(
            resolved.starts_with("localhost:5000/fraud@sha256:"),
            "{resolved}"
        );
        assert_eq!(image["SpecifiedImage"], "localhost:5000/fraud:1.0");
    }
}
