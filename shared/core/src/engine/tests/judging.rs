//! What the verdict leads to where it is not simply "roll back" or "go on".

use super::stories::{POLICY, Story};
use crate::event::Approval;
use crate::pipeline;
use crate::rollout::Phase;

async fn with(change: impl Fn(&str) -> String) -> Story {
    Story::with(pipeline::parse(&change(POLICY), "fraud.toml").unwrap()).await
}

fn notices(story: &Story, what: &str) -> Vec<String> {
    let state = story.town.0.lock().unwrap();
    let of = state.notices.iter().filter(|n| n.what == what);
    of.map(crate::notice::Notice::text).collect()
}

const GUARD: &str = "[[stage.guard]]\nmetric = \"model_errors\"\nceiling = 0.02\n";

/// Production after a staging endpoint that a first version creates.
fn two_stages(policy: &str) -> String {
    let staging = format!(
        "[[stage]]\nname = \"staging\"\nendpoint = \"fraud-staging\"\n\
         instance = {{ type = \"ml.m5.large\" }}\nwatch_minutes = 5\n{GUARD}\n[[stage]]\n\
         name = \"production\""
    );
    policy.replace("[[stage]]\nname = \"production\"", &staging)
}

#[tokio::test]
async fn a_first_version_over_its_ceiling_is_told_of_and_goes_no_further() {
    let mut story = with(two_stages).await;
    story.town.0.lock().unwrap().bad_versions.insert(1, 200);
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    story.minutes(40).await;
    let told = notices(&story, "harm-found");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("over the ceiling of 2.0 %"), "{told:?}");
    let head = story.ledger.head(&story.group);
    assert_eq!(head.champions.len(), 1);
    let state = story.town.0.lock().unwrap();
    assert_eq!(state.endpoints.len(), 1, "it went on, or went away");
    drop(state);
    story.check();
}

#[tokio::test]
async fn a_first_version_within_its_ceiling_goes_on_to_the_next_stage() {
    let mut story = with(two_stages).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    story.minutes(40).await;
    assert_eq!(notices(&story, "harm-found"), Vec::<String>::new());
    assert_eq!(story.ledger.head(&story.group).champions.len(), 2);
    story.check();
}

#[tokio::test]
async fn a_first_version_that_is_rejected_while_it_is_watched_keeps_serving_and_people_are_told() {
    let mut story = with(two_stages).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    let is_watched = |story: &Story| {
        let head = story.ledger.head(&story.group);
        head.rollouts.values().any(crate::rollout::Rollout::is_lone)
    };
    for _ in 0..20 {
        if is_watched(&story) {
            break;
        }
        story.minute().await;
    }
    assert!(is_watched(&story));
    story.town.set_approval(1, Approval::Rejected);
    story.package(1).await;
    story.minutes(20).await;
    let state = story.town.0.lock().unwrap();
    assert_eq!(state.endpoints.len(), 1, "deleted, or deployed further");
    drop(state);
    let head = story.ledger.head(&story.group);
    assert!(head.rollouts.is_empty() && head.champions.len() == 1);
    assert!(
        notices(&story, "rolling-back")
            .iter()
            .any(|n| n.contains("still serves")),
        "{:?}",
        story.told()
    );
    story.check();
}

#[tokio::test]
async fn harm_of_a_version_that_took_over_at_once_is_told_of() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.until_quiet().await;
    story.town.set_approval(2, Approval::Rejected);
    // The way back turns out worse than what it replaces.
    story.town.0.lock().unwrap().bad_versions.insert(1, 300);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    let told = notices(&story, "harm-found");
    assert_eq!(told.len(), 1, "{:?}", story.told());
    assert!(told[0].contains("in the champion's past"), "{told:?}");
    story.check();
}

#[tokio::test]
async fn a_guard_without_data_holds_the_rollout_until_there_is_some() {
    let custom = "[[stage.guard]]\nmetric = \"model_errors\"\n[[stage.guard]]\ncustom = { \
                  namespace = \"Shop\", bad = \"Failed\", all = \"Checkouts\", dimensions = { \
                  V = \"{variant}\" } }\n[monitor]";
    for policy in ["hold", "promote", "roll_back"] {
        let low_traffic = format!("minutes = 5, on_low_traffic = \"{policy}\" }}");
        let mut story = with(|text| {
            text.replace("[monitor]", custom)
                .replace("minutes = 5 }", &low_traffic)
        })
        .await;
        story.deploy_first().await;
        story.town.0.lock().unwrap().silent_guards.insert(1);
        story.trained("train-2", 0.96).await;
        story.package(2).await;
        story.minutes(90).await;
        let running = &story.ledger.head(&story.group).rollouts[&story.stage];
        assert!(
            matches!(running.phase, Phase::Step { index: 0, .. }),
            "{policy}: {:?}",
            running.phase
        );
        let told = notices(&story, "step-held");
        assert_eq!(told.len(), 1, "{policy}: {told:?}");
        assert!(
            told[0].contains("nothing of Failed of Checkouts"),
            "{told:?}"
        );
        story.town.0.lock().unwrap().silent_guards.clear();
        story.until_quiet().await;
        assert_eq!(story.champion(), 2, "{policy}");
        story.check();
    }
}

#[tokio::test]
async fn too_little_traffic_promotes_if_the_policy_says_so_and_people_are_told() {
    let mut story = with(|text| {
        text.replace(
            "minutes = 5 }",
            "minutes = 5, on_low_traffic = \"promote\" }",
        )
    })
    .await;
    story.approve_second().await;
    story.town.0.lock().unwrap().traffic = 10;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    let told = notices(&story, "step-held");
    // The third step, at 50 %, has enough.
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("with too little traffic to tell"),
        "{told:?}"
    );
    story.check();
}

#[tokio::test]
async fn a_rollout_aims_at_what_its_steps_can_find_by_the_traffic_there_is() {
    let aim = async |traffic: u64, minutes: u32| {
        let mut story =
            with(|text| text.replace("minutes = 5 }", &format!("minutes = {minutes} }}"))).await;
        story.deploy_first().await;
        story.town.0.lock().unwrap().traffic = traffic;
        story.minutes(180).await;
        story.trained("train-2", 0.96).await;
        story.package(2).await;
        let head = story.ledger.head(&story.group);
        let evidence = &head.rollouts[&story.stage].evidence[0];
        let stored = serde_json::to_value(evidence).unwrap();
        stored["aim"].as_u64().unwrap()
    };
    let quiet = aim(1_000, 5).await;
    assert!(aim(10_000, 5).await < quiet);
    assert!(aim(1_000, 60).await < quiet);
}
