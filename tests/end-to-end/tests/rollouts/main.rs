//! Rollouts from approval to the end, as the built functions do them: what users, other teams and
//! SageMaker do to an endpoint meanwhile, and what is there afterwards.
//!
//! Few worlds, since a world takes a while to start; pipelines are side by side in it, each with a
//! story of its own. Every event comes twice, some late. What each story promises is in the policy
//! reference and in docs/how-it-works.md.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod adopted;
mod checks;
#[path = "../common/mod.rs"]
mod common;
mod people;
mod versions;

use anyhow::{Result, ensure};
use serde_json::json;
use tidegate_core::rollout::Phase;

use adopted::{make_endpoint_by_hand, peoples_endpoint_keeps_its_settings};
use common::{
    Approval, Book, TWO_INSTANCES, first_version, package, policy, policy_with_steps, serving,
    tell, users,
};
use people::{
    newer_version_follows, newer_version_waits_for_its_turn, peoples_weights,
    rejected_live_version_gives_way, version_of_a_person_starts_when_approved,
    weights_of_people_stay,
};
use versions::{
    bad_version_is_taken_back, failing_deployments_are_given_up, good_version_goes_all_the_way,
};

/// Minutes within which a rollout by `common::policy` ends: deployments of about three minutes,
/// steps of three, metrics two minutes late.
const ROLLOUT: u32 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_versions_reach_all_users_and_others_leave_the_champion_as_it_was() {
    tell(async |book| {
        let created = ["good", "bad", "failing", "hands"];
        for group in created {
            first_version(book, group).await?;
        }
        make_endpoint_by_hand(&book.world).await?;
        book.world.apply("adopted", &policy("adopted", "")).await?;
        for group in created {
            let first = book.ended(group, 1, 15).await?;
            ensure!(
                first.phase == Phase::Done,
                "{group} v1 is {}",
                first.phase_word()
            );
            users(&book.world, group).await?;
        }
        users(&book.world, "adopted").await?;

        // Alone, because an ordered fault hits whichever deployment is next.
        failing_deployments_are_given_up(book).await?;

        package(&book.world, "good", &json!({}), Approval::Given).await?;
        let errors = json!({ "error_rate": 0.2 });
        let bad = package(&book.world, "bad", &errors, Approval::Given).await?;
        package(&book.world, "hands", &json!({}), Approval::Given).await?;
        package(&book.world, "adopted", &json!({}), Approval::Given).await?;

        weights_of_people_stay(book).await?;
        bad_version_is_taken_back(book, &bad).await?;
        good_version_goes_all_the_way(book).await?;
        peoples_endpoint_keeps_its_settings(book).await?;

        book.close(&["good", "bad", "failing", "hands", "adopted"])
            .await?;
        // Minutes later still theirs.
        ensure!(serving(&book.world, "hands").await? == peoples_weights());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_and_newer_versions_have_their_way() {
    tell(async |book| {
        let groups = ["asked", "queued"];
        for group in groups {
            first_version_with_one_step(book, group).await?;
        }
        for group in groups {
            book.ended(group, 1, 15).await?;
            users(&book.world, group).await?;
        }
        let asked = package(&book.world, "asked", &json!({}), Approval::Awaited).await?;
        package(&book.world, "queued", &json!({}), Approval::Given).await?;

        newer_version_waits_for_its_turn(book).await?;
        version_of_a_person_starts_when_approved(book, &asked).await?;
        newer_version_follows(book).await?;

        book.close(&groups).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_live_version_gives_way_to_the_one_before() {
    tell(async |book| {
        first_version_with_one_step(book, "rejected").await?;
        book.ended("rejected", 1, 15).await?;
        users(&book.world, "rejected").await?;
        let second = package(&book.world, "rejected", &json!({}), Approval::Given).await?;
        rejected_live_version_gives_way(book, &second).await?;
        book.close(&["rejected"]).await
    })
    .await;
}

async fn first_version_with_one_step(book: &mut Book, group: &str) -> Result<()> {
    let policy = policy_with_steps(group, &[50], TWO_INSTANCES);
    book.world.apply(group, &policy).await?;
    package(&book.world, group, &json!({}), Approval::Given).await?;
    Ok(())
}
