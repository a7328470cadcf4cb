//! The built `tidegate rollout show` on a real ledger, and `tidegate canary backtest` on an
//! endpoint that somebody else shifted.
#![allow(clippy::unwrap_used)]

mod emulator;
#[allow(dead_code)]
mod moto;
#[path = "../src/rollout/sample.rs"]
mod sample;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_core::ledger::{Commit, Ledger as _};
use tidegate_core::name::GroupName;
use tidegate_core::rollout::Phase;

use emulator::Emulator;
use moto::Moto;

const POLICY: &str = "tests/policies/valid.toml";

struct Said {
    out: String,
    err: String,
    code: i32,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

fn tidegate(environment: &BTreeMap<&str, String>, args: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .envs(environment)
        .output()
        .unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

#[tokio::test]
async fn a_rollout_is_found_drawn_and_told_from_the_ledger() {
    let moto = Moto::start().await;
    let mut environment = moto.environment();
    environment.insert("TIDEGATE_TABLE", "tidegate".to_owned());
    let run = |args: &[&str]| tidegate(&environment, args);
    assert_eq!(run(&["apply", POLICY, "--by", "ada"]).code, 0);
    let none = run(&["rollout", "show", "fraud"]);
    assert_eq!((none.code, none.out.as_str()), (1, ""));
    assert!(none.err.contains("has had no rollout yet"), "{}", none.err);

    put_rollouts(&moto).await;

    // The one under way, by its pipeline's name.
    let running = run(&["rollout", "show", "fraud"]);
    assert_eq!(running.code, 0, "{}", running.err);
    assert!(
        running
            .out
            .starts_with("v13 has all of fraud-prod's traffic since "),
        "{}",
        running.out
    );
    assert!(
        running.out.contains("same minutes of the day before"),
        "{}",
        running.out
    );
    assert!(
        running.out.is_ascii(),
        "no locale is no UTF-8: {}",
        running.out
    );

    // One that ended, by the start of its id.
    let past = run(&["rollout", "show", "production-v12"]);
    assert!(
        past.out.starts_with("v12 was taken back from fraud-prod"),
        "{}",
        past.out
    );
    environment.insert("LANG", "en_US.UTF-8".to_owned());
    let run = |args: &[&str]| tidegate(&environment, args);
    let past = run(&[
        "rollout",
        "show",
        "production-v12",
        "--pipeline",
        "fraud-detection",
    ]);
    assert!(
        past.out.contains('█') && past.out.contains('▲'),
        "{}",
        past.out
    );
    assert!(
        past.out.lines().all(|line| line.chars().count() <= 100),
        "{}",
        past.out
    );
    let ascii = run(&["rollout", "show", "production-v12", "--ascii"]);
    assert!(ascii.out.is_ascii(), "{}", ascii.out);

    let json = run(&["rollout", "show", "production-v12-0011223344", "--json"]).json();
    assert_eq!(json["rollout"]["phase"], "rolled_back");
    assert_eq!(json["rollout"]["guards"].as_array().unwrap().len(), 2);
    assert!(
        json["rollout"]["guards"][0]["crossed"].is_string(),
        "{json}"
    );

    // Status and history tell the same facts.
    let status = run(&["status", "--json"]).json();
    let rollout = &status["pipelines"][0]["stages"][1]["rollout"];
    assert_eq!(rollout["compared_with"], "yesterday");
    assert_eq!(rollout["guards"].as_array().unwrap().len(), 4);
    let history = run(&["history", "fraud", "--rollouts"]);
    assert!(history.out.contains("model errors: "), "{}", history.out);
    assert!(
        history.out.contains("tidegate rollout show ID"),
        "{}",
        history.out
    );

    check_refusals(&run);
    check_pictures(&run);
}

/// v12 was taken back, v13 bakes.
async fn put_rollouts(moto: &Moto) {
    let ledger = moto.ledger("tidegate");
    let group = GroupName::parse("fraud-detection").unwrap();
    let snapshot = ledger.load(&group, None).await.unwrap().unwrap();
    let begin = snapshot.applied.at;
    let mut head = snapshot.head;
    let expected = head.version;
    head.version += 1;
    let mut running = sample::done(begin);
    running.ended = None;
    running.phase = Phase::Baking {
        since: running.all_traffic_since().unwrap(),
    };
    head.now = running.judged_until;
    head.rollouts.insert(running.stage.clone(), running);
    let commit = Commit {
        finished: vec![sample::taken_back(begin)],
        ..Commit::of(expected, head)
    };
    ledger.commit(&group, &commit).await.unwrap();
}

fn check_refusals(run: &impl Fn(&[&str]) -> Said) {
    let many = run(&["rollout", "show", "production-v1"]);
    assert_eq!((many.code, many.out.as_str()), (1, ""));
    for id in ["production-v12-0011223344", "production-v13-0011223344"] {
        assert!(many.err.contains(id), "{}", many.err);
    }
    let unknown = run(&["rollout", "show", "nothing/of that\u{1b}[31m", "--json"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&unknown.err).unwrap();
    let help = error["error"]["help"][0].as_str().unwrap();
    assert!(help.starts_with("the newest are production-v1"), "{help}");
    assert_eq!(run(&["rollout", "show", "x", "--pipeline", "nope"]).code, 1);
    assert_eq!(run(&["rollout", "show"]).code, 2);
}

fn check_pictures(run: &impl Fn(&[&str]) -> Said) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v12.svg");
    let path = path.to_str().unwrap();
    let said = run(&["rollout", "show", "production-v12", "--svg", path]);
    assert!(
        said.out.ends_with(&format!("The picture is in {path}.\n")),
        "{}",
        said.out
    );
    let picture = std::fs::read_to_string(path).unwrap();
    assert!(
        picture.starts_with("<svg ") && picture.ends_with("</svg>\n"),
        "{picture}"
    );
    let on_stdout = run(&["rollout", "show", "production-v12", "--svg", "-"]);
    assert_eq!(on_stdout.out, picture);
    let both = run(&["rollout", "show", "production-v12", "--svg", "-", "--json"]);
    assert_eq!((both.code, both.out.as_str()), (2, ""));
    let nowhere = folder.path().join("no/such.svg");
    let said = run(&[
        "rollout",
        "show",
        "production-v12",
        "--svg",
        nowhere.to_str().unwrap(),
    ]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(
        said.err.contains("the picture can't be written"),
        "{}",
        said.err
    );
}

/// v1 fails on 2 % of its requests; v2, which gets a fifth of the traffic, on 10 %.
fn endpoint_with_a_canary() -> Emulator {
    let emulator = Emulator::start("2026-01-01T00:00:00Z");
    emulator.model(
        "m1",
        &json!({"error_rate": 0.02, "start_seconds": 10, "seed": 1}),
    );
    emulator.model(
        "m2",
        &json!({"error_rate": 0.10, "start_seconds": 10, "seed": 2}),
    );
    emulator.config("c1", &[("v1", "m1", 1.0)]);
    let endpoint =
        |config: &str| json!({"EndpointName": "fraud-prod", "EndpointConfigName": config});
    emulator.sagemaker("CreateEndpoint", &endpoint("c1"));
    emulator.minutes_pass(15);
    emulator.order(
        "traffic",
        &json!({"endpoint": "fraud-prod", "requests_per_minute": 300}),
    );
    emulator.minutes_pass(45);
    emulator.config("c2", &[("v1", "m1", 4.0), ("v2", "m2", 1.0)]);
    emulator.sagemaker("UpdateEndpoint", &endpoint("c2"));
    emulator.minutes_pass(45);
    emulator
}

#[test]
fn a_canary_of_the_past_is_judged_as_a_rollout_would_have_been() {
    let emulator = endpoint_with_a_canary();
    let environment = BTreeMap::from([
        ("AWS_ENDPOINT_URL", emulator.url()),
        ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ]);
    let base = ["canary", "backtest", "--endpoint", "fraud-prod"];
    let run = |args: &[&str]| tidegate(&environment, &[&base[..], args].concat());
    let window = ["--from", "2026-01-01T00:20", "--to", "2026-01-01T01:40Z"];

    let said = run(&[&window[..], &["--json"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let json = said.json();
    assert_eq!(
        (&json["canary"], &json["baseline"]),
        (&"v2".into(), &"v1".into())
    );
    assert_eq!(json["verdict"], "roll_back", "{json}");
    let after = json["taken_back"]["after_minutes"].as_i64().unwrap();
    assert!((1..30).contains(&after), "{json}");
    assert!(
        json["taken_back"]["bad_after"].as_u64().unwrap() > 10,
        "{json}"
    );
    assert!(json["history_minutes"].as_u64().unwrap() >= 30, "{json}");
    let guard = &json["guards"][0];
    assert!(
        guard["ratio_interval"]["low"].as_f64().unwrap() > 1.0,
        "{guard}"
    );
    assert_eq!(guard["crossed"], json["taken_back"]["at"]);

    let text = run(&window);
    assert!(
        text.out.starts_with(
            "v2 would have been taken back from fraud-prod by the minute of 2026-01-01 01:"
        ),
        "{}",
        text.out
    );
    assert!(text.out.contains('█'), "{}", text.out);
    assert!(
        text.out.lines().all(|line| line.chars().count() <= 100),
        "{}",
        text.out
    );

    // The other way round it is a canary that is better than its champion.
    let swapped = run(&[&window[..], &["--canary", "v1", "--json"]].concat()).json();
    assert_eq!(
        (&swapped["canary"], &swapped["baseline"]),
        (&"v1".into(), &"v2".into())
    );
    assert_eq!(swapped["verdict"], "safe", "{swapped}");

    // By a policy: its guards, and how sure it wants to be.
    let by_policy = run(&[&window[..], &["--policy", POLICY, "--json"]].concat()).json();
    assert_eq!(
        by_policy["judged_by"],
        format!("the stage production of {POLICY}")
    );

    let picture = run(&[&window[..], &["--svg", "-"]].concat());
    assert!(picture.out.starts_with("<svg ") && picture.out.contains("judged afterwards"));
    check_what_is_not_judged(&run);
}

fn check_what_is_not_judged(run: &impl Fn(&[&str]) -> Said) {
    for (args, code, words) in [
        // Only v1 had traffic.
        (
            &["--from", "2026-01-01T00:20", "--to", "2026-01-01T00:50"][..],
            1,
            "v1: ",
        ),
        // Nobody had.
        (
            &["--from", "2025-12-31T00:20", "--to", "2025-12-31T00:50"],
            1,
            "15 days",
        ),
        (
            &["--from", "2026-01-01T00:20", "--to", "2026-01-01T00:10"],
            2,
            "not before",
        ),
        (
            &["--from", "2026-01-01", "--to", "2026-01-17"],
            2,
            "15 days apart",
        ),
        (&["--from", "yesterday", "--to", "now"], 2, "a time is like"),
        (
            &[
                "--from",
                "2026-01-01T00:20",
                "--to",
                "2026-01-01T01:40",
                "--canary",
                "v9",
            ],
            1,
            "\"v9\" had no requests",
        ),
        (
            &[
                "--from",
                "2026-01-01T00:20",
                "--to",
                "2026-01-01T01:40",
                "--policy",
                "tests/policies/mistakes.toml",
            ],
            2,
            "apply --check",
        ),
        (
            &[
                "--from",
                "2026-01-01T00:20",
                "--to",
                "2026-01-01T01:40",
                "--pipeline",
                "fraud",
            ],
            2,
            "no ledger table",
        ),
    ] {
        let said = run(args);
        assert_eq!(
            (said.code, said.out.as_str()),
            (code, ""),
            "{args:?}: {}",
            said.err
        );
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    }
}
