//! How canaries are judged, end to end: by a business metric, by latency, by a ceiling; what is
//! told when a guard can't be measured; and what is told, and left alone, where Tidegate only
//! looks on. What each story promises is in docs/canary.md and docs/observe.md.
//!
//! One world, since a world takes a while to start; each story has a pipeline of its own in it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod day;
mod guards;
mod observed;
mod person;
mod shop;

use common::{TWO_INSTANCES, tell};
use day::Day;
use guards::{
    business_metric_takes_a_canary_back, first_version_over_its_ceiling_is_told_of,
    past_is_judged_as_it_was, rollout_goes_on_once_the_metric_is_published,
    rollout_holds_on_a_metric_that_nobody_publishes, slow_canary_is_taken_back,
};
use observed::{
    bad_canary_would_be_rolled_back_and_nothing_is_touched, healthy_canary_looks_safe,
    observed_endpoint, one_word_goes_over_to_acting,
};
use person::Person;

/// Minutes within which a rollout by [`policy`] ends.
const ROLLOUT: u32 = 60;

/// A guard on what a shop publishes.
const FAILED_CHECKOUTS: &str = r#"
[[stage.guard]]
custom = { name = "failed checkouts", namespace = "Shop", bad = "CheckoutsFailed", all = "Checkouts", dimensions = { Endpoint = "{endpoint}", Variant = "{variant}" } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canaries_are_judged_by_what_matters_and_watched_where_others_shift_them() {
    tell(async |book| {
        let mut day = Day::new(book);
        let mut person = Person::default();
        observed_endpoint(&mut day, &mut person).await?;
        first_version_over_its_ceiling_is_told_of(&mut day).await?;
        guards::champions(&mut day).await?;
        let candidates = guards::candidates(&mut day).await?;

        let taken_back = business_metric_takes_a_canary_back(&mut day, &candidates.shop).await?;
        slow_canary_is_taken_back(&mut day).await?;
        rollout_holds_on_a_metric_that_nobody_publishes(&mut day).await?;
        day.opens("silent", &[("v1", 40), ("v2", 40)]).await?;

        bad_canary_would_be_rolled_back_and_nothing_is_touched(&mut day, &mut person).await?;
        healthy_canary_looks_safe(&mut day, &mut person).await?;
        one_word_goes_over_to_acting(&mut day).await?;

        rollout_goes_on_once_the_metric_is_published(&mut day).await?;
        past_is_judged_as_it_was(&day.book.world, &taken_back).await?;
        day.book
            .close(&["shop", "slow", "silent", "lone", "watched"])
            .await
    })
    .await;
}

/// A policy that is quick about it. `pipeline` and `stage` are more of the tables of that name,
/// `guards` follow.
fn policy(group: &str, pipeline: &str, stage: &str, guards: &str) -> String {
    format!(
        r#"
[pipeline]
name = "{group}"
group = "{group}"
{pipeline}

[serve]
role = "{role}"

[[stage]]
name = "{stage_name}"
endpoint = "{endpoint}"
bake_minutes = 2
watch_minutes = 2
{stage}

[[stage.guard]]
metric = "model_errors"
{guards}
"#,
        role = tidegate_end_to_end::clients::role(tidegate_end_to_end::training::ROLE),
        stage_name = common::STAGE,
        endpoint = common::endpoint(group),
    )
}

/// A strategy with these shares.
fn strategy(shares: &[u8]) -> String {
    format!("strategy = {{ canary = {shares:?}, minutes = 3, min_requests = 50 }}")
}

/// A stage whose endpoint its first version creates.
fn created(shares: &[u8]) -> String {
    format!("{TWO_INSTANCES}\n{}", strategy(shares))
}
