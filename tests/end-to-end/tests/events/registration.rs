//! Training jobs that ended: one package each, however often and in whatever form it is told; an
//! evaluation that is missing or no JSON is a rejection with the reason; a package with nothing in
//! it is told to people.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::ModelApprovalStatus;
use serde_json::{Value, json};
use tidegate_core::audit::What;
use tidegate_core::ledger::JobRecord;
use tidegate_end_to_end::project::{Project, put as put_object};
use tidegate_end_to_end::training::Job;
use tidegate_end_to_end::world::{ANCHOR_BUCKET, BUCKET, World};

use crate::common::{Book, STAGE, policy_that_creates, set_approval, tell};
use crate::senders::{invoke, put, sent, written};

/// The pipeline that takes a job's own metrics.
const PLAIN: &str = "tumours";
/// The pipeline that takes them from an evaluation file.
const EVALUATED: &str = "evaluated";
/// The pipeline whose package has no container.
const HOLLOW: &str = "hollow";

#[tokio::test]
async fn a_training_job_is_registered_once_and_judged_by_what_can_be_read() {
    tell(async |book| {
        let project = project(&book.world).await?;
        apply_policies(&book.world, &project).await?;
        let jobs = [
            ("told-five-times", PLAIN),
            ("evaluation-missing", EVALUATED),
            ("evaluation-garbled", EVALUATED),
            ("evaluation-there", EVALUATED),
        ];
        for (name, text) in [
            ("evaluation-garbled", "auc: 0.97"),
            ("evaluation-there", r#"{"auc": {"value": 0.97}}"#),
        ] {
            let key = format!("evaluations/{name}.json");
            put_object(&book.world.clients, BUCKET, &key, text.into()).await?;
        }
        for (name, pipeline) in jobs {
            train(&book.world, &project, name, pipeline).await?;
        }
        for (name, group) in jobs {
            registered(book, group, name).await?;
        }
        one_job_told_in_five_forms_is_one_package(book).await?;
        an_evaluation_that_cant_be_read_is_a_rejection(book).await?;
        a_package_with_nothing_to_serve_is_told(book).await?;
        an_artifact_that_was_written_over_is_not_shipped(book).await?;
        the_trails_are_anchored_and_are_what_was_anchored(book).await?;
        book.close(&[PLAIN, EVALUATED, HOLLOW]).await
    })
    .await;
}

/// The sample project, its data where its jobs look for it.
pub(crate) async fn project(world: &World) -> Result<Project> {
    let project = Project::read(&world.place, "tumours")?;
    let data = world.run.path().join("export");
    project.export(&world.place, &data).await?;
    let prefix = format!("{}/data", project.name);
    project
        .upload(&world.clients, BUCKET, &prefix, &data)
        .await?;
    Ok(project)
}

async fn apply_policies(world: &World, project: &Project) -> Result<()> {
    let manual = |group: &str, gate: &str| {
        format!(
            r#"
[pipeline]
name = "{group}"
group = "{group}"

[gate]
{gate}

[[stage]]
name = "{STAGE}"
endpoint = "{group}-prod"
instance = {{ type = "ml.m5.large", count = 1 }}
"#
        )
    };
    let metric = &project.gate.metric;
    let plain = format!("require = [{{ metric = \"{metric}\", at_least = 0.5 }}]");
    let evaluated = format!(
        "require = [{{ metric = \"auc.value\", at_least = 0.9 }}]\n\
         evaluation = \"s3://{BUCKET}/evaluations/{{job}}.json\""
    );
    world.apply(PLAIN, &manual(PLAIN, &plain)).await?;
    world
        .apply(EVALUATED, &manual(EVALUATED, &evaluated))
        .await?;
    world.apply(HOLLOW, &policy_that_creates(HOLLOW)).await
}

pub(crate) async fn train(
    world: &World,
    project: &Project,
    name: &str,
    pipeline: &str,
) -> Result<()> {
    let key = format!("source/{name}/sourcedir.tar.gz");
    let source = put_object(&world.clients, BUCKET, &key, project.pack("v1")?).await?;
    let tags = BTreeMap::from([("tidegate:pipeline".to_owned(), pipeline.to_owned())]);
    let job = Job {
        name: name.to_owned(),
        project,
        version: "v1",
        bucket: BUCKET,
        source,
        tags,
    };
    job.create(&world.clients).await
}

pub(crate) async fn registered(book: &mut Book, group: &str, job: &str) -> Result<JobRecord> {
    let what = format!("{job} is gated and registered");
    book.until(&what, 30, async |world| {
        let records = world.ledger.jobs(group).await?;
        let is_it = |record: &JobRecord| record.job.as_str() == job && record.package.is_some();
        Ok(records.into_iter().find(is_it))
    })
    .await
}

/// `SageMaker` says it twice; four more forms follow, each delivered twice too.
async fn one_job_told_in_five_forms_is_one_package(book: &mut Book) -> Result<()> {
    let world = &book.world;
    let job = "told-five-times";
    let sent = sent(world).await?;
    let is_end = |event: &&Value| {
        event["detail"]["TrainingJobName"] == job
            && event["detail"]["TrainingJobStatus"] == "Completed"
    };
    let event = sent.iter().find(is_end).context("the job's end was told")?;
    let tags = json!([{ "Key": "tidegate:pipeline", "Value": PLAIN }]);
    let mut list = event.clone();
    list["detail"]["Tags"] = tags;
    let mut null = event.clone();
    null["detail"]["Tags"] = Value::Null;
    let mut bare = event.clone();
    bare["detail"] = json!({
        "TrainingJobName": job, "TrainingJobArn": event["detail"]["TrainingJobArn"],
        "TrainingJobStatus": "COMPLETED",
    });
    let mut texts = event.clone();
    for time in ["CreationTime", "TrainingEndTime", "LastModifiedTime"] {
        texts["detail"][time] = json!("1583831889050");
    }
    for form in [&list, &null, &bare, &texts] {
        let arn = form["detail"]["TrainingJobArn"]
            .as_str()
            .unwrap_or_default();
        let kind = form["detail-type"].as_str().unwrap_or_default();
        if form["detail"]["TrainingJobStatus"] == "Completed" {
            put(world, "aws.sagemaker", kind, arn, &form["detail"]).await?;
        } else {
            // The rule asks for the status as AWS writes it today; whoever writes it otherwise
            // has to come by the queue.
            invoke(world, "training-complete", &form.to_string()).await?;
        }
    }
    world.pass_minutes(3).await?;

    let packages = world.clients.sagemaker.list_model_packages();
    let packages = packages.model_package_group_name(PLAIN).send().await?;
    let packages = packages.model_package_summary_list.unwrap_or_default();
    ensure!(
        packages.len() == 1,
        "one job gave {} packages: {packages:?}",
        packages.len()
    );
    ensure!(
        packages[0].model_approval_status() == Some(&ModelApprovalStatus::PendingManualApproval),
        "it passes, and a person has the last word: {:?}",
        packages[0].model_approval_status()
    );
    let jobs = world.ledger.jobs(PLAIN).await?;
    ensure!(jobs.len() == 1, "one job has {} records", jobs.len());
    for what in [What::CandidateGated, What::CandidateRegistered] {
        let entries = written(world, PLAIN, what).await?;
        ensure!(
            entries.len() == 1,
            "{what} was written down {} times: {entries:#?}",
            entries.len()
        );
    }
    Ok(())
}

async fn an_evaluation_that_cant_be_read_is_a_rejection(book: &mut Book) -> Result<()> {
    for (job, status, words) in [
        (
            "evaluation-missing",
            ModelApprovalStatus::Rejected,
            "evaluations/evaluation-missing.json does not exist",
        ),
        (
            "evaluation-garbled",
            ModelApprovalStatus::Rejected,
            "not JSON",
        ),
        (
            "evaluation-there",
            ModelApprovalStatus::PendingManualApproval,
            "auc.value",
        ),
    ] {
        let record = registered(book, EVALUATED, job).await?;
        let (arn, _) = record.package.context("it is registered")?;
        let describe = book.world.clients.sagemaker.describe_model_package();
        let package = describe.model_package_name(&arn).send().await?;
        ensure!(
            package.model_approval_status() == Some(&status),
            "{job} is {:?}",
            package.model_approval_status()
        );
        let why = package.model_package_description().unwrap_or_default();
        ensure!(why.contains(words), "the package of {job} says: {why}");
        let entries = written(&book.world, EVALUATED, What::CandidateGated).await?;
        ensure!(
            entries
                .iter()
                .any(|entry| entry.why.contains(job) && entry.why.contains(words)),
            "the trail does not say why of {job}: {entries:#?}"
        );
    }
    let metrics = registered(book, EVALUATED, "evaluation-there")
        .await?
        .metrics;
    ensure!(
        metrics.get("auc.value") == Some(&0.97),
        "the file was not read: {metrics:?}"
    );
    Ok(())
}

/// Somebody writes over the artifact of a version between its registration and its approval.
async fn an_artifact_that_was_written_over_is_not_shipped(book: &mut Book) -> Result<()> {
    let job = "told-five-times";
    let (arn, _) = registered(book, PLAIN, job)
        .await?
        .package
        .context("it is registered")?;
    let client = book.world.clients.sagemaker.clone();
    let package = client.describe_model_package().model_package_name(&arn);
    let package = package.send().await?;
    let metadata = package.customer_metadata_properties().cloned();
    ensure!(
        metadata.is_some_and(|pairs| pairs.contains_key("tidegate:artifact")),
        "the package does not say what its artifact was"
    );
    let key = format!("models/{job}/output/model.tar.gz");
    put_object(&book.world.clients, BUCKET, &key, b"another".to_vec()).await?;
    set_approval(&book.world, &arn, ModelApprovalStatus::Approved).await?;
    let refused = book.until("it is refused", 10, async |world| {
        Ok(written(world, PLAIN, What::RolloutFailed).await?.pop())
    });
    let refused = refused.await?;
    ensure!(
        refused.why.contains("was written again since"),
        "the trail says otherwise: {}",
        refused.why
    );
    let endpoints = client.list_endpoints().name_contains(PLAIN).send().await?;
    ensure!(
        endpoints.endpoints().is_empty(),
        "an endpoint was made of it: {:?}",
        endpoints.endpoints()
    );
    book.listen().await?;
    let told = book.told_of(PLAIN);
    ensure!(
        told.iter()
            .any(|one| one.text.contains("Nothing was changed.")),
        "people were not told: {told:#?}"
    );
    Ok(())
}

/// Once an hour housekeeping anchors the ends of all trails.
async fn the_trails_are_anchored_and_are_what_was_anchored(book: &mut Book) -> Result<()> {
    book.world.pass_minutes(65).await?;
    let place = format!("s3://{ANCHOR_BUCKET}");
    let verify = ["audit", "verify", "--anchors", &place];
    let (code, text) = book.world.tidegate(&verify).await?;
    ensure!(code == 0, "{verify:?} ended with {code}:\n{text}");
    ensure!(
        text.contains("of them anchored") && !text.contains(" 0 of them anchored"),
        "not all trails were anchored:\n{text}"
    );
    Ok(())
}

/// Somebody approved a package that has no container at all.
async fn a_package_with_nothing_to_serve_is_told(book: &mut Book) -> Result<()> {
    let client = book.world.clients.sagemaker.clone();
    let group = client.create_model_package_group();
    group.model_package_group_name(HOLLOW).send().await?;
    client
        .create_model_package()
        .model_package_group_name(HOLLOW)
        .model_approval_status(ModelApprovalStatus::Approved)
        .send()
        .await
        .context("SageMaker takes a package without containers")?;
    book.world.pass_minutes(3).await?;
    book.listen().await?;
    let told = book.told_of(HOLLOW);
    let is_told = |text: &str| told.iter().any(|one| one.text.contains(text));
    ensure!(
        is_told("no container with an image or artifacts"),
        "people were not told: {told:#?}"
    );
    let endpoints = client.list_endpoints().name_contains(HOLLOW).send().await?;
    ensure!(
        endpoints.endpoints().is_empty(),
        "an endpoint was made of nothing: {:?}",
        endpoints.endpoints()
    );
    Ok(())
}
