//! A proxy between the functions and AWS that lets chosen calls go wrong, and keeps a list of all.
//!
//! It stands before moto and `sagemaker-local` for the functions alone: people's programs and the
//! emulator go straight. What a fault does to a caller is what a network, AWS or Lambda does to it:
//! an answer that is lost or late, a refusal, a process that is gone.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;

mod caller;
mod fault;
pub(crate) mod serve;
mod wire;

#[cfg(test)]
mod tests;

use fault::Faults;
pub use fault::{Fault, Kind, Which};
use serve::Server;
use wire::Asked;

/// Calls that are kept, the newest.
const MOST_CALLS: usize = 200_000;
/// Longer than the functions wait for an answer (`tidegate_aws::config`).
const DELAY: Duration = Duration::from_millis(6_500);
/// A call that is so slow never goes through.
pub const FOR_EVER: Duration = Duration::MAX;
/// What the emulator serves; the rest is moto's.
const EMULATED: [&str; 3] = ["sagemaker", "monitoring", "iam"];

/// A call that came by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Its place among all calls, from 1.
    pub order: u64,
    /// Which call of its kind it is, among its function's.
    #[serde(flatten)]
    pub which: Which,
    /// The same among those of all functions.
    pub nth_of_all: u32,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// The service.
    pub service: String,
    /// The pipeline that it mentions.
    pub pipeline: Option<String>,
    /// The status that AWS answered with; none if the call did not go through.
    pub status: Option<u16>,
    /// What went wrong with it by order.
    pub fault: Option<Kind>,
}

/// The running proxy; it ends with this value.
#[derive(Debug)]
pub struct Proxy {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    moto: String,
    emulator: String,
    /// What the names of pipelines begin with; letters, digits and hyphens follow.
    prefix: &'static str,
    http: reqwest::Client,
    address: OnceLock<SocketAddr>,
    state: Mutex<State>,
    delay: Duration,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    /// How long each call takes that mentions a pipeline.
    slow: HashMap<String, Duration>,
    calls: VecDeque<Call>,
    count: u64,
}

impl Proxy {
    /// Starts one on a free port. Pipelines are known by names of `prefix` and four digits.
    pub async fn start(moto: &str, emulator: &str, prefix: &'static str) -> Result<Self> {
        Self::with_delay(moto, emulator, prefix, DELAY).await
    }

    async fn with_delay(
        moto: &str,
        emulator: &str,
        prefix: &'static str,
        delay: Duration,
    ) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let shared = Arc::new(Shared {
            moto: moto.to_owned(),
            emulator: emulator.to_owned(),
            prefix,
            http,
            address: OnceLock::new(),
            state: Mutex::default(),
            delay,
        });
        let passing = shared.clone();
        let server = Server::start(move |peer, request| {
            let shared = passing.clone();
            async move { shared.pass(peer, request).await }
        })
        .await?;
        let _ = shared.address.set(server.address);
        Ok(Self { server, shared })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Lets a call go wrong.
    pub fn order(&self, fault: Fault) {
        self.shared.state().faults.order(fault);
    }

    /// Takes back what was ordered for a pipeline and did not happen.
    pub fn forget(&self, pipeline: &str) {
        self.shared.state().faults.forget(pipeline);
    }

    /// From now on every call that mentions a pipeline takes so long after it went through;
    /// [`FOR_EVER`] is not even passed on.
    pub fn slow_down(&self, pipeline: &str, by: Duration) {
        let mut state = self.shared.state();
        state.slow.insert(pipeline.to_owned(), by);
    }

    /// From now on no call is slow. What is slow already stays so.
    pub fn be_quick(&self) {
        self.shared.state().slow.clear();
    }

    /// The calls that mention a pipeline, in order.
    pub fn calls(&self, pipeline: &str) -> Vec<Call> {
        let state = self.shared.state();
        let of_it = |call: &&Call| call.pipeline.as_deref() == Some(pipeline);
        state.calls.iter().filter(of_it).cloned().collect()
    }

    /// How many calls came by, all attempts.
    pub fn count(&self) -> u64 {
        self.shared.state().count
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a request on, or lets it go wrong. Nothing closes the connection.
    async fn pass(&self, peer: SocketAddr, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let asked = Asked::read(&request);
        let (order, kind, slow) = self.note(&asked, &request);
        if slow == Some(FOR_EVER) {
            return std::future::pending().await;
        }
        match kind {
            Some(Kind::KillBefore) => {
                self.kill(peer);
                return None;
            }
            Some(Kind::Throttle) => return Some(asked.throttled()),
            Some(Kind::Error500) => return Some(asked.failed()),
            Some(Kind::Conflict) => return Some(Asked::conflict(request.body())),
            _ => {}
        }
        let answer = self.forward(&asked, request).await;
        self.went_through(order, answer.status().as_u16());
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        match kind {
            Some(Kind::DropAnswer) => None,
            Some(Kind::KillAfter) => {
                self.kill(peer);
                None
            }
            Some(Kind::Delay) => {
                tokio::time::sleep(self.delay).await;
                Some(answer)
            }
            _ => Some(answer),
        }
    }

    /// Writes the call down, and says what goes wrong with it and how slow it is.
    fn note(
        &self,
        asked: &Asked,
        request: &Request<Bytes>,
    ) -> (u64, Option<Kind>, Option<Duration>) {
        let pipeline = self.pipeline(request);
        let mut state = self.state();
        let of = pipeline.as_deref().unwrap_or_default();
        let numbers = state.faults.number(asked, of);
        let fault = state.faults.hit(asked, numbers, of);
        let slow = state.slow.get(of).copied();
        let which = Which {
            function: asked.function.clone(),
            operation: asked.operation.clone(),
            nth: numbers.0,
        };
        state.count += 1;
        let order = state.count;
        if state.calls.len() >= MOST_CALLS {
            state.calls.pop_front();
        }
        state.calls.push_back(Call {
            order,
            which,
            nth_of_all: numbers.1,
            attempt: asked.attempt,
            service: asked.service.clone(),
            pipeline,
            status: None,
            fault,
        });
        (order, fault, slow)
    }

    fn went_through(&self, order: u64, status: u16) {
        let mut state = self.state();
        let first = state.calls.front().map_or(0, |call| call.order);
        let index = usize::try_from(order.saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(call) = state
            .calls
            .get_mut(index)
            .filter(|call| call.order == order)
        {
            call.status = Some(status);
        }
    }

    /// The first pipeline that the path or the body names: the prefix and what digits follow.
    fn pipeline(&self, request: &Request<Bytes>) -> Option<String> {
        let body = String::from_utf8_lossy(request.body());
        let path = request.uri().to_string();
        [path.as_str(), &body].iter().find_map(|text| {
            let rest = &text[text.find(self.prefix)?..];
            let digits = rest[self.prefix.len()..]
                .bytes()
                .take_while(u8::is_ascii_digit)
                .count();
            Some(rest[..self.prefix.len() + digits].to_owned())
        })
    }

    async fn forward(&self, asked: &Asked, request: Request<Bytes>) -> Response<Bytes> {
        let to = if EMULATED.contains(&asked.service.as_str()) {
            &self.emulator
        } else {
            &self.moto
        };
        let (head, body) = request.into_parts();
        let rest = head.uri.path_and_query().map_or("/", |rest| rest.as_str());
        let sent = self
            .http
            .request(head.method, format!("{to}{rest}"))
            .headers(passed_on(&head.headers))
            .body(body)
            .send()
            .await;
        let read = async {
            let answer = sent?;
            let (status, headers) = (answer.status(), passed_on(answer.headers()));
            let mut response = Response::new(answer.bytes().await?);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok::<_, reqwest::Error>(response)
        };
        read.await.unwrap_or_else(|error| {
            let mut response = Response::new(Bytes::from(error.to_string()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        })
    }

    fn kill(&self, peer: SocketAddr) {
        let killed = self.address.get().is_some_and(|us| caller::kill(peer, *us));
        if !killed {
            // The case then shows it: a killed function's event is tried again.
            eprintln!("fault proxy: the process at {peer} could not be killed");
        }
    }
}

/// Headers that are about the message, not about the connection.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}
