//! The built `tidegate` on a real ledger, on moto's DynamoDB: what it shows, proves and refuses.
#![allow(clippy::unwrap_used)]

mod anchored;
mod export;
mod moto;
mod rollouts;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use moto::Moto;

/// What a command said.
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

fn tidegate(moto: &Moto, table: &str, args: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .envs(moto.environment())
        .env("TIDEGATE_TABLE", table)
        .output()
        .unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

const POLICY: &str = "tests/policies/valid.toml";

#[tokio::test]
async fn policies_are_applied_once_and_only_by_who_owns_the_endpoint() {
    let moto = Moto::start().await;
    let run = |args: &[&str]| tidegate(&moto, "tidegate", args);

    let empty = run(&["status"]);
    assert_eq!(
        (empty.code, empty.out.contains("tidegate apply FILE")),
        (0, true),
        "{}",
        empty.out
    );
    assert_eq!(run(&["audit", "verify"]).code, 0);

    let first = run(&["apply", POLICY, "--by", "ada", "--commit", "0123abc"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert_eq!(
        first.out,
        format!("{POLICY}: applied, version 1 of fraud is in force now\n")
    );
    let again = run(&["apply", POLICY, "--by", "eve"]);
    assert_eq!(
        again.out,
        format!("{POLICY}: unchanged, version 1 of fraud is in force\n")
    );

    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(POLICY)).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let longer = write(
        "longer.toml",
        &text.replace("bake_minutes = 45", "bake_minutes = 60"),
    );
    let second = run(&["apply", &longer, "--json", "--by", "ada"]).json();
    assert_eq!(second["policies"][0]["version"], 2);
    assert_eq!(second["policies"][0]["state"], "applied");

    // Another pipeline wants the same endpoint; a third one in the same command is not held up.
    let rival = text
        .replace("\"fraud\"", "\"rival\"")
        .replace("fraud-detection", "rival");
    let rival = write("rival.toml", &rival);
    let other = "[pipeline]\nname = \"churn\"\ngroup = \"churn\"\n[[stage]]\nname = \"p\"\nendpoint = \"churn\"\n";
    let other = write("other.toml", other);
    let taken = run(&["apply", &rival, &other]);
    assert_eq!(taken.code, 1, "{}", taken.err);
    assert!(
        taken
            .err
            .contains("belongs to another pipeline, of the group fraud-detection"),
        "{}",
        taken.err
    );
    assert!(
        taken.out.contains("rival.toml: not applied\n"),
        "{}",
        taken.out
    );
    assert!(
        taken
            .out
            .contains("other.toml: applied, version 1 of churn"),
        "{}",
        taken.out
    );
    check_what_is_shown(run);
}

/// What commands say of the two pipelines that the test above left.
fn check_what_is_shown(run: impl Fn(&[&str]) -> Said) {
    let status = run(&["status", "--json"]).json();
    let names: Vec<_> = status["pipelines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["pipeline"])
        .collect();
    assert_eq!(names, ["churn", "fraud"]);
    let fraud = run(&["status", "fraud-detection", "--json"]).json();
    assert_eq!(fraud["pipelines"][0]["policy"]["version"], 2);
    assert_eq!(fraud["pipelines"][0]["policy"]["by"], "ada");
    assert_eq!(fraud["pipelines"][0]["stages"][1]["endpoint"], "fraud-prod");

    // A pipeline may be called by its name, too.
    let history = run(&["history", "fraud", "--json"]).json();
    assert_eq!(
        (&history["group"], &history["total"]),
        (&"fraud-detection".into(), &2.into())
    );
    assert_eq!(history["entries"][0]["what"], "policy-applied");
    let entry = run(&["audit", "show", "fraud-detection", "1", "--json"]).json();
    assert_eq!(entry["body"]["policy"]["commit"], "0123abc");
    assert_eq!(entry["body"]["who"]["person"], "ada");

    for args in [
        &["status", "nope"][..],
        &["history", "no/name"],
        &["audit", "verify", "nope"],
        &["audit", "show", "fraud", "3"],
    ] {
        let said = run(args);
        assert_eq!(
            (said.code, said.out.as_str()),
            (1, ""),
            "{args:?}: {}",
            said.err
        );
        assert!(said.err.contains("help: "), "{args:?}: {}", said.err);
    }

    let event = "../shared/core/fixtures/events/training-job-state-change.json";
    let nothing = run(&["explain", event, "--json"]);
    let nothing = nothing.json();
    assert_eq!(nothing["offline"], false);
    assert!(nothing["nothing_because"].is_string(), "{nothing}");
    assert!(
        nothing["reads"]
            .as_str()
            .unwrap()
            .starts_with("Training job "),
        "{nothing}"
    );
}

#[tokio::test]
async fn rollouts_are_shown_trails_are_exported_and_a_changed_entry_is_found() {
    let moto = Moto::start().await;
    let run = |args: &[&str]| tidegate(&moto, "tidegate", args);
    assert_eq!(run(&["apply", POLICY, "--by", "ada"]).code, 0);
    rollouts::put(&moto.ledger("tidegate")).await;

    let status = run(&["status"]);
    assert!(status.out.contains("v3 step 1 at 5 %"), "{}", status.out);
    assert!(status.out.contains("v2, "), "{}", status.out);
    assert!(
        status.out.lines().all(|line| line.chars().count() <= 100),
        "{}",
        status.out
    );
    let status = run(&["status", "--json"]).json();
    let production = &status["pipelines"][0]["stages"][1];
    assert_eq!(production["champion"]["version"], 2);
    assert_eq!(production["rollout"]["weight"], 5);
    let guard = &production["rollout"]["guards"][0];
    assert_eq!(
        (&guard["canary"]["requests"], &guard["canary"]["bad"]),
        (&500.into(), &50.into())
    );
    assert!(guard["harm"].as_f64().unwrap() > 5.0, "{guard}");

    let past = run(&["history", "fraud", "--rollouts"]);
    assert!(
        past.out
            .starts_with("v2 to production (fraud-prod)  done\n"),
        "{}",
        past.out
    );
    let past = run(&["history", "fraud", "--rollouts", "--json"]).json();
    assert_eq!(past["rollouts"][0]["phase"], "done");

    let newest = run(&["history", "fraud", "--limit", "2"]);
    assert!(
        newest.out.starts_with("#1201  ") && newest.out.contains("The newest 2 of 1,202 entries"),
        "{}",
        newest.out
    );
    let all = run(&["history", "fraud", "--limit", "10000", "--json"]).json();
    assert_eq!(all["entries"].as_array().unwrap().len(), 1_202);

    let whole = run(&["audit", "verify"]);
    assert_eq!(
        (
            whole.code,
            whole
                .out
                .contains("fraud-detection: whole, 1,202 entries\n")
        ),
        (0, true),
        "{}",
        whole.out
    );

    export::check(&moto);

    // Somebody changes who did it, in the middle of the trail.
    moto.change_entry("tidegate", "fraud-detection", 700, |doc| {
        doc.replace("tidegate", "somebody")
    })
    .await;
    let broken = run(&["audit", "verify", "fraud-detection"]);
    assert_eq!(broken.code, 1);
    assert!(
        broken.out.contains("BROKEN after 699 entries"),
        "{}",
        broken.out
    );
    assert!(
        broken
            .out
            .contains("entry 700 of the audit trail was changed"),
        "{}",
        broken.out
    );
    let json = run(&["audit", "verify", "--json"]);
    assert_eq!(
        (json.code, &json.json()["groups"][0]["broken"]["entry"]),
        (1, &700.into())
    );
    // It can still be looked at, alone and among the others.
    assert_eq!(run(&["audit", "show", "fraud", "700"]).code, 0);
    assert_eq!(run(&["history", "fraud", "--limit", "600"]).code, 0);

    // Somebody makes it no document at all.
    moto.change_entry("tidegate", "fraud-detection", 700, |_| "gone".to_owned())
        .await;
    let unreadable = run(&["audit", "verify", "--json"]);
    assert_eq!(unreadable.code, 1, "{}", unreadable.err);
    assert_eq!(unreadable.json()["whole"], false);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_told_with_what_to_do() {
    let moto = Moto::start().await;
    for args in [
        &["status"][..],
        &["history", "g"],
        &["audit", "verify"],
        &["apply", POLICY],
    ] {
        let said = tidegate(&moto, "elsewhere", args);
        assert_eq!(said.code, 3, "{args:?}: {}", said.err);
        assert!(
            said.err.contains("at: table elsewhere in us-east-1"),
            "{args:?}: {}",
            said.err
        );
        assert!(said.err.contains("list-tables"), "{args:?}: {}", said.err);
    }
    let said = tidegate(&moto, "elsewhere", &["apply", POLICY]);
    assert_eq!(said.out, format!("{POLICY}: not applied\n"));
}

#[tokio::test]
async fn a_ledger_that_can_not_be_reached_is_told_with_what_to_do() {
    let said = tidegate(&Moto::gone(), "tidegate", &["status", "--json"]);
    assert_eq!((said.code, said.out.as_str()), (3, ""));
    let error: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["error"]["kind"], "aws");
    assert!(
        error["error"]["help"][0]
            .as_str()
            .unwrap()
            .contains("network"),
        "{error}"
    );
}
