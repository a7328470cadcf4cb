//! Monitors follow the champion: at the end each that serves alone has those of its policy and no
//! other of ours is left, and they do not run while two versions serve. What people stopped stays so,
//! and what they deleted is there again, but for a second time within a day.

use tidegate_core::ledger::Commit;
use tidegate_core::monitors::Phase;
use tidegate_core::name::GroupName;
use tidegate_core::pipeline::Stage;
use tidegate_core::world::MonitorSpec;

use super::commit::Look;
use crate::invariant::Invariant;
use crate::town::{HOUR, MINUTE, Town};

/// So long two versions may serve before their monitors are stopped: without faults, and with them.
const TO_PAUSE: i64 = 30 * MINUTE;
const TO_PAUSE_AT_MOST: i64 = 6 * HOUR;

impl Look<'_> {
    /// What people did by hand, and Tidegate has seen, is not undone.
    pub(super) fn leaves_what_people_did(&mut self) {
        let mut undone = None;
        let after = &self.commit.head.monitors.kept;
        for (name, before) in &self.before.head.monitors.kept {
            let Some(after) = after.get(name) else {
                continue;
            };
            let is_stopped = self.aws.monitors.stopped.contains(name.as_str());
            let is_undone = match (&before.phase, &after.phase) {
                (Phase::Stopped, Phase::Running) => is_stopped,
                (Phase::Stopped, after) => *after == Phase::Resuming,
                (Phase::Deleted, after) => !matches!(after, Phase::Deleted | Phase::Leaving),
                _ => false,
            };
            if is_undone {
                undone = Some(format!(
                    "{name} was {:?}, is {:?}",
                    before.phase, after.phase
                ));
            }
        }
        self.hold(Invariant::MonitorsFollow, undone.is_none(), || {
            undone.unwrap_or_default()
        });
    }
}

impl Town {
    /// A monitor that nobody wants any more is another one when it comes back.
    pub(super) fn forget_deletions(&mut self, group: &GroupName, commit: &Commit) {
        let before = self.books.groups.get(group);
        let names = before.into_iter().flat_map(|p| p.head.monitors.kept.keys());
        for gone in names.filter(|name| !commit.head.monitors.kept.contains_key(name)) {
            self.aws.monitors.deleted.remove(gone.as_str());
        }
    }

    /// What is not as it should be of the monitors, now that nothing is under way.
    pub(crate) fn wrong_monitors(&self) -> Option<String> {
        let mut rightful = 0;
        for (group, partition) in &self.books.groups {
            let Some(applied) = &partition.policy else {
                continue;
            };
            for stage in &applied.policy.stages {
                let Some(champion) = partition.head.champions.get(&stage.name) else {
                    continue;
                };
                let version = champion.candidate.version.0.to_string();
                for monitor in &stage.monitors {
                    let is_it = |spec: &MonitorSpec| {
                        spec.monitor == *monitor && is_for(spec, stage, &version)
                    };
                    let by_hand = &self.aws.monitors.stopped;
                    let is_right = |spec: &MonitorSpec, runs: bool| {
                        (runs || by_hand.contains(spec.name.as_str())) && is_it(spec)
                    };
                    let right = self.ours().filter(|(spec, runs)| is_right(spec, *runs));
                    let n = right.count();
                    // A name ends with the version and a hash of the rest.
                    let middle = format!("-v{version}-");
                    let start = format!("tidegate-{}-", stage.endpoint);
                    let refused = &self.aws.monitors.refused;
                    let is_refused = refused
                        .iter()
                        .any(|r| r.starts_with(&start) && r.contains(&middle));
                    let mut left = self.aws.monitors.left.iter();
                    let is_left = left.any(|l| l.starts_with(&start) && l.contains(&middle));
                    rightful += n;
                    if n != 1 && !is_refused && !is_left {
                        return Some(format!(
                            "{n} monitors of v{version} run on {} ({group})",
                            stage.endpoint
                        ));
                    }
                }
            }
        }
        let all: Vec<_> = self.ours().map(|(spec, _)| spec.name.as_str()).collect();
        (all.len() != rightful).then(|| format!("there are {all:?}, {rightful} are wanted"))
    }

    fn ours(&self) -> impl Iterator<Item = (&MonitorSpec, bool)> {
        let all = self.aws.monitors.schedules.values();
        all.filter_map(|w| Some((w.of.as_ref()?, w.runs)))
    }

    /// While two versions serve for long, no monitor of ours runs there.
    pub(crate) fn check_paused(&mut self) {
        let running: Vec<String> = self
            .ours()
            .filter(|(_, runs)| *runs)
            .map(|(spec, _)| spec.endpoint.to_string())
            .collect();
        let faults = self.injected.len();
        let is_held_up = !self.spells.is_empty() && self.spells.values().any(|u| self.now < *u);
        let mut all = std::mem::take(&mut self.aws.monitors.mixed);
        let is_mixed = |name: &str| {
            let place = self.aws.endpoints.get(name);
            let two =
                place.is_some_and(|p| p.is.variants.iter().filter(|v| v.weight > 0.0).count() > 1);
            two && self.rollout_of(name).is_some()
        };
        all.retain(|name, _| is_mixed(name));
        let mut broken = None;
        for name in running.iter().filter(|name| is_mixed(name)) {
            let (since, then) = *all.entry(name.clone()).or_insert((self.now, faults));
            let lasted = self.now - since;
            if faults != then && lasted < TO_PAUSE_AT_MOST - TO_PAUSE {
                all.insert(name.clone(), (since, faults));
            }
            let is_calm = faults == then && lasted >= TO_PAUSE;
            if !is_held_up && (is_calm || lasted >= TO_PAUSE_AT_MOST) {
                broken = Some(name.clone());
            }
        }
        all.retain(|name, _| running.contains(name));
        self.aws.monitors.mixed = all;
        self.hold(Invariant::MonitorsFollow, broken.is_none(), || {
            format!("two versions serve {broken:?}, and a monitor of one runs still")
        });
    }
}

fn is_for(spec: &MonitorSpec, stage: &Stage, version: &str) -> bool {
    spec.endpoint == stage.endpoint
        && spec.tags.get("tidegate:version").map(String::as_str) == Some(version)
}
