//! A model that would be registered, in observe mode: it is said once what would be.

use serde_json::json;

use crate::decision::{Decision, Note};
use crate::event::Approval;
use crate::ledger::JobRecord;
use crate::notice::Severity;
use crate::observe;
use crate::world::{Package, TrainingJob};

/// Remembers in observe mode that the job was gated and told of.
pub(super) fn note_gated(
    record: JobRecord,
    note: Note,
    elsewhere: Option<&Package>,
    decision: &mut Decision,
) {
    decision.notes.push(note);
    let package = elsewhere.map(|p| (p.arn.clone(), p.version));
    decision.jobs.push(JobRecord { package, ..record });
}

/// What would be registered, for people.
pub(super) fn would_register(
    job: &TrainingJob,
    approval: Approval,
    why: &str,
    elsewhere: Option<&Package>,
) -> Note {
    let severity = match approval {
        Approval::Approved => Severity::Info,
        Approval::PendingManualApproval | Approval::Rejected => Severity::Warning,
    };
    let facts =
        json!({ "job": job.arn, "approval": approval, "package": elsewhere.map(|p| &p.arn) });
    let Some(package) = elsewhere else {
        let line = format!(
            "The model of {} would be registered as {approval:?}: {why}",
            job.name
        );
        let headline = format!("Observed: {} would be registered as {approval:?}", job.name);
        return observe::would(severity, headline, vec![line], facts);
    };
    let version = package.version;
    let marks = package.approval == Approval::PendingManualApproval && package.approval != approval;
    let (headline, line) = if marks {
        (
            format!("Observed: {version} would be marked {approval:?}"),
            format!(
                "Somebody registered the model of {} as {version}, and it would be marked \
                 {approval:?}: {why}",
                job.name
            ),
        )
    } else {
        (
            format!(
                "Observed: {version} is {:?}, and would be left so",
                package.approval
            ),
            format!(
                "Somebody registered the model of {} as {version}. The gate says {approval:?}: \
                 {why}",
                job.name
            ),
        )
    };
    observe::would(severity, headline, vec![line], facts).version(version)
}
