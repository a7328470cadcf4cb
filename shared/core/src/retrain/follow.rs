//! A retraining is followed to its end: by events, and since events get lost, by housekeeping that
//! asks, until the policy's `give_up_hours`. One that failed is told with the reason, and counts.

use serde_json::json;

use super::{Retraining, Run, ancestry, counted};
use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::JobStatus;
use crate::facts::Known;
use crate::head::Head;
use crate::ledger::{Lane, Route, RouteKind};
use crate::name::{JobName, TuningName};
use crate::notice::Severity;
use crate::tuning;
use crate::world::{Answer, Question, RunStatus, TuningJob, WorldError};

/// How a retraining ended.
enum End {
    /// It did what it was to do.
    Well,
    /// It did not, for this reason.
    Badly(String),
    /// Nobody knows.
    GivenUp,
}

/// What has to be asked of a retraining that is under way.
pub(crate) fn needs(case: &Case<'_>) -> Vec<Question> {
    let running = case.snapshot.head.retraining.as_ref();
    let question = running
        .filter(|r| r.is_under_way())
        .and_then(|r| match &r.run {
            Run::Execution { arn, .. } => {
                let arn = arn.clone()?;
                Some(Question::Execution { arn })
            }
            Run::TrainingJob { name } => Some(Question::TrainingJob(name.clone())),
            Run::TuningJob { name } => Some(Question::TuningJob(name.clone())),
            Run::Request => None,
        });
    question.into_iter().collect()
}

/// What has to be asked when an execution tells that it ended.
pub(crate) fn execution_needs(case: &Case<'_>, arn: &str) -> Vec<Question> {
    let mut questions = needs(case);
    let is_it = |q: &Question| matches!(q, Question::Execution { arn: a } if same(a, arn));
    questions.retain(is_it);
    questions
}

/// ARNs in events may be in lower case.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Ends the retraining that is under way, if it has ended.
pub(crate) fn follow(case: &Case<'_>, decision: &mut Decision) {
    let Some(running) = decision.head.retraining.clone() else {
        return;
    };
    if !running.is_under_way() {
        return;
    }
    let end = match &running.run {
        Run::Execution { arn: Some(arn), .. } => end_of_execution(case, arn),
        Run::TrainingJob { name } => end_of_job(case, name),
        Run::TuningJob { name } => end_of_tuning(case, name),
        Run::Execution { arn: None, .. } | Run::Request => None,
    };
    let end = end.or_else(|| (case.now >= running.give_up_at).then_some(End::GivenUp));
    if let Some(end) = end {
        over(case, &running, end, decision);
    }
}

fn end_of_execution(case: &Case<'_>, arn: &str) -> Option<End> {
    let question = Question::Execution {
        arn: arn.to_owned(),
    };
    if matches!(case.facts.answer(&question), Some(Answer::Refused(_))) {
        // What can't be seen may run still; it is given up in time.
        return None;
    }
    let run = match case.facts.execution(arn) {
        Known::NotAsked => return None,
        Known::Missing => return Some(End::Badly("it does not exist any more".to_owned())),
        Known::Is(run) => run,
    };
    let why = || {
        let given = run.failure.clone();
        given.unwrap_or_else(|| "SageMaker gives no reason".to_owned())
    };
    match run.status {
        RunStatus::Running => None,
        RunStatus::Succeeded => Some(End::Well),
        RunStatus::Failed => Some(End::Badly(why())),
        RunStatus::Stopped => Some(End::Badly("somebody stopped it".to_owned())),
    }
}

fn end_of_job(case: &Case<'_>, name: &JobName) -> Option<End> {
    let job = case.facts.training_job(name).is()?;
    let why = || {
        let given = job.failure.clone();
        given.unwrap_or_else(|| "SageMaker gives no reason".to_owned())
    };
    match job.status {
        JobStatus::InProgress | JobStatus::Stopping => None,
        JobStatus::Completed => Some(End::Well),
        JobStatus::Failed => Some(End::Badly(why())),
        JobStatus::Stopped => Some(End::Badly("it was stopped".to_owned())),
    }
}

/// Its end is told as the retraining's, and its best model is judged by the tuning job's own event.
fn end_of_tuning(case: &Case<'_>, name: &TuningName) -> Option<End> {
    let question = Question::TuningJob(name.clone());
    if matches!(case.facts.answer(&question), Some(Answer::Refused(_))) {
        return None;
    }
    let tuning = match case.facts.tuning_job(name) {
        Known::NotAsked => return None,
        Known::Missing => return Some(End::Badly("it does not exist any more".to_owned())),
        Known::Is(tuning) => tuning,
    };
    if !tuning.is_over() {
        return None;
    }
    Some(match tuning::failure(case, tuning) {
        None => End::Well,
        Some(why) => End::Badly(why),
    })
}

/// Whether the tuning job is the newest retraining itself, also when it has ended.
pub(crate) fn is_own_tuning(head: &Head, job: &TuningName) -> bool {
    let newest = head.retraining.as_ref();
    newest.is_some_and(|r| matches!(&r.run, Run::TuningJob { name } if name == job))
}

/// A tuning job ended that may be the retraining, or what came of a request.
pub(crate) fn tuning_ended(case: &Case<'_>, tuning: &TuningJob, decision: &mut Decision) {
    if is_own_tuning(&decision.head, &tuning.name) {
        return follow(case, decision);
    }
    let Some(running) = decision.head.retraining.clone() else {
        return;
    };
    let finding = ancestry::tag_value(&running.finding);
    let is_answer = running.is_under_way()
        && running.run == Run::Request
        && tuning.tags.get(ancestry::FINDING_KEY) == Some(&finding);
    if is_answer && let Some(end) = end_of_tuning(case, &tuning.name) {
        over(case, &running, end, decision);
    }
}

/// Whether the job is the retraining itself, which is under way: then its end is told as such.
pub(crate) fn is_own_job(head: &Head, job: &JobName) -> bool {
    let running = head.retraining.as_ref().filter(|r| r.is_under_way());
    running.is_some_and(|r| matches!(&r.run, Run::TrainingJob { name } if name == job))
}

/// A training job ended that may be the retraining, or what came of a request.
pub(crate) fn job_ended(case: &Case<'_>, job: &JobName, decision: &mut Decision) {
    let Some(running) = decision.head.retraining.clone() else {
        return;
    };
    if is_own_job(&decision.head, job) {
        return follow(case, decision);
    }
    let is_answer = running.is_under_way() && running.run == Run::Request;
    let Some(described) = case.facts.training_job(job).is().filter(|_| is_answer) else {
        return;
    };
    let is_over = !matches!(
        described.status,
        JobStatus::InProgress | JobStatus::Stopping
    );
    // One of a tuning job's is not the end of that.
    if is_over
        && described.tuning.is_none()
        && super::ancestry(&decision.head, described).is_some()
        && let Some(end) = end_of_job(case, job)
    {
        over(case, &running, end, decision);
    }
}

fn over(case: &Case<'_>, running: &Retraining, end: End, decision: &mut Decision) {
    let what = running.run.in_words();
    let facts = json!({ "retraining": running });
    let counts = "It counts for the cooldown and the month. Drift remains until a version without \
                  it serves."
        .to_owned();
    let (word, why, tell) = match end {
        End::Well => (
            What::RetrainingEnded,
            format!(
                "{what} ended well, for {}: its model goes the usual way.",
                running.endpoint
            ),
            None,
        ),
        End::Badly(reason) => (
            What::RetrainingFailed,
            format!("{what} failed, for {}: {reason}", running.endpoint),
            Some((
                format!("Retraining failed for {}", running.endpoint),
                vec![format!("{what} failed: {reason}"), counts],
            )),
        ),
        End::GivenUp => (
            What::RetrainingFailed,
            format!(
                "{what} was asked for {} at {}, and nothing was heard of its end.",
                running.endpoint, running.since
            ),
            Some((
                format!("Retraining for {} is followed no more", running.endpoint),
                vec![
                    format!(
                        "{what} began at {}, and nothing was heard of its end. Look after it; \
                         another may start now.",
                        running.since
                    ),
                    counts,
                ],
            )),
        ),
    };
    let note = Note::new(word, why, facts).endpoint(&running.endpoint);
    decision.notes.push(match tell {
        Some((headline, lines)) => note.tell(Severity::Action, headline, lines),
        None => note,
    });
    if let Run::Execution { arn: Some(arn), .. } = &running.run {
        decision.dropped_routes.push(route(arn));
    }
    if let Some(retraining) = &mut decision.head.retraining {
        retraining.ended = Some(case.now);
    }
    // What was not even begun must not begin after that, followed by nobody.
    let lane = Lane::Retraining(running.token.clone());
    decision.cancelled.push(lane);
}

/// The way from an execution to its pipeline.
pub(crate) fn route(arn: &str) -> Route {
    Route {
        kind: RouteKind::Execution,
        name: arn.to_ascii_lowercase(),
    }
}

/// It was started, or was there already.
pub(crate) fn started(token: &str, arn: Option<&str>, why: &str, decision: &mut Decision) {
    let running = decision.head.retraining.as_mut();
    let running = running.filter(|r| r.token == token);
    let (mut what, mut withheld, mut finding) = ("The retraining".to_owned(), 0, None);
    let mut tuning = None;
    if let Some(running) = running {
        if let Run::Execution { arn: place, .. } = &mut running.run
            && let Some(arn) = arn
        {
            *place = Some(arn.to_owned());
            decision.routes.push(route(arn));
        }
        if let Run::TuningJob { name } = &running.run {
            tuning = Some(name.clone());
        }
        what = running.run.in_words();
        withheld = running.withheld;
        finding = Some(ancestry::tag_value(&running.finding));
    }
    if let Some(tuning) = &tuning {
        decision.head.wait_for(tuning);
    }
    let mut lines = vec![why.to_owned()];
    lines.extend(arn.map(|arn| format!("It is {arn}")));
    lines.extend(counted(withheld));
    decision.notes.push(
        Note::new(
            What::RetrainingStarted,
            format!("{what} runs: {why}"),
            json!({ "execution": arn, "finding": finding }),
        )
        .tell(Severity::Info, format!("Retraining started: {what}"), lines),
    );
}

/// AWS refused to start it.
pub(crate) fn could_not_start(
    case: &Case<'_>,
    token: &str,
    error: &WorldError,
    decision: &mut Decision,
) -> bool {
    let running = decision.head.retraining.clone();
    let Some(running) = running.filter(|r| r.is_under_way() && r.token == token) else {
        return false;
    };
    let reason = format!("AWS refused {}: {}", error.call, error.message);
    over(case, &running, End::Badly(reason), decision);
    true
}
