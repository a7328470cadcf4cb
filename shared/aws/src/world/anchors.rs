//! Anchors of the audit trails in a bucket with Object Lock: an object for each hour, which nobody
//! may write over or delete while it is locked.
//!
//! Sources: the S3 User Guide, "How to prevent object overwrites with conditional writes" (412 if the
//! key is there, 409 while somebody else writes it) and "Locking objects with Object Lock" (a locked
//! version stays, yet a newer one or a delete marker may be put above it: so all versions are read).

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidegate_core::audit::{ANCHORS, Anchor, Anchors, anchors_in};
use tidegate_core::world::WorldError;

use super::AwsWorld;
use crate::error::{failed, refused};

/// The largest object of anchors, bytes: the ends of 10,000 trails take less than half of it.
const LARGEST: usize = 8 * 1024 * 1024;

/// How many objects are read at once, and at most: those of more than ten years.
const AT_ONCE: usize = 16;
const MOST: usize = 100_000;

/// S3's word for a key that is there already.
const IS_THERE: &str = "PreconditionFailed";

impl AwsWorld {
    /// Keeps anchors under the key of their hour, unless it is there; nothing without a bucket.
    pub(super) async fn put_anchors(&self, anchors: &Anchors) -> Result<(), WorldError> {
        let Some(bucket) = &self.settings.anchor_bucket else {
            return Ok(());
        };
        let put = self
            .clients
            .s3
            .put_object()
            .bucket(bucket)
            .key(anchors.key())
            .if_none_match("*")
            // Without a checksum S3 refuses an object that is to be locked.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .content_type("application/jsonl")
            .body(ByteStream::from(anchors.lines().into_bytes()));
        match put.send().await.map_err(failed("PutObject")) {
            Ok(_) => Ok(()),
            Err(failure) if failure.error.message.starts_with(IS_THERE) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// All anchors that were ever kept in a bucket, in no order.
    ///
    /// # Errors
    /// What AWS answered, if it is no answer, and what is no anchor.
    pub async fn anchors(&self, bucket: &str) -> Result<Vec<Anchor>, WorldError> {
        let versions = self.versions(bucket).await?;
        let read = |(key, version): (String, String)| async move {
            let call = "GetObject";
            let bytes = self.bytes_of(bucket, &key, Some(&version), LARGEST).await?;
            let place = || format!("s3://{bucket}/{key} (version {version})");
            let text = String::from_utf8(bytes.unwrap_or_default())
                .map_err(|_| refused(call, format!("{} is not text", place())))?;
            anchors_in(&text).map_err(|error| refused(call, format!("{}: {error}", place())))
        };
        let found: Vec<Vec<Anchor>> = stream::iter(versions)
            .map(read)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Keys and versions of all objects with anchors, those below others and delete markers too.
    async fn versions(&self, bucket: &str) -> Result<Vec<(String, String)>, WorldError> {
        const CALL: &str = "ListObjectVersions";
        let mut versions = Vec::new();
        let (mut key, mut version) = (None, None);
        loop {
            let asked = self.clients.s3.list_object_versions().bucket(bucket);
            let asked = asked.prefix(ANCHORS);
            let asked = asked.set_key_marker(key).set_version_id_marker(version);
            let page = asked.send().await.map_err(failed(CALL))?;
            let found = page.versions.unwrap_or_default().into_iter();
            versions.extend(found.filter_map(|v| Some((v.key?, v.version_id?))));
            if versions.len() > MOST {
                let why = format!("s3://{bucket} has more than {MOST} objects with anchors");
                return Err(refused(CALL, why));
            }
            if page.is_truncated != Some(true) {
                return Ok(versions);
            }
            (key, version) = (page.next_key_marker, page.next_version_id_marker);
        }
    }
}
