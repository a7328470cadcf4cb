//! Tidegate changes packages itself, beside people: no change of its own is taken for an approval,
//! and none makes a person's approval or a rejection count for more or less.

use jiff::SignedDuration;

use super::approvers::waiting;
use super::stories::{POLICY, Story};
use crate::audit::What;
use crate::event::Approval;
use crate::head::REMEMBERED_APPROVALS;
use crate::name::PackageVersion;
use crate::pipeline;
use crate::world::{TIDEGATE, WorldErrorKind};

const ADA: &str = "arn:aws:sts::123456789012:assumed-role/approvers/ada";

async fn with(lines: &str) -> Story {
    let text = format!("{POLICY}\n{lines}\n[governance]\nlifecycle = true\n");
    Story::with(pipeline::parse(&text, "test.toml").unwrap()).await
}

fn seen(story: &Story, what: What) -> usize {
    let entries = story.ledger.all_entries(&story.group);
    let of = entries.iter().filter(|e| e.read().unwrap().what == what);
    of.count()
}

/// Tidegate writes how far the version is, after whatever somebody did.
fn annotated(story: &Story, version: usize) {
    let mut state = story.town.0.lock().unwrap();
    state.now += SignedDuration::from_secs(1);
    let now = state.now;
    let package = &mut state.packages[version - 1];
    package.modified = now;
    package.modified_by = Some(TIDEGATE.to_owned());
}

#[tokio::test]
async fn a_version_that_is_being_rejected_is_not_approved_by_what_is_written_beside() {
    let mut story = with("").await;
    let bad = |story: &Story| {
        let mut state = story.town.0.lock().unwrap();
        state.bad_per_mille.insert("v2".to_owned(), 300);
        let throttled = (1_000, WorldErrorKind::Throttled);
        state.faults.calls.insert("SetApproval", throttled);
    };
    bad(&story);
    story.approve_second().await;
    story.until_quiet().await;
    {
        let state = story.town.0.lock().unwrap();
        assert_eq!(state.packages[1].approval, Approval::Approved);
    }
    // The event of the life cycle comes first, and says Approved still.
    annotated(&story, 2);
    assert!(story.try_package(2).await.is_err(), "the rejection waits");
    assert!(story.ledger.head(&story.group).rollouts.is_empty());
    assert_eq!(seen(&story, What::RolloutStarted), 2);
    story.town.0.lock().unwrap().faults.calls.clear();
    story.minutes(1).await;
    story.housekeeping().await;
    story.package(2).await;
    assert_eq!(
        story.town.0.lock().unwrap().packages[1].approval,
        Approval::Rejected
    );
    assert_eq!(story.champion(), 1);
    story.check();
}

#[tokio::test]
async fn a_version_that_served_for_long_is_not_approved_by_what_is_written_beside() {
    let mut story = with("").await;
    story.deploy_first().await;
    // A state of before: the approval of what serves was forgotten.
    story.ledger.change_head(&story.group, |head| {
        head.approvals.clear();
    });
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    annotated(&story, 1);
    story.package(1).await;
    assert!(story.ledger.head(&story.group).rollouts.is_empty());
    assert_eq!(story.champion(), 2);
    // More versions than are remembered: what serves, and what did before, is not forgotten.
    let mut head = story.ledger.head(&story.group);
    for version in 3..200 {
        head.remember_approval(PackageVersion(version), Approval::Rejected, story.now());
    }
    assert_eq!(head.approvals.len(), REMEMBERED_APPROVALS);
    for version in [1, 2, 199] {
        assert!(head.approvals.contains_key(&PackageVersion(version)));
    }
    story.check();
}

/// A version that waits for approval by this rule, and whose life cycle is written.
async fn followed(rule: &str) -> Story {
    waiting(&format!("{rule}\n[governance]\nlifecycle = true")).await
}

fn approve(story: &Story) {
    story.town.set_approval(1, Approval::Approved);
    let mut state = story.town.0.lock().unwrap();
    state.packages[0].modified_by = Some(ADA.to_owned());
}

#[tokio::test]
async fn tidegate_is_not_the_second_person() {
    let mut story = followed("people = 2").await;
    approve(&story);
    story.package(1).await;
    assert_eq!(seen(&story, What::ApprovalCounted), 1);
    // The other one approves, and it can't be seen who did.
    approve(&story);
    annotated(&story, 1);
    story.package(1).await;
    assert!(story.ledger.head(&story.group).rollouts.is_empty());
    let approval = story.town.0.lock().unwrap().packages[0].approval;
    assert_eq!(approval, Approval::PendingManualApproval);
    assert_eq!(seen(&story, What::ApprovalUndone), 1);
    story.check();
}

#[tokio::test]
async fn an_approval_is_taken_back_though_tidegate_wrote_beside_it() {
    let mut story = followed("by = [\"arn:aws:iam::*:role/others\"]").await;
    approve(&story);
    let throttled = (1, WorldErrorKind::Throttled);
    let fails = |story: &Story| {
        let mut state = story.town.0.lock().unwrap();
        state.faults.calls.insert("SetApproval", throttled);
    };
    fails(&story);
    assert!(story.try_package(1).await.is_err());
    annotated(&story, 1);
    story.town.0.lock().unwrap().now += SignedDuration::from_mins(10);
    story.housekeeping().await;
    let approval = story.town.0.lock().unwrap().packages[0].approval;
    assert_eq!(approval, Approval::PendingManualApproval);
    story.check();
}
