//! Clarify computes: baselines of bias and attribution with the model that is named, and what the
//! traffic makes of them. The numbers are counted by hand from how the rows are made.

use serde_json::{Value, json};

use super::{
    HOURLY, capturing_of, executions, get, input, keys, output, put, read, resources, schedule,
    traffic,
};
use crate::processes::world;
use crate::support::{Emulator, Moto, ROLE};

const CLARIFY: &str =
    "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0";

/// How a crowd is made: of ten rows so many are women, and of ten women and of ten men so many are
/// let in, by their income or by their debt.
struct Crowd {
    women: usize,
    women_in: usize,
    men_in: usize,
    by_debt: bool,
}

const TRAINED_ON: Crowd = Crowd {
    women: 2,
    women_in: 4,
    men_in: 8,
    by_debt: false,
};

/// Less biased than what the model was trained on.
const USUAL: Crowd = Crowd {
    women: 4,
    women_in: 6,
    men_in: 7,
    by_debt: false,
};

/// Women are kept out, and debt decides.
const SHIFTED: Crowd = Crowd {
    women: 4,
    women_in: 1,
    men_in: 9,
    by_debt: true,
};

impl Crowd {
    /// 1,000 rows of sex, income and debt, and whether the model lets each in.
    fn rows(&self) -> Vec<(String, bool)> {
        let row = |n: usize| {
            let is_woman = n % 10 < self.women;
            let most = if is_woman { self.women_in } else { self.men_in };
            let is_in = n / 10 % 10 < most;
            let jitter = f64::from(u32::try_from(n * 7 % 100).unwrap()) / 250.0;
            let strong = if is_in { 1.5 + jitter } else { -1.5 - jitter };
            let weak = (jitter - 0.2) / 5.0;
            let (income, debt) = if self.by_debt {
                (weak, -strong)
            } else {
                (strong, weak)
            };
            let sex = if is_woman { "f" } else { "m" };
            (format!("{sex},{income:.3},{debt:.3}"), is_in)
        };
        (0..1_000).map(row).collect()
    }

    fn payloads(&self) -> Vec<String> {
        self.rows().into_iter().map(|(row, _)| row).collect()
    }
}

/// Lets in who has more income than debt.
fn model() -> Value {
    json!({"logistic": {"bias": 0.0, "weights": [0.0, 1.0, -1.0]}})
}

/// A quarter of the women that the model keeps out should have been let in.
async fn training_data(moto: &Moto) {
    let rows = TRAINED_ON.rows();
    let label = |(n, (row, is_in)): (usize, &(String, bool))| {
        let is_wronged = row.starts_with('f') && !is_in && n / 100 % 4 == 0;
        format!("{},{row}", u8::from(*is_in || is_wronged))
    };
    let lines: Vec<String> = rows.iter().enumerate().map(label).collect();
    put(moto, "train/rows.csv", lines.join("\n")).await;
}

fn of_job() -> Value {
    json!({
        "dataset_type": "text/csv", "headers": ["label", "sex", "income", "debt"], "label": "label",
        "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
        "methods": {
            "pre_training_bias": {"methods": "all"}, "post_training_bias": {"methods": "all"},
            "shap": {"baseline": [["m", 0.0, 0.0]], "num_samples": 16, "agg_method": "mean_abs"},
        },
        "predictor": {
            "model_name": "model", "instance_type": "ml.m5.large", "initial_instance_count": 1,
        },
    })
}

/// The config lies in S3, and a job runs by it.
async fn analyzed(moto: &Moto, emulator: &Emulator, config: &Value) -> Value {
    put(moto, "configs/analysis_config.json", config.to_string()).await;
    let result = json!({"S3Uri": "s3://bucket/baseline/clarify", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"});
    let job = json!({
        "ProcessingJobName": "clarify",
        "ProcessingInputs": [
            input("dataset", "s3://bucket/train/", "/opt/ml/processing/input/data"),
            input("analysis_config", "s3://bucket/configs/analysis_config.json", "/opt/ml/processing/input/config"),
        ],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "analysis_result", "S3Output": result}]},
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}},
        "AppSpecification": {"ImageUri": CLARIFY},
        "RoleArn": ROLE,
    });
    emulator.ok("CreateProcessingJob", job).await;
    emulator.advance(600).await;
    let named = json!({"ProcessingJobName": "clarify"});
    emulator.ok("DescribeProcessingJob", named).await
}

#[tokio::test]
async fn a_job_makes_the_baselines_of_bias_and_attribution_with_the_model() {
    let (moto, emulator) = world(&[]).await;
    emulator.scripted_model("model", model()).await;
    training_data(&moto).await;
    let job = analyzed(&moto, &emulator, &of_job()).await;
    assert_eq!(job["ProcessingJobStatus"], "Completed", "{job}");
    let analysis = read(&moto, "baseline/clarify/analysis.json").await;
    let metrics = |section: &str| {
        let group = analysis[section]["facets"]["sex"][0].clone();
        assert_eq!(group["value_or_threshold"], "f");
        let metrics = group["metrics"].as_array().unwrap().clone();
        metrics
            .into_iter()
            .map(|m| {
                (
                    m["name"].as_str().unwrap().to_owned(),
                    m["value"].as_f64().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    let mut found = metrics("pre_training_bias_metrics");
    found.extend(metrics("post_training_bias_metrics"));
    // 200 women: 80 let in, 36 of the 120 others labelled so; 800 men: 640 let in.
    let by_hand = [
        ("CI", 0.6),
        ("DPL", 0.8 - 116.0 / 200.0),
        ("AD", 1.0 - 164.0 / 200.0),
        ("DI", 0.4 / 0.8),
        ("DPPL", 0.8 - 0.4),
        ("RD", 1.0 - 80.0 / 116.0),
    ];
    for ((name, value), (expected, number)) in found.iter().zip(by_hand) {
        assert_eq!(name, expected);
        assert!(
            (value - number).abs() < 1e-9,
            "{name}: {value}, not {number}"
        );
    }
    assert_eq!(found.len(), by_hand.len());
    assert_eq!(analysis["post_training_bias_metrics"]["label"], "label");
    let label = &analysis["explanations"]["kernel_shap"]["label0"];
    let of = |feature: &str| label["global_shap_values"][feature].as_f64().unwrap();
    assert!(
        of("sex").abs() < 1e-12 && of("income") > 5.0 * of("debt"),
        "{label}"
    );
    assert!((label["expected_value"].as_f64().unwrap() - 0.5).abs() < 1e-12);
}

#[tokio::test]
async fn a_job_that_can_not_do_what_its_config_says_fails_with_the_reason() {
    for (pointer, value, why) in [
        (
            "/predictor/model_name",
            json!("gone"),
            "Could not find model",
        ),
        (
            "/dataset_type",
            json!("application/jsonlines"),
            "not implemented here",
        ),
        ("/methods", json!({"pdp": {}}), "methods.pdp"),
        ("/label", json!("target"), "no label column"),
        ("/headers", json!(["label"]), "a row has 4 columns"),
    ] {
        let (moto, emulator) = world(&[]).await;
        emulator.scripted_model("model", model()).await;
        training_data(&moto).await;
        let mut config = of_job();
        *config.pointer_mut(pointer).unwrap() = value;
        let job = analyzed(&moto, &emulator, &config).await;
        assert_eq!(job["ProcessingJobStatus"], "Failed", "{pointer}");
        let reason = job["FailureReason"].as_str().unwrap();
        assert!(reason.contains(why), "{pointer}: {reason}");
    }
}

/// Monitors of both kinds on `e`, by the analysis of the job.
async fn monitored(moto: &Moto, emulator: &Emulator) {
    let mut bias = of_job();
    let bias = bias.as_object_mut().unwrap();
    bias.retain(|key, _| !["dataset_type", "methods", "predictor"].contains(&key.as_str()));
    put(moto, "configs/bias.json", json!(bias).to_string()).await;
    let of_job = of_job();
    let attribution = json!({
        "headers": ["sex", "income", "debt"], "predictor": of_job["predictor"],
        "methods": {"shap": of_job["methods"]["shap"]},
    });
    put(moto, "configs/shap.json", attribution.to_string()).await;
    for (kind, config) in [("ModelBias", "bias"), ("ModelExplainability", "shap")] {
        let member = |name: &str| format!("{kind}{name}");
        let mut source = json!({"EndpointInput": {"EndpointName": "e", "LocalPath": "/opt/ml/processing/input/endpoint"}});
        if kind == "ModelBias" {
            source["GroundTruthS3Input"] = json!({"S3Uri": "s3://bucket/truth"});
        }
        let mut definition = json!({
            "JobDefinitionName": config, "JobResources": resources(), "RoleArn": ROLE,
        });
        definition[member("BaselineConfig")] =
            json!({"ConstraintsResource": {"S3Uri": "s3://bucket/baseline/clarify/analysis.json"}});
        definition[member("AppSpecification")] =
            json!({"ImageUri": CLARIFY, "ConfigUri": format!("s3://bucket/configs/{config}.json")});
        definition[member("JobInput")] = source;
        definition[member("JobOutputConfig")] = output();
        emulator
            .ok(&format!("Create{kind}JobDefinition"), definition)
            .await;
        let when = json!({"ScheduleExpression": HOURLY});
        let hourly = schedule(config, kind, config, &when);
        emulator.ok("CreateMonitoringSchedule", hourly).await;
    }
}

/// The truth of an hour's predictions is what the model said.
async fn labelled(moto: &Moto, hour: &str) {
    let mut truth = Vec::new();
    for key in keys(moto, &format!("capture/e/v1/2026/03/01/{hour}/")).await {
        for line in get(moto, &key).await.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let said = line["captureData"]["endpointOutput"]["data"]
                .as_str()
                .unwrap();
            let is_in = said.trim().parse::<f64>().unwrap() > 0.5;
            let label = json!({"data": u8::from(is_in).to_string(), "encoding": "CSV"});
            let id = json!({"eventId": line["eventMetadata"]["eventId"]});
            let line = json!({"groundTruthData": label, "eventMetadata": id, "eventVersion": "0"});
            truth.push(line.to_string());
        }
    }
    put(
        moto,
        &format!("truth/2026/03/01/{hour}/truth.jsonl"),
        truth.join("\n"),
    )
    .await;
}

#[tokio::test]
async fn a_crowd_that_is_treated_otherwise_is_found_as_bias_and_as_attribution_drift() {
    let (moto, emulator) = world(&[]).await;
    capturing_of(&emulator, model(), &["Input", "Output"]).await;
    training_data(&moto).await;
    analyzed(&moto, &emulator, &of_job()).await; // 12:14
    monitored(&moto, &emulator).await;
    traffic(&emulator, &USUAL.payloads()).await;
    emulator.advance(44 * 60).await; // 12:58
    labelled(&moto, "12").await;
    emulator.advance(2 * 60).await; // 13:00
    traffic(&emulator, &SHIFTED.payloads()).await;
    emulator.advance(58 * 60).await; // 13:58
    labelled(&moto, "13").await;
    for schedule in ["bias", "shap"] {
        let found = executions(&emulator, schedule).await;
        assert_eq!(
            found[0]["MonitoringExecutionStatus"], "Completed",
            "{found:?}"
        );
    }
    emulator.advance(45 * 60).await; // 14:43
    for schedule in ["bias", "shap"] {
        let found = &executions(&emulator, schedule).await[0];
        assert_eq!(
            found["MonitoringExecutionStatus"], "CompletedWithViolations",
            "{found}"
        );
    }
    let report =
        |schedule: &str| format!("reports/e/{schedule}/2026/03/01/14/constraint_violations.json");
    let violations = read(&moto, &report("bias")).await["violations"].clone();
    let names: Vec<&str> = violations
        .as_array()
        .unwrap()
        .iter()
        .map(|v| {
            assert_eq!(
                (&v["facet"], &v["facet_value"]),
                (&json!("sex"), &json!("f"))
            );
            assert_eq!(v["constraint_check_type"], "bias_drift_check");
            v["metric_name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(names, ["DPL", "DI", "DPPL"]);
    let violations = read(&moto, &report("shap")).await["violations"].clone();
    assert_eq!(violations.as_array().unwrap().len(), 1, "{violations}");
    assert_eq!(violations[0]["label"], "label0");
    assert_eq!(
        violations[0]["constraint_check_type"],
        "feature_attribution_drift_check"
    );
}
