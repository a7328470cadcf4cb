//! What a reading with fresh eyes found: approvals that counted twice, calls that came too late, and
//! what one answer held up.

use jiff::SignedDuration;
use serde_json::json;

use super::stories::{POLICY, Story};
use super::town::Town;
use crate::engine::{apply, handle};
use crate::event::Approval;
use crate::pipeline;
use crate::rollout::Phase;
use crate::world::{Answer, Effect, Outcome, Question, World, WorldError, WorldErrorKind};

const ADA: &str = "arn:aws:sts::123456789012:assumed-role/approvers/ada";
const BOB: &str = "arn:aws:sts::123456789012:assumed-role/approvers/bob";
const TOM: &str = "arn:aws:iam::123456789012:user/tom";

fn policy(rule: &str, gate: &str) -> pipeline::Policy {
    let text = POLICY.replace(
        "approval = \"automatic\"",
        &format!("approval = \"{gate}\""),
    );
    pipeline::parse(&format!("{text}\n{rule}\n"), "test.toml").unwrap()
}

async fn started(story: &mut Story, job: &str, by: &str) {
    story
        .send(
            "aws.sagemaker",
            "AWS API Call via CloudTrail",
            json!({
                "eventSource": "sagemaker.amazonaws.com", "eventName": "CreateTrainingJob",
                "userIdentity": { "type": "IAMUser", "arn": by },
                "requestParameters": {
                    "trainingJobName": job,
                    "tags": [{ "key": "tidegate:pipeline", "value": "fraud" }],
                },
            }),
        )
        .await;
}

fn set(story: &Story, version: u32, approval: Approval, who: &str) {
    story.town.set_approval(version, approval);
    let mut town = story.town.0.lock().unwrap();
    let at = usize::try_from(version).unwrap() - 1;
    town.packages[at].modified_by = Some(who.to_owned());
}

async fn approve(story: &mut Story, version: u32, who: &str) {
    set(story, version, Approval::Approved, who);
    story.package(version).await;
    story.town.0.lock().unwrap().now += SignedDuration::from_secs(2);
    story.package(version).await;
}

fn approval(story: &Story, version: u32) -> Approval {
    let at = usize::try_from(version).unwrap() - 1;
    story.town.0.lock().unwrap().packages[at].approval
}

fn rolls(story: &Story) -> bool {
    !story.ledger.head(&story.group).rollouts.is_empty()
}

#[tokio::test]
async fn an_approval_that_is_withdrawn_has_to_be_given_anew_by_all() {
    let mut story = Story::with(policy("[approval]\npeople = 2", "manual")).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    approve(&mut story, 1, ADA).await;
    approve(&mut story, 1, BOB).await;
    story.until_quiet().await;
    story.minutes(30).await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    approve(&mut story, 2, ADA).await;
    approve(&mut story, 2, BOB).await;
    assert!(rolls(&story));
    story.minutes(3).await;
    set(&story, 2, Approval::PendingManualApproval, ADA);
    story.package(2).await;
    story.until_quiet().await;
    approve(&mut story, 2, BOB).await;
    assert!(!rolls(&story), "one person's approval rolled it out");
}

#[tokio::test]
async fn what_did_harm_has_to_be_approved_anew_by_all() {
    let mut story = Story::with(policy("[approval]\npeople = 2", "manual")).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    approve(&mut story, 1, ADA).await;
    approve(&mut story, 1, BOB).await;
    story.until_quiet().await;
    story.minutes(30).await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    approve(&mut story, 2, ADA).await;
    approve(&mut story, 2, BOB).await;
    story.town.0.lock().unwrap().bad_versions.insert(2, 300);
    story.until_quiet().await;
    assert_eq!(approval(&story, 2), Approval::Rejected);
    story.package(2).await;
    approve(&mut story, 2, ADA).await;
    assert!(
        !rolls(&story),
        "one person's approval rolled out what did harm"
    );
}

#[tokio::test]
async fn the_gates_approval_does_not_outlast_the_rule_that_it_was_given_by() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.town.0.lock().unwrap().bad_versions.insert(2, 300);
    story.until_quiet().await;
    assert_eq!(approval(&story, 2), Approval::Rejected);
    story.package(2).await;
    let now = story.now();
    apply(
        &story.ledger,
        policy("[approval]\nby = [\"ada\"]", "automatic"),
        "ada",
        None,
        now,
    )
    .await
    .unwrap();
    approve(&mut story, 2, TOM).await;
    assert!(
        !rolls(&story),
        "somebody whom the policy does not name rolled it out"
    );
}

/// Registers, and its answer is lost.
struct LostAnswer<'a>(&'a Town);

impl World for LostAnswer<'_> {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        self.0.ask(question).await
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        let outcome = self.0.perform(effect).await?;
        match effect {
            Effect::RegisterPackage(_) => Err(WorldError {
                kind: WorldErrorKind::Unavailable,
                call: "CreateModelPackage".to_owned(),
                message: "it did not answer".to_owned(),
            }),
            _ => Ok(outcome),
        }
    }
}

#[tokio::test]
async fn the_gates_approval_counts_although_it_is_seen_before_it_is_written_down() {
    let mut story = Story::with(policy("[approval]\nby = [\"ada\"]", "automatic")).await;
    story.town.train("train-1", 0.95);
    let event = json!({
        "id": "one", "source": "aws.sagemaker", "account": "123456789012", "region": "us-east-1",
        "detail-type": "SageMaker Training Job State Change", "resources": [],
        "time": story.now().to_string(),
        "detail": {
            "TrainingJobName": "train-1", "TrainingJobStatus": "Completed",
            "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1",
            "Tags": { "tidegate:pipeline": "fraud" },
        },
    });
    let bytes = serde_json::to_vec(&event).unwrap();
    let lost = handle(&story.ledger, &LostAnswer(&story.town), &bytes).await;
    assert!(lost.is_err());
    let event = json!({
        "id": "two", "source": "aws.sagemaker", "account": "123456789012", "region": "us-east-1",
        "detail-type": "SageMaker Model Package State Change", "resources": [],
        "time": story.now().to_string(),
        "detail": {
            "ModelPackageGroupName": "fraud", "ModelPackageVersion": 1,
            "ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud/1",
            "ModelApprovalStatus": "Approved",
        },
    });
    let package = serde_json::to_vec(&event).unwrap();
    handle(&story.ledger, &story.town, &package).await.unwrap();
    handle(&story.ledger, &story.town, &bytes).await.unwrap();
    story.town.0.lock().unwrap().now += SignedDuration::from_secs(90);
    story.housekeeping().await;
    let before = rolls(&story);
    story.town.0.lock().unwrap().now += SignedDuration::from_secs(90);
    approve(&mut story, 1, TOM).await;
    assert!(before, "the gate's own approval was taken back");
}

#[tokio::test]
async fn a_late_taking_back_leaves_what_a_person_decided_since() {
    let mut story = Story::with(policy("[approval]\nby = [\"*approvers*\"]", "manual")).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    let away = (10, WorldErrorKind::Throttled);
    story
        .town
        .0
        .lock()
        .unwrap()
        .faults
        .calls
        .insert("SetApproval", away);
    set(&story, 1, Approval::Approved, TOM);
    assert!(story.try_package(1).await.is_err());
    // ADA reads the notice and approves.
    story.town.0.lock().unwrap().now += SignedDuration::from_secs(20);
    set(&story, 1, Approval::Approved, ADA);
    story.town.0.lock().unwrap().faults.calls.clear();
    story.package(1).await;
    story.town.0.lock().unwrap().now += SignedDuration::from_secs(90);
    story.housekeeping().await;
    story.package(1).await;
    story.until_quiet().await;
    assert_eq!(
        approval(&story, 1),
        Approval::Approved,
        "her approval was undone"
    );
}

#[tokio::test]
async fn the_trainer_can_not_name_another_job() {
    let mut story = Story::with(policy("[approval]\nnot_the_trainer = true", "manual")).await;
    started(&mut story, "train-1", TOM).await;
    started(&mut story, "train-9", ADA).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    story.town.0.lock().unwrap().packages[0]
        .metadata
        .insert("tidegate:job".to_owned(), "train-9".to_owned());
    approve(&mut story, 1, TOM).await;
    assert!(!rolls(&story), "the trainer approved his own model");
}

#[tokio::test]
async fn a_way_back_does_not_wait_for_a_call_that_was_cancelled() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    for _ in 0..100 {
        let head = story.ledger.head(&story.group);
        let phase = head.rollouts.get(&story.stage).map(|r| r.phase.clone());
        if matches!(
            phase,
            Some(Phase::Step {
                index: 0,
                since: Some(_)
            })
        ) {
            break;
        }
        story.minute().await;
    }
    {
        let mut town = story.town.0.lock().unwrap();
        let now = town.now;
        for endpoint in town.endpoints.values_mut() {
            endpoint.modified = Some(now);
        }
        let away = (u32::MAX, WorldErrorKind::Throttled);
        town.faults.calls.insert("ShiftWeights", away);
    }
    for _ in 0..100 {
        let head = story.ledger.head(&story.group);
        let phase = head.rollouts.get(&story.stage).map(|r| r.phase.clone());
        if matches!(phase, Some(Phase::Step { index: 1, .. })) {
            break;
        }
        story.minute().await;
    }
    set(&story, 2, Approval::Rejected, ADA);
    let _ = story.try_package(2).await;
    assert_eq!(story.calls("UpdateEndpointWeights"), 1, "it was never made");
    story.town.0.lock().unwrap().faults.calls.clear();
    let before = story.calls("");
    let mut looks = 0;
    for _ in 0..20 {
        story.minute().await;
        looks += 1;
        if story.calls("") > before {
            break;
        }
    }
    assert!(
        looks <= 1,
        "the way back was asked for after {looks} minutes (two looks each)"
    );
}

#[tokio::test]
async fn a_way_back_deletes_nothing_while_the_endpoint_is_shown_as_before_what_was_asked() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let (name, before) = {
        let mut town = story.town.0.lock().unwrap();
        let now = town.now;
        let (name, endpoint) = town.endpoints.iter_mut().next().unwrap();
        endpoint.modified = Some(now);
        (name.clone(), endpoint.clone())
    };
    story.approve_second().await;
    assert_eq!(story.calls("UpdateEndpoint"), 1);
    set(&story, 2, Approval::Rejected, ADA);
    story.package(2).await;
    // SageMaker was asked, and shows the endpoint as it was a moment ago.
    let shown = |story: &Story, endpoint| {
        let mut town = story.town.0.lock().unwrap();
        town.endpoints.insert(name.clone(), endpoint).unwrap()
    };
    let asked = shown(&story, before);
    story.minute().await;
    assert_eq!(story.calls("DeleteEndpointConfig"), 0);
    assert_eq!(story.ledger.head(&story.group).rollouts.len(), 1);
    shown(&story, asked);
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    story.check();
}

#[tokio::test]
async fn a_job_that_a_service_started_is_no_dead_letter() {
    let mut story = Story::with(policy("[approval]\nnot_the_trainer = true", "manual")).await;
    let sent = story
        .try_send(
            "aws.sagemaker",
            "AWS API Call via CloudTrail",
            json!({
                "eventSource": "sagemaker.amazonaws.com", "eventName": "CreateTrainingJob",
                "userIdentity": { "type": "AWSService", "invokedBy": "sagemaker.amazonaws.com" },
                "requestParameters": { "trainingJobName": "somebody-elses" },
            }),
        )
        .await;
    assert!(sent.is_ok(), "{sent:?}");
}

#[tokio::test]
async fn housekeeping_goes_on_where_a_monitor_does_not_answer() {
    let text = POLICY.replace("[monitor]", "[monitor]\nschedules = [\"fraud-dq\"]");
    let mut story = Story::with(pipeline::parse(&text, "t.toml").unwrap()).await;
    story.approve_second().await;
    for _ in 0..100 {
        let head = story.ledger.head(&story.group);
        let phase = head.rollouts.get(&story.stage).map(|r| r.phase.clone());
        if matches!(
            phase,
            Some(Phase::Step {
                index: 0,
                since: Some(_)
            })
        ) {
            break;
        }
        story.minute().await;
    }
    // Its ticks are lost, and reports can't be read for now.
    story.town.0.lock().unwrap().schedules.clear();
    {
        let mut town = story.town.0.lock().unwrap();
        let name = crate::name::ScheduleName::parse("fraud-dq").unwrap();
        let now = town.now;
        town.monitors.insert(
            name.clone(),
            crate::world::MonitoringSchedule {
                name,
                endpoint: Some(story.endpoint.clone()),
                newest_violating_job: Some("job-1".to_owned()),
                newest_violating_at: Some(now),
                state: crate::world::ScheduleState::Scheduled,
            },
        );
        let away = (u32::MAX, WorldErrorKind::Unavailable);
        town.faults.calls.insert("DescribeProcessingJob", away);
        town.now += SignedDuration::from_mins(40);
    }
    let handled = story.housekeeping().await;
    assert_eq!(handled.failed, Vec::<String>::new());
}

const ON_DRIFT: &str =
    "on_drift = { retrain = { pipeline = \"fraud-train\" }, cooldown_hours = 24 }";

#[tokio::test]
async fn a_retraining_that_was_given_up_does_not_start_after_that() {
    let text = POLICY.replace(
        ON_DRIFT,
        "on_drift = { retrain = { pipeline = \"fraud-train\" }, cooldown_hours = 24, give_up_hours = 2 }",
    );
    let mut story = Story::with(pipeline::parse(&text, "t.toml").unwrap()).await;
    story.deploy_first().await;
    let away = (u32::MAX, WorldErrorKind::Throttled);
    story
        .town
        .0
        .lock()
        .unwrap()
        .faults
        .calls
        .insert("StartPipelineExecution", away);
    let detail = json!({
        "MonitoringScheduleName": "fraud-data", "EndpointName": "fraud-prod",
        "MonitoringScheduleStatus": "Scheduled",
        "LastMonitoringExecutionSummary": {
            "MonitoringScheduleName": "fraud-data",
            "MonitoringExecutionStatus": "CompletedWithViolations",
            "ProcessingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:processing-job/monitoring-1",
            "EndpointName": "fraud-prod",
        },
    });
    let kind = "SageMaker Monitoring Schedule State Change";
    let _ = story.try_send("aws.sagemaker", kind, detail).await;
    story.town.0.lock().unwrap().now += SignedDuration::from_hours(3);
    let _ = story.housekeeping().await;
    story.town.0.lock().unwrap().faults.calls.clear();
    story.town.0.lock().unwrap().now += SignedDuration::from_mins(5);
    let _ = story.housekeeping().await;
    assert_eq!(
        story.town.0.lock().unwrap().retrainings.len(),
        0,
        "started after it was given up"
    );
}

#[tokio::test]
async fn what_is_not_found_is_asked_for_once_more_before_a_version_is_taken_back() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let away = (u32::MAX, WorldErrorKind::Gone);
    let calls = |story: &Story| story.town.0.lock().unwrap().faults.calls.clone();
    story
        .town
        .0
        .lock()
        .unwrap()
        .faults
        .calls
        .insert("UpdateEndpoint", away);
    story.trained("train-2", 0.96).await;
    let _ = story.try_package(2).await;
    story.minutes(7).await;
    assert!(!calls(&story).is_empty());
    let refused = story.ledger.head(&story.group).rollouts[&story.stage]
        .refused
        .clone();
    assert!(refused.is_some(), "it was refused once");
    story.town.0.lock().unwrap().faults.calls.clear();
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}
