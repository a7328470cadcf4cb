//! What a failed AWS call means for the caller: try again, wait, give up, or it was so already.
//!
//! Sources: the "Common errors" page of each service's API reference. SageMaker answers most
//! refusals with `ValidationException`, so that only the message tells "does not exist" and "busy"
//! from "invalid"; docs/aws-facts.md lists the messages.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tidegate_core::world::{WorldError, WorldErrorKind};

/// The longest message that is kept: AWS's can hold whole requests.
const LONGEST: usize = 1_000;

/// What became of a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The error as core knows it.
    pub(crate) error: WorldError,
    /// The thing that was to be made is there already, by this name.
    pub(crate) already: bool,
}

impl Failure {
    /// Whether the thing that was asked for does not exist.
    pub(crate) fn is_gone(&self) -> bool {
        self.error.kind == WorldErrorKind::Gone
    }
}

impl From<Failure> for WorldError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Classifies the error of a call named `call`, for example `UpdateEndpoint`. Takes what the SDK's
/// futures give, so that it reads as `.await.map_err(failed("UpdateEndpoint"))`.
pub(crate) fn failed<E>(call: &'static str) -> impl Fn(SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    move |error| {
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        match &error {
            SdkError::ServiceError(context) => {
                let service = context.err();
                let code = service.code().unwrap_or("Unknown");
                let message = service.message().unwrap_or_default();
                classify(call, status, code, message)
            }
            // Never sent: no endpoint, region or credentials, or our own input was incomplete.
            SdkError::ConstructionFailure(_) => plain(
                call,
                WorldErrorKind::Refused,
                &DisplayErrorContext(&error).to_string(),
            ),
            // No credentials come as a dispatch failure, and no retry will find any.
            SdkError::DispatchFailure(failure) if failure.is_user() || no_credentials(&error) => {
                plain(
                    call,
                    WorldErrorKind::Denied,
                    &DisplayErrorContext(&error).to_string(),
                )
            }
            _ => plain(
                call,
                WorldErrorKind::Unavailable,
                &DisplayErrorContext(&error).to_string(),
            ),
        }
    }
}

/// An error that is ours to say.
pub(crate) fn error(
    kind: WorldErrorKind,
    call: &'static str,
    message: impl Into<String>,
) -> WorldError {
    WorldError {
        kind,
        call: call.to_owned(),
        message: message.into(),
    }
}

/// An error of kind [`WorldErrorKind::Refused`].
pub(crate) fn refused(call: &'static str, message: impl Into<String>) -> WorldError {
    error(WorldErrorKind::Refused, call, message)
}

/// Cuts a text to at most `bytes` bytes, between characters.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn plain(call: &'static str, kind: WorldErrorKind, message: &str) -> Failure {
    Failure {
        error: error(kind, call, cut(message, LONGEST)),
        already: false,
    }
}

fn no_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if text.contains("credentials") || text.contains("identity") {
            return true;
        }
        next = error.source();
    }
    false
}

fn classify(call: &'static str, status: Option<u16>, code: &str, message: &str) -> Failure {
    let kind = kind_of(status, code, message);
    let text = if message.is_empty() {
        code.to_owned()
    } else {
        format!("{code}: {message}")
    };
    Failure {
        error: error(kind, call, cut(&text, LONGEST)),
        already: kind != WorldErrorKind::NotNow && exists_already(code, message),
    }
}

fn kind_of(status: Option<u16>, code: &str, message: &str) -> WorldErrorKind {
    // JSON protocols may send `com.amazonaws.sagemaker#ResourceNotFound`.
    let code = code.rsplit('#').next().unwrap_or(code);
    let says = |words: &[&str]| {
        let message = message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    };
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "ProvisionedThroughputExceededException"
        | "SlowDown"
        | "LimitExceededException" => WorldErrorKind::Throttled,
        _ if says(&["rate exceeded"]) => WorldErrorKind::Throttled,
        _ if code.starts_with("AccessDenied")
            || matches!(
                code,
                "UnrecognizedClientException"
                    | "InvalidClientTokenId"
                    | "InvalidSignatureException"
                    | "ExpiredToken"
                    | "ExpiredTokenException"
                    | "MissingAuthenticationTokenException"
                    | "SignatureDoesNotMatch"
                    | "InvalidAccessKeyId"
                    | "AuthorizationError"
                    | "AuthorizationErrorException"
                    | "NotAuthorized"
            ) =>
        {
            WorldErrorKind::Denied
        }
        "ResourceNotFound"
        | "ResourceNotFoundException"
        | "NotFound"
        | "NotFoundException"
        | "RecordNotFound"
        | "NoSuchKey"
        | "NoSuchBucket" => WorldErrorKind::Gone,
        "ResourceInUse" | "ResourceInUseException" | "ConflictException" => {
            if exists_already(code, message) {
                WorldErrorKind::Refused
            } else {
                WorldErrorKind::NotNow
            }
        }
        // The latter is S3's, where somebody else is writing the same object.
        "ModelNotReadyException" | "ConditionalRequestConflict" => WorldErrorKind::NotNow,
        "ValidationException" | "ValidationError" => {
            if says(&["could not find", "does not exist", "not found"]) {
                WorldErrorKind::Gone
            } else if is_busy(&message.to_ascii_lowercase()) {
                WorldErrorKind::NotNow
            } else {
                WorldErrorKind::Refused
            }
        }
        "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalDependencyException"
        | "InternalError"
        | "InternalErrorException" => WorldErrorKind::Unavailable,
        _ => match status {
            Some(403) => WorldErrorKind::Denied,
            Some(404) => WorldErrorKind::Gone,
            Some(429) => WorldErrorKind::Throttled,
            Some(500..) => WorldErrorKind::Unavailable,
            _ => WorldErrorKind::Refused,
        },
    }
}

/// Whether a refusal is because of what the thing is doing right now.
fn is_busy(message: &str) -> bool {
    message.contains("in-progress")
        || message.contains("in progress")
        || [
            "creating",
            "updating",
            "systemupdating",
            "rollingback",
            "deleting",
        ]
        .iter()
        .any(|word| {
            message.contains(&format!("status {word}"))
                || message.contains(&format!("status \"{word}\""))
                || message.contains(&format!("status: {word}"))
                || message.contains(&format!("status is {word}"))
                || message.contains(&format!("state {word}"))
                || message.contains(&format!("currently {word}"))
        })
}

fn exists_already(code: &str, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    (code.contains("Validation") || code.contains("Conflict") || code.contains("ResourceInUse"))
        && (message.contains("already exist") || message.contains("already existing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use WorldErrorKind::{Denied, Gone, NotNow, Refused, Throttled, Unavailable};

    #[test]
    fn errors_say_what_to_do() {
        let cases = [
            (400, "ThrottlingException", "Rate exceeded", Throttled),
            (400, "ValidationException", "Rate exceeded", Throttled),
            (
                503,
                "SlowDown",
                "Please reduce your request rate.",
                Throttled,
            ),
            (
                400,
                "AccessDeniedException",
                "User is not authorized to perform",
                Denied,
            ),
            (403, "AccessDenied", "", Denied),
            (403, "Whatever", "", Denied),
            (400, "ExpiredTokenException", "", Denied),
            (
                400,
                "ValidationException",
                "Could not find endpoint \"arn:x\".",
                Gone,
            ),
            (
                400,
                "ValidationException",
                "Requested resource not found.",
                Gone,
            ),
            (
                400,
                "ValidationException",
                "ModelPackage arn:x does not exist.",
                Gone,
            ),
            (
                400,
                "ResourceNotFound",
                "Pipeline 'arn:x' does not exist.",
                Gone,
            ),
            (400, "com.amazonaws.sagemaker#ResourceNotFound", "", Gone),
            (404, "NoSuchKey", "The specified key does not exist.", Gone),
            (
                400,
                "ValidationException",
                "Cannot update in-progress endpoint \"arn:x\".",
                NotNow,
            ),
            (
                400,
                "ValidationException",
                "Endpoint x is currently Updating",
                NotNow,
            ),
            (
                400,
                "ConflictException",
                "Another request is in flight",
                NotNow,
            ),
            (
                409,
                "ConditionalRequestConflict",
                "The conditional request cannot succeed due to a conflicting operation",
                NotNow,
            ),
            (
                400,
                "ValidationException",
                "1 validation error detected: Value at 'x'",
                Refused,
            ),
            (
                400,
                "ValidationException",
                "Creating a model needs a role",
                Refused,
            ),
            (
                400,
                "ResourceLimitExceeded",
                "The account-level service limit is 2",
                Refused,
            ),
            (500, "InternalFailure", "", Unavailable),
            (502, "Unknown", "", Unavailable),
        ];
        for (status, code, message, kind) in cases {
            let failure = classify("Call", Some(status), code, message);
            assert_eq!(failure.error.kind, kind, "{status} {code} {message}");
            assert!(!failure.already, "{code} {message}");
        }
    }

    #[test]
    fn a_name_that_is_taken_is_told_from_a_busy_thing() {
        for (code, message) in [
            (
                "ValidationException",
                "Cannot create already existing model \"arn:x\".",
            ),
            (
                "ValidationException",
                "Model Package Group already exists: arn:x",
            ),
            ("ConflictException", "Schedule x already exists."),
        ] {
            assert!(
                classify("Call", Some(400), code, message).already,
                "{message}"
            );
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let failure = classify(
            "Call",
            Some(400),
            "ValidationException",
            &"\u{fc}".repeat(2_000),
        );
        assert!(failure.error.message.len() <= LONGEST);
    }
}
