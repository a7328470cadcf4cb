//! Everything of a story that is not Tidegate: the clock and what is due, AWS, the ledger, what
//! was injected, and the watch over the invariants. One value, so that one seed decides it all.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::aws::Aws;
use crate::books::Books;
use crate::checks::Blindness;
use crate::dice::mix;
use crate::fault::{Fault, Tally};
use crate::invariant::{Invariant, Watch};
use crate::story::{Edits, Plan, Story};

mod acts;
mod endpoints;
mod metrics;
mod monitors;
mod past;
mod post;
mod registry;
mod settings;

pub(crate) use monitors::Monitors;
pub(crate) use past::Past;
pub(crate) use post::Mail;
pub(crate) use registry::refusal;

/// A minute, milliseconds.
pub(crate) const MINUTE: i64 = 60_000;

/// An hour, milliseconds.
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// When every story begins: 2026-03-01T00:00:00Z.
pub(crate) const BEGINNING: i64 = 1_772_323_200_000;

/// Something that is due.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// An act of the story.
    Act(usize),
    /// A message comes to a function.
    Deliver(Mail),
    /// A running function goes on.
    Wake(u64),
    /// A running function is at its time limit.
    Stop(u64),
    /// An endpoint's change is over.
    Arrive { endpoint: String, generation: u64 },
    /// A person looks at an endpoint that failed.
    Repair { endpoint: String, generation: u64 },
    /// A schedule fires.
    Tick { rollout: String, born: i64 },
    /// The schedule of housekeeping fires.
    Housekeeping,
    /// A person sends what was dead-lettered again.
    Redrive,
    /// A person applies the policy of a plan.
    Apply(usize),
    /// Faults stop.
    Calm,
}

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Tidegate.
    Us,
    /// A person.
    People,
}

/// The whole.
pub(crate) struct Town {
    pub(crate) story: Story,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
    seq: u64,
    queue: BTreeMap<(i64, u64), Item>,
    pub(crate) aws: Aws,
    pub(crate) books: Books,
    pub(crate) watch: Watch,
    /// The endpoints of whose counts nothing is known now.
    pub(crate) blindness: Blindness,
    pub(crate) is_calm: bool,
    pub(crate) tally: Tally,
    /// The injected faults of the weather, by what decided them.
    pub(crate) injected: Vec<u64>,
    /// What lasts until when.
    pub(crate) spells: BTreeMap<Fault, i64>,
    /// What people made of each policy.
    pub(crate) edits: Vec<Edits>,
    /// Plans that were without their first stage for a while: what serves it was forgotten.
    pub(crate) shortened: Vec<bool>,
    /// Plans whose endpoints people changed, so that things may be left for them.
    pub(crate) meddled: Vec<bool>,
    /// When the function that is polled wants to go on.
    pub(crate) wake: i64,
    /// Dead-lettered messages.
    pub(crate) dead: Vec<Mail>,
    pub(crate) is_redrive_due: bool,
    /// Messages on their way and functions that run.
    pub(crate) busy: u64,
    pub(crate) log: Option<Vec<String>>,
}

impl Town {
    pub(crate) fn new(story: Story, is_loud: bool) -> Self {
        let plans = story.plans.len();
        let mut town = Self {
            now: BEGINNING,
            seq: 0,
            queue: BTreeMap::new(),
            aws: Aws::default(),
            books: Books::default(),
            watch: Watch::default(),
            blindness: Blindness::default(),
            is_calm: false,
            tally: Tally::default(),
            injected: Vec::new(),
            spells: BTreeMap::new(),
            edits: vec![Edits::default(); plans],
            meddled: vec![false; plans],
            shortened: vec![false; plans],
            wake: i64::MAX,
            dead: Vec::new(),
            is_redrive_due: false,
            busy: 0,
            log: is_loud.then(Vec::new),
            story,
        };
        for i in 0..town.story.acts.len() {
            let at = BEGINNING + town.story.acts[i].at * 1_000;
            town.due(at, Item::Act(i));
        }
        let calm = BEGINNING + town.story.calm_at * 1_000;
        town.due(calm, Item::Calm);
        town.due(BEGINNING + 5 * MINUTE, Item::Housekeeping);
        for index in 0..plans {
            town.adopt(index);
            for stage in 0..town.plan(index).stages {
                let endpoint = town.plan(index).endpoint(stage);
                town.people_watch(&endpoint);
            }
        }
        town
    }

    /// Lets something be due.
    pub(crate) fn due(&mut self, at: i64, item: Item) {
        self.seq += 1;
        if matches!(item, Item::Deliver(_) | Item::Wake(_)) {
            self.busy += 1;
        }
        self.queue.insert((at.max(self.now), self.seq), item);
    }

    /// The next thing that is due; the clock goes there.
    pub(crate) fn next(&mut self) -> Option<Item> {
        let ((at, _), item) = self.queue.pop_first()?;
        self.now = at;
        if matches!(item, Item::Deliver(_) | Item::Wake(_)) {
            self.busy -= 1;
        }
        Some(item)
    }

    pub(crate) fn time(&self) -> Timestamp {
        time_of(self.now)
    }

    pub(crate) fn plan(&self, index: usize) -> &Plan {
        &self.story.plans[index]
    }

    /// The plan that a name of ours belongs to (`p0-...`, `g0`).
    pub(crate) fn plan_of(&self, name: &str) -> usize {
        let digits = name.get(1..2).and_then(|n| n.parse().ok());
        digits.filter(|n| *n < self.story.plans.len()).unwrap_or(0)
    }

    /// Whether a fault of the weather happens at a place, which `key` tells from all others.
    pub(crate) fn strikes(&mut self, fault: Fault, key: u64) -> bool {
        let rate = u64::from(self.story.weather.rate(fault));
        if self.is_calm || rate == 0 {
            return false;
        }
        let id = mix(mix(self.story.seed, fault as u64 + 1), key);
        let only = &self.story.only;
        if id % 1_000 >= rate || only.as_ref().is_some_and(|only| !only.contains(&id)) {
            return false;
        }
        self.tally.count(fault);
        self.injected.push(id);
        true
    }

    /// A number below `n` that the place decides.
    pub(crate) fn luck(&self, key: u64, n: u64) -> u64 {
        mix(mix(self.story.seed, 99), key) % n.max(1)
    }

    /// Whether a spell lasts.
    pub(crate) fn is_spell(&self, fault: Fault) -> bool {
        self.spells
            .get(&fault)
            .is_some_and(|until| self.now < *until)
    }

    /// Writes a line of the log, if it is kept.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if self.log.is_some() {
            let line = format!("{} {}", self.clock(), line());
            if let Some(log) = &mut self.log {
                log.push(line);
            }
        }
    }

    /// The time, for people: day, hour, minute, second, tenth.
    pub(crate) fn clock(&self) -> String {
        let ms = self.now - BEGINNING;
        format!(
            "d{:02} {:02}:{:02}:{:02}.{}",
            ms / (24 * HOUR),
            ms / HOUR % 24,
            ms / MINUTE % 60,
            ms / 1_000 % 60,
            ms / 100 % 10
        )
    }

    pub(crate) fn hold(&mut self, invariant: Invariant, is: bool, what: impl FnOnce() -> String) {
        self.watch.hold(invariant, is, what);
    }
}

/// A time of the clock.
pub(crate) fn time_of(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
