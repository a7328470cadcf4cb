//! A training job that ended: its model is gated on its metrics and registered.
//!
//! One package per training job: the ledger's `job#` item and the client token see to it, and a
//! package that somebody else registered for the same artifact is gated instead of doubled.

use std::collections::BTreeMap;

use serde_json::json;

use crate::audit::What;
use crate::candidate::{JOB_KEY, METRIC_KEY};
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::{Approval, JobStatus};
use crate::facts::Known;
use crate::gate::{self, Judgement, Metrics};
use crate::ledger::{JobRecord, Lane};
use crate::mutation::Mutation;
use crate::name::{JobName, token};
use crate::notice::Severity;
use crate::observe;
use crate::origin;
use crate::retrain::{self, Ancestry, FINDING_KEY, PARENT_KEY};
use crate::tuning;
use crate::world::{Answer, Effect, Package, PackageSpec, Question, TrainingJob};

mod champion;

use champion::{champion_evaluation_uri, champion_metrics, drift_remains};

/// How much of a package's metadata metrics may take, of SageMaker's 50 pairs.
const METRIC_PAIRS: usize = 34;

/// The metadata key of the tuning job that launched the training job.
const TUNING_KEY: &str = "tidegate:tuning-job";

/// What has to be known to gate a training job's model.
pub(crate) fn needs(case: &Case<'_>, job: &JobName) -> Vec<Question> {
    if is_gated(case, job) {
        return Vec::new();
    }
    let mut questions = vec![Question::TrainingJob(job.clone())];
    let Some(described) = case.facts.training_job(job).is() else {
        return questions;
    };
    if let Some(tuning) = &described.tuning {
        questions.push(Question::TuningJob(tuning.clone()));
        if !tuning::is_best(case, tuning, job) {
            return questions;
        }
    }
    if described.status != JobStatus::Completed {
        return questions;
    }
    let evaluations = [
        evaluation_uri(case, described),
        champion_evaluation_uri(case, described),
    ];
    let evaluations = evaluations.into_iter().flatten();
    questions.extend(evaluations.map(|uri| Question::Object { uri }));
    questions.extend(same_artifact(case, described));
    questions.extend(origin::needs(described));
    if own_image(case, described).is_none() {
        questions.extend(champion_image(case).err().unwrap_or_default());
    }
    questions
}

/// Whether the job's model was gated before and is registered, or is about to be. Where AWS refused
/// to register it, the event may be sent again.
fn is_gated(case: &Case<'_>, job: &JobName) -> bool {
    if Mutation::RegisterAgain.is_on() {
        return false;
    }
    let lane = Lane::Job(job.clone());
    let is_pending = || case.snapshot.pending.iter().any(|p| p.lane == lane);
    // In observe mode nothing is ever registered: it was said once what would be.
    case.job
        .is_some_and(|record| record.package.is_some() || case.observes() || is_pending())
}

fn same_artifact(case: &Case<'_>, job: &TrainingJob) -> Option<Question> {
    Some(Question::PackagesOf {
        group: case.policy().pipeline.group.clone(),
        artifact: job.artifact.clone()?,
        since: job.created,
    })
}

fn evaluation_uri(case: &Case<'_>, job: &TrainingJob) -> Option<String> {
    let template = case.policy().gate.evaluation.as_ref()?;
    Some(of_job(template, job))
}

fn of_job(template: &str, job: &TrainingJob) -> String {
    let output = format!("{}/{}/output", job.output.trim_end_matches('/'), job.name);
    template
        .replace("{job}", job.name.as_str())
        .replace("{output}", &output)
}

/// Gates the job's model, once.
pub(crate) fn decide(case: &Case<'_>, job: &JobName, decision: &mut Decision) {
    if is_gated(case, job) {
        decision.nothing(format!("the training job {job} was gated before"));
        return;
    }
    let described = match case.facts.training_job(job) {
        Known::NotAsked => return decision.nothing("the training job is not known yet"),
        Known::Missing => {
            return decision.nothing(format!("the training job {job} does not exist"));
        }
        Known::Is(described) => described,
    };
    if let Some(tuning) = &described.tuning
        && !tuning::counts(case, tuning, job, decision)
    {
        return;
    }
    match described.status {
        JobStatus::Completed => gate(case, described, decision),
        JobStatus::InProgress | JobStatus::Stopping => {
            decision.nothing(format!("the training job {job} is not over"));
        }
        JobStatus::Failed if retrain::is_own_job(&decision.head, job) => {
            decision.nothing("it is told as the retraining that it is");
        }
        JobStatus::Failed => unusable(
            described,
            "failed",
            described
                .failure
                .clone()
                .unwrap_or_else(|| "SageMaker gave no reason.".to_owned()),
            decision,
        ),
        JobStatus::Stopped => {
            decision.nothing(format!("the training job {job} was stopped"));
        }
    }
}

/// A job whose model can't be registered: people are told, once.
fn unusable(job: &TrainingJob, what: &str, why: String, decision: &mut Decision) {
    if decision
        .head
        .is_known_finding(&format!("job/{}/{what}", job.name))
    {
        decision.nothing(format!("people were told of {} before", job.name));
        return;
    }
    decision.notes.push(
        Note::new(
            What::CandidateRejected,
            format!("The training job {} {what}: {why}", job.name),
            json!({ "job": job.arn }),
        )
        .tell(
            Severity::Warning,
            format!("Training job {} {what}", job.name),
            vec![why, "No model was registered.".to_owned()],
        ),
    );
}

fn gate(case: &Case<'_>, job: &TrainingJob, decision: &mut Decision) {
    let Some(artifact) = job.artifact.clone() else {
        return unusable(
            job,
            "has no model",
            "It is Completed, but SageMaker names no artifact of it.".to_owned(),
            decision,
        );
    };
    let Some(image) = own_image(case, job).or_else(|| champion_image(case).ok().flatten()) else {
        return unusable(job, "has no image to serve it", no_image(job), decision);
    };
    let (champion, which) = champion_metrics(case, job);
    let policy = case.policy();
    let (mut metrics, problem) = metrics(case, job);
    let judgement = gate::judge(&policy.gate, &metrics, champion.as_ref());
    // The gate has said so of those; JSON has no word for them.
    metrics.retain(|_, value| value.is_finite());
    let (approval, why) = match (&problem, which) {
        (Some(problem), _) => (Approval::Rejected, problem.clone()),
        (None, which) => {
            let which = which.map(|which| format!("; {which}")).unwrap_or_default();
            let why = format!("{}{which}", judgement.sentence());
            (judgement.approval(policy.gate.approval), why)
        }
    };
    let ancestry = retrain::ancestry(&decision.head, job);
    let record = JobRecord {
        job: job.name.clone(),
        at: case.now,
        metrics: metrics.clone(),
        judgement: judgement.clone(),
        package: None,
    };
    let lane = Lane::Job(job.name.clone());
    let is_to_be = if case.observes() { "would be" } else { "is" };
    decision.notes.push(Note::new(
        What::CandidateGated,
        format!("The model of {} {is_to_be} {approval:?}: {why}", job.name),
        json!({
            "job": job.arn,
            "metrics": metrics,
            "checks": judgement.checks,
            "champion": champion,
            "retrained": ancestry,
            "origin": origin::facts(job, &origin::data(case, job)),
        }),
    ));
    if let Some(ancestry) = ancestry.as_ref().filter(|_| approval == Approval::Rejected) {
        decision.notes.push(drift_remains(job, ancestry, &why));
    }
    let registered_elsewhere = same_artifact(case, job)
        .and_then(|q| case.facts.packages(&q).is())
        .and_then(|p| p.first())
        .filter(|_| !Mutation::RegisterAgain.is_on());
    if case.observes() {
        let note = would_register(job, approval, &why, registered_elsewhere);
        return note_gated(record, note, registered_elsewhere, decision);
    }
    if let Some(package) = registered_elsewhere {
        return gate_elsewhere(record, package, approval, &why, decision);
    }
    decision.jobs.push(record);
    let spec = PackageSpec {
        token: client_token(case, job),
        group: policy.pipeline.group.clone(),
        job: job.name.clone(),
        job_arn: job.arn.clone(),
        description: cut(
            &format!("{} of pipeline {}. {why}", job.name, policy.pipeline.name),
            1_024,
        ),
        image,
        artifact,
        environment: framework_environment(job),
        content_types: policy.serve.content_types.clone(),
        response_types: policy.serve.response_types.clone(),
        approval,
        why: cut(&why, 1_024),
        evaluation: evaluation_uri(case, job).filter(|_| problem.is_none()),
        commit: origin::commit(job),
        repository: origin::repository(job),
        metadata: metadata(case, job, &metrics, &judgement, ancestry.as_ref()),
    };
    let effect = Effect::RegisterPackage(Box::new(spec));
    decision.effects.push((lane, effect));
}

/// Gates a package that somebody else registered of the same artifact.
fn gate_elsewhere(
    record: JobRecord,
    package: &Package,
    approval: Approval,
    why: &str,
    decision: &mut Decision,
) {
    if package.approval == Approval::PendingManualApproval
        && approval != Approval::PendingManualApproval
    {
        decision.effects.push((
            Lane::Job(record.job.clone()),
            Effect::SetApproval {
                arn: package.arn.clone(),
                approval,
                why: cut(why, 1_024),
                seen: Some(package.modified),
            },
        ));
        if approval == Approval::Approved {
            decision.head.remember_gated(package.version);
        }
    }
    let package = Some((package.arn.clone(), package.version));
    decision.jobs.push(JobRecord { package, ..record });
}

fn no_image(job: &TrainingJob) -> String {
    format!(
        "The training image {} does not serve, no version serves yet whose image could be taken, \
         and the policy names none. Set `image` in [serve] and send the event again.",
        job.image.as_deref().unwrap_or("(an algorithm's)")
    )
}

/// The token that makes AWS register a training job's model once.
fn client_token(case: &Case<'_>, job: &TrainingJob) -> String {
    if Mutation::RegisterAgain.is_on() {
        return token(&format!("{} {}", job.arn, case.snapshot.head.version));
    }
    token(&job.arn)
}

/// Remembers in observe mode that the job was gated and told of.
fn note_gated(record: JobRecord, note: Note, elsewhere: Option<&Package>, decision: &mut Decision) {
    decision.notes.push(note);
    let package = elsewhere.map(|p| (p.arn.clone(), p.version));
    decision.jobs.push(JobRecord { package, ..record });
}

/// What would be registered, for people.
fn would_register(
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

fn metadata(
    case: &Case<'_>,
    job: &TrainingJob,
    metrics: &Metrics,
    judgement: &Judgement,
    ancestry: Option<&Ancestry>,
) -> BTreeMap<String, String> {
    // What the gate asks for comes first: the next candidate is compared with it.
    let required = &case.policy().gate.require;
    let is_required = |name: &str| required.iter().any(|r| r.metric == name);
    let (first, then): (Vec<_>, Vec<_>) = metrics.iter().partition(|(name, _)| is_required(name));
    let mut pairs: BTreeMap<String, String> = first
        .into_iter()
        .chain(then)
        .take(METRIC_PAIRS)
        .map(|(name, value)| (format!("{METRIC_KEY}{name}"), format!("{value}")))
        .collect();
    pairs.extend(origin::metadata(job, &origin::data(case, job)));
    pairs.insert(JOB_KEY.to_owned(), job.name.to_string());
    let verdict = if judgement.passed() {
        "passed"
    } else {
        "failed"
    };
    pairs.insert("tidegate:gate".to_owned(), verdict.to_owned());
    let tuning = job.tuning.as_ref();
    pairs.extend(tuning.map(|name| (TUNING_KEY.to_owned(), name.to_string())));
    if let Some(ancestry) = ancestry {
        pairs.insert(FINDING_KEY.to_owned(), ancestry.finding.clone());
        let parent = ancestry.parent.clone();
        pairs.extend(parent.map(|parent| (PARENT_KEY.to_owned(), parent)));
    }
    pairs
}

/// The image that the policy or the training job gives. The training image goes before the
/// champion's where it also serves: the artifact was written by that very framework version.
fn own_image(case: &Case<'_>, job: &TrainingJob) -> Option<String> {
    let of_training = || job.image.clone().filter(|image| also_serves(image));
    case.policy().serve.image.clone().or_else(of_training)
}

/// Whether a training image also serves: scikit-learn's and XGBoost's do ("Docker registry paths
/// and example code" lists one image for both).
fn also_serves(image: &str) -> bool {
    image.rsplit('/').next().is_some_and(|repository| {
        repository.starts_with("sagemaker-scikit-learn")
            || repository.starts_with("sagemaker-xgboost")
    })
}

/// The image of what serves the first stage; the questions to ask, if that is not known yet.
fn champion_image(case: &Case<'_>) -> Result<Option<String>, Vec<Question>> {
    let Some(stage) = case.stages().next() else {
        return Ok(None);
    };
    let package_image = |arn: &str| match case.facts.package(arn) {
        Known::NotAsked => Err(vec![Question::Package {
            arn: arn.to_owned(),
        }]),
        Known::Missing => Ok(None),
        Known::Is(package) => Ok(package.image.clone()),
    };
    if let Some(champion) = case.snapshot.head.champions.get(&stage.name) {
        return package_image(&champion.candidate.package);
    }
    let endpoint = match case.facts.endpoint(&stage.endpoint) {
        Known::NotAsked => return Err(vec![Question::Endpoint(stage.endpoint.clone())]),
        Known::Missing => return Ok(None),
        Known::Is(endpoint) => endpoint,
    };
    let config = match case.facts.config(&endpoint.config) {
        Known::NotAsked => {
            return Err(vec![Question::EndpointConfig {
                name: endpoint.config.clone(),
            }]);
        }
        Known::Missing => return Ok(None),
        Known::Is(config) => config,
    };
    let Some(name) = config.variants.first().and_then(|v| v.model.clone()) else {
        return Ok(None);
    };
    match case.facts.model(&name) {
        Known::NotAsked => Err(vec![Question::Model { name }]),
        Known::Missing => Ok(None),
        Known::Is(model) => match (&model.image, &model.package) {
            (Some(image), _) => Ok(Some(image.clone())),
            (None, Some(package)) => package_image(package),
            (None, None) => Ok(None),
        },
    }
}

/// What a framework container needs to find the user's code, from the job's hyperparameters
/// (their values are JSON texts).
fn framework_environment(job: &TrainingJob) -> BTreeMap<String, String> {
    let value = |key: &str| {
        let raw = job.hyperparameters.get(key)?;
        Some(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.clone()))
    };
    let mut environment = BTreeMap::new();
    for (hyperparameter, variable) in [
        ("sagemaker_program", "SAGEMAKER_PROGRAM"),
        ("sagemaker_submit_directory", "SAGEMAKER_SUBMIT_DIRECTORY"),
        (
            "sagemaker_container_log_level",
            "SAGEMAKER_CONTAINER_LOG_LEVEL",
        ),
    ] {
        if let Some(value) = value(hyperparameter) {
            environment.insert(variable.to_owned(), value);
        }
    }
    if !environment.is_empty()
        && let Some(region) = job.arn.split(':').nth(3)
    {
        environment.insert("SAGEMAKER_REGION".to_owned(), region.to_owned());
    }
    environment
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
