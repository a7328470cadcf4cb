//! `InvokeEndpoint`: which variant a request goes to, what its server answers, what is counted.
//!
//! Requests are spread over variants by weight ("Testing models with production variants"); a
//! target variant takes a request whatever its weight is.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::app::App;
use crate::arn;
use crate::capture;
use crate::endpoint::{Endpoint, Variant};
use crate::errors::ApiError;
use crate::faults::Kind;
use crate::fleet::{Backend, Fleet};
use crate::metrics::Outcome;
use crate::moment::Moment;
use crate::script::Scripted;
use crate::world::World;

/// SageMaker takes this much.
const MOST_BODY: usize = 25 * 1024 * 1024;
/// What SageMaker adds to a request, in microseconds, where it is not measured.
const SCRIPTED_OVERHEAD: f64 = 4_000.0;

/// A request to an endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) target_variant: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) custom_attributes: Option<String>,
    /// The caller's own id of the request, for captured data.
    pub(crate) inference_id: Option<String>,
    pub(crate) body: Bytes,
}

/// An answer of 2xx.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) variant: String,
    pub(crate) content_type: String,
    pub(crate) custom_attributes: Option<String>,
    pub(crate) body: Bytes,
}

/// Where a request goes.
pub(crate) struct Route {
    pub(crate) variant: String,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) scripted: Option<Scripted>,
}

/// Invokes an endpoint for a caller.
pub(crate) async fn invoke(
    app: &Arc<App>,
    endpoint: &str,
    request: Request,
) -> Result<Answer, ApiError> {
    let fault = app.world().faults.hit_call("InvokeEndpoint");
    match fault.as_ref().map(|fault| fault.kind) {
        Some(Kind::Throttle) => return Err(ApiError::throttled()),
        Some(Kind::Deny) => return Err(ApiError::denied("sagemaker:InvokeEndpoint")),
        Some(Kind::Error) => return Err(ApiError::internal()),
        Some(Kind::Delay) => {
            let delay = fault.as_ref().map_or(0, |fault| fault.delay_ms.min(60_000));
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        _ => {}
    }
    if request.body.len() > MOST_BODY {
        return Err(ApiError::runtime_validation(format!(
            "The request body has {} bytes; {MOST_BODY} are allowed.",
            request.body.len()
        )));
    }
    let at = app.clock.now();
    let route = {
        let mut world = app.world();
        let endpoint = serving(&mut world, endpoint)?;
        route(endpoint, request.target_variant.as_deref(), at)?
    };
    let answer = send(app, endpoint, &route, &request, at).await;
    if answer.is_ok() && matches!(fault.map(|fault| fault.kind), Some(Kind::ErrorAfterSuccess)) {
        return Err(ApiError::internal());
    }
    answer
}

/// The endpoint, if it exists and serves.
pub(crate) fn serving<'a>(world: &'a mut World, name: &str) -> Result<&'a mut Endpoint, ApiError> {
    world
        .endpoints
        .get_mut(name)
        .filter(|endpoint| endpoint.status.serves())
        .ok_or_else(|| {
            ApiError::runtime_validation(format!(
                "Endpoint {name} of account {} not found.",
                arn::ACCOUNT
            ))
        })
}

/// Chooses a variant, and draws the answer if it is scripted.
pub(crate) fn route(
    endpoint: &mut Endpoint,
    target: Option<&str>,
    at: Moment,
) -> Result<Route, ApiError> {
    let index = if let Some(target) = target {
        endpoint
            .variants
            .iter()
            .position(|variant| variant.name == target)
            .ok_or_else(|| {
                ApiError::runtime_validation(format!(
                    "Variant {target} of endpoint {} was not found.",
                    endpoint.name
                ))
            })?
    } else {
        let total: f64 = endpoint.variants.iter().map(|variant| variant.weight).sum();
        let luck: f64 = endpoint.rng.random::<f64>() * total;
        by_weight(&endpoint.variants, luck).ok_or_else(|| {
            ApiError::unavailable(format!(
                "No variant of endpoint {} takes traffic.",
                endpoint.name
            ))
        })?
    };
    let variant = &endpoint.variants[index];
    let scripted = match &variant.fleet.backend {
        Backend::Scripted(script) => {
            let minutes = (at - variant.since).as_secs_f64() / 60.0;
            let mut own = variant
                .fleet
                .script_rng
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Some(script.draw(own.as_mut().unwrap_or(&mut endpoint.rng), minutes))
        }
        _ => None,
    };
    Ok(Route {
        variant: variant.name.clone(),
        fleet: variant.fleet.clone(),
        scripted,
    })
}

fn by_weight(variants: &[Variant], luck: f64) -> Option<usize> {
    let mut passed = 0.0;
    let mut last = None;
    for (index, variant) in variants
        .iter()
        .enumerate()
        .filter(|(_, variant)| variant.weight > 0.0)
    {
        passed += variant.weight;
        last = Some(index);
        if luck < passed {
            break;
        }
    }
    last
}

/// Sends a request where it was routed, counts it, and makes the caller's answer.
pub(crate) async fn send(
    app: &Arc<App>,
    endpoint: &str,
    route: &Route,
    request: &Request,
    at: Moment,
) -> Result<Answer, ApiError> {
    let started = Instant::now();
    let (raw, latency, overhead) = if let Some(scripted) = route.scripted {
        (
            from_script(route, scripted, request),
            scripted.latency_us,
            SCRIPTED_OVERHEAD,
        )
    } else {
        let raw = through_servers(app, route, request).await;
        let total = started.elapsed().as_secs_f64() * 1e6;
        let model = raw.model_time.as_secs_f64() * 1e6;
        (raw, model, (total - model).max(0.0))
    };
    let outcome = Outcome::of(raw.status);
    {
        let mut world = app.world();
        world
            .metrics
            .record(endpoint, &route.variant, at, outcome, latency, overhead);
        if outcome == Outcome::Success {
            let answer = || (raw.content_type.clone(), raw.body.clone());
            capture::take(&mut world, endpoint, &route.variant, at, request, answer);
        }
    }
    app.wake.notify_one();
    if outcome == Outcome::Success {
        return Ok(Answer {
            variant: route.variant.clone(),
            content_type: raw.content_type,
            custom_attributes: raw.custom_attributes,
            body: raw.body,
        });
    }
    let log_group = format!(
        "arn:aws:logs:{}:{}:log-group:/aws/sagemaker/Endpoints/{endpoint}",
        arn::REGION,
        arn::ACCOUNT
    );
    Err(ApiError::model(
        raw.status,
        &String::from_utf8_lossy(&raw.body),
        &log_group,
    ))
}

/// The content type and body of a scripted answer.
pub(crate) fn scripted_answer(
    route: &Route,
    scripted: Scripted,
    request: &Request,
) -> (String, Bytes) {
    let raw = from_script(route, scripted, request);
    (raw.content_type, raw.body)
}

/// What a fleet answers by itself, without an endpoint: nothing is counted or captured.
///
/// # Errors
/// The model's answer, if it is none of 2xx.
pub(crate) async fn ask(app: &App, fleet: &Arc<Fleet>, request: &Request) -> Result<Bytes, String> {
    let scripted = match &fleet.backend {
        Backend::Scripted(script) => {
            let mut own = fleet
                .script_rng
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let rng = own.get_or_insert_with(|| StdRng::seed_from_u64(0));
            Some(script.draw(rng, 0.0))
        }
        _ => None,
    };
    let route = Route {
        variant: fleet.variant.clone(),
        fleet: fleet.clone(),
        scripted,
    };
    let raw = match scripted {
        Some(scripted) => from_script(&route, scripted, request),
        None => through_servers(app, &route, request).await,
    };
    if Outcome::of(raw.status) == Outcome::Success {
        return Ok(raw.body);
    }
    let said = String::from_utf8_lossy(&raw.body).into_owned();
    Err(format!("the model answered {}: {said}", raw.status))
}

struct Raw {
    /// 0 for no answer.
    status: u16,
    content_type: String,
    custom_attributes: Option<String>,
    body: Bytes,
    /// Real time in the model's servers.
    model_time: Duration,
}

impl Raw {
    fn none(text: impl Into<String>, model_time: Duration) -> Self {
        Self {
            status: 0,
            content_type: "text/plain".to_owned(),
            custom_attributes: None,
            body: Bytes::from(text.into()),
            model_time,
        }
    }
}

fn from_script(route: &Route, scripted: Scripted, request: &Request) -> Raw {
    let content_type = request
        .accept
        .clone()
        .filter(|accept| !accept.contains('*'));
    let usual = match &route.fleet.backend {
        Backend::Scripted(script) if script.logistic.is_some() => "text/csv",
        _ => "application/json",
    };
    let body = match (scripted.status, &route.fleet.backend) {
        (200, Backend::Scripted(script)) => match (&script.logistic, &script.answer) {
            (Some(model), _) => Bytes::from(model.answer(&String::from_utf8_lossy(&request.body))),
            (None, Some(answer)) => Bytes::from(answer.to_string()),
            (None, None) => request.body.clone(),
        },
        (0, _) => Bytes::from_static(
            b"An error occurred while handling request as the model process exited.",
        ),
        (400, _) => Bytes::from_static(b"scripted client error"),
        _ => Bytes::from_static(b"scripted server error"),
    };
    Raw {
        status: scripted.status,
        content_type: content_type.unwrap_or_else(|| usual.to_owned()),
        custom_attributes: None,
        body,
        model_time: Duration::ZERO,
    }
}

/// Through the containers of one instance, each answer the next one's request.
async fn through_servers(app: &App, route: &Route, request: &Request) -> Raw {
    let Some(servers) = route.fleet.next_instance() else {
        return Raw::none("There is no instance.", Duration::ZERO);
    };
    let mut answer = Raw::none("There is no container.", Duration::ZERO);
    let mut body = request.body.clone();
    let mut content_type = request.content_type.clone();
    let count = servers.len();
    for (index, server) in servers.into_iter().enumerate() {
        let Some(address) = server.address() else {
            return Raw::none(
                "An error occurred while handling request as the model process exited.",
                answer.model_time,
            );
        };
        let mut call = app.http.post(address).body(body.clone());
        if let Some(content_type) = &content_type {
            call = call.header("content-type", content_type);
        }
        if let Some(accept) = request.accept.as_ref().filter(|_| index + 1 == count) {
            call = call.header("accept", accept);
        }
        if let Some(attributes) = &request.custom_attributes {
            call = call.header("x-amzn-sagemaker-custom-attributes", attributes);
        }
        let started = Instant::now();
        let next = receive(call).await;
        let model_time = answer.model_time + started.elapsed();
        answer = Raw { model_time, ..next };
        if Outcome::of(answer.status) != Outcome::Success {
            return answer;
        }
        body = answer.body.clone();
        content_type = Some(answer.content_type.clone());
    }
    answer
}

async fn receive(call: reqwest::RequestBuilder) -> Raw {
    let response = match call.send().await {
        Ok(response) => response,
        Err(error) if error.is_timeout() => {
            return Raw::none(
                "Your invocation timed out while waiting for a response from container primary.",
                Duration::ZERO,
            );
        }
        Err(_) => {
            return Raw::none(
                "An error occurred while handling request as the model process exited.",
                Duration::ZERO,
            );
        }
    };
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let status = response.status().as_u16();
    let content_type =
        header("content-type").unwrap_or_else(|| "application/octet-stream".to_owned());
    let custom_attributes = header("x-amzn-sagemaker-custom-attributes");
    match response.bytes().await {
        Ok(body) => Raw {
            status,
            content_type,
            custom_attributes,
            body,
            model_time: Duration::ZERO,
        },
        Err(_) => Raw::none("The model's answer broke off.", Duration::ZERO),
    }
}
