//! Preflight: whether a version can be served, and is what was approved, found out before anything
//! is changed. Each refusal says how to mend it.
//!
//! That image, artifact and endpoint have to be in one region: `ContainerDefinition` in the
//! `SageMaker` API reference. Whether the model's role may read the artifact is asked of IAM ([`role`]);
//! what IAM can't say `SageMaker` does, at `CreateModel`.

use serde::Serialize;

use crate::artifact::{Artifact, Found, fingerprint};
use crate::candidate::Candidate;
use crate::facts::{Facts, Known};
use crate::mutation::Mutation;
use crate::origin::ARTIFACT_KEY;
use crate::pipeline::Preflight;
use crate::world::{Package, Question, TrainingJob};

pub(crate) mod role;
#[cfg(test)]
mod tests;

/// How many containers of a package are looked at; `SageMaker` takes 15.
const MOST_CONTAINERS: usize = 15;

/// A check that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    /// Which check.
    check: &'static str,
    /// What was found, as a clause.
    what: String,
    /// How to mend it, as a clause.
    help: String,
}

/// What a version would be served with.
struct Version<'a> {
    /// The endpoint's region; none if it can't be told.
    region: Option<&'a str>,
    image: Option<&'a str>,
    /// The KMS key that the training job was given.
    kms_key: Option<&'a str>,
    artifacts: Vec<&'a Artifact>,
    /// What is known of the artifacts from before.
    recorded: Option<&'a str>,
}

/// What there is to say before a rollout.
pub(crate) enum Cleared<'a> {
    /// Facts are missing: ask [`needs`].
    Unknown,
    /// It may be served; these are its artifacts.
    Yes(Vec<&'a Artifact>),
    /// It may not.
    No(Vec<Refusal>),
}

/// What has to be known of a package's artifacts.
pub(crate) fn needs(package: &Package) -> impl Iterator<Item = Question> {
    let uris = package.artifacts.iter().take(MOST_CONTAINERS);
    uris.map(|uri| Question::Artifact { uri: uri.clone() })
}

/// What has to be known of an approved package's artifacts, if nobody recorded what they were.
pub(crate) fn needs_at_approval(package: &Package) -> Vec<Question> {
    if package.metadata.contains_key(ARTIFACT_KEY) {
        return Vec::new();
    }
    needs(package).collect()
}

/// What the artifacts of a package are now, if nobody recorded it before: it is approved with these.
pub(crate) fn first_seen(package: &Package, facts: &Facts) -> Option<String> {
    if package.metadata.contains_key(ARTIFACT_KEY) {
        return None;
    }
    fingerprint(&seen(package, facts)?)
}

/// What can't be served of a training job's model, by that image.
pub(crate) fn of_job(
    job: &TrainingJob,
    image: &str,
    artifact: Option<&Artifact>,
    rules: &Preflight,
) -> Vec<Refusal> {
    let version = Version {
        region: region_of(&job.arn),
        image: Some(image),
        kms_key: job.kms_key.as_deref(),
        artifacts: artifact.into_iter().collect(),
        recorded: None,
    };
    version.refusals(rules)
}

/// Whether a candidate's package may be served now.
pub(crate) fn of_rollout<'a>(
    candidate: &Candidate,
    package: &Package,
    rules: &Preflight,
    facts: &'a Facts,
) -> Cleared<'a> {
    let Some(artifacts) = seen(package, facts) else {
        return Cleared::Unknown;
    };
    let registered = package.metadata.get(ARTIFACT_KEY);
    let version = Version {
        region: region_of(&package.arn),
        image: package.image.as_deref(),
        kms_key: None,
        artifacts: artifacts.clone(),
        recorded: registered
            .or(candidate.artifact.as_ref())
            .map(String::as_str),
    };
    let refusals = version.refusals(rules);
    if refusals.is_empty() {
        Cleared::Yes(artifacts)
    } else {
        Cleared::No(refusals)
    }
}

/// What people are told, without a full stop.
pub(crate) fn sentence(refusals: &[Refusal]) -> String {
    let told: Vec<String> = refusals
        .iter()
        .map(|refusal| format!("{}: {}", refusal.what, refusal.help))
        .collect();
    told.join("; ")
}

/// The region in an ARN; none for what names none.
pub fn region_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

/// The region of an image in Amazon ECR; none for an image elsewhere. Registries are named
/// `<account>.dkr.ecr.<region>.amazonaws.com`, and for IPv6 `<account>.dkr-ecr.<region>.on.aws`.
pub fn image_region(image: &str) -> Option<&str> {
    let registry = image.split('/').next()?;
    let (_, rest) = [".dkr.ecr.", ".dkr.ecr-fips.", ".dkr-ecr.", ".dkr-ecr-fips."]
        .iter()
        .find_map(|word| registry.split_once(word))?;
    let (region, domain) = rest.split_once('.')?;
    let is_ecr = domain.starts_with("amazonaws.") || domain.starts_with("on.");
    is_ecr.then_some(region)
}

/// Whether an image is named by its digest, and so can't become another one.
pub fn is_pinned(image: &str) -> bool {
    let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The package's artifacts; none if not all were looked for.
fn seen<'a>(package: &Package, facts: &'a Facts) -> Option<Vec<&'a Artifact>> {
    let uris = package.artifacts.iter().take(MOST_CONTAINERS);
    uris.map(|uri| match facts.artifact(uri) {
        Known::Is(artifact) => Some(artifact),
        Known::NotAsked | Known::Missing => None,
    })
    .collect()
}

impl Version<'_> {
    fn refusals(&self, rules: &Preflight) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut refuse = |check, what, help| refusals.push(Refusal { check, what, help });
        if let Some(image) = self.image {
            if let Some((there, here)) = self.elsewhere(image_region(image)) {
                refuse(
                    "image-region",
                    format!("the image {image} is in {there} and the endpoint in {here}"),
                    format!(
                        "copy it to ECR in {here} and name it there (`image` in [serve], or \
                         register the model with it)"
                    ),
                );
            }
            if rules.pinned_image && !is_pinned(image) {
                refuse(
                    "pinned-image",
                    format!("the image {image} is not named by its digest"),
                    "name it as repository@sha256:... (`image` in [serve], or register the model \
                     with it)"
                        .to_owned(),
                );
            }
        }
        if let Some(key) = self.kms_key {
            self.check_key(key, "the training job's KMS key", &mut refuse);
        }
        for artifact in &self.artifacts {
            self.check_artifact(artifact, rules, &mut refuse);
        }
        if rules.same_artifact && !Mutation::ServeOverwritten.is_on() {
            self.check_sameness(&mut refuse);
        }
        refusals
    }

    /// The region of a thing and the endpoint's, if they differ.
    fn elsewhere<'b>(&'b self, there: Option<&'b str>) -> Option<(&'b str, &'b str)> {
        there.zip(self.region).filter(|(there, here)| there != here)
    }

    fn check_key(
        &self,
        key: &str,
        whose: &str,
        refuse: &mut impl FnMut(&'static str, String, String),
    ) {
        let of_kms = key
            .split(':')
            .nth(2)
            .filter(|service| *service == "kms")
            .and_then(|_| region_of(key));
        if let Some((there, here)) = self.elsewhere(of_kms) {
            refuse(
                "key-region",
                format!("{whose} {key} is in {there} and the endpoint in {here}"),
                format!("train with a key of {here} (`KmsKeyId` of OutputDataConfig)"),
            );
        }
    }

    fn check_artifact(
        &self,
        artifact: &Artifact,
        rules: &Preflight,
        refuse: &mut impl FnMut(&'static str, String, String),
    ) {
        let uri = &artifact.uri;
        if let Some((there, here)) = self.elsewhere(artifact.region.as_deref()) {
            return refuse(
                "artifact-region",
                format!("the artifact {uri} is in {there} and the endpoint in {here}"),
                format!("write it to a bucket in {here} (`S3OutputPath` of OutputDataConfig)"),
            );
        }
        match &artifact.found {
            Found::Missing => refuse(
                "artifact-exists",
                format!("the artifact {uri} does not exist"),
                "put it back (a bucket with versions has it still), or train again".to_owned(),
            ),
            Found::Unseen { why } if rules.encrypted => refuse(
                "encrypted",
                format!("nobody says how the artifact {uri} is encrypted ({why})"),
                LET_US_LOOK.to_owned(),
            ),
            Found::Unseen { .. } => {}
            Found::Object(object) => match &object.kms_key {
                Some(key) => self.check_key(key, "the artifact's KMS key", refuse),
                None if rules.encrypted => refuse(
                    "encrypted",
                    format!("the artifact {uri} is not encrypted with a KMS key"),
                    "train with `KmsKeyId` in OutputDataConfig, or give the bucket a default key \
                     and write the artifact again"
                        .to_owned(),
                ),
                None => {}
            },
        }
    }

    fn check_sameness(&self, refuse: &mut impl FnMut(&'static str, String, String)) {
        let Some(recorded) = self.recorded else {
            return;
        };
        let uris: Vec<&str> = self.artifacts.iter().map(|a| a.uri.as_str()).collect();
        let uris = uris.join(", ");
        let unseen = self.artifacts.iter().find_map(|a| match &a.found {
            Found::Unseen { why } => Some(why),
            Found::Object(_) | Found::Missing => None,
        });
        if let Some(why) = unseen {
            refuse(
                "same-artifact",
                format!("nobody says whether {uris} is what was approved ({why})"),
                LET_US_LOOK.to_owned(),
            );
        } else if let Some(now) = fingerprint(&self.artifacts)
            && now != recorded
        {
            refuse(
                "same-artifact",
                format!(
                    "{uris} was written again since it was registered or approved: its ETag was \
                     {recorded} and is {now}"
                ),
                "put the first one back (a bucket with versions has it still), or register what \
                 is there now as a new version"
                    .to_owned(),
            );
        }
    }
}

/// How to mend that S3 denies a look.
const LET_US_LOOK: &str =
    "add its bucket to the stack's ArtifactBucketArns, and see to it that no bucket policy forbids";
