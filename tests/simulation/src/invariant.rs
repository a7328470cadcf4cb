//! What must hold whatever happens: the invariants by name, how often each was checked, and the
//! first that broke.

use serde::Serialize;

macro_rules! invariants {
    ($($name:ident = $word:literal, $doc:literal;)*) => {
        /// An invariant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Invariant { $(#[doc = $doc] $name,)* }

        impl Invariant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it promises.
            pub fn says(self) -> &'static str {
                match self { $(Self::$name => $doc,)* }
            }
        }
    };
}

invariants! {
    Terminates = "terminates", "No event panics or leads to decisions without end.";
    NoDeadLetter = "no-dead-letter", "Once faults stopped, every event that was dead-lettered is dealt with when it is sent again.";
    TimeForward = "time-forward", "The state's time never goes back, and its version goes up by one a commit.";
    AuditChain = "audit-chain", "The chain of audit entries is whole after every commit and ends where the head says.";
    AuditExplains = "audit-explains", "Every change of a rollout's phase and every call that changes AWS follows from a committed, audited decision.";
    OncePerEvent = "once-per-event", "An event takes effect once, whatever is delivered twice.";
    OneRollout = "one-rollout-per-endpoint", "An endpoint has at most one rollout.";
    OneRolloutPerApproval = "one-rollout-per-approval", "An approval gives at most one rollout, and a rollout ends once.";
    OnePackagePerJob = "one-package-per-job", "A training job gives at most one package.";
    OneRetraining = "one-retraining-per-cooldown", "A cooldown sees at most one retraining, a month no more than the policy allows.";
    MonitorsFollow = "monitors-follow", "Each version that serves alone has the monitors of its policy and no other of Tidegate's is left; while two serve for long, none runs. What people stopped or deleted twice is left so.";
    OnlyOurs = "only-ours", "No monitoring schedule that Tidegate did not make is stopped, started or deleted.";
    SchemaNeverRetrains = "schema-never-retrains", "No report with a schema error starts a retraining, unless the policy says so.";
    SameArtifact = "same-artifact", "No rollout starts of a version whose artifact was overwritten after it was registered.";
    GateHolds = "gate-holds", "No model that fails the gate is registered as approved.";
    OnlyApproved = "only-approved", "Only an Approved version gets traffic from Tidegate.";
    NewerCounts = "newer-counts", "An approval older than the champion's starts nothing.";
    SmokeFirst = "smoke-first", "No user meets a canary that did not answer its smoke requests.";
    WeightsSum = "weights-sum", "The shares of traffic that are asked for are those of the policy and sum to all of it.";
    StepsEarned = "steps-earned", "A step ends when its time and requests are reached, its guards say safe, or the policy says so.";
    MinutesOnce = "minutes-once", "A minute counts once, in order, and not before it is settled.";
    MinutesTrue = "minutes-true", "No request to the champion is counted as one to the canary.";
    HarmGoesBack = "harm-goes-back", "A verdict of harm takes a rollout back at once, and clear harm is seen.";
    BadNeverChampion = "bad-never-champion", "A version that does clear harm is not left as champion where there was one to compare with.";
    BlameIsFair = "blame-is-fair", "A finding on data from before the candidate had all the traffic takes nothing back; a refused deployment rejects nothing.";
    SilenceHolds = "silence-holds", "While CloudWatch answers with errors alone nothing moves on, and people are told within ten minutes.";
    BakeKept = "bake-kept", "The old champion stays for the whole bake.";
    RollbackUnblocked = "rollback-unblocked", "Nothing pending goes before the way back, and it is asked for within three looks at a ready endpoint.";
    AlwaysServed = "always-served", "An endpoint that has served is never left without a variant that has traffic, but by people.";
    NothingOverwritten = "nothing-overwritten", "What somebody else changed is not overwritten.";
    SettingsKept = "settings-kept", "What the policy does not say (instance type, data capture, KMS, timeouts, VPC) survives every deployment.";
    CapacityKept = "capacity-kept", "No deployment leaves an endpoint fewer instances than it has, whoever scaled it.";
    NothingInUseDeleted = "nothing-in-use-deleted", "No config or model is deleted while an endpoint serves by it.";
    CallsBounded = "calls-bounded", "No call is repeated for ever: each has a bound for an endpoint and a phase.";
    ListsBounded = "lists-bounded", "State, lists and transactions stay within their bounds.";
    EverythingEnds = "everything-ends", "Once faults stop, nothing is pending, waiting or rolling out any more.";
    NothingLeft = "nothing-left", "No schedule, config or model of a finished rollout is left.";
    PeopleTold = "people-told", "Every decision that matters has a notice, and each was published at least once.";
    GoodArrives = "good-arrives", "A version that is good and approved, and that nobody disturbs, becomes champion of every stage.";
    SameEnd = "same-end", "The state reached is that of the same history without faults.";
}

/// How often each invariant was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked(Vec<u64>);

impl Default for Checked {
    fn default() -> Self {
        Self(vec![0; Invariant::ALL.len()])
    }
}

impl Checked {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (n, m) in self.0.iter_mut().zip(&other.0) {
            *n += m;
        }
    }

    /// The counts by invariant.
    pub fn by_name(&self) -> impl Iterator<Item = (Invariant, u64)> {
        Invariant::ALL.iter().copied().zip(self.0.iter().copied())
    }
}

/// An invariant that broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
    /// When, for people.
    pub at: String,
}

/// Watches over the invariants.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) checked: Checked,
    pub(crate) broken: Option<(Invariant, String)>,
}

impl Watch {
    /// Holds an invariant to be so; the first that isn't is kept.
    pub(crate) fn hold(&mut self, invariant: Invariant, is: bool, what: impl FnOnce() -> String) {
        if let Some(n) = self.checked.0.get_mut(invariant as usize) {
            *n += 1;
        }
        if !is && self.broken.is_none() {
            self.broken = Some((invariant, what()));
        }
    }
}
