//! Whether the role that a version would run as may read its artifacts (`[preflight] role_reads`).
//!
//! The role is the one that `CreateModel` will be given: the policy's, else that of the model that
//! serves, else the training job's. Whatever can't be told is left to `SageMaker`, which says so at
//! `CreateModel`, and is written down; only what IAM says for certain refuses a version.

use serde::Serialize;

use super::{MOST_CONTAINERS, Refusal};
use crate::access::Verdict;
use crate::artifact::{Artifact, Found};
use crate::facts::{Facts, Known};
use crate::name::{EndpointName, JobName};
use crate::principal::account_of;
use crate::world::{Answer, Question};

/// Where the role of a version comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Runs<'a> {
    /// The policy's.
    pub(crate) role: Option<&'a str>,
    /// The endpoint whose model's it is, if one serves.
    pub(crate) endpoint: &'a EndpointName,
    /// The training job's, if it is known already.
    pub(crate) of_job: Option<&'a str>,
    /// The training job to ask for it.
    pub(crate) job: Option<&'a JobName>,
    /// The account that it has to be of.
    pub(crate) account: &'a str,
}

/// The role of a version.
enum Role {
    /// It takes this to be known.
    Ask(Question),
    /// It is this.
    Is(String),
    /// Nobody names one.
    Nobodys,
}

/// What was looked at, for the audit trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Looked {
    /// The role.
    role: Option<String>,
    /// The artifacts that it may read.
    may_read: Vec<String>,
    /// Why others were not looked at.
    not_looked_at: Vec<String>,
}

impl Looked {
    /// Not even the role could be told.
    pub(crate) fn nothing() -> Self {
        let why = "what serves, and so the role, was not described".to_owned();
        Self {
            not_looked_at: vec![why],
            ..Self::default()
        }
    }
}

/// What has to be known next of the role and these artifacts.
pub(crate) fn needs(runs: &Runs<'_>, uris: &[String], facts: &Facts) -> Vec<Question> {
    match runs.found(facts) {
        Role::Ask(question) => vec![question],
        Role::Nobodys => Vec::new(),
        Role::Is(role) => uris
            .iter()
            .take(MOST_CONTAINERS)
            .filter_map(|uri| facts.artifact(uri).is())
            .filter(|artifact| may_ask(&role, artifact, runs.account).is_ok())
            .map(|artifact| question(&role, artifact))
            .collect(),
    }
}

/// What the role may not read; the rest is in what was looked at. None if facts are missing.
pub(crate) fn refusals(
    runs: &Runs<'_>,
    artifacts: &[&Artifact],
    facts: &Facts,
) -> Option<(Vec<Refusal>, Looked)> {
    let mut looked = Looked::default();
    let role = match runs.found(facts) {
        Role::Ask(_) => return None,
        Role::Is(role) => role,
        Role::Nobodys => {
            let why =
                "neither the policy nor a model that serves nor the training job names a role";
            looked.not_looked_at.push(why.to_owned());
            return Some((Vec::new(), looked));
        }
    };
    let mut refusals = Vec::new();
    for artifact in artifacts {
        let verdict = match may_ask(&role, artifact, runs.account) {
            Err(why) => Verdict::Unknown(why),
            Ok(()) => answered(&role, artifact, facts)?,
        };
        match verdict {
            Verdict::May => looked.may_read.push(artifact.uri.clone()),
            Verdict::Unknown(why) => looked
                .not_looked_at
                .push(format!("{}: {why}", artifact.uri)),
            Verdict::MayNot { what, help } => refusals.push(Refusal {
                check: "role-reads",
                what,
                help,
            }),
        }
    }
    looked.role = Some(role);
    Some((refusals, looked))
}

/// What IAM said; none if it was not asked.
fn answered(role: &str, artifact: &Artifact, facts: &Facts) -> Option<Verdict> {
    Some(match facts.answer(&question(role, artifact))? {
        Answer::RoleReads(access) => access.verdict(role),
        Answer::Refused(error) => Verdict::Unknown(format!("IAM does not say: {error}")),
        _ => Verdict::Unknown(format!("IAM knows no role {role}")),
    })
}

/// Whether IAM can say anything of it; if not, why.
fn may_ask(role: &str, artifact: &Artifact, account: &str) -> Result<(), String> {
    if account_of(role) != account {
        return Err(format!("the role {role} is of another account"));
    }
    if artifact.uri.ends_with('/') {
        return Err("it is not one object".to_owned());
    }
    if artifact.found == Found::Missing {
        return Err("it does not exist".to_owned());
    }
    Ok(())
}

fn question(role: &str, artifact: &Artifact) -> Question {
    let key = artifact.object().and_then(|object| object.kms_key.clone());
    let is_arn = |key: &String| key.split(':').nth(2) == Some("kms") && key.contains(":key/");
    Question::RoleReads {
        role: role.to_owned(),
        uri: artifact.uri.clone(),
        kms_key: key.filter(is_arn),
    }
}

impl Runs<'_> {
    fn found(&self, facts: &Facts) -> Role {
        if let Some(role) = self.role {
            return Role::Is(role.to_owned());
        }
        match self.of_champion(facts) {
            Some(role) => role,
            None => self.of_training(facts),
        }
    }

    /// The role of the model that serves; none if nothing does, or what does has no model of its own.
    fn of_champion(&self, facts: &Facts) -> Option<Role> {
        let endpoint = match facts.endpoint(self.endpoint) {
            Known::NotAsked => return Some(Role::Ask(Question::Endpoint(self.endpoint.clone()))),
            Known::Missing => return None,
            Known::Is(endpoint) => endpoint,
        };
        let config = match facts.config(&endpoint.config) {
            Known::NotAsked => {
                let name = endpoint.config.clone();
                return Some(Role::Ask(Question::EndpointConfig { name }));
            }
            Known::Missing => return None,
            Known::Is(config) => config,
        };
        let serving = endpoint.variants.first().map(|variant| &variant.name);
        let variants = &config.variants;
        let variant = variants
            .iter()
            .find(|v| Some(&v.name) == serving)
            .or(variants.first())?;
        let name = variant.model.clone()?;
        match facts.model(&name) {
            Known::NotAsked => Some(Role::Ask(Question::Model { name })),
            Known::Missing => None,
            Known::Is(model) => model.role.clone().map(Role::Is),
        }
    }

    fn of_training(&self, facts: &Facts) -> Role {
        let known = match (self.of_job, self.job) {
            (Some(role), _) => Some(role),
            (None, Some(job)) => match facts.training_job(job) {
                Known::NotAsked => return Role::Ask(Question::TrainingJob(job.clone())),
                Known::Missing => None,
                Known::Is(job) => Some(job.role.as_str()),
            },
            (None, None) => None,
        };
        let known = known.filter(|role| !role.is_empty());
        known.map_or(Role::Nobodys, |role| Role::Is(role.to_owned()))
    }
}
