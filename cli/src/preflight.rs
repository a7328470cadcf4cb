//! What `tidegate apply` finds out about the rest of what a policy names before a rollout does: the
//! image, the role, and the objects and buckets in S3 have to be in the endpoints' region and account.
//!
//! Nothing here refuses a policy. What can't be asked, or not in time, is told and left at that.

use std::time::Duration;

use futures_util::future::join_all;
use tidegate_aws::config::sdk_config;
use tidegate_core::artifact::{Artifact, Found};
use tidegate_core::pipeline::{Policy, Retrain};
use tidegate_core::preflight::image_region;
use tidegate_core::world::{Answer, Question, World, WorldError};
use tokio::time::{Instant, timeout_at};

use crate::error::advice;
use crate::probe::{Finding, Level};

#[cfg(test)]
mod tests;

/// Something in S3 that a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// The dotted key.
    key: String,
    /// The stage, if it is one's.
    stage: Option<String>,
    uri: String,
    /// Whether it has to be there now, or is written later.
    is_there: bool,
}

/// What AWS said of the place that the endpoints are in.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    pub(crate) region: String,
    /// The account; none if nobody needs it, or why it is not known.
    pub(crate) account: Option<Result<String, String>>,
}

/// Whose credentials these are, if a policy has something to compare with it.
pub(crate) async fn account(
    policies: &[&Policy],
    longest: Duration,
) -> Option<Result<String, String>> {
    if policies.iter().all(|policy| policy.serve.role.is_none()) {
        return None;
    }
    let config = sdk_config().await;
    let asked = aws_sdk_sts::Client::new(&config)
        .get_caller_identity()
        .send();
    Some(match tokio::time::timeout(longest, asked).await {
        Ok(Ok(found)) => found.account.ok_or_else(|| "AWS names none".to_owned()),
        Ok(Err(error)) => Err(aws_sdk_sts::error::DisplayErrorContext(error).to_string()),
        Err(_) => Err("AWS took too long".to_owned()),
    })
}

/// Looks at what a policy names; `longest` bounds all questions together.
pub(crate) async fn run<W: World>(
    world: &W,
    policy: &Policy,
    here: &Here,
    longest: Duration,
) -> Vec<Finding> {
    let deadline = Instant::now() + longest;
    let wanted = wanted(policy);
    let looks = wanted.iter().map(|wanted| async move {
        let question = Question::Artifact {
            uri: wanted.uri.clone(),
        };
        timeout_at(deadline, world.ask(&question)).await.ok()
    });
    let looks = join_all(looks).await;
    let mut findings = of_names(policy, here);
    for (wanted, look) in wanted.iter().zip(looks) {
        findings.extend(finding(wanted, look, here));
    }
    findings
}

/// What is wrong with the image and the role by their names alone.
fn of_names(policy: &Policy, here: &Here) -> Vec<Finding> {
    let warning = |key: &str, what: String, help: String| Finding {
        help: vec![help],
        ..Finding::new(Level::Warning, None, Some(key.to_owned()), what)
    };
    let mut findings = Vec::new();
    let there = policy.serve.image.as_deref().and_then(image_region);
    if let Some(there) = there.filter(|there| *there != here.region) {
        let region = &here.region;
        findings.push(warning(
            "serve.image",
            format!("the image is in {there} and the endpoints in {region}: SageMaker refuses it"),
            format!("copy it to ECR in {region}, and name it there"),
        ));
    }
    let of_role = policy
        .serve
        .role
        .as_deref()
        .and_then(|role| role.split(':').nth(4));
    match (of_role, &here.account) {
        (Some(theirs), Some(Ok(account))) if theirs != account => findings.push(warning(
            "serve.role",
            format!("the role is of the account {theirs}, and the endpoints are in {account}"),
            format!(
                "name a role of {account}, which may read what is in the other account: SageMaker \
                 takes no role of another one"
            ),
        )),
        (Some(_), Some(Err(why))) => findings.push(Finding {
            why: Some(why.clone()),
            ..Finding::new(
                Level::Note,
                None,
                Some("serve.role".to_owned()),
                "AWS did not say which account this is, so the role's was not compared".to_owned(),
            )
        }),
        _ => {}
    }
    findings
}

/// All that a policy names in S3.
fn wanted(policy: &Policy) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (place, stage) in policy.stages.iter().enumerate() {
        for (n, uri) in stage.smoke.iter().enumerate() {
            wanted.push(Wanted {
                key: format!("stage[{place}].smoke[{n}]"),
                stage: Some(stage.name.to_string()),
                uri: uri.clone(),
                is_there: true,
            });
        }
    }
    let mut later = |key: String, uri: &str| {
        // What is filled in is not known yet, and of a bucket that is all there is to see.
        if uri.starts_with("s3://") && !bucket(uri).contains('{') {
            wanted.push(Wanted {
                key,
                stage: None,
                uri: uri.replace(['{', '}'], "_"),
                is_there: false,
            });
        }
    };
    let gate = &policy.gate;
    for (key, uri) in [
        ("gate.evaluation", &gate.evaluation),
        ("gate.champion_evaluation", &gate.champion_evaluation),
    ] {
        if let Some(uri) = uri {
            later(key.to_owned(), uri);
        }
    }
    if let Some(on_drift) = &policy.monitor.on_drift
        && let Retrain::TrainingJob { training_job } = &on_drift.retrain
    {
        for (channel, uri) in &training_job.inputs {
            let key = format!("monitor.on_drift.retrain.training_job.inputs.{channel}");
            later(key, uri);
        }
    }
    wanted
}

/// The bucket of an `s3://` URI.
fn bucket(uri: &str) -> &str {
    let rest = uri.strip_prefix("s3://").unwrap_or(uri);
    rest.split('/').next().unwrap_or(rest)
}

/// What is to be told of one thing in S3; none if it is fine.
fn finding(
    wanted: &Wanted,
    look: Option<Result<Answer, WorldError>>,
    here: &Here,
) -> Option<Finding> {
    let new =
        |level, what| Finding::new(level, wanted.stage.clone(), Some(wanted.key.clone()), what);
    let Wanted { uri, .. } = wanted;
    let unseen = |why: String| Finding {
        help: advice(&why, None),
        why: Some(why),
        ..new(Level::Note, format!("{uri} can't be looked at"))
    };
    let artifact = match look {
        None => {
            let late = format!("AWS took too long to say what is at {uri}");
            return Some(new(Level::Note, late));
        }
        Some(Err(error)) => return Some(unseen(error.to_string())),
        Some(Ok(Answer::Artifact(artifact))) => artifact,
        Some(Ok(_)) => return None,
    };
    let Artifact { region, found, .. } = *artifact;
    let region_here = &here.region;
    let warning = |what: String, help: &str| {
        Some(Finding {
            help: vec![help.to_owned()],
            ..new(Level::Warning, what)
        })
    };
    match (region, found) {
        (Some(there), _) if there != *region_here => warning(
            format!("the bucket of {uri} is in {there} and the endpoints in {region_here}"),
            "use a bucket of the endpoints' region: SageMaker and Tidegate ask S3 there alone",
        ),
        (None, Found::Missing) => warning(
            format!("there is no bucket {}", bucket(uri)),
            "make it, or correct its name",
        ),
        (Some(_), Found::Missing) if wanted.is_there => warning(
            format!("{uri} does not exist"),
            "put it there before the next version comes: without it every rollout ends at its smoke \
             requests",
        ),
        (_, Found::Object(_)) | (Some(_), Found::Missing) => None,
        (_, Found::Unseen { why }) => Some(unseen(why)),
    }
}
