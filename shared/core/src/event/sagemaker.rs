//! SageMaker's state changes: training jobs, model packages, endpoints, monitoring. Source:
//! "Automating Amazon SageMaker with Amazon EventBridge"; monitoring from the API reference
//! (`DescribeProcessingJob`, `DescribeMonitoringSchedule`), whose shapes those events carry.

use super::field::{Object, fold, last_part};
use super::{Approval, EndpointStatus, EventError, JobStatus, Kind, MonitoringOutcome, unhandled};
use crate::name::{EndpointName, GroupName, JobName, PackageVersion, ScheduleName, TuningName};

/// What a SageMaker event is about.
pub(super) fn kind(root: &Object<'_>, source: &str, detail_type: &str) -> Result<Kind, EventError> {
    let read = match fold(detail_type).as_str() {
        "sagemakertrainingjobstatechange" => training_job,
        "sagemakerhyperparametertuningjobstatechange" => tuning_job,
        "sagemakermodelpackagestatechange" => package,
        "sagemakerendpointstatechange" => endpoint,
        "sagemakerprocessingjobstatechange" => processing_job,
        "sagemakermonitoringschedulestatechange" => monitoring_schedule,
        "sagemakermodelbuildingpipelineexecutionstatuschange" => execution,
        "awsapicallviacloudtrail" => return super::call::kind(root, source, detail_type),
        other => return Ok(unhandled(source, detail_type, why_not(other))),
    };
    let detail = root.need_object("detail", "it holds what changed")?;
    Ok(match read(root, &detail)? {
        Read::Kind(kind) => kind,
        Read::Nothing(why) => unhandled(source, detail_type, why),
    })
}

/// What came of reading a detail.
enum Read {
    /// Something to act on.
    Kind(Kind),
    /// Nothing to act on, and why.
    Nothing(String),
}

/// Why a kind of event is not acted on.
fn why_not(folded: &str) -> &'static str {
    match folded {
        "sagemakertransformjobstatechange" => "a batch transform job serves no endpoint",
        "sagemakermodelcardstatechange" => {
            "a model card is a document about a model; approval is on the model package"
        }
        "sagemakermodelbuildingpipelineexecutionstepstatuschange" => {
            "a pipeline's steps are not acted on; the training jobs and model packages that they \
             make send events of their own"
        }
        "sagemakermodelstatechange" => {
            "a model serves nothing until an endpoint uses it; the endpoint sends its own events"
        }
        "sagemakerendpointconfigstatechange" => {
            "an endpoint config serves nothing until an endpoint uses it; the endpoint sends its \
             own events"
        }
        "sagemakerendpointdeploymentstatechange" => {
            "the endpoint's own state change says how a deployment ended"
        }
        _ => "Tidegate has no use for this kind of SageMaker event",
    }
}

fn training_job(root: &Object<'_>, detail: &Object<'_>) -> Result<Read, EventError> {
    let (key, job) = name_of(root, detail, "TrainingJobName", "TrainingJobArn")?
        .ok_or_else(|| detail.missing("TrainingJobName", "it names the job that changed"))?;
    let job = detail.name(key, &job, JobName::parse)?;
    let status = detail.need_text("TrainingJobStatus", "only a job that ended is gated")?;
    let Some(status) = job_status(&status) else {
        return Ok(Read::Nothing(format!(
            "training job {job} has the status {status:?}, which Tidegate does not act on"
        )));
    };
    Ok(Read::Kind(Kind::TrainingJob {
        job,
        status,
        tags: detail.pairs("Tags")?,
    }))
}

fn job_status(status: &str) -> Option<JobStatus> {
    Some(match fold(status).as_str() {
        "inprogress" => JobStatus::InProgress,
        "completed" => JobStatus::Completed,
        "failed" => JobStatus::Failed,
        "stopping" => JobStatus::Stopping,
        "stopped" => JobStatus::Stopped,
        _ => return None,
    })
}

fn tuning_job(root: &Object<'_>, detail: &Object<'_>) -> Result<Read, EventError> {
    let (name, arn) = ("HyperParameterTuningJobName", "HyperParameterTuningJobArn");
    let (key, job) = name_of(root, detail, name, arn)?
        .ok_or_else(|| detail.missing(name, "it names the tuning job that changed"))?;
    let job = detail.name(key, &job, TuningName::parse)?;
    let why = "only of a tuning job that ended the best model is gated";
    let status = detail.need_text("HyperParameterTuningJobStatus", why)?;
    let Some(status) = job_status(&status) else {
        return Ok(Read::Nothing(format!(
            "tuning job {job} has the status {status:?}, which Tidegate does not act on"
        )));
    };
    Ok(Read::Kind(Kind::TuningJob {
        job,
        status,
        tags: detail.pairs("Tags")?,
    }))
}

fn package(root: &Object<'_>, detail: &Object<'_>) -> Result<Read, EventError> {
    let arn = match detail.text("ModelPackageArn")? {
        Some(arn) => arn,
        None => first_resource(root)
            .ok_or_else(|| detail.missing("ModelPackageArn", "it names the package"))?,
    };
    // `arn:aws:sagemaker:<region>:<account>:model-package/<group>/<version>`
    let mut parts = arn.split('/').skip(1);
    let (group_in_arn, version_in_arn) = (parts.next(), parts.next());
    // The ARN's group is in lower case, so the name's own field goes before it.
    let group = match detail.text("ModelPackageGroupName")? {
        Some(group) => group,
        None => match (group_in_arn, version_in_arn) {
            (Some(group), Some(_)) => group.to_owned(),
            _ => {
                return Ok(Read::Nothing(format!(
                    "model package {arn} is in no group, so it is a version of nothing"
                )));
            }
        },
    };
    let group = detail.name("ModelPackageGroupName", &group, GroupName::parse)?;
    let version = match detail.text("ModelPackageVersion")? {
        Some(version) => version,
        None => version_in_arn
            .ok_or_else(|| detail.missing("ModelPackageVersion", "it names the version"))?
            .to_owned(),
    };
    let version = whole_number(&version).ok_or_else(|| {
        detail.invalid(
            "ModelPackageVersion",
            &version.into(),
            "a whole number from 1",
        )
    })?;
    let Some(approval) = detail.text("ModelApprovalStatus")? else {
        // Only a package that is complete has an approval for certain.
        return match detail.text("ModelPackageStatus")? {
            Some(status) if fold(&status) != "completed" => Ok(Read::Nothing(format!(
                "version {version} of {group} is {status} and has no approval yet"
            ))),
            _ => Err(detail.missing(
                "ModelApprovalStatus",
                "it says whether the version may serve",
            )),
        };
    };
    let approval = match fold(&approval).as_str() {
        "approved" => Approval::Approved,
        "rejected" => Approval::Rejected,
        "pendingmanualapproval" => Approval::PendingManualApproval,
        _ => {
            return Ok(Read::Nothing(format!(
                "version {version} of {group} has the approval {approval:?}, which Tidegate does \
                 not know"
            )));
        }
    };
    Ok(Read::Kind(Kind::Package {
        group,
        version: PackageVersion(version),
        arn,
        approval,
    }))
}

/// `2`, `"2"` and `2.0` are version 2.
fn whole_number(text: &str) -> Option<u32> {
    let digits = text.split_once('.').map_or(Some(text), |(whole, rest)| {
        rest.bytes().all(|b| b == b'0').then_some(whole)
    })?;
    digits.parse().ok().filter(|number| *number > 0)
}

fn endpoint(root: &Object<'_>, detail: &Object<'_>) -> Result<Read, EventError> {
    let (key, endpoint) = name_of(root, detail, "EndpointName", "EndpointArn")?
        .ok_or_else(|| detail.missing("EndpointName", "it names the endpoint that changed"))?;
    let status = detail.need_text("EndpointStatus", "it says how the endpoint is")?;
    Ok(Read::Kind(Kind::Endpoint {
        endpoint: detail.name(key, &endpoint, EndpointName::parse)?,
        status: endpoint_status(&status),
    }))
}

fn endpoint_status(status: &str) -> EndpointStatus {
    match fold(status).as_str() {
        "outofservice" => EndpointStatus::OutOfService,
        "creating" => EndpointStatus::Creating,
        "updating" => EndpointStatus::Updating,
        "systemupdating" => EndpointStatus::SystemUpdating,
        "rollingback" => EndpointStatus::RollingBack,
        "inservice" => EndpointStatus::InService,
        "deleting" => EndpointStatus::Deleting,
        "failed" => EndpointStatus::Failed,
        "updaterollbackfailed" => EndpointStatus::UpdateRollbackFailed,
        _ => EndpointStatus::Unknown,
    }
}

fn processing_job(_root: &Object<'_>, detail: &Object<'_>) -> Result<Read, EventError> {
    let job = match detail.text("ProcessingJobName")? {
        Some(name) => Some(name),
        None => arn_name(detail, "ProcessingJobArn")?,
    };
    let Some(schedule_arn) = detail.text("MonitoringScheduleArn")? else {
        return Ok(Read::Nothing(format!(
            "processing job {} belongs to no monitoring schedule",
            job.as_deref().unwrap_or("without a name")
        )));
    };
    let environment = detail.hint("Environment");
    let told = |key: &str| environment.as_ref().and_then(|pairs| pairs.hint_text(key));
    let in_arn = last_part(&schedule_arn);
    // An ARN has the name in lower case; the job's environment has it as it was given.
    let schedule = told("sagemaker_monitoring_schedule_name")
        .filter(|name| name.eq_ignore_ascii_case(in_arn))
        .unwrap_or_else(|| in_arn.to_owned());
    let endpoint = told("sagemaker_endpoint_name")
        .or_else(|| endpoint_input(detail, "ProcessingInputs"))
        .and_then(|name| EndpointName::parse(&name).ok());
    let status = detail.need_text(
        "ProcessingJobStatus",
        "it says how the monitoring job ended",
    )?;
    let exit = detail.prose("ExitMessage");
    let outcome = match fold(&status).as_str() {
        "failed" => MonitoringOutcome::Failed(reason(&[detail.prose("FailureReason"), exit])),
        "stopped" => MonitoringOutcome::Failed(stopped(&[detail.prose("FailureReason"), exit])),
        "completed" if fold(&exit).starts_with("completedwithviolations") => {
            MonitoringOutcome::Violations
        }
        _ => MonitoringOutcome::Quiet,
    };
    Ok(Read::Kind(Kind::Monitoring {
        schedule: detail.name("MonitoringScheduleArn", &schedule, ScheduleName::parse)?,
        endpoint,
        job,
        outcome,
    }))
}

fn execution(_root: &Object<'_>, detail: &Object<'_>) -> Result<Read, EventError> {
    let arn = detail.need_text("pipelineExecutionArn", "it names the execution")?;
    let status = detail.need_text(
        "currentPipelineExecutionStatus",
        "it says whether the execution ended",
    )?;
    if matches!(fold(&status).as_str(), "executing" | "stopping") {
        return Ok(Read::Nothing(format!(
            "the pipeline execution {arn} is not over"
        )));
    }
    Ok(Read::Kind(Kind::Execution { arn, status }))
}

fn monitoring_schedule(root: &Object<'_>, detail: &Object<'_>) -> Result<Read, EventError> {
    let (key, schedule) = name_of(
        root,
        detail,
        "MonitoringScheduleName",
        "MonitoringScheduleArn",
    )?
    .ok_or_else(|| {
        detail.missing(
            "MonitoringScheduleName",
            "it names the schedule that changed",
        )
    })?;
    let schedule = detail.name(key, &schedule, ScheduleName::parse)?;
    let last = detail.object("LastMonitoringExecutionSummary")?;
    let endpoint = detail
        .text("EndpointName")?
        .or_else(|| last.as_ref()?.hint_text("EndpointName"))
        .or_else(|| {
            let config = detail.hint("MonitoringScheduleConfig")?;
            endpoint_input(&config.hint("MonitoringJobDefinition")?, "MonitoringInputs")
        })
        .and_then(|name| EndpointName::parse(&name).ok());
    let schedule_failed = detail
        .text("MonitoringScheduleStatus")?
        .is_some_and(|status| fold(&status) == "failed");
    let (ended, job, failure) = match &last {
        Some(last) => (
            last.text("MonitoringExecutionStatus")?
                .map(|status| fold(&status)),
            arn_name(last, "ProcessingJobArn")?,
            last.prose("FailureReason"),
        ),
        None => (None, None, String::new()),
    };
    let outcome = match ended.as_deref() {
        Some("completedwithviolations") => MonitoringOutcome::Violations,
        Some("failed") => MonitoringOutcome::Failed(reason(&[failure])),
        Some("stopped") => MonitoringOutcome::Failed(stopped(&[failure])),
        _ if schedule_failed => {
            MonitoringOutcome::Failed(reason(&[detail.prose("FailureReason"), failure]))
        }
        _ => MonitoringOutcome::Quiet,
    };
    Ok(Read::Kind(Kind::Monitoring {
        schedule,
        endpoint,
        job,
        outcome,
    }))
}

/// The endpoint of the first input that has one.
fn endpoint_input(holder: &Object<'_>, inputs: &str) -> Option<String> {
    holder
        .objects(inputs)
        .iter()
        .find_map(|input| input.hint("EndpointInput")?.hint_text("EndpointName"))
}

/// The first reason that says something.
fn reason(candidates: &[String]) -> String {
    candidates
        .iter()
        .find(|text| !text.trim().is_empty())
        .cloned()
        .unwrap_or_else(|| "SageMaker gives no reason".to_owned())
}

/// Why a monitoring job was stopped, which is not to have found nothing.
fn stopped(candidates: &[String]) -> String {
    let said = candidates.iter().find(|text| !text.trim().is_empty());
    said.map_or_else(
        || "it was stopped before it ended".to_owned(),
        |why| format!("it was stopped: {why}"),
    )
}

/// A thing's name with the key it was found under: its own field, else its ARN's last part, else
/// the last part of the first of the event's resources.
fn name_of<'k>(
    root: &Object<'_>,
    detail: &Object<'_>,
    name: &'k str,
    arn: &'k str,
) -> Result<Option<(&'k str, String)>, EventError> {
    if let Some(text) = detail.text(name)? {
        return Ok(Some((name, text)));
    }
    if let Some(text) = arn_name(detail, arn)? {
        return Ok(Some((arn, text)));
    }
    Ok(first_resource(root).map(|text| (name, last_part(&text).to_owned())))
}

fn arn_name(holder: &Object<'_>, key: &str) -> Result<Option<String>, EventError> {
    Ok(holder.text(key)?.map(|arn| last_part(&arn).to_owned()))
}

fn first_resource(root: &Object<'_>) -> Option<String> {
    let first = root.raw("resources")?.as_array()?.first()?.as_str()?;
    (!first.is_empty() && first.len() <= 2_048).then(|| first.to_owned())
}
