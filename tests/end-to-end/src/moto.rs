//! moto: DynamoDB, S3, SNS, SQS, EventBridge and Scheduler. `tests/moto_server.py` says why it is not
//! started as it is.

use std::time::Duration;

use anyhow::Result;

use crate::guarded::{Guarded, Program, free_port};
use crate::place::{Place, RunFolder};

/// A running moto server.
#[derive(Debug)]
pub struct Moto {
    /// Where it listens.
    pub url: String,
    process: Guarded,
}

impl Moto {
    /// Starts one on a free port.
    pub async fn start(place: &Place, run: &RunFolder) -> Result<Self> {
        Self::start_named("moto", place, run).await
    }

    /// Starts one that is called `name` in messages and logs, where there is more than one.
    pub async fn start_named(name: &'static str, place: &Place, run: &RunFolder) -> Result<Self> {
        let port = free_port()?;
        let server = place.root().join("tests/moto_server.py");
        let mut process = Program::new(name, &place.python()?, run.path())
            .args([&server.display().to_string(), "-H", "127.0.0.1", "-p", &port.to_string()])
            // Thousands of requests a minute need no line each.
            .env("PYTHONWARNINGS", "ignore")
            .start(place, &run.log(name))?;
        let url = format!("http://127.0.0.1:{port}");
        process
            .answers(&format!("{url}/moto-api/data.json"), Duration::from_mins(1))
            .await?;
        Ok(Self { url, process })
    }

    /// Fails if it does not run any more.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }
}
