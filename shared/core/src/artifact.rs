//! A model's artifact in S3 as it is found: the object that `SageMaker` downloads to serve a version.
//!
//! Sources: `HeadObject` and `HeadBucket` in the S3 API reference.

use serde::{Deserialize, Serialize};

use crate::name::token;

/// What is found at an `s3://` URI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The URI.
    pub uri: String,
    /// The region of its bucket; none if there is no such bucket, or S3 does not say.
    pub region: Option<String>,
    /// What is there.
    pub found: Found,
}

/// What is at a URI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// An object.
    Object(Object),
    /// Nothing.
    Missing,
    /// Nobody knows: S3 does not let Tidegate look.
    Unseen {
        /// What S3 said.
        why: String,
    },
}

/// An object, as far as it is told from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its `ETag`, without quotes: another one whenever the content is.
    pub etag: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// Its version, if its bucket keeps versions.
    pub version: Option<String>,
    /// The KMS key that it is encrypted with, or `aws/s3` for S3's own; none if it is encrypted
    /// without KMS.
    pub kms_key: Option<String>,
}

impl Artifact {
    /// The object, if there is one.
    pub fn object(&self) -> Option<&Object> {
        match &self.found {
            Found::Object(object) => Some(object),
            Found::Missing | Found::Unseen { .. } => None,
        }
    }
}

/// What tells the artifacts of a version from others: the only one's `ETag`, else a hash over URIs
/// and `ETag`s. None if there is none, or one was not found.
pub(crate) fn fingerprint(artifacts: &[&Artifact]) -> Option<String> {
    if let [only] = artifacts {
        return Some(only.object()?.etag.clone());
    }
    let line = |artifact: &&Artifact| {
        let etag = &artifact.object()?.etag;
        Some(format!("{}\t{etag}\n", artifact.uri))
    };
    let lines: Option<Vec<String>> = artifacts.iter().map(line).collect();
    let lines = lines.filter(|lines| !lines.is_empty())?;
    Some(token(&lines.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(uri: &str, etag: &str) -> Artifact {
        let object = Object {
            etag: etag.to_owned(),
            bytes: 10,
            version: None,
            kms_key: None,
        };
        Artifact {
            uri: uri.to_owned(),
            region: None,
            found: Found::Object(object),
        }
    }

    #[test]
    fn artifacts_are_known_by_their_etags_and_unknown_if_one_is_not_found() {
        let (a, b) = (artifact("s3://b/1", "x"), artifact("s3://b/2", "y"));
        assert_eq!(fingerprint(&[&a]).as_deref(), Some("x"));
        assert_ne!(fingerprint(&[&a, &b]), fingerprint(&[&a, &a]));
        let gone = Artifact {
            found: Found::Missing,
            ..b
        };
        assert_eq!(fingerprint(&[&a, &gone]), None);
        assert_eq!(fingerprint(&[]), None);
    }
}
