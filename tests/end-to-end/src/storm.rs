//! Storms: thousands of events at once, over many pipelines and on a single one, each beside the
//! same events without contention. The real engine and adapters, in one process that makes the calls
//! of many function instances.
//!
//! What has to hold is the issue's: no event is lost, each takes effect once, memory is bounded.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::place::Place;

mod count;
mod deliver;
mod plan;
mod proof;
mod report;
mod town;

use plan::Plan;
pub use report::Report;
use report::Run;
use town::Town;

/// Deliveries side by side: instances of functions.
const AT_ONCE: usize = 50;

/// How large a storm is.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Deliveries over all groups, duplicates among them.
    pub events: usize,
    /// Groups that they are about.
    pub groups: usize,
    /// Deliveries on a single group.
    pub on_one: usize,
    /// Seed of their order.
    pub seed: u64,
}

/// Lets both storms happen, each after the same events without contention.
pub async fn storm(choice: &Choice, say: impl Fn(&str)) -> Result<Report> {
    let mut town = Town::start().await?;
    let mut report = Report::new(*choice, AT_ONCE);
    let sizes = [
        ("many", choice.events, choice.groups),
        ("one", choice.on_one, 1),
    ];
    let plan = |calm: &str, (word, events, groups): (&str, usize, usize)| {
        Plan::new(&format!("{calm}-{word}"), events, groups, choice.seed)
    };
    let plans = sizes.map(|size| (plan("calm", size), plan("storm", size)));
    say("setting up pipelines, packages and training jobs");
    let all: Vec<&Plan> = plans.iter().flat_map(|(calm, wild)| [calm, wild]).collect();
    town.set_up(&all).await?;
    report.ceiling = town.ceiling().await?;
    for (calm, wild) in &plans {
        for (plan, lanes) in [(calm, calm.one_by_one()), (wild, wild.all_at_once())] {
            let delivered = deliver::deliver(&town, plan, lanes, AT_ONCE).await?;
            let proof = proof::prove(&town, plan).await?;
            let run = Run::new(plan, delivered, proof);
            say(&run.line());
            report.runs.push(run);
        }
    }
    town.check()?;
    Ok(report)
}

/// Where the report goes, `target/bench/storm.json`.
pub fn report_file() -> Result<PathBuf> {
    Ok(Place::find()?
        .root()
        .join(Path::new("target/bench/storm.json")))
}
