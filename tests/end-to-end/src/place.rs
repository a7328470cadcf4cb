//! Where things are: the checkout, its Python, the built programs, the folders of a run.
//!
//! A run has a folder of its own under `target/run/` and holds a lock in it as long as it lives; a
//! folder whose lock is free was left by a run that was killed, and the next run removes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::{Context as _, Result, bail};

/// The checkout and what is built in it.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
    programs: PathBuf,
}

impl Place {
    /// Finds the checkout, and the folder that the running program was built into.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()
            .context("the checkout that this program was built from is not there any more")?;
        let exe = env::current_exe().context("where is the running program?")?;
        let mut programs = exe.parent().unwrap_or(&root).to_owned();
        if programs.ends_with("deps") {
            programs.pop();
        }
        Ok(Self { root, programs })
    }

    /// The checkout's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A built program of this workspace.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        existing(self.programs.join(name), "`make build` builds it")
    }

    /// The Python with moto, boto3 and scikit-learn.
    pub fn python(&self) -> Result<PathBuf> {
        self.tool("python")
    }

    /// A program of the Python environment, for example `cargo-lambda`.
    pub fn tool(&self, name: &str) -> Result<PathBuf> {
        existing(
            self.root.join(".venv/bin").join(name),
            "`make setup` installs it",
        )
    }

    /// Where runs leave what is looked at afterwards: `target/run`.
    pub fn runs(&self) -> PathBuf {
        self.root.join("target/run")
    }

    /// A folder for a new run; removes those of runs that were killed.
    pub fn new_run(&self, keep_others: bool) -> Result<RunFolder> {
        let runs = self.runs();
        fs::create_dir_all(&runs).with_context(|| format!("{} can't be made", runs.display()))?;
        if !keep_others {
            remove_stale(&runs);
        }
        for attempt in 0..1_000 {
            let path = runs.join(format!("world-{}-{attempt}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return RunFolder::lock(path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => bail!("{} can't be made: {error}", path.display()),
            }
        }
        bail!("{} is full of folders of this process", runs.display())
    }
}

fn existing(path: PathBuf, otherwise: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is not there; {otherwise}", path.display());
    }
    Ok(path)
}

/// Removes folders of runs whose lock is free.
fn remove_stale(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_run = entry.file_name().to_string_lossy().starts_with("world-");
        let is_free = || match File::open(path.join("lock")) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(_) => false,
        };
        if is_run && path.is_dir() && is_free() {
            // What can't be removed now is tried again by the next run.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// The folder of one run; locked as long as this value lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    fn lock(path: PathBuf) -> Result<Self> {
        let lock = File::create(path.join("lock"))?;
        lock.try_lock()
            .with_context(|| format!("{} is locked by another run", path.display()))?;
        for folder in ["log", "data"] {
            fs::create_dir(path.join(folder))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A log file in it.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("log").join(format!("{name}.log"))
    }
}
