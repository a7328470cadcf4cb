//! What happened, for programs: `target/run/report.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::gate::Metrics;
use tidegate_core::rollout::{Phase, Rollout};

use super::held_out::{Data, Quality};
use super::monitor_run::MonitorRun;
use crate::notices::Told;
use crate::pump::Tally;

/// What happened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Why the story ended early, if it did.
    pub failure: Option<String>,
    /// How long it took, real seconds.
    pub seconds: f64,
    /// The versions, in order.
    pub versions: Vec<Version>,
    /// What Model Monitor found, before the data changed and after.
    pub monitoring: Vec<MonitorRun>,
    /// How good the models are on rows that none was trained on, before the data changed and after.
    pub held_out: Vec<Measured>,
    /// What was checked, and whether it was so.
    pub checks: Vec<(String, bool)>,
    /// What people were told.
    pub notices: Vec<Told>,
    /// Repeats of them.
    pub repeated_notices: u32,
    /// What `tidegate audit verify` found.
    pub audit: Audit,
    /// What was delivered to each function.
    pub deliveries: BTreeMap<&'static str, Tally>,
}

/// A version.
#[derive(Debug, Clone, Serialize)]
pub struct Version {
    /// Its name in the story and in the registry.
    #[serde(rename = "version")]
    pub name: String,
    /// What is new in it.
    pub about: String,
    /// Its training job.
    pub job: String,
    /// Its metrics.
    pub metrics: Metrics,
    /// The gate's verdict.
    pub gate: Gate,
    /// Its rollout, if the gate let it through.
    pub rollout: Option<Outcome>,
}

/// How good a version is on labelled rows.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The version.
    pub version: String,
    /// Which data the rows are of.
    pub data: Data,
    /// How many rows.
    pub rows: usize,
    /// How good.
    #[serde(flatten)]
    pub quality: Quality,
}

/// The gate's verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Gate {
    /// Whether it passed.
    pub passed: bool,
    /// Why.
    pub why: String,
    /// The package's approval right after.
    pub approval: String,
}

/// How a rollout went.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// `done`, `rolled back`, ...
    #[serde(rename = "outcome")]
    pub word: String,
    /// Why, if it did not go well.
    pub why: Option<String>,
    /// When it started.
    pub started: Timestamp,
    /// Emulator minutes from the start to the end.
    pub minutes: f64,
    /// The candidate's share of traffic over time, percent.
    pub weights: Vec<(Timestamp, u8)>,
    /// What users met in the minutes that were judged.
    pub variants: Variants,
    /// Of the champion in the minutes before the rollout, which the verdict starts from.
    pub history: Counts,
    /// Log-evidence of harm at the end, of the guard that objects most.
    pub harm: f64,
}

/// What users met.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Variants {
    /// Of the version that served.
    pub champion: Counts,
    /// Of the candidate.
    pub candidate: Counts,
}

/// Requests and how many of them failed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Failed ones.
    pub errors: u64,
}

/// What `tidegate audit verify` found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Audit {
    /// Entries in the trail.
    pub entries: usize,
    /// Whether it was found to be whole.
    pub whole: bool,
    /// Whether a changed entry was found out.
    pub change_was_caught: bool,
    /// What it said about the changed one.
    pub words: String,
}

impl Outcome {
    /// How a rollout went.
    pub fn of(rollout: &Rollout) -> Self {
        let mut variants = Variants::default();
        for minute in rollout
            .minutes
            .iter()
            .filter_map(|minute| minute.guards.first())
        {
            variants.champion.requests += minute.baseline.requests;
            variants.champion.errors += minute.baseline.bad;
            variants.candidate.requests += minute.canary.requests;
            variants.candidate.errors += minute.canary.bad;
        }
        let mut history = Counts::default();
        for minute in rollout.history.iter().take(1).flatten() {
            history.requests += minute.requests;
            history.errors += minute.bad;
        }
        let why = match &rollout.phase {
            Phase::RolledBack { why } | Phase::Superseded { why } => Some(why.sentence.clone()),
            Phase::Failed { why } => Some(why.clone()),
            _ => None,
        };
        let ended = rollout.ended.unwrap_or(rollout.started);
        Self {
            word: rollout.phase_word(),
            why,
            started: rollout.started,
            minutes: ended.duration_since(rollout.started).as_secs_f64() / 60.0,
            weights: rollout.weights.clone(),
            variants,
            history,
            harm: rollout
                .evidence
                .iter()
                .map(tidegate_core::evidence::Evidence::harm)
                .fold(0.0, f64::max),
        }
    }
}

impl Report {
    /// Writes it to a file.
    pub fn write(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))
    }
}
