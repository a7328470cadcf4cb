//! The ledger on `DynamoDB`: one table, one `TransactWriteItems` a decision.
//!
//! The keys are those of `tidegate_core::ledger`; `keys` adds what a table needs beside them. The
//! rules of transactions are from `DynamoDB`'s API reference, `TransactWriteItems`: 100 items,
//! 4 MB, each item once, and 400 KB an item.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use aws_sdk_dynamodb::Client;
use tidegate_core::audit::Entry;
use tidegate_core::ledger::{
    Commit, CommitError, JobRecord, Ledger, LedgerError, Route, RouteKind, Snapshot, wait_after,
};
use tidegate_core::name::{EventId, GroupName, JobName, RolloutId};
use tidegate_core::rollout::Rollout;
use tidegate_core::world::WorldErrorKind;

use crate::error::Failure;

mod commit;
mod doc;
mod keys;
mod read;
mod table;

pub use table::create_table;

/// The ledger on a `DynamoDB` table.
#[derive(Debug, Clone)]
pub struct DynamoLedger {
    client: Client,
    table: String,
}

impl DynamoLedger {
    /// The ledger in this table.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }
}

impl Ledger for DynamoLedger {
    async fn route(&self, route: &Route) -> Result<Option<GroupName>, LedgerError> {
        self.read_route(route).await
    }

    async fn routes(&self, kind: RouteKind) -> Result<Vec<(Route, GroupName)>, LedgerError> {
        self.read_routes(kind).await
    }

    async fn load(
        &self,
        group: &GroupName,
        event: Option<&EventId>,
    ) -> Result<Option<Snapshot>, LedgerError> {
        self.read_snapshot(group, event).await
    }

    async fn unfinished(&self, limit: u32) -> Result<Vec<GroupName>, LedgerError> {
        self.read_unfinished(limit).await
    }

    async fn job(
        &self,
        group: &GroupName,
        job: &JobName,
    ) -> Result<Option<JobRecord>, LedgerError> {
        self.read_doc(&keys::group(group), &keys::job(job)).await
    }

    async fn forget(&self, group: &GroupName, done: &[String]) -> Result<(), LedgerError> {
        self.delete_effects(group, done).await
    }

    async fn commit(&self, group: &GroupName, commit: &Commit) -> Result<(), CommitError> {
        self.write(group, commit).await
    }

    async fn give_way(&self, races: u32) {
        // Its keys are random, which is all the randomness that jitter needs.
        let random = RandomState::new().build_hasher().finish();
        tokio::time::sleep(wait_after(races, random)).await;
    }

    async fn entries(
        &self,
        group: &GroupName,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, LedgerError> {
        self.read_entries(group, after, limit).await
    }

    async fn rollouts(&self, group: &GroupName, limit: u32) -> Result<Vec<Rollout>, LedgerError> {
        self.read_rollouts(group, limit).await
    }

    async fn rollout(
        &self,
        group: &GroupName,
        rollout: &RolloutId,
    ) -> Result<Option<Rollout>, LedgerError> {
        self.read_doc(&keys::group(group), &keys::rollout(rollout))
            .await
    }
}

/// What a failed call means to the ledger's user.
fn unread(failure: Failure) -> LedgerError {
    let error = failure.error;
    if error.is_passing() {
        LedgerError::Unavailable(error.to_string())
    } else if error.kind == WorldErrorKind::Gone {
        LedgerError::Refused(format!(
            "{error} (is TIDEGATE_TABLE a table of this region?)"
        ))
    } else {
        LedgerError::Refused(error.to_string())
    }
}
