//! Where a version comes from: its training job, data, code and container, and who approved it.
//!
//! SageMaker has fields for some of it (`MetadataProperties`, `ImageDigest`, `ModelDataETag`); the
//! rest goes into the package's `CustomerMetadataProperties` (`CreateModelPackage` in the API
//! reference: 50 pairs, values of 256 characters) and, whole, into the audit trail.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::case::Case;
use crate::facts::Known;
use crate::world::{Question, TrainingJob};

/// How many channels of data a package's metadata names; the audit trail has all.
const MOST_CHANNELS: usize = 4;

/// The start of the metadata keys of a channel's data: its S3 URI.
pub const DATA_KEY: &str = "data:";

/// The start of the metadata keys of what a channel's data was: its [`DataSource::version`].
pub const DATA_VERSION_KEY: &str = "data-version:";

/// The metadata key of the KMS key that the artifact is encrypted with.
pub const KMS_KEY: &str = "tidegate:kms-key";

/// The metadata key of what the artifact was when it was registered: its `ETag`.
pub const ARTIFACT_KEY: &str = "tidegate:artifact";

/// The metadata key, and a training job's tag, of the version that a retrained one comes from.
pub const PARENT_KEY: &str = "tidegate:parent";

/// The metadata key, and a training job's tag, of the finding that led to a retraining.
pub const FINDING_KEY: &str = "tidegate:finding";

/// The metadata key of who approved the version. Tidegate changes packages itself, so `LastModifiedBy`
/// does not go on saying it.
pub const APPROVER_KEY: &str = "tidegate:approved-by";

/// The tag of a training job that names the commit it was trained from.
const COMMIT_TAG: &str = "tidegate:commit";

/// The tag of a training job that names the repository of that commit.
const REPOSITORY_TAG: &str = "tidegate:repository";

/// What `SageMaker` keeps of a package's origin beside its metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The training job's ARN (`MetadataProperties.GeneratedBy`).
    pub job: Option<String>,
    /// The Git commit (`MetadataProperties.CommitId`).
    pub commit: Option<String>,
    /// Its repository (`MetadataProperties.Repository`).
    pub repository: Option<String>,
    /// The digest of the first container's image.
    pub image_digest: Option<String>,
    /// The `ETag` of the first container's artifact.
    pub artifact_etag: Option<String>,
    /// The key of the package's own encryption (`SecurityConfig`).
    pub kms_key: Option<String>,
    /// `ModelLifeCycle` as `Stage/Status`.
    pub life_cycle: Option<String>,
}

/// What lay under a training channel's S3 URI when its model was gated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// The channel's `s3://` URI: an object, or the start of the keys of several.
    pub uri: String,
    /// How many objects were looked at.
    pub objects: u32,
    /// Their sizes together, bytes.
    pub bytes: u64,
    /// What changes whenever an object does: the only object's `ETag`, else a hash over keys,
    /// sizes and `ETag`s. None if they can't be listed.
    pub version: Option<String>,
    /// Whether these are all of them; no more than 1,000 are looked at.
    pub is_whole: bool,
}

/// What has to be known of a training job's data.
pub(crate) fn needs(job: &TrainingJob) -> Option<Question> {
    let uris: Vec<String> = job.inputs.values().cloned().collect();
    (!uris.is_empty()).then_some(Question::Data { uris })
}

/// The data of a training job, by channel, as far as it was found.
pub(crate) fn data<'a>(case: &Case<'a>, job: &'a TrainingJob) -> BTreeMap<&'a str, &'a DataSource> {
    let Some(question) = needs(job) else {
        return BTreeMap::new();
    };
    let Known::Is(found) = case.facts.data(&question) else {
        return BTreeMap::new();
    };
    let channels = job.inputs.iter().filter_map(|(channel, uri)| {
        let source = found.iter().find(|source| &source.uri == uri)?;
        Some((channel.as_str(), source))
    });
    channels.collect()
}

/// The commit that a training job says it was trained from.
pub(crate) fn commit(job: &TrainingJob) -> Option<String> {
    job.tags.get(COMMIT_TAG).cloned()
}

/// The repository of that commit.
pub(crate) fn repository(job: &TrainingJob) -> Option<String> {
    job.tags.get(REPOSITORY_TAG).cloned()
}

/// What goes into the package's metadata; at most 9 pairs.
pub(crate) fn metadata(
    job: &TrainingJob,
    data: &BTreeMap<&str, &DataSource>,
) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for (channel, source) in data.iter().take(MOST_CHANNELS) {
        pairs.insert(format!("{DATA_KEY}{channel}"), source.uri.clone());
        if let Some(version) = &source.version {
            pairs.insert(format!("{DATA_VERSION_KEY}{channel}"), version.clone());
        }
    }
    if let Some(key) = &job.kms_key {
        pairs.insert(KMS_KEY.to_owned(), key.clone());
    }
    pairs
}

/// What goes into the audit trail.
pub(crate) fn facts(job: &TrainingJob, data: &BTreeMap<&str, &DataSource>) -> Value {
    json!({
        "commit": commit(job),
        "repository": repository(job),
        "image": job.image,
        "artifact": job.artifact,
        "kms_key": job.kms_key,
        "data": data,
        "hyperparameters": job.hyperparameters,
    })
}
