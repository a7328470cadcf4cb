//! What must hold while CloudWatch answers with errors alone: nothing moves on unwatched, and people
//! are told in time.

use std::collections::BTreeMap;

use tidegate_core::rollout::{Phase, Rollout};

use super::commit::Look;
use super::rollout::rank;
use crate::invariant::Invariant;
use crate::town::{MINUTE, Town};

/// A function that got its answer before the silence may still write what it decided.
const RACE: i64 = 2 * MINUTE;

/// After how long people are told, and what clocks that are off may add.
const TOLD_AFTER: i64 = 10 * MINUTE;

/// So many looks later than that one has written what it saw, whatever crashes.
const LOOKS: u32 = 3;

/// An endpoint whose counts were asked for and not answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blind {
    since: i64,
    /// When a rollout there first wrote that it does not see.
    written: Option<i64>,
    /// Looks without an answer since people should know.
    late: u32,
    /// Whether there was an answer since.
    is_over: bool,
}

/// The endpoints that are, or were until just now, without counts.
#[derive(Debug, Default)]
pub(crate) struct Blindness(BTreeMap<String, Blind>);

impl Town {
    /// Notes whether the counts of an endpoint were answered.
    pub(crate) fn saw_counts(&mut self, endpoint: &str, is_answered: bool) {
        let now = self.now;
        if is_answered {
            if let Some(blind) = self.blindness.0.get_mut(endpoint) {
                blind.is_over = true;
            }
            return;
        }
        let new = Blind {
            since: now,
            written: None,
            late: 0,
            is_over: false,
        };
        let blind = self.blindness.0.entry(endpoint.to_owned()).or_insert(new);
        if blind.is_over {
            *blind = new;
        }
        if blind.written.is_some_and(|at| now - at >= TOLD_AFTER) {
            blind.late += 1;
        }
    }
}

/// Looks at a rollout before and after a commit.
pub(super) fn holds(look: &mut Look<'_>, old: &Rollout, new: &Rollout) {
    let (now, endpoint) = (look.now, new.endpoint.as_str());
    let Some(blind) = look.blindness.0.get_mut(endpoint) else {
        return;
    };
    if is_watched(old) && new.unanswered.is_some() {
        blind.written.get_or_insert(now);
    }
    let blind = *blind;
    let minutes = (now - blind.since) / MINUTE;
    if blind.is_over || !is_watched(new) {
        look.blindness.0.remove(endpoint);
    }
    if blind.late >= LOOKS {
        let mut silences = [old.unanswered, new.unanswered].into_iter().flatten();
        let is_told = silences.any(|silence| silence.told);
        look.hold(Invariant::SilenceHolds, is_told, || {
            format!(
                "nobody was told that {} is not watched, for {minutes} minutes",
                new.id
            )
        });
    }
    if blind.is_over || !is_watched(old) || now - blind.since < RACE {
        return;
    }
    // What was deployed alone has nothing to go back to: a rejection or a newer version ends its
    // watch.
    let is_let_go = !new.has_canary() && matches!(new.phase, Phase::Done);
    let stays = is_let_go || rank(&new.phase).is_none_or(|to| Some(to) == rank(&old.phase));
    look.hold(Invariant::SilenceHolds, stays, || {
        format!(
            "{} went from {:?} to {:?}, and CloudWatch had been silent for {minutes} minutes",
            new.id, old.phase, new.phase
        )
    });
}

/// Whether a rollout's phase asks for counts.
fn is_watched(rollout: &Rollout) -> bool {
    match rollout.phase {
        Phase::Step { since, .. } | Phase::Reducing { since } => since.is_some(),
        Phase::Baking { .. } => true,
        _ => false,
    }
}
