#![allow(clippy::unwrap_used)]

mod bounds;
mod governance;
mod mistakes;
mod retraining;
mod watching;

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy as Generator;
use serde_json::{Value, json};

use super::form::{FORMS, Form};
use super::*;

const MINIMAL: &str = include_str!("../../fixtures/pipelines/minimal.toml");
const FULL: &str = include_str!("../../fixtures/pipelines/fraud.toml");

#[test]
fn a_short_policy_is_filled_with_safe_defaults() {
    let policy = parse(MINIMAL, "fraud.toml").unwrap();
    assert_eq!(policy.pipeline.mode, Mode::Act);
    assert_eq!(policy.gate.approval, ApprovalRule::Manual);
    assert_eq!(policy.monitor.on_alarm, OnAlarm::RollBack);
    assert_eq!(
        policy.training_rule(),
        Training::Tag("tidegate:pipeline=fraud".to_owned())
    );
    let stage = &policy.stages[0];
    assert_eq!(stage.strategy, Strategy::default());
    assert_eq!(stage.strategy.longest_minutes(), 60);
    assert_eq!(stage.judge, Judge::default());
    assert_eq!(stage.bake_minutes, 30);
    assert_eq!(
        stage.guards_or_default(),
        [Guard {
            metric: GuardMetric::Metric(CountMetric::ModelErrors),
            ceiling: None
        }]
    );
}

#[test]
fn a_policy_may_say_everything() {
    let policy = parse(FULL, "fraud.toml").unwrap();
    let production = StageName::parse("production").unwrap();
    let (index, stage) = policy.stage(&production).unwrap();
    assert_eq!(index, 1);
    assert_eq!(stage.strategy.min_requests, 1_000);
    assert_eq!(stage.strategy.on_low_traffic, OnLowTraffic::Promote);
    assert_eq!(
        stage.guards_or_default(),
        [
            Guard {
                metric: GuardMetric::Metric(CountMetric::ModelErrors),
                ceiling: Some(0.01)
            },
            Guard {
                metric: GuardMetric::SlowerThanMs(200),
                ceiling: None
            },
        ]
    );
    assert_eq!(policy.gate.require[1].at_most, Some(1.0));
    assert_eq!(policy.stage(&StageName::parse("other").unwrap()), None);
}

#[test]
fn the_examples_that_we_ship_are_good_policies() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/pipelines");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            parse(&text, &path.to_string_lossy()).unwrap_or_else(|errors| panic!("{errors}"));
            count += 1;
        }
    }
    assert!(count > 0, "no example to read");
}

#[test]
fn a_guard_is_spelled_in_json_as_in_toml() {
    let guard: Guard =
        serde_json::from_value(json!({"slower_than_ms": 200, "ceiling": 0.05})).unwrap();
    assert_eq!(guard.metric, GuardMetric::SlowerThanMs(200));
    assert_eq!(
        serde_json::to_value(&guard).unwrap(),
        json!({"slower_than_ms": 200, "ceiling": 0.05})
    );
    assert_eq!(
        serde_json::to_value(Guard::default()).unwrap(),
        json!({"metric": "model_errors"})
    );
    let custom = json!({"custom": {"namespace": "Shop", "bad": "Failed", "all": "Checkouts",
        "dimensions": {"Variant": "{variant}"}}, "ceiling": 0.02});
    let guard: Guard = serde_json::from_value(custom.clone()).unwrap();
    assert_eq!(guard.metric.words(), "Failed of Checkouts");
    assert_eq!(guard.metric.of_what(), "Checkouts");
    assert_eq!(serde_json::to_value(&guard).unwrap(), custom);
    for wrong in [
        json!({"metric": "4xx", "custom": custom["custom"]}),
        json!({"custom": {"namespace": "Shop", "bad": "Failed", "all": "Checkouts"}}),
        json!({}),
        json!({"metric": "4xx", "slower_than_ms": 1}),
        json!({"metric": "4xx", "celing": 0.1}),
    ] {
        assert!(serde_json::from_value::<Guard>(wrong).is_err());
    }
}

#[test]
fn the_schema_knows_each_key_and_describes_it() {
    fn described(schema: &Value, path: &str) {
        for (name, each) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(each["description"].is_string(), "{path} has no description");
            assert!(
                each["type"].is_string() || each["oneOf"].is_array(),
                "{path}: {each}"
            );
            described(each, &path);
            described(&each["items"], &path);
        }
        if schema["properties"].is_object() {
            assert_eq!(schema["additionalProperties"], json!(false), "{path}");
        }
    }
    let schema = schema();
    described(&schema, "");
    assert_eq!(schema["required"], json!(["pipeline", "stage"]));
    assert_eq!(
        schema["properties"]["stage"]["items"]["properties"]["bake_minutes"]["maximum"],
        json!(1440)
    );
    assert_eq!(
        schema["properties"]["notify"]["properties"]["topic"]["format"],
        json!("topic-arn")
    );
    assert!(!schema.to_string().contains("\"null\""));
    insta::assert_json_snapshot!("schema", schema);
}

/// Those that have tests of their own.
const CLOUDWATCH_FORMS: usize = 3;
const JOB_FORMS: usize = 4;

#[test]
fn each_form_accepts_what_it_should_and_nothing_else() {
    let cases: &[Accepted<'_>] = &[
        (
            "aws-name",
            &["a", "fraud-prod"],
            &["", "-a", "a-", "a_b", "é"],
        ),
        ("tag", &["a=b", "a="], &["a", "=b", "a=b\n"]),
        (
            "tag-key",
            &["team", "acme:Team 1/é"],
            &["", "a*", "a\n", &"k".repeat(129)],
        ),
        (
            "tag-value",
            &["", "risk", "a b/é@c"],
            &["a*", "a\n", &"v".repeat(257)],
        ),
        (
            "s3-uri",
            &["s3://abc/d/e.csv"],
            &[
                "s3://abc",
                "s3://abc/",
                "s3://ABC/d",
                "s3://a/b",
                "s3://abc/d e",
            ],
        ),
        (
            "evaluation",
            &["s3://abc/{job}/e.json", "{output}/e.json"],
            &["{job}/e.json", "s3://abc/{x}", "{output}"],
        ),
        (
            "role-arn",
            &[
                "arn:aws:iam::123456789012:role/a",
                "arn:aws-cn:iam::123456789012:role/p/a",
            ],
            &[
                "arn:aws:iam::1:role/a",
                "arn:aws:iam::123456789012:role/",
                "arn:gcp:iam::123456789012:role/a",
            ],
        ),
        (
            "topic-arn",
            &["arn:aws:sns:us-east-1:123456789012:t"],
            &[
                "arn:aws:sns:us-east-1:123456789012:t.fifo",
                "arn:aws:sns::123456789012:t",
                "arn:aws:sqs:us-east-1:123456789012:t",
            ],
        ),
        ("image", &["repo/image:1"], &["", "a b"]),
        (
            "principal",
            &["arn:aws:iam::*:role/approvers", "ada"],
            &["", "a b"],
        ),
        (
            "instance-type",
            &["ml.m5.large", "ml.g4dn.12xlarge"],
            &["m5.large", "ml.m5", "ml..large", "ml.m5.large.x"],
        ),
        (
            "vpc-id",
            &["subnet-0a1b"],
            &["", "subnet_1", &"s".repeat(33)],
        ),
        ("variable", &["A_1", "_"], &["1A", "A-B", ""]),
        ("parameter", &["Train-1_a"], &["", "a b"]),
        (
            "content-type",
            &["text/csv", "application/json; charset=utf-8"],
            &["text", "text/", "/csv", "text/csv "],
        ),
        (
            "s3-folder",
            &["s3://abc/d"],
            &["s3://abc", &format!("s3://abc/{}", "d".repeat(504))],
        ),
        (
            "kms-key",
            &["alias/data", "arn:aws:kms:us-east-1:123456789012:key/1-a"],
            &["", "a b"],
        ),
        (
            "monitor-schedule",
            &["hourly", "cron(0 23 ? * * *)", "cron(0 00/06 ? * * *)"],
            &["daily", "NOW", "cron(0 24 ? * * *)", "cron(0 1/0 ? * * *)"],
        ),
        ("word", &["validation:auc", "a b"], &["", " a", "a\nb"]),
    ];
    accept(cases);
    assert_eq!(cases.len() + CLOUDWATCH_FORMS + JOB_FORMS, FORMS.len());
}

#[test]
fn names_of_jobs_are_those_that_sagemaker_takes() {
    let cases: &[Accepted<'_>] = &[
        ("name-prefix", &["fraud-train-"], &["", "-a", "a b"]),
        ("clone-prefix", &["fraud-again"], &["", "-a", "a_b"]),
        (
            "tuning-prefix",
            &["nineteen-characters"],
            &["", "-a", "a_b", "twenty-characters-xx"],
        ),
        (
            "tuning-name",
            &["a", "fraud-tune-2026-01"],
            &["", "-a", "a-", "thirty-three-characters-are-many-x"],
        ),
    ];
    accept(cases);
    assert_eq!(cases.len(), JOB_FORMS);
}

#[test]
fn names_of_cloudwatch_are_those_that_it_takes() {
    let cases: &[Accepted<'_>] = &[
        (
            "namespace",
            &["Shop", "AWS/SageMaker", "a b"],
            &["", ":a", " a", "a ", "a\nb"],
        ),
        (
            "dimension",
            &["Variant", "a b:c", "{x}"],
            &["", ":a", " a", "a ", "é", "a\tb", &"n".repeat(256)],
        ),
        (
            "dimension-value",
            &["{variant}", "x-{endpoint}/{variant} y", "a", "a b"],
            &[
                "",
                " a",
                "{variant} ",
                "{variants}",
                "a}",
                "é",
                "a\nb",
                &"v".repeat(1_025),
            ],
        ),
    ];
    accept(cases);
    assert_eq!(cases.len(), CLOUDWATCH_FORMS);
}

/// A form's name, texts that have it, and texts that don't.
type Accepted<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn accept(cases: &[Accepted<'_>]) {
    for (name, good, bad) in cases {
        let form = Form::named(name).unwrap();
        // What an editor goes by: the pattern and the length of the schema.
        let pattern = regex::Regex::new(form.pattern).unwrap();
        let edits = |text: &str| {
            let length = text.chars().count();
            pattern.is_match(text) && (form.length.0..=form.length.1).contains(&length)
        };
        for text in *good {
            assert!(form.fits(text), "{name}: {text:?}");
            assert!(edits(text), "{name} in an editor: {text:?}");
        }
        for text in *bad {
            assert!(!form.fits(text), "{name}: {text:?}");
            assert!(!edits(text), "{name} in an editor: {text:?}");
        }
    }
}

fn requirement() -> impl Generator<Value = Requirement> {
    (
        "[a-z:]{1,20}",
        -1e6..1e6_f64,
        prop::option::of(0.0..1.0_f64),
    )
        .prop_map(|(metric, at_least, champion_minus_at_most)| Requirement {
            metric,
            at_least: Some(at_least),
            at_most: None,
            champion_minus_at_most,
            champion_plus_at_most: None,
        })
}

fn custom() -> impl Generator<Value = Guard> {
    (
        prop::option::of("[a-z]{1,20}"),
        "[A-Z][a-z/ ]{0,20}[a-z]",
        prop::collection::btree_map("[A-Z][a-z]{0,9}", "[a-z]{1,9}-\\{endpoint\\}", 0..5),
        prop::option::of(0.001..0.999_f64),
    )
        .prop_map(|(name, namespace, mut dimensions, ceiling)| {
            dimensions.insert("Variant".to_owned(), "{variant}".to_owned());
            Guard {
                metric: GuardMetric::Custom(Box::new(CustomMetric {
                    name,
                    namespace,
                    bad: "Failed".to_owned(),
                    all: "Checkouts".to_owned(),
                    dimensions,
                })),
                ceiling,
            }
        })
}

fn stage(index: usize) -> impl Generator<Value = Stage> {
    (
        prop::collection::btree_set(1..=99_u8, 1..=10),
        1..=1_440_u32,
        prop::option::of(1..=60_000_u32),
        prop::option::of(0.001..0.999_f64),
        prop::option::of(1..=1_000_u32),
        prop::option::of(custom()),
    )
        .prop_map(
            move |(canary, minutes, slow, ceiling, count, custom)| Stage {
                name: StageName::parse(&format!("stage-{index}")).unwrap(),
                endpoint: EndpointName::parse(&format!("endpoint-{index}")).unwrap(),
                instance: count.map(|count| Instance {
                    kind: "ml.m5.large".to_owned(),
                    count,
                }),
                strategy: Strategy {
                    canary: canary.into_iter().collect(),
                    minutes,
                    max_minutes: slow.is_some().then_some(minutes),
                    ..Strategy::default()
                },
                bake_minutes: minutes,
                watch_minutes: 0,
                smoke: vec!["s3://bucket/key".to_owned()],
                smoke_content_type: "text/csv".to_owned(),
                smoke_milliseconds: 1,
                guards: slow
                    .map(|ms| Guard {
                        metric: GuardMetric::SlowerThanMs(ms),
                        ceiling,
                    })
                    .into_iter()
                    .chain(custom)
                    .collect(),
                judge: Judge::default(),
                capture: None,
                monitors: Vec::new(),
            },
        )
}

fn policy() -> impl Generator<Value = Policy> {
    let stages = (1..=5_usize).prop_flat_map(|count| (0..count).map(stage).collect::<Vec<_>>());
    (
        prop::collection::vec(requirement(), 0..5),
        stages,
        any::<bool>(),
    )
        .prop_map(|(require, stages, prefix)| {
            let mut policy = parse(FULL, "fraud.toml").unwrap();
            policy.gate.require = require;
            policy.stages = stages;
            if prefix {
                policy.pipeline.mode = Mode::Observe;
                policy.pipeline.training = Some(Training::JobPrefix("fraud-".to_owned()));
                policy.monitor = Monitor::default();
                policy.serve = Serve {
                    content_types: default_content_types(),
                    response_types: default_content_types(),
                    ..Serve::default()
                };
            }
            policy
        })
}

proptest! {
    #[test]
    fn a_policy_survives_toml_and_json(policy in policy()) {
        let text = toml::to_string(&policy).unwrap();
        let read = parse(&text, "again.toml");
        prop_assert_eq!(read.as_ref(), Ok(&policy), "{}", text);
        let json = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        if let Err(errors) = parse(&text, "x.toml") {
            prop_assert!(!errors.0.is_empty());
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn a_policy_with_a_piece_overwritten_is_read_without_a_panic(
        at in any::<prop::sample::Index>(),
        gone in 0..40_usize,
        piece in prop::sample::select(vec!["", "[", "]", "\"", "=", "\n", "é", "1", "-1", "nan", "{}", "[[x]]", "1979-05-27", "'''"]),
    ) {
        let at = at.index(FULL.len());
        let end = (at + gone).min(FULL.len());
        let text = format!("{}{piece}{}", &FULL[..at], &FULL[end..]);
        match parse(&text, "x.toml") {
            Ok(policy) => prop_assert!(toml::to_string(&policy).is_ok()),
            Err(errors) => prop_assert!(errors.0.iter().all(|error| error.line >= 1 && !error.message.is_empty())),
        }
    }
}
