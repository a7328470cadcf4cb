//! The audit trail: who or what did what, when and why, in a chain of hashes.
//!
//! An entry is kept as the exact JSON text of its body beside its hash, so that checking the chain
//! never depends on writing JSON the same way twice. Each hash covers the one before it; the head
//! of the ledger holds the end of the chain ([`Tip`]), without which a cut or rewritten tail could
//! not be told. Idea: Haber, Stornetta, "How to time-stamp a digital document" (1991).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bounds::cut;
use crate::name::{EventId, GroupName};

mod anchor;
mod hash;
mod summary;
mod verify;
mod words;

#[cfg(test)]
mod tests;

pub use anchor::{ANCHOR, ANCHORS, Anchor, Anchors, anchors_in};
pub use hash::{Hash, HashError};
pub use verify::{Broken, Verifier};
pub use words::{What, Who};

/// The longest body of an entry, bytes of JSON: an entry has to fit into an item of the ledger,
/// beside others in one transaction. It is the sum of what follows, and some room for the rest.
pub const LONGEST_BODY: usize = LONGEST_FACTS + LONGEST_WHY + 3 * LONGEST_NAME + 1_024;

/// Facts longer than this, bytes of JSON, are replaced by a summary and their hash.
pub const LONGEST_FACTS: usize = 24 * 1024;

/// The reason is cut at so many bytes of JSON.
pub const LONGEST_WHY: usize = 4 * 1024;

/// Names that come from outside are cut at so many bytes of JSON.
pub const LONGEST_NAME: usize = 512;

/// The end of a chain: how many entries it has, and the hash of the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// How many entries there are.
    pub n: u64,
    /// The last entry's hash; without entries, a fixed one.
    pub hash: Hash,
}

impl Default for Tip {
    fn default() -> Self {
        Self {
            n: 0,
            hash: Hash::genesis(),
        }
    }
}

/// What a new entry is about, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Who caused it.
    pub who: Who,
    /// What happened.
    pub what: What,
    /// Why, in a sentence for people.
    pub why: String,
    /// The facts that it was decided on.
    pub facts: Value,
}

/// What an entry's draft does not say itself: where and when it was decided, and by which policy.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The model package group, one chain each.
    pub group: &'a GroupName,
    /// The event that led to it.
    pub event: &'a EventId,
    /// The decision's *now*.
    pub at: Timestamp,
    /// The version of the policy in force.
    pub policy_version: u32,
    /// The Git commit that the policy came from, if it was said.
    pub commit: Option<&'a str>,
}

/// One entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place, from 1.
    pub n: u64,
    /// The exact JSON text of the body; [`Entry::read`] reads it.
    pub body: String,
    /// The hash of the body and of the entry before it.
    pub hash: Hash,
}

/// An entry's body, read for display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// Its place, from 1.
    pub n: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The model package group.
    pub group: GroupName,
    /// The event that led to it.
    pub event: EventId,
    /// Who caused it.
    pub who: Who,
    /// What happened.
    pub what: What,
    /// Why.
    pub why: String,
    /// The facts that it was decided on; if they were too long, a summary, their hash and size.
    pub facts: Value,
    /// The policy in force.
    pub policy: PolicyMark,
    /// The hash of the entry before it.
    pub prev: Hash,
}

/// Which policy was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyMark {
    /// Its version, from 1.
    pub version: u32,
    /// The Git commit that it came from, if it was said.
    pub commit: Option<String>,
}

/// An entry that can't be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The body is not what this version of Tidegate writes.
    #[error(
        "entry {n} of the audit trail can't be read: {why}; `tidegate audit verify` tells whether it was changed, a newer `tidegate` may know it"
    )]
    Unreadable {
        /// The entry.
        n: u64,
        /// Why.
        why: String,
    },
}

impl Tip {
    /// Makes the next entry of a draft, and moves the tip on to it.
    pub fn seal(&mut self, context: &Context<'_>, draft: Draft) -> Entry {
        let read = Read {
            n: self.n + 1,
            at: context.at,
            group: context.group.clone(),
            event: EventId(cut(&context.event.0, LONGEST_NAME)),
            who: match draft.who {
                Who::Person(name) => Who::Person(cut(&name, LONGEST_NAME)),
                other => other,
            },
            what: draft.what,
            why: cut(&draft.why, LONGEST_WHY),
            facts: summary::bounded(draft.facts),
            policy: PolicyMark {
                version: context.policy_version,
                commit: context.commit.map(|commit| cut(commit, LONGEST_NAME)),
            },
            prev: self.hash.clone(),
        };
        let body = written(&read);
        let hash = Hash::of_entry(&self.hash, &body);
        *self = Self {
            n: read.n,
            hash: hash.clone(),
        };
        Entry {
            n: read.n,
            body,
            hash,
        }
    }
}

impl Entry {
    /// Reads the body for display. It does not check the hash: a [`Verifier`] does.
    pub fn read(&self) -> Result<Read, AuditError> {
        let read: Read =
            serde_json::from_str(&self.body).map_err(|error| AuditError::Unreadable {
                n: self.n,
                why: error.to_string(),
            })?;
        if read.n != self.n {
            let why = format!("its body says that it is entry {}", read.n);
            return Err(AuditError::Unreadable { n: self.n, why });
        }
        Ok(read)
    }
}

fn written<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings, numbers and JSON values can be written as JSON")
}
