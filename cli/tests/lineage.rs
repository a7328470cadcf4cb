//! The built `tidegate lineage` and `tidegate diff` beside moto's ledger and the emulator's registry.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod emulator;
#[allow(dead_code)]
mod moto;

use std::process::Command;

use serde_json::{Value, json};

use emulator::Emulator;
use moto::Moto;

const POLICY: &str = "tests/policies/valid.toml";

/// Registers the next version, as Tidegate does after the gate.
fn register(emulator: &Emulator, auc: &str, metadata: &Value, commit: &str) {
    let mut pairs = json!({ "metric:validation:auc": auc, "tidegate:job": "fraud-train-1" });
    let pairs_of = pairs.as_object_mut().unwrap();
    pairs_of.extend(metadata.as_object().unwrap().clone());
    let image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3";
    emulator.sagemaker(
        "CreateModelPackage",
        &json!({
            "ModelPackageGroupName": "fraud-detection",
            "ModelApprovalStatus": "Approved",
            "MetadataProperties": { "CommitId": commit, "Repository": "https://git.example/fraud" },
            "CustomerMetadataProperties": pairs,
            "InferenceSpecification": {
                "Containers": [{ "Image": image, "ModelDataUrl": "s3://models/m.tar.gz" }],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        }),
    );
}

#[tokio::test]
async fn a_version_is_explained_down_to_its_data_and_compared_with_its_parent() {
    let moto = Moto::start().await;
    let emulator = Emulator::start("2026-03-02T10:00:00Z");
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .envs(moto.environment())
            .env("AWS_ENDPOINT_URL_SAGEMAKER", emulator.url())
            .env("TIDEGATE_TABLE", "tidegate")
            .output()
            .unwrap();
        let (out, err) = (output.stdout, output.stderr);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(out), text(err))
    };
    let json_of = |args: &[&str]| {
        let (code, out, err) = run(args);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    assert_eq!(run(&["apply", POLICY, "--no-probe"]).0, 0);

    let (code, out, err) = run(&["lineage", "fraud/1"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("the group fraud-detection has no v1"), "{err}");

    emulator.sagemaker(
        "CreateModelPackageGroup",
        &json!({ "ModelPackageGroupName": "fraud-detection" }),
    );
    let data =
        |version: &str| json!({ "data:train": "s3://data/fraud/", "data-version:train": version });
    register(&emulator, "0.93", &data("aaa"), "1111111");
    let mut retrained = data("bbb");
    retrained["tidegate:parent"] = "v1".into();
    retrained["tidegate:finding"] = "monitoring/drift-1".into();
    register(&emulator, "0.95", &retrained, "1111111");

    let (code, tree, err) = run(&["lineage", "fraud/2"]);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!(tree);
    let lineage = json_of(&["lineage", "fraud-detection/v2", "--json"]);
    let versions = lineage["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0]["training"]["data"]["train"]["version"], "bbb");
    assert_eq!(versions[0]["parent"], 1);
    let alone = json_of(&["lineage", "fraud/2", "--parents", "0", "--json"]);
    assert_eq!(alone["versions"].as_array().unwrap().len(), 1);

    let (code, graph, _) = run(&["lineage", "fraud/2", "--dot"]);
    assert_eq!(code, 0);
    assert!(
        graph.contains(r#""fraud-detection v1" -> "fraud-detection v2";"#),
        "{graph}"
    );
    assert_eq!(run(&["lineage", "fraud/2", "--dot", "--json"]).0, 2);

    let diff = json_of(&["diff", "fraud/1", "fraud/2", "--json"]);
    let what: Vec<_> = diff["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["what"].as_str().unwrap(), d["name"].as_str().unwrap()))
        .collect();
    assert_eq!(what, [("metric", "validation:auc"), ("data", "train")]);
    let change = diff["differences"][0]["change"].as_f64().unwrap();
    assert!((change - 0.02).abs() < 1e-9, "{change}");
    insta::assert_snapshot!(run(&["diff", "fraud/1", "fraud/2"]).1);
    let (_, same, _) = run(&["diff", "fraud/1", "fraud/1"]);
    assert!(same.contains("the same in all that is recorded"), "{same}");
    let (code, _, err) = run(&["diff", "fraud/1", "2"]);
    assert_eq!(
        (code, err.contains("fraud-detection/12")),
        (2, true),
        "{err}"
    );
}
