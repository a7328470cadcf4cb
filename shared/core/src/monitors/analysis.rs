//! Clarify's analysis configs. The policy or the package names a template; of it are made what the
//! job of the baseline takes and what the monitor takes, both with the model that serves: a fixed
//! file would name the model of a version that is gone.
//!
//! Sources: "Analysis Configuration Files", "Parameters to Monitor Bias Drift" and "Parameters to
//! Monitor Attribution Drift" in the SageMaker developer guide; what differs between the two files
//! is as the SageMaker Python SDK has it (`ModelBiasMonitor`, `ModelExplainabilityMonitor`).

use serde_json::{Map, Value, json};

use crate::name::ScheduleName;
use crate::pipeline::{DataFormat, ModelMonitor, MonitorKind};

/// The members that a monitor of bias takes; where an answer's parts are, its definition says.
const OF_BIAS: [&str; 6] = [
    "version",
    "headers",
    "label",
    "label_values_or_threshold",
    "facet",
    "group_variable",
];

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// For the job that makes the baseline.
    Baselining,
    /// For the monitor's job definition.
    Monitor,
}

/// The two files that are made of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Configs {
    /// For the job that makes the baseline.
    pub baselining: Value,
    /// For the monitor's job definition.
    pub monitor: Value,
}

/// Where a file of a monitor lies: below the monitor's `to`, so that it is its version's alone.
pub fn place(monitor: &ModelMonitor, name: &ScheduleName, of: Use) -> String {
    let to = monitor.to.trim_end_matches('/');
    let folder = match of {
        Use::Baselining => "baselining",
        Use::Monitor => "monitor",
    };
    format!("{to}/configs/{name}/{folder}/analysis_config.json")
}

/// What Clarify is to be told of this monitor, with the `model` that serves.
///
/// # Errors
/// What is wrong with the template, and what to do about it; a sentence without its subject.
pub fn configs(template: &str, monitor: &ModelMonitor, model: &str) -> Result<Configs, String> {
    let template: Map<String, Value> = serde_json::from_str(template)
        .map_err(|error| format!("is no JSON object ({error}); correct the file"))?;
    check(&template, monitor.kind)?;
    let baselining = of_baselining(&template, monitor, model);
    let monitor = match monitor.kind {
        MonitorKind::Attribution => of_attribution(&baselining),
        _ => picked(&template, &OF_BIAS),
    };
    Ok(Configs {
        baselining: Value::Object(baselining),
        monitor: Value::Object(monitor),
    })
}

fn check(template: &Map<String, Value>, kind: MonitorKind) -> Result<(), String> {
    let has_facet = matches!(template.get("facet"), Some(Value::Array(f)) if !f.is_empty());
    if kind == MonitorKind::Bias && !(has_facet && template.contains_key("label")) {
        return Err(
            "names no `facet` or no `label`, without which there is no bias to measure; add \
             both"
                .to_owned(),
        );
    }
    let shap = template.get("methods").and_then(|m| m.get("shap"));
    if kind == MonitorKind::Attribution && !shap.is_some_and(Value::is_object) {
        return Err(
            "has no `methods.shap`, without which no attribution is computed; add it".to_owned(),
        );
    }
    match template.get("predictor") {
        None => Ok(()),
        Some(Value::Object(predictor)) if !predictor.contains_key("endpoint_name") => Ok(()),
        Some(_) => Err(
            "has a `predictor` that is no object or names an endpoint; leave its name out: the \
             model that serves is put in"
                .to_owned(),
        ),
    }
}

fn of_baselining(
    template: &Map<String, Value>,
    monitor: &ModelMonitor,
    model: &str,
) -> Map<String, Value> {
    let mut config = template.clone();
    // It would go before the data that the job is given.
    config.remove("dataset_uri");
    let format = monitor.baseline.as_ref().map(|b| b.format);
    let data = match format.unwrap_or_default() {
        DataFormat::Csv | DataFormat::CsvWithHeader => "text/csv",
        DataFormat::JsonLines => "application/jsonlines",
    };
    config.entry("dataset_type").or_insert(json!(data));
    let methods = methods(template, monitor.kind);
    config.insert("methods".to_owned(), methods);
    if let Some(threshold) = monitor.threshold {
        config
            .entry("probability_threshold")
            .or_insert(json!(threshold));
    }
    // Answers that lie beside the data take the place of the model's.
    let needs_model = monitor.kind == MonitorKind::Attribution
        || !template.contains_key("predicted_label_dataset_uri");
    if needs_model {
        let predictor = predictor(template, monitor, model);
        config.insert("predictor".to_owned(), Value::Object(predictor));
    }
    config
}

/// One template may have the methods of both kinds: each job runs its own.
fn methods(template: &Map<String, Value>, kind: MonitorKind) -> Value {
    let given = template.get("methods").and_then(Value::as_object);
    let given = given.cloned().unwrap_or_default();
    if kind == MonitorKind::Attribution {
        return Value::Object(picked(&given, &["shap"]));
    }
    let mut own = picked(&given, &["pre_training_bias", "post_training_bias"]);
    if own.is_empty() {
        for each in ["pre_training_bias", "post_training_bias"] {
            own.insert(each.to_owned(), json!({ "methods": "all" }));
        }
    }
    Value::Object(own)
}

fn predictor(
    template: &Map<String, Value>,
    monitor: &ModelMonitor,
    model: &str,
) -> Map<String, Value> {
    let given = template.get("predictor").and_then(Value::as_object);
    let mut predictor = given.cloned().unwrap_or_default();
    predictor.insert("model_name".to_owned(), json!(model));
    let mut or = |key: &str, value: Value| {
        predictor.entry(key).or_insert(value);
    };
    or("instance_type", json!(monitor.instance));
    or("initial_instance_count", json!(1));
    for (key, place) in [
        ("label", &monitor.inference),
        ("probability", &monitor.probability),
    ] {
        if let Some(place) = place {
            or(key, index_or_path(place));
        }
    }
    predictor
}

/// A column's number is a number there; in a job definition it is text.
fn index_or_path(place: &str) -> Value {
    place
        .parse::<u32>()
        .map_or_else(|_| json!(place), |n| json!(n))
}

/// What is captured has the features alone, and the job definition says where the answer's parts are.
fn of_attribution(baselining: &Map<String, Value>) -> Map<String, Value> {
    let mut config = picked(baselining, &["version", "headers", "methods", "predictor"]);
    if let Some(Value::Object(predictor)) = config.get_mut("predictor") {
        predictor.remove("label");
        predictor.remove("probability");
    }
    let label = baselining.get("label");
    if let Some(Value::Array(headers)) = config.get_mut("headers") {
        let index = match label {
            Some(Value::Number(n)) => n.as_u64().and_then(|n| usize::try_from(n).ok()),
            Some(name) => headers.iter().position(|header| header == name),
            None => None,
        };
        if let Some(index) = index.filter(|index| *index < headers.len()) {
            headers.remove(index);
        }
    }
    config
}

fn picked(from: &Map<String, Value>, keys: &[&str]) -> Map<String, Value> {
    from.iter()
        .filter(|(key, _)| keys.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn monitor(kind: &str, more: &Value) -> ModelMonitor {
        let mut keys = json!({
            "kind": kind, "role": "r", "image": "clarify", "to": "s3://b/m/",
            "baseline": { "data": "s3://b/train/" },
        });
        for (key, value) in more.as_object().unwrap() {
            keys[key] = value.clone();
        }
        serde_json::from_value(keys).unwrap()
    }

    fn template() -> Value {
        json!({
            "version": "1.0", "dataset_uri": "s3://old/", "headers": ["y", "sex", "age"],
            "label": "y", "label_values_or_threshold": [1],
            "facet": [{ "name_or_index": "sex", "value_or_threshold": ["f"] }],
            "methods": {
                "shap": { "baseline": [["m", 40]], "num_samples": 100, "agg_method": "mean_abs" },
                "post_training_bias": { "methods": ["DPPL"] },
                "report": { "name": "report" },
            },
            "predictor": {
                "model_name": "last-year", "instance_type": "ml.c5.large",
                "initial_instance_count": 2, "accept_type": "text/csv",
            },
        })
    }

    fn made(kind: &str, more: &Value, template: &Value) -> Configs {
        configs(&template.to_string(), &monitor(kind, more), "fraud-v7").unwrap()
    }

    #[test]
    fn attribution_is_explained_with_the_model_that_serves_and_without_the_label() {
        let said = json!({ "probability": "0" });
        let made = made("attribution", &said, &template());
        let shap = &template()["methods"]["shap"];
        assert_eq!(
            made.monitor,
            json!({
                "version": "1.0", "headers": ["sex", "age"], "methods": { "shap": shap },
                "predictor": {
                    "model_name": "fraud-v7", "instance_type": "ml.c5.large",
                    "initial_instance_count": 2, "accept_type": "text/csv",
                },
            })
        );
        let job = made.baselining;
        assert_eq!(job["predictor"]["model_name"], "fraud-v7");
        assert_eq!(job["predictor"]["probability"], 0);
        assert_eq!(job["headers"], json!(["y", "sex", "age"]));
        assert_eq!(job["methods"], json!({ "shap": shap }));
        assert_eq!(job["dataset_type"], "text/csv");
        assert_eq!(job.get("dataset_uri"), None, "it would go before the data");
    }

    #[test]
    fn bias_is_measured_with_the_model_once_and_then_on_what_was_captured() {
        let said = json!({ "inference": "said", "threshold": 0.7 });
        let made = made("bias", &said, &template());
        assert_eq!(
            made.monitor,
            json!({
                "version": "1.0", "headers": ["y", "sex", "age"], "label": "y",
                "label_values_or_threshold": [1],
                "facet": [{ "name_or_index": "sex", "value_or_threshold": ["f"] }],
            })
        );
        let job = made.baselining;
        assert_eq!(
            job["methods"],
            json!({ "post_training_bias": { "methods": ["DPPL"] } })
        );
        assert_eq!(job["predictor"]["model_name"], "fraud-v7");
        assert_eq!(job["predictor"]["label"], "said");
        assert_eq!(job["probability_threshold"], 0.7);
    }

    #[test]
    fn what_a_template_leaves_out_is_filled_in() {
        let bare = json!({ "label": "y", "facet": [{ "name_or_index": "sex" }] });
        let job = made("bias", &json!({ "instance": "ml.m5.large" }), &bare).baselining;
        assert_eq!(
            job["methods"],
            json!({
                "pre_training_bias": { "methods": "all" },
                "post_training_bias": { "methods": "all" },
            })
        );
        assert_eq!(
            job["predictor"],
            json!({
                "model_name": "fraud-v7", "instance_type": "ml.m5.large",
                "initial_instance_count": 1,
            })
        );
        // Whose answers lie beside the data needs no model.
        let mut answered = bare;
        answered["predicted_label_dataset_uri"] = json!("s3://b/answers/");
        let job = made("bias", &json!({}), &answered).baselining;
        assert_eq!(job.get("predictor"), None);
        // A label may be a column's number.
        let mut numbered = template();
        numbered["label"] = json!(0);
        let made = made("attribution", &json!({}), &numbered);
        assert_eq!(made.monitor["headers"], json!(["sex", "age"]));
    }

    #[test]
    fn a_template_that_can_not_do_says_what_to_change() {
        for (kind, text, why) in [
            ("bias", "[1]", "no JSON object"),
            ("bias", "{", "no JSON object"),
            ("bias", r#"{"label": "y", "facet": []}"#, "no `facet`"),
            ("bias", r#"{"facet": [{"name_or_index": 0}]}"#, "no `label`"),
            ("attribution", r#"{"methods": {}}"#, "has no `methods.shap`"),
            (
                "attribution",
                r#"{"methods": {"shap": {}}, "predictor": {"endpoint_name": "e"}}"#,
                "names an endpoint",
            ),
        ] {
            let error = configs(text, &monitor(kind, &json!({})), "m").unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn each_monitor_has_its_own_place() {
        let name = ScheduleName::parse("tidegate-e-bias-v1-00").unwrap();
        assert_eq!(
            place(&monitor("bias", &json!({})), &name, Use::Monitor),
            "s3://b/m/configs/tidegate-e-bias-v1-00/monitor/analysis_config.json"
        );
    }
}
