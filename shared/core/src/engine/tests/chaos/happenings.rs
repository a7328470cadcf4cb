//! What people and SageMaker do on their own in a story: train, approve, edit, delete, be slow.

use serde_json::json;

use super::{Tale, policy};
use crate::engine::apply;
use crate::event::{Approval, EndpointStatus};
use crate::name::EndpointName;
use crate::pipeline::Mode;
use crate::world::{ConfigSpec, Endpoint, Variant, VariantSpec};

impl Tale {
    /// An endpoint that people made serves already.
    pub(super) fn adopt(&mut self) {
        self.say("adopted endpoint");
        let mut state = self.town.0.lock().unwrap();
        state.models.insert("theirs".to_owned());
        let config = foreign_config("their-config", None, "AllTraffic", "theirs");
        state.shelf.insert(config.name.clone(), config.clone());
        state.configs.insert(config.name.clone(), config);
        let name = EndpointName::parse("fraud-prod").unwrap();
        state.endpoints.insert(
            name.clone(),
            Endpoint {
                name,
                status: EndpointStatus::InService,
                config: "their-config".to_owned(),
                pending_config: None,
                failure: None,
                modified: None,
                variants: vec![Variant {
                    name: "AllTraffic".to_owned(),
                    weight: 1.0,
                    desired_weight: 1.0,
                    count: 5,
                    desired_count: 5,
                    serverless: false,
                }],
            },
        );
    }

    pub(super) fn train(&mut self) {
        self.trained += 1;
        let n = self.trained;
        let job = format!("train-{n}");
        // The first has nothing to be compared with.
        let auc = if n > 1 && self.dice.chance(150) {
            0.5
        } else {
            0.95
        };
        self.town.train(&job, auc);
        self.say(format!("trained {job} with auc {auc}"));
        self.post(
            "SageMaker Training Job State Change",
            &json!({
                "TrainingJobName": job, "TrainingJobStatus": "Completed",
                "TrainingJobArn": format!("arn:aws:sagemaker:us-east-1:123456789012:training-job/{job}"),
                "Tags": { "tidegate:pipeline": "fraud" },
            }),
        );
    }

    /// Whether a new version is good, does harm or fails its smoke requests.
    pub(super) fn judge_fate(&mut self, version: u32) {
        let is_known = self
            .town
            .0
            .lock()
            .unwrap()
            .bad_versions
            .contains_key(&version);
        if is_known {
            return;
        }
        let fate = if version == 1 { 9 } else { self.dice.below(10) };
        let mut state = self.town.0.lock().unwrap();
        state
            .bad_versions
            .insert(version, if fate < 3 { 300 } else { 5 });
        if fate == 3 {
            state.smoke_fails.insert(version);
        }
        if fate < 4 {
            self.bad.insert(version);
        }
        drop(state);
        let kind = match fate {
            0..3 => "does harm",
            3 => "fails its smoke requests",
            _ => "is good",
        };
        self.say(format!("v{version} {kind}"));
    }

    /// What people and SageMaker do on their own in a minute.
    pub(super) async fn happenings(&mut self) {
        if self.trained < 4 && self.dice.chance(if self.trained == 0 { 400 } else { 40 }) {
            self.train();
        }
        let versions = u64::try_from(self.town.0.lock().unwrap().packages.len()).unwrap();
        if versions > 0 && self.dice.chance(20) {
            let version = u32::try_from(self.dice.below(versions)).unwrap() + 1;
            let approval = [
                Approval::Rejected,
                Approval::Approved,
                Approval::Approved,
                Approval::PendingManualApproval,
            ][usize::try_from(self.dice.below(4)).unwrap()];
            // Nobody approves what was shown to do harm.
            if approval != Approval::Approved || !self.bad.contains(&version) {
                self.say(format!("a person sets v{version} {approval:?}"));
                self.town.set_approval(version, approval);
            }
        }
        if self.dice.chance(15) {
            let n = u32::try_from(self.dice.below(3)).unwrap() + 1;
            self.say(format!("{n} deployments will be undone"));
            self.town.0.lock().unwrap().faults.undone_deployments = n;
        }
        if self.dice.chance(15) {
            let n = u32::try_from(self.dice.below(25)).unwrap();
            self.say(format!("endpoints change slowly for {n} minutes"));
            self.town.0.lock().unwrap().faults.slow_minutes = n;
        }
        if self.dice.chance(10) {
            let job = format!("monitoring-{}", self.dice.below(5));
            self.say(format!("drift found by {job}"));
            self.post(
                "SageMaker Monitoring Schedule State Change",
                &json!({
                    "MonitoringScheduleName": "fraud-data", "EndpointName": "fraud-prod",
                    "MonitoringScheduleStatus": "Scheduled",
                    "LastMonitoringExecutionSummary": {
                        "MonitoringExecutionStatus": "CompletedWithViolations",
                        "ProcessingJobArn":
                            format!("arn:aws:sagemaker:us-east-1:123456789012:processing-job/{job}"),
                    },
                }),
            );
        }
        if self.seed % 4 == 1 && self.dice.chance(15) {
            self.meddle();
        }
        if self.seed % 5 == 2 && self.dice.chance(15) {
            self.renamed = self.renamed || self.dice.chance(500);
            let mut policy = policy(&mut self.dice, self.has_staging, self.renamed);
            if self.observes {
                policy.pipeline.mode = Mode::Observe;
            }
            let now = self.now();
            self.say(format!("policy edited, renamed: {}", self.renamed));
            apply(&self.memory, policy, "ada", None, now).await.unwrap();
        }
    }

    /// Somebody else changes an endpoint.
    pub(super) fn meddle(&mut self) {
        let what = self.dice.below(8);
        let mut state = self.town.0.lock().unwrap();
        let n = state.shelf.len();
        let Some(name) = state.endpoints.keys().next_back().cloned() else {
            return;
        };
        let endpoint = state.endpoints.get_mut(&name).unwrap();
        if endpoint.status != EndpointStatus::InService {
            return;
        }
        let said = match (what, endpoint.variants.len()) {
            (0, _) => {
                state.endpoints.remove(&name);
                format!("somebody deletes {name}")
            }
            (1..5, 2) => {
                endpoint.variants[0].desired_weight = 77.0;
                endpoint.variants[1].desired_weight = 3.0;
                endpoint.status = EndpointStatus::Updating;
                state.reweighted.insert(name.clone());
                format!("somebody changes weights of {name}")
            }
            (1..5, _) => return,
            _ => {
                let config = foreign_config(&format!("foreign-{n}"), None, "AllTraffic", "theirs");
                endpoint.status = EndpointStatus::Updating;
                endpoint.pending_config = Some(config.name.clone());
                state.models.insert("theirs".to_owned());
                state.shelf.insert(config.name.clone(), config.clone());
                state.configs.insert(config.name.clone(), config);
                state.reweighted.remove(&name);
                format!("somebody updates {name} to foreign-{n}")
            }
        };
        drop(state);
        self.meddled = true;
        self.say(said);
    }
}

pub(super) fn foreign_config(
    name: &str,
    like: Option<&str>,
    variant: &str,
    model: &str,
) -> ConfigSpec {
    ConfigSpec {
        name: name.to_owned(),
        like: like.map(str::to_owned),
        variants: vec![VariantSpec {
            name: variant.to_owned(),
            model: model.to_owned(),
            like: None,
            instance: None,
            count: 3,
            weight: 1,
            model_download_seconds: None,
            startup_seconds: None,
        }],
        capture: None,
        tags: std::collections::BTreeMap::new(),
    }
}
