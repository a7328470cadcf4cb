//! How a pipeline's story ended, in words that are the same for all pipelines, and how two endings
//! differ.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tidegate_core::audit::Entry;

use super::stories::endpoint;
use crate::world::World;

/// What is found by the way for all pipelines at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Left {
    /// Kinds of notices.
    pub(super) notices: BTreeSet<String>,
    /// Schedules that are there.
    pub(super) schedules: Vec<String>,
    /// Events that were given up.
    pub(super) dead: Vec<String>,
}

/// How a story ended. Names are without the pipeline's own, and without hashes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Outcome {
    /// Finished rollouts: version and phase.
    pub(super) rollouts: Vec<String>,
    /// What still rolls out or waits.
    pub(super) open: Vec<String>,
    /// The version that serves, by the ledger; none if it is not one of the group's.
    pub(super) champion: Option<u32>,
    /// The endpoint: status, config, and each variant with its weight and instances.
    pub(super) endpoint: Vec<String>,
    /// Versions and their approvals.
    pub(super) packages: Vec<String>,
    /// Models and configs that are there.
    pub(super) resources: Vec<String>,
    /// Schedules of ticks that are there.
    pub(super) schedules: Vec<String>,
    /// Kinds of audit entries and how many of each.
    pub(super) entries: BTreeMap<String, usize>,
    /// Kinds of notices; repeats are the receivers' business.
    pub(super) notices: BTreeSet<String>,
    /// Effects that are still to be done.
    pub(super) pending: usize,
    /// Events that were given up, in words. A tick is none: the next one does its work.
    pub(super) dead: Vec<String>,
}

impl Outcome {
    /// Reads it.
    pub(super) async fn read(world: &World, name: &str, left: Left) -> Result<Self> {
        let head = world.ledger.head(name).await?;
        let finished = world.ledger.finished(name).await?;
        let rolling = head.rollouts.values();
        let open = rolling.map(|one| format!("{} {}", one.candidate.version, one.phase_word()));
        let waiting = head.waiting.values();
        let waits = waiting.map(|one| format!("{} waits", one.candidate.version));
        Ok(Self {
            rollouts: finished
                .iter()
                .map(|one| format!("{} {}", one.candidate.version, one.phase_word()))
                .collect(),
            open: open.chain(waits).collect(),
            champion: head
                .champions
                .values()
                .next()
                .map(|c| c.candidate.version.0),
            endpoint: serving(world, name).await?,
            packages: packages(world, name).await?,
            resources: resources(world, name).await?,
            schedules: left.schedules,
            entries: entries(world, name).await?,
            notices: left.notices,
            pending: world.ledger.pending(name).await?,
            dead: left.dead,
        })
    }

    /// What is not as it has to be. Entries count by their kinds, each at least once: a fault may
    /// lead to one more look or one more wait, but to nothing else.
    pub(super) fn differences(&self, expected: &Self) -> Vec<String> {
        let mut all = Vec::new();
        let mut compare = |what: &str, is: String, was: String| {
            if is != was {
                all.push(format!("{what}: {is} instead of {was}"));
            }
        };
        let words = |all: &[String]| format!("[{}]", all.join(", "));
        compare("rollouts", words(&self.rollouts), words(&expected.rollouts));
        compare("under way", words(&self.open), words(&expected.open));
        compare(
            "champion",
            format!("{:?}", self.champion),
            format!("{:?}", expected.champion),
        );
        compare("endpoint", words(&self.endpoint), words(&expected.endpoint));
        compare("packages", words(&self.packages), words(&expected.packages));
        compare(
            "resources",
            words(&self.resources),
            words(&expected.resources),
        );
        compare(
            "schedules",
            words(&self.schedules),
            words(&expected.schedules),
        );
        compare(
            "pending",
            self.pending.to_string(),
            expected.pending.to_string(),
        );
        compare("given up", words(&self.dead), words(&expected.dead));
        let kinds = |of: &Self| format!("{:?}", of.entries.keys().collect::<Vec<_>>());
        compare("entries", kinds(self), kinds(expected));
        compare(
            "notices",
            format!("{:?}", self.notices),
            format!("{:?}", expected.notices),
        );
        all
    }

    /// Kinds of entries that there are more or fewer of; worth a look, and no fault by itself.
    pub(super) fn counts(&self, expected: &Self) -> Vec<String> {
        let count = |of: &Self, kind: &String| of.entries.get(kind).copied().unwrap_or(0);
        let differs = |kind: &&String| count(self, kind) != count(expected, kind);
        let kinds = self.entries.keys().filter(differs);
        kinds
            .map(|kind| {
                format!(
                    "{kind} {} times, not {}",
                    count(self, kind),
                    count(expected, kind)
                )
            })
            .collect()
    }
}

/// A name without the pipeline's and without the hash at its end or before its suffix.
fn plain(name: &str, pipeline: &str) -> String {
    let name = name.replace(pipeline, "*");
    let is_hash =
        |word: &str| word.len() == 10 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = name
        .split('-')
        .map(|word| if is_hash(word) { "#" } else { word });
    words.collect::<Vec<_>>().join("-")
}

async fn serving(world: &World, name: &str) -> Result<Vec<String>> {
    let describe = world.clients.sagemaker.describe_endpoint();
    let found = describe.endpoint_name(endpoint(name)).send().await?;
    let mut all = vec![format!(
        "{} by {}",
        found.endpoint_status.context("an endpoint has a status")?,
        plain(
            found.endpoint_config_name.as_deref().unwrap_or_default(),
            name
        )
    )];
    for variant in found.production_variants.unwrap_or_default() {
        all.push(format!(
            "{} weight {} instances {}",
            variant.variant_name.unwrap_or_default(),
            variant.current_weight.unwrap_or_default(),
            variant.current_instance_count.unwrap_or_default()
        ));
    }
    Ok(all)
}

async fn packages(world: &World, name: &str) -> Result<Vec<String>> {
    let list = world.clients.sagemaker.list_model_packages();
    let found = list.model_package_group_name(name).send().await;
    let Ok(found) = found else {
        // There is no group before the first version.
        return Ok(Vec::new());
    };
    let summary = |package: &aws_sdk_sagemaker::types::ModelPackageSummary| {
        let approval = package.model_approval_status.as_ref();
        let approval = approval.map_or_else(String::new, ToString::to_string);
        format!(
            "{} {approval}",
            package.model_package_version.unwrap_or_default()
        )
    };
    let mut all: Vec<String> = found
        .model_package_summary_list()
        .iter()
        .map(summary)
        .collect();
    all.sort();
    Ok(all)
}

async fn resources(world: &World, name: &str) -> Result<Vec<String>> {
    let client = &world.clients.sagemaker;
    let models = client.list_models().name_contains(name).max_results(100);
    let configs = client
        .list_endpoint_configs()
        .name_contains(name)
        .max_results(100);
    let (models, configs) = tokio::try_join!(async { anyhow::Ok(models.send().await?) }, async {
        anyhow::Ok(configs.send().await?)
    })?;
    let models = models.models.unwrap_or_default().into_iter();
    let configs = configs.endpoint_configs.unwrap_or_default().into_iter();
    let models = models.filter_map(|one| one.model_name);
    let configs = configs.filter_map(|one| one.endpoint_config_name);
    let mut all: Vec<String> = models
        .map(|one| format!("model {}", plain(&one, name)))
        .chain(configs.map(|one| format!("config {}", plain(&one, name))))
        .collect();
    all.sort();
    Ok(all)
}

/// The kinds of a group's entries. Whether their chain is whole says `tidegate audit verify`.
async fn entries(world: &World, name: &str) -> Result<BTreeMap<String, usize>> {
    let mut all = BTreeMap::new();
    for (_, text) in world.ledger.entries(name).await? {
        let entry: Entry = serde_json::from_str(&text)?;
        *all.entry(entry.read()?.what.word().to_owned()).or_default() += 1;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_the_pipeline_and_hashes() {
        assert_eq!(
            plain("case-0007-prod-v1-0123456789-c", "case-0007"),
            "*-prod-v1-#-c"
        );
        assert_eq!(plain("case-0007-people", "case-0007"), "*-people");
    }
}
