//! A training job that ended: its model is gated on its metrics and registered.
//!
//! One package per training job: the ledger's `job#` item and the client token see to it, and a
//! package that somebody else registered for the same artifact is gated instead of doubled.

use std::collections::BTreeMap;

use serde_json::json;

use crate::artifact::Artifact;
use crate::audit::What;
use crate::candidate::{JOB_KEY, METRIC_KEY};
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::{Approval, JobStatus};
use crate::facts::Known;
use crate::gate::Metrics;
use crate::ledger::{JobRecord, Lane};
use crate::mutation::Mutation;
use crate::name::{JobName, token};
use crate::notice::Severity;
use crate::origin::{self, APPROVER_KEY, ARTIFACT_KEY};
use crate::preflight::role;
use crate::record;
use crate::retrain::{self, Ancestry, FINDING_KEY, Lost, PARENT_KEY};
use crate::tuning;
use crate::world::{Effect, Package, PackageSpec, Question, TIDEGATE, TrainingJob};

mod champion;
mod observed;
mod verdict;

use champion::champion_evaluation_uri;
use observed::{note_gated, would_register};
use verdict::{Verdict, verdict};

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
    let artifact = described.artifact.clone();
    if let Some(runs) = verdict::runs(case, described) {
        questions.extend(role::needs(&runs, artifact.as_slice(), case.facts));
    }
    questions.extend(artifact.map(|uri| Question::Artifact { uri }));
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

/// A job that ended well and has nothing to serve. One that failed is told as the retraining's end.
fn unservable(job: &TrainingJob, what: &str, why: &str, decision: &mut Decision) {
    let ancestry = retrain::ancestry(&decision.head, job);
    unusable(job, what, why.to_owned(), decision);
    if let Some(ancestry) = ancestry {
        let lost = Lost {
            finding: &ancestry.finding,
            job: Some(job.name.as_str()),
            version: None,
            endpoint: &ancestry.endpoint,
            end: "was not registered",
            why,
        };
        lost.tell(decision);
    }
}

fn gate(case: &Case<'_>, job: &TrainingJob, decision: &mut Decision) {
    let Some(artifact) = job.artifact.clone() else {
        return unservable(
            job,
            "has no model",
            "It is Completed, but SageMaker names no artifact of it.",
            decision,
        );
    };
    let Some(image) = own_image(case, job).or_else(|| champion_image(case).ok().flatten()) else {
        return unservable(job, "has no image to serve it", &no_image(job), decision);
    };
    let policy = case.policy();
    let Verdict {
        approval,
        why,
        metrics,
        judgement,
        champion,
        has_evaluation,
        artifact: found,
        refusals,
        reads,
    } = verdict(case, job, &artifact, &image);
    let ancestry = retrain::ancestry(&decision.head, job);
    let gated = JobRecord {
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
            "preflight": { "artifact": found, "refused": refusals, "reads": reads },
            "origin": origin::facts(job, &origin::data(case, job)),
        }),
    ));
    let registered_elsewhere = same_artifact(case, job)
        .and_then(|q| case.facts.packages(&q).is())
        .and_then(|p| p.first())
        .filter(|_| !Mutation::RegisterAgain.is_on());
    if let Some(ancestry) = &ancestry {
        retrained(
            job,
            ancestry,
            registered_elsewhere,
            approval,
            &why,
            decision,
        );
    }
    if case.observes() {
        let note = would_register(job, approval, &why, registered_elsewhere);
        return note_gated(gated, note, registered_elsewhere, decision);
    }
    if let Some(package) = registered_elsewhere {
        gate_elsewhere(gated, package, approval, &why, decision);
        record::ancestry(package, job, ancestry.as_ref(), decision);
        return record::trace_elsewhere(case, package, job, decision);
    }
    decision.jobs.push(gated);
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
        evaluation: evaluation_uri(case, job).filter(|_| has_evaluation),
        commit: origin::commit(job),
        repository: origin::repository(job),
        metadata: metadata(case, job, found, &metrics, approval, ancestry.as_ref()),
        life_cycle: record::first_life_cycle(case, approval),
        card: policy.governance.card.clone(),
    };
    let effect = Effect::RegisterPackage(Box::new(spec));
    decision.effects.push((lane, effect));
}

/// Tells of a retrained model that is not good enough, and remembers one that others registered.
fn retrained(
    job: &TrainingJob,
    ancestry: &Ancestry,
    elsewhere: Option<&Package>,
    approval: Approval,
    why: &str,
    decision: &mut Decision,
) {
    if let Some(package) = elsewhere {
        retrain::remember_model(&mut decision.head, package.version);
    }
    if approval == Approval::Rejected {
        let lost = Lost {
            finding: &ancestry.finding,
            // The package of somebody else does not name the job.
            job: elsewhere.is_none().then(|| job.name.as_str()),
            version: elsewhere.map(|package| package.version),
            endpoint: &ancestry.endpoint,
            end: "is not good enough",
            why,
        };
        lost.tell(decision);
    }
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

fn metadata(
    case: &Case<'_>,
    job: &TrainingJob,
    artifact: Option<&Artifact>,
    metrics: &Metrics,
    approval: Approval,
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
    if let Some(object) = artifact.and_then(Artifact::object) {
        pairs.insert(ARTIFACT_KEY.to_owned(), object.etag.clone());
    }
    let verdict = match approval {
        Approval::Approved | Approval::PendingManualApproval => "passed",
        Approval::Rejected => "failed",
    };
    pairs.insert("tidegate:gate".to_owned(), verdict.to_owned());
    if approval == Approval::Approved && case.policy().governance.approver {
        pairs.insert(APPROVER_KEY.to_owned(), TIDEGATE.to_owned());
    }
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
