//! Whose approval counts, wherever it was given.

use serde_json::json;

use super::stories::{POLICY, Story};
use crate::audit::What;
use crate::event::Approval;
use crate::pipeline;

/// A pipeline whose candidates wait for approval by this rule, with one of them trained.
pub(super) async fn waiting(rule: &str) -> Story {
    let policy = POLICY.replace("approval = \"automatic\"", "approval = \"manual\"");
    let policy = format!("{policy}\n[approval]\n{rule}\n");
    let mut story = Story::with(pipeline::parse(&policy, "test.toml").unwrap()).await;
    started(
        &mut story,
        "CreateTrainingJob",
        "trainingJobName",
        "train-1",
    )
    .await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    story
}

/// Tom starts a job.
async fn started(story: &mut Story, call: &str, field: &str, job: &str) {
    let tags = json!([{ "key": "tidegate:pipeline", "value": "fraud" }]);
    story
        .send(
            "aws.sagemaker",
            "AWS API Call via CloudTrail",
            json!({
                "eventSource": "sagemaker.amazonaws.com", "eventName": call,
                "userIdentity": { "type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/tom" },
                "requestParameters": { field: job, "tags": tags },
            }),
        )
        .await;
}

/// Somebody approves the version, and the events of it and of what came of it arrive.
pub(super) async fn approve(story: &mut Story, who: Option<&str>) {
    story.town.set_approval(1, Approval::Approved);
    story.town.0.lock().unwrap().packages[0].modified_by = who.map(str::to_owned);
    story.package(1).await;
    story.town.0.lock().unwrap().now += jiff::SignedDuration::from_secs(2);
    story.package(1).await;
}

pub(super) fn approval(story: &Story) -> Approval {
    story.town.0.lock().unwrap().packages[0].approval
}

pub(super) fn is_on_its_way(story: &Story) -> bool {
    !story.ledger.head(&story.group).rollouts.is_empty()
}

pub(super) fn entries(story: &Story, what: What) -> usize {
    let entries = story.ledger.all_entries(&story.group);
    let of = entries.iter().filter(|e| e.read().unwrap().what == what);
    of.count()
}

pub(super) fn is_told(story: &Story, words: &str) -> bool {
    let town = story.town.0.lock().unwrap();
    let mut notices = town.notices.iter();
    notices.any(|n| n.headline.contains(words) || n.lines.concat().contains(words))
}

pub(super) const ADA: &str = "arn:aws:sts::123456789012:assumed-role/approvers/ada";
pub(super) const BOB: &str = "arn:aws:sts::123456789012:assumed-role/approvers/bob";
pub(super) const TOM: &str = "arn:aws:iam::123456789012:user/tom";

#[tokio::test]
async fn an_approval_by_somebody_else_is_taken_back_and_told() {
    let mut story = waiting("by = [\"arn:aws:iam::*:role/approvers\"]").await;
    approve(&mut story, Some(TOM)).await;
    assert_eq!(approval(&story), Approval::PendingManualApproval);
    assert!(!is_on_its_way(&story));
    assert_eq!(entries(&story, What::ApprovalUndone), 1);
    assert!(is_told(&story, "was taken back"));
    approve(&mut story, Some(ADA)).await;
    assert!(is_on_its_way(&story));
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    story.check();
}

#[tokio::test]
async fn an_approval_that_nobody_gave_counts_only_where_that_does_not_matter() {
    let mut story = waiting("by = [\"*\"]").await;
    approve(&mut story, None).await;
    assert!(!is_on_its_way(&story));
    assert_eq!(approval(&story), Approval::PendingManualApproval);
    let mut story = waiting("people = 1").await;
    approve(&mut story, None).await;
    assert!(is_on_its_way(&story));
}

#[tokio::test]
async fn two_people_have_to_approve_and_one_twice_is_one() {
    let mut story = waiting("people = 2").await;
    for _ in 0..2 {
        approve(&mut story, Some(ADA)).await;
        assert!(!is_on_its_way(&story));
        assert_eq!(approval(&story), Approval::PendingManualApproval);
    }
    assert_eq!(entries(&story, What::ApprovalCounted), 2);
    approve(&mut story, Some(BOB)).await;
    assert_eq!(approval(&story), Approval::Approved);
    assert!(is_on_its_way(&story));
    story.until_quiet().await;
    story.check();
}

#[tokio::test]
async fn a_rejection_forgets_who_approved_before() {
    let mut story = waiting("people = 2").await;
    approve(&mut story, Some(ADA)).await;
    story.town.set_approval(1, Approval::Rejected);
    story.package(1).await;
    approve(&mut story, Some(BOB)).await;
    assert!(!is_on_its_way(&story));
    approve(&mut story, Some(ADA)).await;
    assert!(is_on_its_way(&story));
}

#[tokio::test]
async fn the_trainer_may_not_approve_where_the_policy_says_so() {
    let mut story = waiting("not_the_trainer = true").await;
    assert_eq!(entries(&story, What::TrainingStarted), 1);
    approve(&mut story, Some(TOM)).await;
    assert!(!is_on_its_way(&story));
    // A Studio user may be the trainer under another name.
    approve(&mut story, Some("tom")).await;
    assert!(!is_on_its_way(&story));
    approve(&mut story, Some(ADA)).await;
    assert!(is_on_its_way(&story));
}

#[tokio::test]
async fn who_started_the_tuning_job_trained_its_models() {
    let mut story = waiting("not_the_trainer = true").await;
    let job = "arn:aws:sagemaker:us-east-1:123456789012:training-job/tune-1-001-0a1b2c3d";
    story.town.0.lock().unwrap().packages[0].origin.job = Some(job.to_owned());
    started(
        &mut story,
        "CreateHyperParameterTuningJob",
        "hyperParameterTuningJobName",
        "tune-1",
    )
    .await;
    let entries = story.ledger.all_entries(&story.group);
    let last = entries.last().unwrap().read().unwrap();
    assert!(
        last.why.ends_with("started the tuning job tune-1."),
        "{}",
        last.why
    );
    approve(&mut story, Some(TOM)).await;
    assert!(!is_on_its_way(&story));
    // A service may have started the training job itself, and a job of one's own may have such a name.
    approve(&mut story, Some(ADA)).await;
    assert!(is_on_its_way(&story));
    let mut story = waiting("not_the_trainer = true").await;
    let job = "train-1-001-0a1b2c3d";
    let arn = format!("arn:aws:sagemaker:us-east-1:123456789012:training-job/{job}");
    story.town.0.lock().unwrap().packages[0].origin.job = Some(arn);
    let name = "trainingJobName";
    started(&mut story, "CreateTrainingJob", name, job).await;
    story.ledger.change_head(&story.group, |head| {
        let train = crate::name::JobName::parse("train-1").unwrap();
        head.remember_creator(train, BOB);
    });
    approve(&mut story, Some(TOM)).await;
    assert!(!is_on_its_way(&story));
}

#[tokio::test]
async fn an_unknown_trainer_may_be_the_approver() {
    let mut story = waiting("not_the_trainer = true").await;
    let arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/another";
    story.town.0.lock().unwrap().packages[0].origin.job = Some(arn.to_owned());
    approve(&mut story, Some(ADA)).await;
    assert!(!is_on_its_way(&story));
    assert!(is_told(&story, "CloudTrail"));
}

#[tokio::test]
async fn what_the_gate_approves_needs_no_person() {
    let policy = format!("{POLICY}\n[approval]\npeople = 2\nby = [\"ada\", \"bob\"]\n");
    let mut story = Story::with(pipeline::parse(&policy, "test.toml").unwrap()).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    assert!(is_on_its_way(&story));
}

#[tokio::test]
async fn what_the_gate_approved_once_is_no_licence_for_later() {
    let policy = format!("{POLICY}\n[approval]\nby = [\"ada\"]\n");
    let mut story = Story::with(pipeline::parse(&policy, "test.toml").unwrap()).await;
    story.trained("train-1", 0.95).await;
    story.town.set_approval(1, Approval::Rejected);
    story.package(1).await;
    approve(&mut story, Some(TOM)).await;
    assert_eq!(approval(&story), Approval::PendingManualApproval);
    assert!(!is_on_its_way(&story));
}

#[tokio::test]
async fn while_looking_on_nothing_is_taken_back() {
    let policy = POLICY.replace("group = \"fraud\"", "group = \"fraud\"\nmode = \"observe\"");
    let policy = format!("{policy}\n[approval]\nby = [\"ada\"]\n");
    let mut story = Story::with(pipeline::parse(&policy, "test.toml").unwrap()).await;
    story.town.set_approval(1, Approval::PendingManualApproval);
    story.package(1).await;
    approve(&mut story, Some(TOM)).await;
    assert_eq!(approval(&story), Approval::Approved);
    assert!(is_told(
        &story,
        "Observed: the approval of v1 would be taken back"
    ));
    assert_eq!(entries(&story, What::ApprovalUndone), 0);
    assert_eq!(story.calls("SetApproval"), 0);
}
