//! Monitors of Model Monitor: a job definition and its schedule, by one name.
//!
//! Sources: `CreateMonitoringSchedule`, `StopMonitoringSchedule` and `DeleteMonitoringSchedule` in the
//! SageMaker API reference. A schedule that was just changed is Pending and takes no other change:
//! each call looks first, and says `NotNow` until then.

use aws_sdk_sagemaker::operation::describe_monitoring_schedule::DescribeMonitoringScheduleOutput;
use aws_sdk_sagemaker::types::{
    MonitoringScheduleConfig, MonitoringType, ScheduleConfig, ScheduleStatus,
};
use tidegate_core::name::ScheduleName;
use tidegate_core::pipeline::MonitorKind;
use tidegate_core::world::{MonitorSpec, Outcome, WorldError, WorldErrorKind};

use super::AwsWorld;
use crate::error::{Failure, error, failed, refused};

mod definitions;
mod parts;

pub(super) use parts::{OUTPUT, aws_tags, network, problem};

const CREATE: &str = "CreateMonitoringSchedule";
const DELETE: &str = "DeleteMonitoringSchedule";

impl AwsWorld {
    pub(super) async fn set_up_monitor(&self, spec: &MonitorSpec) -> Result<Outcome, WorldError> {
        if let Some(analysis) = &spec.analysis {
            self.ensure_configs(&spec.monitor, analysis).await?;
        }
        self.ensure_definition(spec).await?;
        let name = spec.name.as_str();
        let when = ScheduleConfig::builder().schedule_expression(spec.monitor.expression());
        let config = MonitoringScheduleConfig::builder()
            .schedule_config(when.build())
            .monitoring_job_definition_name(name)
            .monitoring_type(monitoring_type(spec.monitor.kind))
            .build();
        let made = self
            .clients
            .sagemaker
            .create_monitoring_schedule()
            .monitoring_schedule_name(name)
            .monitoring_schedule_config(config)
            .set_tags(aws_tags(&spec.tags))
            .send();
        match made.await.map_err(failed(CREATE)) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.already => self.is_the_monitor(spec).await,
            Err(failure) => Err(failure.into()),
        }
    }

    /// Whether the schedule of this name, which is there already, is the one that was to be made.
    async fn is_the_monitor(&self, spec: &MonitorSpec) -> Result<Outcome, WorldError> {
        let there = self.described_schedule(&spec.name).await?;
        let config = there.and_then(|schedule| schedule.monitoring_schedule_config);
        let is_ours = config.is_some_and(|config| {
            let when = config.schedule_config();
            let expression = when.and_then(ScheduleConfig::schedule_expression);
            config.monitoring_job_definition_name() == Some(spec.name.as_str())
                && expression == Some(spec.monitor.expression())
        });
        if is_ours {
            return Ok(Outcome::Done);
        }
        Err(refused(
            CREATE,
            format!(
                "a monitoring schedule {} is there already and is another; delete it",
                spec.name
            ),
        ))
    }

    pub(super) async fn pause_monitor(
        &self,
        name: &ScheduleName,
        pause: bool,
    ) -> Result<Outcome, WorldError> {
        let call = if pause {
            "StopMonitoringSchedule"
        } else {
            "StartMonitoringSchedule"
        };
        let Some(there) = self.described_schedule(name).await? else {
            if pause {
                // What is not there does not run.
                return Ok(Outcome::Done);
            }
            let why = format!("the monitoring schedule {name} was deleted by somebody");
            return Err(error(WorldErrorKind::Gone, call, why));
        };
        let is_stopped = there.monitoring_schedule_status == Some(ScheduleStatus::Stopped);
        if is_stopped == pause && there.monitoring_schedule_status != Some(ScheduleStatus::Pending)
        {
            return Ok(Outcome::Done);
        }
        may_change(name, &there, call)?;
        let sagemaker = &self.clients.sagemaker;
        if pause {
            let stop = sagemaker.stop_monitoring_schedule();
            let stop = stop.monitoring_schedule_name(name.as_str());
            stop.send().await.map_err(failed(call)).map_err(pending)?;
        } else {
            let start = sagemaker.start_monitoring_schedule();
            let start = start.monitoring_schedule_name(name.as_str());
            start.send().await.map_err(failed(call)).map_err(pending)?;
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn remove_monitor(
        &self,
        name: &ScheduleName,
        kind: MonitorKind,
    ) -> Result<Outcome, WorldError> {
        if let Some(there) = self.described_schedule(name).await? {
            may_change(name, &there, DELETE)?;
            let delete = self.clients.sagemaker.delete_monitoring_schedule();
            let delete = delete.monitoring_schedule_name(name.as_str()).send();
            match delete.await.map_err(failed(DELETE)) {
                Ok(_) => {}
                Err(failure) if failure.is_gone() => {}
                Err(failure) => return Err(pending(failure)),
            }
        }
        self.delete_definition(name, kind).await
    }

    async fn described_schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<Option<DescribeMonitoringScheduleOutput>, WorldError> {
        let asked = self.clients.sagemaker.describe_monitoring_schedule();
        let asked = asked.monitoring_schedule_name(name.as_str()).send();
        match asked.await.map_err(failed("DescribeMonitoringSchedule")) {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// A schedule that is Pending takes no change for some seconds.
fn may_change(
    name: &ScheduleName,
    there: &DescribeMonitoringScheduleOutput,
    call: &'static str,
) -> Result<(), WorldError> {
    if there.monitoring_schedule_status == Some(ScheduleStatus::Pending) {
        let why = format!("the monitoring schedule {name} is Pending");
        return Err(error(WorldErrorKind::NotNow, call, why));
    }
    Ok(())
}

/// The refusal of a schedule that somebody else just changed: a validation error, told from others
/// by its words alone.
fn pending(failure: Failure) -> WorldError {
    let mut error = WorldError::from(failure);
    let says = error.message.split(|c: char| !c.is_ascii_alphabetic());
    if error.kind == WorldErrorKind::Refused && says.into_iter().any(|word| word == "Pending") {
        error.kind = WorldErrorKind::NotNow;
    }
    error
}

fn monitoring_type(kind: MonitorKind) -> MonitoringType {
    match kind {
        MonitorKind::DataQuality => MonitoringType::DataQuality,
        MonitorKind::ModelQuality => MonitoringType::ModelQuality,
        MonitorKind::Bias => MonitoringType::ModelBias,
        MonitorKind::Attribution => MonitoringType::ModelExplainability,
    }
}
