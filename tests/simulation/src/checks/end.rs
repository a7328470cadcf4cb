//! What must hold at the end, once faults stopped and everything had its time.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::event::Approval;
use tidegate_core::rollout::{Phase, Rollout};

use super::rollout::WILD;
use crate::invariant::Invariant;
use crate::story::Fate;
use crate::town::Town;

/// What a story comes to, as far as the order of things does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Champions by group and stage.
    pub(crate) champions: BTreeMap<String, String>,
    /// Approvals by package.
    pub(crate) packages: BTreeMap<String, String>,
    /// What serves each endpoint: the package of its variant.
    pub(crate) serving: BTreeMap<String, Vec<String>>,
}

/// What a story came to.
pub(crate) fn end_of(town: &Town) -> End {
    let mut end = End::default();
    for (group, partition) in &town.books.groups {
        for (stage, champion) in &partition.head.champions {
            let key = format!("{group}/{stage}");
            end.champions
                .insert(key, champion.candidate.version.to_string());
        }
    }
    for (arn, found) in &town.aws.packages {
        let package = &found.package;
        end.packages
            .insert(arn.clone(), format!("{:?}", package.approval));
    }
    for (name, place) in &town.aws.endpoints {
        let serving = place.is.variants.iter().map(|v| {
            let package = town.aws.package_of(&place.is.config, &v.name);
            package.map_or_else(|| v.name.clone(), |p| p.package.version.to_string())
        });
        end.serving.insert(name.clone(), serving.collect());
    }
    end
}

impl Town {
    /// Whether nothing is under way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_calm
            && self.busy == 0
            && self.dead.is_empty()
            && self.aws.endpoints.values().all(|p| p.change.is_none())
            && self.books.groups.values().all(|p| {
                p.head.rollouts.is_empty() && p.head.waiting.is_empty() && p.pending.is_empty()
            })
            && self.wrong_monitors().is_none()
    }

    /// Holds all that must be so at the end.
    pub(crate) fn check_end(&mut self) {
        let dead = self.dead.len();
        self.hold(Invariant::NoDeadLetter, dead == 0, || {
            format!("{dead} dead letters can't be dealt with")
        });
        let mut left = Vec::new();
        for partition in self.books.groups.values() {
            left.extend(
                partition
                    .head
                    .rollouts
                    .values()
                    .map(|r| format!("{} is {} ({:?})", r.id, r.phase_word(), r.phase)),
            );
            let waiting = partition.head.waiting.iter();
            left.extend(
                waiting.map(|(stage, w)| format!("{} waits for {stage}", w.candidate.version)),
            );
            left.extend(partition.pending.values().map(|p| p.effect.in_words()));
        }
        self.hold(Invariant::EverythingEnds, left.is_empty(), || {
            left.join("; ")
        });
        let wrong = self.wrong_monitors();
        let is_right = wrong.is_none();
        self.hold(Invariant::MonitorsFollow, is_right, || {
            wrong.unwrap_or_default()
        });
        self.everybody_was_told();
        for plan in 0..self.story.plans.len() {
            self.is_tidy(plan);
            self.serves_what_it_may(plan);
            if self.story.is_plain {
                self.good_arrives(plan);
            }
        }
    }

    fn everybody_was_told(&mut self) {
        let all: Vec<String> = self
            .books
            .groups
            .values()
            .flat_map(|p| p.memory.notices.iter().cloned())
            .collect();
        for id in all {
            let is_told = self.aws.notices.contains_key(&id);
            self.hold(Invariant::PeopleTold, is_told, || {
                format!("the notice {id} was never published")
            });
        }
    }

    /// In a plain story the newest good version that passed the gate serves everywhere.
    fn good_arrives(&mut self, plan: usize) {
        let trained = self.story.acts.iter().filter_map(|act| match act.what {
            crate::story::What::Train { job, auc, fate } => Some((act.at, job, auc, fate)),
            _ => None,
        });
        let newest = trained
            .filter(|(_, _, auc, fate)| *auc >= 900 && !fate.is_harmful())
            .max_by_key(|(at, ..)| *at);
        let Some((_, job, ..)) = newest else { return };
        let arn = self.package_of_job(plan, job);
        for stage in 0..self.plan(plan).stages {
            let name = self.plan(plan).endpoint(stage);
            let serving = self.aws.endpoints.get(&name).and_then(|place| {
                let [variant] = place.is.variants.as_slice() else {
                    return None;
                };
                let found = self.aws.package_of(&place.is.config, &variant.name)?;
                Some(found.package.arn.clone())
            });
            let is_there = arn.is_some() && serving == arn;
            self.hold(Invariant::GoodArrives, is_there, || {
                format!("{name} is served by {serving:?}, not by {arn:?}")
            });
        }
    }

    fn finished(&self, plan: usize) -> Vec<Rollout> {
        let partition = self.books.groups.get(&self.group(plan));
        partition.map_or(Vec::new(), |p| p.finished.values().cloned().collect())
    }

    /// No resource of a finished rollout is left behind.
    fn is_tidy(&mut self, plan: usize) {
        let finished = self.finished(plan);
        let Some(partition) = self.books.groups.get(&self.group(plan)) else {
            return;
        };
        let champions: Vec<(String, String)> = partition
            .head
            .champions
            .values()
            .map(|c| (c.config.clone(), c.model.clone()))
            .collect();
        let prefix = format!("{}-", self.plan(plan).name());
        let is_edited = self.shortened[plan];
        let mut left = Vec::new();
        for rollout in &finished {
            if self.aws.schedules.contains_key(&rollout.id.0) {
                left.push(format!("the schedule of {}", rollout.id));
            }
            let is_champions = |c: &String| {
                let mut places = self.aws.endpoints.values();
                champions.iter().any(|(config, _)| config == c) || places.any(|p| p.is.config == *c)
            };
            // Where the way back stopped for a person to look, what served before is theirs to use.
            let is_for_people = |config: &String| {
                let failed = finished
                    .iter()
                    .filter(|r| matches!(r.phase, Phase::Failed { .. }));
                let mut before = failed.filter_map(|r| r.incumbent.as_ref());
                before.any(|incumbent| &incumbent.config == config)
            };
            let configs: &[&String] = match &rollout.phase {
                Phase::RolledBack { .. } | Phase::Superseded { .. } => {
                    &[&rollout.config, &rollout.final_config]
                }
                // What a policy names no more is nobody's to tidy.
                Phase::Done if !is_edited => &[&rollout.config],
                _ => &[],
            };
            for config in configs {
                let is_there = self.aws.configs.contains_key(*config);
                if is_there && !is_champions(config) && !is_for_people(config) {
                    left.push(format!("the config {config}"));
                }
            }
        }
        let has_failed = finished
            .iter()
            .any(|r| matches!(r.phase, Phase::Failed { .. }));
        if !has_failed && !self.meddled[plan] && !is_edited {
            let configs = self.aws.configs.keys();
            left.extend(
                configs
                    .filter(|c| c.starts_with(&prefix))
                    .filter(|c| !champions.iter().any(|(config, _)| config == *c))
                    .map(|c| format!("the config {c}")),
            );
            let models = self.aws.models.keys();
            left.extend(
                models
                    .filter(|m| m.starts_with(&prefix))
                    .filter(|m| !champions.iter().any(|(_, model)| model == *m))
                    .map(|m| format!("the model {m}")),
            );
        }
        let orphans = &self.aws.orphans;
        left.retain(|what| !orphans.iter().any(|o| what.ends_with(o.as_str())));
        self.hold(Invariant::NothingLeft, left.is_empty(), || {
            format!("left behind: {}", left.join(", "))
        });
    }

    /// Only an Approved version serves, or people were told; and none that does clear harm, where
    /// there was one to compare with.
    fn serves_what_it_may(&mut self, plan: usize) {
        let finished = self.finished(plan);
        let has_failed = finished
            .iter()
            .any(|r| matches!(r.phase, Phase::Failed { .. }));
        let prefix = format!("{}-", self.plan(plan).name());
        let group = self.plan(plan).group();
        let policy = self
            .books
            .groups
            .get(&self.group(plan))
            .and_then(|p| p.policy.as_ref());
        let is_shortened = self.shortened[plan];
        let is_stage = |name: &str| {
            !is_shortened
                && policy
                    .is_some_and(|a| a.policy.stages.iter().any(|s| s.endpoint.as_str() == name))
        };
        let mut unapproved = Vec::new();
        for (name, place) in &self.aws.endpoints {
            if !name.starts_with(&prefix) || !is_stage(name) {
                continue;
            }
            for variant in place.is.variants.iter().filter(|v| v.weight > 0.0) {
                let Some(found) = self.aws.package_of(&place.is.config, &variant.name) else {
                    continue;
                };
                let version = found.package.version.to_string();
                let told: BTreeSet<&str> = self
                    .aws
                    .notices
                    .values()
                    .filter(|(n, _)| n.group.as_str() == group)
                    .map(|(n, _)| n.headline.as_str())
                    .collect();
                let was_told = told.iter().any(|headline| {
                    headline.starts_with(&format!("{version} is "))
                        && headline.contains("still serves")
                });
                if found.package.approval != Approval::Approved && !was_told && !has_failed {
                    unapproved.push(format!("{version} on {name}"));
                }
            }
        }
        self.hold(Invariant::OnlyApproved, unapproved.is_empty(), || {
            format!(
                "not Approved, and nobody was told: {}",
                unapproved.join(", ")
            )
        });
        self.is_no_bad_one_champion(plan, &finished);
    }

    fn is_no_bad_one_champion(&mut self, plan: usize, finished: &[Rollout]) {
        let fate = |version: &str| -> Option<Fate> {
            let group = self.plan(plan).group();
            let mut all = self.aws.packages.values();
            let found = all.find(|p| {
                p.package.group.as_str() == group && p.package.version.to_string() == version
            })?;
            self.aws
                .fates
                .get(found.package.artifacts.first()?)
                .copied()
        };
        let promotes_unseen = self.plan(plan).on_low_traffic == "promote";
        let mut bad = Vec::new();
        for rollout in finished.iter().filter(|r| r.phase == Phase::Done) {
            let version = rollout.candidate.version.to_string();
            if !fate(&version).is_some_and(Fate::is_harmful) || promotes_unseen {
                continue;
            }
            // Deployed alone there is nothing beside it, and beside a bad one it is no worse.
            let before = rollout.incumbent.as_ref().and_then(|i| i.version);
            let before_is_bad =
                before.is_some_and(|v| fate(&v.to_string()).is_some_and(Fate::is_harmful));
            if rollout.has_canary() && !before_is_bad && !is_unseen(rollout) {
                bad.push(format!("{version} on {}", rollout.endpoint));
            }
        }
        self.hold(Invariant::BadNeverChampion, bad.is_empty(), || {
            format!("does clear harm and became champion: {}", bad.join(", "))
        });
    }
}

/// Whether CloudWatch showed too little of the canary to tell.
fn is_unseen(rollout: &Rollout) -> bool {
    let history = rollout.history.first();
    if history.is_some_and(|h| tidegate_core::evidence::dispersion(h) > WILD) {
        return true;
    }
    let (mut canary, mut baseline) = (0, 0);
    for guard in rollout.minutes.iter().filter_map(|m| m.guards.first()) {
        if guard.canary.requests > 0 && guard.baseline.requests > 0 {
            canary += guard.canary.requests;
            baseline += guard.baseline.requests;
        }
    }
    canary < 60 || baseline < 60
}
