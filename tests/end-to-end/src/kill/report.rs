//! The matrix as people read it, and `target/kill/report.json` for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::outcome::Outcome;
use super::plan::{Case, kinds};
use super::round::Ended;
use super::stories::Story;
use crate::proxy::{Kind, Proxy};
use crate::pump::Tally;
use crate::world::World;

/// The columns.
const KINDS: [Kind; 7] = [
    Kind::DropAnswer,
    Kind::Delay,
    Kind::Throttle,
    Kind::Error500,
    Kind::Conflict,
    Kind::KillBefore,
    Kind::KillAfter,
];

/// What came of all cases.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// How long it took, real seconds.
    pub seconds: f64,
    /// Calls that the functions made, all attempts.
    pub calls: u64,
    /// What was delivered to each function.
    pub deliveries: BTreeMap<&'static str, Tally>,
    /// How the stories end without faults.
    expected: BTreeMap<Story, Outcome>,
    /// The cases.
    cases: Vec<Tried>,
    /// What is wrong with the audit trail, if anything.
    trail: Vec<String>,
}

/// A case, and what came of it.
#[derive(Debug, Clone, Serialize)]
struct Tried {
    #[serde(flatten)]
    case: Case,
    /// Its pipeline, to find it in logs.
    pipeline: String,
    /// Whether the call was made, so that it could go wrong.
    fired: bool,
    /// What is not as it has to be.
    differences: Vec<String>,
    /// Entries that there are more or fewer of.
    counts: Vec<String>,
    /// How it ended, if not as it had to.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

impl Report {
    /// Says how the stories have to end.
    pub(super) fn expect(&mut self, expected: BTreeMap<Story, Outcome>) {
        self.expected = expected;
    }

    /// The cases whose call was not made, and which ended as they had to.
    pub(super) fn not_met(&self) -> Vec<Case> {
        let not_met = self
            .cases
            .iter()
            .filter(|t| !t.fired && t.differences.is_empty());
        not_met.map(|tried| tried.case.clone()).collect()
    }

    /// Adds a case, in the place of what came of it before.
    pub(super) fn add(&mut self, ended: Ended) -> Result<()> {
        let case = ended.case.context("a batch has cases")?;
        let expected = self.expected.get(&case.story);
        let expected = expected.context("a case's story was told without faults")?;
        let differences = ended.outcome.differences(expected);
        self.cases.retain(|tried| tried.case != case);
        self.cases.push(Tried {
            case,
            pipeline: ended.name,
            fired: ended.calls.iter().any(|call| call.fault.is_some()),
            counts: ended.outcome.counts(expected),
            outcome: (!differences.is_empty()).then_some(ended.outcome),
            differences,
        });
        Ok(())
    }

    /// Counts what happened in a world, and has `tidegate audit verify` look at its trails.
    pub(super) async fn count(&mut self, world: &World) -> Result<()> {
        self.calls += world.proxy.as_ref().map_or(0, Proxy::count);
        for (function, tally) in world.pump.tallies() {
            let sum = self.deliveries.entry(function).or_default();
            sum.events += tally.events;
            sum.invocations += tally.invocations;
            sum.failures += tally.failures;
            sum.dead += tally.dead;
        }
        let (code, text) = world.tidegate(&["audit", "verify"]).await?;
        if code != 0 {
            self.trail.push(text);
        }
        Ok(())
    }

    /// Whether all ended as it had to.
    pub fn is_fine(&self) -> bool {
        self.trail.is_empty() && self.wrong() == 0
    }

    /// How many cases there were.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// How many cases ended otherwise than they had to.
    pub fn wrong(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| !case.differences.is_empty())
            .count()
    }

    /// How many cases the fault was met in.
    pub fn fired(&self) -> usize {
        self.cases.iter().filter(|case| case.fired).count()
    }

    /// Writes it for programs.
    pub fn write(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))
    }

    /// The matrix and the totals.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let rows: BTreeSet<_> = self
            .cases
            .iter()
            .map(|t| (t.case.story, &t.case.function, &t.case.which))
            .collect();
        let width = rows
            .iter()
            .map(|(_, function, which)| function.len() + which.to_string().len() + 6)
            .max();
        let width = width.unwrap_or(20);
        // Writing to a string does not fail.
        let _ = write!(text, "{:width$}", "story, function, call");
        for kind in KINDS {
            let _ = write!(text, "  {:>11}", kind.word());
        }
        for (story, function, which) in rows {
            let row = format!("{} {function} {which}", story.word());
            let _ = write!(text, "\n{row:width$}");
            for kind in KINDS {
                let is_it = |tried: &&Tried| {
                    tried.case.story == story
                        && tried.case.which == *which
                        && tried.case.function == *function
                        && tried.case.kind == kind
                };
                let word = match self.cases.iter().find(is_it) {
                    Some(tried) if !tried.differences.is_empty() => "DIFFERS",
                    Some(tried) if !tried.fired => "not met",
                    Some(_) => "ok",
                    None if kinds(&which.operation).contains(&kind) => "",
                    None => "-",
                };
                let _ = write!(text, "  {word:>11}");
            }
        }
        text.push('\n');
        self.push_differences(&mut text);
        let _ = write!(
            text,
            "\n{} cases: {} ended as without the fault, {} differ, {} not met (the call was not \
             made); {} calls, {} invocations, {} failed; {:.0} s\n",
            self.len(),
            self.cases
                .iter()
                .filter(|t| t.fired && t.differences.is_empty())
                .count(),
            self.wrong(),
            self.len() - self.fired(),
            self.calls,
            self.deliveries
                .values()
                .map(|tally| tally.invocations)
                .sum::<u64>(),
            self.deliveries
                .values()
                .map(|tally| tally.failures)
                .sum::<u64>(),
            self.seconds,
        );
        text
    }

    fn push_differences(&self, text: &mut String) {
        for tried in self
            .cases
            .iter()
            .filter(|tried| !tried.differences.is_empty())
        {
            let case = &tried.case;
            let _ = write!(
                text,
                "\n{} {} by {} ({}):\n",
                case.story.word(),
                case.which,
                case.kind,
                tried.pipeline
            );
            for difference in &tried.differences {
                let _ = writeln!(text, "  {difference}");
            }
        }
        for trail in &self.trail {
            let _ = writeln!(text, "\ntidegate audit verify:\n{trail}");
        }
    }
}
