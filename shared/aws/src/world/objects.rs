//! Small objects in S3: evaluations, reports and smoke requests.

use tidegate_core::world::{Answer, WorldError};

use super::AwsWorld;
use crate::error::{failed, refused};

const CALL: &str = "GetObject";
/// The largest object that is read, bytes.
pub(super) const LARGEST: usize = 1024 * 1024;

impl AwsWorld {
    pub(super) async fn object(&self, uri: &str) -> Result<Answer, WorldError> {
        let Some(bytes) = self.bytes(uri).await? else {
            return Ok(Answer::Missing);
        };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Answer::Object(text)),
            Err(_) => Err(refused(CALL, format!("{uri} is not text in UTF-8"))),
        }
    }

    /// An object's bytes, at most [`LARGEST`]; none if there is no such object or bucket.
    pub(super) async fn bytes(&self, uri: &str) -> Result<Option<Vec<u8>>, WorldError> {
        let Some((bucket, key)) = split(uri) else {
            return Err(refused(
                CALL,
                format!("{uri:?} is not like s3://bucket/key"),
            ));
        };
        self.bytes_of(bucket, key, None, LARGEST).await
    }

    /// The bytes of a version of an object, or of the newest, at most `largest`; none if there is no
    /// such object or bucket.
    pub(super) async fn bytes_of(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        largest: usize,
    ) -> Result<Option<Vec<u8>>, WorldError> {
        let uri = format!("s3://{bucket}/{key}");
        let asked = self.clients.s3.get_object().bucket(bucket).key(key);
        let asked = asked.set_version_id(version.map(str::to_owned)).send();
        let mut object = match asked.await.map_err(failed(CALL)) {
            Ok(object) => object,
            Err(failure) if failure.is_gone() => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        let mut bytes = Vec::new();
        // The length is also counted as it comes: the header is only what was announced.
        while let Some(chunk) = object.body.next().await {
            let chunk = chunk.map_err(|error| {
                let kind = tidegate_core::world::WorldErrorKind::Unavailable;
                crate::error::error(kind, CALL, format!("{uri}: {error}"))
            })?;
            if bytes.len() + chunk.len() > largest {
                return Err(refused(
                    CALL,
                    format!("{uri} is larger than {largest} bytes; keep only what is needed in it"),
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }
}

/// Bucket and key of an `s3://` URI.
pub(super) fn split(uri: &str) -> Option<(&str, &str)> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn only_a_bucket_with_a_key_is_an_object() {
        assert_eq!(split("s3://b/k/l.json"), Some(("b", "k/l.json")));
        for bad in ["s3://b", "s3://b/", "s3:///k", "https://b/k", "b/k", ""] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
