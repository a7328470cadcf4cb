//! What serves an endpoint now, and whether a canary can stand beside it.

use crate::event::EndpointStatus;
use crate::facts::{Facts, Known};
use crate::head::Champion;
use crate::rollout::Incumbent;
use crate::world::Endpoint;

/// What serves an endpoint now.
pub(super) enum Served {
    /// Facts are missing.
    Unknown,
    /// It is changing: later it can be told.
    Busy(String),
    /// Tidegate can't roll out to it, for this reason.
    Unfit(String),
    /// This variant, on this instance type.
    By(Incumbent, Option<String>),
}

pub(super) fn serves_now(
    endpoint: &Endpoint,
    champion: Option<&Champion>,
    facts: &Facts,
) -> Served {
    match endpoint.status {
        EndpointStatus::InService => {}
        EndpointStatus::Failed
        | EndpointStatus::OutOfService
        | EndpointStatus::UpdateRollbackFailed => {
            return Served::Unfit(format!(
                "The endpoint {} is {}. SageMaker allows nothing but deleting a failed \
                 endpoint: delete it.",
                endpoint.name,
                endpoint.status_in_words()
            ));
        }
        status => return Served::Busy(format!("The endpoint {} is {status:?}.", endpoint.name)),
    }
    let [variant] = endpoint.variants.as_slice() else {
        return Served::Unfit(format!(
            "The endpoint {} has {} variants; Tidegate rolls out to endpoints with one. Reduce it \
             to the variant that should be the champion.",
            endpoint.name,
            endpoint.variants.len()
        ));
    };
    if variant.serverless {
        return Served::Unfit(format!(
            "The endpoint {} is serverless: SageMaker allows a serverless endpoint one variant, so \
             there can be no canary beside the champion.",
            endpoint.name
        ));
    }
    let config = match facts.config(&endpoint.config) {
        Known::NotAsked => return Served::Unknown,
        Known::Missing => {
            return Served::Unfit(format!(
                "The endpoint config {} that {} serves by was deleted, so its settings can't be \
                 copied. Update the endpoint to a config that exists.",
                endpoint.config, endpoint.name
            ));
        }
        Known::Is(config) => config,
    };
    let Some((model, instance_type)) = config
        .variants
        .iter()
        .find(|v| v.name == variant.name)
        .and_then(|v| Some((v.model.clone()?, v.instance_type.clone())))
    else {
        return Served::Unfit(format!(
            "The variant {} of {} has no model of its own (inference components): Tidegate rolls \
             out models.",
            variant.name, endpoint.name
        ));
    };
    let ours = champion.filter(|c| c.config == endpoint.config);
    Served::By(
        Incumbent {
            version: ours.map(|c| c.candidate.version),
            config: endpoint.config.clone(),
            variant: variant.name.clone(),
            model,
            count: variant.desired_count.max(variant.count).max(1),
            ours: ours.is_some(),
        },
        instance_type,
    )
}
