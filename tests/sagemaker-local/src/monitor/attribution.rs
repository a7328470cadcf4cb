//! Feature attribution: global SHAP values by sampled permutations, and whether features rank otherwise
//! than in the baseline.
//!
//! Sources: "Feature attribution drift for models in production" (NDCG, below 0.90 is an alert) and
//! "Model Feature Attribution Drift Violations" in the SageMaker developer guide; Strumbelj and
//! Kononenko, "Explaining prediction models and individual predictions with feature contributions"
//! (2014), for the sampling. Clarify samples coalitions (Kernel SHAP); the values are the same ones.

use std::collections::BTreeMap;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

use super::statistics::as_f64;

/// "If the NDCG value is below 0.90, we automatically raise an alert."
const LEAST: f64 = 0.9;
/// Where the analysis config says nothing: samples for each row.
const SAMPLES: usize = 100;

/// How the values of all rows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    MeanAbs,
    MeanSquare,
    Median,
}

/// How values are computed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shap {
    baseline: Vec<Vec<String>>,
    /// Orders in which features take a row's values, each the reverse of its neighbour.
    orders: Vec<Vec<usize>>,
    aggregate: Aggregate,
    logit: bool,
}

impl Shap {
    /// From `methods.shap`, for rows of so many features.
    ///
    /// # Errors
    /// What it lacks, or what is not computed here.
    pub(crate) fn of(config: &Value, features: usize) -> Result<Self, String> {
        for key in ["text_config", "image_config", "features_to_explain"] {
            if config.get(key).is_some() {
                return Err(format!("not implemented here: methods.shap.{key}"));
            }
        }
        let Some(Value::Array(rows)) = config.get("baseline") else {
            return Err(
                "not implemented here: methods.shap without baseline, or with one that is no list \
                 of rows"
                    .to_owned(),
            );
        };
        let baseline: Vec<Vec<String>> = rows.iter().map(row).collect();
        if baseline.is_empty() || baseline.iter().any(|row| row.len() != features) {
            return Err(format!(
                "each row of methods.shap.baseline must have the {features} features of the data"
            ));
        }
        let aggregate = match config.get("agg_method").and_then(Value::as_str) {
            None | Some("mean_abs") => Aggregate::MeanAbs,
            Some("mean_sq") => Aggregate::MeanSquare,
            Some("median") => Aggregate::Median,
            Some(other) => return Err(format!("methods.shap.agg_method {other} is none")),
        };
        let samples = config.get("num_samples").and_then(Value::as_u64);
        let samples = samples.and_then(|n| usize::try_from(n).ok());
        let pairs = (samples.unwrap_or(SAMPLES) / (2 * (features + 1))).max(1);
        // Seeded: the same data always says the same.
        let mut rng = StdRng::seed_from_u64(0);
        let mut orders = Vec::new();
        for _ in 0..pairs {
            let mut order: Vec<usize> = (0..features).collect();
            order.shuffle(&mut rng);
            let reverse = order.iter().rev().copied().collect();
            orders.extend([order, reverse]);
        }
        Ok(Self {
            baseline,
            orders,
            aggregate,
            logit: config["use_logit"] == true,
        })
    }

    pub(crate) fn baseline(&self) -> &[Vec<String>] {
        &self.baseline
    }

    /// The rows to ask the model about for one row: it takes the place of a baseline's, one feature
    /// after the other.
    pub(crate) fn questions(&self, row: &[String]) -> Vec<Vec<String>> {
        let mut questions = Vec::new();
        for order in &self.orders {
            for baseline in &self.baseline {
                let mut mixed = baseline.clone();
                questions.push(mixed.clone());
                for &feature in order {
                    mixed[feature].clone_from(&row[feature]);
                    questions.push(mixed.clone());
                }
            }
        }
        questions
    }

    /// The values of one row, by feature, from what the model answered.
    pub(crate) fn values(&self, answers: &[f64]) -> Vec<f64> {
        let features = self.baseline[0].len();
        let mut values = vec![0.0; features];
        let walks = answers.chunks_exact(features + 1);
        let orders = self.orders.iter();
        let orders = orders.flat_map(|order| std::iter::repeat_n(order, self.baseline.len()));
        for (order, walk) in orders.zip(walks) {
            for (step, &feature) in order.iter().enumerate() {
                values[feature] += self.score(walk[step + 1]) - self.score(walk[step]);
            }
        }
        let walks = as_f64(self.orders.len() * self.baseline.len());
        values.into_iter().map(|sum| sum / walks).collect()
    }

    pub(crate) fn score(&self, answer: f64) -> f64 {
        if self.logit {
            let answer = answer.clamp(1e-9, 1.0 - 1e-9);
            return (answer / (1.0 - answer)).ln();
        }
        answer
    }

    /// One value for each feature of those of all rows.
    pub(crate) fn global(&self, rows: &[Vec<f64>]) -> Vec<f64> {
        let of = |feature: usize| {
            let mut values: Vec<f64> = rows.iter().map(|row| row[feature]).collect();
            let count = as_f64(values.len());
            match self.aggregate {
                Aggregate::MeanAbs => values.iter().map(|v| v.abs()).sum::<f64>() / count,
                Aggregate::MeanSquare => values.iter().map(|v| v * v).sum::<f64>() / count,
                Aggregate::Median => {
                    values.sort_by(f64::total_cmp);
                    let middle = values.len() / 2;
                    if values.len().is_multiple_of(2) {
                        f64::midpoint(values[middle - 1], values[middle])
                    } else {
                        values[middle]
                    }
                }
            }
        };
        (0..self.baseline[0].len()).map(of).collect()
    }
}

fn row(row: &Value) -> Vec<String> {
    let cell = |cell: &Value| {
        cell.as_str()
            .map_or_else(|| cell.to_string(), str::to_owned)
    };
    row.as_array().into_iter().flatten().map(cell).collect()
}

/// The section of `analysis.json`.
pub(crate) fn explanations(
    label: &str,
    headers: &[String],
    global: &[f64],
    expected: f64,
) -> Value {
    let values: BTreeMap<&String, &f64> = headers.iter().zip(global).collect();
    json!({"kernel_shap": {label: {"global_shap_values": values, "expected_value": expected}}})
}

/// Labels whose features rank otherwise than in the baseline.
///
/// # Errors
/// The two are of different labels or features, or the baseline has none.
pub(crate) fn check(explanations: &Value, constraints: &Value) -> Result<Vec<Value>, String> {
    let labels = constraints["explanations"]["kernel_shap"].as_object();
    let labels = labels.filter(|labels| !labels.is_empty());
    let labels = labels.ok_or("the baseline's constraints have no explanations.kernel_shap")?;
    let mut violations = Vec::new();
    for (label, before) in labels {
        let before = values(before);
        let now = values(&explanations["kernel_shap"][label]);
        if before.is_empty() || !before.keys().eq(now.keys()) {
            return Err(format!(
                "the baseline explains {label} by {:?} and the data by {:?}; give the analysis \
                 config headers",
                before.keys(),
                now.keys()
            ));
        }
        let score = ndcg(&before, &now);
        if score < LEAST {
            violations.push(json!({
                "label": label, "metric_name": "shap",
                "constraint_check_type": "feature_attribution_drift_check",
                "description": format!("Feature attribution drift {score} exceeds threshold {LEAST}"),
            }));
        }
    }
    Ok(violations)
}

fn values(label: &Value) -> BTreeMap<&str, f64> {
    let values = label["global_shap_values"].as_object();
    let values = values.into_iter().flatten();
    values
        .filter_map(|(feature, value)| Some((feature.as_str(), value.as_f64()?)))
        .collect()
}

/// How well the ranking of now has on top what counted before; 1 is the same ranking.
fn ndcg(before: &BTreeMap<&str, f64>, now: &BTreeMap<&str, f64>) -> f64 {
    let gain = |by: &BTreeMap<&str, f64>| {
        let mut ranked: Vec<(&str, f64)> = by.iter().map(|(f, v)| (*f, *v)).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let gains = ranked.iter().enumerate();
        gains
            .map(|(place, (feature, _))| before[feature] / as_f64(place + 2).log2())
            .sum::<f64>()
    };
    let ideal = gain(before);
    if ideal == 0.0 {
        return 1.0;
    }
    gain(now) / ideal
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cells(cells: &[f64]) -> Vec<String> {
        cells.iter().map(f64::to_string).collect()
    }

    fn explained(model: impl Fn(&[f64]) -> f64, row: &[f64], config: &Value) -> Vec<f64> {
        let shap = Shap::of(config, row.len()).unwrap();
        let answers: Vec<f64> = shap
            .questions(&cells(row))
            .iter()
            .map(|asked| {
                let asked: Vec<f64> = asked.iter().map(|cell| cell.parse().unwrap()).collect();
                model(&asked)
            })
            .collect();
        shap.values(&answers)
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn a_linear_models_values_are_its_weights_times_the_distance_to_the_baseline() {
        let config = json!({"baseline": [[1, 1, 1], [3, 1, -1]], "num_samples": 10});
        let linear = |x: &[f64]| 2.0 * x[0] - x[1] + 0.5 * x[2];
        close(
            &explained(linear, &[5.0, 4.0, 2.0], &config),
            &[6.0, -3.0, 1.0],
        );
    }

    #[test]
    fn an_interaction_is_shared() {
        let config = json!({"baseline": [[0, 0]]});
        let both = |x: &[f64]| x[0] * x[1];
        close(&explained(both, &[2.0, 3.0], &config), &[3.0, 3.0]);
    }

    #[test]
    fn values_of_all_rows_become_one_as_the_config_says() {
        let rows = [vec![1.0], vec![-2.0], vec![-3.0], vec![4.0]];
        for (method, value) in [("mean_abs", 2.5), ("mean_sq", 7.5), ("median", -0.5)] {
            let config = json!({"baseline": [[0]], "agg_method": method});
            close(&Shap::of(&config, 1).unwrap().global(&rows), &[value]);
        }
    }

    #[test]
    fn the_guides_example_has_an_ndcg_of_0_69() {
        let before = BTreeMap::from([("SAT score", 0.7), ("GPA", 0.5), ("Class rank", 0.05)]);
        let now = BTreeMap::from([("SAT score", 0.1), ("GPA", 0.2), ("Class rank", 0.7)]);
        let score = ndcg(&before, &now);
        assert!((score - 0.69).abs() < 0.005, "{score}");
        let same = ndcg(&before, &before);
        assert!((same - 1.0).abs() < 1e-12, "{same}");
    }

    #[test]
    fn a_ranking_below_the_threshold_is_a_violation_of_its_label() {
        let of = |a: f64, b: f64| {
            let headers = ["a".to_owned(), "b".to_owned()];
            explanations("label0", &headers, &[a, b], 0.5)
        };
        let baseline = json!({"explanations": of(0.9, 0.1)});
        assert!(check(&of(0.2, 0.1), &baseline).unwrap().is_empty());
        let found = check(&of(0.1, 0.2), &baseline).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0]["label"], &found[0]["metric_name"]),
            (&json!("label0"), &json!("shap"))
        );
        let said = found[0]["description"].as_str().unwrap();
        assert!(
            said.starts_with("Feature attribution drift 0.69")
                && said.ends_with("exceeds threshold 0.9"),
            "{said}"
        );
        assert!(check(&of(1.0, 1.0), &json!({})).is_err());
        let other = json!({"explanations": explanations("label0", &["c".to_owned()], &[1.0], 0.0)});
        assert!(check(&of(1.0, 1.0), &other).is_err());
    }

    #[test]
    fn what_is_not_computed_is_refused() {
        for (config, why) in [
            (json!({}), "without baseline"),
            (json!({"baseline": "s3://b/rows.csv"}), "no list"),
            (json!({"baseline": [[1]]}), "the 2 features"),
            (
                json!({"baseline": [[1, 2]], "text_config": {}}),
                "text_config",
            ),
        ] {
            let error = Shap::of(&config, 2).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
