//! A data scientist's SageMaker project (`projects/`): its versions, data and requests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aws_sdk_s3::primitives::ByteStream;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use tokio::process::Command;

use crate::clients::Clients;
use crate::place::Place;

/// `project.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// What it does.
    pub about: String,
    source: PathBuf,
    export: PathBuf,
    /// The training script.
    pub entry_point: String,
    /// How the model is asked.
    pub serve: Serve,
    /// How metrics are found in the log.
    pub metric_definitions: Vec<MetricDefinition>,
    /// What its models have to reach.
    pub gate: Gate,
    /// Its versions.
    pub versions: BTreeMap<String, Version>,
    #[serde(skip)]
    folder: PathBuf,
}

/// How a project's models are asked.
#[derive(Debug, Clone, Deserialize)]
pub struct Serve {
    /// The inference script.
    pub program: String,
    /// The requests' content type.
    pub content_type: String,
    /// A list of request bodies.
    pub payloads: PathBuf,
    /// One request body that every model can answer.
    pub smoke: PathBuf,
}

/// A metric in a training log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricDefinition {
    /// Its name.
    pub name: String,
    /// Its first group is the value.
    pub regex: String,
}

/// What a project's models have to reach.
#[derive(Debug, Clone, Deserialize)]
pub struct Gate {
    /// The metric.
    pub metric: String,
    /// Its least value.
    pub at_least: f64,
    /// How far it may be below the champion's.
    pub champion_minus_at_most: f64,
}

/// One version of a project.
#[derive(Debug, Clone, Deserialize)]
pub struct Version {
    /// What is new in it.
    pub about: String,
    changes: Option<PathBuf>,
    /// Hyperparameters.
    pub hyperparameters: BTreeMap<String, String>,
    /// Channels and the folders of their data.
    pub channels: BTreeMap<String, String>,
}

impl Project {
    /// Reads a project of `tests/end-to-end/projects/`.
    pub fn read(place: &Place, name: &str) -> Result<Self> {
        let folder = place.root().join("tests/end-to-end/projects").join(name);
        let file = folder.join("project.json");
        let text = fs::read_to_string(&file)
            .with_context(|| format!("{} can't be read", file.display()))?;
        let project: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not right", file.display()))?;
        Ok(Self { folder, ..project })
    }

    /// One of its versions.
    pub fn version(&self, name: &str) -> Result<&Version> {
        self.versions
            .get(name)
            .with_context(|| format!("the project {} has no version {name}", self.name))
    }

    /// Writes the data into a folder, as the project's own script does.
    pub async fn export(&self, place: &Place, folder: &Path) -> Result<()> {
        let mut command = Command::new(place.python()?);
        command
            .arg(self.folder.join(&self.export))
            .arg("--out")
            .arg(folder)
            .kill_on_drop(true);
        let output = command.output().await?;
        if !output.status.success() {
            bail!(
                "the data of {} can't be exported: {}",
                self.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Puts a folder's files into S3, below `prefix`.
    pub async fn upload(
        &self,
        clients: &Clients,
        bucket: &str,
        prefix: &str,
        folder: &Path,
    ) -> Result<()> {
        for file in files(folder)? {
            let key = format!("{prefix}/{}", file.strip_prefix(folder)?.display());
            put(clients, bucket, &key, fs::read(&file)?).await?;
        }
        Ok(())
    }

    /// A version's source, packed as the SageMaker SDK does (`sourcedir.tar.gz`).
    pub fn pack(&self, version: &str) -> Result<Vec<u8>> {
        let mut layers = vec![self.folder.join(&self.source)];
        layers.extend(
            self.version(version)?
                .changes
                .iter()
                .map(|changes| self.folder.join(changes)),
        );
        let mut packed: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for layer in &layers {
            for file in files(layer)? {
                packed.insert(file.strip_prefix(layer)?.to_owned(), file);
            }
        }
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, file) in packed {
            archive.append_file(name, &mut File::open(file)?)?;
        }
        Ok(archive.into_inner()?.finish()?)
    }

    /// The request bodies.
    pub fn payloads(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_slice(&fs::read(
            self.folder.join(&self.serve.payloads),
        )?)?)
    }

    /// The smoke request's body.
    pub fn smoke(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.folder.join(&self.serve.smoke))?)
    }
}

/// Puts an object.
pub async fn put(clients: &Clients, bucket: &str, key: &str, body: Vec<u8>) -> Result<String> {
    let put = clients
        .s3
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(ByteStream::from(body));
    put.send()
        .await
        .with_context(|| format!("s3://{bucket}/{key} can't be put"))?;
    Ok(format!("s3://{bucket}/{key}"))
}

/// The content of an object.
pub async fn get(clients: &Clients, uri: &str) -> Result<Vec<u8>> {
    let rest = uri.strip_prefix("s3://").unwrap_or(uri);
    let (bucket, key) = rest
        .split_once('/')
        .context("a URI has a bucket and a key")?;
    let object = clients.s3.get_object().bucket(bucket).key(key).send();
    let object = object
        .await
        .with_context(|| format!("{uri} can't be read"))?;
    Ok(object.body.collect().await?.to_vec())
}

/// All files below a folder, in order; caches of Python aside.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.ends_with("__pycache__") {
            all.extend(files(&path)?);
        } else if path.is_file() {
            all.push(path);
        }
    }
    Ok(all)
}
