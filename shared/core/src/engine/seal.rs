//! Makes a commit of a decision: entries are chained, notices and effects get their ids, and all of
//! it stays within its bounds.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::EngineError;
use crate::audit::{Context, What};
use crate::bounds::TRANSACTION_ITEMS;
use crate::decision::{Decision, Note};
use crate::head::Head;
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
    let notes = explained(decision.notes, &effects, &head);
    let mut entries = Vec::with_capacity(notes.len());
    for note in notes {
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

/// The notes with the calls that they led to, so that every change which AWS sees is found in the
/// trail by the name of what was changed. Calls that no note is about get one of their own.
fn explained(mut notes: Vec<Note>, effects: &[(Lane, Effect)], head: &Head) -> Vec<Note> {
    if Mutation::DontExplain.is_on() {
        return notes;
    }
    let mut calls: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (lane, effect) in effects {
        let rollout = match lane {
            Lane::Rollout(id) => Some(id),
            _ => None,
        };
        let is_about = |note: &Note| rollout.is_none() || note.about.rollout.as_ref() == rollout;
        let place = notes.iter().rposition(is_about).unwrap_or_else(|| {
            notes.push(asks(rollout.and_then(|id| head.rollout(id))));
            notes.len() - 1
        });
        calls.entry(place).or_default().push(effect.in_words());
    }
    for (place, calls) in calls {
        let facts = &mut notes[place].draft.facts;
        if let Some(facts) = facts.as_object_mut() {
            facts.insert("calls".to_owned(), json!(calls));
        } else {
            *facts = json!({ "facts": facts, "calls": calls });
        }
    }
    notes
}

/// A note for calls on the way to what was decided before.
fn asks(rollout: Option<&Rollout>) -> Note {
    let facts = json!({});
    match rollout {
        Some(rollout) => {
            let (version, endpoint) = (rollout.candidate.version, &rollout.endpoint);
            let phase = rollout.phase_word();
            let why = format!("{version} on {endpoint} is {phase}: its next calls are asked for.");
            Note::new(What::CallsAsked, why, facts).rollout(rollout)
        }
        None => Note::new(What::CallsAsked, "Calls are asked for.", facts),
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
