//! The cases: for each effect, the world that it needs, what can have happened before it, and what
//! takes it back.

use aws_sdk_sagemaker::types::{
    ArtifactSource, ContainerDefinition, ContextSource, DesiredWeightAndCapacity,
    ModelApprovalStatus, ModelLifeCycle, ProductionVariant, ProductionVariantInstanceType,
};
use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, Target};
use tidegate_core::event::Approval;
use tidegate_core::world::{Effect, Outcome, World};

use crate::bench::Bench;
use crate::monitors;

use crate::parts::{
    ROLE, WHY, annotation, approval, clone_job, clone_tuning, config, create_endpoint, endpoint,
    listened_bus, listened_topic, make_pipeline, make_training_job, make_tuning_job, model, notice,
    perform, register, registered, request, retrain, shift, start, stop, trace, update,
};

/// The kinds of effect, from one list; `of` has no wildcard, so a new effect has to be listed.
macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),*];

            fn of(effect: &Effect) -> Self {
                match effect { $(Effect::$kind { .. } => Self::$kind),* }
            }
        }
    };
}

kinds!(
    RegisterPackage,
    SetApproval,
    Annotate,
    Trace,
    CreateModel,
    DeleteModel,
    CreateEndpointConfig,
    DeleteEndpointConfig,
    CreateEndpoint,
    UpdateEndpoint,
    DeleteEndpoint,
    ShiftWeights,
    StartTicks,
    StopTicks,
    StartRetraining,
    CloneTrainingJob,
    CloneTuningJob,
    RequestRetraining,
    StartBaselining,
    SetUpMonitor,
    PauseMonitor,
    RemoveMonitor,
    Tell,
    Announce,
);

/// One effect in a prepared world, with names that no other case has.
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) word: String,
    pub(crate) effect: Effect,
    pub(crate) package: String,
}

impl Case {
    pub(crate) async fn prepare(bench: &Bench, kind: Kind) -> Self {
        let word = bench.word();
        let mut case = Self {
            kind,
            effect: stop(&word),
            package: String::new(),
            word,
        };
        case.effect = case.prepared(bench).await;
        assert_eq!(Kind::of(&case.effect), kind);
        case
    }

    async fn prepared(&mut self, bench: &Bench) -> Effect {
        use Kind as K;
        let word = self.word.clone();
        match self.kind {
            K::RegisterPackage => register(&word, "model"),
            K::SetApproval => {
                self.package = registered(bench, &word).await;
                approval(&self.package, Approval::Rejected, WHY)
            }
            K::Annotate => {
                self.package = registered(bench, &word).await;
                annotation(&self.package)
            }
            K::Trace => {
                self.package = registered(bench, &word).await;
                make_training_job(bench, &format!("{word}-old"), "the first").await;
                trace(&word, &self.package)
            }
            K::CreateModel => {
                self.package = registered(bench, &word).await;
                model(&word, &self.package)
            }
            K::DeleteModel => {
                self.package = registered(bench, &word).await;
                perform(bench, model(&word, &self.package)).await;
                Effect::DeleteModel { name: word }
            }
            K::CreateEndpointConfig => {
                self.with_model(bench).await;
                config(&word, "next", 100)
            }
            K::DeleteEndpointConfig => {
                self.with_model(bench).await;
                perform(bench, config(&word, "next", 100)).await;
                Effect::DeleteEndpointConfig {
                    name: format!("{word}-next"),
                }
            }
            K::CreateEndpoint => {
                self.with_model(bench).await;
                perform(bench, config(&word, "base", 100)).await;
                create_endpoint(&word)
            }
            K::UpdateEndpoint => {
                self.with_endpoint(bench).await;
                update(&word, "next")
            }
            K::DeleteEndpoint => {
                self.with_endpoint(bench).await;
                Effect::DeleteEndpoint {
                    endpoint: endpoint(&word),
                }
            }
            K::ShiftWeights => {
                self.with_endpoint(bench).await;
                shift(&word, 75)
            }
            K::StartTicks => start(&word),
            K::StopTicks => {
                perform(bench, start(&word)).await;
                stop(&word)
            }
            K::StartRetraining => {
                make_pipeline(bench, &word).await;
                retrain(&word)
            }
            K::CloneTrainingJob => {
                make_training_job(bench, &format!("{word}-old"), "the first").await;
                clone_job(&word)
            }
            K::CloneTuningJob => {
                make_tuning_job(bench, &format!("{word}-old"), "the first").await;
                clone_tuning(&word)
            }
            K::RequestRetraining => {
                listened_bus(bench, &word).await;
                request(&word)
            }
            K::StartBaselining => monitors::baseline(&word, "train"),
            K::SetUpMonitor => monitors::set_up(&word),
            K::PauseMonitor | K::RemoveMonitor => self.of_a_monitor_that_runs(bench).await,
            K::Tell => {
                let topic = listened_topic(bench, &word).await;
                let notice = Box::new(notice(&word));
                Effect::Tell {
                    topic: Some(topic),
                    notice,
                }
            }
            K::Announce => {
                listened_bus(bench, &word).await;
                Effect::Announce {
                    notice: Box::new(notice(&word)),
                }
            }
        }
    }

    async fn of_a_monitor_that_runs(&self, bench: &Bench) -> Effect {
        perform(bench, monitors::set_up(&self.word)).await;
        bench.minutes_pass(1);
        if self.kind == Kind::PauseMonitor {
            monitors::pause(&self.word, true)
        } else {
            monitors::remove(&self.word)
        }
    }

    async fn with_model(&mut self, bench: &Bench) {
        self.package = registered(bench, &self.word).await;
        perform(bench, model(&self.word, &self.package)).await;
    }

    async fn with_endpoint(&mut self, bench: &Bench) {
        self.with_model(bench).await;
        for (name, weight) in [("base", 100), ("next", 100), ("other", 50)] {
            perform(bench, config(&self.word, name, weight)).await;
        }
        perform(bench, create_endpoint(&self.word)).await;
        bench.minutes_pass(15);
    }

    /// A part of it happened before; false for what is one call and happens whole or not at all.
    pub(crate) async fn half_happens(&self, bench: &Bench) -> bool {
        use Kind as K;
        let sagemaker = &bench.clients.sagemaker;
        let word = &self.word;
        match self.kind {
            K::RegisterPackage => {
                let group = sagemaker.create_model_package_group();
                group
                    .model_package_group_name(&self.word)
                    .send()
                    .await
                    .unwrap();
            }
            // The status without the reason.
            K::SetApproval => self.approve_by_hand(bench, None).await,
            K::Annotate => self.annotate_by_hand(bench, false).await,
            K::Trace => self.artifact_by_hand(bench).await,
            // Begun, and under way still.
            K::CreateEndpoint | K::UpdateEndpoint | K::DeleteEndpoint | K::ShiftWeights => {
                return self.somebody_does_it(bench).await;
            }
            K::SetUpMonitor => monitors::definition_by_hand(bench, word, word).await,
            K::PauseMonitor => return self.somebody_does_it(bench).await,
            K::RemoveMonitor => monitors::delete_schedule_by_hand(bench, word).await,
            K::CreateModel
            | K::DeleteModel
            | K::CreateEndpointConfig
            | K::DeleteEndpointConfig
            | K::StartTicks
            | K::StopTicks
            | K::StartRetraining
            | K::CloneTrainingJob
            | K::CloneTuningJob
            | K::RequestRetraining
            | K::StartBaselining
            | K::Tell
            | K::Announce => return false,
        }
        true
    }

    /// Somebody else does the same by calls of their own; false where it is theirs and another
    /// (a token or a notice id is nobody else's).
    pub(crate) async fn somebody_does_it(&self, bench: &Bench) -> bool {
        use Kind as K;
        let sagemaker = &bench.clients.sagemaker;
        let word = &self.word;
        match self.kind {
            K::RegisterPackage
            | K::StartRetraining
            | K::CloneTrainingJob
            | K::CloneTuningJob
            | K::RequestRetraining
            | K::StartBaselining
            | K::Tell
            | K::Announce => return false,
            K::SetUpMonitor => {
                monitors::definition_by_hand(bench, word, word).await;
                monitors::schedule_by_hand(bench, word).await;
            }
            K::PauseMonitor => monitors::stop_by_hand(bench, word).await,
            K::RemoveMonitor => {
                monitors::delete_schedule_by_hand(bench, word).await;
                monitors::delete_definition_by_hand(bench, word).await;
            }
            K::SetApproval => self.approve_by_hand(bench, Some(WHY)).await,
            K::Annotate => self.annotate_by_hand(bench, true).await,
            K::CreateModel => self.model_by_hand(bench, &self.package).await,
            K::DeleteModel => {
                sagemaker
                    .delete_model()
                    .model_name(word)
                    .send()
                    .await
                    .unwrap();
            }
            K::CreateEndpointConfig => self.config_by_hand(bench).await,
            K::DeleteEndpointConfig => {
                let name = format!("{word}-next");
                let delete = sagemaker
                    .delete_endpoint_config()
                    .endpoint_config_name(name);
                delete.send().await.unwrap();
            }
            K::CreateEndpoint => {
                let create = sagemaker.create_endpoint().endpoint_name(word);
                let create = create.endpoint_config_name(format!("{word}-base"));
                create.send().await.unwrap();
            }
            K::UpdateEndpoint => self.update_by_hand(bench, "next").await,
            K::DeleteEndpoint => {
                sagemaker
                    .delete_endpoint()
                    .endpoint_name(word)
                    .send()
                    .await
                    .unwrap();
            }
            K::ShiftWeights => {
                let weights = [("v1", 75.0), ("v2", 25.0)].map(|(name, weight)| {
                    let weighed = DesiredWeightAndCapacity::builder().variant_name(name);
                    weighed.desired_weight(weight).build()
                });
                let shift = sagemaker.update_endpoint_weights_and_capacities();
                let shift = shift.endpoint_name(word);
                let shift = shift.set_desired_weights_and_capacities(Some(weights.to_vec()));
                shift.send().await.unwrap();
            }
            // The same by another process of ours: nobody else would name it so.
            K::StartTicks | K::Trace => perform(bench, self.effect.clone()).await,
            K::StopTicks => {
                let delete = bench.clients.scheduler.delete_schedule();
                let delete = delete
                    .group_name("tidegate")
                    .name(format!("tidegate-{word}"));
                delete.send().await.unwrap();
            }
        }
        true
    }

    /// Puts something else under the name, and gives the effect that must be refused; none for what
    /// makes nothing that a name could clash with.
    pub(crate) async fn something_else_is_there(&self, bench: &Bench) -> Option<Effect> {
        use Kind as K;
        let word = &self.word;
        match self.kind {
            // The token was used for another artifact.
            K::RegisterPackage => perform(bench, register(word, "another")).await,
            // A version that isn't there.
            K::SetApproval => {
                let absent = format!("{}99", self.package);
                return Some(approval(&absent, Approval::Rejected, WHY));
            }
            K::Annotate => return Some(annotation(&format!("{}99", self.package))),
            // The context's name is another thing's.
            K::Trace => self.context_by_hand(bench).await,
            K::CreateModel => {
                let Effect::RegisterPackage(mut spec) = register(word, "another") else {
                    return None;
                };
                spec.token = format!("{word:x>32}");
                let made = bench
                    .world
                    .perform(&Effect::RegisterPackage(spec))
                    .await
                    .unwrap();
                let Outcome::Registered { arn, .. } = made else {
                    return None;
                };
                self.model_by_hand(bench, &arn).await;
            }
            K::CreateEndpointConfig => perform(bench, config(word, "next", 50)).await,
            K::CreateEndpoint => {
                perform(bench, config(word, "other", 50)).await;
                let Effect::CreateEndpoint { endpoint, tags, .. } = create_endpoint(word) else {
                    return None;
                };
                let config = format!("{word}-other");
                perform(
                    bench,
                    Effect::CreateEndpoint {
                        endpoint,
                        config,
                        tags,
                    },
                )
                .await;
            }
            // Somebody's deployment is under way.
            K::UpdateEndpoint | K::ShiftWeights => self.update_by_hand(bench, "other").await,
            K::StartTicks => self.schedule_by_hand(bench).await,
            // A job of the name that is about something else.
            K::CloneTrainingJob => make_training_job(bench, word, "another").await,
            K::CloneTuningJob => make_tuning_job(bench, word, "another").await,
            // A job of the name that looks at other data, a definition of another endpoint.
            K::StartBaselining => perform(bench, monitors::baseline(word, "other")).await,
            K::SetUpMonitor => monitors::definition_by_hand(bench, word, "another").await,
            // A pipeline and a topic that aren't there.
            K::StartRetraining => return Some(retrain("nothing")),
            K::Tell => {
                let topic = Some("arn:aws:sns:us-east-1:123456789012:nowhere".to_owned());
                return Some(Effect::Tell {
                    topic,
                    notice: Box::new(notice(word)),
                });
            }
            K::DeleteModel
            | K::DeleteEndpointConfig
            | K::DeleteEndpoint
            | K::StopTicks
            | K::RequestRetraining
            | K::PauseMonitor
            | K::RemoveMonitor
            | K::Announce => return None,
        }
        Some(self.effect.clone())
    }

    /// The effect that takes it back.
    pub(crate) fn undo(&self) -> Option<Effect> {
        use Kind as K;
        let word = &self.word;
        match self.kind {
            K::SetApproval => Some(approval(&self.package, Approval::Approved, "")),
            K::CreateModel => Some(Effect::DeleteModel { name: word.clone() }),
            K::CreateEndpointConfig => {
                let name = format!("{word}-next");
                Some(Effect::DeleteEndpointConfig { name })
            }
            K::CreateEndpoint => Some(Effect::DeleteEndpoint {
                endpoint: endpoint(word),
            }),
            K::UpdateEndpoint => Some(update(word, "base")),
            K::ShiftWeights => Some(shift(word, 100)),
            K::StartTicks => Some(stop(word)),
            K::SetUpMonitor => Some(monitors::remove(word)),
            K::PauseMonitor => Some(monitors::pause(word, false)),
            K::RegisterPackage
            | K::Annotate
            | K::Trace
            | K::DeleteModel
            | K::DeleteEndpointConfig
            | K::DeleteEndpoint
            | K::StopTicks
            | K::StartRetraining
            | K::CloneTrainingJob
            | K::CloneTuningJob
            | K::RequestRetraining
            | K::StartBaselining
            | K::RemoveMonitor
            | K::Tell
            | K::Announce => None,
        }
    }

    /// Lets an endpoint or a schedule come to rest.
    pub(crate) fn settles(&self, bench: &Bench) {
        if monitors::is_of_schedule(&self.effect) {
            bench.minutes_pass(1);
        }
        if matches!(
            self.kind,
            Kind::CreateEndpoint | Kind::UpdateEndpoint | Kind::ShiftWeights
        ) {
            bench.minutes_pass(20);
        }
    }

    async fn approve_by_hand(&self, bench: &Bench, why: Option<&str>) {
        let update = bench.clients.sagemaker.update_model_package();
        let update = update.model_package_arn(&self.package);
        let update = update.model_approval_status(ModelApprovalStatus::Rejected);
        update
            .set_approval_description(why.map(str::to_owned))
            .send()
            .await
            .unwrap();
    }

    async fn annotate_by_hand(&self, bench: &Bench, whole: bool) {
        let update = bench.clients.sagemaker.update_model_package();
        let mut update = update
            .model_package_arn(&self.package)
            .customer_metadata_properties("tidegate:finding", "monitoring-1");
        if whole {
            let cycle = ModelLifeCycle::builder().stage("production");
            update = update
                .customer_metadata_properties("tidegate:parent", "v2")
                .model_life_cycle(cycle.stage_status("InProgress").build());
        }
        update.send().await.unwrap();
    }

    async fn artifact_by_hand(&self, bench: &Bench) {
        let source = ArtifactSource::builder().source_uri(format!("s3://data/{}#1", self.word));
        let create = bench.clients.sagemaker.create_artifact();
        let create = create.artifact_type("DataSet").source(source.build());
        create.send().await.unwrap();
    }

    async fn context_by_hand(&self, bench: &Bench) {
        let source = ContextSource::builder().source_uri("theirs");
        let create = bench.clients.sagemaker.create_context();
        let create = create.context_name(&self.word).context_type("Theirs");
        create.source(source.build()).send().await.unwrap();
    }

    async fn model_by_hand(&self, bench: &Bench, package: &str) {
        let container = ContainerDefinition::builder()
            .model_package_name(package)
            .build();
        let create = bench
            .clients
            .sagemaker
            .create_model()
            .model_name(&self.word);
        let create = create.containers(container).execution_role_arn(ROLE);
        create.send().await.unwrap();
    }

    async fn config_by_hand(&self, bench: &Bench) {
        let variants = [("v1", 100.0), ("v2", 0.0)].map(|(name, weight)| {
            let variant = ProductionVariant::builder().variant_name(name);
            let variant = variant
                .model_name(&self.word)
                .initial_variant_weight(weight);
            let variant = variant.instance_type(ProductionVariantInstanceType::MlM5Large);
            variant.initial_instance_count(1).build()
        });
        let create = bench.clients.sagemaker.create_endpoint_config();
        let create = create.endpoint_config_name(format!("{}-next", self.word));
        create
            .set_production_variants(Some(variants.to_vec()))
            .send()
            .await
            .unwrap();
    }

    async fn update_by_hand(&self, bench: &Bench, config: &str) {
        let update = bench
            .clients
            .sagemaker
            .update_endpoint()
            .endpoint_name(&self.word);
        let update = update.endpoint_config_name(format!("{}-{config}", self.word));
        update.send().await.unwrap();
    }

    async fn schedule_by_hand(&self, bench: &Bench) {
        let target = Target::builder().arn("arn:aws:lambda:us-east-1:123456789012:function:theirs");
        let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off);
        let create = bench
            .clients
            .scheduler
            .create_schedule()
            .group_name("tidegate");
        let create = create.name(format!("tidegate-{}", self.word));
        let create = create.schedule_expression("rate(1 hour)");
        let create = create.flexible_time_window(window.build().unwrap());
        let create = create.target(target.role_arn(ROLE).build().unwrap());
        create.send().await.unwrap();
    }
}
