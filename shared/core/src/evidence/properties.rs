//! What has to hold of the evidence whatever the counts are.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn counts(most: u64) -> impl Strategy<Value = Counts> {
    let requests = prop_oneof![Just(0), 0..=most.min(50), 0..=most];
    (
        requests,
        prop_oneof![Just(0.0), Just(1.0), 0.0..0.05, 0.0..1.0],
    )
        .prop_map(|(n, rate)| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Counts::new(n, (real(n) * rate) as u64)
        })
}

fn minutes(most: u64) -> impl Strategy<Value = Vec<Minute>> {
    let minute =
        (counts(most), counts(most)).prop_map(|(baseline, canary)| Minute { baseline, canary });
    prop::collection::vec(minute, 0..30)
}

fn rule() -> impl Strategy<Value = Rule> {
    (0.000_1..0.2, 0.000_1..0.5, 1.0..10.0, 1.05..10.0).prop_map(
        |(alpha, beta, tolerated, more)| Rule {
            alpha,
            beta,
            tolerated_ratio: tolerated,
            margin_ratio: tolerated * more,
        },
    )
}

type Start = (Rule, Option<f64>, f64, Option<u8>);

fn start() -> impl Strategy<Value = Start> {
    let ceiling = prop::option::of(1e-6..0.999_999);
    (rule(), ceiling, 1.0..50.0, prop::option::of(any::<u8>()))
}

fn fed((rule, ceiling, phi, aim): Start, minutes: &[Minute]) -> Evidence {
    let mut evidence = Evidence::new(&rule, ceiling, phi);
    evidence.aim = aim;
    for minute in minutes {
        evidence.add(minute);
    }
    evidence
}

/// At least, but for the last digits of sums this large.
fn at_least(a: f64, b: f64) -> bool {
    a >= b - 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #[test]
    fn evidence_is_finite_for_any_counts(start in start(), minutes in minutes(1_000_000_000_000)) {
        let evidence = fed(start, &minutes);
        for value in [
            Some(evidence.harm()),
            Some(evidence.safe_ratio()),
            evidence.safe_ceiling(),
            evidence.harm_ceiling(),
        ].into_iter().flatten() {
            prop_assert!(value.is_finite(), "{value}");
        }
        for alone in [false, true] {
            let report = evidence.report(alone);
            prop_assert!(report.ratio.is_none_or(f64::is_finite));
            for interval in [report.canary.interval, report.baseline.interval] {
                let (low, high) = (interval.low.unwrap_or(0.0), interval.high.unwrap_or(1.0));
                prop_assert!((0.0..=1.0).contains(&low) && (low..=1.0).contains(&high), "{interval:?}");
            }
            for (side, rate) in [(report.canary, report.canary.rate), (report.baseline, report.baseline.rate)] {
                prop_assert!(rate.is_none_or(|rate| side.interval.holds(rate)), "{side:?}");
            }
            let ratio = report.ratio_interval;
            prop_assert!(ratio.low.unwrap_or(0.0) <= ratio.high.unwrap_or(f64::MAX), "{ratio:?}");
        }
        prop_assert!(dispersion(&minutes.iter().map(|m| m.baseline).collect::<Vec<_>>()).is_finite());
    }

    #[test]
    fn storing_the_evidence_between_minutes_changes_nothing(
        start in start(),
        minutes in minutes(100_000),
        cut in 0..30_usize,
    ) {
        let at_once = fed(start, &minutes);
        let (first, rest) = minutes.split_at(cut.min(minutes.len()));
        let stored = serde_json::to_string(&fed(start, first)).unwrap();
        let mut in_steps: Evidence = serde_json::from_str(&stored).unwrap();
        for minute in rest {
            in_steps.add(minute);
        }
        prop_assert_eq!(in_steps, at_once);
    }

    #[test]
    fn one_more_bad_answer_of_the_canary_never_speaks_for_it(
        start in start(),
        mut minutes in minutes(10_000),
        at in any::<prop::sample::Index>(),
        baseline in counts(10_000),
        (good, bad) in (1..10_000_u64, 0..500_u64),
    ) {
        let at = at.index(minutes.len() + 1);
        minutes.insert(at, Minute { baseline, canary: Counts::new(good + bad, bad) });
        let mut worse = minutes.clone();
        worse[at].canary.bad += 1;
        let (before, after) = (fed(start, &minutes), fed(start, &worse));
        prop_assert!(at_least(after.harm(), before.harm()));
        prop_assert!(at_least(before.safe_ratio(), after.safe_ratio()));
        if let (Some(before), Some(after)) = (before.safe_ceiling(), after.safe_ceiling()) {
            prop_assert!(at_least(before, after));
        }
        if let (Some(before), Some(after)) = (before.harm_ceiling(), after.harm_ceiling()) {
            prop_assert!(at_least(after, before));
        }
    }

    #[test]
    fn one_more_bad_answer_of_the_champion_never_speaks_against_the_canary(
        start in start(),
        mut minutes in minutes(10_000),
        at in any::<prop::sample::Index>(),
        canary in counts(10_000),
        (good, bad) in (1..10_000_u64, 0..500_u64),
    ) {
        let at = at.index(minutes.len() + 1);
        minutes.insert(at, Minute { baseline: Counts::new(good + bad, bad), canary });
        let mut worse = minutes.clone();
        worse[at].baseline.bad += 1;
        let (before, after) = (fed(start, &minutes), fed(start, &worse));
        prop_assert!(at_least(before.harm(), after.harm()));
        prop_assert!(at_least(after.safe_ratio(), before.safe_ratio()));
    }

    #[test]
    fn minutes_without_traffic_or_bad_answers_change_neither_ratio(
        start in start(),
        minutes in minutes(10_000),
        (nb, nc) in (0..10_000_u64, 0..10_000_u64),
    ) {
        let before = fed(start, &minutes);
        let mut after = before.clone();
        for quiet in [[0, 0, 0, 0], [nb, 0, 0, 0], [0, 0, nc, 0], [nb, 0, nc, 0]] {
            after.add(&Minute::from(quiet));
        }
        prop_assert_eq!(after.harm().to_bits(), before.harm().to_bits());
        prop_assert_eq!(after.safe_ratio().to_bits(), before.safe_ratio().to_bits());
    }

    #[test]
    fn safe_is_never_said_of_a_rollout_that_a_guard_objects_to(
        rule in rule(),
        guards in prop::collection::vec((prop::option::of(0.001..0.5), minutes(5_000)), 1..8),
    ) {
        let guards: Vec<Evidence> =
            guards.iter().map(|(ceiling, minutes)| fed((rule, *ceiling, 1.0, None), minutes)).collect();
        let needed = (real(guards.len() as u64) / rule.alpha).ln();
        let objects = guards.iter().any(|g| g.harm() >= needed);
        match verdict(&rule, &guards) {
            Verdict::RollBack { guard } => {
                prop_assert!(objects);
                prop_assert!(guards.iter().all(|g| g.harm() <= guards[guard].harm()));
            }
            Verdict::Safe => {
                prop_assert!(!objects);
                prop_assert!(guards.iter().all(|g| g.strongest_safe() >= -rule.beta.ln()));
            }
            Verdict::Continue => prop_assert!(!objects),
        }
    }
}
