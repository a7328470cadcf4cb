//! Endpoint configs: read, and made like another so that a rollout loses nobody's setting.
//!
//! Everything that `CreateEndpointConfig` takes is copied from the config that serves. A variant is
//! copied whole (create and describe share one shape), so a setting that AWS adds comes along; the
//! members of the config itself are named in [`COPIED`] and [`SAID`], and a test compares these
//! with the service model.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::operation::describe_endpoint_config::DescribeEndpointConfigOutput;
use aws_sdk_sagemaker::types::{ProductionVariant, ProductionVariantInstanceType};
use tidegate_core::world::{
    Answer, ConfigSpec, ConfigVariant, EndpointConfig, Outcome, VariantSpec, WorldError,
    WorldErrorKind,
};

use super::AwsWorld;
use super::tags::inherited;
use super::values::{aws_count, required};
use crate::error::{error, failed, refused};

const CREATE: &str = "CreateEndpointConfig";

/// Members that are copied from the other config.
#[cfg(test)]
const COPIED: [&str; 8] = [
    "AsyncInferenceConfig",
    "DataCaptureConfig",
    "EnableNetworkIsolation",
    "ExecutionRoleArn",
    "ExplainerConfig",
    "KmsKeyId",
    "MetricsConfig",
    "VpcConfig",
];
/// Members that AWS has and the SDK has not yet: a config that uses one can't be copied whole.
#[cfg(test)]
const UNKNOWN_TO_THE_SDK: [&str; 1] = ["CrossRegionTrafficConfig"];
/// Members that are made from what is asked for, with the other's below it.
#[cfg(test)]
const SAID: [&str; 4] = [
    "EndpointConfigName",
    "ProductionVariants",
    "ShadowProductionVariants",
    "Tags",
];

impl AwsWorld {
    pub(super) async fn endpoint_config(&self, name: &str) -> Result<Answer, WorldError> {
        let Some(found) = self.described_config(name).await? else {
            return Ok(Answer::Missing);
        };
        let variants = found
            .production_variants()
            .iter()
            .map(|variant| ConfigVariant {
                name: variant.variant_name.clone().unwrap_or_default(),
                model: variant.model_name.clone(),
                instance_type: variant
                    .instance_type
                    .as_ref()
                    .map(|kind| kind.as_str().to_owned()),
            })
            .collect();
        Ok(Answer::EndpointConfig(Box::new(EndpointConfig {
            name: name.to_owned(),
            variants,
        })))
    }

    async fn described_config(
        &self,
        name: &str,
    ) -> Result<Option<DescribeEndpointConfigOutput>, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_endpoint_config()
            .endpoint_config_name(name)
            .send();
        match asked.await.map_err(failed("DescribeEndpointConfig")) {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn create_config(&self, spec: &ConfigSpec) -> Result<Outcome, WorldError> {
        let like = self.config_to_copy(spec).await?;
        let variants = spec
            .variants
            .iter()
            .map(|variant| production_variant(variant, like.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let tags = match like
            .as_ref()
            .and_then(|config| config.endpoint_config_arn.as_deref())
        {
            Some(arn) => self.tags_of(arn).await?,
            None => BTreeMap::new(),
        };
        let mut create = self
            .clients
            .sagemaker
            .create_endpoint_config()
            .endpoint_config_name(&spec.name)
            .set_production_variants(Some(variants.clone()))
            .set_tags(Some(inherited(&tags, &spec.tags)).filter(|tags| !tags.is_empty()));
        let captured = spec.capture.as_ref().map(capture::config);
        let copied = like
            .as_ref()
            .and_then(|like| like.data_capture_config.clone());
        create = create.set_data_capture_config(captured.or(copied));
        if let Some(like) = like {
            // A shadow needs exactly one variant beside it: it is left out while two serve, and is
            // back in the config with the candidate alone, which is copied from the same one.
            let shadows = like
                .shadow_production_variants
                .filter(|_| variants.len() == 1);
            create = create
                .set_shadow_production_variants(shadows.filter(|list| !list.is_empty()))
                .set_async_inference_config(like.async_inference_config)
                .set_enable_network_isolation(like.enable_network_isolation)
                .set_execution_role_arn(like.execution_role_arn)
                .set_explainer_config(like.explainer_config)
                .set_kms_key_id(like.kms_key_id)
                .set_metrics_config(like.metrics_config)
                .set_vpc_config(like.vpc_config);
        }
        match create.send().await.map_err(failed(CREATE)) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.already => self.is_the_config(&spec.name, &variants).await,
            Err(failure) => Err(failure.into()),
        }
    }

    async fn config_to_copy(
        &self,
        spec: &ConfigSpec,
    ) -> Result<Option<DescribeEndpointConfigOutput>, WorldError> {
        let Some(name) = &spec.like else {
            return Ok(None);
        };
        let found = self.described_config(name).await?.ok_or_else(|| {
            error(
                WorldErrorKind::Gone,
                CREATE,
                format!(
                    "the config {name}, whose settings are to be copied, was deleted; update the \
                     endpoint to a config that exists"
                ),
            )
        })?;
        Ok(Some(found))
    }

    /// Whether the config of this name, which is there already, is the one that was to be made.
    async fn is_the_config(
        &self,
        name: &str,
        wanted: &[ProductionVariant],
    ) -> Result<Outcome, WorldError> {
        let found = required(CREATE, "config", self.described_config(name).await?)?;
        let same = |a: &ProductionVariant, b: &ProductionVariant| {
            a.variant_name == b.variant_name
                && a.model_name == b.model_name
                && a.initial_instance_count == b.initial_instance_count
                && a.initial_variant_weight == b.initial_variant_weight
                && a.instance_type == b.instance_type
        };
        let there = found.production_variants();
        if there.len() == wanted.len() && wanted.iter().all(|w| there.iter().any(|t| same(t, w))) {
            return Ok(Outcome::Done);
        }
        Err(refused(
            CREATE,
            format!(
                "an endpoint config {name} is there already and has other variants; delete it, or \
                 approve the version again"
            ),
        ))
    }

    pub(super) async fn delete_config(&self, name: &str) -> Result<Outcome, WorldError> {
        let sent = self
            .clients
            .sagemaker
            .delete_endpoint_config()
            .endpoint_config_name(name)
            .send();
        match sent.await.map_err(failed("DeleteEndpointConfig")) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.is_gone() => Ok(Outcome::Done),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// The variant that is copied, with what is said on top of it.
fn production_variant(
    spec: &VariantSpec,
    like: Option<&DescribeEndpointConfigOutput>,
) -> Result<ProductionVariant, WorldError> {
    let mut variant = match &spec.like {
        None => ProductionVariant::builder().build(),
        Some(name) => like
            .and_then(|config| {
                let named = |v: &&ProductionVariant| v.variant_name.as_ref() == Some(name);
                config.production_variants().iter().find(named)
            })
            .cloned()
            .ok_or_else(|| refused(CREATE, format!("there is no variant {name} to copy")))?,
    };
    variant.variant_name = Some(spec.name.clone());
    variant.model_name = Some(spec.model.clone());
    variant.initial_variant_weight = Some(f32::from(spec.weight));
    if let Some(instance) = &spec.instance {
        variant.instance_type = Some(ProductionVariantInstanceType::from(instance.kind.as_str()));
        // What can't be said beside an instance type.
        variant.instance_pools = None;
        variant.serverless_config = None;
    }
    // A serverless variant has no instances to count.
    if variant.serverless_config.is_none() {
        variant.initial_instance_count = Some(aws_count(spec.count));
        if variant.instance_type.is_none() && variant.instance_pools.is_none() {
            return Err(refused(
                CREATE,
                format!(
                    "no instance type for the variant {}: give the stage an instance = {{ type = \
                     ..., count = ... }}",
                    spec.name
                ),
            ));
        }
    }
    if let Some(seconds) = spec.model_download_seconds {
        variant.model_data_download_timeout_in_seconds = Some(aws_count(seconds));
    }
    if let Some(seconds) = spec.startup_seconds {
        variant.container_startup_health_check_timeout_in_seconds = Some(aws_count(seconds));
    }
    Ok(variant)
}

mod capture;
#[cfg(test)]
mod tests;
