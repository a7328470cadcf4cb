//! The data that a model was trained on: what lies under an S3 URI, and what changes when it does.
//!
//! Source: `ListObjectsV2` in the S3 API reference; a page has 1,000 objects, and no more are looked
//! at. A training channel's URI is an object's or the start of several's keys (`S3DataSource`).

use aws_sdk_s3::types::Object;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidegate_core::name::token;
use tidegate_core::origin::DataSource;
use tidegate_core::world::{Answer, WorldError};

use super::AwsWorld;
use crate::error::failed;

const CALL: &str = "ListObjectsV2";
const AT_ONCE: usize = 4;

impl AwsWorld {
    pub(super) async fn data(&self, uris: &[String]) -> Result<Answer, WorldError> {
        let sources: Vec<DataSource> = stream::iter(uris.to_vec())
            .map(|uri| async move { self.source(&uri).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Answer::Data(sources))
    }

    async fn source(&self, uri: &str) -> Result<DataSource, WorldError> {
        let unknown = DataSource {
            uri: uri.to_owned(),
            objects: 0,
            bytes: 0,
            version: None,
            is_whole: false,
        };
        let Some((bucket, prefix)) = uri
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
        else {
            return Ok(unknown);
        };
        let asked = self
            .clients
            .s3
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .send();
        match asked.await.map_err(failed(CALL)) {
            Ok(page) => Ok(of_objects(
                uri,
                prefix,
                page.contents.as_deref().unwrap_or_default(),
                !page.is_truncated.unwrap_or(false),
            )),
            Err(failure) if failure.error.is_passing() => Err(failure.into()),
            // Data that Tidegate may not see, or that has gone, doesn't hold up a model.
            Err(failure) => {
                tracing::warn!(uri, error = %failure.error, "training data can't be listed");
                Ok(unknown)
            }
        }
    }
}

/// What these objects are together, of those under a prefix.
pub(super) fn of_objects(
    uri: &str,
    prefix: &str,
    objects: &[Object],
    is_whole: bool,
) -> DataSource {
    let etag = |object: &Object| {
        object
            .e_tag()
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned()
    };
    let bytes = objects
        .iter()
        .map(|o| u64::try_from(o.size().unwrap_or_default()).unwrap_or_default())
        .sum();
    let version = match objects {
        [] => None,
        [only] if only.key() == Some(prefix) => Some(etag(only)),
        several => {
            let mut lines: Vec<String> = several
                .iter()
                .map(|o| {
                    let (key, size) = (o.key().unwrap_or_default(), o.size().unwrap_or_default());
                    format!("{key}\t{size}\t{}\n", etag(o))
                })
                .collect();
            lines.sort_unstable();
            Some(token(&lines.concat()))
        }
    };
    DataSource {
        uri: uri.to_owned(),
        objects: u32::try_from(objects.len()).unwrap_or(u32::MAX),
        bytes,
        version,
        is_whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, etag: &str) -> Object {
        Object::builder()
            .key(key)
            .size(10)
            .e_tag(format!("\"{etag}\""))
            .build()
    }

    #[test]
    fn a_version_changes_when_any_object_does_and_not_with_their_order() {
        let of = |objects: &[Object]| of_objects("s3://b/d/", "d/", objects, true).version;
        let before = of(&[object("d/1", "a"), object("d/2", "b")]);
        assert_eq!(before, of(&[object("d/2", "b"), object("d/1", "a")]));
        assert_ne!(before, of(&[object("d/1", "a"), object("d/2", "c")]));
        assert_ne!(before, of(&[object("d/1", "a")]));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_single_object_is_known_by_its_etag() {
        let source = of_objects("s3://b/d.csv", "d.csv", &[object("d.csv", "abc")], true);
        assert_eq!(source.version.as_deref(), Some("abc"));
        assert_eq!((source.objects, source.bytes), (1, 10));
    }
}
