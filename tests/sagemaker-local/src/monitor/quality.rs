//! Model quality: predictions against the truth that was learned later (developer guide, "Model
//! quality metrics"). Curves and the best constant classifier are not here.

use std::collections::BTreeMap;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Map, Value, json};

use super::statistics::{as_f64, number};
use super::table::Row;
use crate::json::text;

/// "Standard deviation for metrics are provided only when at least 200 samples are available";
/// it is that of the metric over five samples of four fifths.
const LEAST_SAMPLES: usize = 200;
const SAMPLES: usize = 5;

/// What kind of answer the model gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Binary,
    Multiclass,
    Regression,
}

impl Problem {
    /// From the API's `ProblemType`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "BinaryClassification" => Self::Binary,
            "MulticlassClassification" => Self::Multiclass,
            "Regression" => Self::Regression,
            _ => return None,
        })
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Binary => "binary_classification",
            Self::Multiclass => "multiclass_classification",
            Self::Regression => "regression",
        }
    }
}

/// Where a row has the prediction, the probability and the label.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) inference: Option<String>,
    pub(crate) probability: Option<String>,
    /// From this probability on the prediction is 1.
    pub(crate) threshold: Option<f64>,
}

/// One prediction with its truth.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    predicted: String,
    probability: Option<f64>,
    actual: String,
}

impl Case {
    /// From a row of an answer; `None` if the row lacks what it takes.
    pub(crate) fn of(row: &Row, attributes: &Attributes, actual: &str) -> Option<Self> {
        let probability = attributes
            .probability
            .as_deref()
            .and_then(|place| number(cell(row, place)?));
        let predicted = match (&attributes.inference, probability, attributes.threshold) {
            (Some(place), _, _) => label(cell(row, place)?),
            (None, Some(probability), threshold) => {
                let positive = probability >= threshold.unwrap_or(0.5);
                label(if positive { "1" } else { "0" })
            }
            (None, None, _) => label(cell(row, "0")?),
        };
        Some(Self {
            predicted,
            probability,
            actual: label(actual),
        })
    }
}

/// The cell at a place: a name, an index, or either as a JSON path (`$.name`).
pub(crate) fn cell<'a>(row: &'a Row, place: &str) -> Option<&'a str> {
    let place = place.trim_start_matches("$.");
    match row {
        Row::Named(cells) => cells.iter().find(|(name, _)| name == place)?.1.as_deref(),
        Row::Cells(cells) => cells.get(place.parse::<usize>().ok()?)?.as_deref(),
    }
}

/// A label without the ways to write it: `1`, `1.0` and `true` are one.
pub(super) fn label(text: &str) -> String {
    match text.trim() {
        "true" | "True" => "1".to_owned(),
        "false" | "False" => "0".to_owned(),
        other => number(other).map_or_else(|| other.to_owned(), |number| number.to_string()),
    }
}

/// Which way a metric gets worse.
fn operator(metric: &str) -> &'static str {
    match metric {
        "false_positive_rate" | "false_negative_rate" | "mae" | "mse" | "rmse" => {
            "GreaterThanThreshold"
        }
        _ => "LessThanThreshold",
    }
}

/// The metrics of a problem; those that a division by nothing would make are left out.
pub(crate) fn measure(problem: Problem, cases: &[Case]) -> BTreeMap<&'static str, f64> {
    let metrics = match problem {
        Problem::Binary => binary(cases),
        Problem::Multiclass => multiclass(cases),
        Problem::Regression => regression(cases),
    };
    metrics
        .into_iter()
        .filter(|(_, value)| value.is_finite())
        .collect()
}

fn binary(cases: &[Case]) -> Vec<(&'static str, f64)> {
    let count = |predicted: bool, actual: bool| {
        let counted = cases
            .iter()
            .filter(|case| (case.predicted == "1") == predicted && (case.actual == "1") == actual);
        as_f64(counted.count())
    };
    let (hit, false_alarm) = (count(true, true), count(true, false));
    let (miss, quiet) = (count(false, true), count(false, false));
    let (precision, recall) = (hit / (hit + false_alarm), hit / (hit + miss));
    let specificity = quiet / (quiet + false_alarm);
    let mut metrics = vec![
        ("accuracy", (hit + quiet) / as_f64(cases.len())),
        ("precision", precision),
        ("recall", recall),
        ("true_positive_rate", recall),
        ("true_negative_rate", specificity),
        ("false_positive_rate", 1.0 - specificity),
        ("false_negative_rate", 1.0 - recall),
        ("f0_5", f_score(precision, recall, 0.5)),
        ("f1", f_score(precision, recall, 1.0)),
        ("f2", f_score(precision, recall, 2.0)),
    ];
    metrics.extend(auc(cases).map(|auc| ("auc", auc)));
    metrics
}

fn f_score(precision: f64, recall: f64, beta: f64) -> f64 {
    (1.0 + beta * beta) * precision * recall / (beta * beta * precision + recall)
}

/// The share of pairs of a positive and a negative that the probability puts in order.
fn auc(cases: &[Case]) -> Option<f64> {
    let mut ranked: Vec<(f64, bool)> = cases
        .iter()
        .map(|case| Some((case.probability?, case.actual == "1")))
        .collect::<Option<_>>()?;
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut ordered, mut positives) = (0.0, 0.0, 0.0);
    for same in ranked.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let hits = as_f64(same.iter().filter(|(_, positive)| *positive).count());
        let misses = as_f64(same.len()) - hits;
        ordered += hits * (below + misses / 2.0);
        below += misses;
        positives += hits;
    }
    Some(ordered / (positives * below))
}

fn multiclass(cases: &[Case]) -> Vec<(&'static str, f64)> {
    let all = as_f64(cases.len());
    let right = as_f64(
        cases
            .iter()
            .filter(|case| case.predicted == case.actual)
            .count(),
    );
    let mut actual: BTreeMap<&str, f64> = BTreeMap::new();
    for case in cases {
        *actual.entry(&case.actual).or_default() += 1.0;
    }
    let (mut precision, mut recall, mut f1) = (0.0, 0.0, 0.0);
    for (class, count) in actual {
        let predicted = cases.iter().filter(|case| case.predicted == class);
        let (mut named, mut hit) = (0.0, 0.0);
        for case in predicted {
            named += 1.0;
            hit += if case.actual == class { 1.0 } else { 0.0 };
        }
        // A class that was never predicted has no precision; it counts as none.
        let own_precision = if named > 0.0 { hit / named } else { 0.0 };
        let own_recall = hit / count;
        let own_f1 = if hit > 0.0 {
            f_score(own_precision, own_recall, 1.0)
        } else {
            0.0
        };
        precision += own_precision * count / all;
        recall += own_recall * count / all;
        f1 += own_f1 * count / all;
    }
    vec![
        ("accuracy", right / all),
        ("weighted_precision", precision),
        ("weighted_recall", recall),
        ("weighted_f1", f1),
    ]
}

fn regression(cases: &[Case]) -> Vec<(&'static str, f64)> {
    let pairs: Vec<(f64, f64)> = cases
        .iter()
        .filter_map(|case| Some((number(&case.predicted)?, number(&case.actual)?)))
        .collect();
    let count = as_f64(pairs.len());
    let mean = pairs.iter().map(|(_, actual)| actual).sum::<f64>() / count;
    let absolute: f64 = pairs
        .iter()
        .map(|(predicted, actual)| (predicted - actual).abs())
        .sum();
    let squared: f64 = pairs
        .iter()
        .map(|(predicted, actual)| (predicted - actual).powi(2))
        .sum();
    let spread: f64 = pairs
        .iter()
        .map(|(_, actual)| (actual - mean).powi(2))
        .sum();
    vec![
        ("mae", absolute / count),
        ("mse", squared / count),
        ("rmse", (squared / count).sqrt()),
        ("r2", 1.0 - squared / spread),
    ]
}

/// The content of `statistics.json`.
pub(crate) fn statistics(problem: Problem, cases: &[Case]) -> Value {
    let mut metrics = Map::new();
    if problem != Problem::Regression {
        metrics.insert("confusion_matrix".to_owned(), confusion(cases));
    }
    let deviations = deviations(problem, cases);
    for (name, value) in measure(problem, cases) {
        let deviation = deviations
            .get(name)
            .map_or_else(|| json!("NaN"), |deviation| json!(deviation));
        metrics.insert(
            name.to_owned(),
            json!({"value": value, "standard_deviation": deviation}),
        );
    }
    let mut file = json!({"version": 0.0, "dataset": {"item_count": cases.len()}});
    file[format!("{}_metrics", problem.prefix())] = Value::Object(metrics);
    file
}

/// Counts by actual and then by predicted label.
fn confusion(cases: &[Case]) -> Value {
    let mut matrix: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for case in cases {
        *matrix
            .entry(&case.actual)
            .or_default()
            .entry(&case.predicted)
            .or_default() += 1;
    }
    json!(matrix)
}

fn deviations(problem: Problem, cases: &[Case]) -> BTreeMap<&'static str, f64> {
    if cases.len() < LEAST_SAMPLES {
        return BTreeMap::new();
    }
    // Seeded: the same data always says the same.
    let mut rng = StdRng::seed_from_u64(0);
    let mut shuffled = cases.to_vec();
    let mut samples: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for _ in 0..SAMPLES {
        shuffled.shuffle(&mut rng);
        for (name, value) in measure(problem, &shuffled[..cases.len() * 4 / 5]) {
            samples.entry(name).or_default().push(value);
        }
    }
    let deviation = |values: Vec<f64>| {
        let count = as_f64(values.len());
        let mean = values.iter().sum::<f64>() / count;
        (values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / count)
            .sqrt()
    };
    samples
        .into_iter()
        .map(|(name, values)| (name, deviation(values)))
        .collect()
}

/// The content of `constraints.json`: nothing may be worse than it was.
pub(crate) fn suggest(problem: Problem, cases: &[Case]) -> Value {
    let constraints = measure(problem, cases).into_iter().map(|(name, value)| {
        (
            name.to_owned(),
            json!({"threshold": value, "comparison_operator": operator(name)}),
        )
    });
    let mut file = json!({"version": 0.0});
    file[format!("{}_constraints", problem.prefix())] = Value::Object(constraints.collect());
    file
}

/// Metrics that are worse than their constraints, as the violations file has them.
pub(crate) fn check(problem: Problem, statistics: &Value, constraints: &Value) -> Vec<Value> {
    let metrics = &statistics[format!("{}_metrics", problem.prefix())];
    let constraints = constraints.get(format!("{}_constraints", problem.prefix()));
    let constraints = constraints.and_then(Value::as_object).into_iter().flatten();
    let worse = constraints.filter_map(|(name, constraint)| {
        let value = metrics.get(name)?.get("value")?.as_f64()?;
        // Suggested ones are numbers; people who edit the file write strings too.
        let threshold = constraint.get("threshold")?;
        let threshold = threshold.as_f64().or_else(|| number(threshold.as_str()?))?;
        let operator = text(constraint, "comparison_operator")?;
        let worse = match operator {
            "LessThanThreshold" => value < threshold,
            "GreaterThanThreshold" => value > threshold,
            _ => false,
        };
        let deviation = match &metrics[name]["standard_deviation"] {
            Value::Number(deviation) => format!(" +/- {deviation}"),
            _ => String::new(),
        };
        worse.then(|| {
            json!({
                "constraint_check_type": operator,
                "description": format!("Metric {name} with {value}{deviation} was {operator} '{threshold}'"),
                "metric_name": name,
            })
        })
    });
    worse.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    fn cases(rows: &[(&str, &str)], attributes: &Attributes) -> Vec<Case> {
        let row =
            |cells: &str| Row::Cells(cells.split(',').map(|cell| Some(cell.to_owned())).collect());
        rows.iter()
            .map(|(cells, actual)| Case::of(&row(cells), attributes, actual).unwrap())
            .collect()
    }

    fn probability() -> Attributes {
        Attributes {
            probability: Some("0".to_owned()),
            threshold: Some(0.5),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_binary_models_metrics_are_those_of_the_guides_example() {
        // One hit, no miss, two false alarms, one right no.
        let rows = [("0.9", "1"), ("0.6", "0"), ("0.7", "0"), ("0.1", "0.0")];
        let statistics = statistics(Problem::Binary, &cases(&rows, &probability()));
        let metrics = &statistics["binary_classification_metrics"];
        assert_eq!(
            metrics["confusion_matrix"],
            json!({"0": {"0": 1, "1": 2}, "1": {"1": 1}})
        );
        for (name, value) in [
            ("recall", 1.0),
            ("precision", 1.0 / 3.0),
            ("accuracy", 0.5),
            ("auc", 1.0),
            ("false_positive_rate", 2.0 / 3.0),
            ("f0_5", 5.0 / 13.0),
            ("f1", 0.5),
            ("f2", 5.0 / 7.0),
        ] {
            let found = metrics[name]["value"].as_f64().unwrap();
            assert!((found - value).abs() < 1e-12, "{name}: {found}");
        }
        assert_eq!(metrics["auc"]["standard_deviation"], "NaN");
    }

    #[test]
    fn the_auc_counts_pairs_in_order_and_half_of_the_equal_ones() {
        let rows = [("0.9", "1"), ("0.5", "0"), ("0.5", "1"), ("0.7", "0")];
        assert_eq!(
            measure(Problem::Binary, &cases(&rows, &probability()))["auc"],
            2.5 / 4.0
        );
    }

    #[test]
    fn a_regression_is_measured_by_its_errors() {
        let attributes = Attributes::default();
        let metrics = measure(
            Problem::Regression,
            &cases(&[("1", "2"), ("4", "4"), ("9", "6")], &attributes),
        );
        assert_eq!((metrics["mae"], metrics["mse"]), (4.0 / 3.0, 10.0 / 3.0));
        assert_eq!(metrics["r2"], 1.0 - 10.0 / 8.0);
    }

    #[test]
    fn classes_are_weighted_by_how_often_they_are_true() {
        let attributes = Attributes {
            inference: Some("$.1".to_owned()),
            ..Attributes::default()
        };
        let rows = [("x,a", "a"), ("x,a", "a"), ("x,b", "a"), ("x,b", "b")];
        let metrics = measure(Problem::Multiclass, &cases(&rows, &attributes));
        assert_eq!(metrics["accuracy"], 0.75);
        assert_eq!(metrics["weighted_recall"], 0.75);
        assert_eq!(metrics["weighted_precision"], 0.75 + 0.25 * 0.5);
    }

    #[test]
    fn what_is_worse_than_the_baseline_is_a_violation() {
        let good = cases(&[("0.9", "1"), ("0.1", "0")].repeat(150), &probability());
        let bad = cases(
            &[("0.9", "1"), ("0.8", "0"), ("0.1", "0")].repeat(100),
            &probability(),
        );
        let constraints = suggest(Problem::Binary, &good);
        assert_eq!(
            check(
                Problem::Binary,
                &statistics(Problem::Binary, &good),
                &constraints
            ),
            Vec::<Value>::new()
        );
        let found = check(
            Problem::Binary,
            &statistics(Problem::Binary, &bad),
            &constraints,
        );
        let names: Vec<_> = found
            .iter()
            .map(|one| one["metric_name"].as_str().unwrap())
            .collect();
        assert!(
            names.contains(&"precision") && names.contains(&"false_positive_rate"),
            "{names:?}"
        );
        assert!(
            !names.contains(&"recall") && !names.contains(&"auc"),
            "{names:?}"
        );
        let precision = found
            .iter()
            .find(|one| one["metric_name"] == "precision")
            .unwrap();
        assert_eq!(precision["constraint_check_type"], "LessThanThreshold");
        let said = precision["description"].as_str().unwrap();
        assert!(
            said.starts_with("Metric precision with 0.5 +/- 0.0"),
            "{said}"
        );
        assert!(said.ends_with("was LessThanThreshold '1'"), "{said}");
    }
}
