//! Once the candidate has all the traffic it is compared with the champion's past.

use super::*;
use crate::evidence::Verdict;

const DAY: i64 = 24 * 60;

/// The candidate has all the traffic since minute 0 and bakes.
fn baking(plan: &Stage) -> Rollout {
    Rollout {
        phase: Phase::Baking { since: at(0) },
        weights: vec![(at(-10), 50), (at(0), 100)],
        ..canary(plan)
    }
}

fn is_day_ago(minute: Timestamp, days: i64) -> bool {
    (at(-days * DAY)..at(-days * DAY + 120)).contains(&minute)
}

#[test]
fn yesterdays_same_minutes_are_the_baseline_if_there_are_any() {
    let plan = plan("");
    let mut rollout = baking(&plan);
    let cloud = |variant: &str, _: usize, minute: Timestamp| match variant {
        // Yesterday at this time errors were five times what the last hour had.
        "v1" if is_day_ago(minute, 1) => Counts::new(1_000, 50),
        "v1" => Counts::new(1_000, 10),
        _ => Counts::new(1_000, 50),
    };
    look(&mut rollout, at(20), &cloud);
    let past = rollout.past.as_ref().unwrap();
    assert_eq!(past.source, Source::Yesterday);
    assert_eq!(past.minutes[0].len(), 30 + 10 + 60);
    assert_eq!(rollout.crossed, None);
    assert_eq!(rollout.alone[0].totals().baseline, Counts::new(18_000, 900));
}

#[test]
fn last_weeks_are_if_yesterday_has_none() {
    let plan = plan("");
    let mut rollout = baking(&plan);
    let cloud = |variant: &str, _: usize, minute: Timestamp| match variant {
        "v1" if is_day_ago(minute, 7) => Counts::new(800, 8),
        "v1" => Counts::default(),
        _ => Counts::new(1_000, 10),
    };
    look(&mut rollout, at(20), &cloud);
    assert_eq!(rollout.past.as_ref().unwrap().source, Source::LastWeek);
    assert_eq!(
        rollout.alone[0].totals().baseline,
        Counts::new(800 * 18, 8 * 18)
    );
}

#[test]
fn the_hour_before_is_if_no_day_has_any() {
    let plan = plan("");
    let mut rollout = baking(&plan);
    let cloud = |variant: &str, _: usize, _: Timestamp| match variant {
        "v1" => Counts::default(),
        _ => Counts::new(1_000, 60),
    };
    look(&mut rollout, at(90), &cloud);
    let past = rollout.past.as_ref().unwrap();
    assert_eq!(
        (past.source, past.minutes[0].len()),
        (Source::HourBefore, 60)
    );
    // Six times the errors of the hour before.
    assert_eq!(judge::says(&rollout), Verdict::RollBack { guard: 0 });
    assert_eq!(rollout.crossed.unwrap().against, Against::History);
    let report = rollout.strongest().unwrap();
    let sentence = report.sentence("v2");
    assert!(sentence.contains("in the champion's past"), "{sentence}");
    assert!(sentence.contains("times the rate"), "{sentence}");
}

#[test]
fn days_that_differ_much_make_more_tolerable() {
    let plan = plan("");
    let spread = |rates: &'static [u64]| {
        let mut rollout = baking(&plan);
        let cloud = |variant: &str, _: usize, minute: Timestamp| {
            let day = -minute.duration_since(at(0)).as_mins().div_euclid(DAY);
            let rate = usize::try_from(day - 1).map_or(20, |d| rates[d % rates.len()]);
            match variant {
                "v1" => Counts::new(1_000, rate),
                _ => Counts::new(1_000, 20),
            }
        };
        look(&mut rollout, at(5), &cloud);
        rollout.past.unwrap().tolerated[0]
    };
    assert!((spread(&[20, 20, 20]) - 1.5).abs() < 1e-9);
    let wild = spread(&[10, 40]);
    assert!(wild > 3.0, "{wild}");
}

#[test]
fn without_any_past_the_ceiling_is_what_counts() {
    let plan = plan("[[stage.guard]]\nmetric = \"model_errors\"\nceiling = 0.02\n");
    let with_errors = |bad: u64| {
        let mut first = Rollout {
            incumbent: None,
            history: Vec::new(),
            evidence: judge::fresh_evidence(&plan, &[]),
            phase: Phase::Reducing { since: Some(at(0)) },
            ..baking(&plan)
        };
        let cloud = |_: &str, _: usize, _: Timestamp| Counts::new(1_000, bad);
        look(&mut first, at(20), &cloud);
        first
    };
    let fine = with_errors(10);
    assert_eq!(fine.past.as_ref().unwrap().source, Source::Nothing);
    assert_eq!(judge::says(&fine), Verdict::Safe);
    let bad = with_errors(40);
    assert_eq!(judge::says(&bad), Verdict::RollBack { guard: 0 });
    assert!(bad.is_lone());
    let sentence = bad.strongest().unwrap().sentence("v2");
    assert!(sentence.contains("over the ceiling of 2.0 %"), "{sentence}");
}

#[test]
fn nothing_alone_is_judged_before_the_past_is_known() {
    let plan = plan("");
    let mut rollout = baking(&plan);
    let question = judge::minutes_question(&rollout, at(20)).unwrap();
    let answer = answer(&question, &|_: &str, _: usize, _: Timestamp| {
        Counts::new(1_000, 900)
    });
    let mut facts = Facts::default();
    facts.add(question, answer);
    judge::judge(&mut rollout, &facts, at(20));
    assert_eq!(rollout.judged_until, Some(at(0)));
    assert_eq!(rollout.crossed, None);
}

#[test]
fn a_long_bake_is_compared_piece_by_piece_with_the_same_day() {
    let plan = plan("bake_minutes = 1440\nwatch_minutes = 1440\n");
    let mut rollout = baking(&plan);
    let cloud = |variant: &str, _: usize, minute: Timestamp| {
        let is_evening = minute.duration_since(at(0)).as_mins().rem_euclid(DAY) > 600;
        match variant {
            // Evenings are ten times worse, every day.
            _ if is_evening => Counts::new(1_000, 100),
            _ => Counts::new(1_000, 10),
        }
    };
    for tick in 1..=2_000 {
        look(&mut rollout, at(tick), &cloud);
        assert!(
            rollout
                .past
                .as_ref()
                .is_none_or(|p| p.minutes[0].len() <= KEPT_MINUTES)
        );
    }
    assert_eq!(rollout.past.as_ref().unwrap().source, Source::Yesterday);
    assert_eq!(rollout.crossed, None);
    assert_eq!(rollout.alone[0].totals().baseline.requests, 1_998_000);
}

#[test]
fn a_guard_of_something_rare_does_not_hide_the_day_before_from_the_others() {
    let plan = plan(
        "[[stage.guard]]\ncustom = { namespace = \"Shop\", bad = \"Failed\", \
         all = \"Checkouts\", dimensions = { Variant = \"{variant}\" } }\n\
         [[stage.guard]]\nmetric = \"model_errors\"\n",
    );
    let mut rollout = baking(&plan);
    let cloud = |variant: &str, guard: usize, minute: Timestamp| match (variant, guard) {
        (_, 0) if minute.as_second() % 1_800 == 0 => Counts::new(1, 0),
        (_, 0) => Counts::default(),
        _ => Counts::new(1_000, 10),
    };
    look(&mut rollout, at(20), &cloud);
    assert_eq!(rollout.past.as_ref().unwrap().source, Source::Yesterday);
}
