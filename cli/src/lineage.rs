//! `tidegate lineage`: where a version comes from, down to data and commit, and where it went.

use serde::Serialize;

use crate::answer::Answer;
use crate::args;
use crate::connect::Connection;
use crate::error::{Exit, Problem};
use crate::render::Screen;

mod dot;
mod tree;
pub(crate) mod version;

use tree::Branch;
use version::{Named, Version};

/// Shows a version and the versions that it was retrained from.
pub(crate) async fn run(
    args: &args::Lineage,
    connection: &Connection,
    screen: &Screen,
    as_json: bool,
) -> Result<Answer, Problem> {
    if args.dot && as_json {
        return Err(
            Problem::new(Exit::Usage, "--dot and --json are two answers").help("give one of them"),
        );
    }
    let mut versions = vec![Version::find(connection, &args.version).await?];
    while let Some(parent) = next(&versions)
        && versions.len() <= usize::from(args.parents)
    {
        match Version::find(connection, &parent).await {
            Ok(version) => versions.push(version),
            // A parent that was deleted is named by its child.
            Err(problem) if problem.exit == Exit::No => break,
            Err(problem) => return Err(problem),
        }
    }
    let text = if args.dot {
        dot::graph(&versions)
    } else {
        let newest = versions.iter().map(|v| v.approval.at).max();
        Branch::of(&versions).text(&screen.no_earlier_than(newest))
    };
    Answer::new(Lineage { versions }, text)
}

/// The version that the last one was retrained from, unless it was there before.
fn next(versions: &[Version]) -> Option<Named> {
    let last = versions.last()?;
    let version = last.parent?;
    let is_new = versions.iter().all(|v| v.version != version);
    is_new.then(|| Named {
        group: last.group.to_string(),
        version,
    })
}

/// What `lineage --json` prints: the version, then the one that it was retrained from, and so on.
#[derive(Debug, Serialize)]
struct Lineage {
    versions: Vec<Version>,
}
