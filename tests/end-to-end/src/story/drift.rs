//! Act 5: users' data changes. Model Monitor sees it in what the endpoint captured, and a model of
//! fresh data replaces the one that has become worse.

use anyhow::{Context as _, Result};
use serde_json::json;
use tidegate_core::ledger::JobRecord;
use tidegate_core::name::ScheduleName;
use tidegate_core::rollout::Phase;

use super::held_out::{Data, HeldOut, Quality};
use super::monitor_run::MonitorRun;
use super::monitoring;
use super::report::Measured;
use super::{ENDPOINT, EVALUATIONS, PROJECT, RETRAINING, Story, TRAFFIC};
use crate::clients;
use crate::training::ROLE;
use crate::wait::{Patience, until};
use crate::world::BUCKET;

/// Requests a minute while hours pass.
const QUIET_TRAFFIC: u32 = 15;

impl Story {
    /// Act 5.
    pub(super) async fn drift(&mut self) -> Result<()> {
        self.teller.act(
            5,
            "the data drifts: the monitor finds it, v5 of fresh data replaces v2",
        );
        self.prepare_retraining().await?;
        self.edit_policy().await?;
        self.send(QUIET_TRAFFIC).await?;
        let monitor = self.watched(2, "data/first/features").await?;
        let run = self.monitored(&monitor, 1).await?;
        self.check(
            run.is_computed(&monitor) && run.violations.is_empty(),
            "the monitor finds nothing while the data is as it was",
        )?;

        let held_out = self.new_scanners().await?;
        let run = self.monitored(&monitor, 2).await?;
        self.finding_is_computed(&monitor, &run, &held_out)?;
        self.send(TRAFFIC).await?;
        let before = self.measure("v2", &held_out, Data::Before).await?;
        let old = self.measure("v2", &held_out, Data::After).await?;
        self.check(before.is_better_than(old), "v2 has become worse")?;

        let job = self.retraining_job().await?;
        self.say(
            "tidegate",
            &format!("starts {RETRAINING}; SageMaker runs {job}"),
        )
        .await?;
        self.hear().await?;
        let record = self.gated("v5", &job).await?;
        self.check(record.judgement.passed(), "v5 passes the gate")?;
        self.comes_of(&record, &run).await?;
        let rollout = Box::pin(self.follow(5)).await?;
        self.check(
            rollout.phase == Phase::Done,
            "v5 replaced v2 without a human step",
        )?;
        self.serves_alone(&rollout).await?;
        self.paused_meanwhile(&monitor).await?;
        let new = self.measure("v5", &held_out, Data::After).await?;
        self.check(
            new.is_better_than(old),
            "on the new scanners' data v5 is better than v2, by each number",
        )?;
        self.send(QUIET_TRAFFIC).await?;
        let monitor = self.watched(5, "data/fresh/features").await?;
        let run = self.monitored(&monitor, 1).await?;
        self.check(
            run.is_computed(&monitor) && run.violations.is_empty(),
            "v5's monitor finds nothing: this data is what v5 was trained on",
        )?;
        let list = self.world.clients.sagemaker.list_pipeline_executions();
        let runs = list.pipeline_name(RETRAINING).send().await?;
        self.check(
            runs.pipeline_execution_summaries().len() == 1,
            "one retraining was started, not one per event",
        )
    }

    /// From now on users send other data. Answers the same with its labels.
    async fn new_scanners(&mut self) -> Result<HeldOut> {
        let file = self.world.run.path().join("export/held-out.csv");
        let before = std::mem::take(&mut self.payloads);
        let held_out = HeldOut::read(&std::fs::read_to_string(&file)?, before)?;
        self.payloads.clone_from(&held_out.after);
        self.send(QUIET_TRAFFIC).await?;
        let text = format!(
            "two clinics of three have a new scanner, with softer pictures: {} of 30 measurements \
             are smaller than before",
            held_out.changed.len()
        );
        self.say("users", &text).await?;
        Ok(held_out)
    }

    /// Nobody made the finding up: a run of the schedule computed it, over captured requests.
    fn finding_is_computed(
        &mut self,
        monitor: &ScheduleName,
        run: &MonitorRun,
        held_out: &HeldOut,
    ) -> Result<()> {
        self.check(
            run.is_computed(monitor),
            "the monitor computed this itself, from the requests that the endpoint captured",
        )?;
        let is_changed = |name: &String| held_out.changed.contains(name);
        let mut found = run.violations.iter();
        self.check(
            !run.violations.is_empty() && found.all(|one| is_changed(&one.feature_name)),
            "it names measurements of the new scanners, and no other",
        )
    }

    /// How good what serves now is on rows that no model was trained on.
    async fn measure(&mut self, version: &str, held_out: &HeldOut, data: Data) -> Result<Quality> {
        let quality = held_out.ask(&self.world.clients, ENDPOINT, data).await?;
        let scanners = match data {
            Data::Before => "old",
            Data::After => "new",
        };
        let rows = held_out.after.len();
        self.say(
            "you",
            &format!(
                "ask {version} about {rows} biopsies that no model has seen, by the {scanners} \
                 scanners:\n{}",
                quality.in_words()
            ),
        )
        .await?;
        self.report.held_out.push(Measured {
            version: version.to_owned(),
            data,
            rows,
            quality,
        });
        Ok(quality)
    }

    /// The training job of the retraining that Tidegate starts.
    async fn retraining_job(&self) -> Result<String> {
        let client = &self.world.clients.sagemaker;
        let what = "a retraining starts, and its training job";
        until(
            self.world.admin(),
            what,
            Patience::minutes(15),
            async |state| {
                let list = client.list_pipeline_executions();
                let runs = list.pipeline_name(RETRAINING).send().await?;
                *state = format!("{} executions", runs.pipeline_execution_summaries().len());
                let jobs = client.list_training_jobs().max_results(100).send().await?;
                let jobs = jobs.training_job_summaries.unwrap_or_default();
                let mut names = jobs.into_iter().filter_map(|job| job.training_job_name);
                Ok(names.find(|name| !name.starts_with(&format!("{PROJECT}-v"))))
            },
        )
        .await
    }

    /// The package of v5 names the finding, and was compared with v2 on the same fresh data.
    async fn comes_of(&mut self, record: &JobRecord, run: &MonitorRun) -> Result<()> {
        let (arn, _) = record.package.as_ref().context("v5 has a package")?;
        let describe = self.world.clients.sagemaker.describe_model_package();
        let package = describe.model_package_name(arn).send().await?;
        let said = package.model_package_description.unwrap_or_default();
        self.check(
            said.contains("the champion's metrics are those on the same data"),
            "it was compared with v2 on the same fresh data",
        )?;
        let metadata = package.customer_metadata_properties.unwrap_or_default();
        self.check(
            metadata.get("tidegate:finding") == Some(&run.job),
            "its package names the monitor's finding",
        )?;
        self.hear().await?;
        let mut told = self.report.notices.iter();
        let is_told = told.any(|one| one.what.as_deref() == Some("violation-seen"));
        self.check(is_told, "people were told of the drift")
    }

    /// Edits the policy: a monitor follows the champion, and the retraining says how good the
    /// champion is on its data.
    async fn edit_policy(&self) -> Result<()> {
        let file = self.world.run.path().join(format!("{PROJECT}.toml"));
        let policy = std::fs::read_to_string(&file)?;
        let line = format!(
            "[gate]\nchampion_evaluation = \"s3://{BUCKET}/{EVALUATIONS}/{{job}}/champion.json\"\n"
        );
        let monitor = format!("{}\n[monitor]\n", monitoring::monitor());
        let policy = policy
            .replacen("[gate]\n", &line, 1)
            .replacen("[monitor]\n", &monitor, 1);
        self.world.apply(PROJECT, &policy).await?;
        for line in [
            "write in the policy where a retraining says how good the champion is on its data",
            "write in the policy that an hourly monitor of what the endpoint captures follows the champion",
        ] {
            self.say("you", line).await?;
        }
        Ok(())
    }

    /// The pipeline that trains on fresh data, and evaluates the champion on the same.
    async fn prepare_retraining(&self) -> Result<()> {
        let job = self.job("v5", "from-the-pipeline".to_owned()).await?;
        let mut step = job.as_step()?;
        let champion = json!({ "Std:Join": { "On": "/", "Values": [
            format!("s3://{BUCKET}/models"), { "Get": "Parameters.ChampionJob" }, "output/model.tar.gz",
        ] } });
        step["InputDataConfig"]
            .as_array_mut()
            .context("a step has channels")?
            .push(json!({
                "ChannelName": "champion", "ContentType": "application/x-tar",
                "DataSource": { "S3DataSource": {
                    "S3DataType": "S3Prefix", "S3Uri": champion,
                    "S3DataDistributionType": "FullyReplicated",
                } },
            }));
        step["HyperParameters"]["evaluations"] =
            json!(json!(format!("s3://{BUCKET}/{EVALUATIONS}")).to_string());
        let definition = json!({
            "Version": "2020-12-01",
            "Parameters": [{ "Name": "ChampionJob", "Type": "String" }],
            "Steps": [{ "Name": "Train", "Type": "Training", "Arguments": step }],
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
}
