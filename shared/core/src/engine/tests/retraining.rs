//! Retraining: one at a time and within its limits, followed to its end, and what comes of it.

use jiff::SignedDuration;
use serde_json::json;

use super::findings::{finds, found, notices, violation};
use super::stories::{POLICY, Story};
use crate::event::{Approval, JobStatus};
use crate::ledger::Ledger;
use crate::name::{JobName, ScheduleName};
use crate::notice::Severity;
use crate::pipeline;
use crate::world::{MonitoringSchedule, RunStatus, WorldErrorKind};

const ON_DRIFT: &str =
    "on_drift = { retrain = { pipeline = \"fraud-train\" }, cooldown_hours = 24 }";

/// A story with another `on_drift`, whose first version serves.
pub(super) async fn with(on_drift: &str) -> Story {
    let text = POLICY.replace(ON_DRIFT, on_drift);
    assert_ne!(text, POLICY);
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.deploy_first().await;
    story
}

async fn served() -> Story {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story
}

fn hours_pass(story: &Story, hours: i64) {
    story.town.0.lock().unwrap().now += SignedDuration::from_hours(hours);
}

fn started(story: &Story) -> usize {
    story.town.0.lock().unwrap().retrainings.len()
}

/// The execution ends; gives its ARN.
fn ends(story: &Story, status: RunStatus, failure: Option<&str>) -> String {
    let mut state = story.town.0.lock().unwrap();
    let (arn, run) = state.executions.iter_mut().next_back().unwrap();
    run.status = status;
    run.failure = failure.map(str::to_owned);
    arn.clone()
}

async fn execution_event(story: &mut Story, arn: &str, status: &str) -> String {
    let kind = "SageMaker Model Building Pipeline Execution Status Change";
    let detail = json!({
        "pipelineExecutionArn": arn, "currentPipelineExecutionStatus": status,
        "pipelineArn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/fraud-train",
    });
    story.send("aws.sagemaker", kind, detail).await.to_string()
}

/// A training job with these tags ends.
async fn trained(story: &mut Story, job: &str, auc: f64, tags: &[(&str, &str)], status: JobStatus) {
    story.town.train(job, auc);
    {
        let mut state = story.town.0.lock().unwrap();
        let job = state.jobs.get_mut(&JobName::parse(job).unwrap()).unwrap();
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        job.tags.extend(tags);
        job.status = status;
        job.failure = (status == JobStatus::Failed).then(|| "out of memory".to_owned());
    }
    let word = match status {
        JobStatus::Failed => "Failed",
        _ => "Completed",
    };
    let detail = json!({
        "TrainingJobName": job, "TrainingJobStatus": word,
        "TrainingJobArn": format!("arn:aws:sagemaker:us-east-1:123456789012:training-job/{job}"),
        "Tags": { "tidegate:pipeline": "fraud" },
    });
    let kind = "SageMaker Training Job State Change";
    story.send("aws.sagemaker", kind, detail).await;
}

#[tokio::test]
async fn a_second_retraining_is_withheld_until_the_first_ended_and_told_once() {
    let mut story = with(&ON_DRIFT.replace(
        "cooldown_hours = 24",
        "cooldown_hours = 1, give_up_hours = 72",
    ))
    .await;
    found(&mut story, "monitoring-1").await;
    for n in 2..6 {
        hours_pass(&story, 2);
        found(&mut story, &format!("monitoring-{n}")).await;
    }
    assert_eq!(started(&story), 1);
    let told = notices(&story, "retraining-withheld");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].text().contains("one runs at a time"),
        "{}",
        told[0].text()
    );
    let entries = story.ledger.entries(&story.group, 0, 1_000).await.unwrap();
    let withheld = entries
        .iter()
        .filter(|e| e.body.contains("\"retraining-withheld\""));
    assert_eq!(withheld.count(), 4);
    let arn = ends(&story, RunStatus::Succeeded, None);
    execution_event(&mut story, &arn, "Succeeded").await;
    hours_pass(&story, 2);
    found(&mut story, "monitoring-9").await;
    assert_eq!(started(&story), 2);
    let told = notices(&story, "retraining-started");
    assert!(
        told[1].text().contains("3 more findings were withheld"),
        "{}",
        told[1].text()
    );
    story.check();
}

#[tokio::test]
async fn a_retraining_that_failed_is_told_with_the_reason_and_counts() {
    let mut story = served().await;
    found(&mut story, "monitoring-1").await;
    let arn = ends(&story, RunStatus::Failed, Some("Step failure: no data"));
    // The event may write the ARN otherwise.
    execution_event(&mut story, &arn.to_ascii_lowercase(), "Failed").await;
    let told = notices(&story, "retraining-failed");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].severity, Severity::Action);
    assert!(
        told[0].text().contains("Step failure: no data"),
        "{}",
        told[0].text()
    );
    hours_pass(&story, 1);
    found(&mut story, "monitoring-2").await;
    assert_eq!(started(&story), 1);
    let told = notices(&story, "retraining-withheld");
    assert!(
        told[0].text().contains("less than 24 hours ago"),
        "{}",
        told[0].text()
    );
    // It is over: its events lead nowhere.
    let handled = execution_event(&mut story, &arn, "Failed").await;
    assert!(handled.contains("no retraining of a pipeline"), "{handled}");
    story.check();
}

#[tokio::test]
async fn housekeeping_hears_of_an_end_whose_event_was_lost() {
    let mut story = served().await;
    found(&mut story, "monitoring-1").await;
    story.housekeeping().await;
    assert!(story.ledger.head(&story.group).is_unfinished());
    ends(&story, RunStatus::Stopped, None);
    story.minutes(5).await;
    story.housekeeping().await;
    let told = notices(&story, "retraining-failed");
    assert!(
        told[0].text().contains("somebody stopped it"),
        "{}",
        told[0].text()
    );
    assert!(!story.ledger.head(&story.group).is_unfinished());
    story.check();
}

#[tokio::test]
async fn an_execution_that_may_not_be_looked_at_holds_up_nothing_and_is_given_up() {
    let mut story = served().await;
    found(&mut story, "monitoring-1").await;
    let denied = ("DescribePipelineExecution", (9, WorldErrorKind::Denied));
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    let handled = story.housekeeping().await;
    assert_eq!(handled.failed, Vec::<String>::new());
    assert!(story.ledger.head(&story.group).is_unfinished());
    hours_pass(&story, 72);
    story.housekeeping().await;
    assert!(!story.ledger.head(&story.group).is_unfinished());
    story.check();
}

#[tokio::test]
async fn a_retraining_that_is_not_heard_of_is_given_up() {
    let mut story = served().await;
    found(&mut story, "monitoring-1").await;
    hours_pass(&story, 71);
    story.housekeeping().await;
    assert!(story.ledger.head(&story.group).is_unfinished());
    hours_pass(&story, 1);
    story.housekeeping().await;
    assert!(!story.ledger.head(&story.group).is_unfinished());
    let told = notices(&story, "retraining-failed");
    assert!(
        told[0].headline.contains("followed no more"),
        "{:?}",
        told[0]
    );
    story.check();
}

#[tokio::test]
async fn no_retraining_starts_beyond_the_cost_that_the_policy_allows() {
    let mut story = with(&ON_DRIFT.replace(
        "cooldown_hours = 24",
        "cooldown_hours = 1, at_most_per_month = 100, cost_usd_each = 40.0, \
         cost_cap_usd_per_month = 100.0",
    ))
    .await;
    for n in 0..4 {
        found(&mut story, &format!("monitoring-{n}")).await;
        let arn = ends(&story, RunStatus::Succeeded, None);
        execution_event(&mut story, &arn, "Succeeded").await;
        hours_pass(&story, 2);
        story.housekeeping().await;
    }
    assert_eq!(started(&story), 2);
    let told = notices(&story, "retraining-withheld");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].text().contains("80 USD, one more for 40"),
        "{}",
        told[0].text()
    );
    // A month later the old ones don't count.
    hours_pass(&story, 30 * 24);
    found(&mut story, "monitoring-9").await;
    assert_eq!(started(&story), 3);
    story.check();
}

#[tokio::test]
async fn a_retraining_that_aws_refuses_is_told_and_is_not_under_way() {
    let mut story = served().await;
    let denied = ("StartPipelineExecution", (1, WorldErrorKind::Denied));
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    found(&mut story, "monitoring-1").await;
    let told = notices(&story, "retraining-failed");
    assert!(told[0].text().contains("AWS refused"), "{}", told[0].text());
    assert!(!story.ledger.head(&story.group).is_unfinished());
    story.check();
}

const CLONE: &str = r#"on_drift = { retrain = { training_job = { name_prefix = "fraud-again", inputs = { train = "s3://data/{day}/{feature}" }, hyperparameters = { parent = "{parent_version}" } } } }"#;

#[tokio::test]
async fn a_clone_of_the_champions_job_gets_fresh_data_and_its_model_says_where_it_comes_from() {
    let mut story = with(CLONE).await;
    found(&mut story, "monitoring-1").await;
    let clone = story.town.0.lock().unwrap().clones[0].clone();
    assert_eq!(clone.like.as_str(), "train-1");
    assert_eq!(clone.inputs["train"], "s3://data/2026-03-01/amount");
    assert_eq!(clone.hyperparameters["parent"], "v1");
    assert_eq!(clone.tags["tidegate:pipeline"], "fraud");
    assert_eq!(clone.tags["tidegate:finding"], "monitoring-1");
    assert!(
        clone.name.as_str().starts_with("fraud-again-"),
        "{}",
        clone.name
    );
    story.minutes(10).await;
    trained(
        &mut story,
        clone.name.as_str(),
        0.96,
        &[],
        JobStatus::Completed,
    )
    .await;
    let package = story.town.0.lock().unwrap().packages[1].clone();
    assert_eq!(package.approval, Approval::Approved);
    assert_eq!(package.metadata["tidegate:parent"], "v1");
    assert_eq!(package.metadata["tidegate:finding"], "monitoring-1");
    let told = notices(&story, "candidate-registered");
    let text = told[1].text();
    assert!(
        text.contains("trained again after monitoring-1, to take the place of v1"),
        "{text}"
    );
    assert!(!story.ledger.head(&story.group).is_unfinished());
    story.check();
}

#[tokio::test]
async fn a_clone_that_fails_is_told_once_as_the_retraining_that_it_is() {
    let mut story = with(CLONE).await;
    found(&mut story, "monitoring-1").await;
    let name = story.town.0.lock().unwrap().clones[0].name.clone();
    trained(&mut story, name.as_str(), 0.9, &[], JobStatus::Failed).await;
    let told = notices(&story, "retraining-failed");
    assert!(
        told[0].text().contains("out of memory"),
        "{}",
        told[0].text()
    );
    assert_eq!(notices(&story, "candidate-rejected"), []);
    story.check();
}

#[tokio::test]
async fn a_champion_without_a_training_job_can_not_be_cloned_and_people_are_told() {
    let text = POLICY.replace(ON_DRIFT, CLONE);
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.town.set_approval(1, Approval::Approved);
    story.package(1).await;
    story.until_quiet().await;
    story.minutes(30).await;
    found(&mut story, "monitoring-1").await;
    assert_eq!(started(&story), 0);
    let told = notices(&story, "retraining-withheld");
    assert!(
        told[0].text().contains("none can be cloned"),
        "{}",
        told[0].text()
    );
    story.check();
}

#[tokio::test]
async fn an_event_asks_others_and_a_job_that_names_the_finding_is_the_answer() {
    let mut story =
        with("on_drift = { retrain = { event = { detail = { machine = \"{feature}\" } } } }").await;
    found(&mut story, "monitoring-1").await;
    let request = story.town.0.lock().unwrap().requests[0].clone();
    assert_eq!(request.detail["machine"], "amount");
    assert_eq!(request.champion_job.as_deref(), Some("train-1"));
    assert_eq!(request.parent_version.map(|v| v.0), Some(1));
    // A job that says nothing of it is not its answer.
    trained(&mut story, "nightly", 0.8, &[], JobStatus::Completed).await;
    assert!(story.ledger.head(&story.group).is_unfinished());
    assert_eq!(notices(&story, "drift-remains"), []);
    let tag = [("tidegate:finding", request.finding.as_str())];
    trained(&mut story, "answer", 0.96, &tag, JobStatus::Completed).await;
    let head = story.ledger.head(&story.group);
    assert!(head.retraining.unwrap().ended.is_some());
    let package = story.town.0.lock().unwrap().packages[2].clone();
    assert_eq!(package.metadata["tidegate:finding"], "monitoring-1");
    story.check();
}

#[tokio::test]
async fn a_retrained_model_that_is_not_good_enough_is_not_shipped_and_drift_remains() {
    let mut story = served().await;
    found(&mut story, "monitoring-1").await;
    story.minutes(10).await;
    trained(&mut story, "step-1", 0.93, &[], JobStatus::Completed).await;
    assert_eq!(
        story.town.0.lock().unwrap().packages[1].approval,
        Approval::Rejected
    );
    let told = notices(&story, "drift-remains");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].severity, Severity::Action);
    assert!(
        told[0]
            .text()
            .contains("more than 0.01 below the champion's 0.95"),
        "{}",
        told[0].text()
    );
    assert_eq!(story.champion(), 1);
    story.check();
}

#[tokio::test]
async fn a_job_of_another_execution_is_not_the_retrainings() {
    let mut story = served().await;
    found(&mut story, "monitoring-1").await;
    story.minutes(10).await;
    trained(
        &mut story,
        "pipelines-another-train",
        0.8,
        &[],
        JobStatus::Completed,
    )
    .await;
    assert_eq!(notices(&story, "drift-remains"), []);
    story.check();
}

#[tokio::test]
async fn the_champion_is_compared_on_the_same_data_where_the_training_says_how_it_does() {
    let champion_on = |auc: f64| json!({ "validation:auc": auc }).to_string();
    for (file, approval, said) in [
        (
            Some(champion_on(0.92)),
            Approval::Approved,
            "those on the same data, s3://models/again",
        ),
        (
            Some("no json".to_owned()),
            Approval::Rejected,
            "registered with: s3://models/again",
        ),
        (None, Approval::Rejected, "champion.json does not exist"),
    ] {
        let text = POLICY.replace(
            "approval = \"automatic\"",
            "approval = \"automatic\"\nchampion_evaluation = \"{output}/champion.json\"",
        );
        let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
        story.deploy_first().await;
        let uri = "s3://models/again/output/champion.json".to_owned();
        let file = file.map(|text| (uri, text));
        story.town.0.lock().unwrap().objects.extend(file);
        // Below what the champion was registered with.
        trained(&mut story, "again", 0.92, &[], JobStatus::Completed).await;
        assert_eq!(
            story.town.0.lock().unwrap().packages[1].approval,
            approval,
            "{said}"
        );
        let entries = story.ledger.all_entries(&story.group);
        assert!(entries.iter().any(|e| e.body.contains(said)), "{said}");
        story.check();
    }
}

#[tokio::test]
async fn housekeeping_deals_with_a_finding_that_no_event_told_of_once() {
    let lines = "schedules = [\"fraud-data\"]";
    let text = format!("{POLICY}{lines}\n");
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.deploy_first().await;
    finds(&story, &[violation("amount", "baseline_drift_check")]);
    let schedule = ScheduleName::parse("fraud-data").unwrap();
    let monitor = |job: &str, hours: i64| MonitoringSchedule {
        name: schedule.clone(),
        endpoint: Some(story.endpoint.clone()),
        newest_violating_job: Some(job.to_owned()),
        newest_violating_at: Some(story.now() - SignedDuration::from_hours(hours)),
        state: crate::world::ScheduleState::Scheduled,
    };
    let (old, fresh) = (monitor("monitoring-0", 25), monitor("monitoring-1", 0));
    let set = |story: &Story, monitor: MonitoringSchedule| {
        let mut state = story.town.0.lock().unwrap();
        state.monitors.insert(schedule.clone(), monitor);
    };
    set(&story, old);
    story.housekeeping().await;
    assert_eq!(started(&story), 0, "it is from before");
    set(&story, fresh);
    story.minutes(5).await;
    story.housekeeping().await;
    assert_eq!(started(&story), 0, "it is asked twice an hour");
    story.minutes(25).await;
    story.housekeeping().await;
    assert_eq!(started(&story), 1);
    // The event comes late, and so does housekeeping.
    found(&mut story, "monitoring-1").await;
    story.minutes(31).await;
    story.housekeeping().await;
    assert_eq!(notices(&story, "violation-seen").len(), 1);
    story.check();
}
