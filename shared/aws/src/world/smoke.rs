//! Smoke requests: sample payloads to the canary alone, before any user meets it.
//!
//! Source: `InvokeEndpoint` in the SageMaker Runtime API reference (`TargetVariant`, `ModelError`).
//! What the *model* answers is an answer here, however bad; what SageMaker or S3 refuses is an
//! error, since the candidate is not to blame for it.

use std::time::{Duration, Instant};

use aws_sdk_sagemakerruntime::config::Builder;
use aws_sdk_sagemakerruntime::config::retry::RetryConfig;
use aws_sdk_sagemakerruntime::config::timeout::TimeoutConfig;
use aws_sdk_sagemakerruntime::operation::invoke_endpoint::InvokeEndpointError;
use aws_sdk_sagemakerruntime::primitives::Blob;
use aws_smithy_runtime_api::client::result::SdkError;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidegate_core::name::EndpointName;
use tidegate_core::world::{Answer, SmokeAnswer, WorldError, WorldErrorKind};

use super::AwsWorld;
use crate::error::{cut, error, failed};

const CALL: &str = "InvokeEndpoint";
/// The longest wait for one answer: 20 requests, four at once, stay within a function's time.
const LONGEST: Duration = Duration::from_secs(8);
const AT_ONCE: usize = 4;
/// The port's limit of a problem's text, bytes.
const LONGEST_PROBLEM: usize = 500;

impl AwsWorld {
    pub(super) async fn smoke(
        &self,
        endpoint: &EndpointName,
        variant: &str,
        payloads: &[String],
        content_type: &str,
    ) -> Result<Answer, WorldError> {
        let answers = stream::iter(payloads.to_vec())
            .map(|uri| self.smoke_one(endpoint, variant, uri, content_type))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Answer::Smoke(answers))
    }

    async fn smoke_one(
        &self,
        endpoint: &EndpointName,
        variant: &str,
        uri: String,
        content_type: &str,
    ) -> Result<SmokeAnswer, WorldError> {
        let body = self.bytes(&uri).await?.ok_or_else(|| {
            error(
                WorldErrorKind::Gone,
                CALL,
                format!("the smoke request {uri} does not exist"),
            )
        })?;
        let started = Instant::now();
        let sent = self
            .clients
            .runtime
            .invoke_endpoint()
            .endpoint_name(endpoint.as_str())
            .target_variant(variant)
            .content_type(content_type)
            .body(Blob::new(body))
            .customize()
            .config_override(once())
            .send()
            .await;
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, problem) = match sent {
            Ok(_) => (200, None),
            Err(error) => match &error {
                SdkError::TimeoutError(_) => {
                    (0, Some(format!("no answer within {} s", LONGEST.as_secs())))
                }
                SdkError::ServiceError(context) => match context.err() {
                    InvokeEndpointError::ModelError(model) => {
                        let status = model.original_status_code().unwrap_or(500);
                        let text = model.original_message().or(model.message());
                        let status = u16::try_from(status).unwrap_or(500);
                        (status, Some(text.unwrap_or("the model failed").to_owned()))
                    }
                    _ => return Err(failed(CALL)(error).into()),
                },
                _ => return Err(failed(CALL)(error).into()),
            },
        };
        let problem = problem.map(|text| cut(&text, LONGEST_PROBLEM).to_owned());
        Ok(SmokeAnswer {
            payload: uri,
            status,
            milliseconds,
            problem,
        })
    }
}

/// One attempt: a second one would hide what the first user would meet.
fn once() -> Builder {
    Builder::new()
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(1))
                .operation_attempt_timeout(LONGEST)
                .operation_timeout(LONGEST)
                .build(),
        )
}
