//! Finds the rollout that a person means: an id or the start of one, or a pipeline, whose running
//! rollout is meant, else its newest.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidegate_core::ledger::{Ledger as _, Snapshot};
use tidegate_core::name::{GroupName, RolloutId};
use tidegate_core::rollout::Rollout;

use crate::connect::Connection;
use crate::error::{Exit, Problem, short};

/// How many finished rollouts of a group are looked at, the newest; the ledger gives no more.
const MOST: u32 = 100;

/// How many groups are read side by side.
const AT_ONCE: usize = 8;

/// How many rollouts are named in a complaint.
const NAMED: usize = 10;

/// A rollout, and where it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) group: GroupName,
    pub(crate) snapshot: Snapshot,
    pub(crate) rollout: Rollout,
}

/// The rollout that `wanted` means, in the pipeline that is named or in all.
pub(crate) async fn find(
    connection: &Connection,
    wanted: &str,
    pipeline: Option<&str>,
) -> Result<Found, Problem> {
    if let Some(pipeline) = pipeline {
        let (group, snapshot) = connection.find(pipeline).await?;
        return by_id(connection, wanted, vec![(group, snapshot)]).await;
    }
    match connection.find(wanted).await {
        Ok((group, snapshot)) => return newest(connection, group, snapshot).await,
        Err(problem) if problem.exit == Exit::No => {}
        Err(problem) => return Err(problem),
    }
    let groups: Vec<(GroupName, Snapshot)> = stream::iter(connection.groups().await?)
        .map(|group| async move {
            let snapshot = connection.ledger().load(&group, None).await?;
            Ok::<_, tidegate_core::ledger::LedgerError>(snapshot.map(|s| (group, s)))
        })
        .buffered(AT_ONCE)
        .try_filter_map(|found| std::future::ready(Ok(found)))
        .try_collect()
        .await
        .map_err(connection.failed())?;
    by_id(connection, wanted, groups).await
}

/// The rollout of a pipeline that is under way, else the one that ended last.
async fn newest(
    connection: &Connection,
    group: GroupName,
    snapshot: Snapshot,
) -> Result<Found, Problem> {
    let running = snapshot.head.rollouts.values().max_by_key(|r| r.started);
    let rollout = match running {
        Some(rollout) => Some(rollout.clone()),
        None => finished(connection, &group)
            .await?
            .into_iter()
            .max_by_key(|r| r.ended),
    };
    match rollout {
        Some(rollout) => Ok(Found {
            group,
            snapshot,
            rollout,
        }),
        None => Err(Problem::new(
            Exit::No,
            format!("the group {group} has had no rollout yet"),
        )
        .help("approve a model package of the group, and its rollout starts")),
    }
}

async fn by_id(
    connection: &Connection,
    wanted: &str,
    groups: Vec<(GroupName, Snapshot)>,
) -> Result<Found, Problem> {
    let finished: Vec<Vec<Rollout>> = stream::iter(&groups)
        .map(|(group, _)| finished(connection, group))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut found = Vec::new();
    let mut known = Vec::new();
    for ((group, snapshot), finished) in groups.into_iter().zip(finished) {
        let running = snapshot.head.rollouts.values().cloned();
        for rollout in running.chain(finished) {
            if rollout.id.0 == wanted {
                return Ok(Found {
                    group,
                    snapshot,
                    rollout,
                });
            }
            known.push((rollout.started, rollout.id.to_string()));
            if !wanted.is_empty() && rollout.id.0.starts_with(wanted) {
                found.push((group.clone(), snapshot.clone(), rollout));
            }
        }
        // One that ended long ago is found by its whole id.
        if found.is_empty()
            && let Some(rollout) = connection
                .ledger()
                .rollout(&group, &RolloutId(wanted.to_owned()))
                .await
                .map_err(connection.failed())?
        {
            return Ok(Found {
                group,
                snapshot,
                rollout,
            });
        }
    }
    if found.len() > 1 {
        let ids = found.iter().map(|(_, _, r)| (r.started, r.id.to_string()));
        return Err(Problem::new(
            Exit::No,
            format!(
                "{} rollouts have an id that starts with {:?}",
                found.len(),
                short(wanted)
            ),
        )
        .help(format!("give more of the id: {}", names(ids.collect()))));
    }
    if let Some((group, snapshot, rollout)) = found.pop() {
        return Ok(Found {
            group,
            snapshot,
            rollout,
        });
    }
    let problem = Problem::new(
        Exit::No,
        format!("no rollout or pipeline {:?} is known", short(wanted)),
    );
    Err(if known.is_empty() {
        problem.help("there has been no rollout yet; `tidegate status` lists the pipelines")
    } else {
        problem
            .help(format!("the newest are {}", names(known)))
            .help("`tidegate history GROUP --rollouts` lists those that have ended")
    })
}

async fn finished(connection: &Connection, group: &GroupName) -> Result<Vec<Rollout>, Problem> {
    let found = connection.ledger().rollouts(group, MOST).await;
    found.map_err(connection.failed())
}

/// Ids, the newest first, not too many.
fn names(mut ids: Vec<(jiff::Timestamp, String)>) -> String {
    ids.sort_by(|a, b| b.cmp(a));
    let more = ids.len().saturating_sub(NAMED);
    let shown: Vec<String> = ids.into_iter().take(NAMED).map(|(_, id)| id).collect();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    shown.join(", ") + &more
}
