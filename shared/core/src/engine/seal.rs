//! Makes a commit of a decision: entries are chained, notices and effects get their ids, and all of
//! it stays within its bounds.

use jiff::Timestamp;

use super::EngineError;
use crate::audit::Context;
use crate::bounds::TRANSACTION_ITEMS;
use crate::decision::{Decision, Note};
use crate::ledger::{AppliedPolicy, Commit, Lane, Pending};
use crate::mutation::Mutation;
use crate::name::EventId;
use crate::notice::{Notice, fitting, headline};
use crate::rollout::Rollout;
use crate::world::Effect;

/// The most effects of one decision; more is a bug.
const MOST_EFFECTS: usize = 60;

/// The most effects whose outcomes are decided on at once: each may lead to a notice and to effects,
/// all in one transaction.
pub(super) const MOST_SETTLED: usize = 10;

/// Makes the commit. `event` is what the entries name; it is marked as seen if `marks` says so.
pub(super) fn seal(
    decision: Decision,
    applied: &AppliedPolicy,
    pending: &[Pending],
    event: &EventId,
    now: Timestamp,
) -> Commit {
    let expected = decision.head.version;
    let mut head = decision.head;
    head.fit();
    head.version += 1;
    head.now = Some(now);
    let pipeline = &applied.policy.pipeline;
    let context = Context {
        group: &pipeline.group,
        event,
        at: now,
        policy_version: applied.version,
        commit: applied.commit.as_deref(),
    };
    let mut effects = decision.effects;
    let mut entries = Vec::with_capacity(decision.notes.len());
    for note in decision.notes {
        let what = note.draft.what.word().to_owned();
        let Note { draft, about, tell } = note;
        let entry = head.tip.seal(&context, draft);
        if let Some(tell) = tell.filter(|_| !Mutation::ForgetNotice.is_on()) {
            let notice = Notice {
                id: format!("{}/{}", pipeline.group, entry.n),
                at: now,
                severity: tell.severity,
                what,
                headline: headline(&tell.headline),
                lines: fitting(tell.lines),
                pipeline: pipeline.name.clone(),
                group: pipeline.group.clone(),
                version: about.version,
                endpoint: about.endpoint,
                rollout: about.rollout,
            };
            let lane = Lane::Notice(notice.id.clone());
            let topic = applied.policy.notify.topic.clone();
            let notice = Box::new(notice);
            effects.push((
                lane.clone(),
                Effect::Tell {
                    topic,
                    notice: notice.clone(),
                },
            ));
            effects.push((lane, Effect::Announce { notice }));
        }
        if !(Mutation::DropEntry.is_on() && entry.n.is_multiple_of(5)) {
            entries.push(entry);
        }
    }
    let done = pending
        .iter()
        .filter(|p| decision.cancelled.contains(&p.lane))
        .map(|p| p.id.clone())
        .collect();
    let add = effects
        .into_iter()
        .enumerate()
        .map(|(i, (lane, effect))| Pending {
            id: format!("{:012}-{i:03}", head.version),
            lane,
            at: now,
            effect,
        })
        .collect();
    let mut finished = decision.finished;
    finished.iter_mut().for_each(Rollout::fit);
    Commit {
        entries,
        add,
        done,
        finished,
        jobs: decision.jobs,
        routes: decision.routes,
        dropped_routes: decision.dropped_routes,
        ..Commit::of(expected, head)
    }
}

/// Refuses what is too much for one transaction.
pub(super) fn check(commit: &Commit) -> Result<(), EngineError> {
    let (effects, items) = (commit.add.len(), commit.items());
    if effects > MOST_EFFECTS || items > TRANSACTION_ITEMS {
        return Err(EngineError::TooMuch { effects, items });
    }
    Ok(())
}
