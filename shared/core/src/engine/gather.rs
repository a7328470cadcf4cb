//! Gathers the facts that a decision needs, independent questions side by side.

use futures_util::future::join_all;
use jiff::SignedDuration;

use super::EngineError;
use crate::case::Case;
use crate::decide::{Input, needs};
use crate::event::{Event, JobStatus, Kind};
use crate::facts::Facts;
use crate::ledger::{JobRecord, Snapshot};
use crate::mutation::Mutation;
use crate::name::JobName;
use crate::world::{Answer, Question, World, WorldError, WorldErrorKind};

/// How many times answers may lead to further questions: endpoint, config, model, package.
const TURNS: u32 = 6;

/// How much later than the change that it tells of an event's time may be.
const SKEW: SignedDuration = SignedDuration::from_mins(2);

/// Whether a decision knows what to make of it that AWS does not answer. A rollout that can't be
/// tried out or watched doesn't hang for ever untold.
fn is_decided_on(question: &Question, error: &WorldError, input: &Input<'_>) -> bool {
    let asked_by = match input {
        Input::Event(event) => Some(&event.kind),
        _ => None,
    };
    let is_passing = error.is_passing();
    let is_housekeeping = matches!(asked_by, Some(Kind::Housekeeping));
    match question {
        // What IAM does not say of a role is left to SageMaker, and nothing waits for it.
        Question::RoleReads { .. } => true,
        // While a tick goes without an answer, the next one is a minute away.
        _ if is_passing && matches!(asked_by, Some(Kind::Tick { .. })) => true,
        // Housekeeping asks the first beside what a rollout needs. Where ticks get no counts either,
        // it is housekeeping that sees that nothing is seen.
        Question::Execution { .. }
        | Question::MonitoringSchedule(_)
        | Question::Violations { .. }
        | Question::Baselining { .. }
        | Question::Minutes { .. }
        | Question::Hours { .. } => is_housekeeping || !is_passing,
        // Of housekeeping, retrainings and monitors ask for them.
        Question::TrainingJob(_) | Question::TuningJob(_) => is_housekeeping,
        Question::Package { .. } => is_housekeeping && is_passing,
        // Who can't be asked about is nobody whose approval counts.
        Question::Smoke { .. } | Question::PrincipalTags(_) => !is_passing,
        Question::Object { .. } => error.kind == WorldErrorKind::Refused,
        _ => false,
    }
}

/// The training job whose record in the ledger an event is decided on: its own, or the best one of a
/// tuning job that has ended. What is asked for it becomes `known`.
pub(super) async fn training_job<W: World>(
    world: &W,
    kind: &Kind,
    known: &mut Facts,
) -> Result<Option<JobName>, EngineError> {
    let tuning = match kind {
        Kind::TrainingJob { job, .. } => return Ok(Some(job.clone())),
        Kind::TuningJob { job, .. } => job,
        _ => return Ok(None),
    };
    let question = Question::TuningJob(tuning.clone());
    if !known.has(&question) {
        let answer = world.ask(&question).await.map_err(EngineError::Fact)?;
        // One that has not ended is asked for again.
        if matches!(&answer, Answer::TuningJob(tuning) if tuning.is_over()) {
            known.add(question, answer);
        }
    }
    let described = known.tuning_job(tuning).is();
    let best = described.and_then(|tuning| tuning.best.as_ref());
    Ok(best.map(|best| best.job.clone()))
}

/// Asks until the decision has all that it needs. What is `known` already is not asked again.
pub(super) async fn gather<W: World>(
    world: &W,
    snapshot: &Snapshot,
    job: Option<&JobRecord>,
    input: &Input<'_>,
    now: jiff::Timestamp,
    known: &Facts,
) -> Result<Facts, EngineError> {
    let mut facts = Facts::default();
    for _ in 0..TURNS {
        let questions = needs(
            &Case {
                snapshot,
                job,
                facts: &facts,
                now,
            },
            input,
        );
        if questions.is_empty() {
            break;
        }
        let (before, questions): (Vec<_>, Vec<_>) =
            questions.into_iter().partition(|q| known.has(q));
        for question in before {
            if let Some(answer) = known.answer(&question).cloned() {
                facts.add(question, answer);
            }
        }
        let answers = join_all(questions.iter().map(|q| world.ask(q))).await;
        for (question, answer) in questions.into_iter().zip(answers) {
            let answer = match answer {
                Err(error) if is_decided_on(&question, &error, input) => {
                    tracing::info!(%error, "not answered");
                    Answer::Refused(error)
                }
                answer => answer.map_err(EngineError::Fact)?,
            };
            if let Input::Event(event) = input
                && lags(snapshot, event, &question, &answer)
                && !Mutation::TrustStale.is_on()
            {
                return Err(EngineError::Fact(not_shown_yet(event, &question)));
            }
            facts.add(question, answer);
        }
    }
    Ok(facts)
}

/// Whether an answer is of before what the event tells of: reads of `SageMaker` are consistent only
/// in the end. An event that is late tells of less than the answer does, and the answer counts.
fn lags(snapshot: &Snapshot, event: &Event, question: &Question, answer: &Answer) -> bool {
    match (&event.kind, question, answer) {
        (Kind::TrainingJob { .. }, Question::TrainingJob(_), Answer::TrainingJob(job)) => {
            matches!(job.status, JobStatus::InProgress | JobStatus::Stopping)
        }
        (Kind::TuningJob { .. }, Question::TuningJob(_), Answer::TuningJob(job)) => !job.is_over(),
        (Kind::Package { arn, version, .. }, Question::Package { arn: of }, Answer::Missing) => {
            // One that was known before was deleted since.
            arn == of && !snapshot.head.approvals.contains_key(version)
        }
        (
            Kind::Package { arn, approval, .. },
            Question::Package { arn: of },
            Answer::Package(package),
        ) => arn == of && package.approval != *approval && package.modified + SKEW < event.at,
        _ => false,
    }
}

fn not_shown_yet(event: &Event, question: &Question) -> WorldError {
    let (call, what) = match question {
        Question::TrainingJob(job) => ("DescribeTrainingJob", job.to_string()),
        Question::TuningJob(job) => ("DescribeHyperParameterTuningJob", job.to_string()),
        Question::Package { arn } => ("DescribeModelPackage", arn.clone()),
        _ => ("Describe", String::new()),
    };
    WorldError {
        kind: WorldErrorKind::NotNow,
        call: call.to_owned(),
        message: format!(
            "{what} is not shown yet as the event {} tells of it; the event is tried again. If it \
             was deleted since, drop the event",
            event.id
        ),
    }
}
