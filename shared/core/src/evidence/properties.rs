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

fn start() -> impl Strategy<Value = (Rule, Option<f64>, f64)> {
    (rule(), prop::option::of(1e-6..0.999_999), 1.0..50.0)
}

fn fed((rule, ceiling, phi): (Rule, Option<f64>, f64), minutes: &[Minute]) -> Evidence {
    let mut evidence = Evidence::new(&rule, ceiling, phi);
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
    fn safe_is_never_said_of_a_rollout_that_a_guard_objects_to(
        rule in rule(),
        guards in prop::collection::vec((prop::option::of(0.001..0.5), minutes(5_000)), 1..8),
    ) {
        let guards: Vec<Evidence> =
            guards.iter().map(|(ceiling, minutes)| fed((rule, *ceiling, 1.0), minutes)).collect();
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
