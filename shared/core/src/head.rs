//! The state of one pipeline: everything that a decision remembers, in one item of the ledger.
//!
//! Every list in it is bounded, so that the item stays far below DynamoDB's 400 KB however long
//! the pipeline lives; what is finished moves to items of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::Tip;
use crate::candidate::Candidate;
use crate::event::Approval;
use crate::name::{EndpointName, JobName, PackageVersion, RolloutId, StageName};
use crate::rollout::Rollout;

/// How many versions' approvals are remembered, the newest by version.
pub const REMEMBERED_APPROVALS: usize = 100;

/// How many training jobs' creators are remembered.
pub const REMEMBERED_CREATORS: usize = 100;

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
    /// Versions that the gate itself approved, the newest [`REMEMBERED_APPROVALS`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gated: BTreeSet<PackageVersion>,
    /// Who approved a version that needs several people, of the newest [`REMEMBERED_APPROVALS`].
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
    /// Monitoring jobs and alarms that were dealt with, the last 50: a finding is told in several
    /// events.
    pub findings: Vec<String>,
}

impl Head {
    /// Remembers a version's approval, and forgets the oldest beyond [`REMEMBERED_APPROVALS`].
    pub fn remember_approval(
        &mut self,
        version: PackageVersion,
        approval: Approval,
        at: Timestamp,
    ) {
        self.approvals.insert(version, (approval, at));
        while self.approvals.len() > REMEMBERED_APPROVALS {
            self.approvals.pop_first();
        }
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
        votes.insert(who.to_owned());
        let n = votes.len();
        while self.votes.len() > REMEMBERED_APPROVALS {
            self.votes.pop_first();
        }
        n
    }

    /// Remembers who started a training job.
    pub fn remember_creator(&mut self, job: JobName, who: String) {
        self.creators.retain(|(known, _)| *known != job);
        self.creators.push_back((job, who));
        while self.creators.len() > REMEMBERED_CREATORS {
            self.creators.pop_front();
        }
    }

    /// Who started a training job, if that is known.
    pub fn creator(&self, job: &str) -> Option<&str> {
        let mut creators = self.creators.iter();
        let found = creators.find(|(known, _)| known.as_str() == job)?;
        Some(&found.1)
    }

    /// Whether this finding was dealt with before; remembers it.
    pub fn is_known_finding(&mut self, finding: &str) -> bool {
        if self.findings.iter().any(|f| f == finding) {
            return true;
        }
        self.findings.push(finding.to_owned());
        if self.findings.len() > 50 {
            self.findings.remove(0);
        }
        false
    }

    /// Whether something of it is under way or waits, apart from effects to do.
    pub fn is_unfinished(&self) -> bool {
        !self.rollouts.is_empty() || !self.waiting.is_empty()
    }

    /// The rollout of this id, if it is under way.
    pub fn rollout(&self, id: &RolloutId) -> Option<&Rollout> {
        self.rollouts.values().find(|r| &r.id == id)
    }
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
