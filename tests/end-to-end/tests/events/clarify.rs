//! Bias and attribution of a champion: Clarify's jobs make both baselines of the training data, with
//! the model that serves. The usual crowd is fine by them. Then another crowd comes: women are kept
//! out, and another feature decides. The bias is told, the shifted attribution retrains, as the policy
//! says.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::{
    AlgorithmSpecification, Channel, DataSource, ModelApprovalStatus, OutputDataConfig,
    ResourceConfig, S3DataSource, S3DataType, StoppingCondition, TrainingInputMode,
    TrainingInstanceType,
};
use serde_json::{Value, json};
use tidegate_core::audit::What;
use tidegate_core::monitors::Phase;
use tidegate_core::pipeline::MonitorKind;
use tidegate_end_to_end::clients;
use tidegate_end_to_end::project::{get, put};
use tidegate_end_to_end::training::{ROLE, SCIKIT_LEARN};
use tidegate_end_to_end::world::{BUCKET, World};

use crate::common::{
    Approval, Book, TWO_INSTANCES, calls, champion, endpoint, package, policy_with_steps,
    set_approval, tell,
};
use crate::senders::written;

const CLARIFIED: &str = "clarified";
const CLARIFY: &str =
    "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0";
const TRAINING: &str = "clarified-train";
/// Requests a minute, few enough that all are captured.
const CUSTOMERS: u32 = 20;

/// Of ten people so many are women; of ten women and of ten men so many are let in, by their income or
/// by their debt.
struct Crowd(usize, usize, usize, bool);

const TRAINED_ON: Crowd = Crowd(2, 4, 8, false);
const USUAL: Crowd = Crowd(4, 6, 7, false);
const SHIFTED: Crowd = Crowd(4, 1, 9, true);

impl Crowd {
    /// Rows of sex, income and debt, and whether the model lets each in.
    fn rows(&self) -> Vec<(String, bool)> {
        let &Self(women, women_in, men_in, by_debt) = self;
        let row = |n: usize| {
            let is_woman = n % 10 < women;
            let is_in = n / 10 % 10 < if is_woman { women_in } else { men_in };
            let jitter = f64::from(u32::try_from(n * 7 % 100).unwrap_or_default()) / 250.0;
            let strong = if is_in { 1.5 + jitter } else { -1.5 - jitter };
            let weak = (jitter - 0.2) / 5.0;
            let (income, debt) = if by_debt {
                (weak, -strong)
            } else {
                (strong, weak)
            };
            let sex = if is_woman { "f" } else { "m" };
            (format!("{sex},{income:.3},{debt:.3}"), is_in)
        };
        (0..1_000).map(row).collect()
    }
}

#[tokio::test]
async fn clarify_makes_a_champions_baselines_and_what_drifts_from_them_is_triaged() {
    tell(async |book| {
        training_data(&book.world).await?;
        book.world.apply(CLARIFIED, &policy()).await?;
        // It lets in who has more income than debt.
        let model = json!({ "logistic": { "bias": 0.0, "weights": [0.0, 1.0, -1.0] } });
        let arn = package(&book.world, CLARIFIED, &model, Approval::Awaited).await?;
        let update = book.world.clients.sagemaker.update_model_package();
        let update = update
            .model_package_arn(&arn)
            .customer_metadata_properties("tidegate:job", TRAINING);
        update.send().await?;
        // What is approved within the same instant would be an older state of it.
        book.world.pass_minutes(1).await?;
        set_approval(&book.world, &arn, ModelApprovalStatus::Approved).await?;
        book.ended(CLARIFIED, 1, 20).await?;
        ensure!(champion(&book.world, CLARIFIED).await? == Some(1));
        users(&book.world, &USUAL).await?;
        are_set_up(book).await?;
        // Within the hour in which all began, so that its run is the first one.

        until_minute(book, 55).await?;
        label(&book.world).await?;
        until_minute(book, 1).await?;
        users(&book.world, &SHIFTED).await?;
        book.until("the usual crowd is found to be fine", 45, async |world| {
            let ends = executions(world).await?;
            ensure!(
                ends.iter()
                    .all(|end| end != "Failed" && end != "CompletedWithViolations"),
                "the runs on the usual crowd: {ends:?}"
            );
            let done = ends.iter().filter(|end| *end == "Completed").count();
            Ok((done == 2).then_some(()))
        })
        .await?;

        until_minute(book, 55).await?;
        label(&book.world).await?;
        until_minute(book, 1).await?;
        book.until("both kinds of drift are found", 45, async |world| {
            let found = written(world, CLARIFIED, What::ViolationSeen).await?;
            Ok((found.len() >= 2).then_some(()))
        })
        .await?;
        is_triaged(book).await?;
        let admin = book.world.admin();
        admin
            .traffic(&endpoint(CLARIFIED), 0, &[], "text/csv")
            .await?;
        book.close(&[CLARIFIED]).await
    })
    .await;
}

/// Both monitors run, by configs with the champion's model and by baselines that its jobs made.
async fn are_set_up(book: &mut Book) -> Result<()> {
    let names = book
        .until("both monitors run", 40, async |world| {
            let head = world.ledger.head(CLARIFIED).await?;
            let kept = head.monitors.kept.into_iter();
            let running: BTreeMap<_, _> = kept
                .filter(|(_, kept)| kept.phase == Phase::Running)
                .map(|(name, kept)| (kept.kind, name))
                .collect();
            Ok((running.len() == 2).then_some(running))
        })
        .await?;
    let head = book.world.ledger.head(CLARIFIED).await?;
    let champion = head.champions.into_values().next();
    let model = champion.context("there is a champion")?.model;
    let jobs = calls(&book.world, "CreateProcessingJob")?;
    ensure!(jobs.len() == 2, "{} baselining jobs", jobs.len());
    for (kind, name) in names {
        let folder = format!("s3://{BUCKET}/monitors/configs/{name}");
        let read = async |of: &str| -> Result<Value> {
            let uri = format!("{folder}/{of}/analysis_config.json");
            Ok(serde_json::from_slice(
                &get(&book.world.clients, &uri).await?,
            )?)
        };
        let (job, monitor) = (read("baselining").await?, read("monitor").await?);
        ensure!(job["predictor"]["model_name"] == json!(model), "{job}");
        let asks = monitor.get("predictor").map(|p| &p["model_name"]);
        let expected = json!(model);
        let expected = (kind == MonitorKind::Attribution).then_some(&expected);
        ensure!(asks == expected, "{kind}: {monitor}");
        let made = format!("s3://{BUCKET}/monitors/baselines/{name}/analysis.json");
        get(&book.world.clients, &made).await?;
    }
    Ok(())
}

/// What was found, and what came of it.
async fn is_triaged(book: &mut Book) -> Result<()> {
    let started = book
        .until("a retraining starts", 10, async |world| {
            let started = written(world, CLARIFIED, What::RetrainingStarted).await?;
            Ok(started.into_iter().next())
        })
        .await?;
    ensure!(
        started.why.contains("label0 (Feature attribution drift"),
        "the retraining starts because {}",
        started.why
    );
    book.world.pass_minutes(3).await?;
    book.listen().await?;
    let told = book.told_of(CLARIFIED);
    let bias = told.iter().find(|told| told.subject.contains("Bias on"));
    let bias = bias.with_context(|| format!("nobody was told of bias, but {told:#?}"))?;
    ensure!(
        bias.text.contains("3 bias metrics are worse: sex=f (DPL: "),
        "of bias is told: {}",
        bias.text
    );
    let all = written(&book.world, CLARIFIED, What::RetrainingStarted).await?;
    ensure!(all.len() == 1, "bias is told alone, not retrained");
    Ok(())
}

/// How the runs of both schedules ended.
async fn executions(world: &World) -> Result<Vec<String>> {
    let list = world.clients.sagemaker.list_monitoring_executions();
    let list = list.endpoint_name(endpoint(CLARIFIED)).send().await?;
    let all = list.monitoring_execution_summaries().iter();
    Ok(all
        .filter_map(|s| s.monitoring_execution_status.as_ref())
        .map(ToString::to_string)
        .collect())
}

/// Passes minutes until so many after the full hour.
async fn until_minute(book: &mut Book, minute: i64) -> Result<()> {
    book.until("the minute comes", 61, async |world| {
        let now = world.admin().now().await?.as_second();
        Ok((now.rem_euclid(3_600) / 60 == minute).then_some(()))
    })
    .await
}

/// The truth about this hour's answers is what the model said of each.
async fn label(world: &World) -> Result<()> {
    let now = world.admin().now().await?;
    let hour = now.strftime("%Y/%m/%d/%H").to_string();
    let list = world.clients.s3.list_objects_v2().bucket(BUCKET);
    let list = list.prefix(format!("captured/{}/", endpoint(CLARIFIED)));
    let mut truth = Vec::new();
    for object in list.send().await?.contents() {
        let key = object.key().unwrap_or_default();
        if !key.contains(&format!("/{hour}/")) {
            continue;
        }
        let lines = get(&world.clients, &format!("s3://{BUCKET}/{key}")).await?;
        for line in String::from_utf8(lines)?.lines() {
            let line: Value = serde_json::from_str(line)?;
            let said = line["captureData"]["endpointOutput"]["data"].as_str();
            let said: f64 = said.context("an answer is captured")?.trim().parse()?;
            let label = json!({ "data": u8::from(said > 0.5).to_string(), "encoding": "CSV" });
            let id = json!({ "eventId": line["eventMetadata"]["eventId"] });
            let line =
                json!({ "groundTruthData": label, "eventMetadata": id, "eventVersion": "0" });
            truth.push(line.to_string());
        }
    }
    ensure!(truth.len() > 100, "{} answers are captured", truth.len());
    let key = format!("labels/{hour}/labels.jsonl");
    put(&world.clients, BUCKET, &key, truth.join("\n").into_bytes())
        .await
        .map(drop)
}

async fn users(world: &World, crowd: &Crowd) -> Result<()> {
    let rows: Vec<String> = crowd.rows().into_iter().map(|(row, _)| row).collect();
    world
        .admin()
        .traffic(&endpoint(CLARIFIED), CUSTOMERS, &rows, "text/csv")
        .await
}

/// The data in the channel of a training job, and the template of both analyses. Of the women that the
/// model keeps out some should have been let in: it was never fair.
async fn training_data(world: &World) -> Result<()> {
    let rows = TRAINED_ON.rows();
    let lines: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(n, (row, is_in))| {
            let is_wronged = row.starts_with('f') && !is_in && n / 100 % 4 == 0;
            format!("{},{row}", u8::from(*is_in || is_wronged))
        })
        .collect();
    let clients = &world.clients;
    let data = lines.join("\n").into_bytes();
    let data = put(clients, BUCKET, "train/people/rows.csv", data).await?;
    let template = json!({
        "headers": ["label", "sex", "income", "debt"], "label": "label",
        "label_values_or_threshold": [1],
        "facet": [{ "name_or_index": "sex", "value_or_threshold": ["f"] }],
        "methods": {
            "shap": { "baseline": [["m", 0.0, 0.0]], "num_samples": 16, "agg_method": "mean_abs" },
        },
    });
    let template = template.to_string().into_bytes();
    put(clients, BUCKET, "analysis.json", template).await?;
    let source = S3DataSource::builder()
        .s3_data_type(S3DataType::S3Prefix)
        .s3_uri(data.trim_end_matches("rows.csv"));
    let channel = Channel::builder()
        .channel_name("train")
        .data_source(DataSource::builder().s3_data_source(source.build()).build());
    let algorithm = AlgorithmSpecification::builder()
        .training_image(SCIKIT_LEARN)
        .training_input_mode(TrainingInputMode::File);
    let resources = ResourceConfig::builder()
        .instance_type(TrainingInstanceType::MlM5Large)
        .instance_count(1)
        .volume_size_in_gb(10);
    let output = OutputDataConfig::builder().s3_output_path(format!("s3://{BUCKET}/models"));
    let stopping = StoppingCondition::builder().max_runtime_in_seconds(600);
    let create = clients.sagemaker.create_training_job();
    create
        .training_job_name(TRAINING)
        .role_arn(clients::role(ROLE))
        .algorithm_specification(algorithm.build())
        .input_data_config(channel.build())
        .output_data_config(output.build())
        .resource_config(resources.build())
        .stopping_condition(stopping.build())
        .send()
        .await?;
    Ok(())
}

fn policy() -> String {
    let role = clients::role(ROLE);
    let monitor = |kind: &str, more: &str| {
        format!(
            r#"
[[stage.monitor]]
kind = "{kind}"
role = "{role}"
image = "{CLARIFY}"
to = "s3://{BUCKET}/monitors/"
config = "s3://{BUCKET}/analysis.json"
baseline = {{ channel = "train" }}
probability = "0"
{more}
"#
        )
    };
    let labels = format!("ground_truth = \"s3://{BUCKET}/labels\"\nthreshold = 0.5");
    let stage = format!(
        "{TWO_INSTANCES}\ncapture = {{ percent = 100, to = \"s3://{BUCKET}/captured\" }}\n{}{}",
        monitor("bias", &labels),
        monitor("attribution", ""),
    );
    format!(
        "{}\n[monitor]\non_finding = {{ attribution = \"retrain\" }}\non_drift = {{ retrain = {{ \
         event = {{}} }} }}\n",
        policy_with_steps(CLARIFIED, &[50], &stage)
    )
}
