//! `tidegate audit export`: trails as JSON Lines with their hashes, for who keeps and proves them
//! elsewhere.
//!
//! A line of the group comes first, with the end of its trail by the ledger's head. Then comes a
//! line for each entry, its body the stored text to the letter: `docs/verify_audit.py` proves them
//! with nothing of ours. Nothing is held in memory but a page.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};

use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::audit::{Entry, Hash, Tip};
use tidegate_core::ledger::Ledger as _;
use tidegate_core::name::GroupName;

use super::PAGE;
use crate::answer::Answer;
use crate::args::AuditExport;
use crate::connect::Connection;
use crate::error::{Exit, Problem};
use crate::render::count;

/// The form of the lines; a reader refuses one that it doesn't know.
const FORM: u8 = 1;

/// The first line of a group.
#[derive(Debug, Serialize)]
struct Heading<'a> {
    tidegate_audit_export: u8,
    group: &'a GroupName,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    /// The end of the whole trail, whatever part of it follows.
    tip: &'a Tip,
}

/// The line of an entry.
#[derive(Debug, Serialize)]
struct Line<'a> {
    group: &'a GroupName,
    n: u64,
    hash: &'a Hash,
    body: &'a str,
}

/// Writes the trails.
pub(super) async fn run(args: &AuditExport, connection: &Connection) -> Result<Answer, Problem> {
    let now = Timestamp::now();
    let (from, to) = (args.from.map(|t| t.at(now)), args.to.map(|t| t.at(now)));
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err(Problem::new(
            Exit::Usage,
            format!("--from {from} is not before --to {to}"),
        )
        .help("give an earlier --from, or leave one of them out"));
    }
    let groups = super::groups(&args.groups, connection).await?;
    let mut out: BufWriter<Box<dyn Write>> = BufWriter::new(match &args.output {
        Some(path) => Box::new(File::create(path).map_err(|error| {
            Problem::new(Exit::Usage, "the file can't be written")
                .at(path.display())
                .why(error)
        })?),
        None => Box::new(stdout()),
    });
    let mut lines = 0;
    for group in &groups {
        lines += group_lines(group, (from, to), connection, &mut out).await?;
    }
    out.flush().map_err(unwritten)?;
    let said = format!(
        "{} of {}\n",
        count(lines, "entry", "entries"),
        count(groups.len() as u64, "group", "groups")
    );
    // Standard output has the lines already.
    Ok(Answer::silent().remarking(said))
}

/// The heading of a group and the entries of a time, oldest first. How many entries it were.
async fn group_lines(
    group: &GroupName,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    connection: &Connection,
    out: &mut impl Write,
) -> Result<u64, Problem> {
    let ledger = connection.ledger();
    let failed = connection.failed();
    // Read before the entries: what is added meanwhile is for the next export.
    let snapshot = ledger.load(group, None).await.map_err(&failed)?;
    let tip = snapshot.map(|s| s.head.tip).unwrap_or_default();
    let heading = Heading {
        tidegate_audit_export: FORM,
        group,
        from,
        to,
        tip: &tip,
    };
    line(out, &heading)?;
    let (mut after, mut written) = (0, 0);
    while after < tip.n {
        let page = ledger.entries(group, after, PAGE).await.map_err(&failed)?;
        let Some(last) = page.last() else { break };
        after = last.n.max(after + 1);
        for entry in page
            .iter()
            .filter(|e| e.n <= tip.n && is_within(e, from, to))
        {
            let Entry { n, body, hash } = entry;
            line(
                out,
                &Line {
                    group,
                    n: *n,
                    hash,
                    body,
                },
            )?;
            written += 1;
        }
    }
    Ok(written)
}

/// Whether an entry is of that time. One that can't be read belongs to every time: who proves the
/// lines is to see it.
fn is_within(entry: &Entry, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    let Ok(read) = entry.read() else { return true };
    from.is_none_or(|from| read.at >= from) && to.is_none_or(|to| read.at < to)
}

fn line(out: &mut impl Write, value: &impl Serialize) -> Result<(), Problem> {
    let text = serde_json::to_string(value).map_err(unwritten)?;
    writeln!(out, "{text}").map_err(unwritten)
}

fn unwritten(why: impl std::fmt::Display) -> Problem {
    Problem::new(Exit::Usage, "the export can't be written").why(why)
}
