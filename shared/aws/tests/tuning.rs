//! Tuning jobs against the emulator: what is read of one and of its training jobs, and whose
//! settings a new one gets.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{
    Channel, DataSource, HyperParameterAlgorithmSpecification, HyperParameterTrainingJobDefinition,
    HyperParameterTuningJobConfig, HyperParameterTuningJobObjective,
    HyperParameterTuningJobObjectiveType, HyperParameterTuningJobStrategyType,
    HyperParameterTuningJobWarmStartConfig, HyperParameterTuningJobWarmStartType,
    IntegerParameterRange, MetricDefinition, OutputDataConfig, ParameterRanges,
    ParentHyperParameterTuningJob, ResourceConfig, ResourceLimits, S3DataSource, S3DataType,
    StoppingCondition, Tag, TrainingInputMode, TrainingInstanceType,
};
use tidegate_core::event::JobStatus;
use tidegate_core::name::{JobName, TuningName};
use tidegate_core::world::{
    Answer, Effect, Outcome, Question, TrainingJob, TuningClone, TuningJob, TuningLike, World,
    WorldError, WorldErrorKind,
};

use support::fixture::{Fixture, fixture};

const ROLE: &str = "arn:aws:iam::123456789012:role/models";
const IMAGE: &str =
    "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3";

/// A definition with these channels, whose jobs fail since there is no such data.
fn definition(name: &str, channels: &[&str]) -> HyperParameterTrainingJobDefinition {
    let channel = |name: &&str| {
        let s3 = S3DataSource::builder()
            .s3_uri(format!("s3://bucket/old/{name}"))
            .s3_data_type(S3DataType::S3Prefix);
        let source = DataSource::builder().s3_data_source(s3.build());
        let channel = Channel::builder().channel_name(*name);
        channel.data_source(source.build()).build()
    };
    let metric = MetricDefinition::builder().name("auc").regex("auc=(.*)");
    let algorithm = HyperParameterAlgorithmSpecification::builder()
        .training_image(IMAGE)
        .training_input_mode(TrainingInputMode::File)
        .metric_definitions(metric.build());
    let objective = HyperParameterTuningJobObjective::builder()
        .r#type(HyperParameterTuningJobObjectiveType::Minimize)
        .metric_name("auc");
    let depth = IntegerParameterRange::builder()
        .name("depth")
        .min_value("2")
        .max_value("9");
    let ranges = ParameterRanges::builder().integer_parameter_ranges(depth.build());
    let resources = ResourceConfig::builder()
        .instance_type(TrainingInstanceType::MlM5Large)
        .instance_count(1)
        .volume_size_in_gb(10);
    let output = OutputDataConfig::builder().s3_output_path("s3://bucket/models");
    let stopping = StoppingCondition::builder().max_runtime_in_seconds(60);
    HyperParameterTrainingJobDefinition::builder()
        .definition_name(name)
        .tuning_objective(objective.build())
        .hyper_parameter_ranges(ranges.build())
        .static_hyper_parameters("rounds", "5")
        .algorithm_specification(algorithm.build())
        .role_arn(ROLE)
        .set_input_data_config(Some(channels.iter().map(channel).collect()))
        .output_data_config(output.build())
        .resource_config(resources.build())
        .stopping_condition(stopping.build())
        .build()
}

fn clone(name: &str, like: TuningLike, inputs: &[(&str, &str)]) -> TuningClone {
    let pair = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
    let inputs = inputs.iter();
    TuningClone {
        name: TuningName::parse(name).unwrap(),
        like,
        inputs: inputs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        hyperparameters: pair("rounds", "9"),
        tags: pair("tidegate:finding", "monitoring-1"),
    }
}

impl Fixture {
    /// Two definitions, one job each, started warm from another tuning job.
    async fn tuned(&self, name: &str) {
        let limits = ResourceLimits::builder()
            .max_number_of_training_jobs(2)
            .max_parallel_training_jobs(2);
        let config = HyperParameterTuningJobConfig::builder()
            .strategy(HyperParameterTuningJobStrategyType::Bayesian)
            .resource_limits(limits.build());
        let parent = ParentHyperParameterTuningJob::builder().hyper_parameter_tuning_job_name("p");
        let warm = HyperParameterTuningJobWarmStartConfig::builder()
            .warm_start_type(HyperParameterTuningJobWarmStartType::TransferLearning)
            .parent_hyper_parameter_tuning_jobs(parent.build());
        let tag = Tag::builder().key("tidegate:pipeline").value("fraud");
        let create = self.clients.sagemaker.create_hyper_parameter_tuning_job();
        create
            .hyper_parameter_tuning_job_name(name)
            .hyper_parameter_tuning_job_config(config.build())
            .training_job_definitions(definition("one", &["train"]))
            .training_job_definitions(definition("two", &["train", "test"]))
            .warm_start_config(warm.build())
            .tags(tag.build())
            .send()
            .await
            .unwrap();
    }

    async fn described(&self, name: &str) -> Option<TuningJob> {
        let question = Question::TuningJob(TuningName::parse(name).unwrap());
        match self.world.ask(&question).await.unwrap() {
            Answer::TuningJob(job) => Some(*job),
            Answer::Missing => None,
            other => panic!("{other:?}"),
        }
    }

    async fn ended(&self, name: &str) -> TuningJob {
        for _ in 0..100 {
            let described = self.described(name).await.unwrap();
            if described.is_over() {
                return described;
            }
            self.minutes_pass(1);
        }
        panic!("{name} does not end");
    }

    /// A training job that the tuning job launched.
    async fn trained(&self, tuning: &str) -> TrainingJob {
        let list = self.clients.sagemaker.list_training_jobs();
        let list = list.name_contains(tuning).send().await.unwrap();
        let name = list.training_job_summaries()[0]
            .training_job_name()
            .unwrap();
        let question = Question::TrainingJob(JobName::parse(name).unwrap());
        match self.world.ask(&question).await.unwrap() {
            Answer::TrainingJob(job) => *job,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&self, clone: TuningClone) -> WorldError {
        let effect = Effect::CloneTuningJob(Box::new(clone));
        self.world.perform(&effect).await.unwrap_err()
    }
}

#[tokio::test]
async fn a_tuning_job_and_its_training_jobs_are_read() {
    let fixture = fixture().await;
    assert_eq!(fixture.described("nothing").await, None);
    fixture.tuned("first").await;
    let ended = fixture.ended("first").await;
    assert_eq!(ended.status, JobStatus::Failed);
    assert!(
        ended
            .failure
            .unwrap()
            .starts_with("All training jobs failed")
    );
    assert_eq!((ended.launched, ended.failed, ended.stopped), (2, 2, 0));
    assert_eq!(ended.best, None);
    assert_eq!(ended.tags["tidegate:pipeline"], "fraud");
    let job = fixture.trained("first").await;
    assert_eq!(job.tuning, Some(TuningName::parse("first").unwrap()));
    assert_eq!(job.tags["tidegate:pipeline"], "fraud");
}

#[tokio::test]
async fn a_tuning_job_like_the_champions_has_the_policys_data_in_each_of_its_definitions() {
    let fixture = fixture().await;
    fixture.tuned("first").await;
    fixture.ended("first").await;
    let champion = fixture.trained("first").await.name;
    let like = TuningLike::OfJob(champion);
    let inputs = [("train", "s3://bucket/new"), ("test", "s3://bucket/other")];
    let effect = Effect::CloneTuningJob(Box::new(clone("again", like, &inputs)));
    let started = fixture.world.perform(&effect).await.unwrap();
    let arn =
        "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/again".to_owned();
    assert_eq!(started, Outcome::Started { arn });
    let describe = fixture
        .clients
        .sagemaker
        .describe_hyper_parameter_tuning_job();
    let describe = describe.hyper_parameter_tuning_job_name("again");
    let made = describe.send().await.unwrap();
    let data: Vec<Vec<&str>> = made
        .training_job_definitions()
        .iter()
        .map(|one| {
            assert_eq!(one.static_hyper_parameters().unwrap()["rounds"], "9");
            let channels = one.input_data_config().iter();
            channels
                .filter_map(|c| c.data_source()?.s3_data_source()?.s3_uri())
                .collect()
        })
        .collect();
    assert_eq!(
        data,
        [
            vec!["s3://bucket/new"],
            vec!["s3://bucket/new", "s3://bucket/other"]
        ]
    );
    assert_eq!(made.warm_start_config(), None, "its parents saw other data");
    let tags = fixture.described("again").await.unwrap().tags;
    assert_eq!(tags["tidegate:pipeline"], "fraud");
    assert_eq!(tags["tidegate:finding"], "monitoring-1");
}

#[tokio::test]
async fn what_can_not_be_tuned_is_refused_with_what_to_do() {
    let fixture = fixture().await;
    fixture.tuned("first").await;
    let first = || TuningLike::Tuning(TuningName::parse("first").unwrap());
    let unknown = fixture.refused(clone("again", first(), &[("trian", "s3://bucket/new")]));
    let unknown = unknown.await;
    assert_eq!(unknown.kind, WorldErrorKind::Refused);
    assert!(
        unknown
            .message
            .ends_with("first has the channels test, train"),
        "{unknown}"
    );
    let nobody = TuningLike::Tuning(TuningName::parse("nobody").unwrap());
    let gone = fixture.refused(clone("again", nobody, &[])).await;
    assert_eq!(gone.kind, WorldErrorKind::Gone, "{gone}");

    // A training job that somebody started by itself.
    let algorithm = aws_sdk_sagemaker::types::AlgorithmSpecification::builder()
        .training_image(IMAGE)
        .training_input_mode(TrainingInputMode::File);
    let of = definition("x", &[]);
    let create = fixture.clients.sagemaker.create_training_job();
    create
        .training_job_name("alone")
        .algorithm_specification(algorithm.build())
        .role_arn(ROLE)
        .set_output_data_config(of.output_data_config)
        .set_resource_config(of.resource_config)
        .set_stopping_condition(of.stopping_condition)
        .send()
        .await
        .unwrap();
    let alone = TuningLike::OfJob(JobName::parse("alone").unwrap());
    let alone = fixture.refused(clone("again", alone, &[])).await;
    assert_eq!(alone.kind, WorldErrorKind::Refused);
    assert!(
        alone
            .message
            .contains("launched by no tuning job; name one in the policy"),
        "{alone}"
    );
}
