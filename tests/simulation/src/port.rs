//! The two ports of core, as one running function sees them: every call takes time in which others
//! go on, may fail before or after it was done, and the function may die while it waits.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use jiff::Timestamp;
use tidegate_core::artifact::{Artifact, Found, Object};
use tidegate_core::audit::Entry;
use tidegate_core::event::{Approval, EndpointStatus};
use tidegate_core::ledger::{
    Commit, CommitError, JobRecord, Ledger, LedgerError, Route, RouteKind, Snapshot, wait_after,
};
use tidegate_core::mutation::Mutation;
use tidegate_core::name::{EventId, GroupName, JobName, RolloutId, token};
use tidegate_core::rollout::Rollout;
use tidegate_core::world::{
    Answer, ConfigVariant, Effect, Endpoint, EndpointConfig, Model, Outcome, PipelineRun, Question,
    RunStatus, SmokeAnswer, World, WorldError, WorldErrorKind,
};

mod monitors;

use crate::aws::Schedule;
use crate::books::Partition;
use crate::dice::mix;
use crate::fault::Fault;
use crate::invariant::Invariant;
use crate::town::{By, Item, MINUTE, Town, refusal};

/// What one running function reaches.
pub(crate) struct Port<'a> {
    pub(crate) town: &'a Mutex<Town>,
    /// What tells this run from all others.
    pub(crate) key: u64,
    /// How many calls it has made.
    pub(crate) calls: AtomicU64,
}

/// How a call goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Luck {
    Fine,
    Throttled,
    NotDone,
    Unanswered,
}

pub(crate) fn locked(town: &Mutex<Town>) -> MutexGuard<'_, Town> {
    town.lock().unwrap_or_else(PoisonError::into_inner)
}

fn away() -> LedgerError {
    LedgerError::Unavailable("the story says so".to_owned())
}

impl Port<'_> {
    fn town(&self) -> MutexGuard<'_, Town> {
        locked(self.town)
    }

    /// Waits; others go on.
    async fn wait(&self, ms: i64) {
        let due = self.town().now + ms;
        poll_fn(|context| {
            let mut town = self.town();
            if town.now >= due {
                return Poll::Ready(());
            }
            town.wake = town.wake.min(due);
            // The executor polls when it is due; joined futures have to be told.
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// The way to AWS: how the call will go, and its key.
    async fn go(&self) -> (Luck, u64) {
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        let key = mix(self.key, n);
        let (latency, luck) = {
            let mut town = self.town();
            let mut latency = 5 + i64::try_from(town.luck(key, 60)).unwrap_or_default();
            if town.strikes(Fault::Slow, key) {
                latency += i64::try_from(town.luck(mix(key, 1), 70_000)).unwrap_or_default();
            }
            let luck = if town.strikes(Fault::Throttle, key) {
                Luck::Throttled
            } else if town.strikes(Fault::ErrorBefore, key) {
                Luck::NotDone
            } else if town.strikes(Fault::ErrorAfter, key) {
                Luck::Unanswered
            } else {
                Luck::Fine
            };
            (latency, luck)
        };
        self.wait(latency).await;
        (luck, key)
    }

    /// A call to SageMaker and the others.
    async fn call<T>(
        &self,
        name: &str,
        does: impl FnOnce(&mut Town, u64) -> Result<T, WorldError>,
    ) -> Result<T, WorldError> {
        let (luck, key) = self.go().await;
        let error = |kind| {
            Err(WorldError {
                kind,
                call: name.to_owned(),
                message: "the story says so".to_owned(),
            })
        };
        match luck {
            Luck::Throttled => return error(WorldErrorKind::Throttled),
            Luck::NotDone => return error(WorldErrorKind::Unavailable),
            Luck::Fine | Luck::Unanswered => {}
        }
        let answer = does(&mut self.town(), key);
        // The answer's way back, on which the function may die too.
        self.wait(5 + i64::try_from(key % 40).unwrap_or_default())
            .await;
        if luck == Luck::Unanswered {
            return error(WorldErrorKind::Unavailable);
        }
        answer
    }

    async fn read<T>(&self, reads: impl FnOnce(&mut Town) -> T) -> Result<T, LedgerError> {
        let (luck, _) = self.go().await;
        if luck != Luck::Fine {
            return Err(away());
        }
        Ok(reads(&mut self.town()))
    }

    async fn described(&self, name: &str) -> Result<Option<Endpoint>, WorldError> {
        self.call("DescribeEndpoint", |town, key| {
            Ok(town.described_endpoint(name, key))
        })
        .await
    }
}

/// An endpoint that an effect needs.
fn needed(found: Option<Endpoint>, call: &str, name: &str) -> Result<Endpoint, WorldError> {
    found.ok_or_else(|| WorldError {
        kind: WorldErrorKind::Gone,
        call: call.to_owned(),
        message: format!("the endpoint {name} does not exist"),
    })
}

/// Whether an endpoint has the variants whose weights are to change.
fn has_variants(
    now: &Endpoint,
    weights: &BTreeMap<String, u8>,
    call: &str,
) -> Result<(), WorldError> {
    match weights.keys().find(|v| now.variant(v).is_none()) {
        None => Ok(()),
        Some(absent) => {
            let why = format!("{} has no variant {absent}", now.name);
            Err(refusal(WorldErrorKind::Gone, call, why))
        }
    }
}

/// Whether an endpoint has these shares of traffic, or was asked for them.
fn has_shares(now: &Endpoint, weights: &BTreeMap<String, u8>) -> bool {
    let total: f64 = now.variants.iter().map(|v| v.desired_weight).sum();
    total > 0.0
        && now.variants.iter().all(|v| {
            let wanted = f64::from(weights.get(&v.name).copied().unwrap_or(0));
            (v.desired_weight / total - wanted / 100.0).abs() < 1e-4
        })
}

/// Only an endpoint that is `InService` takes changes; another is not even asked.
fn may_change(now: &Endpoint, call: &str) -> Result<(), WorldError> {
    let kind = match now.status {
        EndpointStatus::InService => return Ok(()),
        EndpointStatus::Failed
        | EndpointStatus::OutOfService
        | EndpointStatus::UpdateRollbackFailed => WorldErrorKind::Refused,
        _ => WorldErrorKind::NotNow,
    };
    Err(refusal(
        kind,
        call,
        format!("{} is {:?}", now.name, now.status),
    ))
}

/// Whether the endpoint of this name, which is there already, is the one that was to be made.
fn is_the_endpoint(there: &Endpoint, config: &str) -> Result<Outcome, WorldError> {
    let kind = if there.status == EndpointStatus::Deleting {
        WorldErrorKind::NotNow
    } else if there.config == config {
        return Ok(Outcome::Done);
    } else {
        WorldErrorKind::Refused
    };
    Err(WorldError {
        kind,
        call: "CreateEndpoint".to_owned(),
        message: format!("{} is there already, by {}", there.name, there.config),
    })
}

impl Port<'_> {
    /// Looks, as the adapter does, before it sets an approval.
    async fn set_approval(
        &self,
        arn: &str,
        approval: Approval,
        why: &str,
        seen: Option<Timestamp>,
    ) -> Result<(), WorldError> {
        let now = self
            .call("DescribeModelPackage", |town, key| {
                Ok(town.described_package(arn, key))
            })
            .await?;
        if let Some(now) = now {
            let is_so =
                now.approval == approval && now.approval_description.as_deref() == Some(why);
            if is_so || seen.is_some_and(|seen| now.is_changed_by_others(approval, seen)) {
                return Ok(());
            }
        }
        self.call("UpdateModelPackage", |town, _| {
            town.set_approval(By::Us, arn, approval, Some(why))
        })
        .await
    }
}

impl World for Port<'_> {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        self.call(name_of(question), |town, key| {
            let is_of_metrics =
                matches!(question, Question::Minutes { .. } | Question::Hours { .. });
            let is_down = is_of_metrics && town.is_spell(Fault::MetricsDown);
            if let Question::Minutes { endpoint, .. } = question {
                town.saw_counts(endpoint.as_str(), !is_down);
            }
            if is_down {
                town.tally.count(Fault::MetricsDown);
                let kind = match key % 2 {
                    0 => WorldErrorKind::Throttled,
                    _ => WorldErrorKind::Unavailable,
                };
                return Err(refusal(kind, name_of(question), "the story says so"));
            }
            Ok(answer(town, question, key))
        })
        .await
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        self.town().check_effect(effect);
        match effect {
            Effect::CreateEndpoint {
                endpoint, config, ..
            } => {
                let call = "CreateEndpoint";
                let name = endpoint.as_str();
                if let Some(there) = self.described(name).await? {
                    return is_the_endpoint(&there, config);
                }
                let made = self
                    .call(call, |town, key| {
                        town.must_be_found(&[config], call, key)?;
                        town.create_endpoint(endpoint, config)
                    })
                    .await;
                if let Err(error) = made {
                    if !error.message.contains("already existing") {
                        return Err(error);
                    }
                    let there = needed(self.described(name).await?, call, name)?;
                    return is_the_endpoint(&there, config);
                }
            }
            Effect::UpdateEndpoint {
                endpoint,
                config,
                retain,
            } => {
                let call = "UpdateEndpoint";
                let name = endpoint.as_str();
                let now = needed(self.described(name).await?, call, name)?;
                let is_on_its_way = now.pending_config.as_ref() == Some(config)
                    && now.status == EndpointStatus::Updating;
                let is_so = now.status == EndpointStatus::InService && now.config == *config;
                if is_on_its_way || is_so {
                    return Ok(Outcome::Done);
                }
                may_change(&now, call)?;
                self.call(call, |town, key| {
                    town.must_be_found(&[config], call, key)?;
                    town.update_endpoint(By::Us, name, config, *retain)
                })
                .await?;
            }
            Effect::ShiftWeights { endpoint, weights } => {
                let call = "UpdateEndpointWeightsAndCapacities";
                let name = endpoint.as_str();
                let now = needed(self.described(name).await?, call, name)?;
                has_variants(&now, weights, call)?;
                let is_so = has_shares(&now, weights);
                if is_so {
                    return Ok(Outcome::Done);
                }
                may_change(&now, call)?;
                let weights = weights
                    .iter()
                    .map(|(name, w)| (name.clone(), f64::from(*w)))
                    .collect();
                self.call(call, |town, _| town.shift(By::Us, name, &weights, None))
                    .await?;
            }
            Effect::DeleteEndpoint { endpoint } => {
                let name = endpoint.as_str();
                if self.described(name).await?.is_some() {
                    self.call("DeleteEndpoint", |town, _| {
                        town.delete_endpoint(By::Us, name)
                    })
                    .await?;
                }
            }
            Effect::SetApproval {
                arn,
                approval,
                why,
                seen,
            } => self.set_approval(arn, *approval, why, *seen).await?,
            Effect::StartBaselining(_)
            | Effect::SetUpMonitor(_)
            | Effect::PauseMonitor { .. }
            | Effect::RemoveMonitor { .. } => return self.monitor(effect).await,
            other => {
                return self
                    .call(call_of(other), |town, key| {
                        town.must_be_found(&needs_of(other), call_of(other), key)?;
                        perform(town, other)
                    })
                    .await;
            }
        }
        Ok(Outcome::Done)
    }
}

fn name_of(question: &Question) -> &'static str {
    match question {
        Question::TrainingJob(_) => "DescribeTrainingJob",
        Question::TuningJob(_) => "DescribeHyperParameterTuningJob",
        Question::Package { .. } => "DescribeModelPackage",
        Question::Data { .. } => "ListObjectsV2",
        Question::Artifact { .. } => "HeadObject",
        Question::PackagesOf { .. } => "ListModelPackages",
        Question::Endpoint(_) => "DescribeEndpoint",
        Question::EndpointConfig { .. } => "DescribeEndpointConfig",
        Question::Model { .. } => "DescribeModel",
        Question::Minutes { .. } | Question::Hours { .. } => "GetMetricData",
        Question::VariantsOf { .. } => "ListMetrics",
        Question::Object { .. } => "GetObject",
        Question::PrincipalTags(_) => "ListRoleTags",
        Question::RoleReads { .. } => "SimulatePrincipalPolicy",
        Question::Smoke { .. } => "InvokeEndpoint",
        Question::Execution { .. } => "DescribePipelineExecution",
        Question::MonitoringSchedule(_) => "DescribeMonitoringSchedule",
        Question::Violations { .. } | Question::Baselining { .. } => "DescribeProcessingJob",
    }
}

fn call_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::RegisterPackage(_) => "CreateModelPackage",
        Effect::Annotate(_) => "UpdateModelPackage",
        Effect::Trace(_) => "AddAssociation",
        Effect::CreateModel(_) => "CreateModel",
        Effect::DeleteModel { .. } => "DeleteModel",
        Effect::CreateEndpointConfig(_) => "CreateEndpointConfig",
        Effect::DeleteEndpointConfig { .. } => "DeleteEndpointConfig",
        Effect::StartTicks { .. } => "CreateSchedule",
        Effect::StopTicks { .. } => "DeleteSchedule",
        Effect::StartRetraining { .. } => "StartPipelineExecution",
        Effect::Tell { .. } => "Publish",
        Effect::Announce { .. } => "PutEvents",
        _ => "another",
    }
}

/// What has to be there for a call.
fn needs_of(effect: &Effect) -> Vec<&str> {
    match effect {
        Effect::CreateModel(spec) => vec![&spec.package],
        Effect::CreateEndpointConfig(spec) => {
            spec.variants.iter().map(|v| v.model.as_str()).collect()
        }
        _ => Vec::new(),
    }
}

/// What AWS answers.
fn answer(town: &mut Town, question: &Question, key: u64) -> Answer {
    let found = match question {
        Question::TrainingJob(job) => {
            let job = town.described_job(job, key);
            job.map(|j| Answer::TrainingJob(Box::new(j)))
        }
        Question::Package { arn } => {
            let package = town.described_package(arn, key);
            package.map(|p| Answer::Package(Box::new(p)))
        }
        Question::PackagesOf { artifact, .. } => return town.packages_of(artifact, key),
        Question::Endpoint(name) => {
            let endpoint = town.described_endpoint(name.as_str(), key);
            endpoint.map(|e| Answer::Endpoint(Box::new(e)))
        }
        Question::EndpointConfig { name } if town.is_not_seen_yet(name, key) => None,
        Question::Model { name } if town.is_not_seen_yet(name, key) => None,
        Question::EndpointConfig { name } => town.aws.configs.get(name).map(|config| {
            let settings = town.aws.settings.get(name);
            let variants = config.variants.iter().map(|v| ConfigVariant {
                name: v.name.clone(),
                model: Some(v.model.clone()),
                instance_type: settings
                    .and_then(|s| s.of_variants.get(&v.name))
                    .map(|of| of.instance_type.clone()),
            });
            Answer::EndpointConfig(Box::new(EndpointConfig {
                name: name.clone(),
                variants: variants.collect(),
            }))
        }),
        Question::Model { name } => town.aws.models.get(name).map(|package| {
            Answer::Model(Box::new(Model {
                name: name.clone(),
                package: package.clone(),
                image: package.is_none().then(|| "theirs".to_owned()),
                environment: BTreeMap::new(),
                role: None,
            }))
        }),
        Question::Minutes {
            endpoint,
            variants,
            guards,
            from,
            to,
        } => Some(Answer::Minutes(town.minutes(
            endpoint.as_str(),
            variants,
            guards,
            *from,
            *to,
        ))),
        Question::Hours {
            endpoint,
            variants,
            guards,
            from,
            to,
        } => Some(Answer::Minutes(town.hours(
            endpoint.as_str(),
            variants,
            guards,
            *from,
            *to,
        ))),
        Question::Smoke {
            endpoint,
            variant,
            payloads,
            ..
        } => Some(Answer::Smoke(smoke(
            town,
            endpoint.as_str(),
            variant,
            payloads,
        ))),
        Question::MonitoringSchedule(name) => monitors::described(town, name),
        // A retraining ends well before anybody asks.
        Question::Execution { .. } => Some(Answer::Execution(Box::new(PipelineRun {
            status: RunStatus::Succeeded,
            failure: None,
        }))),
        Question::Violations { job } => {
            let findings = town.aws.findings.get(job);
            findings.map(|f| Answer::Violations(Box::new(f.clone())))
        }
        Question::Artifact { uri } => Some(Answer::Artifact(Box::new(artifact(town, uri)))),
        Question::Baselining { job } => {
            let run = town.baselining(job);
            run.map(|run| Answer::Execution(Box::new(run)))
        }
        // Only the command line asks which variants there were.
        // The jobs of these stories name no data and come of no tuning job.
        Question::Data { .. }
        | Question::Object { .. }
        | Question::VariantsOf { .. }
        | Question::PrincipalTags(_)
        | Question::RoleReads { .. }
        | Question::TuningJob(_) => None,
    };
    found.unwrap_or(Answer::Missing)
}

fn artifact(town: &Town, uri: &str) -> Artifact {
    let written = town.aws.overwritten.get(uri);
    let object = Object {
        etag: written.map_or_else(|| token(uri), |at| token(&format!("{uri} {at}"))),
        bytes: 1_024,
        version: None,
        kms_key: None,
    };
    Artifact {
        uri: uri.to_owned(),
        region: None,
        found: Found::Object(object),
    }
}

fn smoke(town: &mut Town, endpoint: &str, variant: &str, payloads: &[String]) -> Vec<SmokeAnswer> {
    let config = town
        .aws
        .endpoints
        .get(endpoint)
        .map(|p| p.is.config.clone());
    let rate = config
        .as_ref()
        .map_or(10_000, |config| town.aws.bad_rate(config, variant));
    let is_well = rate < 9_000;
    if let Some(config) = config.filter(|_| is_well) {
        town.aws.smoked.insert((config, variant.to_owned()));
    }
    payloads
        .iter()
        .map(|payload| SmokeAnswer {
            payload: payload.clone(),
            status: if is_well { 200 } else { 500 },
            milliseconds: 20,
            problem: None,
        })
        .collect()
}

/// Does an effect that takes one call.
fn perform(town: &mut Town, effect: &Effect) -> Result<Outcome, WorldError> {
    match effect {
        Effect::RegisterPackage(spec) => return Ok(town.register(spec)),
        Effect::Annotate(wanted) => town.annotate(wanted)?,
        Effect::CreateModel(spec) => town.create_model(spec)?,
        Effect::DeleteModel { name } => town.delete_model(name),
        Effect::CreateEndpointConfig(spec) => town.create_config(spec)?,
        Effect::DeleteEndpointConfig { name } => town.delete_config(name),
        Effect::StartTicks {
            group,
            stage,
            rollout,
        } => {
            let born = town.now;
            let is_new = !town.aws.schedules.contains_key(&rollout.0);
            let made = town.aws.schedules.entry(rollout.0.clone());
            made.or_insert_with(|| Schedule {
                group: group.to_string(),
                stage: stage.to_string(),
                born,
            });
            if is_new {
                town.is_explained(group, "CreateSchedule", &[&rollout.0]);
                let rollout = rollout.0.clone();
                town.due(born + MINUTE, Item::Tick { rollout, born });
            }
        }
        Effect::StopTicks { rollout } => {
            if let Some(was) = town.aws.schedules.remove(&rollout.0)
                && let Ok(group) = GroupName::parse(&was.group)
            {
                town.is_explained(&group, "DeleteSchedule", &[&rollout.0]);
            }
        }
        Effect::StartRetraining { token, .. } => {
            if town.aws.executions.insert(token.clone()) {
                let names = |p: &&Partition| p.memory.names("StartPipelineExecution", &[token]);
                let is_explained = town.books.groups.values().find(names).is_some();
                town.hold(Invariant::AuditExplains, is_explained, || {
                    format!("no entry explains the retraining {token}")
                });
                town.say(|| format!("   a retraining starts: {token}"));
            }
            return Ok(Outcome::Started {
                arn: format!("arn:execution/{token}"),
            });
        }
        Effect::Tell { notice, .. } => town.publish(notice),
        // An announcement is for others; the rest takes two calls.
        _ => {}
    }
    Ok(Outcome::Done)
}

impl Ledger for Port<'_> {
    async fn route(&self, route: &Route) -> Result<Option<GroupName>, LedgerError> {
        self.read(|town| town.books.routes.get(route).cloned())
            .await
    }

    async fn routes(&self, kind: RouteKind) -> Result<Vec<(Route, GroupName)>, LedgerError> {
        self.read(|town| {
            let all = town.books.routes.iter();
            all.filter(|(r, _)| r.kind == kind)
                .map(|(r, g)| (r.clone(), g.clone()))
                .collect()
        })
        .await
    }

    async fn unfinished(&self, limit: u32) -> Result<Vec<GroupName>, LedgerError> {
        self.read(|town| town.unfinished(limit as usize)).await
    }

    async fn load(
        &self,
        group: &GroupName,
        event: Option<&EventId>,
    ) -> Result<Option<Snapshot>, LedgerError> {
        let pending = |town: &mut Town| {
            let partition = town.books.groups.get(group);
            partition.map(|p| p.pending.values().cloned().collect::<Vec<_>>())
        };
        // A query is no transaction: effects may be of before a commit, the head of after it.
        let early = self
            .read(|town| {
                let n = self.calls.load(Ordering::Relaxed);
                let is_torn = town.strikes(Fault::Torn, mix(self.key, n));
                is_torn.then(|| pending(town))
            })
            .await?;
        if early.is_some() {
            self.wait(200).await;
        }
        let mut town = self.town();
        let pending = early.unwrap_or_else(|| pending(&mut town));
        let now = town.now;
        // Nothing comes again later than the ledger remembers.
        let took_effect = event.is_some_and(|e| {
            let partition = town.books.groups.get(group);
            partition.is_some_and(|p| p.memory.events.contains(e) && !p.is_seen(e, now))
        });
        town.hold(Invariant::OncePerEvent, !took_effect, || {
            format!("{event:?} took effect, comes again and is not known any more")
        });
        Ok(town.books.groups.get(group).and_then(|partition| {
            Some(Snapshot {
                applied: partition.policy.clone()?,
                head: partition.head.clone(),
                pending: pending?,
                seen: event.is_some_and(|e| partition.is_seen(e, now))
                    && !Mutation::IgnoreMarker.is_on(),
            })
        }))
    }

    async fn job(
        &self,
        group: &GroupName,
        job: &JobName,
    ) -> Result<Option<JobRecord>, LedgerError> {
        self.read(|town| {
            let partition = town.books.groups.get(group)?;
            partition.jobs.get(job).cloned()
        })
        .await
    }

    async fn forget(&self, group: &GroupName, done: &[String]) -> Result<(), LedgerError> {
        // One effect after the other: a function may die between them.
        for id in done {
            let (luck, _) = self.go().await;
            if matches!(luck, Luck::Throttled | Luck::NotDone) {
                return Err(away());
            }
            if let Some(partition) = self.town().books.groups.get_mut(group) {
                partition.pending.remove(id);
            }
            self.wait(5).await;
            if luck == Luck::Unanswered {
                return Err(away());
            }
        }
        Ok(())
    }

    async fn commit(&self, group: &GroupName, commit: &Commit) -> Result<(), CommitError> {
        let (luck, key) = self.go().await;
        if matches!(luck, Luck::Throttled | Luck::NotDone) {
            return Err(away().into());
        }
        {
            let mut town = self.town();
            let is_raced = town.is_spell(Fault::Raced) && town.luck(mix(key, 4), 3) < 2;
            if is_raced {
                town.tally.count(Fault::Raced);
            }
            let is_raced = is_raced || town.strikes(Fault::LostRace, key);
            if is_raced || town.strikes(Fault::Conflict, key) {
                return Err(CommitError::Lost);
            }
            town.commit(group, commit)?;
        }
        self.wait(5 + i64::try_from(key % 40).unwrap_or_default())
            .await;
        if luck == Luck::Unanswered {
            return Err(away().into());
        }
        Ok(())
    }

    async fn give_way(&self, races: u32) {
        let random = mix(self.key, self.calls.fetch_add(1, Ordering::Relaxed));
        let wait = wait_after(races, random).as_millis();
        self.wait(i64::try_from(wait).unwrap_or_default()).await;
    }

    async fn entries(
        &self,
        group: &GroupName,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, LedgerError> {
        self.read(|town| {
            let all = town.books.groups.get(group).map(|p| p.entries.as_slice());
            all.unwrap_or_default()
                .iter()
                .filter(|e| e.n > after)
                .take(limit as usize)
                .cloned()
                .collect()
        })
        .await
    }

    async fn rollouts(&self, group: &GroupName, limit: u32) -> Result<Vec<Rollout>, LedgerError> {
        self.read(|town| {
            let Some(partition) = town.books.groups.get(group) else {
                return Vec::new();
            };
            let mut all: Vec<Rollout> = partition.finished.values().cloned().collect();
            all.sort_by_key(|r| std::cmp::Reverse(r.started));
            all.truncate(limit as usize);
            all
        })
        .await
    }

    async fn rollout(
        &self,
        group: &GroupName,
        rollout: &RolloutId,
    ) -> Result<Option<Rollout>, LedgerError> {
        self.read(|town| {
            let partition = town.books.groups.get(group)?;
            partition.finished.get(rollout).cloned()
        })
        .await
    }
}
