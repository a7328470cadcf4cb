//! `world`: brings the local world up, tells the story of `make run` in it, or tries the kill matrix.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tidegate_end_to_end::emulator::Behaviour;
use tidegate_end_to_end::kill::{self, Choice};
use tidegate_end_to_end::place::Place;
use tidegate_end_to_end::proxy::Kind;
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
