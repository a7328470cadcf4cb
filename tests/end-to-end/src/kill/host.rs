//! Lambda's host for the built functions: the Runtime API, some instances of each, and a new one
//! for each that dies.
//!
//! Source: Lambda's developer guide, "Using the Lambda runtime API". An invocation whose process
//! ends before it answers fails with `Runtime.ExitError`, as in AWS.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clients;
use crate::lambda::FUNCTIONS;
use crate::place::Place;
use crate::proxy::serve::Server;

/// Invocations of a function that wait for an instance.
const MOST_WAITING: usize = 1_024;
/// An instance that dies this often without having been asked anything can't start.
const MOST_FALSE_STARTS: u32 = 5;
/// How long it is waited then, the first time.
const FALSE_START: Duration = Duration::from_millis(100);

/// The running host; it ends with this value, and its functions with it.
#[derive(Debug)]
pub struct Host {
    server: Server,
    shared: Arc<Shared>,
    // Aborted when dropped, and the processes are killed with their tasks.
    _instances: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    lanes: BTreeMap<&'static str, Lane>,
    state: Mutex<State>,
    next: AtomicU64,
    log: File,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
    address: OnceLock<SocketAddr>,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Instances whose process runs.
    alive: HashSet<u64>,
    /// What an instance is at.
    running: HashMap<u64, Invocation>,
    /// Why a function can't be started.
    broken: Option<String>,
    /// The longest that each function took to answer an event.
    longest: BTreeMap<String, Duration>,
}

/// A function's invocations that wait for an instance.
#[derive(Debug)]
struct Lane {
    program: PathBuf,
    put: mpsc::Sender<Invocation>,
    take: AsyncMutex<mpsc::Receiver<Invocation>>,
}

#[derive(Debug)]
struct Invocation {
    id: u64,
    event: Bytes,
    /// When an instance took it.
    began: Instant,
    answer: oneshot::Sender<(StatusCode, Bytes)>,
}

impl Host {
    /// Starts `instances` of each function with these environment variables. They are told that an
    /// event may take `timeout`.
    pub async fn start(
        place: &Place,
        log: &Path,
        environment: &[(&'static str, String)],
        instances: usize,
        timeout: Duration,
    ) -> Result<Self> {
        let lane = |function: &'static str| {
            let (put, take) = mpsc::channel(MOST_WAITING);
            let program = place.program(function)?;
            let take = AsyncMutex::new(take);
            Ok((function, Lane { program, put, take }))
        };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("{} can't be made", log.display()))?;
        let shared = Arc::new(Shared {
            lanes: FUNCTIONS.into_iter().map(lane).collect::<Result<_>>()?,
            state: Mutex::default(),
            next: AtomicU64::new(1),
            log,
            folder: place.root().to_owned(),
            environment: environment.to_vec(),
            address: OnceLock::new(),
            timeout,
        });
        let answering = shared.clone();
        let server = Server::start(move |_, request| {
            let shared = answering.clone();
            async move { shared.answer(request).await }
        })
        .await?;
        let _ = shared.address.set(server.address);
        let mut all = JoinSet::new();
        for function in FUNCTIONS {
            for _ in 0..instances {
                all.spawn(keep_running(shared.clone(), function));
            }
        }
        Ok(Self {
            server,
            shared,
            _instances: all,
        })
    }

    /// Where functions are invoked.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The longest that each function took to answer an event.
    pub fn longest(&self) -> BTreeMap<String, Duration> {
        self.shared.state().longest.clone()
    }

    /// Fails if a function can't be started.
    pub fn check(&self) -> Result<()> {
        if let Some(why) = &self.shared.state().broken {
            bail!("{why}");
        }
        Ok(())
    }
}

/// Runs one instance of a function, and another when it has ended.
async fn keep_running(shared: Arc<Shared>, function: &'static str) {
    let mut false_starts = 0;
    while false_starts < MOST_FALSE_STARTS {
        let instance = shared.next.fetch_add(1, Ordering::Relaxed);
        let ended = shared.run(function, instance).await;
        if let Some(invocation) = shared.bury(instance) {
            false_starts = 0;
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            let message = format!("RequestId: {} Error: Runtime exited: {how}", invocation.id);
            fail(invocation, "Runtime.ExitError", &message);
        } else {
            false_starts += 1;
            // A build may be replacing the program just now.
            tokio::time::sleep(FALSE_START * false_starts).await;
        }
    }
    let why = format!(
        "{function} ended {MOST_FALSE_STARTS} times before it was asked anything; its log says why"
    );
    shared.state().broken = Some(why.clone());
    // Who waits for it waits in vain.
    if let Some(lane) = shared.lanes.get(function) {
        while let Some(invocation) = lane.take.lock().await.recv().await {
            fail(invocation, "Runtime.ExitError", &why);
        }
    }
}

fn fail(invocation: Invocation, kind: &str, message: &str) {
    let error = json!({ "errorType": kind, "errorMessage": message }).to_string();
    // Who asked may have gone.
    let _ = invocation
        .answer
        .send((StatusCode::INTERNAL_SERVER_ERROR, error.into()));
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a dead instance off the lists, and what it was at.
    fn bury(&self, instance: u64) -> Option<Invocation> {
        let mut state = self.state();
        state.alive.remove(&instance);
        state.running.remove(&instance)
    }

    async fn run(&self, function: &'static str, instance: u64) -> Result<ExitStatus> {
        let lane = self.lanes.get(function).context("it is one of ours")?;
        let api = self.address.get().context("the server was started first")?;
        let mut command = Command::new(&lane.program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("AWS_") || name.starts_with("TIDEGATE_") {
                command.env_remove(name);
            }
        }
        command
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", format!("http://{api}/{function}/{instance}"))
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{function}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", instance.to_string())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(self.log.try_clone()?)
            .stderr(self.log.try_clone()?)
            // Ctrl-C is for us. Should we be killed, it ends when its next question is not answered.
            .process_group(0)
            .kill_on_drop(true);
        self.state().alive.insert(instance);
        Ok(command.spawn()?.wait().await?)
    }

    async fn answer(&self, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let path = request.uri().path().to_owned();
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        match words.as_slice() {
            ["2015-03-31", "functions", function, "invocations"] => {
                Some(self.invoke(function, request.into_body()).await)
            }
            [function, instance, "2018-06-01", "runtime", rest @ ..] => {
                let instance = instance.parse().ok()?;
                match rest {
                    ["invocation", "next"] => self.next(function, instance).await,
                    ["invocation", _, "response"] => {
                        Some(self.ended(function, instance, StatusCode::OK, request.into_body()))
                    }
                    ["invocation", _, "error"] => {
                        let status = StatusCode::INTERNAL_SERVER_ERROR;
                        Some(self.ended(function, instance, status, request.into_body()))
                    }
                    // `init/error`: the process ends by itself, and its log says why.
                    _ => Some(with_status(StatusCode::ACCEPTED, Bytes::new())),
                }
            }
            _ => Some(with_status(StatusCode::NOT_FOUND, Bytes::new())),
        }
    }

    /// Waits for an instance to deal with an event.
    async fn invoke(&self, function: &str, event: Bytes) -> Response<Bytes> {
        let unavailable = || with_status(StatusCode::SERVICE_UNAVAILABLE, Bytes::new());
        let Some(lane) = self.lanes.get(function) else {
            return with_status(StatusCode::NOT_FOUND, Bytes::new());
        };
        let (answer, answered) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if lane
            .put
            .send(Invocation {
                id,
                event,
                began: Instant::now(),
                answer,
            })
            .await
            .is_err()
        {
            return unavailable();
        }
        match tokio::time::timeout(2 * self.timeout, answered).await {
            Ok(Ok((status, body))) => with_status(status, body),
            _ => unavailable(),
        }
    }

    /// An instance asks for its next event. That of a process that has ended gets none: nobody
    /// would answer.
    async fn next(&self, function: &str, instance: u64) -> Option<Response<Bytes>> {
        let lane = self.lanes.get(function)?;
        let mut invocation = lane.take.lock().await.recv().await?;
        invocation.began = Instant::now();
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).ok()? + self.timeout;
        let mut response = Response::new(invocation.event.clone());
        let headers = response.headers_mut();
        headers.insert("lambda-runtime-aws-request-id", invocation.id.into());
        let deadline = u64::try_from(deadline.as_millis()).ok()?;
        headers.insert("lambda-runtime-deadline-ms", deadline.into());
        let arn = clients::arn("lambda", &format!("function:{function}"));
        headers.insert("lambda-runtime-invoked-function-arn", arn.parse().ok()?);
        let mut state = self.state();
        if state.alive.contains(&instance) {
            state.running.insert(instance, invocation);
            Some(response)
        } else {
            drop(state);
            fail(invocation, "Runtime.ExitError", "the instance had ended");
            None
        }
    }

    fn ended(
        &self,
        function: &str,
        instance: u64,
        status: StatusCode,
        body: Bytes,
    ) -> Response<Bytes> {
        let mut state = self.state();
        if let Some(invocation) = state.running.remove(&instance) {
            let longest = state.longest.entry(function.to_owned()).or_default();
            *longest = invocation.began.elapsed().max(*longest);
            // Who asked may have gone.
            let _ = invocation.answer.send((status, body));
        }
        with_status(StatusCode::ACCEPTED, Bytes::from(Value::Null.to_string()))
    }
}

fn with_status(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
