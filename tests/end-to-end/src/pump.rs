//! Lambda's asynchronous invocation: from a function's queue to the function.
//!
//! A function that fails is tried again after a minute and once more after two (page "How Lambda
//! handles errors and retries with asynchronous invocation"), and what then still fails goes to the
//! dead-letter queue with the reason, in the form of a failure destination's record. On request
//! every event comes twice, the second a little later, and some are overtaken by later ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::clients::Clients;
use crate::emulator::Admin;
use crate::invoke::STACK;
use crate::lambda::{Answer, FUNCTIONS, Invoker};
use crate::queues;
use crate::rules::Template;

/// Emulator seconds until the second and the third attempt.
const RETRY_AFTER: [u32; 2] = [60, 120];
/// Events of one function that are under way at once, waiting for an attempt included.
const MOST_AT_ONCE: usize = 200;
/// How often a stopped clock is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How events are delivered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delivery {
    /// Each event twice, some late.
    pub twice: bool,
}

/// The running pump; it ends with this value.
#[derive(Debug)]
pub struct Pump {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What was delivered so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Events that came out of the queue.
    pub events: u64,
    /// Invocations, all attempts and copies.
    pub invocations: u64,
    /// Those that failed.
    pub failures: u64,
    /// Events that were given up.
    pub dead: u64,
}

#[derive(Debug)]
struct Shared {
    clients: Clients,
    moto: String,
    invoker: Invoker,
    admin: Admin,
    delivery: Delivery,
    tallies: Mutex<BTreeMap<&'static str, Tally>>,
    /// Deliveries that run or whose time has come.
    busy: AtomicU64,
    /// Failures, in words, the newest 100.
    failures: Mutex<Vec<String>>,
}

struct Lane {
    function: &'static str,
    retries: u32,
    /// The instances of the function.
    instance: Semaphore,
    room: Arc<Semaphore>,
}

impl Pump {
    /// Starts it for all functions, of which there are so many instances each.
    pub fn start(
        clients: &Clients,
        moto: &str,
        invoker: &Invoker,
        admin: &Admin,
        template: &Template,
        delivery: Delivery,
        instances: usize,
    ) -> Self {
        let shared = Arc::new(Shared {
            clients: clients.clone(),
            moto: moto.to_owned(),
            invoker: invoker.clone(),
            admin: admin.clone(),
            delivery,
            tallies: Mutex::default(),
            busy: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let tasks = FUNCTIONS
            .into_iter()
            .map(|function| {
                let lane = Arc::new(Lane {
                    function,
                    retries: template.retries(function),
                    instance: Semaphore::new(instances),
                    room: Arc::new(Semaphore::new(MOST_AT_ONCE)),
                });
                tokio::spawn(run(shared.clone(), lane))
            })
            .collect();
        Self { shared, tasks }
    }

    /// What was delivered so far, by function.
    pub fn tallies(&self) -> BTreeMap<&'static str, Tally> {
        self.shared
            .tallies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Failures of functions, in words, the newest 100.
    pub fn failures(&self) -> Vec<String> {
        self.shared
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until all queues are empty and nothing runs; what waits for emulator time to pass does
    /// not count.
    pub async fn settle(&self, within: Duration) -> Result<()> {
        let start = std::time::Instant::now();
        let mut calm = 0;
        while calm < 2 {
            if start.elapsed() > within {
                bail!(
                    "events are still under way after {within:?}: {:?}",
                    self.tallies()
                );
            }
            let mut waiting = self.shared.busy.load(Ordering::SeqCst);
            for function in FUNCTIONS {
                // Each question takes moto's time from what is under way.
                if waiting == 0 {
                    let queue = self.shared.queue(function);
                    waiting += queues::depth(&self.shared.clients, &queue).await?;
                }
            }
            // Between a queue and the count of what is under way there is a moment of neither.
            calm = if waiting == 0 { calm + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
        Ok(())
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    fn queue(&self, function: &str) -> String {
        queues::url(&self.moto, &queues::of(function))
    }

    fn count(&self, function: &'static str, change: impl FnOnce(&mut Tally)) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        change(tallies.entry(function).or_default());
    }

    fn note_failure(&self, text: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(text);
        if failures.len() > 100 {
            failures.remove(0);
        }
    }

    /// Lets emulator time pass.
    async fn pass(&self, seconds: u32) -> Result<()> {
        let clock = self.admin.clock().await?;
        if clock.speed > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(f64::from(seconds) / clock.speed)).await;
            return Ok(());
        }
        let until = clock.now + jiff::SignedDuration::from_secs(i64::from(seconds));
        while self.admin.now().await? < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// Takes events from a function's queue for ever.
async fn run(shared: Arc<Shared>, lane: Arc<Lane>) {
    let url = shared.queue(lane.function);
    let mut number: u32 = 0;
    loop {
        let Ok(messages) = queues::take(&shared.clients, &url, 5).await else {
            // moto is busy or ending; the story notices if it has ended.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        for message in messages {
            let event: Arc<str> = message.body().unwrap_or_default().into();
            shared.count(lane.function, |tally| tally.events += 1);
            for delay in delays(shared.delivery, number) {
                let Ok(room) = lane.room.clone().acquire_owned().await else {
                    return;
                };
                let (shared, lane, event) = (shared.clone(), lane.clone(), event.clone());
                if delay == 0 {
                    shared.busy.fetch_add(1, Ordering::SeqCst);
                }
                tokio::spawn(async move {
                    if delay > 0 {
                        if shared.pass(delay).await.is_err() {
                            return;
                        }
                        shared.busy.fetch_add(1, Ordering::SeqCst);
                    }
                    // What stops a delivery is the end of the world.
                    let _ = deliver(&shared, &lane, &event).await;
                    shared.busy.fetch_sub(1, Ordering::SeqCst);
                    drop(room);
                });
            }
            number = number.wrapping_add(1);
        }
    }
}

/// When the copies of the `number`th event are delivered, emulator seconds from now: usually at
/// once and up to half a minute later; one in seven is late both times, so that others overtake it.
fn delays(delivery: Delivery, number: u32) -> Vec<u32> {
    if !delivery.twice {
        return vec![0];
    }
    let first = if number % 7 == 3 { 12 } else { 0 };
    vec![first, first + 2 + number.wrapping_mul(7_919) % 28]
}

/// Delivers an event as Lambda does: again after errors, at last to the dead-letter queue.
async fn deliver(shared: &Shared, lane: &Lane, event: &str) -> Result<()> {
    let mut attempt = 0;
    loop {
        let answer = {
            let _instance = lane.instance.acquire().await?;
            shared
                .invoker
                .invoke(lane.function, event.to_owned())
                .await?
        };
        shared.count(lane.function, |tally| tally.invocations += 1);
        let Answer::Failed(why) = answer else {
            return Ok(());
        };
        shared.count(lane.function, |tally| tally.failures += 1);
        shared.note_failure(format!("{}: {}", lane.function, reason(&why)));
        if attempt >= lane.retries {
            shared.count(lane.function, |tally| tally.dead += 1);
            return give_up(shared, lane, event, &why).await;
        }
        let wait = RETRY_AFTER[usize::try_from(attempt).unwrap_or(0).min(1)];
        attempt += 1;
        shared.busy.fetch_sub(1, Ordering::SeqCst);
        let passed = shared.pass(wait).await;
        shared.busy.fetch_add(1, Ordering::SeqCst);
        passed?;
    }
}

/// A function's error in words.
pub fn reason(error: &Value) -> String {
    error["errorMessage"]
        .as_str()
        .map_or_else(|| error.to_string(), ToOwned::to_owned)
}

/// What Lambda tells a destination of failures (page "Capturing records of Lambda asynchronous
/// invocations"), the event in it as it came.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: Value,
    request_payload: &'a RawValue,
    response_context: Value,
    response_payload: &'a Value,
}

async fn give_up(shared: &Shared, lane: &Lane, event: &str, why: &Value) -> Result<()> {
    // What is no JSON can't be in a record but as text.
    let payload = match serde_json::from_str::<Value>(event) {
        Ok(_) => RawValue::from_string(event.to_owned())?,
        Err(_) => serde_json::value::to_raw_value(event)?,
    };
    let name = format!("function:{STACK}-{}:$LATEST", lane.function);
    let record = Record {
        version: "1.0",
        timestamp: format!("{:.3}", shared.admin.now().await?),
        request_context: json!({
            "requestId": uuid::Uuid::new_v4().to_string(),
            "functionArn": crate::clients::arn("lambda", &name),
            "condition": "RetriesExhausted",
            "approximateInvokeCount": lane.retries + 1,
        }),
        request_payload: &payload,
        response_context: json!({
            "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
        }),
        response_payload: why,
    };
    let url = queues::url(&shared.moto, &queues::dead_letters(lane.function));
    shared
        .clients
        .sqs
        .send_message()
        .queue_url(url)
        .message_body(serde_json::to_string(&record)?)
        .send()
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_comes_twice_and_some_are_overtaken() {
        let all: Vec<_> = (0..70)
            .map(|number| delays(Delivery { twice: true }, number))
            .collect();
        assert!(
            all.iter()
                .all(|two| two.len() == 2 && two[0] < two[1] && two[1] < 60)
        );
        let overtaken = all
            .windows(2)
            .filter(|pair| pair[0][0] > pair[1][0])
            .count();
        assert_eq!(overtaken, 10);
        assert_eq!(delays(Delivery { twice: false }, 3), [0]);
    }
}
