//! The built `tidegate apply` beside moto's ledger and the emulator's endpoints: what it finds out
//! about them, and that none of it stops a policy.
#![allow(clippy::unwrap_used)]

mod emulator;
#[allow(dead_code)]
mod moto;

use std::process::{Command, Output};

use serde_json::{Value, json};

use emulator::Emulator;
use moto::Moto;

/// `tidegate` with the ledger on moto, and endpoints and metrics at another URL.
fn tidegate(moto: &Moto, url: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(args)
        .env_clear()
        .envs(moto.environment())
        .env("AWS_ENDPOINT_URL_SAGEMAKER", url)
        .env("AWS_ENDPOINT_URL_CLOUDWATCH", url)
        .env("TIDEGATE_TABLE", "tidegate")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const POLICY: &str = r#"
[pipeline]
name = "shop"
group = "shop"

[[stage]]
name = "staging"
endpoint = "shop-staging"

[[stage]]
name = "production"
endpoint = "shop-prod"
smoke = ["s3://bucket/request.csv"]
strategy = { canary = [1, 50], minutes = 10, min_requests = 100 }

[[stage.guard]]
metric = "model_errors"
ceiling = 0.01

[[stage.guard]]
slower_than_ms = 200

[[stage.guard]]
custom = { namespace = "Shop", bad = "CheckoutsFailed", all = "Checkouts", dimensions = { Endpoint = "{endpoint}", Variant = "{variant}" }, name = "failed checkouts" }
"#;

/// An hour and a half of ten requests a minute, one in twenty of them answered with an error. Its
/// clock has nearly come to the present, which is what `apply` looks back from.
fn emulator_with_traffic() -> Emulator {
    let start = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
    let emulator = Emulator::start(&start.to_string());
    emulator.model("m", &json!({"error_rate": 0.05, "start_seconds": 10}));
    emulator.config("c", &[("v7", "m", 1.0)]);
    emulator.sagemaker(
        "CreateEndpoint",
        &json!({"EndpointName": "shop-prod", "EndpointConfigName": "c"}),
    );
    emulator.minutes_pass(15);
    emulator.order(
        "traffic",
        &json!({"endpoint": "shop-prod", "requests_per_minute": 10, "payloads": ["1,2"],
            "content_type": "text/csv"}),
    );
    emulator.minutes_pass(90);
    emulator
}

#[tokio::test]
async fn what_a_rollout_would_stumble_over_is_told_and_stops_nothing() {
    let moto = Moto::start().await;
    let emulator = emulator_with_traffic();
    let url = emulator.url();
    let run = |args: &[&str]| tidegate(&moto, &url, args);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, POLICY).unwrap();
    let file = file.display().to_string();

    let applied = run(&["apply", &file]);
    let (out, err) = (text(&applied.stdout), text(&applied.stderr));
    assert_eq!(applied.status.code(), Some(0), "{err}");
    assert_eq!(
        out,
        format!("{file}: applied, version 1 of shop is in force now\n")
    );
    for told in [
        "note: FILE: staging: the endpoint shop-staging does not exist yet",
        "hint: FILE: stage[0].smoke: ",
        "warning: FILE: stage[1].guard[0].ceiling: the champion is over it now: model errors are ",
        "warning: FILE: stage[1].guard[2]: CloudWatch has nothing of failed checkouts in the last 3 \
         hours (Checkouts in Shop with Endpoint=shop-prod Variant=v7), although shop-prod had ",
        "warning: FILE: stage[1].strategy.canary[0]: 1 % is ",
        "requests an hour for the canary, by the ",
        "too few to tell anything; min_requests = 100 takes ",
        "warning: FILE: stage[1].smoke[0]: there is no bucket bucket\n help: make it, or correct its name\n",
    ] {
        let told = told.replace("FILE", &file);
        assert!(err.contains(&told), "{told}\nis not in\n{err}");
    }
    // Half of the traffic is enough, and the latency guard has data.
    assert!(
        !err.contains("canary[1]") && !err.contains("guard[1]"),
        "{err}"
    );

    let json = run(&["apply", &file, "--json"]);
    assert_eq!(text(&json.stderr), "");
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let policy = &json["policies"][0];
    assert_eq!(policy["state"], "unchanged");
    let keys: Vec<_> = policy["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| (&warning["level"], &warning["stage"], &warning["key"]))
        .map(|fields| json!(fields))
        .collect();
    assert_eq!(
        keys,
        [
            json!(["note", "staging", null]),
            json!(["hint", "staging", "stage[0].smoke"]),
            json!(["warning", "production", "stage[1].guard[0].ceiling"]),
            json!(["warning", "production", "stage[1].guard[2]"]),
            json!(["warning", "production", "stage[1].strategy.canary[0]"]),
            json!(["warning", "production", "stage[1].smoke[0]"]),
        ]
    );

    let quiet = run(&["apply", &file, "--no-probe"]);
    assert_eq!(
        (quiet.status.code(), text(&quiet.stderr)),
        (Some(0), ""),
        "{}",
        text(&quiet.stdout)
    );

    // CloudWatch is out of order: the policy is in force all the same.
    emulator.order(
        "faults",
        &json!({"operation": "GetMetricData", "kind": "error", "count": 20}),
    );
    let dark = run(&["apply", &file]);
    let err = text(&dark.stderr);
    assert_eq!(dark.status.code(), Some(0), "{err}");
    assert!(
        err.contains(&format!(
            "warning: {file}: production: CloudWatch did not answer about the metrics of shop-prod\n  \
             why: GetMetricData: "
        )),
        "{err}"
    );
}

#[tokio::test]
async fn a_policy_is_applied_where_nothing_but_the_ledger_answers() {
    let moto = Moto::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, POLICY).unwrap();
    let applied = tidegate(
        &moto,
        "127.0.0.1:1",
        &["apply", &file.display().to_string()],
    );
    let err = text(&applied.stderr);
    assert_eq!(applied.status.code(), Some(0), "{err}");
    assert!(text(&applied.stdout).contains(": applied, version 1"));
    assert!(err.contains("shop-prod can't be looked at"), "{err}");
    assert!(err.contains("DescribeEndpoint: "), "{err}");
}
