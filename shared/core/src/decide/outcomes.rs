//! What came of effects: a registered package, a started retraining, a call that AWS refused.

use serde_json::json;

use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::Approval;
use crate::ledger::{Lane, Pending};
use crate::monitors;
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::record;
use crate::retrain::{self, FINDING_KEY, PARENT_KEY};
use crate::rollout::{Phase, effect_failed};
use crate::turn::take;
use crate::world::{Effect, Outcome, PackageSpec, WorldError, WorldErrorKind};

/// Takes in what came of effects.
pub(super) fn settle(case: &Case<'_>, outcomes: &[(Pending, Outcome)], decision: &mut Decision) {
    for (pending, outcome) in outcomes {
        if monitors::settled(case, &pending.effect, outcome, decision) {
            continue;
        }
        match (&pending.effect, outcome) {
            (Effect::RegisterPackage(spec), Outcome::Registered { arn, version }) => {
                registered(case, spec, arn, *version, decision);
            }
            (Effect::StartRetraining { token, why, .. }, Outcome::Started { arn }) => {
                retrain::started(token, Some(arn), why, decision);
            }
            (Effect::CloneTrainingJob(clone), Outcome::Started { arn }) => {
                let why = format!("A clone of {}, on fresh data.", clone.like);
                retrain::started(token_of(pending), Some(arn), &why, decision);
            }
            (Effect::CloneTuningJob(clone), Outcome::Started { arn }) => {
                let why = format!("A clone of {}, on fresh data.", clone.like);
                retrain::started(token_of(pending), Some(arn), &why, decision);
            }
            (Effect::RequestRetraining(request), Outcome::Done) => {
                retrain::started(&request.id, None, &request.reason, decision);
            }
            (_, Outcome::Failed(error)) => failed(case, pending, error, decision),
            _ => {}
        }
    }
}

/// The token of a retraining's call.
fn token_of(pending: &Pending) -> &str {
    match &pending.lane {
        Lane::Retraining(token) => token,
        _ => "",
    }
}

fn registered(
    case: &Case<'_>,
    spec: &PackageSpec,
    arn: &str,
    version: crate::name::PackageVersion,
    decision: &mut Decision,
) {
    if let Some(job) = case.job.filter(|j| j.job == spec.job) {
        let mut job = job.clone();
        job.package = Some((arn.to_owned(), version));
        decision.jobs.push(job);
    }
    record::trace_registered(case, spec, arn, version, decision);
    // What was seen to be approved before this was settled needs no mark.
    if spec.approval == Approval::Approved && !decision.head.approvals.contains_key(&version) {
        decision.head.remember_gated(version);
    }
    let (what, severity, verdict, next) = match spec.approval {
        Approval::Approved => (
            What::CandidateRegistered,
            Severity::Info,
            "approved",
            "Its rollout starts by itself.",
        ),
        Approval::PendingManualApproval => (
            What::CandidateRegistered,
            Severity::Action,
            "waiting for approval",
            "Approve it, and its rollout starts; reject it, and nothing happens.",
        ),
        Approval::Rejected => (
            What::CandidateRejected,
            Severity::Warning,
            "rejected",
            "No user meets it.",
        ),
    };
    let mut lines = vec![spec.why.clone(), next.to_owned()];
    if let Some(finding) = spec.metadata.get(FINDING_KEY) {
        let parent = spec.metadata.get(PARENT_KEY);
        let instead = parent.map(|v| format!(", to take the place of {v}"));
        lines.push(format!(
            "It was trained again after {finding}{}.",
            instead.unwrap_or_default()
        ));
    }
    decision.notes.push(
        Note::new(
            what,
            format!(
                "{version} of {} is registered from {} and {verdict}: {}",
                spec.group, spec.job, spec.why
            ),
            json!({ "package": arn, "job": spec.job, "metadata": spec.metadata }),
        )
        .version(version)
        .tell(
            severity,
            format!("{version} of {} is {verdict}", spec.group),
            lines,
        ),
    );
}

/// Whether a call is made once more, with what comes after it, since it did not find what another
/// function made seconds before: the event that it was decided on may be hours old, and so says
/// nothing of how long ago that was.
fn asks_again(
    case: &Case<'_>,
    pending: &Pending,
    error: &WorldError,
    decision: &mut Decision,
) -> bool {
    let Lane::Rollout(id) = &pending.lane else {
        return false;
    };
    let needs_what_was_made = matches!(
        pending.effect,
        Effect::CreateEndpointConfig(_)
            | Effect::CreateEndpoint { .. }
            | Effect::UpdateEndpoint { .. }
    );
    let mut running = decision.head.rollouts.values_mut();
    let Some(rollout) = running.find(|r| &r.id == id) else {
        return false;
    };
    let is_first = rollout.phase == Phase::Preparing && rollout.refused.is_none();
    let is_gone = error.kind == WorldErrorKind::Gone && !Mutation::TrustStale.is_on();
    if !(needs_what_was_made && is_first && is_gone) {
        return false;
    }
    let refusal = format!("{}: {}", error.call, error.message);
    rollout.refused = Some(refusal.clone());
    let why = format!("AWS refused {refusal} It is asked once more.");
    let facts = json!({ "effect": pending.effect, "error": error });
    let note = Note::new(What::EffectFailed, why, facts).rollout(rollout);
    decision.notes.push(note);
    decision.cancelled.push(pending.lane.clone());
    let lane = case
        .snapshot
        .pending
        .iter()
        .filter(|p| p.lane == pending.lane);
    let from_here = lane.filter(|p| p.id >= pending.id);
    let again = from_here.map(|p| (p.lane.clone(), p.effect.clone()));
    decision.effects.extend(again);
    true
}

fn failed(case: &Case<'_>, pending: &Pending, error: &WorldError, decision: &mut Decision) {
    if asks_again(case, pending, error, decision) {
        return;
    }
    if let Lane::Rollout(id) = &pending.lane {
        let running = decision
            .head
            .rollouts
            .values()
            .find(|r| &r.id == id)
            .cloned();
        if let Some(mut rollout) = running {
            let moves = effect_failed(
                &mut rollout,
                &pending.effect,
                error,
                case.now,
                case.rejects_rolled_back(),
            );
            take(case, rollout, moves, decision);
            return;
        }
    }
    if let Lane::Retraining(token) = &pending.lane
        && retrain::could_not_start(case, token, error, decision)
    {
        return;
    }
    let note = Note::new(
        What::EffectFailed,
        format!("AWS refused {}: {}", error.call, error.message),
        json!({ "effect": pending.effect, "error": error }),
    );
    if pending.effect.is_record() {
        decision.notes.push(note);
        return;
    }
    if let Effect::SetApproval { arn, approval, .. } = &pending.effect {
        let package = arn
            .rsplit_once(":model-package/")
            .map_or(arn.as_str(), |(_, p)| p);
        decision.notes.push(note.tell(
            Severity::Action,
            format!("{package} could not be marked {approval:?}"),
            vec![
                format!("AWS refused {}: {}", error.call, error.message),
                format!("Mark it {approval:?} by hand, so that nobody mistakes it."),
            ],
        ));
        return;
    }
    // A message that can't be sent can't be told either: the audit trail and the log have it.
    let is_message = matches!(
        pending.effect,
        Effect::Tell { .. } | Effect::Announce { .. }
    );
    decision.notes.push(if is_message {
        note
    } else {
        note.tell(
            Severity::Action,
            format!("AWS refused {}", error.call),
            vec![
                error.message.clone(),
                "What was to be done is in the audit trail; do it by hand, or mend the cause and \
                 send the event again."
                    .to_owned(),
            ],
        )
    });
}
