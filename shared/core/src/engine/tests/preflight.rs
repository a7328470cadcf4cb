//! What can't be served, or is not what was approved: refused before anything is changed.

use super::stories::{POLICY, Story};
use super::town::Town;
use crate::artifact::{Artifact, Found, Object};
use crate::event::Approval;
use crate::name::JobName;
use crate::notice::Notice;
use crate::pipeline;
use crate::world::WorldErrorKind;

/// A story whose policy demands this of artifacts and images, and whose first version serves.
async fn demanding(preflight: &str) -> Story {
    let text = format!("{POLICY}\n[preflight]\n{preflight}\n");
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.deploy_first().await;
    story
}

/// Puts something else where an artifact was.
fn put(town: &Town, uri: &str, found: Found) {
    let artifact = Artifact {
        uri: uri.to_owned(),
        region: Some("us-east-1".to_owned()),
        found,
    };
    let mut state = town.0.lock().unwrap();
    state.artifacts.insert(uri.to_owned(), artifact);
}

fn object(etag: &str, kms_key: Option<&str>) -> Found {
    Found::Object(Object {
        etag: etag.to_owned(),
        bytes: 1_024,
        version: None,
        kms_key: kms_key.map(str::to_owned),
    })
}

/// The artifact of a version's package.
fn artifact_of(story: &Story, version: u32) -> String {
    let state = story.town.0.lock().unwrap();
    let package = state.packages.iter().find(|p| p.version.0 == version);
    package.unwrap().artifacts[0].clone()
}

fn approval_of(story: &Story, version: u32) -> Approval {
    let state = story.town.0.lock().unwrap();
    let package = state.packages.iter().find(|p| p.version.0 == version);
    package.unwrap().approval
}

fn last_notice(story: &Story, headline: &str) -> Notice {
    let state = story.town.0.lock().unwrap();
    let found = state.notices.iter().rev().find(|n| n.headline == headline);
    found
        .unwrap_or_else(|| panic!("nobody was told {headline:?}"))
        .clone()
}

/// Lets a job end whose artifact is this.
async fn trained(story: &mut Story, job: &str, found: Option<Found>) {
    story.town.train(job, 0.97);
    let uri = {
        let state = story.town.0.lock().unwrap();
        let job = &state.jobs[&JobName::parse(job).unwrap()];
        job.artifact.clone().unwrap()
    };
    if let Some(found) = found {
        put(&story.town, &uri, found);
    }
    story.try_ended(job).await.unwrap();
}

#[tokio::test]
async fn a_model_whose_artifact_is_gone_is_rejected_and_the_reason_says_how_to_mend_it() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    trained(&mut story, "train-2", Some(Found::Missing)).await;
    assert_eq!(approval_of(&story, 2), Approval::Rejected);
    let told = last_notice(&story, "v2 of fraud is rejected").text();
    assert!(told.contains("does not exist: put it back"), "{told}");
    story.check();
}

#[tokio::test]
async fn a_policy_that_demands_encryption_rejects_what_is_not_encrypted() {
    let mut story = demanding("encrypted = true\nsame_artifact = false").await;
    // The first version was no artifact of a job of this story's; it served before.
    let key = "arn:aws:kms:us-east-1:123456789012:key/1";
    trained(&mut story, "train-2", Some(object("a", Some(key)))).await;
    trained(&mut story, "train-3", Some(object("b", None))).await;
    let versions: Vec<_> = {
        let state = story.town.0.lock().unwrap();
        let newest = state.packages.iter().rev().take(2);
        newest.map(|p| p.approval).collect()
    };
    assert_eq!(versions, [Approval::Rejected, Approval::Approved]);
}

#[tokio::test]
async fn an_artifact_that_was_written_again_after_it_was_registered_is_not_shipped() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    trained(&mut story, "train-2", None).await;
    let uri = artifact_of(&story, 2);
    put(&story.town, &uri, object("of somebody else", None));
    let calls = story.town.0.lock().unwrap().calls.len();
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    assert_eq!(
        story.town.0.lock().unwrap().calls.len(),
        calls,
        "nothing was asked of AWS"
    );
    let told = last_notice(&story, "v2 was not rolled out to fraud-prod").text();
    assert!(told.contains("was written again since"), "{told}");
    assert!(told.contains("Nothing was changed."), "{told}");
    story.check();
}

#[tokio::test]
async fn people_are_told_that_a_rejected_version_serves_on_when_the_one_before_can_not_be_served() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    let uri = artifact_of(&story, 1);
    put(&story.town, &uri, object("of somebody else", None));
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    let told = last_notice(&story, "v2 is Rejected and still serves fraud-prod").text();
    assert!(told.contains("since v1 can't take its place"), "{told}");
    story.check();
}

#[tokio::test]
async fn what_others_registered_is_compared_with_what_it_was_when_it_was_approved() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    // Another one is approved while the second rolls out: it waits.
    story.town.set_approval(3, Approval::Approved);
    story.package(3).await;
    let uri = artifact_of(&story, 3);
    put(&story.town, &uri, object("of somebody else", None));
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    let told = last_notice(&story, "v3 was not rolled out to fraud-prod").text();
    assert!(told.contains("was written again since"), "{told}");
    // Approved anew, it is approved as it is now.
    story.town.set_approval(3, Approval::PendingManualApproval);
    story.package(3).await;
    story.town.set_approval(3, Approval::Approved);
    story.package(3).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 3);
    story.check();
}

#[tokio::test]
async fn a_policy_may_ship_what_was_written_again() {
    let mut story = demanding("same_artifact = false").await;
    trained(&mut story, "train-2", None).await;
    let uri = artifact_of(&story, 2);
    put(&story.town, &uri, object("of somebody else", None));
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn what_sagemaker_says_of_the_artifact_is_told_in_its_own_words() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    trained(&mut story, "train-2", None).await;
    // CreateModel is where SageMaker finds that the role may not read it.
    let fault = ("CreateModel", (1, WorldErrorKind::Refused));
    story.town.0.lock().unwrap().faults.calls.extend([fault]);
    let deployments = story.town.0.lock().unwrap().deployments.len();
    story.package(2).await;
    story.until_quiet().await;
    let told = last_notice(&story, "v2 was rolled back on fraud-prod").text();
    assert!(
        told.contains("AWS refused CreateModel: as the test says"),
        "{told}"
    );
    assert!(told.contains("v2 keeps its approval"), "{told}");
    let now = story.town.0.lock().unwrap().deployments.len();
    assert_eq!(now, deployments, "the endpoint was not touched");
    assert_eq!(story.champion(), 1);
}

#[tokio::test]
async fn an_artifact_that_tidegate_may_not_look_at_is_left_to_sagemaker() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let why = "HeadObject: Forbidden".to_owned();
    trained(&mut story, "train-2", Some(Found::Unseen { why })).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}
