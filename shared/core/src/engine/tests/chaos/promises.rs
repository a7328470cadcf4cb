//! What must hold after every delivery, and what at the end of a story.

use std::collections::{BTreeMap, BTreeSet};

use super::super::town::version_of;
use super::Tale;
use crate::audit::Verifier;
use crate::event::Approval;
use crate::monitors::{self, Kept};
use crate::name::PackageVersion;
use crate::rollout::{ATTEMPTS, Phase};

/// How large a head may be, bytes, before it is deflated.
const LARGEST_HEAD: usize = 200_000;

impl Tale {
    fn hold(&self, is: bool, promise: impl FnOnce() -> String) {
        assert!(is, "{}\n{}", self.told(), promise());
    }

    /// After every delivery.
    pub(super) fn watch(&self) {
        let head = self.memory.head(&self.group);
        let endpoints: BTreeSet<_> = head.rollouts.values().map(|r| &r.endpoint).collect();
        self.hold(endpoints.len() == head.rollouts.len(), || {
            format!("two rollouts on one endpoint: {:?}", head.rollouts.keys())
        });
        let state = self.town.0.lock().unwrap();
        self.hold(state.wrongs.is_empty(), || state.wrongs.join("\n"));
    }

    /// At the end, when faults stopped and time went on.
    pub(super) fn keeps_its_promises(&self) {
        let head = self.memory.head(&self.group);
        self.hold(head.rollouts.is_empty(), || {
            format!("still rolling out: {:#?}", head.rollouts)
        });
        self.hold(head.waiting.is_empty(), || {
            format!("still waiting: {:#?}", head.waiting)
        });
        let pending = self.memory.pending(&self.group);
        self.hold(pending.is_empty(), || {
            format!("still pending: {pending:#?}")
        });
        let mut verifier = Verifier::new();
        for entry in self.memory.all_entries(&self.group) {
            verifier.push(&entry).unwrap();
        }
        verifier.finish(&head.tip).unwrap();
        let size = serde_json::to_vec(&head).unwrap().len();
        self.hold(size < LARGEST_HEAD, || format!("the head has {size} bytes"));
        self.hold(self.monitors_follow(), || {
            let there = &self.town.0.lock().unwrap().set_up;
            format!("monitors: {:#?}, there are {there:?}", head.monitors)
        });
        self.is_tidy();
        self.serves_what_it_may();
        self.tells_and_does_things_once();
    }

    /// The monitor of what serves runs, and no other is there.
    pub(super) fn monitors_follow(&self) -> bool {
        if self.observes {
            return true;
        }
        let head = self.memory.head(&self.group);
        let kept = &head.monitors.kept;
        let of_champions = head.champions.iter().filter(|(stage, champion)| {
            let is_it = |kept: &Kept| {
                kept.endpoint.as_str() == "fraud-prod"
                    && kept.version == champion.candidate.version
                    && kept.phase == monitors::Phase::Running
            };
            stage.as_str() != "staging" && kept.values().any(is_it)
        });
        let wanted = head.champions.keys().filter(|s| s.as_str() != "staging");
        let there = self.town.0.lock().unwrap().set_up.clone();
        let are_these = there.keys().eq(kept.keys()) && there.values().all(|runs| *runs);
        let n = wanted.count();
        of_champions.count() == n && kept.len() == n && are_these
    }

    /// No resource of a finished rollout is left behind.
    fn is_tidy(&self) {
        let head = self.memory.head(&self.group);
        let state = self.town.0.lock().unwrap();
        self.hold(state.schedules.is_empty(), || {
            format!("schedules are left: {:?}", state.schedules)
        });
        let finished = self.memory.finished(&self.group);
        let is_kept = |config: &str| head.champions.values().any(|c| c.config == config);
        for rollout in &finished {
            let is_there = |config: &str| state.configs.contains_key(config);
            match &rollout.phase {
                Phase::RolledBack { .. } | Phase::Superseded { .. } => {
                    for config in [&rollout.config, &rollout.final_config] {
                        self.hold(!is_there(config), || format!("{config} is left behind"));
                    }
                    self.hold(!state.models.contains(&rollout.model), || {
                        format!("{} is left behind", rollout.model)
                    });
                }
                Phase::Done => {
                    let config = &rollout.config;
                    self.hold(!is_there(config) || is_kept(config), || {
                        format!("{config} is left behind")
                    });
                }
                _ => {}
            }
        }
        let has_failed = finished
            .iter()
            .any(|r| matches!(r.phase, Phase::Failed { .. }));
        if has_failed || self.meddled {
            return;
        }
        let configs: BTreeSet<&str> = head.champions.values().map(|c| c.config.as_str()).collect();
        let models: BTreeSet<&str> = head.champions.values().map(|c| c.model.as_str()).collect();
        for config in state.configs.keys().filter(|c| *c != "their-config") {
            self.hold(configs.contains(config.as_str()), || {
                format!("the config {config} is nobody's, champions have {configs:?}")
            });
        }
        for model in state.models.iter().filter(|m| *m != "theirs") {
            self.hold(models.contains(model.as_str()), || {
                format!("the model {model} is nobody's, champions have {models:?}")
            });
        }
    }

    /// Only an Approved version serves, and never one that was shown to do harm.
    fn serves_what_it_may(&self) {
        let head = self.memory.head(&self.group);
        let state = self.town.0.lock().unwrap();
        for (stage, champion) in &head.champions {
            let version = champion.candidate.version.0;
            // The first has nothing to be compared with, who follows a bad one is no worse, and beside
            // what may not serve there is no canary.
            let is_bad = |v: &PackageVersion| self.bad.contains(&v.0);
            let had_no_better = self.memory.finished(&self.group).iter().any(|r| {
                let before = r.incumbent.as_ref().and_then(|i| i.version);
                r.candidate.version.0 == version
                    && (r.incumbent.is_none() || r.replaces || before.as_ref().is_some_and(is_bad))
            });
            self.hold(!self.bad.contains(&version) || had_no_better, || {
                format!("v{version} is bad and the champion of {stage}")
            });
        }
        let has_failed = self
            .memory
            .finished(&self.group)
            .iter()
            .any(|r| matches!(r.phase, Phase::Failed { .. }));
        for endpoint in state.endpoints.values() {
            for variant in endpoint.variants.iter().filter(|v| v.weight > 0.0) {
                let Some(version) = version_of(&state, &endpoint.name, &variant.name) else {
                    continue;
                };
                let package = state.packages.iter().find(|p| p.version.0 == version);
                let is_approved = package.is_some_and(|p| p.approval == Approval::Approved);
                let was_told = state.notices.iter().any(|n| {
                    let headline = n.headline.trim_start_matches("Observed: ");
                    let still = headline.starts_with(&format!("v{version} is "))
                        && headline.contains("still serves");
                    still || headline.starts_with(&format!("v{version} would be taken back"))
                });
                self.hold(is_approved || was_told || has_failed, || {
                    format!("v{version} is not Approved and serves {}", endpoint.name)
                });
            }
        }
    }

    /// One package per job, one retraining per cooldown, no deployment more often than allowed,
    /// every notice with an id of its own.
    fn tells_and_does_things_once(&self) {
        let state = self.town.0.lock().unwrap();
        let artifacts: BTreeSet<_> = state.packages.iter().map(|p| &p.artifacts).collect();
        self.hold(artifacts.len() == state.packages.len(), || {
            "a training job has two packages".to_owned()
        });
        // A story is shorter than the cooldown.
        self.hold(state.retrainings.len() <= 1, || {
            format!("retrainings: {:?}", state.retrainings)
        });
        let mut notices = BTreeMap::new();
        for notice in &state.notices {
            let other = notices.insert(&notice.id, notice);
            self.hold(other.is_none_or(|o| o == notice), || {
                format!("two notices have the id {}", notice.id)
            });
        }
        let mut deployments: BTreeMap<&str, u32> = BTreeMap::new();
        for (config, _) in &state.deployments {
            *deployments.entry(config).or_default() += 1;
        }
        for (config, n) in deployments {
            if !(config.ends_with("-c") || config.ends_with("-f")) {
                continue;
            }
            // The champion's own config is gone back to as well; and a call whose outcome was lost
            // in a crash is made again.
            let finished = self.memory.finished(&self.group);
            let mut incumbents = finished.iter().filter_map(|r| r.incumbent.as_ref());
            let is_champions = incumbents.any(|i| i.config == config);
            self.hold(n <= 2 * u32::from(ATTEMPTS) || is_champions, || {
                format!("{config} was deployed {n} times")
            });
        }
    }
}
