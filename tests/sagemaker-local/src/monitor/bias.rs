//! Bias metrics of Clarify: how labels and predictions differ between a sensitive group and the rest,
//! and whether that got worse.
//!
//! Sources: "Pre-training Bias Metrics", "Post-training Data and Model Bias Metrics" and "Bias Drift
//! Violations" in the SageMaker developer guide. Of the metrics six are computed: `all` means those,
//! and another one by name is refused.

use serde_json::{Map, Value, json};

use super::quality::label;
use super::statistics::{as_f64, number};

/// Of integers with one wanted value: from this share of distinct values on they are continuous, and
/// the value is a threshold (aws/amazon-sagemaker-clarify).
const CONTINUOUS_FROM: f64 = 0.05;

const BEFORE: [(&str, &str); 2] = [
    ("CI", "Class Imbalance (CI)"),
    ("DPL", "Difference in Positive Proportions in Labels (DPL)"),
];
const AFTER: [(&str, &str); 4] = [
    ("AD", "Accuracy Difference (AD)"),
    ("DI", "Disparate Impact (DI)"),
    (
        "DPPL",
        "Difference in Positive Proportions in Predicted Labels (DPPL)",
    ),
    ("RD", "Recall Difference (RD)"),
];

/// Which of a column's cells are meant.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    These(Vec<String>),
    Above(f64),
}

impl Wanted {
    fn of(values: &[Value], cells: &[String]) -> Result<Self, String> {
        let texts: Vec<String> = values.iter().map(text).collect();
        let [only] = texts.as_slice() else {
            return Ok(Self::These(texts.iter().map(|text| label(text)).collect()));
        };
        match number(only).filter(|_| is_continuous(cells)) {
            Some(threshold) => Ok(Self::Above(threshold)),
            None if is_continuous(cells) => Err(format!(
                "{only} must be a single number: the column is continuous"
            )),
            None => Ok(Self::These(vec![label(only)])),
        }
    }

    fn has(&self, cell: &str) -> bool {
        match self {
            Self::These(values) => values.contains(&label(cell)),
            Self::Above(threshold) => number(cell).is_some_and(|number| number > *threshold),
        }
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn is_continuous(cells: &[String]) -> bool {
    if cells.iter().any(|cell| number(cell).is_none()) {
        return false;
    }
    let mut distinct = cells.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let fractional = cells.iter().any(|cell| cell.parse::<i64>().is_err());
    fractional || as_f64(distinct.len()) / as_f64(cells.len()) >= CONTINUOUS_FROM
}

/// Rows with what they were labelled and, if it is known, what the model said of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Data {
    /// Names of all columns that a facet may be of, in their order.
    pub(crate) headers: Vec<String>,
    /// By column, as `headers`.
    pub(crate) columns: Vec<Vec<String>>,
    pub(crate) labels: Vec<String>,
    pub(crate) predicted: Option<Vec<String>>,
}

/// One row's part in the metrics.
#[derive(Debug, Clone, Copy)]
struct Case {
    sensitive: bool,
    positive: bool,
    predicted: bool,
}

/// The sections of `analysis.json` that the methods ask for, without `version`.
///
/// # Errors
/// What the config or the data lacks, or what is not computed here.
pub(crate) fn analyze(config: &Value, data: &Data) -> Result<Map<String, Value>, String> {
    if config.get("group_variable").is_some() {
        return Err("not implemented here: group_variable".to_owned());
    }
    let wanted = config["label_values_or_threshold"]
        .as_array()
        .ok_or("the analysis config has no label_values_or_threshold")?;
    let positive = Wanted::of(wanted, &data.labels)?;
    let facets = config["facet"].as_array();
    let facets = facets.ok_or("the analysis config has no facet")?;
    let mut sections = Map::new();
    for (method, section, all) in [
        (
            "pre_training_bias",
            "pre_training_bias_metrics",
            BEFORE.as_slice(),
        ),
        ("post_training_bias", "post_training_bias_metrics", &AFTER),
    ] {
        let metrics = asked(config, method, all)?;
        if metrics.is_empty() {
            continue;
        }
        if method == "post_training_bias" && data.predicted.is_none() {
            return Err("post_training_bias needs a predictor in the analysis config".to_owned());
        }
        let mut of_facets = Map::new();
        for facet in facets {
            let (name, groups) = of_facet(facet, data, &positive, &metrics)?;
            of_facets.insert(name, groups);
        }
        let label_values: Vec<String> = wanted.iter().map(text).collect();
        let own = json!({
            "label": text(&config["label"]),
            "label_value_or_threshold": label_values.join(","),
            "facets": of_facets,
        });
        sections.insert(section.to_owned(), own);
    }
    Ok(sections)
}

/// The metrics of a method that are asked for; all of them where no methods are named, as by a
/// monitor's config.
fn asked<'a>(
    config: &Value,
    method: &str,
    all: &[(&'a str, &'a str)],
) -> Result<Vec<(&'a str, &'a str)>, String> {
    let Some(methods) = config.get("methods") else {
        return Ok(all.to_vec());
    };
    let Some(method) = methods.get(method) else {
        return Ok(Vec::new());
    };
    let Some(Value::Array(named)) = method.get("methods") else {
        return Ok(all.to_vec());
    };
    let known = |name: &Value| {
        let found = all.iter().find(|(known, _)| name == known).copied();
        found.ok_or_else(|| format!("not implemented here: the bias metric {name}"))
    };
    named.iter().map(known).collect()
}

fn of_facet(
    facet: &Value,
    data: &Data,
    positive: &Wanted,
    metrics: &[(&str, &str)],
) -> Result<(String, Value), String> {
    let wanted = &facet["name_or_index"];
    let index = match wanted.as_u64() {
        Some(index) => usize::try_from(index)
            .ok()
            .filter(|i| *i < data.headers.len()),
        None => data.headers.iter().position(|name| wanted == name),
    };
    let index = index.ok_or_else(|| format!("the data has no facet column {wanted}"))?;
    let (name, cells) = (&data.headers[index], &data.columns[index]);
    let groups: Vec<Vec<Value>> = match facet.get("value_or_threshold").and_then(Value::as_array) {
        Some(values) => vec![values.clone()],
        None if is_continuous(cells) => {
            return Err(format!(
                "not implemented here: the continuous facet {name} without value_or_threshold"
            ));
        }
        None => {
            let mut each = cells.clone();
            each.sort_unstable();
            each.dedup();
            each.into_iter().map(|value| vec![json!(value)]).collect()
        }
    };
    let mut said = Vec::new();
    for values in groups {
        let sensitive = Wanted::of(&values, cells)?;
        let texts: Vec<String> = values.iter().map(text).collect();
        let values = texts.join(",");
        let cases = cases(data, cells, &sensitive, positive);
        if cases.iter().all(|case| case.sensitive) || !cases.iter().any(|case| case.sensitive) {
            return Err(format!(
                "the facet {name}={values} has all rows or none: there is nothing to compare"
            ));
        }
        let metrics: Vec<Value> = metrics
            .iter()
            .map(|(metric, description)| {
                json!({"name": metric, "description": description, "value": value(metric, &cases)})
            })
            .collect();
        said.push(json!({"value_or_threshold": values, "metrics": metrics}));
    }
    Ok((name.clone(), Value::Array(said)))
}

fn cases(data: &Data, facet: &[String], sensitive: &Wanted, positive: &Wanted) -> Vec<Case> {
    let case = |(row, cell): (usize, &String)| {
        let said = data.predicted.as_ref().map(|predicted| &predicted[row]);
        Case {
            sensitive: sensitive.has(cell),
            positive: positive.has(&data.labels[row]),
            predicted: said.is_some_and(|said| positive.has(said)),
        }
    };
    facet.iter().enumerate().map(case).collect()
}

/// A metric; `a` is everybody else, `d` the sensitive group.
fn value(metric: &str, cases: &[Case]) -> f64 {
    let count = |which: &dyn Fn(&Case) -> bool| as_f64(cases.iter().filter(|c| which(c)).count());
    let share = |sensitive: bool, part: &dyn Fn(&Case) -> bool, of: &dyn Fn(&Case) -> bool| {
        let whole = count(&|case| case.sensitive == sensitive && of(case));
        divide(
            count(&|case| case.sensitive == sensitive && of(case) && part(case)),
            whole,
        )
    };
    let all = |_: &Case| true;
    let difference = |part: &dyn Fn(&Case) -> bool, of: &dyn Fn(&Case) -> bool| {
        share(false, part, of) - share(true, part, of)
    };
    match metric {
        "CI" => {
            let (a, d) = (
                count(&|case| !case.sensitive),
                count(&|case| case.sensitive),
            );
            (a - d) / (a + d)
        }
        "DPL" => difference(&|case| case.positive, &all),
        "DPPL" => difference(&|case| case.predicted, &all),
        "DI" => divide(
            share(true, &|case| case.predicted, &all),
            share(false, &|case| case.predicted, &all),
        ),
        "AD" => difference(&|case| case.predicted == case.positive, &all),
        _ => difference(&|case| case.predicted, &|case| case.positive),
    }
}

/// Nothing of nothing is nothing.
fn divide(part: f64, whole: f64) -> f64 {
    if part == 0.0 { 0.0 } else { part / whole }
}

/// Metrics that are worse than in the baseline: farther from where there is no bias, which is 0, and 1
/// for the ratio DI.
///
/// # Errors
/// The baseline has a metric that the analysis has not.
pub(crate) fn check(
    analysis: &Map<String, Value>,
    constraints: &Value,
) -> Result<Vec<Value>, String> {
    let mut violations = Vec::new();
    let mut compared = 0;
    for section in ["pre_training_bias_metrics", "post_training_bias_metrics"] {
        for (facet, value, metric, limit) in metrics(constraints.get(section)) {
            let found = metrics(analysis.get(section));
            let found = found
                .iter()
                .find(|(f, v, m, _)| (*f, *v, *m) == (facet, value, metric));
            let (.., found) = found.ok_or_else(|| {
                format!("the baseline has {metric} of {facet}={value}, and the data has not")
            })?;
            compared += 1;
            let even = if metric == "DI" { 1.0 } else { 0.0 };
            if (found - even).abs() > (limit - even).abs() {
                violations.push(json!({
                    "facet": facet, "facet_value": value, "metric_name": metric,
                    "constraint_check_type": "bias_drift_check",
                    "description": format!(
                        "Metric value {found} doesn't meet the baseline constraint requirement {limit}"
                    ),
                }));
            }
        }
    }
    if compared == 0 {
        return Err("the baseline's constraints have no bias metric".to_owned());
    }
    Ok(violations)
}

/// Facet, value, name and number of each metric of a section.
fn metrics(section: Option<&Value>) -> Vec<(&str, &str, &str, f64)> {
    let facets = section
        .and_then(|s| s.get("facets"))
        .and_then(Value::as_object);
    let mut all = Vec::new();
    for (facet, groups) in facets.into_iter().flatten() {
        for group in groups.as_array().into_iter().flatten() {
            let value = group["value_or_threshold"].as_str().unwrap_or_default();
            for metric in group["metrics"].as_array().into_iter().flatten() {
                if let (Some(name), Some(number)) =
                    (metric["name"].as_str(), metric["value"].as_f64())
                {
                    all.push((facet.as_str(), value, name, number));
                }
            }
        }
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Of 6 men 4 are positive and 5 are predicted so; of 4 women 1 is, and 2 are predicted so.
    fn data() -> Data {
        let rows = [
            ("m", 1, 1),
            ("m", 1, 1),
            ("m", 1, 1),
            ("m", 1, 0),
            ("m", 0, 1),
            ("m", 0, 1),
            ("f", 1, 1),
            ("f", 0, 1),
            ("f", 0, 0),
            ("f", 0, 0),
        ];
        // Labels of text: few numbers would be continuous.
        let word = |n: i32| if n == 1 { "yes" } else { "no" }.to_owned();
        Data {
            headers: vec!["sex".to_owned()],
            columns: vec![rows.iter().map(|(sex, ..)| (*sex).to_owned()).collect()],
            labels: rows.iter().map(|(_, label, _)| word(*label)).collect(),
            predicted: Some(rows.iter().map(|(.., said)| word(*said)).collect()),
        }
    }

    fn config() -> Value {
        json!({
            "label": "y", "label_values_or_threshold": ["yes"],
            "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
        })
    }

    #[test]
    fn metrics_are_those_counted_by_hand() {
        let analysis = analyze(&config(), &data()).unwrap();
        let mut found: Vec<(String, f64)> = Vec::new();
        for section in ["pre_training_bias_metrics", "post_training_bias_metrics"] {
            for (facet, value, name, number) in metrics(analysis.get(section)) {
                assert_eq!((facet, value), ("sex", "f"));
                found.push((name.to_owned(), number));
            }
        }
        let by_hand = [
            ("CI", (6.0 - 4.0) / 10.0),
            ("DPL", 4.0 / 6.0 - 1.0 / 4.0),
            ("AD", 3.0 / 6.0 - 3.0 / 4.0),
            ("DI", (2.0 / 4.0) / (5.0 / 6.0)),
            ("DPPL", 5.0 / 6.0 - 2.0 / 4.0),
            ("RD", 3.0 / 4.0 - 1.0),
        ];
        assert_eq!(found.len(), by_hand.len());
        for ((name, number), (expected, value)) in found.iter().zip(by_hand) {
            assert_eq!(name, expected);
            assert!((number - value).abs() < 1e-12, "{name}: {number}");
        }
    }

    #[test]
    fn what_is_farther_from_even_than_in_the_baseline_is_a_violation() {
        let now = analyze(&config(), &data()).unwrap();
        let same = Value::Object(now.clone());
        assert_eq!(check(&now, &same).unwrap(), Vec::<Value>::new());
        let mut fairer = same.clone();
        let metrics = &mut fairer["post_training_bias_metrics"]["facets"]["sex"][0]["metrics"];
        // AD is -0.25 now, which is farther from 0 than 0.2; DI is 0.6, farther from 1 than 1.3.
        metrics[0]["value"] = json!(0.2);
        metrics[1]["value"] = json!(1.3);
        let found = check(&now, &fairer).unwrap();
        let names: Vec<&str> = found
            .iter()
            .map(|v| v["metric_name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["AD", "DI"]);
        assert_eq!(
            (&found[0]["facet"], &found[0]["facet_value"]),
            (&json!("sex"), &json!("f"))
        );
        assert_eq!(found[0]["constraint_check_type"], "bias_drift_check");
        assert!(check(&now, &json!({})).is_err(), "nothing was compared");
    }

    #[test]
    fn few_different_numbers_are_groups_and_many_have_a_threshold() {
        let column = |distinct: usize| -> Vec<String> {
            (0..100).map(|n| (n % distinct).to_string()).collect()
        };
        let one = [json!(1)];
        let of = |cells: &[String]| Wanted::of(&one, cells).unwrap();
        assert_eq!(of(&column(2)), Wanted::These(vec!["1".to_owned()]));
        assert_eq!(of(&column(50)), Wanted::Above(1.0));
        assert!(!of(&column(50)).has("1") && of(&column(50)).has("2"));
    }

    #[test]
    fn what_is_not_computed_is_refused() {
        for (key, value, why) in [
            ("group_variable", json!("zip"), "group_variable"),
            (
                "methods",
                json!({"pre_training_bias": {"methods": ["KL"]}}),
                "\"KL\"",
            ),
            (
                "facet",
                json!([{"name_or_index": "age"}]),
                "no facet column \"age\"",
            ),
            (
                "facet",
                json!([{"name_or_index": 0, "value_or_threshold": ["x"]}]),
                "all rows or none",
            ),
        ] {
            let mut config = config();
            config[key] = value;
            let error = analyze(&config, &data()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
