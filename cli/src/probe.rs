//! What `tidegate apply` finds out about a policy's endpoints before a rollout does: guards that
//! CloudWatch can't answer, steps with too little traffic to tell, ceilings that are broken today.
//!
//! Nothing here refuses a policy. What can't be asked, or not in time, is told and left at that.

mod ask;
mod find;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::pipeline::Stage;
use tidegate_core::world::World;
use tokio::time::{Instant, timeout_at};

use crate::render::clean;

/// The longest that all questions together may take: a pipeline waits for `apply`.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// Stages that are asked about at once.
const AT_ONCE: usize = 8;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// A rollout would not go as the policy means it.
    Warning,
    /// It would go better with a change.
    Hint,
    /// It could not be looked at, and that is no fault.
    Note,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Hint => "hint",
            Self::Note => "note",
        }
    }
}

/// One thing that was found about a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// The stage's name; none if it is about all of them.
    pub(crate) stage: Option<String>,
    /// The dotted key that it is about.
    pub(crate) key: Option<String>,
    /// What was found.
    pub(crate) what: String,
    /// Why, in the words of who refused.
    pub(crate) why: Option<String>,
    /// What to do, one thing a line.
    pub(crate) help: Vec<String>,
}

impl Finding {
    /// A finding that needs no more words.
    pub(crate) fn new(
        level: Level,
        stage: Option<String>,
        key: Option<String>,
        what: String,
    ) -> Self {
        Self {
            level,
            stage,
            key,
            what,
            why: None,
            help: Vec::new(),
        }
    }

    /// The finding as lines for a terminal; `file` is the policy's.
    pub(crate) fn text(&self, file: &str) -> String {
        let mut text = format!(
            "{}: {}: {}: {}\n",
            self.level.word(),
            clean(file),
            clean(
                self.key
                    .as_deref()
                    .or(self.stage.as_deref())
                    .unwrap_or_default()
            ),
            clean(&self.what)
        );
        if let Some(why) = &self.why {
            let _ = writeln!(text, "  why: {}", clean(why));
        }
        for help in &self.help {
            let _ = writeln!(text, " help: {}", clean(help));
        }
        text
    }
}

/// Looks at the endpoints of these stages, each given with its place in its policy, side by side.
/// The answer has one list for each of them, in their order. `now` is no earlier than what the
/// ledger knows; `longest` bounds all questions together.
pub(crate) async fn run<W: World>(
    world: &W,
    stages: &[(usize, Stage)],
    now: Timestamp,
    longest: Duration,
) -> Vec<Vec<Finding>> {
    let deadline = Instant::now() + longest;
    let look = |(place, stage): (usize, Stage)| async move {
        let seen = timeout_at(deadline, ask::look(world, &stage, now))
            .await
            .unwrap_or(ask::Look::TooLate);
        find::findings(place, &stage, &seen)
    };
    // Each stage by value: a future that borrows from the list is more than the compiler can place.
    stream::iter(stages.to_vec())
        .map(look)
        .buffered(AT_ONCE)
        .collect()
        .await
}
