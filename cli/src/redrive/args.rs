//! The command line of `tidegate redrive`: options and their help.

// Doc comments are help texts here, and a terminal shows no Markdown.
#![allow(clippy::doc_markdown)]

use clap::{Args, Subcommand, ValueEnum};

pub(crate) const TOP: &str = "\
A dead letter is an event that a function failed on three times, or that EventBridge could not
deliver. It waits 14 days in the queue STACK-dlq-FUNCTION, and an alarm tells of it. Without a
command, the letters are listed. Looking takes none away: each is back within a moment.

Examples:
  tidegate redrive                          what was given up, why, and what to do
  tidegate redrive show 4f1c02ab7e          one event whole, and the reason whole
  tidegate redrive replay 4f1c02ab7e        send it to its function again
  tidegate redrive drop 4f1c02ab7e          take it away for good
  tidegate redrive --stack tidegate-eu      of another installation

Exit codes:
  0  fine, also if there are no dead letters
  1  the answer is no: no such letter, or one that was not sent again
  2  the command line is wrong, or there is no such stack
  3  AWS can't be reached, or refuses";

const LIST: &str = "\
Examples:
  tidegate redrive list
  tidegate redrive list --function training-complete
  tidegate redrive list --json | jq '.letters[] | {id, function, reason}'";

const SHOW: &str = "\
Examples:
  tidegate redrive show 4f1c02ab7e
  tidegate redrive show 4f1c02ab7e --json | jq .payload | tidegate explain -
                                            what would it do now?";

const REPLAY: &str = "\
The event goes to its function as it came, byte for byte, and the letter is deleted once Lambda has
accepted it. A repeat does no harm: the ledger knows the events that took effect, for 30 days. An
event that fails again comes back as a new letter after three more tries, some minutes later.

An event that can't be read stays, for it would fail again in the same way; --force sends it
nevertheless.

Examples:
  tidegate redrive replay 4f1c02ab7e
  tidegate redrive replay --all
  tidegate redrive replay --all --function training-complete --yes      in a script

Exit codes:
  0  Lambda accepted all of them
  1  no such letter, or some were not sent
  2  the command line is wrong, or there is no such stack
  3  AWS can't be reached, or refuses";

const DROP: &str = "\
The letter is printed first, and that is its last copy.

Examples:
  tidegate redrive drop 4f1c02ab7e
  tidegate redrive drop 4f1c02ab7e --yes > letter.txt";

/// List events that were given up, and send them again.
#[derive(Debug, Args)]
pub(crate) struct Redrive {
    #[command(flatten)]
    pub(crate) at: Where,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Where to look.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where to look")]
pub(crate) struct Where {
    /// The installed stack's name, which its queues and functions begin with
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "TIDEGATE_STACK",
        hide_env_values = true,
        default_value = "tidegate",
        value_parser = stack
    )]
    pub(crate) stack: String,

    /// The letters of this function only
    #[arg(long, global = true, value_name = "FUNCTION")]
    pub(crate) function: Option<Function>,

    /// So many letters of each queue at most
    #[arg(long, global = true, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) limit: u16,
}

/// What CloudFormation takes as a stack's name.
fn stack(text: &str) -> Result<String, String> {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if begins && rest && text.len() <= 128 {
        Ok(text.to_owned())
    } else {
        Err("a stack's name is a letter, and letters, digits and hyphens".to_owned())
    }
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the dead letters: what, when, why, and what to do
    #[command(after_help = LIST)]
    List,
    /// Show one: the event and the reason, whole
    #[command(after_help = SHOW)]
    Show {
        /// A letter's ID, or the start of it; or the id of its event
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Send events to their functions again
    #[command(after_help = REPLAY)]
    Replay(Replay),
    /// Take a letter away for good
    #[command(after_help = DROP)]
    Drop {
        /// A letter's ID, or the start of it; or the id of its event
        #[arg(value_name = "ID")]
        id: String,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Send events to their functions again.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Letters' IDs, or the starts of them; or the ids of their events
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,

    /// All letters, or with --function all of that function
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,

    /// Don't ask
    #[arg(long, short)]
    pub(crate) yes: bool,

    /// Events that can't be read, too
    #[arg(long)]
    pub(crate) force: bool,
}

/// A function of the stack, with a queue of dead letters each (`infra/template.yaml`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Function {
    TrainingComplete,
    PackageApproved,
    CanaryShift,
    MonitorViolation,
    Housekeeping,
}

impl Function {
    /// Its name after the stack's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TrainingComplete => "training-complete",
            Self::PackageApproved => "package-approved",
            Self::CanaryShift => "canary-shift",
            Self::MonitorViolation => "monitor-violation",
            Self::Housekeeping => "housekeeping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_of_dead_letters_in_the_template_is_looked_at() {
        let template = include_str!("../../../infra/template.yaml");
        let name =
            |function: &str| format!("QueueName: !Sub \"${{AWS::StackName}}-dlq-{function}\"");
        for function in Function::value_variants() {
            assert!(template.contains(&name(function.name())), "{function:?}");
        }
        let queues = template
            .matches("QueueName: !Sub \"${AWS::StackName}-dlq-")
            .count();
        assert_eq!(
            queues,
            Function::value_variants().len(),
            "a new function's dead letters belong into `Function`, too"
        );
    }

    #[test]
    fn functions_are_called_as_in_the_template() {
        for function in Function::value_variants() {
            let value = function.to_possible_value();
            assert_eq!(
                value.map(|v| v.get_name().to_owned()),
                Some(function.name().to_owned())
            );
        }
    }

    #[test]
    fn a_stack_is_named_as_cloudformation_names_it() {
        for good in ["tidegate", "Tidegate-eu-2"] {
            assert_eq!(stack(good).as_deref(), Ok(good));
        }
        for bad in ["", "2x", "a b", "a_b", "arn:aws:x", &"x".repeat(129)] {
            assert!(stack(bad).is_err(), "{bad:?}");
        }
    }
}
