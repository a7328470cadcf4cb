//! Judges minutes of the past one by one, as a rollout would have: the same evidence and verdicts
//! ([`tidegate_core::evidence`]), the first of which stands.

use jiff::Timestamp;
use tidegate_core::evidence::{
    Counts, Evidence, Minute, Rule, Verdict, dispersion, needed, verdict,
};
use tidegate_core::pipeline::Guard;
use tidegate_core::rollout::{Against, GuardReport};
use tidegate_core::world::MinuteCounts;

/// What the judge would have said.
#[derive(Debug)]
pub(super) struct Replay {
    /// What each guard knew when the canary would have been taken back, else at the end.
    pub(super) reports: Vec<GuardReport>,
    /// The minutes with requests on the canary or the baseline.
    pub(super) judged: Vec<Judged>,
    /// The guard that would have taken it back, and the minute.
    pub(super) crossed: Option<(usize, Timestamp)>,
    /// The first minute after which all guards said safe.
    pub(super) safe: Option<Timestamp>,
    /// What the canary still answered after the minute that crossed, by the guard that objected.
    pub(super) after: Counts,
    /// Minutes in which only the canary had requests: there was nothing to compare them with.
    pub(super) alone: usize,
}

/// A judged minute.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) at: Timestamp,
    /// By guard.
    pub(super) minutes: Vec<Minute>,
    /// Evidence of the guard that objects most.
    pub(super) harm: f64,
}

/// Judges minutes whose first variant is the baseline and whose second is the canary. `history` has
/// the baseline's minutes before, by guard.
pub(super) fn replay(
    rule: &Rule,
    guards: &[Guard],
    history: &[Vec<Counts>],
    minutes: &[MinuteCounts],
) -> Replay {
    let mut evidence: Vec<Evidence> = guards
        .iter()
        .enumerate()
        .map(|(g, guard)| {
            let phi = dispersion(history.get(g).map_or(&[], Vec::as_slice));
            Evidence::new(rule, guard.ceiling, phi)
        })
        .collect();
    let mut frozen = None;
    let mut replay = Replay {
        reports: Vec::new(),
        judged: Vec::new(),
        crossed: None,
        safe: None,
        after: Counts::default(),
        alone: 0,
    };
    for counts in minutes {
        let minutes: Vec<Minute> = (0..guards.len()).map(|g| minute(counts, g)).collect();
        let of = |side: fn(&Minute) -> Counts| minutes.iter().any(|m| side(m).requests > 0);
        let (on_canary, on_baseline) = (of(|m| m.canary), of(|m| m.baseline));
        if !on_canary && !on_baseline {
            continue;
        }
        replay.alone += usize::from(on_canary && !on_baseline);
        if let Some((guard, _)) = replay.crossed
            && let Some(minute) = minutes.get(guard)
        {
            replay.after = replay.after.plus(minute.canary.clamped());
        }
        for (evidence, minute) in evidence.iter_mut().zip(&minutes) {
            evidence.gather(minute);
        }
        let harm = evidence
            .iter()
            .map(Evidence::harm)
            .fold(f64::NEG_INFINITY, f64::max);
        replay.judged.push(Judged {
            at: counts.at,
            minutes,
            harm,
        });
        match verdict(rule, &evidence) {
            Verdict::RollBack { guard } if replay.crossed.is_none() => {
                replay.crossed = Some((guard, counts.at));
                frozen = Some(evidence.clone());
            }
            Verdict::Safe if replay.crossed.is_none() && replay.safe.is_none() => {
                replay.safe = Some(counts.at);
            }
            _ => {}
        }
    }
    let told = frozen.unwrap_or(evidence);
    let needed = needed(rule, guards.len());
    replay.reports = guards
        .iter()
        .zip(&told)
        .enumerate()
        .map(|(g, (guard, evidence))| GuardReport {
            guard: guard.metric.words(),
            key: guard.metric.key(),
            of: guard.metric.of_what().to_owned(),
            against: Against::Champion,
            needed,
            crossed: replay.crossed.filter(|(by, _)| *by == g).map(|(_, at)| at),
            report: evidence.report(false),
        })
        .collect();
    replay
}

fn minute(counts: &MinuteCounts, guard: usize) -> Minute {
    let of = |variant: usize| {
        let counts = counts.variants.get(variant).and_then(|v| v.get(guard));
        counts.copied().unwrap_or_default()
    };
    Minute {
        baseline: of(0),
        canary: of(1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jiff::SignedDuration;
    use tidegate_core::pipeline::{CountMetric, GuardMetric};

    const RULE: Rule = Rule {
        alpha: 0.01,
        beta: 0.05,
        tolerated_ratio: 1.0,
        margin_ratio: 1.5,
    };

    fn guards() -> Vec<Guard> {
        let guard = |metric, ceiling| Guard {
            metric: GuardMetric::Metric(metric),
            ceiling,
        };
        vec![
            guard(CountMetric::ModelErrors, None),
            guard(CountMetric::ClientErrors, Some(0.2)),
        ]
    }

    /// Minutes of both guards: `[nB, bB, nC, bC]` of the first; the second is never bad.
    fn minutes(counts: &[[u64; 4]]) -> Vec<MinuteCounts> {
        let begin: Timestamp = "2026-11-24T21:00:00Z".parse().unwrap();
        let of = |(i, [nb, bb, nc, bc]): (usize, &[u64; 4])| MinuteCounts {
            at: begin + SignedDuration::from_mins(i64::try_from(i).unwrap()),
            variants: vec![
                vec![Counts::new(*nb, *bb), Counts::new(*nb, 0)],
                vec![Counts::new(*nc, *bc), Counts::new(*nc, 0)],
            ],
        };
        counts.iter().enumerate().map(of).collect()
    }

    #[test]
    fn a_canary_that_does_harm_would_have_been_taken_back_and_its_later_harm_is_counted() {
        let mut counts = vec![[900, 9, 100, 1]; 5];
        counts.extend([[900, 9, 100, 30]; 10]);
        let replay = replay(&RULE, &guards(), &[], &minutes(&counts));
        let (guard, at) = replay.crossed.unwrap();
        assert_eq!(
            (guard, at.to_string().as_str()),
            (0, "2026-11-24T21:05:00Z")
        );
        assert_eq!(replay.after, Counts::new(900, 270));
        // The facts are those of that minute, and the evidence goes on.
        assert_eq!(replay.reports[0].report.canary.requests, 600);
        assert_eq!(replay.reports[0].crossed, Some(at));
        assert_eq!(replay.reports[1].crossed, None);
        assert_eq!(replay.judged.len(), 15);
        assert_eq!(replay.safe, None);
    }

    #[test]
    fn a_healthy_canary_would_have_been_called_safe_once_all_guards_say_so() {
        let replay = replay(
            &RULE,
            &guards(),
            &[],
            &minutes(&[[5_000, 50, 5_000, 50]; 40]),
        );
        assert_eq!(replay.crossed, None);
        let safe = replay.safe.unwrap();
        assert!(safe > "2026-11-24T21:00:00Z".parse().unwrap(), "{safe}");
        assert_eq!(replay.after, Counts::default());
    }

    #[test]
    fn minutes_without_requests_are_no_minutes_and_a_canary_alone_is_counted() {
        let counts = [
            [0, 0, 0, 0],
            [900, 9, 100, 1],
            [0, 0, 0, 0],
            [0, 0, 1_000, 500],
        ];
        let replay = replay(&RULE, &guards(), &[], &minutes(&counts));
        assert_eq!((replay.judged.len(), replay.alone), (2, 1));
        assert_eq!(replay.crossed, None, "nothing was there to compare with");
    }
}
