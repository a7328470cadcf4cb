//! A retrained model that does not come to serve: people hear that drift remains, once, whatever
//! stopped it.

use super::findings::{found, notices};
use super::stories::{POLICY, Story};
use crate::event::Approval;
use crate::name::JobName;
use crate::notice::Severity;
use crate::pipeline;

/// A story with drift on the first version, and a model that was trained because of it.
async fn retrained(policy: &str, auc: f64) -> Story {
    let mut story = Story::with(pipeline::parse(policy, "fraud.toml").unwrap()).await;
    story.deploy_first().await;
    found(&mut story, "monitoring-1").await;
    let job = "pipelines-abc-Train";
    story.town.train(job, auc);
    {
        let mut state = story.town.0.lock().unwrap();
        let job = state.jobs.get_mut(&JobName::parse(job).unwrap()).unwrap();
        let finding = ("tidegate:finding".to_owned(), "monitoring-1".to_owned());
        job.tags.extend([finding]);
    }
    story.try_ended(job).await.unwrap();
    story
}

fn manual() -> String {
    POLICY.replace("approval = \"automatic\"", "approval = \"manual\"")
}

/// What people were told of drift that remains, which is never more than once.
fn told(story: &Story) -> Vec<String> {
    let told = notices(story, "drift-remains");
    for notice in &told {
        assert_eq!(notice.severity, Severity::Action);
    }
    told.iter().map(crate::notice::Notice::text).collect()
}

#[tokio::test]
async fn a_retrained_model_that_serves_in_the_end_is_no_matter() {
    let mut story = retrained(POLICY, 0.97).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    assert_eq!(told(&story), [""; 0]);
}

#[tokio::test]
async fn one_that_fails_the_gate_is_told_once() {
    let mut story = retrained(POLICY, 0.5).await;
    // The package's own event tells of the rejection that the gate made.
    story.package(2).await;
    let told = told(&story);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("is not good enough"), "{told:?}");
}

#[tokio::test]
async fn one_that_its_guards_take_back_is_told_once() {
    let mut story = retrained(POLICY, 0.97).await;
    story.town.0.lock().unwrap().bad_versions.insert(2, 300);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    story.package(2).await;
    let told = told(&story);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("the retrained model v2 was taken back"));
    assert!(told[0].contains("trained again after monitoring-1"));
    story.check();
}

#[tokio::test]
async fn one_that_a_person_rejects_before_it_rolls_out_is_told_once() {
    let mut story = retrained(&manual(), 0.97).await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    let told = told(&story);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("ada rejected it"), "{told:?}");
}

#[tokio::test]
async fn one_that_a_person_rejects_while_it_rolls_out_is_told_once_it_is_taken_back() {
    let mut story = retrained(POLICY, 0.97).await;
    story.package(2).await;
    story.minutes(8).await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    let told = told(&story);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("ada rejected v2"), "{told:?}");
    story.check();
}

#[tokio::test]
async fn one_that_others_registered_is_known_by_its_job() {
    let text = manual();
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.deploy_first().await;
    found(&mut story, "monitoring-1").await;
    let job = "pipelines-abc-Train";
    story.town.train(job, 0.97);
    story.town.set_approval(2, Approval::PendingManualApproval);
    {
        let mut state = story.town.0.lock().unwrap();
        let job = state.jobs.get_mut(&JobName::parse(job).unwrap()).unwrap();
        let finding = ("tidegate:finding".to_owned(), "monitoring-1".to_owned());
        job.tags.extend([finding]);
        let artifact = job.artifact.clone().unwrap();
        state.packages.last_mut().unwrap().artifacts = vec![artifact];
    }
    story.try_ended(job).await.unwrap();
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 2);
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    let told = told(&story);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("v2, trained again after monitoring-1"));
}

#[tokio::test]
async fn one_that_can_not_be_served_is_told_once() {
    let mut story = retrained(POLICY, 0.97).await;
    let artifact = {
        let mut state = story.town.0.lock().unwrap();
        let uri = state.packages[1].artifacts[0].clone();
        let mut artifact = state.artifact(&uri);
        artifact.found = crate::artifact::Found::Missing;
        state.artifacts.insert(uri, artifact.clone());
        artifact
    };
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    let told = told(&story);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&artifact.uri), "{told:?}");
}
