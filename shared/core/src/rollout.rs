//! A rollout: moving one endpoint from its champion to a candidate, and back if need be.
//!
//! `Preparing -> Smoke -> Step(1..n) -> Promoting -> Baking -> Reducing -> Done`, and from each of
//! them `RollingBack -> RolledBack` (or `Superseded`). The machine looks at what the endpoint *is*
//! ([`crate::world::Endpoint`]) and asks for what it should be next, so that late, doubled and lost
//! events do no harm. `Observing -> Observed` is a canary that somebody else shifts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;
use crate::evidence::{Counts, Evidence, Minute};
use crate::mutation::Mutation;
use crate::name::{EndpointName, PackageVersion, RolloutId, StageName};
use crate::pipeline::Stage;

mod advance;
mod asked;
mod clear;
mod finish;
mod fit;
mod judge;
mod moves;
mod names;
pub(crate) mod observe;
mod past;
mod phases;
mod report;
mod settle;
mod share;
mod silence;
mod start;
#[cfg(test)]
mod tests;
mod undo;

pub use advance::{advance, needs, resume};
pub(crate) use finish::done;
pub use fit::{LONGEST_SENTENCE, MOST_WEIGHTS};
pub use moves::Moves;
pub use names::rollout_id;
pub use observe::{Over, Theirs};
pub use past::{Past, Source};
pub use phases::FEWEST_MINUTES;
pub use report::{Against, GuardReport, percent};
pub use settle::effect_failed;
pub use silence::Unanswered;
pub use start::{Start, needs_to_start, start};
pub use undo::roll_back;

/// How often a way back is asked for before a person has to look.
pub const UNDO_ATTEMPTS: u8 = 5;

/// How many minutes of counts a rollout keeps, with one guard; with more, fewer.
pub const KEPT_MINUTES: usize = 1_440;

/// How many counts of minutes and guards it keeps: five stages that roll out at once still fit into
/// one item of the ledger.
const KEPT_COUNTS: usize = 2_400;

/// How many minutes of counts a rollout with so many guards keeps. When there are more, older ones
/// are added up, two and two.
pub fn kept_minutes(guards: usize) -> usize {
    (KEPT_COUNTS / guards.max(1)).min(KEPT_MINUTES)
}

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
    /// What the candidate is compared with once it has all the traffic; none before that is known.
    #[serde(default)]
    pub past: Option<Past>,
    /// The first guard that took the candidate back, and when. Harm that was found stays found.
    #[serde(default)]
    pub crossed: Option<Crossed>,
    /// Somebody else shifts this canary, and Tidegate only judges it.
    #[serde(default)]
    pub observed: Option<Observed>,
    /// All minutes before this are judged.
    pub judged_until: Option<Timestamp>,
    /// The judged minutes, at most [`kept_minutes`]: the newest one by one, older ones added up.
    pub minutes: Vec<JudgedMinute>,
    /// The canary's share of traffic over time, percent: when it was confirmed to be so.
    pub weights: Vec<(Timestamp, u8)>,
    /// Whether the champion had to come back by a config of its own, because its variant had gone.
    pub went_back_by_own_config: bool,
    /// Whether people were told that something holds it up; once per phase.
    pub told_of_wait: bool,
    /// What its endpoint was when something was asked of it last.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// AWS does not answer what has to be known of it, and may again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<Unanswered>,
}

/// What an endpoint was when something was asked of it: a description that is no newer was made
/// before, since reads of `SageMaker` are consistent only in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its `LastModifiedTime`; none if it did not exist.
    pub of: Option<Timestamp>,
    /// How many descriptions since were no newer.
    pub looks: u8,
}

/// A guard whose evidence reached what takes a candidate back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    /// The guard, by its place.
    pub guard: usize,
    /// What the candidate was compared with.
    pub against: Against,
    /// The start of the minute that made it so.
    pub at: Timestamp,
}

/// A canary that somebody else shifts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The canary's model (in SageMaker's sense), for one that has no package in the group.
    pub model: String,
    /// Whether people were told that it looks safe.
    pub told_safe: bool,
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
    /// Somebody else shifts the traffic, and Tidegate only judges ([`Rollout::observed`]).
    Observing {
        /// What they did in the end, while the last minutes before it are still to be judged.
        over: Option<Over>,
    },
    /// An observation that is over.
    Observed {
        /// What they did.
        over: Over,
        /// What Tidegate would have done, and what they did.
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

/// A minute that was judged, or several older ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedMinute {
    /// The (first) minute's start.
    pub at: Timestamp,
    /// The canary's share of traffic, percent, as it was asked for.
    pub weight: u8,
    /// Counts by guard, as they were measured.
    pub guards: Vec<Minute>,
    /// Log-evidence of harm after it, of the guard that objects most.
    pub harm: f64,
}

impl Rollout {
    /// The candidate's version; none for an observed canary that has no package of the group.
    pub fn version(&self) -> Option<PackageVersion> {
        (self.candidate.version.0 > 0).then_some(self.candidate.version)
    }

    /// The candidate, for people: `v7`, or `the variant blue (model fraud-blue)`.
    pub fn name(&self) -> String {
        match self.version() {
            Some(version) => version.to_string(),
            None if self.model.is_empty() => format!("the variant {}", self.canary),
            None => format!("the variant {} (model {})", self.canary, self.model),
        }
    }

    /// Whether it is under way.
    pub fn is_running(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Done
                | Phase::RolledBack { .. }
                | Phase::Superseded { .. }
                | Phase::Failed { .. }
                | Phase::Observed { .. }
        )
    }

    /// Whether the candidate could have harmed somebody, so that a violation now is about it.
    pub fn serves_candidate(&self) -> bool {
        matches!(
            self.phase,
            Phase::Step { .. }
                | Phase::Promoting
                | Phase::Baking { .. }
                | Phase::Reducing { .. }
                | Phase::Observing { .. }
        )
    }

    /// Whether the candidate is a canary beside what serves.
    pub fn has_canary(&self) -> bool {
        self.incumbent.is_some() && !self.replaces
    }

    /// Whether it watches a candidate that was deployed alone: nothing is left to go back to.
    pub fn is_lone(&self) -> bool {
        !self.has_canary()
            && self.observed.is_none()
            && matches!(self.phase, Phase::Reducing { .. })
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
            Phase::Observing { .. } => "observing".to_owned(),
            Phase::Observed { .. } => "observed".to_owned(),
        }
    }
}
