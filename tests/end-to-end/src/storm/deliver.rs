//! Delivers as Lambda does: many at once, each within a function's time, an event that failed again,
//! twice. What of a function's 128 MB its process needs is what one instance adds here.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _};
use tidegate_aws::{AwsWorld, DynamoLedger};
use tidegate_core::engine;

use super::count::Tally;
use super::plan::Plan;
use super::town::Town;

/// How long a function has, less what it keeps to answer (`tidegate_aws::lambda`).
const TIME: Duration = Duration::from_millis(53_500);
/// How often an event is tried (`MaximumRetryAttempts: 2` in `infra/template.yaml`).
const TRIES: u32 = 3;
/// Lambda waits a minute before the second try and two before the third; here it is seconds, which
/// gives others less time to be done.
const BETWEEN: Duration = Duration::from_secs(1);

/// What came of the deliveries.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) seconds: f64,
    /// Tries after the first.
    pub(super) retries: u32,
    /// Events that failed at each try, and why.
    pub(super) given_up: Vec<String>,
    /// How long each took, sorted, its tries included.
    pub(super) took: Vec<Duration>,
    /// Growth of this process's memory over that when a tenth was delivered, bytes.
    pub(super) growth: u64,
    pub(super) tally: Tally,
}

struct One {
    took: Duration,
    retries: u32,
    given_up: Option<String>,
}

/// Delivers lanes side by side, `at_once`; what is in a lane comes one after the other.
pub(super) async fn deliver(
    town: &Town,
    plan: &Plan,
    lanes: Vec<Vec<usize>>,
    at_once: usize,
) -> Result<Delivered> {
    let reached = Arc::new((town.ledger.clone(), town.world.clone()));
    town.counter.take();
    let start = Instant::now();
    let mut all = Delivered {
        seconds: 0.0,
        retries: 0,
        given_up: Vec::new(),
        took: Vec::with_capacity(plan.deliveries()),
        growth: 0,
        tally: Tally::default(),
    };
    let mut early = None;
    let mut running = stream::iter(lanes)
        .map(|lane| {
            let reached = Arc::clone(&reached);
            let events: Vec<Vec<u8>> = lane
                .iter()
                .map(|at| plan.events[*at].bytes.clone())
                .collect();
            tokio::spawn(async move {
                let mut ended = Vec::with_capacity(events.len());
                for bytes in events {
                    ended.push(Box::pin(one(&reached.0, &reached.1, &bytes)).await);
                }
                ended
            })
        })
        .buffer_unordered(at_once);
    while let Some(ended) = running.next().await {
        for one in ended? {
            all.took.push(one.took);
            all.retries += one.retries;
            all.given_up.extend(one.given_up);
        }
        if all.took.len() * 10 >= plan.deliveries() {
            let now = resident()?;
            all.growth = all
                .growth
                .max(now.saturating_sub(*early.get_or_insert(now)));
        }
    }
    all.seconds = start.elapsed().as_secs_f64();
    all.took.sort_unstable();
    all.tally = town.counter.take();
    Ok(all)
}

async fn one(ledger: &DynamoLedger, world: &AwsWorld, bytes: &[u8]) -> One {
    let start = Instant::now();
    let mut given_up = None;
    for attempt in 0..TRIES {
        tokio::time::sleep(BETWEEN * attempt).await;
        let handled = Box::pin(engine::handle(ledger, world, bytes));
        let handled = tokio::time::timeout(TIME, handled).await;
        let why = match handled {
            Ok(Ok(_)) => {
                return One {
                    took: start.elapsed(),
                    retries: attempt,
                    given_up: None,
                };
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "ran out of time".to_owned(),
        };
        given_up = Some(why);
    }
    One {
        took: start.elapsed(),
        retries: TRIES - 1,
        given_up,
    }
}

/// This process's memory, bytes (`VmRSS` of proc(5)).
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.context("proc(5) names VmRSS")?.trim().parse()?;
    Ok(kilobytes * 1_024)
}
