//! What goes wrong, by kind. How often is the story's weather; whether it does at one place is
//! decided by the seed and the place.

use serde::Serialize;

macro_rules! faults {
    ($($name:ident = $word:literal, $doc:literal;)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Fault { $(#[doc = $doc] $name,)* }

        impl Fault {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The kind in a word or three.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it is.
            pub fn says(self) -> &'static str {
                match self { $(Self::$name => $doc,)* }
            }
        }
    };
}

faults! {
    Crash = "crash", "A function dies between two calls or inside a batch of them.";
    Timeout = "timeout", "A function is stopped at its time limit, its work half done.";
    Duplicate = "duplicate", "An event is delivered twice, with one id.";
    Twin = "twin", "SageMaker sends two events, with two ids, for one change.";
    Delay = "delay", "An event comes minutes to days late, and so after newer ones.";
    Skew = "clock-skew", "An event's own time is off by up to ninety seconds.";
    Throttle = "throttle", "A call is refused because there are too many.";
    ErrorBefore = "error-before", "A call fails and was not done.";
    ErrorAfter = "error-after", "A call was done and its answer is lost.";
    Slow = "slow-call", "A call takes seconds to more than a minute.";
    Stale = "stale-read", "A list of packages does not have the newest yet.";
    Torn = "torn-read", "A query of the ledger reads its effects before, its head after a commit.";
    LostRace = "lost-race", "A commit finds that somebody else was first.";
    Conflict = "conflict", "A transaction is cancelled because another is at the same item.";
    TickDoubled = "tick-doubled", "A schedule fires twice.";
    TickLate = "tick-late", "A tick comes minutes after its time.";
    TickLost = "tick-lost", "A tick does not come.";
    Stopped = "schedule-stopped", "Schedules are silent for minutes to hours.";
    Undone = "deployment-undone", "SageMaker takes a deployment back by itself.";
    UndoneForGood = "rollback-failed", "SageMaker fails to take a deployment back.";
    WeightsUndone = "weights-undone", "SageMaker takes a change of weights back by itself.";
    SlowDeployment = "slow-deployment", "A deployment takes up to two hours.";
    Quota = "quota", "A deployment is refused for quota.";
    MetricGap = "metric-gap", "CloudWatch has nothing of some minutes.";
    Quiet = "little-traffic", "An endpoint has hardly any requests for hours.";
    Approves = "person-approves", "A person approves a version.";
    Rejects = "person-rejects", "A person rejects a version.";
    Withdraws = "person-withdraws", "A person withdraws an approval.";
    Deletes = "person-deletes", "A person deletes an endpoint.";
    Reconfigures = "person-reconfigures", "A person updates an endpoint to a config of their own.";
    Reweights = "person-reweights", "A person changes weights by hand.";
    Scales = "scaled", "An endpoint is scaled.";
    Edits = "policy-edited", "A person applies another policy.";
    Violation = "violation", "Model Monitor reports violations.";
    Overwritten = "overwritten", "Somebody writes over the artifact of a model.";
    MonitorFailed = "monitor-failed", "A monitoring job fails.";
    Alarm = "alarm", "An alarm goes off.";
    StaleDescribe = "stale-describe", "A description shows what was so seconds before.";
    NotYet = "not-found-yet", "A call does not find what was made seconds before.";
    Redelivered = "redelivered", "An event is delivered again days later, up to two weeks.";
    TickSkew = "tick-skew", "The own time of a tick or of housekeeping is off by up to three minutes.";
    Raced = "raced", "For minutes, two of three commits find that somebody else was first.";
    MetricsDown = "metrics-down", "For up to an hour and a half CloudWatch answers with errors alone.";
    MonitorTouched = "monitor-touched", "A person stops, starts or deletes a monitor of Tidegate's.";
}

/// How often each kind of fault happens, of a thousand places where it could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weather(Vec<u16>);

impl Default for Weather {
    fn default() -> Self {
        Self(vec![0; Fault::ALL.len()])
    }
}

impl Weather {
    /// The rate of a kind.
    pub fn rate(&self, fault: Fault) -> u16 {
        self.0.get(fault as usize).copied().unwrap_or_default()
    }

    /// Sets the rate of a kind.
    pub fn set(&mut self, fault: Fault, per_mille: u16) {
        if let Some(rate) = self.0.get_mut(fault as usize) {
            *rate = per_mille;
        }
    }
}

/// How often each kind of fault did happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally(Vec<u64>);

impl Default for Tally {
    fn default() -> Self {
        Self(vec![0; Fault::ALL.len()])
    }
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, fault: Fault) {
        if let Some(n) = self.0.get_mut(fault as usize) {
            *n += 1;
        }
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        for (n, m) in self.0.iter_mut().zip(&other.0) {
            *n += m;
        }
    }

    /// The counts by kind.
    pub fn by_kind(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL.iter().copied().zip(self.0.iter().copied())
    }
}
