//! A candidate: a model version on its way, as its package tells of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::{cut, json_bytes};
use crate::gate::Metrics;
use crate::name::PackageVersion;
use crate::origin::FINDING_KEY;
use crate::world::Package;

/// The start of the metadata keys that hold metrics.
pub(crate) const METRIC_KEY: &str = "metric:";

/// The metadata key of the training job.
pub(crate) const JOB_KEY: &str = "tidegate:job";

/// The most that a candidate's metrics take, bytes of JSON: 45 with names of 60 characters. A state
/// has up to twenty candidates. Metrics that find no room are left out.
pub const LONGEST_METRICS: usize = 4 * 1024;

/// A number with what is around it in JSON, bytes.
const LONGEST_NUMBER: usize = 28;

/// Who approved it, and why it was trained, are cut at so many bytes of JSON each.
const LONGEST_NAME: usize = 512;

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
    /// What its artifacts were when its approval was first seen, where its package does not say
    /// what they were when it was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// The finding that it was trained because of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
}

/// A candidate as its package tells of it.
pub fn of_package(package: &Package) -> Candidate {
    let mut left = LONGEST_METRICS;
    let mut fits = |(name, _): &(String, f64)| {
        let rest = left.checked_sub(json_bytes(name) + LONGEST_NUMBER);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let metrics = package
        .metadata
        .iter()
        .filter_map(|(k, v)| Some((k.strip_prefix(METRIC_KEY)?.to_owned(), v.parse().ok()?)))
        .filter(|(_, value): &(String, f64)| value.is_finite())
        .filter(&mut fits)
        .collect();
    Candidate {
        version: package.version,
        package: package.arn.clone(),
        approved_at: package.modified,
        approved_by: package
            .modified_by
            .as_deref()
            .map(|by| cut(by, LONGEST_NAME)),
        metrics,
        job: package.metadata.get(JOB_KEY).cloned(),
        artifact: None,
        finding: package
            .metadata
            .get(FINDING_KEY)
            .map(|finding| cut(finding, LONGEST_NAME)),
    }
}

/// When a package's approval was given, as far as a decision may trust it.
pub(crate) fn approval_time(package: &Package) -> Timestamp {
    package.modified.max(package.created)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::Approval;
    use crate::name::GroupName;

    fn package(metadata: BTreeMap<String, String>) -> Package {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        Package {
            arn: "arn".to_owned(),
            group: GroupName::parse("g").unwrap(),
            version: PackageVersion(1),
            approval: Approval::Approved,
            usable: true,
            failure: None,
            approval_description: None,
            created: at,
            modified: at,
            modified_by: Some("ana".repeat(1_000)),
            image: None,
            artifacts: Vec::new(),
            metadata,
            origin: crate::origin::Origin::default(),
            drift_baselines: BTreeMap::new(),
        }
    }

    #[test]
    fn a_candidate_keeps_the_metrics_that_have_room_and_no_more() {
        let named = |n: usize, characters: usize| {
            let name = format!("{METRIC_KEY}{n:02}{}", "ä".repeat(characters));
            (name, "-1.2345678901234567e-300".to_owned())
        };
        let usual = of_package(&package((0..45).map(|n| named(n, 25)).collect()));
        assert_eq!(usual.metrics.len(), 45);
        let mut long: BTreeMap<String, String> = (0..49).map(|n| named(n, 119)).collect();
        long.insert(format!("{METRIC_KEY}z"), "0.5".to_owned());
        let candidate = of_package(&package(long));
        assert!(
            candidate.metrics.contains_key("z"),
            "a short one finds room behind long ones"
        );
        let json = serde_json::to_string(&candidate).unwrap();
        assert!(json.len() < LONGEST_METRICS + 1_024, "{}", json.len());
    }
}
