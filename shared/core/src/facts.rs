//! The answers that a decision was given, found again by their questions.

use crate::artifact::Artifact;
use crate::name::{EndpointName, JobName, ScheduleName, TuningName};
use crate::origin::DataSource;
use crate::world::{
    Answer, Endpoint, EndpointConfig, Findings, MinuteCounts, Model, MonitoringSchedule, Package,
    PipelineRun, Question, SmokeAnswer, TrainingJob, TuningJob,
};

/// The answers that a decision was given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts(Vec<(Question, Answer)>);

/// What is known of a thing that may not exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known<T> {
    /// It was not asked for, or AWS does not answer for now.
    NotAsked,
    /// It does not exist.
    Missing,
    /// It is this.
    Is(T),
}

impl<T> Known<T> {
    /// The thing, if it is known to exist.
    pub fn is(self) -> Option<T> {
        match self {
            Self::Is(thing) => Some(thing),
            Self::NotAsked | Self::Missing => None,
        }
    }
}

macro_rules! lookups {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty, $question:expr, $answer:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self, $($arg: $type),*) -> Known<&$out> {
            match self.answer(&$question) {
                Some(Answer::$answer(answer)) => Known::Is(answer),
                // It may be answered later.
                Some(Answer::Refused(error)) if error.is_passing() => Known::NotAsked,
                Some(_) => Known::Missing,
                None => Known::NotAsked,
            }
        }
    )*};
}

impl Facts {
    /// Adds an answer.
    pub fn add(&mut self, question: Question, answer: Answer) {
        self.0.push((question, answer));
    }

    /// Whether this was asked.
    pub fn has(&self, question: &Question) -> bool {
        self.answer(question).is_some()
    }

    /// The answer to this question.
    pub fn answer(&self, question: &Question) -> Option<&Answer> {
        self.0.iter().find(|(q, _)| q == question).map(|(_, a)| a)
    }

    lookups! {
        /// An endpoint.
        endpoint(name: &EndpointName) -> Endpoint, Question::Endpoint(name.clone()), Endpoint;
        /// An endpoint config.
        config(name: &str) -> EndpointConfig, Question::EndpointConfig { name: name.to_owned() }, EndpointConfig;
        /// A model.
        model(name: &str) -> Model, Question::Model { name: name.to_owned() }, Model;
        /// A package.
        package(arn: &str) -> Package, Question::Package { arn: arn.to_owned() }, Package;
        /// A training job.
        training_job(job: &JobName) -> TrainingJob, Question::TrainingJob(job.clone()), TrainingJob;
        /// A hyperparameter tuning job.
        tuning_job(job: &TuningName) -> TuningJob, Question::TuningJob(job.clone()), TuningJob;
        /// An execution of a SageMaker pipeline.
        execution(arn: &str) -> PipelineRun, Question::Execution { arn: arn.to_owned() }, Execution;
        /// A monitoring schedule.
        schedule(name: &ScheduleName) -> MonitoringSchedule, Question::MonitoringSchedule(name.clone()), MonitoringSchedule;
        /// What a monitoring job found.
        findings(job: &str) -> Findings, Question::Violations { job: job.to_owned() }, Violations;
        /// A baselining job.
        baselining(job: &ScheduleName) -> PipelineRun, Question::Baselining { job: job.clone() }, Execution;
        /// A text object.
        object(uri: &str) -> str, Question::Object { uri: uri.to_owned() }, Object;
        /// Counts by minute.
        minutes(question: &Question) -> [MinuteCounts], question.clone(), Minutes;
        /// The variants that have metrics.
        variants(endpoint: &EndpointName) -> [String], Question::VariantsOf { endpoint: endpoint.clone() }, Variants;
        /// Answers to smoke requests.
        smoke(question: &Question) -> [SmokeAnswer], question.clone(), Smoke;
        /// What lies in S3.
        data(question: &Question) -> [DataSource], question.clone(), Data;
        /// What is at an S3 URI.
        artifact(uri: &str) -> Artifact, Question::Artifact { uri: uri.to_owned() }, Artifact;
        /// Packages of an artifact.
        packages(question: &Question) -> [Package], question.clone(), Packages;
    }
}
