//! The three ways in which CloudWatch's API is spoken: Smithy RPC v2 with CBOR (today's SDKs),
//! JSON 1.0, and the old query protocol with XML answers.
//!
//! Inside, a request and an answer are JSON with times in epoch seconds, whatever came in.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ciborium::Value as Cbor;
use serde_json::{Map, Value, json};

use crate::errors::ApiError;
use crate::moment::Moment;

/// The XML namespace of CloudWatch's answers.
const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";
/// Deeper nesting than any request has.
const MOST_DEPTH: usize = 32;

/// How a request came in, and its answer must go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Cbor,
    Json,
    Query,
}

impl Protocol {
    /// Reads a request's operation and input; `None` if it is not for CloudWatch.
    pub(crate) fn read(
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Option<(Self, String, Result<Value, ApiError>)> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(operation) =
            path.strip_prefix("/service/GraniteServiceVersion20100801/operation/")
        {
            return Some((Self::Cbor, operation.to_owned(), read_cbor(body)));
        }
        if let Some(operation) = header("x-amz-target")
            .and_then(|target| target.strip_prefix("GraniteServiceVersion20100801."))
        {
            let input = serde_json::from_slice(body).map_err(|error| {
                ApiError::serialization(format!("The request is not JSON: {error}"))
            });
            return Some((Self::Json, operation.to_owned(), input));
        }
        let form = header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if path == "/" && form {
            let input = read_query(body);
            let operation = input.get("Action").and_then(Value::as_str)?.to_owned();
            return Some((Self::Query, operation, Ok(input)));
        }
        None
    }

    /// Writes an answer.
    pub(crate) fn write(self, operation: &str, result: &Result<Value, ApiError>) -> Response {
        match (self, result) {
            (Self::Cbor, Ok(output)) => cbor(StatusCode::OK, output),
            (Self::Cbor, Err(error)) => {
                let body = json!({"__type": error.code, "message": error.message});
                cbor(status(error), &body)
            }
            (Self::Json, Ok(output)) => (
                [("content-type", "application/x-amz-json-1.0")],
                output.to_string(),
            )
                .into_response(),
            (Self::Json, Err(error)) => (
                status(error),
                [("content-type", "application/x-amz-json-1.0")],
                json!({"__type": error.code, "message": error.message}).to_string(),
            )
                .into_response(),
            (Self::Query, result) => query_answer(NAMESPACE, operation, result),
        }
    }
}

/// Writes an answer of the query protocol, with the XML namespace of its service.
pub(crate) fn query_answer(
    namespace: &str,
    operation: &str,
    result: &Result<Value, ApiError>,
) -> Response {
    match result {
        Ok(output) => {
            let mut inner = String::new();
            write_xml(&mut inner, output, "");
            let body = format!(
                "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{inner}</{operation}Result><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{operation}Response>",
                uuid::Uuid::new_v4()
            );
            ([("content-type", "text/xml")], body).into_response()
        }
        Err(error) => {
            let body = format!(
                "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>",
                error.code,
                escape(&error.message)
            );
            (status(error), [("content-type", "text/xml")], body).into_response()
        }
    }
}

fn status(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST)
}

fn cbor(status: StatusCode, body: &Value) -> Response {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    if let Err(error) = ciborium::into_writer(&to_cbor(body, ""), &mut bytes) {
        tracing::error!(%error, "an answer could not be written as CBOR");
    }
    let headers = [
        ("content-type", "application/cbor"),
        ("smithy-protocol", "rpc-v2-cbor"),
    ];
    (status, headers, bytes).into_response()
}

fn read_cbor(body: &Bytes) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    let value: Cbor = ciborium::de::from_reader_with_recursion_limit(body.as_ref(), MOST_DEPTH)
        .map_err(|error| ApiError::serialization(format!("The request is not CBOR: {error}")))?;
    Ok(from_cbor(&value))
}

#[allow(clippy::cast_possible_truncation)]
fn from_cbor(value: &Cbor) -> Value {
    match value {
        Cbor::Integer(number) => {
            let number = i128::from(*number);
            i64::try_from(number).map_or_else(|_| json!(number.to_string()), |number| json!(number))
        }
        Cbor::Float(number) => json!(number),
        Cbor::Text(text) => json!(text),
        Cbor::Bool(truth) => json!(truth),
        Cbor::Array(items) => items.iter().map(from_cbor).collect(),
        Cbor::Map(pairs) => Value::Object(
            pairs
                .iter()
                .filter_map(|(key, value)| Some((key.as_text()?.to_owned(), from_cbor(value))))
                .collect::<Map<_, _>>(),
        ),
        // Tag 1 is a time in epoch seconds; its content is the number.
        Cbor::Tag(_, inner) => from_cbor(inner),
        _ => Value::Null,
    }
}

/// Members named `Timestamps` hold times, which CBOR tags; `Values` are always floats.
fn to_cbor(value: &Value, member: &str) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(truth) => Cbor::Bool(*truth),
        Value::Number(number) if member == "Timestamps" => Cbor::Tag(
            1,
            Box::new(Cbor::Float(number.as_f64().unwrap_or_default())),
        ),
        Value::Number(number) if member == "Values" => {
            Cbor::Float(number.as_f64().unwrap_or_default())
        }
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cbor::Integer(number.into()),
            None => Cbor::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Cbor::Text(text.clone()),
        Value::Array(items) => {
            Cbor::Array(items.iter().map(|item| to_cbor(item, member)).collect())
        }
        Value::Object(object) => Cbor::Map(
            object
                .iter()
                .map(|(key, value)| (Cbor::Text(key.clone()), to_cbor(value, key)))
                .collect(),
        ),
    }
}

/// `A.member.1.B=x` becomes `{"A": [{"B": "x"}]}`; numbers, truths and times become what they are.
pub(crate) fn read_query(body: &Bytes) -> Value {
    let text = String::from_utf8_lossy(body);
    let mut root = json!({});
    for pair in text.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let parts: Vec<String> = unescape(key)
            .split('.')
            .filter(|part| *part != "member")
            .map(str::to_owned)
            .collect();
        if parts.len() <= MOST_DEPTH {
            put(&mut root, &parts, &unescape(value));
        }
    }
    root
}

fn put(node: &mut Value, parts: &[String], text: &str) {
    let Some((first, rest)) = parts.split_first() else {
        return;
    };
    let child = match first.parse::<usize>() {
        Ok(index @ 1..=1000) => {
            if !node.is_array() {
                *node = json!([]);
            }
            let Some(items) = node.as_array_mut() else {
                return;
            };
            while items.len() < index {
                items.push(json!({}));
            }
            &mut items[index - 1]
        }
        Ok(_) => return,
        Err(_) => {
            if !node.is_object() {
                *node = json!({});
            }
            let Some(object) = node.as_object_mut() else {
                return;
            };
            object.entry(first.clone()).or_insert_with(|| json!({}))
        }
    };
    if rest.is_empty() {
        *child = typed(first, text);
    } else {
        put(child, rest, text);
    }
}

fn typed(member: &str, text: &str) -> Value {
    match member {
        "Period" | "MaxDatapoints" => text
            .parse::<i64>()
            .map_or(json!(text), |number| json!(number)),
        "ReturnData" => json!(text == "true"),
        "Value" => text
            .parse::<f64>()
            .map_or(json!(text), |number| json!(number)),
        "StartTime" | "EndTime" | "Timestamp" => {
            Moment::parse(text).map_or(json!(text), Moment::json)
        }
        _ => json!(text),
    }
}

/// A text as it was before it was percent-encoded for a form.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = hex {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write_xml(out: &mut String, value: &Value, member: &str) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                out.extend(["<", key, ">"]);
                write_xml(out, value, key);
                out.extend(["</", key, ">"]);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str("<member>");
                write_xml(out, item, member);
                out.push_str("</member>");
            }
        }
        Value::Number(number) if member == "Timestamps" => {
            out.push_str(&Moment::from_epoch_seconds(number.as_f64().unwrap_or_default()).iso());
        }
        Value::String(text) => out.push_str(&escape(text)),
        other => out.push_str(&other.to_string()),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_request_is_read_as_its_json() {
        let body = Bytes::from_static(
            b"Action=GetMetricData&StartTime=2026-03-01T00%3A00%3A00Z&MetricDataQueries.member.1.Id=a&MetricDataQueries.member.1.MetricStat.Period=60&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.2.Value=v1",
        );
        let input = read_query(&body);
        assert_eq!(input["MetricDataQueries"][0]["Id"], "a");
        assert_eq!(input["MetricDataQueries"][0]["MetricStat"]["Period"], 60);
        assert_eq!(
            input["MetricDataQueries"][0]["MetricStat"]["Metric"]["Dimensions"][1]["Value"],
            json!("v1")
        );
        assert_eq!(input["StartTime"], json!(1_772_323_200.0));
    }

    #[test]
    fn a_cbor_time_is_a_number_of_seconds() {
        let value = Cbor::Map(vec![(
            Cbor::Text("StartTime".into()),
            Cbor::Tag(1, Box::new(Cbor::Integer(60.into()))),
        )]);
        assert_eq!(from_cbor(&value), json!({"StartTime": 60}));
        let times = to_cbor(&json!({"Timestamps": [60.0], "Values": [1]}), "");
        let Cbor::Map(pairs) = times else {
            return assert!(times.is_map());
        };
        assert!(pairs.iter().any(
            |(_, value)| *value == Cbor::Array(vec![Cbor::Tag(1, Box::new(Cbor::Float(60.0)))])
        ));
        assert!(
            pairs
                .iter()
                .any(|(_, value)| *value == Cbor::Array(vec![Cbor::Float(1.0)]))
        );
    }

    #[test]
    fn broken_cbor_is_refused() {
        assert!(read_cbor(&Bytes::from_static(b"\xff\xff")).is_err());
    }
}
