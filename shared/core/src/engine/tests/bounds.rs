//! What is too much at once: kept calls by the hundred, a decision that no transaction takes, rollouts
//! of endpoints that nobody names any more, a file that is too large.

use serde_json::json;

use super::stories::{POLICY, Story};
use crate::bounds::TRANSACTION_ITEMS;
use crate::decision::Decision;
use crate::engine::{EngineError, apply, seal};
use crate::event::Approval;
use crate::head::MOST_ROLLOUTS;
use crate::ledger::{Commit, Lane, Ledger, Pending};
use crate::name::{EndpointName, EventId, StageName};
use crate::pipeline;
use crate::world::{Effect, WorldErrorKind};

fn delete(n: usize) -> (Lane, Effect) {
    let name = format!("model-{n}");
    (Lane::Notice(name.clone()), Effect::DeleteModel { name })
}

#[tokio::test]
async fn hundreds_of_kept_calls_are_settled_in_parts_that_fit() {
    let mut story = Story::begin().await;
    let mut head = story.ledger.head(&story.group);
    let expected = head.version;
    head.version += 1;
    let kept = (0..5 * TRANSACTION_ITEMS).map(|n| {
        let (lane, effect) = delete(n);
        Pending {
            id: format!("{:012}-{n:03}", head.version),
            lane,
            at: "2020-01-01T00:00:00Z".parse().unwrap(),
            effect,
        }
    });
    let commit = Commit {
        add: kept.collect(),
        ..Commit::of(expected, head.clone())
    };
    story.ledger.commit(&story.group, &commit).await.unwrap();
    let detail = json!({ "EndpointName": "fraud-prod", "EndpointStatus": "IN_SERVICE" });
    story
        .send("aws.sagemaker", "SageMaker Endpoint State Change", detail)
        .await;
    assert_eq!(story.ledger.pending(&story.group), []);
    assert_eq!(story.calls("DeleteModel"), 5 * TRANSACTION_ITEMS);
}

#[tokio::test]
async fn a_decision_that_is_too_much_is_an_error_and_no_panic() {
    let story = Story::begin().await;
    let snapshot = story
        .ledger
        .load(&story.group, None)
        .await
        .unwrap()
        .unwrap();
    let sealed = |effects: usize| {
        let mut decision = Decision::on(&snapshot.head);
        decision.effects = (0..effects).map(delete).collect();
        let event = EventId("e".to_owned());
        seal::seal(decision, &snapshot.applied, &[], &event, story.now())
    };
    assert!(seal::check(&sealed(60)).is_ok());
    let error = seal::check(&sealed(61)).unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::TooMuch {
                effects: 61,
                items: 63
            }
        ),
        "{error}"
    );
    let mut many = sealed(1);
    many.done = (0..TRANSACTION_ITEMS).map(|n| n.to_string()).collect();
    assert!(seal::check(&many).is_err());
}

#[tokio::test]
async fn a_policy_that_leaves_too_many_rollouts_behind_is_refused_until_they_end() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    let mut head = story.ledger.head(&story.group);
    let expected = head.version;
    head.version += 1;
    let rollout = head.rollouts.values().next().unwrap().clone();
    for n in 1..MOST_ROLLOUTS {
        let mut other = rollout.clone();
        other.stage = StageName::parse(&format!("s-{n}")).unwrap();
        other.endpoint = EndpointName::parse(&format!("e-{n}")).unwrap();
        head.rollouts.insert(other.stage.clone(), other);
    }
    let commit = Commit::of(expected, head);
    story.ledger.commit(&story.group, &commit).await.unwrap();
    let moved = |endpoint: &str| {
        let text = POLICY.replace("\"fraud-prod\"", &format!("\"{endpoint}\""));
        pipeline::parse(&text, "fraud.toml").unwrap()
    };
    let now = story.now();
    let refused = apply(&story.ledger, moved("fraud-new"), "ada", None, now).await;
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("e-1, e-2") && error.contains("fraud-prod"),
        "{error}"
    );
    apply(&story.ledger, moved("e-1"), "ada", None, now)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_evaluation_file_that_is_too_large_rejects_the_model_and_not_the_event() {
    let text = POLICY.replace(
        "[gate]",
        "[gate]\nevaluation = \"{output}/evaluation.json\"",
    );
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    let fails = (1, WorldErrorKind::Refused);
    story
        .town
        .0
        .lock()
        .unwrap()
        .faults
        .calls
        .insert("GetObject", fails);
    story.trained("train-1", 0.95).await;
    let approval = story.town.0.lock().unwrap().packages[0].approval;
    assert_eq!(approval, Approval::Rejected);
    let entries = story.ledger.all_entries(&story.group);
    let why = entries
        .iter()
        .any(|e| e.body.contains("can't be read: as the test says"));
    assert!(why, "{entries:?}");
    story.check();
}
