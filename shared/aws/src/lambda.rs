//! What every function's `main` does: JSON logs, clients made once, each event to the engine.
//!
//! Any function can deal with any event; which one gets which is the rules' business in
//! `infra/template.yaml`. Sources: Lambda's developer guide, "Asynchronous invocation" for what a
//! returned error leads to (two more tries, then the dead-letter queue), and "Runtime API" for the
//! deadline.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use tidegate_core::engine::{self, EngineError, Handled};
use tidegate_core::name::GroupName;
use tracing::{Instrument as _, error, info, info_span};
use tracing_subscriber::EnvFilter;

use crate::config::{Clients, Settings};
use crate::in_time::InTime;
use crate::ledger::DynamoLedger;
use crate::world::AwsWorld;

/// What is kept of a function's time to answer and to write the last log line.
const RESERVE: Duration = Duration::from_millis(1_500);

/// What the engine has of it to end by itself when its time is up.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// A deadline that is longer past than this is none.
const A_DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long an event may take where there is no deadline: as long as in AWS.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(55);

/// Why an event was not dealt with.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// The engine's error.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Lambda would have stopped the function.
    #[error(
        "ran out of time after {0} ms, waiting for the ledger; what was decided is kept, and \
         whoever comes next does it"
    )]
    OutOfTime(u128),
}

impl From<FunctionError> for Diagnostic {
    fn from(error: FunctionError) -> Self {
        let error_type = match &error {
            FunctionError::Engine(EngineError::Event(_)) => "Tidegate.Event",
            FunctionError::Engine(EngineError::Ledger(_) | EngineError::Commit(_)) => {
                "Tidegate.Ledger"
            }
            FunctionError::Engine(EngineError::Fact(_)) => "Tidegate.Fact",
            FunctionError::Engine(EngineError::Unfinished { .. }) => "Tidegate.Unfinished",
            FunctionError::Engine(EngineError::Contended) => "Tidegate.Contended",
            FunctionError::Engine(_) => "Tidegate.Engine",
            FunctionError::OutOfTime(_) => "Tidegate.OutOfTime",
        };
        Diagnostic {
            error_type: error_type.to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Runs the function of this name until Lambda stops it. A missing setting ends it at once, with
/// the setting's name.
pub async fn run(function: &'static str) -> Result<(), lambda_runtime::Error> {
    log_json();
    let settings =
        Settings::from_env().inspect_err(|error| error!(function, %error, "not set up"))?;
    let clients = Clients::from_env().await;
    let ledger = DynamoLedger::new(clients.dynamodb.clone(), settings.table.clone());
    let state = Arc::new((ledger, AwsWorld::new(clients, settings)));
    // The payload is taken as it came, so that only the engine says what is wrong with it; what is
    // not JSON at all the runtime answers with an error.
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let state = Arc::clone(&state);
        async move {
            let (ledger, world) = &*state;
            let (payload, context) = event.into_parts();
            let span = info_span!("event", function, request = %context.request_id);
            let time = time_left(context.deadline, now_ms());
            Box::pin(handle(ledger, world, payload.get().as_bytes(), time))
                .instrument(span)
                .await
        }
    }))
    .await
}

async fn handle(
    ledger: &DynamoLedger,
    world: &AwsWorld,
    event: &[u8],
    time: Duration,
) -> Result<Handled, FunctionError> {
    let world = InTime::new(world, time);
    // The world's calls end before: only a ledger that does not answer is cut off here. A commit
    // that was under way may be there or not, and whoever comes next reads which.
    let handled = engine::handle(ledger, &world, event);
    let result = match Box::pin(tokio::time::timeout(time + LAST_WORDS, handled)).await {
        Ok(result) => result.map_err(FunctionError::from),
        Err(_) => Err(FunctionError::OutOfTime(time.as_millis())),
    };
    match &result {
        Ok(handled) => info!(
            event = handled.event,
            group = handled.group.as_ref().map(GroupName::as_str),
            done = handled.done.len(),
            left = handled.left,
            failed = handled.failed.len(),
            "{handled}"
        ),
        Err(error) => error!(%error, "not dealt with"),
    }
    result
}

/// How long an event may take: until the deadline, less a reserve, and at least that reserve.
fn time_left(deadline_ms: u64, now_ms: u64) -> Duration {
    // Local runtimes send a constant that is no time of this year: there, nobody stops the function.
    if now_ms.saturating_sub(deadline_ms) > A_DAY_MS {
        return WITHOUT_DEADLINE;
    }
    Duration::from_millis(deadline_ms.saturating_sub(now_ms))
        .saturating_sub(RESERVE)
        .max(RESERVE)
}

/// The machine's clock is only for the deadline: decisions take their time from events.
fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// One JSON object a line to standard output, where Lambda takes it from; `RUST_LOG` says how much.
fn log_json() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Set already only if somebody calls `run` twice; then the first one's stays.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .with_ansi(false)
        .with_env_filter(filter)
        .try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_answers_before_lambda_stops_it() {
        assert_eq!(time_left(60_000, 5_000), Duration::from_millis(53_500));
        // A deadline that is near or past still gives the time to read and say so.
        assert_eq!(time_left(5_000, 60_000), RESERVE);
        assert_eq!(time_left(0, 0), RESERVE);
    }

    #[test]
    fn a_deadline_of_another_year_is_none() {
        assert_eq!(time_left(600_000, 1_790_000_000_000), WITHOUT_DEADLINE);
    }
}
