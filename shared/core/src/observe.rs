//! `mode = "observe"`: Tidegate decides, writes down and tells, and changes nothing.
//!
//! Each decision says what would be done in the place where it would ask for it. What is here is
//! what they share: the canaries that somebody else shifts, the words, and the net under it all,
//! which lets no call through that changes anything of SageMaker.

use serde_json::json;

use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::facts::Known;
use crate::ledger::{Lane, Pending, Snapshot};
use crate::name::{EndpointName, RolloutId, StageName};
use crate::notice::Severity;
use crate::pipeline::{Mode, Stage};
use crate::rollout::observe::{Sighting, carrier, first_calls, left, look, needs_to_see, see};
use crate::rollout::{Moves, Phase, Rollout};
use crate::turn::take;
use crate::world::{Effect, Question};

/// What the headline of every notice of observe mode begins with.
const MARK: &str = "Observed: ";

/// A line on what Tidegate would do, and the notice of it.
pub(crate) fn would(
    severity: Severity,
    headline: impl Into<String>,
    lines: Vec<String>,
    facts: serde_json::Value,
) -> Note {
    let why = lines.join(" ");
    Note::new(What::WouldAct, why, facts).tell(severity, headline, lines)
}

/// What has to be known to look for canaries on an endpoint's stages that have no rollout.
pub(crate) fn needs_of_endpoint(case: &Case<'_>, endpoint: &EndpointName) -> Vec<Question> {
    if !case.observes() {
        return Vec::new();
    }
    let head = &case.snapshot.head;
    let mut questions = Vec::new();
    for stage in case.stages().filter(|s| &s.endpoint == endpoint) {
        // What is watched may be over by this look, and the next may have begun.
        let is_ending = |r: &Rollout| matches!(r.phase, Phase::Observing { over: Some(_) });
        let is_free = head.rollouts.get(&stage.name).is_none_or(is_ending);
        if is_free {
            let group = &case.policy().pipeline.group;
            questions.extend(needs_to_see(stage, group, head, case.facts, case.now));
        }
    }
    questions
}

/// Looks at a stage in observe mode: at the canary that is watched there, else for one.
pub(crate) fn look_at(case: &Case<'_>, stage: &StageName, decision: &mut Decision) {
    if let Some(rollout) = decision.head.rollouts.get(stage) {
        if rollout.observed.is_some() {
            let mut rollout = rollout.clone();
            let moves = look(&mut rollout, case.facts, case.now);
            let left = left(&rollout);
            take(case, rollout, moves, decision);
            if let Some(finding) = left {
                decision.head.is_known_finding(&finding);
            }
        }
        if decision.head.rollouts.contains_key(stage) {
            return;
        }
    }
    if case.observes()
        && let Some((_, stage)) = case.policy().stage(stage)
    {
        look_for_canary(case, stage, decision);
        remember_carrier(case, stage, decision);
    }
}

fn look_for_canary(case: &Case<'_>, stage: &Stage, decision: &mut Decision) {
    let group = &case.policy().pipeline.group;
    match see(stage, group, &decision.head, case.facts, case.now) {
        Sighting::Unknown => decision.nothing("not all facts are known yet"),
        Sighting::Quiet(why) => decision.nothing(why),
        Sighting::Unfit(key, note) => {
            if decision.head.is_known_finding(&key) {
                decision.nothing("people were told why this is not judged");
            } else {
                decision.notes.push(*note);
            }
        }
        Sighting::Began(rollout, note) => {
            let moves = Moves {
                effects: first_calls(&rollout, group),
                notes: vec![*note],
                cancel: false,
            };
            take(case, *rollout, moves, decision);
        }
    }
}

/// Remembers which variant has all the traffic: the canary that comes beside it is compared with
/// it.
fn remember_carrier(case: &Case<'_>, stage: &Stage, decision: &mut Decision) {
    let carriers = &mut decision.head.carriers;
    carriers.retain(|endpoint, _| case.stages().any(|s| &s.endpoint == endpoint));
    let described = case.facts.endpoint(&stage.endpoint);
    if described == Known::Missing {
        carriers.remove(&stage.endpoint);
    }
    if let Some(name) = described.is().and_then(carrier)
        && carriers.get(&stage.endpoint).is_none_or(|n| n != name)
    {
        carriers.insert(stage.endpoint.clone(), name.to_owned());
    }
}

/// What has to be known to say which packages serve, given what is known.
pub(crate) fn needs_of_serving(case: &Case<'_>) -> Vec<Question> {
    let mut questions = Vec::new();
    for stage in case.stages() {
        questions.push(Question::Endpoint(stage.endpoint.clone()));
        let Some(endpoint) = case.facts.endpoint(&stage.endpoint).is() else {
            continue;
        };
        questions.push(Question::EndpointConfig {
            name: endpoint.config.clone(),
        });
        let config = case.facts.config(&endpoint.config).is();
        let variants = config.map(|c| c.variants.as_slice()).unwrap_or_default();
        let models = variants.iter().filter_map(|v| v.model.clone());
        questions.extend(models.map(|name| Question::Model { name }));
    }
    questions
}

/// Whether a package has traffic on a stage's endpoint, as far as the facts say.
pub(crate) fn serves(case: &Case<'_>, stage: &Stage, package: &str) -> bool {
    let endpoint = case.facts.endpoint(&stage.endpoint).is();
    let Some((endpoint, config)) =
        endpoint.and_then(|e| Some((e, case.facts.config(&e.config).is()?)))
    else {
        return false;
    };
    config.variants.iter().any(|of_config| {
        let has_traffic = endpoint
            .variant(&of_config.name)
            .is_some_and(|v| v.weight > 0.0);
        let model = of_config.model.as_deref();
        let described = model.and_then(|name| case.facts.model(name).is());
        let is_it = described.is_some_and(|m| m.package.as_deref() == Some(package));
        has_traffic && is_it
    })
}

/// Marks the notices of a decision in observe mode, but those of a rollout that Tidegate does.
pub(crate) fn mark(case: &Case<'_>, decision: &mut Decision) {
    if !case.observes() {
        return;
    }
    for note in &mut decision.notes {
        let is_ours = note
            .about
            .rollout
            .as_ref()
            .is_some_and(|id| is_acting(case.snapshot, id));
        if let Some(tell) = note.tell.as_mut().filter(|_| !is_ours)
            && !tell.headline.starts_with(MARK)
        {
            tell.headline.insert_str(0, MARK);
        }
    }
}

/// The net: in observe mode nothing that changes SageMaker leaves a decision, but the calls of a
/// rollout that began when Tidegate still acted. Nothing should ever be caught in it.
pub(crate) fn hold_back(case: &Case<'_>, decision: &mut Decision) {
    if !case.observes() {
        return;
    }
    let (kept, held): (Vec<_>, Vec<_>) = std::mem::take(&mut decision.effects)
        .into_iter()
        .partition(|(lane, effect)| is_allowed(case.snapshot, lane, effect));
    decision.effects = kept;
    for (_, effect) in held {
        decision.notes.push(held_back(&effect, "was asked for"));
    }
}

/// Calls that were decided while Tidegate still acted, and are not done any more.
pub(crate) fn drop_left_overs(case: &Case<'_>, decision: &mut Decision) {
    for pending in &case.snapshot.pending {
        if !may_be_done(case.snapshot, pending) {
            decision.cancelled.push(pending.lane.clone());
            let why = "was left to do when the policy changed to observe";
            decision.notes.push(held_back(&pending.effect, why));
        }
    }
}

fn held_back(effect: &Effect, why: &str) -> Note {
    Note::new(
        What::WouldAct,
        format!(
            "{} {why}. The policy says `mode = \"observe\"`, so it is not done.",
            effect.in_words()
        ),
        json!({ "effect": effect }),
    )
}

/// Whether a call that is to be done may be done under the policy in force.
pub(crate) fn may_be_done(snapshot: &Snapshot, pending: &Pending) -> bool {
    let acts = snapshot.applied.policy.pipeline.mode == Mode::Act;
    let Lane::Rollout(id) = &pending.lane else {
        return acts || is_harmless(&pending.effect);
    };
    // What was decided for a rollout is done: it may be over, and this its clearing up.
    let is_observed = snapshot
        .head
        .rollout(id)
        .is_some_and(|r| r.observed.is_some());
    acts || !is_observed || is_harmless(&pending.effect)
}

fn is_allowed(snapshot: &Snapshot, lane: &Lane, effect: &Effect) -> bool {
    let is_acting = matches!(lane, Lane::Rollout(id) if is_acting(snapshot, id));
    is_acting || is_harmless(effect)
}

/// Whether this is a rollout that Tidegate does itself, and that was under way before this
/// decision.
fn is_acting(snapshot: &Snapshot, id: &RolloutId) -> bool {
    let rollout: Option<&Rollout> = snapshot.head.rollout(id);
    rollout.is_some_and(|r| r.observed.is_none())
}

/// Whether a call is Tidegate's own bookkeeping.
fn is_harmless(effect: &Effect) -> bool {
    match effect {
        Effect::Tell { .. }
        | Effect::Announce { .. }
        | Effect::StartTicks { .. }
        | Effect::StopTicks { .. } => true,
        Effect::RegisterPackage(_)
        | Effect::SetApproval { .. }
        | Effect::Annotate(_)
        | Effect::Trace(_)
        | Effect::CreateModel(_)
        | Effect::DeleteModel { .. }
        | Effect::CreateEndpointConfig(_)
        | Effect::DeleteEndpointConfig { .. }
        | Effect::CreateEndpoint { .. }
        | Effect::UpdateEndpoint { .. }
        | Effect::DeleteEndpoint { .. }
        | Effect::ShiftWeights { .. }
        | Effect::StartBaselining(_)
        | Effect::SetUpMonitor(_)
        | Effect::PauseMonitor { .. }
        | Effect::RemoveMonitor { .. }
        | Effect::CloneTrainingJob(_)
        | Effect::CloneTuningJob(_)
        | Effect::RequestRetraining(_)
        | Effect::StartRetraining { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;

    use super::*;
    use crate::facts::Facts;
    use crate::head::Head;
    use crate::ledger::AppliedPolicy;

    const POLICY: &str = r#"
        [pipeline]
        name = "fraud"
        group = "fraud"
        mode = "observe"

        [[stage]]
        name = "production"
        endpoint = "fraud-prod"
    "#;

    fn snapshot(mode: Mode) -> Snapshot {
        let mut policy = crate::pipeline::parse(POLICY, "fraud.toml").unwrap();
        policy.pipeline.mode = mode;
        Snapshot {
            applied: AppliedPolicy {
                version: 1,
                commit: None,
                at: Timestamp::UNIX_EPOCH,
                by: "ada".to_owned(),
                policy,
            },
            head: Head::default(),
            pending: Vec::new(),
            seen: false,
        }
    }

    fn decided(mode: Mode) -> Decision {
        let snapshot = snapshot(mode);
        let facts = Facts::default();
        let case = Case {
            snapshot: &snapshot,
            job: None,
            facts: &facts,
            now: Timestamp::UNIX_EPOCH,
        };
        let id = RolloutId("production-v7-00".to_owned());
        let lane = Lane::Rollout(id.clone());
        let mut decision = Decision::on(&snapshot.head);
        let model = "fraud-v7".to_owned();
        decision.effects = vec![
            (lane.clone(), Effect::DeleteModel { name: model }),
            (lane, Effect::StopTicks { rollout: id }),
        ];
        hold_back(&case, &mut decision);
        decision
    }

    #[test]
    fn a_call_that_changes_something_is_held_back_and_written_down() {
        let decision = decided(Mode::Observe);
        assert!(matches!(
            decision.effects.as_slice(),
            [(_, Effect::StopTicks { .. })]
        ));
        let why = &decision.notes[0].draft.why;
        assert!(
            why.starts_with("DeleteModel fraud-v7 was asked for"),
            "{why}"
        );
    }

    #[test]
    fn nothing_is_held_back_where_tidegate_acts() {
        let decision = decided(Mode::Act);
        assert_eq!(decision.effects.len(), 2);
        assert!(decision.notes.is_empty());
    }
}
