//! A program that runs beside this one and never outlives it (`world-guard`).

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::place::Place;

/// Longer than the guard's own grace.
const END_WITHIN: Duration = Duration::from_secs(8);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Program {
    name: &'static str,
    words: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    folder: PathBuf,
}

impl Program {
    /// A program that is called `name` in messages.
    pub fn new(name: &'static str, path: &Path, folder: &Path) -> Self {
        Self {
            name,
            words: vec![path.into()],
            environment: Vec::new(),
            folder: folder.to_owned(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.words
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Takes an environment variable away.
    #[must_use]
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), None));
        self
    }

    /// Starts it; what it writes goes to `log`.
    pub fn start(self, place: &Place, log: &Path) -> Result<Guarded> {
        Ok(self.spawn(place, log, false)?.0)
    }

    /// Starts it and waits for the line on standard output that says it is ready.
    pub async fn start_and_read_line(
        self,
        place: &Place,
        log: &Path,
        within: Duration,
    ) -> Result<(Guarded, String)> {
        let (guarded, stdout) = self.spawn(place, log, true)?;
        let stdout = stdout.context("standard output was piped")?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        let read = tokio::time::timeout(within, reader.read_line(&mut line)).await;
        match read {
            Ok(Ok(1..)) => Ok((guarded, line)),
            Ok(_) => bail!("{} ended at once\n{}", guarded.name, guarded.last_lines(15)),
            Err(_) => bail!(
                "{} is not ready after {within:?}\n{}",
                guarded.name,
                guarded.last_lines(15)
            ),
        }
    }

    fn spawn(
        self,
        place: &Place,
        log: &Path,
        read_stdout: bool,
    ) -> Result<(Guarded, Option<ChildStdout>)> {
        let file = File::create(log).with_context(|| format!("{} can't be made", log.display()))?;
        let stdout = if read_stdout {
            Stdio::piped()
        } else {
            file.try_clone()?.into()
        };
        let mut command = Command::new(place.program("world-guard")?);
        // Whatever account the caller works with is none of the local world's business.
        for (name, _) in env::vars_os() {
            if ["AWS_", "TIDEGATE_"]
                .iter()
                .any(|start| name.to_string_lossy().starts_with(start))
            {
                command.env_remove(name);
            }
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command
            .args(&self.words)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(file)
            // Ctrl-C is for us: we end the others in our order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} can't be started", self.name))?;
        let stdout = child.stdout.take();
        let lifeline = child.stdin.take();
        Ok((
            Guarded {
                name: self.name,
                child,
                lifeline,
                log: log.to_owned(),
            },
            stdout,
        ))
    }
}

/// A running program; it ends with this value.
#[derive(Debug)]
pub struct Guarded {
    name: &'static str,
    child: Child,
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

impl Guarded {
    /// Fails, with the end of its log, if it does not run any more.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "{} has ended ({status})\n{}",
                self.name,
                self.last_lines(15)
            );
        }
        Ok(())
    }

    /// Waits until `url` answers, whatever it answers.
    pub async fn answers(&mut self, url: &str, within: Duration) -> Result<()> {
        let client = reqwest::Client::new();
        let start = Instant::now();
        while client
            .get(url)
            .timeout(Duration::from_secs(2))
            .send()
            .await
            .is_err()
        {
            self.check()?;
            if start.elapsed() > within {
                bail!(
                    "{} does not answer at {url} after {within:?}\n{}",
                    self.name,
                    self.last_lines(15)
                );
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Ok(())
    }

    /// The end of its log.
    pub fn last_lines(&self, count: usize) -> String {
        last_lines(&self.log, count)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.lifeline = None;
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < END_WITHIN {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The end of a log file, indented.
pub fn last_lines(log: &Path, count: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..]
        .iter()
        .fold(format!("  {}:\n", log.display()), |all, line| {
            let line: String = line.chars().take(400).collect();
            all + "    " + &line + "\n"
        })
}

/// A port that is free now. Somebody else may take it before it is used: who can, binds to 0.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
