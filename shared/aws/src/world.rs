//! The outside through the AWS SDK: one file per thing that is asked about or acted on.
//!
//! What is decided elsewhere is only carried out here. This side's part is that every effect may be
//! done twice, by two functions at once, or after a crash half-way: it looks before it acts, and
//! takes "already exists" with the same content for success.

use futures_util::future::BoxFuture;
use tidegate_core::audit::Anchors;
use tidegate_core::world::{Answer, Effect, Outcome, Question, World, WorldError};

use crate::config::{Clients, Settings};

mod access;
mod analysis;
mod anchors;
mod annotations;
mod artifacts;
mod baselines;
mod baselining;
mod cloning;
mod configs;
mod data;
mod endpoints;
mod lineage;
mod metrics;
mod models;
mod monitoring;
mod monitors;
mod notices;
mod objects;
mod packages;
mod principals;
mod retraining;
mod schedules;
mod smoke;
mod tags;
mod training;
mod tuning;
mod values;

/// The outside, as the clients' account and region have it.
#[derive(Debug, Clone)]
pub struct AwsWorld {
    clients: Clients,
    settings: Settings,
}

impl AwsWorld {
    /// The outside by these clients.
    pub fn new(clients: Clients, settings: Settings) -> Self {
        Self { clients, settings }
    }
}

impl World for AwsWorld {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        self.answer(question).await
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        self.carry_out(effect).await
    }

    async fn keep_anchors(&self, anchors: &Anchors) -> Result<(), WorldError> {
        self.put_anchors(anchors).await
    }
}

// Boxed: a dozen SDK calls in one future would be a large one to carry through the engine, and one
// too deep for the compiler.
impl AwsWorld {
    fn answer<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Answer, WorldError>> {
        Box::pin(async move {
            match question {
                Question::TrainingJob(job) => self.training_job(job).await,
                Question::TuningJob(job) => self.tuning_job(job).await,
                Question::Package { arn } => self.package(arn).await,
                Question::Data { uris } => self.data(uris).await,
                Question::Artifact { uri } => self.artifact(uri).await,
                Question::PackagesOf {
                    group,
                    artifact,
                    since,
                } => self.packages_of(group, artifact, *since).await,
                Question::Endpoint(endpoint) => self.endpoint(endpoint).await,
                Question::EndpointConfig { name } => self.endpoint_config(name).await,
                Question::Model { name } => self.model(name).await,
                Question::Minutes {
                    endpoint,
                    variants,
                    guards,
                    from,
                    to,
                } => {
                    let asked = metrics::Asked {
                        endpoint,
                        variants,
                        guards,
                        period: metrics::Period::Minute,
                        from: *from,
                        to: *to,
                    };
                    self.counts(&asked).await
                }
                Question::Hours {
                    endpoint,
                    variants,
                    guards,
                    from,
                    to,
                } => {
                    let asked = metrics::Asked {
                        endpoint,
                        variants,
                        guards,
                        period: metrics::Period::Hour,
                        from: *from,
                        to: *to,
                    };
                    self.counts(&asked).await
                }
                Question::VariantsOf { endpoint } => self.variants_of(endpoint).await,
                Question::Object { uri } => self.object(uri).await,
                Question::Smoke {
                    endpoint,
                    variant,
                    payloads,
                    content_type,
                } => self.smoke(endpoint, variant, payloads, content_type).await,
                Question::Execution { arn } => self.execution(arn).await,
                Question::MonitoringSchedule(schedule) => self.monitoring_schedule(schedule).await,
                Question::Violations { job } => self.violations(job).await,
                Question::Baselining { job } => self.baselining(job).await,
                Question::PrincipalTags(who) => self.principal_tags(who).await,
                Question::RoleReads { role, uri, kms_key } => {
                    self.role_reads(role, uri, kms_key.as_deref()).await
                }
            }
        })
    }

    fn carry_out<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, WorldError>> {
        Box::pin(async move {
            match effect {
                Effect::RegisterPackage(spec) => self.register_package(spec).await,
                Effect::SetApproval {
                    arn,
                    approval,
                    why,
                    seen,
                } => self.set_approval(arn, *approval, why, *seen).await,
                Effect::Annotate(annotation) => self.annotate(annotation).await,
                Effect::Trace(trace) => self.trace(trace).await,
                Effect::CreateModel(spec) => self.create_model(spec).await,
                Effect::DeleteModel { name } => self.delete_model(name).await,
                Effect::CreateEndpointConfig(spec) => self.create_config(spec).await,
                Effect::DeleteEndpointConfig { name } => self.delete_config(name).await,
                Effect::CreateEndpoint {
                    endpoint,
                    config,
                    tags,
                } => self.create_endpoint(endpoint, config, tags).await,
                Effect::UpdateEndpoint {
                    endpoint,
                    config,
                    retain,
                } => self.update_endpoint(endpoint, config, *retain).await,
                Effect::DeleteEndpoint { endpoint } => self.delete_endpoint(endpoint).await,
                Effect::ShiftWeights { endpoint, weights } => {
                    self.shift_weights(endpoint, weights).await
                }
                Effect::StartTicks {
                    group,
                    stage,
                    rollout,
                } => self.start_ticks(group, stage, rollout).await,
                Effect::StopTicks { rollout } => self.stop_ticks(rollout).await,
                Effect::StartRetraining {
                    pipeline,
                    token,
                    parameters,
                    why,
                } => {
                    self.start_retraining(pipeline, token, parameters, why)
                        .await
                }
                Effect::CloneTrainingJob(clone) => self.clone_training_job(clone).await,
                Effect::CloneTuningJob(clone) => self.clone_tuning_job(clone).await,
                Effect::RequestRetraining(request) => self.request_retraining(request).await,
                Effect::StartBaselining(spec) => self.start_baselining(spec).await,
                Effect::SetUpMonitor(spec) => self.set_up_monitor(spec).await,
                Effect::PauseMonitor { name, pause } => self.pause_monitor(name, *pause).await,
                Effect::RemoveMonitor { name, kind } => self.remove_monitor(name, *kind).await,
                Effect::Tell { topic, notice } => self.tell(topic.as_deref(), notice).await,
                Effect::Announce { notice } => self.announce(notice).await,
            }
        })
    }
}
