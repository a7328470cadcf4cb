//! EventBridge Scheduler's other half: moto keeps schedules and never fires them; this does, by
//! the emulator's clock.
//!
//! Schedules are read from moto once an emulator minute; each is read again when it fires, so one
//! that was deleted or disabled meanwhile does not. A Lambda function as target stands for the
//! SQS queue `<prefix><function>`, its asynchronous invocation queue.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_sdk_scheduler::error::DisplayErrorContext;
use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::{ActionAfterCompletion, ScheduleState};

use crate::app::App;
use crate::arn;
use crate::aws::Aws;
use crate::drive::Pace;
use crate::expression::Expression;
use crate::moment::{Moment, Span};
use crate::world::Due;

/// Schedules are read this often in emulator time.
const READ_EVERY: Span = Span::seconds(60);
/// But at a running clock no more often than this in real time.
const READ_PAUSE: Duration = Duration::from_millis(200);
/// More schedules than this are not looked at.
const MOST_SCHEDULES: usize = 1_000;

/// What is known of the schedules in moto.
#[derive(Default)]
pub(crate) struct Timetable {
    known: BTreeMap<String, Known>,
    generation: u64,
    last_read: Option<Instant>,
    reading: bool,
    queues: BTreeMap<String, String>,
}

struct Known {
    /// The version of the schedule, as far as a list shows it.
    version: String,
    begun: Moment,
    generation: u64,
}

/// Reads the schedules and puts down when the new ones fire first.
pub(crate) async fn read(app: &Arc<App>, at: Moment, pace: Pace) {
    app.schedule(at + READ_EVERY, Due::ReadSchedules);
    if app.aws.is_none() {
        return;
    }
    if pace == Pace::ByHand {
        read_now(app, at).await;
        return;
    }
    {
        let mut timetable = app.timetable.lock().unwrap_or_else(PoisonError::into_inner);
        if timetable.reading
            || timetable
                .last_read
                .is_some_and(|last| last.elapsed() < READ_PAUSE)
        {
            return;
        }
        timetable.reading = true;
        timetable.last_read = Some(Instant::now());
    }
    let app = app.clone();
    tokio::spawn(async move {
        read_now(&app, at).await;
        app.timetable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reading = false;
    });
}

async fn read_now(app: &Arc<App>, at: Moment) {
    if let Err(error) = try_read(app, at).await {
        tracing::warn!(error = format!("{error:#}"), "schedules could not be read");
    }
}

async fn try_read(app: &Arc<App>, at: Moment) -> anyhow::Result<()> {
    let aws = app.aws()?;
    let mut pages = aws.scheduler.list_schedules().into_paginator().send();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| anyhow::anyhow!("{}", DisplayErrorContext(&error)))?;
        for schedule in page.schedules() {
            let (Some(group), Some(name)) = (schedule.group_name(), schedule.name()) else {
                continue;
            };
            let version = format!("{:?}", schedule.last_modification_date());
            if found.len() < MOST_SCHEDULES {
                found.insert(format!("{group}/{name}"), version);
            }
        }
    }
    let new: Vec<(String, String)> = {
        let mut timetable = app.timetable.lock().unwrap_or_else(PoisonError::into_inner);
        timetable.known.retain(|key, _| found.contains_key(key));
        let known = &timetable.known;
        found
            .into_iter()
            .filter(|(key, version)| known.get(key).is_none_or(|known| known.version != *version))
            .collect()
    };
    for (key, version) in new {
        let generation = {
            let mut timetable = app.timetable.lock().unwrap_or_else(PoisonError::into_inner);
            timetable.generation += 1;
            let generation = timetable.generation;
            timetable.known.insert(
                key.clone(),
                Known {
                    version,
                    begun: at,
                    generation,
                },
            );
            generation
        };
        if let Some(schedule) = get(aws, &key).await? {
            plan_next(app, &key, &schedule, generation, at, at);
        }
    }
    Ok(())
}

/// Fires a schedule if it is still there and enabled, and puts down its next time.
pub(crate) async fn fire(app: &Arc<App>, key: String, generation: u64, at: Moment, pace: Pace) {
    let begun = {
        let timetable = app.timetable.lock().unwrap_or_else(PoisonError::into_inner);
        timetable
            .known
            .get(&key)
            .filter(|known| known.generation == generation)
            .map(|known| known.begun)
    };
    let Some(begun) = begun else { return };
    let app = app.clone();
    let work = async move {
        if let Err(error) = try_fire(&app, &key, generation, begun, at).await {
            tracing::warn!(
                schedule = key,
                error = format!("{error:#}"),
                "a schedule could not fire"
            );
        }
    };
    match pace {
        Pace::ByHand => work.await,
        Pace::Live => {
            tokio::spawn(work);
        }
    }
}

async fn try_fire(
    app: &Arc<App>,
    key: &str,
    generation: u64,
    begun: Moment,
    at: Moment,
) -> anyhow::Result<()> {
    let aws = app.aws()?;
    let Some(schedule) = get(aws, key).await? else {
        app.timetable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .known
            .remove(key);
        return Ok(());
    };
    plan_next(app, key, &schedule, generation, begun, at);
    if schedule.state() == Some(&ScheduleState::Disabled) {
        return Ok(());
    }
    let target = schedule.target().context("the schedule has no target")?;
    let input = fill(target.input().unwrap_or("{}"), target.arn(), key, at);
    let queue = queue_url(app, aws, target.arn()).await?;
    aws.sqs
        .send_message()
        .queue_url(&queue)
        .message_body(input)
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("{}", DisplayErrorContext(&error)))?;
    tracing::debug!(schedule = key, at = %at.iso(), queue, "fired");
    let once = matches!(
        schedule.schedule_expression().map(Expression::parse),
        Some(Ok(Expression::At(_)))
    );
    if once && schedule.action_after_completion() == Some(&ActionAfterCompletion::Delete) {
        let (group, name) = key.split_once('/').unwrap_or(("default", key));
        let deleted = aws
            .scheduler
            .delete_schedule()
            .group_name(group)
            .name(name)
            .send()
            .await;
        deleted.map_err(|error| anyhow::anyhow!("{}", DisplayErrorContext(&error)))?;
    }
    Ok(())
}

async fn get(aws: &Aws, key: &str) -> anyhow::Result<Option<GetScheduleOutput>> {
    let (group, name) = key.split_once('/').unwrap_or(("default", key));
    match aws
        .scheduler
        .get_schedule()
        .group_name(group)
        .name(name)
        .send()
        .await
    {
        Ok(schedule) => Ok(Some(schedule)),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(aws_sdk_scheduler::operation::get_schedule::GetScheduleError::is_resource_not_found_exception) =>
        {
            Ok(None)
        }
        Err(error) => Err(anyhow::anyhow!("{}", DisplayErrorContext(&error))),
    }
}

fn plan_next(
    app: &Arc<App>,
    key: &str,
    schedule: &GetScheduleOutput,
    generation: u64,
    begun: Moment,
    last: Moment,
) {
    let text = schedule.schedule_expression().unwrap_or_default();
    match Expression::parse(text) {
        Ok(expression) => {
            if let Some(next) = expression.next(begun, last) {
                app.schedule(
                    next,
                    Due::Fire {
                        schedule: key.to_owned(),
                        generation,
                    },
                );
            }
        }
        Err(error) => tracing::warn!(schedule = key, error, "this schedule never fires here"),
    }
}

/// Fills the context attributes that EventBridge Scheduler knows.
fn fill(input: &str, target: &str, key: &str, at: Moment) -> String {
    let schedule = format!(
        "arn:aws:scheduler:{}:{}:schedule/{key}",
        arn::REGION,
        arn::ACCOUNT
    );
    input
        .replace("<aws.scheduler.scheduled-time>", &at.iso_seconds())
        .replace(
            "<aws.scheduler.execution-id>",
            &uuid::Uuid::new_v4().to_string(),
        )
        .replace("<aws.scheduler.attempt-number>", "1")
        .replace("<aws.scheduler.schedule-arn>", &schedule)
        .replace("<aws.scheduler.target-arn>", target)
}

/// The queue that stands for a target: that of a Lambda function, or an SQS queue itself.
async fn queue_url(app: &App, aws: &Aws, target: &str) -> anyhow::Result<String> {
    let queue = queue_name(target, &app.args.function_queue_prefix).with_context(|| {
        format!("the target {target} is neither a Lambda function nor an SQS queue")
    })?;
    let known = {
        let timetable = app.timetable.lock().unwrap_or_else(PoisonError::into_inner);
        timetable.queues.get(&queue).cloned()
    };
    if let Some(url) = known {
        return Ok(url);
    }
    let answer = aws.sqs.get_queue_url().queue_name(&queue).send().await;
    let answer = answer
        .map_err(|error| anyhow::anyhow!("queue {queue}: {}", DisplayErrorContext(&error)))?;
    let url = answer
        .queue_url()
        .context("SQS gave no queue URL")?
        .to_owned();
    let mut timetable = app.timetable.lock().unwrap_or_else(PoisonError::into_inner);
    timetable.queues.insert(queue, url.clone());
    Ok(url)
}

fn queue_name(target: &str, prefix: &str) -> Option<String> {
    let parts: Vec<&str> = target.split(':').collect();
    match parts.as_slice() {
        ["arn", _, "lambda", _, _, "function", name, ..] => Some(format!("{prefix}{name}")),
        ["arn", _, "sqs", _, _, name] => Some((*name).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_function_stands_for_its_queue() {
        let name = |arn: &str| queue_name(arn, "lambda-");
        let function = "arn:aws:lambda:us-east-1:123456789012:function:canary-shift";
        assert_eq!(name(function).unwrap(), "lambda-canary-shift");
        assert_eq!(
            queue_name(&format!("{function}:live"), "lambda-").unwrap(),
            "lambda-canary-shift"
        );
        assert_eq!(
            name("arn:aws:sqs:us-east-1:123456789012:jobs").unwrap(),
            "jobs"
        );
        assert_eq!(name("arn:aws:sns:us-east-1:123456789012:topic"), None);
    }

    #[test]
    fn the_scheduled_time_is_filled_in() {
        let at = Moment::parse("2026-03-01T12:00:00.5Z").unwrap();
        let input = fill(
            r#"{"scheduled":"<aws.scheduler.scheduled-time>"}"#,
            "arn",
            "tidegate/a",
            at,
        );
        assert_eq!(input, r#"{"scheduled":"2026-03-01T12:00:00Z"}"#);
    }
}
