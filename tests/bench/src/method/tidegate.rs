//! Our judge, used as the rollout uses it: dispersion and aim from the champion's history, each minute
//! taken once, those in which only one variant had requests together with what follows, a verdict
//! after each; the first one that says roll back counts.

use tidegate_core::evidence::{
    Counts, Evidence, Minute, Outlook, Rule, Verdict, dispersion, needed,
    tolerated_against_history, verdict, verdict_alone,
};
use tidegate_core::pipeline::Judge;

use super::Watch;
use crate::scenario::{Baseline, Scenario, WEIGHTS};
use crate::world::Past;

/// The objective of the scenarios without a live baseline.
const CEILING: f64 = 0.02;

/// "Safe" against history rules out half as much again as is tolerated, as the rollout does it.
const MARGIN_BEYOND: f64 = 1.5;

pub(super) struct Tidegate {
    rule: Rule,
    is_alone: bool,
    evidence: Vec<Evidence>,
}

impl Tidegate {
    pub(super) fn new(scenario: &Scenario, past: &Past) -> Self {
        let is_alone = scenario.baseline != Baseline::Live;
        // A version that is deployed alone has all of alpha for its one time, a canary nine tenths
        // for the time beside the champion.
        let rule = if is_alone {
            Rule::from(&Judge::default())
        } else {
            Rule::beside(&Judge::default())
        };
        let needed = needed(&rule, past.history.len());
        let evidence = past
            .history
            .iter()
            .enumerate()
            .map(|(g, history)| {
                let phi = dispersion(history);
                if is_alone {
                    let days = past.days.get(g).map(Vec::as_slice);
                    Evidence::new(&against_history(&rule, days), Some(CEILING), phi)
                } else {
                    let evidence = Evidence::new(&rule, None, phi);
                    match outlook(scenario, history) {
                        Some(outlook) => evidence.aimed(&outlook, needed),
                        None => evidence,
                    }
                }
            })
            .collect();
        Self {
            rule,
            is_alone,
            evidence,
        }
    }
}

/// What the steps can find, by the champion's history: the bench has no smallest number of requests.
fn outlook(scenario: &Scenario, history: &[Counts]) -> Option<Outlook> {
    let (requests, rate) = Outlook::traffic(history)?;
    let minutes = f64::from(scenario.step_minutes);
    Some(Outlook {
        requests,
        rate,
        steps: WEIGHTS.map(|weight| (weight, minutes)).to_vec(),
    })
}

fn against_history(rule: &Rule, days: Option<&[Counts]>) -> Rule {
    let tolerated_ratio = tolerated_against_history(rule.tolerated_ratio, days);
    Rule {
        tolerated_ratio,
        margin_ratio: rule.margin_ratio.max(tolerated_ratio * MARGIN_BEYOND),
        ..*rule
    }
}

impl Watch for Tidegate {
    fn minute(&mut self, guards: &[Minute]) -> bool {
        for (evidence, minute) in self.evidence.iter_mut().zip(guards) {
            evidence.gather(minute);
        }
        let says = if self.is_alone {
            verdict_alone(&self.rule, &self.evidence)
        } else {
            verdict(&self.rule, &self.evidence)
        };
        matches!(says, Verdict::RollBack { .. })
    }

    fn shifted(&mut self) {
        for evidence in &mut self.evidence {
            evidence.traffic_shifted();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::catalogue;

    #[test]
    fn it_rolls_back_when_the_canary_has_more_than_its_share() {
        let scenario = &catalogue()[1];
        let past = Past {
            history: vec![vec![Counts::new(600, 6); 180]],
            days: Vec::new(),
        };
        let mut fine = Tidegate::new(scenario, &past);
        let mut bad = Tidegate::new(scenario, &past);
        let alike = Minute::from([570, 6, 30, 0]);
        let worse = Minute::from([570, 6, 30, 6]);
        assert!((0..60).all(|_| !fine.minute(&[alike])));
        assert_eq!((0..60).position(|_| bad.minute(&[worse])), Some(0));
    }

    #[test]
    fn an_hour_like_yesterdays_is_let_pass_and_five_times_as_many_are_not() {
        let all = catalogue();
        let Some(scenario) = all.iter().find(|s| s.name == "alone-0") else {
            unreachable!("the catalogue has it")
        };
        let past = Past {
            history: vec![vec![Counts::new(600, 6); 180]],
            days: vec![vec![Counts::new(36_000, 360); 7]],
        };
        let mut fine = Tidegate::new(scenario, &past);
        assert!((0..60).all(|_| !fine.minute(&[Minute::from([600, 6, 600, 6])])));
        let mut bad = Tidegate::new(scenario, &past);
        assert!((0..3).any(|_| bad.minute(&[Minute::from([600, 6, 600, 30])])));
    }
}
