//! Acts 1 to 4, and what all acts need.

use anyhow::{Context as _, Result, bail};
use aws_sdk_sagemaker::types::ModelApprovalStatus;
use tidegate_core::rollout::{Cause, Phase, Rollout};

use super::{ENDPOINT, PROJECT, Story, TRAFFIC};
use crate::notices::{self, Told};
use crate::wait::{Patience, until};

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
        self.send(TRAFFIC).await?;
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

    /// Checks that a candidate has the endpoint to itself, under the config meant for it.
    pub(super) async fn serves_alone(&mut self, rollout: &Rollout) -> Result<()> {
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
    pub(super) async fn hear(&mut self) -> Result<Vec<Told>> {
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

    /// From now on users send so many requests a minute.
    pub(super) async fn send(&self, per_minute: u32) -> Result<()> {
        let content_type = &self.project.serve.content_type;
        self.world
            .admin()
            .traffic(ENDPOINT, per_minute, &self.payloads, content_type)
            .await
    }

    /// Moves the clock on until `look` gives something, a minute at a time: hours are over in
    /// seconds.
    pub(super) async fn hasten<T>(
        &self,
        what: &str,
        minutes: u32,
        look: impl AsyncFn() -> Result<Option<T>>,
    ) -> Result<T> {
        for _ in 0..minutes {
            if let Some(found) = Box::pin(look()).await? {
                return Ok(found);
            }
            self.world.admin().advance(60).await?;
        }
        bail!("waited for this in vain, {minutes} minutes of the emulator's clock: {what}")
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
