//! Writing a decision: one transaction, and what its refusal means.
//!
//! The order of the items is kept beside them: `DynamoDB` gives one reason per item, in the same
//! order (`TransactionCanceledException`, `CancellationReasons`).

use std::collections::BTreeSet;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use futures_util::future::join_all;
use serde::Serialize;
use tidegate_core::bounds::{TRANSACTION, TRANSACTION_ITEMS};
use tidegate_core::ledger::{Commit, CommitError, JobRecord, LedgerError, Pending, Route};
use tidegate_core::name::{EventId, GroupName};

use super::doc::{self, Item};
use super::{DynamoLedger, keys, unread};
use crate::error::failed;

/// How long an event's marker is kept after the decision, days: EventBridge delivers for one day,
/// a dead-letter queue keeps for fourteen.
const MARKER_DAYS: i64 = 30;

/// What an item of the transaction is for: it says what its refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum For {
    Head,
    Seen,
    /// A training job that nobody gated yet.
    Job,
    /// Something new whose key the head's version makes unique.
    New(String),
    Route(Route),
    /// Written whatever was there.
    Plain,
}

/// The transaction as it grows.
struct Writes<'a> {
    table: &'a str,
    partition: String,
    items: Vec<(For, TransactWriteItem)>,
    /// Bytes of what is put.
    bytes: usize,
}

impl DynamoLedger {
    pub(super) async fn write(
        &self,
        group: &GroupName,
        commit: &Commit,
    ) -> Result<(), CommitError> {
        let writes = self.writes(group, commit)?;
        let (purposes, items): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        // The SDK adds a client token, so that its own retries don't write twice.
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await;
        let Err(error) = sent else { return Ok(()) };
        if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
            error.as_service_error()
        {
            return Err(refusal(
                &purposes,
                canceled.cancellation_reasons(),
                canceled.message(),
            ));
        }
        Err(CommitError::Ledger(unread(failed("TransactWriteItems")(
            error,
        ))))
    }

    /// Deletes effects one by one, side by side: they are in no transaction, so they conflict with
    /// none.
    pub(super) async fn delete_effects(
        &self,
        group: &GroupName,
        done: &[String],
    ) -> Result<(), LedgerError> {
        let partition = keys::group(group);
        let deletes = done.iter().map(|id| {
            let key = |text: String| AttributeValue::S(text);
            self.client
                .delete_item()
                .table_name(&self.table)
                .key(keys::PARTITION, key(partition.clone()))
                .key(keys::SORT, key(keys::effect(id)))
                .send()
        });
        for deleted in join_all(deletes).await {
            deleted.map_err(failed("DeleteItem")).map_err(unread)?;
        }
        Ok(())
    }

    fn writes(
        &self,
        group: &GroupName,
        commit: &Commit,
    ) -> Result<Vec<(For, TransactWriteItem)>, LedgerError> {
        let mut writes = Writes {
            table: &self.table,
            partition: keys::group(group),
            items: Vec::new(),
            bytes: 0,
        };
        writes.head(commit)?;
        if let Some(event) = &commit.seen {
            writes.seen(event, commit)?;
        }
        for entry in &commit.entries {
            writes.new_doc(&keys::audit(entry.n), entry)?;
        }
        for pending in &commit.add {
            writes.effect(pending)?;
        }
        for id in commit.done.iter().collect::<BTreeSet<_>>() {
            writes.delete(&keys::effect(id))?;
        }
        for rollout in &commit.finished {
            writes.doc(&keys::rollout(&rollout.id), rollout)?;
            writes.doc(&keys::past(rollout), &())?;
        }
        for job in &commit.jobs {
            writes.job(job, commit.new_jobs.contains(&job.job))?;
        }
        if let Some(policy) = &commit.policy {
            writes.doc(keys::POLICY, policy)?;
        }
        // A transaction names each item once; what is put stays.
        let put = commit.routes.iter().collect::<BTreeSet<_>>();
        let dropped = commit.dropped_routes.iter().collect::<BTreeSet<_>>();
        for route in &put {
            writes.put_route(route, group)?;
        }
        for route in dropped.difference(&put) {
            writes.drop_route(route, group)?;
        }
        let (items, bytes) = (writes.items.len(), writes.bytes);
        if items > TRANSACTION_ITEMS || bytes > TRANSACTION {
            return Err(LedgerError::Refused(format!(
                "a decision of {items} items and {bytes} bytes, and DynamoDB takes \
                 {TRANSACTION_ITEMS} items and {TRANSACTION} bytes at once; of a policy, apply \
                 fewer changes of names (endpoints, schedules) at a time"
            )));
        }
        Ok(writes.items)
    }
}

impl Writes<'_> {
    fn head(&mut self, commit: &Commit) -> Result<(), LedgerError> {
        let mut item = doc::item(&self.partition, keys::HEAD, &commit.head)?;
        item.insert(
            keys::VERSION.to_owned(),
            AttributeValue::N(commit.head.version.to_string()),
        );
        if commit.head.is_unfinished() {
            item.insert(keys::PENDING.to_owned(), is_pending());
        }
        let put = self.put(item);
        let put = if commit.expected == 0 {
            absent(put)
        } else {
            put.condition_expression("#version = :expected")
                .expression_attribute_names("#version", keys::VERSION)
                .expression_attribute_values(
                    ":expected",
                    AttributeValue::N(commit.expected.to_string()),
                )
        };
        self.push_put(For::Head, put)
    }

    fn seen(&mut self, event: &EventId, commit: &Commit) -> Result<(), LedgerError> {
        let sk = keys::seen(event);
        let mut item = doc::item(&self.partition, &sk, &commit.head.version)?;
        if let Some(now) = commit.head.now {
            let expires = now.as_second() + MARKER_DAYS * 86_400;
            item.insert(
                keys::EXPIRES.to_owned(),
                AttributeValue::N(expires.to_string()),
            );
        }
        let put = absent(self.put(item));
        self.push_put(For::Seen, put)
    }

    fn effect(&mut self, pending: &Pending) -> Result<(), LedgerError> {
        let sk = keys::effect(&pending.id);
        let mut item = doc::item(&self.partition, &sk, pending)?;
        item.insert(keys::PENDING.to_owned(), is_pending());
        let put = absent(self.put(item));
        self.push_put(For::New(sk), put)
    }

    fn new_doc<T: Serialize>(&mut self, sk: &str, doc: &T) -> Result<(), LedgerError> {
        let put = absent(self.put(doc::item(&self.partition, sk, doc)?));
        self.push_put(For::New(sk.to_owned()), put)
    }

    /// A job that must be new was gated by somebody else if it is there: a lost race.
    fn job(&mut self, job: &JobRecord, is_new: bool) -> Result<(), LedgerError> {
        let sk = keys::job(&job.job);
        if !is_new {
            return self.doc(&sk, job);
        }
        let put = absent(self.put(doc::item(&self.partition, &sk, job)?));
        self.push_put(For::Job, put)
    }

    fn doc<T: Serialize>(&mut self, sk: &str, doc: &T) -> Result<(), LedgerError> {
        let put = self.put(doc::item(&self.partition, sk, doc)?);
        self.push_put(For::Plain, put)
    }

    fn put_route(&mut self, route: &Route, group: &GroupName) -> Result<(), LedgerError> {
        let item = Item::from([
            (
                keys::PARTITION.to_owned(),
                AttributeValue::S(keys::routes(route.kind)),
            ),
            (keys::SORT.to_owned(), AttributeValue::S(route.name.clone())),
            (keys::GROUP.to_owned(), AttributeValue::S(group.to_string())),
        ]);
        let put = self
            .put(item)
            .condition_expression("attribute_not_exists(#pk) OR #group = :group")
            .expression_attribute_names("#pk", keys::PARTITION)
            .expression_attribute_names("#group", keys::GROUP)
            .expression_attribute_values(":group", AttributeValue::S(group.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        self.push_put(For::Route(route.clone()), put)
    }

    fn drop_route(&mut self, route: &Route, group: &GroupName) -> Result<(), LedgerError> {
        let delete = self
            .delete_of(&keys::routes(route.kind), &route.name)
            .condition_expression("attribute_not_exists(#pk) OR #group = :group")
            .expression_attribute_names("#pk", keys::PARTITION)
            .expression_attribute_names("#group", keys::GROUP)
            .expression_attribute_values(":group", AttributeValue::S(group.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        self.push_delete(For::Route(route.clone()), delete)
    }

    fn delete(&mut self, sk: &str) -> Result<(), LedgerError> {
        let delete = self.delete_of(&self.partition, sk);
        self.push_delete(For::Plain, delete)
    }

    fn put(&self, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(self.table).set_item(Some(item))
    }

    fn delete_of(&self, pk: &str, sk: &str) -> aws_sdk_dynamodb::types::builders::DeleteBuilder {
        Delete::builder()
            .table_name(self.table)
            .key(keys::PARTITION, AttributeValue::S(pk.to_owned()))
            .key(keys::SORT, AttributeValue::S(sk.to_owned()))
    }

    fn push_put(
        &mut self,
        purpose: For,
        put: aws_sdk_dynamodb::types::builders::PutBuilder,
    ) -> Result<(), LedgerError> {
        let put = put
            .build()
            .map_err(|error| LedgerError::Refused(error.to_string()))?;
        self.bytes += doc::bytes(put.item());
        self.items
            .push((purpose, TransactWriteItem::builder().put(put).build()));
        Ok(())
    }

    fn push_delete(
        &mut self,
        purpose: For,
        delete: aws_sdk_dynamodb::types::builders::DeleteBuilder,
    ) -> Result<(), LedgerError> {
        let delete = delete
            .build()
            .map_err(|error| LedgerError::Refused(error.to_string()))?;
        self.items
            .push((purpose, TransactWriteItem::builder().delete(delete).build()));
        Ok(())
    }
}

/// What brings an item into the sparse index.
fn is_pending() -> AttributeValue {
    AttributeValue::S(keys::IS_PENDING.to_owned())
}

fn absent(
    put: aws_sdk_dynamodb::types::builders::PutBuilder,
) -> aws_sdk_dynamodb::types::builders::PutBuilder {
    put.condition_expression("attribute_not_exists(#pk)")
        .expression_attribute_names("#pk", keys::PARTITION)
}

/// What a canceled transaction means. That the event took effect before counts most: then there is
/// nothing to decide again. Next comes a lost race, since all else was decided on an old head.
fn refusal(purposes: &[For], reasons: &[CancellationReason], message: Option<&str>) -> CommitError {
    const CONDITION: &str = "ConditionalCheckFailed";
    let codes = || {
        purposes
            .iter()
            .zip(reasons)
            .map(|(p, r)| (p, r, r.code().unwrap_or("None")))
    };
    let failed = |purpose: &For| codes().any(|(p, _, code)| p == purpose && code == CONDITION);
    if failed(&For::Seen) {
        return CommitError::Seen;
    }
    if failed(&For::Head)
        || failed(&For::Job)
        || codes().any(|(_, _, code)| code == "TransactionConflict")
    {
        return CommitError::Lost;
    }
    for (purpose, reason, code) in codes() {
        let says = reason.message().unwrap_or_default();
        match (purpose, code) {
            (_, "None") => {}
            (For::Route(route), CONDITION) => {
                let group = reason
                    .item()
                    .map_or("", |item| doc::text(item, keys::GROUP));
                let group = if group.is_empty() { "unknown" } else { group };
                return CommitError::Taken {
                    route: route.clone(),
                    group: group.to_owned(),
                };
            }
            (For::New(key), CONDITION) => {
                return LedgerError::Refused(format!(
                    "{key} is there already although the head does not know of it; `tidegate \
                     audit verify` says what was changed by hand"
                ))
                .into();
            }
            (_, "ThrottlingError" | "ProvisionedThroughputExceeded") => {
                return LedgerError::Unavailable(format!("TransactWriteItems: {code}: {says}"))
                    .into();
            }
            _ => {
                return LedgerError::Refused(format!("TransactWriteItems: {code}: {says}")).into();
            }
        }
    }
    let message = message.unwrap_or("no reason given");
    LedgerError::Unavailable(format!("TransactWriteItems was canceled: {message}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::ledger::RouteKind;

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        codes
            .iter()
            .map(|code| CancellationReason::builder().code(*code).build())
            .collect()
    }

    #[test]
    fn a_conflict_of_two_transactions_is_a_lost_race() {
        let purposes = [For::Head, For::Seen];
        let lost = refusal(&purposes, &reasons(&["TransactionConflict", "None"]), None);
        assert_eq!(lost, CommitError::Lost);
        let lost = refusal(&purposes, &reasons(&["None", "TransactionConflict"]), None);
        assert_eq!(lost, CommitError::Lost);
    }

    #[test]
    fn an_event_that_took_effect_is_seen_even_if_the_head_moved_on() {
        let purposes = [For::Head, For::Seen];
        let codes = reasons(&["ConditionalCheckFailed", "ConditionalCheckFailed"]);
        assert_eq!(refusal(&purposes, &codes, None), CommitError::Seen);
    }

    #[test]
    fn a_throttled_transaction_may_be_tried_again() {
        let error = refusal(&[For::Head], &reasons(&["ThrottlingError"]), None);
        assert!(
            matches!(error, CommitError::Ledger(LedgerError::Unavailable(_))),
            "{error}"
        );
    }

    #[test]
    fn an_entry_that_is_there_already_is_not_overwritten_in_silence() {
        let purposes = [For::Head, For::New("audit#1".to_owned())];
        let error = refusal(
            &purposes,
            &reasons(&["None", "ConditionalCheckFailed"]),
            None,
        );
        assert!(error.to_string().contains("audit#1"), "{error}");
    }

    #[test]
    fn a_lost_race_counts_before_a_taken_route() {
        let route = Route {
            kind: RouteKind::Endpoint,
            name: "e".to_owned(),
        };
        let purposes = [For::Head, For::Route(route)];
        let codes = reasons(&["ConditionalCheckFailed", "ConditionalCheckFailed"]);
        assert_eq!(refusal(&purposes, &codes, None), CommitError::Lost);
    }
}
