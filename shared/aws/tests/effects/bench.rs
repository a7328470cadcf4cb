//! The bench: moto, the emulator with a record of its calls, and the world over both.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tidegate_aws::{AwsWorld, Clients};

use crate::support;

/// Both servers and what reaches them.
pub(crate) struct Bench {
    pub(crate) world: AwsWorld,
    pub(crate) clients: Clients,
    pub(crate) sqs: aws_sdk_sqs::Client,
    emulator: support::Server,
    record: std::path::PathBuf,
    next: AtomicU32,
    _moto: support::Server,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let moto = support::moto();
        let record = std::env::temp_dir().join(format!("tidegate-effects-{}", std::process::id()));
        let arguments = ["--record", record.to_str().unwrap()];
        let emulator = support::sagemaker_local_with(&moto, &arguments);
        let clients = support::clients_of_both(&moto, &emulator);
        clients
            .s3
            .create_bucket()
            .bucket("bucket")
            .send()
            .await
            .unwrap();
        let group = clients.scheduler.create_schedule_group().name("tidegate");
        group.send().await.unwrap();
        Self {
            world: AwsWorld::new(clients.clone(), support::settings("arn:aws:sns:::t")),
            sqs: aws_sdk_sqs::Client::new(&support::config(&moto.url)),
            clients,
            emulator,
            record,
            next: AtomicU32::new(0),
            _moto: moto,
        }
    }

    /// A word that no other case has, always of one length.
    pub(crate) fn word(&self) -> String {
        format!("case{:04}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn minutes_pass(&self, minutes: u32) {
        let seconds = f64::from(minutes) * 60.0;
        support::order(
            &self.emulator,
            "/clock",
            &json!({"advance_seconds": seconds}),
        );
    }

    /// How many calls of an operation went through whose input has this word.
    pub(crate) fn calls(&self, operation: &str, word: &str) -> usize {
        let text = std::fs::read_to_string(&self.record).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter(|line| line["operation"] == operation && line["status"] == 200)
            .filter(|line| line["input"].to_string().contains(word))
            .count()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.record);
    }
}
