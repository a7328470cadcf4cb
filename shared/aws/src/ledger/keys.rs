//! The keys of the ledger's items: core's table of sort keys, and two that a table needs beside.
//!
//! `past#<time>#<rollout>` points to a finished rollout: the rollouts' own keys don't sort by time.
//! `pending` is the hash of the sparse index that holds the effects that are still to be done, and
//! the heads of pipelines where something is under way or waits.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use tidegate_core::ledger::RouteKind;
use tidegate_core::name::{EventId, GroupName, JobName, RolloutId};
use tidegate_core::rollout::Rollout;

pub(super) const PARTITION: &str = "pk";
pub(super) const SORT: &str = "sk";
/// The document as JSON text.
pub(super) const DOC: &str = "doc";
/// The document, deflated, where it is long.
pub(super) const PACKED: &str = "packed";
/// The head's version, a number.
pub(super) const VERSION: &str = "version";
/// When `DynamoDB` may remove the item, epoch seconds.
pub(super) const EXPIRES: &str = "expires";
/// The group that a route leads to.
pub(super) const GROUP: &str = "group";
/// The sparse index's hash, and its name.
pub(super) const PENDING: &str = "pending";
/// The only value of it.
pub(super) const IS_PENDING: &str = "effect";
/// The start of a pipeline's partition.
pub(super) const GROUP_PARTITION: &str = "group#";

pub(super) const HEAD: &str = "head";
pub(super) const POLICY: &str = "head#policy";
/// With [`STATE_TO`], everything that a decision starts from: effects, head and policy.
pub(super) const STATE_FROM: &str = "effect#";
pub(super) const STATE_TO: &str = "head#~";
pub(super) const AUDIT_TO: &str = "audit#~";
pub(super) const PAST_FROM: &str = "past#";
pub(super) const PAST_TO: &str = "past#~";

/// The longest event id that is a key as it is; a sort key has 1,024 bytes.
const LONGEST_ID: usize = 256;

pub(super) fn group(group: &GroupName) -> String {
    format!("{GROUP_PARTITION}{group}")
}

pub(super) fn routes(kind: RouteKind) -> String {
    format!("route#{}", kind.word())
}

pub(super) fn audit(n: u64) -> String {
    format!("audit#{n:010}")
}

pub(super) fn effect(id: &str) -> String {
    format!("effect#{id}")
}

pub(super) fn job(job: &JobName) -> String {
    format!("job#{job}")
}

pub(super) fn rollout(id: &RolloutId) -> String {
    format!("rollout#{id}")
}

/// The pointer to a finished rollout: sorts by when it ended.
pub(super) fn past(rollout: &Rollout) -> String {
    let at = rollout
        .ended
        .unwrap_or(rollout.started)
        .as_millisecond()
        .max(0);
    format!("past#{at:015}#{}", rollout.id)
}

/// Event ids come from outside and may be of any length.
pub(super) fn seen(event: &EventId) -> String {
    if event.0.len() <= LONGEST_ID {
        return format!("seen#{event}");
    }
    let mut key = "seen#sha256:".to_owned();
    for byte in Sha256::digest(event.0.as_bytes()) {
        // Writing to a String can't fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_holds_the_effects_the_head_and_the_policy_and_nothing_else() {
        let inside = [effect("0000000001-000"), HEAD.to_owned(), POLICY.to_owned()];
        let outside = ["audit#0000000001", "job#x", "past#1", "rollout#x", "seen#x"];
        for key in &inside {
            assert!((STATE_FROM..=STATE_TO).contains(&key.as_str()), "{key}");
        }
        for key in outside {
            assert!(!(STATE_FROM..=STATE_TO).contains(&key), "{key}");
        }
    }

    #[test]
    fn an_event_id_of_any_length_is_a_key() {
        assert_eq!(seen(&EventId("abc".into())), "seen#abc");
        let long = seen(&EventId("x".repeat(100_000)));
        assert!(long.len() < 100, "{long}");
        assert_ne!(long, seen(&EventId("y".repeat(100_000))));
    }
}
