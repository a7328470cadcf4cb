//! Preflight at the start of a rollout: whether the candidate may be served with its artifacts, by the
//! role that `CreateModel` will be asked for. The checks are [`preflight`]'s. What takes a rejected
//! champion's place at once is not held up by what IAM simulates: if it can't be read, SageMaker says
//! so, and nothing is worse than before.

use serde_json::json;

use super::Start;
use super::finish::anew;
use super::start::refuse_by;
use crate::artifact::Artifact;
use crate::candidate::Candidate;
use crate::facts::Facts;
use crate::head::Waiting;
use crate::ledger::AppliedPolicy;
use crate::name::JobName;
use crate::pipeline::{Policy, Stage};
use crate::preflight::role::{self, Looked, Runs};
use crate::preflight::{self, Cleared};
use crate::principal::account_of;
use crate::world::{Package, Question};

/// What has to be known of a candidate's package to clear it.
pub(super) fn needs_to_clear(
    waiting: &Waiting,
    package: &Package,
    stage: &Stage,
    policy: &Policy,
    facts: &Facts,
) -> Vec<Question> {
    let mut questions: Vec<Question> = preflight::needs(package).collect();
    if looks_at_role(waiting, policy) {
        let candidate = &waiting.candidate;
        let job = job_of(candidate);
        let runs = runs(candidate, stage, policy, job.as_ref());
        questions.extend(role::needs(&runs, &package.artifacts, facts));
    }
    questions
}

/// The candidate's artifacts, if it may be served with them, and what was looked at of its role;
/// nothing is changed before that is known.
pub(super) fn cleared<'a>(
    waiting: &Waiting,
    stage: &Stage,
    applied: &AppliedPolicy,
    facts: &'a Facts,
) -> Result<(Vec<&'a Artifact>, Option<Looked>), Start> {
    let candidate = &waiting.candidate;
    let Some(package) = facts.package(&candidate.package).is() else {
        return Err(Start::Unknown);
    };
    let policy = &applied.policy;
    let (artifacts, mut refusals) =
        match preflight::of_rollout(candidate, package, &policy.preflight, facts) {
            Cleared::Unknown => return Err(Start::Unknown),
            Cleared::Yes(artifacts) => (artifacts, Vec::new()),
            Cleared::No(refusals) => (Vec::new(), refusals),
        };
    let mut reads = None;
    // What can't be served anyway needs no role.
    if looks_at_role(waiting, policy) && refusals.is_empty() {
        let job = job_of(candidate);
        let runs = runs(candidate, stage, policy, job.as_ref());
        let (denied, looked) = role::refusals(&runs, &artifacts, facts).ok_or(Start::Unknown)?;
        refusals = denied;
        reads = Some(looked);
    }
    if refusals.is_empty() {
        return Ok((artifacts, reads));
    }
    let version = candidate.version;
    let why = format!(
        "It can't be served: {}. Nothing was changed. To try {version} again then, {}.",
        preflight::sentence(&refusals),
        anew(version)
    );
    let headline = format!("{version} was not rolled out to {}", stage.endpoint);
    let facts = json!({ "candidate": candidate, "preflight": refusals });
    Err(refuse_by(candidate, stage, headline, why, facts))
}

/// Whether the role is looked at.
fn looks_at_role(waiting: &Waiting, policy: &Policy) -> bool {
    policy.preflight.role_reads && !waiting.urgent
}

/// The training job of a candidate.
pub(super) fn job_of(candidate: &Candidate) -> Option<JobName> {
    JobName::parse(candidate.job.as_deref()?).ok()
}

/// The role that a candidate would run as, as `CreateModel` will be asked for it.
fn runs<'a>(
    candidate: &'a Candidate,
    stage: &'a Stage,
    policy: &'a Policy,
    job: Option<&'a JobName>,
) -> Runs<'a> {
    Runs {
        role: policy.serve.role.as_deref(),
        endpoint: &stage.endpoint,
        of_job: None,
        job,
        account: account_of(&candidate.package),
    }
}
