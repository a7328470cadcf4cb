//! Metrics from an evaluation file, the JSON that a model package's `ModelMetrics` points to.
//!
//! Source: "Model Quality Metrics" in the `SageMaker` developer guide: groups of metrics, each an
//! object of `value` and `standard_deviation`, the latter often "NaN". Flat files are read too.

use serde_json::Value;

use super::Metrics;

/// A file has no more bytes than this.
const MOST_BYTES: usize = 1 << 20;

/// A file has no more metrics than this.
const MOST_METRICS: usize = 500;

/// Objects are nested no deeper than this.
const DEEPEST: usize = 16;

/// A metric's dotted path has no more bytes than this.
const LONGEST_NAME: usize = 256;

/// Why an evaluation file can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Not JSON.
    #[error("the evaluation file is not JSON ({0}); write it with a JSON library")]
    NotJson(String),
    /// JSON, but no object.
    #[error("the evaluation file holds {0}, not an object of metrics by name")]
    NotAnObject(&'static str),
    /// Too long.
    #[error(
        "the evaluation file has {0} bytes, more than {MOST_BYTES}; keep curves and raw predictions in a file of their own"
    )]
    TooLong(usize),
    /// Too many metrics.
    #[error(
        "the evaluation file has more than {MOST_METRICS} metrics; keep those that the policy requires"
    )]
    TooMany,
    /// Too deep.
    #[error("the evaluation file nests objects deeper than {DEEPEST}; flatten it")]
    TooDeep,
    /// A name that is too long.
    #[error("a metric's path in the evaluation file is longer than {LONGEST_NAME} bytes: {0}...")]
    LongName(String),
    /// One path, two values.
    #[error("the evaluation file has two values for {0}; write it once, nested or with dots")]
    Twice(String),
}

/// Reads the finite numbers of an evaluation file, by their dotted paths.
///
/// A number called `value` is also there under its parent's path (`metrics.auc` beside
/// `metrics.auc.value`). Numbers in strings count; "NaN", infinities, lists, booleans and nulls
/// are left out.
pub fn metrics_from_evaluation(json: &str) -> Result<Metrics, GateError> {
    if json.len() > MOST_BYTES {
        return Err(GateError::TooLong(json.len()));
    }
    // Some tools write a byte order mark first, which JSON does not allow.
    let json = json.trim_start_matches('\u{feff}');
    match serde_json::from_str(json) {
        Ok(value @ Value::Object(_)) => {
            let mut reader = Reader {
                metrics: Metrics::new(),
                numbers: 0,
            };
            reader.walk("", &value, 0)?;
            reader.add_parents();
            Ok(reader.metrics)
        }
        Ok(value) => Err(GateError::NotAnObject(kind(&value))),
        Err(error) => Err(GateError::NotJson(error.to_string())),
    }
}

struct Reader {
    metrics: Metrics,
    numbers: usize,
}

impl Reader {
    fn walk(&mut self, path: &str, value: &Value, depth: usize) -> Result<(), GateError> {
        match value {
            Value::Object(map) if depth == DEEPEST && !map.is_empty() => Err(GateError::TooDeep),
            Value::Object(map) => map.iter().try_for_each(|(key, value)| {
                let inner = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                self.walk(&inner, value, depth + 1)
            }),
            Value::Number(number) => self.take(path, number.as_f64()),
            Value::String(text) => self.take(path, text.trim().parse().ok()),
            Value::Null | Value::Bool(_) | Value::Array(_) => Ok(()),
        }
    }

    fn take(&mut self, path: &str, value: Option<f64>) -> Result<(), GateError> {
        let Some(value) = value.filter(|v| v.is_finite()) else {
            return Ok(());
        };
        if path.len() > LONGEST_NAME {
            return Err(GateError::LongName(path.chars().take(80).collect()));
        }
        self.numbers += 1;
        if self.numbers > MOST_METRICS {
            return Err(GateError::TooMany);
        }
        match self.metrics.insert(path.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(GateError::Twice(path.to_owned())),
        }
    }

    /// What is written out wins over what is derived.
    fn add_parents(&mut self) {
        let parents: Vec<(String, f64)> = self
            .metrics
            .iter()
            .filter_map(|(path, value)| Some((path.strip_suffix(".value")?.to_owned(), *value)))
            .collect();
        for (path, value) in parents {
            self.metrics.entry(path).or_insert(value);
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
