//! `[[stage.monitor]]`: the monitors of Model Monitor that follow a stage's champion.
//!
//! Sources: `CreateDataQualityJobDefinition` and its three sisters, `ScheduleConfig` and
//! `MonitoringClusterConfig` in the SageMaker API reference; "Schedule monitoring jobs" in the
//! developer guide. What holds between the keys is in `watching/check.rs`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Vpc, schema};

mod batch;
pub(super) mod check;
mod timing;

pub use batch::Batch;
pub(super) use timing::is_schedule;

/// One monitor of a stage's champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelMonitor {
    /// What it looks at; a stage has at most one of each kind for its endpoint, and one for each `batch`.
    pub kind: MonitorKind,
    /// Captured data of batch transform jobs, which is looked at instead of the endpoint's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// When it runs: `hourly`, or a cron expression that Model Monitor takes.
    #[serde(default = "default_schedule")]
    #[schemars(schema_with = "schema::monitor_schedule")]
    pub schedule: String,
    /// The role of its jobs. It has to be among the stack's `ModelRoleArns`.
    #[schemars(schema_with = "schema::role_arn")]
    pub role: String,
    /// The image of the region: Model Monitor's analyzer, or Clarify's for bias and attribution.
    #[schemars(schema_with = "schema::image")]
    pub image: String,
    /// The instance type of its jobs; each job runs on one.
    #[serde(default = "default_instance")]
    #[schemars(schema_with = "schema::instance_type")]
    pub instance: String,
    /// The disk of its jobs, GB, 1 to 16,384.
    #[serde(default = "default_volume")]
    #[schemars(range(min = 1, max = 16_384))]
    pub volume_gb: u32,
    /// The longest that a job may take, minutes, 1 to 1,440, and no more than from one to the next.
    #[serde(default = "default_minutes")]
    #[schemars(range(min = 1, max = 1440))]
    pub max_minutes: u32,
    /// Where its reports and baselines go, an S3 prefix.
    #[schemars(schema_with = "schema::s3_folder")]
    pub to: String,
    /// The KMS key of reports and disks. Without it: the bucket's, and SageMaker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kms_key")]
    pub kms_key: Option<String>,
    /// The VPC that its jobs run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<Vpc>,
    /// What it compares with, where the package names no drift baseline of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Where the labels are that answers are merged with, an S3 prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::s3_folder")]
    pub ground_truth: Option<String>,
    /// How late labels come, hours, 0 to 720: that much older data is looked at.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 720))]
    pub label_delay_hours: u32,
    /// What kind of question the model answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Where the prediction is in an answer: a column's number or a JSON path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::word")]
    pub inference: Option<String>,
    /// Where the probability is in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::word")]
    pub probability: Option<String>,
    /// From which probability on an answer is positive, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: Option<f64>,
    /// Where the features are in a JSON request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::word")]
    pub features: Option<String>,
    /// Clarify's analysis config in S3, where the package names none. The model that serves is put
    /// in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::s3_uri")]
    pub config: Option<String>,
}

impl ModelMonitor {
    /// The expression that Model Monitor takes.
    pub fn expression(&self) -> &str {
        timing::expression(&self.schedule)
    }

    /// The hours from one run to the next, 1 to 24.
    pub fn every_hours(&self) -> u32 {
        timing::every_hours(&self.schedule)
    }
}

fn default_schedule() -> String {
    timing::HOURLY.to_owned()
}
fn default_instance() -> String {
    "ml.m5.xlarge".to_owned()
}
fn default_volume() -> u32 {
    20
}
fn default_minutes() -> u32 {
    50
}
// serde hands a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(hours: &u32) -> bool {
    *hours == 0
}

/// What a monitor looks at.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MonitorKind {
    /// Types, completeness and distributions of what comes in and goes out.
    DataQuality,
    /// The model's metrics on labels that come later.
    ModelQuality,
    /// Whether facets are treated otherwise than in the baseline.
    Bias,
    /// Whether features count otherwise than in the baseline.
    Attribution,
}

impl MonitorKind {
    /// The kind, within a name.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::DataQuality => "data",
            Self::ModelQuality => "quality",
            Self::Bias => "bias",
            Self::Attribution => "shap",
        }
    }

    /// Whether it needs labels.
    pub fn needs_labels(self) -> bool {
        matches!(self, Self::ModelQuality | Self::Bias)
    }

    /// Whether it is Clarify's, which takes an analysis config.
    pub fn takes_config(self) -> bool {
        matches!(self, Self::Bias | Self::Attribution)
    }
}

impl fmt::Display for MonitorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataQuality => "data quality",
            Self::ModelQuality => "model quality",
            Self::Bias => "bias drift",
            Self::Attribution => "feature attribution drift",
        })
    }
}

/// What kind of question a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A number.
    Regression,
    /// Yes or no.
    Binary,
    /// One of several classes.
    Multiclass,
}

/// What a monitor compares with: a channel of the champion's training job or data that a baselining
/// job looks at, or constraints that are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["channel"]},
    {"required": ["data"]},
    {"required": ["constraints"]},
]))]
pub struct Baseline {
    /// A channel of the champion's training job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::word")]
    pub channel: Option<String>,
    /// Data in S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::s3_uri")]
    pub data: Option<String>,
    /// The form of that data.
    #[serde(default)]
    pub format: DataFormat,
    /// Where the label is in that data, for model quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::word")]
    pub label: Option<String>,
    /// Where the prediction is in that data, for model quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::word")]
    pub inference: Option<String>,
    /// Where the probability is in that data, for model quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::word")]
    pub probability: Option<String>,
    /// A `constraints.json` in S3; for bias and attribution Clarify's `analysis.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::s3_uri")]
    pub constraints: Option<String>,
    /// The `statistics.json` beside it, for data quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::s3_uri")]
    pub statistics: Option<String>,
}

/// The form of data that a job looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    /// CSV without a header, as SageMaker's own algorithms take it.
    #[default]
    Csv,
    /// CSV with a header.
    CsvWithHeader,
    /// JSON Lines.
    JsonLines,
}
