//! The loop, end to end in one process: a ledger in memory, a small model of SageMaker, and the
//! events that it would send.
#![allow(clippy::unwrap_used)]

mod approvers;
mod batch;
mod batch_monitors;
mod bounds;
mod by_hand;
mod chaos;
mod contention;
mod edges;
mod findings;
mod found;
mod housekeeping;
mod judging;
mod memory;
mod monitors;
mod observe;
mod origin;
mod own_changes;
mod preflight;
mod records;
mod remains;
mod retraining;
mod reviewed;
mod role_reads;
mod slow;
mod stories;
mod tagged;
mod town;
mod tuning;
