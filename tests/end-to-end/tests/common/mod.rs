//! What the stories share: a world whose clock the test moves, packages whose containers answer
//! from a script, and the checks that close every story.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashSet;

use anyhow::{Context as _, Result, bail, ensure};
use aws_sdk_sagemaker::operation::describe_endpoint::DescribeEndpointOutput;
use aws_sdk_sagemaker::types::{
    InferenceSpecification, ModelApprovalStatus, ModelPackageContainerDefinition,
};
use serde_json::{Value, json};
use tidegate_core::name::PackageVersion;
use tidegate_core::rollout::Rollout;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::emulator::{Behaviour, next_hour};
use tidegate_end_to_end::lambda::FUNCTIONS;
use tidegate_end_to_end::notices::{self, Told};
use tidegate_end_to_end::project::put;
use tidegate_end_to_end::pump::Delivery;
use tidegate_end_to_end::queues;
use tidegate_end_to_end::training::ROLE;
use tidegate_end_to_end::world::{BUCKET, Options, World};
use tokio::process::Command;

/// The stage of every policy here.
pub(crate) const STAGE: &str = "production";
/// The image of every package here; its containers are scripted, nothing is pulled.
pub(crate) const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/serve:1";
/// What a policy says of an endpoint that its first version creates.
pub(crate) const TWO_INSTANCES: &str = r#"instance = { type = "ml.m5.large", count = 2 }"#;
/// Requests a minute: 5 % of them are enough to judge a canary by within minutes.
pub(crate) const REQUESTS: u32 = 600;

/// A world whose clock stands still until the test moves it, with every event sent twice by
/// SageMaker and each of those delivered twice.
async fn world() -> Result<World> {
    World::start(&Options {
        emulator: Behaviour {
            speed: 0.0,
            start: Some(next_hour()),
            duplicate_events: true,
            ..Behaviour::default()
        },
        delivery: Delivery { twice: true },
    })
    .await
}

/// Runs a story and adds the functions' last words to what it fails with.
pub(crate) async fn tell(story: impl AsyncFnOnce(&mut Book) -> Result<()>) {
    let mut book = Book::open().await.expect("the world starts");
    if let Err(why) = Box::pin(story(&mut book)).await {
        panic!(
            "{why:#}\n\nfailures of functions: {:#?}\n\n{}",
            book.world.pump.failures(),
            book.world.last_lines(12)
        );
    }
}

/// A world, and what people were told in it.
pub(crate) struct Book {
    pub(crate) world: World,
    /// Notices, without their repeats.
    pub(crate) told: Vec<Told>,
    known: HashSet<String>,
}

impl Book {
    async fn open() -> Result<Self> {
        Ok(Self {
            world: world().await?,
            told: Vec::new(),
            known: HashSet::new(),
        })
    }

    /// Hears what people were told since the last time; receivers drop repeats by their id.
    pub(crate) async fn listen(&mut self) -> Result<()> {
        for told in notices::take(&self.world.clients, &self.world.moto.url).await? {
            let id = told.id.clone().context("a notice has an id")?;
            if self.known.insert(id) {
                self.told.push(told);
            }
        }
        Ok(())
    }

    /// What people were told of a group so far.
    pub(crate) fn told_of(&self, group: &str) -> Vec<&Told> {
        let prefix = format!("{group}/");
        let of_group = |told: &&Told| told.id.as_ref().is_some_and(|id| id.starts_with(&prefix));
        self.told.iter().filter(of_group).collect()
    }

    /// The notice of a group with this word of the audit trail; the failure lists what there was.
    pub(crate) fn notice(&self, group: &str, what: &str) -> Result<&Told> {
        let all = self.told_of(group);
        let found = all.iter().find(|told| told.what.as_deref() == Some(what));
        found
            .copied()
            .with_context(|| format!("people were not told {what} of {group}, but: {all:#?}"))
    }

    /// Passes minute after minute until `look` gives something.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        most_minutes: u32,
        mut look: impl AsyncFnMut(&World) -> Result<Option<T>>,
    ) -> Result<T> {
        for _ in 0..most_minutes {
            // Boxed: what a look holds would otherwise be part of every future that waits.
            if let Some(found) = Box::pin(look(&self.world)).await? {
                self.listen().await?;
                return Ok(found);
            }
            self.world.pass_minutes(1).await?;
        }
        self.listen().await?;
        let told: Vec<&str> = self.told.iter().map(|told| told.subject.as_str()).collect();
        bail!("{most_minutes} minutes passed without this: {what}; people were told: {told:#?}")
    }

    /// Passes minutes until a version's rollout has ended, with everything that it leaves to do.
    pub(crate) async fn ended(
        &mut self,
        group: &str,
        version: u32,
        most_minutes: u32,
    ) -> Result<Rollout> {
        let what = format!("the rollout of {group} v{version} ends");
        self.until(&what, most_minutes, async |world| {
            let finished = finished(world, group, version).await?;
            let is_over = finished.is_some() && world.ledger.pending(group).await? == 0;
            Ok(finished.filter(|_| is_over))
        })
        .await
    }

    /// Everything that holds once all rollouts are over, whatever happened in them.
    pub(crate) async fn close(&mut self, groups: &[&str]) -> Result<()> {
        // What was delivered late is delivered by then.
        self.world.pass_minutes(4).await?;
        self.listen().await?;
        for group in groups {
            let pending = self.world.ledger.pending(group).await?;
            ensure!(pending == 0, "{pending} effects of {group} are pending");
            let head = self.world.ledger.head(group).await?;
            ensure!(
                head.rollouts.is_empty() && head.waiting.is_empty(),
                "{group} still rolls out {:?} and keeps waiting {:?}",
                head.rollouts.keys(),
                head.waiting.keys()
            );
        }
        let ticking = schedules(&self.world).await?;
        ensure!(
            ticking.is_empty(),
            "finished rollouts still tick: {ticking:?}"
        );
        for function in FUNCTIONS {
            let dead =
                queues::take_dead_letters(&self.world.clients, &self.world.moto.url, function)
                    .await?;
            ensure!(dead.is_empty(), "{function} gave up {dead:#?}");
        }
        let (code, text) = self.world.tidegate(&["audit", "verify"]).await?;
        ensure!(
            code == 0,
            "tidegate audit verify ended with {code}:\n{text}"
        );
        for group in groups {
            ensure!(
                text.contains(group),
                "tidegate audit verify left {group} out:\n{text}"
            );
        }
        conformance(&self.world).await?;
        self.world.check()
    }
}

/// A policy of one stage that is quick about it: steps of three minutes, guarded by model errors.
/// `stage` is more of `[[stage]]`, such as `instance`.
pub(crate) fn policy(group: &str, stage: &str) -> String {
    policy_with_steps(group, &[5, 25, 50], stage)
}

/// The same with these shares of traffic.
pub(crate) fn policy_with_steps(group: &str, shares: &[u8], stage: &str) -> String {
    format!(
        r#"
[pipeline]
name = "{group}"
group = "{group}"

[serve]
role = "{role}"

[[stage]]
name = "{STAGE}"
endpoint = "{endpoint}"
bake_minutes = 3
watch_minutes = 2
strategy = {{ canary = {shares:?}, minutes = 3, min_requests = 50 }}
{stage}

[[stage.guard]]
metric = "model_errors"
ceiling = 0.01
"#,
        role = clients::role(ROLE),
        endpoint = endpoint(group),
    )
}

/// A policy for an endpoint that its first version creates, with two instances.
pub(crate) fn policy_that_creates(group: &str) -> String {
    policy(group, TWO_INSTANCES)
}

/// The endpoint of a group.
pub(crate) fn endpoint(group: &str) -> String {
    format!("{group}-prod")
}

/// Applies the policy of a group and makes its first version serve, with users.
pub(crate) async fn first_version(book: &mut Book, group: &str) -> Result<()> {
    let policy = policy_that_creates(group);
    book.world.apply(group, &policy).await?;
    package(&book.world, group, &json!({}), Approval::Given).await?;
    Ok(())
}

/// Sends users to a group's endpoint.
pub(crate) async fn users(world: &World, group: &str) -> Result<()> {
    let payloads = ["1.5,2.5".to_owned()];
    world
        .admin()
        .traffic(&endpoint(group), REQUESTS, &payloads, "text/csv")
        .await
}

/// Whether a package is registered as approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approval {
    /// `Approved`.
    Given,
    /// `PendingManualApproval`.
    Awaited,
}

/// Registers the next version of a group, as another team's pipeline would, and gives its ARN. Its
/// container behaves as `script` says (`SAGEMAKER_LOCAL_SCRIPT`).
pub(crate) async fn package(
    world: &World,
    group: &str,
    script: &Value,
    approval: Approval,
) -> Result<String> {
    let client = &world.clients.sagemaker;
    let made = client
        .create_model_package_group()
        .model_package_group_name(group)
        .send()
        .await;
    if let Err(error) = made {
        // The second version finds the group there.
        let text = format!("{error:?}");
        ensure!(text.contains("already exists"), "no group: {text}");
    }
    let key = format!("{group}/model.tar.gz");
    let artifact = put(&world.clients, BUCKET, &key, b"scripted".to_vec()).await?;
    let container = ModelPackageContainerDefinition::builder()
        .image(IMAGE)
        .model_data_url(artifact)
        .environment("SAGEMAKER_LOCAL_SCRIPT", script.to_string())
        .build();
    let specification = InferenceSpecification::builder()
        .containers(container)
        .supported_content_types("text/csv")
        .supported_response_mime_types("text/csv")
        .build();
    let approval = match approval {
        Approval::Given => ModelApprovalStatus::Approved,
        Approval::Awaited => ModelApprovalStatus::PendingManualApproval,
    };
    let made = client
        .create_model_package()
        .model_package_group_name(group)
        .inference_specification(specification)
        .model_approval_status(approval)
        .send()
        .await
        .context("the package can't be registered")?;
    made.model_package_arn.context("a package has an ARN")
}

/// A person's click: a package's approval changes.
pub(crate) async fn set_approval(
    world: &World,
    arn: &str,
    approval: ModelApprovalStatus,
) -> Result<()> {
    let update = world.clients.sagemaker.update_model_package();
    update
        .model_package_arn(arn)
        .model_approval_status(approval)
        .send()
        .await
        .context("the approval can't be changed")?;
    Ok(())
}

/// A package's approval and the words that came with it.
pub(crate) async fn approval(world: &World, arn: &str) -> Result<(String, String)> {
    let package = world
        .clients
        .sagemaker
        .describe_model_package()
        .model_package_name(arn)
        .send()
        .await?;
    let status = package
        .model_approval_status
        .context("it has an approval")?;
    Ok((
        status.to_string(),
        package.approval_description.unwrap_or_default(),
    ))
}

/// A group's endpoint as it is.
pub(crate) async fn describe(world: &World, group: &str) -> Result<DescribeEndpointOutput> {
    let describe = world.clients.sagemaker.describe_endpoint();
    Ok(describe.endpoint_name(endpoint(group)).send().await?)
}

/// What serves a group: variants with their weights.
pub(crate) async fn serving(world: &World, group: &str) -> Result<Vec<(String, f32)>> {
    let variants = describe(world, group).await?.production_variants;
    let weight = |variant: aws_sdk_sagemaker::types::ProductionVariantSummary| {
        (
            variant.variant_name.unwrap_or_default(),
            variant.current_weight.unwrap_or_default(),
        )
    };
    Ok(variants
        .unwrap_or_default()
        .into_iter()
        .map(weight)
        .collect())
}

/// The rollout of a version that is under way, if it is.
pub(crate) async fn running(world: &World, group: &str, version: u32) -> Result<Option<Rollout>> {
    let head = world.ledger.head(group).await?;
    let is_it = |rollout: &Rollout| rollout.candidate.version == PackageVersion(version);
    Ok(head.rollouts.into_values().find(is_it))
}

/// The newest finished rollout of a version, if there is one.
pub(crate) async fn finished(world: &World, group: &str, version: u32) -> Result<Option<Rollout>> {
    let all = world.ledger.finished(group).await?;
    let is_it = |rollout: &Rollout| rollout.candidate.version == PackageVersion(version);
    Ok(all.into_iter().rev().find(is_it))
}

/// The version that serves a group, by the ledger.
pub(crate) async fn champion(world: &World, group: &str) -> Result<Option<u32>> {
    let head = world.ledger.head(group).await?;
    let champion = head.champions.into_values().next();
    Ok(champion.map(|champion| champion.candidate.version.0))
}

/// The schedules of ticks that there are.
pub(crate) async fn schedules(world: &World) -> Result<Vec<String>> {
    world.ticks().await
}

/// The names of all models and of all endpoint configs that begin with a group's endpoint.
pub(crate) async fn parts(world: &World, group: &str) -> Result<(Vec<String>, Vec<String>)> {
    let client = &world.clients.sagemaker;
    let models = client.list_models().max_results(100).send().await?;
    let configs = client
        .list_endpoint_configs()
        .max_results(100)
        .send()
        .await?;
    let prefix = endpoint(group);
    let models = models.models.unwrap_or_default();
    let configs = configs.endpoint_configs.unwrap_or_default();
    let ours = |name: &String| name.starts_with(&prefix);
    Ok((
        models
            .into_iter()
            .filter_map(|model| model.model_name)
            .filter(ours)
            .collect(),
        configs
            .into_iter()
            .filter_map(|config| config.endpoint_config_name)
            .filter(ours)
            .collect(),
    ))
}

/// The inputs of an operation's calls that the emulator took, oldest first.
pub(crate) fn calls(world: &World, operation: &str) -> Result<Vec<Value>> {
    let record = std::fs::read_to_string(&world.emulator.record)?;
    let mut calls = Vec::new();
    for line in record.lines() {
        let mut line: Value = serde_json::from_str(line)?;
        if line["operation"] == operation && line["status"] == 200 {
            calls.push(line["input"].take());
        }
    }
    Ok(calls)
}

/// Every request and answer of the emulator against the service models that botocore ships.
pub(crate) async fn conformance(world: &World) -> Result<()> {
    let script = "tests/sagemaker-local/conformance/check.py";
    let output = Command::new(world.place.python()?)
        .arg(world.place.root().join(script))
        .arg(&world.emulator.record)
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first: Vec<&str> = text.lines().take(20).collect();
    ensure!(
        output.status.success(),
        "the emulator is not as AWS's service models say:\n{}",
        first.join("\n")
    );
    Ok(())
}
