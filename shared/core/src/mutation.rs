//! Deliberate bugs for the simulation's mutation proof: each is asked for at the very place where
//! it would sit. Without the feature `mutations`, which nothing that is shipped has, none is ever
//! on, and the compiler takes the questions away.

macro_rules! mutations {
    ($($name:ident, $doc:literal;)*) => {
        /// A deliberate bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutation { $(#[doc = $doc] $name,)* }

        impl Mutation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it does.
            pub fn says(self) -> &'static str {
                match self { $(Self::$name => $doc,)* }
            }
        }
    };
}

mutations! {
    DropVersionCondition, "the ledger does not compare the head's version";
    IgnoreMarker, "the ledger does not look for the event's marker";
    MarkerExpiresEarly, "an event's marker is kept for ten days instead of thirty";
    ForgetMarker, "a decision is committed without the event's marker";
    LostIsDone, "a lost race is taken for a decision";
    TimeBackwards, "a late event turns the state's time back";
    SettleBeforeAct, "a call is settled before it is made";
    SettleUndone, "a call that can't be done now is settled as done";
    BackToCanary, "the way back deploys the canary's config";
    ForgetNotice, "a notice is not sent";
    DontExplain, "the audit trail does not name the calls that a decision asks for";
    DropEntry, "every fifth audit entry is not written";
    RegisterAgain, "a training job's event registers its model again";
    GateOpen, "the gate passes every model";
    AcceptOldApproval, "an approval older than the champion's starts a rollout";
    StartUnapproved, "a version that is not Approved may start";
    IgnoreRejection, "a rejection does not take a rollout back";
    SecondRollout, "what waits starts although a rollout is under way";
    SkipNextStage, "a version does not go on to the next stage";
    SkipSmoke, "the canary is not smoke tested";
    EndStepEarly, "a step ends at once";
    PromoteOnHold, "too little traffic goes on instead of holding";
    CountMinuteTwice, "a minute counts twice in the evidence";
    JudgeUnsettled, "minutes count before CloudWatch has them";
    SwapSides, "champion and canary are mistaken for each other";
    SharedNameIsCanarys, "a variant name of both is the candidate's also before it had all the traffic";
    IgnoreVerdict, "the verdict is not looked at";
    MoveUnwatched, "a rollout goes on while CloudWatch does not answer";
    SilenceUntold, "nobody is told that CloudWatch does not answer";
    WeightsDontSum, "weights do not sum to 100";
    SkipBake, "the bake is left out";
    SkipWatch, "the watch after the reduction is left out";
    KeepPendingOnRollback, "a roll back does not cancel what is pending";
    SkipShiftBack, "a roll back deploys before it takes the traffic away";
    NeverGoBack, "a roll back asks for nothing";
    RetryForever, "a deployment that is undone is asked for again and again";
    RejectOnDeployment, "a deployment that SageMaker could not do is blamed on the model";
    KeepHarmfulApproved, "a version that did harm is not rejected";
    BlameMixture, "a finding on a mixture is blamed on the candidate";
    DeleteChampionsConfig, "a roll back deletes the champion's config";
    DeleteChampionsEndpoint, "a roll back deletes the endpoint";
    LeaveConfig, "the canary's config is left behind";
    LeaveModel, "one undo is left out: the candidate's model stays";
    LeaveSchedule, "the schedule is left behind";
    IgnoreForeignConfig, "somebody else's config is not noticed";
    IgnoreForeignWeights, "somebody else's weights are not noticed";
    ForgetSettings, "the canary's config copies nothing of the one that serves";
    ForgetVariantSettings, "the reduced config copies nothing of the canary's variant";
    ForgetModelSettings, "the candidate's model copies nothing of the champion's";
    ResetCount, "counts are the policy's, not the endpoint's";
    ForgetScaling, "the reduction forgets that the endpoint was scaled meanwhile";
    TrustStale, "a description of before a change is believed";
    ForgetRetraining, "a retraining is not remembered for the cooldown";
    KeepOldMonitors, "the monitors of the champion before are not removed";
    MonitorMixture, "monitors do not pause while two versions serve";
    NeverResume, "a paused monitor does not run again";
    ResumeStopped, "a monitor that somebody stopped is started again";
    OverlookDeletion, "nobody sees that a monitor was deleted";
    FightDeletion, "a monitor that is deleted again and again is set up each time";
    RetrainOnSchema, "a schema error with drift beside it starts a retraining";
    RemoveForeignMonitor, "a schedule that the policy lists is removed although people made it";
    ServeOverwritten, "a version is served although its artifact was written over";
}

#[cfg(feature = "mutations")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

impl Mutation {
    /// Whether this bug is in.
    #[cfg(feature = "mutations")]
    pub fn is_on(self) -> bool {
        ACTIVE.get() == Some(self)
    }

    /// Whether this bug is in: never, without the feature.
    #[cfg(not(feature = "mutations"))]
    #[inline]
    pub const fn is_on(self) -> bool {
        false
    }

    /// Puts a bug in, or none, for all that this thread does from now on.
    #[cfg(feature = "mutations")]
    pub fn put_in(bug: Option<Self>) {
        ACTIVE.set(bug);
    }
}
