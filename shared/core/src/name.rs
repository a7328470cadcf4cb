//! The names of things: each kind of name is a type of its own, checked once where it comes in.
//!
//! Patterns and lengths are those of the SageMaker API reference (`CreateEndpoint`,
//! `CreateModelPackageGroup`, `CreateTrainingJob`), where every name is 1 to 63 letters, digits
//! and inner hyphens.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A name that is not what AWS allows for such a thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a name of {what}: {rule}")]
pub struct NameError {
    /// What the name should have named, for example "an endpoint".
    pub what: &'static str,
    /// The rule that it breaks, in words.
    pub rule: &'static str,
    /// The value as it came, cut to 80 characters.
    pub value: String,
}

const AWS_RULE: &str = "1 to 63 letters, digits and hyphens, with no hyphen at either end";

fn is_aws_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Checks `text` against the pattern for such a name.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if is_aws_name(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { what: $what, rule: AWS_RULE, value: text.chars().take(80).collect() })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// A pipeline: the policy of one model family.
    PipelineName, "a pipeline";
    /// A model package group.
    GroupName, "a model package group";
    /// A real-time endpoint.
    EndpointName, "an endpoint";
    /// A stage of a pipeline: one endpoint, in its order.
    StageName, "a stage";
    /// A training job.
    JobName, "a training job";
    /// A hyperparameter tuning job; SageMaker allows 32 characters of these.
    TuningName, "a hyperparameter tuning job";
    /// A Model Monitor schedule.
    ScheduleName, "a monitoring schedule";
}

/// A model package's version number within its group, 1 and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PackageVersion(pub u32);

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// The id of an event, as its envelope has it; for ticks, made from the rollout and the minute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub String);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a rollout: made from the group, the stage, the version and its approval, so that one
/// approval never gives two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RolloutId(pub String);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client token: 32 hexadecimal digits of a hash of what it is for.
pub fn token(of: &str) -> String {
    hex(Sha256::digest(of.as_bytes()).as_slice(), 16)
}

/// The first `n` bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8], n: usize) -> String {
    bytes
        .iter()
        .take(n)
        .fold(String::with_capacity(2 * n), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
            }
            text
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_follow_the_api_reference() {
        for good in ["a", "fraud-prod", "F1", "a--b"] {
            assert_eq!(EndpointName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "a_b", "a/b", "ü", &"x".repeat(64)] {
            assert!(EndpointName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
