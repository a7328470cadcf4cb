//! What a finding on a stage's endpoint leads to, by the policy's `[monitor] on_finding`: the
//! version before takes over, a retraining starts, or people are told.
//!
//! A report with a schema error is only told, whatever else is in it, unless the policy says more of
//! schema errors: what drifted may come of the error, and a retraining would learn it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;

use super::{Found, is_to_blame, take_candidate_back, tell_once};
use crate::audit::What;
use crate::candidate::Candidate;
use crate::case::Case;
use crate::decision::{Decision, Note, Tell};
use crate::event::Approval;
use crate::finding::FindingKind;
use crate::head::{Champion, Waiting};
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::{OnFinding, Reaction, Stage};
use crate::retrain;
use crate::turn::enqueue;
use crate::world::Question;

/// What has to be known to let the version before take over.
pub(super) fn needs(case: &Case<'_>) -> Vec<Question> {
    if !case.policy().monitor.on_finding.may_roll_back() {
        return Vec::new();
    }
    let champions = case.snapshot.head.champions.values();
    let previous = champions.filter_map(|c| c.previous.as_ref());
    previous
        .map(|previous| Question::Package {
            arn: previous.package.clone(),
        })
        .collect()
}

/// Does what the policy says about a finding.
pub(super) fn react(
    case: &Case<'_>,
    stage: &Stage,
    found: &Found,
    note: Note,
    decision: &mut Decision,
) {
    let (reaction, why) = reaction(&case.policy().monitor.on_finding, &found.kinds);
    let rolling = decision.head.rollouts.get(&stage.name);
    let blamed = rolling.filter(|r| is_to_blame(r, found.variant.as_deref(), found.since));
    if let Some(rollout) = blamed.filter(|_| reaction != Reaction::Tell).cloned() {
        decision.notes.push(note);
        take_candidate_back(case, &rollout, found, decision);
        return;
    }
    let is_blamed = blamed.is_some();
    let champion = decision.head.champions.get(&stage.name);
    let is_of_champion = rolling.is_none_or(|r| r.all_traffic_since().is_none())
        && champion.is_none_or(|c| found.since >= c.since)
        && !decision
            .head
            .monitors
            .is_mixed(&stage.endpoint, found.since);
    let words = found.kinds.first().map_or("A finding", |k| k.words());
    if !is_of_champion && !is_blamed {
        let earlier = "Its data is from before the present version had all the traffic: nothing \
                       was changed.";
        let tell = Tell {
            severity: Severity::Info,
            headline: format!("{words} on {}, of an earlier model", stage.endpoint),
            lines: [found.lines.clone(), vec![earlier.to_owned()]].concat(),
        };
        tell_once(
            case,
            stage,
            &format!("earlier/{words}"),
            note,
            tell,
            decision,
        );
        return;
    }
    let headline = format!("{words} on {}", stage.endpoint);
    let takes_over = (reaction == Reaction::RollBack)
        .then(|| predecessor(case, stage, decision))
        .flatten();
    if let Some((champion, previous)) = takes_over {
        decision.notes.push(note);
        give_way(case, stage, found, &champion, previous, decision);
        return;
    }
    let mut lines = found.lines.clone();
    if reaction == Reaction::Tell {
        lines.push(why);
    }
    let tell = Tell {
        severity: Severity::Warning,
        headline,
        lines,
    };
    tell_once(case, stage, words, note, tell, decision);
    if reaction != Reaction::Tell {
        retrain::decide(case, stage, found, decision);
    }
}

/// What these kinds lead to together, and why it is no more.
pub(super) fn reaction(policy: &OnFinding, kinds: &BTreeSet<FindingKind>) -> (Reaction, String) {
    let strongest = kinds.iter().map(|kind| policy.of(*kind)).max();
    let strongest = strongest.unwrap_or(Reaction::Tell);
    if kinds.contains(&FindingKind::Schema)
        && policy.schema == Reaction::Tell
        && !Mutation::RetrainOnSchema.is_on()
    {
        let why = if kinds.len() > 1 {
            "The data does not fit the schema, and the rest may come of that: nothing else is \
             done, since a retraining would learn the error. Mend the data."
        } else {
            "Nothing else is done: a retraining would learn the error. Mend the data."
        };
        return (Reaction::Tell, why.to_owned());
    }
    let why = match kinds.first() {
        None | Some(FindingKind::Unknown) => "What it is can't be told, so nothing else is done.",
        Some(_) => "The policy only tells of this: nothing was changed.",
    };
    (strongest, why.to_owned())
}

/// The version that takes over from a young champion: the one before it, if it is older and still
/// Approved. What came back itself does not give way again, so two versions never take turns.
fn predecessor(
    case: &Case<'_>,
    stage: &Stage,
    decision: &Decision,
) -> Option<(Champion, Candidate)> {
    let head = &decision.head;
    let young = SignedDuration::from_hours(i64::from(case.policy().monitor.young_hours));
    let champion = head.champions.get(&stage.name)?;
    let previous = champion.previous.as_ref()?;
    let is_free =
        !head.rollouts.contains_key(&stage.name) && !head.waiting.contains_key(&stage.name);
    let package = case.facts.package(&previous.package).is()?;
    let may = is_free
        && case.now.duration_since(champion.since) < young
        && previous.version < champion.candidate.version
        && package.approval == Approval::Approved;
    may.then(|| (champion.clone(), previous.clone()))
}

fn give_way(
    case: &Case<'_>,
    stage: &Stage,
    found: &Found,
    champion: &Champion,
    previous: Candidate,
    decision: &mut Decision,
) {
    let (version, endpoint) = (champion.candidate.version, &stage.endpoint);
    let back = previous.version;
    if case.observes() {
        let line = format!(
            "Tidegate would have {back} take over from {version} on {endpoint}: {}.",
            found.sentence
        );
        let note = observe::would(
            Severity::Warning,
            format!("Observed: {back} would come back to {endpoint}"),
            vec![line, "Nothing was changed.".to_owned()],
            json!({}),
        );
        decision
            .notes
            .push(note.version(version).endpoint(endpoint));
        return;
    }
    let line = format!(
        "{version} has served {endpoint} since {} and {}: {back} takes over at once.",
        champion.since, found.sentence
    );
    let left = format!("{version} is left Approved: reject it if it must not come back.");
    decision.notes.push(
        Note::new(
            What::RollingBack,
            line.clone(),
            json!({ "package": champion.candidate.package, "finding": found.id }),
        )
        .version(version)
        .endpoint(endpoint)
        .tell(
            Severity::Warning,
            format!("{back} comes back to {endpoint}"),
            vec![line, left],
        ),
    );
    let candidate = &champion.candidate;
    retrain::lost(candidate, endpoint, "gave way", &found.sentence, decision);
    // The way back counts as an approval of now: it is newer than what it replaces.
    let waiting = Waiting {
        candidate: Candidate {
            approved_at: case.now,
            ..previous
        },
        urgent: true,
        told: false,
    };
    enqueue(case, stage, waiting, decision);
}
