//! `sagemaker-local`: SageMaker and CloudWatch, with a clock that we set.
//!
//! Its admin API (`/_local/...`) is documented in `tests/sagemaker-local/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clients::environment;
use crate::guarded::{Guarded, Program};
use crate::place::{Place, RunFolder};

/// How the emulator behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Emulator seconds per real second; 0 stands still.
    pub speed: f64,
    /// The time that it starts at; now if none.
    pub start: Option<Timestamp>,
    /// Whether each state change is told in two events.
    pub duplicate_events: bool,
    /// Seed of everything random in it.
    pub seed: u64,
    /// More arguments.
    pub more: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            speed: 60.0,
            start: None,
            duplicate_events: false,
            seed: 1,
            more: Vec::new(),
        }
    }
}

/// The start of the next hour by the clock on the wall: times are then round numbers, and none is
/// before a policy was applied, which people do by that clock.
pub fn next_hour() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second((now.as_second() / 3_600 + 1) * 3_600).unwrap_or(now)
}

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    /// Where it listens.
    pub url: String,
    /// What was asked of it and what it answered, a line of JSON each.
    pub record: PathBuf,
    process: Guarded,
    admin: Admin,
}

/// The emulator's admin API.
#[derive(Debug, Clone)]
pub struct Admin {
    url: String,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Ready {
    listening: String,
}

/// The emulator's clock.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ClockFace {
    /// What it says.
    pub now: Timestamp,
    /// Emulator seconds per real second.
    pub speed: f64,
}

/// A minute of an endpoint as it really was, without CloudWatch's delay; the state is that at its
/// end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TrueMinute {
    /// The minute's start.
    pub minute: Timestamp,
    /// The endpoint's status.
    pub status: Option<String>,
    /// The config that served.
    pub config: Option<String>,
    /// Its variants, by name; none before there are any.
    pub variants: Option<BTreeMap<String, TrueVariant>>,
    /// What users met, by variant; none where nobody came.
    pub counts: BTreeMap<String, TrueCounts>,
}

/// A variant at the end of a minute.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TrueVariant {
    /// Its weight, relative to the others'.
    pub weight: f64,
    /// The weight that was asked for.
    pub desired_weight: f64,
    /// Its instances.
    pub instances: u32,
}

/// What users of a variant met in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct TrueCounts {
    /// Requests.
    pub requests: u64,
    /// Those that were not answered with 2xx.
    pub model_errors: u64,
}

impl Emulator {
    /// Starts one on a free port.
    pub async fn start(
        place: &Place,
        run: &RunFolder,
        moto: &str,
        behaviour: &Behaviour,
    ) -> Result<Self> {
        let record = run.path().join("record.jsonl");
        let mut program = Program::new(
            "sagemaker-local",
            &place.program("sagemaker-local")?,
            place.root(),
        )
        .args(["--port", "0", "--aws-endpoint", moto])
        .args([
            "--speed",
            &behaviour.speed.to_string(),
            "--seed",
            &behaviour.seed.to_string(),
        ])
        .args([Path::new("--data-dir"), &run.path().join("data")])
        .args([Path::new("--python"), &place.python()?])
        .args([
            Path::new("--container"),
            &place.root().join("tests/sagemaker-local/container"),
        ])
        .args([Path::new("--record"), &record])
        .args(&behaviour.more);
        for (name, value) in environment(moto, moto) {
            program = program.env(name, value);
        }
        if let Some(start) = behaviour.start {
            program = program.args(["--start", &start.to_string()]);
        }
        if behaviour.duplicate_events {
            program = program.args(["--duplicate-events"]);
        }
        let log = run.log("sagemaker-local");
        let (process, line) = program
            .start_and_read_line(place, &log, Duration::from_mins(1))
            .await?;
        let ready: Ready = serde_json::from_str(&line).with_context(|| {
            format!("sagemaker-local's first line is not what it should be: {line}")
        })?;
        let admin = Admin {
            url: ready.listening.clone(),
            http: reqwest::Client::new(),
        };
        Ok(Self {
            url: ready.listening,
            record,
            process,
            admin,
        })
    }

    /// Its admin API.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Fails if it does not run any more.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// The end of its log.
    pub fn last_lines(&self, count: usize) -> String {
        self.process.last_lines(count)
    }
}

impl Admin {
    /// What the clock says.
    pub async fn clock(&self) -> Result<ClockFace> {
        Ok(serde_json::from_value(self.get("clock").await?)?)
    }

    /// Emulator time.
    pub async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock().await?.now)
    }

    /// Moves the clock on by hand; everything that is due happens on the way.
    pub async fn advance(&self, seconds: u64) -> Result<()> {
        self.post("clock", &json!({ "advance_seconds": seconds }))
            .await
            .map(drop)
    }

    /// Changes the clock's speed.
    pub async fn set_speed(&self, speed: f64) -> Result<()> {
        self.post("clock", &json!({ "speed": speed }))
            .await
            .map(drop)
    }

    /// Sends requests to an endpoint from now on, so many a minute; 0 stops.
    pub async fn traffic(
        &self,
        endpoint: &str,
        per_minute: u32,
        payloads: &[String],
        content_type: &str,
    ) -> Result<()> {
        let body = json!({
            "endpoint": endpoint, "requests_per_minute": per_minute,
            "payloads": payloads, "content_type": content_type, "seed": 1,
        });
        self.post("traffic", &body).await.map(drop)
    }

    /// Lets a monitoring schedule report a violation.
    pub async fn violation(&self, schedule: &str, violations: &Value) -> Result<Value> {
        self.post(
            "violation",
            &json!({ "schedule": schedule, "violations": violations }),
        )
        .await
    }

    /// Lets a monitoring job end otherwise: `{"schedule": ..., "failure": ...}`, or with a `report`
    /// of any text.
    pub async fn monitoring_job(&self, order: &Value) -> Result<Value> {
        self.post("violation", order).await
    }

    /// Lets the next `count` calls of an operation go wrong.
    pub async fn fault(&self, operation: &str, kind: &str, count: u32) -> Result<()> {
        let body = json!({ "operation": operation, "kind": kind, "count": count });
        self.post("faults", &body).await.map(drop)
    }

    /// An endpoint's minutes, from its creation until now.
    pub async fn timeline(&self, endpoint: &str) -> Result<Vec<TrueMinute>> {
        let mut answer = self.get(&format!("timeline?endpoint={endpoint}")).await?;
        Ok(serde_json::from_value(answer["minutes"].take())?)
    }

    /// A training or processing job's log.
    pub async fn training_log(&self, job: &str) -> Result<String> {
        let answer = self
            .http
            .get(format!("{}/_local/log?job={job}", self.url))
            .send()
            .await?;
        Ok(answer.text().await?)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self
            .http
            .get(format!("{}/_local/{path}", self.url))
            .send()
            .await?;
        read(answer, path).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self
            .http
            .post(format!("{}/_local/{path}", self.url))
            .json(body)
            .send()
            .await?;
        read(answer, path).await
    }
}

async fn read(answer: reqwest::Response, path: &str) -> Result<Value> {
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("sagemaker-local's /_local/{path} answered {status}: {text}");
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("/_local/{path} answered {text}"))
}
