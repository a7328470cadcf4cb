//! Names of what a rollout makes. Each is derived from the rollout alone, so that a crash and a
//! second try find the first one's work.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::name::{EndpointName, GroupName, PackageVersion, RolloutId, StageName, hex};

/// The id of the rollout of an approval: the same approval always gives the same.
pub fn rollout_id(
    group: &GroupName,
    stage: &StageName,
    version: PackageVersion,
    approved_at: Timestamp,
) -> RolloutId {
    let text = format!(
        "{group}\n{stage}\n{}\n{}",
        version.0,
        approved_at.as_nanosecond()
    );
    RolloutId(format!(
        "{}-{version}-{}",
        cut(stage.as_str(), 30),
        short_hash(&text)
    ))
}

/// The id of a look at a canary that somebody else shifts.
pub(super) fn observation_id(
    group: &GroupName,
    stage: &StageName,
    canary: &str,
    began: Timestamp,
) -> RolloutId {
    let text = format!("{group}\n{stage}\n{canary}\n{}", began.as_nanosecond());
    RolloutId(format!(
        "{}-observed-{}",
        cut(stage.as_str(), 30),
        short_hash(&text)
    ))
}

/// What a name of a model or config is made of: `<endpoint>-v<version>-<hash>`, at most 58
/// characters, which leaves room for a suffix within SageMaker's 63.
pub(super) fn stem(endpoint: &EndpointName, version: PackageVersion, id: &RolloutId) -> String {
    format!(
        "{}-{version}-{}",
        cut(endpoint.as_str(), 36),
        short_hash(&format!("{endpoint}\n{id}"))
    )
}

/// Whether a model has a name that only Tidegate gives, on this endpoint.
pub(super) fn is_our_model(endpoint: &EndpointName, model: &str) -> bool {
    let rest = model.strip_prefix(cut(endpoint.as_str(), 36));
    let parts = rest.and_then(|rest| rest.strip_prefix("-v")?.split_once('-'));
    parts.is_some_and(|(version, hash)| {
        let is_hash = hash.len() == 10 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        version.parse::<u32>().is_ok() && is_hash
    })
}

/// The first `n` bytes of a name, without a hyphen at the end. Names are ASCII.
fn cut(name: &str, n: usize) -> &str {
    name.get(..n).unwrap_or(name).trim_end_matches('-')
}

fn short_hash(text: &str) -> String {
    hex(Sha256::digest(text.as_bytes()).as_slice(), 5)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_fit_sagemaker_and_differ_by_approval() {
        let long = "e".repeat(63);
        let endpoint = EndpointName::parse(&long).unwrap();
        let group = GroupName::parse("g").unwrap();
        let stage = StageName::parse(&long).unwrap();
        let version = PackageVersion(u32::MAX);
        let first = rollout_id(&group, &stage, version, Timestamp::UNIX_EPOCH);
        let second = rollout_id(&group, &stage, version, Timestamp::MAX);
        assert_ne!(first, second);
        assert!(stem(&endpoint, version, &first).len() + 2 <= 63);
        assert!("tidegate-".len() + first.0.len() <= 64);
        assert_ne!(
            stem(&endpoint, version, &first),
            stem(&endpoint, version, &second)
        );
    }
}
