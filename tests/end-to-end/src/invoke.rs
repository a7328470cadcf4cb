//! Lambda's Invoke for people's programs: an event that is taken goes into the function's queue, from
//! where the pump delivers it with Lambda's tries (API reference of Lambda, "Invoke").
//!
//! Of the API's answers it gives those that an asynchronous caller meets: accepted, no such function,
//! no JSON, too long.

use anyhow::Result;
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::clients::Clients;
use crate::lambda::FUNCTIONS;
use crate::proxy::serve::Server;
use crate::queues;

/// What the names of functions and of dead letters' queues begin with, as in a stack of this name.
pub const STACK: &str = "tidegate";
/// The longest event that an asynchronous invocation takes, bytes ("Lambda quotas").
const LONGEST: usize = 1 << 20;

/// The running server; it ends with this value.
#[derive(Debug)]
pub struct Invoke {
    server: Server,
}

/// Why an invocation is refused: the status, the error's type and what it says.
type Refusal = (StatusCode, &'static str, String);

impl Invoke {
    /// Starts it on a free port.
    pub async fn start(clients: &Clients, moto: &str) -> Result<Self> {
        let (clients, moto) = (clients.clone(), moto.to_owned());
        let server = Server::start(move |_, request| {
            let (clients, moto) = (clients.clone(), moto.clone());
            async move { Some(answer(take(&clients, &moto, request).await)) }
        })
        .await?;
        Ok(Self { server })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.server.url()
    }
}

async fn take(clients: &Clients, moto: &str, request: Request<Bytes>) -> Result<(), Refusal> {
    let function = asked(&request)?;
    let text = String::from_utf8_lossy(request.body()).into_owned();
    clients
        .sqs
        .send_message()
        .queue_url(queues::url(moto, &queues::of(function)))
        .message_body(text)
        .send()
        .await
        .map_err(|error| {
            let what = format!("the queue of {function} takes no message: {error:?}");
            (StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", what)
        })?;
    Ok(())
}

/// The function that an acceptable request is for.
fn asked(request: &Request<Bytes>) -> Result<&'static str, Refusal> {
    let path = request.uri().path();
    let name = path
        .strip_prefix("/2015-03-31/functions/")
        .and_then(|rest| rest.strip_suffix("/invocations"))
        .unwrap_or_default();
    let function = name
        .strip_prefix(STACK)
        .and_then(|rest| rest.strip_prefix('-'));
    let known = FUNCTIONS.into_iter().find(|known| Some(*known) == function);
    let Some(function) = known.filter(|_| request.method() == Method::POST) else {
        return Err((
            StatusCode::NOT_FOUND,
            "ResourceNotFoundException",
            format!(
                "Function not found: {}",
                crate::clients::arn("lambda", &format!("function:{name}"))
            ),
        ));
    };
    let kind = request.headers().get("x-amz-invocation-type");
    if kind.is_none_or(|kind| kind != "Event") {
        return Err((
            StatusCode::BAD_REQUEST,
            "InvalidParameterValueException",
            "the local world invokes by InvocationType Event alone".to_owned(),
        ));
    }
    let body = request.body();
    if body.len() > LONGEST {
        return Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLargeException",
            format!(
                "{} byte payload is too large for the Event invocation type (limit {LONGEST} bytes)",
                body.len()
            ),
        ));
    }
    if let Err(error) = serde_json::from_slice::<Value>(body) {
        return Err((
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            format!("Could not parse request body into json: {error}"),
        ));
    }
    Ok(function)
}

fn answer(taken: Result<(), Refusal>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    match taken {
        Ok(()) => *response.status_mut() = StatusCode::ACCEPTED,
        Err((status, kind, message)) => {
            *response.body_mut() = json!({ "Type": "User", "Message": message })
                .to_string()
                .into();
            *response.status_mut() = status;
            let kind = hyper::header::HeaderValue::from_static(kind);
            response.headers_mut().insert("x-amzn-errortype", kind);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(function: &str, kind: &str, body: &str) -> Request<Bytes> {
        Request::post(format!("/2015-03-31/functions/{function}/invocations"))
            .header("x-amz-invocation-type", kind)
            .body(Bytes::from(body.to_owned()))
            .expect("a request")
    }

    #[test]
    fn an_event_is_taken_for_a_function_of_the_stack() {
        assert_eq!(
            asked(&request("tidegate-canary-shift", "Event", "{}")),
            Ok("canary-shift")
        );
    }

    #[test]
    fn what_lambda_refuses_is_refused() {
        let long = format!("\"{}\"", "x".repeat(LONGEST));
        for (function, kind, body, status) in [
            ("canary-shift", "Event", "{}", 404),
            ("tidegate-other", "Event", "{}", 404),
            ("tidegate-canary-shift", "RequestResponse", "{}", 400),
            ("tidegate-canary-shift", "Event", "{ no", 400),
            ("tidegate-canary-shift", "Event", long.as_str(), 413),
        ] {
            let refused = asked(&request(function, kind, body)).expect_err(function);
            assert_eq!(
                refused.0.as_u16(),
                status,
                "{function} {kind}: {}",
                refused.2
            );
        }
    }
}
