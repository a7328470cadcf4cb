//! Monitors of batch transform data that follow the champion: set up for each version, not paused,
//! removed with it, and what they find goes the way of batch data.

use crate::engine::tests::batch::{job_ends, retrainings};
use crate::engine::tests::findings::{finds, notices, violation};
use crate::engine::tests::monitors::{
    change, given, housekeepings, only, policy, said, there, with,
};
use crate::engine::tests::stories::Story;
use crate::name::ScheduleName;

/// A monitor of batch data whose baseline is there already.
fn batch() -> String {
    given() + "batch = { captured = \"s3://captured/batch/\", format = \"csv_with_header\" }\n"
}

fn name(story: &Story) -> ScheduleName {
    let names = there(story).into_keys();
    let mut of_batch = names.filter(|name| name.as_str().contains("-batch-data-v"));
    of_batch.next().unwrap()
}

#[tokio::test]
async fn it_runs_on_while_two_versions_serve_and_is_made_anew_for_the_next_champion() {
    let mut story = with(&format!("{}{}", given(), batch())).await;
    story.deploy_first().await;
    housekeepings(&mut story, 2).await;
    assert_eq!(there(&story).len(), 2);
    let first = name(&story);
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.minutes(2).await;
    story.housekeeping().await;
    let mut runs: Vec<bool> = there(&story).into_values().collect();
    runs.sort_unstable();
    assert_eq!(runs, [false, true], "the endpoint's alone pauses");
    assert!(there(&story)[&first]);
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    housekeepings(&mut story, 3).await;
    assert_eq!(there(&story).len(), 2);
    assert!(
        name(&story).as_str().contains("-v2-"),
        "{:?}",
        there(&story)
    );
    change(&story, policy("")).await;
    housekeepings(&mut story, 2).await;
    assert!(there(&story).is_empty());
    assert!(story.ledger.head(&story.group).monitors.is_empty());
    story.check();
}

#[tokio::test]
async fn two_of_other_batch_data_run_side_by_side() {
    let other = batch().replace("captured/batch", "captured/nightly");
    let mut story = with(&format!("{}{other}", batch())).await;
    story.deploy_first().await;
    housekeepings(&mut story, 2).await;
    assert_eq!(there(&story).len(), 2, "{:?}", there(&story));
    story.check();
}

#[tokio::test]
async fn its_finding_names_no_endpoint_and_starts_the_retraining_of_its_stage() {
    let mut story = with(&batch()).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    assert_eq!(only(&story), (1, true));
    story.minutes(60).await;
    finds(&story, &[violation("amount", "baseline_drift_check")]);
    let name = name(&story);
    job_ends(&mut story, name.as_str(), "monitoring-1").await;
    assert_eq!(retrainings(&story), 1);
    let told = notices(&story, "violation-seen");
    assert_eq!(told[0].headline, format!("Drift in batch data, by {name}"));
    story.check();
}

#[tokio::test]
async fn what_a_monitor_found_whose_schedule_is_gone_is_told_from_batch_data() {
    for (lines, headline) in [(batch(), "in batch data"), (given(), "on fraud-prod")] {
        let mut story = with(&lines).await;
        story.deploy_first().await;
        housekeepings(&mut story, 1).await;
        story.minutes(10).await;
        let name = there(&story).into_keys().next().unwrap();
        story.town.0.lock().unwrap().monitors.clear();
        // The event of an endpoint's monitor finds its way if the policy lists the schedule.
        let mut listed = policy(&lines);
        listed.monitor.schedules = vec![name.clone()];
        change(&story, listed).await;
        finds(&story, &[violation("amount", "baseline_drift_check")]);
        job_ends(&mut story, name.as_str(), "monitoring-1").await;
        let told = notices(&story, "violation-seen");
        assert!(told[0].headline.contains(headline), "{}", told[0].headline);
        story.check();
    }
}

#[tokio::test]
async fn its_events_lead_nowhere_once_it_is_removed() {
    let mut story = with(&batch()).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    let name = name(&story);
    change(&story, policy("")).await;
    housekeepings(&mut story, 2).await;
    assert_eq!(said(&story, "monitor-removed"), 1);
    job_ends(&mut story, name.as_str(), "monitoring-1").await;
    assert!(notices(&story, "violation-seen").is_empty());
    story.check();
}
