//! A small model of SageMaker: enough to see what a story does to endpoints, and to fail on call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::event::{Approval, EndpointStatus, JobStatus};
use crate::evidence::Counts;
use crate::name::{EndpointName, GroupName, JobName, PackageVersion, RolloutId};
use crate::notice::Notice;
use crate::world::{
    Answer, ConfigSpec, ConfigVariant, Effect, Endpoint, EndpointConfig, Findings, MinuteCounts,
    Outcome, Package, Question, SmokeAnswer, TrainingJob, Variant, VariantSpec, Violation, World,
    WorldError, WorldErrorKind,
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
}

pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) jobs: BTreeMap<JobName, TrainingJob>,
    pub(super) packages: Vec<Package>,
    pub(super) endpoints: BTreeMap<EndpointName, Endpoint>,
    pub(super) configs: BTreeMap<String, ConfigSpec>,
    pub(super) models: BTreeSet<String>,
    pub(super) schedules: BTreeSet<RolloutId>,
    pub(super) notices: Vec<Notice>,
    pub(super) calls: Vec<String>,
    pub(super) retrainings: BTreeSet<String>,
    pub(super) weights: Vec<Vec<(String, f64)>>,
    /// Requests a minute to the endpoint.
    pub(super) traffic: u64,
    /// Of a thousand requests to a variant, how many go wrong.
    pub(super) bad_per_mille: BTreeMap<String, u64>,
    pub(super) smoke_status: u16,
    pub(super) faults: Faults,
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
            schedules: BTreeSet::new(),
            notices: Vec::new(),
            calls: Vec::new(),
            retrainings: BTreeSet::new(),
            weights: Vec::new(),
            traffic: 600,
            bad_per_mille: BTreeMap::new(),
            smoke_status: 200,
            faults: Faults::default(),
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
                inputs: BTreeMap::new(),
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
            ..
        } = &mut *state;
        for endpoint in endpoints.values_mut() {
            arrive(endpoint, configs, faults);
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
    }
}

fn arrive(endpoint: &mut Endpoint, configs: &BTreeMap<String, ConfigSpec>, faults: &mut Faults) {
    match endpoint.status {
        EndpointStatus::Creating | EndpointStatus::Updating => {}
        _ => return,
    }
    if let Some(config) = endpoint.pending_config.take() {
        if faults.undone_deployments > 0 {
            faults.undone_deployments -= 1;
            endpoint.failure = Some("no capacity".to_owned());
            endpoint.status = EndpointStatus::InService;
            return;
        }
        endpoint.variants = configs[&config].variants.iter().map(serving).collect();
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

fn named(call: &'static str) -> impl Fn(&str) -> String {
    move |what| format!("{call} {what}")
}

impl World for Town {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        let mut state = self.0.lock().unwrap();
        Self::fault(&mut state, "ask")?;
        Ok(match question {
            Question::TrainingJob(job) => state.jobs.get(job).map_or(Answer::Missing, |j| {
                Answer::TrainingJob(Box::new(j.clone()))
            }),
            Question::Package { arn } => state
                .packages
                .iter()
                .find(|p| &p.arn == arn)
                .map_or(Answer::Missing, |p| Answer::Package(Box::new(p.clone()))),
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
            Question::Smoke { payloads, .. } => Answer::Smoke(
                payloads
                    .iter()
                    .map(|p| SmokeAnswer {
                        payload: p.clone(),
                        status: state.smoke_status,
                        milliseconds: 5,
                        problem: None,
                    })
                    .collect(),
            ),
            Question::Violations { job } => Answer::Violations(Box::new(Findings {
                job: job.clone(),
                report: None,
                data_since: Some(state.now - SignedDuration::from_mins(5)),
                violations: vec![Violation {
                    feature: "amount".to_owned(),
                    check: "baseline_drift_check".to_owned(),
                    description: "distance: 0.4 exceeds threshold: 0.1".to_owned(),
                }],
            })),
            Question::Model { .. } | Question::Object { .. } | Question::MonitoringSchedule(_) => {
                Answer::Missing
            }
        })
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        let mut state = self.0.lock().unwrap();
        let call = effect.in_words();
        let name = match effect {
            Effect::UpdateEndpoint { .. } => "UpdateEndpoint",
            Effect::ShiftWeights { .. } => "ShiftWeights",
            Effect::CreateModel(_) => "CreateModel",
            Effect::RegisterPackage(_) => "RegisterPackage",
            Effect::Tell { .. } => "Tell",
            _ => "other",
        };
        Self::fault(&mut state, name)?;
        if !matches!(effect, Effect::Tell { .. } | Effect::Announce { .. }) {
            state.calls.push(call);
        }
        let now = state.now;
        match effect {
            Effect::RegisterPackage(spec) => {
                let version = u32::try_from(state.packages.len()).unwrap() + 1;
                let mut package = package(version, spec.approval, now, spec.metadata.clone());
                package.artifacts = vec![spec.artifact.clone()];
                let arn = package.arn.clone();
                state.packages.push(package);
                return Ok(Outcome::Registered {
                    arn,
                    version: PackageVersion(version),
                });
            }
            Effect::SetApproval { arn, approval, .. } => {
                let package = state.packages.iter_mut().find(|p| &p.arn == arn).unwrap();
                package.approval = *approval;
                package.modified = now;
            }
            Effect::CreateModel(spec) => {
                state.models.insert(spec.name.clone());
            }
            Effect::DeleteModel { name } => {
                state.models.remove(name);
            }
            Effect::CreateEndpointConfig(spec) => {
                state.configs.insert(spec.name.clone(), (**spec).clone());
            }
            Effect::DeleteEndpointConfig { name } => {
                state.configs.remove(name);
            }
            Effect::CreateEndpoint {
                endpoint, config, ..
            } => {
                state.endpoints.insert(
                    endpoint.clone(),
                    Endpoint {
                        name: endpoint.clone(),
                        status: EndpointStatus::Creating,
                        config: config.clone(),
                        pending_config: Some(config.clone()),
                        failure: None,
                        variants: Vec::new(),
                    },
                );
            }
            Effect::DeleteEndpoint { endpoint } => {
                state.endpoints.remove(endpoint);
            }
            Effect::UpdateEndpoint {
                endpoint, config, ..
            } => {
                let endpoint = in_service(&mut state, endpoint, named("UpdateEndpoint"))?;
                endpoint.status = EndpointStatus::Updating;
                endpoint.pending_config = Some(config.clone());
            }
            Effect::ShiftWeights { endpoint, weights } => {
                let endpoint = in_service(&mut state, endpoint, named("ShiftWeights"))?;
                endpoint.status = EndpointStatus::Updating;
                for variant in &mut endpoint.variants {
                    variant.desired_weight = f64::from(weights[&variant.name]);
                }
            }
            Effect::StartTicks { rollout, .. } => {
                state.schedules.insert(rollout.clone());
            }
            Effect::StopTicks { rollout } => {
                state.schedules.remove(rollout);
            }
            Effect::StartRetraining { token, .. } => {
                state.retrainings.insert(token.clone());
                return Ok(Outcome::Started {
                    arn: format!("arn:execution/{token}"),
                });
            }
            Effect::Tell { notice, .. } => state.notices.push((**notice).clone()),
            Effect::Announce { .. } => {}
        }
        Ok(Outcome::Done)
    }
}

fn in_service<'a>(
    state: &'a mut State,
    endpoint: &EndpointName,
    call: impl Fn(&str) -> String,
) -> Result<&'a mut Endpoint, WorldError> {
    let found = state.endpoints.get_mut(endpoint).unwrap();
    if found.status == EndpointStatus::InService {
        return Ok(found);
    }
    Err(WorldError {
        kind: WorldErrorKind::NotNow,
        call: call(endpoint.as_str()),
        message: format!("{endpoint} is {:?}", found.status),
    })
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
        let bad = requests * state.bad_per_mille.get(name).copied().unwrap_or(5) / 1000;
        vec![Counts::new(requests, bad); guards]
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
