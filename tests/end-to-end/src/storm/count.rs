//! Counts what goes over the wire: every attempt of every call, by service and operation, and the
//! changes that are asked for a second time.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use serde::Serialize;

/// Operations that change nothing.
const READS: [&str; 7] = [
    "Describe", "Get", "List", "Simulate", "Query", "BatchGet", "Head",
];

/// What was called so far.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Tally {
    /// Attempts by service and operation.
    pub(super) calls: BTreeMap<String, BTreeMap<String, u64>>,
    /// Transactions that were refused: races that were lost, and markers that were there.
    pub(super) refused: u64,
    /// Changes asked for again that had been asked for before, the SDK's retries left out.
    pub(super) again: BTreeMap<String, u64>,
    #[serde(skip)]
    asked: HashSet<u64>,
}

impl Tally {
    /// All calls to a service.
    pub(super) fn of(&self, service: &str) -> u64 {
        self.calls.get(service).map_or(0, |all| all.values().sum())
    }

    /// All calls.
    pub(super) fn all(&self) -> u64 {
        self.calls.keys().map(|service| self.of(service)).sum()
    }
}

/// Sees the calls of clients.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<Mutex<Tally>>);

impl Counter {
    /// What was counted since the last time.
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut self.tally())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "Counter"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(called) = bag.load::<Metadata>() else {
            return Ok(());
        };
        let (service, operation) = (called.service(), called.name());
        let request = context.request();
        let mut tally = self.tally();
        let of_service = tally.calls.entry(service.to_owned()).or_default();
        *of_service.entry(operation.to_owned()).or_default() += 1;
        let is_retry = request
            .headers()
            .get("amz-sdk-request")
            .is_some_and(|text| !text.contains("attempt=1"));
        let changes =
            service != "DynamoDB" && READS.iter().all(|read| !operation.starts_with(read));
        if changes && !is_retry {
            let mut hasher = DefaultHasher::new();
            (operation, request.uri(), request.body().bytes()).hash(&mut hasher);
            if !tally.asked.insert(hasher.finish()) {
                *tally.again.entry(operation.to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_transaction = bag
            .load::<Metadata>()
            .is_some_and(|called| called.name() == "TransactWriteItems");
        if is_transaction && context.response().status().is_client_error() {
            self.tally().refused += 1;
        }
        Ok(())
    }
}
