//! The errors that callers see: AWS's codes and, where they are known, AWS's words.
//!
//! Which code and message belongs to which operation is from SageMaker's API reference and from
//! what clients that match on the messages (Terraform's provider, the Kubernetes operator) expect.

use serde_json::Value;

/// An error answer of the SageMaker, SageMaker Runtime or CloudWatch API.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct ApiError {
    /// HTTP status.
    pub(crate) status: u16,
    /// The code that SDKs match on.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
    /// Further members of the error shape, such as a model error's `OriginalMessage`.
    pub(crate) extra: Option<Value>,
}

impl ApiError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            extra: None,
        }
    }

    /// What SageMaker says to nearly everything that it refuses.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message)
    }

    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new(400, "ResourceInUse", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(400, "ResourceNotFound", message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(400, "ResourceLimitExceeded", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(400, "ConflictException", message)
    }

    pub(crate) fn throttled() -> Self {
        Self::new(400, "ThrottlingException", "Rate exceeded")
    }

    /// What SageMaker says to who lacks a permission, such as `sagemaker:DescribeEndpoint`.
    pub(crate) fn denied(action: &str) -> Self {
        Self::new(
            400,
            "AccessDeniedException",
            format!("User is not authorized to perform: {action}"),
        )
    }

    /// CloudWatch's words for the same.
    pub(crate) fn metrics_denied(operation: &str) -> Self {
        Self::new(
            403,
            "AccessDenied",
            format!("User is not authorized to perform: cloudwatch:{operation}"),
        )
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            500,
            "InternalFailure",
            "The request processing has failed because of an unknown error, exception or failure.",
        )
    }

    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new(400, "SerializationException", message)
    }

    /// Outside the slice that the emulator has.
    pub(crate) fn unsupported(operation: &str) -> Self {
        Self::new(
            400,
            "UnsupportedOperation",
            format!("not implemented here: {operation}"),
        )
    }

    /// SageMaker Runtime's own name for a refused request.
    pub(crate) fn runtime_validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationError", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// IAM's word for what is not there.
    pub(crate) fn no_such_entity(what: &str) -> Self {
        let message = format!("{what} cannot be found.");
        Self::new(404, "NoSuchEntity", message)
    }

    /// IAM's complaint about a parameter.
    pub(crate) fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidInput", message)
    }

    /// CloudWatch's complaint about a parameter.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValue", message)
    }

    /// CloudWatch's complaint about a paging token.
    pub(crate) fn next_token(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidNextToken", message)
    }

    /// A model server that failed; `original` is 0 when it gave no answer at all.
    pub(crate) fn model(original: u16, text: &str, log_group: &str) -> Self {
        let kind = if (400..500).contains(&original) {
            "client"
        } else {
            "server"
        };
        let message = format!(
            "Received {kind} error ({original}) from primary with message \"{text}\". See {log_group} for more information."
        );
        Self {
            extra: Some(serde_json::json!({
                "OriginalStatusCode": original,
                "OriginalMessage": text,
                "LogStreamArn": log_group,
            })),
            ..Self::new(424, "ModelError", message)
        }
    }
}
