//! Model Monitor: job definitions, schedules, their executions, and the analysis that finds drift
//! in what an endpoint captured.
//!
//! `definition.rs`, `schedule.rs` and `execution.rs` are the API and what happens when;
//! `analyzer.rs` and `clarify.rs` stand for AWS's containers, and the files below them for what those
//! compute.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::moment::Span;
use crate::resource::Resource;

pub(crate) mod analyzer;
mod attribution;
mod batch;
mod bias;
pub(crate) mod checks;
pub(crate) mod clarify;
mod constraints;
pub(crate) mod definition;
pub(crate) mod execution;
mod quality;
pub(crate) mod schedule;
mod sketch;
mod statistics;
pub(crate) mod table;
mod timing;

/// Executions kept, of all schedules together.
const EXECUTIONS_KEPT: usize = 5_000;
/// "There could be a delay of 0-20 minutes from the actual requested time to run the execution."
const LONGEST_DELAY: i64 = 20 * 60;

/// What Model Monitor remembers.
pub(crate) struct Monitoring {
    /// By name.
    pub(crate) schedules: BTreeMap<String, schedule::Schedule>,
    pub(crate) definitions: BTreeMap<(definition::Kind, String), Resource>,
    /// Oldest first; those of deleted schedules too, as in AWS.
    pub(crate) executions: VecDeque<execution::Execution>,
    numbered: u64,
    rng: StdRng,
}

impl Monitoring {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            schedules: BTreeMap::new(),
            definitions: BTreeMap::new(),
            executions: VecDeque::new(),
            numbered: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// A number that no other schedule or execution has.
    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// How late an execution starts.
    fn delay(&mut self) -> Span {
        Span::seconds(self.rng.random_range(0..=LONGEST_DELAY))
    }

    /// Remembers an execution.
    pub(crate) fn remember(&mut self, execution: execution::Execution) {
        if self.executions.len() >= EXECUTIONS_KEPT {
            self.executions.pop_front();
        }
        self.executions.push_back(execution);
    }

    /// The name of a new processing job.
    pub(crate) fn job_name(&mut self, end: crate::moment::Moment) -> String {
        let time: String = end
            .iso()
            .chars()
            .filter(char::is_ascii_digit)
            .take(12)
            .collect();
        format!(
            "model-monitoring-{time}-{:024x}",
            self.rng.random::<u128>() >> 32
        )
    }
}
