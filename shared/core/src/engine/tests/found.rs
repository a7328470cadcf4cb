//! What random stories and careful reading found, each told once as a story of its own.

use super::stories::{POLICY, Story};
use crate::engine::{EngineError, apply};
use crate::event::{Approval, EndpointStatus};
use crate::ledger::Ledger;
use crate::name::{EndpointName, JobName, StageName};
use crate::notice::Severity;
use crate::pipeline;
use crate::rollout::{Cause, Phase};
use crate::world::{ConfigSpec, WorldErrorKind};

const STAGING: &str = r#"[[stage]]
name = "staging"
endpoint = "fraud-staging"
instance = { type = "ml.m5.large" }
strategy = { canary = [50], minutes = 3 }
bake_minutes = 3
watch_minutes = 2

[[stage]]
name = "production""#;

async fn with_staging() -> Story {
    let text = POLICY.replacen("[[stage]]\nname = \"production\"", STAGING, 1);
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.deploy_first().await;
    story
}

fn champion_of(story: &Story, stage: &str) -> u32 {
    let stage = StageName::parse(stage).unwrap();
    let head = story.ledger.head(&story.group);
    head.champions[&stage].candidate.version.0
}

/// How many configs and models there are.
fn left(story: &Story) -> (usize, usize) {
    let state = story.town.0.lock().unwrap();
    (state.configs.len(), state.models.len())
}

async fn until(story: &mut Story, is: impl Fn(&Phase) -> bool) {
    for _ in 0..200 {
        let head = story.ledger.head(&story.group);
        if head.rollouts.values().any(|r| is(&r.phase)) {
            return;
        }
        story.minute().await;
    }
    panic!("it never came to that phase");
}

/// Somebody updates the endpoint to a config of their own.
fn update_by_hand(story: &Story) {
    let mut state = story.town.0.lock().unwrap();
    let endpoint = state.endpoints[&story.endpoint].clone();
    let theirs = ConfigSpec {
        name: "foreign".to_owned(),
        like: None,
        ..state.shelf[&endpoint.config].clone()
    };
    let mut theirs = theirs;
    for variant in &mut theirs.variants {
        variant.model = "theirs".to_owned();
    }
    state.models.insert("theirs".to_owned());
    state.shelf.insert(theirs.name.clone(), theirs.clone());
    state.configs.insert(theirs.name.clone(), theirs);
    let endpoint = state.endpoints.get_mut(&story.endpoint).unwrap();
    endpoint.status = EndpointStatus::Updating;
    endpoint.pending_config = Some("foreign".to_owned());
}

fn config_of(story: &Story) -> String {
    let state = story.town.0.lock().unwrap();
    state.endpoints[&story.endpoint].config.clone()
}

#[tokio::test]
async fn a_champion_that_comes_back_by_a_new_config_leaves_no_old_one() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    until(&mut story, |p| {
        matches!(p, Phase::Reducing { since: Some(_) })
    })
    .await;
    let harm = ("v2".to_owned(), 300);
    story.town.0.lock().unwrap().bad_per_mille.extend([harm]);
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    assert_eq!(left(&story), (1, 1));
    story.check();
}

#[tokio::test]
async fn a_version_that_fails_in_production_gives_way_in_staging_too() {
    let mut story = with_staging().await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    while champion_of(&story, "staging") == 1 {
        story.minute().await;
    }
    story.town.0.lock().unwrap().bad_versions.insert(2, 300);
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(champion_of(&story, "production"), 1);
    // The event of the rejection, which is Tidegate's own.
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(champion_of(&story, "staging"), 1);
    let in_production = story.ledger.finished(&story.group);
    let in_production = in_production
        .iter()
        .filter(|r| r.stage == story.stage)
        .count();
    assert_eq!(
        in_production, 2,
        "v1 serves there and is not rolled out again"
    );
    assert_eq!(left(&story), (2, 2));
    story.check();
}

#[tokio::test]
async fn a_rejected_version_gives_way_on_all_stages_and_each_does_it_once() {
    let mut story = with_staging().await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(champion_of(&story, "staging"), 1);
    assert_eq!(champion_of(&story, "production"), 1);
    let all = story.ledger.finished(&story.group);
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|r| r.phase == Phase::Done), "none in vain");
    story.check();
}

#[tokio::test]
async fn a_version_that_is_approved_again_while_it_goes_back_gets_a_rollout() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(5).await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.town.set_approval(2, Approval::Approved);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    assert_eq!(left(&story), (1, 1));
    story.check();
}

#[tokio::test]
async fn an_older_approval_that_comes_late_does_not_follow_a_newer_one() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.town.set_approval(2, Approval::Approved);
    story.town.set_approval(3, Approval::Approved);
    story.package(3).await;
    story.minutes(3).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 3);
    assert_eq!(story.ledger.finished(&story.group).len(), 2);
    story.check();
}

#[tokio::test]
async fn a_version_whose_approval_is_withdrawn_is_taken_back() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(5).await;
    story.town.set_approval(2, Approval::PendingManualApproval);
    story.package(2).await;
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    // A champion stays, and people are told.
    story.town.set_approval(1, Approval::PendingManualApproval);
    story.package(1).await;
    let notices = story.town.0.lock().unwrap().notices.clone();
    let last = notices.last().unwrap();
    assert_eq!(last.severity, Severity::Action);
    assert!(
        last.headline.contains("still serves fraud-prod"),
        "{last:?}"
    );
    story.check();
}

#[tokio::test]
async fn a_deleted_endpoint_is_created_again_by_a_new_approval() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.town.0.lock().unwrap().endpoints.clear();
    for approval in [Approval::Rejected, Approval::Approved] {
        story.town.set_approval(1, approval);
        story.package(1).await;
    }
    story.until_quiet().await;
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    assert_eq!(
        left(&story),
        (1, 1),
        "the first deployment's parts are gone"
    );
    story.check();
}

#[tokio::test]
async fn a_call_that_was_left_to_do_overwrites_nobody() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    // The event is delivered twice.
    let slow = ("UpdateEndpoint", (2, WorldErrorKind::Throttled));
    story.town.0.lock().unwrap().faults.calls.extend([slow]);
    story.trained("train-2", 0.96).await;
    assert_eq!(story.package(2).await.left, 1);
    update_by_hand(&story);
    story.until_quiet().await;
    story.minutes(3).await;
    assert_eq!(config_of(&story), "foreign");
    assert!(story.told().contains(&"rollout-failed".to_owned()));
    story.check();
}

#[tokio::test]
async fn weights_that_somebody_sets_before_the_first_step_stay() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.town.minute();
    {
        let mut state = story.town.0.lock().unwrap();
        let endpoint = state.endpoints.get_mut(&story.endpoint).unwrap();
        assert_eq!(endpoint.variants.len(), 2);
        endpoint.variants[1].desired_weight = 7.0;
    }
    story.until_quiet().await;
    story.minutes(3).await;
    assert_eq!(story.calls("UpdateEndpointWeightsAndCapacities"), 0);
    assert!(story.told().contains(&"rollout-failed".to_owned()));
}

#[tokio::test]
async fn smoke_requests_that_cannot_be_made_end_the_rollout_without_blame() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let missing = ("InvokeEndpoint", (99, WorldErrorKind::Gone));
    story.town.0.lock().unwrap().faults.calls.extend([missing]);
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    story.minutes(2).await;
    let rollout = &story.ledger.finished(&story.group)[1];
    assert!(
        matches!(&rollout.phase, Phase::RolledBack { why } if why.cause == Cause::Deployment),
        "{:?}",
        rollout.phase
    );
    assert_eq!(
        story.town.0.lock().unwrap().packages[1].approval,
        Approval::Approved
    );
    story.check();
}

#[tokio::test]
async fn a_job_whose_registration_was_refused_may_be_sent_again() {
    let mut story = Story::begin().await;
    let denied = ("RegisterPackage", (1, WorldErrorKind::Denied));
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    story.trained("train-1", 0.95).await;
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 0);
    story.trained("train-1", 0.95).await;
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    story.trained("train-1", 0.95).await;
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    story.check();
}

#[tokio::test]
async fn two_registrations_that_are_finished_together_are_both_remembered() {
    let mut story = Story::begin().await;
    for job in ["train-1", "train-2"] {
        story.town.train(job, 0.95);
        // The first is tried again when the second comes.
        let away = ("RegisterPackage", (2, WorldErrorKind::Unavailable));
        story.town.0.lock().unwrap().faults.calls.extend([away]);
        let detail = serde_json::json!({
            "TrainingJobName": job, "TrainingJobStatus": "Completed",
            "TrainingJobArn": format!("arn:aws:sagemaker:us-east-1:123456789012:training-job/{job}"),
            "Tags": { "tidegate:pipeline": "fraud" },
        });
        let kind = "SageMaker Training Job State Change";
        let sent = story.try_send("aws.sagemaker", kind, detail).await;
        assert!(matches!(sent, Err(EngineError::Unfinished { .. })));
    }
    story.town.0.lock().unwrap().faults.calls.clear();
    story.trained("train-3", 0.95).await;
    for job in ["train-1", "train-2", "train-3"] {
        let job = JobName::parse(job).unwrap();
        let record = story.ledger.job(&story.group, &job).await.unwrap().unwrap();
        assert!(record.package.is_some(), "{job}");
    }
    story.check();
}

#[tokio::test]
async fn a_rollout_that_is_taken_back_before_its_ticks_began_still_ends() {
    let mut story = Story::begin().await;
    story.trained("train-1", 0.95).await;
    let away = ("StartTicks", (2, WorldErrorKind::Throttled));
    story.town.0.lock().unwrap().faults.calls.extend([away]);
    let sent = story.try_package(1).await;
    assert!(
        matches!(sent, Err(EngineError::Unfinished { .. })),
        "{sent:?}"
    );
    story.town.set_approval(1, Approval::Rejected);
    story.package(1).await;
    story.until_quiet().await;
    assert_eq!(left(&story), (0, 0));
    story.check();
}

async fn rename_stage(story: &Story) {
    let text = POLICY.replace(r#"name = "production""#, r#"name = "live""#);
    let policy = pipeline::parse(&text, "fraud.toml").unwrap();
    let now = story.town.0.lock().unwrap().now;
    apply(&story.ledger, policy, "ada", None, now)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stage_that_is_renamed_keeps_its_champion() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    rename_stage(&story).await;
    assert_eq!(champion_of(&story, "live"), 1);
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(champion_of(&story, "live"), 2);
    assert_eq!(left(&story), (1, 1));
    story.check();
}

#[tokio::test]
async fn a_stage_that_is_renamed_during_a_rollout_has_one_rollout() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(4).await;
    rename_stage(&story).await;
    story.trained("train-3", 0.97).await;
    story.package(3).await;
    let head = story.ledger.head(&story.group);
    let endpoints: Vec<&EndpointName> = head.rollouts.values().map(|r| &r.endpoint).collect();
    assert_eq!(endpoints, [&story.endpoint]);
    story.until_quiet().await;
    assert_eq!(champion_of(&story, "live"), 3);
    assert_eq!(left(&story), (1, 1));
    story.check();
}

#[tokio::test]
async fn what_takes_over_from_a_rejected_version_is_not_replaced() {
    let text = POLICY.replace(
        r#"group = "fraud""#,
        "group = \"fraud\"\nnewer_approval = \"replace\"",
    );
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.approve_second().await;
    story.until_quiet().await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.minutes(2).await;
    story.town.0.lock().unwrap().bad_versions.insert(3, 300);
    story.trained("train-3", 0.97).await;
    story.package(3).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    story.check();
}

#[tokio::test]
async fn a_rejected_version_that_cannot_be_replaced_is_told_of_as_such() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.until_quiet().await;
    story.town.0.lock().unwrap().faults.undone_deployments = 2;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    let notices = story.town.0.lock().unwrap().notices.clone();
    let last = notices.last().unwrap();
    assert_eq!(last.headline, "v2 is Rejected and still serves fraud-prod");
    assert_eq!(last.severity, Severity::Action);
    story.check();
}

#[tokio::test]
async fn a_rejected_version_that_is_approved_again_stays() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.until_quiet().await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.town.set_approval(2, Approval::Approved);
    story.package(2).await;
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.champion(), 2);
    assert_eq!(story.serving(), [("v2".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn what_somebody_replaced_by_hand_is_taken_away_by_the_next_rollout() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    update_by_hand(&story);
    story.minutes(2).await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    // Theirs are left, ours of v1 are gone.
    assert_eq!(left(&story), (2, 2));
    assert!(story.town.0.lock().unwrap().configs.contains_key("foreign"));
    story.check();
}

#[tokio::test]
async fn a_package_that_could_not_be_marked_rejected_is_told_of() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    let denied = ("SetApproval", (1, WorldErrorKind::Denied));
    {
        let mut state = story.town.0.lock().unwrap();
        state.bad_versions.insert(2, 300);
        state.faults.calls.extend([denied]);
    }
    story.until_quiet().await;
    story.minutes(2).await;
    let state = story.town.0.lock().unwrap();
    let said = |n: &&crate::notice::Notice| n.headline == "fraud/2 could not be marked Rejected";
    assert!(
        state.notices.iter().any(|n| said(&n)),
        "{:?}",
        state.notices
    );
    drop(state);
    story.check();
}

#[tokio::test]
async fn a_rollout_whose_guards_cannot_be_read_stays_where_it_is_and_says_so_once() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(3).await;
    let denied = ("GetMetricData", (999, WorldErrorKind::Denied));
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    story.minutes(100).await;
    let head = story.ledger.head(&story.group);
    let phase = &head.rollouts[&story.stage].phase;
    assert!(matches!(phase, Phase::Step { index: 0, .. }), "{phase:?}");
    assert_eq!(story.told().iter().filter(|w| *w == "step-held").count(), 1);
    // It can be taken back, and it goes on by itself.
    story.town.0.lock().unwrap().faults.calls.clear();
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn a_rejected_champion_without_a_version_before_it_does_not_block_the_next() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.town.set_approval(1, Approval::Rejected);
    story.package(1).await;
    story.minutes(2).await;
    assert_eq!(story.champion(), 1, "nothing else may serve");
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    assert_eq!(story.serving(), [("v2".to_owned(), 100.0, 2)]);
    assert_eq!(
        story.calls("UpdateEndpointWeightsAndCapacities"),
        0,
        "no canary beside it"
    );
    story.check();
}

#[tokio::test]
async fn a_deployment_that_is_refused_says_why() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let refused = ("UpdateEndpoint", (2, WorldErrorKind::Refused));
    story.town.0.lock().unwrap().faults.calls.extend([refused]);
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    let notices = story.town.0.lock().unwrap().notices.clone();
    let text = notices.last().unwrap().text();
    assert!(text.contains("UpdateEndpoint: as the test says"), "{text}");
    story.check();
}

#[tokio::test]
async fn a_model_of_ours_in_a_config_of_theirs_is_left_for_it_and_said_to_be_ours() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let ours = {
        let mut state = story.town.0.lock().unwrap();
        let endpoint = state.endpoints[&story.endpoint].clone();
        let theirs = ConfigSpec {
            name: "foreign".to_owned(),
            like: None,
            ..state.shelf[&endpoint.config].clone()
        };
        let model = theirs.variants[0].model.clone();
        state.shelf.insert(theirs.name.clone(), theirs.clone());
        state.configs.insert(theirs.name.clone(), theirs);
        let endpoint = state.endpoints.get_mut(&story.endpoint).unwrap();
        endpoint.config = "foreign".to_owned();
        model
    };
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    story.minutes(30).await;
    assert_eq!(story.champion(), 2);
    let state = story.town.0.lock().unwrap();
    let mut notices = state.notices.iter();
    let done = notices.rfind(|n| n.what == "rollout-done").unwrap();
    let said = format!(
        "The config foreign was not made by Tidegate. It is left as it is, and so is the model {ours}"
    );
    assert!(done.lines[0].starts_with(&said), "{:?}", done.lines);
    assert!(state.models.contains(&ours) && state.configs.contains_key("foreign"));
}
