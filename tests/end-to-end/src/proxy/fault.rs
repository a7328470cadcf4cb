//! What is to go wrong with which call, and which call of its kind a request is.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::wire::Asked;

/// Calls whose attempts are still told from new calls.
const MOST_OPEN: usize = 4_096;
/// Different calls that are counted; beyond, counts begin anew.
const MOST_COUNTED: usize = 500_000;

/// What goes wrong.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The call goes through, the connection is closed without an answer.
    DropAnswer,
    /// The call goes through, the answer comes after the caller has stopped waiting for it.
    Delay,
    /// The service's own throttling error; nothing is done.
    Throttle,
    /// The service's own internal error; nothing is done.
    #[value(name = "error-500")]
    #[serde(rename = "error-500")]
    Error500,
    /// `TransactWriteItems` meets another transaction; nothing is written.
    Conflict,
    /// The calling process is killed before the call goes through.
    KillBefore,
    /// The calling process is killed when the call has gone through, before the answer.
    KillAfter,
}

impl Kind {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::DropAnswer => "drop-answer",
            Self::Delay => "delay",
            Self::Throttle => "throttle",
            Self::Error500 => "error-500",
            Self::Conflict => "conflict",
            Self::KillBefore => "kill-before",
            Self::KillAfter => "kill-after",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which call: the n-th to an operation that mentions a pipeline, of one function or of all. All
/// attempts of the SDK are one call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Which {
    /// The function's name; none counts the calls of all, since which of them is first may differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The operation.
    pub operation: String,
    /// From 1.
    pub nth: u32,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(function) = &self.function {
            write!(f, "{function} ")?;
        }
        write!(f, "{} {}", self.operation, self.nth)
    }
}

/// Something that is to go wrong, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The call.
    pub which: Which,
    /// The pipeline whose call it is.
    pub pipeline: String,
    /// What goes wrong.
    pub kind: Kind,
    /// How many attempts of the call are hit; the SDK makes three.
    pub attempts: u32,
}

/// The faults that are still to come, and the counts of calls.
#[derive(Debug, Default)]
pub(super) struct Faults {
    waiting: HashMap<String, Vec<Fault>>,
    counts: HashMap<(String, String, String), u32>,
    /// Calls whose further attempts may come, with their numbers; the oldest first.
    open: VecDeque<(String, (u32, u32))>,
}

impl Faults {
    pub(super) fn order(&mut self, fault: Fault) {
        let waiting = self.waiting.entry(fault.pipeline.clone()).or_default();
        waiting.push(fault);
    }

    /// Forgets what was ordered for a pipeline and did not happen.
    pub(super) fn forget(&mut self, pipeline: &str) {
        self.waiting.remove(pipeline);
    }

    /// Which call of its kind this is, among the function's and among all; all attempts of a call
    /// are the same one.
    pub(super) fn number(&mut self, asked: &Asked, pipeline: &str) -> (u32, u32) {
        let known = |id: &String| {
            let open = self.open.iter().rev();
            open.clone()
                .find(|(open, _)| open == id)
                .map(|(_, numbers)| *numbers)
        };
        if let Some(numbers) = asked.invocation.as_ref().and_then(known) {
            return numbers;
        }
        if self.counts.len() >= MOST_COUNTED {
            self.counts.clear();
        }
        let mut count = |function: Option<&String>| {
            let function = function.cloned().unwrap_or_default();
            let key = (function, asked.operation.clone(), pipeline.to_owned());
            let count = self.counts.entry(key).or_default();
            *count += 1;
            *count
        };
        let of_all = count(None);
        let own = asked
            .function
            .as_ref()
            .map_or(of_all, |_| count(asked.function.as_ref()));
        if let Some(id) = &asked.invocation {
            self.open.push_back((id.clone(), (own, of_all)));
            if self.open.len() > MOST_OPEN {
                self.open.pop_front();
            }
        }
        (own, of_all)
    }

    /// What goes wrong with this call, if anything. A killed process makes no second attempt, so
    /// that its faults are over at once; others last as many attempts as ordered.
    pub(super) fn hit(
        &mut self,
        asked: &Asked,
        (own, of_all): (u32, u32),
        pipeline: &str,
    ) -> Option<Kind> {
        let attempt = asked.attempt;
        let waiting = self.waiting.get_mut(pipeline)?;
        let is_it = |fault: &Fault| {
            let which = &fault.which;
            let nth = match &which.function {
                Some(function) if asked.function.as_ref() == Some(function) => own,
                Some(_) => return false,
                None => of_all,
            };
            which.operation == asked.operation && which.nth == nth && attempt <= fault.attempts
        };
        let index = waiting.iter().position(is_it)?;
        let kind = waiting[index].kind;
        let is_last = attempt >= waiting[index].attempts
            || matches!(kind, Kind::KillBefore | Kind::KillAfter | Kind::Conflict);
        if is_last {
            waiting.remove(index);
        }
        Some(kind)
    }
}
