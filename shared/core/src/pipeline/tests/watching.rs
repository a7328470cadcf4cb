//! `[[stage.monitor]]` and `[stage.capture]`: what may be said, and what is refused.

use super::{MINIMAL, parse};
use crate::pipeline::{Captured, ModelMonitor, MonitorKind};

const COMMON: &str = "role = \"arn:aws:iam::123456789012:role/monitor\"\nimage = \"analyzer\"\nto = \
                      \"s3://bucket/monitors\"";

fn text(monitors: &[&str]) -> String {
    let each = |lines: &&str| format!("\n[[stage.monitor]]\n{COMMON}\n{lines}\n");
    MINIMAL.to_owned() + &monitors.iter().map(each).collect::<String>()
}

fn monitors(lines: &[&str]) -> Vec<ModelMonitor> {
    let policy = parse(&text(lines), "fraud.toml").unwrap();
    policy.stages[0].monitors.clone()
}

const DATA: &str = "kind = \"data_quality\"";
const QUALITY: &str = "kind = \"model_quality\"\nground_truth = \"s3://bucket/labels\"\nproblem = \
                       \"binary\"\nprobability = \"0\"\nthreshold = 0.5";
const BIAS: &str = "kind = \"bias\"\nground_truth = \"s3://bucket/labels\"\nconfig = \
                    \"s3://bucket/config.json\"";
const ATTRIBUTION: &str = "kind = \"attribution\"";

#[test]
fn a_stage_may_have_one_monitor_of_each_kind_with_defaults_for_the_rest() {
    let all = monitors(&[DATA, QUALITY, BIAS, ATTRIBUTION]);
    let kinds: Vec<MonitorKind> = all.iter().map(|m| m.kind).collect();
    assert_eq!(
        kinds,
        [
            MonitorKind::DataQuality,
            MonitorKind::ModelQuality,
            MonitorKind::Bias,
            MonitorKind::Attribution
        ]
    );
    assert_eq!(all[0].expression(), "cron(0 * ? * * *)");
    assert_eq!(
        (all[0].instance.as_str(), all[0].max_minutes),
        ("ml.m5.xlarge", 50)
    );
    for monitor in &all {
        let json = serde_json::to_string(monitor).unwrap();
        let again: ModelMonitor = serde_json::from_str(&json).unwrap();
        assert_eq!(&again, monitor);
    }
}

#[test]
fn capture_says_how_much_and_where_to() {
    let text = format!("{MINIMAL}\n[stage.capture]\npercent = 20\nto = \"s3://bucket/captured\"\n");
    let policy = parse(&text, "fraud.toml").unwrap();
    let capture = policy.stages[0].capture.clone().unwrap();
    assert_eq!((capture.percent, capture.what), (20, Captured::Both));
    let broken = text.replace("percent = 20", "percent = 0");
    let said = parse(&broken, "fraud.toml").unwrap_err().to_string();
    assert!(
        said.contains("stage[0].capture.percent: is 0; expected 1 to 100"),
        "{said}"
    );
}

#[test]
fn mistakes_are_named_with_what_would_be_right() {
    for (lines, said) in [
        (
            "kind = \"data_qualty\"",
            "stage[0].monitor[0].kind: is \"data_qualty\"; expected one of",
        ),
        (
            "kind = \"data_quality\"\nschedule = \"daily\"",
            "stage[0].monitor[0].schedule: is \"daily\"; expected \"hourly\", \"cron(0 H ? * * *)\"",
        ),
        (
            "kind = \"data_quality\"\nmax_minutes = 90",
            "max_minutes: is 90; a job may not take longer than the 60 minutes until the next",
        ),
        (
            "kind = \"data_quality\"\nground_truth = \"s3://bucket/labels\"",
            "ground_truth: is not for a monitor of data quality; leave it out",
        ),
        (
            "kind = \"data_quality\"\nbaseline = {}",
            "stage[0].monitor[0].baseline: give one of \"channel\", \"data\", \"constraints\"",
        ),
        (
            "kind = \"data_quality\"\nbaseline = { channel = \"train\", data = \"s3://b1b/d\" }",
            "baseline: give only one of \"channel\", \"data\", \"constraints\"",
        ),
        (
            "kind = \"data_quality\"\nbaseline = { constraints = \"s3://bucket/c.json\" }",
            "stage[0].monitor[0].baseline: has no `statistics`: without statistics.json no drift of data is found",
        ),
        (
            "kind = \"data_quality\"\nbaseline = { channel = \"train\", label = \"0\" }",
            "baseline.label: is of the data of a baseline of model quality; leave it out",
        ),
        (
            "kind = \"model_quality\"",
            "stage[0].monitor[0].ground_truth: is missing; a monitor of model quality merges answers with labels: give",
        ),
        (
            "kind = \"model_quality\"\nground_truth = \"s3://bucket/labels\"",
            "stage[0].monitor[0].problem: is missing; expected one of \"regression\"",
        ),
        (
            "kind = \"model_quality\"\nground_truth = \"s3://bucket/l\"\nproblem = \"binary\"",
            "has neither `inference` nor `probability`: say where the prediction is",
        ),
        (
            "kind = \"model_quality\"\nground_truth = \"s3://bucket/l\"\nproblem = \"binary\"\ninference = \"0\"\nbaseline = { channel = \"train\" }",
            "baseline: has to say where label and prediction are in the data",
        ),
        (
            "kind = \"bias\"\nground_truth = \"s3://bucket/l\"\nbaseline = { channel = \"train\", inference = \"0\" }",
            "baseline.inference: is of the data of a baseline of model quality; leave it out",
        ),
        (
            "kind = \"attribution\"\nthreshold = 0.5",
            "threshold: is of a `probability`, which is not given: say where it is",
        ),
    ] {
        let errors = parse(&text(&[lines]), "fraud.toml")
            .unwrap_err()
            .to_string();
        assert!(errors.contains(said), "{lines}\n{errors}");
    }
}

#[test]
fn mistakes_of_batch_monitors_are_named_too() {
    let batch =
        |captured: &str| format!("{DATA}\nbatch = {{ captured = \"s3://bucket/{captured}\" }}");
    let (one, same, other) = (batch("one"), batch("one/"), batch("other"));
    for (monitors, said) in [
        (
            vec![DATA, DATA],
            "stage[0].monitor[1].kind: is data quality, as monitor[0] is; a champion has one",
        ),
        (
            vec![DATA, &one, &same],
            "monitor[2].kind: is data quality of batch data in s3://bucket/one/, as monitor[1] is",
        ),
        (
            vec![DATA, &one, "kind = \"data_quality\"\nbatch = {}"],
            "stage[0].monitor[2].batch.captured: is missing",
        ),
        (
            vec!["kind = \"data_quality\"\nbatch = \"s3://bucket/one\""],
            "batch: is a string; expected a table such as { captured = \"s3://bucket/prefix\" }",
        ),
        (
            vec!["kind = \"data_quality\"\nbatch = { captured = \"b/one\" }"],
            "stage[0].monitor[0].batch.captured: is \"b/one\"; expected s3://bucket/prefix",
        ),
        (
            vec![
                "kind = \"data_quality\"\nbatch = { captured = \"s3://bucket/one\", format = \"xml\" }",
            ],
            "stage[0].monitor[0].batch.format: is \"xml\"; expected one of",
        ),
        (
            vec![
                "kind = \"bias\"\nbatch = { captured = \"s3://bucket/one\" }\nconfig = \"s3://bucket/config.json\"",
            ],
            "stage[0].monitor[0].ground_truth: is missing; a monitor of bias drift merges",
        ),
    ] {
        let errors = parse(&text(&monitors), "fraud.toml").unwrap_err();
        assert!(errors.to_string().contains(said), "{errors}");
    }
    assert!(parse(&text(&[DATA, &one, &other]), "fraud.toml").is_ok());
}

#[test]
fn each_mistake_of_a_monitor_is_told_once() {
    let wrong = "kind = \"bias\"\nground_truth = \"labels\"";
    let errors = parse(&text(&[wrong]), "fraud.toml").unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert!(errors.0[0].message.contains("expected s3://"), "{errors}");
    // What is missing beside it is said all the same.
    let errors = parse(&text(&["kind = \"model_quality\""]), "fraud.toml").unwrap_err();
    assert_eq!(errors.0.len(), 3, "{errors}");
}

#[test]
fn a_pipeline_has_no_more_monitors_than_its_state_has_room_for() {
    let stages = |n: usize| {
        let stage = |i: usize| {
            let monitor = |b: usize| {
                let batch = format!("batch = {{ captured = \"s3://bucket/{b}\" }}");
                format!("[[stage.monitor]]\n{COMMON}\n{DATA}\n{batch}\n")
            };
            let monitors: String = (0..7).map(monitor).collect();
            format!("[[stage]]\nname = \"s{i}\"\nendpoint = \"e{i}\"\n{monitors}")
        };
        let stages: String = (0..n).map(stage).collect();
        format!("[pipeline]\nname = \"f\"\ngroup = \"f\"\n{stages}")
    };
    assert!(parse(&stages(2), "fraud.toml").is_ok());
    let errors = parse(&stages(3), "fraud.toml").unwrap_err().to_string();
    let said = "stage: have 21 monitors together; a pipeline has 20 at most";
    assert!(errors.contains(said), "{errors}");
}

#[test]
fn what_is_missing_is_said_with_what_to_write() {
    let said = |lines: &str| {
        let text = format!("{MINIMAL}\n{lines}\n");
        parse(&text, "fraud.toml").unwrap_err().to_string()
    };
    insta::assert_snapshot!(said("[stage.capture]"), @r###"
    fraud.toml:9:1: stage[0].capture.percent: is missing; expected 1 to 100 (the share of requests, percent, 1 to 100)
      9 | [stage.capture]
        | ^^^^^^^^^^^^^^^
    fraud.toml:9:1: stage[0].capture.to: is missing; expected s3://bucket/prefix, at most 512 characters, the bucket of 3 to 63 in lower case (where to, an S3 prefix; SageMaker adds endpoint, variant and hour)
      9 | [stage.capture]
        | ^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(said("[[stage.monitor]]"), @r###"
    fraud.toml:9:1: stage[0].monitor[0].kind: is missing; expected one of "data_quality", "model_quality", "bias", "attribution" (what it looks at; a stage has at most one of each kind for its endpoint, and one for each `batch`)
      9 | [[stage.monitor]]
        | ^^^^^^^^^^^^^^^^^
    fraud.toml:9:1: stage[0].monitor[0].role: is missing; expected the ARN of an IAM role, arn:aws:iam::<12 digits>:role/<name> (the role of its jobs. It has to be among the stack's `ModelRoleArns`)
      9 | [[stage.monitor]]
        | ^^^^^^^^^^^^^^^^^
    fraud.toml:9:1: stage[0].monitor[0].image: is missing; expected an image URI of 1 to 255 characters without blanks (the image of the region: Model Monitor's analyzer, or Clarify's for bias and attribution)
      9 | [[stage.monitor]]
        | ^^^^^^^^^^^^^^^^^
    fraud.toml:9:1: stage[0].monitor[0].to: is missing; expected s3://bucket/prefix, at most 512 characters, the bucket of 3 to 63 in lower case (where its reports and baselines go, an S3 prefix)
      9 | [[stage.monitor]]
        | ^^^^^^^^^^^^^^^^^
    "###);
}

#[test]
fn an_empty_baseline_is_not_told_of_statistics_which_cannot_stand_alone() {
    let said = |baseline: &str| {
        let text = text(&[&format!("{DATA}\nbaseline = {baseline}")]);
        parse(&text, "fraud.toml").unwrap_err().to_string()
    };
    for baseline in ["{}", "{ statistics = \"s3://bucket/s.json\" }"] {
        let said = said(baseline);
        assert!(said.contains("give one of \"channel\", \"data\""), "{said}");
        assert!(!said.contains("has no `statistics`"), "{said}");
    }
}
