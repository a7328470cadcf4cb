//! The hash of the audit trail: SHA-256 over parts that each say how long they are.
//!
//! A label comes first, so that a hash of the trail is never the hash of anything else; the
//! lengths keep two different lists of parts from being the same bytes.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const GENESIS: &str = "tidegate audit v1 genesis";
const ENTRY: &str = "tidegate audit v1 entry";

/// A SHA-256 hash, 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(String);

/// A text that is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hash: 64 digits 0-9 and a-f")]
pub struct HashError(
    /// The text, cut to 80 characters.
    pub String,
);

impl Hash {
    /// The hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first digits, enough for people to tell hashes apart.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// What stands before the first entry.
    pub(super) fn genesis() -> Self {
        Self::of_parts(&[GENESIS])
    }

    /// The hash of an entry that follows the one with the hash `prev`.
    pub(super) fn of_entry(prev: &Self, body: &str) -> Self {
        Self::of_parts(&[ENTRY, &prev.0, body])
    }

    /// The plain SHA-256 of a text, as `sha256sum` gives it.
    pub(super) fn of_text(text: &str) -> Self {
        Self::hex(&Sha256::digest(text.as_bytes()))
    }

    fn of_parts(parts: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        Self::hex(&hasher.finalize())
    }

    fn hex(bytes: &[u8]) -> Self {
        Self(crate::name::hex(bytes, 32))
    }
}

impl TryFrom<String> for Hash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Self(text))
        } else {
            Err(HashError(text.chars().take(80).collect()))
        }
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
