//! What came of the calls to Model Monitor. A refusal is told once, with SageMaker's reason, and the
//! monitor is left out.

use serde_json::json;

use super::again::could_not;
use super::follow::TAG;
use super::{Phase, by_hand};
use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::ledger::{Route, RouteKind};
use crate::name::ScheduleName;
use crate::notice::Severity;
use crate::world::{Effect, Outcome, WorldError, WorldErrorKind};

/// Takes in what came of a call; whether it was one of a monitor.
pub(crate) fn settled(
    case: &Case<'_>,
    effect: &Effect,
    outcome: &Outcome,
    decision: &mut Decision,
) -> bool {
    let monitors = &mut decision.head.monitors;
    match (effect, outcome) {
        (Effect::StartBaselining(spec), Outcome::Failed(error)) => {
            // A job's name is another one each time that it is tried again.
            let monitor = spec
                .tags
                .get(TAG)
                .and_then(|name| ScheduleName::parse(name).ok());
            let name = monitor.as_ref().unwrap_or(&spec.name);
            could_not(case, name, &refusal(error), false, decision);
        }
        (Effect::SetUpMonitor(spec), Outcome::Failed(error)) => {
            could_not(case, &spec.name, &refusal(error), true, decision);
        }
        (Effect::SetUpMonitor(spec), _) => {
            monitors.phase(&spec.name, Phase::Running);
            if monitors.is_watched(&spec.name) {
                // Not at once: what was just made may not be shown yet.
                decision.head.schedules.insert(spec.name.clone(), case.now);
            }
        }
        (Effect::PauseMonitor { name, .. }, Outcome::Failed(error))
            if error.kind == WorldErrorKind::Gone =>
        {
            by_hand::deleted(case, name, decision);
        }
        (Effect::PauseMonitor { name, .. }, Outcome::Failed(error)) => {
            could_not(case, name, &refusal(error), true, decision);
        }
        (Effect::PauseMonitor { name, pause }, _) => {
            let phase = if *pause {
                Phase::Paused
            } else {
                Phase::Running
            };
            monitors.phase(name, phase);
            if let Some(asked) = decision.head.schedules.get_mut(name) {
                *asked = case.now;
            }
        }
        (Effect::RemoveMonitor { name, .. }, outcome) if is_tried_again(name, decision) => {
            if let Outcome::Failed(error) = outcome {
                could_not(case, name, &refusal(error), true, decision);
            }
        }
        (Effect::RemoveMonitor { name, .. }, outcome) => {
            if let Outcome::Failed(error) = outcome {
                could_not_remove(name, error, decision);
            }
            forget(case, name, decision);
            let listed = &case.policy().monitor.schedules;
            decision
                .head
                .schedules
                .retain(|s, _| s != name || listed.contains(s));
        }
        (Effect::StartBaselining(_), _) => {}
        _ => return false,
    }
    true
}

/// A monitor is gone.
pub(super) fn forget(case: &Case<'_>, name: &ScheduleName, decision: &mut Decision) {
    let kept = decision.head.monitors.kept.remove(name);
    let is_listed = case.policy().monitor.schedules.contains(name);
    if kept.is_some_and(|kept| kept.batch) && !is_listed {
        decision.dropped_routes.push(route(name));
    }
}

/// The way from a monitor's findings to its pipeline, where they name no endpoint.
pub(super) fn route(name: &ScheduleName) -> Route {
    Route {
        kind: RouteKind::Schedule,
        name: name.to_string(),
    }
}

/// Whether what is left of it was removed so that it is made anew.
fn is_tried_again(name: &ScheduleName, decision: &Decision) -> bool {
    let kept = decision.head.monitors.kept.get(name);
    kept.is_some_and(|kept| kept.phase == Phase::SettingUp)
}

fn refusal(error: &WorldError) -> String {
    format!("AWS refused {}: {}", error.call, error.message)
}

fn could_not_remove(name: &ScheduleName, error: &WorldError, decision: &mut Decision) {
    let why = refusal(error);
    let note = Note::new(
        What::MonitorFailed,
        format!("The monitor {name} could not be removed. {why}"),
        json!({ "monitor": name, "error": error }),
    );
    let by_hand = format!(
        "Delete the monitoring schedule {name} and the job definition of the same name by hand: \
         it costs as long as it runs."
    );
    decision.notes.push(note.tell(
        Severity::Action,
        format!("The monitor {name} could not be removed"),
        vec![why, by_hand],
    ));
}
