//! Model Monitor: its schedules, and what a monitoring job found.
//!
//! Sources: "Schema for Violations (`constraint_violations.json` file)" and "Interpret results" in
//! the SageMaker developer guide. The four kinds of monitors name the thing that is off in
//! different members, so each is tried.

use aws_sdk_sagemaker::operation::describe_monitoring_schedule::DescribeMonitoringScheduleOutput;
use aws_sdk_sagemaker::operation::describe_processing_job::DescribeProcessingJobOutput;
use aws_sdk_sagemaker::types::{
    ExecutionStatus, MonitoringExecutionSortKey, ProcessingOutputConfig, ScheduleStatus, SortOrder,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tidegate_core::finding::FindingKind;
use tidegate_core::name::{EndpointName, ScheduleName};
use tidegate_core::world::{
    Answer, Findings, MonitoringSchedule, ScheduleState, Violation, WorldError,
};

use super::AwsWorld;
use super::values::{name_of_arn, time};
use crate::error::{cut, failed};

const REPORT: &str = "constraint_violations.json";
/// A monitoring job has one output; more are not looked at than these.
const MOST_OUTPUTS: usize = 5;
/// The port's limit.
const MOST_VIOLATIONS: usize = 100;
/// Of one description, bytes: all of them are kept in one ledger item.
const LONGEST_TEXT: usize = 500;

impl AwsWorld {
    pub(super) async fn monitoring_schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<Answer, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_monitoring_schedule()
            .monitoring_schedule_name(name.as_str())
            .send();
        let found = match asked.await.map_err(failed("DescribeMonitoringSchedule")) {
            Ok(found) => found,
            Err(failure) if failure.is_gone() => return Ok(Answer::Missing),
            Err(failure) => return Err(failure.into()),
        };
        let listed = self
            .clients
            .sagemaker
            .list_monitoring_executions()
            .monitoring_schedule_name(name.as_str())
            .status_equals(ExecutionStatus::CompletedWithViolations)
            .sort_by(MonitoringExecutionSortKey::ScheduledTime)
            .sort_order(SortOrder::Descending)
            .max_results(1)
            .send()
            .await
            .map_err(failed("ListMonitoringExecutions"))?;
        let newest = listed.monitoring_execution_summaries().first();
        let job = newest.and_then(|execution| execution.processing_job_arn());
        Ok(Answer::MonitoringSchedule(Box::new(MonitoringSchedule {
            name: name.clone(),
            endpoint: endpoint_of(&found).and_then(|name| EndpointName::parse(name).ok()),
            newest_violating_job: job.map(|arn| name_of_arn(arn).to_owned()),
            newest_violating_at: newest.and_then(|execution| time(execution.scheduled_time())),
            state: state(&found),
        })))
    }

    pub(super) async fn violations(&self, job: &str) -> Result<Answer, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_processing_job()
            .processing_job_name(job)
            .send();
        let found = match asked.await.map_err(failed("DescribeProcessingJob")) {
            Ok(found) => found,
            Err(failure) if failure.is_gone() => return Ok(Answer::Missing),
            Err(failure) => return Err(failure.into()),
        };
        let (mut report, mut violations) = (None, Vec::new());
        let mut unreadable = Some(format!(
            "the job left no {REPORT}{}",
            found
                .exit_message()
                .or(found.failure_reason())
                .map(|said| format!(", and says: {}", cut(said, LONGEST_TEXT)))
                .unwrap_or_default()
        ));
        for uri in reports(&found) {
            let text = match self.object(&uri).await {
                Ok(Answer::Object(text)) => text,
                Ok(_) => continue,
                // A report that can't be read for good must not hide that there is one.
                Err(error) if !error.is_passing() => {
                    unreadable = Some(error.message);
                    report = Some(uri);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match read(&text) {
                Ok(found) => (violations, unreadable) = (found, None),
                Err(why) => unreadable = Some(format!("{uri} {why}")),
            }
            report = Some(uri);
            break;
        }
        Ok(Answer::Violations(Box::new(Findings {
            job: job.to_owned(),
            report,
            data_since: data_since(&found),
            unreadable,
            violations,
        })))
    }
}

/// What is Pending, or of a status that is not known here, may be anything in a moment.
fn state(schedule: &DescribeMonitoringScheduleOutput) -> ScheduleState {
    match schedule.monitoring_schedule_status() {
        Some(ScheduleStatus::Scheduled) => ScheduleState::Scheduled,
        Some(ScheduleStatus::Stopped) => ScheduleState::Stopped,
        Some(ScheduleStatus::Failed) => {
            let why = schedule.failure_reason().unwrap_or("it gives no reason");
            ScheduleState::Failed(cut(why, LONGEST_TEXT).to_owned())
        }
        _ => ScheduleState::Changing,
    }
}

fn endpoint_of(schedule: &DescribeMonitoringScheduleOutput) -> Option<&str> {
    schedule.endpoint_name().or_else(|| {
        let job = schedule
            .monitoring_schedule_config()?
            .monitoring_job_definition()?;
        job.monitoring_inputs()
            .iter()
            .find_map(|input| input.endpoint_input()?.endpoint_name())
    })
}

fn reports(job: &DescribeProcessingJobOutput) -> Vec<String> {
    let outputs = job
        .processing_output_config()
        .map(ProcessingOutputConfig::outputs)
        .unwrap_or_default();
    outputs
        .iter()
        .filter_map(|output| output.s3_output()?.s3_uri())
        .take(MOST_OUTPUTS)
        .map(|uri| format!("{}/{REPORT}", uri.trim_end_matches('/')))
        .collect()
}

/// A monitoring job is told the window of data that it looks at in its environment.
fn data_since(job: &DescribeProcessingJobOutput) -> Option<Timestamp> {
    job.environment()?.get("start_time")?.parse().ok()
}

/// The violations of a report, those of the schema first: they must not be among those that are
/// left out. Why not, if it isn't one.
fn read(text: &str) -> Result<Vec<Violation>, String> {
    #[derive(Deserialize)]
    struct Report {
        violations: Vec<Value>,
    }
    let report: Report = serde_json::from_str(text)
        .map_err(|error| format!("is no report of Model Monitor: {error}"))?;
    let mut violations: Vec<Violation> = report.violations.iter().map(violation).collect();
    violations.sort_by_key(|v| FindingKind::of_check(&v.check) != FindingKind::Schema);
    violations.truncate(MOST_VIOLATIONS);
    Ok(violations)
}

fn violation(line: &Value) -> Violation {
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let short = |text: &str| cut(text, LONGEST_TEXT).to_owned();
    let description = text("description").unwrap_or_default();
    let check = short(text("constraint_check_type").unwrap_or_default());
    // Of bias a line is one metric of one group.
    if let Some(facet) = text("facet") {
        let group = text("facet_value").map(|value| format!("{facet}={value}"));
        let said = text("metric_name").map(|metric| format!("{metric}: {description}"));
        return Violation {
            feature: short(group.as_deref().unwrap_or(facet)),
            check,
            description: short(said.as_deref().unwrap_or(description)),
        };
    }
    // Data quality, feature attribution drift, model quality.
    let names = ["feature_name", "label", "metric_name"];
    Violation {
        feature: short(names.into_iter().find_map(text).unwrap_or_default()),
        check,
        description: short(description),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aws_sdk_sagemaker::types::{ProcessingOutput, ProcessingS3Output};
    use serde_json::json;

    #[test]
    fn reports_of_every_kind_of_monitor_are_read() {
        let text = r#"{"violations":[
            {"feature_name":"amount","constraint_check_type":"baseline_drift_check","description":"distance: 0.4 exceeds threshold: 0.1"},
            {"metric_name":"precision","constraint_check_type":"LessThanThreshold","description":"0.6 < 0.9"},
            {"facet":"sex","facet_value":"f","metric_name":"DPPL","constraint_check_type":"bias_drift_check","description":"0.7 is worse than 0.4"},
            {"label":"label0","metric_name":"shap","constraint_check_type":"feature_attribution_drift_check","description":"0.6 exceeds threshold 0.9"},
            7
        ],"more":1}"#;
        let found = read(text).unwrap();
        assert_eq!(found.len(), 5);
        assert_eq!(found[2].feature, "sex=f");
        assert_eq!(found[2].description, "DPPL: 0.7 is worse than 0.4");
        assert_eq!(found[3].feature, "label0");
        assert_eq!(found[0].feature, "amount");
        assert_eq!(found[1].feature, "precision");
        assert_eq!(found[1].check, "LessThanThreshold");
        for bad in ["{}", "not json"] {
            let why = read(bad).unwrap_err();
            assert!(why.starts_with("is no report of Model Monitor: "), "{why}");
        }
    }

    #[test]
    fn a_schema_error_is_never_among_those_that_are_left_out() {
        let line = |check: &str| json!({"feature_name": "f", "constraint_check_type": check});
        let mut lines = vec![line("baseline_drift_check"); 150];
        lines.push(line("missing_column_check"));
        let found = read(&json!({ "violations": lines }).to_string()).unwrap();
        assert_eq!(found.len(), MOST_VIOLATIONS);
        assert_eq!(found[0].check, "missing_column_check");
    }

    #[test]
    fn a_job_says_where_its_report_is_and_what_it_looked_at() {
        let s3 = ProcessingS3Output::builder().s3_uri("s3://b/out/").build();
        let output = ProcessingOutput::builder().s3_output(s3).build();
        let job = DescribeProcessingJobOutput::builder()
            .processing_output_config(ProcessingOutputConfig::builder().outputs(output).build())
            .environment("start_time", "2026-01-01T10:00:00Z")
            .build();
        assert_eq!(reports(&job), ["s3://b/out/constraint_violations.json"]);
        assert_eq!(data_since(&job), "2026-01-01T10:00:00Z".parse().ok());
    }
}
