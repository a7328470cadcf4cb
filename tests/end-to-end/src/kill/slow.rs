//! AWS that is slow for a while, or does not answer at all: each function answers before Lambda
//! would stop it, and afterwards all ends as if nothing had been.
//!
//! Of four pipelines that roll out side by side, the calls of three are slow in the middle of it.
//! Each function is then sent an event of each pipeline, and again when the slowness is over, as
//! Lambda does with an event that failed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::round::Round;
use super::stories::{Story, endpoint};
use super::world;
use crate::lambda::Answer;
use crate::proxy::FOR_EVER;
use crate::world::World;
use crate::{ACCOUNT, REGION, clients};

/// How long an event may take here. In AWS it may take 55 s.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How slow each pipeline's calls are.
const SLOW: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(3),
    Duration::from_secs(20),
    FOR_EVER,
];
/// Minutes within which all are in their first step.
const MOST_TO_STEP: u32 = 15;

/// What came of it.
#[derive(Debug)]
pub struct SlowReport {
    /// The longest that each function took to answer, by its name.
    pub longest: BTreeMap<String, Duration>,
    /// How long it might have taken.
    pub timeout: Duration,
    /// What each function said of each event that it could not deal with.
    pub failed: Vec<String>,
    /// What is otherwise than without slowness.
    pub differences: Vec<String>,
}

/// Tells the story.
pub async fn slow_story() -> Result<SlowReport> {
    let mut number = 0;
    let mut round = Round::new(&mut number);
    for _ in SLOW {
        round.add(None, Story::Good);
    }
    let mut world = world(1, TIMEOUT).await?;
    round.begin(&world).await?;
    let names = round.names();
    let events = at_first_step(&world, &round, &names).await?;

    let proxy = world.proxy.as_ref().context("the world has a proxy")?;
    for (name, slow) in names.iter().zip(SLOW).skip(1) {
        proxy.slow_down(name, slow);
    }
    let failed = invoke(&world, &events).await?;
    proxy.be_quick();
    let again = invoke(&world, &events).await?;
    ensure!(again.is_empty(), "slowness that is over: {again:#?}");
    let longest = world.lambda.longest();

    let ended = round.go_on(&mut world).await?;
    let (plain, slow) = ended.split_first().context("there are four")?;
    plain.story.check(&plain.outcome)?;
    let differences = slow.iter().flat_map(|one| {
        let differences = one.outcome.differences(&plain.outcome).into_iter();
        differences.map(|what| format!("{}: {what}", one.name))
    });
    Ok(SlowReport {
        longest,
        timeout: TIMEOUT,
        failed,
        differences: differences.collect(),
    })
}

/// Waits until all are in their first step; gives an event of each pipeline for each function.
async fn at_first_step(
    world: &World,
    round: &Round<'_>,
    names: &[String],
) -> Result<Vec<(&'static str, Value)>> {
    for _ in 0..MOST_TO_STEP {
        let mut events = Vec::new();
        for name in names {
            let head = world.ledger.head(name).await?;
            let mut rollouts = head.rollouts.values();
            if let Some(rollout) = rollouts.find(|one| one.phase_word() == "step 1") {
                let stage = rollout.stage.as_str();
                events.extend(events_of(world, name, stage, &rollout.id.0).await?);
            }
        }
        if events.len() == 4 * names.len() {
            let now = world.admin().now().await?.to_string();
            let all = json!({ "tidegate": "housekeeping", "scheduled": now });
            events.push(("housekeeping", all));
            return Ok(events);
        }
        round.pass_minute(world).await?;
    }
    bail!("not all of {names:?} came to their first step in {MOST_TO_STEP} minutes")
}

async fn events_of(
    world: &World,
    name: &str,
    stage: &str,
    rollout: &str,
) -> Result<[(&'static str, Value); 4]> {
    let now = world.admin().now().await?.to_string();
    let event = |source: &str, kind: &str, arn: &str, detail: Value| {
        json!({
            "version": "0", "id": format!("slow-{kind}-{name}"), "source": source,
            "account": ACCOUNT, "region": REGION, "time": now, "resources": [arn],
            "detail-type": kind, "detail": detail,
        })
    };
    let job = clients::arn("sagemaker", &format!("training-job/{name}-job"));
    let package = clients::arn("sagemaker", &format!("model-package/{name}/1"));
    let alarm = clients::arn("cloudwatch", &format!("alarm:{name}-slow"));
    Ok([
        (
            "training-complete",
            event(
                "aws.sagemaker",
                "SageMaker Training Job State Change",
                &job,
                json!({
                    "TrainingJobName": format!("{name}-job"), "TrainingJobArn": job,
                    "TrainingJobStatus": "Completed", "Tags": { "tidegate:pipeline": name },
                }),
            ),
        ),
        (
            "package-approved",
            event(
                "aws.sagemaker",
                "SageMaker Model Package State Change",
                &package,
                json!({
                    "ModelPackageGroupName": name, "ModelPackageVersion": 1,
                    "ModelPackageArn": package, "ModelApprovalStatus": "Approved",
                }),
            ),
        ),
        (
            "canary-shift",
            json!({
                "tidegate": "tick", "group": name, "stage": stage, "rollout": rollout,
                "scheduled": now,
            }),
        ),
        (
            "monitor-violation",
            event(
                "aws.cloudwatch",
                "CloudWatch Alarm State Change",
                &alarm,
                json!({
                    "alarmName": format!("{name}-slow"),
                    "configuration": { "metrics": [{
                        "id": "m1", "returnData": true,
                        "metricStat": { "period": 60, "stat": "Average", "metric": {
                            "namespace": "AWS/SageMaker", "name": "ModelLatency",
                            "dimensions": { "EndpointName": endpoint(name) },
                        } },
                    }] },
                    "state": { "value": "ALARM", "reason": "Threshold Crossed" },
                    "previousState": { "value": "OK", "reason": "" },
                }),
            ),
        ),
    ])
}

/// Sends all at once; gives what the functions said of what they could not deal with. Only what a
/// function says itself counts: one that Lambda has to stop says nothing.
async fn invoke(world: &World, events: &[(&'static str, Value)]) -> Result<Vec<String>> {
    let send = async |(function, event): &(&'static str, Value)| {
        let answer = world.lambda.invoker().invoke(function, event.to_string());
        match answer.await? {
            Answer::Done(answer) => {
                let failed = answer["failed"].as_array().cloned().unwrap_or_default();
                let said = failed.iter().map(|why| format!("{function}: {why}"));
                anyhow::Ok(said.collect())
            }
            Answer::Failed(why) => {
                let kind = why["errorType"].as_str().unwrap_or_default();
                ensure!(kind.starts_with("Tidegate."), "{function}: {why}");
                Ok(vec![format!("{function}: {kind}: {}", why["errorMessage"])])
            }
        }
    };
    let said: Vec<Vec<String>> = try_join_all(events.iter().map(send)).await?;
    Ok(said.into_iter().flatten().collect())
}
