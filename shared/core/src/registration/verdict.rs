//! What a training job's model is registered as, and why: its preflight, its metrics beside the
//! champion's, and what is wrong with them if they can't be had.

use super::champion::champion_metrics;
use super::evaluation_uri;
use crate::artifact::Artifact;
use crate::case::Case;
use crate::event::Approval;
use crate::facts::Known;
use crate::gate::{self, Judgement, Metrics};
use crate::preflight::role::{self, Looked, Runs};
use crate::preflight::{self, Refusal};
use crate::principal::account_of;
use crate::world::{Answer, Question, TrainingJob};

/// What the gate says of a model.
pub(super) struct Verdict<'a> {
    pub(super) approval: Approval,
    /// Why, without a full stop where it is the metrics'.
    pub(super) why: String,
    /// The finite ones.
    pub(super) metrics: Metrics,
    pub(super) judgement: Judgement,
    pub(super) champion: Option<Metrics>,
    /// Whether the evaluation file was read, if there is to be one.
    pub(super) has_evaluation: bool,
    pub(super) artifact: Option<&'a Artifact>,
    pub(super) refusals: Vec<Refusal>,
    /// What was looked at of the model's role, where the policy asks for it.
    pub(super) reads: Option<Looked>,
}

/// Judges a model by its artifact, the image that it would be served by, and its metrics.
pub(super) fn verdict<'a>(
    case: &Case<'a>,
    job: &TrainingJob,
    artifact: &str,
    image: &str,
) -> Verdict<'a> {
    let policy = case.policy();
    let artifact = case.facts.artifact(artifact).is();
    let mut refusals = preflight::of_job(job, image, artifact, &policy.preflight);
    let reads = role_reads(case, job, artifact, &mut refusals);
    let (champion, which) = champion_metrics(case, job);
    let (mut metrics, problem) = metrics(case, job);
    let judgement = gate::judge(&policy.gate, &metrics, champion.as_ref());
    // The gate has said so of those; JSON has no word for them.
    metrics.retain(|_, value| value.is_finite());
    let has_evaluation = problem.is_none();
    let (approval, why) = if !refusals.is_empty() {
        let why = format!("it can't be served: {}", preflight::sentence(&refusals));
        (Approval::Rejected, why)
    } else if let Some(problem) = problem {
        (Approval::Rejected, problem)
    } else {
        let which = which.map(|which| format!("; {which}")).unwrap_or_default();
        let why = format!("{}{which}", judgement.sentence());
        (judgement.approval(policy.gate.approval), why)
    };
    Verdict {
        approval,
        why,
        metrics,
        judgement,
        champion,
        has_evaluation,
        artifact,
        refusals,
        reads,
    }
}

/// Adds what the model's role may not read.
fn role_reads(
    case: &Case<'_>,
    job: &TrainingJob,
    artifact: Option<&Artifact>,
    refusals: &mut Vec<Refusal>,
) -> Option<Looked> {
    let runs = runs(case, job)?;
    let artifacts: Vec<&Artifact> = artifact.into_iter().collect();
    let Some((more, looked)) = role::refusals(&runs, &artifacts, case.facts) else {
        return Some(Looked::nothing());
    };
    refusals.extend(more);
    Some(looked)
}

/// The role that a training job's model would run as on the first stage, if the policy has it looked
/// at.
pub(super) fn runs<'a>(case: &Case<'a>, job: &'a TrainingJob) -> Option<Runs<'a>> {
    let policy = case.policy();
    let stage = case
        .stages()
        .next()
        .filter(|_| policy.preflight.role_reads)?;
    Some(Runs {
        role: policy.serve.role.as_deref(),
        endpoint: &stage.endpoint,
        of_job: Some(&job.role),
        job: None,
        account: account_of(&job.arn),
    })
}

/// The metrics that the gate looks at, and what is wrong with them, if they can't be had.
fn metrics(case: &Case<'_>, job: &TrainingJob) -> (Metrics, Option<String>) {
    let Some(uri) = evaluation_uri(case, job) else {
        return (job.metrics.clone(), None);
    };
    if let Some(Answer::Refused(error)) = case.facts.answer(&Question::Object { uri: uri.clone() })
    {
        let why = format!("The evaluation file can't be read: {}.", error.message);
        return (job.metrics.clone(), Some(why));
    }
    match case.facts.object(&uri) {
        Known::Is(text) => match gate::metrics_from_evaluation(text) {
            Ok(evaluated) => {
                let mut metrics = job.metrics.clone();
                metrics.extend(evaluated);
                (metrics, None)
            }
            Err(error) => (
                job.metrics.clone(),
                Some(format!("The evaluation file {uri} can't be read: {error}.")),
            ),
        },
        Known::Missing | Known::NotAsked => (
            job.metrics.clone(),
            Some(format!("The evaluation file {uri} does not exist.")),
        ),
    }
}
