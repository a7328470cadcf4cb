//! After a registration and a rollout SageMaker's lineage leads from the endpoint to the data as it
//! was and to the code: by `ListAssociations` alone, as Studio and an auditor walk it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use tidegate_core::rollout::Phase;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::project::put as put_object;
use tidegate_end_to_end::training::Job;
use tidegate_end_to_end::world::{BUCKET, World};

use crate::common::{endpoint, policy, tell};
use crate::registration::project;

const GROUP: &str = "traced";
const ONE_INSTANCE: &str = r#"instance = { type = "ml.m5.large", count = 1 }"#;

#[tokio::test]
async fn the_graph_leads_from_the_endpoint_to_data_and_code() {
    tell(async |book| {
        let project = project(&book.world).await?;
        let text = format!(
            "{}\n[gate]\nrequire = [{{ metric = \"{}\", at_least = 0.5 }}]\napproval = \
             \"automatic\"\n",
            policy(GROUP, ONE_INSTANCE),
            project.gate.metric,
        );
        book.world.apply(GROUP, &text).await?;
        let key = "source/traced/sourcedir.tar.gz";
        let packed = project.pack("v1")?;
        let source = put_object(&book.world.clients, BUCKET, key, packed).await?;
        let tags = [
            ("tidegate:pipeline", GROUP),
            ("tidegate:commit", "3f2a9c1"),
            ("tidegate:repository", "https://git.example/traced"),
        ];
        let job = Job {
            name: "traced-1".to_owned(),
            project: &project,
            version: "v1",
            bucket: BUCKET,
            source,
            tags: tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        };
        job.create(&book.world.clients).await?;
        let rollout = book.ended(GROUP, 1, 60).await?;
        ensure!(rollout.phase == Phase::Done, "v1 is {:?}", rollout.phase);
        book.world.pass_minutes(6).await?;

        let deployment = format!("tidegate-{}", rollout.id);
        let found = walk(&book.world, &deployment).await?;
        let sources = found.values().map(String::as_str);
        let data: Vec<&str> = sources.clone().filter(|s| s.starts_with("s3://")).collect();
        for channel in ["train", "validation", "features"] {
            let state = format!("/{channel}#");
            ensure!(
                data.iter().filter(|uri| uri.contains(&state)).count() == 1,
                "the state of {channel} is not among {data:#?}"
            );
        }
        let code = "https://git.example/traced@3f2a9c1";
        ensure!(
            sources.clone().any(|source| source == code),
            "the code is not among {found:#?}"
        );
        book.close(&[GROUP]).await
    })
    .await;
}

/// The artifacts that this deployment on the endpoint comes from, with their sources.
async fn walk(world: &World, deployment: &str) -> Result<BTreeMap<String, String>> {
    let sagemaker = &world.clients.sagemaker;
    let arn = clients::arn("sagemaker", &format!("endpoint/{}", endpoint(GROUP)));
    let contexts = sagemaker.list_contexts().source_uri(arn).send().await?;
    let context = contexts.context_summaries().first();
    let context = context.and_then(|c| c.context_arn());
    let context = context.context("the endpoint has a context")?;
    let list = sagemaker.list_associations().destination_arn(context);
    let into = list.source_type("ModelDeployment").send().await?;
    let mut deployments = into.association_summaries().iter();
    let ours = deployments.find(|a| a.source_name() == Some(deployment));
    let ours = ours.and_then(|a| a.source_arn());
    let mut next = vec![ours.context("our deployment leads to it")?.to_owned()];
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    while let Some(arn) = next.pop() {
        if !seen.insert(arn.clone()) {
            continue;
        }
        if arn.contains(":artifact/") {
            let artifact = sagemaker.describe_artifact().artifact_arn(&arn);
            let artifact = artifact.send().await?;
            let source = artifact.source().and_then(|s| s.source_uri());
            found.insert(arn.clone(), source.unwrap_or_default().to_owned());
        }
        let list = sagemaker.list_associations().destination_arn(&arn);
        let into = list.max_results(100).send().await?;
        let sources = into.association_summaries().iter();
        next.extend(sources.filter_map(|a| a.source_arn.clone()));
    }
    Ok(found)
}
