//! The port to the outside: what Tidegate asks of AWS, and what it asks AWS to do.
//!
//! A decision first names the facts that it needs ([`Question`]), and then the calls that it wants
//! ([`Effect`]). Both are plain values, so every conversation with AWS can be recorded, replayed
//! and simulated. The adapter's part is to make each effect idempotent (the table in the design's
//! "How an event flows").

use std::collections::BTreeMap;
use std::future::Future;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::artifact::Artifact;
use crate::audit::Anchors;
use crate::event::{Approval, EndpointStatus, JobStatus};
use crate::evidence::Counts;
use crate::gate::Metrics;
use crate::name::{
    EndpointName, GroupName, JobName, PackageVersion, PipelineName, RolloutId, ScheduleName,
    StageName, TuningName,
};
use crate::notice::Notice;
use crate::origin::{DataSource, Origin};
use crate::pipeline::{Capture, Card, GuardMetric, Instance, MonitorKind, Vpc};
use crate::principal::Principal;
use crate::trace::Trace;

mod monitors;
mod tuning;

pub use monitors::{AnalysisSpec, BaselineFiles, BaselineSpec, MonitorSpec, ScheduleState};
pub use tuning::{BestJob, TuningClone, TuningJob, TuningLike};

/// The outside.
pub trait World: Sync {
    /// Answers a question; what does not exist is [`Answer::Missing`], not an error.
    fn ask(&self, question: &Question) -> impl Future<Output = Result<Answer, WorldError>> + Send;

    /// Does an effect. Doing it again, or after somebody else did the same, is success.
    fn perform(&self, effect: &Effect) -> impl Future<Output = Result<Outcome, WorldError>> + Send;

    /// Keeps the ends of all audit trails where nobody can write over them; once an hour, and the
    /// same hour again is success. A world without such a place keeps nothing.
    fn keep_anchors(
        &self,
        anchors: &Anchors,
    ) -> impl Future<Output = Result<(), WorldError>> + Send {
        let _ = anchors;
        std::future::ready(Ok(()))
    }

    /// Whether there is time to look after one more pipeline. Where there is none, every call fails
    /// as [`WorldErrorKind::Unavailable`].
    fn has_time(&self) -> bool {
        true
    }

    /// Ends when nothing is to be waited for any more, so that what was done can still be said.
    fn time_is_up(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Why the outside did not do or answer something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{call}: {message}")]
pub struct WorldError {
    /// What to do about it.
    pub kind: WorldErrorKind,
    /// The AWS call, for example `UpdateEndpoint`.
    pub call: String,
    /// AWS's code and message.
    pub message: String,
}

/// What to do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorldErrorKind {
    /// The thing is busy (an endpoint that is Updating): the next tick tries again.
    NotNow,
    /// Too many calls: try again later.
    Throttled,
    /// Time-out, connection or server error: try again; it may have been done.
    Unavailable,
    /// Not allowed to: no use in trying again.
    Denied,
    /// The thing that is needed does not exist.
    Gone,
    /// Invalid, over a quota or in conflict: no use in trying again as it is.
    Refused,
}

impl WorldError {
    /// Whether the same call may go through later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            WorldErrorKind::NotNow | WorldErrorKind::Throttled | WorldErrorKind::Unavailable
        )
    }
}

/// A question to the outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// `DescribeTrainingJob` and its `ListTags`.
    TrainingJob(JobName),
    /// `DescribeHyperParameterTuningJob` and its `ListTags`.
    TuningJob(TuningName),
    /// `DescribeModelPackage`.
    Package {
        /// The package's ARN.
        arn: String,
    },
    /// What lies under these `s3://` URIs, which are objects or the start of several's keys
    /// (`ListObjectsV2`).
    Data {
        /// The URIs, in the order of the answer.
        uris: Vec<String>,
    },
    /// The object that a version's artifact is, or any other (`HeadObject`, `HeadBucket`).
    Artifact {
        /// Its `s3://` URI.
        uri: String,
    },
    /// The packages of a group, made since `since`, that hold this artifact (`ModelDataUrl`).
    PackagesOf {
        /// The group.
        group: GroupName,
        /// The artifact's S3 URI.
        artifact: String,
        /// No older than this.
        since: Timestamp,
    },
    /// `DescribeEndpoint`.
    Endpoint(EndpointName),
    /// `DescribeEndpointConfig`.
    EndpointConfig {
        /// The config's name.
        name: String,
    },
    /// `DescribeModel`.
    Model {
        /// The model's name.
        name: String,
    },
    /// Counts by minute (`GetMetricData`, one call, paged).
    Minutes {
        /// The endpoint.
        endpoint: EndpointName,
        /// The variants, in the order of the answer.
        variants: Vec<String>,
        /// The guards, in the order of the answer.
        guards: Vec<GuardMetric>,
        /// The first minute, whole.
        from: Timestamp,
        /// The end of the last minute, whole, excluded; at most 1,440 minutes after `from`.
        to: Timestamp,
    },
    /// Counts by the hour, as [`Question::Minutes`] has them by the minute. The answer is
    /// [`Answer::Minutes`], each at its hour's start.
    Hours {
        /// The endpoint.
        endpoint: EndpointName,
        /// The variants, in the order of the answer.
        variants: Vec<String>,
        /// The guards, in the order of the answer.
        guards: Vec<GuardMetric>,
        /// The first hour, whole.
        from: Timestamp,
        /// The end of the last hour, whole, excluded; at most 15 days after `from`, which is how
        /// long `CloudWatch` keeps minutes.
        to: Timestamp,
    },
    /// The variants that `CloudWatch` has metrics of (`ListMetrics`), those of the last two weeks.
    VariantsOf {
        /// The endpoint.
        endpoint: EndpointName,
    },
    /// A small text object in S3, at most 1 MB.
    Object {
        /// Its `s3://` URI.
        uri: String,
    },
    /// `InvokeEndpoint` with each payload, to one variant alone.
    Smoke {
        /// The endpoint.
        endpoint: EndpointName,
        /// The variant.
        variant: String,
        /// `s3://` URIs of the request bodies.
        payloads: Vec<String>,
        /// Their content type.
        content_type: String,
    },
    /// `DescribePipelineExecution`.
    Execution {
        /// The execution's ARN.
        arn: String,
    },
    /// `DescribeMonitoringSchedule`, and with it the newest of `ListMonitoringExecutions`.
    MonitoringSchedule(ScheduleName),
    /// What a monitoring job found: `DescribeProcessingJob` and `constraint_violations.json` in
    /// its output.
    Violations {
        /// The processing job's name.
        job: String,
    },
    /// How far a baselining job is: `DescribeProcessingJob`. The answer is [`Answer::Execution`].
    Baselining {
        /// The processing job's name.
        job: ScheduleName,
    },
    /// The tags of who approved (`ListRoleTags`, `ListUserTags`), all pages.
    PrincipalTags(Principal),
    /// Whether a role's own policies let it read an object, and decrypt it
    /// (`SimulatePrincipalPolicy`), and whether its bucket's may (`GetBucketPolicy`).
    RoleReads {
        /// The role's ARN.
        role: String,
        /// The object's `s3://` URI.
        uri: String,
        /// The ARN of the KMS key that it is encrypted with.
        kms_key: Option<String>,
    },
}

/// An answer from the outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It does not exist.
    Missing,
    /// AWS refused to answer. Adapters give an error instead; the engine makes this of it where a
    /// decision can act on the refusal, or where a look can go without an answer for now.
    Refused(WorldError),
    /// A training job.
    TrainingJob(Box<TrainingJob>),
    /// A hyperparameter tuning job.
    TuningJob(Box<TuningJob>),
    /// A model package.
    Package(Box<Package>),
    /// Model packages.
    Packages(Vec<Package>),
    /// What lies in S3.
    Data(Vec<DataSource>),
    /// What is at an S3 URI.
    Artifact(Box<Artifact>),
    /// An endpoint.
    Endpoint(Box<Endpoint>),
    /// An endpoint config.
    EndpointConfig(Box<EndpointConfig>),
    /// A model.
    Model(Box<Model>),
    /// Counts by minute, in order; a minute that `CloudWatch` has nothing of has no requests.
    Minutes(Vec<MinuteCounts>),
    /// Variants' names, sorted.
    Variants(Vec<String>),
    /// An object's text.
    Object(String),
    /// One answer per payload, in order.
    Smoke(Vec<SmokeAnswer>),
    /// An execution of a SageMaker pipeline.
    Execution(Box<PipelineRun>),
    /// A monitoring schedule.
    MonitoringSchedule(Box<MonitoringSchedule>),
    /// What a monitoring job found.
    Violations(Box<Findings>),
    /// Tags, key to value.
    Tags(BTreeMap<String, String>),
    /// What IAM says of a role and an object.
    RoleReads(Box<Access>),
}

/// A training job as `DescribeTrainingJob` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingJob {
    /// Its name.
    pub name: JobName,
    /// Its ARN.
    pub arn: String,
    /// Its status.
    pub status: JobStatus,
    /// Why it failed.
    pub failure: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// `FinalMetricDataList`; of a name that is there twice, the newest.
    pub metrics: Metrics,
    /// `ModelArtifacts.S3ModelArtifacts`.
    pub artifact: Option<String>,
    /// `OutputDataConfig.S3OutputPath`.
    pub output: String,
    /// The training image (`TrainingImage`), if it isn't an algorithm's.
    pub image: Option<String>,
    /// Hyperparameters.
    pub hyperparameters: BTreeMap<String, String>,
    /// The role that it ran as.
    pub role: String,
    /// The VPC that it ran in.
    pub vpc: Option<Vpc>,
    /// `EnableNetworkIsolation`.
    pub network_isolation: bool,
    /// The channels' S3 URIs, by channel.
    pub inputs: BTreeMap<String, String>,
    /// The KMS key of its artifact (`OutputDataConfig.KmsKeyId`).
    pub kms_key: Option<String>,
    /// The tuning job that launched it (`TuningJobArn`), if one did.
    #[serde(default)]
    pub tuning: Option<TuningName>,
}

/// Who changed a package last, if it was Tidegate itself.
pub const TIDEGATE: &str = "Tidegate";

/// A model package as `DescribeModelPackage` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// Its ARN.
    pub arn: String,
    /// Its group.
    pub group: GroupName,
    /// Its version.
    pub version: PackageVersion,
    /// Its approval.
    pub approval: Approval,
    /// Whether it can be used: `ModelPackageStatus` is Completed.
    pub usable: bool,
    /// Why not, if it can't.
    pub failure: Option<String>,
    /// `ApprovalDescription`.
    pub approval_description: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// `LastModifiedTime`; the creation's, if never modified.
    pub modified: Timestamp,
    /// Who modified it last, as far as SageMaker says; [`TIDEGATE`], if it was Tidegate itself.
    pub modified_by: Option<String>,
    /// The first container's image.
    pub image: Option<String>,
    /// The artifacts of its containers (`ModelDataUrl`).
    pub artifacts: Vec<String>,
    /// `CustomerMetadataProperties`.
    pub metadata: BTreeMap<String, String>,
    /// Where it comes from.
    pub origin: Origin,
    /// `DriftCheckBaselines`, by the kind of monitor that they are for.
    #[serde(default)]
    pub drift_baselines: BTreeMap<MonitorKind, BaselineFiles>,
}

impl Package {
    /// Whether an approval that was decided on when the package was last changed at `seen` is not to
    /// be set any more, since somebody else changed it. What Tidegate wrote beside the approval does
    /// not count, as long as that is what it was: Approved if it is to be taken back, else pending.
    pub fn is_changed_by_others(&self, to: Approval, seen: Timestamp) -> bool {
        let from = match to {
            Approval::PendingManualApproval => Approval::Approved,
            Approval::Approved | Approval::Rejected => Approval::PendingManualApproval,
        };
        let is_ours = self.modified_by.as_deref() == Some(TIDEGATE);
        self.modified > seen && !(is_ours && self.approval == from)
    }
}

/// An endpoint as `DescribeEndpoint` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: EndpointName,
    /// Its status.
    pub status: EndpointStatus,
    /// The config that serves.
    pub config: String,
    /// The config of a deployment that is under way.
    pub pending_config: Option<String>,
    /// `FailureReason`.
    pub failure: Option<String>,
    /// Its variants.
    pub variants: Vec<Variant>,
    /// `LastModifiedTime`: tells a description of before a change from one of after it.
    #[serde(default)]
    pub modified: Option<Timestamp>,
}

impl Endpoint {
    /// The variant of this name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|v| v.name == name)
    }

    /// Its status for people, with the reason if it gives one: `Failed (no capacity)`.
    pub(crate) fn status_in_words(&self) -> String {
        match &self.failure {
            Some(failure) => format!("{:?} ({failure})", self.status),
            None => format!("{:?}", self.status),
        }
    }
}

/// A variant of an endpoint, as it serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// `CurrentWeight`, 0 or more, relative to the others'.
    pub weight: f64,
    /// `DesiredWeight`.
    pub desired_weight: f64,
    /// `CurrentInstanceCount`.
    pub count: u32,
    /// `DesiredInstanceCount`.
    pub desired_count: u32,
    /// Whether it is serverless.
    pub serverless: bool,
}

/// An endpoint config as `DescribeEndpointConfig` has it, as far as decisions go. Everything else
/// of it is copied by the adapter ([`ConfigSpec::like`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointConfig {
    /// Its name.
    pub name: String,
    /// Its variants.
    pub variants: Vec<ConfigVariant>,
}

/// A variant of an endpoint config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigVariant {
    /// Its name.
    pub name: String,
    /// Its model's name; none for inference components.
    pub model: Option<String>,
    /// Its instance type; none if serverless.
    pub instance_type: Option<String>,
}

/// A model as `DescribeModel` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The package that its (first) container names.
    pub package: Option<String>,
    /// Its (first) container's image.
    pub image: Option<String>,
    /// Its (first) container's environment.
    pub environment: BTreeMap<String, String>,
    /// The role that it runs as.
    #[serde(default)]
    pub role: Option<String>,
}

/// One minute's counts: `variants[v][g]` are those of variant v and guard g of the question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinuteCounts {
    /// The minute's start.
    pub at: Timestamp,
    /// Counts by variant and guard.
    pub variants: Vec<Vec<Counts>>,
}

impl MinuteCounts {
    /// The counts of a variant and a guard, by their places in the question; none if they are not
    /// in the answer.
    pub fn of(&self, variant: usize, guard: usize) -> Counts {
        let variant = self.variants.get(variant);
        variant
            .and_then(|v| v.get(guard))
            .copied()
            .unwrap_or_default()
            .bounded()
    }
}

/// How one smoke request was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SmokeAnswer {
    /// The payload's URI.
    pub payload: String,
    /// The HTTP status of the model's answer; 0 if there was none.
    pub status: u16,
    /// Milliseconds until the answer.
    pub milliseconds: u64,
    /// What went wrong, at most 500 characters.
    pub problem: Option<String>,
}

/// An execution of a SageMaker pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineRun {
    /// Its status.
    pub status: RunStatus,
    /// Why it failed.
    pub failure: Option<String>,
}

/// How far an execution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Not ended.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Stopped by somebody.
    Stopped,
}

/// A monitoring schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitoringSchedule {
    /// Its name.
    pub name: ScheduleName,
    /// The endpoint that it watches.
    pub endpoint: Option<EndpointName>,
    /// The newest execution that ended with violations: its processing job's name.
    pub newest_violating_job: Option<String>,
    /// When that execution was to run.
    #[serde(default)]
    pub newest_violating_at: Option<Timestamp>,
    /// Whether it runs.
    #[serde(default)]
    pub state: ScheduleState,
}

/// What a monitoring job found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The processing job's name.
    pub job: String,
    /// Where the findings are.
    pub report: Option<String>,
    /// The start of the data that it looked at, if known.
    pub data_since: Option<Timestamp>,
    /// Why the report can't be read, if it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// The violations, at most 100, those of the schema first.
    pub violations: Vec<Violation>,
}

/// One line of `constraint_violations.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The feature.
    pub feature: String,
    /// The check, for example `baseline_drift_check`.
    pub check: String,
    /// What was found.
    pub description: String,
}

/// A call to AWS that a decision asks for. Names in it are derived from what it is for, so that
/// doing it twice finds the first one's work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// `CreateModelPackage` with a client token.
    RegisterPackage(Box<PackageSpec>),
    /// `UpdateModelPackage`: the approval and why.
    SetApproval {
        /// The package's ARN.
        arn: String,
        /// The approval to set.
        approval: Approval,
        /// Why, at most 1,024 characters.
        why: String,
        /// The package's `LastModifiedTime` that this was decided on: if somebody changed it since,
        /// that stays. None sets it in any case.
        #[serde(default)]
        seen: Option<Timestamp>,
    },
    /// `UpdateModelPackage`: what is written into a package beside its approval.
    Annotate(Box<Annotation>),
    /// `CreateArtifact`, `CreateAction`, `CreateContext` and `AddAssociation`: SageMaker's lineage.
    Trace(Box<Trace>),
    /// `CreateModel` from a package.
    CreateModel(Box<ModelSpec>),
    /// `DeleteModel`.
    DeleteModel {
        /// The model's name.
        name: String,
    },
    /// `CreateEndpointConfig`.
    CreateEndpointConfig(Box<ConfigSpec>),
    /// `DeleteEndpointConfig`.
    DeleteEndpointConfig {
        /// The config's name.
        name: String,
    },
    /// `CreateEndpoint`.
    CreateEndpoint {
        /// The endpoint.
        endpoint: EndpointName,
        /// Its config.
        config: String,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// `UpdateEndpoint`, only while `InService`.
    UpdateEndpoint {
        /// The endpoint.
        endpoint: EndpointName,
        /// The config to bring up.
        config: String,
        /// `RetainAllVariantProperties`: a variant that stays keeps its present count and weight.
        retain: bool,
    },
    /// `DeleteEndpoint`, of one that a first deployment created.
    DeleteEndpoint {
        /// The endpoint.
        endpoint: EndpointName,
    },
    /// `UpdateEndpointWeightsAndCapacities`, weights alone, only while `InService`.
    ShiftWeights {
        /// The endpoint.
        endpoint: EndpointName,
        /// Percent by variant; they sum to 100.
        weights: BTreeMap<String, u8>,
    },
    /// `CreateSchedule`: a tick every minute for a rollout.
    StartTicks {
        /// The pipeline's group.
        group: GroupName,
        /// The stage.
        stage: StageName,
        /// The rollout that the schedule is named after.
        rollout: RolloutId,
    },
    /// `DeleteSchedule`.
    StopTicks {
        /// The rollout that the schedule is named after.
        rollout: RolloutId,
    },
    /// `CreateTrainingJob` like another one.
    CloneTrainingJob(Box<TrainingClone>),
    /// `CreateHyperParameterTuningJob` like another one.
    CloneTuningJob(Box<TuningClone>),
    /// `PutEvents` to the default bus: others are asked to train again.
    RequestRetraining(Box<RetrainingRequest>),
    /// `StartPipelineExecution` with a client token.
    StartRetraining {
        /// The SageMaker pipeline's name.
        pipeline: String,
        /// 32 to 128 characters; the same token never starts two.
        token: String,
        /// Parameters.
        parameters: BTreeMap<String, String>,
        /// Why, as the execution's description.
        why: String,
    },
    /// `CreateProcessingJob`: the baseline of a monitor.
    StartBaselining(Box<BaselineSpec>),
    /// The job definition of a monitor, and `CreateMonitoringSchedule`.
    SetUpMonitor(Box<MonitorSpec>),
    /// `StopMonitoringSchedule` or `StartMonitoringSchedule`.
    PauseMonitor {
        /// The schedule's name.
        name: ScheduleName,
        /// Whether it stops; else it runs again.
        pause: bool,
    },
    /// `DeleteMonitoringSchedule`, and the deletion of its job definition.
    RemoveMonitor {
        /// The name of both.
        name: ScheduleName,
        /// Which kind of job definition it is.
        kind: MonitorKind,
    },
    /// `Publish` to the pipeline's topic.
    Tell {
        /// The topic; the installation's if none.
        topic: Option<String>,
        /// What to tell.
        notice: Box<Notice>,
    },
    /// `PutEvents` to the default bus, source `tidegate`, so that others can act on it.
    Announce {
        /// What to announce.
        notice: Box<Notice>,
    },
}

impl Effect {
    /// Whether it changes what an endpoint serves by, config or weights.
    pub(crate) fn changes_endpoint(&self) -> bool {
        matches!(
            self,
            Self::UpdateEndpoint { .. } | Self::ShiftWeights { .. }
        )
    }
}

/// What `UpdateModelPackage` is to write into a package. What somebody else wrote stays: metadata of
/// a key that is there, and a life cycle that Tidegate did not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// The package's ARN.
    pub arn: String,
    /// `CustomerMetadataProperties` to add.
    pub metadata: BTreeMap<String, String>,
    /// The life cycle to set.
    pub life_cycle: Option<LifeCycle>,
    /// Who approved it, for [`APPROVER_KEY`](crate::origin::APPROVER_KEY): instead of what is there,
    /// and only while the package is Approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

/// How far a version is (`ModelLifeCycle`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeCycle {
    /// The stage, 1 to 63 letters, digits and inner hyphens.
    pub stage: String,
    /// Its status, the same.
    pub status: String,
    /// Why, for people; cut at what SageMaker takes.
    pub why: String,
}

/// What `CreateTrainingJob` is to make of a job that was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingClone {
    /// Its name, made from the finding: the same finding never trains twice.
    pub name: JobName,
    /// The job whose settings it gets.
    pub like: JobName,
    /// S3 URIs of channels, instead of the other job's.
    pub inputs: BTreeMap<String, String>,
    /// Hyperparameters, on top of the other job's.
    pub hyperparameters: BTreeMap<String, String>,
    /// Tags, on top of the other job's.
    pub tags: BTreeMap<String, String>,
}

/// The event by which others are asked to train again: its detail, as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetrainingRequest {
    /// The same for the same finding, so that whoever acts on it can drop repeats.
    pub id: String,
    /// When it was decided.
    pub at: Timestamp,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Its group.
    pub group: GroupName,
    /// The endpoint that it is for.
    pub endpoint: EndpointName,
    /// The finding: a training job that is tagged `tidegate:finding` with it is known as the answer.
    pub finding: String,
    /// Why, for people.
    pub reason: String,
    /// The start of the data that the finding is about.
    pub data_from: Timestamp,
    /// Its end.
    pub data_to: Timestamp,
    /// The version that serves.
    pub parent_version: Option<PackageVersion>,
    /// The training job of the version that serves.
    pub champion_job: Option<String>,
    /// The first feature of the finding.
    pub feature: Option<String>,
    /// What the policy adds.
    pub detail: BTreeMap<String, String>,
}

/// What `CreateModelPackage` is to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageSpec {
    /// 32 hex digits of a hash of the training job's ARN.
    pub token: String,
    /// The group; it is created if it isn't there.
    pub group: GroupName,
    /// The training job.
    pub job: JobName,
    /// Its ARN (`MetadataProperties.GeneratedBy`).
    pub job_arn: String,
    /// A description for people, at most 1,024 characters.
    pub description: String,
    /// The inference image.
    pub image: String,
    /// The artifact.
    pub artifact: String,
    /// The container's environment.
    pub environment: BTreeMap<String, String>,
    /// Content types that it accepts.
    pub content_types: Vec<String>,
    /// Content types that it answers with.
    pub response_types: Vec<String>,
    /// The gate's verdict.
    pub approval: Approval,
    /// Why, at most 1,024 characters.
    pub why: String,
    /// The evaluation file, as `ModelMetrics.ModelQuality.Statistics`.
    pub evaluation: Option<String>,
    /// The Git commit that it was trained from, if known.
    pub commit: Option<String>,
    /// The repository of that commit, if known.
    #[serde(default)]
    pub repository: Option<String>,
    /// `CustomerMetadataProperties`, at most 50.
    pub metadata: BTreeMap<String, String>,
    /// The life cycle that it begins with, if the policy keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_cycle: Option<LifeCycle>,
    /// Its model card, if the policy asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
}

/// What `CreateModel` is to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The model's name.
    pub name: String,
    /// The package that it is made from.
    pub package: String,
    /// Copy role, VPC, network isolation and tags from this model.
    pub like: Option<String>,
    /// The role, if the policy says.
    pub role: Option<String>,
    /// The VPC, if the policy says.
    pub vpc: Option<Vpc>,
    /// Network isolation, if the policy says.
    pub network_isolation: Option<bool>,
    /// The training job, for role, VPC and isolation that neither of the others gives.
    pub job: Option<JobName>,
    /// The container's environment on top of the package's.
    pub environment: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// What `CreateEndpointConfig` is to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigSpec {
    /// The config's name.
    pub name: String,
    /// Copy every setting that is not said here (data capture, KMS, VPC, role, tags, ...) from
    /// this config.
    pub like: Option<String>,
    /// The variants.
    pub variants: Vec<VariantSpec>,
    /// Data capture, instead of the copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A variant of a config to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantSpec {
    /// Its name.
    pub name: String,
    /// Its model.
    pub model: String,
    /// Copy every setting that is not said here (type, volume, timeouts, AMI, ...) from this
    /// variant of the config that is copied.
    pub like: Option<String>,
    /// The instance type, if not the copied one's; the count is below.
    pub instance: Option<Instance>,
    /// How many instances.
    pub count: u32,
    /// Percent of traffic.
    pub weight: u8,
    /// How long the model's download may take, seconds, if the policy says.
    pub model_download_seconds: Option<u32>,
    /// How long the container may take to answer its health check, seconds, if the policy says.
    pub startup_seconds: Option<u32>,
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, or it was so already.
    Done,
    /// A package was registered, or was there already.
    Registered {
        /// Its ARN.
        arn: String,
        /// Its version.
        version: PackageVersion,
    },
    /// An execution was started, or was there already.
    Started {
        /// Its ARN.
        arn: String,
    },
    /// It can't be done.
    Failed(WorldError),
}
