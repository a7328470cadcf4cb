//! `[stage.capture]`: which requests and answers of an endpoint SageMaker keeps in S3, for monitors
//! to look at. Source: `DataCaptureConfig` in the SageMaker API reference.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// What an endpoint config says of data capture, instead of what is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The share of requests, percent, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u8,
    /// Where to, an S3 prefix; SageMaker adds endpoint, variant and hour.
    #[schemars(schema_with = "schema::s3_folder")]
    pub to: String,
    /// The KMS key of what is written. Without it: the bucket's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kms_key")]
    pub kms_key: Option<String>,
    /// Requests, answers or both.
    #[serde(default)]
    pub what: Captured,
}

/// What is kept of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Captured {
    /// The request and the answer.
    #[default]
    Both,
    /// The request alone.
    Input,
    /// The answer alone.
    Output,
}
