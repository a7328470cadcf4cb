//! The command line: commands, options and their help.
//!
//! Help teaches: every command says when one wants it and shows an example that works as it is
//! written.

// Doc comments are help texts here, and a terminal shows no Markdown.
#![allow(clippy::doc_markdown)]

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::canary::args::Canary;
use crate::lineage::version::Named;
use crate::monitor::args::{Monitor, TOP as MONITOR};
use crate::redrive::args::{Redrive, TOP as REDRIVE};
use crate::when::When;

const EXIT_CODES: &str = "\
Exit codes:
  0  fine
  1  the answer is no: an invalid policy, a broken audit trail, no such pipeline or entry
  2  the command line or a file that it names is wrong
  3  AWS or the ledger can't be reached, or refuses";

const TOP: &str = "\
Examples:
  tidegate apply --check pipelines/*.toml    is every policy valid? (needs no AWS account)
  tidegate apply pipelines/fraud.toml        put a policy in force
  tidegate status                            what serves, and what is on its way
  tidegate history fraud-detection           what was decided, by whom and why

AWS credentials and region come from AWS_PROFILE, AWS_REGION and the rest of the environment, and
from ~/.aws (after `aws sso login`: eval \"$(aws configure export-credentials --format env)\").

Exit codes:
  0  fine
  1  the answer is no: an invalid policy, a broken audit trail, no such pipeline or entry
  2  the command line or a file that it names is wrong
  3  AWS or the ledger can't be reached, or refuses";

/// Take SageMaker models from training to serving, and back when they turn out worse.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100, after_help = TOP, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What goes with every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Answer in JSON, in the shapes that docs/cli.md describes
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The ledger's DynamoDB table: the output `LedgerTable` of the installed stack
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "TIDEGATE_TABLE",
        hide_env_values = true
    )]
    pub(crate) table: Option<String>,

    /// No colours, as with NO_COLOR in the environment
    #[arg(long, global = true)]
    pub(crate) no_color: bool,

    /// Say on stderr what is done; twice: the AWS calls too
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put policies in force, or check them
    Apply(Apply),
    /// Show what serves and what is on its way
    Status(Status),
    /// Show what was decided for a group, when, by whom and why
    History(History),
    /// Draw a rollout: traffic, error rates and evidence over time
    #[command(subcommand, after_help = EXIT_CODES)]
    Rollout(Rollout),
    /// Prove that the audit trail is whole, show one entry, or export it
    #[command(subcommand, after_help = EXIT_CODES)]
    Audit(Audit),
    /// Show where a version comes from, down to data and commit, and where it went
    Lineage(Lineage),
    /// Show what two versions differ in: metrics, data, code, settings, container
    Diff(Diff),
    /// Show what monitors Model Monitor has, what they found, and run one now
    #[command(subcommand, after_help = MONITOR)]
    Monitor(Monitor),
    /// Say what Tidegate reads in an event and what it would do, or why nothing
    Explain(Explain),
    /// Judge canaries: on counts that you have, on plans, on the past
    #[command(subcommand, after_help = EXIT_CODES)]
    Canary(Canary),
    /// List events that were given up, and send them again
    #[command(after_help = REDRIVE)]
    Redrive(Redrive),
    /// Print the JSON Schema of a policy file
    #[command(after_help = SCHEMA)]
    Schema,
    /// Print a script that completes commands in your shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Command {
    /// Where a picture is to go.
    pub(crate) fn picture(&self) -> Option<&Path> {
        match self {
            Self::Rollout(Rollout::Show(args)) => args.svg.as_deref(),
            Self::Canary(Canary::Backtest(args)) => args.svg.as_deref(),
            _ => None,
        }
    }
}

const APPLY: &str = "\
All files are read first. If any is wrong, every mistake in every file is listed and nothing is
applied. A policy that is in force already is left as it is, so a pipeline may apply at every push.
A rollout that is under way goes on by the policy that it started with.

Then each stage's endpoint is looked at, for 10 seconds at most, and what else the policy names.
Warnings on stderr say what a rollout would stumble over: a metric that CloudWatch has nothing of, a
step with too little traffic, a ceiling that is broken today, a smoke request that does not exist, a
bucket or image of another region. They stop nothing.

Examples:
  tidegate apply pipelines/fraud.toml
  tidegate apply --check pipelines/*.toml                   in CI, for every pull request
  tidegate apply pipelines/*.toml --by \"$GITHUB_ACTOR\"      in CI, on the main branch

Exit codes:
  0  applied, or in force already; with --check: valid
  1  a policy is invalid, or an endpoint or tag in it belongs to another pipeline
  2  the command line is wrong, or a file can't be read
  3  AWS or the ledger can't be reached, or refuses";

/// Put policies in force, or check them.
#[derive(Debug, Args)]
#[command(after_help = APPLY)]
pub(crate) struct Apply {
    /// Policy files (TOML)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Check the files only; needs no AWS account
    #[arg(long)]
    pub(crate) check: bool,

    /// Don't look at endpoints and what else is named afterwards
    #[arg(long)]
    pub(crate) no_probe: bool,

    /// Who applies, for the audit trail [default: GITHUB_ACTOR, GITLAB_USER_LOGIN, else the user]
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,

    /// The Git commit that the files come from, for the audit trail [default: GITHUB_SHA,
    /// CI_COMMIT_SHA, else HEAD if the file is committed as it is]
    #[arg(long, value_name = "SHA", value_parser = commit)]
    pub(crate) commit: Option<String>,
}

fn commit(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    if (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text)
    } else {
        Err("a commit is 7 to 64 hexadecimal digits".to_owned())
    }
}

const STATUS: &str = "\
\"The chance of that is 1 in 40, were it no worse\" is the evidence against a canary: of 40 canaries
that are no worse than their champion, one at most would ever look so bad. Monitors that follow a
champion are below the table, with how far each is.

Examples:
  tidegate status
  tidegate status fraud
  tidegate status --json | jq '.pipelines[].stages[] | select(.rollout)'";

/// Show what serves and what is on its way.
#[derive(Debug, Args)]
#[command(after_help = STATUS)]
pub(crate) struct Status {
    /// This pipeline only (its name or its model package group) [default: all]
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipeline: Option<String>,
}

const HISTORY: &str = "\
Examples:
  tidegate history fraud-detection                  the last 20 entries, newest last
  tidegate history fraud-detection --limit 500
  tidegate history fraud-detection --rollouts       finished rollouts and how they ended

`tidegate audit show fraud-detection 12` shows all that was written down with entry 12.";

/// Show what was decided for a group, when, by whom and why.
#[derive(Debug, Args)]
#[command(after_help = HISTORY)]
pub(crate) struct History {
    /// The model package group, or its pipeline
    #[arg(value_name = "GROUP")]
    pub(crate) group: String,

    /// How many, the newest (of rollouts, 100 are shown at most)
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,

    /// Finished rollouts instead of entries
    #[arg(long)]
    pub(crate) rollouts: bool,
}

const ROLLOUT: &str = "\
The chart has the canary's share of traffic, the share of bad answers of canary and champion, and
the evidence against the canary: \"1 in 100\" means that of 100 canaries that are no worse, one at
most would ever look so bad. Above the dashed line it is taken back.

Examples:
  tidegate rollout show fraud                           the one under way, else the newest
  tidegate rollout show production-v12                  by its id, or the start of it
  tidegate rollout show production-v12 --svg v12.svg    a picture for the incident's report
  tidegate rollout show fraud --json | jq '.rollout.guards[] | {guard, ratio, odds, crossed}'";

/// Draw a rollout.
#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Show one rollout: what happened and why, with a chart
    #[command(after_help = ROLLOUT)]
    Show(RolloutShow),
}

/// Show one rollout: what happened and why, with a chart.
#[derive(Debug, Args)]
pub(crate) struct RolloutShow {
    /// A rollout's id, as `tidegate status --json` and `tidegate history GROUP --rollouts` show it,
    /// or the start of one; or a pipeline, for its running or newest rollout
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    /// Look in this pipeline only (its name or its model package group) [default: all]
    #[arg(long, value_name = "PIPELINE")]
    pub(crate) pipeline: Option<String>,

    /// Write the chart as an SVG picture, too; - is standard output, with nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Draw with ASCII characters only, as without a UTF-8 locale
    #[arg(long)]
    pub(crate) ascii: bool,
}

const VERIFY: &str = "\
Every entry holds the hash of the one before it, and the ledger's head the hash of the last. An
entry that was changed, left out, put in or cut off breaks the chain; the first such entry is named.
A chain that was rewritten as a whole, head and all, shows beside its anchors, which `housekeeping`
keeps once an hour in a bucket with Object Lock (docs/governance.md).

Examples:
  tidegate audit verify
  tidegate audit verify fraud-detection
  tidegate audit verify --anchors s3://BUCKET     the stack's output AnchorBucketName
  tidegate audit verify --json | jq -e '.groups[] | select(.whole | not)'

Exit codes:
  0  every trail is whole
  1  a trail is broken, or there is no such group
  2  the command line is wrong
  3  AWS or the ledger can't be reached, or refuses";

const SHOW: &str = "\
Examples:
  tidegate audit show fraud-detection 12
  tidegate audit show fraud-detection 12 --json | jq .body.facts";

const EXPORT: &str = "\
One line of JSON a group, with the end of its trail, then one an entry: its group, number, hash, and
body as it is stored, to the letter. docs/verify_audit.py proves them with Python alone.

Examples:
  tidegate audit export > audit.jsonl && python3 docs/verify_audit.py audit.jsonl
  tidegate audit export fraud-detection --from 2026-10-01 --to 2026-11-01 --output october.jsonl
  tidegate audit export fraud | jq -r 'select(.body) | .body | fromjson | [.at, .what, .why] | @tsv'";

/// Export trails as JSON Lines, with hashes.
#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
pub(crate) struct AuditExport {
    /// Model package groups, or their pipelines [default: all]
    #[arg(value_name = "GROUP")]
    pub(crate) groups: Vec<String>,

    /// No entries before this time: 2026-11-24T21:00 (UTC), -7d [default: from the first]
    #[arg(long, value_name = "TIME", value_parser = When::parse, allow_hyphen_values = true)]
    pub(crate) from: Option<When>,

    /// No entries at or after this time [default: to the last]
    #[arg(long, value_name = "TIME", value_parser = When::parse, allow_hyphen_values = true)]
    pub(crate) to: Option<When>,

    /// Write to this file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Prove that the audit trail is whole, show one entry, or export it.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Prove that no entry was changed, dropped or put in
    #[command(after_help = VERIFY)]
    Verify {
        /// Model package groups, or their pipelines [default: all]
        #[arg(value_name = "GROUP")]
        groups: Vec<String>,

        /// Compare with what was anchored: s3://BUCKET, a file, or a folder of files
        #[arg(long, value_name = "PLACE")]
        anchors: Option<String>,
    },
    /// Show one entry with all that was written down: facts, policy, hashes
    #[command(after_help = SHOW)]
    Show {
        /// The model package group, or its pipeline
        #[arg(value_name = "GROUP")]
        group: String,
        /// The entry's number, as `tidegate history` shows it
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        n: u64,
    },
    /// Export trails as JSON Lines with their hashes, to be kept and proven elsewhere
    Export(AuditExport),
}

const LINEAGE: &str = "\
What a version is made of is recorded in its package when it is gated: data by its version (an ETag,
or a hash over many), the commit that the training job is tagged with (tidegate:commit and
tidegate:repository). Settings come from the training job itself.

Examples:
  tidegate lineage fraud-detection/12
  tidegate lineage fraud/12 --parents 0                     without the versions it was retrained from
  tidegate lineage fraud/12 --dot | dot -Tsvg > lineage.svg
  tidegate lineage fraud/12 --json | jq '.versions[0].training.data'";

/// Show where a version comes from and where it went.
#[derive(Debug, Args)]
#[command(after_help = LINEAGE)]
pub(crate) struct Lineage {
    /// A version: its group or pipeline and its number, or its package's ARN
    #[arg(value_name = "GROUP/N", value_parser = Named::parse)]
    pub(crate) version: Named,

    /// How many generations of versions that it was retrained from
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(..=50))]
    pub(crate) parents: u8,

    /// A graph in Graphviz's language
    #[arg(long)]
    pub(crate) dot: bool,
}

const DIFF: &str = "\
Examples:
  tidegate diff fraud-detection/11 fraud-detection/12
  tidegate diff fraud/11 fraud/12 --json | jq '.differences[] | select(.what == \"data\")'";

/// Show what two versions differ in.
#[derive(Debug, Args)]
#[command(after_help = DIFF)]
pub(crate) struct Diff {
    /// The earlier version: group or pipeline and number
    #[arg(value_name = "GROUP/N", value_parser = Named::parse)]
    pub(crate) from: Named,

    /// The later version
    #[arg(value_name = "GROUP/N", value_parser = Named::parse)]
    pub(crate) to: Named,
}

const EXPLAIN: &str = "\
Nothing is changed: the ledger and AWS are read, and what would be done is said, not done.

Examples:
  tidegate explain event.json
  tidegate explain --offline event.json     what is read in it, with no AWS account
  tidegate redrive show 4f1c02ab7e --json | jq .payload |
    tidegate explain -                      what would this one do now?

Exit codes:
  0  explained, also if nothing would be done
  1  it can't be read as an event
  2  the command line is wrong, or the file can't be read
  3  AWS or the ledger can't be reached, or refuses";

/// Say what Tidegate reads in an event and what it would do, or why nothing.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN)]
pub(crate) struct Explain {
    /// A file with one event as EventBridge delivers it; - is standard input
    #[arg(value_name = "EVENT.json")]
    pub(crate) event: PathBuf,

    /// Say only what is read in it; needs no AWS account
    #[arg(long)]
    pub(crate) offline: bool,
}

const SCHEMA: &str = "\
Editors with a TOML language server (taplo: \"Even Better TOML\") complete and check policy files
with it.

Examples:
  tidegate schema > pipelines/policy.schema.json
  sed -i '1i #:schema ./policy.schema.json' pipelines/fraud.toml";

const COMPLETIONS: &str = "\
Examples:
  tidegate completions bash > ~/.local/share/bash-completion/completions/tidegate
  tidegate completions zsh > \"${fpath[1]}/_tidegate\"
  tidegate completions fish > ~/.config/fish/completions/tidegate.fish";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let leaf = command.get_subcommands().next().is_none();
            let after = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                !leaf || after.contains("Examples:\n  "),
                "{path} shows no example"
            );
            for sub in command.get_subcommands() {
                check(sub, &path);
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn a_commit_is_hexadecimal() {
        assert_eq!(commit("ABCDEF0").as_deref(), Ok("abcdef0"));
        for bad in ["", "main", "abcdef", &"a".repeat(65)] {
            assert!(commit(bad).is_err(), "{bad:?}");
        }
    }
}
