//! Tells a story: takes what is due, runs functions as far as their next call, lets them die, tries
//! them again, and stops when all is quiet or an invariant breaks.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};

use tidegate_core::engine::{EngineError, apply, handle};
use tidegate_core::event::EndpointStatus;

use crate::checks::{End, end_of};
use crate::dice::mix;
use crate::fault::{Fault, Tally};
use crate::invariant::{Broken, Checked, Invariant};
use crate::port::{Port, locked};
use crate::story::Story;
use crate::town::{BEGINNING, HOUR, Item, Mail, Town};

/// How long everything gets once faults stopped.
const DRAIN: i64 = 20 * 24 * HOUR;

/// How long a function has, less its reserve.
const TIME_LIMIT: i64 = 58_500;

/// Lambda's own tries of an asynchronous invocation after the first.
const RETRIES: u8 = 2;

/// What came of a story.
pub struct Told {
    /// The invariant that broke first, if one did.
    pub broken: Option<Broken>,
    /// Faults by kind.
    pub tally: Tally,
    /// Checks by invariant.
    pub checked: Checked,
    /// How long it was, milliseconds of its own time.
    pub lasted: i64,
    /// The log, if it was asked for.
    pub log: Vec<String>,
    /// The injected faults of the weather.
    pub injected: Vec<u64>,
    pub(crate) end: End,
}

/// Tells a story, and where order allows tells it again without its weather: both end the same.
pub fn tell(story: &Story) -> Told {
    let told = tell_once(story, false);
    finish(story, told)
}

/// The same with its log.
pub fn tell_aloud(story: &Story) -> Told {
    let told = tell_once(story, true);
    finish(story, told)
}

fn finish(story: &Story, mut told: Told) -> Told {
    if told.broken.is_some() || !story.is_plain {
        return told;
    }
    let calm = tell_once(&story.without_weather(), false);
    let mut watch = crate::invariant::Watch::default();
    let is_same = calm.broken.is_none() && calm.end == told.end;
    let what = || format!("with faults: {:?}\nwithout: {:?}", told.end, calm.end);
    watch.hold(Invariant::SameEnd, is_same, what);
    told.checked.add(&watch.checked);
    told.broken = watch.broken.map(|(invariant, what)| Broken {
        invariant,
        what: calm
            .broken
            .map_or(what, |b| format!("even without faults: {}", b.what)),
        at: "the end".to_owned(),
    });
    told
}

fn tell_once(story: &Story, is_loud: bool) -> Told {
    let town = Mutex::new(Town::new(story.clone(), is_loud));
    let result = catch_unwind(AssertUnwindSafe(|| drive(&town)));
    let mut town = town
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Err(panic) = result {
        let said = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        town.hold(Invariant::Terminates, false, || {
            format!("panic: {}", said.unwrap_or_default())
        });
    }
    let at = town.clock();
    let broken = town.watch.broken.take().map(|(invariant, what)| Broken {
        invariant,
        what,
        at,
    });
    Told {
        broken,
        end: end_of(&town),
        tally: town.tally,
        checked: town.watch.checked,
        lasted: town.now - BEGINNING,
        log: town.log.unwrap_or_default(),
        injected: town.injected,
    }
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<Vec<String>, EngineError>> + Send + 'a>>;

/// What a function runs for.
enum For {
    Mail(Mail),
    Policy(usize),
}

/// A function that runs.
struct Run<'a> {
    work: Work<'a>,
    is_for: For,
    /// It dies after so many more steps.
    steps_left: Option<u64>,
    /// How many faults there had been when it began.
    faults: usize,
    /// Whether its rollout's endpoint took calls when it began.
    was_ready: bool,
}

struct Runner<'a> {
    town: &'a Mutex<Town>,
    running: BTreeMap<u64, Run<'a>>,
    next: u64,
}

fn drive(town: &Mutex<Town>) {
    let mut runner = Runner {
        town,
        running: BTreeMap::new(),
        next: 0,
    };
    let plans = locked(town).story.plans.len();
    for plan in 0..plans {
        locked(town).due(BEGINNING, Item::Apply(plan));
    }
    let end = BEGINNING + locked(town).story.calm_at * 1_000 + DRAIN;
    loop {
        let item = {
            let mut town = locked(town);
            if town.watch.broken.is_some() {
                return;
            }
            if town.now > end || (runner.running.is_empty() && town.is_quiet()) {
                break;
            }
            town.next()
        };
        let Some(item) = item else { break };
        runner.take(item);
    }
    locked(town).check_end();
}

impl Runner<'_> {
    fn take(&mut self, item: Item) {
        match item {
            Item::Deliver(mail) => self.start(For::Mail(mail)),
            Item::Apply(plan) => self.start(For::Policy(plan)),
            Item::Wake(id) => self.step(id),
            Item::Stop(id) => {
                if let Some(run) = self.running.remove(&id) {
                    let mut town = locked(self.town);
                    town.tally.count(Fault::Timeout);
                    drop(town);
                    self.failed(run.is_for, "it ran out of time");
                }
            }
            Item::Act(index) => locked(self.town).act(index),
            Item::Arrive {
                endpoint,
                generation,
            } => locked(self.town).arrive(&endpoint, generation),
            Item::Repair {
                endpoint,
                generation,
            } => locked(self.town).repair(&endpoint, generation),
            Item::Tick { rollout, born } => locked(self.town).fire(&rollout, born),
            Item::Housekeeping => {
                let mut town = locked(self.town);
                let end = BEGINNING + town.story.calm_at * 1_000 + DRAIN;
                town.keep_house(end);
            }
            Item::Redrive => locked(self.town).redrive(),
            Item::Calm => locked(self.town).calm(),
        }
    }

    fn start(&mut self, is_for: For) {
        let id = self.next;
        self.next += 1;
        let town = self.town;
        let (work, steps_left, was_ready): (Work<'_>, _, _) = match &is_for {
            For::Mail(mail) => {
                let mut held = locked(town);
                let what = mail.what.clone();
                if mail.rollout.is_none() {
                    held.say(|| format!("-> {what}"));
                }
                let key = mix(mail.key, 1_000 + u64::from(mail.attempt));
                let dies = held.strikes(Fault::Crash, key);
                let steps = dies.then(|| held.luck(mix(key, 1), 40));
                let was_ready = is_ready(&held, mail);
                drop(held);
                let bytes = mail.bytes.clone();
                let work = async move {
                    let port = Port {
                        town,
                        key,
                        calls: AtomicU64::new(0),
                    };
                    let handled = handle(&port, &port, &bytes).await?;
                    Ok(handled.done)
                };
                (Box::pin(work), steps, was_ready)
            }
            For::Policy(plan) => {
                let held = locked(town);
                let plan = *plan;
                let policy = held.plan(plan).policy(held.edits[plan]);
                let now = held.time();
                let key = mix(held.now.unsigned_abs(), plan as u64);
                drop(held);
                let work = async move {
                    let port = Port {
                        town,
                        key,
                        calls: AtomicU64::new(0),
                    };
                    let applied = apply(&port, policy, "ada", None, now).await?;
                    Ok(vec![format!("policy {plan}, version {}", applied.version)])
                };
                (Box::pin(work), None, false)
            }
        };
        let mut held = locked(town);
        let limit = held.now + TIME_LIMIT;
        held.due(limit, Item::Stop(id));
        let faults = held.injected.len();
        drop(held);
        let run = Run {
            work,
            is_for,
            steps_left,
            faults,
            was_ready,
        };
        self.running.insert(id, run);
        self.step(id);
    }

    /// Lets a function go on until it waits again.
    fn step(&mut self, id: u64) {
        let Some(run) = self.running.get_mut(&id) else {
            return;
        };
        if let Some(left) = &mut run.steps_left {
            if *left == 0 {
                if let Some(run) = self.running.remove(&id) {
                    self.failed(run.is_for, "it died");
                }
                return;
            }
            *left -= 1;
        }
        locked(self.town).wake = i64::MAX;
        let mut context = Context::from_waker(Waker::noop());
        match run.work.as_mut().poll(&mut context) {
            Poll::Pending => {
                let mut town = locked(self.town);
                let at = town.wake;
                town.due(at, Item::Wake(id));
            }
            Poll::Ready(result) => {
                if let Some(run) = self.running.remove(&id) {
                    self.ended(run, result);
                }
            }
        }
    }

    fn ended(&mut self, run: Run<'_>, result: Result<Vec<String>, EngineError>) {
        match result {
            Ok(done) => {
                let mut town = locked(self.town);
                for line in done {
                    town.say(|| format!("   * {line}"));
                }
                if let For::Mail(Mail {
                    rollout: Some(rollout),
                    ..
                }) = &run.is_for
                    && town.injected.len() == run.faults
                {
                    town.looked(rollout, run.was_ready);
                }
            }
            Err(error) => {
                let is_endless = matches!(error, EngineError::Endless);
                let text = error.to_string();
                locked(self.town).hold(Invariant::Terminates, !is_endless, || text.clone());
                self.failed(run.is_for, &text);
            }
        }
    }

    /// What Lambda does, and people after it.
    fn failed(&mut self, was_for: For, why: &str) {
        let mut town = locked(self.town);
        match was_for {
            For::Mail(mut mail) => {
                let what = mail.what.clone();
                town.say(|| format!("   x {what}: {why}"));
                if mail.attempt < RETRIES {
                    mail.attempt += 1;
                    let at = town.now + i64::from(mail.attempt) * 60_000;
                    town.due(at, Item::Deliver(mail));
                } else {
                    town.bury(mail, why);
                }
            }
            For::Policy(plan) => {
                let at = town.now + 60_000;
                town.due(at, Item::Apply(plan));
            }
        }
    }
}

/// Whether the endpoint of a tick's rollout takes calls.
fn is_ready(town: &Town, mail: &Mail) -> bool {
    let Some(rollout) = &mail.rollout else {
        return false;
    };
    let mut all = town
        .books
        .groups
        .values()
        .flat_map(|p| p.head.rollouts.values());
    let of = all.find(|r| r.id.0 == *rollout);
    of.and_then(|r| town.aws.endpoints.get(r.endpoint.as_str()))
        .is_some_and(|p| p.is.status == EndpointStatus::InService)
}
