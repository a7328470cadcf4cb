//! Data quality: a table against a baseline's constraints and distributions
//! (developer guide, "Schema for Violations").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::constraints::{Constraints, Feature, Rules};
use super::sketch::Distribution;
use super::statistics::{Kind, share};
use super::table::{Column, Table};

/// One entry of `constraint_violations.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Violation {
    pub(crate) feature_name: String,
    pub(crate) constraint_check_type: String,
    pub(crate) description: String,
}

impl Violation {
    fn new(feature: &str, check: &str, description: String) -> Self {
        Self {
            feature_name: feature.to_owned(),
            constraint_check_type: check.to_owned(),
            description,
        }
    }
}

/// What the checks found.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    pub(crate) violations: Vec<Violation>,
    /// The distance of each column that was compared.
    pub(crate) drift: BTreeMap<String, f64>,
}

/// Checks a table whose columns have the constraints' names.
///
/// # Errors
/// A method of comparison that is not here.
pub(crate) fn check(
    table: &Table,
    constraints: &Constraints,
    baseline: &BTreeMap<String, Distribution>,
) -> Result<Found, String> {
    let mut found = Found::default();
    found.violations.extend(columns(table, constraints));
    // Columns without names are told apart by their place, which means nothing in other company.
    if !table.named && !found.violations.is_empty() {
        return Ok(found);
    }
    for feature in &constraints.features {
        let rules = constraints.rules(feature);
        let Some(column) = table.column(&feature.name).filter(|_| rules.evaluate) else {
            continue;
        };
        found.violations.extend(kind(column, feature, &rules));
        found.violations.extend(completeness(column, feature));
        found.violations.extend(domain(column, feature, &rules));
        let Some(baseline) = baseline.get(&feature.name).filter(|_| rules.compare) else {
            continue;
        };
        let numeric = matches!(baseline, Distribution::Numbers(_));
        if rules.chi_squared && !numeric {
            return Err(
                "not implemented here: categorical_drift_method ChiSquared; LInfinity is"
                    .to_owned(),
            );
        }
        let Some(distance) = column
            .distribution(numeric)
            .distance(baseline, rules.robust)
        else {
            continue;
        };
        found.drift.insert(feature.name.clone(), distance);
        let threshold = if numeric {
            rules.distance
        } else {
            rules.categorical_distance
        };
        if distance > threshold {
            let description =
                format!("Baseline drift distance: {distance} exceeds threshold: {threshold}");
            found.violations.push(Violation::new(
                &feature.name,
                "baseline_drift_check",
                description,
            ));
        }
    }
    Ok(found)
}

fn columns(table: &Table, constraints: &Constraints) -> Vec<Violation> {
    let (current, expected) = (table.columns.len(), constraints.features.len());
    let (lacks, has_more) = if table.named {
        let known = |name: &str| {
            constraints
                .features
                .iter()
                .any(|feature| feature.name == name)
        };
        (
            constraints
                .features
                .iter()
                .any(|feature| table.column(&feature.name).is_none()),
            table.columns.iter().any(|column| !known(&column.name)),
        )
    } else {
        (current < expected, current > expected)
    };
    let of = |what: &str| {
        format!(
            "There are {what} columns in current dataset. Number of columns in current dataset: {current}, Number of columns in baseline constraints: {expected}"
        )
    };
    let mut found = Vec::new();
    if lacks {
        found.push(Violation::new(
            "Missing columns",
            "missing_column_check",
            of("missing"),
        ));
    }
    if has_more {
        found.push(Violation::new(
            "Extra columns",
            "extra_column_check",
            of("extra"),
        ));
    }
    found
}

fn kind(column: &Column, feature: &Feature, rules: &Rules) -> Option<Violation> {
    let expected = Kind::parse(&feature.inferred_type);
    let fitting = column.present().filter(|cell| expected.takes(cell)).count();
    let matched = share(fitting, column.present().count());
    (matched < rules.datatype).then(|| {
        let name = expected.name();
        let description = format!(
            "Data type match requirement is not met. Expected data type: {name}, Expected match: {}. Observed: Only {} of data is {name}.",
            percent(rules.datatype),
            percent(matched)
        );
        Violation::new(&column.name, "data_type_check", description)
    })
}

fn completeness(column: &Column, feature: &Feature) -> Option<Violation> {
    let expected = feature.completeness?;
    let observed = column.completeness();
    (observed < expected).then(|| {
        let description = format!(
            "Data completeness requirement is not met. Expected completeness: {}. Observed: Only {} of data is present.",
            percent(expected),
            percent(observed)
        );
        Violation::new(&column.name, "completeness_check", description)
    })
}

fn domain(column: &Column, feature: &Feature, rules: &Rules) -> Option<Violation> {
    let domain = &feature.string_constraints.as_ref()?.domains;
    let known = column
        .present()
        .filter(|cell| domain.iter().any(|value| value == cell))
        .count();
    let matched = share(known, column.present().count());
    (!domain.is_empty() && matched < rules.domain).then(|| {
        let description = format!(
            "Categorical values requirement is not met. Expected match: {}. Observed: Only {} of values are known from the baseline.",
            percent(rules.domain),
            percent(matched)
        );
        Violation::new(&column.name, "categorical_values_check", description)
    })
}

fn percent(share: f64) -> String {
    format!("{:?}%", share * 100.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};
    use serde_json::json;

    use super::*;
    use crate::monitor::statistics;

    const HEADER: &str = "id,amount,country\n";

    /// Customers of whom some share is French, and whose amounts are about some size.
    fn data(seed: u64, rows: usize, about: f64, french: f64) -> String {
        let mut rng = StdRng::seed_from_u64(seed);
        let row = |_| {
            let amount = about * rng.random_range(0.5..1.5);
            let country = if rng.random::<f64>() < french {
                "fr"
            } else {
                "de"
            };
            format!("{},{amount:.3},{country}\n", rng.random_range(0..10_000))
        };
        (0..rows).map(row).collect()
    }

    fn found(rows: &str, change: impl FnOnce(&mut Constraints)) -> Result<Found, String> {
        let baseline = Table::of_csv(&format!("{HEADER}{}", data(1, 5_000, 100.0, 0.3)), true);
        let mut constraints = Constraints::suggest(&baseline);
        change(&mut constraints);
        let mut table = Table::of_csv(rows, false);
        table.name(
            constraints
                .features
                .iter()
                .map(|feature| feature.name.clone()),
        );
        check(
            &table,
            &constraints,
            &statistics::distributions(&statistics::of(&baseline)),
        )
    }

    fn checks(rows: &str) -> Vec<(String, String)> {
        let violations = found(rows, |_| {}).unwrap().violations;
        violations
            .into_iter()
            .map(|one| (one.feature_name, one.constraint_check_type))
            .collect()
    }

    fn one(feature: &str, check: &str) -> Vec<(String, String)> {
        vec![(feature.to_owned(), check.to_owned())]
    }

    #[test]
    fn a_healthy_hour_has_no_violations_whatever_its_luck() {
        for seed in 2..42 {
            assert_eq!(checks(&data(seed, 500, 100.0, 0.3)), [], "{seed}");
        }
    }

    #[test]
    fn a_column_whose_values_grow_has_drifted() {
        let violations = found(&data(2, 500, 140.0, 0.3), |_| {}).unwrap().violations;
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert_eq!(violations[0].feature_name, "amount");
        assert_eq!(violations[0].constraint_check_type, "baseline_drift_check");
        let distance: f64 = violations[0]
            .description
            .strip_prefix("Baseline drift distance: ")
            .and_then(|rest| rest.strip_suffix(" exceeds threshold: 0.1"))
            .and_then(|distance| distance.parse().ok())
            .unwrap();
        assert!((0.15..0.45).contains(&distance), "{distance}");
    }

    #[test]
    fn a_country_that_takes_over_is_drift_too() {
        assert_eq!(
            checks(&data(2, 500, 100.0, 0.7)),
            one("country", "baseline_drift_check")
        );
    }

    #[test]
    fn a_threshold_and_a_method_of_ones_own_count() {
        let drifting = data(2, 500, 140.0, 0.3);
        let lenient = found(&drifting, |constraints| {
            let way = constraints
                .monitoring_config
                .distribution_constraints
                .as_mut()
                .unwrap();
            way.comparison_threshold = Some(0.9);
        });
        assert_eq!(lenient.unwrap().violations, []);
        let chi = found(&drifting, |constraints| {
            constraints.features[2].overrides = Some(
                serde_json::from_value(
                    json!({"distribution_constraints": {"categorical_drift_method": "ChiSquared"}}),
                )
                .unwrap(),
            );
        });
        assert!(chi.unwrap_err().starts_with("not implemented here"));
    }

    #[test]
    fn an_unknown_category_is_no_known_value() {
        let mut rows = data(2, 500, 100.0, 0.3);
        rows.push_str("7,99.5,us\n");
        let found = found(&rows, |_| {}).unwrap().violations;
        assert_eq!(found[0].constraint_check_type, "categorical_values_check");
        assert!(
            found[0].description.contains("Only 99.8"),
            "{}",
            found[0].description
        );
    }

    #[test]
    fn a_value_of_another_type_is_a_violation() {
        let mut rows = data(2, 499, 100.0, 0.3);
        rows.push_str("7.5,99.5,de\n");
        let found = found(&rows, |_| {}).unwrap().violations;
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].description,
            "Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%. Observed: Only 99.8% of data is Integral."
        );
    }

    #[test]
    fn a_value_that_is_missing_breaks_completeness() {
        let mut rows = data(2, 499, 100.0, 0.3);
        rows.push_str("7,,de\n");
        assert_eq!(checks(&rows), one("amount", "completeness_check"));
    }

    #[test]
    fn columns_are_counted_and_nothing_else_is_compared_by_place() {
        assert_eq!(
            checks("99.5,de\n1e9,de\n"),
            one("Missing columns", "missing_column_check")
        );
        assert_eq!(
            checks("0.9,7,99.5,de\n"),
            one("Extra columns", "extra_column_check")
        );
    }

    #[test]
    fn named_columns_are_compared_by_name() {
        let baseline = Table::of_csv(&format!("{HEADER}{}", data(1, 5_000, 100.0, 0.3)), true);
        let table = Table::of_json_lines(r#"{"id": 1.5, "sum": 2, "country": "de"}"#);
        let found = check(&table, &Constraints::suggest(&baseline), &BTreeMap::new()).unwrap();
        let kinds: Vec<_> = found
            .violations
            .iter()
            .map(|one| one.constraint_check_type.as_str())
            .collect();
        assert_eq!(
            kinds,
            [
                "missing_column_check",
                "extra_column_check",
                "data_type_check"
            ]
        );
    }
}
