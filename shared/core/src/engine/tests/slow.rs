//! AWS that is slow, or does not answer for a long time: what is decided is kept, and nobody is
//! promoted unseen.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt as _;
use serde_json::json;

use super::memory::Memory;
use super::observe;
use super::stories::{POLICY, Story};
use super::town::Town;
use crate::engine::{apply, handle};
use crate::event::Approval;
use crate::name::GroupName;
use crate::pipeline;
use crate::rollout::Phase;
use crate::world::{Answer, Effect, Outcome, Question, World, WorldError, WorldErrorKind};

/// Answers, and never ends a call that changes something.
struct Stuck<'a>(&'a Town);

impl World for Stuck<'_> {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        self.0.ask(question).await
    }

    async fn perform(&self, _: &Effect) -> Result<Outcome, WorldError> {
        std::future::pending().await
    }
}

/// Has time for so many pipelines.
struct Hurried(AtomicU32);

impl World for Hurried {
    async fn ask(&self, _: &Question) -> Result<Answer, WorldError> {
        Ok(Answer::Missing)
    }

    async fn perform(&self, _: &Effect) -> Result<Outcome, WorldError> {
        Ok(Outcome::Done)
    }

    fn has_time(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        let left = &self.0;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}

/// Answers nothing until its time is up.
struct OutOfTime;

impl World for OutOfTime {
    async fn ask(&self, _: &Question) -> Result<Answer, WorldError> {
        std::future::pending().await
    }

    async fn perform(&self, _: &Effect) -> Result<Outcome, WorldError> {
        std::future::pending().await
    }

    async fn time_is_up(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// The calls of this name fail until the test says otherwise.
fn goes_silent(story: &Story, call: &'static str) {
    let mut state = story.town.0.lock().unwrap();
    let faults = &mut state.faults.calls;
    faults.insert(call, (u32::MAX, WorldErrorKind::Throttled));
}

fn answers_again(story: &Story) {
    story.town.0.lock().unwrap().faults.calls.clear();
}

/// Minutes pass until the rollout is there.
async fn until(story: &mut Story, is_there: impl Fn(&Phase) -> bool) {
    for _ in 0..100 {
        let head = story.ledger.head(&story.group);
        if head.rollouts.values().any(|r| is_there(&r.phase)) {
            return;
        }
        story.minute().await;
    }
    panic!("it never came to that phase");
}

fn held(story: &Story) -> Vec<String> {
    let state = story.town.0.lock().unwrap();
    let held = state.notices.iter().filter(|n| n.what == "step-held");
    held.map(crate::notice::Notice::text).collect()
}

fn phase(story: &Story) -> Phase {
    let head = story.ledger.head(&story.group);
    head.rollouts[&story.stage].phase.clone()
}

#[tokio::test]
async fn what_was_decided_is_kept_when_a_call_never_ends() {
    let mut story = Story::begin().await;
    story.town.train("train-1", 0.95);
    let event = json!({
        "id": "one", "source": "aws.sagemaker", "account": "123456789012", "region": "us-east-1",
        "detail-type": "SageMaker Training Job State Change", "resources": [],
        "time": story.now().to_string(),
        "detail": {
            "TrainingJobName": "train-1", "TrainingJobStatus": "Completed",
            "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1",
            "Tags": { "tidegate:pipeline": "fraud" },
        },
    });
    let bytes = serde_json::to_vec(&event).unwrap();
    // Lambda's time is over: the function's future is dropped where it stands.
    let cut_off = handle(&story.ledger, &Stuck(&story.town), &bytes).now_or_never();
    assert!(cut_off.is_none());
    assert_eq!(story.ledger.pending(&story.group).len(), 1);
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 0);
    let entries = story.ledger.all_entries(&story.group).len();
    story.housekeeping().await;
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    // The event's next attempt finds nothing to decide.
    let after = story.ledger.all_entries(&story.group).len();
    assert!(after > entries);
    handle(&story.ledger, &story.town, &bytes).await.unwrap();
    assert_eq!(story.ledger.all_entries(&story.group).len(), after);
    story.check();
}

#[tokio::test]
async fn housekeeping_without_time_says_how_many_pipelines_it_did_not_look_at() {
    let ledger = Memory::default();
    let town = Town::new();
    town.train("train-1", 0.95);
    let now = town.0.lock().unwrap().now;
    for n in 0..1_000 {
        let text = POLICY
            .replace("\"fraud\"", &format!("\"fraud-{n}\""))
            .replace("fraud-prod", &format!("fraud-{n}-prod"));
        let policy = pipeline::parse(&text, "fraud.toml").unwrap();
        apply(&ledger, policy, "ada", None, now).await.unwrap();
        ledger.leave_unfinished(&GroupName::parse(&format!("fraud-{n}")).unwrap());
    }
    let event = json!({ "tidegate": "housekeeping", "scheduled": now.to_string() });
    let bytes = serde_json::to_vec(&event).unwrap();
    let hurried = Hurried(AtomicU32::new(20));
    let handled = handle(&ledger, &hurried, &bytes).await.unwrap();
    assert_eq!(
        handled.failed,
        ["980 of 1000 pipelines were not looked after: there was no time left; they are next"]
    );
    let stuck = handle(&ledger, &OutOfTime, &bytes).await.unwrap();
    assert_eq!(
        stuck.failed,
        ["980 of 980 pipelines were not looked after: there was no time left; they are next"]
    );
    let at_leisure = Hurried(AtomicU32::new(u32::MAX));
    let handled = handle(&ledger, &at_leisure, &bytes).await.unwrap();
    assert_eq!(handled.failed, Vec::<String>::new());
}

#[tokio::test]
async fn a_rollout_whose_counts_do_not_come_for_an_hour_holds_and_people_are_told_once() {
    type IsThere = fn(&Phase) -> bool;
    let phases: [IsThere; 3] = [
        |phase| matches!(phase, Phase::Step { since: Some(_), .. }),
        |phase| matches!(phase, Phase::Baking { .. }),
        |phase| matches!(phase, Phase::Reducing { since: Some(_) }),
    ];
    for is_there in phases {
        let mut story = Story::begin().await;
        story.approve_second().await;
        until(&mut story, is_there).await;
        let before = phase(&story);
        goes_silent(&story, "GetMetricData");
        story.minutes(5).await;
        assert_eq!(held(&story), Vec::<String>::new(), "{before:?}");
        story.minutes(60).await;
        assert_eq!(phase(&story), before, "moved on unseen");
        let told = held(&story);
        assert_eq!(told.len(), 1, "{before:?}: {told:?}");
        assert!(
            told[0].contains("AWS has not answered for 5 minutes (GetMetricData: "),
            "{told:?}"
        );
        answers_again(&story);
        story.until_quiet().await;
        assert_eq!(story.champion(), 2);
        assert_eq!(held(&story).len(), 1);
        story.check();
    }
}

#[tokio::test]
async fn housekeeping_tells_of_a_silence_when_ticks_are_silent_too() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    until(&mut story, |p| {
        matches!(p, Phase::Step { since: Some(_), .. })
    })
    .await;
    let before = phase(&story);
    goes_silent(&story, "GetMetricData");
    for _ in 0..4 {
        for _ in 0..5 {
            story.town.minute();
        }
        story.housekeeping().await;
    }
    assert_eq!(phase(&story), before, "moved on unseen");
    assert_eq!(held(&story).len(), 1, "{:?}", held(&story));
    answers_again(&story);
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn a_silence_of_some_minutes_is_told_to_nobody() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    for _ in 0..4 {
        goes_silent(&story, "GetMetricData");
        story.minutes(4).await;
        answers_again(&story);
        story.minute().await;
    }
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    assert_eq!(held(&story), Vec::<String>::new());
    story.check();
}

#[tokio::test]
async fn harm_that_nobody_could_see_for_an_hour_takes_the_version_back_once_it_is_seen() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    until(&mut story, |p| {
        matches!(p, Phase::Step { since: Some(_), .. })
    })
    .await;
    goes_silent(&story, "GetMetricData");
    story.town.0.lock().unwrap().bad_versions.insert(2, 300);
    story.minutes(60).await;
    assert!(matches!(phase(&story), Phase::Step { index: 0, .. }));
    answers_again(&story);
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn a_version_that_nobody_sees_goes_back_when_it_is_rejected() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    until(&mut story, |p| {
        matches!(p, Phase::Step { since: Some(_), .. })
    })
    .await;
    goes_silent(&story, "GetMetricData");
    story.minutes(10).await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    assert_eq!(story.serving(), [("v1".to_owned(), 100.0, 2)]);
    story.check();
}

#[tokio::test]
async fn people_are_told_when_the_endpoint_or_the_smoke_test_does_not_answer() {
    for call in ["ask", "InvokeEndpoint"] {
        let mut story = Story::begin().await;
        story.approve_second().await;
        goes_silent(&story, call);
        story.minutes(4).await;
        assert_eq!(held(&story), Vec::<String>::new(), "{call}");
        story.minutes(30).await;
        assert!(matches!(phase(&story), Phase::Preparing | Phase::Smoke));
        let told = held(&story);
        assert_eq!(told.len(), 1, "{call}: {told:?}");
        assert!(told[0].contains("holds on fraud-prod: AWS does not answer"));
        answers_again(&story);
        story.until_quiet().await;
        assert_eq!(story.champion(), 2, "{call}");
        story.check();
    }
}

#[tokio::test]
async fn people_are_told_when_nobody_sees_a_canary_that_they_shift_themselves() {
    let mut story = observe::canary([0.9, 0.1]).await;
    story.minutes(5).await;
    let judged = |story: &Story| {
        let head = story.ledger.head(&story.group);
        head.rollouts[&story.stage].minutes.len()
    };
    let before = judged(&story);
    goes_silent(&story, "GetMetricData");
    story.minutes(20).await;
    let told = held(&story);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("Observed: nobody sees how v7 does"));
    assert_eq!(judged(&story), before);
    answers_again(&story);
    story.minute().await;
    assert_eq!(judged(&story), before + 21);
    story.check();
}
