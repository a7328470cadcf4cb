//! Endpoints over time: deployments that work, fail and go back, and what is refused meanwhile.

use crate::support::{Emulator, IMAGE, ROLE};
use serde_json::{Value, json};

const IN_PROGRESS: &str =
    "Cannot update in-progress endpoint \"arn:aws:sagemaker:us-east-1:123456789012:endpoint/e\".";

async fn with_second_model(script: Value) -> Emulator {
    let emulator = Emulator::start(&[]);
    emulator.endpoint("e", json!({})).await;
    emulator.scripted_model("model-2", script).await;
    emulator
        .config(
            "config-2",
            &[("v1", "model-1", 90.0), ("v2", "model-2", 10.0)],
        )
        .await;
    emulator
}

async fn variants(emulator: &Emulator) -> Vec<(String, f64, u64)> {
    let endpoint = emulator
        .ok("DescribeEndpoint", json!({"EndpointName": "e"}))
        .await;
    let variants = endpoint["ProductionVariants"].as_array().unwrap();
    variants
        .iter()
        .map(|one| {
            let name = one["VariantName"].as_str().unwrap().to_owned();
            (
                name,
                one["CurrentWeight"].as_f64().unwrap(),
                one["CurrentInstanceCount"].as_u64().unwrap(),
            )
        })
        .collect()
}

fn update() -> Value {
    json!({"EndpointName": "e", "EndpointConfigName": "config-2"})
}

#[tokio::test]
async fn an_endpoint_takes_minutes_to_be_created_and_serves_after() {
    let emulator = Emulator::start(&[]);
    emulator
        .scripted_model("m", json!({"answer": {"fraud": false}}))
        .await;
    emulator.config("c", &[("v1", "m", 1.0)]).await;
    emulator
        .ok(
            "CreateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "c"}),
        )
        .await;
    let described = emulator
        .ok("DescribeEndpoint", json!({"EndpointName": "e"}))
        .await;
    assert_eq!(described["EndpointStatus"], "Creating");
    assert_eq!(
        described["PendingDeploymentSummary"]["EndpointConfigName"],
        "c"
    );
    assert_eq!(emulator.invoke("e", None, "{}").await.status(), 400);
    emulator.advance(100).await;
    assert_eq!(emulator.status("e").await, "Creating");
    emulator.advance(140).await;
    assert_eq!(emulator.status("e").await, "InService");
    let answer = emulator.invoke("e", None, "{}").await;
    assert_eq!(answer.headers()["x-amzn-invoked-production-variant"], "v1");
    assert_eq!(answer.text().await.unwrap(), r#"{"fraud":false}"#);
    assert_eq!(
        emulator.endpoint_events("e").await,
        ["CREATING", "IN_SERVICE"]
    );
}

#[tokio::test]
async fn an_update_serves_the_old_fleet_until_the_switch_and_refuses_changes_meanwhile() {
    let emulator = with_second_model(json!({})).await;
    emulator.ok("UpdateEndpoint", update()).await;
    assert_eq!(emulator.status("e").await, "Updating");
    assert_eq!(
        emulator.refused("UpdateEndpoint", update()).await.message,
        IN_PROGRESS
    );
    let weights = json!({"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "v1", "DesiredWeight": 5}]});
    assert_eq!(
        emulator
            .refused("UpdateEndpointWeightsAndCapacities", weights)
            .await
            .message,
        IN_PROGRESS
    );
    assert_eq!(
        emulator
            .refused("DeleteEndpoint", json!({"EndpointName": "e"}))
            .await
            .message,
        IN_PROGRESS
    );
    assert_eq!(emulator.invoke("e", None, "{}").await.status(), 200);
    assert_eq!(emulator.invoke("e", Some("v2"), "{}").await.status(), 400);
    emulator.advance(240).await;
    assert_eq!(
        variants(&emulator).await,
        [("v1".to_owned(), 90.0, 2), ("v2".to_owned(), 10.0, 2)]
    );
    assert_eq!(emulator.invoke("e", Some("v2"), "{}").await.status(), 200);
}

#[tokio::test]
async fn an_update_whose_servers_never_answer_ping_rolls_back() {
    let emulator = with_second_model(json!({"fail_ping": true})).await;
    emulator.ok("UpdateEndpoint", update()).await;
    emulator.advance(200).await;
    assert_eq!(emulator.status("e").await, "RollingBack");
    assert_eq!(
        emulator.refused("UpdateEndpoint", update()).await.message,
        IN_PROGRESS
    );
    emulator.advance(60).await;
    let described = emulator
        .ok("DescribeEndpoint", json!({"EndpointName": "e"}))
        .await;
    assert_eq!(described["EndpointStatus"], "InService");
    assert_eq!(described["EndpointConfigName"], "config-1");
    assert!(
        described["FailureReason"]
            .as_str()
            .unwrap()
            .contains("variant v2 did not pass the ping health check")
    );
    let events = emulator.endpoint_events("e").await;
    assert_eq!(events[2..], ["UPDATING", "ROLLING_BACK", "IN_SERVICE"]);
}

#[tokio::test]
async fn a_training_image_can_not_serve() {
    let emulator = Emulator::start(&[]);
    let image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.1-cpu-py310";
    let model =
        json!({"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": image}});
    emulator.ok("CreateModel", model).await;
    emulator.config("c", &[("v1", "m", 1.0)]).await;
    emulator
        .ok(
            "CreateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "c"}),
        )
        .await;
    emulator.advance(240).await;
    let described = emulator
        .ok("DescribeEndpoint", json!({"EndpointName": "e"}))
        .await;
    assert_eq!(described["EndpointStatus"], "Failed");
    assert!(
        described["FailureReason"]
            .as_str()
            .unwrap()
            .contains("did not pass the ping health check")
    );
    emulator
        .refused(
            "UpdateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "c"}),
        )
        .await;
    emulator
        .ok("DeleteEndpoint", json!({"EndpointName": "e"}))
        .await;
}

#[tokio::test]
async fn a_deployment_fails_when_ordered() {
    let emulator = with_second_model(json!({})).await;
    emulator
        .admin(
            "faults",
            json!({"operation": "UpdateEndpoint", "kind": "fail_deployment"}),
        )
        .await;
    emulator.ok("UpdateEndpoint", update()).await;
    emulator.advance(300).await;
    assert_eq!(variants(&emulator).await, [("v1".to_owned(), 1.0, 2)]);
    emulator.ok("UpdateEndpoint", update()).await;
    emulator.advance(300).await;
    assert_eq!(variants(&emulator).await.len(), 2);
}

#[tokio::test]
async fn weights_take_a_while_and_count_only_then() {
    let emulator = with_second_model(json!({})).await;
    emulator.ok("UpdateEndpoint", update()).await;
    emulator.advance(240).await;
    let weights = json!({"EndpointName": "e", "DesiredWeightsAndCapacities": [
        {"VariantName": "v1", "DesiredWeight": 0}, {"VariantName": "v2", "DesiredWeight": 1}]});
    emulator
        .ok("UpdateEndpointWeightsAndCapacities", weights)
        .await;
    assert_eq!(variants(&emulator).await[0].1, 90.0);
    assert_eq!(emulator.status("e").await, "Updating");
    emulator.advance(90).await;
    assert_eq!(emulator.status("e").await, "InService");
    assert_eq!(variants(&emulator).await[0].1, 0.0);
    for _ in 0..20 {
        let answer = emulator.invoke("e", None, "{}").await;
        assert_eq!(answer.headers()["x-amzn-invoked-production-variant"], "v2");
    }
    assert_eq!(emulator.invoke("e", Some("v1"), "{}").await.status(), 200);
}

#[tokio::test]
async fn capacity_is_changed_for_one_variant_at_a_time() {
    let emulator = with_second_model(json!({})).await;
    let two = json!({"EndpointName": "e", "DesiredWeightsAndCapacities": [
        {"VariantName": "v1", "DesiredInstanceCount": 3}, {"VariantName": "v1", "DesiredWeight": 1}]});
    emulator
        .refused("UpdateEndpointWeightsAndCapacities", two)
        .await;
    let one = json!({"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "v1", "DesiredInstanceCount": 12}]});
    emulator.ok("UpdateEndpointWeightsAndCapacities", one).await;
    emulator.advance(90).await;
    assert_eq!(variants(&emulator).await, [("v1".to_owned(), 1.0, 12)]);
    let unknown = json!({"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "v9", "DesiredWeight": 1}]});
    assert!(
        emulator
            .refused("UpdateEndpointWeightsAndCapacities", unknown)
            .await
            .message
            .contains("v9")
    );
}

#[tokio::test]
async fn retained_properties_survive_an_update_and_others_do_not() {
    let emulator = with_second_model(json!({})).await;
    let scale = json!({"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "v1", "DesiredInstanceCount": 5, "DesiredWeight": 7}]});
    emulator
        .ok("UpdateEndpointWeightsAndCapacities", scale)
        .await;
    emulator.advance(90).await;
    let mut retained = update();
    retained["RetainAllVariantProperties"] = json!(true);
    retained["ExcludeRetainedVariantProperties"] =
        json!([{"VariantPropertyType": "DesiredWeight"}]);
    emulator.ok("UpdateEndpoint", retained).await;
    emulator.advance(240).await;
    assert_eq!(
        variants(&emulator).await,
        [("v1".to_owned(), 90.0, 5), ("v2".to_owned(), 10.0, 2)]
    );
    emulator.ok("UpdateEndpoint", update()).await;
    emulator.advance(240).await;
    assert_eq!(variants(&emulator).await[0], ("v1".to_owned(), 90.0, 2));
}

#[tokio::test]
async fn an_endpoint_whose_config_was_deleted_can_not_be_updated() {
    let emulator = with_second_model(json!({})).await;
    emulator
        .ok(
            "DeleteEndpointConfig",
            json!({"EndpointConfigName": "config-1"}),
        )
        .await;
    let refused = emulator.refused("UpdateEndpoint", update()).await;
    assert!(
        refused.message.contains("endpoint-config/config-1"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_deleted_endpoint_is_deleting_and_then_gone() {
    let emulator = with_second_model(json!({})).await;
    emulator
        .ok("DeleteEndpoint", json!({"EndpointName": "e"}))
        .await;
    assert_eq!(emulator.status("e").await, "Deleting");
    emulator.advance(60).await;
    emulator
        .refused("DescribeEndpoint", json!({"EndpointName": "e"}))
        .await;
    emulator
        .ok(
            "CreateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "config-2"}),
        )
        .await;
}

#[tokio::test]
async fn names_that_exist_are_refused() {
    let emulator = with_second_model(json!({})).await;
    let refused = emulator
        .refused(
            "CreateEndpoint",
            json!({"EndpointName": "e", "EndpointConfigName": "config-1"}),
        )
        .await;
    assert_eq!(
        refused.message,
        "Cannot create already existing endpoint \"arn:aws:sagemaker:us-east-1:123456789012:endpoint/e\"."
    );
    let model = json!({"ModelName": "model-1", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}});
    assert!(
        emulator
            .refused("CreateModel", model)
            .await
            .message
            .starts_with("Cannot create already existing model")
    );
}

#[tokio::test]
async fn every_event_is_sent_twice_when_asked() {
    let emulator = Emulator::start(&["--duplicate-events"]);
    emulator.endpoint("e", json!({})).await;
    emulator.advance(60).await;
    let mut events = emulator.endpoint_events("e").await;
    events.sort();
    assert_eq!(events, ["CREATING", "CREATING", "IN_SERVICE", "IN_SERVICE"]);
}

#[tokio::test]
async fn an_advance_is_finished_although_its_caller_hangs_up() {
    let (_moto, emulator) = crate::processes::world(&[]).await;
    emulator
        .ok("CreateTrainingJob", crate::processes::job("job", "3"))
        .await;
    let hurried = reqwest::Client::builder()
        .timeout(std::time::Duration::from_millis(100))
        .build()
        .unwrap();
    let url = format!("{}/_local/clock", emulator.url);
    let order = json!({"advance_seconds": 600});
    assert!(hurried.post(url).json(&order).send().await.is_err());
    // The next advance waits for its turn, so both are done after it.
    emulator.advance(60).await;
    let clock = emulator.look("clock").await;
    assert_eq!(clock["now"], "2026-03-01T12:11:00Z");
}
