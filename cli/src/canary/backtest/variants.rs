//! Which of an endpoint's variants was the canary: the one whose traffic began later, if exactly
//! two had any; else a person has to say.

use jiff::Timestamp;
use tidegate_core::world::MinuteCounts;

use crate::error::{Exit, Problem};
use crate::render::{number, utc};

/// The canary and what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) baseline: String,
    pub(super) canary: String,
}

/// A variant's traffic in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    /// The first minute with requests.
    pub(super) first: Timestamp,
    pub(super) requests: u64,
}

/// The variants that had requests, by the minutes of all in the order of `names`.
pub(super) fn seen(names: &[String], minutes: &[MinuteCounts]) -> Vec<Seen> {
    let requests = |minute: &MinuteCounts, v: usize| {
        let counts = minute.variants.get(v).and_then(|guards| guards.first());
        counts.map_or(0, |c| c.requests)
    };
    names
        .iter()
        .enumerate()
        .filter_map(|(v, name)| {
            let first = minutes.iter().find(|m| requests(m, v) > 0)?.at;
            let sum = |sum: u64, m: &MinuteCounts| sum.saturating_add(requests(m, v));
            Some(Seen {
                name: name.clone(),
                first,
                requests: minutes.iter().fold(0, sum),
            })
        })
        .collect()
}

/// Which is which. `canary` and `baseline` are what a person said.
pub(super) fn pair(
    seen: &[Seen],
    canary: Option<&str>,
    baseline: Option<&str>,
) -> Result<Pair, Problem> {
    for said in [canary, baseline].into_iter().flatten() {
        if !seen.iter().any(|v| v.name == said) {
            let what = format!("the variant {said:?} had no requests in that time");
            return Err(listed(Problem::new(Exit::No, what), seen));
        }
    }
    if canary.is_some() && canary == baseline {
        return Err(
            Problem::new(Exit::Usage, "the canary can't be compared with itself")
                .help("give --canary and --baseline different variants"),
        );
    }
    let others: Vec<&Seen> = seen
        .iter()
        .filter(|v| Some(v.name.as_str()) != canary && Some(v.name.as_str()) != baseline)
        .collect();
    let pair = |canary: &str, baseline: &str| {
        Ok(Pair {
            canary: canary.to_owned(),
            baseline: baseline.to_owned(),
        })
    };
    match (canary, baseline, others.as_slice()) {
        (Some(canary), Some(baseline), _) => pair(canary, baseline),
        (Some(canary), None, [other]) => pair(canary, &other.name),
        (None, Some(baseline), [other]) => pair(&other.name, baseline),
        (None, None, [a, b]) if a.first < b.first => pair(&b.name, &a.name),
        (None, None, [a, b]) if b.first < a.first => pair(&a.name, &b.name),
        (None, None, [_, _]) => Err(listed(
            Problem::new(
                Exit::No,
                "both variants had requests from the same minute on: which is the canary?",
            ),
            seen,
        )
        .help("say it with --canary, or begin earlier with --from")),
        _ => {
            let variants = if seen.len() == 1 {
                "variant"
            } else {
                "variants"
            };
            let what = format!(
                "{} {variants} had requests in that time: two are compared",
                seen.len()
            );
            let problem = listed(Problem::new(Exit::No, what), seen);
            Err(if seen.len() < 2 {
                // What serves is asked of SageMaker; what is gone is known from `ListMetrics` alone.
                problem
                    .help("choose a time in which a canary had traffic, with --from and --to")
                    .help(
                        "or name both with --canary and --baseline: CloudWatch lists a variant \
                         that is gone some 15 minutes after its first request",
                    )
            } else {
                problem.help("say which two with --canary and --baseline")
            })
        }
    }
}

/// The problem with the variants that there are.
fn listed(problem: Problem, seen: &[Seen]) -> Problem {
    let mut seen: Vec<&Seen> = seen.iter().collect();
    seen.sort_by(|a, b| a.first.cmp(&b.first).then(a.name.cmp(&b.name)));
    seen.into_iter().fold(problem, |problem, v| {
        problem.help(format!(
            "{}: {} requests, the first at {} UTC",
            v.name,
            number(v.requests),
            utc(v.first).get(..16).unwrap_or_default()
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn variant(name: &str, first: &str, requests: u64) -> Seen {
        Seen {
            name: name.to_owned(),
            first: format!("2026-11-24T{first}:00Z").parse().unwrap(),
            requests,
        }
    }

    fn names(pair: &Pair) -> (&str, &str) {
        (&pair.canary, &pair.baseline)
    }

    #[test]
    fn the_canary_began_later_whatever_it_is_called() {
        let [old, new] = [variant("z", "20:00", 9_000), variant("a", "21:00", 500)];
        for seen in [[old.clone(), new.clone()], [new, old]] {
            assert_eq!(names(&pair(&seen, None, None).unwrap()), ("a", "z"));
            assert_eq!(names(&pair(&seen, Some("z"), None).unwrap()), ("z", "a"));
            assert_eq!(names(&pair(&seen, None, Some("a")).unwrap()), ("z", "a"));
        }
    }

    #[test]
    fn what_is_not_clear_is_asked_with_what_there_is() {
        let three = [
            variant("v1", "20:00", 9_000),
            variant("v2", "21:00", 500),
            variant("v3", "22:00", 1_500),
        ];
        let problem = pair(&three, None, None).unwrap_err();
        assert_eq!(
            problem.what,
            "3 variants had requests in that time: two are compared"
        );
        assert_eq!(
            problem.help[2],
            "v3: 1,500 requests, the first at 2026-11-24 22:00 UTC"
        );
        assert!(problem.help[3].contains("--canary"), "{:?}", problem.help);
        assert_eq!(
            names(&pair(&three, Some("v3"), Some("v1")).unwrap()),
            ("v3", "v1")
        );

        let same = [variant("v1", "20:00", 9), variant("v2", "20:00", 5)];
        assert!(
            pair(&same, None, None)
                .unwrap_err()
                .what
                .contains("which is the canary")
        );
        let one = &three[..1];
        assert!(
            pair(one, None, None)
                .unwrap_err()
                .what
                .starts_with("1 variant had")
        );
        let problem = pair(one, Some("v2"), None).unwrap_err();
        assert!(
            problem.what.contains("\"v2\" had no requests"),
            "{}",
            problem.what
        );
        assert_eq!(
            pair(&same, Some("v1"), Some("v1")).unwrap_err().exit,
            Exit::Usage
        );
    }
}
