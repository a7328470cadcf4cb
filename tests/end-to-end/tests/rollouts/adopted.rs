//! An endpoint that people made by hand is adopted: nobody loses a setting by a rollout.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::{
    CaptureMode, CaptureOption, ContainerDefinition, DataCaptureConfig, ProductionVariant,
    ProductionVariantInstanceType, Tag,
};
use tidegate_core::rollout::Phase;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::training::ROLE;
use tidegate_end_to_end::world::{BUCKET, World};

use crate::ROLLOUT;
use crate::checks::serves_alone;
use crate::common::{Book, IMAGE, describe, endpoint};

/// Their model, config and variant.
const PEOPLES_MODEL: &str = "peoples-model";
const PEOPLES_CONFIG: &str = "peoples-config";
const PEOPLES_VARIANT: &str = "AllTraffic";

/// An endpoint as people make them: three instances, data capture, a key, tags, their own names.
pub(crate) async fn make_endpoint_by_hand(world: &World) -> Result<()> {
    let client = &world.clients.sagemaker;
    let container = ContainerDefinition::builder()
        .image(IMAGE)
        .model_data_url(format!("s3://{BUCKET}/people/model.tar.gz"))
        .environment("SAGEMAKER_LOCAL_SCRIPT", "{}")
        .build();
    client
        .create_model()
        .model_name(PEOPLES_MODEL)
        .execution_role_arn(clients::role(ROLE))
        .primary_container(container)
        .send()
        .await
        .context("their model can't be made")?;
    let variant = ProductionVariant::builder()
        .variant_name(PEOPLES_VARIANT)
        .model_name(PEOPLES_MODEL)
        .instance_type(ProductionVariantInstanceType::MlC5Xlarge)
        .initial_instance_count(3)
        .initial_variant_weight(1.0)
        .container_startup_health_check_timeout_in_seconds(300)
        .build();
    let both = [CaptureMode::Input, CaptureMode::Output]
        .map(|mode| CaptureOption::builder().capture_mode(mode).build());
    let capture = DataCaptureConfig::builder()
        .enable_capture(true)
        .initial_sampling_percentage(20)
        .destination_s3_uri(format!("s3://{BUCKET}/people/capture"))
        .set_capture_options(Some(both.into()))
        .build();
    client
        .create_endpoint_config()
        .endpoint_config_name(PEOPLES_CONFIG)
        .production_variants(variant)
        .data_capture_config(capture)
        .kms_key_id(clients::arn("kms", "key/peoples-key"))
        .tags(Tag::builder().key("cost-centre").value("4711").build())
        .send()
        .await
        .context("their config can't be made")?;
    client
        .create_endpoint()
        .endpoint_name(endpoint("adopted"))
        .endpoint_config_name(PEOPLES_CONFIG)
        .tags(Tag::builder().key("owner").value("people").build())
        .send()
        .await
        .context("their endpoint can't be made")?;
    Ok(())
}

pub(crate) async fn peoples_endpoint_keeps_its_settings(book: &mut Book) -> Result<()> {
    let rollout = book.ended("adopted", 1, ROLLOUT).await?;
    ensure!(
        rollout.phase == Phase::Done,
        "adopted v1 is {:?}",
        rollout.phase
    );
    let world = &book.world;
    let client = &world.clients.sagemaker;
    serves_alone(world, "adopted", PEOPLES_VARIANT, &rollout).await?;
    let serves = describe(world, "adopted").await?;
    let variant = &serves.production_variants()[0];
    ensure!(
        variant.current_instance_count == Some(3),
        "three instances are not three any more: {variant:?}"
    );
    let config = |name: &str| {
        let describe = client.describe_endpoint_config();
        describe.endpoint_config_name(name).send()
    };
    let theirs = config(PEOPLES_CONFIG)
        .await
        .context("their config is gone")?;
    let ours = config(&rollout.final_config).await?;
    ensure!(
        ours.data_capture_config == theirs.data_capture_config
            && ours.data_capture_config.is_some(),
        "data capture is another: {:?}",
        ours.data_capture_config
    );
    ensure!(
        ours.kms_key_id == theirs.kms_key_id && ours.kms_key_id.is_some(),
        "the key is another: {:?}",
        ours.kms_key_id
    );
    let (now, before) = (
        &ours.production_variants()[0],
        &theirs.production_variants()[0],
    );
    ensure!(
        now.instance_type == before.instance_type
            && now.initial_instance_count == before.initial_instance_count
            && now.container_startup_health_check_timeout_in_seconds
                == before.container_startup_health_check_timeout_in_seconds,
        "the variant is another: {now:?}, before: {before:?}"
    );
    let tags = client
        .list_tags()
        .resource_arn(ours.endpoint_config_arn.context("a config has an ARN")?)
        .send()
        .await?;
    let is_kept = |tag: &Tag| tag.key() == Some("cost-centre") && tag.value() == Some("4711");
    ensure!(
        tags.tags().iter().any(is_kept),
        "their tag is gone: {:?}",
        tags.tags()
    );
    let theirs = client.describe_model().model_name(PEOPLES_MODEL).send();
    theirs.await.context("their model is gone")?;
    let told = book.notice("adopted", "rollout-done")?;
    ensure!(
        told.text.contains(PEOPLES_MODEL) && told.text.contains("left as they are"),
        "people were not told what is left: {told:?}"
    );
    Ok(())
}
