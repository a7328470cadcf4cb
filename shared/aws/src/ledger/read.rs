//! Reading the ledger: always paged, never a scan, and strongly consistent but for the sparse index,
//! which can't be.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use serde::de::DeserializeOwned;
use tidegate_core::audit::Entry;
use tidegate_core::head::Head;
use tidegate_core::ledger::{AppliedPolicy, LedgerError, Pending, Route, RouteKind, Snapshot};
use tidegate_core::name::{EventId, GroupName};
use tidegate_core::rollout::Rollout;

use super::doc::{self, Item};
use super::{DynamoLedger, keys, unread};
use crate::error::failed;

/// The most routes of one kind.
const MOST_ROUTES: usize = 10_000;
/// The most effects of one pipeline that are read at once, the oldest: more is left for the next
/// event.
const MOST_EFFECTS: usize = 10_000;
/// Pages of the sparse index, of 1 MB each: some 10,000 items.
const MOST_PAGES: usize = 20;
/// `BatchGetItem` takes 100 keys and may leave some for the next call.
const BATCH: usize = 100;
const BATCH_TRIES: usize = 10;

/// From where to where a partition is read.
#[derive(Clone, Copy)]
struct Range<'a> {
    partition: &'a str,
    from: &'a str,
    to: &'a str,
    newest_first: bool,
    limit: usize,
}

impl DynamoLedger {
    pub(super) async fn read_route(&self, route: &Route) -> Result<Option<GroupName>, LedgerError> {
        let item = self.get(&keys::routes(route.kind), &route.name).await?;
        item.as_ref().map(group_of).transpose()
    }

    pub(super) async fn read_routes(
        &self,
        kind: RouteKind,
    ) -> Result<Vec<(Route, GroupName)>, LedgerError> {
        let items = self.partition(&keys::routes(kind), MOST_ROUTES).await?;
        items
            .iter()
            .map(|item| {
                let route = Route {
                    kind,
                    name: doc::text(item, keys::SORT).to_owned(),
                };
                Ok((route, group_of(item)?))
            })
            .collect()
    }

    /// One query, and the event's marker beside it.
    pub(super) async fn read_snapshot(
        &self,
        group: &GroupName,
        event: Option<&EventId>,
    ) -> Result<Option<Snapshot>, LedgerError> {
        let partition = keys::group(group);
        let range = Range {
            partition: &partition,
            from: keys::STATE_FROM,
            to: keys::STATE_TO,
            newest_first: false,
            limit: MOST_EFFECTS,
        };
        let marker = async {
            match event {
                Some(event) => Ok(self.get(&partition, &keys::seen(event)).await?.is_some()),
                None => Ok(false),
            }
        };
        let (mut items, seen) = futures_util::try_join!(self.query(range), marker)?;
        if items.len() == MOST_EFFECTS {
            // Effects come first: what is behind them is not in it.
            let behind = Range {
                from: keys::HEAD,
                ..range
            };
            items.extend(self.query(behind).await?);
        }
        let (mut applied, mut head) = (None::<AppliedPolicy>, None::<Head>);
        let mut pending = Vec::<Pending>::new();
        for item in &items {
            match doc::text(item, keys::SORT) {
                keys::HEAD => head = Some(doc::read(item)?),
                keys::POLICY => applied = Some(doc::read(item)?),
                _ => pending.push(doc::read(item)?),
            }
        }
        Ok(applied.map(|applied| Snapshot {
            applied,
            head: head.unwrap_or_default(),
            pending,
            seen,
        }))
    }

    /// The groups in the sparse index, each once, in the order of what is oldest in it.
    pub(super) async fn read_unfinished(&self, limit: u32) -> Result<Vec<GroupName>, LedgerError> {
        let limit = limit.clamp(1, 10_000) as usize;
        let mut groups = Vec::new();
        let mut known = BTreeSet::new();
        let mut start = None;
        for _ in 0..MOST_PAGES {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(keys::PENDING)
                .key_condition_expression("#pending = :pending")
                .expression_attribute_names("#pending", keys::PENDING)
                .expression_attribute_values(
                    ":pending",
                    AttributeValue::S(keys::IS_PENDING.to_owned()),
                )
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(failed("Query"))
                .map_err(unread)?;
            for item in page.items.unwrap_or_default() {
                let partition = doc::text(&item, keys::PARTITION);
                let Some(name) = partition.strip_prefix(keys::GROUP_PARTITION) else {
                    continue;
                };
                let group = GroupName::parse(name).map_err(|error| LedgerError::Unreadable {
                    key: partition.to_owned(),
                    why: error.to_string(),
                })?;
                if known.insert(group.clone()) {
                    groups.push(group);
                }
            }
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() || groups.len() >= limit {
                break;
            }
        }
        groups.truncate(limit);
        Ok(groups)
    }

    pub(super) async fn read_entries(
        &self,
        group: &GroupName,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, LedgerError> {
        let range = Range {
            partition: &keys::group(group),
            from: &keys::audit(after.saturating_add(1)),
            to: keys::AUDIT_TO,
            newest_first: false,
            limit: limit.clamp(1, 1_000) as usize,
        };
        self.query(range).await?.iter().map(doc::read).collect()
    }

    pub(super) async fn read_rollouts(
        &self,
        group: &GroupName,
        limit: u32,
    ) -> Result<Vec<Rollout>, LedgerError> {
        let partition = keys::group(group);
        let range = Range {
            partition: &partition,
            from: keys::PAST_FROM,
            to: keys::PAST_TO,
            newest_first: true,
            limit: limit.clamp(1, 100) as usize,
        };
        let pointers = self.query(range).await?;
        let wanted = pointers
            .iter()
            .map(|pointer| {
                let key = doc::text(pointer, keys::SORT);
                let id = key.splitn(3, '#').nth(2).unwrap_or_default();
                format!("rollout#{id}")
            })
            .collect::<Vec<_>>();
        let mut items = self.batch(&partition, &wanted).await?;
        // A batch answers in any order.
        let place = |item: &Item| {
            let key = doc::text(item, keys::SORT);
            wanted.iter().position(|sk| sk == key)
        };
        items.sort_by_key(place);
        items.iter().map(doc::read).collect()
    }

    /// The document of one item, if it is there.
    pub(super) async fn read_doc<T: DeserializeOwned>(
        &self,
        pk: &str,
        sk: &str,
    ) -> Result<Option<T>, LedgerError> {
        self.get(pk, sk).await?.as_ref().map(doc::read).transpose()
    }

    pub(super) async fn get(&self, pk: &str, sk: &str) -> Result<Option<Item>, LedgerError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .key(keys::PARTITION, AttributeValue::S(pk.to_owned()))
            .key(keys::SORT, AttributeValue::S(sk.to_owned()))
            .send()
            .await
            .map_err(failed("GetItem"))
            .map_err(unread)?;
        Ok(answer.item)
    }

    async fn partition(&self, partition: &str, limit: usize) -> Result<Vec<Item>, LedgerError> {
        // The keys of routes are names, which begin with printable characters.
        let range = Range {
            partition,
            from: " ",
            to: "\u{10ffff}",
            newest_first: false,
            limit,
        };
        self.query(range).await
    }

    async fn query(&self, range: Range<'_>) -> Result<Vec<Item>, LedgerError> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let left = range.limit - items.len();
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
                .expression_attribute_names("#pk", keys::PARTITION)
                .expression_attribute_names("#sk", keys::SORT)
                .expression_attribute_values(":pk", AttributeValue::S(range.partition.to_owned()))
                .expression_attribute_values(":from", AttributeValue::S(range.from.to_owned()))
                .expression_attribute_values(":to", AttributeValue::S(range.to.to_owned()))
                .scan_index_forward(!range.newest_first)
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(failed("Query"))
                .map_err(unread)?;
            items.extend(page.items.unwrap_or_default());
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() || items.len() >= range.limit {
                items.truncate(range.limit);
                return Ok(items);
            }
        }
    }

    async fn batch(&self, pk: &str, sort_keys: &[String]) -> Result<Vec<Item>, LedgerError> {
        let mut items = Vec::with_capacity(sort_keys.len());
        for chunk in sort_keys.chunks(BATCH) {
            let keys = chunk
                .iter()
                .map(|sk| {
                    Item::from([
                        (keys::PARTITION.to_owned(), AttributeValue::S(pk.to_owned())),
                        (keys::SORT.to_owned(), AttributeValue::S(sk.clone())),
                    ])
                })
                .collect::<Vec<_>>();
            let mut left = KeysAndAttributes::builder()
                .consistent_read(true)
                .set_keys(Some(keys))
                .build()
                .map_err(|error| LedgerError::Refused(format!("BatchGetItem: {error}")))?;
            // A call answers with up to 16 MB and leaves the rest for the next.
            let mut tries = 0;
            loop {
                let answer = self
                    .client
                    .batch_get_item()
                    .request_items(&self.table, left)
                    .send()
                    .await
                    .map_err(failed("BatchGetItem"))
                    .map_err(unread)?;
                for page in answer.responses.unwrap_or_default().into_values() {
                    items.extend(page);
                }
                tries += 1;
                match answer
                    .unprocessed_keys
                    .unwrap_or_default()
                    .into_values()
                    .next()
                {
                    None => break,
                    Some(_) if tries >= BATCH_TRIES => {
                        return Err(LedgerError::Unavailable(
                            "BatchGetItem left keys unread again and again".to_owned(),
                        ));
                    }
                    Some(rest) => left = rest,
                }
            }
        }
        Ok(items)
    }
}

/// The group that a route's item leads to.
pub(super) fn group_of(item: &Item) -> Result<GroupName, LedgerError> {
    let unreadable = |why: String| LedgerError::Unreadable {
        key: format!(
            "{} {}",
            doc::text(item, keys::PARTITION),
            doc::text(item, keys::SORT)
        ),
        why,
    };
    GroupName::parse(doc::text(item, keys::GROUP)).map_err(|error| unreadable(error.to_string()))
}
