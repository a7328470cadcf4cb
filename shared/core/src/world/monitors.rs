//! What is asked of Model Monitor: baselines, and monitors by their names. A monitor's schedule, its
//! job definition and its baselining job all have one name, which is made from what it is for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{EndpointName, ScheduleName};
use crate::pipeline::ModelMonitor;

/// Whether a monitoring schedule runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleState {
    /// It is just changed, or nothing is known of it.
    #[default]
    Changing,
    /// It runs.
    Scheduled,
    /// It is stopped.
    Stopped,
    /// It failed, for this reason.
    Failed(String),
}

/// The files of a baseline, in S3.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineFiles {
    /// `constraints.json`.
    pub constraints: Option<String>,
    /// `statistics.json`.
    pub statistics: Option<String>,
    /// Clarify's analysis config.
    pub config: Option<String>,
}

/// What Clarify's analysis configs are made of (`monitors::analysis`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalysisSpec {
    /// The S3 URI of the policy's or the package's config.
    pub template: String,
    /// The name of the model that serves.
    pub model: String,
    /// The folder that they go into: the monitor's name, or another where it is tried again.
    pub folder: ScheduleName,
}

/// What `CreateProcessingJob` is to make of a monitor's training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineSpec {
    /// The job's name: the monitor's, or another where it is tried again.
    pub name: ScheduleName,
    /// The monitor, as the policy has it.
    pub monitor: ModelMonitor,
    /// The data's S3 URI.
    pub data: String,
    /// The S3 prefix for what is made: `statistics.json` and `constraints.json`, or Clarify's
    /// `analysis.json`.
    pub output: String,
    /// Of Clarify's kinds: what both configs are made of, before the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisSpec>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// What a job definition and its schedule are to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorSpec {
    /// The name of both.
    pub name: ScheduleName,
    /// The endpoint that is looked at, or whose champion batch jobs are taken to use.
    pub endpoint: EndpointName,
    /// The monitor, as the policy has it.
    pub monitor: ModelMonitor,
    /// What it compares with, and the analysis config.
    pub baseline: BaselineFiles,
    /// Of Clarify's kinds: what that config is made of, if no baselining job ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisSpec>,
    /// Tags of both.
    pub tags: BTreeMap<String, String>,
}
