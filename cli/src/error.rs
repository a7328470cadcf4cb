//! Why a command has no answer: what happened, where, and what to do about it; and the exit codes.
//!
//! The adapters hand on AWS's own code and message. What a person can do about the common ones is
//! said here, once.

use std::fmt;

use serde_json::{Value, json};
use tidegate_core::ledger::{CommitError, LedgerError};

/// How a command ends, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Fine.
    Fine = 0,
    /// The answer is no.
    No = 1,
    /// The command line, or a file that it names, is wrong.
    Usage = 2,
    /// AWS or the ledger can't be reached, or refuses.
    Aws = 3,
}

impl Exit {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::No => "no",
            Self::Usage => "usage",
            Self::Aws => "aws",
        }
    }
}

/// Why a command has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// How the command ends.
    pub(crate) exit: Exit,
    /// What happened.
    pub(crate) what: String,
    /// Where: a file, a table.
    pub(crate) at: Option<String>,
    /// Why, in the words of who refused.
    pub(crate) why: Option<String>,
    /// What to do, one thing a line.
    pub(crate) help: Vec<String>,
}

impl Problem {
    /// A problem that ends the command so.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            at: None,
            why: None,
            help: Vec::new(),
        }
    }

    /// Says where.
    pub(crate) fn at(mut self, at: impl fmt::Display) -> Self {
        self.at = Some(at.to_string());
        self
    }

    /// Says why.
    pub(crate) fn why(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(brief(&why.to_string()));
        self
    }

    /// Says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// No table is named.
    pub(crate) fn no_table() -> Self {
        Self::new(Exit::Usage, "no ledger table is named").help(
            "set TIDEGATE_TABLE or give --table NAME; the name is the output LedgerTable of the \
             installed stack: aws cloudformation describe-stacks --stack-name tidegate \
             --query \"Stacks[0].Outputs\"",
        )
    }

    /// No region is set.
    pub(crate) fn no_region() -> Self {
        Self::new(Exit::Usage, "no AWS region is set")
            .help("set AWS_REGION, or a region in the profile")
    }

    /// No such pipeline.
    pub(crate) fn no_pipeline(name: &str) -> Self {
        Self::new(
            Exit::No,
            format!(
                "no pipeline or model package group {:?} is known",
                short(name)
            ),
        )
        .help(
            "`tidegate status` lists the pipelines; `tidegate apply FILE` puts a new one in force",
        )
    }

    /// The ledger did not answer.
    pub(crate) fn ledger(error: &LedgerError, table: &Place) -> Self {
        let (what, why) = match error {
            LedgerError::Unavailable(why) => ("the ledger can't be reached", why.clone()),
            LedgerError::Refused(why) => ("the ledger refused", why.clone()),
            LedgerError::Unreadable { key, why } => {
                return Self::new(Exit::Aws, format!("the ledger's item {key} can't be read"))
                    .at(table)
                    .why(why)
                    .help("it was written by a newer Tidegate, or changed by hand: update this command, \
                           or see what changed it in CloudTrail and restore the table to a time before");
            }
        };
        let mut problem = Self::new(Exit::Aws, what).at(table).why(&why);
        problem.help = advice(&why, Some(table));
        problem
    }

    /// The ledger did not take a commit.
    pub(crate) fn commit(error: &CommitError, table: &Place) -> Self {
        match error {
            CommitError::Ledger(error) => Self::ledger(error, table),
            CommitError::Taken { .. } => Self::new(Exit::No, error.to_string())
                .help("give it another name, or take it out of the other pipeline's policy first"),
            CommitError::Lost => Self::new(
                Exit::Aws,
                "the pipeline is busy: somebody else always committed first",
            )
            .help("try again in a minute"),
            CommitError::Seen => Self::new(Exit::Aws, error.to_string()),
        }
    }

    /// As lines for a terminal.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write as _;
        let clean = crate::render::clean;
        let mut text = format!("error: {}\n", clean(&self.what));
        for (label, line) in [("at", &self.at), ("why", &self.why)] {
            if let Some(line) = line {
                let _ = writeln!(text, "{label:>5}: {}", clean(line));
            }
        }
        for help in &self.help {
            let _ = writeln!(text, " help: {}", clean(help));
        }
        text
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        json!({
            "kind": self.exit.word(),
            "what": self.what,
            "at": self.at,
            "why": self.why,
            "help": self.help,
        })
    }
}

/// Which ledger, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The table's name.
    pub(crate) table: String,
    /// The region.
    pub(crate) region: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} in {}", self.table, self.region)
    }
}

/// Profiles of IAM Identity Center are not read by this program (`tidegate_aws::config` says why).
const EXPORT: &str =
    "hand the session on with: eval \"$(aws configure export-credentials --format env)\"";

/// What a person can do about an answer of AWS.
pub(crate) fn advice(message: &str, table: Option<&Place>) -> Vec<String> {
    let lower = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let mut help = Vec::new();
    if let Some(action) = after(message, "not authorized to perform: ") {
        let on = after(message, "on resource: ").map_or_else(String::new, |r| format!(" on {r}"));
        help.push(format!("allow {action}{on} to the credentials in use"));
        help.push(
            "`aws sts get-caller-identity` says whose they are; the stack's output OperatorPolicyArn \
             is a policy with all that `tidegate` needs"
                .to_owned(),
        );
    } else if has(&["accessdenied", "access denied"]) {
        help.push("the credentials in use may not do this; `aws sts get-caller-identity` says whose they are".to_owned());
    } else if has(&["expiredtoken", "token is expired", "token has expired"]) {
        help.push(format!(
            "the credentials have expired: log in again, and {EXPORT}"
        ));
    } else if has(&[
        "unrecognizedclient",
        "invalidclienttoken",
        "security token",
        "invalidsignature",
    ]) {
        help.push(
            "AWS does not know the credentials in use: see `aws sts get-caller-identity`"
                .to_owned(),
        );
    } else if has(&["credential"]) {
        help.push(
            "no usable AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
                .to_owned(),
        );
        help.push(format!("after `aws sso login`, {EXPORT}"));
    } else if has(&[
        "resourcenotfound",
        "resource not found",
        "non-existent table",
        "table not found",
    ]) {
        if let Some(place) = table {
            help.push(format!(
                "is there a table {} in {}? `aws dynamodb list-tables` says; else see --table and AWS_REGION",
                place.table, place.region
            ));
        }
    } else if has(&[
        "throttl",
        "throughput",
        "too many requests",
        "rate exceeded",
    ]) {
        help.push("too many calls at once: try again in a minute".to_owned());
    } else if has(&[
        "timed out",
        "timeout",
        "time-out",
        "dispatch",
        "connect",
        "dns",
        "unreachable",
    ]) {
        help.push(
            "check the network and proxy, AWS_REGION, and AWS_ENDPOINT_URL if it is set".to_owned(),
        );
    }
    help
}

/// The word that follows `marker` in `text`.
fn after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(marker)?;
    let word = rest.split_whitespace().next()?;
    Some(word.trim_end_matches([',', '.', ')', '"']))
}

/// A reason without the SDK's own account of its insides, which follows in brackets.
fn brief(why: &str) -> String {
    let inside = [
        "(ConstructionFailure(",
        "(TimeoutError(",
        "(DispatchFailure(",
        "(ResponseError(",
    ];
    let end = inside
        .iter()
        .filter_map(|start| why.find(start))
        .min()
        .unwrap_or(why.len());
    let words: Vec<&str> = why[..end].split_whitespace().collect();
    words.join(" ")
}

/// Text of a user, not longer than a line.
pub(crate) fn short(text: &str) -> String {
    if text.chars().count() <= 80 {
        text.to_owned()
    } else {
        let mut cut: String = text.chars().take(77).collect();
        cut.push_str("...");
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            table: "tidegate".to_owned(),
            region: "eu-west-1".to_owned(),
        }
    }

    #[test]
    fn a_denied_call_names_the_permission() {
        let error = LedgerError::Refused(
            "AccessDeniedException: User: arn:aws:iam::123456789012:user/ada is not authorized to \
             perform: dynamodb:Query on resource: arn:aws:dynamodb:eu-west-1:123456789012:table/tidegate \
             because no identity-based policy allows the dynamodb:Query action"
                .to_owned(),
        );
        let problem = Problem::ledger(&error, &place());
        assert_eq!(problem.exit, Exit::Aws);
        assert_eq!(
            problem.help[0],
            "allow dynamodb:Query on arn:aws:dynamodb:eu-west-1:123456789012:table/tidegate to the credentials in use"
        );
        assert!(
            problem
                .text()
                .contains("   at: table tidegate in eu-west-1\n"),
            "{}",
            problem.text()
        );
    }

    #[test]
    fn common_refusals_have_advice() {
        for (message, place, word) in [
            (
                "ResourceNotFoundException: Requested resource not found",
                place(),
                "list-tables",
            ),
            (
                "the credential provider was not enabled",
                place(),
                "aws sso login",
            ),
            (
                "ExpiredTokenException: The security token included is expired",
                place(),
                "expired",
            ),
            (
                "UnrecognizedClientException: The security token is invalid",
                place(),
                "does not know",
            ),
            (
                "dispatch failure: io error: Connection refused",
                place(),
                "network",
            ),
            ("ThrottlingException: Rate exceeded", place(), "again"),
        ] {
            let help = advice(message, Some(&place)).join("\n");
            assert!(help.contains(word), "{message}: {help}");
        }
        assert!(advice("something else", Some(&place())).is_empty());
    }

    #[test]
    fn the_insides_of_the_sdk_are_not_told() {
        let why =
            "Query: dispatch failure: io error:  refused (DispatchFailure(DispatchFailure { .. }))";
        assert_eq!(brief(why), "Query: dispatch failure: io error: refused");
        assert_eq!(brief("plain"), "plain");
    }

    #[test]
    fn an_error_in_json_says_the_same() {
        let json = Problem::no_pipeline("x").json();
        assert_eq!(json["kind"], "no");
        assert_eq!(
            json["what"],
            "no pipeline or model package group \"x\" is known"
        );
        assert!(
            json["help"][0]
                .as_str()
                .is_some_and(|h| h.contains("tidegate status"))
        );
    }
}
