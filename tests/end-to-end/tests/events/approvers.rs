//! An approval counts by the policy's rules wherever it is given: here with the SDK, past Tidegate.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_iam::types::Tag;
use aws_sdk_sagemaker::config::{Builder, Credentials};
use aws_sdk_sagemaker::types::ModelApprovalStatus;
use serde_json::json;
use tidegate_core::origin::APPROVER_KEY;
use tidegate_core::rollout::Phase;
use tidegate_end_to_end::world::World;

use crate::common::{Approval, Book, approval, package, policy_that_creates, running, tell};

const GROUP: &str = "voted";

#[tokio::test]
async fn a_forbidden_approval_is_taken_back_and_two_people_start_a_rollout() {
    tell(async |book| {
        let rule = "[approval]\npeople = 2\nby = [\"arn:aws:iam::*:user/ada\", \"arn:aws:iam::*:user/bob\"]\n";
        let policy = format!("{}\n{rule}", policy_that_creates(GROUP));
        book.world.apply(GROUP, &policy).await?;
        let arn = package(&book.world, GROUP, &json!({}), Approval::Awaited).await?;
        book.world.pass_minutes(2).await?;

        approve_as(&book.world, &arn, "eve").await?;
        is_taken_back(book, GROUP, &arn, "approval-undone", "the policy does not name them").await?;
        approve_as(&book.world, &arn, "ada").await?;
        is_taken_back(book, GROUP, &arn, "approval-counted", "1 of 2 people").await?;
        approve_as(&book.world, &arn, "bob").await?;
        let rollout = book.ended(GROUP, 1, 40).await?;
        ensure!(rollout.phase == Phase::Done, "it is {:?}", rollout.phase);
        let by = rollout.candidate.approved_by.unwrap_or_default();
        ensure!(by.ends_with("user/bob"), "{by} approved it");
        let describe = book.world.clients.sagemaker.describe_model_package();
        let described = describe.model_package_name(&arn).send().await?;
        let metadata = described.customer_metadata_properties.unwrap_or_default();
        let all = "arn:aws:iam::123456789012:user/ada arn:aws:iam::123456789012:user/bob";
        let said = metadata.get(APPROVER_KEY);
        ensure!(
            said.is_some_and(|said| said == all),
            "{said:?} approved it"
        );
        book.close(&[GROUP]).await
    })
    .await;
}

#[tokio::test]
async fn a_roles_tag_in_iam_makes_its_sessions_approvers() {
    tell(async |book| {
        const GROUP: &str = "tagged";
        let rule = "[approval]\ntags = { team = \"risk-approvers\" }\n";
        let policy = format!("{}\n{rule}", policy_that_creates(GROUP));
        book.world.apply(GROUP, &policy).await?;
        let iam = book.world.clients.iam.clone();
        let tag = |team: &str| Tag::builder().key("team").value(team).build();
        iam.create_role()
            .role_name("approvers")
            .path("/risk/")
            .assume_role_policy_document(r#"{"Version": "2012-10-17", "Statement": []}"#)
            .tags(tag("fraud")?)
            .send()
            .await?;
        let arn = package(&book.world, GROUP, &json!({}), Approval::Awaited).await?;
        book.world.pass_minutes(2).await?;

        approve_as(&book.world, &arn, "eve").await?;
        let why = "those of the user eve can't be read: IAM knows it no more";
        is_taken_back(book, GROUP, &arn, "approval-undone", why).await?;
        approve_as(&book.world, &arn, "approvers~ada").await?;
        let why = "which is \"fraud\" on the role approvers";
        is_taken_back(book, GROUP, &arn, "approval-undone", why).await?;
        iam.tag_role()
            .role_name("approvers")
            .tags(tag("risk-approvers")?)
            .send()
            .await?;
        approve_as(&book.world, &arn, "approvers~bob").await?;
        let rollout = book.ended(GROUP, 1, 40).await?;
        ensure!(rollout.phase == Phase::Done, "it is {:?}", rollout.phase);
        let by = rollout.candidate.approved_by.unwrap_or_default();
        ensure!(
            by.ends_with("assumed-role/approvers/bob"),
            "{by} approved it"
        );
        book.close(&[GROUP]).await
    })
    .await;
}

/// A click of a person with this access key, whom the local SageMaker takes for the user of that
/// name, or for a session of a role.
async fn approve_as(world: &World, arn: &str, who: &str) -> Result<()> {
    let person = Credentials::new(who, "secret", None, None, "a person");
    let update = world.clients.sagemaker.update_model_package();
    update
        .model_package_arn(arn)
        .model_approval_status(ModelApprovalStatus::Approved)
        .customize()
        .config_override(Builder::new().credentials_provider(person))
        .send()
        .await
        .with_context(|| format!("{who} can't approve"))?;
    Ok(())
}

/// The package waits again, says why, nothing started, and people were told.
async fn is_taken_back(
    book: &mut Book,
    group: &str,
    arn: &str,
    word: &str,
    why: &str,
) -> Result<()> {
    let description = book
        .until(
            &format!("the approval is taken back: {why}"),
            5,
            async |world| {
                let (status, description) = approval(world, arn).await?;
                let is_back = status == "PendingManualApproval" && description.contains(why);
                Ok(is_back.then_some(description))
            },
        )
        .await?;
    book.world.pass_minutes(2).await?;
    book.listen().await?;
    ensure!(
        running(&book.world, group, 1).await?.is_none(),
        "a rollout started: {description}"
    );
    let told = book.notice(group, word)?;
    ensure!(told.severity.as_deref() == Some("action"), "{told:?}");
    Ok(())
}
