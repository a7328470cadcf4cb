//! `[monitor]`: what may be said of findings and retrainings, and what is refused.

use super::{MINIMAL, parse};
use crate::finding::FindingKind;
use crate::pipeline::{Reaction, Retrain};

fn errors(monitor: &str) -> String {
    let text = format!("{MINIMAL}\n[monitor]\n{monitor}\n");
    parse(&text, "fraud.toml").unwrap_err().to_string()
}

fn monitor(lines: &str) -> crate::pipeline::Monitor {
    let text = format!("{MINIMAL}\n[monitor]\n{lines}\n");
    parse(&text, "fraud.toml").unwrap().monitor
}

#[test]
fn by_default_drift_and_loss_of_quality_retrain_and_all_else_is_told() {
    let policy = monitor("").on_finding;
    for kind in FindingKind::ALL {
        let retrains = matches!(kind, FindingKind::Drift | FindingKind::Quality);
        let expected = if retrains {
            Reaction::Retrain
        } else {
            Reaction::Tell
        };
        assert_eq!(policy.of(*kind), expected, "{kind:?}");
    }
    assert!(!policy.may_roll_back());
}

#[test]
fn each_kind_of_retraining_is_read_and_written_as_it_was() {
    for retrain in [
        r#"{ pipeline = "train", parameters = { Why = "{reason}" } }"#,
        r#"{ training_job = { name_prefix = "again", inputs = { train = "s3://bucket/{day}" } } }"#,
        r#"{ event = { detail = { machine = "train" } } }"#,
        r"{ event = {} }",
        r#"{ tuning_job = { name_prefix = "again", inputs = { train = "s3://bucket/{day}" } } }"#,
        r#"{ tuning_job = { name_prefix = "again", like = "best", inputs = {}, hyperparameters = { why = "{reason}" } } }"#,
    ] {
        let read = monitor(&format!("on_drift = {{ retrain = {retrain} }}"));
        let text = serde_json::to_string(&read).unwrap();
        let again: crate::pipeline::Monitor = serde_json::from_str(&text).unwrap();
        assert_eq!(again, read, "{retrain}");
    }
    // As the ledger has it from before there were others.
    let old: Retrain = serde_json::from_str(r#"{"pipeline":"train","parameters":{}}"#).unwrap();
    assert!(matches!(old, Retrain::Pipeline(_)));
}

#[test]
fn mistakes_are_named_with_what_would_be_right() {
    for (lines, said) in [
        (
            "on_finding = { drift = \"rollback\" }",
            "monitor.on_finding.drift: is \"rollback\"; expected one of",
        ),
        (
            "on_finding = { drfit = \"tell\" }",
            "monitor.on_finding.drfit: unknown key; did you mean \"drift\"?",
        ),
        ("young_hours = 9000", "is 9000; expected 0 to 8760"),
        ("storm_minutes = 1441", "is 1441; expected 0 to 1440"),
        (
            "alarms = { a = \"drifts\" }",
            "monitor.alarms.a: is \"drifts\"; expected one of",
        ),
        (
            "on_drift = { retrain = {} }",
            "monitor.on_drift.retrain: give one of \"pipeline\", \"training_job\", \"event\"",
        ),
        (
            "on_drift = { retrain = { pipeline = \"a\", event = {} } }",
            "monitor.on_drift.retrain: give only one of",
        ),
        (
            "on_drift = { retrain = { pipeline = \"a\", parameters = { W = \"{raeson}\" } } }",
            "monitor.on_drift.retrain.parameters.W: has {raeson}, which nothing is filled in for",
        ),
        (
            "on_drift = { retrain = { pipeline = \"a\" }, cost_usd_each = 4.0 }",
            "monitor.on_drift: give both cost_usd_each and cost_cap_usd_per_month, or none",
        ),
        (
            "on_drift = { retrain = { pipeline = \"a\" }, give_up_hours = 0 }",
            "is 0; expected 1 to 720",
        ),
        (
            "on_drift = { retrain = { training_job = { name_prefix = \"a\" } } }",
            "training_job.inputs: is missing; expected a table such as { train = \"s3://bucket/train/\" } (S3 URIs",
        ),
        (
            "on_drift = { retrain = { tuning_job = { name_prefix = \"a\" } } }",
            "tuning_job.inputs: is missing; expected a table such as { train = \"s3://bucket/train/\" } (S3 URIs",
        ),
        (
            "on_drift = { retrain = { training_job = { name_prefix = \"a\", inputs = { t = \"data\" } } } }",
            "training_job.inputs.t: is \"data\"; expected s3://bucket/key",
        ),
        (
            "on_drift = { retrain = { tuning_job = { name_prefix = \"a\", inputs = { t = \"data\" } } } }",
            "tuning_job.inputs.t: is \"data\"; expected s3://bucket/key",
        ),
        (
            "on_drift = { retrain = { tuning_job = { name_prefix = \"twenty-characters-xx\", inputs = {} } } }",
            "tuning_job.name_prefix: is \"twenty-characters-xx\"; expected 1 to 19 letters",
        ),
        (
            "on_drift = { retrain = { tuning_job = { name_prefix = \"a_b\", inputs = {} } } }",
            "tuning_job.name_prefix: is \"a_b\"; expected 1 to 19 letters, digits and hyphens, with no hyphen at the start",
        ),
        (
            "on_drift = { retrain = { tuning_job = { name_prefix = \"a\", like = \"thirty-three-characters-are-many-x\", inputs = {} } } }",
            "tuning_job.like: is \"thirty-three-characters-are-many-x\"; expected 1 to 32 letters",
        ),
        (
            "on_drift = { retrain = { tuning_job = { name_prefix = \"a\", inputs = { t = \"s3://bucket/{dya}\" } } } }",
            "tuning_job.inputs.t: has {dya}",
        ),
    ] {
        let errors = errors(lines);
        assert!(errors.contains(said), "{lines}:\n{errors}");
    }
    let long = "a".repeat(41);
    let errors = errors(&format!(
        "on_drift = {{ retrain = {{ training_job = {{ name_prefix = \"{long}\", inputs = {{}} }} }} }}"
    ));
    assert!(errors.contains("expected 1 to 40 letters"), "{errors}");
}

#[test]
fn a_clone_must_be_known_by_its_name_where_jobs_are_known_by_their_names() {
    let text = |prefix: &str| {
        let text = MINIMAL.replacen(
            "[pipeline]",
            "[pipeline]\ntraining = { job_prefix = \"fraud-\" }",
            1,
        );
        format!(
            "{text}\n[monitor]\non_drift = {{ retrain = {{ training_job = {{ name_prefix = \
             \"{prefix}\", inputs = {{}} }} }} }}\n"
        )
    };
    parse(&text("fraud"), "fraud.toml").unwrap();
    let errors = parse(&text("again"), "fraud.toml").unwrap_err().to_string();
    assert!(
        errors.contains("does not begin with \"fraud-\""),
        "{errors}"
    );
}
