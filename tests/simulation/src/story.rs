//! A story: pipelines, what people and SageMaker do to them and when, and the weather. Plain data
//! made from a seed, so that a story that breaks a promise can be cut down to what matters.

use serde::Serialize;
use tidegate_core::event::Approval;

use crate::fault::{Fault, Weather};

mod monitors;
mod plan;
mod write;

pub use monitors::{ByHand, Report, Watching};
pub use plan::{Edits, Plan};

/// A whole story.
#[derive(Debug, Clone, Serialize)]
pub struct Story {
    /// What decides everything that the rest leaves open.
    pub seed: u64,
    /// The pipelines.
    pub plans: Vec<Plan>,
    /// What happens of itself, in any order.
    pub acts: Vec<Act>,
    /// How often things go wrong.
    pub weather: Weather,
    /// When faults stop, seconds after the beginning.
    pub calm_at: i64,
    /// The longest that an event may be late, seconds.
    pub longest_delay: i64,
    /// Whether what it comes to is the same without any fault of delivery: nobody does anything at
    /// a worse moment than another, and no event overtakes the next training's.
    pub is_plain: bool,
    /// The only injected faults of the weather that may happen, if not all: what shrinking leaves.
    #[serde(skip)]
    pub only: Option<std::collections::BTreeSet<u64>>,
}

/// Something that happens of itself.
#[derive(Debug, Clone, Serialize)]
pub struct Act {
    /// When, seconds after the beginning.
    pub at: i64,
    /// To which pipeline.
    pub plan: usize,
    /// What.
    pub what: What,
}

/// What happens of itself.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A training job ends.
    Train {
        /// Its number in its pipeline.
        job: u32,
        /// Its validation AUC, of a thousand.
        auc: u32,
        /// How its model does once it serves.
        fate: Fate,
    },
    /// A person sets the approval of a job's package.
    Decide {
        /// The job.
        job: u32,
        /// The approval.
        approval: Approval,
        /// Whether it is part of the plan (the policy asks a person to approve) or a disturbance.
        is_expected: bool,
    },
    /// A person deletes the endpoint of a stage.
    Delete {
        /// The stage, from 0.
        stage: usize,
    },
    /// A person updates the endpoint of a stage to a config of their own.
    Reconfigure {
        /// The stage, from 0.
        stage: usize,
    },
    /// A person changes the weights of the endpoint of a stage.
    Reweight {
        /// The stage, from 0.
        stage: usize,
    },
    /// The endpoint of a stage is scaled.
    Scale {
        /// The stage, from 0.
        stage: usize,
        /// To so many instances.
        count: u32,
    },
    /// A person applies another policy.
    Edit(Edits),
    /// Model Monitor reports violations.
    Violation {
        /// The stage, from 0.
        stage: usize,
        /// How many minutes of data it looked at.
        minutes: i64,
        /// What is in it.
        report: Report,
    },
    /// Somebody writes over the artifact of a job's model.
    Overwrite {
        /// The job.
        job: u32,
    },
    /// A person does something to the monitor of a stage.
    Monitor {
        /// The stage, from 0.
        stage: usize,
        /// What.
        does: ByHand,
    },
    /// An alarm goes off.
    Alarm {
        /// The stage, from 0.
        stage: usize,
        /// Whether its metric is of the newest variant alone.
        names_variant: bool,
        /// How many minutes of data it looked at.
        minutes: i64,
    },
    /// For so many minutes something is so.
    Spell {
        /// What: one of the faults that last.
        fault: Fault,
        /// How long, minutes.
        minutes: i64,
    },
}

/// How a model does once it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// So many of 10,000 requests go wrong, no more than of others.
    Good(u32),
    /// So many of 10,000 requests go wrong, many more than of others.
    Bad(u32),
    /// It fails its smoke requests, and every request of a user too.
    Dead,
}

impl Fate {
    /// How many of 10,000 requests go wrong.
    pub fn bad_of_ten_thousand(self) -> u32 {
        match self {
            Self::Good(n) | Self::Bad(n) => n,
            Self::Dead => 9_900,
        }
    }

    /// Whether users would be harmed.
    pub fn is_harmful(self) -> bool {
        !matches!(self, Self::Good(_))
    }
}

impl Story {
    /// The story of a seed.
    pub fn of_seed(seed: u64) -> Self {
        write::story(seed)
    }

    /// The same without any fault of delivery or calls.
    #[must_use]
    pub fn without_weather(&self) -> Self {
        Self {
            weather: Weather::default(),
            ..self.clone()
        }
    }
}
