//! A data scientist's tuning job whose best model alone is registered, and a finding on that model
//! which starts a tuning job like it, on fresh data: of its three training jobs the best alone is
//! registered, and says where it comes from.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::{MetricData, ModelApprovalStatus};
use serde_json::json;
use tidegate_core::audit::What;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::project::{Project, put as put_object};
use tidegate_end_to_end::training::Job;
use tidegate_end_to_end::tuning::Tuning;
use tidegate_end_to_end::world::{BUCKET, World};

use crate::common::{TWO_INSTANCES, endpoint, policy, set_approval, tell};
use crate::registration::project;
use crate::senders::{put, written};

const TUNED: &str = "tuned";
const FIRST: &str = "tuned-by-hand";
const JOBS: i32 = 3;

#[tokio::test]
async fn of_a_tuning_job_the_best_model_counts_and_drift_tunes_again() {
    tell(async |book| {
        let project = project(&book.world).await?;
        book.world.apply(TUNED, &text(&project)).await?;
        tune(&book.world, &project).await?;
        let first = book
            .until("the best model is registered", 30, async |world| {
                Ok(packages(world).await?.pop())
            })
            .await?;
        is_the_best(&book.world, &project, FIRST, &first).await?;
        // A person takes their time.
        book.world.pass_minutes(2).await?;
        set_approval(&book.world, &first, ModelApprovalStatus::Approved).await?;
        book.ended(TUNED, 1, 20).await?;
        book.world.admin().advance(3_600).await?;

        alarm(&book.world).await?;
        let second = book
            .until("the best of the second is registered", 40, async |world| {
                let all = packages(world).await?;
                Ok((all.len() > 1).then(|| all[0].clone()))
            })
            .await?;
        let started = written(&book.world, TUNED, What::RetrainingStarted).await?;
        ensure!(started.len() == 1, "retrainings: {started:#?}");
        let arn = started[0].facts["execution"].as_str().context("an ARN")?;
        let again = arn.rsplit('/').next().unwrap_or_default();
        ensure!(again.starts_with("again-"), "it is called {again}");
        let said = is_the_best(&book.world, &project, again, &second).await?;
        let finding = started[0].facts["finding"].as_str();
        ensure!(
            said.get("tidegate:parent").map(String::as_str) == Some("v1")
                && said.get("tidegate:finding").map(String::as_str) == finding,
            "the package says {said:?}"
        );
        book.until("the retraining ends", 10, async |world| {
            let ended = written(world, TUNED, What::RetrainingEnded).await?;
            Ok(ended.into_iter().next())
        })
        .await?;
        book.world.pass_minutes(3).await?;
        book.listen().await?;
        ensure!(packages(&book.world).await?.len() == 2);
        let ended = written(&book.world, TUNED, What::TuningEnded).await?;
        ensure!(ended.len() == 2, "ends of tuning jobs: {ended:#?}");
        let head = book.world.ledger.head(TUNED).await?;
        ensure!(head.tunings.is_empty(), "waits for {:?}", head.tunings);
        book.close(&[TUNED]).await
    })
    .await;
}

fn text(project: &Project) -> String {
    format!(
        "{}\n[gate]\nrequire = [{{ metric = \"{metric}\", at_least = 0.5 }}]\napproval = \
         \"manual\"\n\n[monitor]\non_drift = {{ retrain = {{ tuning_job = {{ name_prefix = \
         \"again\", inputs = {{ train = \"s3://{BUCKET}/{name}/data/fresh/train\" }} }} }} }}\n",
        policy(TUNED, TWO_INSTANCES),
        metric = project.gate.metric,
        name = project.name,
    )
}

/// A tagged tuning job, as from a notebook.
async fn tune(world: &World, project: &Project) -> Result<()> {
    let key = format!("source/{FIRST}/sourcedir.tar.gz");
    let source = put_object(&world.clients, BUCKET, &key, project.pack("v2")?).await?;
    let tags = BTreeMap::from([("tidegate:pipeline".to_owned(), TUNED.to_owned())]);
    let tuning = Tuning {
        job: Job {
            name: FIRST.to_owned(),
            project,
            version: "v2",
            bucket: BUCKET,
            source,
            tags,
        },
        jobs: JOBS,
        metric: &project.gate.metric,
        range: ("regularisation", "0.00001", "1"),
    };
    tuning.create(&world.clients).await
}

/// The packages of the group, the newest first.
async fn packages(world: &World) -> Result<Vec<String>> {
    let list = world.clients.sagemaker.list_model_packages();
    let Ok(list) = list.model_package_group_name(TUNED).send().await else {
        // The group is made with the first.
        return Ok(Vec::new());
    };
    let mut all = list.model_package_summary_list.unwrap_or_default();
    all.sort_by_key(|p| std::cmp::Reverse(p.model_package_version));
    Ok(all
        .into_iter()
        .filter_map(|p| p.model_package_arn)
        .collect())
}

/// The package is of the best of all training jobs of the tuning job; gives what it says.
async fn is_the_best(
    world: &World,
    project: &Project,
    tuning: &str,
    package: &str,
) -> Result<BTreeMap<String, String>> {
    let client = &world.clients.sagemaker;
    let list = client.list_training_jobs_for_hyper_parameter_tuning_job();
    let list = list.hyper_parameter_tuning_job_name(tuning).send().await?;
    let mut values = Vec::new();
    for job in list.training_job_summaries() {
        let name = job.training_job_name().unwrap_or_default();
        let described = client.describe_training_job().training_job_name(name);
        let described = described.send().await?;
        let metrics = described.final_metric_data_list();
        let metric = metrics
            .iter()
            .find(|m| m.metric_name() == Some(&project.gate.metric));
        let value = metric
            .and_then(MetricData::value)
            .context("it has the metric")?;
        values.push((name.to_owned(), value));
    }
    ensure!(values.len() == 3, "{tuning} ran {values:?}");
    let best = values.iter().map(|(_, value)| *value).fold(0.0, f32::max);
    let described = client.describe_model_package().model_package_name(package);
    let said = described.send().await?.customer_metadata_properties;
    let said: BTreeMap<_, _> = said.unwrap_or_default().into_iter().collect();
    let of = values
        .iter()
        .find(|(name, _)| Some(name) == said.get("tidegate:job"));
    ensure!(
        of.is_some_and(|(_, value)| value.to_bits() == best.to_bits())
            && said.get("tidegate:tuning-job").map(String::as_str) == Some(tuning),
        "of {values:?} the package says {said:?}"
    );
    Ok(said)
}

/// An alarm on the metric that Model Monitor publishes of a feature's distance.
async fn alarm(world: &World) -> Result<()> {
    let detail = json!({
        "alarmName": "drift",
        "configuration": { "metrics": [{
            "id": "m1", "returnData": true,
            "metricStat": {
                "period": 3600, "stat": "Maximum",
                "metric": {
                    "namespace": "aws/sagemaker/Endpoints/data-metrics",
                    "name": "feature_baseline_drift_mean_radius",
                    "dimensions": { "Endpoint": endpoint(TUNED), "MonitoringSchedule": "any" },
                },
            },
        }] },
        "state": { "value": "ALARM", "reason": "Threshold Crossed: 0.41 is above 0.1." },
        "previousState": { "value": "OK", "reason": "" },
    });
    let arn = clients::arn("cloudwatch", "alarm:drift");
    put(
        world,
        "aws.cloudwatch",
        "CloudWatch Alarm State Change",
        &arn,
        &detail,
    )
    .await
}
