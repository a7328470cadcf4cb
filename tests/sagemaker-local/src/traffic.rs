//! Generated traffic: so many requests a minute to an endpoint, spread over the minute, through
//! the same routing as a caller's.
//!
//! It is made in slices of five emulator seconds, so that a change of weights takes effect at
//! once. Scripted variants are answered without HTTP, so hours pass in milliseconds.

use std::sync::Arc;

use axum::body::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::app::App;
use crate::capture;
use crate::drive::Pace;
use crate::metrics::Outcome;
use crate::moment::{Moment, Span};
use crate::runtime::{self, Request, Route};
use crate::world::{Due, World};

/// Emulator seconds of a slice; a minute has a whole number of them.
const SLICE_SECONDS: i64 = 5;
const SLICES: i64 = 60 / SLICE_SECONDS;
/// More requests than this wait for their turn.
const MOST_AT_ONCE: usize = 32;
/// The same when time is moved by hand: no slice is spread then, and a crowd would only queue.
const BY_HAND_AT_ONCE: usize = 4;

/// An endpoint's generated traffic.
pub(crate) struct Traffic {
    pub(crate) per_minute: u32,
    pub(crate) payloads: Arc<Vec<Bytes>>,
    pub(crate) content_type: String,
    /// What the requests want for an answer.
    pub(crate) accept: Option<String>,
    pub(crate) rng: StdRng,
    pub(crate) sent: u64,
}

impl Traffic {
    pub(crate) fn new(
        per_minute: u32,
        payloads: Vec<String>,
        content_type: String,
        accept: Option<String>,
        seed: u64,
    ) -> Self {
        Self {
            per_minute,
            payloads: Arc::new(payloads.into_iter().map(Bytes::from).collect()),
            content_type,
            accept,
            rng: StdRng::seed_from_u64(seed),
            sent: 0,
        }
    }
}

/// Starts, changes or (with `None`) stops an endpoint's traffic. False if there is no endpoint.
pub(crate) fn set(world: &mut World, name: &str, traffic: Option<Traffic>, now: Moment) -> bool {
    let Some(endpoint) = world.endpoints.get_mut(name) else {
        return false;
    };
    endpoint.traffic_generation += 1;
    endpoint.traffic = traffic;
    if endpoint.traffic.is_some() {
        let generation = endpoint.traffic_generation;
        world.schedule(
            now,
            Due::Traffic {
                endpoint: name.to_owned(),
                generation,
            },
        );
    }
    true
}

/// Sends the requests of the slice that begins at `at` and puts down the next one.
pub(crate) async fn slice(app: &Arc<App>, name: &str, generation: u64, at: Moment, pace: Pace) {
    let planned = plan(&mut app.world(), name, generation, at);
    let Some((real, template)) = planned else {
        return;
    };
    if real.is_empty() {
        return;
    }
    let (app, name) = (app.clone(), name.to_owned());
    if pace == Pace::ByHand {
        // Time waits until all have their answers.
        stream::iter(real)
            .map(|planned| send(app.clone(), name.clone(), planned, template.clone()))
            .buffer_unordered(BY_HAND_AT_ONCE)
            .collect::<Vec<()>>()
            .await;
        return;
    }
    tokio::spawn(async move {
        let started = std::time::Instant::now();
        stream::iter(real)
            .map(|planned| {
                let (app, name, template) = (app.clone(), name.clone(), template.clone());
                async move {
                    let due = app.clock.real(planned.at - at);
                    tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
                    send(app, name, planned, template).await;
                }
            })
            .buffer_unordered(MOST_AT_ONCE)
            .collect::<Vec<()>>()
            .await;
    });
}

struct Planned {
    at: Moment,
    route: Route,
    body: Bytes,
}

/// Draws the slice's requests. Scripted ones are counted right away; the others are returned.
fn plan(
    world: &mut World,
    name: &str,
    generation: u64,
    at: Moment,
) -> Option<(Vec<Planned>, Request)> {
    let endpoint = world.endpoints.get_mut(name)?;
    if endpoint.traffic_generation != generation {
        return None;
    }
    let mut traffic = endpoint.traffic.take()?;
    let slice = (at.as_millis().div_euclid(SLICE_SECONDS * 1000)).rem_euclid(SLICES);
    let per_minute = i64::from(traffic.per_minute);
    let count = (slice + 1) * per_minute / SLICES - slice * per_minute / SLICES;
    // The first slice may begin in the middle of one; the next are aligned.
    let end = (at.as_millis().div_euclid(SLICE_SECONDS * 1000) + 1) * SLICE_SECONDS * 1000;
    let length = end - at.as_millis();
    let mut times: Vec<i64> = (0..count)
        .map(|_| traffic.rng.random_range(0..length))
        .collect();
    times.sort_unstable();
    let mut real = Vec::new();
    let mut scripted = Vec::new();
    for offset in times {
        let moment = at + Span::millis(offset);
        let body = if traffic.payloads.is_empty() {
            Bytes::new()
        } else {
            let index = traffic.rng.random_range(0..traffic.payloads.len());
            traffic.payloads[index].clone()
        };
        traffic.sent += 1;
        if !endpoint.status.serves() {
            continue;
        }
        let Ok(route) = runtime::route(endpoint, None, moment) else {
            continue;
        };
        match route.scripted {
            Some(answer) => scripted.push((route, moment, answer, body)),
            None => real.push(Planned {
                at: moment,
                route,
                body,
            }),
        }
    }
    let template = Request {
        content_type: Some(traffic.content_type.clone()),
        accept: traffic.accept.clone(),
        ..Request::default()
    };
    endpoint.traffic = Some(traffic);
    for (route, moment, answer, body) in scripted {
        let (variant, outcome) = (&route.variant, Outcome::of(answer.status));
        world
            .metrics
            .record(name, variant, moment, outcome, answer.latency_us, 4_000.0);
        if outcome == Outcome::Success {
            let request = Request {
                body,
                ..template.clone()
            };
            capture::take(world, name, variant, moment, &request, || {
                runtime::scripted_answer(&route, answer, &request)
            });
        }
    }
    let due = Due::Traffic {
        endpoint: name.to_owned(),
        generation,
    };
    world.schedule(Moment::from_millis(end), due);
    Some((real, template))
}

async fn send(app: Arc<App>, name: String, planned: Planned, template: Request) {
    let request = Request {
        body: planned.body,
        ..template
    };
    // Routed anew: on a busy machine a request may be sent long after its slice was drawn, and what
    // served then may have been taken away since.
    let now = runtime::serving(&mut app.world(), &name)
        .and_then(|endpoint| runtime::route(endpoint, None, planned.at))
        .ok()
        .filter(|route| route.scripted.is_none());
    let route = now.unwrap_or(planned.route);
    // Failures are what the metrics are for.
    let _counted = runtime::send(&app, &name, &route, &request, planned.at).await;
}
