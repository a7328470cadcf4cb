//! Endpoints: a change takes minutes, is refused while another is under way, and may be undone by
//! SageMaker itself. As docs/aws-facts.md has it.

use std::collections::BTreeMap;

use tidegate_core::event::{Approval, EndpointStatus};
use tidegate_core::name::EndpointName;
use tidegate_core::world::{Endpoint, WorldError, WorldErrorKind};

use super::registry::refusal;
use super::{By, HOUR, Item, MINUTE, Town};
use crate::aws::{Change, ChangeEnd, ChangeKind, Place, Shares, fresh};
use crate::dice::{hash, mix};
use crate::fault::Fault;
use crate::invariant::Invariant;

/// How long SageMaker takes to go back, to delete.
const BACK: i64 = 90_000;
const DELETION: i64 = 30_000;

impl Town {
    /// Who may change an endpoint now.
    fn must_be_in_service(&self, name: &str, call: &str) -> Result<(), WorldError> {
        let Some(place) = self.aws.endpoints.get(name) else {
            let why = format!("Could not find endpoint \"{name}\".");
            return Err(refusal(WorldErrorKind::Gone, call, why));
        };
        let kind = match place.is.status {
            EndpointStatus::InService => return Ok(()),
            EndpointStatus::Failed
            | EndpointStatus::OutOfService
            | EndpointStatus::UpdateRollbackFailed => WorldErrorKind::Refused,
            _ => WorldErrorKind::NotNow,
        };
        let why = format!(
            "Cannot update in-progress endpoint {name}: {:?}",
            place.is.status
        );
        Err(refusal(kind, call, why))
    }

    /// Whether the models of a config may be deployed.
    fn may_deploy(&self, by: By, config: &str, call: &str) -> Result<(), WorldError> {
        let Some(spec) = self.aws.configs.get(config) else {
            let why = format!("Could not find endpoint config \"{config}\".");
            return Err(refusal(WorldErrorKind::Gone, call, why));
        };
        for variant in &spec.variants {
            let Some(package) = self.aws.models.get(&variant.model) else {
                let why = format!("Could not find model \"{}\".", variant.model);
                return Err(refusal(WorldErrorKind::Gone, call, why));
            };
            let approval = package
                .as_ref()
                .and_then(|arn| self.aws.packages.get(arn))
                .map(|p| p.package.approval);
            if approval.is_some_and(|a| a != Approval::Approved) {
                let why = format!("the package of {} is not Approved", variant.model);
                return Err(refusal(WorldErrorKind::Refused, call, why));
            }
        }
        if by == By::Us && self.is_spell(Fault::Quota) {
            let why = "ResourceLimitExceeded: the account-level service limit is 2 Instances";
            return Err(refusal(WorldErrorKind::Refused, call, why));
        }
        Ok(())
    }

    /// How a deployment will go, and how long it takes.
    fn prospects(&mut self, by: By, name: &str, config: &str) -> (ChangeEnd, i64) {
        let generation = self.aws.endpoints.get(name).map_or(0, |p| p.generation);
        let key = mix(hash(config), mix(hash(name), generation));
        let mut minutes = 3 + i64::try_from(self.luck(key, 9)).unwrap_or(3);
        if by == By::Us
            && (self.is_spell(Fault::SlowDeployment) || self.strikes(Fault::SlowDeployment, key))
        {
            minutes += 10 + i64::try_from(self.luck(mix(key, 1), 110)).unwrap_or(60);
        }
        let end = if by == By::People {
            ChangeEnd::Well
        } else if self.strikes(Fault::UndoneForGood, key) {
            ChangeEnd::UndoneForGood
        } else if self.is_spell(Fault::Undone) || self.strikes(Fault::Undone, key) {
            ChangeEnd::Undone
        } else {
            ChangeEnd::Well
        };
        let seconds = i64::try_from(self.luck(mix(key, 2), 60)).unwrap_or(0);
        (end, minutes * MINUTE + seconds * 1_000)
    }

    /// `CreateEndpoint`.
    pub(crate) fn create_endpoint(
        &mut self,
        name: &EndpointName,
        config: &str,
    ) -> Result<(), WorldError> {
        let call = "CreateEndpoint";
        if self.aws.endpoints.contains_key(name.as_str()) {
            let why = format!("Cannot create already existing endpoint {name}");
            return Err(refusal(WorldErrorKind::Refused, call, why));
        }
        self.may_deploy(By::Us, config, call)?;
        self.check_deployment(name.as_str(), config);
        self.is_thing_explained(call, &[name.as_str(), config]);
        self.endpoint_was(name.as_str());
        let place = Place::new(Endpoint {
            name: name.clone(),
            status: EndpointStatus::Creating,
            config: config.to_owned(),
            pending_config: None,
            failure: None,
            modified: Some(self.time()),
            variants: Vec::new(),
        });
        self.aws.endpoints.insert(name.to_string(), place);
        let (end, after) = self.prospects(By::Us, name.as_str(), config);
        let change = Change {
            kind: ChangeKind::Create,
            config: config.to_owned(),
            retain: false,
            end,
        };
        self.begin(name.as_str(), change, EndpointStatus::Creating, after);
        Ok(())
    }

    /// `UpdateEndpoint`.
    pub(crate) fn update_endpoint(
        &mut self,
        by: By,
        name: &str,
        config: &str,
        retain: bool,
    ) -> Result<(), WorldError> {
        let call = "UpdateEndpoint";
        self.must_be_in_service(name, call)?;
        self.may_deploy(by, config, call)?;
        if by == By::Us {
            self.check_deployment(name, config);
            self.is_thing_explained(call, &[name, config]);
            self.check_settings(name, config);
            self.check_capacity(name, config, retain);
        }
        self.endpoint_was(name);
        let (end, after) = self.prospects(by, name, config);
        if let Some(place) = self.aws.endpoints.get_mut(name) {
            place.foreign = (by == By::People).then(|| config.to_owned());
            place.is_reweighted = false;
        }
        let change = Change {
            kind: ChangeKind::Update,
            config: config.to_owned(),
            retain,
            end,
        };
        self.begin(name, change, EndpointStatus::Updating, after);
        Ok(())
    }

    /// `UpdateEndpointWeightsAndCapacities`: weights, and for people counts.
    pub(crate) fn shift(
        &mut self,
        by: By,
        name: &str,
        weights: &BTreeMap<String, f64>,
        count: Option<u32>,
    ) -> Result<(), WorldError> {
        let call = "UpdateEndpointWeightsAndCapacities";
        self.must_be_in_service(name, call)?;
        if by == By::Us {
            self.check_shift(name, weights);
            let shares: Vec<String> = weights.iter().map(|(v, w)| format!("{v} {w} %")).collect();
            let mut names = vec![name];
            names.extend(shares.iter().map(String::as_str));
            self.is_thing_explained(call, &names);
        }
        let generation = self.aws.endpoints[name].generation;
        let key = mix(hash(name), generation);
        let end = if by == By::Us && self.strikes(Fault::WeightsUndone, key) {
            ChangeEnd::Undone
        } else {
            ChangeEnd::Well
        };
        let after = 5_000 + i64::try_from(self.luck(key, 90_000)).unwrap_or_default();
        self.endpoint_was(name);
        let Some(place) = self.aws.endpoints.get_mut(name) else {
            return Ok(());
        };
        if !weights.is_empty() {
            place.is_reweighted = by == By::People;
        }
        for variant in &mut place.is.variants {
            if let Some(weight) = weights.get(&variant.name) {
                variant.desired_weight = *weight;
            }
            if let Some(count) = count {
                variant.desired_count = count;
            }
        }
        let change = Change {
            kind: ChangeKind::Weights,
            config: place.is.config.clone(),
            retain: true,
            end,
        };
        self.begin(name, change, EndpointStatus::Updating, after);
        Ok(())
    }

    /// `DeleteEndpoint`.
    pub(crate) fn delete_endpoint(&mut self, by: By, name: &str) -> Result<(), WorldError> {
        let call = "DeleteEndpoint";
        let Some(place) = self.aws.endpoints.get_mut(name) else {
            return Ok(());
        };
        match place.is.status {
            EndpointStatus::Deleting => return Ok(()),
            EndpointStatus::InService
            | EndpointStatus::Failed
            | EndpointStatus::OutOfService
            | EndpointStatus::UpdateRollbackFailed => {}
            status => {
                let why = format!("Cannot update in-progress endpoint {name}: {status:?}");
                return Err(refusal(WorldErrorKind::NotNow, call, why));
            }
        }
        let had_users = place.has_served && place.serves();
        place.has_served = false;
        self.hold(
            Invariant::AlwaysServed,
            by == By::People || !had_users,
            || format!("{name} was deleted although it serves users"),
        );
        if by == By::Us {
            self.is_thing_explained(call, &[name]);
        }
        self.endpoint_was(name);
        let config = self.aws.endpoints[name].is.config.clone();
        let change = Change {
            kind: ChangeKind::Delete,
            config,
            retain: false,
            end: ChangeEnd::Well,
        };
        self.begin(name, change, EndpointStatus::Deleting, DELETION);
        Ok(())
    }

    fn begin(&mut self, name: &str, change: Change, status: EndpointStatus, after: i64) {
        let at = self.now + after;
        let Some(place) = self.aws.endpoints.get_mut(name) else {
            return;
        };
        place.generation += 1;
        if change.kind == ChangeKind::Update || change.kind == ChangeKind::Create {
            place.is.pending_config = Some(change.config.clone());
            place.is.failure = None;
        }
        let line = format!(
            "   {name}: {:?} {}, until {}s",
            change.kind,
            change.config,
            after / 1_000
        );
        place.change = Some(change);
        let generation = place.generation;
        self.say(|| line);
        self.set_status(name, status);
        self.due(
            at,
            Item::Arrive {
                endpoint: name.to_owned(),
                generation,
            },
        );
    }

    /// A change is over.
    pub(crate) fn arrive(&mut self, name: &str, generation: u64) {
        let place = self.aws.endpoints.get(name);
        if place.is_none_or(|p| p.generation != generation) {
            return;
        }
        self.endpoint_was(name);
        let configs = &self.aws.shelf;
        let Some(place) = self.aws.endpoints.get_mut(name) else {
            return;
        };
        let Some(change) = place.change.take() else {
            return;
        };
        place.is.pending_config = None;
        let status = match (change.kind, change.end) {
            (ChangeKind::Delete, _) => {
                self.aws.endpoints.remove(name);
                self.say(|| format!("   {name} is gone"));
                // SageMaker may say nothing of it: housekeeping sees to what waits for the endpoint.
                return;
            }
            (ChangeKind::Back, _) => EndpointStatus::InService,
            (ChangeKind::Create, ChangeEnd::Undone | ChangeEnd::UndoneForGood) => {
                place.is.failure = Some("the container did not answer its ping".to_owned());
                EndpointStatus::Failed
            }
            (_, ChangeEnd::UndoneForGood) => {
                place.is.failure = Some("the rollback failed".to_owned());
                EndpointStatus::UpdateRollbackFailed
            }
            (kind, ChangeEnd::Undone) => {
                if kind == ChangeKind::Weights {
                    for variant in &mut place.is.variants {
                        variant.desired_weight = variant.weight;
                        variant.desired_count = variant.count;
                    }
                }
                place.is.failure = Some("no capacity".to_owned());
                place.change = Some(Change {
                    kind: ChangeKind::Back,
                    ..change
                });
                place.generation += 1;
                let generation = place.generation;
                let at = self.now + BACK;
                self.set_status(name, EndpointStatus::RollingBack);
                let endpoint = name.to_owned();
                self.due(
                    at,
                    Item::Arrive {
                        endpoint,
                        generation,
                    },
                );
                return;
            }
            (ChangeKind::Weights, ChangeEnd::Well) => {
                for variant in &mut place.is.variants {
                    variant.weight = variant.desired_weight;
                    variant.count = variant.desired_count;
                }
                EndpointStatus::InService
            }
            (ChangeKind::Create | ChangeKind::Update, ChangeEnd::Well) => {
                let before = std::mem::take(&mut place.is.variants);
                let kept = |name: &str| {
                    before
                        .iter()
                        .find(|v| change.retain && v.name == name)
                        .cloned()
                };
                let specs = configs.get(&change.config).map(|c| c.variants.as_slice());
                place.is.variants = specs
                    .unwrap_or_default()
                    .iter()
                    .map(|spec| kept(&spec.name).unwrap_or_else(|| fresh(spec)))
                    .collect();
                place.is.config.clone_from(&change.config);
                EndpointStatus::InService
            }
        };
        let is_by_people = self.aws.endpoints[name].foreign.is_some();
        self.note_settings(name, is_by_people);
        self.set_status(name, status);
        self.share_traffic(name);
        if matches!(
            status,
            EndpointStatus::Failed | EndpointStatus::UpdateRollbackFailed
        ) {
            let generation = self.aws.endpoints[name].generation;
            let after =
                HOUR + i64::try_from(self.luck(mix(hash(name), generation), 6)).unwrap_or(1) * HOUR;
            let endpoint = name.to_owned();
            self.due(
                self.now + after,
                Item::Repair {
                    endpoint,
                    generation,
                },
            );
        }
    }

    fn set_status(&mut self, name: &str, status: EndpointStatus) {
        let Some(place) = self.aws.endpoints.get_mut(name) else {
            return;
        };
        place.is.status = status;
        let line = format!(
            "   {name} is {status:?} by {} with {}",
            place.is.config,
            place
                .is
                .variants
                .iter()
                .map(|v| format!("{}:{}", v.name, v.weight))
                .collect::<Vec<_>>()
                .join(" ")
        );
        let (is_served, serves) = (place.has_served, place.serves());
        self.say(|| line.clone());
        self.hold(
            Invariant::AlwaysServed,
            !is_served || serves || status == EndpointStatus::Deleting,
            || line,
        );
        self.post_endpoint(name, status);
    }

    /// Traffic follows the weights.
    pub(crate) fn share_traffic(&mut self, name: &str) {
        let now = self.now;
        let Some(place) = self.aws.endpoints.get(name) else {
            return;
        };
        let total: f64 = place.is.variants.iter().map(|v| v.weight).sum();
        let of = place
            .is
            .variants
            .iter()
            .map(|v| {
                let rate = self.aws.bad_rate(&place.is.config, &v.name);
                let rate = u16::try_from(u64::from(rate) * 65_535 / 10_000).unwrap_or(u16::MAX);
                let share = if total > 0.0 { v.weight / total } else { 0.0 };
                (v.name.clone(), share, rate)
            })
            .collect();
        if let Some(place) = self.aws.endpoints.get_mut(name) {
            place.shares.push(Shares { since: now, of });
        }
    }
}
