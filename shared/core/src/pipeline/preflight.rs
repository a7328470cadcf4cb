//! `[preflight]`: what is asked of a version's artifact and image beyond what `SageMaker` asks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[preflight]`: what a version's artifact and image must be before it is served. That the artifact
/// exists, and that both are in the endpoint's region, is checked in any case.
// Each is a key of its own, and any of them goes with any other.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preflight {
    /// The artifact has to be encrypted with a KMS key.
    #[serde(default)]
    pub encrypted: bool,
    /// The image has to be named by its digest (`@sha256:...`), so that it can't become another one.
    #[serde(default)]
    pub pinned_image: bool,
    /// The role that the model runs as has to be allowed to read the artifact, as far as IAM's policy
    /// simulator can tell.
    #[serde(default = "yes")]
    pub role_reads: bool,
    /// The artifact has to be the one that was registered; of a package that somebody else
    /// registered, the one that was there when it was approved.
    #[serde(default = "yes")]
    pub same_artifact: bool,
}

impl Default for Preflight {
    fn default() -> Self {
        Self {
            encrypted: false,
            pinned_image: false,
            role_reads: true,
            same_artifact: true,
        }
    }
}

impl Preflight {
    /// Whether the policy asks for nothing of its own.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn yes() -> bool {
    true
}
