//! `world`: brings the local world up, tells the story of `make run` in it, tries the
//! kill matrix, or lets it storm.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tidegate_end_to_end::emulator::Behaviour;
use tidegate_end_to_end::kill::{self, Choice};
use tidegate_end_to_end::place::Place;
use tidegate_end_to_end::proxy::Kind;
use tidegate_end_to_end::storm;
use tidegate_end_to_end::story::Story;
use tidegate_end_to_end::world::{Options, World};
use tokio::signal::unix::{SignalKind, signal};

mod dashboard;

/// Everything that Tidegate meets in AWS, on this machine. Needs no AWS account and touches none.
#[derive(Debug, Parser)]
#[command(name = "world", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings the world up, prints how to work with it, and stays until Ctrl-C.
    Up {
        /// Emulator seconds per real second; 60 is a minute a second.
        #[arg(long, default_value_t = 60.0)]
        speed: f64,
    },
    /// Tells the story of five versions of a model; exit code 0 only if all of it came true.
    Story {
        /// Leaves the world up at the end, until Ctrl-C.
        #[arg(long)]
        keep: bool,
        /// Emulator seconds per real second; 60 is a minute a second.
        #[arg(long, default_value_t = 60.0)]
        speed: f64,
        /// Where to write what happened, for programs.
        #[arg(long, value_name = "PATH")]
        json: Option<PathBuf>,
    },
    /// Lets each call of the main story go wrong in each way, one at a time; exit code 0 only if all
    /// ends as without.
    Faults {
        /// Only calls of this operation, for example `CreateModel`.
        #[arg(long, value_name = "OPERATION")]
        only: Option<String>,
        /// Only this fault.
        #[arg(long, value_name = "KIND")]
        fault: Option<Kind>,
        /// Seed of the emulator, and of what `--quick` chooses.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Pipelines side by side.
        #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=90))]
        batch: u16,
        /// Only a spread subset.
        #[arg(long)]
        quick: bool,
    },
    /// Delivers thousands of events at once, 50 side by side, and the same without contention; exit
    /// code 0 only if none is lost and each takes effect once.
    Storm {
        /// Deliveries over all groups; a fifth are duplicates.
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(50..=100_000))]
        events: u32,
        /// Model package groups that they are about.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=999))]
        groups: u16,
        /// Deliveries on a single group.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(50..=100_000))]
        on_one: u32,
        /// Seed of the order.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = async {
        match args.command {
            Command::Up { speed } => up(speed).await.map(|()| ExitCode::SUCCESS),
            Command::Story { keep, speed, json } => story(keep, speed, json).await,
            Command::Faults {
                only,
                fault,
                seed,
                batch,
                quick,
            } => {
                let choice = Choice {
                    operation: only,
                    kind: fault,
                    seed,
                    batch: usize::from(batch),
                    quick,
                };
                faults(&choice).await
            }
            Command::Storm {
                events,
                groups,
                on_one,
                seed,
            } => {
                let choice = storm::Choice {
                    events: usize::try_from(events)?,
                    groups: usize::from(groups),
                    on_one: usize::try_from(on_one)?,
                    seed,
                };
                storm_of(&choice).await
            }
        }
    };
    // Whatever ends first, what was started ends with it: each process has its guard.
    let result = tokio::select! {
        result = ended => result,
        name = stopped() => {
            eprintln!("\nstopped by {name}; the world ends");
            return ExitCode::from(130);
        }
    };
    result.unwrap_or_else(|why| {
        eprintln!("\nworld: {why:#}");
        ExitCode::FAILURE
    })
}

/// Waits for Ctrl-C, SIGTERM or the terminal's end.
async fn stopped() -> &'static str {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => "Ctrl-C",
        () = wait(SignalKind::terminate()) => "SIGTERM",
        () = wait(SignalKind::hangup()) => "SIGHUP",
    }
}

async fn up(speed: f64) -> Result<()> {
    let options = Options {
        emulator: Behaviour {
            speed,
            ..Behaviour::default()
        },
        ..Options::default()
    };
    let mut world = World::start(&options).await?;
    dashboard::show(&mut world).await
}

async fn faults(choice: &Choice) -> Result<ExitCode> {
    let file = kill::report_file()?;
    let report = kill::matrix(choice, Some(&file), |line| println!("  {line}")).await?;
    println!("\n{}\n  For programs: {}", report.text(), file.display());
    Ok(if report.is_fine() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn storm_of(choice: &storm::Choice) -> Result<ExitCode> {
    let file = storm::report_file()?;
    let report = Box::pin(storm::storm(choice, |line| println!("  {line}"))).await?;
    report.write(&file)?;
    println!("\n{}\n  For programs: {}", report.text(), file.display());
    Ok(if report.wrong().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn story(keep: bool, speed: f64, json: Option<PathBuf>) -> Result<ExitCode> {
    let file = json.unwrap_or(Place::find()?.runs().join("report.json"));
    let mut story = Story::prepare(speed).await?;
    let told = story.tell().await;
    story.report().write(&file)?;
    println!("\n  What happened, for programs: {}", file.display());
    match told {
        Ok(()) => {
            let report = story.report();
            println!(
                "  The story came true in {:.0} s: {} checks.",
                report.seconds,
                report.checks.len()
            );
            if keep {
                dashboard::stay(&mut story.into_world()).await?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            let world = story.world();
            for failure in world.pump.failures().iter().rev().take(5) {
                eprintln!("  a function failed: {failure}");
            }
            eprintln!("{}", world.last_lines(20));
            eprintln!("  All logs: {}", world.run.path().join("log").display());
            eprintln!("\nThe story did not come true: {why:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}
