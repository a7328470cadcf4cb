//! Each settled minute counts once, however the ticks come.

use proptest::prelude::*;

use super::*;
use crate::evidence::Verdict;

/// The canary is bad from minute 20 to minute 29 and fine before and after.
fn burst(variant: &str, _: usize, minute: Timestamp) -> Counts {
    let is_bad = (at(20)..at(30)).contains(&minute);
    match variant {
        "v1" => Counts::new(900, 9),
        _ if is_bad => Counts::new(100, 6),
        _ => Counts::new(100, 1),
    }
}

#[test]
fn a_tick_that_comes_hours_late_says_the_same_as_ticks_on_time() {
    let plan = plan("");
    let mut on_time = canary(&plan);
    for minute in 1..=200 {
        look(&mut on_time, at(minute), &burst);
    }
    let mut late = canary(&plan);
    look(&mut late, at(200), &burst);
    let crossed = on_time.crossed.unwrap();
    assert!(crossed.at < at(30) && crossed.at >= at(20), "{crossed:?}");
    // The evidence is long below the limit again: what was harm stays harm.
    assert!(on_time.guard_reports()[0].report.harm < on_time.guard_reports()[0].needed);
    assert_eq!(judge::says(&late), Verdict::RollBack { guard: 0 });
    assert_eq!(late, on_time);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn evidence_does_not_depend_on_when_ticks_come(
        ticks in prop::collection::btree_set(1..90_i64, 0..40),
        bad in prop::collection::vec(0..4_u64, 100),
        lost in prop::collection::btree_set(0..90_i64, 0..10),
    ) {
        let cloud = |variant: &str, _: usize, minute: Timestamp| {
            let i = minute.duration_since(at(0)).as_mins();
            let bad = usize::try_from(i).ok().and_then(|i| bad.get(i)).copied().unwrap_or(1);
            match variant {
                _ if lost.contains(&i) => Counts::default(),
                "v1" => Counts::new(900, 9),
                _ => Counts::new(100, bad),
            }
        };
        let plan = plan("");
        let mut regular = canary(&plan);
        for minute in 1..=120 {
            look(&mut regular, at(minute), &cloud);
        }
        let mut irregular = canary(&plan);
        for minute in ticks {
            look(&mut irregular, at(minute), &cloud);
        }
        look(&mut irregular, at(120), &cloud);
        prop_assert_eq!(irregular, regular);
    }

    #[test]
    fn evidence_does_not_depend_on_the_variants_names(
        champion in "[a-z][a-z0-9-]{0,20}",
        bad in prop::collection::vec(0..6_u64, 30),
    ) {
        let plan = plan("");
        let mut named = canary(&plan);
        let mut renamed = canary(&plan);
        let canary_name = format!("{champion}-2");
        renamed.incumbent.as_mut().unwrap().variant.clone_from(&champion);
        renamed.canary.clone_from(&canary_name);
        let of = |is_champion: bool, minute: Timestamp| {
            let i = usize::try_from(minute.duration_since(at(0)).as_mins()).unwrap();
            if is_champion { Counts::new(900, 9) } else { Counts::new(100, bad[i.min(29)]) }
        };
        look(&mut named, at(32), &|v: &str, _: usize, m: Timestamp| of(v == "v1", m));
        look(&mut renamed, at(32), &|v: &str, _: usize, m: Timestamp| of(v == champion, m));
        prop_assert_eq!(named.evidence, renamed.evidence);
        prop_assert_eq!(named.crossed, renamed.crossed);
    }
}

#[test]
fn a_minute_counts_when_it_is_settled_and_not_before() {
    let plan = plan("judge = { settle_minutes = 4 }\n");
    let mut rollout = canary(&plan);
    look(&mut rollout, at(4), &burst);
    assert_eq!(rollout.minutes.len(), 0);
    look(&mut rollout, at(6), &burst);
    assert_eq!(rollout.minutes.len(), 2);
}

#[test]
fn what_cloudwatch_has_late_is_counted_when_it_comes() {
    let plan = plan("");
    let mut rollout = canary(&plan);
    let delayed = |variant: &str, guard: usize, minute: Timestamp| {
        if minute >= at(10) {
            Counts::default()
        } else {
            burst(variant, guard, minute)
        }
    };
    for minute in 1..=20 {
        look(&mut rollout, at(minute), &delayed);
    }
    assert_eq!(rollout.judged_until, Some(at(10)));
    look(&mut rollout, at(21), &burst);
    let mut on_time = canary(&plan);
    look(&mut on_time, at(21), &burst);
    assert_eq!(rollout, on_time);
    assert_eq!(rollout.minutes.len(), 19);
}

#[test]
fn a_gap_that_stays_is_passed_by_after_a_quarter_of_an_hour() {
    let plan = plan("");
    let mut rollout = canary(&plan);
    let silent = |_: &str, _: usize, _: Timestamp| Counts::default();
    look(&mut rollout, at(40), &silent);
    assert_eq!(rollout.judged_until, Some(at(25)));
    assert_eq!(judge::minutes_since(&rollout, at(0), at(40)), 38);
    assert_eq!(judge::requests_since(&rollout, at(0)), 0);
}

#[test]
fn warm_up_minutes_after_a_shift_are_kept_but_not_judged() {
    let plan = plan("judge = { warmup_minutes = 5 }\n");
    let mut rollout = canary(&plan);
    let cold = |variant: &str, _: usize, minute: Timestamp| match variant {
        "v1" => Counts::new(900, 9),
        _ if minute < at(5) => Counts::new(100, 60),
        _ => Counts::new(100, 1),
    };
    look(&mut rollout, at(22), &cold);
    assert_eq!(rollout.minutes.len(), 20);
    assert_eq!(rollout.crossed, None);
    assert_eq!(rollout.evidence[0].totals().canary, Counts::new(1_500, 15));
}

#[test]
fn a_rollout_of_days_keeps_its_counts_and_stays_small() {
    let eight: String = ["model_errors", "4xx", "5xx"]
        .iter()
        .map(|m| format!("[[stage.guard]]\nmetric = \"{m}\"\n"))
        .chain((1..=5).map(|ms| format!("[[stage.guard]]\nslower_than_ms = {ms}\n")))
        .collect();
    let plan = plan(&eight);
    let mut rollout = canary(&plan);
    let busy = |variant: &str, guard: usize, minute: Timestamp| {
        let noise = minute.as_second().unsigned_abs() / 60 * 7_919 % 1_000 + guard as u64;
        match variant {
            "v1" => Counts::new(900_000 + noise, 9_000 + noise),
            _ => Counts::new(100_000 + noise, 1_000 + noise / 9),
        }
    };
    let minutes = 10_000;
    for look_at in (0..=minutes).step_by(720) {
        look(&mut rollout, at(look_at + 2), &busy);
    }
    assert!(
        rollout.minutes.len() <= kept_minutes(8),
        "{}",
        rollout.minutes.len()
    );
    let judged = rollout
        .judged_until
        .unwrap()
        .duration_since(at(0))
        .as_mins();
    assert!(judged > 9_000);
    // Nothing is lost of the counts.
    let kept: u64 = rollout
        .minutes
        .iter()
        .map(|m| m.guards[0].canary.requests)
        .sum();
    assert_eq!(kept, rollout.evidence[0].totals().canary.requests);
    let stored = serde_json::to_string(&rollout).unwrap();
    assert!(stored.len() < 200_000, "{}", stored.len());
}

#[test]
fn the_champions_minutes_before_the_shift_are_not_counted_against_the_canary() {
    let plan = plan("");
    let mut rollout = canary(&plan);
    rollout.weights = vec![(at(5), 10)];
    // SageMaker shifts a little before it says so.
    let cloud = |variant: &str, _: usize, minute: Timestamp| match variant {
        "v1" => Counts::new(900, 9),
        _ if minute < at(4) => Counts::default(),
        _ => Counts::new(100, 1),
    };
    look(&mut rollout, at(12), &cloud);
    assert_eq!(rollout.minutes.len(), 10);
    let totals = rollout.evidence[0].totals();
    assert_eq!(totals.canary, Counts::new(600, 6));
    assert_eq!(totals.baseline, Counts::new(5_400, 54));
}

#[test]
fn the_champions_last_minutes_are_its_own_when_the_candidate_gets_its_variants_name() {
    // Without a bake the reduction begins before the last minutes beside the champion are settled.
    let plan = plan("bake_minutes = 0\n");
    let mut rollout = canary(&plan);
    rollout.incumbent.as_mut().unwrap().variant = "main".to_owned();
    rollout.final_variant = "main".to_owned();
    rollout.weights = vec![(at(0), 10), (at(10), 100)];
    rollout.phase = Phase::Reducing { since: None };
    let cloud = |variant: &str, _: usize, minute: Timestamp| match variant {
        "main" if minute < at(10) => Counts::new(900, 9),
        "main" => Counts::default(),
        _ if minute < at(10) => Counts::new(100, 1),
        _ => Counts::new(1_000, 10),
    };
    look(&mut rollout, at(15), &cloud);
    let totals = rollout.evidence[0].totals();
    assert_eq!(totals.baseline, Counts::new(9_000, 90));
    assert_eq!(totals.canary, Counts::new(1_000, 10));
    assert_eq!(rollout.alone[0].totals().canary, Counts::new(3_000, 30));
}

#[test]
fn warm_up_holds_for_the_minute_of_the_shift_and_for_what_came_before_it_was_confirmed() {
    let plan = plan("judge = { warmup_minutes = 3 }\n");
    let mut rollout = canary(&plan);
    rollout.weights = vec![(at(2) + SignedDuration::from_secs(40), 10)];
    let cold = |variant: &str, _: usize, minute: Timestamp| match variant {
        "v1" => Counts::new(900, 9),
        // SageMaker shifts a little before it says so.
        _ if minute < at(1) => Counts::default(),
        _ if minute < at(4) => Counts::new(100, 60),
        _ => Counts::new(100, 1),
    };
    look(&mut rollout, at(20), &cold);
    assert_eq!(rollout.crossed, None);
    assert_eq!(rollout.evidence[0].totals().canary, Counts::new(1_200, 12));
}

#[test]
fn warm_up_holds_for_the_fleet_that_the_reduction_brings_up() {
    let plan = plan("judge = { warmup_minutes = 5 }\n");
    let mut rollout = canary(&plan);
    rollout.weights = vec![(at(0), 100)];
    rollout.phase = Phase::Reducing {
        since: Some(at(20)),
    };
    let cold = |variant: &str, _: usize, minute: Timestamp| match variant {
        "v1" => Counts::new(1_000, 10),
        _ if (at(20)..at(25)).contains(&minute) => Counts::new(1_000, 600),
        _ => Counts::new(1_000, 10),
    };
    look(&mut rollout, at(40), &cold);
    assert_eq!(rollout.crossed, None);
    assert_eq!(rollout.minutes.len(), 38);
}

#[test]
fn a_share_that_changes_every_minute_does_not_make_it_grow() {
    let plan = plan("");
    let mut rollout = canary(&plan);
    rollout.weights = (0..4_000_i64)
        .map(|i| (at(i), if i % 2 == 0 { 10 } else { 11 }))
        .collect();
    let cloud = |variant: &str, _: usize, _: Timestamp| match variant {
        "v1" => Counts::new(900, 9),
        _ => Counts::new(100, 1),
    };
    for tick in [1_000, 2_000, 3_000, 4_000] {
        look(&mut rollout, at(tick), &cloud);
    }
    assert!(
        rollout.minutes.len() <= kept_minutes(1),
        "{}",
        rollout.minutes.len()
    );
    let kept: u64 = rollout
        .minutes
        .iter()
        .map(|m| m.guards[0].canary.requests)
        .sum();
    assert_eq!(kept, rollout.evidence[0].totals().canary.requests);
}

#[test]
fn the_reason_of_a_roll_back_is_said_even_if_later_minutes_look_better() {
    let plan = plan("");
    let mut late = canary(&plan);
    look(&mut late, at(200), &burst);
    let report = late.strongest().unwrap();
    assert!(report.looked_at() < report.needed);
    let sentence = report.sentence("v2");
    assert!(!sentence.contains("nothing speaks"), "{sentence}");
    assert!(sentence.contains("until 10:2"), "{sentence}");
    assert!(sentence.contains("1 in 11"), "{sentence}");
}

#[test]
fn steps_that_wait_for_requests_aim_at_smaller_regressions() {
    let after = |strategy: &str, history: Vec<Vec<Counts>>| {
        let plan = plan(&format!("strategy = {{ canary = [10], {strategy} }}"));
        let mut evidence = judge::aimed_evidence(&plan, &history).remove(0);
        for _ in 0..10 {
            evidence.add(&Minute::from([900, 9, 100, 2]));
        }
        evidence.harm()
    };
    let history = || vec![vec![Counts::new(50, 1); 180]];
    let short = after("minutes = 10, min_requests = 0", history());
    let patient = after("minutes = 10, min_requests = 1000", history());
    let limited = after(
        "minutes = 10, min_requests = 1000, max_minutes = 20, on_low_traffic = \"promote\"",
        history(),
    );
    assert!(
        short < limited && limited < patient,
        "{short} {limited} {patient}"
    );
    // Without a history nothing is known of it.
    let even = after("minutes = 10", Vec::new());
    let mut evidence = judge::fresh_evidence(&plan(""), &[]).remove(0);
    for _ in 0..10 {
        evidence.add(&Minute::from([900, 9, 100, 2]));
    }
    assert_eq!(even.to_bits(), evidence.harm().to_bits());
}
