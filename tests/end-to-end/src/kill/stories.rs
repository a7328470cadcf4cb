//! The two stories of the kill matrix: a good version that goes all the way, and a bad one that is
//! taken back and rejected. Both begin with a training job and an endpoint that people made.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sagemaker::types::{
    AlgorithmSpecification, ContainerDefinition, MetricDefinition, OutputDataConfig,
    ProductionVariant, ProductionVariantInstanceType, ResourceConfig, StoppingCondition, Tag,
    TrainingInputMode, TrainingInstanceType,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::json;

use super::outcome::Outcome;
use crate::clients;
use crate::project::put;
use crate::training::{ROLE, SCIKIT_LEARN};
use crate::world::{BUCKET, World};

/// The stage of every policy.
const STAGE: &str = "production";
/// Its containers are scripted; nothing is pulled.
const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/serve:1";
/// What people called their variant.
const VARIANT: &str = "AllTraffic";
/// Requests a minute: enough for a step's least and for a verdict on the bad version in its first
/// minutes.
const REQUESTS: u32 = 48;
/// The source of every training job.
const SOURCE: &str = "kill/sourcedir.tar.gz";
/// The smoke request.
const SMOKE: &str = "kill/smoke.csv";
/// It trains nothing: what matters here is that a job has metrics and a model.
const TRAIN: &str = "import os, pathlib
print('validation:auc=0.97;')
pathlib.Path(os.environ['SM_MODEL_DIR'], 'model.txt').write_text('model')
";

/// What becomes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Story {
    /// Trained, gated, registered, approved, rolled out with a smoke request, promoted, reduced.
    Good,
    /// The same until users meet it; then taken back and rejected.
    Bad,
}

impl Story {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Good, Self::Bad];

    /// Its name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }

    /// Fails unless the story without faults came true.
    pub(super) fn check(self, outcome: &Outcome) -> Result<()> {
        let (phase, champion, approval) = match self {
            Self::Good => ("v1 done", Some(1), "1 Approved"),
            Self::Bad => ("v1 rolled back", None, "1 Rejected"),
        };
        let is_so = outcome.rollouts == [phase]
            && outcome.champion == champion
            && outcome.packages == [approval]
            && outcome.pending == 0
            && outcome.dead.is_empty();
        ensure!(
            is_so,
            "the {} story does not come true even without faults: {outcome:#?}",
            self.word()
        );
        Ok(())
    }

    fn script(self) -> String {
        match self {
            Self::Good => json!({}),
            Self::Bad => json!({ "error_rate": 0.6 }),
        }
        .to_string()
    }

    fn policy(self, name: &str) -> String {
        let mut text = format!(
            r#"
[pipeline]
name = "{name}"
group = "{name}"

[gate]
require = [{{ metric = "validation:auc", at_least = 0.9 }}]
approval = "automatic"

[serve]
image = "{IMAGE}"
role = "{role}"
environment = {{ SAGEMAKER_LOCAL_SCRIPT = '{script}' }}
content_types = ["text/csv"]
response_types = ["text/csv"]

[[stage]]
name = "{STAGE}"
endpoint = "{endpoint}"
bake_minutes = 1
watch_minutes = 1
strategy = {{ canary = [50], minutes = 2, min_requests = 20 }}
"#,
            role = clients::role(ROLE),
            script = self.script(),
            endpoint = endpoint(name),
        );
        if self == Self::Good {
            // Writing to a string does not fail.
            let _ = writeln!(text, "smoke = [\"s3://{BUCKET}/{name}/{SMOKE}\"]");
        }
        text + "\n[[stage.guard]]\nmetric = \"model_errors\"\nceiling = 0.05\n"
    }
}

/// The endpoint of a pipeline.
pub(super) fn endpoint(name: &str) -> String {
    format!("{name}-prod")
}

/// Puts what all pipelines share.
pub(super) async fn prepare(world: &World) -> Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(TRAIN.len())?);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, Path::new("train.py"), TRAIN.as_bytes())?;
    let packed = archive.into_inner()?.finish()?;
    put(&world.clients, BUCKET, SOURCE, packed).await.map(drop)
}

/// Makes a pipeline's endpoint, smoke request and policy; gives the policy's file.
pub(super) async fn set_up(world: &World, name: &str, story: Story) -> Result<String> {
    let key = format!("{name}/{SMOKE}");
    put(&world.clients, BUCKET, &key, "1.5,2.5".into()).await?;
    endpoint_by_hand(world, name).await?;
    let file = world.run.path().join(format!("{name}.toml"));
    std::fs::write(&file, story.policy(name))?;
    Ok(file.display().to_string())
}

/// Sends users to a pipeline's endpoint, or none any more.
pub(super) async fn users(world: &World, name: &str, are_there: bool) -> Result<()> {
    let per_minute = if are_there { REQUESTS } else { 0 };
    let payloads = ["1.5,2.5".to_owned()];
    world
        .admin()
        .traffic(&endpoint(name), per_minute, &payloads, "text/csv")
        .await
}

async fn endpoint_by_hand(world: &World, name: &str) -> Result<()> {
    let client = &world.clients.sagemaker;
    let (model, config) = (format!("{name}-people"), format!("{name}-people"));
    let container = ContainerDefinition::builder()
        .image(IMAGE)
        .model_data_url(format!("s3://{BUCKET}/{name}/people/model.tar.gz"))
        .environment("SAGEMAKER_LOCAL_SCRIPT", "{}")
        .build();
    client
        .create_model()
        .model_name(&model)
        .execution_role_arn(clients::role(ROLE))
        .primary_container(container)
        .send()
        .await
        .context("people's model can't be made")?;
    let variant = ProductionVariant::builder()
        .variant_name(VARIANT)
        .model_name(&model)
        .instance_type(ProductionVariantInstanceType::MlM5Large)
        .initial_instance_count(1)
        .initial_variant_weight(1.0)
        .build();
    client
        .create_endpoint_config()
        .endpoint_config_name(&config)
        .production_variants(variant)
        .send()
        .await
        .context("people's config can't be made")?;
    client
        .create_endpoint()
        .endpoint_name(endpoint(name))
        .endpoint_config_name(&config)
        .send()
        .await
        .context("people's endpoint can't be made")?;
    Ok(())
}

/// Starts a pipeline's training job; all that follows comes of it.
pub(super) async fn train(world: &World, name: &str) -> Result<()> {
    let source = format!("s3://{BUCKET}/{SOURCE}");
    let algorithm = AlgorithmSpecification::builder()
        .training_image(SCIKIT_LEARN)
        .training_input_mode(TrainingInputMode::File)
        .metric_definitions(
            MetricDefinition::builder()
                .name("validation:auc")
                .regex("validation:auc=([0-9.]+);")
                .build(),
        );
    let resources = ResourceConfig::builder()
        .instance_type(TrainingInstanceType::MlM5Large)
        .instance_count(1)
        .volume_size_in_gb(10);
    let output = OutputDataConfig::builder().s3_output_path(format!("s3://{BUCKET}/models"));
    let job = format!("{name}-job");
    world
        .clients
        .sagemaker
        .create_training_job()
        .training_job_name(&job)
        .role_arn(clients::role(ROLE))
        .algorithm_specification(algorithm.build())
        .hyper_parameters("sagemaker_program", "\"train.py\"")
        .hyper_parameters("sagemaker_submit_directory", format!("\"{source}\""))
        .output_data_config(output.build())
        .resource_config(resources.build())
        .stopping_condition(
            StoppingCondition::builder()
                .max_runtime_in_seconds(600)
                .build(),
        )
        .tags(Tag::builder().key("tidegate:pipeline").value(name).build())
        .send()
        .await
        .with_context(|| format!("the training job {job} can't be created"))?;
    Ok(())
}
