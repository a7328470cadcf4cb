//! Monitors of batch transform data: no endpoint is named, the policy lists the schedule, and what
//! is found is dealt with by its kind, without blame for anybody. And runs by hand of any schedule.

use jiff::SignedDuration;
use serde_json::json;

use super::findings::{finds, found, notices, violation};
use super::stories::{POLICY, Story};
use crate::engine::Handled;
use crate::name::ScheduleName;
use crate::pipeline;
use crate::rollout::Phase;
use crate::run_once;
use crate::world::MonitoringSchedule;

const BATCH: &str = "fraud-batch";

/// A story whose policy lists the schedule, and says this besides.
async fn with(lines: &str) -> Story {
    let text = format!("{POLICY}schedules = [\"{BATCH}\"]\n{lines}\n");
    let story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    monitor(&story, None);
    story
}

/// The same, and its first version serves.
async fn listed(lines: &str) -> Story {
    let mut story = with(lines).await;
    story.deploy_first().await;
    story
}

/// The schedule as AWS describes it, with the job that found something last.
fn monitor(story: &Story, job: Option<&str>) {
    let name = ScheduleName::parse(BATCH).unwrap();
    let described = MonitoringSchedule {
        name: name.clone(),
        endpoint: None,
        newest_violating_job: job.map(str::to_owned),
        newest_violating_at: Some(story.now()),
        state: crate::world::ScheduleState::Scheduled,
    };
    let mut state = story.town.0.lock().unwrap();
    state.monitors.insert(name, described);
}

/// A monitoring job of a schedule without an endpoint ends with findings.
pub(super) async fn job_ends(story: &mut Story, schedule: &str, job: &str) -> Handled {
    let arn = "arn:aws:sagemaker:us-east-1:123456789012";
    let detail = json!({
        "ProcessingJobName": job,
        "ProcessingJobArn": format!("{arn}:processing-job/{job}"),
        "MonitoringScheduleArn": format!("{arn}:monitoring-schedule/{schedule}"),
        "Environment": { "sagemaker_monitoring_schedule_name": schedule },
        "ProcessingInputs": [{ "InputName": "batch_transform_input_1", "S3Input": {
            "S3Uri": "s3://captured/input/2026/03/02/09/1.manifest",
            "LocalPath": "/opt/ml/processing/input", "S3DataType": "ManifestFile",
        } }],
        "ProcessingJobStatus": "Completed",
        "ExitMessage": "CompletedWithViolations: Job completed successfully with 1 violations.",
    });
    let kind = "SageMaker Processing Job State Change";
    story.send("aws.sagemaker", kind, detail).await
}

pub(super) fn retrainings(story: &Story) -> usize {
    story.town.0.lock().unwrap().retrainings.len()
}

#[tokio::test]
async fn drift_of_batch_data_retrains_whether_told_by_event_or_found_by_housekeeping() {
    let mut story = listed("").await;
    story.minutes(30).await;
    finds(&story, &[violation("amount", "baseline_drift_check")]);
    job_ends(&mut story, BATCH, "monitoring-1").await;
    assert_eq!(retrainings(&story), 1);
    let told = &notices(&story, "violation-seen")[0];
    assert_eq!(told.headline, "Drift in batch data, by fraud-batch");

    let mut story = listed("").await;
    story.minutes(40).await;
    monitor(&story, Some("monitoring-2"));
    story.housekeeping().await;
    assert_eq!(retrainings(&story), 1);
    // Its event comes late.
    job_ends(&mut story, BATCH, "monitoring-2").await;
    assert_eq!(notices(&story, "violation-seen").len(), 1);
    story.check();
}

#[tokio::test]
async fn a_finding_on_batch_data_takes_nothing_back() {
    let mut story = listed("on_finding = { drift = \"roll_back\" }").await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.minutes(30).await;
    job_ends(&mut story, BATCH, "monitoring-1").await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2, "v2 is young, and yet it stays");
    assert_eq!(retrainings(&story), 1);
    story.check();
}

#[tokio::test]
async fn a_version_that_is_taking_over_is_not_blamed_for_batch_data() {
    let mut story = listed("").await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    while !story
        .ledger
        .head(&story.group)
        .rollouts
        .values()
        .any(|r| matches!(r.phase, Phase::Baking { .. }))
    {
        story.minute().await;
    }
    // The data begins five minutes before.
    story.minutes(7).await;
    job_ends(&mut story, BATCH, "monitoring-1").await;
    assert_eq!(retrainings(&story), 0);
    let told = notices(&story, "violation-seen")[0].text();
    assert!(told.contains("A new version is just taking over"), "{told}");
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn a_schema_error_and_data_of_an_earlier_version_are_only_told() {
    let mut story = listed("").await;
    story.minutes(30).await;
    finds(&story, &[violation("country", "missing_column_check")]);
    job_ends(&mut story, BATCH, "monitoring-1").await;
    let told = notices(&story, "violation-seen")[0].text();
    assert!(
        told.contains("a retraining would learn the error"),
        "{told}"
    );

    // The data begins five minutes before.
    let mut young = with("").await;
    young.trained("train-1", 0.95).await;
    young.package(1).await;
    while young.ledger.head(&young.group).champions.is_empty() {
        young.minute().await;
    }
    job_ends(&mut young, BATCH, "monitoring-1").await;
    let told = notices(&young, "violation-seen")[0].text();
    assert!(told.contains("from before the present version"), "{told}");
    assert_eq!((retrainings(&story), retrainings(&young)), (0, 0));
    story.check();
}

#[tokio::test]
async fn batch_data_and_the_endpoint_have_storms_of_their_own() {
    let mut story = listed("").await;
    story.minutes(30).await;
    for n in 0..3 {
        job_ends(&mut story, BATCH, &format!("monitoring-{n}")).await;
    }
    assert_eq!(notices(&story, "violation-seen").len(), 1);
    found(&mut story, "monitoring-9").await;
    assert_eq!(notices(&story, "violation-seen").len(), 2);
    story.check();
}

#[tokio::test]
async fn a_run_by_hand_is_dealt_with_as_its_schedule_is() {
    let mut story = listed("").await;
    story.minutes(30).await;
    let of = ScheduleName::parse(BATCH).unwrap();
    let run = run_once::name(&of, story.now() + SignedDuration::from_secs(1));
    // It is deleted before its event comes.
    job_ends(&mut story, run.as_str(), "monitoring-1").await;
    assert_eq!(retrainings(&story), 1);
    let nobody = job_ends(&mut story, "other-batch", "monitoring-2").await;
    assert!(
        nobody.to_string().contains("does not exist"),
        "{nobody}: it is on no list"
    );
    story.check();
}
