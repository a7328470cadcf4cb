//! Monitors that follow the champion: each version that serves an endpoint alone gets the monitors
//! of the policy, and those of the version before go. While two versions serve, they pause: Model
//! Monitor supports one model on an endpoint. Those of batch transform data follow the champion as
//! well, and run on meanwhile.
//!
//! What Tidegate made is remembered here, by name; no other schedule is ever changed. Housekeeping
//! compares what is there with what is wanted (`follow.rs`) and with what people did (`by_hand.rs`),
//! tries again what failed (`again.rs`), and what came of the calls is taken in by `settle.rs`.
//! Source: "Schedule monitoring jobs" in the SageMaker developer guide.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::case::Case;
use crate::head::Head;
use crate::name::{EndpointName, GroupName, PackageVersion, ScheduleName, hex};
use crate::pipeline::{ModelMonitor, MonitorKind, Policy, Stage};
use crate::run_once;

mod again;
pub mod analysis;
mod baseline;
mod by_hand;
mod follow;
mod settle;

pub use again::MOST_TRIES;
pub(crate) use follow::{follow, needs};
pub(crate) use settle::settled;

/// The start of every name, by which IAM knows them.
const PREFIX: &str = "tidegate";

/// The most monitors that are kept: the 20 of a policy, and some that are on their way out.
pub const MOST_KEPT: usize = 24;

/// The longest reason that is remembered, bytes of JSON.
pub const LONGEST_WHY: usize = 100;

/// So long is remembered when two versions served, longer than labels may be late.
const REMEMBERED_MIXTURE: SignedDuration = SignedDuration::from_hours(32 * 24);

/// What Tidegate made in Model Monitor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitors {
    /// Whether the policy has any.
    #[serde(default)]
    pub are_wanted: bool,
    /// Those that there are or were asked for, by name; at most [`MOST_KEPT`].
    #[serde(default)]
    pub kept: BTreeMap<ScheduleName, Kept>,
    /// When two versions served last, by endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mixtures: BTreeMap<EndpointName, Mixture>,
}

/// A monitor that Tidegate made, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it looks at.
    pub kind: MonitorKind,
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The version that it was made for.
    pub version: PackageVersion,
    /// How far it is.
    pub phase: Phase,
    /// Whether it looks at batch transform data instead of the endpoint's.
    #[serde(default, skip_serializing_if = "is_not")]
    pub batch: bool,
    /// How often it was tried again after it failed, at most [`MOST_TRIES`].
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub tries: u8,
    /// The mark of the failure that people were told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// When it was found that somebody had deleted it, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
}

// serde hands references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_not(flag: &bool) -> bool {
    !flag
}
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none_yet(tries: &u8) -> bool {
    *tries == 0
}

/// How far a monitor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A job of its name makes its baseline.
    Baselining {
        /// When that was asked for.
        since: Timestamp,
    },
    /// Definition and schedule were asked for.
    SettingUp,
    /// It runs.
    Running,
    /// It was asked to stop.
    Pausing,
    /// It is stopped.
    Paused,
    /// It was asked to run again.
    Resuming,
    /// Its deletion was asked for.
    Leaving,
    /// Somebody stopped it; it stays so until somebody starts it.
    Stopped,
    /// Somebody deleted it twice within a day; it stays so until it is not wanted.
    Deleted,
    /// It could not be set up or changed. It is tried again once a day, [`MOST_TRIES`] times.
    Failed {
        /// Why, cut.
        why: String,
        /// Whether something of it may be there.
        made: bool,
        /// When; none in states of before it was tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
}

impl Kept {
    /// How far it is, for people.
    pub fn in_words(&self) -> String {
        match &self.phase {
            Phase::Baselining { .. } => "baseline is being made".to_owned(),
            Phase::SettingUp => "being set up".to_owned(),
            Phase::Running | Phase::Pausing => "running".to_owned(),
            Phase::Paused | Phase::Resuming => "paused".to_owned(),
            Phase::Leaving => "being removed".to_owned(),
            Phase::Stopped => "stopped by hand".to_owned(),
            Phase::Deleted => "deleted by hand".to_owned(),
            Phase::Failed { why, .. } => format!("failed: {why}"),
        }
    }

    fn is_asked_for_findings(&self) -> bool {
        matches!(
            self.phase,
            Phase::Running | Phase::Pausing | Phase::Paused | Phase::Resuming | Phase::Stopped
        )
    }

    /// Whether its schedule is there, or was until somebody deleted it.
    pub fn has_schedule(&self) -> bool {
        self.is_asked_for_findings() || matches!(self.phase, Phase::Deleted)
    }

    /// What it looks at: "data quality", "data quality of batch data".
    pub fn subject(&self) -> String {
        subject(self.kind, self.batch)
    }
}

/// What a monitor looks at, in words.
fn subject(kind: MonitorKind, batch: bool) -> String {
    let of_batch = if batch { " of batch data" } else { "" };
    format!("{kind}{of_batch}")
}

/// The time in which two versions served an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mixture {
    /// When it began.
    pub from: Timestamp,
    /// When it was over; none while it lasts.
    pub until: Option<Timestamp>,
    /// How many hours of data the endpoint's monitors look at, 1 to 24.
    pub hours: u32,
}

impl Monitors {
    /// Whether there is nothing to see to.
    pub fn is_empty(&self) -> bool {
        let is_over = |mixture: &Mixture| mixture.until.is_some();
        !self.are_wanted && self.kept.is_empty() && self.mixtures.values().all(is_over)
    }

    /// Whether nothing of it has to be stored.
    pub(crate) fn is_unknown(&self) -> bool {
        self.is_empty() && self.mixtures.is_empty()
    }

    /// Takes in a policy: whether housekeeping has to look.
    pub(crate) fn mark(&mut self, policy: &Policy) {
        self.are_wanted = policy.stages.iter().any(|s| !s.monitors.is_empty());
    }

    /// Whether findings of a schedule of this name are asked for.
    pub(crate) fn is_watched(&self, name: &ScheduleName) -> bool {
        self.kept.get(name).is_some_and(Kept::is_asked_for_findings)
    }

    /// The monitor that a schedule is, or is a run by hand of.
    pub(crate) fn known(&self, schedule: &ScheduleName) -> Option<&Kept> {
        let origin = || self.kept.get(&run_once::origin(schedule)?);
        self.kept.get(schedule).or_else(origin)
    }

    /// Whether a finding on data since then is one on two versions.
    pub(crate) fn is_mixed(&self, endpoint: &EndpointName, since: Timestamp) -> bool {
        self.mixtures.get(endpoint).is_some_and(|mixture| {
            let window = SignedDuration::from_hours(i64::from(mixture.hours));
            mixture.until.is_none_or(|until| since < until)
                && since
                    .saturating_add(window)
                    .is_ok_and(|end| end > mixture.from)
        })
    }

    /// Two versions serve a stage, or soon will: whether its monitors pause or were stopped by
    /// somebody, who may start one again at any time.
    fn mix(&mut self, stage: &Stage, now: Timestamp) {
        let before = self.mixtures.get(&stage.endpoint);
        if before.is_some_and(|mixture| mixture.until.is_none()) {
            return;
        }
        let of_endpoint = stage.monitors.iter().filter(|m| m.batch.is_none());
        let mixture = Mixture {
            from: now,
            until: None,
            hours: of_endpoint
                .map(ModelMonitor::every_hours)
                .max()
                .unwrap_or(1),
        };
        self.mixtures.insert(stage.endpoint.clone(), mixture);
    }

    fn phase(&mut self, name: &ScheduleName, phase: Phase) {
        if let Some(kept) = self.kept.get_mut(name) {
            kept.phase = phase;
        }
    }

    fn forget_old_mixtures(&mut self, now: Timestamp) {
        self.mixtures.retain(|_, mixture| {
            let age = mixture.until.map(|until| now.duration_since(until));
            age.is_none_or(|age| age < REMEMBERED_MIXTURE)
        });
    }
}

/// A monitor that the policy asks for.
struct Wanted<'a> {
    name: ScheduleName,
    stage: &'a Stage,
    monitor: &'a ModelMonitor,
    version: PackageVersion,
    package: String,
    job: Option<String>,
    /// The model that serves.
    model: String,
    /// Whether it looks at an endpoint that two versions serve, or soon will.
    is_mixed: bool,
}

impl Wanted<'_> {
    /// What it looks at, in words.
    fn subject(&self) -> String {
        subject(self.monitor.kind, self.monitor.batch.is_some())
    }
}

/// What the policy asks for, of the versions that serve.
fn wanted<'a>(case: &Case<'a>, head: &Head) -> Vec<Wanted<'a>> {
    let group = &case.policy().pipeline.group;
    let mut all = Vec::new();
    for stage in case.stages() {
        let Some(champion) = head.champions.get(&stage.name) else {
            continue;
        };
        let candidate = &champion.candidate;
        for monitor in &stage.monitors {
            let served = (candidate.version, champion.model.as_str());
            let named = name(group, &stage.endpoint, monitor, served);
            let Ok(name) = ScheduleName::parse(&named) else {
                continue;
            };
            all.push(Wanted {
                name,
                stage,
                monitor,
                version: candidate.version,
                package: candidate.package.clone(),
                job: candidate.job.clone(),
                model: champion.model.clone(),
                is_mixed: monitor.batch.is_none() && head.rollouts.contains_key(&stage.name),
            });
        }
    }
    all
}

/// `tidegate-<endpoint>-<kind>-v<version>-<hash>`, of batch data `-batch-<kind>-`; at most 63
/// characters. The hash is of all that the policy says of it: what is changed there is another
/// monitor. Clarify's files name the model, and are written once: a version that comes back has
/// another model, and another monitor.
fn name(
    group: &GroupName,
    endpoint: &EndpointName,
    monitor: &ModelMonitor,
    (version, model): (PackageVersion, &str),
) -> String {
    let said = serde_json::to_string(monitor).unwrap_or_default();
    let mut text = format!("{group}\n{endpoint}\n{version}\n{said}");
    if monitor.kind.takes_config() {
        text = format!("{text}\n{model}");
    }
    let hash = hex(Sha256::digest(text.as_bytes()).as_slice(), 5);
    let (length, batch) = match &monitor.batch {
        Some(_) => (16, "batch-"),
        None => (22, ""),
    };
    let short: String = endpoint.as_str().chars().take(length).collect();
    format!(
        "{PREFIX}-{}-{batch}{}-{version}-{hash}",
        short.trim_end_matches('-'),
        monitor.kind.short()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn monitor(lines: &str) -> ModelMonitor {
        let text = format!(
            "[pipeline]\nname = \"f\"\ngroup = \"f\"\n[[stage]]\nname = \"p\"\nendpoint = \"p\"\n\
             [[stage.monitor]]\nkind = \"model_quality\"\nto = \"s3://bucket/m\"\nimage = \"i\"\n\
             role = \"arn:aws:iam::123456789012:role/m\"\nproblem = \"binary\"\ninference = \"0\"\n\
             ground_truth = \"s3://bucket/labels\"\n{lines}"
        );
        let policy = crate::pipeline::parse(&text, "f.toml").unwrap();
        policy.stages[0].monitors[0].clone()
    }

    #[test]
    fn a_name_fits_and_is_another_for_each_change_of_the_policy() {
        let group = GroupName::parse("fraud").unwrap();
        let endpoint = EndpointName::parse(&"e".repeat(63)).unwrap();
        let of = |lines: &str, version| {
            let served = (PackageVersion(version), "m");
            name(&group, &endpoint, &monitor(lines), served)
        };
        let first = of("", u32::MAX);
        assert!(ScheduleName::parse(&first).is_ok(), "{first}");
        assert!(first.starts_with("tidegate-"), "{first}");
        assert_eq!(first, of("", u32::MAX));
        assert_ne!(first, of("", 1));
        assert_ne!(first, of("volume_gb = 30", u32::MAX));
        let batch = of("batch = { captured = \"s3://bucket/batch\" }", u32::MAX);
        assert!(ScheduleName::parse(&batch).is_ok(), "{batch}");
        assert!(batch.contains("-batch-quality-v"), "{batch}");
    }

    #[test]
    fn a_mixture_is_what_overlaps_with_it() {
        let at = |hour: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        let endpoint = EndpointName::parse("e").unwrap();
        let of = |until| Monitors {
            mixtures: [(
                endpoint.clone(),
                Mixture {
                    from: at(10),
                    until,
                    hours: 1,
                },
            )]
            .into(),
            ..Monitors::default()
        };
        let is = |until, since| of(until).is_mixed(&endpoint, at(since));
        assert!(!is(Some(at(12)), 9), "it ends when the mixture begins");
        assert!(is(Some(at(12)), 10));
        assert!(is(Some(at(12)), 11));
        assert!(!is(Some(at(12)), 12));
        assert!(is(None, 12));
    }
}
