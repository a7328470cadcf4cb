//! The command line of `tidegate monitor`: options and their help.

// Doc comments are help texts here, and a terminal shows no Markdown.
#![allow(clippy::doc_markdown)]

use clap::{Args, Subcommand};

pub(crate) const TOP: &str = "\
Model Monitor looks at what endpoints and batch transform jobs captured, by schedules. Tidegate acts
on what they find (docs/monitoring.md); these commands show both sides, and run a schedule now.

Exit codes:
  0  fine; of `run --wait`: nothing was found
  1  the answer is no: no such schedule or pipeline; of `run --wait`: something was found, or the
     job failed, or it was not waited for
  2  the command line is wrong
  3  AWS or the ledger can't be reached, or refuses";

const LIST: &str = "\
The schedules of the pipelines' endpoints, those that the policies list, and those of batch data
that Tidegate made: when each runs, how its last run ended, and what Tidegate saw of it last. Of one
that follows a champion: which, and whether it runs, or somebody stopped it, or why it failed.

Examples:
  tidegate monitor list
  tidegate monitor list fraud
  tidegate monitor list --json | jq '.pipelines[].schedules[] | select(.state != \"scheduled\")'";

const SHOW: &str = "\
Examples:
  tidegate monitor show fraud-data-quality
  tidegate monitor show fraud-data-quality --runs 30
  tidegate monitor show fraud-data-quality --json | jq '.runs[0].findings.kinds'";

const RUN: &str = "\
SageMaker runs the job once, by a schedule that is made for it: the same definition, named after the
schedule and the time. The job is billed as any run of the schedule is. What it finds counts as what
the schedule finds: Tidegate hears of it by its event, and may start a retraining.

With --wait the schedule of the run is deleted when it has ended. Ctrl-C leaves the job running. It
needs the policy of the stack's output MonitorRunPolicyArn.

Examples:
  tidegate monitor run fraud-data-quality --wait            of the last hour
  tidegate monitor run fraud-data-quality --hours 24 --wait
  tidegate monitor run fraud-data-quality                   don't wait; it says how to look";

/// Show what monitors there are and what they found, and run one now.
#[derive(Debug, Subcommand)]
pub(crate) enum Monitor {
    /// List the monitoring schedules of pipelines
    #[command(after_help = LIST)]
    List {
        /// This pipeline only (its name or its model package group) [default: all]
        #[arg(value_name = "PIPELINE")]
        pipeline: Option<String>,
    },
    /// Show a schedule: its definition, its runs, what they found and what Tidegate did about it
    #[command(after_help = SHOW)]
    Show(Show),
    /// Run a schedule's job once, now
    #[command(after_help = RUN)]
    Run(Run),
}

/// Show a schedule.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The monitoring schedule, or a run of one
    #[arg(value_name = "SCHEDULE")]
    pub(crate) schedule: String,

    /// So many runs, the newest
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) runs: u8,
}

/// Run a schedule's job once, now.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The monitoring schedule
    #[arg(value_name = "SCHEDULE")]
    pub(crate) schedule: String,

    /// So many hours of data, up to now
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=24))]
    pub(crate) hours: u8,

    /// Wait for its end, three hours at most, and show what it found
    #[arg(long)]
    pub(crate) wait: bool,
}
