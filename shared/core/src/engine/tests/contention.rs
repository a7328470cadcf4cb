//! Many at once on one pipeline: nothing is done again for a lost race, what others are just doing
//! is left to them, and what they died over is not.

use jiff::SignedDuration;
use serde_json::json;

use super::stories::Story;
use crate::engine::{EngineError, RACES, handle};
use crate::world::WorldErrorKind;

const REGISTER: &str = "RegisterPackage";

/// Delivers the end of a training job once, as an event of this id.
async fn job_ended(story: &Story, id: &str) -> Result<(), EngineError> {
    let event = json!({
        "id": id, "source": "aws.sagemaker", "detail-type": "SageMaker Training Job State Change",
        "account": "123456789012", "region": "us-east-1", "resources": [],
        "time": story.now().to_string(),
        "detail": {
            "TrainingJobName": "train-1", "TrainingJobStatus": "Completed",
            "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1",
            "Tags": { "tidegate:pipeline": "fraud" },
        },
    });
    let bytes = serde_json::to_vec(&event).unwrap();
    handle(&story.ledger, &story.town, &bytes).await.map(drop)
}

/// A function that decided to register a version, and died before it did.
async fn died_over_a_registration() -> Story {
    let story = Story::begin().await;
    story.town.train("train-1", 0.95);
    let away = (1, WorldErrorKind::Unavailable);
    story
        .town
        .0
        .lock()
        .unwrap()
        .faults
        .calls
        .insert(REGISTER, away);
    job_ended(&story, "first").await.unwrap_err();
    assert_eq!(story.ledger.pending(&story.group).len(), 1);
    story
}

#[tokio::test]
async fn a_call_is_not_made_again_because_its_settling_lost_a_race() {
    let story = Story::begin().await;
    story.town.train("train-1", 0.95);
    story.ledger.lose_settlings(3);
    job_ended(&story, "first").await.unwrap();
    assert_eq!(story.ledger.gave_way(), [1, 2, 3]);
    assert_eq!(story.calls("CreateModelPackage"), 1);
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    story.check();
}

#[tokio::test]
async fn what_somebody_is_just_doing_is_left_to_them() {
    let story = died_over_a_registration().await;
    job_ended(&story, "another").await.unwrap();
    assert_eq!(story.ledger.pending(&story.group).len(), 1);
}

#[tokio::test]
async fn what_somebody_did_not_do_in_a_functions_time_is_done_by_who_comes() {
    let story = died_over_a_registration().await;
    story.town.0.lock().unwrap().now += SignedDuration::from_secs(60);
    job_ended(&story, "another").await.unwrap();
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    story.check();
}

#[tokio::test]
async fn an_event_that_comes_again_does_at_once_what_was_left() {
    let story = died_over_a_registration().await;
    job_ended(&story, "first").await.unwrap();
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    story.check();
}

#[tokio::test]
async fn who_always_loses_gives_up_and_is_delivered_again() {
    let story = Story::begin().await;
    story.town.train("train-1", 0.95);
    story.ledger.lose_races(RACES + 1);
    let error = job_ended(&story, "first").await.unwrap_err();
    assert!(matches!(error, EngineError::Contended), "{error}");
    job_ended(&story, "first").await.unwrap();
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 1);
    story.check();
}

#[tokio::test]
async fn a_training_job_is_read_once_however_many_races_are_lost() {
    let asked = async |races| {
        let story = Story::begin().await;
        story.town.train("train-1", 0.95);
        story.ledger.lose_races(races);
        let before = story.town.0.lock().unwrap().asked;
        job_ended(&story, "first").await.unwrap();
        story.check();
        story.town.0.lock().unwrap().asked - before
    };
    let calm = asked(0).await;
    assert!(calm > 1);
    assert_eq!(asked(5).await, calm);
}
