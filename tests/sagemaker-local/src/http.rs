//! The one port: SageMaker, SageMaker Runtime, CloudWatch, IAM and the admin API are told apart by
//! header and path, as an SDK's endpoint setting sends them all here.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};

use crate::app::App;
use crate::errors::ApiError;
use crate::faults::Kind;
use crate::protocols::Protocol;
use crate::runtime::{self, Request};
use crate::{admin, cloudwatch, iam, sagemaker};

/// SageMaker's largest request is an invocation of 25 MB.
const MOST_BODY: usize = 32 * 1024 * 1024;

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .nest("/_local", admin::router())
        .route("/endpoints/{name}/invocations", post(invocation))
        .fallback(aws)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .with_state(app)
}

/// SageMaker's control plane, IAM or CloudWatch.
async fn aws(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(operation) =
        header(&headers, "x-amz-target").and_then(|target| target.strip_prefix("SageMaker."))
    {
        return control_plane(&app, operation, &headers, &body).await;
    }
    if iam::is_asked(&headers) {
        return iam::answer(&app, &headers, body).await;
    }
    if let Some((protocol, operation, input)) = Protocol::read(uri.path(), &headers, &body) {
        return metrics(&app, protocol, &operation, input).await;
    }
    let error = ApiError::unsupported(&format!(
        "{} (no SageMaker or CloudWatch request)",
        uri.path()
    ));
    json_error(&error)
}

async fn control_plane(
    app: &Arc<App>,
    operation: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let input: Value = match serde_json::from_slice(if body.is_empty() { b"{}" } else { body }) {
        Ok(input) => input,
        Err(error) => {
            return json_error(&ApiError::serialization(format!(
                "The request is not JSON: {error}"
            )));
        }
    };
    let result = sagemaker::perform(app, operation, input.clone(), caller(headers)).await;
    if let Err(error) = &result {
        tracing::info!(operation, %error, "refused");
    }
    if let Some(recorder) = &app.recorder {
        recorder.write(app.clock.now(), "sagemaker", operation, &input, &result);
    }
    match result {
        Ok(output) => {
            let headers = [
                ("content-type", "application/x-amz-json-1.1".to_owned()),
                ("x-amzn-requestid", uuid::Uuid::new_v4().to_string()),
            ];
            (headers, output.to_string()).into_response()
        }
        Err(error) => json_error(&error),
    }
}

async fn metrics(
    app: &Arc<App>,
    protocol: Protocol,
    operation: &str,
    input: Result<Value, ApiError>,
) -> Response {
    let fault = app.world().faults.hit_call(operation);
    if let Some(fault) = fault.as_ref().filter(|fault| fault.kind == Kind::Delay) {
        tokio::time::sleep(std::time::Duration::from_millis(fault.delay_ms.min(60_000))).await;
    }
    let (input, result) = match input {
        Err(error) => (Value::Null, Err(error)),
        Ok(input) => {
            let result = match fault.map(|fault| fault.kind) {
                Some(Kind::Throttle) => Err(ApiError::throttled()),
                Some(Kind::Deny) => Err(ApiError::metrics_denied(operation)),
                Some(Kind::Error | Kind::ErrorAfterSuccess) => Err(ApiError::internal()),
                _ => {
                    let now = app.clock.now();
                    cloudwatch::perform(&mut app.world(), operation, &input, now)
                        .unwrap_or_else(|| Err(ApiError::unsupported(operation)))
                }
            };
            (input, result)
        }
    };
    if let Some(recorder) = &app.recorder {
        recorder.write(app.clock.now(), "cloudwatch", operation, &input, &result);
    }
    protocol.write(operation, &result)
}

async fn invocation(
    State(app): State<Arc<App>>,
    Path(endpoint): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let given = |name: &str| header(&headers, name).map(str::to_owned);
    let request = Request {
        target_variant: given("x-amzn-sagemaker-target-variant"),
        content_type: given("content-type"),
        accept: given("accept"),
        custom_attributes: given("x-amzn-sagemaker-custom-attributes"),
        inference_id: given("x-amzn-sagemaker-inference-id"),
        body,
    };
    let input = app.recorder.as_ref().map(|_| {
        let mut input = json!({
            "EndpointName": endpoint,
            "Body": String::from_utf8_lossy(&request.body),
        });
        for (member, value) in [
            ("TargetVariant", &request.target_variant),
            ("ContentType", &request.content_type),
            ("Accept", &request.accept),
            ("CustomAttributes", &request.custom_attributes),
            ("InferenceId", &request.inference_id),
        ] {
            if let Some(value) = value {
                input[member] = json!(value);
            }
        }
        input
    });
    let result = runtime::invoke(&app, &endpoint, request).await;
    if let (Some(recorder), Some(input)) = (&app.recorder, input) {
        let output = result.as_ref().map_err(Clone::clone).map(|answer| {
            json!({
                "Body": String::from_utf8_lossy(&answer.body),
                "ContentType": answer.content_type,
                "InvokedProductionVariant": answer.variant,
            })
        });
        recorder.write(
            app.clock.now(),
            "sagemaker-runtime",
            "InvokeEndpoint",
            &input,
            &output,
        );
    }
    match result {
        Ok(answer) => {
            let mut response = Response::builder()
                .header("content-type", &answer.content_type)
                .header("x-amzn-invoked-production-variant", &answer.variant)
                .header("x-amzn-requestid", uuid::Uuid::new_v4().to_string());
            if let Some(attributes) = &answer.custom_attributes {
                response = response.header("x-amzn-sagemaker-custom-attributes", attributes);
            }
            response
                .body(Body::from(answer.body))
                .unwrap_or_else(|_| json_error(&ApiError::internal()))
        }
        Err(error) => {
            let mut body = error.extra.clone().unwrap_or_else(|| json!({}));
            body["Message"] = json!(error.message);
            let headers = [
                ("content-type", "application/json".to_owned()),
                ("x-amzn-errortype", error.code.to_owned()),
            ];
            (status(&error), headers, body.to_string()).into_response()
        }
    }
}

fn json_error(error: &ApiError) -> Response {
    let headers = [
        ("content-type", "application/x-amz-json-1.1".to_owned()),
        ("x-amzn-requestid", uuid::Uuid::new_v4().to_string()),
    ];
    // SageMaker's own error shapes spell it `Message`, the common ones `message`.
    let member = match error.code {
        "ResourceInUse" | "ResourceNotFound" | "ResourceLimitExceeded" | "ConflictException" => {
            "Message"
        }
        _ => "message",
    };
    (
        status(error),
        headers,
        json!({"__type": error.code, member: error.message}).to_string(),
    )
        .into_response()
}

fn status(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The access key of `Authorization: AWS4-HMAC-SHA256 Credential=KEY/...`.
fn caller(headers: &HeaderMap) -> String {
    header(headers, "authorization")
        .and_then(|value| value.split("Credential=").nth(1))
        .and_then(|rest| rest.split('/').next())
        .filter(|key| !key.is_empty() && key.len() <= 128)
        .unwrap_or("anonymous")
        .to_owned()
}
