//! A person who deploys and shifts canaries by hand, as any team without Tidegate does, and keeps a
//! list of what it did: nothing else may have been done.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::{
    ContainerDefinition, DesiredWeightAndCapacity, EndpointStatus, ProductionVariant,
    ProductionVariantInstanceType,
};
use serde_json::Value;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::training::ROLE;
use tidegate_end_to_end::world::World;

use crate::common::{Approval, describe, endpoint, package};
use crate::day::Day;

/// The pipeline that looks on.
pub(crate) const WATCHED: &str = "watched";

/// Calls that change nothing begin so.
const READING: [&str; 5] = ["Describe", "List", "Get", "Simulate", "Invoke"];

/// A variant: name, model, weight.
pub(crate) type Variant<'a> = (&'a str, &'a str, u8);

/// The person.
#[derive(Debug, Default)]
pub(crate) struct Person {
    /// The calls it made, oldest first.
    did: Vec<&'static str>,
}

impl Person {
    /// Registers the next version as approved and makes a model of it, `watched-vN`.
    pub(crate) async fn model(
        &mut self,
        world: &World,
        version: u32,
        script: &Value,
    ) -> Result<String> {
        let package = package(world, WATCHED, script, Approval::Given).await?;
        self.did
            .extend(["CreateModelPackageGroup", "CreateModelPackage"]);
        let name = format!("{WATCHED}-v{version}");
        let container = ContainerDefinition::builder()
            .model_package_name(package)
            .build();
        let create = world.clients.sagemaker.create_model().model_name(&name);
        create
            .execution_role_arn(clients::role(ROLE))
            .primary_container(container)
            .send()
            .await
            .context("a person can't make a model")?;
        self.did.push("CreateModel");
        Ok(name)
    }

    /// Makes the endpoint, and waits until it serves.
    pub(crate) async fn creates(
        &mut self,
        day: &mut Day<'_>,
        config: &str,
        variants: &[Variant<'_>],
    ) -> Result<()> {
        self.config(&day.book.world, config, variants).await?;
        let client = &day.book.world.clients.sagemaker;
        let create = client.create_endpoint().endpoint_name(endpoint(WATCHED));
        create
            .endpoint_config_name(config)
            .send()
            .await
            .context("a person can't create an endpoint")?;
        self.did.push("CreateEndpoint");
        serves_by(day, config).await
    }

    /// Deploys these variants, and waits until they serve.
    pub(crate) async fn deploys(
        &mut self,
        day: &mut Day<'_>,
        config: &str,
        variants: &[Variant<'_>],
    ) -> Result<()> {
        self.config(&day.book.world, config, variants).await?;
        let client = &day.book.world.clients.sagemaker;
        let update = client.update_endpoint().endpoint_name(endpoint(WATCHED));
        update
            .endpoint_config_name(config)
            .send()
            .await
            .context("a person can't update an endpoint")?;
        self.did.push("UpdateEndpoint");
        serves_by(day, config).await
    }

    /// Sets weights, and waits until they are in force.
    pub(crate) async fn shifts(
        &mut self,
        day: &mut Day<'_>,
        config: &str,
        weights: &[(&str, u8)],
    ) -> Result<()> {
        let client = &day.book.world.clients.sagemaker;
        let mut update = client
            .update_endpoint_weights_and_capacities()
            .endpoint_name(endpoint(WATCHED));
        for &(variant, weight) in weights {
            let desired = DesiredWeightAndCapacity::builder()
                .variant_name(variant)
                .desired_weight(weight.into())
                .build();
            update = update.desired_weights_and_capacities(desired);
        }
        update
            .send()
            .await
            .context("a person can't shift weights")?;
        self.did.push("UpdateEndpointWeightsAndCapacities");
        serves_by(day, config).await
    }

    async fn config(&mut self, world: &World, name: &str, variants: &[Variant<'_>]) -> Result<()> {
        let mut create = world
            .clients
            .sagemaker
            .create_endpoint_config()
            .endpoint_config_name(name);
        for &(variant, model, weight) in variants {
            let variant = ProductionVariant::builder()
                .variant_name(variant)
                .model_name(model)
                .instance_type(ProductionVariantInstanceType::MlM5Large)
                .initial_instance_count(1)
                .initial_variant_weight(weight.into())
                .build();
            create = create.production_variants(variant);
        }
        create
            .send()
            .await
            .with_context(|| format!("a person can't make the config {name}"))?;
        self.did.push("CreateEndpointConfig");
        Ok(())
    }

    /// Fails if anybody else changed anything of the group, or tried to.
    pub(crate) fn was_alone(&self, world: &World) -> Result<()> {
        let record = std::fs::read_to_string(&world.emulator.record)?;
        let mut done = Vec::new();
        for line in record.lines() {
            let line: Value = serde_json::from_str(line)?;
            let operation = line["operation"].as_str().unwrap_or_default().to_owned();
            let is_change = !READING.iter().any(|word| operation.starts_with(word));
            if is_change && line["input"].to_string().contains(WATCHED) {
                done.push(operation);
            }
        }
        ensure!(
            done == self.did,
            "a person did {:#?}, and this was done: {done:#?}",
            self.did
        );
        Ok(())
    }
}

/// What is there of the group in SageMaker: endpoint, configs, models, packages.
pub(crate) async fn belongings(world: &World) -> Result<Vec<String>> {
    let client = &world.clients.sagemaker;
    let serves = describe(world, WATCHED).await?;
    let mut all = vec![format!(
        "{:?} by {:?} since {:?}: {:?}",
        serves.endpoint_status,
        serves.endpoint_config_name,
        serves.last_modified_time,
        serves.production_variants
    )];
    let configs = client.list_endpoint_configs().max_results(100);
    let configs = configs.send().await?.endpoint_configs.unwrap_or_default();
    all.extend(configs.into_iter().filter_map(|c| c.endpoint_config_name));
    let models = client.list_models().max_results(100);
    let models = models.send().await?.models.unwrap_or_default();
    all.extend(models.into_iter().filter_map(|m| m.model_name));
    // The others' come and go.
    all.retain(|each| each.contains(WATCHED));
    let packages = client
        .list_model_packages()
        .model_package_group_name(WATCHED);
    let packages = packages.max_results(100).send().await?;
    for package in packages.model_package_summary_list.unwrap_or_default() {
        let arn = package.model_package_arn.unwrap_or_default();
        all.push(format!("{arn} is {:?}", package.model_approval_status));
    }
    Ok(all)
}

async fn serves_by(day: &mut Day<'_>, config: &str) -> Result<()> {
    let what = format!("the endpoint serves by {config}");
    day.until(&what, 15, async |world| {
        let serves = describe(world, WATCHED).await?;
        let is_there = serves.endpoint_status == Some(EndpointStatus::InService)
            && serves.endpoint_config_name.as_deref() == Some(config);
        Ok(is_there.then_some(()))
    })
    .await
}
