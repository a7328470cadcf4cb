//! The record of requests and responses, one line of JSON each, that the conformance check
//! compares with botocore's service models.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::moment::Moment;

/// Appends to a file; a line is written whole.
pub(crate) struct Recorder {
    file: Mutex<File>,
}

impl Recorder {
    pub(crate) fn to(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("can't write the record {}", path.display()))?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    pub(crate) fn write(
        &self,
        at: Moment,
        service: &str,
        operation: &str,
        input: &Value,
        result: &Result<Value, ApiError>,
    ) {
        let mut line = json!({
            "time": at.iso(), "service": service, "operation": operation, "input": input,
        });
        match result {
            Ok(output) => {
                line["status"] = json!(200);
                line["output"] = output.clone();
            }
            Err(error) => {
                line["status"] = json!(error.status);
                line["error"] = json!({"code": error.code, "message": error.message});
            }
        }
        let text = format!("{line}\n");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(text.as_bytes()) {
            tracing::error!(%error, "the record could not be written");
        }
    }
}
