//! `tidegate`: puts policies in force and shows what Tidegate does and why.
//!
//! It reads and writes the ledger, asks AWS for facts, and sends the functions what they gave up;
//! it never changes an endpoint or a model: only the functions do.

mod answer;
mod apply;
mod args;
mod audit;
mod canary;
mod commit;
mod completions;
mod connect;
mod diff;
mod error;
mod explain;
mod history;
mod lineage;
mod monitor;
mod policy_file;
mod preflight;
mod probe;
mod redrive;
mod render;
mod rollout;
mod schema;
mod status;
mod when;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use answer::Answer;
use args::{Cli, Command};
use connect::Connection;
use error::Problem;
use render::Screen;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    trace(cli.global.verbose);
    let exit = answer::deliver(Box::pin(run(&cli)).await, cli.global.json);
    ExitCode::from(exit as u8)
}

async fn run(cli: &Cli) -> Result<Answer, Problem> {
    let table = cli.global.table.as_deref();
    let screen = &Screen::of_stdout(cli.global.no_color);
    rollout::check_svg(cli.command.picture(), cli.global.json)?;
    match &cli.command {
        Command::Apply(args) => Box::pin(apply::run(args, table)).await,
        Command::Status(args) => status::run(args, &Connection::open(table).await?, screen).await,
        Command::History(args) => history::run(args, &Connection::open(table).await?, screen).await,
        Command::Rollout(args::Rollout::Show(args)) => {
            let connection = Connection::open(table).await?;
            rollout::run(args, &connection, screen).await
        }
        Command::Audit(args) => audit::run(args, &Connection::open(table).await?, screen).await,
        Command::Lineage(args) => {
            let connection = Connection::open(table).await?;
            lineage::run(args, &connection, screen, cli.global.json).await
        }
        Command::Monitor(args) => monitor::run(args, table, screen).await,
        Command::Diff(args) => {
            let connection = Connection::open(table).await?;
            Box::pin(diff::run(args, &connection, screen)).await
        }
        Command::Explain(args) => explain::run(args, table, screen).await,
        Command::Canary(args) => canary::run(args, table, screen).await,
        Command::Redrive(args) => redrive::run(args, screen).await,
        Command::Schema => schema::run(),
        Command::Completions { shell } => completions::run(*shell),
    }
}

/// Says on standard error what is done, if it is wanted. Problems are told without it.
fn trace(verbose: u8) {
    let filter = match verbose {
        0 => return,
        // This program and its libraries, which all begin so.
        1 => "tidegate=info",
        _ => "debug,hyper_util=info,h2=info,rustls=info",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
