//! A copied config keeps every setting; a new one in AWS's service model is noticed here.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use aws_sdk_sagemaker::types::{ProductionVariantServerlessConfig, Tag};
use flate2::read::GzDecoder;
use tidegate_core::pipeline::Instance;

use super::*;

/// The service model of the botocore that the workspace's Python has.
fn shapes() -> serde_json::Value {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
    let python = std::fs::read_dir(&lib)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make setup`", lib.display()))
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("site-packages/botocore").is_dir())
        .expect("botocore is in .venv");
    let file = "site-packages/botocore/data/sagemaker/2017-07-24/service-2.json";
    let mut text = String::new();
    let plain = python.join(file);
    if plain.is_file() {
        text = std::fs::read_to_string(plain).unwrap();
    } else {
        let packed = std::fs::File::open(python.join(format!("{file}.gz"))).unwrap();
        GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    }
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["shapes"].take()
}

fn members(shapes: &serde_json::Value, shape: &str) -> BTreeSet<String> {
    shapes[shape]["members"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

/// A name in any case, for comparing members with the SDK's fields.
fn fold(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

#[test]
fn every_member_of_a_config_is_copied_or_said() {
    let known = COPIED.iter().chain(&SAID).chain(&UNKNOWN_TO_THE_SDK);
    let known: BTreeSet<_> = known.map(|&name| name.to_owned()).collect();
    assert_eq!(members(&shapes(), "CreateEndpointConfigInput"), known);
}

#[test]
fn a_member_that_the_sdk_has_learnt_is_copied() {
    let shown = fold(&format!(
        "{:?}",
        DescribeEndpointConfigOutput::builder().build()
    ));
    for member in COPIED {
        assert!(shown.contains(&format!("{}:", fold(member))), "{member}");
    }
    for member in UNKNOWN_TO_THE_SDK {
        assert!(
            !shown.contains(&format!("{}:", fold(member))),
            "copy {member} now"
        );
    }
}

#[test]
fn every_member_of_a_variant_is_one_that_the_sdk_can_copy() {
    let shown = format!("{:?}", ProductionVariant::builder().build());
    let shown = fold(&shown);
    for member in members(&shapes(), "ProductionVariant") {
        assert!(
            shown.contains(&format!("{}:", fold(&member))),
            "update the SDK: {member} is new"
        );
    }
}

#[test]
fn every_member_of_a_model_is_known() {
    let known = [
        "Containers",
        "EnableNetworkIsolation",
        "ExecutionRoleArn",
        // How the containers of a pipeline call each other; a package says it itself.
        "InferenceExecutionConfig",
        "ModelName",
        "PrimaryContainer",
        "Tags",
        "VpcConfig",
    ];
    let known = known
        .map(str::to_owned)
        .into_iter()
        .collect::<BTreeSet<_>>();
    assert_eq!(members(&shapes(), "CreateModelInput"), known);
}

fn spec(like: Option<&str>, instance: Option<Instance>) -> VariantSpec {
    VariantSpec {
        name: "v2".to_owned(),
        model: "m2".to_owned(),
        like: like.map(str::to_owned),
        instance,
        count: 3,
        weight: 5,
        model_download_seconds: None,
        startup_seconds: Some(120),
    }
}

fn config(variant: ProductionVariant) -> DescribeEndpointConfigOutput {
    DescribeEndpointConfigOutput::builder()
        .production_variants(variant)
        .build()
}

#[test]
fn a_copied_variant_keeps_what_is_not_said() {
    let old = ProductionVariant::builder()
        .variant_name("v1")
        .model_name("m1")
        .instance_type(ProductionVariantInstanceType::MlG5Xlarge)
        .initial_instance_count(1)
        .volume_size_in_gb(200)
        .enable_ssm_access(true)
        .model_data_download_timeout_in_seconds(900)
        .build();
    let new = production_variant(&spec(Some("v1"), None), Some(&config(old.clone()))).unwrap();
    assert_eq!(new.variant_name(), Some("v2"));
    assert_eq!(new.model_name(), Some("m2"));
    assert_eq!(new.initial_instance_count(), Some(3));
    assert_eq!(
        new.container_startup_health_check_timeout_in_seconds(),
        Some(120)
    );
    let mut rest = new;
    rest.variant_name = old.variant_name.clone();
    rest.model_name = old.model_name.clone();
    rest.initial_instance_count = old.initial_instance_count;
    rest.initial_variant_weight = None;
    rest.container_startup_health_check_timeout_in_seconds = None;
    assert_eq!(rest, old);
}

#[test]
fn a_serverless_variant_gets_no_instances() {
    let serverless = ProductionVariantServerlessConfig::builder()
        .max_concurrency(5)
        .build();
    let old = ProductionVariant::builder()
        .variant_name("v1")
        .serverless_config(serverless)
        .build();
    let new = production_variant(&spec(Some("v1"), None), Some(&config(old))).unwrap();
    assert_eq!(new.initial_instance_count(), None);
    assert!(new.serverless_config().is_some());
}

#[test]
fn a_variant_without_an_instance_type_is_refused_with_advice() {
    let error = production_variant(&spec(None, None), None).unwrap_err();
    assert!(error.message.contains("instance"), "{error}");
    let instance = Instance {
        kind: "ml.m5.large".to_owned(),
        count: 1,
    };
    let made = production_variant(&spec(None, Some(instance)), None).unwrap();
    assert_eq!(
        made.instance_type(),
        Some(&ProductionVariantInstanceType::MlM5Large)
    );
    assert!(production_variant(&spec(Some("v9"), None), None).is_err());
}

#[test]
fn tags_of_aws_itself_are_not_copied() {
    let old = BTreeMap::from([("aws:x".to_owned(), "1".to_owned())]);
    assert_eq!(inherited(&old, &BTreeMap::new()), Vec::<Tag>::new());
}
