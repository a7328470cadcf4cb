//! Anchors beside the trails: what the last entry of each was once an hour, from the bucket that
//! `housekeeping` keeps them in, or from files. They show a trail that was rewritten as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::audit::{Anchor, Entry, anchors_in};
use tidegate_core::name::GroupName;

use super::Break;
use crate::connect::Connection;
use crate::error::{Exit, Problem, advice};

/// The largest file that is read, bytes.
const LARGEST: u64 = 256 * 1024 * 1024;

/// What was anchored of each group.
#[derive(Debug, Default)]
pub(super) struct Anchored {
    /// Anchors by group and entry.
    groups: BTreeMap<GroupName, BTreeMap<u64, Vec<Anchor>>>,
    seen: Seen,
}

/// How many anchors there are.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Seen {
    pub(super) from: String,
    pub(super) count: u64,
    /// The newest that says when it was made.
    pub(super) newest: Option<Timestamp>,
}

/// Reads all anchors of a place: `s3://BUCKET`, a file, or a folder of files.
pub(super) async fn read(place: &str, connection: &Connection) -> Result<Anchored, Problem> {
    let anchors = match place.strip_prefix("s3://") {
        Some(bucket) => of_bucket(bucket.trim_end_matches('/'), connection).await?,
        None => of_files(Path::new(place))?,
    };
    if anchors.is_empty() {
        return Err(
            Problem::new(Exit::No, format!("there are no anchors in {place}")).help(
                "`housekeeping` keeps them once an hour where the stack's AnchorMode is set, and \
                 logs them in any case (docs/governance.md)",
            ),
        );
    }
    Ok(Anchored::of(place, anchors))
}

async fn of_bucket(bucket: &str, connection: &Connection) -> Result<Vec<Anchor>, Problem> {
    if bucket.is_empty() || bucket.contains('/') {
        let what = format!("s3://{bucket} is no bucket");
        return Err(Problem::new(Exit::Usage, what)
            .help("give the stack's output AnchorBucketName: --anchors s3://BUCKET"));
    }
    connection.world().anchors(bucket).await.map_err(|error| {
        let mut problem = Problem::new(Exit::Aws, "the anchors can't be read")
            .at(format!("s3://{bucket}"))
            .why(&error);
        problem.help = advice(&error.to_string(), None);
        problem
    })
}

fn of_files(path: &Path) -> Result<Vec<Anchor>, Problem> {
    let unread = |path: &Path, why: &dyn std::fmt::Display| {
        Problem::new(Exit::Usage, "the anchors can't be read")
            .at(path.display())
            .why(why)
            .help(
                "give --anchors s3://BUCKET (the stack's output AnchorBucketName), or a file or \
                 folder of what was copied from there or of housekeeping's log",
            )
    };
    let mut anchors = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let about = fs::metadata(&path).map_err(|error| unread(&path, &error))?;
        if about.is_dir() {
            let within = fs::read_dir(&path).map_err(|error| unread(&path, &error))?;
            let within: Result<Vec<PathBuf>, _> = within.map(|e| e.map(|e| e.path())).collect();
            left.extend(within.map_err(|error| unread(&path, &error))?);
            continue;
        }
        if about.len() > LARGEST {
            return Err(unread(&path, &format!("it has more than {LARGEST} bytes")));
        }
        let text = fs::read_to_string(&path).map_err(|error| unread(&path, &error))?;
        anchors.extend(anchors_in(&text).map_err(|error| unread(&path, &error))?);
    }
    Ok(anchors)
}

impl Anchored {
    fn of(place: &str, anchors: Vec<Anchor>) -> Self {
        let mut anchored = Self {
            seen: Seen {
                from: place.to_owned(),
                ..Seen::default()
            },
            ..Self::default()
        };
        for anchor in anchors {
            anchored.seen.count += 1;
            anchored.seen.newest = anchored.seen.newest.max(anchor.at);
            let entries = anchored.groups.entry(anchor.group.clone()).or_default();
            // Before its first entry there is nothing of a trail to compare.
            if anchor.n > 0 {
                entries.entry(anchor.n).or_default().push(anchor);
            }
        }
        anchored
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// The groups that have anchors.
    pub(super) fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.keys()
    }

    /// How many entries of a group were anchored.
    pub(super) fn of_group(&self, group: &GroupName) -> u64 {
        self.groups.get(group).map_or(0, |all| all.len() as u64)
    }

    /// An entry that is not the one that was anchored.
    pub(super) fn differs(&self, group: &GroupName, entry: &Entry) -> Option<Break> {
        let anchors = self.groups.get(group)?.get(&entry.n)?;
        let other = anchors.iter().find(|anchor| anchor.hash != entry.hash)?;
        let how = format!(
            "entry {} is not the one that was anchored{}: the trail was rewritten since",
            entry.n,
            when(other.at)
        );
        let entry = Some(entry.n);
        Some(Break { entry, how })
    }

    /// An entry that was anchored, of a trail that ends before it.
    pub(super) fn beyond(&self, group: &GroupName, entries: u64) -> Option<Break> {
        let (n, anchors) = self.groups.get(group)?.range(entries + 1..).next()?;
        let at = anchors.first().and_then(|anchor| anchor.at);
        let how = format!(
            "entry {n} was anchored{} and is not there: the trail was cut off",
            when(at)
        );
        Some(Break { entry: None, how })
    }
}

fn when(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| format!(" at {at}"))
}
