//! Housekeeping: every few minutes each pipeline with something unfinished is looked after.
//!
//! What a crash left behind is done, rollouts whose ticks stopped go on, and what waits for its
//! turn starts. A pipeline that can't be helped now doesn't hold up the others.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::stream::{self, StreamExt as _};

use super::{EngineError, Handled, anchor, session};
use crate::event::{Event, JobStatus, Kind};
use crate::ledger::Ledger;
use crate::name::{EventId, GroupName, TuningName};
use crate::world::{Answer, Question, World};

/// How many pipelines are looked after in one go; the rest is next.
const MOST_GROUPS: u32 = 1_000;

/// How many side by side.
const AT_ONCE: usize = 8;

/// Looks after every pipeline with something unfinished.
pub(super) async fn run<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    event: &Event,
    handled: &mut Handled,
) -> Result<(), EngineError> {
    anchor::run(ledger, world, event, handled).await;
    let mut groups = ledger.unfinished(MOST_GROUPS).await?;
    if groups.is_empty() {
        handled.nothing_because = Some("nothing is unfinished".to_owned());
        return Ok(());
    }
    // Who comes last may be cut off by the function's time: somebody else is next time.
    let turn = event.at.as_second().unsigned_abs() / 60;
    let first = usize::try_from(turn).unwrap_or(0) % groups.len();
    groups.rotate_left(first);
    let mut left = groups.len();
    let all = left;
    let in_time = groups.into_iter().take_while(|_| world.has_time());
    let looked_after = stream::iter(in_time)
        .map(|group| look_after(ledger, world, event, group))
        .buffer_unordered(AT_ONCE)
        .take_until(world.time_is_up());
    let mut looked_after = pin!(looked_after);
    while let Some((group, result)) = looked_after.next().await {
        left -= 1;
        match result {
            Ok(one) => {
                handled.left += one.left;
                handled
                    .done
                    .extend(one.done.into_iter().map(|done| format!("{group}: {done}")));
            }
            Err(error) => {
                tracing::warn!(%group, %error, "not looked after now");
                handled.failed.push(format!("{group}: {error}"));
            }
        }
    }
    if left > 0 {
        let said = format!(
            "{left} of {all} pipelines were not looked after: there was no time left; they are next"
        );
        tracing::warn!("{said}");
        handled.failed.push(said);
    }
    Ok(())
}

async fn look_after<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    event: &Event,
    group: GroupName,
) -> (GroupName, Result<Handled, EngineError>) {
    let mut handled = Handled::of(event);
    handled.group = Some(group.clone());
    let result = session::run(ledger, world, &group, event, &mut handled).await;
    if let Err(error) = result {
        return (group, Err(error));
    }
    let result = tunings(ledger, world, event, &group, &mut handled).await;
    (group, result.map(|()| handled))
}

/// Looks after the tuning jobs that are waited for, as their own events would: those get lost, and
/// training jobs of a tuning job come before its end. One that can't be seen to now doesn't hold up
/// the others.
async fn tunings<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    event: &Event,
    group: &GroupName,
    handled: &mut Handled,
) -> Result<(), EngineError> {
    let Some(snapshot) = ledger.load(group, None).await? else {
        return Ok(());
    };
    let mut first_error = None;
    for job in snapshot.head.tunings {
        if !world.has_time() {
            break;
        }
        if let Err(error) = tuning(ledger, world, event, group, job, handled).await {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

async fn tuning<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    event: &Event,
    group: &GroupName,
    job: TuningName,
    handled: &mut Handled,
) -> Result<(), EngineError> {
    let question = Question::TuningJob(job.clone());
    let (status, tags) = match world.ask(&question).await.map_err(EngineError::Fact)? {
        Answer::TuningJob(tuning) if !tuning.is_over() => return Ok(()),
        Answer::TuningJob(tuning) => (tuning.status, tuning.tags),
        // It was deleted.
        _ => (JobStatus::Stopped, BTreeMap::new()),
    };
    let ended = Event {
        id: EventId(format!("{}/{job}", event.id)),
        at: event.at,
        kind: Kind::TuningJob { job, status, tags },
    };
    session::run(ledger, world, group, &ended, handled).await
}
