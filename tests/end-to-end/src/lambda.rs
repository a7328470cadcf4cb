//! Lambda: the built functions under `cargo lambda watch`.
//!
//! It runs each function by `cargo run` on its first invocation and one instance of each, so an
//! invocation waits for the one before it. What is built already is not built again.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::guarded::{Guarded, Program, free_port, last_lines};
use crate::kill::Host;
use crate::place::{Place, RunFolder};

/// The functions of `infra/template.yaml`, by the names that cargo-lambda knows them by.
pub const FUNCTIONS: [&str; 5] = [
    "training-complete",
    "package-approved",
    "canary-shift",
    "monitor-violation",
    "housekeeping",
];

/// Variables that cargo and its test runner set for their own children: a `cargo` below us must
/// not take them for its own.
const NOT_FOR_CARGO: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_", "NEXTEST"];

/// The running functions.
#[derive(Debug)]
pub struct Lambda {
    /// Where they can be invoked.
    pub url: String,
    runner: Runner,
    invoker: Invoker,
    log: PathBuf,
}

/// Who runs them.
#[derive(Debug)]
enum Runner {
    /// `cargo lambda watch`.
    Cargo(Box<Guarded>),
    /// This process, which knows what to do when a function is killed.
    Host(Host),
}

/// Invokes functions.
#[derive(Debug, Clone)]
pub struct Invoker {
    url: String,
    http: reqwest::Client,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The function's answer.
    Done(Value),
    /// The function's error: `errorType` and `errorMessage`.
    Failed(Value),
}

impl Lambda {
    /// Starts them with these environment variables.
    pub async fn start(
        place: &Place,
        run: &RunFolder,
        environment: &[(&'static str, String)],
    ) -> Result<Self> {
        let port = free_port()?;
        let log = run.log("functions");
        let mut program = Program::new(
            "cargo lambda watch",
            &place.tool("cargo-lambda")?,
            place.root(),
        )
        .args([
            "lambda",
            "watch",
            "--ignore-changes",
            "--invoke-address",
            "127.0.0.1",
        ])
        .args(["--invoke-port", &port.to_string()])
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_TERM_COLOR", "never")
        .env("NO_COLOR", "1");
        for (name, _) in env::vars_os() {
            if NOT_FOR_CARGO
                .iter()
                .any(|start| name.to_string_lossy().starts_with(start))
            {
                program = program.without(name);
            }
        }
        for (name, value) in environment {
            program = program.env(name, value);
        }
        let mut process = program.start(place, &log)?;
        let url = format!("http://127.0.0.1:{port}");
        process.answers(&url, Duration::from_mins(1)).await?;
        Ok(Self::with(Runner::Cargo(Box::new(process)), url, log))
    }

    /// Starts the built programs themselves, `instances` of each, so that one that is killed is
    /// there again at once: `cargo lambda watch` would first have cargo look whether it is still
    /// built, and gives no answer to the invocation of a process that died.
    pub async fn start_hosted(
        place: &Place,
        run: &RunFolder,
        environment: &[(&'static str, String)],
        instances: usize,
        timeout: Duration,
    ) -> Result<Self> {
        let log = run.log("functions");
        let host = Host::start(place, &log, environment, instances, timeout).await?;
        let url = host.url();
        Ok(Self::with(Runner::Host(host), url, log))
    }

    fn with(runner: Runner, url: String, log: PathBuf) -> Self {
        let invoker = Invoker {
            url: url.clone(),
            http: reqwest::Client::new(),
        };
        Self {
            url,
            runner,
            invoker,
            log,
        }
    }

    /// Starts each function now rather than at its first event.
    pub async fn warm_up(&self) -> Result<()> {
        let event = json!({
            "version": "0", "id": "warm-up", "source": "tidegate.local", "account": crate::ACCOUNT,
            "time": "2026-01-01T00:00:00Z", "region": crate::REGION, "resources": [],
            "detail-type": "Warm Up", "detail": {},
        });
        for function in FUNCTIONS {
            let answer = self.invoker.invoke(function, event.to_string()).await;
            let answer = answer.with_context(|| self.last_lines(25))?;
            if let Answer::Failed(why) = answer {
                bail!(
                    "{function} fails on an event that is none of its business: {why}\n{}",
                    self.last_lines(15)
                );
            }
        }
        Ok(())
    }

    /// Something to invoke them with.
    pub fn invoker(&self) -> &Invoker {
        &self.invoker
    }

    /// Fails if they do not run any more.
    pub fn check(&mut self) -> Result<()> {
        match &mut self.runner {
            Runner::Cargo(process) => process.check(),
            Runner::Host(host) => host.check(),
        }
    }

    /// The longest that each function took to answer an event; known of our own host only.
    pub fn longest(&self) -> BTreeMap<String, Duration> {
        match &self.runner {
            Runner::Cargo(_) => BTreeMap::new(),
            Runner::Host(host) => host.longest(),
        }
    }

    /// The end of their log.
    pub fn last_lines(&self, count: usize) -> String {
        last_lines(&self.log, count)
    }
}

impl Invoker {
    /// Invokes a function and waits for its end.
    pub async fn invoke(&self, function: &str, event: String) -> Result<Answer> {
        let start = Instant::now();
        let answer = self
            .http
            .post(format!("{}/2015-03-31/functions/{function}/invocations", self.url))
            .body(event)
            // The first one may have to wait for a build.
            .timeout(Duration::from_mins(10))
            .send()
            .await
            .with_context(|| format!("{function} could not be invoked, after {:?}", start.elapsed()))?;
        let is_fine = answer.status().is_success();
        let text = answer.text().await?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(if is_fine {
            Answer::Done(value)
        } else {
            Answer::Failed(value)
        })
    }
}
