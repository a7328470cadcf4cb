//! Acts 1 to 5.

use anyhow::{Context as _, Result};
use aws_sdk_sagemaker::types::{
    EndpointInput, ModelApprovalStatus, MonitoringAppSpecification, MonitoringClusterConfig,
    MonitoringInput, MonitoringJobDefinition, MonitoringOutput, MonitoringOutputConfig,
    MonitoringResources, MonitoringS3Output, MonitoringScheduleConfig, ProcessingInstanceType,
    ScheduleConfig,
};
use serde_json::json;
use tidegate_core::rollout::{Cause, Phase, Rollout};

use super::{ENDPOINT, PROJECT, RETRAINING, SCHEDULE, Story, TRAFFIC};
use crate::clients;
use crate::notices::{self, Told};
use crate::training::ROLE;
use crate::wait::{Patience, until};
use crate::world::BUCKET;

/// Requests a minute at night.
const NIGHT_TRAFFIC: u32 = 6;
const NIGHT_SECONDS: u64 = 2 * 3_600;

impl Story {
    /// Act 1: nothing is there, and v1 goes all the way.
    pub(super) async fn first_version(&mut self) -> Result<()> {
        self.teller
            .act(1, "v1 is trained, gated, registered and deployed");
        let job = self.train("v1").await?;
        let record = self.gated("v1", &job).await?;
        self.check(record.judgement.passed(), "v1 passes the gate")?;
        let rollout = Box::pin(self.follow(1)).await?;
        self.check(
            rollout.phase == Phase::Done,
            "v1 serves, without a human step",
        )?;
        let content_type = self.project.serve.content_type.clone();
        self.world
            .admin()
            .traffic(ENDPOINT, TRAFFIC, &self.payloads, &content_type)
            .await?;
        self.say("users", &format!("{TRAFFIC} requests a minute from now on"))
            .await?;
        self.pass_minutes(6).await
    }

    /// Act 2: v2 is better and replaces v1 step by step.
    pub(super) async fn better_version(&mut self) -> Result<()> {
        self.teller.act(
            2,
            "v2 is better: 5, 25, 50 %, all, baked, the old one cleaned up",
        );
        let before = self
            .world
            .clients
            .sagemaker
            .describe_endpoint()
            .endpoint_name(ENDPOINT)
            .send()
            .await?;
        let old_config = before
            .endpoint_config_name
            .context("an endpoint has a config")?;
        let job = self.train("v2").await?;
        let record = self.gated("v2", &job).await?;
        self.check(
            record.judgement.passed(),
            "v2 passes the gate, compared with v1 too",
        )?;
        let rollout = Box::pin(self.follow(2)).await?;
        self.check(rollout.phase == Phase::Done, "v2 is the champion")?;
        let shares: Vec<u8> = rollout
            .weights
            .iter()
            .map(|(_, share)| *share)
            .filter(|share| *share > 0)
            .collect();
        self.check(
            shares == [5, 25, 50, 100],
            "its share of the traffic went 5, 25, 50, 100 %",
        )?;
        self.serves_alone(&rollout).await?;
        let client = &self.world.clients.sagemaker;
        let old = client
            .describe_endpoint_config()
            .endpoint_config_name(&old_config)
            .send()
            .await;
        let canary = client
            .describe_endpoint_config()
            .endpoint_config_name(&rollout.config)
            .send()
            .await;
        self.check(
            old.is_err() && canary.is_err(),
            "the configs of v1 and of the canary are gone",
        )
    }

    /// Act 3: v3 looks fine until requests with an empty field reach it.
    pub(super) async fn bad_server(&mut self) -> Result<()> {
        self.teller.act(
            3,
            "v3 passes the gate and fails in serving: it is taken back",
        );
        let job = self.train("v3").await?;
        let record = self.gated("v3", &job).await?;
        self.check(
            record.judgement.passed(),
            "v3 passes the gate: its metrics are fine",
        )?;
        let rollout = Box::pin(self.follow(3)).await?;
        let is_guard =
            matches!(&rollout.phase, Phase::RolledBack { why } if why.cause == Cause::Guard);
        self.check(is_guard, "v3 was rolled back because a guard objected")?;
        let first = rollout
            .weights
            .iter()
            .find(|(_, share)| *share > 0)
            .context("v3 had traffic")?
            .0;
        let back = rollout.weights.iter().rev().find(|(_, share)| *share == 0);
        let back = back
            .map_or(rollout.ended, |(at, _)| Some(*at))
            .context("v3 is off the traffic again")?;
        let minutes = back.duration_since(first).as_mins();
        self.check(
            minutes <= 30,
            &format!("{minutes} minutes after its first request the traffic was off it again"),
        )?;
        let arn = record
            .package
            .map(|(arn, _)| arn)
            .context("v3 has a package")?;
        let why = self.rejected(&arn).await?;
        self.say("registry", &format!("{PROJECT}/3 Rejected: {why}"))
            .await?;
        self.check(!why.is_empty(), "its package is Rejected, with the reason")?;
        let champion = self
            .world
            .ledger
            .head(PROJECT)
            .await?
            .champions
            .into_values()
            .next();
        self.check(
            champion.is_some_and(|champion| champion.candidate.version.0 == 2),
            "v2 is still the champion",
        )?;
        let serving = self.serving().await?;
        self.check(serving.len() == 1, "v2 serves alone again")?;
        let told = self.hear().await?;
        let is_told = told
            .iter()
            .any(|told| told.what.as_deref() == Some("rolled-back"));
        self.check(is_told, "people were told")
    }

    /// Act 4: v4 is worse and gets nowhere.
    pub(super) async fn worse_version(&mut self) -> Result<()> {
        self.teller
            .act(4, "v4 is worse by its metrics: it never comes near users");
        let job = self.train("v4").await?;
        let record = self.gated("v4", &job).await?;
        self.check(!record.judgement.passed(), "v4 is refused at the gate")?;
        let arn = record
            .package
            .map(|(arn, _)| arn)
            .context("v4 has a package")?;
        let why = self.rejected(&arn).await?;
        self.check(!why.is_empty(), "its package is Rejected, with the reason")?;
        self.pass_minutes(3).await?;
        let head = self.world.ledger.head(PROJECT).await?;
        let finished = self.world.ledger.finished(PROJECT).await?;
        let is_untouched =
            head.rollouts.is_empty() && finished.iter().all(|one| one.candidate.version.0 != 4);
        self.check(is_untouched, "no rollout was started")?;
        self.hear().await?;
        Ok(())
    }

    /// Act 5: Model Monitor reports drift, and v5 comes out of it.
    pub(super) async fn drift(&mut self) -> Result<()> {
        self.teller.act(
            5,
            "the data drifts: retraining starts, v5 replaces v2 by itself",
        );
        self.prepare_retraining().await?;
        self.prepare_monitoring().await?;
        self.night().await?;
        let violations = json!([{
            "feature_name": "mean_texture",
            "constraint_check_type": "baseline_drift_check",
            "description": "Baseline drift distance: 0.41 exceeds threshold: 0.1",
        }]);
        self.world.admin().violation(SCHEDULE, &violations).await?;
        self.say(
            "monitor",
            "mean_texture has drifted: distance 0.41, threshold 0.1",
        )
        .await?;

        let client = &self.world.clients.sagemaker;
        let what = "a retraining starts, and its training job";
        let job = until(
            self.world.admin(),
            what,
            Patience::minutes(15),
            async |state| {
                let runs = client
                    .list_pipeline_executions()
                    .pipeline_name(RETRAINING)
                    .send()
                    .await?;
                *state = format!("{} executions", runs.pipeline_execution_summaries().len());
                let jobs = client.list_training_jobs().max_results(100).send().await?;
                let jobs = jobs.training_job_summaries.unwrap_or_default();
                let names = jobs.into_iter().filter_map(|job| job.training_job_name);
                Ok(names
                    .into_iter()
                    .find(|name| !name.starts_with(&format!("{PROJECT}-v"))))
            },
        )
        .await?;
        self.say(
            "tidegate",
            &format!("starts {RETRAINING}; SageMaker runs {job}"),
        )
        .await?;
        let record = self.gated("v5", &job).await?;
        self.check(
            record.judgement.passed(),
            "v5 passes the gate, compared with v2 too",
        )?;
        let rollout = Box::pin(self.follow(5)).await?;
        self.check(
            rollout.phase == Phase::Done,
            "v5 replaced v2 without a human step",
        )?;
        self.serves_alone(&rollout).await?;
        let runs = self
            .world
            .clients
            .sagemaker
            .list_pipeline_executions()
            .pipeline_name(RETRAINING)
            .send()
            .await?;
        self.check(
            runs.pipeline_execution_summaries().len() == 1,
            "one retraining was started, not one per event",
        )
    }

    /// Model Monitor looks at whole hours that are over, and drift is blamed on a version only if it
    /// had all the traffic in that hour. So some hours pass, with the few users that are awake.
    async fn night(&self) -> Result<()> {
        let content_type = &self.project.serve.content_type;
        self.world
            .admin()
            .traffic(ENDPOINT, NIGHT_TRAFFIC, &self.payloads, content_type)
            .await?;
        self.world.admin().advance(NIGHT_SECONDS).await?;
        self.world
            .admin()
            .traffic(ENDPOINT, TRAFFIC, &self.payloads, content_type)
            .await?;
        self.say("", "two quiet hours have passed, with v2 alone")
            .await
    }

    async fn prepare_retraining(&self) -> Result<()> {
        let job = self.job("v5", "from-the-pipeline".to_owned()).await?;
        let definition = json!({
            "Version": "2020-12-01",
            "Parameters": [],
            "Steps": [{ "Name": "Train", "Type": "Training", "Arguments": job.as_step()? }],
        });
        self.world
            .clients
            .sagemaker
            .create_pipeline()
            .pipeline_name(RETRAINING)
            .pipeline_definition(definition.to_string())
            .client_request_token("the-story-of-make-run-makes-this-pipeline")
            .role_arn(clients::role(ROLE))
            .send()
            .await
            .context("the pipeline can't be created")?;
        Ok(())
    }

    async fn prepare_monitoring(&self) -> Result<()> {
        let output = MonitoringS3Output::builder()
            .s3_uri(format!("s3://{BUCKET}/{PROJECT}/monitoring"))
            .local_path("/opt/ml/processing/output")
            .build();
        let cluster = MonitoringClusterConfig::builder()
            .instance_count(1)
            .instance_type(ProcessingInstanceType::MlM5Large)
            .volume_size_in_gb(20)
            .build();
        let input = EndpointInput::builder()
            .endpoint_name(ENDPOINT)
            .local_path("/opt/ml/processing/input")
            .build();
        let definition = MonitoringJobDefinition::builder()
            .monitoring_inputs(MonitoringInput::builder().endpoint_input(input).build())
            .monitoring_output_config(
                MonitoringOutputConfig::builder()
                    .monitoring_outputs(MonitoringOutput::builder().s3_output(output).build())
                    .build(),
            )
            .monitoring_resources(MonitoringResources::builder().cluster_config(cluster).build())
            .monitoring_app_specification(
                MonitoringAppSpecification::builder()
                    .image_uri("156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer")
                    .build(),
            )
            .role_arn(clients::role(ROLE))
            .build();
        let schedule = ScheduleConfig::builder()
            .schedule_expression("cron(0 * ? * * *)")
            .build();
        self.world
            .clients
            .sagemaker
            .create_monitoring_schedule()
            .monitoring_schedule_name(SCHEDULE)
            .monitoring_schedule_config(
                MonitoringScheduleConfig::builder()
                    .schedule_config(schedule)
                    .monitoring_job_definition(definition)
                    .build(),
            )
            .send()
            .await
            .context("the monitoring schedule can't be created")?;
        Ok(())
    }

    /// Checks that a candidate has the endpoint to itself, under the config meant for it.
    async fn serves_alone(&mut self, rollout: &Rollout) -> Result<()> {
        let client = &self.world.clients.sagemaker;
        let endpoint = client
            .describe_endpoint()
            .endpoint_name(ENDPOINT)
            .send()
            .await?;
        let is_alone = endpoint.production_variants().len() == 1
            && endpoint.endpoint_config_name() == Some(rollout.final_config.as_str());
        self.check(is_alone, "it serves alone")
    }

    /// Waits until a package is Rejected, and gives the reason. `CreateModelPackage` takes no
    /// `ApprovalDescription`: what the gate says is in the description.
    async fn rejected(&self, arn: &str) -> Result<String> {
        let client = &self.world.clients.sagemaker;
        let what = format!("{arn} is Rejected");
        let admin = self.world.admin();
        until(admin, &what, Patience::minutes(10), async |state| {
            let package = client
                .describe_model_package()
                .model_package_name(arn)
                .send()
                .await?;
            let status = package
                .model_approval_status
                .context("a versioned package has an approval")?;
            *state = status.to_string();
            let why = package
                .approval_description
                .or(package.model_package_description);
            Ok((status == ModelApprovalStatus::Rejected).then(|| why.unwrap_or_default()))
        })
        .await
    }

    /// What people were told since the last call, said.
    async fn hear(&mut self) -> Result<Vec<Told>> {
        let told = self.new_notices().await?;
        for one in told
            .iter()
            .filter(|one| one.severity.as_deref() != Some("info"))
        {
            self.say("notice", &one.text).await?;
        }
        Ok(told)
    }

    /// What people were told since the last call. SNS gets each notice at least once; receivers, as
    /// this one, drop repeats by their id.
    pub(super) async fn new_notices(&mut self) -> Result<Vec<Told>> {
        let mut new = Vec::new();
        for told in notices::take(&self.world.clients, &self.world.moto.url).await? {
            if self
                .report
                .notices
                .iter()
                .any(|known| known.id.is_some() && known.id == told.id)
            {
                self.report.repeated_notices += 1;
            } else {
                self.report.notices.push(told.clone());
                new.push(told);
            }
        }
        Ok(new)
    }

    /// Lets users go on for some minutes.
    async fn pass_minutes(&self, minutes: i64) -> Result<()> {
        let end = self.now().await? + jiff::SignedDuration::from_mins(minutes);
        let admin = self.world.admin();
        until(
            admin,
            "time passes",
            Patience::minutes(minutes + 5),
            async |_| Ok((admin.now().await? >= end).then_some(())),
        )
        .await
    }
}
