//! The first calls of a rollout: its ticks, the candidate's model, the config with both, the endpoint.

use std::collections::BTreeMap;

use crate::ledger::AppliedPolicy;
use crate::mutation::Mutation;
use crate::name::GroupName;
use crate::rollout::clear::job_of;
use crate::rollout::{Incumbent, Rollout};
use crate::world::{ConfigSpec, Effect, ModelSpec, VariantSpec};

pub(super) fn first_calls(
    rollout: &Rollout,
    group: &GroupName,
    applied: &AppliedPolicy,
    instance_type: Option<&str>,
) -> Vec<Effect> {
    let serve = &applied.policy.serve;
    let stage = &rollout.plan;
    let tags: BTreeMap<String, String> = [
        (
            "tidegate:pipeline",
            applied.policy.pipeline.name.to_string(),
        ),
        ("tidegate:version", rollout.candidate.version.0.to_string()),
        ("tidegate:rollout", rollout.id.0.clone()),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into();
    let model = Effect::CreateModel(Box::new(ModelSpec {
        name: rollout.model.clone(),
        package: rollout.candidate.package.clone(),
        like: rollout
            .incumbent
            .as_ref()
            .filter(|_| !Mutation::ForgetModelSettings.is_on())
            .map(|i| i.model.clone()),
        role: serve.role.clone(),
        vpc: serve.vpc.clone(),
        network_isolation: serve.network_isolation,
        job: job_of(&rollout.candidate),
        environment: serve.environment.clone(),
        tags: tags.clone(),
    }));
    let floor = stage.instance.as_ref().map_or(1, |i| i.count);
    let candidate = VariantSpec {
        name: rollout.canary.clone(),
        model: rollout.model.clone(),
        like: rollout.incumbent.as_ref().map(|i| i.variant.clone()),
        // The policy's type, if it differs from what serves.
        instance: stage
            .instance
            .clone()
            .filter(|i| instance_type != Some(i.kind.as_str())),
        count: rollout
            .incumbent
            .as_ref()
            .filter(|_| !Mutation::ResetCount.is_on())
            .map_or(floor, |i| i.count.max(floor)),
        weight: 100,
        model_download_seconds: serve.model_download_seconds,
        startup_seconds: serve.startup_seconds,
    };
    let (variants, like) = match &rollout.incumbent {
        None => (vec![candidate], None),
        Some(incumbent) if rollout.replaces => (vec![candidate], Some(incumbent.config.clone())),
        Some(incumbent) => (
            vec![
                champion_variant(incumbent),
                VariantSpec {
                    weight: 0,
                    ..candidate
                },
            ],
            Some(incumbent.config.clone()),
        ),
    };
    let config = Effect::CreateEndpointConfig(Box::new(ConfigSpec {
        name: rollout.config.clone(),
        like: like.filter(|_| !Mutation::ForgetSettings.is_on()),
        variants,
        capture: rollout.plan.capture.clone(),
        tags: tags.clone(),
    }));
    let deploy = match &rollout.incumbent {
        None => Effect::CreateEndpoint {
            endpoint: rollout.endpoint.clone(),
            config: rollout.config.clone(),
            tags,
        },
        Some(_) => Effect::UpdateEndpoint {
            endpoint: rollout.endpoint.clone(),
            config: rollout.config.clone(),
            retain: false,
        },
    };
    let ticks = Effect::StartTicks {
        group: group.clone(),
        stage: rollout.stage.clone(),
        rollout: rollout.id.clone(),
    };
    vec![ticks, model, config, deploy]
}

/// The champion beside the canary: all its settings and its present count.
pub(in crate::rollout) fn champion_variant(incumbent: &Incumbent) -> VariantSpec {
    VariantSpec {
        name: incumbent.variant.clone(),
        model: incumbent.model.clone(),
        like: Some(incumbent.variant.clone()),
        instance: None,
        count: incumbent.count,
        weight: 100,
        model_download_seconds: None,
        startup_seconds: None,
    }
}
