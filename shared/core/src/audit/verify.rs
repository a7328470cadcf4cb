//! Proving that no entry of a trail was changed, dropped, moved or added.
//!
//! Entries come in their order, one at a time, so a trail of any length needs no memory. The tip
//! comes from the ledger's head, or from a copy that was kept elsewhere: whoever can rewrite the
//! whole trail *and* the head can be caught by such a copy only.

use serde::Deserialize;

use super::{Entry, Hash, Tip};

/// Where a trail is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry was changed after it was written.
    #[error(
        "entry {n} of the audit trail was changed after it was written: its hash does not match"
    )]
    Hash {
        /// The entry.
        n: u64,
    },
    /// An entry is intact and does not follow the one before it.
    #[error(
        "entry {n} of the audit trail does not follow the entry before it: one of the two was replaced"
    )]
    Link {
        /// The entry.
        n: u64,
    },
    /// An entry is not where it has to be.
    #[error("entry {n} of the audit trail is missing or out of its place")]
    Missing {
        /// The entry that should have come.
        n: u64,
    },
    /// The trail's end is not the one that the head says.
    #[error("the audit trail ends with entry {} ({}), and should end with entry {} ({})", found.n, found.hash.short(), expected.n, expected.hash.short())]
    Tail {
        /// The end that the head says.
        expected: Tip,
        /// The end of the entries.
        found: Tip,
    },
    /// An entry whose hash matches was never written by Tidegate.
    #[error("entry {n} of the audit trail is not one that Tidegate writes: {why}")]
    Unreadable {
        /// The entry.
        n: u64,
        /// Why.
        why: String,
    },
}

/// Checks a trail, entry by entry, from the first. After a break it reports the same one.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    tip: Tip,
    broken: Option<Broken>,
}

/// What the check needs of a body; the rest may be of a newer version.
#[derive(Deserialize)]
struct Place {
    n: u64,
    prev: Hash,
}

impl Verifier {
    /// Nothing checked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the next entry.
    pub fn push(&mut self, entry: &Entry) -> Result<(), Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        match self.check(entry) {
            Ok(()) => {
                self.tip = Tip {
                    n: entry.n,
                    hash: entry.hash.clone(),
                };
                Ok(())
            }
            Err(broken) => {
                self.broken = Some(broken.clone());
                Err(broken)
            }
        }
    }

    /// Checks that the trail ends where the head says, and tells how many entries it has.
    pub fn finish(&self, expected: &Tip) -> Result<u64, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if self.tip == *expected {
            return Ok(self.tip.n);
        }
        Err(Broken::Tail {
            expected: expected.clone(),
            found: self.tip.clone(),
        })
    }

    fn check(&self, entry: &Entry) -> Result<(), Broken> {
        let n = self.tip.n + 1;
        if entry.n != n {
            return Err(Broken::Missing { n });
        }
        let place = serde_json::from_str::<Place>(&entry.body);
        if Hash::of_entry(&self.tip.hash, &entry.body) != entry.hash {
            // An entry that matches its own account of what was before it is a whole one, of
            // another place or another trail.
            let whole = place.is_ok_and(|p| Hash::of_entry(&p.prev, &entry.body) == entry.hash);
            return Err(if whole {
                Broken::Link { n }
            } else {
                Broken::Hash { n }
            });
        }
        match place {
            Err(error) => Err(Broken::Unreadable {
                n,
                why: error.to_string(),
            }),
            Ok(place) if place.n != n => {
                let why = format!("its body says that it is entry {}", place.n);
                Err(Broken::Unreadable { n, why })
            }
            Ok(place) if place.prev != self.tip.hash => Err(Broken::Link { n }),
            Ok(_) => Ok(()),
        }
    }
}
