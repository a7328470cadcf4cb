//! Where a plan gets its course and traffic from.
#![allow(clippy::unwrap_used)]
use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    plan: args::Plan,
}

fn args(options: &[&str]) -> args::Plan {
    let line = std::iter::once(&"plan").chain(options);
    Line::try_parse_from(line).unwrap().plan
}

fn guard() -> Guard {
    Guard::default()
}

fn policy() -> Policy {
    let text = "[pipeline]\nname = \"p\"\ngroup = \"g\"\n[[stage]]\nname = \"a\"\nendpoint = \"e\"\n\
                [[stage]]\nname = \"b\"\nendpoint = \"f\"\n\
                strategy = { canary = [2, 20], minutes = 7, on_low_traffic = \"promote\" }\n\
                judge = { alpha = 0.02, warmup_minutes = 1 }\n";
    tidegate_core::pipeline::parse(text, "p.toml").unwrap()
}

#[test]
fn options_go_before_the_policy() {
    let policy = policy();
    let stage = stage(&policy, None).unwrap();
    let of = |options: &[&str]| course(&args(options), Some(stage), 1, &mut Vec::new()).unwrap();
    let plain = of(&[]);
    assert_eq!(
        (&plain.steps[..], plain.minutes, plain.warmup),
        (&[2, 20][..], 7, 1)
    );
    assert_eq!((plain.longest, plain.rule.alpha), (Some(42), 0.02));
    let other = of(&[
        "--steps",
        "10,50",
        "--alpha",
        "0.05",
        "--step-minutes",
        "60",
    ]);
    assert_eq!((&other.steps[..], other.minutes), (&[10, 50][..], 60));
    assert_eq!((other.longest, other.rule.alpha), (Some(360), 0.05));
}

#[test]
fn a_course_that_can_not_be_is_refused() {
    let of = |options: &[&str]| {
        course(&args(options), None, 1, &mut Vec::new())
            .unwrap_err()
            .what
    };
    assert_eq!(of(&["--steps", "25,5"]), "--steps has 5 after 25");
    assert_eq!(
        of(&["--steps", "1,2,3,4,5,6,7,8,9,10,11"]),
        "--steps has more than 10 steps"
    );
    assert_eq!(
        of(&["--tolerated-ratio", "2"]),
        "the margin ratio 1.5 is not more than the tolerated ratio 2"
    );
}

#[test]
fn a_stage_is_found_by_name_and_else_the_last() {
    let policy = policy();
    assert_eq!(stage(&policy, None).unwrap().name.as_str(), "b");
    assert_eq!(stage(&policy, Some("a")).unwrap().name.as_str(), "a");
    let problem = stage(&policy, Some("c")).unwrap_err();
    assert_eq!(problem.help, ["its stages are a, b"]);
}

#[test]
fn traffic_is_measured_on_all_variants() {
    let minutes: Vec<MinuteCounts> = (0..180)
        .map(|i| MinuteCounts {
            at: Timestamp::UNIX_EPOCH,
            variants: vec![
                vec![
                    Counts::new(0, 0),
                    Counts::new(90, 1 + 40 * u64::from(i % 30 == 0)),
                ],
                vec![Counts::new(0, 0), Counts::new(10, 1)],
            ],
        })
        .collect();
    let policy = policy();
    let mut notes = Vec::new();
    let history = of_guard(&minutes, 1);
    let traffic = traffic(
        &args(&[]),
        &guard(),
        Some(&history),
        &policy.stages[0],
        &mut notes,
    )
    .unwrap();
    assert!((traffic.requests - 100.0).abs() < 1e-9);
    assert!((traffic.rate - 0.033_333).abs() < 1e-5, "{}", traffic.rate);
    assert!(
        traffic.phi > 5.0 && notes[0].contains("bursts"),
        "{notes:?}"
    );
}

#[test]
fn nothing_bad_and_nothing_at_all_are_told_apart() {
    let policy = policy();
    let mut notes = Vec::new();
    let mut of = |counts: Counts, options: &[&str]| {
        let history = [counts; 180];
        traffic(
            &args(options),
            &guard(),
            Some(&history),
            &policy.stages[0],
            &mut notes,
        )
    };
    let clean = of(Counts::new(100, 0), &[]).unwrap();
    assert!((clean.rate - 1.0 / 18_001.0).abs() < 1e-12);
    assert!(of(Counts::new(0, 0), &[]).is_err());
    assert!(
        of(Counts::new(100, 100), &[])
            .unwrap_err()
            .what
            .contains("nothing worse")
    );
    let given = ["--requests-per-minute", "60", "--error-rate", "1%"];
    assert!(of(Counts::new(0, 0), &given).is_ok());
    assert!(notes[0].contains("none in 18,000 requests"), "{notes:?}");
}
