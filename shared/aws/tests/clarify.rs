//! Clarify's baselines against the emulator: both configs are written once with the model that serves,
//! the job makes the baseline by them, and a template that can't do is told before anything is made.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sagemaker::types::ContainerDefinition;
use serde_json::{Value, json};
use tidegate_aws::{AwsWorld, Clients};
use tidegate_core::name::{EndpointName, ScheduleName};
use tidegate_core::world::{
    AnalysisSpec, Answer, BaselineFiles, BaselineSpec, Effect, MonitorSpec, Outcome, Question,
    RunStatus, World, WorldErrorKind,
};

const CLARIFY: &str =
    "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0";
const ROLE: &str = "arn:aws:iam::123456789012:role/monitoring";
const TEMPLATE: &str = "s3://bucket/analysis.json";

struct Fixture {
    world: AwsWorld,
    clients: Clients,
    emulator: support::Server,
    _moto: support::Server,
}

/// A model that lets in whose age is above 40, and data of people and whether they were let in.
async fn fixture() -> Fixture {
    let moto = support::moto();
    let emulator = support::sagemaker_local(&moto);
    let clients = support::clients_of_both(&moto, &emulator);
    let create = clients.s3.create_bucket().bucket("bucket");
    create.send().await.unwrap();
    let script = json!({"logistic": {"bias": -40.0, "weights": [0.0, 1.0]}});
    let container = ContainerDefinition::builder()
        .image("image")
        .environment("SAGEMAKER_LOCAL_SCRIPT", script.to_string());
    let model = clients.sagemaker.create_model().model_name("fraud-v7");
    let model = model.primary_container(container.build());
    model.execution_role_arn(ROLE).send().await.unwrap();
    let fixture = Fixture {
        world: AwsWorld::new(clients.clone(), support::settings("arn:aws:sns:::t")),
        clients,
        emulator,
        _moto: moto,
    };
    let row = |n: u32| {
        let sex = if n.is_multiple_of(4) { "f" } else { "m" };
        format!("{},{sex},{}", u32::from(n % 50 > 20), n % 50 + 18)
    };
    let rows: Vec<String> = (0..200).map(row).collect();
    fixture.put("train/rows.csv", &rows.join("\n")).await;
    fixture.put("analysis.json", &template().to_string()).await;
    fixture
}

fn template() -> Value {
    json!({
        "headers": ["label", "sex", "age"], "label": "label", "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
        "methods": {"shap": {"baseline": [["m", 40]], "num_samples": 10, "agg_method": "mean_abs"}},
        "predictor": {"model_name": "of-last-year"},
    })
}

impl Fixture {
    async fn put(&self, key: &str, text: &str) {
        let put = self.clients.s3.put_object().bucket("bucket").key(key);
        let put = put.body(ByteStream::from(text.as_bytes().to_vec()));
        put.send().await.unwrap();
    }

    async fn read(&self, key: &str) -> Option<Value> {
        let get = self.clients.s3.get_object().bucket("bucket").key(key);
        let object = get.send().await.ok()?.body.collect().await.unwrap();
        Some(serde_json::from_slice(&object.into_bytes()).unwrap())
    }

    async fn done(&self, effect: &Effect) {
        let outcome = self.world.perform(effect).await;
        assert_eq!(outcome, Ok(Outcome::Done), "{effect:?}");
    }

    fn minutes_pass(&self, minutes: u32) {
        let seconds = f64::from(minutes) * 60.0;
        support::order(
            &self.emulator,
            "/clock",
            &json!({ "advance_seconds": seconds }),
        );
    }
}

fn name() -> ScheduleName {
    ScheduleName::parse("tidegate-fraud-shap-v7-00").unwrap()
}

fn config(of: &str) -> String {
    format!("monitors/configs/{}/{of}/analysis_config.json", name())
}

fn monitor(kind: &str) -> Value {
    json!({
        "kind": kind, "role": ROLE, "image": CLARIFY, "to": "s3://bucket/monitors/",
        "config": TEMPLATE, "probability": "0", "ground_truth": "s3://bucket/labels",
        "baseline": {"data": "s3://bucket/train/"},
    })
}

fn analysis() -> AnalysisSpec {
    AnalysisSpec {
        template: TEMPLATE.to_owned(),
        model: "fraud-v7".to_owned(),
        folder: name(),
    }
}

fn baseline(kind: &str) -> Effect {
    Effect::StartBaselining(Box::new(BaselineSpec {
        name: name(),
        monitor: serde_json::from_value(monitor(kind)).unwrap(),
        data: "s3://bucket/train/".to_owned(),
        output: "s3://bucket/monitors/baselines/one".to_owned(),
        analysis: Some(analysis()),
        tags: BTreeMap::new(),
    }))
}

fn set_up(kind: &str) -> Effect {
    Effect::SetUpMonitor(Box::new(MonitorSpec {
        name: name(),
        endpoint: EndpointName::parse("fraud-prod").unwrap(),
        monitor: serde_json::from_value(monitor(kind)).unwrap(),
        baseline: BaselineFiles {
            constraints: Some("s3://own/analysis.json".to_owned()),
            statistics: None,
            config: Some(format!("s3://bucket/{}", config("monitor"))),
        },
        analysis: Some(analysis()),
        tags: BTreeMap::new(),
    }))
}

#[tokio::test]
async fn clarify_makes_a_baseline_with_the_model_that_serves() {
    for (kind, section) in [
        ("attribution", "explanations"),
        ("bias", "post_training_bias_metrics"),
    ] {
        let fixture = fixture().await;
        fixture.done(&baseline(kind)).await;
        fixture.done(&baseline(kind)).await;
        let describe = fixture.clients.sagemaker.describe_processing_job();
        let job = describe.processing_job_name(name().as_str()).send().await;
        let job = job.unwrap();
        let inputs: Vec<_> = job
            .processing_inputs()
            .iter()
            .map(|i| {
                let s3 = i.s3_input().unwrap();
                (i.input_name().unwrap(), s3.s3_uri().unwrap())
            })
            .collect();
        let own = format!("s3://bucket/{}", config("baselining"));
        assert_eq!(
            inputs,
            [
                ("dataset", "s3://bucket/train/"),
                ("analysis_config", own.as_str())
            ]
        );
        let said = fixture.read(&config("baselining")).await.unwrap();
        assert_eq!(said["predictor"]["model_name"], "fraud-v7");
        fixture.minutes_pass(10);
        let asked = Question::Baselining { job: name() };
        let Answer::Execution(run) = fixture.world.ask(&asked).await.unwrap() else {
            panic!("there is no job");
        };
        assert_eq!(run.status, RunStatus::Succeeded, "{:?}", run.failure);
        let made = fixture.read("monitors/baselines/one/analysis.json").await;
        assert!(made.unwrap().get(section).is_some(), "{kind}");
    }
}

#[tokio::test]
async fn what_was_written_for_a_version_stays_although_the_template_changes() {
    let fixture = fixture().await;
    // A crash came between the first config and the rest.
    fixture
        .put(&config("baselining"), "{\"first\": true}")
        .await;
    fixture.done(&set_up("attribution")).await;
    let written = fixture.read(&config("monitor")).await.unwrap();
    assert_eq!(written["predictor"]["model_name"], "fraud-v7");
    assert_eq!(written["headers"], json!(["sex", "age"]));
    let mut other = template();
    other["headers"] = json!(["label", "sex", "years"]);
    fixture.put("analysis.json", &other.to_string()).await;
    fixture.done(&set_up("attribution")).await;
    assert_eq!(fixture.read(&config("monitor")).await, Some(written));
    assert_eq!(
        fixture.read(&config("baselining")).await,
        Some(json!({"first": true}))
    );
    let describe = fixture
        .clients
        .sagemaker
        .describe_model_explainability_job_definition();
    let found = describe.job_definition_name(name().as_str()).send().await;
    let app = found
        .unwrap()
        .model_explainability_app_specification
        .unwrap();
    let own = format!("s3://bucket/{}", config("monitor"));
    assert_eq!(app.config_uri(), Some(own.as_str()));
}

#[tokio::test]
async fn a_template_that_can_not_do_is_refused_before_anything_is_made() {
    let fixture = fixture().await;
    for (text, why) in [
        (Some("{\"methods\": "), "is no JSON object"),
        (Some("{}"), "has no `methods.shap`"),
        (None, "is not there; upload it"),
    ] {
        let delete = fixture.clients.s3.delete_object().bucket("bucket");
        delete.key("analysis.json").send().await.unwrap();
        if let Some(text) = text {
            fixture.put("analysis.json", text).await;
        }
        for effect in [baseline("attribution"), set_up("attribution")] {
            let error = fixture.world.perform(&effect).await.unwrap_err();
            assert_eq!(error.kind, WorldErrorKind::Refused, "{error}");
            assert!(error.message.contains(why), "{error}");
            assert!(error.message.contains(TEMPLATE), "{error}");
        }
    }
    let asked = Question::Baselining { job: name() };
    assert_eq!(fixture.world.ask(&asked).await, Ok(Answer::Missing));
    assert_eq!(fixture.read(&config("monitor")).await, None);
}
