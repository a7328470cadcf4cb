//! All of core under faults, in one process on a virtual clock.
//!
//! A seed gives a story: pipelines, weeks of trainings and approvals, people at the worst moments,
//! and weather. The functions' logic runs against a model of AWS and a model of the ledger, goes on
//! from call to call in an order that the clock decides, dies, is tried again and dead-lettered;
//! invariants are checked wherever something changes. The same seed tells the same story, byte for
//! byte, on every machine: no thread, no real time and no foreign source of chance is in it.

mod aws;
mod books;
mod checks;
pub mod dice;
pub mod fault;
pub mod invariant;
#[cfg(feature = "mutations")]
pub mod mutations;
mod port;
pub mod report;
pub mod run;
pub mod shrink;
pub mod story;
mod town;
