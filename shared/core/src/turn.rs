//! Whose turn it is: what waits for a stage starts when the stage is free, and what is done on one
//! stage goes on to the next.

use crate::audit::What;
use crate::candidate::Candidate;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::Approval;
use crate::head::{Champion, Head, Waiting};
use crate::ledger::Lane;
use crate::mutation::Mutation;
use crate::name::{PackageVersion, StageName};
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::{NewerApproval, Stage};
use crate::record;
use crate::retrain::lost;
use crate::rollout::{
    Cause, Moves, Phase, Reason, Rollout, Start, done, needs_to_start, roll_back, start,
};
use crate::world::{Effect, Question};

/// Whether a candidate waits for a stage that is free.
pub fn has_next(head: &Head) -> bool {
    head.waiting
        .keys()
        .any(|stage| !head.rollouts.contains_key(stage) || Mutation::SecondRollout.is_on())
}

/// The candidates that could start now.
fn ready<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a Stage, &'a Waiting)> {
    let head = &case.snapshot.head;
    case.stages().filter_map(move |stage| {
        let waiting = head.waiting.get(&stage.name)?;
        let is_free = !head.rollouts.contains_key(&stage.name) || Mutation::SecondRollout.is_on();
        is_free.then_some((stage, waiting))
    })
}

pub(crate) fn needs(case: &Case<'_>) -> Vec<Question> {
    ready(case)
        .flat_map(|(stage, w)| {
            let champion = case.snapshot.head.champions.get(&stage.name);
            needs_to_start(w, stage, case.policy(), champion, case.facts, case.now)
        })
        .collect()
}

/// Starts what waits, where it can.
pub(crate) fn start_what_waits(case: &Case<'_>, decision: &mut Decision) {
    // A stage that the policy has no more has nothing to wait for.
    let known: Vec<&StageName> = case.stages().map(|s| &s.name).collect();
    decision
        .head
        .waiting
        .retain(|stage, _| known.contains(&stage));
    for (stage, waiting) in ready(case) {
        let champion = case.snapshot.head.champions.get(&stage.name);
        let group = &case.policy().pipeline.group;
        let applied = &case.snapshot.applied;
        let start = start(
            waiting, group, stage, applied, champion, case.facts, case.now,
        );
        if case.observes() {
            would_start(case, stage, waiting, start, decision);
            continue;
        }
        match start {
            Start::Unknown => decision.nothing("not all facts are known yet"),
            Start::Wait(why) if waiting.told => decision.nothing(why),
            Start::Wait(why) => {
                if let Some(waiting) = decision.head.waiting.get_mut(&stage.name) {
                    waiting.told = true;
                }
                let version = waiting.candidate.version;
                decision.notes.push(
                    Note::new(What::StepHeld, why.clone(), serde_json::Value::Null)
                        .version(version)
                        .endpoint(&stage.endpoint)
                        .tell(
                            Severity::Info,
                            format!("{version} waits for {}", stage.endpoint),
                            vec![why, "It starts by itself when that is over.".into()],
                        ),
                );
            }
            Start::Refused(note) => {
                decision.head.waiting.remove(&stage.name);
                let why = note.tell.is_some().then(|| note.draft.why.clone());
                decision.notes.push(*note);
                if waiting.urgent {
                    tell_of_rejected_champion(stage, waiting.candidate.version, decision);
                }
                if let Some(why) = why.filter(|_| !waiting.urgent) {
                    let end = "was not rolled out";
                    lost(&waiting.candidate, &stage.endpoint, end, &why, decision);
                }
            }
            Start::Started(rollout, effects, note) => {
                decision.head.waiting.remove(&stage.name);
                record::began(case, &rollout, decision);
                let moves = Moves {
                    effects,
                    notes: vec![*note],
                    cancel: false,
                };
                take(case, *rollout, moves, decision);
            }
        }
    }
}

/// What would become of a candidate whose turn it is, in observe mode. It does not wait: it is said
/// once.
fn would_start(
    case: &Case<'_>,
    stage: &Stage,
    waiting: &Waiting,
    start: Start,
    decision: &mut Decision,
) {
    let candidate = &waiting.candidate;
    let note = match start {
        Start::Unknown => return decision.nothing("not all facts are known yet"),
        Start::Wait(why) => {
            let line = format!("{why} It would wait until the endpoint is InService.");
            would_roll_out(case, stage, candidate, vec![line])
        }
        Start::Refused(note) => refused(candidate, stage, *note),
        Start::Started(rollout, ..) if !rollout.has_canary() => {
            let how = if rollout.replaces {
                "It would be deployed alone, with no canary: what serves is not Approved."
            } else {
                "The endpoint does not exist; it would be created."
            };
            would_roll_out(case, stage, candidate, vec![how.to_owned()])
        }
        Start::Started(..) => would_roll_out(case, stage, candidate, Vec::new()),
    };
    decision.head.waiting.remove(&stage.name);
    decision.notes.push(note);
}

/// Why a candidate would not be rolled out.
fn refused(candidate: &Candidate, stage: &Stage, note: Note) -> Note {
    let (version, endpoint) = (candidate.version, &stage.endpoint);
    if note.tell.is_none() {
        return note;
    }
    observe::would(
        Severity::Warning,
        format!("Observed: {version} would not be rolled out to {endpoint}"),
        vec![
            format!("{version} would not be rolled out to {endpoint}."),
            note.draft.why,
        ],
        note.draft.facts,
    )
    .version(version)
    .endpoint(endpoint)
}

/// What a rollout of a candidate would be, with what there is to say of its start.
pub(crate) fn would_roll_out(
    case: &Case<'_>,
    stage: &Stage,
    candidate: &Candidate,
    lines: Vec<String>,
) -> Note {
    let (version, endpoint) = (candidate.version, &stage.endpoint);
    let shares = &stage.strategy.canary;
    let steps: Vec<String> = shares.iter().map(u8::to_string).collect();
    let how = match steps.as_slice() {
        [] => "with all the traffic at once".to_owned(),
        [one] => format!("in one step of {one} %"),
        [first @ .., last] => format!("in steps of {} and {last} %", first.join(", ")),
    };
    let mut said = vec![format!(
        "{version} would be rolled out to {endpoint} {how}."
    )];
    said.extend(lines);
    let next = case.stages().skip_while(|s| s.name != stage.name).skip(1);
    let next: Vec<&str> = next.map(|s| s.endpoint.as_str()).collect();
    if !next.is_empty() {
        said.push(format!(
            "Once that went well: to {}.",
            next.join(", then to ")
        ));
    }
    observe::would(
        Severity::Info,
        format!("Observed: {version} would be rolled out to {endpoint}"),
        said,
        serde_json::json!({ "candidate": candidate, "steps": shares }),
    )
    .version(version)
    .endpoint(endpoint)
}

/// Lets a candidate wait for a stage; what the policy says happens to a rollout that is under way.
pub(crate) fn enqueue(case: &Case<'_>, stage: &Stage, waiting: Waiting, decision: &mut Decision) {
    let version = waiting.candidate.version;
    let is_urgent = waiting.urgent;
    decision.head.waiting.insert(stage.name.clone(), waiting);
    let Some(running) = decision.head.rollouts.get(&stage.name) else {
        return;
    };
    if running.observed.is_some() {
        let note = waits_for_theirs(running, version);
        decision.notes.push(note);
        return;
    }
    if case.observes() {
        // What is under way ends by its plan; then it is said what would be next.
        return;
    }
    let goes_back = matches!(running.phase, Phase::RollingBack { .. });
    if running.candidate.version == version && !is_urgent && !goes_back {
        // The same version was approved once more while it rolls out.
        decision.head.waiting.remove(&stage.name);
        return;
    }
    // What takes over from a rejected version is not held up by a newcomer.
    let replaces =
        !running.urgent && case.policy().pipeline.newer_approval == NewerApproval::Replace;
    if is_urgent || replaces {
        let why = Reason {
            cause: Cause::Newer,
            sentence: format!("{version} was approved and takes its place"),
        };
        take_back(case, &stage.name, why, decision);
    }
}

/// A canary of somebody else holds the stage: it is watched to its end, and never taken back.
fn waits_for_theirs(running: &Rollout, version: PackageVersion) -> Note {
    let line = format!(
        "{version} waits: somebody else shifts {} on {}. It starts by itself when that is over.",
        running.name(),
        running.endpoint
    );
    Note::new(What::StepHeld, line.clone(), serde_json::Value::Null)
        .version(version)
        .endpoint(&running.endpoint)
        .tell(
            Severity::Info,
            format!("{version} waits for {}", running.endpoint),
            vec![line],
        )
}

/// Takes the rollout of a stage back, if there is one.
pub(crate) fn take_back(case: &Case<'_>, stage: &StageName, why: Reason, decision: &mut Decision) {
    let Some(mut rollout) = decision.head.rollouts.get(stage).cloned() else {
        return;
    };
    if rollout.observed.is_some() {
        // It is somebody else's.
        return;
    }
    let mut moves = Moves::default();
    if rollout.is_lone() {
        // There is nothing to go back to: it is over, and what it left is the champion.
        done(&mut rollout, case.now, &mut moves);
        take(case, rollout, moves, decision);
        return;
    }
    let asked = rollout.asked;
    roll_back(&mut rollout, why, case.now, &mut moves);
    if moves.cancel {
        if !is_change_pending(case, &rollout) {
            // What was asked for was made, and may not be shown yet.
            rollout.asked = asked;
        }
        take(case, rollout, moves, decision);
    }
}

/// Whether a change of the endpoint was asked for and not made, as far as is known.
fn is_change_pending(case: &Case<'_>, rollout: &Rollout) -> bool {
    let lane = Lane::Rollout(rollout.id.clone());
    let mut pending = case.snapshot.pending.iter();
    pending.any(|p| p.lane == lane && p.effect.changes_endpoint())
}

/// Takes a rollout's moves into the decision.
pub(crate) fn take(case: &Case<'_>, rollout: Rollout, moves: Moves, decision: &mut Decision) {
    let lane = Lane::Rollout(rollout.id.clone());
    if moves.cancel {
        decision.effects.retain(|(l, _)| *l != lane);
        decision.cancelled.push(lane.clone());
        if rollout.is_running() {
            // The ticks are still wanted: without them nobody would see to the way back.
            let pending = case.snapshot.pending.iter().filter(|p| p.lane == lane);
            let ticks = pending.filter(|p| matches!(p.effect, Effect::StartTicks { .. }));
            decision
                .effects
                .extend(ticks.map(|p| (lane.clone(), p.effect.clone())));
        }
    }
    decision
        .effects
        .extend(moves.effects.into_iter().map(|e| (lane.clone(), e)));
    decision.notes.extend(moves.notes);
    if rollout.is_running() {
        decision
            .head
            .rollouts
            .insert(rollout.stage.clone(), rollout);
    } else {
        end(case, rollout, decision);
    }
}

/// A rollout is over: what it means for the stage and for the next one.
fn end(case: &Case<'_>, rollout: Rollout, decision: &mut Decision) {
    let head = &mut decision.head;
    head.rollouts.remove(&rollout.stage);
    match &rollout.phase {
        Phase::Done => {
            let previous = head.champions.remove(&rollout.stage);
            if let Some(previous) = &previous {
                forget(previous, &rollout, &mut decision.effects);
            }
            let previous = previous.map(|c| c.candidate);
            let is_governed = |s: &Stage| s.name == rollout.stage && s.endpoint == rollout.endpoint;
            if !case.stages().any(is_governed) {
                // The policy was edited meanwhile, and the endpoint is none of its stages now.
                decision.finished.push(rollout);
                return;
            }
            let previous = previous.filter(|p| p.version != rollout.candidate.version);
            let replaced = previous.clone();
            head.champions.insert(
                rollout.stage.clone(),
                Champion {
                    candidate: rollout.candidate.clone(),
                    since: rollout.all_traffic_since().unwrap_or(case.now),
                    config: rollout.served_config().to_owned(),
                    variant: rollout.served_variant().to_owned(),
                    model: rollout.model.clone(),
                    previous,
                },
            );
            record::ended(case, &rollout, replaced.as_ref(), decision);
            promote_to_next_stage(case, &rollout, decision);
        }
        Phase::RolledBack { .. } | Phase::Superseded { .. } => {
            if let Some(champion) = head.champions.get_mut(&rollout.stage)
                && rollout.went_back_by_own_config
            {
                champion.config = rollout.back_config();
            }
            let rejects = case.rejects_rolled_back();
            let version = rollout.candidate.version;
            let is_elsewhere = head
                .champions
                .values()
                .any(|c| c.candidate.version == version)
                || head
                    .rollouts
                    .values()
                    .any(|r| r.candidate.version == version);
            if let Phase::RolledBack { why } = &rollout.phase
                && rejects
                && why.cause.blames()
                && !is_elsewhere
            {
                // Ours, so that the event of it is nothing new. Where another stage has the same
                // version, the event is what takes it back there.
                head.remember_approval(version, Approval::Rejected, case.now);
                head.votes.remove(&version);
                head.gated.remove(&version);
            }
            record::ended(case, &rollout, None, decision);
            if let Phase::RolledBack { why } = &rollout.phase
                && !rollout.urgent
            {
                let (candidate, why) = (&rollout.candidate, &why.sentence);
                lost(
                    candidate,
                    &rollout.endpoint,
                    "was taken back",
                    why,
                    decision,
                );
            }
            replace_rejected_champion(case, &rollout, decision);
        }
        Phase::Failed { .. } => record::ended(case, &rollout, None, decision),
        _ => {}
    }
    decision.finished.push(rollout);
}

/// A rejected version that serves again, because what was to take its place was taken back, gives
/// way to the one before it, or people are told.
fn replace_rejected_champion(case: &Case<'_>, rollout: &Rollout, decision: &mut Decision) {
    let head = &decision.head;
    let approval_of =
        |version: &PackageVersion| head.approvals.get(version).map(|(approval, _)| *approval);
    let Some(stage) = case.stages().find(|s| s.name == rollout.stage) else {
        return;
    };
    let Some(champion) = head.champions.get(&stage.name) else {
        return;
    };
    let version = champion.candidate.version;
    let is_rejected = approval_of(&version) == Some(Approval::Rejected);
    if !is_rejected || rollout.urgent || head.waiting.contains_key(&stage.name) {
        return;
    }
    let previous = champion.previous.clone().filter(|p| {
        p.version != rollout.candidate.version
            && approval_of(&p.version).is_none_or(|a| a == Approval::Approved)
    });
    if let Some(candidate) = previous {
        let candidate = Candidate {
            approved_at: case.now,
            ..candidate
        };
        let waiting = Waiting {
            candidate,
            urgent: true,
            told: false,
        };
        enqueue(case, stage, waiting, decision);
        return;
    }
    let line = format!(
        "{version} was rejected and serves {} again, since {} was taken back. Approve another \
         version.",
        stage.endpoint, rollout.candidate.version
    );
    decision.notes.push(
        Note::new(What::RolledBack, line.clone(), serde_json::Value::Null)
            .version(version)
            .endpoint(&stage.endpoint)
            .tell(
                Severity::Action,
                format!("{version} is Rejected and still serves {}", stage.endpoint),
                vec![line],
            ),
    );
}

/// Who was to take the place of a rejected version can't: people are told that it serves on.
fn tell_of_rejected_champion(stage: &Stage, refused: PackageVersion, decision: &mut Decision) {
    let head = &decision.head;
    let Some(champion) = head.champions.get(&stage.name) else {
        return;
    };
    let version = champion.candidate.version;
    let approval = head.approvals.get(&version).map(|(approval, _)| *approval);
    if approval != Some(Approval::Rejected) {
        return;
    }
    let line = format!(
        "{version} was rejected and serves {} on, since {refused} can't take its place. Approve \
         another version or delete the endpoint.",
        stage.endpoint
    );
    decision.notes.push(
        Note::new(What::StepHeld, line.clone(), serde_json::Value::Null)
            .version(version)
            .endpoint(&stage.endpoint)
            .tell(
                Severity::Action,
                format!("{version} is Rejected and still serves {}", stage.endpoint),
                vec![line],
            ),
    );
}

/// Takes away what a champion was deployed as, if somebody else replaced or deleted it before this
/// rollout began: nobody needs it any more.
fn forget(previous: &Champion, rollout: &Rollout, effects: &mut Vec<(Lane, Effect)>) {
    let incumbent = rollout.incumbent.as_ref();
    if incumbent.is_some_and(|i| i.ours) {
        return;
    }
    let lane = Lane::Rollout(rollout.id.clone());
    let config = Effect::DeleteEndpointConfig {
        name: previous.config.clone(),
    };
    effects.push((lane.clone(), config));
    // They may have used its model in a config of their own.
    if incumbent.is_none_or(|i| i.model != previous.model) {
        let name = previous.model.clone();
        effects.push((lane, Effect::DeleteModel { name }));
    }
}

fn promote_to_next_stage(case: &Case<'_>, rollout: &Rollout, decision: &mut Decision) {
    if rollout.urgent || Mutation::SkipNextStage.is_on() {
        // It took the place of a rejected version, which was looked for on every stage.
        return;
    }
    let version = rollout.candidate.version;
    let approval = decision.head.approvals.get(&version).map(|(a, _)| *a);
    if rollout.crossed.is_some() || approval.is_some_and(|a| a != Approval::Approved) {
        return;
    }
    let next = case.stages().skip_while(|s| s.name != rollout.stage).nth(1);
    let serves = |stage: &Stage| {
        let champion = decision.head.champions.get(&stage.name);
        champion.is_some_and(|c| c.candidate.version == version)
    };
    if let Some(stage) = next.filter(|s| !serves(s)) {
        let waiting = Waiting {
            candidate: rollout.candidate.clone(),
            urgent: false,
            told: false,
        };
        enqueue(case, stage, waiting, decision);
    }
}
