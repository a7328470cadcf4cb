//! Tidegate changes packages itself, beside people: no change of its own is taken for an approval,
//! and none makes a person's approval or a rejection count for more or less.

use jiff::SignedDuration;

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
    story.package(2).await;
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
    // Others were approved and rejected meanwhile, more than are remembered.
    let many = u32::try_from(REMEMBERED_APPROVALS).unwrap() + 10;
    for version in 2..many {
        let now = story.now();
        story.ledger.edit_head(&story.group, |head| {
            head.remember_approval(PackageVersion(version), Approval::Rejected, now);
        });
    }
    let head = story.ledger.head(&story.group);
    assert!(head.approvals.contains_key(&PackageVersion(1)));
    assert_eq!(head.approvals.len(), REMEMBERED_APPROVALS);
}
