//! A hyperparameter tuning job: what `DescribeHyperParameterTuningJob` says of it, and what
//! `CreateHyperParameterTuningJob` is to make of one that was.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::JobStatus;
use crate::name::{JobName, TuningName};

/// A tuning job as `DescribeHyperParameterTuningJob` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuningJob {
    /// Its name.
    pub name: TuningName,
    /// Its ARN.
    pub arn: String,
    /// Its status.
    pub status: JobStatus,
    /// Why it failed.
    pub failure: Option<String>,
    /// Its tags, which its training jobs have too.
    pub tags: BTreeMap<String, String>,
    /// Its own best training job (`BestTrainingJob`), as far as there is one.
    pub best: Option<BestJob>,
    /// How many training jobs it launched.
    pub launched: u32,
    /// How many of them failed.
    pub failed: u32,
    /// How many of them were stopped, by SageMaker or by somebody.
    pub stopped: u32,
}

impl TuningJob {
    /// Whether it has ended, well or not.
    pub fn is_over(&self) -> bool {
        !matches!(self.status, JobStatus::InProgress | JobStatus::Stopping)
    }
}

/// The best training job of a tuning job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestJob {
    /// The training job.
    pub job: JobName,
    /// The objective metric and its final value.
    pub objective: Option<(String, f64)>,
}

/// What `CreateHyperParameterTuningJob` is to make of a tuning job that was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuningClone {
    /// Its name, made from the finding: the same finding never tunes twice.
    pub name: TuningName,
    /// The tuning job whose settings it gets.
    pub like: TuningLike,
    /// S3 URIs of channels, instead of the other's.
    pub inputs: BTreeMap<String, String>,
    /// Static hyperparameters, on top of the other's.
    pub hyperparameters: BTreeMap<String, String>,
    /// Tags, on top of the other's.
    pub tags: BTreeMap<String, String>,
}

/// Where a tuning job's settings come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TuningLike {
    /// This tuning job.
    Tuning(TuningName),
    /// The tuning job that launched this training job.
    OfJob(JobName),
}

impl fmt::Display for TuningLike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tuning(name) => name.fmt(f),
            Self::OfJob(job) => write!(f, "the tuning job of {job}"),
        }
    }
}
