//! Monitors against the emulator: every kind is set up and removed, a schedule that is Pending is
//! left for later, a baseline is made, a package's own baselines and the policy's capture arrive.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sagemaker::types::{
    DriftCheckBaselines, DriftCheckModelDataQuality, InferenceSpecification, MetricsSource,
    ModelPackageContainerDefinition, MonitoringCsvDatasetFormat,
};
use serde_json::{Value, json};
use tidegate_core::name::{EndpointName, ScheduleName};
use tidegate_core::pipeline::{Capture, ModelMonitor, MonitorKind};
use tidegate_core::world::{
    Answer, BaselineFiles, BaselineSpec, ConfigSpec, Effect, MonitorSpec, Outcome, PipelineRun,
    Question, RunStatus, ScheduleState, VariantSpec, World, WorldErrorKind,
};

use support::fixture::{Fixture, fixture};

const ROLE: &str = "arn:aws:iam::123456789012:role/monitoring";
const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";

impl Fixture {
    async fn done(&self, effect: &Effect) {
        let outcome = self.world.perform(effect).await;
        assert_eq!(outcome, Ok(Outcome::Done), "{effect:?}");
    }

    async fn put(&self, key: &str, text: String) {
        let put = self.clients.s3.put_object().bucket("bucket").key(key);
        let put = put.body(ByteStream::from(text.into_bytes()));
        put.send().await.unwrap();
    }

    async fn baselining(&self) -> Option<PipelineRun> {
        let asked = Question::Baselining { job: name() };
        match self.world.ask(&asked).await.unwrap() {
            Answer::Execution(run) => Some(*run),
            Answer::Missing => None,
            other => panic!("{other:?}"),
        }
    }
}

fn name() -> ScheduleName {
    ScheduleName::parse("tidegate-fraud-data-v1-00").unwrap()
}

/// A monitor with these keys on top of what each has.
fn monitor(more: &Value) -> ModelMonitor {
    let mut keys = json!({
        "kind": "data_quality", "role": ROLE, "image": ANALYZER, "to": "s3://bucket/monitors/",
    });
    for (key, value) in more.as_object().unwrap() {
        keys[key] = value.clone();
    }
    serde_json::from_value(keys).unwrap()
}

fn set_up(more: &Value) -> Effect {
    let uri = |file: &str| Some(format!("s3://bucket/{file}.json"));
    Effect::SetUpMonitor(Box::new(MonitorSpec {
        name: name(),
        endpoint: EndpointName::parse("fraud-prod").unwrap(),
        monitor: monitor(more),
        baseline: BaselineFiles {
            constraints: uri("constraints"),
            statistics: uri("statistics"),
            config: uri("analysis_config"),
        },
        analysis: None,
        tags: BTreeMap::from([("tidegate:monitor".to_owned(), name().to_string())]),
    }))
}

fn remove(kind: MonitorKind) -> Effect {
    Effect::RemoveMonitor { name: name(), kind }
}

fn pause(pause: bool) -> Effect {
    Effect::PauseMonitor {
        name: name(),
        pause,
    }
}

#[tokio::test]
async fn every_kind_of_monitor_is_set_up_and_leaves_nothing_behind() {
    let fixture = fixture().await;
    let labels = "s3://bucket/labels";
    for (kind, more) in [
        (MonitorKind::DataQuality, json!({})),
        (
            MonitorKind::ModelQuality,
            json!({
                "kind": "model_quality", "ground_truth": labels, "problem": "binary",
                "probability": "0", "threshold": 0.5, "label_delay_hours": 24,
                "schedule": "cron(0 0/6 ? * * *)", "kms_key": "alias/data",
                "vpc": { "subnets": ["subnet-1"], "security_groups": ["sg-1"] },
            }),
        ),
        (
            MonitorKind::Bias,
            json!({ "kind": "bias", "ground_truth": labels, "inference": "0" }),
        ),
        (
            MonitorKind::Attribution,
            json!({ "kind": "attribution", "features": "features" }),
        ),
    ] {
        let effect = set_up(&more);
        fixture.done(&effect).await;
        fixture.done(&effect).await;
        let describe = fixture.clients.sagemaker.describe_monitoring_schedule();
        let describe = describe.monitoring_schedule_name(name().as_str());
        let schedule = describe.send().await.unwrap();
        assert_eq!(schedule.endpoint_name(), Some("fraud-prod"), "{kind:?}");
        if kind == MonitorKind::ModelQuality {
            let describe = fixture
                .clients
                .sagemaker
                .describe_model_quality_job_definition();
            let found = describe.job_definition_name(name().as_str()).send().await;
            let input = found.unwrap().model_quality_job_input.unwrap();
            let endpoint = input.endpoint_input.unwrap();
            // Labels come a day late: six hours, a day ago.
            assert_eq!(endpoint.start_time_offset(), Some("-PT30H"));
            assert_eq!(endpoint.end_time_offset(), Some("-PT24H"));
        }
        fixture.minutes_pass(1);
        fixture.done(&remove(kind)).await;
        fixture.done(&remove(kind)).await;
        let list = fixture.clients.sagemaker.list_monitoring_schedules();
        let left = list.send().await.unwrap();
        assert_eq!(left.monitoring_schedule_summaries(), [], "{kind:?}");
    }
}

#[tokio::test]
async fn a_schedule_that_was_just_changed_is_left_for_later() {
    let fixture = fixture().await;
    fixture.done(&set_up(&json!({}))).await;
    for effect in [pause(true), remove(MonitorKind::DataQuality)] {
        let error = fixture.world.perform(&effect).await.unwrap_err();
        assert_eq!(error.kind, WorldErrorKind::NotNow, "{error}");
    }
    fixture.minutes_pass(1);
    fixture.done(&pause(true)).await;
    let error = fixture.world.perform(&pause(false)).await.unwrap_err();
    assert_eq!(error.kind, WorldErrorKind::NotNow, "{error}");
    fixture.minutes_pass(1);
    fixture.done(&pause(true)).await;
    fixture.done(&pause(false)).await;
    fixture.minutes_pass(1);
    fixture.done(&remove(MonitorKind::DataQuality)).await;
    // One that somebody deleted does not run, and can't run again.
    fixture.done(&pause(true)).await;
    let error = fixture.world.perform(&pause(false)).await.unwrap_err();
    assert_eq!(error.kind, WorldErrorKind::Gone, "{error}");
}

#[tokio::test]
async fn a_monitor_of_batch_data_is_set_up_in_every_kind_and_removed() {
    let fixture = fixture().await;
    let batch = json!({ "captured": "s3://bucket/captured/", "format": "csv_with_header" });
    let labels = "s3://bucket/labels";
    for (kind, more) in [
        (MonitorKind::DataQuality, json!({})),
        (
            MonitorKind::ModelQuality,
            json!({
                "kind": "model_quality", "ground_truth": labels, "problem": "binary",
                "inference": "0", "label_delay_hours": 24, "schedule": "cron(0 3 ? * * *)",
            }),
        ),
        (
            MonitorKind::Bias,
            json!({ "kind": "bias", "ground_truth": labels, "inference": "0" }),
        ),
        (MonitorKind::Attribution, json!({ "kind": "attribution" })),
    ] {
        let mut keys = more.clone();
        keys["batch"] = batch.clone();
        let effect = set_up(&keys);
        fixture.done(&effect).await;
        fixture.done(&effect).await;
        let asked = Question::MonitoringSchedule(name());
        let Answer::MonitoringSchedule(shown) = fixture.world.ask(&asked).await.unwrap() else {
            panic!("{kind:?} is not there");
        };
        assert_eq!(shown.endpoint, None, "{kind:?}");
        if kind == MonitorKind::ModelQuality {
            let sagemaker = &fixture.clients.sagemaker;
            let describe = sagemaker.describe_model_quality_job_definition();
            let found = describe.job_definition_name(name().as_str()).send().await;
            let input = found.unwrap().model_quality_job_input.unwrap();
            assert_eq!(input.endpoint_input, None);
            let input = input.batch_transform_input.unwrap();
            let captured = input.data_captured_destination_s3_uri();
            assert_eq!(captured, Some("s3://bucket/captured"));
            let csv = input.dataset_format().and_then(|f| f.csv());
            let header = csv.and_then(MonitoringCsvDatasetFormat::header);
            assert_eq!(header, Some(true));
            assert_eq!(input.inference_attribute(), Some("0"));
            assert_eq!(input.start_time_offset(), Some("-PT48H"));
        }
        // Somebody deletes the schedule alone: it is made again.
        fixture.minutes_pass(1);
        let delete = fixture.clients.sagemaker.delete_monitoring_schedule();
        let delete = delete.monitoring_schedule_name(name().as_str());
        delete.send().await.unwrap();
        fixture.done(&effect).await;
        // A definition of other batch data under this name is another.
        let mut other = keys.clone();
        other["batch"]["captured"] = json!("s3://bucket/other");
        let refused = fixture.world.perform(&set_up(&other)).await.unwrap_err();
        assert!(refused.message.contains("is another"), "{refused}");
        fixture.minutes_pass(1);
        fixture.done(&remove(kind)).await;
        fixture.done(&remove(kind)).await;
    }
}

#[tokio::test]
async fn a_schedule_says_whether_it_runs() {
    let fixture = fixture().await;
    let shown = async || {
        let asked = Question::MonitoringSchedule(name());
        match fixture.world.ask(&asked).await.unwrap() {
            Answer::MonitoringSchedule(shown) => Some(shown.state),
            _ => None,
        }
    };
    assert_eq!(shown().await, None);
    fixture.done(&set_up(&json!({}))).await;
    assert_eq!(shown().await, Some(ScheduleState::Changing));
    fixture.minutes_pass(1);
    assert_eq!(shown().await, Some(ScheduleState::Scheduled));
    fixture.done(&pause(true)).await;
    fixture.minutes_pass(1);
    assert_eq!(shown().await, Some(ScheduleState::Stopped));
    fixture.done(&remove(MonitorKind::DataQuality)).await;
    fixture.minutes_pass(1);
    assert_eq!(shown().await, None);
}

fn baseline(data: &str, more: &Value) -> Effect {
    Effect::StartBaselining(Box::new(BaselineSpec {
        name: name(),
        monitor: monitor(more),
        data: data.to_owned(),
        output: "s3://bucket/monitors/baselines/one".to_owned(),
        analysis: None,
        tags: BTreeMap::new(),
    }))
}

#[tokio::test]
async fn a_baseline_is_made_of_training_data() {
    for more in [
        json!({ "baseline": { "data": "s3://bucket/train/", "format": "csv_with_header" } }),
        json!({
            "kind": "model_quality", "ground_truth": "s3://bucket/labels", "problem": "binary",
            "inference": "0",
            "baseline": {
                "data": "s3://bucket/train/", "format": "csv_with_header", "label": "label",
                "inference": "said",
            },
        }),
    ] {
        let fixture = fixture().await;
        let row = |n: u32| format!("{},{},{}", n % 2, n % 3 % 2, n * 7 % 40);
        let rows: Vec<String> = (0..50).map(row).collect();
        let text = format!("label,said,age\n{}\n", rows.join("\n"));
        fixture.put("train/data.csv", text).await;
        assert_eq!(fixture.baselining().await, None);
        fixture.done(&baseline("s3://bucket/train/", &more)).await;
        let status = fixture.baselining().await.unwrap().status;
        assert_eq!(status, RunStatus::Running);
        fixture.minutes_pass(10);
        let run = fixture.baselining().await.unwrap();
        assert_eq!(run.status, RunStatus::Succeeded, "{:?}", run.failure);
        for file in ["statistics.json", "constraints.json"] {
            let get = fixture.clients.s3.get_object().bucket("bucket");
            let get = get.key(format!("monitors/baselines/one/{file}"));
            assert!(get.send().await.is_ok(), "{file} of {more}");
        }
    }
}

#[tokio::test]
async fn a_baselining_job_that_fails_says_why() {
    let fixture = fixture().await;
    fixture
        .done(&baseline("s3://bucket/nothing/", &json!({})))
        .await;
    fixture.minutes_pass(10);
    let run = fixture.baselining().await.unwrap();
    assert_eq!(run.status, RunStatus::Failed);
    assert!(run.failure.unwrap().contains("AlgorithmError"));
}

#[tokio::test]
async fn a_packages_own_baselines_are_read() {
    let fixture = fixture().await;
    let sagemaker = &fixture.clients.sagemaker;
    let group = sagemaker.create_model_package_group();
    let group = group.model_package_group_name("fraud");
    group.send().await.unwrap();
    let source = |file: &str| {
        let source = MetricsSource::builder().content_type("application/json");
        source.s3_uri(format!("s3://own/{file}.json")).build()
    };
    let data = DriftCheckModelDataQuality::builder()
        .statistics(source("statistics"))
        .constraints(source("constraints"));
    let baselines = DriftCheckBaselines::builder().model_data_quality(data.build());
    let container = ModelPackageContainerDefinition::builder()
        .image("image")
        .model_data_url("s3://bucket/model.tar.gz");
    let inference = InferenceSpecification::builder()
        .containers(container.build())
        .supported_content_types("text/csv")
        .supported_response_mime_types("text/csv");
    let made = sagemaker
        .create_model_package()
        .model_package_group_name("fraud")
        .inference_specification(inference.build())
        .drift_check_baselines(baselines.build())
        .send()
        .await
        .unwrap();
    let arn = made.model_package_arn.unwrap();
    let answer = fixture.world.ask(&Question::Package { arn }).await.unwrap();
    let Answer::Package(package) = answer else {
        panic!("{answer:?}");
    };
    let own = BaselineFiles {
        constraints: Some("s3://own/constraints.json".to_owned()),
        statistics: Some("s3://own/statistics.json".to_owned()),
        config: None,
    };
    assert_eq!(
        package.drift_baselines,
        BTreeMap::from([(MonitorKind::DataQuality, own)])
    );
}

#[tokio::test]
async fn the_policys_capture_takes_the_place_of_what_is_copied() {
    let fixture = fixture().await;
    let sagemaker = &fixture.clients.sagemaker;
    let container = aws_sdk_sagemaker::types::ContainerDefinition::builder();
    let container = container.image("image").build();
    let create = sagemaker.create_model().model_name("m1");
    let create = create.primary_container(container).execution_role_arn(ROLE);
    create.send().await.unwrap();
    let config = |name: &str, like: Option<&str>, capture: Option<Value>| {
        let instance = serde_json::from_value(json!({ "type": "ml.m5.large", "count": 1 }));
        Effect::CreateEndpointConfig(Box::new(ConfigSpec {
            name: name.to_owned(),
            like: like.map(str::to_owned),
            variants: vec![VariantSpec {
                name: "v1".to_owned(),
                model: "m1".to_owned(),
                like: None,
                instance: instance.unwrap(),
                count: 1,
                weight: 100,
                model_download_seconds: None,
                startup_seconds: None,
            }],
            capture: capture.map(|c| serde_json::from_value::<Capture>(c).unwrap()),
            tags: BTreeMap::new(),
        }))
    };
    let first = json!({ "percent": 20, "to": "s3://bucket/captured", "kms_key": "alias/data" });
    let second = json!({ "percent": 5, "to": "s3://bucket/other", "what": "input" });
    fixture.done(&config("c1", None, Some(first))).await;
    fixture.done(&config("c2", Some("c1"), None)).await;
    fixture.done(&config("c3", Some("c2"), Some(second))).await;
    for (name, percent, modes, key) in [
        ("c1", 20, 2, Some("alias/data")),
        ("c2", 20, 2, Some("alias/data")),
        ("c3", 5, 1, None),
    ] {
        let describe = sagemaker.describe_endpoint_config();
        let found = describe.endpoint_config_name(name).send().await.unwrap();
        let capture = found.data_capture_config().unwrap();
        assert_eq!(capture.enable_capture(), Some(true), "{name}");
        assert_eq!(
            capture.initial_sampling_percentage(),
            Some(percent),
            "{name}"
        );
        assert_eq!(capture.capture_options().len(), modes, "{name}");
        assert_eq!(capture.kms_key_id(), key, "{name}");
        let types = capture.capture_content_type_header().unwrap();
        assert_eq!(types.csv_content_types(), ["text/csv"]);
    }
}
