//! The ledger of the local world: states and rollouts read as Tidegate reads them, audit entries
//! and effects read, and changed behind its back, as they lie in DynamoDB.

use anyhow::{Context as _, Result, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::DeserializeOwned;
use tidegate_aws::DynamoLedger;
use tidegate_core::head::Head;
use tidegate_core::ledger::{JobRecord, Ledger as _};
use tidegate_core::name::GroupName;
use tidegate_core::rollout::Rollout;

use crate::clients::Clients;

/// The local world's ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    clients: Clients,
    table: String,
}

impl Ledger {
    /// The ledger in this table.
    pub fn new(clients: &Clients, table: &str) -> Self {
        Self {
            clients: clients.clone(),
            table: table.to_owned(),
        }
    }

    /// A group's state; the default if there is none yet.
    pub async fn head(&self, group: &str) -> Result<Head> {
        let snapshot = self.adapter().load(&GroupName::parse(group)?, None).await?;
        Ok(snapshot.map(|snapshot| snapshot.head).unwrap_or_default())
    }

    /// A group's finished rollouts, the newest 100, oldest first.
    pub async fn finished(&self, group: &str) -> Result<Vec<Rollout>> {
        let mut all = self
            .adapter()
            .rollouts(&GroupName::parse(group)?, 100)
            .await?;
        all.sort_by_key(|rollout| rollout.started);
        Ok(all)
    }

    fn adapter(&self) -> DynamoLedger {
        DynamoLedger::new(self.clients.dynamodb.clone(), self.table.clone())
    }

    /// What became of a group's training jobs, oldest first.
    pub async fn jobs(&self, group: &str) -> Result<Vec<JobRecord>> {
        let mut all: Vec<JobRecord> = self.all(group, "job#").await?;
        all.sort_by_key(|job| job.at);
        Ok(all)
    }

    /// How many effects are still to be done.
    pub async fn pending(&self, group: &str) -> Result<usize> {
        Ok(self.query(group, "effect#").await?.len())
    }

    /// The sort keys of a group's audit entries, oldest first.
    pub async fn entries(&self, group: &str) -> Result<Vec<(String, String)>> {
        self.query(group, "audit#").await
    }

    /// An item's text.
    pub async fn text(&self, group: &str, sk: &str) -> Result<Option<String>> {
        let get = self
            .clients
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .consistent_read(true);
        let item = get
            .key("pk", key(group))
            .key("sk", AttributeValue::S(sk.to_owned()))
            .send()
            .await?
            .item;
        Ok(item
            .as_ref()
            .and_then(|item| item.get("doc"))
            .and_then(|doc| doc.as_s().ok())
            .cloned())
    }

    /// Writes an item's text over, as somebody with access to the table could.
    pub async fn overwrite(&self, group: &str, sk: &str, text: &str) -> Result<()> {
        let update = self.clients.dynamodb.update_item().table_name(&self.table);
        let update = update
            .key("pk", key(group))
            .key("sk", AttributeValue::S(sk.to_owned()));
        update
            .update_expression("SET doc = :text")
            .condition_expression("attribute_exists(doc)")
            .expression_attribute_values(":text", AttributeValue::S(text.to_owned()))
            .send()
            .await
            .with_context(|| format!("{sk} of {group} can't be written over"))?;
        Ok(())
    }

    async fn all<T: DeserializeOwned>(&self, group: &str, prefix: &str) -> Result<Vec<T>> {
        let read = |(sk, text): (String, String)| {
            serde_json::from_str(&text)
                .with_context(|| format!("{sk} of {group} can't be read: {text}"))
        };
        self.query(group, prefix)
            .await?
            .into_iter()
            .map(read)
            .collect()
    }

    async fn query(&self, group: &str, prefix: &str) -> Result<Vec<(String, String)>> {
        let mut pages = self
            .clients
            .dynamodb
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", key(group))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            .into_paginator()
            .items()
            .send();
        let mut all = Vec::new();
        while let Some(item) = pages.try_next().await? {
            let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
            let (Some(sk), Some(doc)) = (text("sk"), text("doc")) else {
                bail!("an item of {group} has no sk or doc: {item:?}");
            };
            all.push((sk, doc));
        }
        Ok(all)
    }
}

fn key(group: &str) -> AttributeValue {
    AttributeValue::S(format!("group#{group}"))
}
