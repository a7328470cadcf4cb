//! What people do to the monitors that Tidegate made, as housekeeping sees it when it asks their
//! schedules for findings, which costs no call of its own, and before it pauses one.
//!
//! Whoever stops a monitor had a reason: it stays stopped until somebody starts it. One that is
//! deleted is set up again, since the policy asks for it, but not twice within a day: then it is left,
//! and the policy is where it is switched off for good. Each is told once, since drift goes unseen.

use jiff::SignedDuration;
use serde_json::json;

use super::again::could_not;
use super::{Kept, Phase};
use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::mutation::Mutation;
use crate::name::ScheduleName;
use crate::notice::Severity;
use crate::world::{Answer, Question, ScheduleState};

/// A second deletion within that time is meant.
const MEANT: SignedDuration = SignedDuration::from_hours(24);

/// What was changed less than this ago may be shown as it was before.
const SHOWN_AFTER: SignedDuration = SignedDuration::from_mins(5);

const FOR_GOOD: &str = "To be rid of it for good, remove it from the policy ([[stage.monitor]]).";

/// What has to be known before a monitor pauses: what somebody stopped since it was asked last would
/// run again after it. Not of what was set up, started or asked just now.
pub(super) fn needs_to_pause(case: &Case<'_>, name: &ScheduleName) -> Option<Question> {
    let last = case.snapshot.head.schedules.get(name);
    let is_shown = last.is_none_or(|at| case.now.duration_since(*at) >= SHOWN_AFTER);
    is_shown.then(|| Question::MonitoringSchedule(name.clone()))
}

/// Takes in how a monitor's schedule is, if that was asked; whether somebody changed it.
pub(super) fn look(
    case: &Case<'_>,
    name: &ScheduleName,
    kept: &Kept,
    decision: &mut Decision,
) -> bool {
    if !matches!(kept.phase, Phase::Running | Phase::Paused | Phase::Stopped) {
        return false;
    }
    let asked = Question::MonitoringSchedule(name.clone());
    let state = match case.facts.answer(&asked) {
        Some(Answer::Missing) => {
            if Mutation::OverlookDeletion.is_on() {
                return false;
            }
            deleted(case, name, decision);
            return true;
        }
        Some(Answer::MonitoringSchedule(described)) => &described.state,
        _ => return false,
    };
    match (state, &kept.phase) {
        (ScheduleState::Failed(why), _) => {
            let why = format!("SageMaker says that its schedule failed: {why}");
            could_not(case, name, &why, true, decision);
        }
        (ScheduleState::Stopped, Phase::Running) => stopped(name, kept, decision),
        (ScheduleState::Scheduled, Phase::Stopped) => started(name, kept, decision),
        (ScheduleState::Scheduled, Phase::Running) => {
            // It runs: the next failure is another one.
            if let Some(kept) = decision.head.monitors.kept.get_mut(name) {
                kept.told = None;
            }
            return false;
        }
        _ => return false,
    }
    true
}

fn stopped(name: &ScheduleName, kept: &Kept, decision: &mut Decision) {
    decision.head.monitors.phase(name, Phase::Stopped);
    let start = format!(
        "To start it again: aws sagemaker start-monitoring-schedule --monitoring-schedule-name \
         {name}"
    );
    let note = note(What::MonitorStopped, name, kept, "was stopped by somebody");
    let subject = kept.subject();
    decision.notes.push(note.tell(
        Severity::Warning,
        format!(
            "The monitor of {subject} on {} was stopped by hand",
            kept.endpoint
        ),
        vec![
            format!(
                "{name} is stopped, and Tidegate did not stop it. It stays so, and what it would \
                 find goes unseen."
            ),
            start,
            FOR_GOOD.to_owned(),
        ],
    ));
}

fn started(name: &ScheduleName, kept: &Kept, decision: &mut Decision) {
    decision.head.monitors.phase(name, Phase::Running);
    let done = "was started again by somebody";
    decision
        .notes
        .push(note(What::MonitorResumed, name, kept, done));
}

/// A schedule is not there any more.
pub(super) fn deleted(case: &Case<'_>, name: &ScheduleName, decision: &mut Decision) {
    let Some(kept) = decision.head.monitors.kept.get_mut(name) else {
        return;
    };
    let before = kept.deleted.replace(case.now);
    let is_meant = before.is_some_and(|at| case.now.duration_since(at) < MEANT)
        && !Mutation::FightDeletion.is_on();
    kept.phase = if is_meant {
        Phase::Deleted
    } else {
        Phase::SettingUp
    };
    let kept = kept.clone();
    let (done, next) = if is_meant {
        (
            "was deleted by somebody, again within a day: it is left so",
            "It is set up again only when another version serves, or a key of the monitor is \
             changed in the policy. What it would find goes unseen.",
        )
    } else {
        (
            "was deleted by somebody: it is set up again",
            "The policy asks for it, so it is set up again, with the same name and baseline.",
        )
    };
    let note = note(What::MonitorDeleted, name, &kept, done);
    decision.notes.push(note.tell(
        Severity::Warning,
        format!(
            "The monitor of {} on {} was deleted by hand",
            kept.subject(),
            kept.endpoint
        ),
        vec![
            format!("The monitoring schedule {name} is not there any more."),
            next.to_owned(),
            FOR_GOOD.to_owned(),
        ],
    ));
}

fn note(what: What, name: &ScheduleName, kept: &Kept, done: &str) -> Note {
    let why = format!(
        "The monitor {name} of {} on {} ({}) {done}.",
        kept.version,
        kept.endpoint,
        kept.subject()
    );
    let note = Note::new(what, why, json!({ "monitor": name }));
    note.version(kept.version).endpoint(&kept.endpoint)
}
