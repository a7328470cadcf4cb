//! What a decision comes to: the next state, what to write down, what to call, whom to tell.

use crate::audit::{Draft, What, Who};
use crate::head::Head;
use crate::ledger::{JobRecord, Lane, Route};
use crate::name::{EndpointName, PackageVersion, RolloutId};
use crate::notice::Severity;
use crate::rollout::Rollout;
use crate::world::Effect;

/// What a decision comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The next state; its version and audit tip are moved on when it is committed.
    pub head: Head,
    /// What to write down, and what of it to tell people.
    pub notes: Vec<Note>,
    /// What to call, in order.
    pub effects: Vec<(Lane, Effect)>,
    /// Lanes whose pending effects are not wanted any more.
    pub cancelled: Vec<Lane>,
    /// Rollouts that ended.
    pub finished: Vec<Rollout>,
    /// Training jobs that were gated or registered.
    pub jobs: Vec<JobRecord>,
    /// Names that lead to the pipeline from now on.
    pub routes: Vec<Route>,
    /// Names that lead to it no more.
    pub dropped_routes: Vec<Route>,
    /// Why there is nothing to do, for the log and for `tidegate explain`.
    pub nothing_because: Option<String>,
}

/// A line for the audit trail and, if it matters to people, what to tell them.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// The line.
    pub draft: Draft,
    /// What it is about.
    pub about: About,
    /// What to tell people, if anything.
    pub tell: Option<Tell>,
}

/// What a note is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// A version.
    pub version: Option<PackageVersion>,
    /// An endpoint.
    pub endpoint: Option<EndpointName>,
    /// A rollout.
    pub rollout: Option<RolloutId>,
}

/// What to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tell {
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub headline: String,
    /// Why, and what to do.
    pub lines: Vec<String>,
}

impl Note {
    /// A line for the audit trail alone.
    pub fn new(what: What, why: impl Into<String>, facts: serde_json::Value) -> Self {
        Self {
            draft: Draft {
                who: Who::Tidegate,
                what,
                why: why.into(),
                facts,
            },
            about: About::default(),
            tell: None,
        }
    }

    /// Says who caused it.
    #[must_use]
    pub fn by(mut self, who: Who) -> Self {
        self.draft.who = who;
        self
    }

    /// Says which version it is about.
    #[must_use]
    pub fn version(mut self, version: PackageVersion) -> Self {
        self.about.version = Some(version);
        self
    }

    /// Says which endpoint it is about.
    #[must_use]
    pub fn endpoint(mut self, endpoint: &EndpointName) -> Self {
        self.about.endpoint = Some(endpoint.clone());
        self
    }

    /// Says which rollout it is about.
    #[must_use]
    pub fn rollout(mut self, rollout: &Rollout) -> Self {
        self.about = About {
            version: rollout.version(),
            endpoint: Some(rollout.endpoint.clone()),
            rollout: Some(rollout.id.clone()),
        };
        self
    }

    /// Tells people too.
    #[must_use]
    pub fn tell(
        mut self,
        severity: Severity,
        headline: impl Into<String>,
        lines: Vec<String>,
    ) -> Self {
        self.tell = Some(Tell {
            severity,
            headline: headline.into(),
            lines,
        });
        self
    }
}

impl Decision {
    /// Nothing decided yet, on this state.
    pub fn on(head: &Head) -> Self {
        Self {
            head: head.clone(),
            notes: Vec::new(),
            effects: Vec::new(),
            cancelled: Vec::new(),
            finished: Vec::new(),
            jobs: Vec::new(),
            routes: Vec::new(),
            dropped_routes: Vec::new(),
            nothing_because: None,
        }
    }

    /// Says why there is nothing to do.
    pub fn nothing(&mut self, why: impl Into<String>) {
        self.nothing_because = Some(why.into());
    }

    /// Whether anything would change by it.
    pub fn changes(&self, head: &Head) -> bool {
        self.head != *head
            || !self.notes.is_empty()
            || !self.effects.is_empty()
            || !self.cancelled.is_empty()
            || !self.finished.is_empty()
            || !self.jobs.is_empty()
    }
}
