//! How to see what an effect did: the described state and how many calls took effect, names aside.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_core::name::EndpointName;
use tidegate_core::world::{Answer, Effect, Question, World};

use crate::bench::Bench;
use crate::cases::{Case, Kind};
use crate::monitors;

/// Separates what there is from what no undo takes back: the calls so far and a reason given.
pub(crate) const LASTING: &str = " | so far: ";

impl Case {
    /// How often a call that repeats without harm was sent: each is an event to others.
    pub(crate) fn changes(&self, bench: &Bench) -> usize {
        bench.calls("UpdateModelPackage", &self.word)
    }

    /// What there is now.
    pub(crate) async fn look(&self, bench: &Bench) -> String {
        use Kind as K;
        let word = &self.word;
        let text = match self.kind {
            K::RegisterPackage => packages(bench, word).await,
            K::SetApproval => approval(bench, &self.package).await,
            K::Annotate => annotations(bench, &self.package).await,
            K::Trace => graph(bench, &self.effect).await,
            K::CreateModel | K::DeleteModel => model(bench, word).await,
            K::CreateEndpointConfig | K::DeleteEndpointConfig => config(bench, word).await,
            K::CreateEndpoint | K::UpdateEndpoint | K::DeleteEndpoint | K::ShiftWeights => {
                endpoint(bench, word).await
            }
            K::StartTicks | K::StopTicks => schedules(bench, word).await,
            K::StartRetraining => executions(bench, word).await,
            K::CloneTrainingJob => training_job(bench, word).await,
            K::CloneTuningJob => tuning_job(bench, word).await,
            K::StartBaselining => monitors::baselining(bench, word).await,
            K::SetUpMonitor | K::PauseMonitor | K::RemoveMonitor => {
                monitors::monitor(bench, word).await
            }
            K::Tell | K::Announce | K::RequestRetraining => notices(bench, word).await,
        };
        text.replace(word.as_str(), "#")
    }
}

async fn packages(bench: &Bench, word: &str) -> String {
    let list = bench
        .clients
        .sagemaker
        .list_model_packages()
        .model_package_group_name(word);
    // No group has no packages.
    let arns: Vec<String> = match list.send().await {
        Ok(found) => {
            let list = found.model_package_summary_list.unwrap_or_default();
            list.into_iter()
                .filter_map(|p| p.model_package_arn)
                .collect()
        }
        Err(_) => Vec::new(),
    };
    let mut text = format!("{} packages", arns.len());
    for arn in arns {
        text += &approval(bench, &arn).await;
    }
    text
}

async fn approval(bench: &Bench, arn: &str) -> String {
    let asked = Question::Package {
        arn: arn.to_owned(),
    };
    match bench.world.ask(&asked).await.unwrap() {
        Answer::Package(p) => format!(
            "{}: {:?} {:?} {:?}{LASTING}{:?}",
            p.arn, p.approval, p.artifacts, p.image, p.approval_description
        ),
        other => format!("{other:?}"),
    }
}

async fn annotations(bench: &Bench, arn: &str) -> String {
    let asked = Question::Package {
        arn: arn.to_owned(),
    };
    match bench.world.ask(&asked).await.unwrap() {
        Answer::Package(p) => format!("{:?} {:?}", p.metadata, p.origin.life_cycle),
        other => format!("{other:?}"),
    }
}

/// The associations that somebody made which lead to what the effect names.
async fn graph(bench: &Bench, effect: &Effect) -> String {
    let Effect::Trace(trace) = effect else {
        return String::new();
    };
    let mut all = BTreeSet::new();
    let list = bench.clients.sagemaker.list_associations();
    let pages = list.into_paginator().items().send();
    for edge in pages.try_collect().await.unwrap() {
        let ends = format!("{:?} {:?}", edge.source_name, edge.destination_name);
        let kinds = (
            edge.source_type,
            edge.association_type,
            edge.destination_type,
        );
        let is_of_it = trace
            .nodes
            .iter()
            .any(|n| !n.name.is_empty() && ends.contains(&n.name));
        if edge.created_by.is_some() && is_of_it {
            all.insert(format!("{kinds:?}"));
        }
    }
    format!("{all:?}")
}

async fn model(bench: &Bench, word: &str) -> String {
    let asked = Question::Model {
        name: word.to_owned(),
    };
    let there = bench.world.ask(&asked).await.unwrap();
    let [made, deleted] = ["CreateModel", "DeleteModel"].map(|call| bench.calls(call, word));
    format!("{there:?}{LASTING}{made} made, {deleted} deleted")
}

async fn config(bench: &Bench, word: &str) -> String {
    let describe = bench.clients.sagemaker.describe_endpoint_config();
    let found = describe
        .endpoint_config_name(format!("{word}-next"))
        .send()
        .await;
    let variants = found.map(|config| config.production_variants.unwrap_or_default());
    let calls = ["CreateEndpointConfig", "DeleteEndpointConfig"];
    let [made, deleted] = calls.map(|call| bench.calls(call, word));
    format!("{:?}{LASTING}{made} made, {deleted} deleted", variants.ok())
}

async fn endpoint(bench: &Bench, word: &str) -> String {
    let asked = Question::Endpoint(EndpointName::parse(word).unwrap());
    let mut there = bench.world.ask(&asked).await.unwrap();
    if let Answer::Endpoint(endpoint) = &mut there {
        // When it was asked for is not what it is.
        endpoint.modified = None;
    }
    let calls = [
        "CreateEndpoint",
        "UpdateEndpoint",
        "DeleteEndpoint",
        "UpdateEndpointWeightsAndCapacities",
    ];
    let calls = calls.map(|call| bench.calls(call, word));
    format!("{there:?}{LASTING}{calls:?}")
}

async fn schedules(bench: &Bench, word: &str) -> String {
    let get = bench
        .clients
        .scheduler
        .get_schedule()
        .group_name("tidegate");
    let found = get.name(format!("tidegate-{word}")).send().await.ok();
    let target = found.as_ref().and_then(|schedule| schedule.target());
    let expression = found
        .as_ref()
        .and_then(|schedule| schedule.schedule_expression());
    let target = target.map(|target| (target.arn(), target.input()));
    format!("{expression:?} {target:?}")
}

async fn executions(bench: &Bench, word: &str) -> String {
    let list = bench
        .clients
        .sagemaker
        .list_pipeline_executions()
        .pipeline_name(word);
    let found = list.send().await.unwrap();
    format!("{} executions", found.pipeline_execution_summaries().len())
}

async fn training_job(bench: &Bench, word: &str) -> String {
    let describe = bench.clients.sagemaker.describe_training_job();
    let found = describe.training_job_name(word).send().await.ok();
    let inputs = found.as_ref().map(|job| job.input_data_config().to_vec());
    let parameters = found.and_then(|job| job.hyper_parameters);
    let made = bench.calls("CreateTrainingJob", &format!("\"{word}\""));
    format!("{inputs:?} {parameters:?}, {made} made")
}

async fn tuning_job(bench: &Bench, word: &str) -> String {
    let describe = bench
        .clients
        .sagemaker
        .describe_hyper_parameter_tuning_job();
    let found = describe.hyper_parameter_tuning_job_name(word).send().await;
    // Its training jobs come and go.
    let found = found.ok().map(|job| {
        let definition = job.training_job_definition.unwrap();
        let fixed: BTreeMap<_, _> = definition
            .static_hyper_parameters
            .into_iter()
            .flatten()
            .collect();
        (
            fixed,
            definition.input_data_config,
            job.hyper_parameter_tuning_job_config,
        )
    });
    let made = bench.calls("CreateHyperParameterTuningJob", &format!("\"{word}\""));
    format!("{found:?}, {made} made")
}

/// Receivers drop repeats by the notice's id, so that ids are what counts.
async fn notices(bench: &Bench, word: &str) -> String {
    let url = bench
        .sqs
        .get_queue_url()
        .queue_name(word)
        .send()
        .await
        .unwrap();
    let receive = bench
        .sqs
        .receive_message()
        .queue_url(url.queue_url.unwrap());
    let receive = receive.max_number_of_messages(10).visibility_timeout(0);
    let messages = receive.send().await.unwrap().messages.unwrap_or_default();
    let ids: BTreeSet<String> = messages
        .iter()
        .map(|message| {
            let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            let told = &body["MessageAttributes"]["notice_id"]["Value"];
            let announced = &body["detail"]["id"];
            told.as_str()
                .or(announced.as_str())
                .unwrap_or("no id")
                .to_owned()
        })
        .collect();
    format!("{ids:?}")
}
