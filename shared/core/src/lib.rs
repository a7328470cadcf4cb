//! Everything that Tidegate decides.
//!
//! No AWS crate, no clock, no I/O and no unsafe code: values in, values out. Time comes from
//! events, the outside through the two ports [`ledger`] and [`world`], so that all behaviour can
//! be replayed and simulated.
#![forbid(unsafe_code)]

pub mod access;
pub mod approval;
pub mod artifact;
pub mod audit;
pub mod bounds;
pub mod candidate;
pub mod case;
pub mod decide;
pub mod decision;
pub mod engine;
pub mod event;
pub mod evidence;
pub mod facts;
pub mod finding;
pub mod gate;
pub mod head;
pub mod ledger;
pub mod monitors;
#[doc(hidden)]
pub mod mutation;
pub mod name;
pub mod notice;
pub mod observe;
pub mod origin;
pub mod pipeline;
pub mod preflight;
pub mod principal;
pub mod record;
pub mod registration;
pub mod retrain;
pub mod rollout;
pub mod run_once;
pub mod trace;
pub mod triage;
mod tuning;
pub mod turn;
pub mod world;
