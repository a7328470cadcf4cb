//! Every kind of mistake in a policy file, with the text that a person sees.

#![allow(clippy::format_collect)]

use super::{FULL, MINIMAL, parse};

fn errors(text: &str) -> String {
    parse(text, "fraud.toml").unwrap_err().to_string()
}

/// The errors of the full policy with one piece of it replaced.
fn broken(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    errors(&FULL.replacen(from, to, 1))
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_one() {
    insta::assert_snapshot!(broken("bake_minutes = 30", "bake_minuts = 30"), @r###"
    fraud.toml:39:1: stage[1].bake_minuts: unknown key; did you mean "bake_minutes"?
      39 | bake_minuts = 30
         | ^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("[notify]", "[notifications]"), @r###"
    fraud.toml:65:2: notifications: unknown key; did you mean "notify"?
      65 | [notifications]
         |  ^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("alpha = 0.01", "zzz = 0.01"), @r###"
    fraud.toml:53:1: stage[1].judge.zzz: unknown key; the keys here are "alpha", "beta", "margin_ratio", "settle_minutes", "tolerated_ratio", "warmup_minutes"
      53 | zzz = 0.01
         | ^^^
    "###);
    insta::assert_snapshot!(broken("ceiling = 0.01", "cieling = 0.01"), @r###"
    fraud.toml:47:1: stage[1].guard[0].cieling: unknown key; did you mean "ceiling"?
      47 | cieling = 0.01
         | ^^^^^^^
    "###);
    insta::assert_snapshot!(broken("type = \"ml", "kind = \"ml"), @r###"
    fraud.toml:37:12: stage[1].instance.type: is missing; expected an instance type such as ml.m5.large (the instance type, for example `ml.m5.large`)
      37 | instance = { kind = "ml.m5.large", count = 2 }
         |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    fraud.toml:37:14: stage[1].instance.kind: unknown key; the keys here are "count", "type"
      37 | instance = { kind = "ml.m5.large", count = 2 }
         |              ^^^^
    "###);
    insta::assert_snapshot!(broken("group = \"fraud-detection\"", "group = \"fraud-detection\"\nzzz = 1"), @r###"
    fraud.toml:5:1: pipeline.zzz: unknown key; the keys here are "group", "mode", "name", "newer_approval", "rolled_back_package", "training"
      5 | zzz = 1
        | ^^^
    "###);
}

#[test]
fn a_mode_is_one_of_two() {
    let with = |mode: &str| {
        broken(
            "group = \"fraud-detection\"",
            &format!("group = \"fraud-detection\"\nmode = \"{mode}\""),
        )
    };
    insta::assert_snapshot!(with("observ"), @r###"
    fraud.toml:5:8: pipeline.mode: is "observ"; expected one of "act", "observe"; did you mean "observe"?
      5 | mode = "observ"
        |        ^^^^^^^^
    "###);
    insta::assert_snapshot!(with("dry-run"), @r###"
    fraud.toml:5:8: pipeline.mode: is "dry-run"; expected one of "act", "observe"
      5 | mode = "dry-run"
        |        ^^^^^^^^^
    "###);
}

/// A policy with custom guards, given in TOML.
fn with_guards(guards: &[&str]) -> String {
    let each = |guard: &&str| format!("\n[[stage.guard]]\n{guard}\n");
    MINIMAL.to_owned() + &guards.iter().map(each).collect::<String>()
}

const CHECKOUTS: &str = r#"custom = { namespace = "Shop", bad = "Failed", all = "Checkouts", dimensions = { Variant = "{variant}" } }"#;

#[test]
fn what_is_wrong_with_a_custom_guard_is_said_with_the_way_out() {
    let custom = |from: &str, to: &str| {
        assert!(CHECKOUTS.contains(from), "{from}");
        errors(&with_guards(&[&CHECKOUTS.replacen(from, to, 1)]))
    };
    assert!(parse(&with_guards(&[CHECKOUTS]), "fraud.toml").is_ok());
    insta::assert_snapshot!(custom("\"{variant}\"", "\"{endpoint}\""), @r###"
    fraud.toml:10:80: stage[0].guard[0].custom.dimensions: has no {variant} in a value, so champion and canary would have the same counts and no canary would look bad; put {variant} where the variant's name is, for example Variant = "{variant}"
      10 | custom = { namespace = "Shop", bad = "Failed", all = "Checkouts", dimensions = { Variant = "{endpoint}" } }
         |                                                                                ^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(custom("Variant = \"{variant}\"", ""), @r###"
    fraud.toml:10:80: stage[0].guard[0].custom.dimensions: has no {variant} in a value, so champion and canary would have the same counts and no canary would look bad; put {variant} where the variant's name is, for example Variant = "{variant}"
      10 | custom = { namespace = "Shop", bad = "Failed", all = "Checkouts", dimensions = {  } }
         |                                                                                ^^^^
    "###);
    insta::assert_snapshot!(custom("\"{variant}\"", "\"{version}\""), @r###"
    fraud.toml:10:92: stage[0].guard[0].custom.dimensions.Variant: is "{version}"; expected a dimension's value: 1 to 1,024 ASCII characters without blanks at the ends; {endpoint} and {variant} are filled in, nothing else is in braces
      10 | custom = { namespace = "Shop", bad = "Failed", all = "Checkouts", dimensions = { Variant = "{version}" } }
         |                                                                                            ^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(custom("Variant =", "\":Variant\" ="), @r###"
    fraud.toml:10:82: stage[0].guard[0].custom.dimensions.":Variant": is ":Variant"; expected a dimension's name: 1 to 255 ASCII characters without blanks at the ends, no colon first
      10 | custom = { namespace = "Shop", bad = "Failed", all = "Checkouts", dimensions = { ":Variant" = "{variant}" } }
         |                                                                                  ^^^^^^^^^^
    "###);
    insta::assert_snapshot!(custom("\"Failed\"", "\"Checkouts\""), @r###"
    fraud.toml:10:38: stage[0].guard[0].custom.bad: is "Checkouts", as all is; bad counts the bad events and all counts all events, in two metrics
      10 | custom = { namespace = "Shop", bad = "Checkouts", all = "Checkouts", dimensions = { Variant = "{variant}" } }
         |                                      ^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(custom("\"Shop\"", "\":Shop\""), @r###"
    fraud.toml:10:24: stage[0].guard[0].custom.namespace: is ":Shop"; expected a CloudWatch namespace: 1 to 255 characters without blanks at the ends, no colon first
      10 | custom = { namespace = ":Shop", bad = "Failed", all = "Checkouts", dimensions = { Variant = "{variant}" } }
         |                        ^^^^^^^
    "###);
    insta::assert_snapshot!(custom("all = \"Checkouts\", ", ""), @r###"
    fraud.toml:10:10: stage[0].guard[0].custom.all: is missing; expected a text of 1 to 255 characters without blanks at the ends (the metric that counts all events, bad ones too)
      10 | custom = { namespace = "Shop", bad = "Failed", dimensions = { Variant = "{variant}" } }
         |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(custom("bad =", "bed ="), @r###"
    fraud.toml:10:10: stage[0].guard[0].custom.bad: is missing; expected a text of 1 to 255 characters without blanks at the ends (the metric that counts bad events)
      10 | custom = { namespace = "Shop", bed = "Failed", all = "Checkouts", dimensions = { Variant = "{variant}" } }
         |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    fraud.toml:10:32: stage[0].guard[0].custom.bed: unknown key; did you mean "bad"?
      10 | custom = { namespace = "Shop", bed = "Failed", all = "Checkouts", dimensions = { Variant = "{variant}" } }
         |                                ^^^
    "###);
    let long = custom("{variant}", &format!("{{variant}}{}", "x".repeat(1_000)));
    assert!(
        long.contains("stage[0].guard[0].custom.dimensions.Variant: may have 1063 characters when it is filled in; CloudWatch takes 1024"),
        "{long}"
    );
    let many: String = (0..31).map(|n| format!("D{n} = \"x\", ")).collect();
    let many = custom("Variant =", &format!("{many}Variant ="));
    assert!(
        many.contains("has 32 entries; at most 30 are allowed"),
        "{many}"
    );
}

#[test]
fn custom_guards_are_told_apart_by_what_they_watch_and_by_their_names() {
    let with = |guard: &str| errors(&with_guards(&[CHECKOUTS, guard]));
    let named = CHECKOUTS.replacen("{ ", "{ name = \"lost checkouts\", ", 1);
    insta::assert_snapshot!(with(&named), @r###"
    fraud.toml:12:1: stage[0].guard[1]: guard[0] watches the same already
      12 | [[stage.guard]]
         | ^^^^^^^^^^^^^^^
    "###);
    let elsewhere = CHECKOUTS.replace("Variant =", "Model =");
    insta::assert_snapshot!(with(&elsewhere), @r###"
    fraud.toml:12:1: stage[0].guard[1]: is called "Failed of Checkouts" as guard[0] is; give it a custom.name of its own, so that people can tell them apart
      12 | [[stage.guard]]
         | ^^^^^^^^^^^^^^^
    "###);
    let named = elsewhere.replacen("{ ", "{ name = \"lost checkouts\", ", 1);
    assert!(parse(&with_guards(&[CHECKOUTS, &named]), "fraud.toml").is_ok());
}

#[test]
fn all_unknown_keys_and_ranges_are_found_in_one_pass() {
    let text = MINIMAL.to_owned()
        + "bake_minuts = 1\nwatch_minutes = 1441\nstrategy = { canary = [0, 5, 100], minutes = 20, max_minutes = 10, step = 1 }\n\n[gates]\n";
    insta::assert_snapshot!(errors(&text), @r###"
    fraud.toml:8:1: stage[0].bake_minuts: unknown key; did you mean "bake_minutes"?
      8 | bake_minuts = 1
        | ^^^^^^^^^^^
    fraud.toml:9:17: stage[0].watch_minutes: is 1441; expected 0 to 1440
      9 | watch_minutes = 1441
        |                 ^^^^
    fraud.toml:10:24: stage[0].strategy.canary[0]: is 0; expected 1 to 99
      10 | strategy = { canary = [0, 5, 100], minutes = 20, max_minutes = 10, step = 1 }
         |                        ^
    fraud.toml:10:30: stage[0].strategy.canary[2]: is 100; expected 1 to 99
      10 | strategy = { canary = [0, 5, 100], minutes = 20, max_minutes = 10, step = 1 }
         |                              ^^^
    fraud.toml:10:64: stage[0].strategy.max_minutes: is 10, less than minutes, which is 20
      10 | strategy = { canary = [0, 5, 100], minutes = 20, max_minutes = 10, step = 1 }
         |                                                                ^^
    fraud.toml:10:68: stage[0].strategy.step: unknown key; the keys here are "canary", "max_minutes", "min_requests", "minutes", "on_low_traffic"
      10 | strategy = { canary = [0, 5, 100], minutes = 20, max_minutes = 10, step = 1 }
         |                                                                    ^^^^
    fraud.toml:12:2: gates: unknown key; did you mean "gate"?
      12 | [gates]
         |  ^^^^^
    "###);
}

#[test]
fn what_is_not_toml_is_one_error() {
    insta::assert_snapshot!(errors("[pipeline\nname = 1"), @r###"
    fraud.toml:1:10: not TOML: unclosed table, expected `]`
      1 | [pipeline
        |          ^
    "###);
    insta::assert_snapshot!(errors("[pipeline]\nname = \"a\"\nname = \"b\""), @r###"
    fraud.toml:3:1: not TOML: duplicate key
      3 | name = "b"
        | ^^^^
    "###);
    insta::assert_snapshot!(errors("[pipeline]\nname = fraud"), @r###"
    fraud.toml:2:8: not TOML: invalid boolean, expected `false` (a text needs quotes)
      2 | name = fraud
        |        ^^^^^
    "###);
}

#[test]
fn what_is_missing_is_named() {
    insta::assert_snapshot!(errors(""), @r###"
    fraud.toml:1:1: pipeline: is missing; expected a table (which models this policy is about)
      1 | 
        | ^
    fraud.toml:1:1: stage: is missing; expected one table or more (the endpoints, in the order in which a version reaches them; 1 to 5)
      1 | 
        | ^
    "###);
    insta::assert_snapshot!(broken("endpoint = \"fraud-prod\"\n", ""), @r###"
    fraud.toml:34:1: stage[1].endpoint: is missing; expected 1 to 63 letters, digits and hyphens, with no hyphen at either end (the endpoint; one pipeline owns it)
      34 | [[stage]]
         | ^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("type = \"ml.m5.large\", ", ""), @r###"
    fraud.toml:37:12: stage[1].instance.type: is missing; expected an instance type such as ml.m5.large (the instance type, for example `ml.m5.large`)
      37 | instance = { count = 2 }
         |            ^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(errors("stage = []\n[pipeline]\nname = \"a\"\ngroup = \"a\""), @r###"
    fraud.toml:1:9: stage: has 0 entries; expected 1 or more
      1 | stage = []
        |         ^^
    "###);
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_the_right_one() {
    insta::assert_snapshot!(broken("bake_minutes = 30", "bake_minutes = \"30\""), @r###"
    fraud.toml:39:16: stage[1].bake_minutes: is a string; expected a whole number
      39 | bake_minutes = "30"
         |                ^^^^
    "###);
    insta::assert_snapshot!(broken("minutes = 10", "minutes = 10.5"), @r###"
    fraud.toml:38:46: stage[1].strategy.minutes: is a float; expected a whole number
      38 | strategy = { canary = [5, 25, 50], minutes = 10.5, min_requests = 1_000, max_minutes = 90, on_low_traffic = "promote" }
         |                                              ^^^^
    "###);
    insta::assert_snapshot!(broken("network_isolation = true", "network_isolation = 1979-05-27"), @r###"
    fraud.toml:24:21: serve.network_isolation: is a datetime; expected true or false
      24 | network_isolation = 1979-05-27
         |                     ^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("smoke = [\"s3://fraud-smoke/request.csv\"]", "smoke = \"s3://fraud-smoke/request.csv\""), @r###"
    fraud.toml:41:9: stage[1].smoke: is a string; expected an array
      41 | smoke = "s3://fraud-smoke/request.csv"
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("[monitor]", "[[monitor]]"), @r###"
    fraud.toml:60:1: monitor: is an array; expected a table
      60 | [[monitor]]
         | ^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("window = \"30d\"", "window = 30"), @r###"
    fraud.toml:62:76: monitor.on_drift.retrain.parameters.window: is an integer; expected a string
      62 | meters = { window = 30 } }, cooldown_hours = 24, at_most_per_month = 4 }
         |                     ^^
    "###);
    insta::assert_snapshot!(broken("metric = \"model_errors\"", "metric = \"model_error\""), @r###"
    fraud.toml:46:10: stage[1].guard[0].metric: is "model_error"; expected one of "model_errors", "4xx", "5xx"; did you mean "model_errors"?
      46 | metric = "model_error"
         |          ^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("approval = \"automatic\"", "approval = \"nobody\""), @r###"
    fraud.toml:14:12: gate.approval: is "nobody"; expected one of "manual", "automatic"
      14 | approval = "nobody"
         |            ^^^^^^^^
    "###);
}

#[test]
fn a_number_out_of_range_is_shown_with_the_range() {
    insta::assert_snapshot!(broken("bake_minutes = 30", "bake_minutes = 1441"), @r###"
    fraud.toml:39:16: stage[1].bake_minutes: is 1441; expected 0 to 1440
      39 | bake_minutes = 1441
         |                ^^^^
    "###);
    insta::assert_snapshot!(broken("bake_minutes = 30", "bake_minutes = -1"), @r###"
    fraud.toml:39:16: stage[1].bake_minutes: is -1; expected 0 to 1440
      39 | bake_minutes = -1
         |                ^^
    "###);
    insta::assert_snapshot!(broken("ceiling = 0.01", "ceiling = 1"), @r###"
    fraud.toml:47:11: stage[1].guard[0].ceiling: is 1; expected more than 0 and less than 1
      47 | ceiling = 1
         |           ^
    "###);
    insta::assert_snapshot!(broken("ceiling = 0.01", "ceiling = 0.0"), @r###"
    fraud.toml:47:11: stage[1].guard[0].ceiling: is 0; expected more than 0 and less than 1
      47 | ceiling = 0.0
         |           ^^^
    "###);
    insta::assert_snapshot!(broken("alpha = 0.01", "alpha = nan"), @r###"
    fraud.toml:53:9: stage[1].judge.alpha: is not a finite number
      53 | alpha = nan
         |         ^^^
    "###);
    insta::assert_snapshot!(broken("at_least = 0.92", "at_least = inf"), @r###"
    fraud.toml:11:45: gate.require[0].at_least: is not a finite number
      11 |     { metric = "validation:auc", at_least = inf, champion_minus_at_most = 0.005 },
         |                                             ^^^
    "###);
    insta::assert_snapshot!(broken("slower_than_ms = 200", "slower_than_ms = 60_001"), @r###"
    fraud.toml:50:18: stage[1].guard[1].slower_than_ms: is 60001; expected 1 to 60000
      50 | slower_than_ms = 60_001
         |                  ^^^^^^
    "###);
    insta::assert_snapshot!(broken("champion_plus_at_most = 0.01", "champion_plus_at_most = -0.01"), @r###"
    fraud.toml:12:75: gate.require[1].champion_plus_at_most: is -0.01; expected 0 or more
      12 |     { metric = "validation:logloss", at_most = 1, champion_plus_at_most = -0.01 },
         |                                                                           ^^^^^
    "###);
    insta::assert_snapshot!(broken("canary = [5, 25, 50]", "canary = []"), @r###"
    fraud.toml:38:23: stage[1].strategy.canary: has 0 entries; expected 1 or more
      38 | strategy = { canary = [], minutes = 10, min_requests = 1_000, max_minutes = 90, on_low_traffic = "promote" }
         |                       ^^
    "###);
    insta::assert_snapshot!(broken("min_requests = 1_000", "min_requests = 0xffff_ffff"), @r###"
    fraud.toml:38:65: stage[1].strategy.min_requests: is 4294967295; expected 0 to 1000000000
      38 |  10, min_requests = 0xffff_ffff, max_minutes = 90, on_low_traffic = "promote" }
         |                     ^^^^^^^^^^^
    "###);
}

#[test]
fn a_text_in_the_wrong_form_is_shown_with_the_form() {
    insta::assert_snapshot!(broken("group = \"fraud-detection\"", "group = \"fraud_detection\""), @r###"
    fraud.toml:4:9: pipeline.group: is "fraud_detection"; expected 1 to 63 letters, digits and hyphens, with no hyphen at either end
      4 | group = "fraud_detection"
        |         ^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("tag = \"tidegate:pipeline=fraud\"", "tag = \"tidegate:pipeline\""), @r###"
    fraud.toml:5:20: pipeline.training.tag: is "tidegate:pipeline"; expected key=value, the key of 1 to 128 characters, the value of up to 256
      5 | training = { tag = "tidegate:pipeline" }
        |                    ^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("image = \"683313688378", "image = \" 683313688378"), @r###"
    fraud.toml:18:9: serve.image: is " 683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scik"…; expected an image URI of 1 to 255 characters without blanks
      18 | image = " 683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("role/service-role", "user/service-role"), @r###"
    fraud.toml:19:8: serve.role: is "arn:aws:iam::123456789012:user/service-role/fraud-model"; expected the ARN of an IAM role, arn:aws:iam::<12 digits>:role/<name>
      19 | role = "arn:aws:iam::123456789012:user/service-role/fraud-model"
         |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("fraud-notices\"", "fraud-notices.fifo\""), @r###"
    fraud.toml:66:9: notify.topic: is "arn:aws:sns:us-east-1:123456789012:fraud-notices.fifo"; expected the ARN of a standard SNS topic, arn:aws:sns:<region>:<12 digits>:<name> (a FIFO topic delivers to SQS alone, so it reaches no person)
      66 | topic = "arn:aws:sns:us-east-1:123456789012:fraud-notices.fifo"
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("s3://fraud-smoke/request.csv", "https://fraud-smoke/request.csv"), @r###"
    fraud.toml:41:10: stage[1].smoke[0]: is "https://fraud-smoke/request.csv"; expected s3://bucket/key, at most 1,024 characters, the bucket of 3 to 63 in lower case
      41 | smoke = ["https://fraud-smoke/request.csv"]
         |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("{job}.json", "{jobs}.json"), @r###"
    fraud.toml:15:14: gate.evaluation: is "{output}/evaluation/{jobs}.json"; expected s3://bucket/key or {output}/key; {job} and {output} are filled in, nothing else is in braces
      15 | evaluation = "{output}/evaluation/{jobs}.json"
         |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("ml.m5.large", "m5.large"), @r###"
    fraud.toml:37:21: stage[1].instance.type: is "m5.large"; expected an instance type such as ml.m5.large
      37 | instance = { type = "m5.large", count = 2 }
         |                     ^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("SAGEMAKER_PROGRAM =", "\"SAGEMAKER-PROGRAM\" ="), @r###"
    fraud.toml:20:17: serve.environment.SAGEMAKER-PROGRAM: is "SAGEMAKER-PROGRAM"; expected a variable's name: letters, digits and underscores, no digit first
      20 | environment = { "SAGEMAKER-PROGRAM" = "serve.py", MODEL_SERVER_WORKERS = "2" }
         |                 ^^^^^^^^^^^^^^^^^^^
    "###);
}

#[test]
fn what_contradicts_itself_is_named() {
    insta::assert_snapshot!(broken("canary = [5, 25, 50]", "canary = [5, 25, 25]"), @r###"
    fraud.toml:38:31: stage[1].strategy.canary[2]: is 25 after 25; the shares have to rise
      38 | strategy = { canary = [5, 25, 25], minutes = 10, min_requests = 1_000, max_minutes = 90, on_low_traffic = "promote" }
         |                               ^^
    "###);
    insta::assert_snapshot!(broken("max_minutes = 90", "max_minutes = 9"), @r###"
    fraud.toml:38:86: stage[1].strategy.max_minutes: is 9, less than minutes, which is 10
      38 | strategy = { canary = [5, 25, 50], minutes = 10, min_requests = 1_000, max_minutes = 9, on_low_traffic = "promote" }
         |                                                                                      ^
    "###);
    insta::assert_snapshot!(broken("margin_ratio = 1.5", "margin_ratio = 1"), @r###"
    fraud.toml:56:16: stage[1].judge.margin_ratio: is 1; it has to be more than tolerated_ratio, which is 1
      56 | margin_ratio = 1
         |                ^
    "###);
    insta::assert_snapshot!(broken("warmup_minutes = 1", "warmup_minutes = 10"), @r###"
    fraud.toml:58:18: stage[1].judge.warmup_minutes: is 10; it has to be less than strategy.minutes, which is 10, or a step could end without a minute that counts
      58 | warmup_minutes = 10
         |                  ^^
    "###);
    insta::assert_snapshot!(broken("tolerated_ratio = 1\nmargin_ratio = 1.5", "tolerated_ratio = 2"), @r###"
    fraud.toml:52:1: stage[1].judge.margin_ratio: is 1.5; it has to be more than tolerated_ratio, which is 2
      52 | [stage.judge]
         | ^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("name = \"production\"\nendpoint = \"fraud-prod\"", "name = \"staging\"\nendpoint = \"fraud-staging\""), @r###"
    fraud.toml:35:8: stage[1].name: stage[0] has the name "staging" already
      35 | name = "staging"
         |        ^^^^^^^^^
    fraud.toml:36:12: stage[1].endpoint: stage[0] has the endpoint "fraud-staging" already; a stage has an endpoint of its own
      36 | endpoint = "fraud-staging"
         |            ^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("at_least = 0.92", "at_least = 0.92, at_most = 0.9"), @r###"
    fraud.toml:11:5: gate.require[0]: no value is at least 0.92 and at most 0.9
      11 |     { metric = "validation:auc", at_least = 0.92, at_most = 0.9, champion_minus_at_most = 0.005 },
         |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("metric = \"model_errors\"", "metric = \"4xx\"\nslower_than_ms = 1"), @r###"
    fraud.toml:45:1: stage[1].guard[0]: give only one of "metric", "slower_than_ms", "custom"
      45 | [[stage.guard]]
         | ^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("slower_than_ms = 200", "ceiling = 0.1"), @r###"
    fraud.toml:49:1: stage[1].guard[1]: give one of "metric", "slower_than_ms", "custom"
      49 | [[stage.guard]]
         | ^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("slower_than_ms = 200", "metric = \"model_errors\""), @r###"
    fraud.toml:49:1: stage[1].guard[1]: guard[0] watches the same already
      49 | [[stage.guard]]
         | ^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("at_least = 0.92, champion_minus_at_most = 0.005", ""), @r###"
    fraud.toml:11:5: gate.require[0]: give at least one of "at_least", "at_most", "champion_minus_at_most", "champion_plus_at_most"
      11 |     { metric = "validation:auc",  },
         |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "###);
    insta::assert_snapshot!(broken("training = { tag = \"tidegate:pipeline=fraud\" }", "training = {}"), @r###"
    fraud.toml:5:12: pipeline.training: give one of "tag", "job_prefix"
      5 | training = {}
        |            ^^
    "###);
}

#[test]
fn everything_has_a_bound() {
    let many = |count: usize, each: &str| vec![each; count].join(", ");
    let uri = "\"s3://fraud-smoke/request.csv\"";
    assert!(
        broken(uri, &many(21, uri))
            .contains("stage[1].smoke: has 21 entries; expected 20 or fewer")
    );
    let window = "window = \"30d\"";
    let parameters: Vec<_> = (0..201).map(|index| format!("p{index} = \"\"")).collect();
    assert!(
        broken(window, &parameters.join(", ")).contains("has 201 entries; at most 200 are allowed")
    );
    let long = format!("window = \"{}\"", "é".repeat(1025));
    assert!(broken(window, &long).contains("is longer than 1024 characters"));
    let guards = "[[stage.guard]]\nslower_than_ms = 200\n";
    let more: String = (1..9)
        .map(|ms| format!("[[stage.guard]]\nslower_than_ms = {ms}\n"))
        .collect();
    assert!(broken(guards, &more).contains("stage[1].guard: has 9 entries; expected 8 or fewer"));
    let huge = "#".repeat(256 * 1024 + 1);
    assert!(errors(&huge).contains("at most 262144 bytes"));
    let unknown: String = (0..500).map(|index| format!("x{index} = 1\n")).collect();
    assert_eq!(parse(&unknown, "f").unwrap_err().0.len(), 100);
    assert!(
        errors(&format!(
            "a = {}1{}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ))
        .contains("not TOML")
    );
}

#[test]
fn the_caret_stands_under_the_place_on_a_long_or_foreign_line() {
    let text = format!(
        "{MINIMAL}watch_minutes = 1 # é\n\tsmok = [{}]\n",
        "\"é\", ".repeat(200)
    );
    insta::assert_snapshot!(errors(&text), @r###"
    fraud.toml:9:2: stage[0].smok: unknown key; did you mean "smoke"?
      9 |  smok = ["é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "é", "
        |  ^^^^
    "###);
    let crlf = MINIMAL.replace('\n', "\r\n") + "smok = 1\r\n";
    insta::assert_snapshot!(errors(&crlf), @r###"
    fraud.toml:8:1: stage[0].smok: unknown key; did you mean "smoke"?
      8 | smok = 1
        | ^^^^
    "###);
}

#[test]
fn an_image_without_a_digest_is_refused_where_digests_are_demanded() {
    let policy = |image: &str| {
        format!("{MINIMAL}\n[preflight]\npinned_image = true\n[serve]\nimage = \"{image}\"\n")
    };
    let said = errors(&policy("registry/fraud:7"));
    assert!(
        said.contains("serve.image: is not named by its digest"),
        "{said}"
    );
    let pinned = format!("registry/fraud@sha256:{}", "0a".repeat(32));
    let parsed = parse(&policy(&pinned), "fraud.toml").unwrap();
    assert!(parsed.preflight.pinned_image && parsed.preflight.same_artifact);
}

#[test]
fn a_rule_that_nothing_could_ever_keep_is_refused() {
    let alone = format!("{MINIMAL}\n[approval]\npeople = 2\nby = [\"ada\"]\n");
    let said = errors(&alone);
    assert!(
        said.contains("approval.people: is 2, and `by` names 1"),
        "{said}"
    );
    for by in [
        "\"ada\", \"bob\"",
        "\"a*\"",
        "\"arn:aws:iam::123456789012:role/a\"",
    ] {
        let several = format!("{MINIMAL}\n[approval]\npeople = 2\nby = [{by}]\n");
        assert!(parse(&several, "fraud.toml").is_ok(), "{by}");
    }
    let tagged = |tags: &str| format!("{alone}tags = {{ {tags} }}\n");
    let parsed = parse(&tagged("team = \"risk\""), "fraud.toml").unwrap();
    assert_eq!(parsed.approval.tags["team"], "risk");
    let said = errors(&tagged("team = \"risk\", Team = \"fraud\""));
    assert!(said.contains("approval.tags.team: is there"), "{said}");
    let said = errors(&tagged("\"te*m\" = \"risk\""));
    assert!(said.contains("a tag's key in IAM"), "{said}");
    let said = errors(&tagged("team = \"risk-*\""));
    assert!(said.contains("`*` stands for nothing here"), "{said}");
    let said = errors(&format!("{MINIMAL}\n[approval]\ntags = [\"risk\"]\n"));
    let write = "is an array; expected a table such as { team = \"risk-approvers\" }";
    assert!(said.contains(write), "{said}");
    let six: Vec<String> = (0..6).map(|n| format!("t{n} = \"\"")).collect();
    let said = errors(&tagged(&six.join(", ")));
    assert!(said.contains("approval.tags"), "{said}");
    let dear = format!(
        "{MINIMAL}\n[monitor]\non_drift = {{ retrain = {{ pipeline = \"p\" }}, \
         cost_usd_each = 50.0, cost_cap_usd_per_month = 30.0 }}\n"
    );
    let said = errors(&dear);
    assert!(
        said.contains("is 50, more than cost_cap_usd_per_month, which is 30"),
        "{said}"
    );
}
