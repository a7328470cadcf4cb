//! `batch` of a monitor: the captured data of batch transform jobs, which it looks at instead of the
//! endpoint's.
//!
//! Source: `BatchTransformInput` in the SageMaker API reference, and "Capture data from batch
//! transform job" in the developer guide. A definition takes either an endpoint or this.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DataFormat;
use crate::pipeline::schema;

/// Where batch transform jobs captured what they were asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"captured": "s3://bucket/prefix"}]))]
pub struct Batch {
    /// The S3 prefix of the jobs' `DataCaptureConfig`: `DestinationS3Uri`.
    #[schemars(schema_with = "schema::s3_folder")]
    pub captured: String,
    /// The form of the data that the jobs read.
    #[serde(default)]
    pub format: DataFormat,
}
