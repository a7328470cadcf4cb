//! What came of the calls to Model Monitor. A refusal is told once, with SageMaker's reason, and the
//! monitor is left out.

use jiff::Timestamp;
use serde_json::json;

use super::Phase;
use super::follow::could_not;
use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::name::ScheduleName;
use crate::notice::Severity;
use crate::world::{Effect, Outcome, WorldError};

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
            could_not(&spec.name, &refusal(error), false, decision);
        }
        (Effect::SetUpMonitor(spec), Outcome::Failed(error)) => {
            could_not(&spec.name, &refusal(error), true, decision);
        }
        (Effect::SetUpMonitor(spec), _) => {
            monitors.phase(&spec.name, Phase::Running);
            if monitors.is_watched(&spec.name) {
                let asked = decision.head.schedules.entry(spec.name.clone());
                asked.or_insert(Timestamp::UNIX_EPOCH);
            }
        }
        (Effect::PauseMonitor { name, .. }, Outcome::Failed(error)) => {
            could_not(name, &refusal(error), true, decision);
        }
        (Effect::PauseMonitor { name, pause }, _) => {
            let phase = if *pause {
                Phase::Paused
            } else {
                Phase::Running
            };
            monitors.phase(name, phase);
        }
        (Effect::RemoveMonitor { name, .. }, outcome) => {
            if let Outcome::Failed(error) = outcome {
                could_not_remove(name, error, decision);
            }
            decision.head.monitors.kept.remove(name);
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
