//! A model's role that may not read its artifact: the model is rejected at the gate, with what to
//! add to the role.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::ModelApprovalStatus;
use tidegate_core::audit::What;
use tidegate_end_to_end::project::Project;
use tidegate_end_to_end::training::ROLE;
use tidegate_end_to_end::world::BUCKET;

use crate::common::{Book, STAGE, tell};
use crate::registration::{project, registered, train};
use crate::senders::written;

const GROUP: &str = "readers";

#[tokio::test]
async fn a_model_that_its_role_may_not_read_is_rejected_until_the_role_is_mended() {
    tell(async |book| {
        let project = project(&book.world).await?;
        book.world.apply(GROUP, &policy(&project)).await?;
        let iam = book.world.clients.iam.clone();
        iam.create_role()
            .role_name(ROLE)
            .assume_role_policy_document(r#"{"Version": "2012-10-17", "Statement": []}"#)
            .send()
            .await?;
        let statement = format!(
            r#"{{"Action":"s3:GetObject","Effect":"Allow","Resource":"arn:aws:s3:::{BUCKET}/*"}}"#
        );

        train(&book.world, &project, "denied", GROUP).await?;
        let (status, why) = gated(book, "denied").await?;
        ensure!(status == ModelApprovalStatus::Rejected, "{status}: {why}");
        let add = format!("add {statement} to the role's policies");
        ensure!(
            why.contains(&add),
            "the reason does not say what to add: {why}"
        );
        book.listen().await?;
        let told = book.told_of(GROUP);
        ensure!(
            told.iter().any(|one| one.text.contains(&statement)),
            "people were not told: {told:#?}"
        );

        iam.put_role_policy()
            .role_name(ROLE)
            .policy_name("read-models")
            .policy_document(format!(
                r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#
            ))
            .send()
            .await?;
        train(&book.world, &project, "allowed", GROUP).await?;
        let (status, why) = gated(book, "allowed").await?;
        ensure!(
            status == ModelApprovalStatus::PendingManualApproval,
            "{status}: {why}"
        );
        let entries = written(&book.world, GROUP, What::CandidateGated).await?;
        let facts = entries.last().context("it was gated")?.facts.clone();
        let read = &facts["preflight"]["reads"]["may_read"][0];
        ensure!(
            read.as_str().is_some_and(|uri| uri.contains("/allowed/")),
            "the trail does not say what the role may read: {facts:#}"
        );
        book.close(&[GROUP]).await
    })
    .await;
}

fn policy(project: &Project) -> String {
    format!(
        r#"
[pipeline]
name = "{GROUP}"
group = "{GROUP}"

[gate]
require = [{{ metric = "{}", at_least = 0.5 }}]

[[stage]]
name = "{STAGE}"
endpoint = "{GROUP}-prod"
instance = {{ type = "ml.m5.large", count = 1 }}
"#,
        project.gate.metric
    )
}

/// What a job's model was registered as, and why.
async fn gated(book: &mut Book, job: &str) -> Result<(ModelApprovalStatus, String)> {
    let record = registered(book, GROUP, job).await?;
    let (arn, _) = record.package.context("it is registered")?;
    let describe = book.world.clients.sagemaker.describe_model_package();
    let package = describe.model_package_name(&arn).send().await?;
    let status = package.model_approval_status().context("it has one")?;
    let why = package.model_package_description().unwrap_or_default();
    Ok((status.clone(), why.to_owned()))
}
