//! Once an hour the end of every audit trail is logged, and kept where it can't be written over, if
//! the installation has such a place.
//!
//! Whoever can write to the ledger can rewrite a trail from some entry on, head included. The log and
//! the bucket are other places with other permissions: an entry that was anchored can't be rewritten
//! unnoticed. `tidegate audit verify --anchors` and `docs/verify_audit.py` compare the two.

use futures_util::stream::{self, StreamExt as _};

use super::Handled;
use crate::audit::{Anchors, Tip};
use crate::event::Event;
use crate::ledger::{Ledger, LedgerError, RouteKind};
use crate::name::GroupName;
use crate::world::World;

/// Housekeeping comes every five minutes: the first time of an hour is the one.
const FIRST_SECONDS: i64 = 5 * 60;

/// How many trails are looked up side by side.
const AT_ONCE: usize = 8;

/// Logs and keeps the ends of all trails, if it is time. One that can't be read now is left for the
/// next hour.
pub(super) async fn run<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    event: &Event,
    handled: &mut Handled,
) {
    if !is_due(event) {
        return;
    }
    let ends = match ends(ledger).await {
        Ok(ends) => ends,
        Err(error) => {
            tracing::warn!(%error, "no audit anchors now");
            return;
        }
    };
    for (group, tip) in &ends {
        tracing::info!(%group, n = tip.n, hash = %tip.hash, "audit anchor");
    }
    let anchors = Anchors { at: event.at, ends };
    if anchors.ends.is_empty() {
        return;
    }
    if let Err(error) = world.keep_anchors(&anchors).await {
        tracing::warn!(%error, "audit anchors were not kept");
        handled
            .failed
            .push(format!("audit anchors were not kept: {error}"));
    }
}

/// Whether it is the first time in this hour.
pub(super) fn is_due(event: &Event) -> bool {
    event.at.as_second().rem_euclid(3_600) < FIRST_SECONDS
}

/// The ends of the trails of all pipelines.
pub(super) async fn ends<L: Ledger>(ledger: &L) -> Result<Vec<(GroupName, Tip)>, LedgerError> {
    let groups = ledger.routes(RouteKind::Pipeline).await?;
    let mut loaded = stream::iter(groups)
        .map(|(_, group)| async {
            let snapshot = ledger.load(&group, None).await;
            (group, snapshot)
        })
        .buffer_unordered(AT_ONCE);
    let mut ends = Vec::new();
    while let Some((group, snapshot)) = loaded.next().await {
        match snapshot {
            Ok(Some(snapshot)) => ends.push((group, snapshot.head.tip)),
            Ok(None) => {}
            Err(error) => tracing::warn!(%group, %error, "no audit anchor now"),
        }
    }
    ends.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(ends)
}
