//! A user's service that counts an outcome of its own: each minute it publishes how many checkouts
//! a variant's answers led to and how many of them failed, as docs/policy.md shows.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use jiff::{SignedDuration, Timestamp};
use tidegate_end_to_end::world::World;

use crate::common::endpoint;

/// A shop behind an endpoint. Every answer leads to a checkout.
pub(crate) struct Shop {
    group: &'static str,
    /// Of a thousand checkouts by a variant's answers, so many fail.
    failing: BTreeMap<&'static str, u64>,
    /// Thousandths of a failure that a variant still owes.
    owed: BTreeMap<&'static str, u64>,
    /// All minutes before this are published.
    until: Timestamp,
}

impl Shop {
    /// One that publishes from `now` on.
    pub(crate) fn new(
        group: &'static str,
        failing: &[(&'static str, u64)],
        now: Timestamp,
    ) -> Self {
        Self {
            group,
            failing: failing.iter().copied().collect(),
            owed: BTreeMap::new(),
            until: now,
        }
    }

    /// Publishes the minutes that are over since the last time.
    pub(crate) async fn publish(&mut self, world: &World) -> Result<()> {
        let now = world.admin().now().await?;
        let mut data = Vec::new();
        for minute in world.admin().timeline(&endpoint(self.group)).await? {
            let end = minute.minute + SignedDuration::from_mins(1);
            if minute.minute < self.until || end > now {
                continue;
            }
            for (&variant, &per_mille) in &self.failing {
                let Some(counts) = minute.counts.get(variant) else {
                    continue;
                };
                let owed = self.owed.entry(variant).or_default();
                *owed += counts.requests * per_mille;
                let failed = *owed / 1_000;
                *owed %= 1_000;
                let at = minute.minute;
                data.push(self.datum("Checkouts", variant, at, counts.requests)?);
                data.push(self.datum("CheckoutsFailed", variant, at, failed)?);
            }
            self.until = end;
        }
        if data.is_empty() {
            return Ok(());
        }
        let put = world.clients.cloudwatch.put_metric_data().namespace("Shop");
        put.set_metric_data(Some(data))
            .send()
            .await
            .with_context(|| format!("the shop of {} can't publish", self.group))?;
        Ok(())
    }

    fn datum(&self, metric: &str, variant: &str, at: Timestamp, count: u64) -> Result<MetricDatum> {
        let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value);
        Ok(MetricDatum::builder()
            .metric_name(metric)
            .dimensions(dimension("Endpoint", &endpoint(self.group)).build())
            .dimensions(dimension("Variant", variant).build())
            .timestamp(DateTime::from_secs(at.as_second()))
            .value(u32::try_from(count)?.into())
            .build())
    }
}
