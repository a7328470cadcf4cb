//! Events in the whole local world: what can't be read is kept, what is none of Tidegate's business
//! is dropped, repeats count once, findings roll back or retrain, dead letters are sent again.
//!
//! Few worlds, since each takes seconds to start: one test is one world with several stories.

#[path = "../common/mod.rs"]
mod common;

mod approvers;
mod batch;
mod batch_followed;
mod clarify;
mod crash;
mod deadletters;
mod findings;
mod graph;
mod kinds;
mod monitors;
mod registration;
mod retrained;
mod roles;
mod senders;
mod tuned;
mod unreadable;
