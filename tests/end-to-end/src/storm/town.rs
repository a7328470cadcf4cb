//! What a storm needs of AWS: two moto servers (one for the ledger alone, since one is a single
//! thread), the emulator with its clock standing still, and clients that count.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use aws_sdk_sagemaker::types::{
    AlgorithmSpecification, InferenceSpecification, MetricDefinition, ModelApprovalStatus,
    ModelPackageContainerDefinition, OutputDataConfig, ResourceConfig, StoppingCondition, Tag,
    TrainingInputMode, TrainingInstanceType, TrainingJobStatus,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::Serialize;
use tidegate_aws::{AwsWorld, DynamoLedger, Settings};
use tidegate_core::engine::apply;
use tidegate_core::pipeline;

use super::AT_ONCE;
use super::count::Counter;
use super::plan::{Plan, endpoint};
use crate::clients::{self, Clients};
use crate::emulator::{Behaviour, Emulator};
use crate::moto::Moto;
use crate::place::{Place, RunFolder};
use crate::project::put;
use crate::rules::Template;
use crate::training::{ROLE, SCIKIT_LEARN};
use crate::world::{BUCKET, SCHEDULE_GROUP, TABLE};

/// Its containers are scripted; nothing is pulled.
const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/serve:1";
/// The source of every training job, which trains nothing: what matters is its metric.
const SOURCE: &str = "storm/sourcedir.tar.gz";
const TRAIN: &str = "import os, pathlib
print('validation:auc=0.97;')
pathlib.Path(os.environ['SM_MODEL_DIR'], 'model.txt').write_text('model')
";
/// Set-up calls side by side.
const SET_UP_AT_ONCE: usize = 16;
/// Emulator minutes that training jobs are given.
const MINUTES: u32 = 30;
/// Calls by which the ledger's server is measured.
const BARE_CALLS: u32 = 1_000;

/// How fast the ledger's server is without Tidegate, calls a second, as many at once.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Ceiling {
    pub(super) puts: f64,
    /// Of four puts each.
    pub(super) transactions: f64,
}

/// All of it; it ends with this value.
pub(super) struct Town {
    pub(super) ledger: DynamoLedger,
    pub(super) world: AwsWorld,
    pub(super) counter: Counter,
    pub(super) clients: Clients,
    emulator: Emulator,
    moto: Moto,
    table: Moto,
    _run: RunFolder,
}

impl Town {
    pub(super) async fn start() -> Result<Self> {
        let place = Place::find()?;
        let run = place.new_run(false)?;
        let (template, moto) = tokio::try_join!(Template::read(&place), Moto::start(&place, &run))?;
        let table = Moto::start_named("moto-ledger", &place, &run).await?;
        let behaviour = Behaviour {
            speed: 0.0,
            ..Behaviour::default()
        };
        let emulator = Emulator::start(&place, &run, &moto.url, &behaviour).await?;
        let mut clients = Clients::new(&moto.url, &emulator.url);
        clients.dynamodb = Clients::new(&table.url, &emulator.url).dynamodb;
        clients.s3.create_bucket().bucket(BUCKET).send().await?;
        template.create_table(&clients, TABLE).await?;
        let topic = clients.sns.create_topic().name("tidegate").send().await?;
        let group = clients.scheduler.create_schedule_group();
        group.name(SCHEDULE_GROUP).send().await?;
        let settings = Settings {
            table: TABLE.to_owned(),
            topic: topic.topic_arn.context("a topic has an ARN")?,
            shift_function: clients::arn("lambda", "function:canary-shift"),
            scheduler_role: clients::role("tidegate-scheduler"),
            schedule_group: SCHEDULE_GROUP.to_owned(),
            anchor_bucket: None,
        };
        let counter = Counter::default();
        let with_counts = counted(&clients, &counter);
        Ok(Self {
            ledger: DynamoLedger::new(with_counts.dynamodb.clone(), TABLE),
            world: AwsWorld::new(with_counts, settings),
            counter,
            clients,
            emulator,
            moto,
            table,
            _run: run,
        })
    }

    /// Fails if a part of it does not run any more.
    pub(super) fn check(&mut self) -> Result<()> {
        self.moto.check()?;
        self.table.check()?;
        self.emulator.check()
    }

    /// Applies the policies, registers what people approved and trains.
    pub(super) async fn set_up(&self, plans: &[&Plan]) -> Result<()> {
        put(&self.clients, BUCKET, SOURCE, packed()?).await?;
        let groups = plans
            .iter()
            .flat_map(|plan| (0..plan.groups).map(|n| plan.group(n)));
        let prepared = stream::iter(groups).map(|group| self.prepare(group));
        prepared
            .buffer_unordered(SET_UP_AT_ONCE)
            .try_collect::<()>()
            .await?;
        let jobs: Vec<(String, String)> = plans
            .iter()
            .flat_map(|plan| plan.jobs().map(|(group, job)| (plan.group(group), job)))
            .collect();
        for (group, job) in &jobs {
            self.train(group, job).await?;
        }
        self.trained(&jobs).await
    }

    async fn prepare(&self, group: String) -> Result<()> {
        let text = policy(&group);
        let policy = pipeline::parse(&text, &group).context("the storm's policy")?;
        Box::pin(apply(
            &self.ledger,
            policy,
            "the storm",
            None,
            Timestamp::now(),
        ))
        .await?;
        let client = &self.clients.sagemaker;
        let made = client.create_model_package_group();
        made.model_package_group_name(&group).send().await?;
        let key = format!("{group}/model.tar.gz");
        let artifact = put(&self.clients, BUCKET, &key, b"scripted".to_vec()).await?;
        let container = ModelPackageContainerDefinition::builder()
            .image(IMAGE)
            .model_data_url(artifact)
            .environment("SAGEMAKER_LOCAL_SCRIPT", "{}");
        let specification = InferenceSpecification::builder()
            .containers(container.build())
            .supported_content_types("text/csv")
            .supported_response_mime_types("text/csv");
        client
            .create_model_package()
            .model_package_group_name(&group)
            .inference_specification(specification.build())
            .model_approval_status(ModelApprovalStatus::Approved)
            .send()
            .await
            .with_context(|| format!("the first version of {group} can't be registered"))?;
        Ok(())
    }

    async fn train(&self, group: &str, job: &str) -> Result<()> {
        let metric = MetricDefinition::builder()
            .name("validation:auc")
            .regex("validation:auc=([0-9.]+);");
        let algorithm = AlgorithmSpecification::builder()
            .training_image(SCIKIT_LEARN)
            .training_input_mode(TrainingInputMode::File)
            .metric_definitions(metric.build());
        let resources = ResourceConfig::builder()
            .instance_type(TrainingInstanceType::MlM5Large)
            .instance_count(1)
            .volume_size_in_gb(10);
        let output = OutputDataConfig::builder().s3_output_path(format!("s3://{BUCKET}/models"));
        let at_most = StoppingCondition::builder().max_runtime_in_seconds(600);
        self.clients
            .sagemaker
            .create_training_job()
            .training_job_name(job)
            .role_arn(clients::role(ROLE))
            .algorithm_specification(algorithm.build())
            .hyper_parameters("sagemaker_program", "\"train.py\"")
            .hyper_parameters(
                "sagemaker_submit_directory",
                format!("\"s3://{BUCKET}/{SOURCE}\""),
            )
            .output_data_config(output.build())
            .resource_config(resources.build())
            .stopping_condition(at_most.build())
            .tags(Tag::builder().key("tidegate:pipeline").value(group).build())
            .send()
            .await
            .with_context(|| format!("the training job {job} can't be created"))?;
        Ok(())
    }

    async fn trained(&self, jobs: &[(String, String)]) -> Result<()> {
        let mut left: Vec<&str> = jobs.iter().map(|(_, job)| job.as_str()).collect();
        for _ in 0..MINUTES {
            let Some(job) = left.last() else {
                return Ok(());
            };
            let describe = self.clients.sagemaker.describe_training_job();
            let described = describe.training_job_name(*job).send().await?;
            match described.training_job_status {
                Some(TrainingJobStatus::Completed) => {
                    left.pop();
                }
                Some(TrainingJobStatus::InProgress) => self.emulator.admin().advance(60).await?,
                other => anyhow::bail!("the training job {job} is {other:?}"),
            }
        }
        // Most are over when the first is; what is asked above is bounded by minutes and jobs.
        for job in left {
            let describe = self.clients.sagemaker.describe_training_job();
            let status = describe
                .training_job_name(job)
                .send()
                .await?
                .training_job_status;
            let is_over = status == Some(TrainingJobStatus::Completed);
            ensure!(is_over, "the training job {job} is {status:?}");
        }
        Ok(())
    }

    /// Measures the ledger's server by calls that do nothing else.
    pub(super) async fn ceiling(&self) -> Result<Ceiling> {
        let puts = self.a_second(async |item| {
            let put = self.clients.dynamodb.put_item().table_name(TABLE);
            put.set_item(Some(bare(item, 0))).send().await?;
            Ok(())
        });
        let puts = puts.await?;
        let transactions = self.a_second(async |item| {
            let all = (1..=4).map(|part| {
                let put = Put::builder().table_name(TABLE);
                let put = put.set_item(Some(bare(item, part))).build()?;
                Ok(TransactWriteItem::builder().put(put).build())
            });
            let write = self.clients.dynamodb.transact_write_items();
            write
                .set_transact_items(Some(all.collect::<Result<_>>()?))
                .send()
                .await?;
            Ok(())
        });
        let transactions = transactions.await?;
        self.counter.take();
        Ok(Ceiling { puts, transactions })
    }

    async fn a_second(&self, call: impl AsyncFn(u32) -> Result<()>) -> Result<f64> {
        let start = Instant::now();
        let calls = stream::iter(0..BARE_CALLS).map(|item| call(item));
        let mut calls = calls.buffer_unordered(AT_ONCE);
        while let Some(done) = calls.next().await {
            done?;
        }
        Ok(f64::from(BARE_CALLS) / start.elapsed().as_secs_f64())
    }
}

/// An item of the size of a decision's.
fn bare(item: u32, part: u32) -> std::collections::HashMap<String, AttributeValue> {
    [
        ("pk", format!("bare#{}", item % 200)),
        ("sk", format!("{item}-{part}")),
        ("doc", "x".repeat(1_000)),
    ]
    .map(|(key, text)| (key.to_owned(), AttributeValue::S(text)))
    .into()
}

/// The same clients, each seen by the counter.
fn counted(clients: &Clients, counter: &Counter) -> tidegate_aws::Clients {
    macro_rules! counted {
        ($sdk:ident, $client:expr) => {
            $sdk::Client::from_conf(
                $client
                    .config()
                    .to_builder()
                    .interceptor(counter.clone())
                    .build(),
            )
        };
    }
    tidegate_aws::Clients {
        dynamodb: counted!(aws_sdk_dynamodb, clients.dynamodb),
        sagemaker: counted!(aws_sdk_sagemaker, clients.sagemaker),
        runtime: counted!(aws_sdk_sagemakerruntime, clients.runtime),
        cloudwatch: counted!(aws_sdk_cloudwatch, clients.cloudwatch),
        s3: counted!(aws_sdk_s3, clients.s3),
        sns: counted!(aws_sdk_sns, clients.sns),
        events: counted!(aws_sdk_eventbridge, clients.events),
        scheduler: counted!(aws_sdk_scheduler, clients.scheduler),
        iam: counted!(aws_sdk_iam, clients.iam),
    }
}

fn packed() -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(TRAIN.len())?);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, Path::new("train.py"), TRAIN.as_bytes())?;
    Ok(archive.into_inner()?.finish()?)
}

/// A version that is trained waits for a person, so that one rollout runs in each group.
fn policy(group: &str) -> String {
    format!(
        r#"
[pipeline]
name = "{group}"
group = "{group}"

[gate]
require = [{{ metric = "validation:auc", at_least = 0.9 }}]
approval = "manual"

[serve]
role = "{role}"

[[stage]]
name = "production"
endpoint = "{endpoint}"
instance = {{ type = "ml.m5.large", count = 1 }}
"#,
        role = clients::role(ROLE),
        endpoint = endpoint(group),
    )
}
