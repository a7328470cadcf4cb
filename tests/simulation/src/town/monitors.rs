//! Model Monitor: schedules of Tidegate's and of people's, and baselining jobs. A schedule that was
//! just changed is Pending and takes no other change ("Schedule monitoring jobs").

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::monitors::{Kept, Phase};
use tidegate_core::name::ScheduleName;
use tidegate_core::world::{
    BaselineSpec, MonitorSpec, PipelineRun, RunStatus, ScheduleState, WorldError, WorldErrorKind,
};

use super::{HOUR, MINUTE, Town, refusal};
use crate::dice::{hash, mix};
use crate::fault::Fault;
use crate::invariant::Invariant;
use crate::story::ByHand;

/// What Model Monitor has.
#[derive(Default)]
pub(crate) struct Monitors {
    /// Schedules by name.
    pub(crate) schedules: BTreeMap<String, Watcher>,
    /// The newest monitoring job of each schedule that found something, and when it ran.
    pub(crate) newest: BTreeMap<String, (String, i64)>,
    /// Baselining jobs: when each ends, and whether well.
    baselinings: BTreeMap<String, (i64, bool)>,
    /// Names of what AWS refused for good.
    pub(crate) refused: BTreeSet<String>,
    /// Names that people stopped, and nobody started since.
    pub(crate) stopped: BTreeSet<String>,
    /// When people deleted a monitor of this name, while Tidegate knew that it was there.
    pub(crate) deleted: BTreeMap<String, Vec<i64>>,
    /// Names that people deleted twice within little more than a day: they may be left so.
    pub(crate) left: BTreeSet<String>,
    /// Since when two versions serve an endpoint, and how many faults there were then.
    pub(crate) mixed: BTreeMap<String, (i64, usize)>,
}

/// A monitoring schedule.
pub(crate) struct Watcher {
    /// What it was made for; none if people made it.
    pub(crate) of: Option<MonitorSpec>,
    pub(crate) runs: bool,
    pending_until: i64,
}

impl Town {
    /// A person does something to the monitor of Tidegate's on an endpoint, if there is one.
    pub(super) fn person_touches_monitor(&mut self, plan: usize, stage: usize, does: ByHand) {
        let endpoint = self.plan(plan).endpoint(stage);
        let now = self.now;
        let all = &mut self.aws.monitors;
        let ours = all.schedules.iter_mut().find(|(_, there)| {
            let of = there.of.as_ref();
            of.is_some_and(|spec| spec.endpoint.as_str() == endpoint) && there.pending_until <= now
        });
        let Some((name, there)) = ours else { return };
        let name = name.clone();
        let is_settled = |(of, kept): (&ScheduleName, &Kept)| {
            let phase = &kept.phase;
            of.as_str() == name && matches!(phase, Phase::Running | Phase::Paused | Phase::Stopped)
        };
        let mut books = self.books.groups.values();
        if !books.any(|p| p.head.monitors.kept.iter().any(is_settled)) {
            return;
        }
        match does {
            ByHand::Stop if there.runs => {
                there.runs = false;
                all.stopped.insert(name.clone());
            }
            ByHand::Start if !there.runs => {
                there.runs = true;
                all.stopped.remove(&name);
            }
            ByHand::Delete => {
                all.schedules.remove(&name);
                all.stopped.remove(&name);
                let times = all.deleted.entry(name.clone()).or_default();
                // It is seen up to hours later.
                if times.last().is_some_and(|at| now - at < 36 * HOUR) {
                    all.left.insert(name.clone());
                }
                times.push(now);
            }
            ByHand::Stop | ByHand::Start => return,
        }
        self.tally.count(Fault::MonitorTouched);
        self.say(|| format!("== a person touches the monitor {name}: {does:?}"));
    }

    /// Whether a monitor's schedule runs, as AWS shows it.
    pub(crate) fn shown(&self, there: &Watcher) -> ScheduleState {
        match there.runs {
            _ if self.now < there.pending_until => ScheduleState::Changing,
            true => ScheduleState::Scheduled,
            false => ScheduleState::Stopped,
        }
    }

    /// The schedule that people have on an endpoint.
    pub(super) fn people_watch(&mut self, endpoint: &str) {
        let theirs = Watcher {
            of: None,
            runs: true,
            pending_until: 0,
        };
        let name = format!("{endpoint}-data");
        self.aws.monitors.schedules.insert(name, theirs);
    }

    /// So long a change of a schedule takes, milliseconds.
    fn takes(&self, name: &str) -> i64 {
        let key = mix(hash(name), self.now.unsigned_abs());
        i64::try_from(self.luck(key, 180_000)).unwrap_or_default()
    }

    /// `CreateProcessingJob`, for a baseline: most take minutes, some hours; some fail.
    pub(crate) fn start_baselining(&mut self, spec: &BaselineSpec) {
        let name = spec.name.to_string();
        let key = hash(&name);
        let minutes = match self.luck(key, 8) {
            0 => 240,
            n => 2 + i64::try_from(n).unwrap_or_default(),
        };
        let is_well = self.luck(mix(key, 1), 8) > 0;
        let longest = i64::from(spec.monitor.max_minutes);
        if !is_well || minutes > longest {
            self.aws.monitors.refused.insert(name.clone());
        }
        let job = (self.now + minutes * MINUTE, is_well);
        let all = &mut self.aws.monitors.baselinings;
        if !all.contains_key(&name) {
            all.insert(name.clone(), job);
            self.say(|| format!("   the baselining job {name} begins"));
        }
    }

    /// `DescribeProcessingJob`, of a baselining job.
    pub(crate) fn baselining(&self, job: &ScheduleName) -> Option<PipelineRun> {
        let (ends, is_well) = self.aws.monitors.baselinings.get(job.as_str())?;
        let status = match (self.now < *ends, is_well) {
            (true, _) => RunStatus::Running,
            (false, true) => RunStatus::Succeeded,
            (false, false) => RunStatus::Failed,
        };
        let failure = (status == RunStatus::Failed).then(|| "no data".to_owned());
        Some(PipelineRun { status, failure })
    }

    /// `CreateMonitoringSchedule`; what is there already stays.
    pub(crate) fn schedule_monitor(&mut self, spec: &MonitorSpec) -> Result<(), WorldError> {
        let name = spec.name.to_string();
        if self.aws.monitors.schedules.contains_key(&name) {
            return Ok(());
        }
        if self.luck(mix(hash(&name), 2), 20) == 0 {
            self.aws.monitors.refused.insert(name);
            let why = "The role can't be assumed.";
            let call = "CreateMonitoringSchedule";
            return Err(refusal(WorldErrorKind::Refused, call, why));
        }
        self.is_monitor_explained(spec.endpoint.as_str(), "CreateMonitoringSchedule", &name);
        let times = self.aws.monitors.deleted.get(&name).map_or(&[][..], |t| t);
        let before = times
            .len()
            .checked_sub(2)
            .and_then(|n| times.get(n))
            .copied();
        let is_fight = before.is_some_and(|at| self.now - at < 24 * HOUR);
        self.hold(Invariant::MonitorsFollow, !is_fight, || {
            format!("{name} is made again, though people deleted it twice within a day")
        });
        self.say(|| format!("   the monitor {name} is made"));
        let made = Watcher {
            of: Some(spec.clone()),
            runs: true,
            pending_until: self.now + self.takes(&name),
        };
        self.aws.monitors.schedules.insert(name, made);
        Ok(())
    }

    /// `StopMonitoringSchedule` and `StartMonitoringSchedule`.
    pub(crate) fn run_monitor(&mut self, name: &str, runs: bool) -> Result<(), WorldError> {
        let call = if runs {
            "StartMonitoringSchedule"
        } else {
            "StopMonitoringSchedule"
        };
        let Some(there) = self.aws.monitors.schedules.get(name) else {
            if runs {
                return Err(refusal(WorldErrorKind::Gone, call, "it is not there"));
            }
            return Ok(());
        };
        self.takes_changes(name, there, call)?;
        if there.runs == runs {
            return Ok(());
        }
        self.only_ours(name, call);
        if runs {
            self.aws.monitors.stopped.remove(name);
        }
        let until = self.now + self.takes(name);
        if let Some(there) = self.aws.monitors.schedules.get_mut(name) {
            there.runs = runs;
            there.pending_until = until;
        }
        Ok(())
    }

    /// `DeleteMonitoringSchedule`.
    pub(crate) fn delete_monitor(&mut self, name: &str) -> Result<(), WorldError> {
        let call = "DeleteMonitoringSchedule";
        let Some(there) = self.aws.monitors.schedules.get(name) else {
            return Ok(());
        };
        self.takes_changes(name, there, call)?;
        self.only_ours(name, call);
        self.aws.monitors.schedules.remove(name);
        self.aws.monitors.stopped.remove(name);
        Ok(())
    }

    fn takes_changes(&self, name: &str, there: &Watcher, call: &str) -> Result<(), WorldError> {
        if self.now < there.pending_until {
            let why = format!("the monitoring schedule {name} is Pending");
            return Err(refusal(WorldErrorKind::NotNow, call, why));
        }
        Ok(())
    }

    /// Tidegate stops, starts or deletes a schedule.
    fn only_ours(&mut self, name: &str, call: &str) {
        let there = self.aws.monitors.schedules.get(name);
        let spec = there.and_then(|w| w.of.clone());
        self.hold(Invariant::OnlyOurs, spec.is_some(), || {
            format!("{call} of {name}, which Tidegate did not make")
        });
        if let Some(spec) = spec {
            self.is_monitor_explained(spec.endpoint.as_str(), call, name);
        }
    }

    fn is_monitor_explained(&mut self, endpoint: &str, call: &str, name: &str) {
        let group = self.group(self.plan_of(endpoint));
        self.is_explained(&group, call, &[name]);
    }
}
