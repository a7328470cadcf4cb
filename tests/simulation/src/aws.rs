//! What SageMaker, CloudWatch, Scheduler and SNS hold. How it changes is in `town`.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::event::EndpointStatus;
use tidegate_core::name::JobName;
use tidegate_core::notice::Notice;
use tidegate_core::world::{ConfigSpec, Endpoint, Findings, Package, TrainingJob, Variant};

use crate::story::Fate;
use crate::town::{Monitors, Past};

/// All of it.
#[derive(Default)]
pub(crate) struct Aws {
    pub(crate) jobs: BTreeMap<JobName, TrainingJob>,
    /// How the model of an artifact does.
    pub(crate) fates: BTreeMap<String, Fate>,
    /// Packages by ARN.
    pub(crate) packages: BTreeMap<String, Registered>,
    /// ARNs by the client token that made them.
    pub(crate) tokens: BTreeMap<String, String>,
    /// The packages of models that exist; people's have none.
    pub(crate) models: BTreeMap<String, Option<String>>,
    /// Configs that exist.
    pub(crate) configs: BTreeMap<String, ConfigSpec>,
    /// Every config and model that ever was.
    pub(crate) shelf: BTreeMap<String, ConfigSpec>,
    pub(crate) made_from: BTreeMap<String, Option<String>>,
    pub(crate) endpoints: BTreeMap<String, Place>,
    /// Schedules by rollout: what they send, and when they were made.
    pub(crate) schedules: BTreeMap<String, Schedule>,
    /// Pipeline executions by token.
    pub(crate) executions: BTreeSet<String>,
    /// Notices that were published, with how often.
    pub(crate) notices: BTreeMap<String, (Notice, u32)>,
    /// What monitoring jobs found.
    pub(crate) findings: BTreeMap<String, Findings>,
    /// Findings and alarms: the endpoint, the variant that is named, since when the data is.
    pub(crate) blames: Vec<(String, Option<String>, i64)>,
    /// What Model Monitor has.
    pub(crate) monitors: Monitors,
    /// Artifacts that were written over, and when.
    pub(crate) overwritten: BTreeMap<String, i64>,
    /// Versions, counted by group.
    pub(crate) versions: BTreeMap<String, u32>,
    /// Events so far by what they are about.
    pub(crate) told: BTreeMap<String, u32>,
    /// Minutes of which CloudWatch has nothing, and hours with hardly any requests.
    pub(crate) gaps: Vec<(i64, i64)>,
    pub(crate) lulls: Vec<(i64, i64)>,
    /// What a slow function made for a rollout that another had ended meanwhile: a known gap.
    pub(crate) orphans: BTreeSet<String>,
    /// What no policy says of configs and models, by name.
    pub(crate) settings: BTreeMap<String, Settings>,
    pub(crate) model_settings: BTreeMap<String, String>,
    /// What endpoints and packages were a moment ago, and when configs and models were made.
    pub(crate) past_endpoints: BTreeMap<String, Past<Endpoint>>,
    pub(crate) past_packages: BTreeMap<String, Past<Package>>,
    pub(crate) made_at: BTreeMap<String, i64>,
    /// Variants that answered their smoke requests, with the config that they serve by.
    pub(crate) smoked: BTreeSet<(String, String)>,
}

/// A package.
pub(crate) struct Registered {
    pub(crate) package: Package,
    /// Until when it was Approved last; none if it never was or still is.
    pub(crate) approved_until: Option<i64>,
    pub(crate) created: i64,
}

/// The settings of a config that no policy says, each standing for many: data capture, KMS and the
/// like of the config, volume, timeouts and the like of a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) of_config: String,
    /// By variant.
    pub(crate) of_variants: BTreeMap<String, OfVariant>,
}

/// The settings of a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfVariant {
    pub(crate) instance_type: String,
    pub(crate) rest: String,
}

/// A schedule.
pub(crate) struct Schedule {
    pub(crate) group: String,
    pub(crate) stage: String,
    pub(crate) born: i64,
}

/// An endpoint.
pub(crate) struct Place {
    pub(crate) is: Endpoint,
    pub(crate) change: Option<Change>,
    /// Counts changes, so that a deletion meets no old arrival.
    pub(crate) generation: u64,
    /// How traffic is shared, since when.
    pub(crate) shares: Vec<Shares>,
    /// Whether users depend on it: it has had a champion.
    pub(crate) has_served: bool,
    /// The config that people put there, if they did last.
    pub(crate) foreign: Option<String>,
    /// Whether people set the weights last.
    pub(crate) is_reweighted: bool,
    /// When it was scaled last.
    pub(crate) scaled_at: i64,
    /// The settings of each model that served it since people changed it.
    pub(crate) had: BTreeMap<String, OfVariant>,
}

/// How an endpoint's traffic is shared.
pub(crate) struct Shares {
    pub(crate) since: i64,
    /// Each variant, its share of 1, and of 65,536 of its requests how many go wrong.
    pub(crate) of: Vec<(String, f64, u16)>,
}

/// A change of an endpoint that is under way.
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) config: String,
    pub(crate) retain: bool,
    pub(crate) end: ChangeEnd,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Create,
    Update,
    Weights,
    Delete,
    /// Back to what was before.
    Back,
}

/// How a change will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeEnd {
    Well,
    Undone,
    UndoneForGood,
}

impl Place {
    pub(crate) fn new(is: Endpoint) -> Self {
        Self {
            is,
            change: None,
            generation: 0,
            shares: Vec::new(),
            has_served: false,
            foreign: None,
            is_reweighted: false,
            scaled_at: i64::MIN,
            had: BTreeMap::new(),
        }
    }

    /// Whether it answers users' requests.
    pub(crate) fn serves(&self) -> bool {
        matches!(
            self.is.status,
            EndpointStatus::InService
                | EndpointStatus::Updating
                | EndpointStatus::SystemUpdating
                | EndpointStatus::RollingBack
                | EndpointStatus::UpdateRollbackFailed
        ) && self
            .is
            .variants
            .iter()
            .any(|v| v.weight > 0.0 && v.count > 0)
    }
}

/// A variant of a config, as it comes up.
pub(crate) fn fresh(spec: &tidegate_core::world::VariantSpec) -> Variant {
    Variant {
        name: spec.name.clone(),
        weight: f64::from(spec.weight),
        desired_weight: f64::from(spec.weight),
        count: spec.count,
        desired_count: spec.count,
        serverless: false,
    }
}

impl Aws {
    /// The package that a variant of a config serves, if it is one.
    pub(crate) fn package_of(&self, config: &str, variant: &str) -> Option<&Registered> {
        let spec = self.shelf.get(config)?;
        let spec = spec.variants.iter().find(|v| v.name == variant)?;
        let arn = self.made_from.get(&spec.model)?.as_ref()?;
        self.packages.get(arn)
    }

    /// Of 10,000 requests to a variant of a config how many go wrong.
    pub(crate) fn bad_rate(&self, config: &str, variant: &str) -> u32 {
        let package = self.package_of(config, variant);
        let fate = package
            .and_then(|p| p.package.artifacts.first())
            .and_then(|artifact| self.fates.get(artifact));
        fate.map_or(50, |fate| fate.bad_of_ten_thousand())
    }
}
