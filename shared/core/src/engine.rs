//! The loop that every function runs: parse, route, gather, decide, commit, act.
//!
//! Written once, so that each event takes effect exactly once whatever is delivered twice, late,
//! out of order, or dies half-way: the event's marker, the new state, the audit entries and the
//! effects to do are one transaction, and whoever comes next finishes what is still to be done.

use jiff::Timestamp;
use serde::Serialize;

use crate::event::{self, Event, EventError, Kind};
use crate::ledger::{CommitError, Ledger, LedgerError};
use crate::mutation::Mutation;
use crate::name::GroupName;
use crate::world::{World, WorldError};

mod act;
mod anchor;
mod apply;
mod explain;
mod gather;
mod housekeep;
mod route;
mod seal;
mod session;

#[cfg(test)]
mod tests;

pub use apply::{Applied, apply};
pub use explain::{Explained, explain};

/// How often one event is decided again after somebody else committed first. With the waits between
/// (`crate::ledger::wait_after`) that takes some 35 seconds, and a function has 55.
pub const RACES: u32 = 40;

/// How many decisions one event may lead to: its own, what came of its effects, what starts next.
pub const ROUNDS: u32 = 40;

/// Why an event could not be dealt with. The function answers with it, so that Lambda tries again
/// and then keeps the event in the dead-letter queue.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The event can't be read.
    #[error("the event can't be read: {0}")]
    Event(#[from] EventError),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A fact could not be had.
    #[error("a fact could not be had: {0}")]
    Fact(WorldError),
    /// Something could not be done now; it is kept, and whoever comes next does it.
    #[error("kept to be done later, {left} call(s): {first}")]
    Unfinished {
        /// How many calls are left.
        left: usize,
        /// Why the first could not be done.
        first: WorldError,
    },
    /// Others committed first, again and again.
    #[error("others changed the pipeline {RACES} times in a row; the event is tried again")]
    Contended,
    /// A commit was refused.
    #[error(transparent)]
    Commit(CommitError),
    /// A decision that is too much for one transaction: a bug, and the event is kept for it.
    #[error(
        "the event led to {effects} calls and {items} items of the ledger in one decision, which is too much; nothing was changed, and this is a bug in Tidegate"
    )]
    TooMuch {
        /// How many effects.
        effects: usize,
        /// How many items.
        items: usize,
    },
    /// A decision that leads to a decision without end: a bug, and the event is kept for it.
    #[error("the event led to more than {ROUNDS} decisions; this is a bug in Tidegate")]
    Endless,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Handled {
    /// The event's id.
    pub event: String,
    /// The group of the pipeline that it belongs to.
    pub group: Option<GroupName>,
    /// What was written down, in order.
    pub done: Vec<String>,
    /// Why nothing was done.
    pub nothing_because: Option<String>,
    /// How many calls are left to do.
    pub left: usize,
    /// The pipelines that housekeeping could not look after now, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

impl Handled {
    /// Nothing done yet about this event.
    fn of(event: &Event) -> Self {
        Self {
            event: event.id.to_string(),
            group: None,
            done: Vec::new(),
            nothing_because: None,
            left: 0,
            failed: Vec::new(),
        }
    }
}

impl std::fmt::Display for Handled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.nothing_because, self.done.as_slice()) {
            (Some(why), []) => write!(f, "nothing to do: {why}"),
            (None, []) => f.write_str("nothing to do"),
            (_, done) => f.write_str(&done.join(" ")),
        }
    }
}

/// Deals with one event as it came.
pub async fn handle<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    bytes: &[u8],
) -> Result<Handled, EngineError> {
    let event = event::parse(bytes)?;
    let mut handled = Handled::of(&event);
    if let Kind::Unhandled { what, why } = &event.kind {
        handled.nothing_because = Some(format!("{what}: {why}"));
        return Ok(handled);
    }
    if matches!(event.kind, Kind::Housekeeping) {
        Box::pin(housekeep::run(ledger, world, &event, &mut handled)).await?;
        return Ok(handled);
    }
    let group = match route::route(ledger, world, &event.kind).await? {
        route::Routed::To(group) => group,
        route::Routed::Nowhere(why) => {
            handled.nothing_because = Some(why);
            return Ok(handled);
        }
    };
    handled.group = Some(group.clone());
    session::run(ledger, world, &group, &event, &mut handled).await?;
    Ok(handled)
}

/// The time of a decision: the event's own, and never before the state's.
fn now_of(event: &Event, before: Option<Timestamp>) -> Timestamp {
    let before = before.filter(|_| !Mutation::TimeBackwards.is_on());
    before.map_or(event.at, |before| before.max(event.at))
}
