//! The kill matrix: each call of the main story by each fault, and whether all ends as without.
//!
//! Many pipelines side by side in a world: each case is a pipeline of its own, of which one call
//! goes wrong. A clean run of each story says which calls there are and how it has to end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::emulator::{Behaviour, next_hour};
use crate::place::Place;
use crate::proxy::Kind;
use crate::pump::Delivery;
use crate::world::{Options, Unsafe, World};

mod host;
mod outcome;
mod plan;
mod report;
mod round;
mod slow;
mod stories;

pub use host::Host;
pub use report::Report;
pub use slow::{SlowReport, slow_story};

use outcome::Outcome;
use round::{Ended, Round};
use stories::Story;

/// What the names of pipelines begin with.
const PREFIX: &str = "case-";
/// Instances of each function: several, as in Lambda, so that one that waits holds up no other.
const INSTANCES: usize = 3;
/// The timeout of the functions.
const TIMEOUT: Duration = Duration::from_secs(55);
/// How often each story is told without faults: functions race, so that not every run makes the
/// same calls.
const CLEAN_RUNS: usize = 3;
/// What the emulator takes: short, but long enough for each state to be met by a tick.
const QUICK: [&str; 10] = [
    "--create-seconds",
    "20",
    "--update-seconds",
    "70",
    "--weights-seconds",
    "30",
    "--stage-seconds",
    "5",
    "--metric-delay-seconds",
    "60..90",
];

/// Which cases are tried, and how.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only calls of this operation.
    pub operation: Option<String>,
    /// Only this fault.
    pub kind: Option<Kind>,
    /// Seed of the emulator, and of the choice of `quick`.
    pub seed: u64,
    /// Pipelines at once.
    pub batch: usize,
    /// Only a spread subset, which takes a minute or so.
    pub quick: bool,
}

/// Tries all cases of a choice, and keeps the report in `file` up to date if there is one. `say` is
/// told how it goes on.
pub async fn matrix(
    choice: &Choice,
    file: Option<&Path>,
    mut say: impl FnMut(&str),
) -> Result<Report> {
    let start = Instant::now();
    let mut number = 0;
    say("each story without faults");
    let mut round = Round::new(&mut number);
    for story in Story::ALL {
        for _ in 0..CLEAN_RUNS {
            round.add(None, story);
        }
    }
    let mut report = Report::default();
    let ended = in_world(choice.seed, round, &mut report).await?;
    report.expect(clean(&ended)?);
    let mut cases = plan::cases(&ended, choice)?;
    // Which function is faster differs from run to run, and with it which calls are made: what was
    // not met is tried once more, unless it is to be quick.
    let mut turns = if choice.quick { 1 } else { 2 };
    while turns > 0 && !cases.is_empty() {
        turns -= 1;
        let batches = cases.chunks(choice.batch.max(1));
        let all = batches.len();
        say(&format!("{} cases in {all} batches", cases.len()));
        for (index, batch) in batches.enumerate() {
            let began = Instant::now();
            let mut round = Round::new(&mut number);
            for case in batch {
                round.add(Some(case.clone()), case.story);
            }
            let before = report.wrong();
            let ended = in_world(choice.seed, round, &mut report).await?;
            for one in ended {
                report.add(one)?;
            }
            report.seconds = start.elapsed().as_secs_f64();
            if let Some(file) = file {
                report.write(file)?;
            }
            say(&format!(
                "batch {} of {all}: {} cases, {} differ, {:.0} s",
                index + 1,
                batch.len(),
                report.wrong() - before,
                began.elapsed().as_secs_f64()
            ));
        }
        cases = report.not_met();
    }
    Ok(report)
}

/// Runs a round in a world of its own: moto gets slower the more it has to remember.
async fn in_world(seed: u64, round: Round<'_>, report: &mut Report) -> Result<Vec<Ended>> {
    let mut world = world(seed, TIMEOUT).await?;
    match Box::pin(round.run(&mut world)).await {
        Ok(ended) => {
            report.count(&world).await?;
            Ok(ended)
        }
        Err(why) => {
            let failures = world.pump.failures();
            let failures = failures.iter().rev().take(5);
            let failures = failures.fold(String::new(), |all, one| all + "\n  " + one);
            let logs = world.last_lines(12);
            Err(why.context(format!("failures of functions:{failures}\n{logs}")))
        }
    }
}

/// How the stories end without faults, if they end in one way.
fn clean(ended: &[Ended]) -> Result<BTreeMap<Story, Outcome>> {
    let mut expected: BTreeMap<Story, Outcome> = BTreeMap::new();
    for one in ended {
        one.story.check(&one.outcome)?;
        let first = expected
            .entry(one.story)
            .or_insert_with(|| one.outcome.clone());
        let differences = one.outcome.differences(first);
        ensure!(
            differences.is_empty(),
            "the {} story ends in more than one way even without faults: {differences:#?}",
            one.story.word()
        );
    }
    Ok(expected)
}

async fn world(seed: u64, timeout: Duration) -> Result<World> {
    let emulator = Behaviour {
        speed: 0.0,
        start: Some(next_hour()),
        seed,
        more: QUICK.iter().map(|&word| word.to_owned()).collect(),
        ..Behaviour::default()
    };
    let options = Options {
        emulator,
        delivery: Delivery::default(),
    };
    let faults = Unsafe {
        prefix: PREFIX,
        instances: INSTANCES,
        timeout,
    };
    World::start_unsafe(&options, faults).await
}

/// Where reports go, `target/kill/`.
pub fn report_file() -> Result<PathBuf> {
    Ok(Place::find()?.root().join("target/kill/report.json"))
}

/// How long everything that follows a minute may take, for so many pipelines: a late answer holds
/// an instance for some seconds.
fn patience(pipelines: usize) -> Duration {
    Duration::from_secs(60 + 6 * u64::try_from(pipelines).unwrap_or(100))
}
