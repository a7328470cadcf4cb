//! One training job as a process: data from S3, the user's script by `train.py`, metrics from its
//! log, the model back to S3.
//!
//! The folder stands for `/opt/ml` as SageMaker's containers see it ("How Amazon SageMaker
//! Provides Training Information"). The stages take emulator time; training takes real time.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_s3::primitives::ByteStream;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::app::{App, Working};
use crate::arn;
use crate::json::{list, required, text};
use crate::lineage::automatic;
use crate::moment::Span;
use crate::storage;
use crate::training::{Status, Stop};

/// Real time that a job has after SIGTERM, as in AWS.
const GRACE: Duration = Duration::from_mins(2);
/// Longer lines are cut.
const LONGEST_LINE: usize = 16_384;
/// AWS cuts failure reasons here.
const LONGEST_REASON: usize = 1024;

/// Starts a job that the world already knows.
pub(crate) fn start(app: &Arc<App>, name: String) {
    let app = app.clone();
    let working = app.working();
    tokio::spawn(async move {
        let Some((body, mut stops)) = ({
            let world = app.world();
            world
                .jobs
                .get(&name)
                .map(|job| (Value::Object(job.body.clone()), job.stops()))
        }) else {
            return;
        };
        let root = app.data_dir.join("jobs").join(&name);
        let run = Run {
            root,
            app,
            name,
            body,
            working: Mutex::new(Some(working)),
        };
        let outcome = run.run(&mut stops).await;
        run.finish(outcome);
    });
}

struct Run {
    app: Arc<App>,
    name: String,
    body: Value,
    root: PathBuf,
    /// Time that is moved by hand waits while this is held.
    working: Mutex<Option<Working>>,
}

enum Outcome {
    Completed,
    Stopped,
    /// With the reason that AWS shows.
    Failed(String),
}

impl Run {
    async fn run(&self, stops: &mut watch::Receiver<Stop>) -> Outcome {
        let prepared = async {
            self.stage().await;
            self.enter("Downloading");
            self.prepare().await?;
            self.stage().await;
            anyhow::Ok(())
        };
        tokio::select! {
            prepared = prepared => {
                if let Err(error) = prepared {
                    return Outcome::Failed(format!("ClientError: {error:#}"));
                }
            }
            _ = stopping(stops) => return Outcome::Stopped,
        }
        self.enter("Training");
        let outcome = match self.train(stops).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!("InternalServerError: {error:#}")),
        };
        if matches!(outcome, Outcome::Failed(_)) {
            return outcome;
        }
        if matches!(outcome, Outcome::Completed) {
            self.enter("Uploading");
        }
        self.stage().await;
        match self.upload().await {
            Ok(()) => outcome,
            Err(error) => Outcome::Failed(format!("ClientError: {error:#}")),
        }
    }

    fn finish(&self, outcome: Outcome) {
        let now = self.app.clock.now();
        let (status, secondary, failure) = match outcome {
            Outcome::Completed => (Status::Completed, "Completed", None),
            Outcome::Stopped => (Status::Stopped, "Stopped", None),
            Outcome::Failed(reason) => (Status::Failed, "Failed", Some(reason)),
        };
        tracing::info!(
            job = self.name,
            status = status.api(),
            failure,
            "training job ended"
        );
        {
            let mut world = self.app.world();
            let tags = world.tags.map(&arn::sagemaker("training-job", &self.name));
            let Some(job) = world.jobs.get_mut(&self.name) else {
                return;
            };
            job.failure = failure.map(|reason| reason.chars().take(LONGEST_REASON).collect());
            let event = job.enter(status, secondary, now, tags);
            if status == Status::Completed {
                automatic::job_completed(&mut world, &self.name, now);
            }
            world.emit(event);
        }
        self.flush();
    }

    fn enter(&self, secondary: &'static str) {
        let now = self.app.clock.now();
        {
            let mut world = self.app.world();
            let tags = world.tags.map(&arn::sagemaker("training-job", &self.name));
            let Some(job) = world.jobs.get_mut(&self.name) else {
                return;
            };
            // A job that is being stopped keeps that status until it has ended.
            if job.status != Status::InProgress {
                return;
            }
            let event = job.enter(Status::InProgress, secondary, now, tags);
            world.emit(event);
        }
        self.flush();
    }

    fn flush(&self) {
        let app = self.app.clone();
        tokio::spawn(async move { crate::events::flush(&app).await });
    }

    async fn stage(&self) {
        let span = Span::seconds(i64::from(self.app.args.stage_seconds));
        let held = || self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let working = held().take().unwrap_or_else(|| self.app.working());
        let working = self.app.sleep(span, working).await;
        *held() = working;
    }

    /// Makes the folders and files that the container contract promises.
    async fn prepare(&self) -> anyhow::Result<()> {
        // A folder of an earlier run of the emulator with the same name is not this job's.
        if self.root.exists() {
            tokio::fs::remove_dir_all(&self.root).await?;
        }
        for folder in [
            "input/config",
            "input/data",
            "code",
            "model",
            "output/data",
            "checkpoints",
        ] {
            tokio::fs::create_dir_all(self.root.join(folder)).await?;
        }
        let hyperparameters = self
            .body
            .get("HyperParameters")
            .cloned()
            .unwrap_or_else(|| json!({}));
        let mut channels = json!({});
        for channel in list(&self.body, "InputDataConfig") {
            let name = required(channel, "ChannelName");
            channels[&name] = channel_config(channel, &self.body);
            self.download(channel, &name).await?;
        }
        let resources = &self.body["ResourceConfig"];
        let instance = text(resources, "InstanceType").unwrap_or("ml.m5.large");
        self.write("input/config/hyperparameters.json", &hyperparameters)
            .await?;
        self.write("input/config/inputdataconfig.json", &channels)
            .await?;
        let resource_config = json!({
            "current_host": "algo-1",
            "current_instance_type": instance,
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [{
                "instance_group_name": "homogeneousCluster",
                "instance_type": instance,
                "hosts": ["algo-1"],
            }],
            "network_interface_name": "eth0",
        });
        self.write("input/config/resourceconfig.json", &resource_config)
            .await?;
        let source = decoded(&hyperparameters, "sagemaker_submit_directory");
        let program = decoded(&hyperparameters, "sagemaker_program");
        if program.is_none() {
            anyhow::bail!(
                "sagemaker-local runs the user's own script: set the hyperparameters sagemaker_program and sagemaker_submit_directory, as the SageMaker SDK's framework estimators do"
            );
        }
        if let Some(uri) = source.filter(|uri| uri.starts_with("s3://")) {
            let archive = storage::read(&self.app.aws()?.s3, &uri).await?;
            storage::unpack(archive, &self.root.join("code"))
                .await
                .with_context(|| uri.clone())?;
        }
        Ok(())
    }

    async fn download(&self, channel: &Value, name: &str) -> anyhow::Result<()> {
        let folder = self.root.join("input/data").join(name);
        tokio::fs::create_dir_all(&folder).await?;
        let source = channel
            .get("DataSource")
            .and_then(|source| source.get("S3DataSource"))
            .with_context(|| format!("channel {name}: only S3 data sources work here"))?;
        let kind = text(source, "S3DataType").unwrap_or("S3Prefix");
        anyhow::ensure!(
            kind == "S3Prefix",
            "channel {name}: S3DataType {kind} does not work here, S3Prefix does"
        );
        let uri = required(source, "S3Uri");
        let count = storage::download(&self.app.aws()?.s3, &uri, &folder).await?;
        anyhow::ensure!(
            count > 0,
            "Data download failed: no S3 objects found under S3 URL {uri} for channel {name}"
        );
        Ok(())
    }

    async fn write(&self, path: &str, content: &Value) -> anyhow::Result<()> {
        tokio::fs::write(self.root.join(path), content.to_string()).await?;
        Ok(())
    }

    async fn train(&self, stops: &mut watch::Receiver<Stop>) -> anyhow::Result<Outcome> {
        let mut child = self.spawn()?;
        let out = child.stdout.take().context("no output pipe")?;
        let err = child.stderr.take().context("no error pipe")?;
        let reading = {
            let (app, name) = (self.app.clone(), self.name.clone());
            let (other, other_name) = (self.app.clone(), self.name.clone());
            tokio::spawn(async move {
                tokio::join!(
                    read_lines(out, app, name),
                    read_lines(err, other, other_name)
                );
            })
        };
        let longest = self.body["StoppingCondition"]["MaxRuntimeInSeconds"]
            .as_u64()
            .unwrap_or(86_400);
        let mut stopped = false;
        let status = tokio::select! {
            status = child.wait() => Some(status?),
            () = tokio::time::sleep(Duration::from_secs(longest)) => None,
            stop = stopping(stops) => {
                if stop == Stop::Killed {
                    child.kill().await?;
                    return Ok(Outcome::Stopped);
                }
                None
            }
        };
        let status = if let Some(status) = status {
            status
        } else {
            stopped = true;
            terminate(&child);
            if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
                status?
            } else {
                child.kill().await?;
                child.wait().await?
            }
        };
        // A grandchild may hold the pipes open; its words are then lost.
        let _late = tokio::time::timeout(Duration::from_secs(5), reading).await;
        if stopped {
            return Ok(Outcome::Stopped);
        }
        if status.success() {
            return Ok(Outcome::Completed);
        }
        let reason = tokio::fs::read_to_string(self.root.join("output/failure"))
            .await
            .unwrap_or_default();
        let reason = match reason.trim() {
            "" => format!("the script ended with {status}"),
            reason => reason.to_owned(),
        };
        let reason = if reason.starts_with("AlgorithmError") || reason.starts_with("ClientError") {
            reason
        } else {
            format!(
                "AlgorithmError: {reason}, exit code: {}",
                status.code().unwrap_or(1)
            )
        };
        Ok(Outcome::Failed(reason))
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let environment = self.body.get("Environment").and_then(Value::as_object);
        let environment = environment
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        Command::new(&self.app.args.python)
            .arg(self.app.args.container.join("train.py"))
            .arg("--root")
            .arg(&self.root)
            .envs(environment)
            .env("TRAINING_JOB_NAME", &self.name)
            .env("TRAINING_JOB_ARN", arn::sagemaker("training-job", &self.name))
            .env("AWS_REGION", arn::REGION)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // train.py ends its whole group when it is told to stop; the emulator must not be in it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't run {}", self.app.args.python.display()))
    }

    /// The model, and further output if there is any, go to S3.
    async fn upload(&self) -> anyhow::Result<()> {
        let artifact = {
            let world = self.app.world();
            world
                .jobs
                .get(&self.name)
                .map(super::training::Job::artifact)
                .unwrap_or_default()
        };
        self.put(&self.root.join("model"), &artifact).await?;
        let output = self.root.join("output/data");
        if storage::has_files(&output) {
            let uri = artifact.replace("/output/model.tar.gz", "/output/output.tar.gz");
            self.put(&output, &uri).await?;
        }
        // What is in S3 now is no longer needed here.
        tokio::fs::remove_dir_all(&self.root).await?;
        Ok(())
    }

    async fn put(&self, folder: &Path, uri: &str) -> anyhow::Result<()> {
        let name = uri.rsplit('/').next().unwrap_or("archive.tar.gz");
        let archive = self.root.join(name);
        storage::pack(folder, &archive).await?;
        let body = ByteStream::from(tokio::fs::read(&archive).await?);
        storage::write(&self.app.aws()?.s3, uri, body).await
    }
}

/// Waits until the job is to end. The sender lives as long as the job is known.
async fn stopping(stops: &mut watch::Receiver<Stop>) -> Stop {
    stops
        .wait_for(|stop| *stop != Stop::No)
        .await
        .map_or(Stop::Killed, |stop| *stop)
}

fn terminate(child: &Child) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended this moment.
        let _already_gone = kill_process(pid, Signal::TERM);
    }
}

/// Hyperparameters are strings, and the SDK encodes them once more as JSON.
fn decoded(hyperparameters: &Value, name: &str) -> Option<String> {
    let raw = text(hyperparameters, name)?;
    Some(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()))
}

fn channel_config(channel: &Value, body: &Value) -> Value {
    let source = &channel["DataSource"]["S3DataSource"];
    let mode = text(channel, "InputMode")
        .or_else(|| text(&body["AlgorithmSpecification"], "TrainingInputMode"))
        .unwrap_or("File");
    let mut config = json!({
        "TrainingInputMode": mode,
        "S3DistributionType": text(source, "S3DataDistributionType").unwrap_or("FullyReplicated"),
        "RecordWrapperType": text(channel, "RecordWrapperType").unwrap_or("None"),
    });
    if let Some(kind) = text(channel, "ContentType") {
        config["ContentType"] = json!(kind);
    }
    config
}

async fn read_lines(pipe: impl AsyncRead + Unpin, app: Arc<App>, name: String) {
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader.read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        bytes.truncate(LONGEST_LINE);
        let line = String::from_utf8_lossy(&bytes);
        let now = app.clock.now();
        if let Some(job) = app.world().jobs.get_mut(&name) {
            job.read_line(line.trim_end(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperparameters_are_decoded_whether_the_sdk_encoded_them_or_not() {
        let given = json!({"a": "\"train.py\"", "b": "train.py"});
        assert_eq!(decoded(&given, "a").as_deref(), Some("train.py"));
        assert_eq!(decoded(&given, "b").as_deref(), Some("train.py"));
        assert_eq!(decoded(&given, "c"), None);
    }
}
