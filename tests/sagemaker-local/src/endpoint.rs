//! One endpoint: its variants and status, how it is described, and the events it sends.

use std::sync::Arc;

use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use crate::deployment::{Change, Deployment};
use crate::events::Event;
use crate::fleet::Fleet;
use crate::json::text;
use crate::moment::Moment;
use crate::packages;
use crate::traffic::Traffic;

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

    /// Whether `InvokeEndpoint` works.
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

    /// As `DescribeEndpoint` tells it.
    pub(crate) fn describe(&self) -> Value {
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
