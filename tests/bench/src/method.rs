//! The ways to judge a canary that are put side by side. Each sees the same minutes, and says after
//! which one it rolls back.

mod alarm;
mod argo;
mod flagger;
mod guardrails;
mod kayenta;
mod tidegate;
mod wald;
mod z_test;

use serde::Serialize;
use tidegate_core::evidence::{Counts, Minute};

use crate::scenario::Scenario;
use crate::world::Past;

/// The success rate that threshold rules ask for is usually 99 %; so many bad ones are let pass.
const BAD_ALLOWED: f64 = 0.01;

/// A way to judge a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// Ours.
    Tidegate,
    /// Flagger's `request-success-rate` and failure threshold.
    Flagger,
    /// A `CloudWatch` alarm on the canary.
    Alarm,
    /// `SageMaker`'s deployment guardrails.
    Guardrails,
    /// An analysis of Argo Rollouts.
    Argo,
    /// Kayenta's default judge.
    Kayenta,
    /// A test of two proportions each minute.
    ZTest,
    /// The best sequential test there is, which knows beforehand what it looks for.
    Wald,
}

impl Method {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 8] = [
        Self::Tidegate,
        Self::Flagger,
        Self::Alarm,
        Self::Guardrails,
        Self::Argo,
        Self::Kayenta,
        Self::ZTest,
        Self::Wald,
    ];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "Tidegate",
            Self::Flagger => "Flagger",
            Self::Alarm => "Alarm",
            Self::Guardrails => "Guardrails",
            Self::Argo => "Argo",
            Self::Kayenta => "Kayenta",
            Self::ZTest => "z-test",
            Self::Wald => "Wald",
        }
    }

    /// How it is set up here, in a line.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Tidegate => "the default policy: alpha 1 %, any crossing rolls back",
            Self::Flagger => "request-success-rate of at least 99 % each minute, threshold 5",
            Self::Alarm => "CloudWatch, canary's bad answers over 1 %, 3 of 3 periods of a minute",
            Self::Guardrails => {
                "SageMaker's auto-rollback, alarm on the new fleet over 1 %, 2 periods of 5 minutes"
            }
            Self::Argo => "Argo Rollouts, success rate at least 0.99 each minute, failureLimit 3",
            Self::Kayenta => {
                "Mann-Whitney, 98 %, tolerance 0.25, after each step on all minutes so far"
            }
            Self::Wald => {
                "Wald's test of alpha 1 % that knows how much worse the canary is; twice, where it is not"
            }
            Self::ZTest => "two proportions on the counts so far, one-sided p < 0.01, each minute",
        }
    }

    /// Begins to watch a rollout.
    pub(crate) fn watch(self, scenario: &Scenario, past: &Past) -> Box<dyn Watch> {
        let guards = scenario.guards.len();
        match self {
            Self::Tidegate => Box::new(tidegate::Tidegate::new(scenario, past)),
            Self::Flagger => Box::new(flagger::Flagger::default()),
            Self::Alarm => Box::new(alarm::Alarm::new(guards)),
            Self::Guardrails => Box::new(guardrails::Guardrails::new(guards)),
            Self::Argo => Box::new(argo::Argo::new(guards)),
            Self::Kayenta => Box::new(kayenta::Kayenta::new(guards, scenario.step_minutes)),
            Self::ZTest => Box::new(z_test::ZTest::new(guards)),
            Self::Wald => Box::new(wald::Wald::new(scenario)),
        }
    }
}

/// A rollout under one method's eyes.
pub(crate) trait Watch {
    /// Takes the next minute, one count for each guard; true is "roll back".
    fn minute(&mut self, guards: &[Minute]) -> bool;

    /// The shares of traffic changed before the next minute.
    fn shifted(&mut self) {}
}

/// Whether more than 1 % were bad; nothing is known of no requests.
fn is_over(counts: Counts) -> Option<bool> {
    counts.rate().map(|rate| rate > BAD_ALLOWED)
}

#[cfg(test)]
fn minutes_until(watch: &mut dyn Watch, canary: &[(u64, u64)]) -> Option<usize> {
    canary.iter().position(|(requests, bad)| {
        watch.minute(&[Minute {
            baseline: Counts::new(1_000, 10),
            canary: Counts::new(*requests, *bad),
        }])
    })
}
