//! Whose approval counts: the policy's `[approval]`, held to wherever an approval was given.
//!
//! An approval that does not count is taken back: the package waits for approval again, so that
//! SageMaker says what is so, and nobody rolls it out by other means. Where a rule needs to know who
//! approved or trained, and nobody says, it does not count either.

use serde_json::json;

use super::tagged;
use crate::audit::{What, Who};
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::Approval;
use crate::head::Head;
use crate::ledger::Lane;
use crate::name::JobName;
use crate::notice::Severity;
use crate::observe;
use crate::world::{Effect, Package, TIDEGATE};

/// What an approval is worth.
enum Ruling {
    /// It counts, and no other is needed.
    Enough,
    /// It counts, and others are needed.
    Counted {
        /// People so far.
        people: usize,
    },
    /// It does not count.
    Forbidden(String),
}

/// Whether the approval of a package counts in full. If not, it is taken back and people are told.
pub(super) fn is_enough(case: &Case<'_>, package: &Package, decision: &mut Decision) -> bool {
    let version = package.version;
    let by = package.modified_by.as_deref();
    let who = by.unwrap_or("Somebody whom SageMaker does not name");
    let most = case.policy().approval.people;
    let (what, severity, headline, why) = match ruling(case, package, &mut decision.head) {
        Ruling::Enough => return true,
        Ruling::Counted { people } => (
            What::ApprovalCounted,
            Severity::Action,
            format!("{version} needs another approval"),
            format!("{who} approved {version}: {people} of {most} people. Another person has to."),
        ),
        Ruling::Forbidden(why) => (
            What::ApprovalUndone,
            Severity::Action,
            format!("The approval of {version} was taken back"),
            format!("{who} approved {version}, and it does not count: {why}"),
        ),
    };
    let facts = json!({ "package": package.arn, "by": by, "policy": case.policy().approval });
    if case.observes() {
        let headline = format!("Observed: the approval of {version} would be taken back");
        let lines = vec![why, "Nothing was changed.".to_owned()];
        let note = observe::would(severity, headline, lines, facts);
        decision.notes.push(note.version(version));
        return false;
    }
    // What Tidegate sets itself is no news to it.
    let seen = decision.head.approvals.get(&version).map(|(_, at)| *at);
    decision.head.remember_approval(
        version,
        Approval::PendingManualApproval,
        seen.unwrap_or(package.modified),
    );
    decision
        .notes
        .push(Note::new(what, why.clone(), facts).version(version).tell(
            severity,
            headline,
            vec![why.clone()],
        ));
    decision.effects.push((
        Lane::Version(version),
        Effect::SetApproval {
            arn: package.arn.clone(),
            approval: Approval::PendingManualApproval,
            why,
            seen: Some(package.modified),
        },
    ));
    false
}

/// Remembers who started a training or tuning job, where the policy asks for it.
pub(crate) fn remember_trainer(
    case: &Case<'_>,
    job: &JobName,
    is_tuning: bool,
    by: &str,
    decision: &mut Decision,
) {
    if !case.policy().approval.not_the_trainer {
        return decision.nothing("the policy does not ask who trains ([approval] not_the_trainer)");
    }
    decision.head.remember_creator(job.clone(), by);
    let what = if is_tuning { "tuning" } else { "training" };
    let why = format!("{by} started the {what} job {job}.");
    decision.notes.push(
        Note::new(What::TrainingStarted, why, json!({ "job": job })).by(Who::Person(by.to_owned())),
    );
}

fn ruling(case: &Case<'_>, package: &Package, head: &mut Head) -> Ruling {
    let rule = &case.policy().approval;
    // The gate's own approval, once, is no person's.
    let by_gate = is_by_gate(case, package, head);
    head.gated.remove(&package.version);
    if rule.are_anyone() || by_gate {
        return Ruling::Enough;
    }
    let Some(who) = package.modified_by.as_deref() else {
        return Ruling::Forbidden(
            "the policy says who may approve, and SageMaker does not say who did.".to_owned(),
        );
    };
    if who == TIDEGATE {
        return Ruling::Forbidden(
            "the policy says who may approve, and SageMaker does not say who did: Tidegate wrote \
             its life cycle right after. Approve it once more."
                .to_owned(),
        );
    }
    if !rule.include(who)
        && let Err(why) = tagged::fits(case, package, who)
    {
        return Ruling::Forbidden(why);
    }
    if rule.not_the_trainer
        && let Err(why) = is_not_the_trainer(package, who, head)
    {
        return Ruling::Forbidden(why);
    }
    let people = head.vote(package.version, who);
    if people >= usize::from(rule.people) {
        // Approvals are used once: after a rejection all have to be given anew.
        head.votes.remove(&package.version);
        Ruling::Enough
    } else {
        Ruling::Counted { people }
    }
}

/// Whether this is the gate's own approval, and no person's.
pub(super) fn is_by_gate(case: &Case<'_>, package: &Package, head: &Head) -> bool {
    head.gated.contains(&package.version) || is_being_registered(case, package)
}

/// Whether the gate has this package registered as Approved right now: it may be there before that
/// is written down.
fn is_being_registered(case: &Case<'_>, package: &Package) -> bool {
    let job = job_of(package);
    case.snapshot.pending.iter().any(|pending| {
        matches!(&pending.effect, Effect::RegisterPackage(spec)
            if spec.approval == Approval::Approved && Some(spec.job.as_str()) == job.as_deref())
    })
}

/// The training job of a package. What was said when it was made can't be changed later, as its
/// metadata can (`UpdateModelPackage` in the API reference).
fn job_of(package: &Package) -> Option<String> {
    let made_by = package.origin.job.as_deref();
    let named = made_by.and_then(|arn| arn.rsplit_once(":training-job/"));
    named
        .map(|(_, job)| job.to_owned())
        .or_else(|| crate::candidate::of_package(package).job)
}

/// The tuning job that a training job of this name was launched by: SageMaker appends a number and
/// eight digits to its name.
fn tuning_of(job: &str) -> Option<&str> {
    let (rest, id) = job.rsplit_once('-')?;
    let (tuning, number) = rest.rsplit_once('-')?;
    let is_id = id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let is_number = number.len() >= 3 && number.bytes().all(|b| b.is_ascii_digit());
    (is_id && is_number).then_some(tuning)
}

/// Whether somebody else trained the model; why that is not so, or not known. Who started the tuning
/// job trained it, and so did whoever is known to have started the training job itself.
fn is_not_the_trainer(package: &Package, who: &str, head: &Head) -> Result<(), String> {
    let job = job_of(package);
    let jobs = [job.as_deref(), job.as_deref().and_then(tuning_of)];
    let jobs = jobs.into_iter().flatten();
    let trainers: Vec<(&str, bool)> = jobs.filter_map(|job| head.creator(job, who)).collect();
    if trainers.is_empty() {
        return Err(
            "the policy asks for another person than the trainer, and nobody said who that is: \
             CloudTrail has to be on when the job starts ([approval] not_the_trainer)."
                .to_owned(),
        );
    }
    if trainers.iter().any(|(_, is_the_same)| *is_the_same) {
        return Err("they started the training job themselves.".to_owned());
    }
    let is_of_studio = |name: &str| !name.starts_with("arn:");
    if trainers
        .iter()
        .any(|(t, _)| is_of_studio(t) != is_of_studio(who))
    {
        return Err(
            "the policy asks for another person than the trainer, and of a Studio user and an IAM \
             principal can't be told whether they are the same."
                .to_owned(),
        );
    }
    Ok(())
}
