//! What takes a canary back, and what holds it: a business metric, latency, a ceiling, a metric that
//! nobody publishes; and the same judged afterwards, from what `CloudWatch` kept.

use anyhow::{Context as _, Result, bail, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tidegate_core::rollout::{Against, Cause, Crossed, GuardReport, Phase, Rollout};
use tidegate_end_to_end::world::World;

use crate::common::{Approval, approval, champion, endpoint, package, running, serving, users};
use crate::day::Day;
use crate::{FAILED_CHECKOUTS, ROLLOUT, created, policy};

/// The guard of [`FAILED_CHECKOUTS`] as JSON names it.
const CHECKOUTS_KEY: &str = "custom Shop/CheckoutsFailed";

/// Packages whose fate is looked at.
pub(crate) struct Candidates {
    pub(crate) shop: String,
}

/// Three endpoints with their first versions and users; the shop has just opened.
pub(crate) async fn champions(day: &mut Day<'_>) -> Result<()> {
    let slow = "\n[[stage.guard]]\nslower_than_ms = 40\n";
    let world = &day.book.world;
    for (group, shares, guards) in [
        ("shop", &[5, 25, 50][..], FAILED_CHECKOUTS),
        ("slow", &[5, 25, 50], slow),
        ("silent", &[50], FAILED_CHECKOUTS),
    ] {
        let policy = policy(group, "", &created(shares), guards);
        world.apply(group, &policy).await?;
        package(world, group, &usual(), Approval::Given).await?;
    }
    for group in ["shop", "slow", "silent"] {
        let first = day.ended(group, 1, 15).await?;
        ensure!(
            first.phase == Phase::Done,
            "{group} v1 is {:?}",
            first.phase
        );
        users(&day.book.world, group).await?;
    }
    day.opens("shop", &[("v1", 40), ("v2", 200)]).await?;
    day.pass(3).await
}

/// Their second versions: the shop's answers like the first and sells less, the slow one's takes
/// half as long again, the silent one's is as good.
pub(crate) async fn candidates(day: &mut Day<'_>) -> Result<Candidates> {
    let world = &day.book.world;
    let slow = json!({ "error_rate": 0.01, "latency_ms": { "median": 32, "sigma": 0.3 } });
    package(world, "slow", &slow, Approval::Given).await?;
    package(world, "silent", &usual(), Approval::Given).await?;
    Ok(Candidates {
        shop: package(world, "shop", &usual(), Approval::Given).await?,
    })
}

/// One answer in a hundred fails; of the answers, one in a hundred takes more than 40 ms.
fn usual() -> Value {
    json!({ "error_rate": 0.01, "latency_ms": { "median": 20, "sigma": 0.3 } })
}

/// The rollout of a canary that its second guard took back, with the first one quiet.
async fn taken_back_by_the_second(day: &mut Day<'_>, group: &str) -> Result<Rollout> {
    let rollout = day.ended(group, 2, ROLLOUT).await?;
    let Phase::RolledBack { why } = &rollout.phase else {
        bail!("{group} v2 is {:?}", rollout.phase);
    };
    ensure!(why.cause == Cause::Guard, "it was not a guard: {why:?}");
    let reports = rollout.guard_reports();
    let [errors, second] = reports.as_slice() else {
        bail!("not two guards: {reports:#?}");
    };
    let is_second = |crossed: Crossed| crossed.guard == 1 && crossed.against == Against::Champion;
    ensure!(
        rollout.crossed.is_some_and(is_second) && second.looked_at() >= second.needed,
        "another guard took it back: {:?}",
        rollout.crossed
    );
    ensure!(
        errors.key == "model_errors"
            && errors.report.canary.requests > 0
            && errors.looked_at() < errors.needed,
        "model errors are not quiet: {errors:#?}"
    );
    // Counts, ratio and odds of the guard that objects, and nothing else.
    ensure!(
        why.sentence == second.sentence("v2") && why.sentence.contains("times the rate"),
        "the reason is {:?}, and the guard saw {:?}",
        why.sentence,
        second.sentence("v2")
    );
    let variants = serving(&day.book.world, group).await?;
    ensure!(
        variants.len() == 1 && variants[0].0 == "v1",
        "v1 does not serve alone: {variants:?}"
    );
    ensure!(champion(&day.book.world, group).await? == Some(1));
    Ok(rollout)
}

/// The canary's answers are as good as the champion's; of its checkouts, five times as many fail.
pub(crate) async fn business_metric_takes_a_canary_back(
    day: &mut Day<'_>,
    arn: &str,
) -> Result<Rollout> {
    let rollout = taken_back_by_the_second(day, "shop").await?;
    let seen = &rollout.guard_reports()[1];
    let sentence = seen.sentence("v2");
    ensure!(
        seen.key == CHECKOUTS_KEY && seen.guard == "failed checkouts",
        "it is not the shop's guard: {seen:#?}"
    );
    let ratio = seen.report.ratio.context("there is a ratio")?;
    ensure!((3.0..8.0).contains(&ratio), "five times is told as {ratio}");
    let most = rollout.weights.iter().map(|(_, share)| *share).max();
    ensure!(
        most == Some(5),
        "five times the failures got as far as {:?}",
        rollout.weights
    );

    let (status, description) = approval(&day.book.world, arn).await?;
    ensure!(
        status == "Rejected" && description.contains(&sentence),
        "shop v2 is {status}: {description:?}, but {sentence:?}"
    );
    let told = day.book.notice("shop", "rolled-back")?;
    ensure!(
        told.severity.as_deref() == Some("warning")
            && told.text.contains(&sentence)
            && told.text.contains("Rejected"),
        "people were told otherwise than {sentence:?}: {told:?}"
    );
    is_shown(&day.book.world, &rollout, seen).await?;
    Ok(rollout)
}

/// `tidegate rollout show` says the same, to people and programs.
async fn is_shown(world: &World, rollout: &Rollout, seen: &GuardReport) -> Result<()> {
    let (code, text) = world.tidegate(&["rollout", "show", &rollout.id.0]).await?;
    let words = in_one_line(&text);
    // A sentence begins with a capital.
    let sentence = seen.sentence("v2");
    let (_, sentence) = sentence.split_at(1);
    ensure!(
        code == 0
            && words.starts_with("v2 was taken back from shop-prod")
            && words.contains(sentence),
        "tidegate rollout show ended with {code} and without {sentence:?}:\n{text}"
    );
    let shown = in_json(world, &["rollout", "show", "shop", "--json"]).await?;
    let guards = shown["rollout"]["guards"].as_array();
    let guard = guards
        .and_then(|guards| guards.iter().find(|guard| guard["guard"] == CHECKOUTS_KEY))
        .with_context(|| format!("no failed checkouts in {shown:#}"))?;
    let report = &seen.report;
    let same = guard["canary"]["bad"] == report.canary.bad
        && guard["canary"]["requests"] == report.canary.requests
        && guard["champion"]["bad"] == report.baseline.bad
        && guard["ratio"] == json!(report.ratio)
        && guard["odds"] == report.odds.as_str()
        && guard["crossed"] == json!(seen.crossed);
    ensure!(same, "{guard:#} is not what the ledger has: {seen:#?}");
    Ok(())
}

/// Half as slow again, and otherwise as good.
pub(crate) async fn slow_canary_is_taken_back(day: &mut Day<'_>) -> Result<()> {
    let rollout = taken_back_by_the_second(day, "slow").await?;
    let seen = &rollout.guard_reports()[1];
    ensure!(
        seen.key == "slower_than_ms 40" && seen.sentence("v2").contains("slower than 40 ms"),
        "it is not latency: {seen:#?}"
    );
    let told = day.book.notice("slow", "rolled-back")?;
    ensure!(
        told.text.contains(&seen.sentence("v2")),
        "people were told otherwise: {told:?}"
    );
    Ok(())
}

const CANNOT_BE_MEASURED: &str = "failed checkouts can't be measured";

/// Everything else is well, and still it stays where it is.
pub(crate) async fn rollout_holds_on_a_metric_that_nobody_publishes(
    day: &mut Day<'_>,
) -> Result<()> {
    day.told("silent", "step-held", CANNOT_BE_MEASURED, 20)
        .await?;
    day.pass(6).await?;
    let times = day
        .times_told("silent", "step-held", CANNOT_BE_MEASURED)
        .await?;
    ensure!(times == 1, "people were told {times} times");
    let rollout = running(&day.book.world, "silent", 2)
        .await?
        .context("silent v2 is on its way")?;
    ensure!(
        matches!(rollout.phase, Phase::Step { index: 0, .. }),
        "silent v2 went on to {:?}",
        rollout.phase
    );
    Ok(())
}

/// By itself, with the guard seeing what is published.
pub(crate) async fn rollout_goes_on_once_the_metric_is_published(day: &mut Day<'_>) -> Result<()> {
    let rollout = day.ended("silent", 2, ROLLOUT).await?;
    ensure!(
        rollout.phase == Phase::Done && champion(&day.book.world, "silent").await? == Some(2),
        "silent v2 is {:?}",
        rollout.phase
    );
    let seen = &rollout.guard_reports()[1].report;
    ensure!(
        seen.canary.bad > 0 && seen.baseline.bad > 0,
        "nothing was counted: {seen:#?}"
    );
    let times = day
        .times_told("silent", "step-held", CANNOT_BE_MEASURED)
        .await?;
    ensure!(times == 1, "people were told {times} times");
    Ok(())
}

/// A first version fails on one request in five where one in a hundred is promised: there is nothing
/// to go back to, so people are told, and it goes on to no further stage.
pub(crate) async fn first_version_over_its_ceiling_is_told_of(day: &mut Day<'_>) -> Result<()> {
    let next = "
[[stage]]
name = \"next\"
endpoint = \"lone-next\"
instance = { type = \"ml.m5.large\", count = 1 }
";
    let policy = policy(
        "lone",
        "",
        &created(&[50]),
        &format!("ceiling = 0.01\n{next}"),
    );
    let world = &day.book.world;
    world.apply("lone", &policy).await?;
    let bad = json!({ "error_rate": 0.2 });
    package(world, "lone", &bad, Approval::Given).await?;
    day.until("the endpoint is on its way", 5, async |world| {
        let describe = world.clients.sagemaker.describe_endpoint();
        let made = describe.endpoint_name(endpoint("lone")).send().await;
        Ok(made.is_ok().then_some(()))
    })
    .await?;
    // They are there from its first minute on.
    users(&day.book.world, "lone").await?;
    day.told("lone", "harm-found", "v1 does badly on lone-prod", 15)
        .await?;
    let told = day.book.notice("lone", "harm-found")?;
    ensure!(
        told.severity.as_deref() == Some("action")
            && told.text.contains("over the ceiling of 1.0 %"),
        "people were told otherwise: {told:?}"
    );
    let rollout = day.ended("lone", 1, 15).await?;
    let is_alone = |crossed: Crossed| crossed.against == Against::History;
    ensure!(
        rollout.crossed.is_some_and(is_alone),
        "{:?}",
        rollout.crossed
    );
    let times = day.times_told("lone", "harm-found", "").await?;
    ensure!(times == 1, "people were told {times} times");
    day.pass(2).await?;
    let describe = day.book.world.clients.sagemaker.describe_endpoint();
    let next = describe.endpoint_name("lone-next").send().await;
    ensure!(next.is_err(), "a bad version went on: {next:?}");
    Ok(())
}

/// From `CloudWatch`'s data alone, the judge says the same of the same minute.
pub(crate) async fn past_is_judged_as_it_was(world: &World, rollout: &Rollout) -> Result<()> {
    let crossed = rollout.crossed.context("a guard took it back")?;
    let from = rollout.started - SignedDuration::from_mins(10);
    let to = rollout.ended.context("it has ended")?;
    let policy = world.run.path().join("shop.toml");
    let told = in_json(
        world,
        &[
            "canary",
            "backtest",
            "--endpoint",
            &endpoint("shop"),
            "--from",
            &from.to_string(),
            "--to",
            &to.to_string(),
            "--policy",
            &policy.to_string_lossy(),
            "--json",
        ],
    )
    .await?;
    let back = &told["taken_back"];
    ensure!(
        told["canary"] == "v2"
            && told["baseline"] == "v1"
            && told["verdict"] == "roll_back"
            && back["guard"] == CHECKOUTS_KEY
            && back["at"] == json!(crossed.at),
        "the ledger has {crossed:?}, and the backtest says {told:#}"
    );
    Ok(())
}

/// A text without its line breaks.
pub(crate) fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What `tidegate` prints as JSON.
async fn in_json(world: &World, args: &[&str]) -> Result<Value> {
    let (code, text) = world.tidegate(args).await?;
    ensure!(code == 0, "tidegate {args:?} ended with {code}:\n{text}");
    serde_json::from_str(&text).with_context(|| format!("tidegate {args:?} printed {text}"))
}
