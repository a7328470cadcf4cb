//! The policy of one model family: what `pipelines/NAME.toml` may say, with safe defaults.
//!
//! Parsing is strict: an unknown key is an error that names file, line, column and the nearest
//! valid key, since a policy that is misread ships the wrong model.

mod approvers;
mod capture;
mod check;
mod error;
mod form;
mod governance;
mod guard;
mod monitor;
mod preflight;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod walk;
mod watching;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{EndpointName, GroupName, PipelineName, StageName};

pub use approvers::Approvers;
pub(crate) use approvers::is_same_key;
pub use capture::{Capture, Captured};
pub use error::{PolicyError, PolicyErrors};
pub use governance::{Card, CardStatus, Governance, RiskRating};
pub use guard::{CountMetric, CustomMetric, Guard, GuardMetric};
pub use monitor::{
    CloneRetrain, EventRetrain, Monitor, OnAlarm, OnDrift, OnFinding, PipelineRetrain, Reaction,
    Retrain, TEMPLATE_NAMES, TuningRetrain,
};
pub use preflight::Preflight;
pub use read::parse;
pub use schema::schema;
pub use watching::{Baseline, Batch, DataFormat, ModelMonitor, MonitorKind, Problem};

/// A pipeline's whole policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Which models this policy is about.
    pub pipeline: Pipeline,
    /// When a candidate is good enough to be registered as approved.
    #[serde(default)]
    pub gate: Gate,
    /// Whose approval counts, if a person approves.
    #[serde(default, skip_serializing_if = "Approvers::are_anyone")]
    pub approval: Approvers,
    /// What is kept of a version in SageMaker's own records.
    #[serde(default, skip_serializing_if = "Governance::is_usual")]
    pub governance: Governance,
    /// What a version's artifact and image must be, beyond what `SageMaker` asks.
    #[serde(default, skip_serializing_if = "Preflight::is_default")]
    pub preflight: Preflight,
    /// What a first version needs to serve and can't inherit from a champion.
    #[serde(default)]
    pub serve: Serve,
    /// The endpoints, in the order in which a version reaches them; 1 to 5.
    #[serde(rename = "stage")]
    #[schemars(length(min = 1, max = 5))]
    pub stages: Vec<Stage>,
    /// What happens when a live model drifts or an alarm fires.
    #[serde(default)]
    pub monitor: Monitor,
    /// Where people are told.
    #[serde(default)]
    pub notify: Notify,
}

impl Policy {
    /// The stage of that name, with its place in the order.
    pub fn stage(&self, name: &StageName) -> Option<(usize, &Stage)> {
        let mut stages = self.stages.iter().enumerate();
        stages.find(|(_, stage)| stage.name == *name)
    }

    /// How a training job is recognised: as the policy says, else by the default tag.
    pub fn training_rule(&self) -> Training {
        let default = || Training::Tag(format!("tidegate:pipeline={}", self.pipeline.name));
        self.pipeline.training.clone().unwrap_or_else(default)
    }
}

/// `[pipeline]`: names, and how training jobs are recognised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The pipeline's name, the value of the `tidegate:pipeline` tag.
    #[schemars(schema_with = "schema::aws_name")]
    pub name: PipelineName,
    /// The model package group; one pipeline has one group.
    #[schemars(schema_with = "schema::aws_name")]
    pub group: GroupName,
    /// Whether Tidegate acts, or only says what it would do.
    #[serde(default)]
    pub mode: Mode,
    /// How a training job is known to belong here; by default the tag `tidegate:pipeline=<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::training")]
    pub training: Option<Training>,
    /// What a newer approval does to a rollout that is under way.
    #[serde(default)]
    pub newer_approval: NewerApproval,
    /// What becomes of a package whose rollout was rolled back.
    #[serde(default)]
    pub rolled_back_package: RolledBackPackage,
}

/// Whether Tidegate acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does what it decides.
    #[default]
    Act,
    /// It decides, writes down and tells, and changes nothing of SageMaker; it judges canaries that
    /// somebody else shifts.
    Observe,
}

/// How a training job is recognised: by a tag or by the start of its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Training {
    /// `key=value` of a tag of the job.
    Tag(String),
    /// The first characters of the job's name.
    JobPrefix(String),
}

/// What a newer approval does to a rollout that is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewerApproval {
    /// The running rollout ends first; only the newest waiting approval is kept.
    #[default]
    Queue,
    /// The running canary is taken back (without blame) and the newer one starts.
    Replace,
}

/// What becomes of a package whose rollout was rolled back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolledBackPackage {
    /// It is marked Rejected, with the evidence.
    #[default]
    Reject,
    /// Its approval is left as it is.
    Leave,
}

/// `[gate]`: what a candidate's metrics must be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// All of these must hold; at most 20.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub require: Vec<Requirement>,
    /// Who approves a candidate that passes.
    #[serde(default)]
    pub approval: ApprovalRule,
    /// Where the metrics are, if not in the training job: an evaluation JSON in S3. `{job}` stands
    /// for the training job's name, `{output}` for its output folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::evaluation")]
    pub evaluation: Option<String>,
    /// Where the champion's metrics on the candidate's data are, an evaluation JSON in S3 that the
    /// training writes; `{job}` and `{output}` as in `evaluation`. Without it, or without the file,
    /// the candidate is compared with the metrics that the champion was registered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::evaluation")]
    pub champion_evaluation: Option<String>,
}

/// One requirement on one metric; at least one of the bounds is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    {"required": ["at_least"]},
    {"required": ["at_most"]},
    {"required": ["champion_minus_at_most"]},
    {"required": ["champion_plus_at_most"]},
]))]
pub struct Requirement {
    /// The metric's name as the training job reports it, or its dotted path in the evaluation file.
    #[schemars(schema_with = "schema::word")]
    pub metric: String,
    /// The value must be this or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// The value must be this or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// How far below the champion's value it may be; 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub champion_minus_at_most: Option<f64>,
    /// How far above the champion's value it may be, for metrics where less is better; 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub champion_plus_at_most: Option<f64>,
}

/// Who approves a candidate that passes the gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalRule {
    /// A person does: the package is registered as `PendingManualApproval`.
    #[default]
    Manual,
    /// The gate does: the package is registered as `Approved`.
    Automatic,
}

/// `[serve]`: what a first version can't inherit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Serve {
    /// The inference image. Without it: the training image where that image also serves
    /// (scikit-learn's and XGBoost's do), else the champion's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::image")]
    pub image: Option<String>,
    /// The role that the model runs as. Without it: the champion's, else the training job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::role_arn")]
    pub role: Option<String>,
    /// Environment variables of the container, added to those that the framework needs.
    #[serde(default)]
    #[schemars(schema_with = "schema::environment")]
    pub environment: BTreeMap<String, String>,
    /// Content types that the model accepts.
    #[serde(default = "default_content_types")]
    #[schemars(schema_with = "schema::content_types")]
    pub content_types: Vec<String>,
    /// Content types that the model answers with.
    #[serde(default = "default_content_types")]
    #[schemars(schema_with = "schema::content_types")]
    pub response_types: Vec<String>,
    /// The VPC to run in. Without it: the champion's, else the training job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<Vpc>,
    /// No network for the container. Without it: the champion's, else the training job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_isolation: Option<bool>,
    /// How long the model's download may take, seconds, 60 to 3,600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 3600))]
    pub model_download_seconds: Option<u32>,
    /// How long the container may take to answer its health check, seconds, 60 to 3,600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 3600))]
    pub startup_seconds: Option<u32>,
}

fn default_content_types() -> Vec<String> {
    vec!["text/csv".to_owned(), "application/json".to_owned()]
}

/// A VPC to run in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vpc {
    /// Subnet ids, 1 to 16.
    #[schemars(schema_with = "schema::subnets")]
    pub subnets: Vec<String>,
    /// Security group ids, 1 to 5.
    #[schemars(schema_with = "schema::security_groups")]
    pub security_groups: Vec<String>,
}

/// `[[stage]]`: one endpoint and how a version gets onto it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The stage's name, for people.
    #[schemars(schema_with = "schema::aws_name")]
    pub name: StageName,
    /// The endpoint; one pipeline owns it.
    #[schemars(schema_with = "schema::aws_name")]
    pub endpoint: EndpointName,
    /// Instances for a first deployment, and the count floor for a canary. An existing endpoint
    /// keeps its own type and its present counts unless this is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// How traffic moves.
    #[serde(default)]
    pub strategy: Strategy,
    /// How long the old champion is kept at no traffic for an instant way back, minutes, 0 to 1,440.
    #[serde(default = "default_bake_minutes")]
    #[schemars(range(max = 1440))]
    pub bake_minutes: u32,
    /// How long the endpoint is watched after it was reduced to the new champion, minutes, 0 to 1,440.
    #[serde(default = "default_watch_minutes")]
    #[schemars(range(max = 1440))]
    pub watch_minutes: u32,
    /// Request bodies in S3 that the canary has to answer before any user meets it; at most 20.
    #[serde(default)]
    #[schemars(schema_with = "schema::s3_uris")]
    pub smoke: Vec<String>,
    /// The content type of the smoke requests.
    #[serde(default = "default_smoke_content_type")]
    #[schemars(schema_with = "schema::content_type")]
    pub smoke_content_type: String,
    /// The slowest a smoke answer may be, milliseconds, 1 to 60,000.
    #[serde(default = "default_smoke_milliseconds")]
    #[schemars(range(min = 1, max = 60_000))]
    pub smoke_milliseconds: u32,
    /// The guards; without any: `model_errors` alone. At most 8.
    #[serde(default, rename = "guard")]
    #[schemars(length(max = 8))]
    pub guards: Vec<Guard>,
    /// The statistics of the verdict.
    #[serde(default)]
    pub judge: Judge,
    /// Which requests are kept in S3. Without it: as the endpoint has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// The monitors that follow the champion, one of each kind, and one of each kind and batch data;
    /// at most 8, and 20 in all stages.
    #[serde(default, rename = "monitor", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub monitors: Vec<ModelMonitor>,
}

impl Stage {
    /// The guards; without any, `model_errors` alone and without a ceiling.
    pub fn guards_or_default(&self) -> Vec<Guard> {
        if self.guards.is_empty() {
            vec![Guard::default()]
        } else {
            self.guards.clone()
        }
    }
}

fn default_bake_minutes() -> u32 {
    30
}
fn default_watch_minutes() -> u32 {
    10
}
fn default_smoke_content_type() -> String {
    "text/csv".to_owned()
}
fn default_smoke_milliseconds() -> u32 {
    5_000
}

/// Instances of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The instance type, for example `ml.m5.large`.
    #[serde(rename = "type")]
    #[schemars(schema_with = "schema::instance_type")]
    pub kind: String,
    /// How many, 1 to 1,000.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: u32,
}

fn one() -> u32 {
    1
}

/// How traffic moves to a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// The canary's shares of traffic, percent, rising, each 1 to 99; 1 to 10 of them. All the
    /// traffic follows the last.
    #[serde(default = "default_canary")]
    #[schemars(length(min = 1, max = 10), inner(range(min = 1, max = 99)))]
    pub canary: Vec<u8>,
    /// The shortest time of a step, minutes, 1 to 1,440; a step ends earlier if all guards say safe.
    #[serde(default = "default_step_minutes")]
    #[schemars(range(min = 1, max = 1440))]
    pub minutes: u32,
    /// The fewest requests that the canary must have had in a step before it ends, up to
    /// 1,000,000,000.
    #[serde(default = "default_min_requests")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub min_requests: u64,
    /// The longest time of a step, minutes, `minutes` to 10,080; by default six times `minutes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_080))]
    pub max_minutes: Option<u32>,
    /// What happens when a step had too few requests by then.
    #[serde(default)]
    pub on_low_traffic: OnLowTraffic,
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            canary: default_canary(),
            minutes: default_step_minutes(),
            min_requests: default_min_requests(),
            max_minutes: None,
            on_low_traffic: OnLowTraffic::default(),
        }
    }
}

impl Strategy {
    /// The longest time of a step, minutes.
    pub fn longest_minutes(&self) -> u32 {
        self.max_minutes.unwrap_or(self.minutes.saturating_mul(6))
    }
}

fn default_canary() -> Vec<u8> {
    vec![5, 25, 50]
}
fn default_step_minutes() -> u32 {
    10
}
fn default_min_requests() -> u64 {
    100
}

/// What happens when a step had too few requests by its longest time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLowTraffic {
    /// Stay at this step until there is enough; people are told once.
    #[default]
    Hold,
    /// Go on to the next step.
    Promote,
    /// Take the canary back, without blame.
    RollBack,
}

/// The statistics of the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Judge {
    /// The chance that a healthy canary is rolled back, over the whole rollout; 0.0001 to 0.2.
    #[schemars(range(min = 0.0001, max = 0.2))]
    pub alpha: f64,
    /// The chance that a harmful canary is called safe early; 0.0001 to 0.5.
    #[schemars(range(min = 0.0001, max = 0.5))]
    pub beta: f64,
    /// How much worse than the champion is still tolerated, a ratio of rates, 1 to 10.
    #[schemars(range(min = 1.0, max = 10.0))]
    pub tolerated_ratio: f64,
    /// The ratio of rates that "safe" rules out, more than `tolerated_ratio`, up to 100.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub margin_ratio: f64,
    /// How old a minute is before it counts, minutes, 1 to 15: CloudWatch is late.
    #[schemars(range(min = 1, max = 15))]
    pub settle_minutes: u32,
    /// First minutes after a shift that are left out, 0 to 60.
    #[schemars(range(max = 60))]
    pub warmup_minutes: u32,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            beta: 0.05,
            tolerated_ratio: 1.0,
            margin_ratio: 1.5,
            settle_minutes: 2,
            warmup_minutes: 0,
        }
    }
}

/// `[notify]`: where people are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// The SNS topic; by default the one of the installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::topic_arn")]
    pub topic: Option<String>,
}
