//! The admin API for tests and for who runs the local world: the clock, traffic, violations,
//! faults, and the truth about what happened. README.md documents it.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::drive;
use crate::events;
use crate::faults::Fault;
use crate::moment::Span;
use crate::traffic::{self, Traffic};
use crate::violation::{self, Violation};
use crate::{processing, timeline, training};

/// Time is moved by at most this much at once: 30 days.
const LONGEST_ADVANCE: f64 = 30.0 * 86_400.0;

/// The routes below `/_local`.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/clock", get(read_clock).post(set_clock))
        .route("/traffic", post(set_traffic))
        .route("/violation", post(report_violation))
        .route("/faults", post(order_fault))
        .route("/timeline", get(read_timeline))
        .route("/log", get(read_log))
        .route("/events", get(read_events))
}

/// A refusal in plain words.
struct Refused(StatusCode, String);

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

fn bad(text: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, text.into())
}

fn missing(text: impl Into<String>) -> Refused {
    Refused(StatusCode::NOT_FOUND, text.into())
}

async fn read_clock(State(app): State<Arc<App>>) -> Json<Value> {
    Json(clock(&app))
}

fn clock(app: &App) -> Value {
    let now = app.clock.now();
    json!({"now": now.iso(), "epoch_seconds": now.epoch_seconds(), "speed": app.clock.speed()})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    speed: Option<f64>,
    advance_seconds: Option<f64>,
}

async fn set_clock(
    State(app): State<Arc<App>>,
    Json(change): Json<ClockChange>,
) -> Result<Json<Value>, Refused> {
    if let Some(speed) = change.speed {
        if !(0.0..=100_000.0).contains(&speed) {
            return Err(bad("speed must be from 0 to 100000"));
        }
        app.clock.set_speed(speed);
        app.wake.notify_one();
    }
    if let Some(seconds) = change.advance_seconds {
        if !(0.0..=LONGEST_ADVANCE).contains(&seconds) {
            return Err(bad(format!(
                "advance_seconds must be from 0 to {LONGEST_ADVANCE}"
            )));
        }
        // A task of its own: were the caller to hang up, the clock must not stop half-way.
        let driver = app.clone();
        let advance = async move { drive::advance(&driver, Span::from_secs_f64(seconds)).await };
        if let Err(error) = tokio::spawn(advance).await {
            tracing::error!(%error, "an advance of the clock broke off");
            return Err(Refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
            ));
        }
    }
    Ok(Json(clock(&app)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrafficOrder {
    endpoint: String,
    requests_per_minute: u32,
    #[serde(default)]
    payloads: Vec<String>,
    #[serde(default = "json_type")]
    content_type: String,
    accept: Option<String>,
    #[serde(default = "one")]
    seed: u64,
}

fn json_type() -> String {
    "application/json".to_owned()
}

fn one() -> u64 {
    1
}

async fn set_traffic(
    State(app): State<Arc<App>>,
    Json(order): Json<TrafficOrder>,
) -> Result<Json<Value>, Refused> {
    if order.requests_per_minute > 100_000 {
        return Err(bad("requests_per_minute must be at most 100000"));
    }
    let traffic = (order.requests_per_minute > 0).then(|| {
        Traffic::new(
            order.requests_per_minute,
            order.payloads,
            order.content_type,
            order.accept,
            order.seed,
        )
    });
    let now = app.clock.now();
    if !traffic::set(&mut app.world(), &order.endpoint, traffic, now) {
        return Err(missing(format!("there is no endpoint {}", order.endpoint)));
    }
    app.wake.notify_one();
    Ok(Json(
        json!({"endpoint": order.endpoint, "requests_per_minute": order.requests_per_minute}),
    ))
}

async fn report_violation(
    State(app): State<Arc<App>>,
    Json(violation): Json<Violation>,
) -> Result<Json<Value>, Refused> {
    let reported = violation::report(&app, violation)
        .await
        .map_err(|error| bad(format!("{error:#}")))?;
    events::flush(&app).await;
    Ok(Json(reported))
}

async fn order_fault(State(app): State<Arc<App>>, Json(fault): Json<Fault>) -> Json<Value> {
    let answer = json!({"operation": fault.operation, "count": fault.count});
    app.world().faults.order(fault);
    Json(answer)
}

#[derive(Deserialize)]
struct TimelineQuery {
    endpoint: String,
}

async fn read_timeline(
    State(app): State<Arc<App>>,
    Query(query): Query<TimelineQuery>,
) -> Result<Json<Value>, Refused> {
    let now = app.clock.now();
    timeline::of(&app.world(), &query.endpoint, now)
        .map(Json)
        .ok_or_else(|| missing(format!("there is no endpoint {}", query.endpoint)))
}

#[derive(Deserialize)]
struct LogQuery {
    job: String,
}

async fn read_log(
    State(app): State<Arc<App>>,
    Query(query): Query<LogQuery>,
) -> Result<String, Refused> {
    let world = app.world();
    training::log(&world, &query.job)
        .or_else(|| processing::log(&world, &query.job))
        .ok_or_else(|| {
            missing(format!(
                "there is no training or processing job {}",
                query.job
            ))
        })
}

async fn read_events(State(app): State<Arc<App>>) -> Json<Value> {
    let world = app.world();
    let events = world.events().map(|event| {
        json!({
            "time": event.at.iso(),
            "detail-type": event.detail_type,
            "resources": event.resources,
            "detail": event.detail,
        })
    });
    Json(json!({"events": events.collect::<Vec<_>>()}))
}
