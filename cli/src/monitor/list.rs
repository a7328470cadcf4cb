//! `tidegate monitor list`: the monitoring schedules of pipelines, and how they are.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::ledger::{Ledger as _, Snapshot};
use tidegate_core::name::{GroupName, PipelineName, ScheduleName};

use super::aws::{Monitors, Schedule};
use super::shown::{self, Fields, Follows, Found, Shown};
use super::trail::Trail;
use crate::answer::Answer;
use crate::audit::Line;
use crate::connect::{Connection, latest};
use crate::error::Problem;
use crate::render::{Paint, Screen, clean, utc};

/// How many schedules are asked about side by side.
const AT_ONCE: usize = 8;

/// What `monitor list --json` prints.
#[derive(Debug, Serialize)]
struct Listed {
    pipelines: Vec<OfPipeline>,
}

/// The schedules of a pipeline.
#[derive(Debug, Serialize)]
struct OfPipeline {
    pipeline: PipelineName,
    group: GroupName,
    schedules: Vec<Row>,
    /// Whether the policy has monitors that follow the champion.
    #[serde(skip)]
    has_monitors: bool,
}

/// A schedule and how it is.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    schedule: Schedule,
    /// Whether the policy lists it.
    listed: bool,
    /// How it follows the champion, if Tidegate made it.
    follows: Option<Follows>,
    /// The next run, if it is known; it may be up to 20 minutes late.
    next: Option<Timestamp>,
    last: Option<Shown>,
    /// What Tidegate saw of it last.
    seen: Option<Line>,
}

/// Lists the schedules of one pipeline, or of all.
pub(super) async fn run(
    name: Option<&str>,
    connection: &Connection,
    monitors: &Monitors,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let mut snapshots = Vec::new();
    match name {
        Some(name) => snapshots.push(connection.find(name).await?),
        None => {
            for group in connection.groups().await? {
                let loaded = connection.ledger().load(&group, None).await;
                let loaded = loaded.map_err(connection.failed())?;
                snapshots.extend(loaded.map(|snapshot| (group, snapshot)));
            }
        }
    }
    let ledgers = latest(snapshots.iter().map(|(_, snapshot)| snapshot));
    let screen = screen.no_earlier_than(ledgers);
    let mut pipelines = Vec::new();
    for (group, snapshot) in &snapshots {
        pipelines.push(pipeline(group, snapshot, connection, monitors).await?);
    }
    let rows = pipelines.iter().flat_map(|p| &p.schedules);
    let newest = rows
        .filter_map(|row| row.last.as_ref().map(|last| last.run.changed))
        .max();
    let screen = screen.no_earlier_than(newest);
    for row in pipelines.iter_mut().flat_map(|p| &mut p.schedules) {
        row.next = row.schedule.next(screen.now);
    }
    let text = text(&pipelines, &screen);
    Answer::new(Listed { pipelines }, text)
}

async fn pipeline(
    group: &GroupName,
    snapshot: &Snapshot,
    connection: &Connection,
    monitors: &Monitors,
) -> Result<OfPipeline, Problem> {
    let policy = &snapshot.applied.policy;
    let listed: BTreeSet<&ScheduleName> = policy.monitor.schedules.iter().collect();
    let mut names: BTreeSet<ScheduleName> = listed.iter().copied().cloned().collect();
    for stage in &policy.stages {
        names.extend(monitors.of_endpoint(&stage.endpoint).await?);
    }
    for schedule in &listed {
        names.extend(monitors.runs_of(schedule).await?);
    }
    // Those of batch data name no endpoint, and some that people deleted are missed.
    let kept = &snapshot.head.monitors.kept;
    let are_made = kept.iter().filter(|(_, kept)| kept.has_schedule());
    names.extend(are_made.map(|(name, _)| name.clone()));
    let trail = Trail::of(connection, group, snapshot).await?;
    let rows = stream::iter(names.into_iter().map(|name| row(name, monitors)))
        .buffered(AT_ONCE)
        .try_collect::<Vec<(Schedule, Option<Shown>)>>()
        .await?;
    let rows = rows.into_iter().map(|(schedule, last)| Row {
        listed: listed.contains(&schedule.name),
        follows: kept.get(&schedule.name).map(Follows::of),
        next: None,
        seen: trail.seen_last(&schedule.name),
        schedule,
        last,
    });
    Ok(OfPipeline {
        pipeline: policy.pipeline.name.clone(),
        group: group.clone(),
        schedules: rows.collect(),
        has_monitors: policy.stages.iter().any(|s| !s.monitors.is_empty()),
    })
}

async fn row(
    name: ScheduleName,
    monitors: &Monitors,
) -> Result<(Schedule, Option<Shown>), Problem> {
    let Some(schedule) = monitors.find(&name).await? else {
        return Ok((Schedule::missing(&name), None));
    };
    let Some(run) = monitors.executions(&name, 1).await?.pop() else {
        return Ok((schedule, None));
    };
    let findings = match &run.job {
        Some(job) if run.has_violations() => Some(Found::of(&monitors.findings(job).await)),
        _ => None,
    };
    let last = Shown {
        run,
        findings,
        entries: Vec::new(),
    };
    Ok((schedule, Some(last)))
}

fn text(pipelines: &[OfPipeline], screen: &Screen) -> String {
    let mut text = String::new();
    for pipeline in pipelines {
        if !text.is_empty() {
            text.push('\n');
        }
        let name = screen.paint(Paint::Bold, pipeline.pipeline.as_str());
        let _ = writeln!(text, "{name} (group {})", pipeline.group);
        if pipeline.schedules.is_empty() {
            text.push_str(if pipeline.has_monitors {
                "  No monitoring schedule yet: `tidegate status` says how far the monitors are that \
                 the policy asks for.\n"
            } else {
                "  No monitoring schedule: alarms are what drift is heard by.\n"
            });
        }
        for row in &pipeline.schedules {
            let _ = writeln!(text, "\n  {}", shown::title(&row.schedule, screen));
            let mut fields = Fields {
                text: &mut text,
                screen,
                indent: 4,
            };
            let (state, paint) = shown::state(&row.schedule, screen);
            fields.paint("state", &state, paint);
            if let Some(follows) = &row.follows {
                fields.add("follows", &follows.in_words());
            }
            if let Some(last) = &row.last {
                let (line, paint) = last_run(last, screen);
                fields.paint("last run", &line, paint);
            } else if row.schedule.state != "missing" {
                fields.add("last run", "none yet");
            }
            if let Some(seen) = &row.seen {
                let at = seen.at.map(utc).unwrap_or_default();
                let line = format!("#{} {at}: {}", seen.n, seen.why);
                fields.add("Tidegate", &clean(&line));
            }
        }
    }
    if pipelines.is_empty() {
        text.push_str("No pipeline is in force; `tidegate apply FILE` puts one in force.\n");
    }
    text
}

fn last_run(last: &Shown, screen: &Screen) -> (String, Paint) {
    let run = &last.run;
    let mut line = format!(
        "{}: {}",
        screen.time(run.scheduled),
        run.status.replace('_', " ")
    );
    if let Some(why) = &run.failure {
        let _ = write!(line, ": {why}");
    }
    if let Some(found) = &last.findings {
        let _ = write!(line, ": {}", found.in_words());
    }
    let paint = if run.is_failed() {
        Paint::Bad
    } else if run.has_violations() {
        Paint::Busy
    } else {
        Paint::Plain
    };
    (line, paint)
}
