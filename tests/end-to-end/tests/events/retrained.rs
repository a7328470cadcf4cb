//! A retraining that is asked for by event, once under a storm of alarms: its model is known by the
//! finding that it names; it does not pass the gate, is not shipped, and people hear that drift
//! remains.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tidegate_core::audit::What;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::project::put as put_object;
use tidegate_end_to_end::training::Job;
use tidegate_end_to_end::world::{BUCKET, World};

use crate::common::{Approval, TWO_INSTANCES, champion, endpoint, package, policy, serving, tell};
use crate::registration::project;
use crate::senders::{put, written};

const ASKED: &str = "asked";
/// How many features drift at once.
const STORM: usize = 20;

#[tokio::test]
async fn a_retrained_model_that_does_not_pass_is_not_shipped_and_people_hear_that_drift_remains() {
    tell(async |book| {
        let project = project(&book.world).await?;
        let text = format!(
            "{}\n[gate]\nrequire = [{{ metric = \"{}\", at_least = 2.0 }}]\napproval = \
             \"automatic\"\n\n[monitor]\non_drift = {{ retrain = {{ event = {{}} }} }}\n",
            policy(ASKED, TWO_INSTANCES),
            project.gate.metric,
        );
        book.world.apply(ASKED, &text).await?;
        package(&book.world, ASKED, &json!({}), Approval::Given).await?;
        book.ended(ASKED, 1, 20).await?;
        book.world.admin().advance(3_600).await?;

        for n in 0..STORM {
            alarm(&book.world, n).await?;
        }
        book.world.pass_minutes(3).await?;
        book.listen().await?;
        let started = written(&book.world, ASKED, What::RetrainingStarted).await?;
        ensure!(started.len() == 1, "retrainings: {started:#?}");
        let alarms = written(&book.world, ASKED, What::AlarmSeen).await?;
        ensure!(
            alarms.len() == STORM,
            "{} alarms were written down",
            alarms.len()
        );
        for what in ["alarm-seen", "retraining-withheld", "retraining-started"] {
            let told = book.told_of(ASKED);
            let told = told.iter().filter(|t| t.what.as_deref() == Some(what));
            ensure!(told.count() == 1, "{what} is told more or less than once");
        }
        let finding = started[0].facts["finding"].as_str();
        let finding = finding.context("the entry names the finding")?.to_owned();

        // Whoever got the event trains, and says what for.
        let source = put_object(
            &book.world.clients,
            BUCKET,
            "source/again/sourcedir.tar.gz",
            project.pack("v1")?,
        )
        .await?;
        let job = Job {
            name: "trained-again".to_owned(),
            project: &project,
            version: "v1",
            bucket: BUCKET,
            source,
            tags: BTreeMap::from([
                ("tidegate:pipeline".to_owned(), ASKED.to_owned()),
                ("tidegate:finding".to_owned(), finding.clone()),
            ]),
        };
        job.create(&book.world.clients).await?;
        book.until("the retrained model is judged", 30, async |world| {
            let remains = written(world, ASKED, What::DriftRemains).await?;
            Ok(remains.into_iter().next())
        })
        .await?;
        book.world.pass_minutes(2).await?;
        book.listen().await?;
        let told = book.notice(ASKED, "drift-remains")?;
        ensure!(
            told.text.contains("is not shipped") && told.text.contains(&finding),
            "people were told: {}",
            told.text
        );
        let ended = written(&book.world, ASKED, What::RetrainingEnded).await?;
        ensure!(ended.len() == 1, "the retraining's end: {ended:#?}");
        ensure!(champion(&book.world, ASKED).await? == Some(1));
        ensure!(serving(&book.world, ASKED).await?.len() == 1);
        metadata(&book.world, &finding).await?;
        book.close(&[ASKED]).await
    })
    .await;
}

/// An alarm on the metric that Model Monitor publishes of a feature's distance.
async fn alarm(world: &World, n: usize) -> Result<()> {
    let name = format!("drift-of-{n}");
    let detail = json!({
        "alarmName": name,
        "configuration": { "metrics": [{
            "id": "m1", "returnData": true,
            "metricStat": {
                "period": 3600, "stat": "Maximum",
                "metric": {
                    "namespace": "aws/sagemaker/Endpoints/data-metrics",
                    "name": format!("feature_baseline_drift_f{n}"),
                    "dimensions": { "Endpoint": endpoint(ASKED), "MonitoringSchedule": "any" },
                },
            },
        }] },
        "state": { "value": "ALARM", "reason": "Threshold Crossed: 0.41 is above 0.1." },
        "previousState": { "value": "OK", "reason": "" },
    });
    let arn = clients::arn("cloudwatch", &format!("alarm:{name}"));
    let kind = "CloudWatch Alarm State Change";
    put(world, "aws.cloudwatch", kind, &arn, &detail).await
}

/// The rejected package says which finding it comes from and which version served then.
async fn metadata(world: &World, finding: &str) -> Result<()> {
    let list = world.clients.sagemaker.list_model_packages();
    let list = list.model_package_group_name(ASKED).send().await?;
    let newest = list.model_package_summary_list().iter();
    let newest = newest.max_by_key(|p| p.model_package_version());
    let arn = newest.and_then(|p| p.model_package_arn());
    let describe = world.clients.sagemaker.describe_model_package();
    let package = describe
        .model_package_name(arn.context("there is a package")?)
        .send()
        .await?;
    let said = package.customer_metadata_properties();
    let said = said.context("the package has metadata")?;
    ensure!(
        said.get("tidegate:parent").map(String::as_str) == Some("v1")
            && said.get("tidegate:finding").map(String::as_str) == Some(finding),
        "the package says {said:?}"
    );
    Ok(())
}
