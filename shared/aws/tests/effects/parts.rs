//! The parts that cases are made of: effects by the case's word, and what they need to be there.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{
    AlgorithmSpecification, Channel, DataSource, HyperParameterAlgorithmSpecification,
    HyperParameterTrainingJobDefinition, HyperParameterTuningJobConfig,
    HyperParameterTuningJobObjective, HyperParameterTuningJobObjectiveType,
    HyperParameterTuningJobStrategyType, IntegerParameterRange, MetricDefinition, OutputDataConfig,
    ParameterRanges, ResourceConfig, ResourceLimits, S3DataSource, S3DataType, StoppingCondition,
    Tag, TrainingInputMode, TrainingInstanceType,
};
use serde_json::json;
use tidegate_core::event::Approval;
use tidegate_core::name::{
    EndpointName, GroupName, JobName, PipelineName, RolloutId, StageName, TuningName,
};
use tidegate_core::notice::{Notice, Severity};
use tidegate_core::pipeline::Instance;
use tidegate_core::trace::{Entity, LinkKind, Trace, TraceLink, TraceNode};
use tidegate_core::world::{
    Annotation, ConfigSpec, Effect, LifeCycle, ModelSpec, Outcome, PackageSpec, RetrainingRequest,
    TrainingClone, TuningClone, TuningLike, VariantSpec, World,
};

use crate::bench::Bench;

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/models";
pub(crate) const IMAGE: &str =
    "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3";
pub(crate) const WHY: &str = "It failed on 4 % of requests.";

pub(crate) async fn perform(bench: &Bench, effect: Effect) {
    bench.world.perform(&effect).await.unwrap();
}

pub(crate) async fn registered(bench: &Bench, word: &str) -> String {
    match bench.world.perform(&register(word, "model")).await.unwrap() {
        Outcome::Registered { arn, .. } => arn,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn register(word: &str, artifact: &str) -> Effect {
    let script = json!({"seed": 1, "start_seconds": 60}).to_string();
    Effect::RegisterPackage(Box::new(PackageSpec {
        token: format!("{word:0>32}"),
        group: GroupName::parse(word).unwrap(),
        job: JobName::parse("train-1").unwrap(),
        job_arn: "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1".to_owned(),
        description: "fraud".to_owned(),
        image: IMAGE.to_owned(),
        artifact: format!("s3://bucket/{artifact}/model.tar.gz"),
        environment: BTreeMap::from([("SAGEMAKER_LOCAL_SCRIPT".to_owned(), script)]),
        content_types: vec!["text/csv".to_owned()],
        response_types: vec!["text/csv".to_owned()],
        approval: Approval::Approved,
        why: String::new(),
        evaluation: None,
        commit: None,
        repository: None,
        metadata: BTreeMap::new(),
        life_cycle: None,
        card: None,
    }))
}

pub(crate) fn approval(arn: &str, approval: Approval, why: &str) -> Effect {
    Effect::SetApproval {
        arn: arn.to_owned(),
        approval,
        why: why.to_owned(),
        seen: None,
    }
}

pub(crate) fn annotation(arn: &str) -> Effect {
    let pairs = [
        ("tidegate:finding", "monitoring-1"),
        ("tidegate:parent", "v2"),
    ];
    Effect::Annotate(Box::new(Annotation {
        arn: arn.to_owned(),
        metadata: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        approved_by: None,
        life_cycle: Some(LifeCycle {
            stage: "production".to_owned(),
            status: "InProgress".to_owned(),
            why: "v1 rolls out".to_owned(),
        }),
    }))
}

/// Data to a job to a package to a deployment to an endpoint; the names have the word in them.
pub(crate) fn trace(word: &str, package: &str) -> Effect {
    const ACCOUNT: &str = "arn:aws:sagemaker:us-east-1:123456789012";
    let node = |entity, kind: &str, source: String, name: String| TraceNode {
        entity,
        source,
        kind: kind.to_owned(),
        name,
        version: None,
        properties: BTreeMap::new(),
    };
    let link = |from, to, how| TraceLink { from, to, how };
    let job = format!("{ACCOUNT}:training-job/{word}-old");
    let endpoint = format!("{ACCOUNT}:endpoint/{word}");
    Effect::Trace(Box::new(Trace {
        about: word.to_owned(),
        nodes: vec![
            node(
                Entity::Artifact,
                "Model",
                package.to_owned(),
                format!("{word}-v1"),
            ),
            node(Entity::Job, "TrainingJob", job, String::new()),
            node(
                Entity::Artifact,
                "DataSet",
                format!("s3://data/{word}#1"),
                format!("{word}-data"),
            ),
            node(
                Entity::Action,
                "ModelDeployment",
                endpoint.clone(),
                format!("tidegate-{word}"),
            ),
            node(Entity::Context, "Endpoint", endpoint, word.to_owned()),
        ],
        links: vec![
            link(2, 1, LinkKind::ContributedTo),
            link(1, 0, LinkKind::Produced),
            link(0, 3, LinkKind::ContributedTo),
            link(3, 4, LinkKind::AssociatedWith),
        ],
    }))
}

pub(crate) fn model(word: &str, package: &str) -> Effect {
    Effect::CreateModel(Box::new(ModelSpec {
        name: word.to_owned(),
        package: package.to_owned(),
        like: None,
        role: Some(ROLE.to_owned()),
        vpc: None,
        network_isolation: None,
        job: None,
        environment: BTreeMap::new(),
        tags: BTreeMap::new(),
    }))
}

pub(crate) fn config(word: &str, name: &str, first: u8) -> Effect {
    let variant = |name: &str, weight| VariantSpec {
        name: name.to_owned(),
        model: word.to_owned(),
        like: None,
        instance: Some(Instance {
            kind: "ml.m5.large".to_owned(),
            count: 1,
        }),
        count: 1,
        weight,
        model_download_seconds: None,
        startup_seconds: None,
    };
    Effect::CreateEndpointConfig(Box::new(ConfigSpec {
        name: format!("{word}-{name}"),
        like: None,
        variants: vec![variant("v1", first), variant("v2", 100 - first)],
        capture: None,
        tags: BTreeMap::new(),
    }))
}

pub(crate) fn endpoint(word: &str) -> EndpointName {
    EndpointName::parse(word).unwrap()
}

pub(crate) fn create_endpoint(word: &str) -> Effect {
    let (config, tags) = (format!("{word}-base"), BTreeMap::new());
    Effect::CreateEndpoint {
        endpoint: endpoint(word),
        config,
        tags,
    }
}

pub(crate) fn update(word: &str, config: &str) -> Effect {
    let config = format!("{word}-{config}");
    Effect::UpdateEndpoint {
        endpoint: endpoint(word),
        config,
        retain: false,
    }
}

pub(crate) fn shift(word: &str, first: u8) -> Effect {
    let weights = BTreeMap::from([("v1".to_owned(), first), ("v2".to_owned(), 100 - first)]);
    Effect::ShiftWeights {
        endpoint: endpoint(word),
        weights,
    }
}

pub(crate) fn start(word: &str) -> Effect {
    Effect::StartTicks {
        group: GroupName::parse("fraud").unwrap(),
        stage: StageName::parse("production").unwrap(),
        rollout: RolloutId(word.to_owned()),
    }
}

pub(crate) fn stop(word: &str) -> Effect {
    Effect::StopTicks {
        rollout: RolloutId(word.to_owned()),
    }
}

pub(crate) fn retrain(word: &str) -> Effect {
    Effect::StartRetraining {
        pipeline: word.to_owned(),
        token: format!("{word:0>32}"),
        parameters: BTreeMap::new(),
        why: "Drift.".to_owned(),
    }
}

pub(crate) fn clone_job(word: &str) -> Effect {
    let pair = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
    Effect::CloneTrainingJob(Box::new(TrainingClone {
        name: JobName::parse(word).unwrap(),
        like: JobName::parse(&format!("{word}-old")).unwrap(),
        inputs: pair("train", "s3://bucket/fresh"),
        hyperparameters: pair("depth", "7"),
        tags: pair("tidegate:finding", word),
    }))
}

/// A training job that is tagged with a finding.
pub(crate) async fn make_training_job(bench: &Bench, name: &str, finding: &str) {
    let algorithm = AlgorithmSpecification::builder()
        .training_image(IMAGE)
        .training_input_mode(TrainingInputMode::File);
    let tag = Tag::builder().key("tidegate:finding").value(finding);
    bench
        .clients
        .sagemaker
        .create_training_job()
        .training_job_name(name)
        .algorithm_specification(algorithm.build())
        .role_arn(ROLE)
        .input_data_config(train_channel())
        .output_data_config(output())
        .resource_config(resources())
        .stopping_condition(a_minute())
        .hyper_parameters("depth", "5")
        .tags(tag.build())
        .send()
        .await
        .unwrap();
}

pub(crate) fn clone_tuning(word: &str) -> Effect {
    let pair = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
    Effect::CloneTuningJob(Box::new(TuningClone {
        name: TuningName::parse(word).unwrap(),
        like: TuningLike::Tuning(TuningName::parse(&format!("{word}-old")).unwrap()),
        inputs: pair("train", "s3://bucket/fresh"),
        hyperparameters: pair("rounds", "7"),
        tags: pair("tidegate:finding", word),
    }))
}

/// A tuning job that is tagged with a finding.
pub(crate) async fn make_tuning_job(bench: &Bench, name: &str, finding: &str) {
    let objective = HyperParameterTuningJobObjective::builder()
        .r#type(HyperParameterTuningJobObjectiveType::Maximize)
        .metric_name("validation:auc");
    let depth = IntegerParameterRange::builder()
        .name("depth")
        .min_value("2")
        .max_value("9");
    let ranges = ParameterRanges::builder().integer_parameter_ranges(depth.build());
    let limits = ResourceLimits::builder()
        .max_number_of_training_jobs(1)
        .max_parallel_training_jobs(1);
    let config = HyperParameterTuningJobConfig::builder()
        .strategy(HyperParameterTuningJobStrategyType::Random)
        .hyper_parameter_tuning_job_objective(objective.build())
        .parameter_ranges(ranges.build())
        .resource_limits(limits.build());
    let metric = MetricDefinition::builder()
        .name("validation:auc")
        .regex("auc=([0-9.]+)");
    let algorithm = HyperParameterAlgorithmSpecification::builder()
        .training_image(IMAGE)
        .training_input_mode(TrainingInputMode::File)
        .metric_definitions(metric.build());
    let definition = HyperParameterTrainingJobDefinition::builder()
        .algorithm_specification(algorithm.build())
        .role_arn(ROLE)
        .static_hyper_parameters("rounds", "5")
        .input_data_config(train_channel())
        .output_data_config(output())
        .resource_config(resources())
        .stopping_condition(a_minute());
    let tag = Tag::builder().key("tidegate:finding").value(finding);
    bench
        .clients
        .sagemaker
        .create_hyper_parameter_tuning_job()
        .hyper_parameter_tuning_job_name(name)
        .hyper_parameter_tuning_job_config(config.build())
        .training_job_definition(definition.build())
        .tags(tag.build())
        .send()
        .await
        .unwrap();
}

fn train_channel() -> Channel {
    let s3 = S3DataSource::builder()
        .s3_uri("s3://bucket/stale")
        .s3_data_type(S3DataType::S3Prefix);
    let source = DataSource::builder().s3_data_source(s3.build());
    let channel = Channel::builder().channel_name("train");
    channel.data_source(source.build()).build()
}

fn output() -> OutputDataConfig {
    OutputDataConfig::builder()
        .s3_output_path("s3://bucket/models")
        .build()
}

fn resources() -> ResourceConfig {
    ResourceConfig::builder()
        .instance_type(TrainingInstanceType::MlM5Large)
        .instance_count(1)
        .volume_size_in_gb(10)
        .build()
}

fn a_minute() -> StoppingCondition {
    StoppingCondition::builder()
        .max_runtime_in_seconds(60)
        .build()
}

pub(crate) fn request(word: &str) -> Effect {
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    Effect::RequestRetraining(Box::new(RetrainingRequest {
        id: format!("{word}/7"),
        at,
        pipeline: PipelineName::parse(word).unwrap(),
        group: GroupName::parse(word).unwrap(),
        endpoint: endpoint(word),
        finding: "monitoring-1".to_owned(),
        reason: WHY.to_owned(),
        data_from: at,
        data_to: at,
        parent_version: None,
        champion_job: None,
        feature: None,
        detail: BTreeMap::new(),
    }))
}

pub(crate) fn notice(word: &str) -> Notice {
    Notice {
        id: format!("{word}/7"),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        severity: Severity::Warning,
        what: "rolled-back".to_owned(),
        headline: "fraud v3 was rolled back".to_owned(),
        lines: vec![WHY.to_owned()],
        pipeline: PipelineName::parse(word).unwrap(),
        group: GroupName::parse(word).unwrap(),
        version: None,
        endpoint: None,
        rollout: None,
    }
}

pub(crate) async fn make_pipeline(bench: &Bench, word: &str) {
    let step = json!({
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    });
    let definition = json!({
        "Version": "2020-12-01", "Parameters": [],
        "Steps": [{"Name": "Train", "Type": "Training", "Arguments": step}],
    });
    let create = bench
        .clients
        .sagemaker
        .create_pipeline()
        .pipeline_name(word);
    let create = create
        .pipeline_definition(definition.to_string())
        .role_arn(ROLE);
    create
        .client_request_token(format!("{word:m>32}"))
        .send()
        .await
        .unwrap();
}

/// A topic of its own whose messages a queue keeps.
pub(crate) async fn listened_topic(bench: &Bench, word: &str) -> String {
    bench
        .sqs
        .create_queue()
        .queue_name(word)
        .send()
        .await
        .unwrap();
    let topic = bench
        .clients
        .sns
        .create_topic()
        .name(word)
        .send()
        .await
        .unwrap();
    let topic = topic.topic_arn.unwrap();
    let subscribe = bench
        .clients
        .sns
        .subscribe()
        .topic_arn(&topic)
        .protocol("sqs");
    let queue = format!("arn:aws:sqs:us-east-1:123456789012:{word}");
    subscribe.endpoint(queue).send().await.unwrap();
    topic
}

/// A rule of its own whose events a queue keeps.
pub(crate) async fn listened_bus(bench: &Bench, word: &str) {
    bench
        .sqs
        .create_queue()
        .queue_name(word)
        .send()
        .await
        .unwrap();
    let pattern = json!({"source": ["tidegate"], "detail": {"pipeline": [word]}});
    let rule = bench.clients.events.put_rule().name(word);
    rule.event_pattern(pattern.to_string())
        .send()
        .await
        .unwrap();
    let target = aws_sdk_eventbridge::types::Target::builder().id("1");
    let target = target.arn(format!("arn:aws:sqs:us-east-1:123456789012:{word}"));
    let put = bench.clients.events.put_targets().rule(word);
    put.targets(target.build().unwrap()).send().await.unwrap();
}
