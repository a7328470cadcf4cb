//! The words of the audit trail: who causes an entry and what it can be about.
//!
//! They are stored, and people filter by them: a word may be added, never changed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who caused an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Tidegate itself, by its policy.
    Tidegate,
    /// A person or a role, as AWS names it.
    Person(String),
    /// `SageMaker`, or somebody whom it does not name.
    Sagemaker,
    /// An alarm or a monitor.
    Cloudwatch,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tidegate => f.write_str("tidegate"),
            Self::Person(name) => f.write_str(name),
            Self::Sagemaker => f.write_str("sagemaker"),
            Self::Cloudwatch => f.write_str("cloudwatch"),
        }
    }
}

macro_rules! what {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What an entry is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum What {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl What {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word in the trail.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

what! {
    /// A policy was applied.
    PolicyApplied = "policy-applied",
    /// A person started a training job.
    TrainingStarted = "training-started",
    /// A candidate was judged by the gate.
    CandidateGated = "candidate-gated",
    /// A tuning job ended, and which of its models counts.
    TuningEnded = "tuning-ended",
    /// A candidate's package was registered.
    CandidateRegistered = "candidate-registered",
    /// A candidate was rejected.
    CandidateRejected = "candidate-rejected",
    /// A package's approval changed.
    ApprovalSeen = "approval-seen",
    /// An approval counts, and the policy asks for another person's.
    ApprovalCounted = "approval-counted",
    /// An approval by somebody who may not give it was taken back.
    ApprovalUndone = "approval-undone",
    /// An approval led to nothing.
    ApprovalIgnored = "approval-ignored",
    /// A rollout started.
    RolloutStarted = "rollout-started",
    /// A fleet for the champion and the canary was asked for.
    RolloutPreparing = "rollout-preparing",
    /// The canary answered its smoke requests.
    SmokePassed = "smoke-passed",
    /// The canary failed its smoke requests.
    SmokeFailed = "smoke-failed",
    /// The canary got its next share of the traffic.
    StepStarted = "step-started",
    /// A step can't go on yet.
    StepHeld = "step-held",
    /// A guard objects to a candidate that has nothing to go back to.
    HarmFound = "harm-found",
    /// The candidate got all the traffic.
    Promoted = "promoted",
    /// The old champion is kept for a while.
    Baking = "baking",
    /// The endpoint is reduced to the candidate.
    Reducing = "reducing",
    /// The candidate is the champion.
    RolloutDone = "rollout-done",
    /// The champion comes back.
    RollingBack = "rolling-back",
    /// The champion is back.
    RolledBack = "rolled-back",
    /// A newer version took a rollout's place.
    Superseded = "superseded",
    /// A rollout stopped where a person has to look.
    RolloutFailed = "rollout-failed",
    /// Model Monitor found something.
    ViolationSeen = "violation-seen",
    /// An alarm fired.
    AlarmSeen = "alarm-seen",
    /// A retraining was started.
    RetrainingStarted = "retraining-started",
    /// A retraining was not started, by the policy's limits.
    RetrainingWithheld = "retraining-withheld",
    /// A retraining ended well.
    RetrainingEnded = "retraining-ended",
    /// A retraining failed, or nothing was heard of its end.
    RetrainingFailed = "retraining-failed",
    /// A retrained model is not better than what serves.
    DriftRemains = "drift-remains",
    /// The baseline of a monitor is being made.
    BaselineStarted = "baseline-started",
    /// A monitor of the champion was set up.
    MonitorSetUp = "monitor-set-up",
    /// A monitor was stopped while two versions serve.
    MonitorPaused = "monitor-paused",
    /// A monitor runs again.
    MonitorResumed = "monitor-resumed",
    /// A monitor that nobody wants any more was deleted.
    MonitorRemoved = "monitor-removed",
    /// A monitor could not be set up, changed or deleted.
    MonitorFailed = "monitor-failed",
    /// A monitor that failed is tried again.
    MonitorRetried = "monitor-retried",
    /// Somebody stopped a monitor that Tidegate made.
    MonitorStopped = "monitor-stopped",
    /// Somebody deleted a monitor that Tidegate made.
    MonitorDeleted = "monitor-deleted",
    /// People were told.
    Told = "told",
    /// Calls were asked for, on the way to what was decided before.
    CallsAsked = "calls-asked",
    /// A call to AWS failed for good.
    EffectFailed = "effect-failed",
    /// Somebody else changed an endpoint.
    ForeignChange = "foreign-change",
    /// What Tidegate would do, if its policy let it act.
    WouldAct = "would-act",
    /// A canary that somebody else shifts is judged.
    Observing = "observing",
    /// Somebody else's canary is over.
    Observed = "observed",
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
