//! Clarify's analysis configs in S3: the template is read, and what is made of it for one monitor is
//! written once. What is there already stays, so that a job and its monitor never differ.
//!
//! Source: the S3 User Guide, "How to prevent object overwrites with conditional writes".

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use serde_json::Value;
use tidegate_core::monitors::analysis::{Use, configs, place};
use tidegate_core::pipeline::ModelMonitor;
use tidegate_core::world::{AnalysisSpec, WorldError};

use super::AwsWorld;
use super::objects::split;
use crate::error::{failed, refused};

const READ: &str = "GetObject";
const WRITE: &str = "PutObject";
/// S3's word for a key that is there already.
const IS_THERE: &str = "PreconditionFailed";

impl AwsWorld {
    /// Writes the configs of a monitor that are not there.
    ///
    /// # Errors
    /// What AWS answered; a template that is missing or can't do is a refusal that says so.
    pub(super) async fn ensure_configs(
        &self,
        monitor: &ModelMonitor,
        analysis: &AnalysisSpec,
    ) -> Result<(), WorldError> {
        let template = &analysis.template;
        let bytes = self.bytes(template).await?.ok_or_else(|| {
            let why = format!("the analysis config {template} is not there; upload it");
            refused(READ, why)
        })?;
        let text = String::from_utf8_lossy(&bytes);
        let made = configs(&text, monitor, &analysis.model)
            .map_err(|why| refused(READ, format!("the analysis config {template} {why}")))?;
        for (of, content) in [
            (Use::Baselining, &made.baselining),
            (Use::Monitor, &made.monitor),
        ] {
            let uri = place(monitor, &analysis.folder, of);
            self.ensure_object(&uri, content, monitor.kms_key.clone())
                .await?;
        }
        Ok(())
    }

    async fn ensure_object(
        &self,
        uri: &str,
        content: &Value,
        kms_key: Option<String>,
    ) -> Result<(), WorldError> {
        let Some((bucket, key)) = split(uri) else {
            let why = format!("{uri:?} is not like s3://bucket/key");
            return Err(refused(WRITE, why));
        };
        let encryption = kms_key.is_some().then_some(ServerSideEncryption::AwsKms);
        let put = self
            .clients
            .s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .if_none_match("*")
            .content_type("application/json")
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .body(ByteStream::from(content.to_string().into_bytes()));
        match put.send().await.map_err(failed(WRITE)) {
            Ok(_) => Ok(()),
            Err(failure) if failure.error.message.starts_with(IS_THERE) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}
