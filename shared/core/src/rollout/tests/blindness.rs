//! A guard that measures nothing is told apart from an endpoint without traffic.

use super::*;

const CUSTOM: &str = "[[stage.guard]]\nmetric = \"model_errors\"\n[[stage.guard]]\n\
    custom = { namespace = \"Shop\", bad = \"Failed\", all = \"Checkouts\", \
    dimensions = { Variant = \"{variant}\" } }\n";

fn after_ten_minutes(plan: &Stage, cloud: &impl Cloud) -> Option<usize> {
    let mut rollout = canary(plan);
    look(&mut rollout, at(12), cloud);
    judge::blind_guard(&rollout, at(0))
}

#[test]
fn a_custom_metric_that_nobody_publishes_is_blind() {
    let cloud = |variant: &str, guard: usize, _: Timestamp| match (variant, guard) {
        (_, 1) => Counts::default(),
        ("v1", _) => Counts::new(900, 9),
        _ => Counts::new(100, 1),
    };
    assert_eq!(after_ten_minutes(&plan(CUSTOM), &cloud), Some(1));
}

#[test]
fn a_custom_metric_that_the_canary_alone_lacks_is_blind() {
    let cloud = |variant: &str, guard: usize, _: Timestamp| match (variant, guard) {
        ("v1", 1) => Counts::new(30, 0),
        (_, 1) => Counts::default(),
        ("v1", _) => Counts::new(900, 9),
        _ => Counts::new(100, 1),
    };
    assert_eq!(after_ten_minutes(&plan(CUSTOM), &cloud), Some(1));
}

#[test]
fn a_rare_event_that_the_canary_had_none_of_yet_is_not_blind() {
    // The champion had 10 of them: one is to be expected of the canary, none is no wonder.
    let cloud = |variant: &str, guard: usize, _: Timestamp| match (variant, guard) {
        ("v1", 1) => Counts::new(1, 0),
        (_, 1) => Counts::default(),
        ("v1", _) => Counts::new(900, 9),
        _ => Counts::new(100, 1),
    };
    assert_eq!(after_ten_minutes(&plan(CUSTOM), &cloud), None);
}

#[test]
fn a_canary_that_no_request_reaches_is_low_traffic_and_not_blind() {
    let cloud = |variant: &str, _: usize, _: Timestamp| match variant {
        "v1" => Counts::new(900, 9),
        _ => Counts::default(),
    };
    assert_eq!(after_ten_minutes(&plan(""), &cloud), None);
}

#[test]
fn latencies_that_are_missing_beside_requests_are_blind() {
    let plan = plan("[[stage.guard]]\nmetric = \"5xx\"\n[[stage.guard]]\nslower_than_ms = 200\n");
    let cloud = |variant: &str, guard: usize, _: Timestamp| match (variant, guard) {
        ("v1", _) => Counts::new(900, 9),
        (_, 0) => Counts::new(100, 0),
        _ => Counts::default(),
    };
    assert_eq!(after_ten_minutes(&plan, &cloud), Some(1));
}
