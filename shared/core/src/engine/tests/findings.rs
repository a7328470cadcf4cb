//! Findings on live endpoints: what each kind leads to, and that a storm of them is one notice.

use serde_json::json;

use super::stories::{POLICY, Story};
use crate::engine::Handled;
use crate::event::Approval;
use crate::ledger::Ledger;
use crate::notice::{Notice, Severity};
use crate::pipeline;
use crate::world::{Violation, WorldErrorKind};

/// A story under the usual policy with these lines in `[monitor]`.
pub(super) async fn with_monitor(lines: &str) -> Story {
    let text = format!("{POLICY}{lines}\n");
    Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await
}

pub(super) fn violation(feature: &str, check: &str) -> Violation {
    Violation {
        feature: feature.to_owned(),
        check: check.to_owned(),
        description: "Baseline drift distance: 0.41 exceeds threshold: 0.1".to_owned(),
    }
}

/// What monitoring jobs find from now on.
pub(super) fn finds(story: &Story, violations: &[Violation]) {
    story.town.0.lock().unwrap().violations = Some(violations.to_vec());
}

/// The event of a monitoring job that found something.
pub(super) async fn found(story: &mut Story, job: &str) -> Handled {
    let detail = json!({
        "MonitoringScheduleName": "fraud-data", "EndpointName": "fraud-prod",
        "MonitoringScheduleStatus": "Scheduled",
        "LastMonitoringExecutionSummary": {
            "MonitoringScheduleName": "fraud-data",
            "MonitoringExecutionStatus": "CompletedWithViolations",
            "ProcessingJobArn":
                format!("arn:aws:sagemaker:us-east-1:123456789012:processing-job/{job}"),
            "EndpointName": "fraud-prod",
        },
    });
    let kind = "SageMaker Monitoring Schedule State Change";
    story.send("aws.sagemaker", kind, detail).await
}

/// An alarm on a metric of the endpoint goes off.
async fn alarm(story: &mut Story, name: &str, metric: &str) -> Handled {
    let since = story.now();
    let detail = json!({
        "alarmName": name,
        "state": {
            "value": "ALARM", "reason": "Threshold Crossed",
            "reasonData": json!({ "version": "1.0", "startDate": since.to_string() }).to_string(),
        },
        "previousState": { "value": "OK" },
        "configuration": { "metrics": [{ "id": "m", "returnData": true, "metricStat": {
            "metric": {
                "namespace": "aws/sagemaker/Endpoints/data-metrics", "name": metric,
                "dimensions": { "Endpoint": "fraud-prod" },
            },
            "period": 60, "stat": "Maximum",
        } }] },
    });
    let kind = "CloudWatch Alarm State Change";
    story.send("aws.cloudwatch", kind, detail).await
}

pub(super) fn notices(story: &Story, what: &str) -> Vec<Notice> {
    let state = story.town.0.lock().unwrap();
    let mut all = state.notices.clone();
    all.retain(|n| n.what == what);
    all
}

fn retrainings(story: &Story) -> usize {
    story.town.0.lock().unwrap().retrainings.len()
}

#[tokio::test]
async fn a_schema_error_is_only_told_whatever_drifted_with_it() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    finds(
        &story,
        &[
            violation("age", "baseline_drift_check"),
            violation("country", "missing_column_check"),
        ],
    );
    found(&mut story, "monitoring-1").await;
    assert_eq!(retrainings(&story), 0);
    let told = &notices(&story, "violation-seen")[0];
    assert_eq!(told.headline, "Schema error on fraud-prod");
    assert!(
        told.text().contains("retraining would learn the error"),
        "{}",
        told.text()
    );
    assert!(
        told.text()
            .contains("1 feature drifted: age (0.41, limit 0.1)"),
        "{}",
        told.text()
    );
    story.check();
}

#[tokio::test]
async fn each_kind_leads_to_what_the_policy_says() {
    for (lines, check, retrains) in [
        ("", "baseline_drift_check", 1),
        ("", "LessThanThreshold", 1),
        ("", "bias_drift_check", 0),
        ("", "completeness_check", 0),
        ("", "a_check_of_tomorrow", 0),
        (
            "on_finding = { drift = \"tell\" }",
            "baseline_drift_check",
            0,
        ),
        ("on_finding = { bias = \"retrain\" }", "bias_drift_check", 1),
    ] {
        let mut story = with_monitor(lines).await;
        story.deploy_first().await;
        finds(&story, &[violation("age", check)]);
        found(&mut story, "monitoring-1").await;
        assert_eq!(retrainings(&story), retrains, "{lines} {check}");
        assert_eq!(
            notices(&story, "violation-seen").len(),
            1,
            "{lines} {check}"
        );
        story.check();
    }
}

#[tokio::test]
async fn a_young_champion_gives_way_to_the_version_before_and_that_one_stays() {
    let mut story = with_monitor("on_finding = { quality = \"roll_back\" }").await;
    story.approve_second().await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.minutes(30).await;
    finds(&story, &[violation("auc", "LessThanThreshold")]);
    found(&mut story, "monitoring-1").await;
    story.until_quiet().await;
    story.minutes(10).await;
    assert_eq!(story.champion(), 1);
    let told = &notices(&story, "rolling-back")[0];
    assert_eq!(told.headline, "v1 comes back to fraud-prod");
    assert!(
        told.text().contains("v2 is left Approved"),
        "{}",
        told.text()
    );
    assert_eq!(retrainings(&story), 0);
    // What came back is young too, and does not give way to the one that it replaced.
    found(&mut story, "monitoring-2").await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    assert_eq!(retrainings(&story), 1);
    story.check();
}

#[tokio::test]
async fn a_champion_that_is_not_young_or_has_no_approved_predecessor_is_trained_again() {
    for (young, approval) in [(0, Approval::Approved), (24, Approval::Rejected)] {
        let lines = format!("on_finding = {{ drift = \"roll_back\" }}\nyoung_hours = {young}");
        let mut story = with_monitor(&lines).await;
        story.approve_second().await;
        story.until_quiet().await;
        story.town.set_approval(1, approval);
        story.minutes(30).await;
        found(&mut story, "monitoring-1").await;
        story.until_quiet().await;
        assert_eq!(story.champion(), 2);
        assert_eq!(retrainings(&story), 1);
        story.check();
    }
}

#[tokio::test]
async fn an_alarm_on_a_features_drift_is_drift_and_a_storm_of_them_is_told_once() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    for n in 0..20 {
        let metric = format!("feature_baseline_drift_f{n}");
        alarm(&mut story, &format!("drift-{n}"), &metric).await;
    }
    assert_eq!(retrainings(&story), 1);
    assert_eq!(notices(&story, "alarm-seen").len(), 1);
    story.minutes(61).await;
    alarm(&mut story, "drift-0", "feature_baseline_drift_f0").await;
    let told = notices(&story, "alarm-seen");
    assert_eq!(told.len(), 2);
    assert!(
        told[1].text().contains("And 19 more notices of the kind"),
        "{}",
        told[1].text()
    );
    let entries = story.ledger.entries(&story.group, 0, 1_000).await.unwrap();
    let seen = entries.iter().filter(|e| e.body.contains("\"alarm-seen\""));
    assert_eq!(seen.count(), 21, "each is in the audit trail");
    story.check();
}

#[tokio::test]
async fn an_alarm_of_ones_own_is_a_finding_of_the_kind_that_the_policy_says() {
    let mut story = with_monitor("alarms = { our-psi = \"drift\" }").await;
    story.deploy_first().await;
    alarm(&mut story, "our-errors", "psi").await;
    assert_eq!(retrainings(&story), 0);
    alarm(&mut story, "our-psi", "psi").await;
    assert_eq!(retrainings(&story), 1);
    story.check();
}

#[tokio::test]
async fn a_job_that_may_not_be_looked_at_is_told_with_the_refusal() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let denied = ("DescribeProcessingJob", (1, WorldErrorKind::Denied));
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    found(&mut story, "monitoring-1").await;
    assert_eq!(retrainings(&story), 0);
    let text = notices(&story, "violation-seen")[0].text();
    assert!(text.contains("AWS refused DescribeProcessingJob"), "{text}");
    story.check();
}

#[tokio::test]
async fn a_report_that_can_not_be_read_is_told_with_the_reason() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let why = "s3://reports/constraint_violations.json is larger than 1048576 bytes";
    story.town.0.lock().unwrap().unreadable = Some(why.to_owned());
    finds(&story, &[]);
    found(&mut story, "monitoring-1").await;
    assert_eq!(retrainings(&story), 0);
    let told = &notices(&story, "violation-seen")[0];
    assert_eq!(told.severity, Severity::Warning);
    let text = told.text();
    assert!(
        text.contains("found something, and its report can't be read: s3://"),
        "{text}"
    );
    story.check();
}
