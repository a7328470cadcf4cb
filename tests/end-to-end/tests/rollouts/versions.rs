//! Versions of all sorts: a good one reaches all users, a bad one is taken back, one that SageMaker
//! can't bring up is given up.

use anyhow::{Result, bail, ensure};
use serde_json::json;
use tidegate_core::rollout::{Cause, Phase};
use tidegate_end_to_end::emulator::TrueCounts;

use crate::ROLLOUT;
use crate::checks::{does_not_tick, serves_alone, shares};
use crate::common::{
    Approval, Book, approval, calls, champion, describe, endpoint, package, parts, serving,
};

pub(crate) async fn good_version_goes_all_the_way(book: &mut Book) -> Result<()> {
    let rollout = book.ended("good", 2, ROLLOUT).await?;
    ensure!(
        rollout.phase == Phase::Done,
        "good v2 is {:?}",
        rollout.phase
    );
    let world = &book.world;
    let minutes = world.admin().timeline(&endpoint("good")).await?;
    let shares = shares(&minutes, "v2");
    ensure!(
        shares == [0, 5, 25, 50, 100],
        "the endpoint gave v2 these shares of traffic: {shares:?}"
    );
    let of = |pick: fn(&TrueCounts) -> u64| -> u64 {
        minutes
            .iter()
            .flat_map(|minute| minute.counts.values().map(pick))
            .sum()
    };
    let (requests, errors) = (
        of(|counts| counts.requests),
        of(|counts| counts.model_errors),
    );
    ensure!(
        requests > 10_000 && errors == 0,
        "{errors} of {requests} requests failed while v2 replaced v1"
    );
    serves_alone(world, "good", "v2", &rollout).await?;
    let count = describe(world, "good").await?.production_variants()[0].current_instance_count;
    ensure!(count == Some(2), "good v2 runs on {count:?} instances");
    ensure!(champion(world, "good").await? == Some(2));
    book.notice("good", "rollout-done").map(drop)
}

pub(crate) async fn bad_version_is_taken_back(book: &mut Book, arn: &str) -> Result<()> {
    let rollout = book.ended("bad", 2, ROLLOUT).await?;
    let Phase::RolledBack { why } = &rollout.phase else {
        bail!("bad v2 is {:?}", rollout.phase);
    };
    ensure!(why.cause == Cause::Guard, "it was not a guard: {why:?}");
    let world = &book.world;
    let minutes = world.admin().timeline(&endpoint("bad")).await?;
    ensure!(
        shares(&minutes, "v2") == [0, 5, 0],
        "20 % of errors got further than 5 % of the traffic: {:?}",
        shares(&minutes, "v2")
    );
    let (status, description) = approval(world, arn).await?;
    ensure!(status == "Rejected", "bad v2 is {status}");
    ensure!(
        description.contains(&endpoint("bad")) && description.contains(&why.sentence),
        "the package does not say why it is Rejected: {description:?}, but {:?}",
        why.sentence
    );
    let (models, configs) = parts(world, "bad").await?;
    ensure!(
        models.len() == 1 && configs.len() == 1 && !models.contains(&rollout.model),
        "v2 left something behind: {models:?}, {configs:?}"
    );
    let variants = serving(world, "bad").await?;
    ensure!(
        variants.len() == 1 && variants[0].0 == "v1" && variants[0].1 > 0.0,
        "v1 does not serve alone: {variants:?}"
    );
    ensure!(champion(world, "bad").await? == Some(1));
    does_not_tick(world, &rollout).await?;
    let told = book.notice("bad", "rolled-back")?;
    ensure!(
        told.severity.as_deref() == Some("warning") && told.text.contains("Rejected"),
        "people were told otherwise: {told:?}"
    );
    Ok(())
}

/// SageMaker fails the deployment twice: two attempts, no third, and nobody blames the model.
pub(crate) async fn failing_deployments_are_given_up(book: &mut Book) -> Result<()> {
    let admin = book.world.admin();
    admin.fault("UpdateEndpoint", "fail_deployment", 2).await?;
    let arn = package(&book.world, "failing", &json!({}), Approval::Given).await?;
    let rollout = book.ended("failing", 2, 30).await?;
    let is_deployment =
        matches!(&rollout.phase, Phase::RolledBack { why } if why.cause == Cause::Deployment);
    ensure!(is_deployment, "failing v2 is {:?}", rollout.phase);
    let world = &book.world;
    let attempts: Vec<_> = calls(world, "UpdateEndpoint")?
        .into_iter()
        .filter(|input| input["EndpointName"] == endpoint("failing").as_str())
        .collect();
    ensure!(
        attempts.len() == 2
            && attempts
                .iter()
                .all(|input| input["EndpointConfigName"] == rollout.config.as_str()),
        "not two attempts at {}: {attempts:#?}",
        rollout.config
    );
    let (status, _) = approval(world, &arn).await?;
    ensure!(
        status == "Approved",
        "a failed deployment is not the model's fault, yet v2 is {status}"
    );
    let variants = serving(world, "failing").await?;
    ensure!(
        variants.len() == 1 && variants[0].0 == "v1",
        "v1 does not serve alone: {variants:?}"
    );
    let (models, configs) = parts(world, "failing").await?;
    ensure!(
        models.len() == 1 && configs.len() == 1 && !models.contains(&rollout.model),
        "v2 left something behind: {models:?}, {configs:?}"
    );
    does_not_tick(world, &rollout).await?;
    book.notice("failing", "rolled-back").map(drop)
}
