//! The outside within a function's time: near its end no call is begun, and none is waited for.
//!
//! What can't be done now is kept in the ledger, so a call that is cut off costs nothing but time;
//! a function that Lambda stops costs the log line that says why, and the last commit. Source:
//! Lambda's developer guide, "Configure Lambda function timeout".

use std::time::Duration;

use tidegate_core::audit::Anchors;
use tidegate_core::world::{Answer, Effect, Outcome, Question, World, WorldError, WorldErrorKind};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::error::error;

/// What is kept for the ledger: one attempt of a commit that does not answer (`config`).
const FOR_THE_LEDGER: Duration = Duration::from_secs(5);
/// A call that is begun has as long as one attempt of it at the least.
const FOR_A_CALL: Duration = Duration::from_secs(5);

/// A world whose calls end in time.
#[derive(Debug)]
pub(crate) struct InTime<'a, W> {
    world: &'a W,
    /// From then on no call is begun.
    last_call: Instant,
    /// From then on no answer is waited for.
    end: Instant,
    /// From then on nothing is waited for, not even the ledger.
    up: Instant,
}

impl<'a, W> InTime<'a, W> {
    /// For a function that has so much time from now on.
    pub(crate) fn new(world: &'a W, time: Duration) -> Self {
        let end = most_but(time, FOR_THE_LEDGER);
        let now = Instant::now();
        Self {
            world,
            last_call: now + most_but(end, FOR_A_CALL),
            end: now + end,
            up: now + time,
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, WorldError>>,
    ) -> Result<T, WorldError> {
        if Instant::now() >= self.last_call {
            return Err(no_time("there was no time left to ask before"));
        }
        timeout_at(self.end, call)
            .await
            .unwrap_or_else(|_| Err(no_time("it did not answer before")))
    }
}

/// What is left of `time` without a part of it, and half of it at the least.
fn most_but(time: Duration, part: Duration) -> Duration {
    time.saturating_sub(part).max(time / 2)
}

fn no_time(what: &str) -> WorldError {
    let message = format!("{what} the function's time limit; whoever comes next asks again");
    error(WorldErrorKind::Unavailable, "AWS", message)
}

impl<W: World> World for InTime<'_, W> {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        self.call(self.world.ask(question)).await
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        self.call(self.world.perform(effect)).await
    }

    async fn keep_anchors(&self, anchors: &Anchors) -> Result<(), WorldError> {
        self.call(self.world.keep_anchors(anchors)).await
    }

    fn has_time(&self) -> bool {
        Instant::now() < self.last_call
    }

    async fn time_is_up(&self) {
        sleep_until(self.up).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Never answers, and counts how often it is asked.
    #[derive(Default)]
    struct Silent(AtomicU32);

    impl World for Silent {
        async fn ask(&self, _: &Question) -> Result<Answer, WorldError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }

        async fn perform(&self, _: &Effect) -> Result<Outcome, WorldError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    fn question() -> Question {
        Question::Model {
            name: "m".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_call_that_never_ends_is_given_up_and_none_is_begun_after_it() {
        let silent = Silent::default();
        let world = InTime::new(&silent, Duration::from_millis(40));
        assert!(world.has_time());
        let effect = Effect::DeleteModel {
            name: "m".to_owned(),
        };
        let error = world.perform(&effect).await.unwrap_err();
        assert!(error.is_passing());
        assert!(error.message.contains("did not answer"), "{error}");
        assert!(!world.has_time());
        let error = world.ask(&question()).await.unwrap_err();
        assert!(error.is_passing());
        assert!(error.message.contains("no time left"), "{error}");
        assert_eq!(silent.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_short_time_is_shared_and_of_a_long_one_little_is_kept_back() {
        let seconds = Duration::from_secs;
        assert_eq!(most_but(seconds(53), seconds(5)), seconds(48));
        assert_eq!(most_but(seconds(8), seconds(5)), seconds(4));
    }
}
