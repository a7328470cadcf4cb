//! Findings on live endpoints: drift starts one retraining, an alarm takes back the version that it
//! is about, and what describes a mixture is only told.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::{
    EndpointInput, MonitoringAppSpecification, MonitoringClusterConfig, MonitoringInput,
    MonitoringJobDefinition, MonitoringOutput, MonitoringOutputConfig, MonitoringResources,
    MonitoringS3Output, MonitoringScheduleConfig, ProcessingInstanceType, ScheduleConfig,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidegate_core::audit::What;
use tidegate_core::rollout::{Cause, Phase, Rollout};
use tidegate_end_to_end::clients;
use tidegate_end_to_end::training::{ROLE, SCIKIT_LEARN};
use tidegate_end_to_end::world::{BUCKET, World};

use crate::common::{
    Approval, Book, STAGE, approval, champion, endpoint, package, running, serving, tell, users,
};
use crate::senders::{put, written};

const DRIFTING: &str = "drifting";
const BAKING: &str = "baking";
const MIXED: &str = "mixed";
/// The schedule that watches the first of them.
const SCHEDULE: &str = "drifting-data-quality";
/// The pipeline that trains its model again.
const RETRAINING: &str = "drifting-retrain";

#[tokio::test]
async fn drift_retrains_once_and_an_alarm_takes_back_only_what_it_is_about() {
    tell(async |book| {
        let retrains = format!(
            "\n[monitor]\non_drift = {{ retrain = {{ pipeline = \"{RETRAINING}\" }}, \
             cooldown_hours = 24, at_most_per_month = 4 }}\n"
        );
        for (group, canary, minutes, more) in [
            (DRIFTING, 50, 2, retrains.as_str()),
            (BAKING, 50, 2, ""),
            (MIXED, 20, 600, ""),
        ] {
            let policy = policy(group, canary, minutes) + more;
            book.world.apply(group, &policy).await?;
            package(&book.world, group, &json!({}), Approval::Given).await?;
        }
        for group in [DRIFTING, BAKING, MIXED] {
            book.ended(group, 1, 20).await?;
            ensure!(champion(&book.world, group).await? == Some(1));
            users(&book.world, group).await?;
        }
        an_alarm_takes_back_what_it_is_about(book).await?;
        drift_starts_one_retraining(book).await?;
        book.close(&[DRIFTING, BAKING, MIXED]).await
    })
    .await;
}

/// One step of so many minutes with this share of the traffic, and a long bake.
fn policy(group: &str, canary: u8, minutes: u32) -> String {
    format!(
        r#"
[pipeline]
name = "{group}"
group = "{group}"

[serve]
role = "{}"

[[stage]]
name = "{STAGE}"
endpoint = "{}"
instance = {{ type = "ml.m5.large", count = 1 }}
strategy = {{ canary = [{canary}], minutes = {minutes}, min_requests = 10 }}
bake_minutes = 600
watch_minutes = 0
judge = {{ margin_ratio = 100.0, beta = 0.0001 }}
"#,
        clients::role(ROLE),
        endpoint(group),
    )
}

async fn an_alarm_takes_back_what_it_is_about(book: &mut Book) -> Result<()> {
    let mut candidates = Vec::new();
    for group in [BAKING, MIXED] {
        let arn = package(&book.world, group, &json!({}), Approval::Given).await?;
        candidates.push(arn);
    }
    let is_in_step =
        |rollout: &Rollout| matches!(rollout.phase, Phase::Step { since: Some(_), .. });
    phase(book, MIXED, "has its share of the traffic", is_in_step).await?;
    let is_baking = |rollout: &Rollout| matches!(rollout.phase, Phase::Baking { .. });
    phase(book, BAKING, "bakes", is_baking).await?;
    // The alarms' data begins after the baking version took all the traffic.
    book.world.pass_minutes(3).await?;
    let since = book.world.admin().now().await? - SignedDuration::from_mins(2);
    let mixture = running(&book.world, MIXED, 2).await?;
    let mixture = mixture.context("the mixture is still one")?;
    ensure!(is_in_step(&mixture), "it is {}", mixture.phase_word());

    for group in [BAKING, MIXED] {
        alarm(&book.world, group, None, since).await?;
    }
    let ended = book.ended(BAKING, 2, 20).await?;
    ensure!(
        matches!(&ended.phase, Phase::RolledBack { why } if why.cause == Cause::Violation),
        "the alarm led to {:?}",
        ended.phase
    );
    ensure!(champion(&book.world, BAKING).await? == Some(1));
    ensure!(
        serving(&book.world, BAKING).await?.len() == 1,
        "the champion does not serve alone"
    );
    let (status, why) = approval(&book.world, &candidates[0]).await?;
    ensure!(
        status == "Rejected" && why.contains("baking-errors"),
        "the package is {status}: {why}"
    );
    book.notice(BAKING, "rolled-back")?;

    let still = running(&book.world, MIXED, 2).await?;
    ensure!(
        still.is_some_and(|rollout| is_in_step(&rollout)),
        "an alarm on a mixture changed its rollout"
    );
    let told = book.notice(MIXED, "alarm-seen")?;
    ensure!(
        told.text.contains("says nothing of its candidate alone"),
        "people were told: {}",
        told.text
    );

    // An alarm that names the candidate's variant is about the candidate, in a mixture too.
    alarm(&book.world, MIXED, Some(&mixture.canary), since).await?;
    let ended = book.ended(MIXED, 2, 20).await?;
    ensure!(
        matches!(&ended.phase, Phase::RolledBack { why } if why.cause == Cause::Violation),
        "the alarm led to {:?}",
        ended.phase
    );
    let (status, _) = approval(&book.world, &candidates[1]).await?;
    ensure!(status == "Rejected", "the package is {status}");
    Ok(())
}

async fn phase(
    book: &mut Book,
    group: &str,
    what: &str,
    is_it: impl Fn(&Rollout) -> bool,
) -> Result<()> {
    book.until(&format!("{group} v2 {what}"), 30, async |world| {
        let rollout = running(world, group, 2).await?;
        Ok(rollout.filter(&is_it).map(|_| ()))
    })
    .await
}

/// A `CloudWatch` alarm on model errors fires, its data beginning at `since`.
async fn alarm(world: &World, group: &str, variant: Option<&str>, since: Timestamp) -> Result<()> {
    let name = match variant {
        Some(variant) => format!("{group}-{variant}-errors"),
        None => format!("{group}-errors"),
    };
    let mut dimensions = json!({ "EndpointName": endpoint(group) });
    if let Some(variant) = variant {
        dimensions["VariantName"] = json!(variant);
    }
    let reason_data = json!({
        "version": "1.0", "startDate": since, "statistic": "Sum", "period": 60,
        "recentDatapoints": [6.0, 5.0], "threshold": 1.0,
    });
    let detail = json!({
        "alarmName": name,
        "configuration": { "metrics": [{
            "id": "m1", "returnData": true,
            "metricStat": {
                "period": 60, "stat": "Sum",
                "metric": {
                    "namespace": "AWS/SageMaker", "name": "InvocationModelErrors",
                    "dimensions": dimensions,
                },
            },
        }] },
        "state": {
            "value": "ALARM", "reason": "Threshold Crossed: 2 datapoints were greater than 1.0.",
            "reasonData": reason_data.to_string(),
        },
        "previousState": { "value": "OK", "reason": "" },
    });
    let arn = clients::arn("cloudwatch", &format!("alarm:{name}"));
    let kind = "CloudWatch Alarm State Change";
    put(world, "aws.cloudwatch", kind, &arn, &detail).await
}

/// Model Monitor looks at whole hours: the champion has had all the traffic for two.
async fn drift_starts_one_retraining(book: &mut Book) -> Result<()> {
    for group in [DRIFTING, BAKING, MIXED] {
        book.world
            .admin()
            .traffic(&endpoint(group), 0, &[], "text/csv")
            .await?;
    }
    book.world.admin().advance(2 * 3_600).await?;
    watch(&book.world, DRIFTING, SCHEDULE).await?;
    make_retraining(&book.world, RETRAINING).await?;

    // Data that does not fit the schema is told, whatever drifted with it.
    find(
        book,
        &[
            ("country", "missing_column_check"),
            ("amount", "baseline_drift_check"),
        ],
    )
    .await?;
    ensure!(
        executions(&book.world, RETRAINING).await? == 0,
        "a schema error started a retraining"
    );
    let told = book.notice(DRIFTING, "violation-seen")?;
    ensure!(
        told.text.contains("a retraining would learn the error"),
        "people were told: {}",
        told.text
    );

    book.world.admin().advance(3_600).await?;
    violation(book, "amount").await?;
    ensure!(
        executions(&book.world, RETRAINING).await? == 1,
        "{} retrainings were started by the first finding",
        executions(&book.world, RETRAINING).await?
    );
    let told = book.told_of(DRIFTING);
    let told = told
        .iter()
        .find(|t| t.text.contains("amount (0.41, limit 0.1)"));
    ensure!(
        told.is_some(),
        "people were told: {:#?}",
        book.told_of(DRIFTING)
    );

    // Its step can't be run here.
    book.until("the retraining's end is heard of", 30, async |world| {
        let failed = written(world, DRIFTING, What::RetrainingFailed).await?;
        Ok(failed.into_iter().next())
    })
    .await?;
    book.world.pass_minutes(2).await?;
    book.listen().await?;
    let told = book.notice(DRIFTING, "retraining-failed")?;
    ensure!(
        told.text.contains("Step failure"),
        "people were told: {}",
        told.text
    );

    for feature in ["country", "age"] {
        book.world.admin().advance(3_600).await?;
        violation(book, feature).await?;
    }
    ensure!(
        executions(&book.world, RETRAINING).await? == 1,
        "a second retraining was started within the cooldown"
    );
    let withheld = written(&book.world, DRIFTING, What::RetrainingWithheld).await?;
    ensure!(
        withheld.len() == 2 && withheld[0].why.contains("less than 24 hours ago"),
        "what was withheld was written down as {withheld:#?}"
    );
    let all = book.told_of(DRIFTING);
    let of_withheld = all
        .iter()
        .filter(|t| t.what.as_deref() == Some("retraining-withheld"));
    ensure!(of_withheld.count() == 1, "people were told {all:#?}");
    let told = book.notice(DRIFTING, "retraining-withheld")?;
    ensure!(
        told.text.contains("less than 24 hours ago"),
        "people were told: {}",
        told.text
    );
    ensure!(
        champion(&book.world, DRIFTING).await? == Some(1),
        "drift changed what serves"
    );
    Ok(())
}

/// A monitoring job finds that a feature has drifted.
async fn violation(book: &mut Book, feature: &str) -> Result<()> {
    find(book, &[(feature, "baseline_drift_check")]).await
}

/// A monitoring job finds these features amiss, by these checks.
async fn find(book: &mut Book, found: &[(&str, &str)]) -> Result<()> {
    let violations: Vec<Value> = found
        .iter()
        .map(|(feature, check)| {
            json!({
                "feature_name": feature, "constraint_check_type": check,
                "description": "Baseline drift distance: 0.41 exceeds threshold: 0.1",
            })
        })
        .collect();
    let world = &book.world;
    world
        .admin()
        .violation(SCHEDULE, &json!(violations))
        .await?;
    // It is told in two events, each sent and delivered twice.
    world.pass_minutes(3).await?;
    book.listen().await
}

pub(crate) async fn executions(world: &World, name: &str) -> Result<usize> {
    let list = world.clients.sagemaker.list_pipeline_executions();
    let list = list.pipeline_name(name).send().await?;
    Ok(list.pipeline_execution_summaries().len())
}

/// The pipeline with one training step; that its algorithm can't be run here is no matter.
pub(crate) async fn make_retraining(world: &World, name: &str) -> Result<()> {
    let step = json!({
        "AlgorithmSpecification": { "TrainingImage": SCIKIT_LEARN, "TrainingInputMode": "File" },
        "RoleArn": clients::role(ROLE),
        "OutputDataConfig": { "S3OutputPath": format!("s3://{BUCKET}/models") },
        "ResourceConfig": { "InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10 },
        "StoppingCondition": { "MaxRuntimeInSeconds": 60 },
    });
    let definition = json!({
        "Version": "2020-12-01", "Parameters": [],
        "Steps": [{ "Name": "Train", "Type": "Training", "Arguments": step }],
    });
    let create = world.clients.sagemaker.create_pipeline();
    create
        .pipeline_name(name)
        .pipeline_definition(definition.to_string())
        .client_request_token(format!("the-tests-of-findings-make-{name:-<32}"))
        .role_arn(clients::role(ROLE))
        .send()
        .await
        .context("the pipeline can't be created")?;
    Ok(())
}

/// A Model Monitor schedule of this name on a group's endpoint.
pub(crate) async fn watch(world: &World, group: &str, name: &str) -> Result<()> {
    let output = MonitoringS3Output::builder()
        .s3_uri(format!("s3://{BUCKET}/monitoring"))
        .local_path("/opt/ml/processing/output")
        .build();
    let output = MonitoringOutput::builder().s3_output(output).build();
    let output = MonitoringOutputConfig::builder().monitoring_outputs(output);
    let cluster = MonitoringClusterConfig::builder()
        .instance_count(1)
        .instance_type(ProcessingInstanceType::MlM5Large)
        .volume_size_in_gb(20);
    let input = EndpointInput::builder()
        .endpoint_name(endpoint(group))
        .local_path("/opt/ml/processing/input");
    let input = MonitoringInput::builder().endpoint_input(input.build());
    let app = MonitoringAppSpecification::builder().image_uri(SCIKIT_LEARN);
    let resources = MonitoringResources::builder().cluster_config(cluster.build());
    let definition = MonitoringJobDefinition::builder()
        .monitoring_inputs(input.build())
        .monitoring_output_config(output.build())
        .monitoring_resources(resources.build())
        .monitoring_app_specification(app.build())
        .role_arn(clients::role(ROLE));
    let hourly = ScheduleConfig::builder().schedule_expression("cron(0 * ? * * *)");
    let config = MonitoringScheduleConfig::builder()
        .schedule_config(hourly.build())
        .monitoring_job_definition(definition.build());
    let create = world.clients.sagemaker.create_monitoring_schedule();
    create
        .monitoring_schedule_name(name)
        .monitoring_schedule_config(config.build())
        .send()
        .await
        .context("the monitoring schedule can't be created")?;
    Ok(())
}
