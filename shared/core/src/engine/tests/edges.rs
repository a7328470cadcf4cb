//! Stories at the edges: what people made, what AWS refuses, what is missing.

use jiff::SignedDuration;

use super::stories::{POLICY, Story};
use crate::engine::EngineError;
use crate::event::{Approval, EndpointStatus};
use crate::pipeline;
use crate::rollout::{Cause, Phase};
use crate::world::{ConfigSpec, Endpoint, Variant, VariantSpec, WorldErrorKind};

/// An endpoint that people made: one variant, scaled out to twelve instances.
fn adopt(story: &Story, serverless: bool) {
    let mut state = story.town.0.lock().unwrap();
    let variant = Variant {
        name: "AllTraffic".to_owned(),
        weight: 1.0,
        desired_weight: 1.0,
        count: 12,
        desired_count: 12,
        serverless,
    };
    state.models.insert("theirs".to_owned());
    state.configs.insert(
        "their-config".to_owned(),
        ConfigSpec {
            name: "their-config".to_owned(),
            like: None,
            variants: vec![VariantSpec {
                name: "AllTraffic".to_owned(),
                model: "theirs".to_owned(),
                like: None,
                instance: None,
                count: 1,
                weight: 1,
                model_download_seconds: None,
                startup_seconds: None,
            }],
            capture: None,
            tags: std::collections::BTreeMap::new(),
        },
    );
    state.endpoints.insert(
        story.endpoint.clone(),
        Endpoint {
            name: story.endpoint.clone(),
            status: EndpointStatus::InService,
            config: "their-config".to_owned(),
            pending_config: None,
            failure: None,
            modified: None,
            variants: vec![variant],
        },
    );
}

#[tokio::test]
async fn an_adopted_endpoint_keeps_its_count_and_its_variant_name() {
    let mut story = Story::begin().await;
    adopt(&story, false);
    story.minutes(5).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    story.until_quiet().await;
    assert_eq!(story.serving(), [("AllTraffic".to_owned(), 100.0, 12)]);
    let state = story.town.0.lock().unwrap();
    let copied = &state.configs[&state.endpoints[&story.endpoint].config];
    assert!(copied.like.is_some());
    assert!(
        state.configs.contains_key("their-config"),
        "what people made is left alone"
    );
    assert!(state.models.contains("theirs"));
    assert_eq!((state.configs.len(), state.models.len()), (2, 2));
    drop(state);
    story.check();
}

#[tokio::test]
async fn a_serverless_endpoint_is_refused_with_the_reason() {
    let mut story = Story::begin().await;
    adopt(&story, true);
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    let notices = story.town.0.lock().unwrap().notices.clone();
    assert!(
        notices.last().unwrap().text().contains("serverless"),
        "{notices:?}"
    );
    assert_eq!(story.calls("CreateModel "), 0);
    story.check();
}

#[tokio::test]
async fn an_approval_that_is_older_than_the_champions_is_recorded_and_ignored() {
    let mut story = Story::begin().await;
    story.town.set_approval(1, Approval::Approved);
    story.town.set_approval(2, Approval::Approved);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.package(1).await;
    story.minutes(3).await;
    assert_eq!(story.champion(), 2);
    assert!(story.ledger.head(&story.group).waiting.is_empty());
    story.check();
}

#[tokio::test]
async fn a_person_who_approves_starts_the_rollout_and_is_named() {
    let text = POLICY.replace("approval = \"automatic\"", "approval = \"manual\"");
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    story.minutes(3).await;
    assert!(story.town.0.lock().unwrap().endpoints.is_empty());
    story.town.set_approval(1, Approval::Approved);
    story.package(1).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    let entries = story.ledger.all_entries(&story.group);
    assert!(
        entries
            .iter()
            .any(|e| e.body.contains("ada") && e.body.contains("approval-seen"))
    );
    story.check();
}

#[tokio::test]
async fn too_little_traffic_holds_the_step_and_tells_once() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.town.0.lock().unwrap().traffic = 10;
    story.minutes(120).await;
    let running = &story.ledger.head(&story.group).rollouts[&story.stage];
    assert!(
        matches!(running.phase, Phase::Step { index: 0, .. }),
        "{:?}",
        running.phase
    );
    assert_eq!(story.told().iter().filter(|w| *w == "step-held").count(), 1);
    story.town.0.lock().unwrap().traffic = 60_000;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn too_little_traffic_rolls_back_without_blame_if_the_policy_says_so() {
    let text = POLICY.replace(
        "minutes = 5 }",
        "minutes = 5, on_low_traffic = \"roll_back\" }",
    );
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.approve_second().await;
    story.town.0.lock().unwrap().traffic = 10;
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    assert_eq!(
        story.town.0.lock().unwrap().packages[1].approval,
        Approval::Approved
    );
    story.check();
}

#[tokio::test]
async fn an_endpoint_that_is_deleted_ends_the_rollout() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(4).await;
    story.town.0.lock().unwrap().endpoints.clear();
    story.until_quiet().await;
    story.minutes(2).await;
    assert!(matches!(
        story.ledger.finished(&story.group)[1].phase,
        Phase::Failed { .. }
    ));
    assert_eq!(
        story.town.0.lock().unwrap().models.len(),
        1,
        "the candidate's is deleted"
    );
    story.check();
}

#[tokio::test]
async fn a_first_deployment_that_fails_is_taken_away_again() {
    let mut story = Story::begin().await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    {
        let mut state = story.town.0.lock().unwrap();
        let endpoint = state.endpoints.get_mut(&story.endpoint).unwrap();
        endpoint.status = EndpointStatus::Failed;
        endpoint.failure = Some("the container did not pass the ping health check".to_owned());
    }
    story.until_quiet().await;
    story.minutes(2).await;
    let state = story.town.0.lock().unwrap();
    assert!(state.endpoints.is_empty() && state.configs.is_empty() && state.models.is_empty());
    drop(state);
    assert!(story.ledger.head(&story.group).champions.is_empty());
    story.check();
}

#[tokio::test]
async fn a_denied_call_ends_the_rollout_and_says_which() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story
        .town
        .0
        .lock()
        .unwrap()
        .faults
        .calls
        .insert("CreateModel", (1, WorldErrorKind::Denied));
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    let rollout = &story.ledger.finished(&story.group)[1];
    let Phase::RolledBack { why } = &rollout.phase else {
        panic!("{:?}", rollout.phase)
    };
    assert_eq!(why.cause, Cause::Deployment);
    assert!(why.sentence.contains("CreateModel"), "{}", why.sentence);
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn the_way_back_waits_for_an_endpoint_that_is_updating_and_says_so() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    // The fleet is on its way when a person rejects the version.
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    {
        // It takes a while longer.
        let mut state = story.town.0.lock().unwrap();
        let endpoint = state.endpoints.get_mut(&story.endpoint).unwrap();
        endpoint.status = EndpointStatus::SystemUpdating;
    }
    story.minutes(3).await;
    assert!(
        story.told().iter().filter(|w| *w == "rolling-back").count() == 2,
        "{:?}",
        story.told()
    );
    {
        let mut state = story.town.0.lock().unwrap();
        let endpoint = state.endpoints.get_mut(&story.endpoint).unwrap();
        endpoint.status = EndpointStatus::Updating;
    }
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn a_missing_evaluation_file_rejects_with_the_reason() {
    let text = POLICY.replace(
        "[gate]",
        "[gate]\nevaluation = \"{output}/evaluation.json\"",
    );
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.trained("train-1", 0.95).await;
    assert_eq!(
        story.town.0.lock().unwrap().packages[0].approval,
        Approval::Rejected
    );
    let entries = story.ledger.all_entries(&story.group);
    assert!(
        entries
            .last()
            .unwrap()
            .body
            .contains("s3://models/train-1/output/evaluation.json")
    );
    story.check();
}

#[tokio::test]
async fn a_package_that_somebody_else_registered_is_gated_and_not_doubled() {
    let mut story = Story::begin().await;
    story.town.set_approval(1, Approval::PendingManualApproval);
    story.town.0.lock().unwrap().packages[0].artifacts =
        vec!["s3://models/train-1/output/model.tar.gz".to_owned()];
    story.trained("train-1", 0.95).await;
    let state = story.town.0.lock().unwrap();
    assert_eq!(state.packages.len(), 1);
    assert_eq!(state.packages[0].approval, Approval::Approved);
    drop(state);
    story.check();
}

#[tokio::test]
async fn a_tick_that_comes_an_hour_late_changes_nothing_but_time() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(6).await;
    // No tick for an hour.
    story.town.0.lock().unwrap().now += SignedDuration::from_hours(1);
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn an_outage_of_aws_delays_and_loses_nothing() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(5).await;
    story.town.0.lock().unwrap().faults.all = Some(WorldErrorKind::Unavailable);
    let failed = story
        .try_send(
            "aws.sagemaker",
            "SageMaker Endpoint State Change",
            serde_json::json!({ "EndpointName": "fraud-prod", "EndpointStatus": "IN_SERVICE" }),
        )
        .await;
    assert!(matches!(failed, Err(EngineError::Fact(_))), "{failed:?}");
    story.minutes(10).await;
    story.town.0.lock().unwrap().faults.all = None;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}
