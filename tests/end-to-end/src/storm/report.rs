//! The storms as people read them, and `target/bench/storm.json` for programs.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Choice;
use super::count::Tally;
use super::deliver::Delivered;
use super::plan::Plan;
use super::proof::Proof;
use super::town::Ceiling;

/// What this process may grow by while nine tenths are delivered, bytes: half of a function's
/// memory, for fifty at once.
const MOST_GROWTH: u64 = 64 << 20;

/// What came of both storms.
#[derive(Debug, Serialize)]
pub struct Report {
    at_once: usize,
    seed: u64,
    pub(super) ceiling: Ceiling,
    pub(super) runs: Vec<Run>,
}

/// What came of one run.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    name: String,
    groups: usize,
    deliveries: usize,
    duplicates: usize,
    seconds: f64,
    /// Deliveries a second.
    rate: f64,
    /// Transactions that were refused, for a race or a marker.
    races: u64,
    retries: u32,
    /// Milliseconds: half of the deliveries took less, 99 % did, all did.
    took: [u64; 3],
    growth_mb: f64,
    calls: Tally,
    given_up: Vec<String>,
    proof: Proof,
}

impl Run {
    pub(super) fn new(plan: &Plan, delivered: Delivered, proof: Proof) -> Self {
        let took = &delivered.took;
        let at = |share: usize| {
            let place = (took.len() * share / 1_000).min(took.len().saturating_sub(1));
            took.get(place).map_or(0, milliseconds)
        };
        Self {
            name: plan.name.clone(),
            groups: plan.groups,
            deliveries: plan.deliveries(),
            duplicates: plan.deliveries() - plan.events.len(),
            seconds: delivered.seconds,
            rate: number(plan.deliveries()) / delivered.seconds,
            races: delivered.tally.refused,
            retries: delivered.retries,
            took: [at(500), at(990), at(1_000)],
            growth_mb: megabytes(delivered.growth),
            calls: delivered.tally,
            given_up: delivered.given_up,
            proof,
        }
    }

    /// What is wrong with it.
    fn wrong(&self) -> Vec<String> {
        let all = [
            ("was given up", &self.given_up),
            ("was lost", &self.proof.lost),
            ("took effect twice", &self.proof.twice),
            ("is broken", &self.proof.broken),
        ];
        let mut wrong: Vec<String> = all
            .iter()
            .flat_map(|(what, all)| all.iter().map(move |one| format!("{what}: {one}")))
            .collect();
        if self.proof.left > 0 {
            wrong.push(format!("{} calls are left to do", self.proof.left));
        }
        if self.growth_mb > megabytes(MOST_GROWTH) {
            wrong.push(format!("memory grew by {:.0} MB", self.growth_mb));
        }
        wrong
    }

    fn per_event(&self, calls: u64) -> String {
        #[expect(clippy::cast_precision_loss, reason = "some thousands of calls")]
        let calls = calls as f64;
        format!("{:.2}", calls / number(self.deliveries))
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        format!(
            "{}: {} deliveries in {:.0} s, {:.1} a second, {} races lost, {} wrong",
            self.name,
            self.deliveries,
            self.seconds,
            self.rate,
            self.races,
            self.wrong().len()
        )
    }
}

impl Report {
    pub(super) fn new(choice: Choice, at_once: usize) -> Self {
        Self {
            at_once,
            seed: choice.seed,
            ceiling: Ceiling::default(),
            runs: Vec::new(),
        }
    }

    /// What is wrong, by run; empty if all holds.
    pub fn wrong(&self) -> Vec<String> {
        let of = |run: &Run| -> Vec<String> {
            let all = run.wrong().into_iter();
            all.map(|what| format!("{}: {what}", run.name)).collect()
        };
        self.runs.iter().flat_map(of).collect()
    }

    /// How many transactions were refused in storms, and without contention.
    pub fn races(&self) -> (u64, u64) {
        let sum = |word: &str| {
            let runs = self.runs.iter().filter(|run| run.name.starts_with(word));
            runs.map(|run| run.races).sum()
        };
        (sum("storm"), sum("calm"))
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        let mut row = |name: &str, cell: &dyn Fn(&Run) -> String| {
            rows.push((name.to_owned(), self.runs.iter().map(cell).collect()));
        };
        row("", &|run| run.name.clone());
        row("groups", &|run| run.groups.to_string());
        row("deliveries", &|run| run.deliveries.to_string());
        row("duplicates among them", &|run| run.duplicates.to_string());
        row("seconds", &|run| format!("{:.1}", run.seconds));
        row("deliveries a second", &|run| format!("{:.1}", run.rate));
        row("half took at most, ms", &|run| run.took[0].to_string());
        row("99 % took at most, ms", &|run| run.took[1].to_string());
        row("the longest took, ms", &|run| run.took[2].to_string());
        row("races lost", &|run| run.races.to_string());
        row("retries of whole events", &|run| run.retries.to_string());
        row("calls a delivery", &|run| run.per_event(run.calls.all()));
        let services: std::collections::BTreeSet<&String> = self
            .runs
            .iter()
            .flat_map(|run| run.calls.calls.keys())
            .collect();
        for service in services {
            row(&format!("- {service}"), &|run| {
                run.per_event(run.calls.of(service))
            });
        }
        row("changes asked for again", &|run| {
            run.calls.again.values().sum::<u64>().to_string()
        });
        row("memory grew by, MB", &|run| format!("{:.1}", run.growth_mb));
        row("events given up", &|run| run.given_up.len().to_string());
        row("events lost", &|run| run.proof.lost.len().to_string());
        row("effects twice", &|run| run.proof.twice.len().to_string());
        row("calls left to do", &|run| run.proof.left.to_string());
        let mut text = String::new();
        for (name, cells) in rows {
            // Writing to a string does not fail.
            let _ = write!(text, "  {name:<26}");
            for cell in cells {
                let _ = write!(text, "{cell:>13}");
            }
            text.push('\n');
        }
        let _ = write!(
            text,
            "\n  {} at once. The ledger's server alone (moto, one thread): {:.0} PutItem, or {:.0} \
             transactions of four items, a second.\n",
            self.at_once, self.ceiling.puts, self.ceiling.transactions
        );
        for wrong in self.wrong().iter().take(20) {
            let _ = writeln!(text, "  WRONG: {wrong}");
        }
        text
    }

    /// For programs.
    pub fn write(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("{} can't be written", file.display()))
    }
}

fn milliseconds(took: &Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn number(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
