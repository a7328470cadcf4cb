//! Monitors follow the champion: set up for each version that serves alone, gone with it, paused
//! while two serve, and told of where they can't be.

use std::collections::BTreeMap;

use super::findings::{found, notices};
use super::stories::{POLICY, Story};
use crate::engine::apply;
use crate::event::Approval;
use crate::monitors::Phase;
use crate::name::ScheduleName;
use crate::pipeline::{self, MonitorKind, Policy};
use crate::world::{BaselineFiles, PipelineRun, RunStatus, WorldErrorKind};

mod clarify;

pub(super) const DATA: &str = r#"
[[stage.monitor]]
kind = "data_quality"
role = "arn:aws:iam::123456789012:role/monitor"
image = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
to = "s3://reports/fraud"
baseline = { channel = "train" }
"#;

const GIVEN: &str = r#"baseline = { constraints = "s3://bucket/constraints.json", statistics = "s3://bucket/statistics.json" }"#;

/// The usual policy with these monitors at its stage.
pub(super) fn policy(monitors: &str) -> Policy {
    let text = POLICY.replace("[monitor]", &format!("{monitors}\n[monitor]"));
    pipeline::parse(&text, "fraud.toml").unwrap()
}

/// One whose baseline is there already.
pub(super) fn given() -> String {
    DATA.replace("baseline = { channel = \"train\" }", GIVEN)
}

pub(super) async fn with(monitors: &str) -> Story {
    Story::with(policy(monitors)).await
}

pub(super) async fn change(story: &Story, policy: Policy) {
    let now = story.now();
    apply(&story.ledger, policy, "ada", None, now)
        .await
        .unwrap();
}

/// Five minutes pass, and housekeeping comes twice, so many times.
pub(super) async fn housekeepings(story: &mut Story, n: u32) {
    for _ in 0..n {
        story.minutes(5).await;
        story.housekeeping().await;
        story.housekeeping().await;
    }
}

/// A finding on data of the time in which two versions served leads to nothing, a later one does.
pub(super) async fn only_what_is_of_one_version_counts(story: &mut Story) {
    found(story, "monitoring-1").await;
    assert!(story.town.0.lock().unwrap().retrainings.is_empty());
    story.minutes(90).await;
    found(story, "monitoring-2").await;
    assert_eq!(story.town.0.lock().unwrap().retrainings.len(), 1);
}

/// The monitors that there are, and whether they run.
pub(super) fn there(story: &Story) -> BTreeMap<ScheduleName, bool> {
    story.town.0.lock().unwrap().set_up.clone()
}

/// The version that the one monitor there is for, and whether it runs.
pub(super) fn only(story: &Story) -> (u32, bool) {
    let there = there(story);
    assert_eq!(there.len(), 1, "{there:?}");
    let (name, runs) = there.first_key_value().unwrap();
    let version = name.as_str().rsplit('-').nth(1).unwrap();
    (version.trim_start_matches('v').parse().unwrap(), *runs)
}

pub(super) fn phases(story: &Story) -> Vec<Phase> {
    let head = story.ledger.head(&story.group);
    head.monitors
        .kept
        .values()
        .map(|k| k.phase.clone())
        .collect()
}

/// The baselining job of the name ends so.
pub(super) fn baseline_ends(story: &Story, status: RunStatus, failure: Option<&str>) {
    let mut state = story.town.0.lock().unwrap();
    for run in state.baselinings.values_mut() {
        *run = PipelineRun {
            status,
            failure: failure.map(str::to_owned),
        };
    }
}

pub(super) fn said(story: &Story, what: &str) -> usize {
    let entries = story.ledger.all_entries(&story.group);
    let word = format!("\"{what}\"");
    entries.iter().filter(|e| e.body.contains(&word)).count()
}

#[tokio::test]
async fn a_champions_monitor_is_set_up_with_a_baseline_of_its_training_data() {
    let mut story = with(DATA).await;
    story.deploy_first().await;
    housekeepings(&mut story, 2).await;
    {
        let state = story.town.0.lock().unwrap();
        let [spec] = state.baseline_specs.as_slice() else {
            panic!("{:?}", state.baseline_specs);
        };
        assert_eq!(spec.data, "s3://data/train-1/");
        assert!(state.set_up.is_empty(), "the baseline is not there yet");
    }
    baseline_ends(&story, RunStatus::Succeeded, None);
    housekeepings(&mut story, 2).await;
    assert_eq!(only(&story), (1, true));
    let name = there(&story).into_keys().next().unwrap();
    {
        let state = story.town.0.lock().unwrap();
        let baseline = &state.specs[0].baseline;
        let folder = format!("s3://reports/fraud/baselines/{name}");
        assert_eq!(
            baseline,
            &BaselineFiles {
                constraints: Some(format!("{folder}/constraints.json")),
                statistics: Some(format!("{folder}/statistics.json")),
                config: None,
            }
        );
    }
    // Nothing more is asked for, and its findings are asked about.
    let calls = story.town.0.lock().unwrap().calls.len();
    housekeepings(&mut story, 3).await;
    assert_eq!(story.town.0.lock().unwrap().calls.len(), calls);
    assert!(
        story
            .ledger
            .head(&story.group)
            .schedules
            .contains_key(&name)
    );
    assert_eq!(said(&story, "monitor-set-up"), 1);
    story.check();
}

#[tokio::test]
async fn a_baseline_of_the_package_is_used_and_no_job_runs() {
    let mut story = with(DATA).await;
    story.deploy_first().await;
    let own = BaselineFiles {
        constraints: Some("s3://own/constraints.json".to_owned()),
        statistics: Some("s3://own/statistics.json".to_owned()),
        config: None,
    };
    let baselines = BTreeMap::from([(MonitorKind::DataQuality, own.clone())]);
    story.town.0.lock().unwrap().packages[0].drift_baselines = baselines;
    housekeepings(&mut story, 2).await;
    assert_eq!(only(&story), (1, true));
    let state = story.town.0.lock().unwrap();
    assert_eq!(state.specs[0].baseline, own);
    assert!(state.baseline_specs.is_empty());
}

#[tokio::test]
async fn a_new_champion_gets_its_own_and_the_old_ones_goes() {
    let mut story = with(&given()).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    assert_eq!(only(&story), (1, true));
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    let old: Vec<ScheduleName> = there(&story).into_keys().collect();
    housekeepings(&mut story, 3).await;
    assert_eq!(only(&story), (2, true));
    let head = story.ledger.head(&story.group);
    assert!(
        !head.schedules.contains_key(&old[0]),
        "nobody asks the old one"
    );
    assert_eq!(said(&story, "monitor-removed"), 1);
    story.check();
}

#[tokio::test]
async fn it_pauses_while_two_serve_and_runs_again_when_the_champion_comes_back() {
    let mut story = with(&given()).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    let bad = ("v2".to_owned(), 300);
    story.town.0.lock().unwrap().bad_per_mille.extend([bad]);
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.minutes(2).await;
    story.housekeeping().await;
    assert_eq!(only(&story), (1, false));
    let began = story.now();
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    housekeepings(&mut story, 1).await;
    assert_eq!(only(&story), (1, true));
    assert_eq!(
        (
            said(&story, "monitor-paused"),
            said(&story, "monitor-resumed")
        ),
        (1, 1)
    );
    // What is found on the data of that time says nothing of the champion.
    let head = story.ledger.head(&story.group);
    assert!(head.monitors.is_mixed(&story.endpoint, began));
    only_what_is_of_one_version_counts(&mut story).await;
    story.check();
}

#[tokio::test]
async fn a_mixture_ends_although_the_policy_drops_the_monitors_meanwhile() {
    let mut story = with(&given()).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.minutes(2).await;
    story.housekeeping().await;
    assert_eq!(only(&story), (1, false));
    change(&story, policy("")).await;
    story.until_quiet().await;
    housekeepings(&mut story, 2).await;
    let monitors = story.ledger.head(&story.group).monitors;
    assert!(monitors.is_empty(), "{monitors:?}");
    story.minutes(60).await;
    found(&mut story, "monitoring-1").await;
    assert_eq!(story.town.0.lock().unwrap().retrainings.len(), 1);
    story.check();
}

#[tokio::test]
async fn the_old_champion_that_a_person_brings_back_is_monitored_again() {
    let mut story = with(&given()).await;
    story.approve_second().await;
    story.until_quiet().await;
    housekeepings(&mut story, 2).await;
    assert_eq!(only(&story), (2, true));
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    housekeepings(&mut story, 3).await;
    assert_eq!(only(&story), (1, true));
    story.check();
}

#[tokio::test]
async fn a_failed_baselining_job_is_told_once_with_the_reason_and_tried_again_when_a_key_is_changed()
 {
    let mut story = with(DATA).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    baseline_ends(&story, RunStatus::Failed, Some("AlgorithmError: no rows"));
    housekeepings(&mut story, 6).await;
    assert!(there(&story).is_empty());
    let told = notices(&story, "monitor-failed");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].text().contains("AlgorithmError: no rows"),
        "{}",
        told[0].text()
    );
    assert_eq!(story.calls("CreateProcessingJob"), 1);
    // A key of it is changed in the policy: it is tried anew.
    change(&story, policy(&format!("{DATA}volume_gb = 40\n"))).await;
    housekeepings(&mut story, 2).await;
    assert_eq!(story.calls("CreateProcessingJob"), 2);
    baseline_ends(&story, RunStatus::Succeeded, None);
    housekeepings(&mut story, 2).await;
    assert_eq!(only(&story), (1, true));
    story.check();
}

#[tokio::test]
async fn what_can_not_have_a_baseline_is_told_with_the_way_out() {
    for (baseline, reason) in [
        ("", "names no baseline of data quality"),
        (
            "baseline = { channel = \"test\" }",
            "has no channel test in S3; it has train",
        ),
    ] {
        let lines = DATA.replace("baseline = { channel = \"train\" }", baseline);
        let mut story = with(&lines).await;
        story.deploy_first().await;
        housekeepings(&mut story, 3).await;
        let told = notices(&story, "monitor-failed");
        assert_eq!(told.len(), 1, "{baseline}");
        assert!(told[0].text().contains(reason), "{}", told[0].text());
        story.check();
    }
}

#[tokio::test]
async fn a_refusal_is_told_once_and_what_was_half_made_goes_with_the_version() {
    let mut story = with(&given()).await;
    story.deploy_first().await;
    let denied = ("CreateMonitoringSchedule", (1, WorldErrorKind::Denied));
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    housekeepings(&mut story, 4).await;
    assert_eq!(notices(&story, "monitor-failed").len(), 1);
    assert!(matches!(
        phases(&story)[..],
        [Phase::Failed { made: true, .. }]
    ));
    change(&story, policy("")).await;
    housekeepings(&mut story, 2).await;
    assert_eq!(phases(&story), []);
    assert_eq!(story.calls("DeleteMonitoringSchedule"), 1);
    story.check();
}

#[tokio::test]
async fn a_monitor_that_the_policy_drops_goes_and_one_that_it_changes_is_made_anew() {
    let mut story = with(&given()).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    let first = there(&story);
    let changed = given() + "schedule = \"cron(0 3 ? * * *)\"\n";
    change(&story, policy(&changed)).await;
    housekeepings(&mut story, 3).await;
    assert_eq!(only(&story), (1, true));
    assert_ne!(there(&story), first);
    change(&story, policy("")).await;
    housekeepings(&mut story, 2).await;
    assert!(there(&story).is_empty());
    let head = story.ledger.head(&story.group);
    assert!(head.monitors.is_empty() && head.schedules.is_empty());
    let handled = story.housekeeping().await;
    assert_eq!(
        handled.nothing_because.as_deref(),
        Some("nothing is unfinished")
    );
    story.check();
}

#[tokio::test]
async fn what_can_not_be_done_now_is_done_by_the_next_housekeeping() {
    for call in [
        "CreateProcessingJob",
        "CreateMonitoringSchedule",
        "DeleteMonitoringSchedule",
    ] {
        let mut story = with(DATA).await;
        story.deploy_first().await;
        let later = (call, (2, WorldErrorKind::NotNow));
        story.town.0.lock().unwrap().faults.calls.extend([later]);
        housekeepings(&mut story, 3).await;
        baseline_ends(&story, RunStatus::Succeeded, None);
        housekeepings(&mut story, 5).await;
        assert_eq!(only(&story), (1, true), "{call}");
        change(&story, policy("")).await;
        for _ in 0..5 {
            story.minutes(5).await;
            let handled = story.housekeeping().await;
            assert_eq!(
                handled.failed,
                Vec::<String>::new(),
                "{call}: it is no failure"
            );
        }
        assert!(there(&story).is_empty(), "{call}");
        assert!(notices(&story, "monitor-failed").is_empty(), "{call}");
        story.check();
    }
}

#[tokio::test]
async fn in_observe_mode_it_is_only_said_and_only_once() {
    let mut story = with(&given()).await;
    story.deploy_first().await;
    let mut observing = policy(&given());
    observing.pipeline.mode = pipeline::Mode::Observe;
    change(&story, observing).await;
    housekeepings(&mut story, 4).await;
    assert!(there(&story).is_empty());
    let told = notices(&story, "would-act");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0]
            .text()
            .contains("data quality of v1 on fraud-prod would be monitored")
    );
    change(&story, policy(&given())).await;
    housekeepings(&mut story, 2).await;
    assert_eq!(only(&story), (1, true));
    story.check();
}

#[tokio::test]
async fn a_candidates_config_carries_the_policys_capture() {
    let capture = "capture = { percent = 20, to = \"s3://captured/fraud\" }\n";
    let text = POLICY.replace("[monitor]", &format!("{capture}[monitor]"));
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.deploy_first().await;
    let state = story.town.0.lock().unwrap();
    let captures: Vec<u8> = state
        .configs
        .values()
        .filter_map(|c| c.capture.as_ref().map(|c| c.percent))
        .collect();
    assert_eq!(captures, [20]);
}
