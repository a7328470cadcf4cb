//! Stories of one pipeline: what a team would see, and what must hold however events come.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::memory::Memory;
use super::town::Town;
use crate::audit::Verifier;
use crate::engine::{EngineError, Handled, apply, handle};
use crate::event::Approval;
use crate::name::{EndpointName, GroupName, RolloutId, StageName};
use crate::pipeline::{self, Policy};
use crate::rollout::{Cause, Phase};
use crate::world::WorldErrorKind;

pub(super) const POLICY: &str = r#"
[pipeline]
name = "fraud"
group = "fraud"

[gate]
require = [{ metric = "validation:auc", at_least = 0.9, champion_minus_at_most = 0.01 }]
approval = "automatic"

[[stage]]
name = "production"
endpoint = "fraud-prod"
instance = { type = "ml.m5.large", count = 2 }
strategy = { canary = [5, 25, 50], minutes = 5 }
bake_minutes = 10
watch_minutes = 3
smoke = ["s3://models/smoke.csv"]

[monitor]
on_drift = { retrain = { pipeline = "fraud-train" }, cooldown_hours = 24 }
"#;

pub(super) struct Story {
    pub(super) ledger: Memory,
    pub(super) town: Town,
    pub(super) group: GroupName,
    pub(super) endpoint: EndpointName,
    pub(super) stage: StageName,
    pub(super) events: u64,
}

impl Story {
    pub(super) async fn begin() -> Self {
        Self::with(pipeline::parse(POLICY, "fraud.toml").unwrap()).await
    }

    pub(super) async fn with(policy: Policy) -> Self {
        let story = Self {
            ledger: Memory::default(),
            town: Town::new(),
            group: GroupName::parse("fraud").unwrap(),
            endpoint: EndpointName::parse("fraud-prod").unwrap(),
            stage: StageName::parse("production").unwrap(),
            events: 0,
        };
        let now = story.now();
        apply(&story.ledger, policy, "ada", None, now)
            .await
            .unwrap();
        story
    }

    pub(super) fn now(&self) -> Timestamp {
        self.town.0.lock().unwrap().now
    }

    pub(super) async fn send(
        &mut self,
        source: &str,
        kind: &str,
        detail: serde_json::Value,
    ) -> Handled {
        self.try_send(source, kind, detail).await.unwrap()
    }

    pub(super) async fn try_send(
        &mut self,
        source: &str,
        kind: &str,
        detail: serde_json::Value,
    ) -> Result<Handled, EngineError> {
        self.events += 1;
        let event = json!({
            "id": format!("event-{}", self.events), "source": source, "detail-type": kind,
            "account": "123456789012", "region": "us-east-1", "resources": [],
            "time": self.now().to_string(), "detail": detail,
        });
        let bytes = serde_json::to_vec(&event).unwrap();
        let first = handle(&self.ledger, &self.town, &bytes).await;
        if first.is_ok() {
            // Everything is delivered twice, throughout.
            handle(&self.ledger, &self.town, &bytes).await.unwrap();
        }
        first
    }

    pub(super) async fn trained(&mut self, job: &str, auc: f64) -> Handled {
        self.try_trained(job, auc).await.unwrap()
    }

    pub(super) async fn try_trained(
        &mut self,
        job: &str,
        auc: f64,
    ) -> Result<Handled, EngineError> {
        self.town.train(job, auc);
        self.try_ended(job).await
    }

    /// The event that `SageMaker` sends when a training job of the town has ended.
    pub(super) async fn try_ended(&mut self, job: &str) -> Result<Handled, EngineError> {
        self.try_send(
            "aws.sagemaker",
            "SageMaker Training Job State Change",
            json!({
                "TrainingJobName": job, "TrainingJobStatus": "Completed",
                "TrainingJobArn": format!("arn:aws:sagemaker:us-east-1:123456789012:training-job/{job}"),
                "Tags": { "tidegate:pipeline": "fraud" },
            }),
        )
        .await
    }

    /// The event that SageMaker sends when a package's approval changed.
    pub(super) async fn package(&mut self, version: u32) -> Handled {
        self.try_package(version).await.unwrap()
    }

    pub(super) async fn try_package(&mut self, version: u32) -> Result<Handled, EngineError> {
        let approval = {
            let state = self.town.0.lock().unwrap();
            state
                .packages
                .iter()
                .find(|p| p.version.0 == version)
                .unwrap()
                .approval
        };
        self.try_send(
            "aws.sagemaker",
            "SageMaker Model Package State Change",
            json!({
                "ModelPackageGroupName": "fraud", "ModelPackageVersion": version,
                "ModelPackageArn":
                    format!("arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud/{version}"),
                "ModelApprovalStatus": approval,
            }),
        )
        .await
    }

    /// Minutes pass, with a tick for each schedule that stands, until no rollout runs.
    pub(super) async fn until_quiet(&mut self) {
        for _ in 0..400 {
            if self.ledger.head(&self.group).rollouts.is_empty() {
                return;
            }
            self.minute().await;
        }
        panic!(
            "still rolling out: {:#?}",
            self.ledger.head(&self.group).rollouts
        );
    }

    pub(super) async fn minutes(&mut self, n: u32) {
        for _ in 0..n {
            self.minute().await;
        }
    }

    pub(super) async fn minute(&mut self) {
        let now = self.town.minute();
        let schedules: Vec<RolloutId> = self
            .town
            .0
            .lock()
            .unwrap()
            .schedules
            .iter()
            .cloned()
            .collect();
        for rollout in schedules {
            let tick = json!({
                "tidegate": "tick", "group": "fraud", "stage": "production",
                "rollout": rollout.0, "scheduled": now.to_string(),
            });
            let bytes = serde_json::to_vec(&tick).unwrap();
            // A tick that fails is not tried again: the next one is better.
            for _ in 0..2 {
                let _ = handle(&self.ledger, &self.town, &bytes).await;
            }
        }
    }

    /// What the schedule of housekeeping sends.
    pub(super) async fn housekeeping(&mut self) -> Handled {
        let event = json!({ "tidegate": "housekeeping", "scheduled": self.now().to_string() });
        let bytes = serde_json::to_vec(&event).unwrap();
        handle(&self.ledger, &self.town, &bytes).await.unwrap()
    }

    pub(super) async fn deploy_first(&mut self) {
        self.trained("train-1", 0.95).await;
        self.package(1).await;
        self.until_quiet().await;
        self.minutes(30).await;
    }

    pub(super) async fn approve_second(&mut self) {
        self.deploy_first().await;
        self.trained("train-2", 0.96).await;
        self.package(2).await;
    }

    pub(super) fn serving(&self) -> Vec<(String, f64, u32)> {
        let state = self.town.0.lock().unwrap();
        let endpoint = &state.endpoints[&self.endpoint];
        endpoint
            .variants
            .iter()
            .map(|v| (v.name.clone(), v.weight, v.count))
            .collect()
    }

    pub(super) fn champion(&self) -> u32 {
        self.ledger.head(&self.group).champions[&self.stage]
            .candidate
            .version
            .0
    }

    pub(super) fn told(&self) -> Vec<String> {
        self.town
            .0
            .lock()
            .unwrap()
            .notices
            .iter()
            .map(|n| n.what.clone())
            .collect()
    }

    pub(super) fn calls(&self, start: &str) -> usize {
        self.town
            .0
            .lock()
            .unwrap()
            .calls
            .iter()
            .filter(|c| c.starts_with(start))
            .count()
    }

    /// What must hold at the end of every story.
    pub(super) fn check(&self) {
        let head = self.ledger.head(&self.group);
        let mut verifier = Verifier::new();
        for entry in self.ledger.all_entries(&self.group) {
            verifier.push(&entry).unwrap();
        }
        verifier.finish(&head.tip).unwrap();
        assert_eq!(self.ledger.pending(&self.group), []);
        let state = self.town.0.lock().unwrap();
        if head.rollouts.is_empty() {
            assert_eq!(state.schedules, BTreeSet::new());
        }
        let mut ids: Vec<_> = state.notices.iter().map(|n| &n.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), state.notices.len(), "a notice was told twice");
    }
}

#[tokio::test]
async fn a_trained_model_is_registered_once_however_often_it_is_reported() {
    let mut story = Story::begin().await;
    story.trained("train-1", 0.95).await;
    story.trained("train-1", 0.95).await;
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    let entries = story.ledger.all_entries(&story.group);
    assert_eq!(entries.len(), 3, "policy applied, gated, registered");
    story.check();
}

#[tokio::test]
async fn a_first_version_creates_the_endpoint() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    assert_eq!(story.champion(), 1);
    story.check();
}

#[tokio::test]
async fn a_good_version_takes_over_step_by_step_and_the_old_one_goes() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.until_quiet().await;
    assert_eq!(story.serving(), [("v2".to_owned(), 100.0, 2)]);
    {
        let state = story.town.0.lock().unwrap();
        let shares: Vec<f64> = state
            .weights
            .iter()
            .filter_map(|w| w.iter().find(|(n, _)| n == "v2").map(|(_, w)| *w))
            .collect();
        assert_eq!(shares, [0.0, 5.0, 25.0, 50.0, 100.0, 100.0]);
        assert_eq!(state.configs.len(), 1, "{:?}", state.configs.keys());
        assert_eq!(state.models.len(), 1, "{:?}", state.models);
    }
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn a_bad_version_is_rolled_back_and_rejected() {
    let mut story = Story::begin().await;
    story
        .town
        .0
        .lock()
        .unwrap()
        .bad_per_mille
        .insert("v2".to_owned(), 300);
    story.approve_second().await;
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    assert_eq!(story.champion(), 1);
    {
        let state = story.town.0.lock().unwrap();
        assert_eq!(state.packages[1].approval, Approval::Rejected);
        assert_eq!((state.configs.len(), state.models.len()), (1, 1));
    }
    let rollout = &story.ledger.finished(&story.group)[1];
    assert!(matches!(&rollout.phase, Phase::RolledBack { why } if why.cause == Cause::Guard));
    assert!(story.told().contains(&"rolled-back".to_owned()));
    // The event of our own rejection is nothing new.
    let before = story.ledger.all_entries(&story.group).len();
    story.package(2).await;
    assert_eq!(story.ledger.all_entries(&story.group).len(), before);
    story.check();
}

#[tokio::test]
async fn a_model_below_the_gate_never_comes_near_users() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.trained("train-2", 0.85).await;
    story.package(2).await;
    story.minutes(3).await;
    assert_eq!(
        story.town.0.lock().unwrap().packages[1].approval,
        Approval::Rejected
    );
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    assert_eq!(story.calls("CreateModel "), 1);
    story.check();
}

#[tokio::test]
async fn a_failed_smoke_request_ends_the_rollout_before_any_user_meets_it() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.town.0.lock().unwrap().smoke_status = 500;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    assert_eq!(story.calls("UpdateEndpointWeightsAndCapacities"), 0);
    assert_eq!(
        story.town.0.lock().unwrap().packages[1].approval,
        Approval::Rejected
    );
    story.check();
}

#[tokio::test]
async fn a_deployment_that_sagemaker_undoes_is_tried_twice_and_then_given_up() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.town.0.lock().unwrap().faults.undone_deployments = 2;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.calls("UpdateEndpoint fraud-prod"), 2);
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    // It isn't the model's fault.
    assert_eq!(
        story.town.0.lock().unwrap().packages[1].approval,
        Approval::Approved
    );
    story.check();
}

#[tokio::test]
async fn a_deployment_that_is_undone_once_goes_on() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.town.0.lock().unwrap().faults.undone_deployments = 1;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn what_somebody_else_changes_is_not_overwritten() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(4).await;
    {
        let mut state = story.town.0.lock().unwrap();
        let endpoint = state.endpoints.get_mut(&story.endpoint).unwrap();
        endpoint.variants[1].desired_weight = 77.0;
    }
    story.until_quiet().await;
    let calls = story.calls("UpdateEndpoint");
    story.minutes(5).await;
    assert_eq!(story.calls("UpdateEndpoint"), calls);
    assert!(matches!(
        &story.ledger.finished(&story.group)[1].phase,
        Phase::Failed { .. }
    ));
    assert!(story.told().contains(&"rollout-failed".to_owned()));
    story.check();
}

#[tokio::test]
async fn calls_that_aws_throttles_are_done_by_whoever_comes_next() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.town.0.lock().unwrap().faults.calls.extend([
        ("UpdateEndpoint", (3, WorldErrorKind::Throttled)),
        ("ShiftWeights", (2, WorldErrorKind::Unavailable)),
    ]);
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn an_event_that_dies_after_its_commit_is_finished_by_its_retry() {
    let mut story = Story::begin().await;
    story.town.train("train-1", 0.95);
    story
        .town
        .0
        .lock()
        .unwrap()
        .faults
        .calls
        .insert("RegisterPackage", (1, WorldErrorKind::Unavailable));
    let detail = json!({
        "TrainingJobName": "train-1", "TrainingJobStatus": "Completed",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1",
        "Tags": { "tidegate:pipeline": "fraud" },
    });
    let kind = "SageMaker Training Job State Change";
    let first = story.try_send("aws.sagemaker", kind, detail.clone()).await;
    assert!(
        matches!(first, Err(EngineError::Unfinished { left: 1, .. })),
        "{first:?}"
    );
    story.events -= 1;
    story.send("aws.sagemaker", kind, detail).await;
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    story.check();
}

#[tokio::test]
async fn a_lost_race_is_decided_again() {
    let mut story = Story::begin().await;
    story.ledger.lose_races(3);
    story.trained("train-1", 0.95).await;
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    assert_eq!(
        story.ledger.gave_way(),
        [1, 2, 3],
        "others go first, longer each time"
    );
    story.check();
}

#[tokio::test]
async fn a_rejected_candidate_is_taken_back_during_its_rollout() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(5).await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn a_rejected_live_version_gives_way_to_the_one_before() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    story.check();
}

#[tokio::test]
async fn a_newer_approval_waits_by_default() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(4).await;
    story.trained("train-3", 0.97).await;
    story.package(3).await;
    assert_eq!(story.ledger.head(&story.group).waiting.len(), 1);
    story.until_quiet().await;
    assert_eq!(story.champion(), 3);
    let ended = story.ledger.finished(&story.group);
    assert_eq!(ended.len(), 3);
    assert!(ended.iter().all(|r| r.phase == Phase::Done));
    story.check();
}

#[tokio::test]
async fn a_newer_approval_replaces_if_the_policy_says_so() {
    let text = POLICY.replace(
        "group = \"fraud\"",
        "group = \"fraud\"\nnewer_approval = \"replace\"",
    );
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.approve_second().await;
    story.minutes(6).await;
    story.trained("train-3", 0.97).await;
    story.package(3).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 3);
    assert!(matches!(
        story.ledger.finished(&story.group)[1].phase,
        Phase::Superseded { .. }
    ));
    assert_eq!(
        story.town.0.lock().unwrap().packages[1].approval,
        Approval::Approved
    );
    story.check();
}

#[tokio::test]
async fn drift_starts_one_retraining_per_cooldown() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    for job in ["monitoring-1", "monitoring-1", "monitoring-2"] {
        story
            .send(
                "aws.sagemaker",
                "SageMaker Monitoring Schedule State Change",
                json!({
                    "MonitoringScheduleName": "fraud-data", "EndpointName": "fraud-prod",
                    "MonitoringScheduleStatus": "Scheduled",
                    "LastMonitoringExecutionSummary": {
                        "MonitoringScheduleName": "fraud-data",
                        "MonitoringExecutionStatus": "CompletedWithViolations",
                        "ProcessingJobArn":
                            format!("arn:aws:sagemaker:us-east-1:123456789012:processing-job/{job}"),
                        "EndpointName": "fraud-prod",
                    },
                }),
            )
            .await;
    }
    assert_eq!(story.town.0.lock().unwrap().retrainings.len(), 1);
    assert!(story.told().contains(&"retraining-started".to_owned()));
    assert!(story.told().contains(&"retraining-withheld".to_owned()));
    story.check();
}

fn alarm(variant: Option<&str>, since: Timestamp) -> serde_json::Value {
    let mut dimensions = json!({ "EndpointName": "fraud-prod" });
    if let Some(variant) = variant {
        dimensions["VariantName"] = json!(variant);
    }
    json!({
        "alarmName": "fraud-errors",
        "state": {
            "value": "ALARM", "reason": "Threshold Crossed",
            "reasonData": json!({ "version": "1.0", "startDate": since.to_string() }).to_string(),
            "timestamp": since.to_string(),
        },
        "previousState": { "value": "OK" },
        "configuration": { "metrics": [{ "id": "m", "returnData": true, "metricStat": {
            "metric": { "namespace": "AWS/SageMaker", "name": "Invocation5XXErrors", "dimensions": dimensions },
            "period": 60, "stat": "Sum",
        } }] },
    })
}

#[tokio::test]
async fn an_alarm_during_the_bake_rolls_back() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    for _ in 0..100 {
        if story
            .ledger
            .head(&story.group)
            .rollouts
            .values()
            .any(|r| matches!(r.phase, Phase::Baking { .. }))
        {
            break;
        }
        story.minute().await;
    }
    story.minutes(2).await;
    let since = story.now();
    story
        .send(
            "aws.cloudwatch",
            "CloudWatch Alarm State Change",
            alarm(None, since),
        )
        .await;
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn an_alarm_on_a_mixture_of_both_only_tells() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(4).await;
    let since = story.now();
    story
        .send(
            "aws.cloudwatch",
            "CloudWatch Alarm State Change",
            alarm(None, since),
        )
        .await;
    assert!(story.told().contains(&"alarm-seen".to_owned()));
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn an_alarm_on_the_canary_itself_rolls_back() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(4).await;
    let since = story.now();
    story
        .send(
            "aws.cloudwatch",
            "CloudWatch Alarm State Change",
            alarm(Some("v2"), since),
        )
        .await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    story.check();
}

#[tokio::test]
async fn harm_after_the_promotion_is_seen_against_history() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    for _ in 0..100 {
        if story
            .ledger
            .head(&story.group)
            .rollouts
            .values()
            .any(|r| matches!(r.phase, Phase::Baking { .. }))
        {
            break;
        }
        story.minute().await;
    }
    story
        .town
        .0
        .lock()
        .unwrap()
        .bad_per_mille
        .insert("v2".to_owned(), 300);
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn an_unknown_pipeline_is_skipped_with_the_reason() {
    let mut story = Story::begin().await;
    story.town.train("train-1", 0.95);
    let handled = story
        .send(
            "aws.sagemaker",
            "SageMaker Training Job State Change",
            json!({
                "TrainingJobName": "train-1", "TrainingJobStatus": "Completed",
                "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1",
                "Tags": { "tidegate:pipeline": "frod" },
            }),
        )
        .await;
    assert!(handled.nothing_because.unwrap().contains("frod"));
    assert_eq!(handled.group, None);
}
