//! A rollout: moving one endpoint from its champion to a candidate, and back if need be.
//!
//! `Preparing -> Smoke -> Step(1..n) -> Promoting -> Baking -> Reducing -> Done`, and from each of
//! them `RollingBack -> RolledBack` (or `Superseded`). The machine looks at what the endpoint *is*
//! ([`crate::world::Endpoint`]) and asks for what it should be next, so that late, doubled and lost
//! events do no harm.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;
use crate::evidence::{Counts, Evidence, Minute};
use crate::mutation::Mutation;
use crate::name::{EndpointName, PackageVersion, RolloutId, StageName};
use crate::pipeline::Stage;

mod advance;
mod finish;
mod judge;
mod moves;
mod names;
mod phases;
mod settle;
mod share;
mod start;
mod undo;

pub use advance::{advance, needs, resume};
pub use moves::Moves;
pub use names::rollout_id;
pub use settle::effect_failed;
pub use start::{Start, needs_to_start, start};
pub use undo::roll_back;

/// How often a way back is asked for before a person has to look.
pub const UNDO_ATTEMPTS: u8 = 5;

/// How many minutes of counts a rollout keeps, the newest.
pub const KEPT_MINUTES: usize = 1_440;

/// How many minutes of the champion's history the verdict starts from.
pub const HISTORY_MINUTES: i64 = 180;

/// How often the same deployment is asked for before it is undone.
pub const ATTEMPTS: u8 = 2;

/// One rollout.
// Each of its booleans is a fact of its own.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// The stage.
    pub stage: StageName,
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The version that is rolled out.
    pub candidate: Candidate,
    /// The candidate's model (in SageMaker's sense).
    pub model: String,
    /// The candidate's variant while it is a canary.
    pub canary: String,
    /// What served before; none if the endpoint is created by this rollout.
    pub incumbent: Option<Incumbent>,
    /// The config with the candidate in it: beside the incumbent, or alone at a first deployment.
    pub config: String,
    /// The config with the candidate alone, after the bake.
    pub final_config: String,
    /// The candidate's variant in it.
    pub final_variant: String,
    /// The stage's policy as it was when the rollout started: an edit does not change a rollout
    /// that is under way.
    pub plan: Stage,
    /// Whether it takes the place of a version that must not serve any more.
    pub urgent: bool,
    /// Whether it is deployed alone, with no canary beside what serves, because the package of what
    /// serves is not Approved: such a package can't be deployed again, not even as a champion.
    #[serde(default)]
    pub replaces: bool,
    /// Where it is.
    pub phase: Phase,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How often the present phase's call was asked for.
    pub attempts: u8,
    /// What AWS last refused of it, for people: SageMaker does not say it again.
    #[serde(default)]
    pub refused: Option<String>,
    /// The champion's minutes before the rollout, by guard.
    pub history: Vec<Vec<Counts>>,
    /// The evidence, by guard, since traffic first reached the canary.
    pub evidence: Vec<Evidence>,
    /// The evidence against history, by guard, since the candidate has all the traffic.
    pub alone: Vec<Evidence>,
    /// All minutes before this are judged.
    pub judged_until: Option<Timestamp>,
    /// The judged minutes, the newest [`KEPT_MINUTES`].
    pub minutes: Vec<JudgedMinute>,
    /// The canary's share of traffic over time, percent: when it was confirmed to be so.
    pub weights: Vec<(Timestamp, u8)>,
    /// Whether the champion had to come back by a config of its own, because its variant had gone.
    pub went_back_by_own_config: bool,
    /// Whether people were told that something holds it up; once per phase.
    pub told_of_wait: bool,
}

/// What served an endpoint before a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incumbent {
    /// Its version, if Tidegate deployed it or its package is of the group.
    pub version: Option<PackageVersion>,
    /// Its config.
    pub config: String,
    /// Its variant.
    pub variant: String,
    /// Its model.
    pub model: String,
    /// How many instances it had when the rollout started.
    pub count: u32,
    /// Whether Tidegate made its config and model, and so may delete them.
    pub ours: bool,
}

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// A fleet for the champion and the canary comes up.
    Preparing,
    /// The canary is tried out before any user meets it.
    Smoke,
    /// The canary has a share of the traffic.
    Step {
        /// Which step, from 0.
        index: usize,
        /// Since when the share is in force; none while the endpoint is on its way there.
        since: Option<Timestamp>,
    },
    /// All the traffic goes to the candidate.
    Promoting,
    /// The candidate has all the traffic, the champion is kept.
    Baking {
        /// Since when.
        since: Timestamp,
    },
    /// The champion goes; the candidate is watched a little longer.
    Reducing {
        /// Since when the endpoint serves the candidate alone.
        since: Option<Timestamp>,
    },
    /// The candidate is the champion.
    Done,
    /// The champion comes back.
    RollingBack {
        /// Why.
        why: Reason,
        /// How far it is.
        undo: Undo,
    },
    /// The champion is back.
    RolledBack {
        /// Why.
        why: Reason,
    },
    /// A newer version took its place.
    Superseded {
        /// Why.
        why: Reason,
    },
    /// It stopped where a person has to look.
    Failed {
        /// Why.
        why: String,
    },
}

/// How far a roll back is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The traffic goes back to the champion.
    Shift,
    /// The canary goes.
    Restore,
}

/// Why a rollout is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What kind of reason.
    pub cause: Cause,
    /// One sentence for people.
    pub sentence: String,
}

/// What kind of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A guard objects.
    Guard,
    /// It failed its smoke requests.
    Smoke,
    /// Model Monitor or an alarm reported it.
    Violation,
    /// A person rejected it.
    Rejected,
    /// SageMaker could not bring it up.
    Deployment,
    /// Too little traffic to tell.
    LowTraffic,
    /// A newer approval replaces it.
    Newer,
}

impl Cause {
    /// Whether the candidate is to blame, so that its package is rejected. A deployment that fails
    /// may be a matter of quota or capacity: a person has to look.
    pub fn blames(self) -> bool {
        matches!(self, Self::Guard | Self::Smoke | Self::Violation)
            || (self == Self::Deployment && Mutation::RejectOnDeployment.is_on())
    }
}

/// A minute that was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedMinute {
    /// The minute's start.
    pub at: Timestamp,
    /// The canary's share of traffic, percent, as it was asked for.
    pub weight: u8,
    /// Counts by guard, as they were measured.
    pub guards: Vec<Minute>,
    /// Log-evidence of harm after it, of the guard that objects most.
    pub harm: f64,
}

impl Rollout {
    /// Whether it is under way.
    pub fn is_running(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Done
                | Phase::RolledBack { .. }
                | Phase::Superseded { .. }
                | Phase::Failed { .. }
        )
    }

    /// Whether the candidate could have harmed somebody, so that a violation now is about it.
    pub fn serves_candidate(&self) -> bool {
        matches!(
            self.phase,
            Phase::Step { .. } | Phase::Promoting | Phase::Baking { .. } | Phase::Reducing { .. }
        )
    }

    /// Whether the candidate is a canary beside what serves.
    pub fn has_canary(&self) -> bool {
        self.incumbent.is_some() && !self.replaces
    }

    /// The config that it leaves the candidate serving by.
    pub fn served_config(&self) -> &str {
        if self.has_canary() {
            &self.final_config
        } else {
            &self.config
        }
    }

    /// The variant that it leaves the candidate serving as.
    pub fn served_variant(&self) -> &str {
        if self.has_canary() {
            &self.final_variant
        } else {
            &self.canary
        }
    }

    /// The config that brings the champion back after its own variant was taken away.
    pub fn back_config(&self) -> String {
        format!("{}b", self.config.trim_end_matches('c'))
    }

    /// Since when the candidate has all the traffic.
    pub fn all_traffic_since(&self) -> Option<Timestamp> {
        self.weights
            .iter()
            .find(|(_, w)| *w == 100)
            .map(|(at, _)| *at)
    }

    /// The phase in a word or two, for people.
    pub fn phase_word(&self) -> String {
        match &self.phase {
            Phase::Preparing => "preparing".to_owned(),
            Phase::Smoke => "smoke test".to_owned(),
            Phase::Step { index, .. } => format!("step {}", index + 1),
            Phase::Promoting => "promoting".to_owned(),
            Phase::Baking { .. } => "baking".to_owned(),
            Phase::Reducing { .. } => "reducing".to_owned(),
            Phase::Done => "done".to_owned(),
            Phase::RollingBack { .. } => "rolling back".to_owned(),
            Phase::RolledBack { .. } => "rolled back".to_owned(),
            Phase::Superseded { .. } => "superseded".to_owned(),
            Phase::Failed { .. } => "failed".to_owned(),
        }
    }
}
