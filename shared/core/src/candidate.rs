//! A candidate: a model version on its way, as its package tells of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::gate::Metrics;
use crate::name::PackageVersion;
use crate::world::Package;

/// The start of the metadata keys that hold metrics.
pub(crate) const METRIC_KEY: &str = "metric:";

/// The metadata key of the training job.
pub(crate) const JOB_KEY: &str = "tidegate:job";

/// A version on its way to an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its version.
    pub version: PackageVersion,
    /// Its package's ARN.
    pub package: String,
    /// When it was approved: the package's `LastModifiedTime` then.
    pub approved_at: Timestamp,
    /// Who approved it, as far as SageMaker says.
    pub approved_by: Option<String>,
    /// Its metrics, from its package.
    pub metrics: Metrics,
    /// The training job it came from, from its package.
    pub job: Option<String>,
}

/// A candidate as its package tells of it.
pub fn of_package(package: &Package) -> Candidate {
    let metrics = package
        .metadata
        .iter()
        .filter_map(|(k, v)| Some((k.strip_prefix(METRIC_KEY)?.to_owned(), v.parse().ok()?)))
        .filter(|(_, value): &(String, f64)| value.is_finite())
        .collect();
    Candidate {
        version: package.version,
        package: package.arn.clone(),
        approved_at: package.modified,
        approved_by: package.modified_by.clone(),
        metrics,
        job: package.metadata.get(JOB_KEY).cloned(),
    }
}

/// When a package's approval was given, as far as a decision may trust it.
pub(crate) fn approval_time(package: &Package) -> Timestamp {
    package.modified.max(package.created)
}
