//! What the ledger, the registry and the scheduler say afterwards: each event took effect once, each
//! training job has one package, each approval one rollout, and nothing is left to do.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use tidegate_core::audit::{Entry, Verifier};
use tidegate_core::ledger::Ledger as _;
use tidegate_core::name::GroupName;

use super::plan::Plan;
use super::town::Town;

/// Groups that are looked at side by side.
const AT_ONCE: usize = 8;
/// Entries that are read at once.
const PAGE: u32 = 1_000;

/// What has to be nought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Proof {
    /// Events that led to nothing although they had to.
    pub(super) lost: Vec<String>,
    /// Events that took effect twice, packages and rollouts that there are twice.
    pub(super) twice: Vec<String>,
    /// Calls that nobody does although their functions ended; housekeeping finds none of them.
    pub(super) left: usize,
    /// Groups whose audit trail is broken, and how.
    pub(super) broken: Vec<String>,
}

pub(super) async fn prove(town: &Town, plan: &Plan) -> Result<Proof> {
    let groups = stream::iter(0..plan.groups).map(|group| of_group(town, plan, group));
    let mut groups = groups.buffer_unordered(AT_ONCE);
    let mut all = Proof::default();
    while let Some(one) = groups.next().await {
        let one = one?;
        all.lost.extend(one.lost);
        all.twice.extend(one.twice);
        all.broken.extend(one.broken);
        all.left += one.left;
    }
    Ok(all)
}

async fn of_group(town: &Town, plan: &Plan, number: usize) -> Result<Proof> {
    let name = plan.group(number);
    let group = GroupName::parse(&name)?;
    let mut proof = Proof::default();
    let entries = entries(town, &group).await?;
    let snapshot = town.ledger.load(&group, None).await?;
    let snapshot = snapshot.context("a policy was applied")?;
    proof.left = snapshot.pending.len();

    let mut verifier = Verifier::new();
    let chained = entries.iter().try_for_each(|entry| verifier.push(entry));
    if let Err(broken) = chained.and_then(|()| verifier.finish(&snapshot.head.tip).map(drop)) {
        proof.broken.push(format!("{name}: {broken}"));
    }

    let expected = plan.expected(number);
    let mut written: HashMap<&str, u32> = expected.keys().map(|id| (*id, 0)).collect();
    for entry in &entries {
        let read = entry.read()?;
        let is_it = expected.get_key_value(read.event.0.as_str());
        if let Some((id, _)) = is_it.filter(|(_, what)| **what == read.what) {
            *written.entry(id).or_default() += 1;
        }
    }
    for (id, times) in written {
        match times {
            0 => proof.lost.push(format!("event {id}")),
            1 => {}
            _ => proof.twice.push(format!("event {id}: {times} entries")),
        }
    }
    packages(town, plan, number, &mut proof).await?;
    let rollouts = snapshot.head.rollouts.len();
    if rollouts != 1 {
        let list = if rollouts == 0 {
            &mut proof.lost
        } else {
            &mut proof.twice
        };
        list.push(format!("{rollouts} rollouts of {name}"));
    }
    Ok(proof)
}

/// People's one, and one for each training job.
async fn packages(town: &Town, plan: &Plan, number: usize, proof: &mut Proof) -> Result<()> {
    let name = plan.group(number);
    let list = town.clients.sagemaker.list_model_packages();
    let found = list
        .model_package_group_name(&name)
        .max_results(100)
        .send()
        .await?;
    let found = found.model_package_summary_list().len();
    let wanted = 1 + plan.jobs().filter(|(group, _)| *group == number).count();
    if found != wanted {
        let list = if found < wanted {
            &mut proof.lost
        } else {
            &mut proof.twice
        };
        list.push(format!("{found} packages of {name}, not {wanted}"));
    }
    Ok(())
}

async fn entries(town: &Town, group: &GroupName) -> Result<Vec<Entry>> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map_or(0, |entry| entry.n);
        let page = town.ledger.entries(group, after, PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
