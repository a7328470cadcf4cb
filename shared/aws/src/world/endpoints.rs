//! Endpoints: described before anything is asked of them.
//!
//! Sources: `UpdateEndpoint` and `UpdateEndpointWeightsAndCapacities` in the SageMaker API
//! reference: both only while the endpoint is `InService`.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::operation::describe_endpoint::DescribeEndpointOutput;
use aws_sdk_sagemaker::types::{
    DesiredWeightAndCapacity, EndpointStatus as AwsStatus, ProductionVariantSummary, Tag,
};
use tidegate_core::event::EndpointStatus;
use tidegate_core::name::EndpointName;
use tidegate_core::world::{Answer, Endpoint, Outcome, Variant, WorldError, WorldErrorKind};

use super::AwsWorld;
use super::values::{count, decimal, required, time};
use crate::error::{error, failed, refused};

const DESCRIBE: &str = "DescribeEndpoint";

/// Shares of traffic that differ by less are the same: weights are 32-bit floats.
const SAME_SHARE: f64 = 1e-4;

impl AwsWorld {
    pub(super) async fn endpoint(&self, name: &EndpointName) -> Result<Answer, WorldError> {
        let found = self.described_endpoint(name).await?;
        Ok(found.map_or(Answer::Missing, |endpoint| {
            Answer::Endpoint(Box::new(endpoint))
        }))
    }

    async fn described_endpoint(
        &self,
        name: &EndpointName,
    ) -> Result<Option<Endpoint>, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_endpoint()
            .endpoint_name(name.as_str())
            .send();
        match asked.await.map_err(failed(DESCRIBE)) {
            Ok(found) => Ok(Some(endpoint(name, found)?)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The endpoint that an effect is for.
    async fn endpoint_for(
        &self,
        call: &'static str,
        name: &EndpointName,
    ) -> Result<Endpoint, WorldError> {
        self.described_endpoint(name).await?.ok_or_else(|| {
            error(
                WorldErrorKind::Gone,
                call,
                format!("the endpoint {name} does not exist"),
            )
        })
    }

    pub(super) async fn create_endpoint(
        &self,
        name: &EndpointName,
        config: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Outcome, WorldError> {
        const CALL: &str = "CreateEndpoint";
        if let Some(there) = self.described_endpoint(name).await? {
            return is_the_endpoint(CALL, &there, config);
        }
        let tags: Vec<Tag> = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        let made = self
            .clients
            .sagemaker
            .create_endpoint()
            .endpoint_name(name.as_str())
            .endpoint_config_name(config)
            .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
            .send();
        match made.await.map_err(failed(CALL)) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.already => {
                is_the_endpoint(CALL, &self.endpoint_for(CALL, name).await?, config)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn update_endpoint(
        &self,
        name: &EndpointName,
        config: &str,
        retain: bool,
    ) -> Result<Outcome, WorldError> {
        const CALL: &str = "UpdateEndpoint";
        let now = self.endpoint_for(CALL, name).await?;
        let under_way = now.pending_config.as_deref() == Some(config);
        let there = now.status == EndpointStatus::InService && now.config == config;
        if there || (under_way && now.status == EndpointStatus::Updating) {
            return Ok(Outcome::Done);
        }
        may_change(CALL, &now)?;
        self.clients
            .sagemaker
            .update_endpoint()
            .endpoint_name(name.as_str())
            .endpoint_config_name(config)
            .retain_all_variant_properties(retain)
            .send()
            .await
            .map_err(failed(CALL))?;
        Ok(Outcome::Done)
    }

    pub(super) async fn delete_endpoint(&self, name: &EndpointName) -> Result<Outcome, WorldError> {
        const CALL: &str = "DeleteEndpoint";
        match self.described_endpoint(name).await? {
            None => return Ok(Outcome::Done),
            Some(now) if now.status == EndpointStatus::Deleting => return Ok(Outcome::Done),
            Some(_) => {}
        }
        let sent = self
            .clients
            .sagemaker
            .delete_endpoint()
            .endpoint_name(name.as_str())
            .send();
        match sent.await.map_err(failed(CALL)) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.is_gone() => Ok(Outcome::Done),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn shift_weights(
        &self,
        name: &EndpointName,
        weights: &BTreeMap<String, u8>,
    ) -> Result<Outcome, WorldError> {
        const CALL: &str = "UpdateEndpointWeightsAndCapacities";
        let now = self.endpoint_for(CALL, name).await?;
        if let Some(absent) = weights
            .keys()
            .find(|&variant| now.variant(variant).is_none())
        {
            return Err(error(
                WorldErrorKind::Gone,
                CALL,
                format!("the endpoint {name} has no variant {absent}"),
            ));
        }
        if shares_are(&now, weights) {
            return Ok(Outcome::Done);
        }
        may_change(CALL, &now)?;
        let desired = weights
            .iter()
            .map(|(variant, &percent)| {
                DesiredWeightAndCapacity::builder()
                    .variant_name(variant)
                    .desired_weight(f32::from(percent))
                    .build()
            })
            .collect::<Vec<_>>();
        self.clients
            .sagemaker
            .update_endpoint_weights_and_capacities()
            .endpoint_name(name.as_str())
            .set_desired_weights_and_capacities(Some(desired))
            .send()
            .await
            .map_err(failed(CALL))?;
        Ok(Outcome::Done)
    }
}

/// Whether the endpoint of this name, which is there already, is the one that was to be made.
fn is_the_endpoint(
    call: &'static str,
    there: &Endpoint,
    config: &str,
) -> Result<Outcome, WorldError> {
    if there.status == EndpointStatus::Deleting {
        let why = format!("an endpoint {} is there still and goes away", there.name);
        return Err(error(WorldErrorKind::NotNow, call, why));
    }
    if there.config == config || there.pending_config.as_deref() == Some(config) {
        return Ok(Outcome::Done);
    }
    let why = format!(
        "an endpoint {} is there already, by the config {}",
        there.name, there.config
    );
    Err(refused(call, why))
}

/// Whether an endpoint takes an update, now or at all.
fn may_change(call: &'static str, now: &Endpoint) -> Result<(), WorldError> {
    use EndpointStatus as S;
    let kind = match now.status {
        S::InService => return Ok(()),
        S::Creating | S::Updating | S::SystemUpdating | S::RollingBack => WorldErrorKind::NotNow,
        S::Deleting => WorldErrorKind::Gone,
        S::OutOfService | S::Failed | S::UpdateRollbackFailed | S::Unknown => {
            WorldErrorKind::Refused
        }
    };
    let failure = now
        .failure
        .as_deref()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    Err(error(
        kind,
        call,
        format!("the endpoint {} is {:?}{failure}", now.name, now.status),
    ))
}

/// Whether traffic is asked to be shared so already, whatever the weights add up to.
fn shares_are(now: &Endpoint, weights: &BTreeMap<String, u8>) -> bool {
    let total: f64 = now
        .variants
        .iter()
        .map(|variant| variant.desired_weight)
        .sum();
    let wanted: f64 = weights.values().map(|&percent| f64::from(percent)).sum();
    if total <= 0.0 || wanted <= 0.0 {
        return false;
    }
    now.variants.iter().all(|variant| {
        let percent = weights.get(&variant.name).copied().unwrap_or(0);
        let share = variant.desired_weight / total;
        (share - f64::from(percent) / wanted).abs() < SAME_SHARE
    })
}

fn endpoint(name: &EndpointName, found: DescribeEndpointOutput) -> Result<Endpoint, WorldError> {
    Ok(Endpoint {
        name: name.clone(),
        status: found
            .endpoint_status
            .as_ref()
            .map_or(EndpointStatus::Unknown, status),
        config: required(DESCRIBE, "EndpointConfigName", found.endpoint_config_name)?,
        pending_config: found
            .pending_deployment_summary
            .and_then(|p| p.endpoint_config_name),
        failure: found.failure_reason.filter(|why| !why.is_empty()),
        modified: time(found.last_modified_time.as_ref()),
        variants: found
            .production_variants
            .unwrap_or_default()
            .iter()
            .map(variant)
            .collect(),
    })
}

fn variant(found: &ProductionVariantSummary) -> Variant {
    let serverless =
        found.current_serverless_config.is_some() || found.desired_serverless_config.is_some();
    let weight = |weight: Option<f32>| weight.map_or(0.0, decimal);
    Variant {
        name: found.variant_name.clone().unwrap_or_default(),
        weight: weight(found.current_weight),
        // What is not there is not being changed.
        desired_weight: weight(found.desired_weight.or(found.current_weight)),
        count: count(found.current_instance_count),
        desired_count: count(
            found
                .desired_instance_count
                .or(found.current_instance_count),
        ),
        serverless,
    }
}

fn status(status: &AwsStatus) -> EndpointStatus {
    match status {
        AwsStatus::Creating => EndpointStatus::Creating,
        AwsStatus::Deleting => EndpointStatus::Deleting,
        AwsStatus::Failed => EndpointStatus::Failed,
        AwsStatus::InService => EndpointStatus::InService,
        AwsStatus::OutOfService => EndpointStatus::OutOfService,
        AwsStatus::RollingBack => EndpointStatus::RollingBack,
        AwsStatus::SystemUpdating => EndpointStatus::SystemUpdating,
        AwsStatus::UpdateRollbackFailed => EndpointStatus::UpdateRollbackFailed,
        AwsStatus::Updating => EndpointStatus::Updating,
        _ => EndpointStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(weights: &[(&str, f64)], status: EndpointStatus) -> Endpoint {
        let variants = weights
            .iter()
            .map(|&(name, desired_weight)| Variant {
                name: name.to_owned(),
                weight: 0.0,
                desired_weight,
                count: 1,
                desired_count: 1,
                serverless: false,
            })
            .collect();
        Endpoint {
            name: EndpointName::parse("e").unwrap(),
            status,
            config: "c".to_owned(),
            pending_config: None,
            failure: None,
            modified: None,
            variants,
        }
    }

    #[test]
    fn weights_are_compared_by_share() {
        let wanted = BTreeMap::from([("a".to_owned(), 75), ("b".to_owned(), 25)]);
        let now = |weights| with(weights, EndpointStatus::InService);
        assert!(shares_are(&now(&[("a", 75.0), ("b", 25.0)]), &wanted));
        assert!(shares_are(&now(&[("a", 3.0), ("b", 1.0)]), &wanted));
        assert!(!shares_are(&now(&[("a", 1.0), ("b", 1.0)]), &wanted));
        assert!(!shares_are(&now(&[("a", 0.0), ("b", 0.0)]), &wanted));
        assert!(!shares_are(
            &now(&[("a", 75.0), ("b", 25.0), ("c", 9.0)]),
            &wanted
        ));
    }

    #[test]
    fn a_busy_endpoint_waits_and_a_broken_one_is_refused() {
        use EndpointStatus as S;
        let kind = |status| may_change("X", &with(&[], status)).map_err(|error| error.kind);
        assert_eq!(kind(S::InService), Ok(()));
        for busy in [S::Creating, S::Updating, S::SystemUpdating, S::RollingBack] {
            assert_eq!(kind(busy), Err(WorldErrorKind::NotNow));
        }
        for broken in [
            S::Failed,
            S::UpdateRollbackFailed,
            S::OutOfService,
            S::Unknown,
        ] {
            assert_eq!(kind(broken), Err(WorldErrorKind::Refused));
        }
        assert_eq!(kind(S::Deleting), Err(WorldErrorKind::Gone));
    }

    #[test]
    fn an_endpoint_that_serves_something_else_is_not_taken_for_ours() {
        let there = with(&[], EndpointStatus::InService);
        assert_eq!(is_the_endpoint("X", &there, "c"), Ok(Outcome::Done));
        assert!(is_the_endpoint("X", &there, "other").is_err());
    }
}
