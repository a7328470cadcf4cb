//! Tuning jobs: of all their models the best one counts, in whatever order events come, and a
//! retraining may be one.

use serde_json::{Value, json};

use super::findings::{found, notices};
use super::retraining::with;
use super::stories::{POLICY, Story};
use crate::engine::Handled;
use crate::event::{Approval, JobStatus};
use crate::name::{JobName, TuningName};
use crate::notice::Severity;
use crate::pipeline;
use crate::world::{BestJob, TuningJob, TuningLike, WorldErrorKind};

const TUNING: &str = "fraud-tune";
const METRIC: &str = "validation:auc";

const TUNE: &str = r#"on_drift = { retrain = { tuning_job = { name_prefix = "fraud-again", inputs = { train = "s3://data/{day}" }, hyperparameters = { parent = "{parent_version}" } } } }"#;

fn name(text: &str) -> TuningName {
    TuningName::parse(text).unwrap()
}

/// The tuning job is so now; `aucs` are those of its training jobs, which are its name with a number.
fn tuning(story: &Story, tuning: &str, status: JobStatus, aucs: &[f64], tags: &[(&str, &str)]) {
    for (n, auc) in (1..).zip(aucs) {
        story.town.train(&format!("{tuning}-{n}"), *auc);
    }
    let mut state = story.town.0.lock().unwrap();
    let tags = [("tidegate:pipeline", "fraud")].iter().chain(tags);
    let tags = tags
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    for n in 1..=aucs.len() {
        let job = JobName::parse(&format!("{tuning}-{n}")).unwrap();
        let job = state.jobs.get_mut(&job).unwrap();
        job.tuning = Some(name(tuning));
        job.tags.clone_from(&tags);
    }
    let best = (1..).zip(aucs).max_by(|(_, a), (_, b)| a.total_cmp(b));
    let described = TuningJob {
        name: name(tuning),
        arn: format!(
            "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{tuning}"
        ),
        status,
        failure: (status == JobStatus::Failed).then(|| "All training jobs failed.".to_owned()),
        tags,
        best: best.map(|(n, auc)| BestJob {
            job: JobName::parse(&format!("{tuning}-{n}")).unwrap(),
            objective: Some((METRIC.to_owned(), *auc)),
        }),
        launched: u32::try_from(aucs.len()).unwrap() + 1,
        failed: 1,
        stopped: 0,
    };
    state.tunings.insert(name(tuning), described);
}

fn becomes(story: &Story, tuning: &str, status: JobStatus) {
    let mut state = story.town.0.lock().unwrap();
    state.tunings.get_mut(&name(tuning)).unwrap().status = status;
}

fn tuning_event(tuning: &str, status: &str) -> Value {
    json!({
        "HyperParameterTuningJobName": tuning, "HyperParameterTuningJobStatus": status,
        "HyperParameterTuningJobArn":
            format!("arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{tuning}"),
        "Tags": {},
    })
}

async fn ended(story: &mut Story, tuning: &str, status: &str) -> Handled {
    let kind = "SageMaker HyperParameter Tuning Job State Change";
    let detail = tuning_event(tuning, status);
    story.send("aws.sagemaker", kind, detail).await
}

/// The entries of tuning jobs in the audit trail.
fn entries(story: &Story) -> Vec<String> {
    let all = story.ledger.all_entries(&story.group).into_iter();
    all.map(|e| e.body)
        .filter(|body| body.contains("\"tuning-ended\""))
        .collect()
}

fn packages(story: &Story) -> Vec<(String, Approval)> {
    let state = story.town.0.lock().unwrap();
    let job = |p: &crate::world::Package| p.metadata["tidegate:job"].clone();
    state
        .packages
        .iter()
        .map(|p| (job(p), p.approval))
        .collect()
}

#[tokio::test]
async fn of_a_tuning_job_the_best_model_alone_is_registered_once_it_has_ended() {
    let mut story = Story::begin().await;
    tuning(
        &story,
        TUNING,
        JobStatus::InProgress,
        &[0.93, 0.97, 0.95],
        &[],
    );
    for n in 1..=3 {
        let handled = story.try_ended(&format!("{TUNING}-{n}")).await.unwrap();
        assert_eq!(handled.done, Vec::<String>::new());
    }
    assert_eq!(packages(&story), []);
    assert!(story.ledger.head(&story.group).is_unfinished());
    becomes(&story, TUNING, JobStatus::Completed);
    ended(&mut story, TUNING, "Completed").await;
    let best = (format!("{TUNING}-2"), Approval::Approved);
    assert_eq!(packages(&story), std::slice::from_ref(&best));
    let package = story.town.0.lock().unwrap().packages[0].clone();
    assert_eq!(package.metadata["tidegate:tuning-job"], TUNING);
    let said = entries(&story);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains(
            "of its 4 training jobs (1 failed), fraud-tune-2 (validation:auc 0.97) is the best"
        ),
        "{said:?}"
    );
    // Late and doubled events, and housekeeping, change nothing.
    for n in 1..=3 {
        story.try_ended(&format!("{TUNING}-{n}")).await.unwrap();
    }
    ended(&mut story, TUNING, "Completed").await;
    story.until_quiet().await;
    story.housekeeping().await;
    assert_eq!(packages(&story), [best]);
    assert_eq!(entries(&story).len(), 1);
    assert!(story.ledger.head(&story.group).tunings.is_empty());
    story.check();
}

#[tokio::test]
async fn the_best_jobs_own_event_is_enough_where_it_comes_after_the_end() {
    let mut story = Story::begin().await;
    tuning(&story, TUNING, JobStatus::Completed, &[0.93, 0.97], &[]);
    let handled = story.try_ended("fraud-tune-1").await.unwrap();
    assert!(
        handled
            .to_string()
            .contains("not the best of the tuning job"),
        "{handled}"
    );
    assert_eq!(packages(&story), []);
    story.try_ended("fraud-tune-2").await.unwrap();
    assert_eq!(packages(&story).len(), 1);
    ended(&mut story, TUNING, "Completed").await;
    assert_eq!(packages(&story).len(), 1);
    assert_eq!(entries(&story).len(), 1);
    story.check();
}

#[tokio::test]
async fn housekeeping_asks_after_a_tuning_job_whose_event_was_lost() {
    let mut story = Story::begin().await;
    tuning(&story, TUNING, JobStatus::InProgress, &[0.93, 0.97], &[]);
    story.try_ended("fraud-tune-1").await.unwrap();
    story.housekeeping().await;
    assert_eq!(packages(&story), []);
    becomes(&story, TUNING, JobStatus::Completed);
    let denied = (
        "DescribeHyperParameterTuningJob",
        (1, WorldErrorKind::Denied),
    );
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    let handled = story.housekeeping().await;
    assert!(handled.failed[0].contains("DescribeHyper"), "{handled:?}");
    story.housekeeping().await;
    assert_eq!(
        packages(&story),
        [("fraud-tune-2".to_owned(), Approval::Approved)]
    );
    story.check();
}

#[tokio::test]
async fn a_tuning_job_that_cannot_be_seen_does_not_hold_up_the_next() {
    let mut story = Story::begin().await;
    for each in [TUNING, "other-tune"] {
        tuning(&story, each, JobStatus::InProgress, &[0.93, 0.97], &[]);
        story.try_ended(&format!("{each}-1")).await.unwrap();
        becomes(&story, each, JobStatus::Completed);
    }
    let denied = (
        "DescribeHyperParameterTuningJob",
        (1, WorldErrorKind::Denied),
    );
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    let handled = story.housekeeping().await;
    assert!(handled.failed[0].contains("DescribeHyper"), "{handled:?}");
    let job = "other-tune-2".to_owned();
    assert_eq!(packages(&story), [(job, Approval::Approved)]);
    story.check();
}

#[tokio::test]
async fn who_started_a_tuning_job_is_remembered_though_the_event_has_no_tags() {
    let text = format!("{POLICY}\n[approval]\nnot_the_trainer = true\n");
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    tuning(&story, "by-tag", JobStatus::InProgress, &[], &[]);
    let detail = json!({
        "eventSource": "sagemaker.amazonaws.com",
        "eventName": "CreateHyperParameterTuningJob",
        "userIdentity": { "type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/tom" },
        "requestParameters": { "hyperParameterTuningJobName": "by-tag" },
    });
    let kind = "AWS API Call via CloudTrail";
    story.send("aws.sagemaker", kind, detail).await;
    let entries = story.ledger.all_entries(&story.group);
    let last = entries.last().unwrap().read().unwrap();
    assert!(
        last.why.ends_with("tom started the tuning job by-tag."),
        "{}",
        last.why
    );
}

#[tokio::test]
async fn an_event_that_sagemaker_does_not_show_yet_is_tried_again() {
    let mut story = Story::begin().await;
    tuning(&story, TUNING, JobStatus::InProgress, &[0.97], &[]);
    let kind = "SageMaker HyperParameter Tuning Job State Change";
    let detail = tuning_event(TUNING, "Completed");
    let error = story.try_send("aws.sagemaker", kind, detail).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("not shown yet"), "{error}");
    becomes(&story, TUNING, JobStatus::Completed);
    ended(&mut story, TUNING, "Completed").await;
    assert_eq!(packages(&story).len(), 1);
    story.check();
}

#[tokio::test]
async fn a_tuning_job_that_was_stopped_has_a_best_so_far_and_one_that_failed_has_none() {
    let mut story = Story::begin().await;
    tuning(&story, "stopped", JobStatus::Stopped, &[0.93, 0.97], &[]);
    ended(&mut story, "stopped", "Stopped").await;
    assert_eq!(
        packages(&story),
        [("stopped-2".to_owned(), Approval::Approved)]
    );
    tuning(&story, "failed", JobStatus::Failed, &[0.98], &[]);
    ended(&mut story, "failed", "Failed").await;
    tuning(&story, "aimless", JobStatus::Completed, &[], &[]);
    ended(&mut story, "aimless", "Completed").await;
    assert_eq!(packages(&story).len(), 1);
    let told = notices(&story, "tuning-ended");
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].severity, Severity::Warning);
    assert!(
        told[0].text().contains("All training jobs failed."),
        "{}",
        told[0].text()
    );
    assert!(
        told[1]
            .text()
            .contains("no training job of it has the objective metric"),
        "{}",
        told[1].text()
    );
    story.check();
}

#[tokio::test]
async fn a_tuning_job_that_was_deleted_is_waited_for_no_more() {
    let mut story = Story::begin().await;
    tuning(&story, TUNING, JobStatus::InProgress, &[0.97], &[]);
    story.try_ended("fraud-tune-1").await.unwrap();
    story.town.0.lock().unwrap().tunings.clear();
    story.housekeeping().await;
    assert!(!story.ledger.head(&story.group).is_unfinished());
    assert!(entries(&story)[0].contains("does not exist any more"));
    story.try_ended("fraud-tune-1").await.unwrap();
    assert_eq!(packages(&story), []);
    story.check();
}

#[tokio::test]
async fn no_more_tuning_jobs_are_waited_for_than_there_is_room_for() {
    let mut story = Story::begin().await;
    for n in 0..25 {
        let one = format!("tune{n}");
        tuning(&story, &one, JobStatus::InProgress, &[0.97], &[]);
        story.try_ended(&format!("{one}-1")).await.unwrap();
    }
    let head = story.ledger.head(&story.group);
    assert_eq!(head.tunings.len(), crate::head::REMEMBERED_TUNINGS);
    assert_eq!(head.tunings[0].as_str(), "tune5");
    story.check();
}

#[tokio::test]
async fn a_finding_starts_a_tuning_job_and_its_best_model_says_where_it_comes_from() {
    let mut story = with(TUNE).await;
    found(&mut story, "monitoring-1").await;
    found(&mut story, "monitoring-1").await;
    let clones = story.town.0.lock().unwrap().tuning_clones.clone();
    let [clone] = clones.as_slice() else {
        panic!("{clones:?}")
    };
    let champion = JobName::parse("train-1").unwrap();
    assert_eq!(clone.like, TuningLike::OfJob(champion));
    assert_eq!(clone.inputs["train"], "s3://data/2026-03-01");
    assert_eq!(clone.hyperparameters["parent"], "v1");
    assert_eq!(clone.tags["tidegate:pipeline"], "fraud");
    let again = clone.name.as_str().to_owned();
    assert!(
        again.starts_with("fraud-again-") && again.len() <= 32,
        "{again}"
    );

    let tag = [("tidegate:finding", "monitoring-1")];
    tuning(
        &story,
        &again,
        JobStatus::InProgress,
        &[0.93, 0.97, 0.95],
        &tag,
    );
    story.minutes(5).await;
    for n in 1..=3 {
        story.try_ended(&format!("{again}-{n}")).await.unwrap();
    }
    let head = story.ledger.head(&story.group);
    assert!(head.retraining.unwrap().ended.is_none());
    becomes(&story, &again, JobStatus::Completed);
    ended(&mut story, &again, "Completed").await;
    let package = story.town.0.lock().unwrap().packages[1].clone();
    assert_eq!(package.metadata["tidegate:job"], format!("{again}-2"));
    assert_eq!(package.metadata["tidegate:parent"], "v1");
    assert_eq!(package.metadata["tidegate:finding"], "monitoring-1");
    let head = story.ledger.head(&story.group);
    assert!(head.retraining.unwrap().ended.is_some());
    assert!(head.tunings.is_empty());
    assert_eq!(notices(&story, "retraining-failed"), []);
    story.check();
}

#[tokio::test]
async fn a_tuning_job_that_fails_is_told_once_as_the_retraining_that_it_is_and_counts() {
    for by_event in [true, false] {
        let mut story =
            with(&TUNE.replace("name_prefix", "like = \"best-ever\", name_prefix")).await;
        found(&mut story, "monitoring-1").await;
        let clone = story.town.0.lock().unwrap().tuning_clones[0].clone();
        assert_eq!(clone.like, TuningLike::Tuning(name("best-ever")));
        let again = clone.name.as_str().to_owned();
        let tag = [("tidegate:finding", "monitoring-1")];
        tuning(&story, &again, JobStatus::Failed, &[], &tag);
        if by_event {
            ended(&mut story, &again, "Failed").await;
        }
        story.housekeeping().await;
        let told = notices(&story, "retraining-failed");
        assert_eq!(told.len(), 1, "by event: {by_event}");
        assert!(
            told[0].text().contains("All training jobs failed."),
            "{}",
            told[0].text()
        );
        assert_eq!(notices(&story, "tuning-ended"), []);
        found(&mut story, "monitoring-2").await;
        let told = notices(&story, "retraining-withheld");
        assert!(
            told[0].text().contains("less than 24 hours ago"),
            "{}",
            told[0].text()
        );
        assert!(!story.ledger.head(&story.group).is_unfinished());
        story.check();
    }
}

#[tokio::test]
async fn a_tuning_job_that_aws_refuses_is_told_and_is_not_under_way() {
    let mut story = with(TUNE).await;
    let refused = (
        "CreateHyperParameterTuningJob",
        (1, WorldErrorKind::Refused),
    );
    story.town.0.lock().unwrap().faults.calls.extend([refused]);
    found(&mut story, "monitoring-1").await;
    assert_eq!(notices(&story, "retraining-failed").len(), 1);
    assert!(!story.ledger.head(&story.group).is_unfinished());
    story.check();
}

#[tokio::test]
async fn where_others_are_asked_a_tuning_job_is_the_answer_and_its_training_jobs_are_not() {
    let mut story = with("on_drift = { retrain = { event = {} } }").await;
    found(&mut story, "monitoring-1").await;
    let tag = [("tidegate:finding", "monitoring-1")];
    tuning(&story, TUNING, JobStatus::InProgress, &[0.96, 0.97], &tag);
    story.try_ended("fraud-tune-1").await.unwrap();
    assert!(
        story
            .ledger
            .head(&story.group)
            .retraining
            .unwrap()
            .ended
            .is_none()
    );
    becomes(&story, TUNING, JobStatus::Completed);
    ended(&mut story, TUNING, "Completed").await;
    assert!(
        story
            .ledger
            .head(&story.group)
            .retraining
            .unwrap()
            .ended
            .is_some()
    );
    let package = story.town.0.lock().unwrap().packages[1].clone();
    assert_eq!(package.metadata["tidegate:finding"], "monitoring-1");
    story.check();
}

#[tokio::test]
async fn in_observe_mode_it_is_said_which_model_would_be_registered() {
    let text = POLICY.replace("[pipeline]", "[pipeline]\nmode = \"observe\"");
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    tuning(&story, TUNING, JobStatus::Completed, &[0.93, 0.97], &[]);
    ended(&mut story, TUNING, "Completed").await;
    ended(&mut story, TUNING, "Completed").await;
    assert_eq!(story.town.0.lock().unwrap().packages, []);
    let told = notices(&story, "would-act");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].text().contains("fraud-tune-2"),
        "{}",
        told[0].text()
    );
    assert!(entries(&story)[0].contains("would be judged"));
    story.check();
}
