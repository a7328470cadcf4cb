//! All that the emulator remembers, and what is due when.
//!
//! One struct behind one mutex: locks are short and never held over an await. Work that takes
//! emulator time is put into [`World::schedule`] and done by the driver (`drive.rs`) in order.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::oneshot;

use crate::app::Working;
use crate::capture::Captures;
use crate::cloudwatch::Custom;
use crate::endpoint::Endpoint;
use crate::events::Event;
use crate::faults::Faults;
use crate::lineage::Lineage;
use crate::metrics::Metrics;
use crate::moment::{Moment, Span};
use crate::monitor::Monitoring;
use crate::packages::Registry;
use crate::pipelines::Pipelines;
use crate::processing;
use crate::resource::Resources;
use crate::tags::Tags;
use crate::training::Job;
use crate::tuning::Tunings;

/// How many sent events are kept for the admin API.
const EVENTS_KEPT: usize = 2_000;
/// How many events may wait to be sent before the oldest is dropped with an error in the log.
const OUTBOX_LIMIT: usize = 10_000;

/// The emulator's state.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) tags: Tags,
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) tunings: Tunings,
    pub(crate) registry: Registry,
    pub(crate) models: Resources,
    pub(crate) configs: Resources,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) pipelines: Pipelines,
    pub(crate) processing: BTreeMap<String, processing::Job>,
    pub(crate) monitoring: Monitoring,
    pub(crate) lineage: Lineage,
    pub(crate) captures: Captures,
    pub(crate) metrics: Metrics,
    /// CloudWatch metrics that users put.
    pub(crate) custom: Custom,
    pub(crate) faults: Faults,
    due: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    duplicate_events: bool,
    outbox: VecDeque<Event>,
    sent: VecDeque<Event>,
}

/// Work that waits for its time.
pub(crate) enum Due {
    /// A deployment's shortest time is over, or its servers have reported.
    Deployment { endpoint: String, generation: u64 },
    /// An endpoint that is going back to its old config is there.
    RolledBack { endpoint: String, generation: u64 },
    /// A deleted endpoint is gone.
    Deleted { endpoint: String, generation: u64 },
    /// The next slice of an endpoint's generated traffic.
    Traffic { endpoint: String, generation: u64 },
    /// Captured data of an endpoint goes to S3.
    Captures { endpoint: String },
    /// A monitoring schedule has an execution to begin.
    Monitor { schedule: String, generation: u64 },
    /// The schedules of EventBridge Scheduler are read again.
    ReadSchedules,
    /// A schedule fires.
    Fire { schedule: String, generation: u64 },
    /// An event is sent (again).
    Emit(Box<Event>),
    /// A task that sleeps on the emulator's clock wakes, and works.
    Wake(oneshot::Sender<Working>),
}

struct Entry {
    at: Moment,
    sequence: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl World {
    pub(crate) fn new(seed: u64, duplicate_events: bool, metrics: Metrics, has_s3: bool) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            tags: Tags::default(),
            jobs: BTreeMap::new(),
            tunings: Tunings::new(),
            registry: Registry::default(),
            models: Resources::default(),
            configs: Resources::default(),
            endpoints: BTreeMap::new(),
            pipelines: Pipelines::default(),
            processing: BTreeMap::new(),
            monitoring: Monitoring::new(seed),
            lineage: Lineage::default(),
            captures: Captures::new(has_s3, seed),
            metrics,
            custom: Custom::new(),
            faults: Faults::default(),
            due: BinaryHeap::new(),
            sequence: 0,
            duplicate_events,
            outbox: VecDeque::new(),
            sent: VecDeque::new(),
        }
    }

    /// Puts work down for its time; work for the same time is done in the order it was put down.
    pub(crate) fn schedule(&mut self, at: Moment, due: Due) {
        self.sequence += 1;
        self.due.push(Reverse(Entry {
            at,
            sequence: self.sequence,
            due,
        }));
    }

    /// When the next work is due.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.due.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next work that is due at or before a moment.
    pub(crate) fn take_due(&mut self, until: Moment) -> Option<(Moment, Due)> {
        if self.next_due()? > until {
            return None;
        }
        self.due.pop().map(|Reverse(entry)| (entry.at, entry.due))
    }

    /// An event for EventBridge, sent soon; with duplicates on, again within 30 s.
    pub(crate) fn emit(&mut self, event: Event) {
        if self.duplicate_events {
            let late = Span::millis(self.rng.random_range(0..30_000));
            self.schedule(event.at + late, Due::Emit(Box::new(event.clone())));
        }
        self.send(event);
    }

    /// An event for EventBridge, once.
    pub(crate) fn send(&mut self, event: Event) {
        if self.outbox.len() >= OUTBOX_LIMIT {
            tracing::error!(
                limit = OUTBOX_LIMIT,
                "too many events wait; the oldest is dropped"
            );
            self.outbox.pop_front();
        }
        self.outbox.push_back(event);
    }

    /// Takes up to ten events to send, as many as `PutEvents` takes.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        let count = self.outbox.len().min(10);
        let batch: Vec<Event> = self.outbox.drain(..count).collect();
        for event in &batch {
            if self.sent.len() >= EVENTS_KEPT {
                self.sent.pop_front();
            }
            self.sent.push_back(event.clone());
        }
        batch
    }

    /// The latest events, for the admin API.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.sent.iter()
    }

    /// A length around `seconds`, a tenth shorter or longer.
    pub(crate) fn jitter(&mut self, seconds: u32) -> Span {
        Span::from_secs_f64(f64::from(seconds) * self.rng.random_range(0.9..1.1))
    }

    /// `length` random lower-case letters and digits.
    pub(crate) fn suffix(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..length)
            .map(|_| char::from(LETTERS[self.rng.random_range(0..LETTERS.len())]))
            .collect()
    }
}
