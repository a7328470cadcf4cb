//! `tidegate apply`: puts policies in force, all of them or, if one is invalid, none; then looks at
//! their endpoints and all else that they name, to tell early what a rollout would stumble over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::join;
use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::engine::{self, EngineError};
use tidegate_core::ledger::Ledger as _;
use tidegate_core::name::GroupName;
use tidegate_core::pipeline::{self, Policy, PolicyErrors, Training};

use crate::answer::Answer;
use crate::args;
use crate::commit;
use crate::connect::{Connection, latest};
use crate::error::{Exit, Problem};
use crate::policy_file;
use crate::preflight::{self, Here};
use crate::probe::{self, Finding};
use crate::render::{clean, count};

/// Checks the files and, unless asked only to check, applies them in their order.
pub(crate) async fn run(args: &args::Apply, table: Option<&str>) -> Result<Answer, Problem> {
    let mut files: Vec<File> = Vec::new();
    let mut problems = Vec::new();
    for path in &args.files {
        match policy_file::text(path) {
            Ok(text) => files.push(File::parse(path, &text)),
            Err(problem) => problems.push(problem),
        }
    }
    find_conflicts(&mut files);
    let wrong = files.iter().filter(|file| !file.is_valid()).count();
    if wrong == 0 && problems.is_empty() && !args.check {
        let connection = Connection::open(table).await?;
        problems = Box::pin(apply(&mut files, args, &connection)).await;
        if !args.no_probe {
            probe(&mut files, &connection).await;
        }
    }
    let remarks = remarks(&files);
    let text = text(&files, args.check, !problems.is_empty());
    let reports = files.into_iter().map(|file| file.report).collect();
    let answer = Answer::new(
        Report {
            check: args.check,
            policies: reports,
        },
        text,
    )?;
    Ok(answer
        .remarking(remarks)
        .ending(if wrong > 0 { Exit::No } else { Exit::Fine })
        .with(problems))
}

/// What `apply --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    check: bool,
    policies: Vec<FileReport>,
}

#[derive(Debug, Serialize)]
struct FileReport {
    file: PathBuf,
    state: State,
    pipeline: Option<String>,
    group: Option<String>,
    /// The version in force, once it is applied.
    version: Option<u32>,
    /// The Git commit that was written down, if it was applied.
    commit: Option<String>,
    mistakes: Vec<Mistake>,
    /// What was found about the endpoints, once it is applied.
    warnings: Vec<Finding>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It could be applied.
    Valid,
    /// It has mistakes.
    Invalid,
    /// It is in force now.
    Applied,
    /// It was in force before.
    Unchanged,
    /// It could not be applied.
    NotApplied,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Mistake {
    /// From 1; none for what is not at one place.
    line: Option<usize>,
    column: Option<usize>,
    /// The dotted key.
    key: Option<String>,
    message: String,
}

/// A file on its way.
#[derive(Debug)]
struct File {
    report: FileReport,
    policy: Option<Policy>,
    /// A policy that is in force now.
    in_force: Option<Policy>,
    /// The mistakes as a person reads them.
    complaint: String,
}

impl File {
    fn parse(path: &Path, text: &str) -> Self {
        let mut report = FileReport {
            file: path.to_owned(),
            state: State::Valid,
            pipeline: None,
            group: None,
            version: None,
            commit: None,
            mistakes: Vec::new(),
            warnings: Vec::new(),
        };
        match pipeline::parse(text, &path.display().to_string()) {
            Ok(policy) => {
                report.pipeline = Some(policy.pipeline.name.to_string());
                report.group = Some(policy.pipeline.group.to_string());
                Self {
                    report,
                    policy: Some(policy),
                    in_force: None,
                    complaint: String::new(),
                }
            }
            Err(errors) => {
                report.state = State::Invalid;
                report.mistakes = mistakes(&errors);
                Self {
                    report,
                    policy: None,
                    in_force: None,
                    complaint: format!("{errors}\n"),
                }
            }
        }
    }

    fn is_valid(&self) -> bool {
        self.report.state != State::Invalid
    }

    /// A mistake that shows only beside another file.
    fn conflict(&mut self, key: &str, message: String) {
        self.report.state = State::Invalid;
        let _ = writeln!(
            self.complaint,
            "{}: {key}: {message}",
            self.report.file.display()
        );
        self.report.mistakes.push(Mistake {
            line: None,
            column: None,
            key: Some(key.to_owned()),
            message,
        });
    }
}

fn mistakes(errors: &PolicyErrors) -> Vec<Mistake> {
    let mistake = |error: &pipeline::PolicyError| Mistake {
        line: Some(error.line),
        column: Some(error.column),
        key: Some(error.key.clone()).filter(|key| !key.is_empty()),
        message: error.message.clone(),
    };
    errors.0.iter().map(mistake).collect()
}

/// Finds what two files claim for themselves.
fn find_conflicts(files: &mut [File]) {
    let mut claimed: BTreeMap<(&'static str, String), PathBuf> = BTreeMap::new();
    for file in files {
        let Some(policy) = file.policy.take() else {
            continue;
        };
        for (key, what, value) in claims(&policy) {
            let path = file.report.file.clone();
            if let Some(other) = claimed.get(&(what, value.clone())) {
                let message = format!(
                    "the {what} {value:?} is claimed by {} already",
                    other.display()
                );
                file.conflict(&key, message);
            } else {
                claimed.insert((what, value), path);
            }
        }
        file.policy = Some(policy);
    }
}

/// What only one pipeline may have: key, what it is, value.
fn claims(policy: &Policy) -> Vec<(String, &'static str, String)> {
    let key = str::to_owned;
    let mut claims = vec![
        (
            key("pipeline.name"),
            "pipeline name",
            policy.pipeline.name.to_string(),
        ),
        (
            key("pipeline.group"),
            "model package group",
            policy.pipeline.group.to_string(),
        ),
        match policy.training_rule() {
            Training::Tag(tag) => (key("pipeline.training"), "training tag", tag),
            Training::JobPrefix(prefix) => (key("pipeline.training"), "job prefix", prefix),
        },
    ];
    for (i, stage) in policy.stages.iter().enumerate() {
        claims.push((
            format!("stage[{i}].endpoint"),
            "endpoint",
            stage.endpoint.to_string(),
        ));
    }
    for schedule in &policy.monitor.schedules {
        claims.push((
            key("monitor.schedules"),
            "monitoring schedule",
            schedule.to_string(),
        ));
    }
    claims
}

/// Applies all files; what another pipeline owns stops one file, what AWS refuses stops all.
async fn apply(files: &mut [File], args: &args::Apply, connection: &Connection) -> Vec<Problem> {
    let by = args.by.clone().unwrap_or_else(commit::who);
    let mut problems = Vec::new();
    for file in files.iter_mut() {
        file.report.state = State::NotApplied;
    }
    for file in files {
        let Some(policy) = file.policy.take() else {
            continue;
        };
        let report = &mut file.report;
        let commit = args.commit.clone().or_else(|| commit::of(&report.file));
        let now = Timestamp::now();
        let in_force = policy.clone();
        let applied = engine::apply(connection.ledger(), policy, &by, commit.as_deref(), now);
        // Boxed: it holds the policy several times.
        match Box::pin(applied).await {
            Ok(applied) => {
                tracing::info!(file = %report.file.display(), group = %applied.group, version = applied.version, changed = applied.changed, "applied");
                report.version = Some(applied.version);
                file.in_force = Some(in_force);
                report.state = if applied.changed {
                    State::Applied
                } else {
                    State::Unchanged
                };
                report.commit = commit.filter(|_| applied.changed);
            }
            Err(error) => {
                let problem = failed(&error, connection);
                let stops = problem.exit == Exit::Aws;
                problems.push(Problem {
                    what: format!("{}: {}", report.file.display(), problem.what),
                    ..problem
                });
                if stops {
                    break;
                }
            }
        }
    }
    problems
}

/// Looks at the endpoints of the policies that are in force now.
async fn probe(files: &mut [File], connection: &Connection) {
    let mut owners = Vec::new();
    let mut places = Vec::new();
    for (f, file) in files.iter().enumerate() {
        let stages = file.in_force.iter().flat_map(|policy| &policy.stages);
        for (place, stage) in stages.enumerate() {
            owners.push(f);
            places.push((place, stage.clone()));
        }
    }
    let now = ledger_time(files, connection).await;
    let probed = probe::run(connection.world(), &places, now, probe::LONGEST);
    let (found, named) = join(probed, look_at_names(files, connection)).await;
    for (owner, findings) in owners.into_iter().zip(found) {
        files[owner].report.warnings.extend(findings);
    }
    for (file, findings) in files.iter_mut().zip(named) {
        file.report.warnings.extend(findings);
    }
}

/// Looks at what the policies that are in force now name beside their endpoints; a list for each file.
async fn look_at_names(files: &[File], connection: &Connection) -> Vec<Vec<Finding>> {
    let policies: Vec<&Policy> = files.iter().filter_map(|f| f.in_force.as_ref()).collect();
    let here = Here {
        region: connection.place().region.clone(),
        account: preflight::account(&policies, probe::LONGEST).await,
    };
    let end = Instant::now() + probe::LONGEST;
    let mut found = Vec::new();
    for file in files {
        let left = end.saturating_duration_since(Instant::now());
        found.push(match &file.in_force {
            Some(policy) => preflight::run(connection.world(), policy, &here, left).await,
            None => Vec::new(),
        });
    }
    found
}

/// Now, or the ledger's own latest time if that is ahead: the world may have a clock of its own.
async fn ledger_time(files: &[File], connection: &Connection) -> Timestamp {
    let mut snapshots = Vec::new();
    for file in files.iter().filter(|file| file.in_force.is_some()) {
        let group = file.report.group.as_deref();
        let Some(Ok(group)) = group.map(GroupName::parse) else {
            continue;
        };
        // It was just written; if it can't be read now, this machine's clock has to do.
        if let Ok(Some(snapshot)) = connection.ledger().load(&group, None).await {
            snapshots.push(snapshot);
        }
    }
    let now = Timestamp::now();
    latest(&snapshots).map_or(now, |time| time.max(now))
}

/// What was found, for a person.
fn remarks(files: &[File]) -> String {
    let of = |file: &File| -> String {
        let path = file.report.file.display().to_string();
        let warnings = file.report.warnings.iter();
        warnings.map(|finding| finding.text(&path)).collect()
    };
    files.iter().map(of).collect()
}

fn failed(error: &EngineError, connection: &Connection) -> Problem {
    match error {
        EngineError::Ledger(error) => Problem::ledger(error, connection.place()),
        EngineError::Commit(error) => Problem::commit(error, connection.place()),
        other => Problem::new(Exit::Aws, other.to_string()).help("try again in a minute"),
    }
}

fn text(files: &[File], check: bool, unread: bool) -> String {
    let mut text = String::new();
    for file in files {
        let FileReport {
            file: path,
            state,
            pipeline,
            version,
            ..
        } = &file.report;
        let path = clean(&path.display().to_string());
        let name = pipeline.as_deref().unwrap_or_default();
        let version = version.unwrap_or_default();
        match state {
            State::Invalid => text.push_str(&file.complaint),
            // What is valid needs no word beside what isn't.
            State::Valid if !check => {}
            State::Valid => {
                let _ = writeln!(text, "{path}: valid, pipeline {name}");
            }
            State::Applied => {
                let _ = writeln!(
                    text,
                    "{path}: applied, version {version} of {name} is in force now"
                );
            }
            State::Unchanged => {
                let _ = writeln!(
                    text,
                    "{path}: unchanged, version {version} of {name} is in force"
                );
            }
            State::NotApplied => {
                let _ = writeln!(text, "{path}: not applied");
            }
        }
    }
    let wrong: Vec<_> = files.iter().filter(|file| !file.is_valid()).collect();
    if !wrong.is_empty() {
        let mistakes = wrong
            .iter()
            .map(|file| file.report.mistakes.len() as u64)
            .sum();
        let _ = writeln!(
            text,
            "{} in {}{}",
            count(mistakes, "mistake", "mistakes"),
            count(wrong.len() as u64, "file", "files"),
            if check { "" } else { "; nothing was applied" }
        );
    } else if unread && !check && files.iter().all(|file| file.report.state == State::Valid) {
        text.push_str("Nothing was applied.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn policy(name: &str, group: &str, endpoint: &str) -> String {
        format!(
            "[pipeline]\nname = \"{name}\"\ngroup = \"{group}\"\n\n\
             [[stage]]\nname = \"production\"\nendpoint = \"{endpoint}\"\n"
        )
    }

    #[test]
    fn two_files_can_not_claim_the_same_pipeline_group_or_endpoint() {
        let mut files = vec![
            File::parse(Path::new("a.toml"), &policy("a", "a", "shared")),
            File::parse(Path::new("b.toml"), &policy("b", "b", "shared")),
            File::parse(Path::new("c.toml"), &policy("a", "a", "c")),
        ];
        find_conflicts(&mut files);
        assert!(files[0].is_valid());
        insta::assert_snapshot!(text(&files, true, false));
    }

    #[test]
    fn files_that_share_nothing_are_valid_together() {
        let mut files = vec![
            File::parse(Path::new("a.toml"), &policy("a", "a", "a")),
            File::parse(Path::new("b.toml"), &policy("b", "b", "b")),
        ];
        find_conflicts(&mut files);
        assert_eq!(
            text(&files, true, false),
            "a.toml: valid, pipeline a\nb.toml: valid, pipeline b\n"
        );
    }
}
