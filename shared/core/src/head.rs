//! The state of one pipeline: everything that a decision remembers, in one item of the ledger.
//!
//! Every list in it is bounded, so that the item stays far below DynamoDB's 400 KB however long
//! the pipeline lives; what is finished moves to items of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::audit::Tip;
use crate::bounds::json_bytes;
use crate::candidate::Candidate;
use crate::event::Approval;
use crate::monitors::Monitors;
use crate::name::{
    EndpointName, JobName, PackageVersion, RolloutId, ScheduleName, StageName, TuningName, token,
};
use crate::retrain::Retraining;
use crate::rollout::Rollout;

/// How many versions' approvals are remembered, the newest by version.
pub const REMEMBERED_APPROVALS: usize = 100;

/// How long a storm of findings is remembered.
const REMEMBERED_STORM: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many storms of findings are remembered, those told last.
pub const REMEMBERED_STORMS: usize = 40;

/// How many training jobs' creators, and how many versions' approvers, are remembered.
pub const REMEMBERED_CREATORS: usize = 50;

/// How many tuning jobs are waited for, the newest.
pub const REMEMBERED_TUNINGS: usize = 20;

/// A person with a longer name, bytes, is remembered by the name's hash.
const LONGEST_PERSON: usize = 60;
/// How many findings are remembered, the newest.
pub const REMEMBERED_FINDINGS: usize = 50;

/// A finding with a longer name, bytes of JSON, is remembered by the name's hash.
const LONGEST_FINDING: usize = 150;

/// A state that has more bytes of JSON is made smaller. The ledger deflates it, and of what is long
/// in it, numbers, half is left or less; the largest there can be is tested to fit into an item.
pub const LONG: usize = 640 * 1024;

/// How many counts of judged minutes each rollout keeps of a state that is too long, the first that
/// helps.
const KEPT_COUNTS: [usize; 4] = [1_200, 600, 300, 150];

/// The most rollouts at once: one for each stage, and some of endpoints that a newer policy names no
/// more.
pub const MOST_ROLLOUTS: usize = 10;

/// The state of one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Counts commits; every commit is conditioned on it.
    pub version: u64,
    /// The latest *now* of any decision: time never runs backwards.
    pub now: Option<Timestamp>,
    /// The end of the audit trail.
    pub tip: Tip,
    /// What serves, by stage.
    pub champions: BTreeMap<StageName, Champion>,
    /// What rolls out, by stage.
    pub rollouts: BTreeMap<StageName, Rollout>,
    /// What waits for its turn, by stage; only the newest.
    pub waiting: BTreeMap<StageName, Waiting>,
    /// The last approval seen of each version, and when it was given: a rollout starts when a
    /// version becomes Approved, not when it still is.
    pub approvals: BTreeMap<PackageVersion, (Approval, Timestamp)>,
    /// Versions that the gate itself approved, until that is seen; the newest [`REMEMBERED_APPROVALS`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gated: BTreeSet<PackageVersion>,
    /// Who approved a version that needs several people, of the newest [`REMEMBERED_CREATORS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub votes: BTreeMap<PackageVersion, BTreeSet<String>>,
    /// Who started a training job, of the last [`REMEMBERED_CREATORS`] whose policy asks for it.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub creators: VecDeque<(JobName, String)>,
    /// When retrainings were started, the last 30 days' only.
    pub retrainings: Vec<Timestamp>,
    /// When a retraining would have been started in observe mode, the last 30 days' only. They
    /// don't count once Tidegate acts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_retrain: Vec<Timestamp>,
    /// In observe mode, the variant that had all the traffic of an endpoint when it was last looked
    /// at: what a canary beside it is compared with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carriers: BTreeMap<EndpointName, String>,
    /// Monitoring jobs and alarms that were dealt with, the last [`REMEMBERED_FINDINGS`]: a finding
    /// is told in several events.
    pub findings: Vec<String>,
    /// The newest retraining, under way or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retraining: Option<Box<Retraining>>,
    /// Tuning jobs that have not ended as far as is known, the newest [`REMEMBERED_TUNINGS`]:
    /// housekeeping asks after them.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub tunings: VecDeque<TuningName>,
    /// Why no retraining started when people were last told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// The monitoring schedules that housekeeping asks, and when it last did.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<ScheduleName, Timestamp>,
    /// The monitors that Tidegate made.
    #[serde(default, skip_serializing_if = "Monitors::is_unknown")]
    pub monitors: Monitors,
    /// When people were last told of findings of one kind on one endpoint, by both.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storms: BTreeMap<String, Storm>,
}

/// A reason for which no retraining starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The reason, and the retraining that it is counted from.
    pub because: String,
    /// How many findings it held back since people were told.
    pub untold: u32,
}

/// Findings of one kind on one endpoint that come close together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// When people were told.
    pub told: Timestamp,
    /// How many came since, of which they were not told.
    pub untold: u32,
}

impl Head {
    /// Remembers a version's approval, and forgets the oldest beyond [`REMEMBERED_APPROVALS`] that
    /// neither serves nor served before: its package is written to, and is no new approval by that.
    pub fn remember_approval(
        &mut self,
        version: PackageVersion,
        approval: Approval,
        at: Timestamp,
    ) {
        self.approvals.insert(version, (approval, at));
        while self.approvals.len() > REMEMBERED_APPROVALS {
            let mut oldest_first = self.approvals.keys().copied();
            let Some(old) = oldest_first.find(|old| !self.serves(*old)) else {
                return;
            };
            self.approvals.remove(&old);
        }
    }

    /// Whether a version serves a stage, or did before what serves it now.
    fn serves(&self, version: PackageVersion) -> bool {
        self.champions.values().any(|champion| {
            let previous = champion.previous.as_ref();
            champion.candidate.version == version || previous.is_some_and(|p| p.version == version)
        })
    }

    /// Whether this finding was dealt with before.
    pub fn knows_finding(&self, finding: &str) -> bool {
        self.findings.contains(&remembered(finding))
    }

    /// Remembers that the gate approved a version.
    pub fn remember_gated(&mut self, version: PackageVersion) {
        self.gated.insert(version);
        while self.gated.len() > REMEMBERED_APPROVALS {
            self.gated.pop_first();
        }
    }

    /// Counts a person's approval of a version, once; how many people there are now.
    pub fn vote(&mut self, version: PackageVersion, who: &str) -> usize {
        let votes = self.votes.entry(version).or_default();
        votes.insert(person(who));
        let n = votes.len();
        while self.votes.len() > REMEMBERED_CREATORS {
            self.votes.pop_first();
        }
        n
    }

    /// Remembers who started a training job.
    pub fn remember_creator(&mut self, job: JobName, who: &str) {
        self.creators.retain(|(known, _)| *known != job);
        self.creators.push_back((job, person(who)));
        while self.creators.len() > REMEMBERED_CREATORS {
            self.creators.pop_front();
        }
    }

    /// Who started a training job, if that is known, and whether it is this person.
    pub fn creator(&self, job: &str, who: &str) -> Option<(&str, bool)> {
        let mut creators = self.creators.iter();
        let (_, creator) = creators.find(|(known, _)| known.as_str() == job)?;
        Some((creator, *creator == person(who)))
    }

    /// Whether this finding was dealt with before; remembers it.
    pub fn is_known_finding(&mut self, finding: &str) -> bool {
        let finding = remembered(finding);
        if self.findings.contains(&finding) {
            return true;
        }
        self.findings.push(finding);
        let most = self.findings.len().saturating_sub(REMEMBERED_FINDINGS);
        self.findings.drain(..most);
        false
    }

    /// Remembers that a tuning job is waited for.
    pub fn wait_for(&mut self, tuning: &TuningName) {
        if !self.tunings.contains(tuning) {
            self.tunings.push_back(tuning.clone());
        }
        while self.tunings.len() > REMEMBERED_TUNINGS {
            self.tunings.pop_front();
        }
    }

    /// Remembers the schedules that housekeeping asks, and forgets all others but our own.
    pub fn watch(&mut self, schedules: &[ScheduleName]) {
        let monitors = &self.monitors;
        self.schedules
            .retain(|name, _| schedules.contains(name) || monitors.is_watched(name));
        for name in schedules {
            let asked = self.schedules.entry(name.clone());
            asked.or_insert(Timestamp::UNIX_EPOCH);
        }
    }

    /// Whether a finding of this key (an endpoint and a kind) is to be told now, and how many came
    /// since people were told the last time, which was less than a week ago.
    pub fn is_to_be_told(
        &mut self,
        key: &str,
        window: SignedDuration,
        now: Timestamp,
    ) -> Option<u32> {
        self.storms
            .retain(|_, storm| now.duration_since(storm.told) < REMEMBERED_STORM);
        let before = self.storms.get_mut(key);
        if let Some(storm) = before
            && now.duration_since(storm.told) < window
        {
            storm.untold = storm.untold.saturating_add(1);
            return None;
        }
        let new = Storm {
            told: now,
            untold: 0,
        };
        let before = self.storms.insert(key.to_owned(), new);
        while self.storms.len() > REMEMBERED_STORMS {
            let oldest = self.storms.iter().min_by_key(|(_, storm)| storm.told);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            self.storms.remove(&oldest);
        }
        Some(before.map_or(0, |storm| storm.untold))
    }

    /// Makes it fit into an item of the ledger: texts are cut, and where many rollouts keep many
    /// minutes, older ones are added up. No verdict changes by it.
    pub fn fit(&mut self) {
        for rollout in self.rollouts.values_mut() {
            rollout.fit();
        }
        // One rollout and all the rest fit by their own bounds.
        if self.rollouts.len() < 2 {
            return;
        }
        for most in KEPT_COUNTS {
            if self.json_bytes() <= LONG {
                return;
            }
            self.rollouts.values_mut().for_each(|r| r.keep_counts(most));
        }
        if self.json_bytes() > LONG {
            self.rollouts
                .values_mut()
                .for_each(Rollout::keep_less_history);
        }
    }

    /// How many bytes of JSON it has.
    fn json_bytes(&self) -> usize {
        let mut counter = Counter(0);
        // Counting can't fail.
        let _ = serde_json::to_writer(&mut counter, self);
        counter.0
    }

    /// Whether something of it is under way, waits or is to be asked now and then, apart from
    /// effects to do.
    pub fn is_unfinished(&self) -> bool {
        let is_training = self
            .retraining
            .as_ref()
            .is_some_and(|retraining| retraining.is_under_way());
        let is_watching =
            !self.schedules.is_empty() || !self.tunings.is_empty() || !self.monitors.is_empty();
        !self.rollouts.is_empty() || !self.waiting.is_empty() || is_training || is_watching
    }

    /// The rollout of this id, if it is under way.
    pub fn rollout(&self, id: &RolloutId) -> Option<&Rollout> {
        self.rollouts.values().find(|r| &r.id == id)
    }
}

/// What a finding is remembered by.
fn remembered(finding: &str) -> String {
    if json_bytes(finding) > LONGEST_FINDING {
        token(finding)
    } else {
        finding.to_owned()
    }
}

/// A person's name as it is remembered.
fn person(who: &str) -> String {
    if who.len() <= LONGEST_PERSON {
        return who.to_owned();
    }
    let kind = if who.starts_with("arn:") { "arn:" } else { "" };
    format!("{kind}sha256:{}", token(who))
}

/// The version that serves an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Champion {
    /// What was rolled out.
    pub candidate: Candidate,
    /// Since when it has all the traffic.
    pub since: Timestamp,
    /// The endpoint config that it serves by.
    pub config: String,
    /// Its variant.
    pub variant: String,
    /// Its model.
    pub model: String,
    /// The one before it, to go back to if a person rejects this one.
    pub previous: Option<Candidate>,
}

/// A candidate that waits for a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// What waits.
    pub candidate: Candidate,
    /// Whether it replaces a version that must not serve any more: then it is shifted to at once.
    pub urgent: bool,
    /// Whether people were told that the endpoint is not ready for it.
    pub told: bool,
}

/// Counts what is written to it.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
