//! Following a version: through training and the gate, and then its rollout, phase by phase.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use aws_sdk_sagemaker::types::TrainingJobStatus;
use jiff::Timestamp;
use tidegate_core::evidence::{Counts, Evidence, Minute, odds};
use tidegate_core::ledger::JobRecord;
use tidegate_core::name::{PackageVersion, StageName};
use tidegate_core::rollout::{JudgedMinute, Phase, Rollout};

use super::report::{Gate, Outcome, Version};
use super::spark::spark;
use super::{ENDPOINT, PROJECT, STAGE, Story};
use crate::project::put;
use crate::training::Job;
use crate::wait::{Patience, until};
use crate::world::BUCKET;

/// An error rate that fills a sparkline's height.
const TOP_RATE: f64 = 0.25;
const SPARK_WIDTH: usize = 24;

impl Story {
    /// Creates the training job of a version, as a data scientist does.
    pub(super) async fn train(&mut self, version: &str) -> Result<String> {
        let name = format!("{PROJECT}-{version}");
        let about = self.project.version(version)?.about.clone();
        self.say("you", &format!("{version}: {about}")).await?;
        self.job(version, name.clone())
            .await?
            .create(&self.world.clients)
            .await?;
        self.say(
            "you",
            &format!("create training job {name}, tagged tidegate:pipeline={PROJECT}"),
        )
        .await?;
        Ok(name)
    }

    /// A version's training job, its source uploaded.
    pub(super) async fn job(&self, version: &str, name: String) -> Result<Job<'_>> {
        let version = self
            .project
            .versions
            .get_key_value(version)
            .context("the project has this version")?
            .0;
        let key = format!("{PROJECT}/source/{version}/sourcedir.tar.gz");
        let source = put(
            &self.world.clients,
            BUCKET,
            &key,
            self.project.pack(version)?,
        )
        .await?;
        let tags = BTreeMap::from([("tidegate:pipeline".to_owned(), PROJECT.to_owned())]);
        Ok(Job {
            name,
            project: &self.project,
            version,
            bucket: BUCKET,
            source,
            tags,
        })
    }

    /// Waits for a job's end, and for the gate's verdict on it.
    pub(super) async fn gated(&mut self, version: &str, job: &str) -> Result<JobRecord> {
        let client = &self.world.clients.sagemaker;
        let what = format!("the training job {job} ends");
        until(
            self.world.admin(),
            &what,
            Patience::minutes(30),
            async |state| {
                let described = client
                    .describe_training_job()
                    .training_job_name(job)
                    .send()
                    .await?;
                match described.training_job_status {
                    Some(TrainingJobStatus::Completed) => Ok(Some(())),
                    Some(TrainingJobStatus::InProgress) => {
                        *state = format!("{:?}", described.secondary_status);
                        Ok(None)
                    }
                    other => bail!(
                        "{job} is {other:?}: {}",
                        described.failure_reason.unwrap_or_default()
                    ),
                }
            },
        )
        .await?;
        let ledger = &self.world.ledger;
        let what = format!("the gate judges {job} and its package is registered");
        let record = until(
            self.world.admin(),
            &what,
            Patience::minutes(15),
            async |state| {
                let records = ledger.jobs(PROJECT).await?;
                let record = records
                    .into_iter()
                    .find(|record| record.job.as_str() == job);
                let seen = if record.is_some() {
                    "judged, not registered"
                } else {
                    "not judged"
                };
                seen.clone_into(state);
                Ok(record.filter(|record| record.package.is_some()))
            },
        )
        .await?;
        let (arn, package) = record.package.clone().context("it is registered")?;
        let described = client
            .describe_model_package()
            .model_package_name(&arn)
            .send()
            .await?;
        let approval = described
            .model_approval_status
            .map_or_else(String::new, |status| status.to_string());
        let passed = record.judgement.passed();
        let metrics: Vec<String> = record
            .metrics
            .iter()
            .map(|(name, value)| format!("{name} {value:.3}"))
            .collect();
        self.say("sagemaker", &format!("trained: {}", metrics.join(", ")))
            .await?;
        let word = if passed {
            self.teller.good("passes")
        } else {
            self.teller.bad("refuses")
        };
        self.say("gate", &format!("{word}: {}", record.judgement.sentence()))
            .await?;
        self.say("registry", &format!("{PROJECT}/{} {approval}", package.0))
            .await?;
        self.check(
            format!("{package}") == version,
            &format!("the registry has it as {version}"),
        )?;
        self.report.versions.push(Version {
            name: version.to_owned(),
            about: self.project.version(version)?.about.clone(),
            job: job.to_owned(),
            metrics: record.metrics.clone(),
            gate: Gate {
                passed,
                why: record.judgement.sentence(),
                approval,
            },
            rollout: None,
        });
        Ok(record)
    }

    /// Follows a version's rollout to its end.
    pub(super) async fn follow(&mut self, version: u32) -> Result<Rollout> {
        let stage = StageName::parse(STAGE)?;
        let version = PackageVersion(version);
        let (ledger, teller) = (&self.world.ledger, self.teller);
        let admin = self.world.admin();
        let mut last: Option<Rollout> = None;
        let mut told_until = Timestamp::MIN;
        let what = format!("the rollout of {version} ends");
        let ended = until(admin, &what, Patience::minutes(150), async |state| {
            let head = ledger.head(PROJECT).await?;
            let running = head
                .rollouts
                .get(&stage)
                .filter(|rollout| rollout.candidate.version == version)
                .cloned();
            let rollout = match running {
                Some(rollout) => Some(rollout),
                None => ledger
                    .finished(PROJECT)
                    .await?
                    .into_iter()
                    .find(|one| one.candidate.version == version),
            };
            let Some(rollout) = rollout else {
                "not started".clone_into(state);
                return Ok(None);
            };
            *state = rollout.phase_word();
            if last.as_ref().map(Rollout::phase_word) != Some(rollout.phase_word()) {
                if let Some(summary) = last
                    .as_ref()
                    .and_then(|before| summary(before, &rollout, &mut told_until))
                {
                    teller.line(admin.now().await?, "", &summary);
                }
                teller.line(
                    admin.now().await?,
                    &rollout.phase_word(),
                    &describe(&rollout),
                );
            }
            // What it leaves to be done is part of its end: rejecting, deleting, telling.
            let is_over = !rollout.is_running() && ledger.pending(PROJECT).await? == 0;
            last = Some(rollout.clone());
            Ok(is_over.then_some(rollout))
        })
        .await?;
        let weights: Vec<f64> = ended
            .minutes
            .iter()
            .map(|minute| f64::from(minute.weight))
            .collect();
        if !weights.is_empty() {
            self.say(
                "",
                &format!(
                    "{} its share of the traffic by minute",
                    spark(&weights, 100.0, 60)
                ),
            )
            .await?;
        }
        if let Some(told) = self
            .report
            .versions
            .iter_mut()
            .find(|one| one.name == format!("{version}"))
        {
            told.rollout = Some(Outcome::of(&ended));
        }
        Ok(ended)
    }

    /// What serves now: variants with their weights.
    pub(super) async fn serving(&self) -> Result<Vec<(String, f32)>> {
        let endpoint = self
            .world
            .clients
            .sagemaker
            .describe_endpoint()
            .endpoint_name(ENDPOINT)
            .send()
            .await?;
        let variants = endpoint.production_variants.unwrap_or_default();
        Ok(variants
            .into_iter()
            .map(|variant| {
                (
                    variant.variant_name.unwrap_or_default(),
                    variant.current_weight.unwrap_or_default(),
                )
            })
            .collect())
    }
}

/// What a phase is about, as it begins.
fn describe(rollout: &Rollout) -> String {
    let version = rollout.candidate.version;
    match &rollout.phase {
        Phase::Preparing if rollout.incumbent.is_none() => {
            format!("{ENDPOINT} is created with {version}")
        }
        Phase::Preparing => format!("a fleet for both comes up; {version} gets no traffic yet"),
        Phase::Smoke => format!("{version} answers sample requests before any user meets it"),
        Phase::Step { index, .. } => {
            format!(
                "{version} gets {} % of the traffic",
                rollout.plan.strategy.canary.get(*index).unwrap_or(&100)
            )
        }
        Phase::Promoting => format!("{version} gets all the traffic"),
        Phase::Baking { .. } => "the old version stays for an instant way back".to_owned(),
        Phase::Reducing { .. } => "the old version goes".to_owned(),
        Phase::Done => format!("{version} is the champion"),
        Phase::RollingBack { why, .. } | Phase::RolledBack { why } | Phase::Superseded { why } => {
            why.sentence.clone()
        }
        Phase::Observing { .. } => "somebody else shifts the traffic".to_owned(),
        Phase::Failed { why } | Phase::Observed { why, .. } => why.clone(),
    }
}

/// What was seen in the phase that ended: error rates by minute, counts, odds. Minutes that were told
/// of before are not told again.
fn summary(before: &Rollout, after: &Rollout, told_until: &mut Timestamp) -> Option<String> {
    let watched = matches!(
        before.phase,
        Phase::Step { .. } | Phase::Baking { .. } | Phase::Reducing { .. }
    );
    let share = match before.phase {
        Phase::Step { index, .. } => *before.plan.strategy.canary.get(index)?,
        _ => 100,
    };
    let is_new = |minute: &&JudgedMinute| minute.weight == share && minute.at > *told_until;
    let minutes: Vec<&JudgedMinute> = after.minutes.iter().filter(is_new).collect();
    *told_until = minutes.last().filter(|_| watched)?.at;
    let of = |pick: fn(&Minute) -> Counts| {
        minutes
            .iter()
            .filter_map(|minute| minute.guards.first())
            .map(pick)
            .collect::<Vec<_>>()
    };
    let (canary, baseline) = (of(|minute| minute.canary), of(|minute| minute.baseline));
    #[expect(clippy::cast_precision_loss, reason = "requests of a minute")]
    let rates: Vec<f64> = canary
        .iter()
        .map(|counts| counts.bad as f64 / counts.requests.max(1) as f64)
        .collect();
    let total = |all: &[Counts]| {
        let (bad, requests) = all.iter().fold((0, 0), |(bad, requests), one| {
            (bad + one.bad, requests + one.requests)
        });
        format!("{bad} of {requests} failed")
    };
    let harm = after
        .evidence
        .iter()
        .map(Evidence::harm)
        .fold(0.0, f64::max);
    let version = after.candidate.version;
    let verdict = match odds(harm).as_str() {
        "1 in 1" => format!("nothing speaks against {version}"),
        odds => format!("{odds} if {version} were no worse"),
    };
    let champion = if share < 100 {
        format!("; champion: {}", total(&baseline))
    } else {
        String::new()
    };
    let rates = spark(&rates, TOP_RATE, SPARK_WIDTH);
    Some(format!(
        "{rates} errors by minute; {version}: {}{champion}\n{verdict}",
        total(&canary)
    ))
}
