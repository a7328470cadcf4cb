//! Stories of a team that lets Tidegate look on: it says what it would do, and touches nothing.

use serde_json::json;

use super::stories::{POLICY, Story};
use super::town::State;
use crate::engine::{apply, explain};
use crate::event::{Approval, EndpointStatus};
use crate::notice::{Notice, Severity};
use crate::pipeline::{self, Mode, Policy};
use crate::rollout::{Phase, Rollout, Theirs};
use crate::world::{ConfigSpec, Endpoint, Variant, VariantSpec, WorldErrorKind};

fn policy(mode: &str) -> Policy {
    let text = POLICY.replace(
        "group = \"fraud\"\n",
        &format!("group = \"fraud\"\nmode = \"{mode}\"\n"),
    );
    pipeline::parse(&text, "fraud.toml").unwrap()
}

async fn begin() -> Story {
    Story::with(policy("observe")).await
}

async fn change_mode(story: &Story, mode: &str) {
    let now = story.now();
    apply(&story.ledger, policy(mode), "ada", None, now)
        .await
        .unwrap();
}

/// What people deployed: variants by name, model and weight, each model made from the package of
/// the version that its name ends with, if it ends with one.
fn deploy(story: &Story, config: &str, variants: &[(&str, &str, f64)]) {
    let mut state = story.town.0.lock().unwrap();
    let spec = |(name, model, _): &(&str, &str, f64)| VariantSpec {
        name: (*name).to_owned(),
        model: (*model).to_owned(),
        like: None,
        instance: None,
        count: 1,
        weight: 1,
        model_download_seconds: None,
        startup_seconds: None,
    };
    for (_, model, _) in variants {
        state.models.insert((*model).to_owned());
        if let Some(version) = model.rsplit_once("-v").map(|(_, v)| v) {
            let arn =
                format!("arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud/{version}");
            state.made_from.insert((*model).to_owned(), arn);
        }
    }
    let spec = ConfigSpec {
        name: config.to_owned(),
        like: None,
        variants: variants.iter().map(spec).collect(),
        capture: None,
        tags: std::collections::BTreeMap::new(),
    };
    state.configs.insert(config.to_owned(), spec.clone());
    state.shelf.insert(config.to_owned(), spec);
    let serving = variants.iter().map(|(name, _, weight)| Variant {
        name: (*name).to_owned(),
        weight: *weight,
        desired_weight: *weight,
        count: 1,
        desired_count: 1,
        serverless: false,
    });
    let endpoint = Endpoint {
        name: story.endpoint.clone(),
        status: EndpointStatus::InService,
        config: config.to_owned(),
        pending_config: None,
        failure: None,
        modified: None,
        variants: serving.collect(),
    };
    state.endpoints.insert(story.endpoint.clone(), endpoint);
}

/// Weights that people set, in the order of the variants.
fn shift(story: &Story, weights: &[f64]) {
    let mut state = story.town.0.lock().unwrap();
    let endpoint = state.endpoints.get_mut(&story.endpoint).unwrap();
    for (variant, weight) in endpoint.variants.iter_mut().zip(weights) {
        (variant.weight, variant.desired_weight) = (*weight, *weight);
    }
}

/// The event that SageMaker sends when an endpoint is InService again.
async fn changed(story: &mut Story) {
    story
        .send(
            "aws.sagemaker",
            "SageMaker Endpoint State Change",
            json!({ "EndpointName": "fraud-prod", "EndpointStatus": "InService" }),
        )
        .await;
}

async fn drift(story: &mut Story, job: &str) {
    story
        .send(
            "aws.sagemaker",
            "SageMaker Monitoring Schedule State Change",
            json!({
                "MonitoringScheduleName": "fraud-data", "EndpointName": "fraud-prod",
                "MonitoringScheduleStatus": "Scheduled",
                "LastMonitoringExecutionSummary": {
                    "MonitoringExecutionStatus": "CompletedWithViolations",
                    "ProcessingJobArn":
                        format!("arn:aws:sagemaker:us-east-1:123456789012:processing-job/{job}"),
                },
            }),
        )
        .await;
}

/// blue serves alone for a while, then people put green beside it.
pub(super) async fn canary(weights: [f64; 2]) -> Story {
    let mut story = begin().await;
    deploy(&story, "one", &[("blue", "fraud-v6", 1.0)]);
    story.minutes(5).await;
    changed(&mut story).await;
    story.town.set_approval(7, Approval::Approved);
    deploy(
        &story,
        "two",
        &[
            ("green", "fraud-v7", weights[1]),
            ("blue", "fraud-v6", weights[0]),
        ],
    );
    changed(&mut story).await;
    story
}

fn bad(story: &Story, variant: &str, per_mille: u64) {
    let mut state = story.town.0.lock().unwrap();
    state.bad_per_mille.insert(variant.to_owned(), per_mille);
}

fn running(story: &Story) -> Option<Rollout> {
    let head = story.ledger.head(&story.group);
    head.rollouts.get(&story.stage).cloned()
}

fn notices(story: &Story) -> Vec<Notice> {
    story.town.0.lock().unwrap().notices.clone()
}

fn headlines(story: &Story) -> Vec<String> {
    notices(story).into_iter().map(|n| n.headline).collect()
}

fn told(story: &Story, part: &str) -> usize {
    let notices = notices(story);
    notices.iter().filter(|n| n.text().contains(part)).count()
}

/// All that people own, as text.
pub(super) fn theirs(state: &State) -> String {
    format!(
        "{:#?}",
        (
            &state.packages,
            &state.endpoints,
            &state.configs,
            &state.models,
            &state.retrainings,
            &state.deployments,
            &state.tokens,
        )
    )
}

/// What holds at the end of every story in which Tidegate only looked on.
fn touched_nothing(story: &Story) {
    story.check();
    {
        let state = story.town.0.lock().unwrap();
        let own = |call: &&String| !call.contains("Schedule");
        assert_eq!(state.calls.iter().find(own), None, "{:?}", state.calls);
    }
    for notice in notices(story) {
        assert!(notice.headline.starts_with("Observed: "), "{notice:?}");
        assert!(!notice.text().contains("v0"), "{notice:?}");
    }
    for entry in story.ledger.all_entries(&story.group) {
        let read = entry.read().unwrap();
        assert!(!read.why.contains("v0"), "{}", read.why);
        assert!(!read.why.contains("so it is not done"), "{}", read.why);
    }
}

#[tokio::test]
async fn a_trained_model_is_gated_once_and_registered_never() {
    let mut story = begin().await;
    story.trained("train-1", 0.95).await;
    story.trained("train-1", 0.95).await;
    story.trained("train-2", 0.5).await;
    assert!(story.town.0.lock().unwrap().packages.is_empty());
    assert_eq!(
        headlines(&story),
        [
            "Observed: train-1 would be registered as Approved",
            "Observed: train-2 would be registered as Rejected"
        ]
    );
    assert_eq!(told(&story, "validation:auc"), 2, "{:?}", notices(&story));
    touched_nothing(&story);
}

#[tokio::test]
async fn a_model_that_was_gated_while_looking_on_is_registered_once_tidegate_acts() {
    let mut story = begin().await;
    story.trained("train-1", 0.95).await;
    change_mode(&story, "act").await;
    story.trained("train-1", 0.95).await;
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
}

#[tokio::test]
async fn a_package_that_others_registered_would_be_marked_and_is_not() {
    let mut story = begin().await;
    story.town.set_approval(1, Approval::PendingManualApproval);
    story.town.0.lock().unwrap().packages[0].artifacts =
        vec!["s3://models/train-1/output/model.tar.gz".to_owned()];
    story.trained("train-1", 0.95).await;
    assert_eq!(headlines(&story), ["Observed: v1 would be marked Approved"]);
    let approval = story.town.0.lock().unwrap().packages[0].approval;
    assert_eq!(approval, Approval::PendingManualApproval);
    touched_nothing(&story);
}

#[tokio::test]
async fn an_approval_tells_the_rollout_that_it_would_be_and_waits_for_nothing() {
    let mut story = begin().await;
    deploy(&story, "one", &[("blue", "fraud-v6", 1.0)]);
    story.town.set_approval(7, Approval::Approved);
    story.package(7).await;
    assert_eq!(
        headlines(&story),
        ["Observed: v7 would be rolled out to fraud-prod"]
    );
    assert_eq!(told(&story, "in steps of 5, 25 and 50 %"), 1);
    let head = story.ledger.head(&story.group);
    assert!(head.waiting.is_empty() && head.rollouts.is_empty());
    assert_eq!(head.approvals.len(), 1, "approvals are remembered");
    touched_nothing(&story);
}

#[tokio::test]
async fn an_approval_that_could_not_be_rolled_out_tells_why() {
    let mut story = begin().await;
    deploy(&story, "one", &[("blue", "fraud-v6", 1.0)]);
    story
        .town
        .0
        .lock()
        .unwrap()
        .endpoints
        .get_mut(&story.endpoint)
        .unwrap()
        .variants[0]
        .serverless = true;
    story.town.set_approval(7, Approval::Approved);
    story.package(7).await;
    assert_eq!(told(&story, "would not be rolled out"), 1);
    assert_eq!(told(&story, "serverless"), 1);
    assert!(story.ledger.head(&story.group).waiting.is_empty());
    touched_nothing(&story);
}

#[tokio::test]
async fn a_rejected_version_that_serves_would_be_taken_back() {
    let mut story = begin().await;
    deploy(&story, "one", &[("blue", "fraud-v6", 1.0)]);
    story.town.set_approval(6, Approval::Rejected);
    story.package(6).await;
    assert_eq!(
        headlines(&story),
        ["Observed: v6 would be taken back from fraud-prod"]
    );
    assert_eq!(notices(&story)[0].severity, Severity::Action);
    // One that serves nowhere is only written down.
    story.town.set_approval(5, Approval::Rejected);
    story.package(5).await;
    assert_eq!(headlines(&story).len(), 1);
    touched_nothing(&story);
}

#[tokio::test]
async fn drift_would_start_one_retraining_per_cooldown_and_acting_starts_afresh() {
    let mut story = begin().await;
    deploy(&story, "one", &[("blue", "fraud-v6", 1.0)]);
    story.minutes(10).await;
    drift(&mut story, "monitoring-1").await;
    drift(&mut story, "monitoring-2").await;
    assert_eq!(told(&story, "would be retrained"), 1);
    assert_eq!(told(&story, "would have begun"), 1);
    assert!(story.town.0.lock().unwrap().retrainings.is_empty());
    touched_nothing(&story);
    // What was only said does not count against a real one.
    change_mode(&story, "act").await;
    drift(&mut story, "monitoring-3").await;
    assert_eq!(story.town.0.lock().unwrap().retrainings.len(), 1);
}

#[tokio::test]
async fn a_healthy_canary_of_others_is_called_safe_and_its_end_is_told() {
    let mut story = canary([90.0, 10.0]).await;
    let rollout = running(&story).unwrap();
    assert_eq!(rollout.name(), "v7");
    assert_eq!(rollout.incumbent.as_ref().unwrap().variant, "blue");
    assert_eq!(rollout.history[0].len(), 180);
    story.town.0.lock().unwrap().traffic = 60_000;
    story.minutes(10).await;
    assert_eq!(told(&story, "v7 looks safe on fraud-prod"), 1);
    shift(&story, &[50.0, 50.0]);
    story.minutes(5).await;
    shift(&story, &[1.0, 0.0]);
    changed(&mut story).await;
    story.minutes(6).await;
    let done = &story.ledger.finished(&story.group)[0];
    let Phase::Observed { over, why } = &done.phase else {
        panic!("{:?}", done.phase);
    };
    assert_eq!(over.theirs, Theirs::Promoted);
    assert!(why.contains("Tidegate would have gone on, too"), "{why}");
    let shares: Vec<u8> = done.weights.iter().map(|(_, share)| *share).collect();
    assert_eq!(shares, [10, 50, 100]);
    assert_eq!(told(&story, "looks safe"), 1);
    touched_nothing(&story);
}

#[tokio::test]
async fn a_bad_canary_of_others_would_be_rolled_back_and_the_end_says_when() {
    let mut story = canary([90.0, 10.0]).await;
    bad(&story, "green", 200);
    story.minutes(20).await;
    let warned: Vec<Notice> = notices(&story)
        .into_iter()
        .filter(|n| n.headline.contains("would be rolled back"))
        .collect();
    assert_eq!(warned.len(), 1, "told once");
    assert_eq!(warned[0].severity, Severity::Warning);
    assert!(warned[0].lines[0].contains("model errors"), "{warned:?}");
    assert_eq!(warned[0].version.unwrap().0, 7);
    assert!(running(&story).is_some(), "it goes on looking");
    // They promote it all the same.
    deploy(&story, "three", &[("all", "fraud-v7", 1.0)]);
    changed(&mut story).await;
    story.minutes(10).await;
    let done = &story.ledger.finished(&story.group)[0];
    let Phase::Observed { over, why } = &done.phase else {
        panic!("{:?}", done.phase);
    };
    assert_eq!(over.theirs, Theirs::Promoted, "{why}");
    assert!(
        why.contains("Tidegate would have rolled it back at 00:"),
        "{why}"
    );
    let last = notices(&story).pop().unwrap();
    assert_eq!(last.severity, Severity::Action, "{last:?}");
    assert_eq!(story.calls("DeleteSchedule"), 1);
    touched_nothing(&story);
}

#[tokio::test]
async fn a_canary_that_others_take_back_ends_without_alarm() {
    let mut story = canary([90.0, 10.0]).await;
    bad(&story, "green", 200);
    story.minutes(20).await;
    shift(&story, &[0.0, 1.0]);
    changed(&mut story).await;
    story.minutes(6).await;
    let done = &story.ledger.finished(&story.group)[0];
    assert!(
        matches!(&done.phase, Phase::Observed { over, .. } if over.theirs == Theirs::TookBack),
        "{:?}",
        done.phase
    );
    let last = notices(&story).pop().unwrap();
    assert_eq!(last.severity, Severity::Info);
    assert!(last.headline.contains("so would Tidegate"), "{last:?}");
    // They try again: that is another observation.
    shift(&story, &[20.0, 80.0]);
    changed(&mut story).await;
    let again = running(&story).unwrap();
    assert_ne!(again.id, done.id);
    assert_eq!(again.weights[0].1, 20);
    touched_nothing(&story);
}

#[tokio::test]
async fn harm_in_the_last_minutes_before_they_promote_is_still_found() {
    let mut story = canary([50.0, 50.0]).await;
    bad(&story, "green", 100);
    story.minutes(2).await;
    assert!(running(&story).unwrap().minutes.is_empty());
    // Nothing is settled yet, and they give it everything.
    deploy(&story, "three", &[("green", "fraud-v7", 1.0)]);
    changed(&mut story).await;
    assert!(matches!(
        running(&story).unwrap().phase,
        Phase::Observing { over: Some(_) }
    ));
    story.minutes(7).await;
    let done = &story.ledger.finished(&story.group)[0];
    assert!(!done.minutes.is_empty());
    touched_nothing(&story);
}

#[tokio::test]
async fn the_variant_that_had_all_the_traffic_is_what_a_canary_is_compared_with() {
    // The canary begins with the greater share, and is named first.
    let story = canary([20.0, 80.0]).await;
    let rollout = running(&story).unwrap();
    assert_eq!(rollout.canary, "green");
    assert_eq!(told(&story, "blue had all the traffic before"), 1);
    touched_nothing(&story);
}

#[tokio::test]
async fn without_a_past_the_greater_share_is_the_baseline_else_the_older_version() {
    for (weights, baseline, how) in [
        ([30.0, 70.0], "b", "b has the greater share"),
        ([50.0, 50.0], "b", "its version is the older one"),
    ] {
        let mut story = begin().await;
        deploy(
            &story,
            "two",
            &[("a", "fraud-v7", weights[0]), ("b", "fraud-v6", weights[1])],
        );
        changed(&mut story).await;
        let rollout = running(&story).unwrap();
        assert_eq!(rollout.incumbent.unwrap().variant, baseline);
        assert_eq!(told(&story, how), 1, "{:?}", notices(&story));
        touched_nothing(&story);
    }
}

#[tokio::test]
async fn a_canary_without_a_package_is_named_by_its_variant_and_model() {
    let mut story = begin().await;
    deploy(
        &story,
        "two",
        &[("old", "their-old", 90.0), ("blue", "their-new", 10.0)],
    );
    changed(&mut story).await;
    let rollout = running(&story).unwrap();
    assert_eq!(rollout.version(), None);
    assert_eq!(rollout.name(), "the variant blue (model their-new)");
    bad(&story, "blue", 300);
    story.minutes(15).await;
    assert_eq!(told(&story, "would be rolled back"), 1);
    assert!(notices(&story).iter().all(|n| n.version.is_none()));
    story.town.0.lock().unwrap().endpoints.clear();
    story.minutes(8).await;
    assert!(running(&story).is_none());
    assert_eq!(told(&story, "was deleted"), 1);
    touched_nothing(&story);
}

#[tokio::test]
async fn a_canary_without_traffic_is_waited_for() {
    let mut story = canary([1.0, 0.0]).await;
    assert_eq!(running(&story), None);
    assert!(notices(&story).is_empty());
    shift(&story, &[5.0, 95.0]);
    changed(&mut story).await;
    assert_eq!(running(&story).unwrap().weights[0].1, 5);
    touched_nothing(&story);
}

#[tokio::test]
async fn what_can_not_be_judged_is_told_once() {
    let mut story = begin().await;
    deploy(
        &story,
        "three",
        &[
            ("a", "fraud-v5", 50.0),
            ("b", "fraud-v6", 30.0),
            ("c", "fraud-v7", 20.0),
        ],
    );
    changed(&mut story).await;
    changed(&mut story).await;
    assert_eq!(
        headlines(&story),
        ["Observed: a canary on fraud-prod is not judged"]
    );
    assert_eq!(told(&story, "3 variants"), 1);
    assert_eq!(running(&story), None);
    touched_nothing(&story);
}

#[tokio::test]
async fn metrics_that_are_refused_are_told_once_and_judged_when_they_come() {
    let mut story = canary([90.0, 10.0]).await;
    let denied = (100, WorldErrorKind::Denied);
    let faults = |story: &Story, n| {
        let mut state = story.town.0.lock().unwrap();
        state.faults.calls.insert("GetMetricData", n);
    };
    faults(&story, denied);
    story.minutes(6).await;
    assert_eq!(told(&story, "nobody sees how v7 does"), 1);
    assert!(running(&story).unwrap().minutes.is_empty());
    faults(&story, (0, WorldErrorKind::Denied));
    bad(&story, "green", 300);
    story.minutes(10).await;
    assert_eq!(told(&story, "would be rolled back"), 1);
    touched_nothing(&story);
}

#[tokio::test]
async fn two_variants_that_stand_for_a_day_are_no_canary_any_more() {
    let mut story = canary([50.0, 50.0]).await;
    story.minutes(24 * 60 + 5).await;
    assert_eq!(running(&story), None);
    assert_eq!(told(&story, "has stood at 50 % of fraud-prod for a day"), 1);
    changed(&mut story).await;
    assert_eq!(running(&story), None, "the same sight begins nothing");
    shift(&story, &[80.0, 20.0]);
    changed(&mut story).await;
    assert!(running(&story).is_some(), "a shift does");
    touched_nothing(&story);
}

#[tokio::test]
async fn a_rejected_canary_and_an_alarm_on_it_tell_what_would_be_done() {
    let mut story = canary([90.0, 10.0]).await;
    story.minutes(3).await;
    story
        .send(
            "aws.cloudwatch",
            "CloudWatch Alarm State Change",
            json!({
                "alarmName": "green-5xx",
                "state": { "value": "ALARM", "reason": "too many", "timestamp": story.now().to_string() },
                "configuration": { "metrics": [{ "id": "m", "returnData": true, "metricStat": {
                    "period": 60, "stat": "Sum", "metric": {
                        "namespace": "AWS/SageMaker", "name": "Invocation5XXErrors",
                        "dimensions": { "EndpointName": "fraud-prod", "VariantName": "green" } } } }] },
            }),
        )
        .await;
    assert_eq!(told(&story, "v7 would be rolled back on fraud-prod"), 1);
    story.town.set_approval(7, Approval::Rejected);
    story.package(7).await;
    assert_eq!(told(&story, "v7 would be taken back from fraud-prod"), 1);
    assert!(running(&story).is_some());
    touched_nothing(&story);
}

#[tokio::test]
async fn the_schedule_that_is_refused_is_told_and_tried_again_at_the_next_change() {
    let mut story = canary([1.0, 0.0]).await;
    let refuse = (1, WorldErrorKind::Denied);
    let mut faults = std::collections::BTreeMap::from([("StartTicks", refuse)]);
    std::mem::swap(&mut story.town.0.lock().unwrap().faults.calls, &mut faults);
    shift(&story, &[10.0, 90.0]);
    changed(&mut story).await;
    assert_eq!(running(&story), None);
    assert_eq!(told(&story, "can't be watched"), 1);
    story.minute().await;
    changed(&mut story).await;
    assert!(running(&story).is_some());
    touched_nothing(&story);
}

#[tokio::test]
async fn a_rollout_that_is_under_way_ends_by_its_plan_when_the_mode_changes() {
    let mut story = Story::with(policy("act")).await;
    story.approve_second().await;
    story.minutes(4).await;
    change_mode(&story, "observe").await;
    story.trained("train-3", 0.97).await;
    story.until_quiet().await;
    story.minutes(2).await;
    assert_eq!(story.champion(), 2);
    assert_eq!(story.serving(), [("v2".to_owned(), 100.0, 2)]);
    {
        let state = story.town.0.lock().unwrap();
        assert_eq!((state.configs.len(), state.models.len()), (1, 1));
        assert_eq!(state.packages.len(), 2, "train-3 is not registered");
    }
    assert_eq!(told(&story, "train-3 would be registered"), 1);
    // The notices of the rollout say what was done, without the mark.
    assert!(headlines(&story).contains(&"v2 serves fraud-prod".to_owned()));
    // Nothing new starts.
    let before = theirs(&story.town.0.lock().unwrap());
    story.town.set_approval(1, Approval::PendingManualApproval);
    story.package(1).await;
    story.town.set_approval(1, Approval::Approved);
    story.package(1).await;
    story.minutes(5).await;
    assert_eq!(told(&story, "v1 would be rolled out to fraud-prod"), 1);
    let after = theirs(&story.town.0.lock().unwrap());
    assert_ne!(before, after, "a person approved v1");
    assert_eq!(story.serving(), [("v2".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn a_rollout_that_began_before_the_mode_changed_is_still_rolled_back() {
    for is_rejected in [false, true] {
        let mut story = Story::with(policy("act")).await;
        if !is_rejected {
            bad(&story, "v2", 300);
        }
        story.approve_second().await;
        story.minutes(3).await;
        change_mode(&story, "observe").await;
        if is_rejected {
            story.town.set_approval(2, Approval::Rejected);
            story.package(2).await;
        }
        story.until_quiet().await;
        story.minutes(2).await;
        assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
        let state = story.town.0.lock().unwrap();
        assert_eq!(state.packages[1].approval, Approval::Rejected);
        assert_eq!((state.configs.len(), state.models.len()), (1, 1));
        drop(state);
        story.check();
    }
}

#[tokio::test]
async fn calls_that_were_left_to_do_are_dropped_when_the_mode_changes() {
    let mut story = Story::with(policy("act")).await;
    let throttled = (2, WorldErrorKind::Throttled);
    let faults = std::collections::BTreeMap::from([("RegisterPackage", throttled)]);
    story.town.0.lock().unwrap().faults.calls = faults;
    story.town.train("train-1", 0.95);
    let left = story
        .try_send(
            "aws.sagemaker",
            "SageMaker Training Job State Change",
            json!({
                "TrainingJobName": "train-1", "TrainingJobStatus": "Completed",
                "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1",
                "Tags": { "tidegate:pipeline": "fraud" },
            }),
        )
        .await;
    assert!(left.is_err(), "{left:?}");
    assert_eq!(story.ledger.pending(&story.group).len(), 1);
    story.town.0.lock().unwrap().faults.calls.clear();
    change_mode(&story, "observe").await;
    deploy(&story, "one", &[("blue", "fraud-v6", 1.0)]);
    changed(&mut story).await;
    assert!(story.town.0.lock().unwrap().packages.is_empty());
    let entries = story.ledger.all_entries(&story.group);
    let dropped = entries.iter().filter(|e| e.body.contains("is not done"));
    assert_eq!(dropped.count(), 1);
    story.check();
}

#[tokio::test]
async fn an_observation_goes_on_to_its_end_when_tidegate_begins_to_act() {
    let mut story = canary([90.0, 10.0]).await;
    story.minutes(3).await;
    change_mode(&story, "act").await;
    story.package(7).await;
    assert_eq!(told(&story, "v7 waits: somebody else shifts v7"), 1);
    story.minutes(5).await;
    assert!(running(&story).unwrap().observed.is_some());
    let calls = story.calls("UpdateEndpoint") + story.calls("CreateModel");
    assert_eq!(calls, 0);
    // They take it back and reduce the endpoint: then it is Tidegate's turn.
    deploy(&story, "one", &[("blue", "fraud-v6", 1.0)]);
    changed(&mut story).await;
    story.minutes(8).await;
    let rollout = running(&story).unwrap();
    assert!(rollout.observed.is_none());
    assert_eq!(rollout.candidate.version.0, 7);
    story.until_quiet().await;
    assert_eq!(story.champion(), 7);
}

#[tokio::test]
async fn a_foreign_canary_on_an_endpoint_where_tidegate_acts_is_left_alone() {
    let mut story = Story::with(policy("act")).await;
    deploy(
        &story,
        "two",
        &[("a", "fraud-v6", 90.0), ("b", "fraud-v7", 10.0)],
    );
    changed(&mut story).await;
    assert_eq!(running(&story), None);
    assert!(notices(&story).is_empty());
    assert!(story.ledger.head(&story.group).carriers.is_empty());
}

#[tokio::test]
async fn an_explained_approval_says_that_nothing_would_start() {
    let story = begin().await;
    deploy(&story, "one", &[("blue", "fraud-v6", 1.0)]);
    story.town.set_approval(7, Approval::Approved);
    let event = json!({
        "id": "e", "source": "aws.sagemaker", "detail-type": "SageMaker Model Package State Change",
        "account": "123456789012", "region": "us-east-1", "resources": [],
        "time": story.now().to_string(),
        "detail": {
            "ModelPackageGroupName": "fraud", "ModelPackageVersion": 7,
            "ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud/7",
            "ModelApprovalStatus": "Approved",
        },
    });
    let bytes = serde_json::to_vec(&event).unwrap();
    let explained = explain(&story.ledger, &story.town, &bytes).await.unwrap();
    assert_eq!(
        explained.would_do,
        ["say how v7 would be rolled out at the stage production"]
    );
    assert_eq!(policy("observe").pipeline.mode, Mode::Observe);
}
