//! The shapes of SageMaker's API, read from the service model that botocore ships: what is
//! required, which type, pattern, length, range and values a member has.
//!
//! The model is read at start from the Python environment in use, so the emulator is exactly as
//! strict as the SDK beside it says AWS is.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Context as _;
use flate2::read::GzDecoder;
use regex::Regex;
use serde::Deserialize;

/// One service's operations and shapes.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    operations: BTreeMap<String, Operation>,
    pub(crate) shapes: HashMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    input: Option<Reference>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) shape: String,
}

/// A structure, list, map or scalar with its constraints.
#[derive(Debug, Deserialize)]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) members: BTreeMap<String, Reference>,
    #[serde(default)]
    pub(crate) required: Vec<String>,
    #[serde(default, rename = "enum")]
    pub(crate) values: Vec<String>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) pattern: Option<String>,
    /// Compiled when it is first needed: there are hundreds.
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
    pub(crate) member: Option<Reference>,
    pub(crate) key: Option<Reference>,
    pub(crate) value: Option<Reference>,
}

impl Model {
    /// Reads SageMaker's model from the botocore of a Python environment.
    pub(crate) fn of_python(python: &Path) -> anyhow::Result<Self> {
        let output = Command::new(python)
            .args([
                "-c",
                "import botocore, os; print(os.path.dirname(botocore.__file__))",
            ])
            .output()
            .with_context(|| format!("can't run {}; give --python", python.display()))?;
        anyhow::ensure!(
            output.status.success(),
            "{} has no botocore, whose service model tells which requests are valid: {}",
            python.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let package = String::from_utf8(output.stdout).context("botocore's path")?;
        let file = Path::new(package.trim()).join("data/sagemaker/2017-07-24/service-2.json.gz");
        Self::read(&file)
    }

    fn read(file: &Path) -> anyhow::Result<Self> {
        let packed = std::fs::read(file)
            .with_context(|| format!("can't read the service model {}", file.display()))?;
        let mut text = String::new();
        GzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is no service model", file.display()))
    }

    /// The name of an operation's input shape; `None` if AWS has no such operation.
    pub(crate) fn input(&self, operation: &str) -> Option<&str> {
        let operation = self.operations.get(operation)?;
        Some(
            operation
                .input
                .as_ref()
                .map_or("", |input| input.shape.as_str()),
        )
    }
}

impl Shape {
    /// Whether a text is of the shape's pattern; true where there is none that can be compiled.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some(pattern) = &self.pattern else {
            return true;
        };
        let compiled = self.compiled.get_or_init(|| compile(pattern));
        compiled
            .as_ref()
            .is_none_or(|compiled| compiled.is_match(text))
    }
}

/// Compiles a pattern as AWS means it: it must match the whole value. The models' patterns are
/// Java's; the few with lookbehind lose that part, and one that still can't be compiled is not
/// checked.
fn compile(pattern: &str) -> Option<Regex> {
    let pattern = pattern.replace("(?<!-)", "");
    // Two shapes write `(...)*${1,256}`; the repeated end-of-text adds nothing to the length rule.
    let pattern = pattern.split("${").next().unwrap_or_default();
    Regex::new(&format!(r"\A(?s:{pattern})\z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_of_the_service_model_are_anchored() {
        let name = compile("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}").expect("it compiles");
        assert!(name.is_match("fraud-prod"));
        assert!(!name.is_match("fraud_prod"));
        assert!(!name.is_match("-fraud"));
    }

    #[test]
    fn metadata_values_allow_no_commas_and_no_quotes() {
        let value = compile(r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,256}").expect("it compiles");
        assert!(value.is_match("s3://bucket/key=1"));
        assert!(!value.is_match("a,b"));
        assert!(!value.is_match("\"a\""));
    }
}
