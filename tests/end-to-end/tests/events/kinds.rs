//! Every kind of finding in one world: what retrains, within the limits of number and cost, what is
//! only told, reports that can't be read, a monitoring job that failed, and a storm of alarms.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidegate_core::audit::What;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::world::World;

use crate::common::{
    Approval, Book, TWO_INSTANCES, champion, endpoint, package, policy, serving, tell,
};
use crate::findings::{executions, make_retraining, watch};
use crate::senders::{put, written};

/// May be retrained twice a month; every finding is told.
const COUNTED: &str = "counted";
/// May be retrained for 15 USD a month, at 10 each; alarms are told once in half an hour.
const CAPPED: &str = "capped";
/// A report of more bytes than are read.
const TOO_LONG: usize = 1_100_000;

#[tokio::test]
async fn every_kind_of_finding_leads_to_what_the_policy_says_within_its_limits() {
    tell(async |book| {
        for (group, more) in [
            (COUNTED, "storm_minutes = 0"),
            (CAPPED, "storm_minutes = 30"),
        ] {
            let limit = match group {
                COUNTED => "at_most_per_month = 2",
                _ => "at_most_per_month = 9, cost_usd_each = 10, cost_cap_usd_per_month = 15",
            };
            let text = format!(
                "{}\n[monitor]\n{more}\non_drift = {{ retrain = {{ pipeline = \"{group}-retrain\" }}, \
                 cooldown_hours = 0, {limit} }}\n",
                policy(group, TWO_INSTANCES)
            );
            book.world.apply(group, &text).await?;
            package(&book.world, group, &json!({}), Approval::Given).await?;
            make_retraining(&book.world, &retraining(group)).await?;
        }
        for group in [COUNTED, CAPPED] {
            book.ended(group, 1, 20).await?;
            watch(&book.world, group, &schedule(group)).await?;
        }
        // Model Monitor looks at whole hours: the champion has had all the traffic for two.
        book.world.admin().advance(2 * 3_600).await?;

        what_is_only_told(book).await?;
        reports_that_can_not_be_read(book).await?;
        a_job_that_failed(book).await?;
        retrainings_are_counted(book).await?;
        retrainings_have_a_price(book).await?;
        a_storm_of_alarms_is_one_notice(book).await?;
        for group in [COUNTED, CAPPED] {
            ensure!(champion(&book.world, group).await? == Some(1));
            ensure!(serving(&book.world, group).await?.len() == 1);
        }
        book.close(&[COUNTED, CAPPED]).await
    })
    .await;
}

fn schedule(group: &str) -> String {
    format!("{group}-monitor")
}

fn retraining(group: &str) -> String {
    format!("{group}-retrain")
}

/// A monitoring job of a group ends as the order says.
async fn job(world: &World, group: &str, order: Value) -> Result<()> {
    let mut order = order;
    order["schedule"] = json!(schedule(group));
    world.admin().monitoring_job(&order).await.map(drop)
}

/// A monitoring job of a group finds one thing.
async fn finds(world: &World, group: &str, named: &str, thing: &str, check: &str) -> Result<()> {
    let mut violation = json!({
        "constraint_check_type": check,
        "description": "Baseline drift distance: 0.41 exceeds threshold: 0.1",
    });
    violation[named] = json!(thing);
    job(world, group, json!({ "violations": [violation] })).await
}

/// What was sent is delivered, twice, and people hear of it.
async fn heard(book: &mut Book) -> Result<()> {
    book.world.pass_minutes(3).await?;
    book.listen().await
}

/// The notice of a group whose subject has these words; the failure lists what there was.
fn told<'a>(book: &'a Book, group: &str, words: &str) -> Result<&'a str> {
    let all = book.told_of(group);
    let found = all.iter().find(|told| told.subject.contains(words));
    let found = found.with_context(|| format!("no notice {words:?} of {group}, but {all:#?}"))?;
    Ok(&found.text)
}

async fn what_is_only_told(book: &mut Book) -> Result<()> {
    let kinds = [
        (
            "feature_name",
            "country",
            "missing_column_check",
            "Schema error",
        ),
        (
            "feature_name",
            "age",
            "completeness_check",
            "Unusual values",
        ),
        ("facet", "sex", "bias_drift_check", "Bias"),
        (
            "label",
            "approved",
            "feature_attribution_drift_check",
            "Shifted attribution",
        ),
        ("feature_name", "zip", "a_check_of_tomorrow", "A finding"),
    ];
    for (named, thing, check, words) in kinds {
        // A report lies in the folder of its hour.
        book.world.admin().advance(3_600).await?;
        finds(&book.world, COUNTED, named, thing, check).await?;
        heard(book).await?;
        let text = told(book, COUNTED, &format!("{words} on {}", endpoint(COUNTED)))?;
        ensure!(text.contains(thing), "people were told {words}: {text}");
    }
    ensure!(
        executions(&book.world, &retraining(COUNTED)).await? == 0,
        "what is only to be told started a retraining"
    );
    Ok(())
}

/// Malformed, too long, missing: each is told as such, and starts nothing.
async fn reports_that_can_not_be_read(book: &mut Book) -> Result<()> {
    let before = book.told_of(COUNTED).len();
    for (report, why) in [
        (
            "{\"violations\": [".to_owned(),
            "is no report of Model Monitor",
        ),
        ("x".repeat(TOO_LONG), "larger than 1048576 bytes"),
        (String::new(), "left no constraint_violations.json"),
    ] {
        book.world.admin().advance(3_600).await?;
        job(&book.world, COUNTED, json!({ "report": report })).await?;
        heard(book).await?;
        let all = book.told_of(COUNTED);
        let found = all.iter().any(|told| told.text.contains(why));
        ensure!(found, "people were not told {why:?}, but: {all:#?}");
    }
    let now = book.told_of(COUNTED).len();
    ensure!(now == before + 3, "{} notices of three jobs", now - before);
    ensure!(executions(&book.world, &retraining(COUNTED)).await? == 0);
    Ok(())
}

async fn a_job_that_failed(book: &mut Book) -> Result<()> {
    let why = "AlgorithmError: the container ran out of memory";
    job(&book.world, COUNTED, json!({ "failure": why })).await?;
    heard(book).await?;
    let headline = format!("Monitoring {} could not run", schedule(COUNTED));
    let text = told(book, COUNTED, &headline)?;
    ensure!(
        text.contains("ran out of memory") && text.contains("drift goes unseen"),
        "people were told: {text}"
    );
    Ok(())
}

/// A finding that is to start the `n`th retraining, and that one's end: its step can't be run here.
async fn retrains(book: &mut Book, group: &str, check: &str, n: usize) -> Result<()> {
    book.world.admin().advance(3_600).await?;
    finds(&book.world, group, "feature_name", "amount", check).await?;
    heard(book).await?;
    let started = executions(&book.world, &retraining(group)).await?;
    ensure!(
        started == n,
        "{check}: {started} retrainings instead of {n}"
    );
    book.until("the retraining's end is heard of", 30, async |world| {
        let failed = written(world, group, What::RetrainingFailed).await?;
        Ok((failed.len() == n).then_some(()))
    })
    .await
}

/// The finding starts nothing, for this reason.
async fn withheld(book: &mut Book, group: &str, why: &str) -> Result<()> {
    book.world.admin().advance(3_600).await?;
    let before = executions(&book.world, &retraining(group)).await?;
    finds(
        &book.world,
        group,
        "feature_name",
        "age",
        "baseline_drift_check",
    )
    .await?;
    heard(book).await?;
    ensure!(executions(&book.world, &retraining(group)).await? == before);
    let text = &book.notice(group, "retraining-withheld")?.text;
    ensure!(text.contains(why), "people were told: {text}");
    Ok(())
}

async fn retrainings_are_counted(book: &mut Book) -> Result<()> {
    retrains(book, COUNTED, "LessThanThreshold", 1).await?;
    told(book, COUNTED, "Loss of quality")?;
    retrains(book, COUNTED, "baseline_drift_check", 2).await?;
    told(book, COUNTED, "Drift on")?;
    withheld(book, COUNTED, "the policy allows 2").await
}

async fn retrainings_have_a_price(book: &mut Book) -> Result<()> {
    retrains(book, CAPPED, "baseline_drift_check", 1).await?;
    withheld(book, CAPPED, "the policy allows 15 USD a month").await
}

async fn a_storm_of_alarms_is_one_notice(book: &mut Book) -> Result<()> {
    for n in 0..10 {
        alarm(&book.world, &format!("slow-{n}")).await?;
    }
    heard(book).await?;
    let notices = |book: &Book| -> Vec<String> {
        let all = book.told_of(CAPPED).into_iter();
        let alarms = all.filter(|told| told.what.as_deref() == Some("alarm-seen"));
        alarms.map(|told| told.text.clone()).collect()
    };
    ensure!(notices(book).len() == 1, "the storm: {:#?}", notices(book));
    book.world.admin().advance(1_900).await?;
    alarm(&book.world, "slow-0").await?;
    heard(book).await?;
    let all = notices(book);
    ensure!(
        all.len() == 2 && all[1].contains("And 9 more notices of the kind"),
        "after the storm: {all:#?}"
    );
    let seen = written(&book.world, CAPPED, What::AlarmSeen).await?;
    ensure!(seen.len() == 11, "{} alarms were written down", seen.len());
    Ok(())
}

/// An alarm on the latency of an endpoint, which is no finding of a kind.
async fn alarm(world: &World, name: &str) -> Result<()> {
    let detail = json!({
        "alarmName": name,
        "configuration": { "metrics": [{
            "id": "m1", "returnData": true,
            "metricStat": {
                "period": 60, "stat": "Average",
                "metric": {
                    "namespace": "AWS/SageMaker", "name": "ModelLatency",
                    "dimensions": { "EndpointName": endpoint(CAPPED) },
                },
            },
        }] },
        "state": { "value": "ALARM", "reason": "Threshold Crossed: 900 is above 500." },
        "previousState": { "value": "OK", "reason": "" },
    });
    let arn = clients::arn("cloudwatch", &format!("alarm:{name}"));
    let kind = "CloudWatch Alarm State Change";
    put(world, "aws.cloudwatch", kind, &arn, &detail).await
}
