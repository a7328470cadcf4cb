//! The course of a planned rollout: its steps, its traffic, and when it goes on.

use tidegate_core::evidence::{BESIDE, Evidence, Outlook, Rule, needed};
pub(super) use tidegate_core::rollout::FEWEST_MINUTES;

/// The longest that a plan looks ahead, minutes: two weeks.
pub(super) const HORIZON: u32 = 20_160;

/// Steps and statistics.
#[derive(Debug, Clone)]
pub(super) struct Course {
    /// The canary's shares of traffic, percent, rising.
    pub(super) steps: Vec<u8>,
    /// The shortest time of a step, minutes.
    pub(super) minutes: u32,
    /// The fewest requests of the canary in a step.
    pub(super) min_requests: u64,
    /// The time after which a step ends also with fewer; none if it holds.
    pub(super) longest: Option<u32>,
    /// First minutes of a step that are left out.
    pub(super) warmup: u32,
    pub(super) rule: Rule,
    /// How many guards share alpha.
    pub(super) guards: usize,
}

impl Course {
    /// The evidence of harm that takes a canary back.
    pub(super) fn needed(&self) -> f64 {
        // The steps have their part of alpha, the bake has the rest.
        let rule = Rule {
            alpha: self.rule.alpha * BESIDE,
            ..self.rule
        };
        needed(&rule, self.guards)
    }

    /// The evidence that says safe.
    pub(super) fn safe_needed(&self) -> f64 {
        -self.rule.beta.ln()
    }

    /// The minute of a step from which on "safe" ends it.
    pub(super) fn earliest(&self) -> u32 {
        FEWEST_MINUTES.min(self.minutes)
    }

    /// The minutes of a step at which the canary has `requests` a minute, if nothing says safe.
    pub(super) fn step_minutes(&self, requests: f64) -> u32 {
        #[allow(clippy::cast_precision_loss)]
        let fill = (self.min_requests as f64 / requests).ceil();
        let most = self.longest.map_or(HORIZON, |longest| longest.max(1));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let fill = fill.min(f64::from(most)) as u32;
        fill.max(self.minutes)
    }

    /// The evidence of a guard before its first minute, aimed as a rollout's is. `unit` is what its
    /// counts are multiplied by, 1 or more.
    pub(super) fn evidence(&self, traffic: &Traffic, unit: f64) -> Evidence {
        let steps = self.steps.iter().map(|&percent| {
            let share = f64::from(percent) / 100.0;
            let minutes = self.step_minutes(traffic.requests * share);
            (share, f64::from(minutes.saturating_sub(self.warmup)))
        });
        let outlook = Outlook {
            requests: traffic.requests,
            rate: traffic.rate,
            steps: steps.collect(),
        };
        Evidence::new(&self.rule, traffic.ceiling, traffic.phi * unit)
            .aimed(&outlook, self.needed() / unit)
    }
}

/// What one guard sees of the endpoint.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    /// Requests a minute on all variants.
    pub(super) requests: f64,
    /// The champion's share of bad answers.
    pub(super) rate: f64,
    /// The dispersion that evidence is divided by, 1 or more.
    pub(super) phi: f64,
    /// The share of bad answers that is fine whatever the champion's is.
    pub(super) ceiling: Option<f64>,
}

impl Traffic {
    /// How much more alike than independent the answers of a minute are: what gives the whole
    /// endpoint's minutes their dispersion.
    pub(super) fn icc(&self) -> f64 {
        if self.phi > 1.0 && self.requests > 1.0 {
            ((self.phi - 1.0) / (self.requests - 1.0)).min(0.999)
        } else {
            0.0
        }
    }

    /// The dispersion of so many requests a minute.
    pub(super) fn phi_of(&self, requests: f64) -> f64 {
        1.0 + (requests - 1.0).max(0.0) * self.icc()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_lasts_until_it_has_its_requests() {
        let mut course = Course {
            steps: vec![5],
            minutes: 10,
            min_requests: 100,
            longest: None,
            warmup: 0,
            rule: Rule {
                alpha: 0.01,
                beta: 0.05,
                tolerated_ratio: 1.0,
                margin_ratio: 1.5,
            },
            guards: 2,
        };
        assert_eq!(course.step_minutes(30.0), 10);
        assert_eq!(course.step_minutes(3.0), 34);
        assert_eq!(course.step_minutes(1e-9), HORIZON);
        course.longest = Some(20);
        assert_eq!(course.step_minutes(3.0), 20);
        assert!((course.needed() - (2.0 / 0.009_f64).ln()).abs() < 1e-12);
    }

    #[test]
    fn bursts_of_the_whole_are_weaker_in_a_part() {
        let traffic = Traffic {
            requests: 601.0,
            rate: 0.01,
            phi: 4.0,
            ceiling: None,
        };
        assert!((traffic.icc() - 0.005).abs() < 1e-12);
        assert!((traffic.phi_of(601.0) - 4.0).abs() < 1e-12);
        assert!((traffic.phi_of(31.0) - 1.15).abs() < 1e-12);
    }
}
