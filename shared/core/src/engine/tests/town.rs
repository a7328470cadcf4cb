//! A small model of SageMaker: enough to see what a story does to endpoints, and to fail on call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::access::Access;
use crate::artifact::{Artifact, Found, Object};
use crate::audit::Anchors;
use crate::event::{Approval, EndpointStatus, JobStatus};
use crate::evidence::Counts;
use crate::name::{
    EndpointName, GroupName, JobName, PackageVersion, RolloutId, ScheduleName, TuningName, token,
};
use crate::notice::Notice;
use crate::origin::{APPROVER_KEY, DataSource, Origin};
use crate::principal::Principal;
use crate::trace::Trace;
use crate::world::{
    Answer, BaselineSpec, ConfigSpec, ConfigVariant, Effect, Endpoint, EndpointConfig, Findings,
    MinuteCounts, Model, MonitorSpec, MonitoringSchedule, Outcome, Package, PipelineRun, Question,
    RetrainingRequest, RunStatus, ScheduleState, SmokeAnswer, TIDEGATE, TrainingClone, TrainingJob,
    TuningClone, TuningJob, Variant, VariantSpec, Violation, World, WorldError, WorldErrorKind,
};

/// What a test wants to go wrong.
#[derive(Default)]
pub(super) struct Faults {
    /// Every call fails like this.
    pub(super) all: Option<WorldErrorKind>,
    /// The next calls of this name fail like this.
    pub(super) calls: BTreeMap<&'static str, (u32, WorldErrorKind)>,
    /// So many deployments go back to what served before.
    pub(super) undone_deployments: u32,
    /// So many minutes every endpoint stays as it is, however long it has been Updating.
    pub(super) slow_minutes: u32,
}

pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) jobs: BTreeMap<JobName, TrainingJob>,
    pub(super) packages: Vec<Package>,
    pub(super) endpoints: BTreeMap<EndpointName, Endpoint>,
    pub(super) configs: BTreeMap<String, ConfigSpec>,
    pub(super) models: BTreeSet<String>,
    /// The package that each model was made from, once made.
    pub(super) made_from: BTreeMap<String, String>,
    pub(super) schedules: BTreeSet<RolloutId>,
    pub(super) notices: Vec<Notice>,
    pub(super) calls: Vec<String>,
    pub(super) retrainings: BTreeSet<String>,
    pub(super) weights: Vec<Vec<(String, f64)>>,
    /// Requests a minute to the endpoint.
    pub(super) traffic: u64,
    /// Guards, by their place, that CloudWatch has nothing of.
    pub(super) silent_guards: BTreeSet<usize>,
    /// Of a thousand requests to a variant, how many go wrong.
    pub(super) bad_per_mille: BTreeMap<String, u64>,
    /// Of a thousand requests to a version, how many go wrong, whatever its variant's name is.
    pub(super) bad_versions: BTreeMap<u32, u64>,
    pub(super) smoke_status: u16,
    /// Versions that fail their smoke requests.
    pub(super) smoke_fails: BTreeSet<u32>,
    /// Every config that ever was, by name.
    pub(super) shelf: BTreeMap<String, ConfigSpec>,
    /// Packages by the client token that made them.
    pub(super) tokens: BTreeMap<String, (String, PackageVersion)>,
    /// What was asked of it that must never be.
    pub(super) wrongs: Vec<String>,
    /// Deployments that were begun: the config, and whether counts and weights were to be kept.
    pub(super) deployments: Vec<(String, bool)>,
    /// Endpoints whose weights somebody else set.
    pub(super) reweighted: BTreeSet<EndpointName>,
    /// What monitoring jobs find, if not drift of one feature.
    pub(super) violations: Option<Vec<Violation>>,
    /// Why the reports of monitoring jobs can't be read.
    pub(super) unreadable: Option<String>,
    /// Executions of SageMaker pipelines, by ARN.
    pub(super) executions: BTreeMap<String, PipelineRun>,
    /// Training jobs that were cloned.
    pub(super) clones: Vec<TrainingClone>,
    /// Tuning jobs, as they are described.
    pub(super) tunings: BTreeMap<TuningName, TuningJob>,
    /// Tuning jobs that were asked for.
    pub(super) tuning_clones: Vec<TuningClone>,
    /// Events that asked for a retraining.
    pub(super) requests: Vec<RetrainingRequest>,
    /// What `SageMaker`'s lineage was told.
    pub(super) traces: Vec<Trace>,
    /// Objects in S3.
    pub(super) objects: BTreeMap<String, String>,
    /// Artifacts that are not as they were made.
    pub(super) artifacts: BTreeMap<String, Artifact>,
    /// Tags of roles and users; of others IAM knows nothing.
    pub(super) tags: BTreeMap<Principal, BTreeMap<String, String>>,
    /// What IAM was asked.
    pub(super) looks: Vec<String>,
    /// What IAM says of roles and objects, by URI; of others it knows no role.
    pub(super) reads: BTreeMap<String, Access>,
    /// Monitoring schedules.
    pub(super) monitors: BTreeMap<ScheduleName, MonitoringSchedule>,
    /// The monitors that Tidegate set up, and whether they run.
    pub(super) set_up: BTreeMap<ScheduleName, bool>,
    /// How each was set up.
    pub(super) specs: Vec<MonitorSpec>,
    /// Baselining jobs.
    pub(super) baselinings: BTreeMap<ScheduleName, PipelineRun>,
    /// Requests for baselines.
    pub(super) baseline_specs: Vec<BaselineSpec>,
    /// How many questions were asked.
    pub(super) asked: u32,
    /// What was anchored, by key.
    pub(super) anchors: BTreeMap<String, Anchors>,
    pub(super) faults: Faults,
}

impl State {
    /// An artifact as it was made, unless a test says otherwise.
    pub(super) fn artifact(&self, uri: &str) -> Artifact {
        let as_made = || Artifact {
            uri: uri.to_owned(),
            region: Some("us-east-1".to_owned()),
            found: Found::Object(Object {
                etag: token(uri),
                bytes: 1_024,
                version: None,
                kms_key: None,
            }),
        };
        self.artifacts.get(uri).cloned().unwrap_or_else(as_made)
    }
}

pub(super) struct Town(pub(super) Mutex<State>);

impl Town {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            now: "2026-03-01T00:00:00Z".parse().unwrap(),
            jobs: BTreeMap::new(),
            packages: Vec::new(),
            endpoints: BTreeMap::new(),
            configs: BTreeMap::new(),
            models: BTreeSet::new(),
            made_from: BTreeMap::new(),
            schedules: BTreeSet::new(),
            notices: Vec::new(),
            calls: Vec::new(),
            retrainings: BTreeSet::new(),
            weights: Vec::new(),
            traffic: 600,
            silent_guards: BTreeSet::new(),
            bad_per_mille: BTreeMap::new(),
            bad_versions: BTreeMap::new(),
            smoke_status: 200,
            smoke_fails: BTreeSet::new(),
            shelf: BTreeMap::new(),
            tokens: BTreeMap::new(),
            wrongs: Vec::new(),
            deployments: Vec::new(),
            reweighted: BTreeSet::new(),
            violations: None,
            unreadable: None,
            executions: BTreeMap::new(),
            clones: Vec::new(),
            tunings: BTreeMap::new(),
            tuning_clones: Vec::new(),
            requests: Vec::new(),
            traces: Vec::new(),
            objects: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            tags: BTreeMap::new(),
            looks: Vec::new(),
            reads: BTreeMap::new(),
            monitors: BTreeMap::new(),
            set_up: BTreeMap::new(),
            specs: Vec::new(),
            baselinings: BTreeMap::new(),
            baseline_specs: Vec::new(),
            faults: Faults::default(),
            asked: 0,
            anchors: BTreeMap::new(),
        }))
    }

    pub(super) fn train(&self, job: &str, auc: f64) {
        let mut state = self.0.lock().unwrap();
        let now = state.now;
        let name = JobName::parse(job).unwrap();
        state.jobs.insert(
            name.clone(),
            TrainingJob {
                arn: format!("arn:aws:sagemaker:us-east-1:123456789012:training-job/{job}"),
                name,
                status: JobStatus::Completed,
                failure: None,
                tags: BTreeMap::from([("tidegate:pipeline".to_owned(), "fraud".to_owned())]),
                created: now,
                ended: Some(now),
                metrics: BTreeMap::from([("validation:auc".to_owned(), auc)]),
                artifact: Some(format!("s3://models/{job}/output/model.tar.gz")),
                output: "s3://models".to_owned(),
                image: Some("1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1".to_owned()),
                hyperparameters: BTreeMap::new(),
                role: "arn:aws:iam::123456789012:role/model".to_owned(),
                vpc: None,
                network_isolation: false,
                inputs: BTreeMap::from([("train".to_owned(), format!("s3://data/{job}/"))]),
                kms_key: None,
                tuning: None,
            },
        );
    }

    /// A package that somebody registered, or whose approval somebody changed.
    pub(super) fn set_approval(&self, version: u32, approval: Approval) {
        let mut state = self.0.lock().unwrap();
        state.now += SignedDuration::from_secs(1);
        let now = state.now;
        if let Some(package) = state.packages.iter_mut().find(|p| p.version.0 == version) {
            package.approval = approval;
            package.modified = now;
            package.modified_by = Some("ada".to_owned());
            return;
        }
        let package = package(version, approval, now, BTreeMap::new());
        state.packages.push(package);
    }

    /// A minute passes: what was on its way arrives.
    pub(super) fn minute(&self) -> Timestamp {
        let mut state = self.0.lock().unwrap();
        state.now += SignedDuration::from_mins(1);
        let State {
            endpoints,
            configs,
            faults,
            weights,
            deployments,
            ..
        } = &mut *state;
        if faults.slow_minutes > 0 {
            faults.slow_minutes -= 1;
            return state.now;
        }
        for endpoint in endpoints.values_mut() {
            arrive(endpoint, configs, deployments, faults);
            let now: Vec<_> = endpoint
                .variants
                .iter()
                .map(|v| (v.name.clone(), v.weight))
                .collect();
            if weights.last() != Some(&now) {
                weights.push(now);
            }
        }
        state.now
    }

    fn fault(state: &mut State, call: &'static str) -> Result<(), WorldError> {
        let kind = state.faults.all.or_else(|| {
            let (left, kind) = state.faults.calls.get_mut(call)?;
            *left = left.checked_sub(1)?;
            Some(*kind)
        });
        match kind {
            None => Ok(()),
            Some(kind) => Err(WorldError {
                kind,
                call: call.to_owned(),
                message: "as the test says".into(),
            }),
        }
    }
}

fn package(
    version: u32,
    approval: Approval,
    now: Timestamp,
    metadata: BTreeMap<String, String>,
) -> Package {
    Package {
        arn: format!("arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud/{version}"),
        group: GroupName::parse("fraud").unwrap(),
        version: PackageVersion(version),
        approval,
        usable: true,
        failure: None,
        approval_description: None,
        created: now,
        modified: now,
        modified_by: None,
        image: Some("image".to_owned()),
        artifacts: vec![format!("s3://models/{version}.tar.gz")],
        metadata,
        origin: Origin::default(),
        drift_baselines: BTreeMap::new(),
    }
}

fn arrive(
    endpoint: &mut Endpoint,
    configs: &BTreeMap<String, ConfigSpec>,
    deployments: &[(String, bool)],
    faults: &mut Faults,
) {
    match endpoint.status {
        EndpointStatus::Creating | EndpointStatus::Updating => {}
        _ => return,
    }
    if let Some(config) = endpoint.pending_config.take() {
        if faults.undone_deployments > 0 {
            faults.undone_deployments -= 1;
            endpoint.failure = Some("no capacity".to_owned());
            endpoint.status = match endpoint.status {
                EndpointStatus::Creating => EndpointStatus::Failed,
                _ => EndpointStatus::InService,
            };
            return;
        }
        let before = std::mem::take(&mut endpoint.variants);
        let newest = deployments.iter().rev().find(|(name, _)| *name == config);
        let retains = newest.is_some_and(|(_, retain)| *retain);
        let kept = |name: &str| before.iter().find(|v| retains && v.name == name).cloned();
        endpoint.variants = configs[&config]
            .variants
            .iter()
            .map(|spec| kept(&spec.name).unwrap_or_else(|| serving(spec)))
            .collect();
        endpoint.config = config;
    }
    for variant in &mut endpoint.variants {
        variant.weight = variant.desired_weight;
    }
    endpoint.status = EndpointStatus::InService;
}

fn serving(spec: &VariantSpec) -> Variant {
    Variant {
        name: spec.name.clone(),
        weight: f64::from(spec.weight),
        desired_weight: f64::from(spec.weight),
        count: spec.count,
        desired_count: spec.count,
        serverless: false,
    }
}

impl World for Town {
    // One arm per question.
    #[allow(clippy::too_many_lines)]
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        let call = match question {
            Question::Smoke { .. } => "InvokeEndpoint",
            Question::Minutes { .. } | Question::Hours { .. } => "GetMetricData",
            Question::VariantsOf { .. } => "ListMetrics",
            Question::Execution { .. } => "DescribePipelineExecution",
            Question::TuningJob(_) => "DescribeHyperParameterTuningJob",
            Question::Violations { .. } => "DescribeProcessingJob",
            Question::Object { .. } => "GetObject",
            Question::MonitoringSchedule(_) => "DescribeMonitoringSchedule",
            Question::PrincipalTags(_) => "ListTags",
            Question::RoleReads { .. } => "SimulatePrincipalPolicy",
            _ => "ask",
        };
        Self::fault(&mut state, call)?;
        Ok(match question {
            Question::TrainingJob(job) => state.jobs.get(job).map_or(Answer::Missing, |j| {
                Answer::TrainingJob(Box::new(j.clone()))
            }),
            Question::TuningJob(job) => state
                .tunings
                .get(job)
                .map_or(Answer::Missing, |t| Answer::TuningJob(Box::new(t.clone()))),
            Question::Package { arn } => state
                .packages
                .iter()
                .find(|p| &p.arn == arn)
                .map_or(Answer::Missing, |p| Answer::Package(Box::new(p.clone()))),
            Question::Data { uris } => Answer::Data(
                uris.iter()
                    .map(|uri| DataSource {
                        uri: uri.clone(),
                        objects: 3,
                        bytes: 4_096,
                        version: Some(token(uri)),
                        is_whole: true,
                    })
                    .collect(),
            ),
            Question::PackagesOf { artifact, .. } => Answer::Packages(
                state
                    .packages
                    .iter()
                    .filter(|p| p.artifacts.contains(artifact))
                    .cloned()
                    .collect(),
            ),
            Question::Endpoint(name) => state
                .endpoints
                .get(name)
                .map_or(Answer::Missing, |e| Answer::Endpoint(Box::new(e.clone()))),
            Question::EndpointConfig { name } => {
                state.configs.get(name).map_or(Answer::Missing, |c| {
                    Answer::EndpointConfig(Box::new(EndpointConfig {
                        name: c.name.clone(),
                        variants: c
                            .variants
                            .iter()
                            .map(|v| ConfigVariant {
                                name: v.name.clone(),
                                model: Some(v.model.clone()),
                                instance_type: Some("ml.m5.large".to_owned()),
                            })
                            .collect(),
                    }))
                })
            }
            Question::Minutes {
                endpoint,
                variants,
                guards,
                from,
                to,
            } => Answer::Minutes(minutes(
                &state,
                endpoint,
                variants,
                guards.len(),
                *from,
                *to,
            )),
            Question::Hours {
                endpoint,
                variants,
                guards,
                from,
                to,
            } => Answer::Minutes(
                minutes(&state, endpoint, variants, guards.len(), *from, *to)
                    .chunks(60)
                    .map(hour)
                    .collect(),
            ),
            Question::VariantsOf { endpoint } => Answer::Variants(
                state
                    .endpoints
                    .get(endpoint)
                    .map(|e| e.variants.iter().map(|v| v.name.clone()).collect())
                    .unwrap_or_default(),
            ),
            Question::Smoke {
                payloads,
                endpoint,
                variant,
                ..
            } => Answer::Smoke({
                let is_failing = version_of(&state, endpoint, variant)
                    .is_some_and(|v| state.smoke_fails.contains(&v));
                payloads
                    .iter()
                    .map(|p| SmokeAnswer {
                        payload: p.clone(),
                        status: if is_failing { 500 } else { state.smoke_status },
                        milliseconds: 5,
                        problem: None,
                    })
                    .collect()
            }),
            Question::Violations { job } => Answer::Violations(Box::new(Findings {
                job: job.clone(),
                data_since: Some(state.now - SignedDuration::from_mins(5)),
                violations: state.violations.clone().unwrap_or_else(|| {
                    vec![Violation {
                        feature: "amount".to_owned(),
                        check: "baseline_drift_check".to_owned(),
                        description: "distance: 0.4 exceeds threshold: 0.1".to_owned(),
                    }]
                }),
                unreadable: state.unreadable.clone(),
                ..Findings::default()
            })),
            Question::Model { name } if state.models.contains(name) => {
                Answer::Model(Box::new(Model {
                    name: name.clone(),
                    package: state.made_from.get(name).cloned(),
                    image: None,
                    environment: BTreeMap::new(),
                    role: Some("arn:aws:iam::123456789012:role/model".to_owned()),
                }))
            }
            Question::Execution { arn } => {
                state.executions.get(arn).map_or(Answer::Missing, |run| {
                    Answer::Execution(Box::new(run.clone()))
                })
            }
            Question::Baselining { job } => {
                state.baselinings.get(job).map_or(Answer::Missing, |run| {
                    Answer::Execution(Box::new(run.clone()))
                })
            }
            Question::Object { uri } => state
                .objects
                .get(uri)
                .map_or(Answer::Missing, |text| Answer::Object(text.clone())),
            Question::MonitoringSchedule(name) => {
                state.monitors.get(name).map_or(Answer::Missing, |monitor| {
                    Answer::MonitoringSchedule(Box::new(monitor.clone()))
                })
            }
            Question::PrincipalTags(principal) => {
                state.looks.push(format!("tags of {principal}"));
                let tags = state.tags.get(principal).cloned();
                tags.map_or(Answer::Missing, Answer::Tags)
            }
            Question::RoleReads { role, uri, .. } => {
                state.looks.push(format!("{role} reads {uri}"));
                let access = state.reads.get(uri).cloned();
                access.map_or(Answer::Missing, |access| {
                    Answer::RoleReads(Box::new(access))
                })
            }
            Question::Model { .. } => Answer::Missing,
            Question::Artifact { uri } => Answer::Artifact(Box::new(state.artifact(uri))),
        })
    }

    async fn keep_anchors(&self, anchors: &Anchors) -> Result<(), WorldError> {
        let mut state = self.0.lock().unwrap();
        Self::fault(&mut state, "PutObject")?;
        let kept = state.anchors.entry(anchors.key());
        kept.or_insert_with(|| anchors.clone());
        Ok(())
    }

    // One arm per effect.
    #[allow(clippy::too_many_lines)]
    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        let mut state = self.0.lock().unwrap();
        let call = effect.in_words();
        let name = match effect {
            Effect::UpdateEndpoint { .. } => "UpdateEndpoint",
            Effect::ShiftWeights { .. } => "ShiftWeights",
            Effect::CreateModel(_) => "CreateModel",
            Effect::RegisterPackage(_) => "RegisterPackage",
            Effect::Tell { .. } => "Tell",
            Effect::StartTicks { .. } => "StartTicks",
            Effect::StartRetraining { .. } => "StartPipelineExecution",
            Effect::SetApproval { .. } => "SetApproval",
            Effect::Trace(_) => "AddAssociation",
            Effect::Annotate(_) => "Annotate",
            Effect::CloneTuningJob(_) => "CreateHyperParameterTuningJob",
            Effect::StartBaselining(_) => "CreateProcessingJob",
            Effect::SetUpMonitor(_) => "CreateMonitoringSchedule",
            Effect::PauseMonitor { .. } => "StopMonitoringSchedule",
            Effect::RemoveMonitor { .. } => "DeleteMonitoringSchedule",
            _ => "other",
        };
        Self::fault(&mut state, name)?;
        let is_told = matches!(effect, Effect::Tell { .. } | Effect::Announce { .. });
        if !is_told && !matches!(effect, Effect::Trace(_)) {
            state.calls.push(call);
        }
        let now = state.now;
        match effect {
            Effect::RegisterPackage(spec) => {
                if let Some((arn, version)) = state.tokens.get(&spec.token).cloned() {
                    return Ok(Outcome::Registered { arn, version });
                }
                let version = u32::try_from(state.packages.len()).unwrap() + 1;
                let mut package = package(version, spec.approval, now, spec.metadata.clone());
                package.artifacts = vec![spec.artifact.clone()];
                package.origin.job = Some(spec.job_arn.clone());
                package.origin.commit.clone_from(&spec.commit);
                package.origin.repository.clone_from(&spec.repository);
                let life_cycle = spec.life_cycle.as_ref();
                package.origin.life_cycle = life_cycle.map(|l| format!("{}/{}", l.stage, l.status));
                let arn = package.arn.clone();
                state
                    .tokens
                    .insert(spec.token.clone(), (arn.clone(), package.version));
                state.packages.push(package);
                return Ok(Outcome::Registered {
                    arn,
                    version: PackageVersion(version),
                });
            }
            Effect::SetApproval {
                arn,
                approval,
                seen,
                ..
            } => {
                let package = state.packages.iter_mut().find(|p| &p.arn == arn).unwrap();
                if seen.is_some_and(|seen| package.is_changed_by_others(*approval, seen)) {
                    return Ok(Outcome::Done);
                }
                package.approval = *approval;
                package.modified = now;
            }
            Effect::Trace(trace) => state.traces.push((**trace).clone()),
            Effect::Annotate(annotation) => {
                let is_it = |p: &&mut Package| p.arn == annotation.arn;
                let package = state.packages.iter_mut().find(is_it).unwrap();
                package.metadata.extend(annotation.metadata.clone());
                let by = annotation.approved_by.clone();
                let by = by.filter(|_| package.approval == Approval::Approved);
                let pair = by.map(|by| (APPROVER_KEY.to_owned(), by));
                package.metadata.extend(pair);
                let life_cycle = annotation.life_cycle.iter();
                let word = life_cycle
                    .map(|l| format!("{}/{}", l.stage, l.status))
                    .next();
                package.origin.life_cycle = word.or(package.origin.life_cycle.take());
                package.modified = now;
                package.modified_by = Some(TIDEGATE.to_owned());
            }
            Effect::CreateModel(spec) => {
                state.models.insert(spec.name.clone());
                state
                    .made_from
                    .insert(spec.name.clone(), spec.package.clone());
            }
            Effect::DeleteModel { name } => {
                if let Some(user) = user_of(&state, |s| s.variants.iter().any(|v| &v.model == name))
                {
                    let wrong = format!("the model {name} was deleted while {user} needs it");
                    state.wrongs.push(wrong);
                }
                state.models.remove(name);
            }
            Effect::CreateEndpointConfig(spec) => create_config(&mut state, spec)?,
            Effect::DeleteEndpointConfig { name } => {
                if let Some(user) = user_of(&state, |s| &s.name == name) {
                    let wrong = format!("the config {name} was deleted while {user} needs it");
                    state.wrongs.push(wrong);
                }
                state.configs.remove(name);
            }
            Effect::CreateEndpoint {
                endpoint, config, ..
            } => create_endpoint(&mut state, endpoint, config)?,
            Effect::DeleteEndpoint { endpoint } => {
                state.endpoints.remove(endpoint);
            }
            Effect::UpdateEndpoint {
                endpoint,
                config,
                retain,
            } => update_endpoint(&mut state, endpoint, config, *retain)?,
            Effect::ShiftWeights { endpoint, weights } => shift(&mut state, endpoint, weights)?,
            Effect::StartTicks { rollout, .. } => {
                state.schedules.insert(rollout.clone());
            }
            Effect::StopTicks { rollout } => {
                state.schedules.remove(rollout);
            }
            Effect::StartRetraining { token, .. } => {
                state.retrainings.insert(token.clone());
                let arn = format!("arn:execution/{token}");
                let run = PipelineRun {
                    status: RunStatus::Running,
                    failure: None,
                };
                state.executions.entry(arn.clone()).or_insert(run);
                return Ok(Outcome::Started { arn });
            }
            Effect::CloneTrainingJob(clone) => {
                state.retrainings.insert(clone.name.to_string());
                let arn = format!("arn:training-job/{}", clone.name);
                state.clones.push((**clone).clone());
                return Ok(Outcome::Started { arn });
            }
            Effect::CloneTuningJob(clone) => {
                state.retrainings.insert(clone.name.to_string());
                state.tuning_clones.push((**clone).clone());
                let arn = format!("arn:hyper-parameter-tuning-job/{}", clone.name);
                return Ok(Outcome::Started { arn });
            }
            Effect::RequestRetraining(request) => {
                state.retrainings.insert(request.id.clone());
                state.requests.push((**request).clone());
            }
            Effect::StartBaselining(spec) => {
                let run = PipelineRun {
                    status: RunStatus::Running,
                    failure: None,
                };
                state.baselinings.entry(spec.name.clone()).or_insert(run);
                state.baseline_specs.push((**spec).clone());
            }
            Effect::SetUpMonitor(spec) => {
                state.set_up.insert(spec.name.clone(), true);
                state.specs.push((**spec).clone());
                let schedule = MonitoringSchedule {
                    name: spec.name.clone(),
                    endpoint: Some(spec.endpoint.clone()).filter(|_| spec.monitor.batch.is_none()),
                    newest_violating_job: None,
                    newest_violating_at: None,
                    state: ScheduleState::Scheduled,
                };
                state.monitors.entry(spec.name.clone()).or_insert(schedule);
            }
            Effect::PauseMonitor { name, pause } => {
                let Some(runs) = state.set_up.get_mut(name) else {
                    let why = format!("the schedule {name} does not exist");
                    return Err(refusal(
                        WorldErrorKind::Gone,
                        "StartMonitoringSchedule",
                        why,
                    ));
                };
                *runs = !pause;
                let shown = if *pause {
                    ScheduleState::Stopped
                } else {
                    ScheduleState::Scheduled
                };
                if let Some(monitor) = state.monitors.get_mut(name) {
                    monitor.state = shown;
                }
            }
            Effect::RemoveMonitor { name, .. } => {
                state.set_up.remove(name);
                state.monitors.remove(name);
            }
            Effect::Tell { notice, .. } => state.notices.push((**notice).clone()),
            Effect::Announce { .. } => {}
        }
        Ok(Outcome::Done)
    }
}

/// The version that a variant serves, by its model's name.
pub(super) fn version_of(state: &State, endpoint: &EndpointName, variant: &str) -> Option<u32> {
    let config = state.shelf.get(&state.endpoints.get(endpoint)?.config)?;
    let spec = config.variants.iter().find(|v| v.name == variant)?;
    version_of_model(&spec.model)
}

/// `<endpoint>-v<version>-<hash>`.
pub(super) fn version_of_model(model: &str) -> Option<u32> {
    let mut parts = model.rsplit('-');
    parts.next()?;
    parts.next()?.strip_prefix('v')?.parse().ok()
}

/// The endpoint that serves, or is on its way to, a config of which this is true.
fn user_of(state: &State, is: impl Fn(&ConfigSpec) -> bool) -> Option<EndpointName> {
    let names = |e: &Endpoint| [Some(e.config.clone()), e.pending_config.clone()];
    let mut all = state.endpoints.values();
    all.find(|e| {
        names(e)
            .into_iter()
            .flatten()
            .any(|name| state.shelf.get(&name).is_some_and(&is))
    })
    .map(|e| e.name.clone())
}

fn refusal(kind: WorldErrorKind, call: &str, message: String) -> WorldError {
    WorldError {
        kind,
        call: call.to_owned(),
        message,
    }
}

fn create_config(state: &mut State, spec: &ConfigSpec) -> Result<(), WorldError> {
    let call = "CreateEndpointConfig";
    if let Some(there) = state.configs.get(&spec.name) {
        return if there.variants == spec.variants {
            Ok(())
        } else {
            let why = format!("{} is there already and differs", spec.name);
            Err(refusal(WorldErrorKind::Refused, call, why))
        };
    }
    let absent = spec.like.iter().find(|l| !state.configs.contains_key(*l));
    if let Some(absent) = absent {
        let why = format!("the config {absent} does not exist");
        return Err(refusal(WorldErrorKind::Gone, call, why));
    }
    let mut models = spec.variants.iter().map(|v| &v.model);
    if let Some(absent) = models.find(|m| !state.models.contains(*m)) {
        let why = format!("the model {absent} does not exist");
        return Err(refusal(WorldErrorKind::Gone, call, why));
    }
    state.configs.insert(spec.name.clone(), spec.clone());
    state.shelf.insert(spec.name.clone(), spec.clone());
    Ok(())
}

fn create_endpoint(state: &mut State, name: &EndpointName, config: &str) -> Result<(), WorldError> {
    if let Some(there) = state.endpoints.get(name) {
        return if there.config == config {
            Ok(())
        } else {
            let why = format!("{name} is there already");
            Err(refusal(WorldErrorKind::Refused, "CreateEndpoint", why))
        };
    }
    let endpoint = Endpoint {
        name: name.clone(),
        status: EndpointStatus::Creating,
        config: config.to_owned(),
        pending_config: Some(config.to_owned()),
        failure: None,
        modified: None,
        variants: Vec::new(),
    };
    state.endpoints.insert(name.clone(), endpoint);
    Ok(())
}

/// A package of a config's models that may not be deployed.
fn unapproved_package(state: &State, config: &str) -> Option<String> {
    let variants = &state.configs.get(config)?.variants;
    let mut packages = variants
        .iter()
        .filter_map(|v| state.made_from.get(&v.model));
    let is_unapproved = |arn: &&String| {
        let package = state.packages.iter().find(|p| p.arn == **arn);
        package.is_some_and(|p| p.approval != Approval::Approved)
    };
    packages.find(is_unapproved).cloned()
}

fn update_endpoint(
    state: &mut State,
    name: &EndpointName,
    config: &str,
    retain: bool,
) -> Result<(), WorldError> {
    let call = "UpdateEndpoint";
    let is_there = state.configs.contains_key(config);
    let like = state.shelf.get(config).and_then(|c| c.like.clone());
    let is_reweighted = state.reweighted.contains(name);
    let unapproved = unapproved_package(state, config);
    let endpoint = found(&mut state.endpoints, name, call)?;
    let is_on_its_way = endpoint.pending_config.as_deref() == Some(config);
    let is_so = endpoint.status == EndpointStatus::InService && endpoint.config == config;
    if is_on_its_way || is_so {
        return Ok(());
    }
    must_be_in_service(endpoint, call)?;
    if !is_there {
        let why = format!("the config {config} does not exist");
        return Err(refusal(WorldErrorKind::Gone, call, why));
    }
    if let Some(arn) = unapproved {
        let why = format!("{arn} is not Approved");
        return Err(refusal(WorldErrorKind::Refused, call, why));
    }
    let was_foreign = endpoint.config.starts_with("foreign");
    if was_foreign && like.as_deref() != Some(endpoint.config.as_str()) {
        let wrong = format!("{name}: {} was overwritten by {config}", endpoint.config);
        state.wrongs.push(wrong);
    }
    if is_reweighted && config.ends_with("-f") {
        let wrong = format!("{name}: weights of somebody else were overwritten by {config}");
        state.wrongs.push(wrong);
    }
    endpoint.status = EndpointStatus::Updating;
    endpoint.pending_config = Some(config.to_owned());
    endpoint.failure = None;
    state.reweighted.remove(name);
    state.deployments.push((config.to_owned(), retain));
    Ok(())
}

fn shift(
    state: &mut State,
    name: &EndpointName,
    weights: &BTreeMap<String, u8>,
) -> Result<(), WorldError> {
    let call = "UpdateEndpointWeightsAndCapacities";
    let sum: u32 = weights.values().copied().map(u32::from).sum();
    if sum != 100 {
        state
            .wrongs
            .push(format!("weights that sum to {sum}: {weights:?}"));
    }
    let endpoint = found(&mut state.endpoints, name, call)?;
    let wanted = |v: &Variant| weights.get(&v.name).map(|w| f64::from(*w));
    if endpoint.variants.len() != weights.len()
        || endpoint.variants.iter().any(|v| wanted(v).is_none())
    {
        let why = format!("{name} has other variants than {weights:?}");
        return Err(refusal(WorldErrorKind::Gone, call, why));
    }
    let is_so = |v: &Variant| wanted(v).is_some_and(|w| (w - v.desired_weight).abs() < 1e-9);
    if endpoint.variants.iter().all(is_so) {
        return Ok(());
    }
    must_be_in_service(endpoint, call)?;
    // The way back goes before everything: who gives all to one variant overwrites on purpose.
    let is_way_back = weights.get(&endpoint.variants[0].name) == Some(&100);
    if state.reweighted.remove(name) && !is_way_back {
        let wrong = format!("{name}: weights of somebody else were overwritten by {weights:?}");
        state.wrongs.push(wrong);
    }
    endpoint.status = EndpointStatus::Updating;
    for variant in &mut endpoint.variants {
        variant.desired_weight = f64::from(weights[&variant.name]);
    }
    Ok(())
}

fn found<'a>(
    endpoints: &'a mut BTreeMap<EndpointName, Endpoint>,
    name: &EndpointName,
    call: &str,
) -> Result<&'a mut Endpoint, WorldError> {
    let why = format!("the endpoint {name} does not exist");
    endpoints
        .get_mut(name)
        .ok_or_else(|| refusal(WorldErrorKind::Gone, call, why))
}

fn must_be_in_service(endpoint: &Endpoint, call: &str) -> Result<(), WorldError> {
    let kind = match endpoint.status {
        EndpointStatus::InService => return Ok(()),
        EndpointStatus::Failed | EndpointStatus::OutOfService => WorldErrorKind::Refused,
        _ => WorldErrorKind::NotNow,
    };
    let why = format!("{} is {:?}", endpoint.name, endpoint.status);
    Err(refusal(kind, call, why))
}

/// The sums of minutes, at the first one's start.
fn hour(minutes: &[MinuteCounts]) -> MinuteCounts {
    let mut sum = minutes[0].clone();
    for minute in &minutes[1..] {
        for (all, one) in sum
            .variants
            .iter_mut()
            .flatten()
            .zip(minute.variants.iter().flatten())
        {
            *all = all.plus(*one);
        }
    }
    sum
}

fn minutes(
    state: &State,
    endpoint: &EndpointName,
    variants: &[String],
    guards: usize,
    from: Timestamp,
    to: Timestamp,
) -> Vec<MinuteCounts> {
    let serving = state.endpoints.get(endpoint);
    let total: f64 = serving.map_or(0.0, |e| e.variants.iter().map(|v| v.weight).sum());
    let counts = |name: &String| {
        let weight = serving
            .and_then(|e| e.variant(name))
            .map_or(0.0, |v| v.weight);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let requests = if total > 0.0 {
            (state.traffic as f64 * weight / total) as u64
        } else {
            0
        };
        let of_version = version_of(state, endpoint, name)
            .and_then(|v| state.bad_versions.get(&v))
            .copied();
        let per_mille = state.bad_per_mille.get(name).copied().or(of_version);
        let bad = requests * per_mille.unwrap_or(5) / 1000;
        (0..guards)
            .map(|g| {
                if state.silent_guards.contains(&g) {
                    Counts::default()
                } else {
                    Counts::new(requests, bad)
                }
            })
            .collect()
    };
    let mut all = Vec::new();
    let mut at = from;
    while at < to {
        all.push(MinuteCounts {
            at,
            variants: variants.iter().map(counts).collect(),
        });
        at += SignedDuration::from_mins(1);
    }
    all
}
