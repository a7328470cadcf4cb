//! What a request to AWS asks for, read from the wire, and AWS's refusals in the same protocol.
//!
//! Sources: the protocols of Smithy (AWS JSON 1.0 and 1.1, query, REST JSON, REST XML, RPC v2 with
//! CBOR) and, for codes, the "Common errors" page of each service's API reference.

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

/// The path of an operation in RPC v2 with CBOR is `/service/<service>/operation/<operation>`.
const RPC: &str = "/operation/";

/// The language that a request is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Json,
    Query,
    Cbor,
    RestJson,
    RestXml,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The service's signing name, such as `sagemaker` or `monitoring`.
    pub(crate) service: String,
    /// The operation as the API names it.
    pub(crate) operation: String,
    /// The function that asks, by the application name in its user agent.
    pub(crate) function: Option<String>,
    /// The same for all attempts of one call.
    pub(crate) invocation: Option<String>,
    /// Which attempt of the call this is, from 1.
    pub(crate) attempt: u32,
    protocol: Protocol,
}

impl Asked {
    /// Reads a request.
    pub(crate) fn read(request: &Request<Bytes>) -> Self {
        let headers = request.headers();
        let (protocol, operation) = operation(request);
        let attempt = header(headers, "amz-sdk-request")
            .and_then(|text| text.split_once("attempt="))
            .and_then(|(_, rest)| rest.split([';', ' ']).next()?.parse().ok());
        Self {
            service: service(headers).unwrap_or_else(|| "unknown".to_owned()),
            operation,
            function: header(headers, USER_AGENT.as_str())
                .and_then(|agent| agent.split(' ').find_map(|word| word.strip_prefix("app/")))
                .map(ToOwned::to_owned),
            invocation: header(headers, "amz-sdk-invocation-id").map(ToOwned::to_owned),
            attempt: attempt.unwrap_or(1),
            protocol,
        }
    }

    /// The service's own "you ask too often".
    pub(crate) fn throttled(&self) -> Response<Bytes> {
        let (status, code) = match self.service.as_str() {
            "monitoring" | "sns" | "iam" => (400, "Throttling"),
            "scheduler" => (429, "ThrottlingException"),
            "s3" => (503, "SlowDown"),
            _ => (400, "ThrottlingException"),
        };
        self.refusal(status, code, "Rate exceeded")
    }

    /// The service's own "something is wrong with us".
    pub(crate) fn failed(&self) -> Response<Bytes> {
        let code = match self.service.as_str() {
            "dynamodb" => "InternalServerError",
            "events" => "InternalException",
            "monitoring" => "InternalServiceFault",
            "scheduler" => "InternalServerException",
            "sns" | "s3" => "InternalError",
            "iam" => "ServiceFailure",
            _ => "InternalFailure",
        };
        self.refusal(500, code, "An internal error occurred; try again.")
    }

    /// `DynamoDB`'s answer to a transaction that met another one on its first item.
    pub(crate) fn conflict(body: &[u8]) -> Response<Bytes> {
        let items = serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|body| Some(body["TransactItems"].as_array()?.len()))
            .unwrap_or(1);
        let mut reasons = vec![json!({ "Code": "None" }); items];
        if let Some(first) = reasons.first_mut() {
            *first = json!({
                "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item",
            });
        }
        let answer = json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "Transaction cancelled, please refer cancellation reasons for specific \
                        reasons [TransactionConflict]",
            "CancellationReasons": reasons,
        });
        response(400, "application/x-amz-json-1.0", answer.to_string().into())
    }

    fn refusal(&self, status: u16, code: &str, message: &str) -> Response<Bytes> {
        match self.protocol {
            Protocol::Json => {
                let body = json!({ "__type": code, "message": message }).to_string();
                response(status, "application/x-amz-json-1.1", body.into())
            }
            Protocol::RestJson => {
                let body = json!({ "message": message, "Message": message }).to_string();
                let mut response = response(status, "application/json", body.into());
                if let Ok(code) = code.parse() {
                    response.headers_mut().insert("x-amzn-errortype", code);
                }
                response
            }
            Protocol::Cbor => {
                let mut body = vec![0xa2];
                for text in ["__type", code, "message", message] {
                    push_text(&mut body, text);
                }
                let mut response = response(status, "application/cbor", body.into());
                if let Ok(protocol) = "rpc-v2-cbor".parse() {
                    response.headers_mut().insert("smithy-protocol", protocol);
                }
                response
            }
            Protocol::Query => {
                let side = if status < 500 { "Sender" } else { "Receiver" };
                let body = format!(
                    "<ErrorResponse><Error><Type>{side}</Type><Code>{code}</Code><Message>{message}\
                     </Message></Error><RequestId>fault</RequestId></ErrorResponse>"
                );
                response(status, "text/xml", body.into())
            }
            Protocol::RestXml => {
                let body = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
                     <Message>{message}</Message><RequestId>fault</RequestId></Error>"
                );
                response(status, "application/xml", body.into())
            }
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The signature names it: `Credential=<key>/<date>/<region>/<service>/aws4_request`.
fn service(headers: &HeaderMap) -> Option<String> {
    let scope = header(headers, AUTHORIZATION.as_str())?
        .split_once("Credential=")?
        .1
        .split([',', ' '])
        .next()?;
    scope.split('/').nth(3).map(ToOwned::to_owned)
}

fn operation(request: &Request<Bytes>) -> (Protocol, String) {
    let (path, headers) = (request.uri().path(), request.headers());
    if let Some(target) = header(headers, "x-amz-target") {
        let name = target.rsplit('.').next().unwrap_or(target);
        return (Protocol::Json, name.to_owned());
    }
    if let Some((_, name)) = path
        .split_once(RPC)
        .filter(|_| path.starts_with("/service/"))
    {
        return (Protocol::Cbor, name.to_owned());
    }
    let is_form = header(headers, CONTENT_TYPE.as_str())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if is_form {
        let text = String::from_utf8_lossy(request.body());
        let action = text
            .split('&')
            .find_map(|pair| pair.strip_prefix("Action="));
        return (Protocol::Query, action.unwrap_or("Unknown").to_owned());
    }
    match service(headers).as_deref() {
        Some("scheduler") => (Protocol::RestJson, scheduler(request.method(), path)),
        Some("sagemaker") => (Protocol::RestJson, "InvokeEndpoint".to_owned()),
        _ => (Protocol::RestXml, s3(request)),
    }
}

fn scheduler(method: &Method, path: &str) -> String {
    let of = if path.starts_with("/schedule-groups") {
        "ScheduleGroup"
    } else {
        "Schedule"
    };
    format!("{}{of}", verb(method))
}

fn s3(request: &Request<Bytes>) -> String {
    let has_key = request.uri().path().trim_matches('/').contains('/');
    let of = if has_key { "Object" } else { "Bucket" };
    if !has_key && request.method() == Method::GET {
        return "ListObjects".to_owned();
    }
    match *request.method() {
        Method::PUT => format!("Put{of}"),
        Method::HEAD => format!("Head{of}"),
        ref method => format!("{}{of}", verb(method)),
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "Create",
        Method::PUT => "Update",
        Method::DELETE => "Delete",
        _ => "Get",
    }
}

/// A text in CBOR: major type 3 and its length (RFC 8949).
fn push_text(body: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length @ 0..24) => body.push(0x60 | length),
        Ok(length) => body.extend([0x78, length]),
        Err(_) => {
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            body.push(0x79);
            body.extend(length.to_be_bytes());
        }
    }
    body.extend(text.as_bytes().iter().take(usize::from(u16::MAX)));
}

fn response(status: u16, kind: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, service: &str, more: &[(&str, &str)]) -> Request<Bytes> {
        let scope = format!("AWS4-HMAC-SHA256 Credential=k/20260101/r/{service}/aws4_request, x=y");
        let mut builder = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", scope);
        for (name, value) in more {
            builder = builder.header(*name, *value);
        }
        builder
            .body(Bytes::from_static(b"Action=Publish&Message=x"))
            .unwrap()
    }

    #[test]
    fn every_protocol_says_its_operation() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let target = ("x-amz-target", "DynamoDB_20120810.TransactWriteItems");
        let rpc = "/service/GraniteServiceVersion20100801/operation/GetMetricData";
        for (method, uri, service, more, operation) in [
            ("POST", "/", "dynamodb", vec![target], "TransactWriteItems"),
            ("POST", rpc, "monitoring", vec![], "GetMetricData"),
            ("POST", "/", "sns", vec![form], "Publish"),
            (
                "POST",
                "/schedules/x",
                "scheduler",
                vec![],
                "CreateSchedule",
            ),
            (
                "DELETE",
                "/schedules/x?a=b",
                "scheduler",
                vec![],
                "DeleteSchedule",
            ),
            (
                "POST",
                "/endpoints/e/invocations",
                "sagemaker",
                vec![],
                "InvokeEndpoint",
            ),
            (
                "GET",
                "/bucket/a/b.csv?x-id=GetObject",
                "s3",
                vec![],
                "GetObject",
            ),
            ("GET", "/bucket/?list-type=2", "s3", vec![], "ListObjects"),
        ] {
            let asked = Asked::read(&request(method, uri, service, &more));
            assert_eq!(asked.operation, operation);
            assert_eq!(asked.service, service);
        }
    }

    #[test]
    fn the_caller_and_its_attempt_are_read() {
        let asked = Asked::read(&request(
            "POST",
            "/",
            "sns",
            &[
                (
                    "user-agent",
                    "aws-sdk-rust/1.3 ua/2.1 os/linux lang/rust#1.95 app/canary-shift",
                ),
                ("amz-sdk-invocation-id", "i-1"),
                ("amz-sdk-request", "ttl=20260101T000000Z; attempt=2; max=3"),
            ],
        ));
        assert_eq!(asked.function.as_deref(), Some("canary-shift"));
        assert_eq!(
            (asked.invocation.as_deref(), asked.attempt),
            (Some("i-1"), 2)
        );
    }

    #[test]
    fn a_conflict_has_a_reason_for_each_item() {
        let answer = Asked::conflict(br#"{"TransactItems":[{},{},{}]}"#);
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["CancellationReasons"].as_array().unwrap().len(), 3);
        assert_eq!(
            body["CancellationReasons"][0]["Code"],
            "TransactionConflict"
        );
    }
}
