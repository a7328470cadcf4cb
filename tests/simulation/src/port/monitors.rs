//! Effects on Model Monitor, call by call as the adapter makes them.

use tidegate_core::name::{EndpointName, ScheduleName};
use tidegate_core::world::{Answer, Effect, MonitoringSchedule, Outcome, WorldError};

use super::Port;
use crate::town::{Town, time_of};

impl Port<'_> {
    /// Does an effect on Model Monitor.
    pub(super) async fn monitor(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        match effect {
            Effect::StartBaselining(spec) => {
                self.call("CreateProcessingJob", |town, _| {
                    town.start_baselining(spec);
                    Ok(())
                })
                .await?;
            }
            Effect::SetUpMonitor(spec) => {
                self.call("CreateDataQualityJobDefinition", |_, _| Ok(()))
                    .await?;
                self.call("CreateMonitoringSchedule", |town, _| {
                    town.schedule_monitor(spec)
                })
                .await?;
            }
            Effect::PauseMonitor { name, pause } => {
                self.call("DescribeMonitoringSchedule", |_, _| Ok(()))
                    .await?;
                self.call("StopMonitoringSchedule", |town, _| {
                    town.run_monitor(name.as_str(), !pause)
                })
                .await?;
            }
            Effect::RemoveMonitor { name, .. } => {
                self.call("DeleteMonitoringSchedule", |town, _| {
                    town.delete_monitor(name.as_str())
                })
                .await?;
                self.call("DeleteDataQualityJobDefinition", |_, _| Ok(()))
                    .await?;
            }
            _ => {}
        }
        Ok(Outcome::Done)
    }
}

/// `DescribeMonitoringSchedule` and `ListMonitoringExecutions`.
pub(super) fn described(town: &Town, name: &ScheduleName) -> Option<Answer> {
    let there = town.aws.monitors.schedules.get(name.as_str())?;
    let endpoint = match &there.of {
        Some(of) => Some(of.endpoint.clone()),
        None => EndpointName::parse(name.as_str().strip_suffix("-data")?).ok(),
    };
    let newest = town.aws.monitors.newest.get(name.as_str());
    Some(Answer::MonitoringSchedule(Box::new(MonitoringSchedule {
        name: name.clone(),
        endpoint,
        newest_violating_job: newest.map(|(job, _)| job.clone()),
        newest_violating_at: newest.map(|(_, at)| time_of(*at)),
        state: town.shown(there),
    })))
}
