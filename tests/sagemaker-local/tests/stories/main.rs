//! Stories of the emulator as its clients see it, each against an emulator of its own.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod conformance;
mod control_plane;
mod endpoints;
mod lineage;
mod metrics;
mod monitor;
mod processes;
mod support;
mod tuning;
