//! What is at an S3 URI: a version's artifact, or a file that a policy names.
//!
//! Sources: `HeadObject` and `HeadBucket` in the S3 API reference. S3 names a bucket's region in
//! `x-amz-bucket-region`, also where it refuses or redirects. A `HEAD` has no body, so the status
//! is all that tells a missing object (404) from a denied one (403). A model that is not compressed
//! is all that lies under a prefix, which ends with a slash (`S3ModelDataSource` in the SageMaker API
//! reference).

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ServerSideEncryption;
use futures_util::future::try_join;
use tidegate_core::artifact::{Artifact, Found, Object};
use tidegate_core::world::{Answer, WorldError};

use super::AwsWorld;
use super::data::of_objects;
use super::objects::split;
use crate::error::failed;

/// The header with a bucket's region.
const REGION: &str = "x-amz-bucket-region";

/// What is said of S3's own key, where S3 does not name it.
const OWN_KEY: &str = "aws/s3";

impl AwsWorld {
    pub(super) async fn artifact(&self, uri: &str) -> Result<Answer, WorldError> {
        let Some((bucket, key)) = split(uri) else {
            let why = "it is not like s3://bucket/key".to_owned();
            return Ok(answer(uri, None, Found::Unseen { why }));
        };
        let (region, found) = if key.ends_with('/') {
            try_join(self.region(bucket), self.folder(bucket, key)).await?
        } else {
            try_join(self.region(bucket), self.looked_at(bucket, key)).await?
        };
        Ok(answer(uri, region, found))
    }

    /// All that lies under a prefix, as one: it is another when any of its objects is, and encrypted
    /// as the first one is.
    async fn folder(&self, bucket: &str, prefix: &str) -> Result<Found, WorldError> {
        let listed = self.clients.s3.list_objects_v2();
        let listed = listed.bucket(bucket).prefix(prefix).send();
        let page = match listed.await.map_err(failed("ListObjectsV2")) {
            Ok(page) => page,
            Err(failure) if failure.is_gone() => return Ok(Found::Missing),
            Err(failure) if failure.error.is_passing() => return Err(failure.into()),
            Err(failure) => {
                return Ok(Found::Unseen {
                    why: failure.error.to_string(),
                });
            }
        };
        let objects = page.contents();
        let all = of_objects(prefix, prefix, objects, page.is_truncated != Some(true));
        let first = objects.first().and_then(|object| object.key());
        let (Some(first), Some(etag)) = (first, all.version) else {
            return Ok(Found::Missing);
        };
        Ok(match self.looked_at(bucket, first).await? {
            Found::Object(head) => Found::Object(Object {
                etag,
                bytes: all.bytes,
                version: None,
                ..head
            }),
            other => other,
        })
    }

    /// A bucket's region; none if there is no such bucket, or S3 does not say.
    async fn region(&self, bucket: &str) -> Result<Option<String>, WorldError> {
        let error = match self.clients.s3.head_bucket().bucket(bucket).send().await {
            Ok(found) => return Ok(found.bucket_region),
            Err(error) => error,
        };
        if let Some(response) = error.raw_response()
            && let Some(region) = response.headers().get(REGION)
        {
            return Ok(Some(region.to_owned()));
        }
        let failure = failed("HeadBucket")(error);
        if failure.error.is_passing() {
            return Err(failure.into());
        }
        Ok(None)
    }

    async fn looked_at(&self, bucket: &str, key: &str) -> Result<Found, WorldError> {
        let asked = self.clients.s3.head_object().bucket(bucket).key(key).send();
        match asked.await.map_err(failed("HeadObject")) {
            Ok(head) => Ok(Found::Object(object(head))),
            Err(failure) if failure.is_gone() => Ok(Found::Missing),
            Err(failure) if failure.error.is_passing() => Err(failure.into()),
            Err(failure) => Ok(Found::Unseen {
                why: failure.error.to_string(),
            }),
        }
    }
}

fn answer(uri: &str, region: Option<String>, found: Found) -> Answer {
    Answer::Artifact(Box::new(Artifact {
        uri: uri.to_owned(),
        region,
        found,
    }))
}

fn object(head: HeadObjectOutput) -> Object {
    let is_by_kms = matches!(
        head.server_side_encryption,
        Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
    );
    let key = head.ssekms_key_id.unwrap_or_else(|| OWN_KEY.to_owned());
    Object {
        etag: head.e_tag.unwrap_or_default().trim_matches('"').to_owned(),
        bytes: u64::try_from(head.content_length.unwrap_or_default()).unwrap_or_default(),
        version: head.version_id.filter(|version| version != "null"),
        kms_key: is_by_kms.then_some(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_of_kms_encrypts_as_a_policy_may_demand() {
        let head = |by, key: Option<&str>| {
            HeadObjectOutput::builder()
                .e_tag("\"abc-2\"")
                .content_length(7)
                .version_id("null")
                .server_side_encryption(by)
                .set_ssekms_key_id(key.map(str::to_owned))
                .build()
        };
        let plain = object(head(ServerSideEncryption::Aes256, None));
        assert_eq!((plain.etag.as_str(), plain.bytes), ("abc-2", 7));
        assert_eq!((plain.version, plain.kms_key), (None, None));
        let own = object(head(ServerSideEncryption::AwsKms, None));
        assert_eq!(own.kms_key.as_deref(), Some(OWN_KEY));
        let key = "arn:aws:kms:us-east-1:1:key/2";
        let theirs = object(head(ServerSideEncryption::AwsKmsDsse, Some(key)));
        assert_eq!(theirs.kms_key.as_deref(), Some(key));
    }
}
