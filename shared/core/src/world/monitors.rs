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

/// What `CreateProcessingJob` is to make of a monitor's training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineSpec {
    /// The job's name: the monitor's, or another where it is tried again.
    pub name: ScheduleName,
    /// The monitor, as the policy has it.
    pub monitor: ModelMonitor,
    /// The data's S3 URI.
    pub data: String,
    /// The S3 prefix for `statistics.json` and `constraints.json`.
    pub output: String,
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
    /// What it compares with.
    pub baseline: BaselineFiles,
    /// Tags of both.
    pub tags: BTreeMap<String, String>,
}
