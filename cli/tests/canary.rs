//! The built `tidegate canary judge` and `tidegate canary plan`, without an AWS account.
#![allow(clippy::unwrap_used)]

mod emulator;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use emulator::Emulator;

fn tidegate(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that doesn't read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[track_caller]
fn answer(args: &[&str], input: &str) -> Value {
    let output = tidegate(args, input);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn golden() -> (PathBuf, Value) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/core/fixtures/evidence/golden.json");
    let cases = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    (path, cases)
}

/// One metric with these minutes, named, with a policy.
fn one(minutes: &Value) -> Value {
    json!({
        "name": "shop v12",
        "policy": {"alpha": 0.01, "ceiling": 0.05},
        "metrics": [{"name": "5xx", "history": [], "minutes": minutes}],
    })
}

#[track_caller]
fn assert_golden(judged: &Value, case: &Value) {
    let name = &case["name"];
    assert_eq!(&judged["name"], name);
    assert_eq!(judged["verdict"], case["expected"]["verdict"], "{name}");
    let expected = case["expected"]["metrics"].as_array().unwrap();
    let got = judged["metrics"].as_array().unwrap();
    assert_eq!(got.len(), expected.len(), "{name}");
    for (got, expected) in got.iter().zip(expected) {
        for key in ["dispersion", "harm", "safe_ratio", "safe_ceiling"] {
            let (a, b) = (got[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
            assert!(
                (a - b).abs() <= 1e-9 * b.abs().max(1.0),
                "{name}: {key} is {a}, not {b}"
            );
        }
    }
}

#[test]
fn help_teaches_both_commands_and_the_documentation_names_their_options() {
    let doc = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md"))
        .unwrap();
    let mut all = String::new();
    for command in ["judge", "plan"] {
        let output = tidegate(&["canary", command, "--help"], "");
        let help = text(&output.stdout);
        let section = doc
            .split("\n## ")
            .find(|s| s.starts_with(&format!("tidegate canary {command}\n")))
            .unwrap();
        let own = help.split("Options of every command").next().unwrap();
        let options = own.split_whitespace().filter(|word| word.starts_with("--"));
        let options = options.filter(|option| *option != "--help");
        for option in options.map(|o| o.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) {
            assert!(
                section.contains(option),
                "docs/cli.md lacks {option} of {command}"
            );
        }
        all.push_str(help);
    }
    assert!(all.lines().all(|line| line.chars().count() <= 100), "{all}");
    insta::assert_snapshot!(all);
}

#[test]
fn the_golden_file_is_judged_to_nine_digits() {
    let (path, golden) = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 13);
    let all = answer(&["canary", "judge", path.to_str().unwrap(), "--json"], "");
    let judged = all["cases"].as_array().unwrap();
    assert_eq!(judged.len(), cases.len());
    for (judged, case) in judged.iter().zip(cases) {
        assert_golden(judged, case);
    }
}

#[test]
fn one_case_from_standard_input_is_answered_with_one_object() {
    let (_, golden) = golden();
    for case in golden["cases"].as_array().unwrap() {
        let judged = answer(&["canary", "judge", "-", "--json"], &case.to_string());
        assert_golden(&judged, case);
    }
}

#[test]
fn the_minute_after_which_a_canary_is_taken_back_is_said_though_later_ones_are_better() {
    let mut minutes = vec![json!([950, 9, 50, 0]); 3];
    minutes.extend(vec![json!([950, 9, 50, 6]); 2]);
    minutes.extend(vec![json!([9_500, 90, 500, 1]); 40]);
    let input = one(&minutes.into()).to_string();
    let judged = answer(&["canary", "judge", "-", "--json"], &input);
    assert_eq!(judged["verdict"], "safe");
    assert_eq!(judged["rolled_back_at"], 5);
    assert_eq!(judged["metrics"][0]["crossed"], 5);
    let output = tidegate(&["canary", "judge", "-"], &input);
    let words: Vec<&str> = text(&output.stdout).split_whitespace().collect();
    let said = words.join(" ");
    assert!(
        said.contains("taken the canary back after minute 5"),
        "{said}"
    );
    for (option, exit) in [(None, 0), (Some("--fail-on-roll-back"), 1)] {
        let mut args = vec!["canary", "judge", "-"];
        args.extend(option);
        assert_eq!(code(&tidegate(&args, &input)), exit);
    }
}

#[test]
fn a_judged_case_reads_well() {
    let minutes = json!([[950, 9, 50, 0], [950, 7, 50, 3], [950, 9, 50, 6]]);
    let mut alone = one(&minutes);
    alone["policy"]["alone"] = true.into();
    alone["name"] = "shop v12, alone".into();
    let quiet = json!({"name": "quiet", "metrics": [
        {"name": "5xx", "history": [], "minutes": []},
        {"history": vec![json!([100, 0]); 40], "minutes": []},
    ]});
    let cases = json!({"note": "by hand", "cases": [one(&minutes), alone, quiet]});
    let output = tidegate(&["canary", "judge", "-"], &cases.to_string());
    assert_eq!(code(&output), 0);
    let said = text(&output.stdout);
    assert!(
        said.lines().all(|line| line.chars().count() <= 100),
        "{said}"
    );
    insta::assert_snapshot!(said);
}

#[test]
fn every_mistake_is_named_with_its_place_and_nothing_is_judged() {
    let mut bad = one(&json!([
        [5, 7, 1, 0],
        [5, 0.5, 1, 0],
        [5, 0, -1, 0],
        [1, 2, 3]
    ]));
    bad["policy"]["alpha"] = 0.5.into();
    bad["polcy"] = json!({});
    let cases = json!({"cases": [one(&json!([])), bad, {"metrics": [{"history": []}]}]});
    let output = tidegate(&["canary", "judge", "-"], &cases.to_string());
    assert_eq!((code(&output), text(&output.stdout)), (2, ""));
    insta::assert_snapshot!(text(&output.stderr));
    let output = tidegate(&["canary", "judge", "-", "--json"], &cases.to_string());
    assert_eq!((code(&output), text(&output.stdout)), (2, ""));
    let errors: Vec<Value> = serde_json::Deserializer::from_slice(&output.stderr)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(errors.len() == 7 && errors.iter().all(|e| e["error"]["kind"] == "usage"));
}

#[test]
fn text_that_is_no_counts_is_refused() {
    for input in [
        "",
        "[]",
        "{",
        "nonsense",
        "{\"metrics\": 1e999}",
        "{\"metrics\": [NaN]}",
        "{\"a\": 1, \"a\": 2}",
    ] {
        let output = tidegate(&["canary", "judge", "-"], input);
        let err = text(&output.stderr);
        assert_eq!(code(&output), 2, "{input}: {err}");
        assert!(
            err.starts_with("error: ") && err.contains(" help: "),
            "{input}: {err}"
        );
    }
    assert_eq!(
        code(&tidegate(&["canary", "judge", "no-such-file.json"], "")),
        2
    );
}

#[test]
fn counts_may_be_as_large_as_they_get() {
    let most = 1_u64 << 53;
    let input = one(&json!([
        [most, most, most, 0],
        [most, 0, most, most],
        [0, 0, 0, 0]
    ]));
    let judged = answer(&["canary", "judge", "-", "--json"], &input.to_string());
    for key in ["harm", "safe_ratio", "safe_ceiling"] {
        assert!(judged["metrics"][0][key].as_f64().unwrap().is_finite());
    }
}

#[test]
fn a_plan_by_options_is_computed_and_confirmed() {
    let args = [
        "canary",
        "plan",
        "--requests-per-minute",
        "600",
        "--error-rate",
        "1%",
        "--runs",
        "500",
        "--json",
    ];
    let plan = answer(&args, "");
    assert_eq!(plan, answer(&args, ""), "the seed decides");
    let guard = &plan["guards"][0];
    let ratios = guard["regressions"].as_array().unwrap();
    assert_eq!(ratios.len(), 4);
    for regression in ratios {
        let of = |key: &str| regression[key].as_f64().unwrap();
        assert!(of("best_possible") < of("computed"), "{regression}");
        // Computed and simulated differ by two minutes or a quarter at most.
        if let Some(median) = regression["simulated"]["median"].as_f64() {
            let apart = (of("computed") - median).abs();
            assert!(apart <= 2.0_f64.max(median / 4.0), "{regression}");
        }
        // What is computed of small chances is only their size.
        let (computed, simulated) = (of("computed_share"), of("simulated_share"));
        assert!((computed - simulated).abs() < 0.12, "{regression}");
    }
    let healthy = &plan["healthy"];
    assert!(healthy["interval"][0].as_f64().unwrap() < plan["alpha"].as_f64().unwrap());
    let smallest = guard["smallest"]["simulated"].as_f64().unwrap();
    assert!((1.6..2.4).contains(&smallest), "{smallest}");
    let mut other = args.to_vec();
    other.extend(["--seed", "2"]);
    assert_ne!(plan["guards"], answer(&other, "")["guards"]);
}

#[test]
fn a_plan_takes_steps_guards_and_statistics_from_a_policy() {
    let policy = r#"
[pipeline]
name = "shop"
group = "shop"
[[stage]]
name = "staging"
endpoint = "shop-staging"
[[stage]]
name = "production"
endpoint = "shop-prod"
strategy = { canary = [10, 50], minutes = 20 }
judge = { alpha = 0.02 }
[[stage.guard]]
metric = "5xx"
[[stage.guard]]
slower_than_ms = 300
ceiling = 0.1
"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.toml");
    std::fs::write(&path, policy).unwrap();
    let file = path.to_str().unwrap();
    let traffic = [
        "--requests-per-minute",
        "300",
        "--error-rate",
        "0.02",
        "--runs",
        "200",
    ];
    let mut args = vec!["canary", "plan", file, "--json"];
    args.extend(traffic);
    let plan = answer(&args, "");
    assert_eq!(plan["endpoint"], "shop-prod");
    assert_eq!(
        (&plan["alpha"], &plan["guards_watched"]),
        (&json!(0.02), &json!(2))
    );
    assert_eq!(plan["steps"][0]["share"], 10);
    assert_eq!(plan["minutes"], 40);
    let names: Vec<&Value> = plan["guards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| &g["guard"])
        .collect();
    assert_eq!(names, ["5xx", "slower_than_ms 300"]);
    args.extend(["--stage", "staging"]);
    assert_eq!(answer(&args, "")["endpoint"], "shop-staging");
    let mut args = vec!["canary", "plan", file, "--stage", "nowhere"];
    args.extend(traffic);
    let output = tidegate(&args, "");
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("staging, production"));
    std::fs::write(&path, "[pipeline]\nname = 3\n").unwrap();
    assert_eq!(code(&tidegate(&["canary", "plan", file], "")), 2);
}

#[test]
fn a_plan_without_traffic_says_what_to_give() {
    for (args, word) in [
        (
            &["canary", "plan"][..],
            "--requests-per-minute and --error-rate",
        ),
        (&["canary", "plan", "shop"], "TIDEGATE_TABLE"),
        (&["canary", "plan", "no.toml"], "can't be read"),
        (
            &[
                "canary",
                "plan",
                "--requests-per-minute",
                "-5",
                "--error-rate",
                "1%",
            ],
            "above 0",
        ),
        (
            &[
                "canary",
                "plan",
                "--requests-per-minute",
                "5",
                "--error-rate",
                "60%",
            ],
            "up to 0.5",
        ),
        (
            &[
                "canary",
                "plan",
                "--requests-per-minute",
                "5",
                "--error-rate",
                "1%",
                "--steps",
                "50,5",
            ],
            "have to rise",
        ),
        (
            &["canary", "plan", "shop", "--guards", "2"],
            "cannot be used with",
        ),
        (&["canary", "plan", "--alpha", "0.5"], "0.0001 to 0.2"),
        (&["canary", "plan", "--runs", "99"], "100..=100000"),
    ] {
        let output = tidegate(args, "");
        let err = text(&output.stderr);
        assert_eq!(code(&output), 2, "{args:?}: {err}");
        assert!(err.contains(word), "{args:?}: {err}");
    }
}

#[test]
fn a_plan_takes_traffic_and_error_rate_from_the_endpoint() {
    // Its clock has nearly come to the present, which a plan looks back from.
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
        &json!({"endpoint": "shop-prod", "requests_per_minute": 20, "payloads": ["1,2"],
            "content_type": "text/csv"}),
    );
    emulator.minutes_pass(100);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    let policy =
        "[pipeline]\nname = \"shop\"\ngroup = \"shop\"\n[[stage]]\nname = \"production\"\n";
    let plan = |endpoint: &str| {
        std::fs::write(&file, format!("{policy}endpoint = \"{endpoint}\"\n")).unwrap();
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args([
                "canary",
                "plan",
                file.to_str().unwrap(),
                "--runs",
                "100",
                "--json",
            ])
            .env_clear()
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "testing")
            .env("AWS_SECRET_ACCESS_KEY", "testing")
            .env("AWS_ENDPOINT_URL", emulator.url())
            .output()
            .unwrap()
    };
    let output = plan("shop-prod");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let guard = &answer["guards"][0];
    let of = |key: &str| guard[key].as_f64().unwrap();
    assert_eq!(guard["traffic_from"], "cloudwatch");
    assert!(
        (15.0..=20.5).contains(&of("requests_per_minute")),
        "{guard}"
    );
    assert!((0.03..0.07).contains(&of("error_rate")), "{guard}");
    let output = plan("shop-other");
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("endpoint shop-other"));
}
