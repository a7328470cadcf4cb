//! `[monitor]`: what a violation or an alarm on a live endpoint leads to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::finding::FindingKind;
use crate::name::{ScheduleName, TuningName};

/// `[monitor]`: what a violation leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// Model Monitor schedules that belong to this pipeline although AWS doesn't name their
    /// endpoint; schedules that name an endpoint of a stage need not be listed.
    /// At most 40: old and new ones change places in one transaction.
    #[serde(default)]
    #[schemars(schema_with = "schema::schedules")]
    pub schedules: Vec<ScheduleName>,
    /// What each kind of finding on a live champion leads to.
    #[serde(default)]
    pub on_finding: OnFinding,
    /// How long after it got all the traffic a champion is young, hours, 0 to 8,760: `roll_back`
    /// lets the version before it take over only so long.
    #[serde(default = "default_young_hours")]
    #[schemars(range(max = 8760))]
    pub young_hours: u32,
    /// Alarms that tell of a finding, by name: they are dealt with as findings of this kind, not as
    /// `on_alarm` says. At most 100.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::finding_alarms")]
    pub alarms: BTreeMap<String, FindingKind>,
    /// Findings of one kind on one endpoint are told once in so many minutes, 0 to 1,440; the next
    /// notice counts those between. All are in the audit trail.
    #[serde(default = "default_storm_minutes")]
    #[schemars(range(max = 1440))]
    pub storm_minutes: u32,
    /// The retraining that a finding starts, and its limits; without it, people are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_drift: Option<OnDrift>,
    /// What an alarm on an endpoint leads to.
    #[serde(default)]
    pub on_alarm: OnAlarm,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            schedules: Vec::new(),
            on_finding: OnFinding::default(),
            young_hours: default_young_hours(),
            alarms: BTreeMap::new(),
            storm_minutes: default_storm_minutes(),
            on_drift: None,
            on_alarm: OnAlarm::default(),
        }
    }
}

fn default_young_hours() -> u32 {
    24
}
fn default_storm_minutes() -> u32 {
    30
}

/// What each kind of finding leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnFinding {
    /// The distribution of a feature is not the baseline's.
    pub drift: Reaction,
    /// A metric of the model's quality crossed its limit.
    pub quality: Reaction,
    /// Columns are missing, too many, or of another type.
    pub schema: Reaction,
    /// Values are missing, or of no known category.
    pub values: Reaction,
    /// A facet is treated otherwise than the baseline allows.
    pub bias: Reaction,
    /// Features count otherwise than in the baseline.
    pub attribution: Reaction,
}

impl Default for OnFinding {
    fn default() -> Self {
        Self {
            drift: Reaction::Retrain,
            quality: Reaction::Retrain,
            schema: Reaction::Tell,
            values: Reaction::Tell,
            bias: Reaction::Tell,
            attribution: Reaction::Tell,
        }
    }
}

impl OnFinding {
    /// What a finding of this kind leads to; one of no known kind is told.
    pub fn of(&self, kind: FindingKind) -> Reaction {
        match kind {
            FindingKind::Drift => self.drift,
            FindingKind::Quality => self.quality,
            FindingKind::Schema => self.schema,
            FindingKind::Values => self.values,
            FindingKind::Bias => self.bias,
            FindingKind::Attribution => self.attribution,
            FindingKind::Unknown => Reaction::Tell,
        }
    }

    /// Whether any kind may take a champion back.
    pub fn may_roll_back(&self) -> bool {
        FindingKind::ALL
            .iter()
            .any(|kind| self.of(*kind) == Reaction::RollBack)
    }
}

/// What a finding leads to, the strongest last.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// People are told, nothing else.
    Tell,
    /// The retraining of `on_drift` starts, within its limits.
    Retrain,
    /// While the champion is young, the version before it takes over; later it is as `retrain`.
    RollBack,
}

/// What drift on a live champion leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnDrift {
    /// The retraining to start.
    #[schemars(schema_with = "schema::retrain")]
    pub retrain: Retrain,
    /// No second retraining within so many hours, 0 to 8,760.
    #[serde(default = "default_cooldown_hours")]
    #[schemars(range(max = 8760))]
    pub cooldown_hours: u32,
    /// No more retrainings than this in any 30 days, 1 to 1,000.
    #[serde(default = "default_per_month")]
    #[schemars(range(min = 1, max = 1000))]
    pub at_most_per_month: u32,
    /// After so many hours a retraining that was not heard of counts as ended, 1 to 720.
    #[serde(default = "default_give_up_hours")]
    #[schemars(range(min = 1, max = 720))]
    pub give_up_hours: u32,
    /// What one retraining costs, USD, by your own reckoning; goes with `cost_cap_usd_per_month`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub cost_usd_each: Option<f64>,
    /// No retraining that would bring the cost of any 30 days above this, USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1_000_000_000.0))]
    pub cost_cap_usd_per_month: Option<f64>,
}

fn default_give_up_hours() -> u32 {
    72
}
fn default_cooldown_hours() -> u32 {
    24
}
fn default_per_month() -> u32 {
    4
}

/// A retraining: what is started. In the texts of parameters, inputs, hyperparameters and details,
/// the names of [`TEMPLATE_NAMES`] in braces are filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Retrain {
    /// A SageMaker pipeline.
    Pipeline(PipelineRetrain),
    /// A training job like the champion's, on other data.
    TrainingJob {
        /// What is other than in the champion's.
        training_job: CloneRetrain,
    },
    /// An event, for a state machine or a `CodePipeline` to start on.
    Event {
        /// What the event says besides.
        event: EventRetrain,
    },
    /// A hyperparameter tuning job like another one, on other data.
    TuningJob {
        /// What is other than in that one.
        tuning_job: TuningRetrain,
    },
}

/// What can be filled into the texts of a retraining.
pub const TEMPLATE_NAMES: &[&str] = &[
    "reason",
    "data_from",
    "data_to",
    "day",
    "parent_version",
    "champion_job",
    "feature",
];

impl Retrain {
    /// For people, at the start of a sentence.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Pipeline(run) => format!("The SageMaker pipeline {}", run.pipeline),
            Self::TrainingJob { .. } => "A training job like the champion's".to_owned(),
            Self::Event { .. } => "A retraining by event".to_owned(),
            Self::TuningJob { tuning_job } => match &tuning_job.like {
                Some(like) => format!("A tuning job like {like}"),
                None => "A tuning job like the champion's".to_owned(),
            },
        }
    }

    /// The texts that are filled in, with their dotted keys.
    pub(super) fn texts(&self) -> Vec<(String, &str)> {
        let (paths, maps): (Vec<&str>, Vec<&BTreeMap<String, String>>) = match self {
            Self::Pipeline(run) => (vec!["parameters"], vec![&run.parameters]),
            Self::TrainingJob { training_job: job } => (
                vec!["training_job.inputs", "training_job.hyperparameters"],
                vec![&job.inputs, &job.hyperparameters],
            ),
            Self::Event { event } => (vec!["event.detail"], vec![&event.detail]),
            Self::TuningJob { tuning_job: job } => (
                vec!["tuning_job.inputs", "tuning_job.hyperparameters"],
                vec![&job.inputs, &job.hyperparameters],
            ),
        };
        let all = paths.into_iter().zip(maps);
        all.flat_map(|(path, map)| {
            map.iter()
                .map(move |(k, v)| (super::walk::join(path, k), v.as_str()))
        })
        .collect()
    }
}

/// A SageMaker pipeline that trains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineRetrain {
    /// The SageMaker pipeline's name.
    pub pipeline: String,
    /// Parameters of its execution; at most 200.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// A training job like the champion's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloneRetrain {
    /// The start of its name; 1 to 40 characters.
    #[schemars(schema_with = "schema::clone_prefix")]
    pub name_prefix: String,
    /// S3 URIs of its channels, by channel, instead of the champion's; at most 20.
    #[schemars(schema_with = "schema::inputs")]
    pub inputs: BTreeMap<String, String>,
    /// Hyperparameters, on top of the champion's; at most 100.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::hyperparameters")]
    pub hyperparameters: BTreeMap<String, String>,
}

/// A hyperparameter tuning job like another one: the same strategy, ranges, objective and limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TuningRetrain {
    /// The start of its name; 1 to 19 characters.
    #[schemars(schema_with = "schema::tuning_prefix")]
    pub name_prefix: String,
    /// The tuning job whose settings it gets; by default the one that the champion came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tuning_name")]
    pub like: Option<TuningName>,
    /// S3 URIs of its channels, by channel, instead of the other's; at most 20.
    #[schemars(schema_with = "schema::inputs")]
    pub inputs: BTreeMap<String, String>,
    /// Static hyperparameters, on top of the other's; at most 100.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::hyperparameters")]
    pub hyperparameters: BTreeMap<String, String>,
}

/// An event that asks others to train again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRetrain {
    /// Texts that the event carries besides what Tidegate says; at most 200.
    #[serde(default)]
    #[schemars(schema_with = "schema::parameters")]
    pub detail: BTreeMap<String, String>,
}

/// What an alarm on an endpoint leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnAlarm {
    /// During a rollout or bake the candidate is taken back; else people are told.
    #[default]
    RollBack,
    /// People are told, nothing else.
    Tell,
}
