//! How counts are read, and how mistakes in them are named.
#![allow(clippy::unwrap_used)]
use super::*;

fn mistakes(text: &str) -> Vec<String> {
    let found = parse(text.as_bytes()).unwrap_err();
    let line = |(place, what, _): &(String, String, String)| format!("{place}: {what}");
    assert!(found.first.iter().all(|(_, _, help)| !help.is_empty()));
    found.first.iter().map(line).collect()
}

/// One metric with these minutes.
fn minutes(minutes: &str) -> String {
    format!(r#"{{"metrics": [{{"history": [], "minutes": {minutes}}}]}}"#)
}

#[test]
fn one_object_is_read_with_the_defaults_of_a_policy() {
    let input = parse(minutes("[[950, 9, 50, 6.0]]").as_bytes()).unwrap();
    assert!(!input.is_many);
    let case = &input.cases[0];
    assert_eq!(case.rule, Rule::from(&Judge::default()));
    assert_eq!((case.ceiling, case.alone, &case.name), (None, false, &None));
    assert_eq!(case.metrics[0].name, "metric-1");
    assert_eq!(case.metrics[0].minutes, [Minute::from([950, 9, 50, 6])]);
}

#[test]
fn counts_that_can_not_be_are_named_with_their_place() {
    for (rows, mistake) in [
        (
            "[[5, 7, 1, 0]]",
            "metrics[0].minutes[0]: bad 7 is more than the champion's 5 requests",
        ),
        (
            "[[5, 0, 1, 2]]",
            "metrics[0].minutes[0]: bad 2 is more than the canary's 1 requests",
        ),
        (
            "[[5, 0, 1, 0], [5, 0, 1]]",
            "metrics[0].minutes[1]: has 3 numbers, not 4",
        ),
        (
            "[[5, 0, 1, -1]]",
            "metrics[0].minutes[0][3]: -1 is negative",
        ),
        (
            "[[5, 0.5, 1, 0]]",
            "metrics[0].minutes[0][1]: 0.5 is not a whole number",
        ),
        (
            "[[5, \"0\", 1, 0]]",
            "metrics[0].minutes[0][1]: is text, not a number",
        ),
        (
            "[[9007199254740993, 0, 1, 0]]",
            "metrics[0].minutes[0][0]: 9007199254740993 is too large",
        ),
        (
            "[[1e300, 0, 1, 0]]",
            "metrics[0].minutes[0][0]: 1e+300 is too large",
        ),
        ("[5]", "metrics[0].minutes[0]: is a number, not a row"),
        ("{}", "metrics[0].minutes: is an object, not a list"),
    ] {
        assert_eq!(mistakes(&minutes(rows)), [mistake], "{rows}");
    }
}

#[test]
fn text_that_is_no_such_json_says_where() {
    assert_eq!(mistakes(" \n"), [": there is nothing in it"]);
    assert_eq!(mistakes("[]"), [": it is a list, not an object"]);
    for (text, word) in [
        ("{", "line 1 column 1"),
        ("{\"metrics\": [NaN]}", "line 1 column 14"),
        ("{\"metrics\": 1e999}", "number out of range"),
        ("{} {}", "trailing characters"),
        (
            "{\"metrics\": [], \"metrics\": []}",
            "the key \"metrics\" is there twice",
        ),
        (&"[".repeat(1_000), "recursion limit"),
    ] {
        let found = mistakes(text);
        assert!(
            found.len() == 1 && found[0].contains(word),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn a_policy_stays_in_its_limits() {
    for (policy, mistake) in [
        ("{\"alpha\": 0}", "policy.alpha: 0 is out of range"),
        ("{\"alpha\": 0.5}", "policy.alpha: 0.5 is out of range"),
        (
            "{\"alpha\": \"0.1\"}",
            "policy.alpha: is text, not a number",
        ),
        ("{\"beta\": 0.51}", "policy.beta: 0.51 is out of range"),
        (
            "{\"tolerated_ratio\": 0.9}",
            "policy.tolerated_ratio: 0.9 is out of range",
        ),
        (
            "{\"margin_ratio\": 1}",
            "policy.margin_ratio: 1 is out of range",
        ),
        (
            "{\"tolerated_ratio\": 2}",
            "policy.margin_ratio: 1.5 is not more than tolerated_ratio, which is 2",
        ),
        ("{\"ceiling\": 1}", "policy.ceiling: 1 is out of range"),
        (
            "{\"alone\": 1}",
            "policy.alone: is a number, not true or false",
        ),
        ("[]", "policy: is a list, not an object"),
        ("{\"alfa\": 0.1}", "policy.alfa: this key is not known"),
    ] {
        let text =
            format!(r#"{{"policy": {policy}, "metrics": [{{"history": [], "minutes": []}}]}}"#);
        assert_eq!(mistakes(&text), [mistake], "{policy}");
    }
    assert!(parse(br#"{"policy": {"beta": 0.5, "ceiling": null}, "metrics": [{"history": [], "minutes": []}]}"#).is_ok());
}

#[test]
fn what_is_missing_or_not_known_is_named() {
    assert_eq!(mistakes("{}"), ["the object: has no metrics"]);
    assert_eq!(
        mistakes("{\"metrics\": []}"),
        ["metrics: there is no metric in it"]
    );
    assert_eq!(
        mistakes("{\"cases\": [{\"metrics\": [{}]}, 7]}"),
        [
            "cases[0].metrics[0]: has no history",
            "cases[0].metrics[0]: has no minutes",
            "cases[1]: is a number, not an object",
        ]
    );
    assert_eq!(
        mistakes(r#"{"metrics": [{"history": [], "minutes": [], "minuts": []}]}"#),
        ["metrics[0].minuts: this key is not known"]
    );
    assert_eq!(nearest("minuts", &["name", "minutes"]), Some("minutes"));
    assert_eq!(nearest("tolerated", &["alpha", "beta"]), None);
}

#[test]
fn metrics_have_the_same_minutes() {
    let text = r#"{"metrics": [{"history": [], "minutes": [[1, 0, 1, 0]]},
                               {"history": [], "minutes": []}]}"#;
    assert_eq!(
        mistakes(text),
        ["metrics[1].minutes: 0 minutes, and metrics[0] has 1"]
    );
}

#[test]
fn all_mistakes_are_counted_and_the_first_are_named() {
    let rows = vec!["[1, 2, 0, 0]"; 50].join(",");
    let found = parse(minutes(&format!("[{rows}]")).as_bytes()).unwrap_err();
    let problems = found.problems("counts.json");
    assert_eq!(problems.len(), MOST_MISTAKES + 1);
    assert_eq!(problems[MOST_MISTAKES].what, "and 30 more mistakes");
    assert!(
        problems
            .iter()
            .all(|p| p.exit == Exit::Usage && !p.help.is_empty())
    );
}
