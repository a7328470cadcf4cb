//! What no policy says of configs and models, and instance counts: made by people, copied by
//! `like`, and what must be left of them when Tidegate deploys.

use std::collections::BTreeMap;

use tidegate_core::world::{ConfigSpec, ModelSpec};

use super::Town;
use crate::aws::{OfVariant, Settings};
use crate::invariant::Invariant;

/// How long a function may take from its look at an endpoint to its call, milliseconds, and an
/// endpoint to show that it was scaled: what is scaled meanwhile is a known gap.
const LOOK_TO_CALL: i64 = 70_000;

impl Town {
    /// People make a config with settings of their own.
    pub(super) fn people_made(&mut self, config: &ConfigSpec) {
        let name = &config.name;
        let of_variants = config.variants.iter().map(|v| {
            let settings = OfVariant {
                instance_type: "ml.c5.xlarge".to_owned(),
                rest: format!("timeouts of {name}"),
            };
            (v.name.clone(), settings)
        });
        let settings = Settings {
            of_config: format!("data capture of {name}"),
            of_variants: of_variants.collect(),
        };
        self.aws.settings.insert(name.clone(), settings);
        for variant in &config.variants {
            let vpc = "their VPC".to_owned();
            self.aws.model_settings.insert(variant.model.clone(), vpc);
        }
    }

    /// Tidegate makes a config: what it doesn't say is copied from the one that it is like.
    pub(super) fn copy_settings(&mut self, config: &ConfigSpec) {
        let like = config.like.as_ref().and_then(|l| self.aws.settings.get(l));
        let of_variants = config.variants.iter().map(|variant| {
            let like = like.and_then(|l| l.of_variants.get(variant.like.as_ref()?));
            let says = variant.instance.as_ref().map(|i| i.kind.clone());
            let of = OfVariant {
                instance_type: says
                    .or_else(|| like.map(|l| l.instance_type.clone()))
                    .unwrap_or_default(),
                rest: like.map_or_else(|| "SageMaker's".to_owned(), |l| l.rest.clone()),
            };
            (variant.name.clone(), of)
        });
        let settings = Settings {
            of_config: like.map_or_else(|| "SageMaker's".to_owned(), |l| l.of_config.clone()),
            of_variants: of_variants.collect(),
        };
        self.aws.settings.insert(config.name.clone(), settings);
    }

    /// Tidegate makes a model.
    pub(super) fn copy_model_settings(&mut self, model: &ModelSpec) {
        let like = model.like.as_ref();
        let like = like.and_then(|l| self.aws.model_settings.get(l).cloned());
        let settings = like.unwrap_or_else(|| "the job's VPC".to_owned());
        self.aws.model_settings.insert(model.name.clone(), settings);
    }

    /// What serves an endpoint now, and with which settings.
    pub(super) fn note_settings(&mut self, name: &str, is_by_people: bool) {
        let Some(place) = self.aws.endpoints.get_mut(name) else {
            return;
        };
        if is_by_people {
            place.had.clear();
        }
        let specs = self.aws.shelf.get(&place.is.config);
        let settings = self.aws.settings.get(&place.is.config);
        let (Some(specs), Some(settings)) = (specs, settings) else {
            return;
        };
        for variant in &specs.variants {
            if let Some(of) = settings.of_variants.get(&variant.name) {
                place.had.insert(variant.model.clone(), of.clone());
            }
        }
    }

    /// Tidegate deploys a config: nothing that the policy doesn't say is lost by it.
    pub(crate) fn check_settings(&mut self, name: &str, config: &str) {
        let rollout = self.rollout_of(name);
        let Some(place) = self.aws.endpoints.get(name) else {
            return;
        };
        let (Some(new), Some(now), Some(specs), Some(serving)) = (
            self.aws.settings.get(config),
            self.aws.settings.get(&place.is.config),
            self.aws.shelf.get(config),
            self.aws.shelf.get(&place.is.config),
        ) else {
            return;
        };
        let mut lost = Vec::new();
        if new.of_config != now.of_config {
            lost.push(format!("{} for {}", new.of_config, now.of_config));
        }
        let says = rollout
            .as_ref()
            .and_then(|r| r.plan.instance.as_ref())
            .map(|i| i.kind.clone());
        let vpc = |model: &str| self.aws.model_settings.get(model);
        let vpcs = |all: &[tidegate_core::world::VariantSpec]| -> Vec<_> {
            all.iter().map(|v| vpc(&v.model)).collect()
        };
        let first_vpc = vpcs(&serving.variants).first().copied().flatten();
        let first = now.of_variants.values().next();
        for variant in &specs.variants {
            let of = new.of_variants.get(&variant.name);
            // A model that served here keeps its own; a new one has what served, but for the type
            // that the policy says.
            let should = place.had.get(&variant.model).cloned().or_else(|| {
                let like = first?;
                Some(OfVariant {
                    instance_type: says.clone().unwrap_or_else(|| like.instance_type.clone()),
                    rest: like.rest.clone(),
                })
            });
            if of != should.as_ref() {
                lost.push(format!("{of:?} for {should:?}"));
            }
            if vpc(&variant.model) != first_vpc {
                lost.push(format!("{:?} for {first_vpc:?}", vpc(&variant.model)));
            }
        }
        self.hold(Invariant::SettingsKept, lost.is_empty(), || {
            format!("{name} by {config}: {}", lost.join(", "))
        });
    }

    /// Tidegate deploys a config: what serves, and what takes over, has the instances that the
    /// endpoint has, whoever scaled it.
    pub(crate) fn check_capacity(&mut self, name: &str, config: &str, retain: bool) {
        let floor = self
            .rollout_of(name)
            .and_then(|r| r.plan.instance.as_ref().map(|i| i.count))
            .unwrap_or(1);
        let Some(place) = self.aws.endpoints.get(name) else {
            return;
        };
        let Some(specs) = self.aws.shelf.get(config) else {
            return;
        };
        // Scaled after the look that the config was made by.
        let made = self.aws.made_at.get(config).copied().unwrap_or(i64::MIN);
        let is_known_gap = place.scaled_at > made.saturating_sub(LOOK_TO_CALL) && !retain;
        let carrier = place
            .is
            .variants
            .iter()
            .max_by(|a, b| a.weight.total_cmp(&b.weight));
        let has = carrier.map_or(0, |v| v.desired_count);
        let wrong: BTreeMap<&String, u32> = specs
            .variants
            .iter()
            .filter_map(|spec| {
                let stays = place.is.variant(&spec.name).filter(|_| retain);
                let count = stays.map_or(spec.count, |v| v.desired_count);
                let is_right = has <= count && count <= has.max(floor);
                (!is_right).then_some((&spec.name, count))
            })
            .collect();
        let is_kept = wrong.is_empty() || is_known_gap;
        let what = format!("{name} has {has} instances, by {config} it gets {wrong:?}");
        self.hold(Invariant::CapacityKept, is_kept, || what);
    }
}
