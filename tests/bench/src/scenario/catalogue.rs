//! The scenarios that are judged, in the order of the table.

use super::{Baseline, Cycle, Guard, Hump, Incident, Scenario};

/// An endpoint of 600 requests a minute with nothing special: most scenarios change a thing or two.
fn steady(name: &'static str, words: &'static str, guards: Vec<Guard>) -> Scenario {
    Scenario {
        name,
        words,
        is_headline: false,
        baseline: Baseline::Live,
        traffic: 600.0,
        burst_shape: None,
        step_minutes: 15,
        guards,
        incident: None,
        cycle: None,
        expected: None,
    }
}

fn healthy(name: &'static str, words: &'static str, rate: f64, traffic: f64) -> Scenario {
    Scenario {
        traffic,
        ..steady(name, words, vec![Guard::healthy(rate)])
    }
}

fn worse(name: &'static str, words: &'static str, rate: f64, ratio: f64, traffic: f64) -> Scenario {
    Scenario {
        traffic,
        ..steady(name, words, vec![Guard::worse(rate, ratio)])
    }
}

fn headline(scenario: Scenario) -> Scenario {
    Scenario {
        is_headline: true,
        ..scenario
    }
}

fn bursty(mut scenario: Scenario, icc: f64) -> Scenario {
    for guard in &mut scenario.guards {
        guard.icc = icc;
    }
    scenario
}

/// The share of slow answers that a latency objective is usually set at.
const SLOW: f64 = 0.005;

/// All scenarios.
pub(crate) fn catalogue() -> Vec<Scenario> {
    let mut all = healthy_live();
    all.extend(regressions());
    all.extend(special_regressions());
    all.extend(alone());
    all
}

fn healthy_live() -> Vec<Scenario> {
    let hump = |rate| Guard {
        hump: Some(Hump {
            times: 10.0,
            minutes: 3.0,
        }),
        ..Guard::healthy(rate)
    };
    vec![
        headline(healthy("fine-0.1%", "0.1 % errors, 600/min", 0.001, 600.0)),
        headline(healthy("fine-1%", "1 % errors, 600/min", 0.01, 600.0)),
        headline(healthy("fine-5%", "5 % errors, 600/min", 0.05, 600.0)),
        healthy("fine-10/min", "1 % errors, 10/min", 0.01, 10.0),
        healthy("fine-100/min", "1 % errors, 100/min", 0.01, 100.0),
        healthy("fine-6000/min", "1 % errors, 6,000/min", 0.01, 6_000.0),
        headline(healthy(
            "fine-100000/min",
            "1 % errors, 100,000/min",
            0.01,
            100_000.0,
        )),
        headline(Scenario {
            incident: Some(Incident {
                added: 0.05,
                minutes: 5,
            }),
            ..healthy(
                "fine-incident",
                "1 %, incident of +5 points for 5 min on both",
                0.01,
                600.0,
            )
        }),
        headline(bursty(
            healthy(
                "fine-bursty-0.01",
                "1 %, bursty errors (icc 0.01)",
                0.01,
                600.0,
            ),
            0.01,
        )),
        headline(bursty(
            healthy(
                "fine-bursty-0.05",
                "1 %, bursty errors (icc 0.05)",
                0.01,
                600.0,
            ),
            0.05,
        )),
        Scenario {
            burst_shape: Some(1.0),
            ..healthy("fine-bursty-traffic", "1 %, bursty traffic", 0.01, 600.0)
        },
        bursty(
            Scenario {
                burst_shape: Some(1.0),
                ..healthy(
                    "fine-bursty-both",
                    "1 %, bursty traffic and errors (icc 0.01)",
                    0.01,
                    600.0,
                )
            },
            0.01,
        ),
        headline(Scenario {
            step_minutes: 360,
            cycle: Some(Cycle {
                traffic: 0.6,
                rate: 0.5,
            }),
            ..healthy("fine-day", "1 %, daily cycle, a day long", 0.01, 600.0)
        }),
        headline(steady(
            "fine-cold-start",
            "1 %, cold start after each shift",
            vec![hump(0.01)],
        )),
        steady(
            "fine-cold-latency",
            "1 %, cold start of latency alone",
            vec![Guard::healthy(0.01), hump(SLOW)],
        ),
        steady(
            "fine-two-guards",
            "0.1 % errors, 0.5 % slow",
            vec![Guard::healthy(0.001), Guard::healthy(SLOW)],
        ),
        Scenario {
            step_minutes: 120,
            ..healthy("fine-low-10/min", "1 %, 10/min, 8 hours", 0.01, 10.0)
        },
        headline(Scenario {
            step_minutes: 120,
            ..healthy("fine-low-1/min", "1 %, 1/min, 8 hours", 0.01, 1.0)
        }),
    ]
}

fn regressions() -> Vec<Scenario> {
    vec![
        worse("0.1%x2", "0.1 % to 0.2 %, 6,000/min", 0.001, 2.0, 6_000.0),
        worse("0.1%x3", "0.1 % to 0.3 %, 600/min", 0.001, 3.0, 600.0),
        worse("0.1%x5", "0.1 % to 0.5 %, 600/min", 0.001, 5.0, 600.0),
        worse("0.1%x10", "0.1 % to 1 %, 600/min", 0.001, 10.0, 600.0),
        headline(worse(
            "0.1%x50",
            "0.1 % to 5 %, 600/min",
            0.001,
            50.0,
            600.0,
        )),
        headline(worse("0.2%x5", "0.2 % to 1 %, 600/min", 0.002, 5.0, 600.0)),
        headline(worse(
            "0.1%x1.5-100000",
            "0.1 % to 0.15 %, 100,000/min",
            0.001,
            1.5,
            100_000.0,
        )),
        worse("1%x1.5-600", "1 % to 1.5 %, 600/min", 0.01, 1.5, 600.0),
        headline(worse(
            "1%x1.5",
            "1 % to 1.5 %, 6,000/min",
            0.01,
            1.5,
            6_000.0,
        )),
        worse("1%x2-10", "1 % to 2 %, 10/min", 0.01, 2.0, 10.0),
        worse("1%x2-100", "1 % to 2 %, 100/min", 0.01, 2.0, 100.0),
        headline(worse("1%x2", "1 % to 2 %, 600/min", 0.01, 2.0, 600.0)),
        headline(worse(
            "1%x2-6000",
            "1 % to 2 %, 6,000/min",
            0.01,
            2.0,
            6_000.0,
        )),
        worse(
            "1%x2-100000",
            "1 % to 2 %, 100,000/min",
            0.01,
            2.0,
            100_000.0,
        ),
        worse("1%x3", "1 % to 3 %, 600/min", 0.01, 3.0, 600.0),
        worse("1%x5-100", "1 % to 5 %, 100/min", 0.01, 5.0, 100.0),
        headline(worse("1%x5", "1 % to 5 %, 600/min", 0.01, 5.0, 600.0)),
        worse("1%x10", "1 % to 10 %, 600/min", 0.01, 10.0, 600.0),
        worse("1%x50", "1 % to 50 %, 600/min", 0.01, 50.0, 600.0),
        headline(worse("5%x1.5", "5 % to 7.5 %, 600/min", 0.05, 1.5, 600.0)),
        worse("5%x2", "5 % to 10 %, 600/min", 0.05, 2.0, 600.0),
        worse("5%x3", "5 % to 15 %, 600/min", 0.05, 3.0, 600.0),
        worse("5%x5", "5 % to 25 %, 600/min", 0.05, 5.0, 600.0),
        worse("5%x10", "5 % to 50 %, 600/min", 0.05, 10.0, 600.0),
    ]
}

fn special_regressions() -> Vec<Scenario> {
    let slow = |name, words, ratio| {
        steady(
            name,
            words,
            vec![Guard::healthy(0.001), Guard::worse(SLOW, ratio)],
        )
    };
    vec![
        headline(bursty(
            worse(
                "1%x5-bursty-0.01",
                "1 % to 5 %, bursty (icc 0.01)",
                0.01,
                5.0,
                600.0,
            ),
            0.01,
        )),
        bursty(
            worse(
                "1%x5-bursty-0.05",
                "1 % to 5 %, bursty (icc 0.05)",
                0.01,
                5.0,
                600.0,
            ),
            0.05,
        ),
        bursty(
            worse(
                "1%x10-bursty-0.05",
                "1 % to 10 %, bursty (icc 0.05)",
                0.01,
                10.0,
                600.0,
            ),
            0.05,
        ),
        Scenario {
            burst_shape: Some(1.0),
            ..worse(
                "1%x2-traffic",
                "1 % to 2 %, bursty traffic",
                0.01,
                2.0,
                600.0,
            )
        },
        headline(slow("slow-x3", "0.5 % slow to 1.5 %, errors alike", 3.0)),
        slow("slow-x5", "0.5 % slow to 2.5 %, errors alike", 5.0),
        headline(Scenario {
            step_minutes: 120,
            ..worse(
                "low-10/min-x5",
                "1 % to 5 %, 10/min, 8 hours",
                0.01,
                5.0,
                10.0,
            )
        }),
        Scenario {
            step_minutes: 120,
            ..worse(
                "low-1/min-x50",
                "1 % to 50 %, 1/min, 8 hours",
                0.01,
                50.0,
                1.0,
            )
        },
    ]
}

/// All at once: the canary has all the traffic for an hour and is compared with yesterday. What is
/// expected was measured with a tolerated ratio of 1.5, and of 2 for the last healthy one.
fn alone() -> Vec<Scenario> {
    let yesterday = |scenario: Scenario, spread, expected| Scenario {
        baseline: Baseline::Yesterday { spread },
        expected,
        ..scenario
    };
    let healthy = |name, words, traffic| healthy(name, words, 0.01, traffic);
    let worse = |name, words, ratio| worse(name, words, 0.01, ratio, 600.0);
    vec![
        headline(yesterday(
            healthy("alone-0", "1 %, days alike", 600.0),
            0.0,
            Some("0.0"),
        )),
        headline(yesterday(
            healthy("alone-0.1", "1 %, days differ by 0.1", 600.0),
            0.1,
            Some("0.0"),
        )),
        headline(yesterday(
            healthy("alone-0.2", "1 %, days differ by 0.2", 600.0),
            0.2,
            Some("0.1"),
        )),
        yesterday(
            healthy(
                "alone-0.2-6000",
                "1 %, days differ by 0.2, 6,000/min",
                6_000.0,
            ),
            0.2,
            Some("1.2"),
        ),
        headline(yesterday(
            healthy("alone-0.3", "1 %, days differ by 0.3", 600.0),
            0.3,
            Some("0.1"),
        )),
        yesterday(
            worse("alone-x2-0", "1 % to 2 %, days alike", 2.0),
            0.0,
            Some("65, 41 min"),
        ),
        headline(yesterday(
            worse("alone-x2-0.2", "1 % to 2 %, days differ by 0.2", 2.0),
            0.2,
            None,
        )),
        yesterday(
            worse("alone-x5-0", "1 % to 5 %, days alike", 5.0),
            0.0,
            Some("100, 2 min"),
        ),
        headline(yesterday(
            worse("alone-x5-0.2", "1 % to 5 %, days differ by 0.2", 5.0),
            0.2,
            None,
        )),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_rates_that_can_be() {
        let all = catalogue();
        let names: HashSet<_> = all.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), all.len());
        for scenario in &all {
            assert!(scenario.traffic > 0.0 && scenario.step_minutes > 0);
            assert!(
                (1..=3).contains(&scenario.guards.len()),
                "{}",
                scenario.name
            );
            for guard in &scenario.guards {
                assert!(guard.rate > 0.0 && guard.rate * guard.ratio < 1.0);
            }
        }
    }

    #[test]
    fn the_canary_gets_more_with_each_step() {
        let scenario = healthy("a", "a", 0.01, 600.0);
        let weights = [0, 14, 15, 30, 45, 59, 999].map(|at| scenario.weight(at));
        assert_eq!(weights, [0.05, 0.05, 0.10, 0.25, 0.50, 0.50, 0.50]);
        assert_eq!(scenario.minutes(), 60);
    }
}
