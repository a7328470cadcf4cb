//! What the audit trail says of monitoring schedules and their jobs: which pipeline a schedule is
//! of, what was seen of it last, and what was done about a job.

use serde_json::Value;
use tidegate_core::audit::{Entry, What};
use tidegate_core::ledger::{Ledger as _, Route, RouteKind, Snapshot};
use tidegate_core::name::{GroupName, ScheduleName};
use tidegate_core::run_once;

use super::aws::Schedule;
use crate::audit::Line;
use crate::connect::Connection;
use crate::error::Problem;
use crate::history::newest;

/// How far back the trail is read, entries.
pub(super) const FAR: u64 = 1_000;

/// The newest entries of a pipeline's trail.
#[derive(Debug)]
pub(super) struct Trail {
    entries: Vec<Entry>,
    /// There are older ones that were not read.
    pub(super) is_cut: bool,
}

impl Trail {
    pub(super) async fn of(
        connection: &Connection,
        group: &GroupName,
        snapshot: &Snapshot,
    ) -> Result<Self, Problem> {
        let total = snapshot.head.tip.n;
        Ok(Self {
            entries: newest(connection, group, total, FAR).await?,
            is_cut: total > FAR,
        })
    }

    /// The newest entry on findings of a schedule, or of a run of it.
    pub(super) fn seen_last(&self, schedule: &ScheduleName) -> Option<Line> {
        let is_of_it = |entry: &&Entry| {
            let body: Value = serde_json::from_str(&entry.body).unwrap_or_default();
            let why = body["why"].as_str().unwrap_or_default();
            // Long facts are summarised; the sentence begins with the schedule all the same.
            let named = body["facts"]["schedule"]
                .as_str()
                .or_else(|| why.split_once(" found ").map(|(name, _)| name))
                .or_else(|| {
                    let rest = why.strip_prefix("The monitoring schedule ")?;
                    rest.split_once(' ').map(|(name, _)| name)
                });
            let named = named.and_then(|name| ScheduleName::parse(name).ok());
            let is_it = |name: &ScheduleName| {
                name == schedule || run_once::origin(name).as_ref() == Some(schedule)
            };
            body["what"] == What::ViolationSeen.to_string() && named.as_ref().is_some_and(is_it)
        };
        self.entries.iter().rev().find(is_of_it).map(Line::of)
    }

    /// The entries that name a job, oldest first.
    pub(super) fn about(&self, job: &str) -> Vec<Line> {
        let named = self.entries.iter().filter(|entry| entry.body.contains(job));
        named.map(Line::of).collect()
    }
}

/// The pipeline that findings of a schedule belong to, found as the functions find it.
pub(super) async fn pipeline_of(
    connection: &Connection,
    schedule: &Schedule,
) -> Result<Option<(GroupName, Snapshot)>, Problem> {
    let origin = run_once::origin(&schedule.name).map(|name| name.to_string());
    let by_name = [Some(schedule.name.to_string()), origin];
    let routes = by_name
        .into_iter()
        .flatten()
        .map(|name| (RouteKind::Schedule, name))
        .chain(
            schedule
                .endpoint
                .clone()
                .map(|name| (RouteKind::Endpoint, name)),
        );
    let ledger = connection.ledger();
    for (kind, name) in routes {
        let route = Route { kind, name };
        if let Some(group) = ledger.route(&route).await.map_err(connection.failed())?
            && let Some(snapshot) = ledger
                .load(&group, None)
                .await
                .map_err(connection.failed())?
        {
            return Ok(Some((group, snapshot)));
        }
    }
    Ok(None)
}
