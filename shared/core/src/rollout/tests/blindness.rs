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

#[test]
fn a_metric_is_blind_where_the_champions_past_had_it_or_nobody_ever_did() {
    let cloud = |_: &str, guard: usize, _: Timestamp| match guard {
        1 => Counts::default(),
        _ => Counts::new(1_000, 10),
    };
    let with_all_the_traffic = |cloud: &dyn Fn(&str, usize, Timestamp) -> Counts| {
        let plan = plan(CUSTOM);
        let mut rollout = canary(&plan);
        rollout.history = vec![vec![Counts::new(1_000, 10); 180], Vec::new()];
        rollout.weights = vec![(at(0), 100)];
        rollout.phase = Phase::Baking { since: at(0) };
        look(&mut rollout, at(32), &cloud);
        judge::blind_alone(&rollout, at(0))
    };
    assert_eq!(with_all_the_traffic(&cloud), Some(1));
    // Too rare to tell: once in an hour, and not since it has all the traffic.
    let rare = |variant: &str, guard: usize, minute: Timestamp| match (variant, guard) {
        ("v1", 1) => Counts::new(u64::from(minute.as_second() % 3_600 == 0), 0),
        (_, 1) => Counts::default(),
        _ => Counts::new(1_000, 10),
    };
    assert_eq!(with_all_the_traffic(&rare), None);
    // The champion had some every minute.
    let gone = |variant: &str, guard: usize, _: Timestamp| match (variant, guard) {
        ("v1", 1) => Counts::new(3, 0),
        (_, 1) => Counts::default(),
        _ => Counts::new(1_000, 10),
    };
    assert_eq!(with_all_the_traffic(&gone), Some(1));
}
