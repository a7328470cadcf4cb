//! Ticks: what a rollout's EventBridge Scheduler schedule sends every minute, and what the schedule
//! of housekeeping sends every five. Scheduler puts the scheduled time into the input that a schedule
//! was made with ("Context attributes").

use super::field::Object;
use super::{Event, EventError, Kind};
use crate::name::{EventId, GroupName, RolloutId, StageName};

const MAX_ROLLOUT: usize = 256;

pub(super) fn parse(root: &Object<'_>) -> Result<Event, EventError> {
    let what = root.need_text("tidegate", "it says what kind of message of ours this is")?;
    if what == "housekeeping" {
        return housekeeping(root);
    }
    if what != "tick" {
        return Err(root.invalid("tidegate", &what.into(), "\"tick\" or \"housekeeping\""));
    }
    let group = root.need_text("group", "a tick names the pipeline's model package group")?;
    let stage = root.need_text("stage", "a tick names the stage that rolls out")?;
    let rollout = root.need_text("rollout", "a tick names the rollout that it was made for")?;
    if rollout.len() > MAX_ROLLOUT {
        return Err(root.invalid("rollout", &rollout.into(), "at most 256 bytes long"));
    }
    let scheduled = root.need_time(
        "scheduled",
        "a tick has the time that it was scheduled for, put in by EventBridge Scheduler",
    )?;
    Ok(Event {
        // To the minute: a minute of a rollout is decided once, however often it is delivered.
        id: EventId(format!(
            "tick/{rollout}/{}",
            scheduled.strftime("%Y-%m-%dT%H:%MZ")
        )),
        at: scheduled,
        kind: Kind::Tick {
            group: root.name("group", &group, GroupName::parse)?,
            stage: root.name("stage", &stage, StageName::parse)?,
            rollout: RolloutId(rollout),
        },
    })
}

fn housekeeping(root: &Object<'_>) -> Result<Event, EventError> {
    let scheduled = root.need_time(
        "scheduled",
        "housekeeping has the time that it was scheduled for, put in by EventBridge Scheduler",
    )?;
    Ok(Event {
        id: EventId(format!(
            "housekeeping/{}",
            scheduled.strftime("%Y-%m-%dT%H:%MZ")
        )),
        at: scheduled,
        kind: Kind::Housekeeping,
    })
}
