//! People have their way: with weights that they set, versions that they approve or reject, and
//! newer ones that they approve meanwhile.

use anyhow::{Context as _, Result, bail, ensure};
use aws_sdk_sagemaker::types::{DesiredWeightAndCapacity, EndpointStatus, ModelApprovalStatus};
use serde_json::json;
use tidegate_core::rollout::{Phase, Rollout};
use tidegate_end_to_end::emulator::TrueMinute;

use crate::ROLLOUT;
use crate::checks::{does_not_tick, serves_alone, shares};
use crate::common::{
    Approval, Book, approval, champion, describe, endpoint, finished, package, running, serving,
    set_approval,
};

/// Somebody changes weights in the middle of a step: nothing of theirs is overwritten.
pub(crate) async fn weights_of_people_stay(book: &mut Book) -> Result<()> {
    book.until("hands v2 has 5 % of the traffic", 20, async |world| {
        let is_in_force = matches!(
            running(world, "hands", 2)
                .await?
                .map(|rollout| rollout.phase),
            Some(Phase::Step {
                index: 0,
                since: Some(_)
            })
        );
        let is_free =
            describe(world, "hands").await?.endpoint_status == Some(EndpointStatus::InService);
        Ok((is_in_force && is_free).then_some(()))
    })
    .await?;
    let mut request = book
        .world
        .clients
        .sagemaker
        .update_endpoint_weights_and_capacities()
        .endpoint_name(endpoint("hands"));
    for (variant, weight) in peoples_weights() {
        let desired = DesiredWeightAndCapacity::builder()
            .variant_name(variant)
            .desired_weight(weight)
            .build();
        request = request.desired_weights_and_capacities(desired);
    }
    request
        .send()
        .await
        .context("a person can't change weights")?;

    let rollout = book.ended("hands", 2, 10).await?;
    let Phase::Failed { why } = &rollout.phase else {
        bail!("hands v2 is {:?}", rollout.phase);
    };
    ensure!(
        why.contains("Somebody else changed its weights"),
        "it stopped for another reason: {why}"
    );
    let variants = serving(&book.world, "hands").await?;
    ensure!(
        variants == peoples_weights(),
        "the weights are not theirs any more: {variants:?}"
    );
    does_not_tick(&book.world, &rollout).await?;
    let told = book.notice("hands", "rollout-failed")?;
    ensure!(
        told.severity.as_deref() == Some("action"),
        "people have to look: {told:?}"
    );
    Ok(())
}

pub(crate) fn peoples_weights() -> Vec<(String, f32)> {
    vec![("v1".to_owned(), 70.0), ("v2".to_owned(), 30.0)]
}

pub(crate) async fn version_of_a_person_starts_when_approved(
    book: &mut Book,
    arn: &str,
) -> Result<()> {
    let world = &book.world;
    ensure!(
        running(world, "asked", 2).await?.is_none() && finished(world, "asked", 2).await?.is_none(),
        "asked v2 started before anybody approved it"
    );
    let before = world.admin().now().await?;
    set_approval(world, arn, ModelApprovalStatus::Approved).await?;
    let rollout = book.ended("asked", 2, ROLLOUT).await?;
    ensure!(
        rollout.phase == Phase::Done && rollout.started >= before,
        "asked v2 is {:?} since {}",
        rollout.phase,
        rollout.started
    );
    ensure!(
        rollout.candidate.approved_by.is_some(),
        "nobody knows who approved asked v2"
    );
    serves_alone(&book.world, "asked", "v2", &rollout).await
}

pub(crate) async fn newer_version_waits_for_its_turn(book: &mut Book) -> Result<()> {
    book.until("queued v2 is on its way", 20, async |world| {
        let rollout = running(world, "queued", 2).await?;
        let is_step = |rollout: &Rollout| matches!(rollout.phase, Phase::Step { .. });
        Ok(rollout.filter(is_step).map(drop))
    })
    .await?;
    package(&book.world, "queued", &json!({}), Approval::Given).await?;
    book.until("queued v3 waits", 3, async |world| {
        let head = world.ledger.head("queued").await?;
        let mut waiting = head.waiting.into_values();
        Ok(waiting.find(|waiting| waiting.candidate.version.0 == 3))
    })
    .await?;
    ensure!(
        running(&book.world, "queued", 2).await?.is_some(),
        "v3 took v2's place"
    );
    Ok(())
}

pub(crate) async fn newer_version_follows(book: &mut Book) -> Result<()> {
    let second = book.ended("queued", 2, ROLLOUT).await?;
    let third = book.ended("queued", 3, ROLLOUT).await?;
    ensure!(
        second.phase == Phase::Done && third.phase == Phase::Done,
        "queued v2 is {:?}, v3 is {:?}",
        second.phase,
        third.phase
    );
    ensure!(
        second.ended.context("v2 has ended")? <= third.started,
        "v3 did not wait: {:?}, {}",
        second.ended,
        third.started
    );
    serves_alone(&book.world, "queued", "v3", &third).await?;
    ensure!(champion(&book.world, "queued").await? == Some(3));
    Ok(())
}

pub(crate) async fn rejected_live_version_gives_way(book: &mut Book, arn: &str) -> Result<()> {
    let second = book.ended("rejected", 2, ROLLOUT).await?;
    ensure!(
        second.phase == Phase::Done && champion(&book.world, "rejected").await? == Some(2),
        "rejected v2 does not serve: {:?}",
        second.phase
    );
    let before = book.world.admin().now().await?;
    set_approval(&book.world, arn, ModelApprovalStatus::Rejected).await?;
    let back = book
        .until("rejected v1 serves again", ROLLOUT, async |world| {
            let back = finished(world, "rejected", 1).await?;
            let is_over = world.ledger.pending("rejected").await? == 0;
            Ok(back.filter(|back| is_over && back.started >= before))
        })
        .await?;
    ensure!(
        back.phase == Phase::Done && back.urgent,
        "v1 came back as {:?}",
        back.phase
    );
    let minutes = book.world.admin().timeline(&endpoint("rejected")).await?;
    let since: Vec<TrueMinute> = minutes
        .into_iter()
        .filter(|minute| minute.minute >= before)
        .collect();
    let shares = shares(&since, "v1");
    ensure!(
        shares.iter().all(|share| [0, 100].contains(share)) && shares.ends_with(&[100]),
        "v1 did not take over at once, but by these shares: {shares:?}"
    );
    serves_alone(&book.world, "rejected", "v1", &back).await?;
    ensure!(champion(&book.world, "rejected").await? == Some(1));
    let (status, _) = approval(&book.world, arn).await?;
    ensure!(status == "Rejected", "rejected v2 is {status}");
    let told = book.notice("rejected", "rolling-back")?;
    ensure!(
        told.subject.contains("v1 comes back"),
        "people were told otherwise: {told:?}"
    );
    Ok(())
}
