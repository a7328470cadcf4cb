//! A hyperparameter tuning job: of all the models that it trains the best one counts, once it has
//! ended; it is then gated as any training job's is.
//!
//! Each training job of a tuning job ends with an event of its own and carries the tuning job's
//! tags ("Tags" of `CreateHyperParameterTuningJob`), so what tells them from others is
//! `TuningJobArn` of `DescribeTrainingJob`. A tuning job that failed registers nothing; one that was
//! stopped has a best so far. Of a warm start its own best counts: its parents had theirs.

use serde_json::json;

use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::JobStatus;
use crate::facts::Known;
use crate::name::{JobName, TuningName};
use crate::notice::Severity;
use crate::registration;
use crate::retrain;
use crate::world::{BestJob, Question, TuningJob};

/// What has to be known when a tuning job ended.
pub(crate) fn needs(case: &Case<'_>, name: &TuningName) -> Vec<Question> {
    let mut questions = vec![Question::TuningJob(name.clone())];
    let described = case.facts.tuning_job(name).is();
    if let Some(best) = described.and_then(best) {
        questions.extend(registration::needs(case, &best.job));
    }
    questions
}

/// Gates the best model of a tuning job that ended.
pub(crate) fn decide(case: &Case<'_>, name: &TuningName, decision: &mut Decision) {
    let tuning = match case.facts.tuning_job(name) {
        Known::NotAsked => return decision.nothing("the tuning job is not known yet"),
        Known::Missing => return gone(name, decision),
        Known::Is(tuning) => tuning,
    };
    if !tuning.is_over() {
        return decision.nothing(format!("the tuning job {name} is not over"));
    }
    if !conclude(case, tuning, decision) {
        decision.nothing(format!("the tuning job {name} was dealt with before"));
    }
    if let Some(best) = best(tuning) {
        registration::decide(case, &best.job, decision);
    }
    retrain::tuning_ended(case, tuning, decision);
}

/// Whether the tuning job says that the model of this training job of it is the one that counts.
pub(crate) fn is_best(case: &Case<'_>, name: &TuningName, job: &JobName) -> bool {
    let described = case.facts.tuning_job(name).is();
    described
        .and_then(best)
        .is_some_and(|best| &best.job == job)
}

/// Whether the model of this training job counts now; if not, why, and what is waited for.
pub(crate) fn counts(
    case: &Case<'_>,
    name: &TuningName,
    job: &JobName,
    decision: &mut Decision,
) -> bool {
    let tuning = match case.facts.tuning_job(name) {
        Known::NotAsked => {
            decision.nothing("its tuning job is not known yet");
            return false;
        }
        Known::Missing => {
            decision.nothing(format!(
                "the tuning job {name} of the training job {job} does not exist any more, so \
                 nobody says whether its model is the best"
            ));
            return false;
        }
        Known::Is(tuning) => tuning,
    };
    if is_best(case, name, job) {
        conclude(case, tuning, decision);
        retrain::tuning_ended(case, tuning, decision);
        return true;
    }
    if !decision.head.knows_finding(&key(name)) {
        decision.head.wait_for(name);
    }
    decision.nothing(if tuning.is_over() {
        format!("the training job {job} is not the best of the tuning job {name}")
    } else {
        format!("the training job {job} waits for the end of its tuning job {name}")
    });
    false
}

/// The training job whose model counts, of a tuning job that ended.
fn best(tuning: &TuningJob) -> Option<&BestJob> {
    let has_result = matches!(tuning.status, JobStatus::Completed | JobStatus::Stopped);
    tuning.best.as_ref().filter(|_| has_result)
}

/// What a tuning job that was dealt with is remembered by.
fn key(name: &TuningName) -> String {
    format!("tuning/{name}")
}

/// Writes down, once, how a tuning job ended and which of its models counts: one line for all of
/// its training jobs. False if that was done before.
fn conclude(case: &Case<'_>, tuning: &TuningJob, decision: &mut Decision) -> bool {
    let name = &tuning.name;
    decision.head.tunings.retain(|waiting| waiting != name);
    if decision.head.is_known_finding(&key(name)) {
        return false;
    }
    let how = match tuning.status {
        JobStatus::Failed => "failed",
        JobStatus::Stopped => "was stopped",
        _ => "ended",
    };
    let facts = json!({ "tuning": tuning });
    match judged(case, tuning) {
        Ok(best) => {
            let is = if case.observes() { "would be" } else { "is" };
            let others = if case.observes() {
                "would not be"
            } else {
                "are not"
            };
            let why = format!(
                "The tuning job {name} {how}: of its {}, {} is the best. Its model {is} judged, the \
                 others {others} registered.",
                in_words(tuning),
                best_in_words(best)
            );
            decision
                .notes
                .push(Note::new(What::TuningEnded, why, facts));
        }
        Err(why) => {
            let line = format!(
                "The tuning job {name} {how} after {}, and none of its models is registered: {why}",
                in_words(tuning)
            );
            let note = Note::new(What::TuningEnded, line.clone(), facts);
            // The retraining tells of its own end.
            let is_told = retrain::is_own_tuning(&decision.head, name);
            decision.notes.push(if is_told {
                note
            } else {
                let headline = format!("Tuning job {name} {how} without a model");
                note.tell(Severity::Warning, headline, vec![line])
            });
        }
    }
    true
}

/// The training job whose model is judged, or why none is.
fn judged<'a>(case: &Case<'_>, tuning: &'a TuningJob) -> Result<&'a BestJob, String> {
    if tuning.status == JobStatus::Failed {
        let given = tuning.failure.clone();
        return Err(given.unwrap_or_else(|| "SageMaker gives no reason.".to_owned()));
    }
    let Some(best) = best(tuning) else {
        return Err("no training job of it has the objective metric.".to_owned());
    };
    let described = case.facts.training_job(&best.job).is();
    match described.map(|job| job.status) {
        Some(JobStatus::Completed) | None => Ok(best),
        Some(status) => Err(format!(
            "{} is the best, and it is {status:?}, not Completed.",
            best_in_words(best)
        )),
    }
}

/// How a tuning job ended that has no model to be judged; none if it has one.
pub(crate) fn failure(case: &Case<'_>, tuning: &TuningJob) -> Option<String> {
    judged(case, tuning).err()
}

/// `12 training jobs (2 failed, 1 stopped)`.
fn in_words(tuning: &TuningJob) -> String {
    let mut apart = Vec::new();
    for (count, what) in [(tuning.failed, "failed"), (tuning.stopped, "stopped")] {
        if count > 0 {
            apart.push(format!("{count} {what}"));
        }
    }
    let apart = if apart.is_empty() {
        String::new()
    } else {
        format!(" ({})", apart.join(", "))
    };
    let jobs = if tuning.launched == 1 { "job" } else { "jobs" };
    format!("{} training {jobs}{apart}", tuning.launched)
}

fn best_in_words(best: &BestJob) -> String {
    match &best.objective {
        Some((metric, value)) => format!("{} ({metric} {value})", best.job),
        None => best.job.to_string(),
    }
}

/// A tuning job that was waited for was deleted.
fn gone(name: &TuningName, decision: &mut Decision) {
    let waiting = decision.head.tunings.len();
    decision.head.tunings.retain(|waiting| waiting != name);
    if decision.head.tunings.len() == waiting {
        return decision.nothing(format!("the tuning job {name} does not exist"));
    }
    let why = format!(
        "The tuning job {name} does not exist any more, so nobody says which of its models is the \
         best: none is registered."
    );
    decision
        .notes
        .push(Note::new(What::TuningEnded, why, json!({ "tuning": name })));
}
