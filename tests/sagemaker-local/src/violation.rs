//! An execution that a test reports: then everything looks as if a monitoring job had run and
//! found that, or failed. The findings are in S3, a processing job is described, the schedule has
//! an execution, and the events are sent.

use std::sync::Arc;

use anyhow::Context as _;
use aws_sdk_s3::primitives::ByteStream;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::json::required;
use crate::moment::{Moment, Span};
use crate::monitor::analyzer;
use crate::monitor::definition::{Plan, Run};
use crate::monitor::execution::Execution;
use crate::monitor::schedule::Schedule;
use crate::processing::{Job, Outcome};
use crate::storage;
use crate::world::World;

/// A monitoring job looks at the hour before it.
const WINDOW: Span = Span::seconds(3600);
/// What an execution takes.
const RUN_TIME: Span = Span::seconds(300);

/// What a monitoring job is to have found, or why it is to have failed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Violation {
    schedule: Option<String>,
    endpoint: Option<String>,
    #[serde(default)]
    violations: Vec<Map<String, Value>>,
    failure: Option<String>,
    /// The report as it is to be in S3, instead of one of `violations`; an empty one is left out.
    report: Option<String>,
    /// RFC 3339; the latest full hour if not given.
    data_window_end: Option<String>,
}

/// The execution that is made up.
struct Report {
    schedule: Schedule,
    job: Job,
    end: Moment,
    now: Moment,
}

/// Makes it look as if a monitoring job had run.
pub(crate) async fn report(app: &Arc<App>, violation: Violation) -> anyhow::Result<Value> {
    let report = plan(&mut app.world(), &violation, app.clock.now())?;
    let outputs = &report.job.body["ProcessingOutputConfig"]["Outputs"];
    let uri = format!(
        "{}/constraint_violations.json",
        required(&outputs[0]["S3Output"], "S3Uri")
    );
    // A report of one's own holds something.
    let count = violation.violations.len() + usize::from(violation.report.is_some());
    let (outcome, status) = match (&violation.failure, count) {
        (Some(reason), _) => (Outcome::Failed(reason.clone()), "Failed"),
        (None, 0) => (Outcome::Completed(analyzer::exit(0)), "Completed"),
        (None, count) => (
            Outcome::Completed(analyzer::exit(count)),
            "CompletedWithViolations",
        ),
    };
    let findings = violation
        .report
        .unwrap_or_else(|| json!({"version": 0.0, "violations": violation.violations}).to_string());
    if violation.failure.is_none() && !findings.is_empty() {
        storage::write(
            &app.aws()?.s3,
            &uri,
            ByteStream::from(findings.into_bytes()),
        )
        .await?;
    }
    let (name, arn) = (report.job.name.clone(), report.job.arn.clone());
    report.record(&mut app.world(), outcome, status);
    Ok(json!({"processing_job": name, "processing_job_arn": arn, "constraint_violations": uri}))
}

fn plan(world: &mut World, violation: &Violation, now: Moment) -> anyhow::Result<Report> {
    let end = match &violation.data_window_end {
        Some(end) => Moment::parse(end).context("data_window_end")?,
        None => Moment::from_millis(now.as_millis().div_euclid(3_600_000) * 3_600_000),
    };
    let wanted =
        |wish: Option<&str>, given: Option<&str>| wish.is_none_or(|wish| given == Some(wish));
    let mut schedules = world.monitoring.schedules.values();
    let schedule = schedules
        .find(|schedule| {
            wanted(violation.schedule.as_deref(), Some(&schedule.name))
                && wanted(violation.endpoint.as_deref(), schedule.endpoint.as_deref())
        })
        .cloned()
        .context(
            "there is no such monitoring schedule; create one with CreateMonitoringSchedule",
        )?;
    let plan = Plan::of(world, schedule.kind, &schedule.config)
        .context("the schedule's job definition is gone, or has no input or no S3 output")?;
    let run = Run {
        schedule: &schedule.name,
        schedule_arn: &schedule.arn,
        window: (end - WINDOW, end),
        scheduled: end,
        captured: &[],
        ground_truth: &[],
    };
    let mut job = Job::new(
        &world.monitoring.job_name(end),
        plan.job(&run),
        now - RUN_TIME,
    );
    job.start(now - RUN_TIME);
    Ok(Report {
        schedule,
        job,
        end,
        now,
    })
}

impl Report {
    /// The execution, the processing job and the events.
    fn record(mut self, world: &mut World, outcome: Outcome, status: &'static str) {
        world.tags.create(&self.job.arn, &json!({}));
        let ended = self.job.end(outcome, self.now, json!({}));
        let begun = self.now - RUN_TIME;
        let pending = Execution::pending(world, &self.schedule, self.end, begun);
        world.monitoring.remember(Execution {
            status,
            modified: self.now,
            job: Some(self.job.arn.clone()),
            failure: self.job.failure.clone(),
            ..pending
        });
        world.processing.insert(self.job.name.clone(), self.job);
        let event = self.schedule.event(world, self.now);
        world.emit(ended);
        world.emit(event);
    }
}
