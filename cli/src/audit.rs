//! `tidegate audit`: proves that the trail is whole, shows single entries of it, and exports it.

mod anchors;
mod export;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tidegate_core::audit::{Broken, Entry, Verifier};
use tidegate_core::ledger::{Ledger as _, LedgerError};
use tidegate_core::name::GroupName;

use anchors::{Anchored, Seen};

use crate::answer::Answer;
use crate::args;
use crate::connect::Connection;
use crate::error::{Exit, Problem};
use crate::render::{Paint, Screen, clean, count, wrap};

/// How many entries are read at once.
pub(crate) const PAGE: u32 = 1_000;

/// Proves or shows.
pub(crate) async fn run(
    args: &args::Audit,
    connection: &Connection,
    screen: &Screen,
) -> Result<Answer, Problem> {
    match args {
        args::Audit::Verify { groups, anchors } => {
            verify(groups, anchors.as_deref(), connection, screen).await
        }
        args::Audit::Show { group, n } => show(group, *n, connection, screen).await,
        args::Audit::Export(args) => export::run(args, connection).await,
    }
}

/// The groups that people mean by these names; all of them if there is none.
async fn groups(names: &[String], connection: &Connection) -> Result<Vec<GroupName>, Problem> {
    if names.is_empty() {
        return connection.groups().await;
    }
    let mut groups = Vec::new();
    for name in names {
        let (group, _) = connection.find(name).await?;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok(groups)
}

/// What `audit verify --json` prints.
#[derive(Debug, Serialize)]
struct Verified {
    /// Whether all trails are.
    whole: bool,
    groups: Vec<Trail>,
    /// The anchors that they were compared with, if any.
    anchors: Option<Seen>,
}

/// One group's trail.
#[derive(Debug, Serialize)]
struct Trail {
    group: GroupName,
    whole: bool,
    /// Entries that were proven, from the first.
    entries: u64,
    /// The last hash by the ledger's head: keep it elsewhere.
    hash: String,
    /// How many of them were anchored.
    anchors: Option<u64>,
    broken: Option<Break>,
}

/// Where and how a trail is broken.
#[derive(Debug, Serialize)]
struct Break {
    /// The entry, if it is one.
    entry: Option<u64>,
    how: String,
}

async fn verify(
    names: &[String],
    anchors: Option<&str>,
    connection: &Connection,
    screen: &Screen,
) -> Result<Answer, Problem> {
    // Before the trails: none of them may be older than its anchors.
    let anchored = match anchors {
        Some(place) => Some(anchors::read(place, connection).await?),
        None => None,
    };
    let groups = groups(names, connection).await?;
    let mut trails = Vec::new();
    for group in &groups {
        trails.push(prove(group, anchored.as_ref(), connection).await?);
    }
    if names.is_empty() {
        let anchored = anchored.iter().flat_map(Anchored::groups);
        for group in anchored.filter(|group| !groups.contains(group)) {
            trails.push(gone(group));
        }
    }
    let verified = Verified {
        whole: trails.iter().all(|trail| trail.whole),
        groups: trails,
        anchors: anchored.as_ref().map(Anchored::seen),
    };
    let exit = if verified.whole { Exit::Fine } else { Exit::No };
    let text = verified.text(screen);
    Ok(Answer::new(verified, text)?.ending(exit))
}

/// A trail that has anchors and is not there.
fn gone(group: &GroupName) -> Trail {
    let how = "it has anchors, and the ledger knows no such group".to_owned();
    Trail {
        group: group.clone(),
        whole: false,
        entries: 0,
        hash: String::new(),
        anchors: Some(0),
        broken: Some(Break { entry: None, how }),
    }
}

/// Reads a trail from its first entry to the end that the ledger's head says.
async fn prove(
    group: &GroupName,
    anchored: Option<&Anchored>,
    connection: &Connection,
) -> Result<Trail, Problem> {
    let ledger = connection.ledger();
    let mut verifier = Verifier::new();
    let mut entries = 0;
    let mut ended_at = None;
    let mut hash = String::new();
    let broken = loop {
        let page = match ledger.entries(group, entries, PAGE).await {
            Ok(page) => page,
            Err(LedgerError::Unreadable { key, why }) => {
                let how = format!("the ledger's item {key} can't be read: {why}");
                break Some(Break { entry: None, how });
            }
            Err(error) => return Err(connection.failed()(error)),
        };
        if page.is_empty() {
            // The head is read after the entries: it is never behind them.
            let snapshot = ledger
                .load(group, None)
                .await
                .map_err(connection.failed())?;
            let tip = snapshot
                .map(|snapshot| snapshot.head.tip)
                .unwrap_or_default();
            hash = tip.hash.to_string();
            match verifier.finish(&tip) {
                Ok(_) => break anchored.and_then(|a| a.beyond(group, entries)),
                // Entries were added meanwhile: go on, once for each end.
                Err(Broken::Tail { .. }) if tip.n > entries && ended_at != Some(entries) => {
                    ended_at = Some(entries);
                }
                Err(broken) => break Some(Break::of(&broken)),
            }
        } else {
            let result = page.iter().try_for_each(|entry| {
                verifier.push(entry).map_err(|broken| Break::of(&broken))?;
                let differs = anchored.and_then(|a| a.differs(group, entry));
                differs.map_or(Ok(()), Err)?;
                entries = entry.n;
                Ok(())
            });
            if let Err(broken) = result {
                break Some(broken);
            }
        }
    };
    Ok(Trail {
        group: group.clone(),
        whole: broken.is_none(),
        entries,
        hash,
        anchors: anchored.map(|a| a.of_group(group)),
        broken,
    })
}

impl Break {
    fn of(broken: &Broken) -> Self {
        let entry = match broken {
            Broken::Hash { n }
            | Broken::Link { n }
            | Broken::Missing { n }
            | Broken::Unreadable { n, .. } => Some(*n),
            Broken::Tail { .. } => None,
        };
        Self {
            entry,
            how: broken.to_string(),
        }
    }
}

impl Verified {
    fn text(&self, screen: &Screen) -> String {
        if self.groups.is_empty() {
            return "No pipeline is in force, so there is no audit trail yet.\n".to_owned();
        }
        let mut text = String::new();
        for trail in &self.groups {
            let entries = count(trail.entries, "entry", "entries");
            let Some(broken) = &trail.broken else {
                let whole = screen.paint(Paint::Good, "whole");
                let anchors = trail.anchors.map_or_else(String::new, |n| {
                    format!(", {} anchored", count(n, "of them", "of them"))
                });
                let _ = writeln!(
                    text,
                    "{}: {whole}, {entries}{anchors}\n  {}",
                    trail.group, trail.hash
                );
                continue;
            };
            let bad = screen.paint(Paint::Bad, "BROKEN");
            let _ = writeln!(text, "{}: {bad} after {entries}", trail.group);
            let help = broken.entry.map(|n| {
                format!(
                    "`tidegate audit show {} {n}` shows it as it is now; the table's point-in-time \
                     recovery has it as it was.",
                    trail.group
                )
            });
            for line in [Some(broken.how.clone()), help].into_iter().flatten() {
                for part in wrap(&clean(&line), screen.width.saturating_sub(2)) {
                    let _ = writeln!(text, "  {part}");
                }
            }
        }
        if let Some(seen) = &self.anchors {
            let newest = seen.newest.map_or_else(String::new, |at| {
                format!(", the newest of {}", screen.past(at))
            });
            let anchors = count(seen.count, "anchor", "anchors");
            let _ = writeln!(text, "compared with {anchors} in {}{newest}", seen.from);
        }
        text
    }
}

/// What `audit show --json` prints.
#[derive(Debug, Serialize)]
struct Shown {
    group: GroupName,
    n: u64,
    hash: String,
    /// The stored text as JSON; the text itself if it is none.
    body: Value,
}

async fn show(
    name: &str,
    n: u64,
    connection: &Connection,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let (group, snapshot) = connection.find(name).await?;
    let screen = screen.no_earlier_than(snapshot.head.now);
    let page = connection
        .ledger()
        .entries(&group, n - 1, 1)
        .await
        .map_err(connection.failed())?;
    let Some(entry) = page.into_iter().find(|entry| entry.n == n) else {
        let trail = count(snapshot.head.tip.n, "entry", "entries");
        return Err(Problem::new(Exit::No, format!("there is no entry {n}"))
            .at(format!("the trail of {group}, {trail}"))
            .help(format!("`tidegate history {group}` lists the newest")));
    };
    let body = body(&entry);
    let text = shown_text(&group, &entry, &body, &screen);
    Answer::new(
        Shown {
            group,
            n,
            hash: entry.hash.to_string(),
            body,
        },
        text,
    )
}

fn body(entry: &Entry) -> Value {
    serde_json::from_str(&entry.body).unwrap_or_else(|_| Value::String(entry.body.clone()))
}

fn shown_text(group: &GroupName, entry: &Entry, body: &Value, screen: &Screen) -> String {
    let title = format!("entry {} of {group}", entry.n);
    let mut text = format!("{}\n", screen.paint(Paint::Bold, &title));
    let mut field = |label: &str, value: &str| {
        for (i, part) in wrap(&clean(value), screen.width.saturating_sub(10))
            .iter()
            .enumerate()
        {
            let label = if i == 0 { label } else { "" };
            let _ = writeln!(text, "  {label:<8}{part}");
        }
    };
    let line = Line::of(entry);
    if let Some(at) = line.at {
        field("time", &screen.past(at));
    }
    field("what", &line.what);
    field("who", &line.who);
    field("why", &line.why);
    field("event", body["event"].as_str().unwrap_or("-"));
    let commit = body["policy"]["commit"]
        .as_str()
        .map_or_else(String::new, |c| format!(", commit {c}"));
    field(
        "policy",
        &format!("version {}{commit}", body["policy"]["version"]),
    );
    field("hash", entry.hash.as_str());
    field("before", body["prev"].as_str().unwrap_or("-"));
    text.push_str("  facts\n");
    let facts = if body.is_object() {
        &body["facts"]
    } else {
        body
    };
    for row in format!("{facts:#}").lines() {
        let _ = writeln!(text, "    {}", clean(row));
    }
    text
}

/// An entry in a line, read as leniently as possible: one that is broken or of a newer version is
/// shown with the rest, and `verify` says what is wrong with it.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) n: u64,
    pub(crate) at: Option<Timestamp>,
    pub(crate) what: String,
    pub(crate) who: String,
    pub(crate) why: String,
}

impl Line {
    /// The line of an entry.
    pub(crate) fn of(entry: &Entry) -> Self {
        match entry.read() {
            Ok(read) => Self {
                n: entry.n,
                at: Some(read.at),
                what: read.what.to_string(),
                who: read.who.to_string(),
                why: read.why,
            },
            Err(error) => {
                let body = body(entry);
                let text = |key: &str| body[key].as_str().map(str::to_owned);
                Self {
                    n: entry.n,
                    at: text("at").and_then(|at| at.parse().ok()),
                    what: text("what").unwrap_or_else(|| "unreadable".to_owned()),
                    who: text("who").unwrap_or_else(|| "unknown".to_owned()),
                    why: text("why").unwrap_or_else(|| error.to_string()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;
    use tidegate_core::audit::{Context, Draft, Tip, What, Who};
    use tidegate_core::name::EventId;

    fn group() -> GroupName {
        GroupName::parse("fraud-detection").unwrap()
    }

    fn screen() -> Screen {
        Screen {
            width: 100,
            color: false,
            now: "2026-11-24T21:36:05Z".parse().unwrap(),
        }
    }

    fn entry() -> Entry {
        let context = Context {
            group: &group(),
            event: &EventId("6f1a".to_owned()),
            at: "2026-11-24T21:30:00Z".parse().unwrap(),
            policy_version: 3,
            commit: Some("0123abc"),
        };
        let draft = Draft {
            who: Who::Tidegate,
            what: What::RolledBack,
            why: "v3 made more errors than v2".to_owned(),
            facts: json!({ "harm": 9.5 }),
        };
        Tip::default().seal(&context, draft)
    }

    #[test]
    fn a_shown_entry_has_all_that_was_written_down() {
        let entry = entry();
        insta::assert_snapshot!(shown_text(&group(), &entry, &body(&entry), &screen()));
    }

    #[test]
    fn an_entry_that_is_no_json_is_shown_all_the_same() {
        let entry = Entry {
            body: "\u{1b}[2J gone".to_owned(),
            ..entry()
        };
        let line = Line::of(&entry);
        assert_eq!(line.what, "unreadable");
        let text = shown_text(&group(), &entry, &body(&entry), &screen());
        assert!(text.contains("gone") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn an_entry_with_a_word_of_a_newer_version_is_still_read() {
        let entry = entry();
        let entry = Entry {
            body: entry.body.replace("rolled-back", "teleported"),
            ..entry
        };
        let line = Line::of(&entry);
        assert_eq!(
            (line.what.as_str(), line.why.as_str()),
            ("teleported", "v3 made more errors than v2")
        );
    }

    #[test]
    fn a_broken_trail_says_where_and_what_to_do() {
        let trail = |broken: Option<Broken>| Trail {
            group: group(),
            whole: broken.is_none(),
            entries: 4,
            hash: "ab".repeat(32),
            anchors: None,
            broken: broken.as_ref().map(Break::of),
        };
        let verified = Verified {
            whole: false,
            groups: vec![trail(None), trail(Some(Broken::Hash { n: 5 }))],
            anchors: None,
        };
        insta::assert_snapshot!(verified.text(&screen()));
    }
}
