//! Ticks: an EventBridge Scheduler schedule per running rollout, every minute.
//!
//! Source: `CreateSchedule` in the EventBridge Scheduler API reference. A tick is not retried and
//! expires after a minute (its default is 185 retries in a day): the next one is better.

use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target};
use serde_json::json;
use tidegate_core::name::{GroupName, RolloutId, StageName};
use tidegate_core::world::{Outcome, WorldError};

use super::AwsWorld;
use crate::error::{Failure, failed, refused};

const CREATE: &str = "CreateSchedule";
/// Scheduler's limit of a name.
const LONGEST_NAME: usize = 64;
/// The oldest that Scheduler may deliver a tick, seconds; the least that it takes.
const OLDEST: i32 = 60;

impl AwsWorld {
    pub(super) async fn start_ticks(
        &self,
        group: &GroupName,
        stage: &StageName,
        rollout: &RolloutId,
    ) -> Result<Outcome, WorldError> {
        let name = name_of(rollout)?;
        let input = input(group, stage, rollout);
        let mut made = self.create_schedule(&name, rollout, &input).await;
        if made.as_ref().is_err_and(Failure::is_gone) {
            self.create_schedule_group().await?;
            made = self.create_schedule(&name, rollout, &input).await;
        }
        match made {
            Ok(()) => Ok(Outcome::Done),
            Err(failure) if failure.already => self.is_the_schedule(&name, &input).await,
            Err(failure) => Err(failure.into()),
        }
    }

    async fn create_schedule(
        &self,
        name: &str,
        rollout: &RolloutId,
        input: &str,
    ) -> Result<(), Failure> {
        let retry = RetryPolicy::builder()
            .maximum_retry_attempts(0)
            .maximum_event_age_in_seconds(OLDEST)
            .build();
        // Every member that the two builders need is given.
        let target = Target::builder()
            .arn(&self.settings.shift_function)
            .role_arn(&self.settings.scheduler_role)
            .input(input)
            .retry_policy(retry)
            .build()
            .ok();
        let window = FlexibleTimeWindow::builder()
            .mode(FlexibleTimeWindowMode::Off)
            .build()
            .ok();
        // The SDK adds a client token, so that its own retries make no conflict.
        self.clients
            .scheduler
            .create_schedule()
            .group_name(&self.settings.schedule_group)
            .name(name)
            .description(format!("Tidegate: ticks of the rollout {rollout}"))
            .schedule_expression("rate(1 minute)")
            .set_flexible_time_window(window)
            .set_target(target)
            .send()
            .await
            .map(|_| ())
            .map_err(failed(CREATE))
    }

    /// In AWS the stack makes the group, and the functions may not.
    async fn create_schedule_group(&self) -> Result<(), WorldError> {
        let made = self
            .clients
            .scheduler
            .create_schedule_group()
            .name(&self.settings.schedule_group)
            .send();
        match made.await.map_err(failed("CreateScheduleGroup")) {
            Ok(_) => Ok(()),
            Err(failure) if failure.already => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Whether the schedule of this name, which is there already, is the one that was to be made.
    async fn is_the_schedule(&self, name: &str, input: &str) -> Result<Outcome, WorldError> {
        let found = self
            .clients
            .scheduler
            .get_schedule()
            .group_name(&self.settings.schedule_group)
            .name(name)
            .send()
            .await
            .map_err(failed("GetSchedule"))?;
        let same = found.target().is_some_and(|target| {
            target.arn() == self.settings.shift_function && target.input() == Some(input)
        });
        if same {
            return Ok(Outcome::Done);
        }
        Err(refused(
            CREATE,
            format!(
                "a schedule {name} is there already in the group {} and does something else; \
                 delete it",
                self.settings.schedule_group
            ),
        ))
    }

    pub(super) async fn stop_ticks(&self, rollout: &RolloutId) -> Result<Outcome, WorldError> {
        let sent = self
            .clients
            .scheduler
            .delete_schedule()
            .group_name(&self.settings.schedule_group)
            .name(name_of(rollout)?)
            .send();
        match sent.await.map_err(failed("DeleteSchedule")) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.is_gone() => Ok(Outcome::Done),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// The schedule of a rollout. Core makes ids that fit; one that doesn't is a bug, not cut.
fn name_of(rollout: &RolloutId) -> Result<String, WorldError> {
    let name = format!("tidegate-{rollout}");
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() <= LONGEST_NAME && name.chars().all(fits) {
        return Ok(name);
    }
    Err(refused(
        CREATE,
        format!("{name:?} can't be the name of a schedule"),
    ))
}

/// What a tick says; Scheduler fills in the time.
fn input(group: &GroupName, stage: &StageName, rollout: &RolloutId) -> String {
    json!({
        "tidegate": "tick",
        "group": group,
        "stage": stage,
        "rollout": rollout,
        "scheduled": "<aws.scheduler.scheduled-time>",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tick_is_an_event_that_core_reads() {
        let group = GroupName::parse("fraud-detection").unwrap();
        let stage = StageName::parse("production").unwrap();
        let rollout = RolloutId("production-v12-0123456789".to_owned());
        let text = input(&group, &stage, &rollout)
            .replace("<aws.scheduler.scheduled-time>", "2026-01-01T00:00:00Z");
        let event = tidegate_core::event::parse(text.as_bytes()).unwrap();
        let kind = tidegate_core::event::Kind::Tick {
            group,
            stage,
            rollout,
        };
        assert_eq!(event.kind, kind);
    }

    #[test]
    fn a_name_that_scheduler_would_refuse_is_refused_here() {
        assert!(name_of(&RolloutId("production-v12-0123456789".to_owned())).is_ok());
        assert!(name_of(&RolloutId("x".repeat(60))).is_err());
        assert!(name_of(&RolloutId("a/b".to_owned())).is_err());
    }
}
