//! Whose approval counts by the tags of their role or user.

use std::collections::BTreeMap;

use super::approvers::{
    ADA, BOB, TOM, approval, approve, entries, is_on_its_way, is_told, waiting,
};
use super::stories::Story;
use crate::audit::What;
use crate::engine::EngineError;
use crate::event::Approval;
use crate::principal::Principal;
use crate::world::WorldErrorKind;

const RULE: &str = "tags = { team = \"risk\", level = \"2\" }";

fn role(name: &str) -> Principal {
    Principal::Role(name.to_owned())
}

/// Gives somebody tags in IAM.
fn tag(story: &Story, who: Principal, tags: &[(&str, &str)]) {
    let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    let tags: BTreeMap<_, _> = tags.iter().map(owned).collect();
    story.town.0.lock().unwrap().tags.insert(who, tags);
}

fn asked(story: &Story) -> usize {
    let town = story.town.0.lock().unwrap();
    town.looks
        .iter()
        .filter(|c| c.starts_with("tags of"))
        .count()
}

fn is_taken_back(story: &Story, why: &str) {
    assert_eq!(approval(story), Approval::PendingManualApproval, "{why}");
    assert!(!is_on_its_way(story), "{why}");
    assert!(is_told(story, why), "{why} is not told");
}

#[tokio::test]
async fn a_role_with_all_the_tags_approves_in_each_of_its_sessions() {
    let mut story = waiting(RULE).await;
    tag(
        &story,
        role("approvers"),
        &[("Team", "risk"), ("level", "1")],
    );
    approve(&mut story, Some(ADA)).await;
    is_taken_back(
        &story,
        "tag level = \"2\" ([approval] tags), which is \"1\" on the role approvers",
    );
    tag(&story, role("approvers"), &[("level", "2")]);
    approve(&mut story, Some(BOB)).await;
    is_taken_back(
        &story,
        "tag team = \"risk\" ([approval] tags), which is not there",
    );
    assert_eq!(entries(&story, What::ApprovalUndone), 2);
    tag(
        &story,
        role("approvers"),
        &[("Team", "risk"), ("level", "2"), ("x", "y")],
    );
    approve(&mut story, Some(ADA)).await;
    assert!(is_on_its_way(&story));
    let trail = story.ledger.all_entries(&story.group);
    let mut seen = trail.iter().map(|entry| entry.read().unwrap());
    let last = seen
        .rfind(|entry| entry.what == What::ApprovalSeen)
        .unwrap();
    let last = last.facts.to_string();
    assert!(
        last.contains("\"Team\":\"risk\"") && !last.contains("\"x\""),
        "{last}"
    );
    story.until_quiet().await;
    story.check();
}

#[tokio::test]
async fn whom_by_names_needs_no_tags_and_nobody_is_asked_about_them() {
    let mut story = waiting(&format!("by = [\"*:role/approvers\"]\n{RULE}")).await;
    approve(&mut story, Some(ADA)).await;
    assert!(is_on_its_way(&story));
    assert_eq!(asked(&story), 0);
    let mut story = waiting(&format!("by = [\"*:role/others\"]\n{RULE}")).await;
    tag(
        &story,
        role("approvers"),
        &[("team", "risk"), ("level", "2")],
    );
    approve(&mut story, Some(ADA)).await;
    assert!(is_on_its_way(&story));
    assert_eq!(asked(&story), 1, "what is known is not asked again");
}

#[tokio::test]
async fn who_has_no_tags_that_can_be_read_may_not_approve() {
    for (who, why) in [
        (
            "ada",
            "IAM keeps no tags of a Studio user profile. Name them in [approval] by",
        ),
        ("arn:aws:iam::999999999999:user/ada", "of another account"),
        (
            "arn:aws:iam::123456789012:root",
            "neither a role nor a user",
        ),
        (
            TOM,
            "those of the user tom can't be read: IAM knows it no more",
        ),
    ] {
        let mut story = waiting(RULE).await;
        approve(&mut story, Some(who)).await;
        is_taken_back(&story, why);
    }
    let mut story = waiting(RULE).await;
    tag(
        &story,
        Principal::User("tom".to_owned()),
        &[("team", "risk"), ("level", "2")],
    );
    approve(&mut story, Some(TOM)).await;
    assert!(is_on_its_way(&story));
}

#[tokio::test]
async fn a_refused_look_fails_closed_and_a_throttled_one_is_tried_again() {
    let mut story = waiting(RULE).await;
    tag(
        &story,
        role("approvers"),
        &[("team", "risk"), ("level", "2")],
    );
    let fail = |story: &Story, kind| {
        let mut town = story.town.0.lock().unwrap();
        town.faults.calls.insert("ListTags", (1, kind));
    };
    fail(&story, WorldErrorKind::Denied);
    approve(&mut story, Some(ADA)).await;
    is_taken_back(
        &story,
        "Let package-approved's role call iam:ListRoleTags on it",
    );

    fail(&story, WorldErrorKind::Throttled);
    story.town.set_approval(1, Approval::Approved);
    story.town.0.lock().unwrap().packages[0].modified_by = Some(ADA.to_owned());
    let failed = story.try_package(1).await.unwrap_err();
    assert!(matches!(failed, EngineError::Fact(_)), "{failed}");
    assert_eq!(approval(&story), Approval::Approved);
    assert!(!is_on_its_way(&story));
    story.package(1).await;
    assert!(is_on_its_way(&story));
}

#[tokio::test]
async fn two_people_of_one_tag_have_to_approve_and_neither_is_the_trainer() {
    let rule = format!("people = 2\nnot_the_trainer = true\n{RULE}");
    let mut story = waiting(&rule).await;
    let tags = [("team", "risk"), ("level", "2")];
    tag(&story, role("approvers"), &tags);
    tag(&story, Principal::User("tom".to_owned()), &tags);
    approve(&mut story, Some(TOM)).await;
    is_taken_back(&story, "they started the training job themselves");
    approve(&mut story, Some(ADA)).await;
    approve(&mut story, Some(ADA)).await;
    is_taken_back(&story, "1 of 2 people");
    approve(&mut story, Some(BOB)).await;
    assert!(is_on_its_way(&story));
}
