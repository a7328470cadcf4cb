//! The recorded cases, and the edges of every formula.
#![allow(clippy::unwrap_used)]

use serde::Deserialize;

use super::*;

const RULE: Rule = Rule {
    alpha: 0.01,
    beta: 0.05,
    tolerated_ratio: 1.0,
    margin_ratio: 1.5,
};

fn after(rule: &Rule, ceiling: Option<f64>, minutes: &[[u64; 4]]) -> Evidence {
    let mut evidence = Evidence::new(rule, ceiling, 1.0);
    for minute in minutes {
        evidence.add(&Minute::from(*minute));
    }
    evidence
}

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    policy: GoldenPolicy,
    metrics: Vec<Metric>,
    expected: Expected,
}

#[derive(Deserialize)]
struct GoldenPolicy {
    alpha: f64,
    beta: f64,
    tolerated_ratio: f64,
    margin_ratio: f64,
    ceiling: f64,
}

#[derive(Deserialize)]
struct Metric {
    history: Vec<Counts>,
    minutes: Vec<Minute>,
}

#[derive(Deserialize)]
struct Expected {
    verdict: String,
    metrics: Vec<ExpectedMetric>,
}

#[derive(Deserialize)]
struct ExpectedMetric {
    dispersion: f64,
    harm: f64,
    safe_ratio: f64,
    safe_ceiling: f64,
}

#[track_caller]
fn assert_close(got: f64, expected: f64, what: &str) {
    let within = 1e-9 * expected.abs().max(1.0);
    assert!(
        (got - expected).abs() <= within,
        "{what}: {got} is not {expected}"
    );
}

#[test]
fn minutes_with_requests_of_one_variant_wait_for_the_other() {
    let quiet = [[3, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [4, 0, 1, 1]];
    let (mut gathered, mut at_once) = (after(&RULE, None, &[]), after(&RULE, None, &[]));
    for minute in quiet {
        gathered.gather(&Minute::from(minute));
    }
    at_once.add(&Minute::from([9, 1, 1, 1]));
    assert_eq!(gathered, at_once);
    // Each on its own, the first says nothing.
    assert!(after(&RULE, None, &quiet).harm() > gathered.harm());
    // Busy minutes are what they are.
    let busy = [[90, 1, 10, 1], [80, 2, 20, 0]];
    let mut each = after(&RULE, None, &[]);
    for minute in busy {
        each.gather(&Minute::from(minute));
    }
    assert_eq!(each, after(&RULE, None, &busy));
}

#[test]
fn what_waits_is_dropped_when_the_shares_change() {
    let mut evidence = after(&RULE, Some(0.02), &[]);
    evidence.gather(&Minute::from([50, 3, 0, 0]));
    let stored = serde_json::to_string(&evidence).unwrap();
    let mut evidence: Evidence = serde_json::from_str(&stored).unwrap();
    evidence.traffic_shifted();
    evidence.gather(&Minute::from([40, 0, 10, 1]));
    let alone = after(&RULE, Some(0.02), &[[40, 0, 10, 1]]);
    assert_eq!(evidence.harm().to_bits(), alone.harm().to_bits());
    // It was counted nevertheless.
    assert_eq!(evidence.totals().baseline, Counts::new(90, 3));
}

#[test]
fn the_golden_cases_come_out_to_nine_digits() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../fixtures/evidence/golden.json")).unwrap();
    assert!(golden.cases.len() >= 13);
    for case in golden.cases {
        let policy = &case.policy;
        let rule = Rule {
            alpha: policy.alpha,
            beta: policy.beta,
            tolerated_ratio: policy.tolerated_ratio,
            margin_ratio: policy.margin_ratio,
        };
        let mut guards = Vec::new();
        assert_eq!(case.metrics.len(), case.expected.metrics.len());
        for (metric, expected) in case.metrics.iter().zip(&case.expected.metrics) {
            let phi = dispersion(&metric.history);
            assert_close(
                phi,
                expected.dispersion,
                &format!("{}: dispersion", case.name),
            );
            let mut evidence = Evidence::new(&rule, Some(policy.ceiling), phi);
            for minute in &metric.minutes {
                evidence.add(minute);
            }
            assert_close(
                evidence.harm(),
                expected.harm,
                &format!("{}: harm", case.name),
            );
            assert_close(
                evidence.safe_ratio(),
                expected.safe_ratio,
                &format!("{}: safe by ratio", case.name),
            );
            assert_close(
                evidence.safe_ceiling().unwrap(),
                expected.safe_ceiling,
                &format!("{}: safe by ceiling", case.name),
            );
            guards.push(evidence);
        }
        let word = match verdict(&rule, &guards) {
            Verdict::RollBack { .. } => "roll-back",
            Verdict::Safe => "safe",
            Verdict::Continue => "continue",
        };
        assert_eq!(word, case.expected.verdict, "{}", case.name);
    }
}

#[test]
fn a_minute_is_the_difference_of_two_log_likelihoods() {
    let (nb, bb, nc, bc) = (900.0_f64, 9.0, 100.0_f64, 4.0);
    let l = |rho: f64| {
        let theta = rho * nc / (rho * nc + nb);
        bc * theta.ln() + bb * (1.0 - theta).ln()
    };
    let rule = Rule {
        tolerated_ratio: 1.2,
        ..RULE
    };
    let evidence = after(&rule, None, &[[900, 9, 100, 4]]);
    let mean: f64 = FACTORS
        .iter()
        .map(|g| (l(1.2 * g) - l(1.2)).exp())
        .sum::<f64>()
        / 40.0;
    assert_close(evidence.harm(), mean.ln(), "harm");
}

#[test]
fn harm_by_ceiling_follows_its_formula() {
    let evidence = after(&RULE, Some(0.02), &[[0, 0, 500, 25], [0, 0, 100, 3]]);
    let mean: f64 = FACTORS
        .iter()
        .map(|g| {
            let p = (0.02 * g).min(0.999);
            (28.0 * (p / 0.02).ln() + 572.0 * ((1.0 - p) / 0.98).ln()).exp()
        })
        .sum::<f64>()
        / 40.0;
    assert_close(
        evidence.harm_ceiling().unwrap(),
        mean.ln(),
        "harm by ceiling",
    );
    assert_close(evidence.harm(), 0.0, "no baseline says nothing by ratio");
}

#[test]
fn without_a_ceiling_nothing_is_said_of_it() {
    let evidence = after(&RULE, None, &[[100, 1, 100, 1]]);
    assert_eq!(
        (evidence.safe_ceiling(), evidence.harm_ceiling()),
        (None, None)
    );
}

#[test]
fn an_incident_that_hits_both_variants_is_no_evidence_of_harm() {
    let evidence = after(&RULE, None, &[[900, 90, 100, 10]; 30]);
    assert!(evidence.harm() < 0.0, "{}", evidence.harm());
}

#[test]
fn the_guard_that_objects_most_is_named() {
    let healthy = after(&RULE, None, &[[900, 9, 100, 1]; 20]);
    let bad = after(&RULE, None, &[[900, 9, 100, 4]; 20]);
    let worse = after(&RULE, None, &[[900, 9, 100, 9]; 20]);
    assert_eq!(
        verdict(&RULE, &[healthy, bad, worse]),
        Verdict::RollBack { guard: 2 }
    );
}

#[test]
fn more_guards_need_more_evidence_of_each() {
    let quiet = Evidence::new(&RULE, None, 1.0);
    // Between ln(1 / 0.01) = 4.6 and ln(8 / 0.01) = 6.7.
    let bad = after(&RULE, None, &[[900, 9, 100, 4]; 3]);
    assert!((4.7..6.6).contains(&bad.harm()), "{}", bad.harm());
    assert_eq!(
        verdict(&RULE, std::slice::from_ref(&bad)),
        Verdict::RollBack { guard: 0 }
    );
    let mut eight = vec![quiet; 7];
    eight.push(bad);
    assert_eq!(verdict(&RULE, &eight), Verdict::Continue);
}

#[test]
fn a_ceiling_rolls_back_only_where_there_is_no_live_baseline() {
    // As bad as the baseline, and far above the ceiling.
    let both = after(&RULE, Some(0.01), &[[500, 50, 500, 50]; 5]);
    assert_eq!(verdict(&RULE, std::slice::from_ref(&both)), Verdict::Safe);
    assert_eq!(
        verdict_alone(&RULE, &[both]),
        Verdict::RollBack { guard: 0 }
    );
}

#[test]
fn no_guard_says_nothing() {
    assert_eq!(verdict(&RULE, &[]), Verdict::Continue);
    assert_eq!(verdict_alone(&RULE, &[]), Verdict::Continue);
}

#[test]
fn one_guard_that_is_not_safe_keeps_the_others_waiting() {
    let safe = after(&RULE, None, &[[9_000, 90, 1_000, 4]; 30]);
    assert_eq!(verdict(&RULE, &[safe.clone(), safe.clone()]), Verdict::Safe);
    let open = Evidence::new(&RULE, None, 1.0);
    assert_eq!(verdict(&RULE, &[safe, open]), Verdict::Continue);
}

#[test]
fn more_bad_events_than_requests_count_as_all_bad() {
    assert_eq!(
        after(&RULE, Some(0.1), &[[10, 99, 10, 99]]),
        after(&RULE, Some(0.1), &[[10, 10, 10, 10]])
    );
    assert_eq!(Counts::new(10, 99).rate(), Some(1.0));
    assert_eq!(Counts::new(0, 99).rate(), None);
}

#[test]
fn ceilings_and_ratios_that_no_policy_may_say_stay_finite() {
    for ceiling in [0.0, -1.0, 1.0, 7.0, 1e-300, 0.9995, f64::INFINITY, f64::NAN] {
        for ratio in [0.0, f64::NAN, f64::INFINITY, 1e300] {
            let rule = Rule {
                tolerated_ratio: ratio,
                margin_ratio: ratio,
                ..RULE
            };
            let evidence = after(
                &rule,
                Some(ceiling),
                &[[5, 0, 5, 5], [5, 5, 5, 0], [0, 0, 9, 4]],
            );
            assert!(evidence.harm().is_finite() && evidence.safe_ratio().is_finite());
            assert!(evidence.strongest_harm().is_finite() && evidence.strongest_safe().is_finite());
        }
    }
}

#[test]
fn dispersion_needs_thirty_minutes_and_five_bad_events() {
    let bursty = |minutes: usize| -> Vec<Counts> {
        (0..minutes)
            .map(|i| Counts::new(100, if i % 10 == 0 { 20 } else { 0 }))
            .collect()
    };
    assert_close(dispersion(&bursty(29)), 1.0, "29 minutes");
    assert!(dispersion(&bursty(30)) > 10.0);
    let mut idle = bursty(29);
    idle.extend([Counts::default(); 50]);
    assert_close(
        dispersion(&idle),
        1.0,
        "minutes without requests don't count",
    );
    let mut few = vec![Counts::new(100, 0); 40];
    few[0].bad = 4;
    assert_close(dispersion(&few), 1.0, "4 bad events");
    assert_close(dispersion(&[Counts::new(10, 10); 40]), 1.0, "all bad");
}

#[test]
fn bursts_in_the_history_ask_for_more_evidence() {
    let mut independent = Evidence::new(&RULE, None, 1.0);
    let mut bursty = Evidence::new(&RULE, None, 4.0);
    for _ in 0..10 {
        independent.add(&Minute::from([900, 9, 100, 5]));
        bursty.add(&Minute::from([900, 9, 100, 5]));
    }
    assert!(bursty.harm() < independent.harm() / 2.0);
}

#[test]
fn history_is_gone_through_again_when_it_ends() {
    let history = [Counts::new(1, 0), Counts::new(2, 0), Counts::new(3, 0)];
    let canary = Counts::new(9, 1);
    assert_eq!(
        pair_with_history(&history, 1, canary),
        Minute::from([2, 0, 9, 1])
    );
    assert_eq!(
        pair_with_history(&history, 5, canary),
        Minute::from([3, 0, 9, 1])
    );
    assert_eq!(
        pair_with_history(&[], 5, canary),
        Minute::from([0, 0, 9, 1])
    );
}

#[test]
fn days_that_differ_are_tolerated_as_far_as_they_did() {
    assert_close(tolerated_against_history(1.0, None), 1.5, "no days");
    assert_close(tolerated_against_history(2.0, None), 2.0, "the policy's");
    let alike = [Counts::new(100_000, 1_000); 7];
    assert_close(
        tolerated_against_history(1.0, Some(&alike)),
        1.5,
        "days alike",
    );
    let differing = [500, 900, 1_000, 1_200, 2_500].map(|bad| Counts::new(100_000, bad));
    let tolerated = tolerated_against_history(1.0, Some(&differing));
    assert!((5.0..8.0).contains(&tolerated), "{tolerated}");
    assert_close(
        tolerated_against_history(1.0, Some(&differing[..4])),
        1.5,
        "too few days",
    );
    let quiet = [1, 0, 2, 1, 0].map(|bad| Counts::new(1_000, bad));
    assert_close(
        tolerated_against_history(1.0, Some(&quiet)),
        1.5,
        "mere counting",
    );
    let wild = [1, 10, 1_000, 10_000, 90_000].map(|bad| Counts::new(100_000, bad));
    assert_close(
        tolerated_against_history(1.0, Some(&wild)),
        10.0,
        "no more than ten",
    );
}

#[test]
fn odds_read_like_odds() {
    let of = |times: f64| odds(times.ln());
    assert_eq!(of(4_000.0), "1 in 4,000");
    assert_eq!(of(1_000.0), "1 in 1,000");
    assert_eq!(of(1_499.0), "1 in 1,400");
    assert_eq!(of(99.9), "1 in 99");
    assert_eq!(of(100.0), "1 in 100");
    assert_eq!(of(7.8), "1 in 7");
    assert_eq!(of(1.0), "1 in 1");
    assert_eq!(of(1_340_000.0), "1 in 1,300,000");
    assert_eq!(odds(-3.0), "1 in 1");
    assert_eq!(odds(f64::NAN), "1 in 1");
    assert_eq!(odds(1e9), "less than 1 in a trillion");
}

#[test]
fn the_state_is_small() {
    assert!(size_of::<Evidence>() <= 1_024, "{}", size_of::<Evidence>());
}

#[test]
fn a_row_that_was_cut_short_is_not_read() {
    let whole = serde_json::to_value(Evidence::new(&RULE, Some(0.01), 1.0)).unwrap();
    assert!(serde_json::from_value::<Evidence>(whole.clone()).is_ok());
    for bad in ["0 0 0", "", &"0 ".repeat(41), &["NaN"; 40].join(" ")] {
        let mut cut = whole.clone();
        cut["worse"] = bad.into();
        assert!(serde_json::from_value::<Evidence>(cut).is_err(), "{bad:?}");
    }
}
