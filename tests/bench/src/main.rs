//! `judge`: canaries judged by Tidegate and by the rules that teams use today, side by side, in
//! simulated rollouts. Prints one table and tells by its exit code whether our judge reaches its bars.
//!
//! What is simulated is in `scenario/catalogue.rs`, how each rule works and where that is documented
//! in `method/`, what is compared with in `bound.rs`, and what has to be reached in `bars.rs`.

// Counts and minutes here are far below 2^52 and never negative, so these lose nothing.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
// Ties and repeated draws are equal to the bit.
#![allow(clippy::float_cmp)]

mod bars;
mod bound;
mod cost;
mod method;
mod random;
mod report;
mod scenario;
mod statistics;
mod trial;
mod world;

use std::fs;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::report::Report;
use crate::scenario::{Scenario, catalogue};
use crate::trial::Row;

/// Rollouts of a healthy canary for each one of a regression.
const HEALTHY_PER_REGRESSION: usize = 5;

/// Judges simulated canaries with Tidegate's judge and with the rules of its peers
///
/// Each scenario is simulated many times; every method sees the same minutes. The same seed gives the
/// same table. Exits with 1 if our judge misses a bar, with 2 if something else went wrong.
#[derive(Debug, Parser)]
#[command(name = "judge", version)]
struct Arguments {
    /// Rollouts to simulate where nothing is wrong; where something is, a fifth of them
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(5..=10_000_000))]
    runs: u32,

    /// What all random draws come from
    #[arg(long, default_value_t = 5)]
    seed: u64,

    /// Only scenarios whose name contains this; `--only list` prints the names. May be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Writes everything that was measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Draws the comparison
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Puts the headline rows, as Markdown, between the document's lines
    /// `<!-- bench-judge:begin -->` and `<!-- bench-judge:end -->`
    #[arg(long, value_name = "FILE")]
    docs: Option<PathBuf>,
}

fn main() -> ExitCode {
    match judge(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all bars hold.
fn judge(arguments: &Arguments) -> Result<bool> {
    if arguments.only.iter().any(|name| name == "list") {
        for scenario in catalogue() {
            writeln!(stdout(), "{:<22} {}", scenario.name, scenario.words)?;
        }
        return Ok(true);
    }
    let scenarios = chosen(&arguments.only)?;
    // A document without marks is found before minutes are spent.
    let document = arguments.docs.as_deref().map(read_document).transpose()?;
    let cost = cost::measure(arguments.seed).context("the judge's state can't be written")?;
    let rows = simulate(&scenarios, arguments.seed, arguments.runs as usize);
    let missed = bars::missed(&rows, &cost);
    let report = Report {
        seed: arguments.seed,
        methods: report::set_up(),
        rows,
        cost,
        missed,
    };
    write!(stdout(), "{}", report::text(&report))?;
    if let Some(path) = &arguments.json {
        let mut json = serde_json::to_string_pretty(&report)?;
        json.push('\n');
        write_file(path, &json)?;
    }
    if let Some(path) = &arguments.svg {
        write_file(path, &report::svg(&report))?;
    }
    if let Some((path, document)) = arguments.docs.as_deref().zip(document) {
        write_file(
            path,
            &report::replaced(&document, &report::markdown(&report))?,
        )?;
    }
    Ok(report.missed.is_empty())
}

fn chosen(only: &[String]) -> Result<Vec<Scenario>> {
    let mut scenarios = catalogue();
    for name in only {
        if !scenarios.iter().any(|s| s.name.contains(name.as_str())) {
            bail!("no scenario's name contains {name:?}; --only list prints them");
        }
    }
    scenarios.retain(|s| only.is_empty() || only.iter().any(|n| s.name.contains(n.as_str())));
    Ok(scenarios)
}

fn simulate(scenarios: &[Scenario], seed: u64, runs: usize) -> Vec<Row> {
    let is_told = stderr().is_terminal();
    let rows = scenarios.iter().enumerate().map(|(i, scenario)| {
        if is_told {
            eprint!(
                "\r{:>3} of {}  {:<24}",
                i + 1,
                scenarios.len(),
                scenario.name
            );
        }
        let runs = if scenario.is_healthy() {
            runs
        } else {
            runs / HEALTHY_PER_REGRESSION
        };
        trial::trial(scenario, seed, runs)
    });
    let rows = rows.collect();
    if is_told {
        eprint!("\r{:40}\r", "");
    }
    rows
}

fn read_document(path: &Path) -> Result<String> {
    let document =
        fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    report::replaced(&document, "").with_context(|| path.display().to_string())?;
    Ok(document)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} can't be made", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn scenarios_are_chosen_by_a_part_of_their_name() {
        let names: Vec<_> = chosen(&["alone-x5".to_owned()])
            .unwrap()
            .iter()
            .map(|s| s.name)
            .collect();
        assert_eq!(names, ["alone-x5-0", "alone-x5-0.2"]);
        assert!(chosen(&["nothing like it".to_owned()]).is_err());
        assert_eq!(chosen(&[]).unwrap().len(), catalogue().len());
    }
}
