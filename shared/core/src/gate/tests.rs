//! Each bound on both of its sides, and evaluation files as they come.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn metrics(pairs: &[(&str, f64)]) -> Metrics {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}

fn required(metric: &str) -> Requirement {
    Requirement {
        metric: metric.to_owned(),
        at_least: None,
        at_most: None,
        champion_minus_at_most: None,
        champion_plus_at_most: None,
    }
}

fn gate(require: Vec<Requirement>) -> Gate {
    Gate {
        require,
        ..Gate::default()
    }
}

fn auc_at_least(bound: f64) -> Gate {
    gate(vec![Requirement {
        at_least: Some(bound),
        ..required("validation:auc")
    }])
}

#[test]
fn a_value_below_the_bound_is_rejected_with_both_numbers() {
    let judgement = judge(
        &auc_at_least(0.92),
        &metrics(&[("validation:auc", 0.871)]),
        None,
    );
    assert_eq!(
        judgement.sentence(),
        "validation:auc is 0.871, below the required 0.92"
    );
    assert_eq!(
        judgement.approval(ApprovalRule::Automatic),
        Approval::Rejected
    );
    assert_eq!(judgement.approval(ApprovalRule::Manual), Approval::Rejected);
}

#[test]
fn a_value_at_the_bound_passes_and_the_policy_says_who_approves() {
    let judgement = judge(
        &auc_at_least(0.92),
        &metrics(&[("validation:auc", 0.92)]),
        None,
    );
    assert!(judgement.passed());
    assert_eq!(
        judgement.sentence(),
        "validation:auc is 0.92, at least 0.92"
    );
    assert_eq!(
        judgement.approval(ApprovalRule::Automatic),
        Approval::Approved
    );
    assert_eq!(
        judgement.approval(ApprovalRule::Manual),
        Approval::PendingManualApproval
    );
}

#[test]
fn a_32_bit_report_of_the_bound_itself_passes() {
    let reported = f64::from(0.9_f32);
    assert!(reported < 0.9);
    let judgement = judge(
        &auc_at_least(0.9),
        &metrics(&[("validation:auc", reported)]),
        None,
    );
    assert_eq!(judgement.sentence(), "validation:auc is 0.9, at least 0.9");
    assert!(judgement.passed());
    assert!(
        !judge(
            &auc_at_least(0.9),
            &metrics(&[("validation:auc", 0.899_999)]),
            None
        )
        .passed()
    );
}

#[test]
fn where_less_is_better_more_is_rejected() {
    let gate = gate(vec![Requirement {
        at_most: Some(0.1),
        ..required("loss")
    }]);
    assert!(judge(&gate, &metrics(&[("loss", 0.1)]), None).passed());
    let judgement = judge(&gate, &metrics(&[("loss", 0.25)]), None);
    assert_eq!(judgement.sentence(), "loss is 0.25, above the allowed 0.1");
}

#[test]
fn a_candidate_may_be_a_little_below_the_champion_and_no_more() {
    let gate = gate(vec![Requirement {
        champion_minus_at_most: Some(0.005),
        ..required("auc")
    }]);
    let champion = metrics(&[("auc", 0.92)]);
    assert!(judge(&gate, &metrics(&[("auc", 0.915)]), Some(&champion)).passed());
    let judgement = judge(&gate, &metrics(&[("auc", 0.91)]), Some(&champion));
    assert_eq!(
        judgement.sentence(),
        "auc is 0.91, more than 0.005 below the champion's 0.92"
    );
    assert_eq!(judgement.checks[0].champion, Some(0.92));
    assert!(!judgement.passed());
}

#[test]
fn a_candidate_may_be_a_little_above_the_champion_and_no_more() {
    let gate = gate(vec![Requirement {
        champion_plus_at_most: Some(0.0),
        ..required("loss")
    }]);
    let champion = metrics(&[("loss", 0.3)]);
    assert!(judge(&gate, &metrics(&[("loss", 0.3)]), Some(&champion)).passed());
    let judgement = judge(&gate, &metrics(&[("loss", 0.31)]), Some(&champion));
    assert_eq!(
        judgement.sentence(),
        "loss is 0.31, more than 0 above the champion's 0.3"
    );
}

#[test]
fn without_a_champions_value_the_comparison_passes_and_says_so() {
    let gate = gate(vec![Requirement {
        champion_minus_at_most: Some(0.0),
        ..required("auc")
    }]);
    let candidate = metrics(&[("auc", 0.5)]);
    let alone = judge(&gate, &candidate, None);
    assert!(alone.passed());
    assert_eq!(
        alone.sentence(),
        "auc is 0.5, and there is no champion to compare with"
    );
    for champion in [metrics(&[("f1", 0.9)]), metrics(&[("auc", f64::NAN)])] {
        let beside = judge(&gate, &candidate, Some(&champion));
        assert!(beside.passed());
        assert_eq!(
            beside.sentence(),
            "auc is 0.5, and the champion has no such metric to compare with"
        );
    }
}

#[test]
fn a_missing_metric_is_rejected_with_the_names_that_were_reported() {
    let reported = metrics(&[("train:loss", 0.1), ("validation:AUC", 0.99)]);
    let judgement = judge(&auc_at_least(0.9), &reported, None);
    assert_eq!(
        judgement.sentence(),
        "validation:auc was not reported (reported: validation:AUC, train:loss)"
    );
    assert!(!judgement.passed());
    let nothing = judge(&auc_at_least(0.9), &Metrics::new(), None);
    assert_eq!(
        nothing.sentence(),
        "validation:auc was not reported, nor was any other metric"
    );
    let many: Metrics = (0..40).map(|i| (format!("m{i}"), 0.0)).collect();
    assert!(
        judge(&auc_at_least(0.9), &many, None)
            .sentence()
            .ends_with(" and 30 more)")
    );
}

#[test]
fn what_is_not_a_number_is_rejected_by_every_bound() {
    let all = Requirement {
        at_least: Some(f64::NEG_INFINITY),
        at_most: Some(f64::INFINITY),
        champion_minus_at_most: Some(1.0),
        champion_plus_at_most: Some(1.0),
        ..required("auc")
    };
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let judgement = judge(
            &gate(vec![all.clone(), required("auc")]),
            &metrics(&[("auc", value)]),
            None,
        );
        assert_eq!(judgement.checks.len(), 5);
        assert!(
            judgement
                .checks
                .iter()
                .all(|c| !c.passed && c.value.is_none()),
            "{value}"
        );
    }
    let nan = judge(
        &auc_at_least(0.9),
        &metrics(&[("validation:auc", f64::NAN)]),
        None,
    );
    assert_eq!(
        nan.sentence(),
        "validation:auc is NaN, which is not a number to judge by"
    );
    assert!(
        !judge(
            &auc_at_least(f64::NAN),
            &metrics(&[("validation:auc", 1.0)]),
            None
        )
        .passed()
    );
}

#[test]
fn a_gate_that_requires_nothing_passes_and_says_so() {
    let judgement = judge(&Gate::default(), &metrics(&[("auc", 0.1)]), None);
    assert!(judgement.passed());
    assert_eq!(
        judgement.sentence(),
        "the policy requires nothing of the metrics"
    );
}

#[test]
fn only_what_failed_is_told_and_no_more_than_three_of_it() {
    let bound = |name: &str| Requirement {
        at_least: Some(0.5),
        ..required(name)
    };
    let gate = gate(["a", "b", "c", "d", "e"].map(bound).to_vec());
    let reported = metrics(&[("a", 0.1), ("b", 0.9), ("c", 0.2), ("d", 0.3), ("e", 0.4)]);
    assert_eq!(
        judge(&gate, &reported, None).sentence(),
        "a is 0.1, below the required 0.5; c is 0.2, below the required 0.5; d is 0.3, below the \
         required 0.5; and 1 more"
    );
}

#[test]
fn an_evaluation_as_sagemaker_takes_it_is_read() {
    let read = metrics_from_evaluation(
        r#"{"binary_classification_metrics": {
            "auc": {"value": 0.98, "standard_deviation": "NaN"},
            "f1": {"value": "0.91", "standard_deviation": 0.01},
            "confusion_matrix": {"0": {"0": 91, "1": 9}},
            "receiver_operating_characteristic_curve": {"true_positive_rates": [0.1, 0.2]}
        }}"#,
    )
    .unwrap();
    let expected = metrics(&[
        ("binary_classification_metrics.auc", 0.98),
        ("binary_classification_metrics.auc.value", 0.98),
        ("binary_classification_metrics.confusion_matrix.0.0", 91.0),
        ("binary_classification_metrics.confusion_matrix.0.1", 9.0),
        ("binary_classification_metrics.f1", 0.91),
        ("binary_classification_metrics.f1.standard_deviation", 0.01),
        ("binary_classification_metrics.f1.value", 0.91),
    ]);
    assert_eq!(read, expected);
}

#[test]
fn a_flat_evaluation_is_read() {
    let read = metrics_from_evaluation(
        "\u{feff}{\"auc\": 0.98, \"note\": \"fine\", \"ok\": true, \"loss\": \" 1e-3 \", \"worst\": \"inf\", \"none\": null}",
    );
    assert_eq!(read, Ok(metrics(&[("auc", 0.98), ("loss", 0.001)])));
}

#[test]
fn an_evaluation_that_is_none_says_what_to_do() {
    let error = |json: &str| metrics_from_evaluation(json).unwrap_err();
    assert!(matches!(error("{\"auc\": NaN}"), GateError::NotJson(_)));
    assert_eq!(error("[1]"), GateError::NotAnObject("a list"));
    assert_eq!(error(&" ".repeat(MOST + 1)), GateError::TooLong(MOST + 1));
    assert_eq!(
        error(r#"{"a.b": 1, "a": {"b": 2}}"#),
        GateError::Twice("a.b".to_owned())
    );
    assert!(matches!(
        error(&format!("{{\"{}\": 1}}", "x".repeat(300))),
        GateError::LongName(_)
    ));
}

const MOST: usize = 1 << 20;

#[test]
fn an_evaluation_has_bounds_and_fits_at_them() {
    let wide = |n: usize| {
        let pairs: Vec<String> = (0..n).map(|i| format!("\"m{i}\": {i}")).collect();
        metrics_from_evaluation(&format!("{{{}}}", pairs.join(",")))
    };
    assert_eq!(wide(500).unwrap().len(), 500);
    assert_eq!(wide(501), Err(GateError::TooMany));
    let deep =
        |n: usize| metrics_from_evaluation(&format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n)));
    assert_eq!(deep(16).unwrap().len(), 1);
    assert_eq!(deep(17), Err(GateError::TooDeep));
    assert!(matches!(deep(5_000), Err(GateError::NotJson(_))));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(json in ".{0,200}") {
        if let Ok(metrics) = metrics_from_evaluation(&json) {
            prop_assert!(metrics.values().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn a_better_value_never_fails_where_a_worse_one_passed(
        bound in -1e6..1e6_f64,
        value in -1e6..1e6_f64,
        better in 0.0..1e6_f64,
    ) {
        let passes = |v: f64| judge(&auc_at_least(bound), &metrics(&[("validation:auc", v)]), None).passed();
        prop_assert!(!passes(value) || passes(value + better));
        prop_assert_eq!(passes(value), value >= bound - 1e-7 * value.abs().max(bound.abs()));
    }

    #[test]
    fn a_judgement_is_read_back_as_it_was_stored(value in any::<f32>()) {
        let judgement = judge(&auc_at_least(0.5), &metrics(&[("validation:auc", f64::from(value))]), None);
        let stored = serde_json::to_string(&judgement).unwrap();
        let read: Judgement = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(read.passed(), judgement.passed());
        prop_assert_eq!(read.sentence(), judgement.sentence());
        prop_assert_eq!(read.checks[0].value.is_some(), judgement.checks[0].value.is_some());
    }
}
