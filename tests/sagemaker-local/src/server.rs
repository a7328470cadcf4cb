//! One model server: `serve.py` as a process with a folder that stands for `/opt/ml`, kept alive
//! until it is stopped.
//!
//! The contract is SageMaker's ("Use your own inference code with hosting services"): `/ping`
//! tells health, `/invocations` answers, a container that ends is started again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::app::App;
use crate::json::text;
use crate::storage;

/// A server that ends this often before it was ever up is not started again.
const MOST_STARTS: u32 = 3;
/// Real time between two looks at a server that comes up.
const PING_PAUSE: Duration = Duration::from_millis(40);

/// What a server is made of.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    model_data: Option<String>,
    environment: Vec<(String, String)>,
}

impl Container {
    /// From a model's container definition.
    pub(crate) fn of(definition: &Value) -> Self {
        let data = text(definition, "ModelDataUrl")
            .map(str::to_owned)
            .or_else(|| {
                let source = definition.get("ModelDataSource")?.get("S3DataSource")?;
                text(source, "S3Uri").map(str::to_owned)
            });
        let environment = definition.get("Environment").and_then(Value::as_object);
        Self {
            model_data: data,
            environment: environment
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
        }
    }

    fn code(&self) -> Option<&str> {
        self.environment
            .iter()
            .find(|(key, value)| key == "SAGEMAKER_SUBMIT_DIRECTORY" && value.starts_with("s3://"))
            .map(|(_, value)| value.as_str())
    }
}

/// A server process under supervision.
pub(crate) struct Server {
    /// 0 while it is down.
    port: AtomicU16,
    up: watch::Sender<Option<Result<(), String>>>,
}

impl Server {
    /// The address of `/invocations`, if the server is up.
    pub(crate) fn address(&self) -> Option<String> {
        match self.port.load(Ordering::Acquire) {
            0 => None,
            port => Some(format!("http://127.0.0.1:{port}/invocations")),
        }
    }

    /// Waits until the server was up once, or has failed to; then the error says where its log is.
    pub(crate) async fn up(&self) -> Result<(), String> {
        let mut up = self.up.subscribe();
        match up.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err("the server was stopped".to_owned()),
        }
    }
}

/// Makes the folders that stand for `/opt/ml`, one per container: the model, and its code. Done
/// once per deployment; all instances read the same.
pub(crate) async fn prepare(
    app: &App,
    containers: &[Container],
    home: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut roots = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let root = home.join(format!("container-{}", index + 1));
        roots.push(root.clone());
        if root.exists() {
            continue;
        }
        let (model, code) = (root.join("model"), root.join("code"));
        tokio::fs::create_dir_all(&model).await?;
        tokio::fs::create_dir_all(&code).await?;
        if let Some(uri) = &container.model_data {
            let aws = app.aws()?;
            if uri.ends_with(".tar.gz") {
                let archive = storage::read(&aws.s3, uri).await?;
                storage::unpack(archive, &model)
                    .await
                    .with_context(|| uri.clone())?;
            } else {
                storage::download(&aws.s3, uri, &model).await?;
            }
        }
        match container.code() {
            Some(uri) => {
                let archive = storage::read(&app.aws()?.s3, uri).await?;
                storage::unpack(archive, &code)
                    .await
                    .with_context(|| uri.to_owned())?;
            }
            None if model.join("code").is_dir() => copy(&model.join("code"), &code)?,
            None => {}
        }
    }
    Ok(roots)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Starts a server and keeps it alive until `stopped` says so.
pub(crate) fn start(
    app: &Arc<App>,
    container: &Container,
    root: &Path,
    label: &str,
    stopped: watch::Receiver<bool>,
) -> Arc<Server> {
    let server = Arc::new(Server {
        port: AtomicU16::new(0),
        up: watch::Sender::new(None),
    });
    let log = app.data_dir.join("logs").join(format!("{label}.log"));
    let task = Supervisor {
        app: app.clone(),
        server: server.clone(),
        container: container.clone(),
        root: root.to_owned(),
        log,
    };
    tokio::spawn(task.run(stopped));
    server
}

struct Supervisor {
    app: Arc<App>,
    server: Arc<Server>,
    container: Container,
    root: PathBuf,
    log: PathBuf,
}

impl Supervisor {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.keep_alive() => {}
            // Also when the instance itself is gone. Dropping the future kills the process.
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        self.server.port.store(0, Ordering::Release);
        self.server.up.send_if_modified(|up| {
            let pending = up.is_none();
            up.get_or_insert(Err("the server was stopped".to_owned()));
            pending
        });
    }

    async fn keep_alive(&self) {
        let deadline = Instant::now()
            + Duration::from_secs(u64::from(self.app.args.ping_timeout_real_seconds));
        let mut starts = 0;
        loop {
            starts += 1;
            let first = self.server.up.borrow().is_none();
            match self.spawn() {
                Ok((mut child, port)) => {
                    if self.wait_for_ping(&mut child, port, deadline, first).await {
                        self.server.port.store(port, Ordering::Release);
                        if first {
                            self.server.up.send_replace(Some(Ok(())));
                        }
                        let ended = child.wait().await;
                        tracing::warn!(log = %self.log.display(), ?ended, "a model server ended; it is started again");
                        self.server.port.store(0, Ordering::Release);
                    }
                }
                Err(error) => tracing::error!(%error, "a model server could not be started"),
            }
            if first
                && self.server.up.borrow().is_none()
                && (starts >= MOST_STARTS || Instant::now() >= deadline)
            {
                self.server
                    .up
                    .send_replace(Some(Err(self.log.display().to_string())));
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn spawn(&self) -> anyhow::Result<(Child, u16)> {
        let port = free_port()?;
        if let Some(folder) = self.log.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let child = Command::new(&self.app.args.python)
            .arg(self.app.args.container.join("serve.py"))
            .arg("--root")
            .arg(&self.root)
            .arg("--port")
            .arg(port.to_string())
            .envs(self.container.environment.iter().map(|(key, value)| (key, value)))
            .env("AWS_REGION", crate::arn::REGION)
            .env("PYTHONUNBUFFERED", "1")
            // The server ends when this pipe closes, so none outlives the emulator.
            .stdin(Stdio::piped())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't run {}", self.app.args.python.display()))?;
        Ok((child, port))
    }

    async fn wait_for_ping(
        &self,
        child: &mut Child,
        port: u16,
        deadline: Instant,
        first: bool,
    ) -> bool {
        let url = format!("http://127.0.0.1:{port}/ping");
        loop {
            if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                return false;
            }
            let ping = self
                .app
                .http
                .get(&url)
                .timeout(Duration::from_secs(2))
                .send()
                .await;
            if ping.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            if first && Instant::now() >= deadline {
                let _already_gone = child.start_kill();
                return false;
            }
            tokio::time::sleep(PING_PAUSE).await;
        }
    }
}

/// A port that was free a moment ago. Another process may take it first; then the server ends and
/// is started again with another.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
