//! `constraints.json`: what a baseline's columns promise, and how strictly that is taken
//! (developer guide, "Schema for Constraints").

use serde::{Deserialize, Serialize};

use super::statistics::{Kind, as_f64};
use super::table::{Column, Table};

/// A column has a domain if it has at most so many values,
const MOST_VALUES: usize = 100;
/// each of them this often on average.
const LEAST_REPEATS: f64 = 5.0;

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Constraints {
    #[serde(default)]
    pub(crate) version: f64,
    pub(crate) features: Vec<Feature>,
    #[serde(default)]
    pub(crate) monitoring_config: Config,
}

/// What is promised of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Feature {
    pub(crate) name: String,
    pub(crate) inferred_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) completeness: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) num_constraints: Option<Numbers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) string_constraints: Option<Strings>,
    #[serde(
        rename = "monitoringConfigOverrides",
        alias = "monitoring_config_overrides",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) overrides: Option<Config>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    #[serde(default)]
    pub(crate) is_non_negative: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Strings {
    #[serde(default)]
    pub(crate) domains: Vec<String>,
}

/// How constraints are checked, for all columns or, in a column's overrides, for it alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evaluate_constraints: Option<Switch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) emit_metrics: Option<Switch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) datatype_check_threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain_content_threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distribution_constraints: Option<Comparison>,
}

/// How distributions are compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_field_names)]
pub(crate) struct Comparison {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) perform_comparison: Option<Switch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparison_threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparison_method: Option<Method>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) categorical_comparison_threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) categorical_drift_method: Option<Categorical>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Switch {
    Enabled,
    Disabled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Method {
    #[serde(alias = "linf_simple")]
    Simple,
    #[serde(alias = "linf_robust")]
    Robust,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Categorical {
    LInfinity,
    ChiSquared,
}

/// A config with every default filled in.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Rules {
    pub(crate) evaluate: bool,
    /// The share of values that must be of the column's type.
    pub(crate) datatype: f64,
    /// The share of values that must be in the column's domain.
    pub(crate) domain: f64,
    pub(crate) compare: bool,
    pub(crate) robust: bool,
    /// The greatest distance of numbers, and of categories.
    pub(crate) distance: f64,
    pub(crate) categorical_distance: f64,
    pub(crate) chi_squared: bool,
}

impl Constraints {
    /// The rules for one column: its overrides, else those of all, else the defaults.
    pub(crate) fn rules(&self, feature: &Feature) -> Rules {
        let (own, all) = (feature.overrides.as_ref(), &self.monitoring_config);
        let on = |read: fn(&Config) -> Option<Switch>| {
            own.and_then(read).or_else(|| read(all)) != Some(Switch::Disabled)
        };
        let compared =
            |config: &Config| config.distribution_constraints.clone().unwrap_or_default();
        let (own_way, way) = (own.map(compared).unwrap_or_default(), compared(all));
        let distance = own_way
            .comparison_threshold
            .or(way.comparison_threshold)
            .unwrap_or(0.1);
        Rules {
            evaluate: on(|config| config.evaluate_constraints),
            datatype: own
                .and_then(|config| config.datatype_check_threshold)
                .or(all.datatype_check_threshold)
                .unwrap_or(1.0),
            domain: own
                .and_then(|config| config.domain_content_threshold)
                .or(all.domain_content_threshold)
                .unwrap_or(1.0),
            compare: own_way.perform_comparison.or(way.perform_comparison)
                != Some(Switch::Disabled),
            robust: own_way.comparison_method.or(way.comparison_method) != Some(Method::Simple),
            distance,
            categorical_distance: own_way
                .categorical_comparison_threshold
                .or(way.categorical_comparison_threshold)
                .unwrap_or(distance),
            chi_squared: own_way
                .categorical_drift_method
                .or(way.categorical_drift_method)
                == Some(Categorical::ChiSquared),
        }
    }

    /// What the analyzer suggests for a baseline.
    pub(crate) fn suggest(table: &Table) -> Self {
        Self {
            version: 0.0,
            features: table.columns.iter().map(suggest).collect(),
            monitoring_config: Config {
                evaluate_constraints: Some(Switch::Enabled),
                emit_metrics: Some(Switch::Enabled),
                datatype_check_threshold: Some(1.0),
                domain_content_threshold: Some(1.0),
                distribution_constraints: Some(Comparison {
                    perform_comparison: Some(Switch::Enabled),
                    comparison_threshold: Some(0.1),
                    comparison_method: Some(Method::Robust),
                    ..Comparison::default()
                }),
            },
        }
    }
}

fn suggest(column: &Column) -> Feature {
    let kind = column.kind();
    let numbers = || Numbers {
        is_non_negative: column.numbers().into_iter().all(|number| number >= 0.0),
    };
    let strings = || {
        let categories = column.categories();
        let count: f64 = categories.values().sum();
        let few =
            categories.len() <= MOST_VALUES && count >= LEAST_REPEATS * as_f64(categories.len());
        few.then(|| Strings {
            domains: categories.into_keys().collect(),
        })
    };
    Feature {
        name: column.name.clone(),
        inferred_type: kind.name().to_owned(),
        completeness: Some(column.completeness()),
        num_constraints: kind.is_number().then(numbers),
        string_constraints: (kind == Kind::String).then(strings).flatten(),
        overrides: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_baselining_job_suggests_what_the_data_keeps() {
        let even = "-1.5,de,";
        let odd = "2.5,fr,x";
        let rows: Vec<String> = (0..20)
            .map(|row| format!("{row},{}", [even, odd][row % 2]))
            .collect();
        let header = "id,amount,country,half";
        let table = Table::of_csv(&format!("{header}\n{}", rows.join("\n")), true);
        let file = serde_json::to_value(Constraints::suggest(&table)).unwrap();
        assert_eq!(
            file["features"],
            json!([
                {"name": "id", "inferred_type": "Integral", "completeness": 1.0, "num_constraints": {"is_non_negative": true}},
                {"name": "amount", "inferred_type": "Fractional", "completeness": 1.0, "num_constraints": {"is_non_negative": false}},
                {"name": "country", "inferred_type": "String", "completeness": 1.0, "string_constraints": {"domains": ["de", "fr"]}},
                {"name": "half", "inferred_type": "String", "completeness": 0.5, "string_constraints": {"domains": ["x"]}},
            ])
        );
        assert_eq!(
            file["monitoring_config"],
            json!({"evaluate_constraints": "Enabled", "emit_metrics": "Enabled", "datatype_check_threshold": 1.0,
                "domain_content_threshold": 1.0, "distribution_constraints": {
                    "perform_comparison": "Enabled", "comparison_threshold": 0.1, "comparison_method": "Robust"}})
        );
    }

    #[test]
    fn names_of_people_are_no_domain() {
        let names: Vec<String> = (0..50).map(|row| format!("n{row}")).collect();
        let table = Table::of_csv(&format!("name\n{}", names.join("\n")), true);
        assert_eq!(
            Constraints::suggest(&table).features[0].string_constraints,
            None
        );
    }

    #[test]
    fn a_columns_overrides_go_before_the_rules_for_all() {
        let file = json!({
            "version": 0,
            "features": [
                {"name": "a", "inferred_type": "Fractional", "monitoringConfigOverrides": {
                    "distribution_constraints": {"comparison_threshold": 0.3}}},
                {"name": "b", "inferred_type": "String", "monitoringConfigOverrides": {"evaluate_constraints": "Disabled"}},
            ],
            "monitoring_config": {"datatype_check_threshold": 0.9, "distribution_constraints": {
                "comparison_threshold": 0.2, "comparison_method": "Simple"}},
        });
        let constraints: Constraints = serde_json::from_value(file).unwrap();
        let a = constraints.rules(&constraints.features[0]);
        assert_eq!(
            (a.distance, a.categorical_distance, a.datatype, a.robust),
            (0.3, 0.3, 0.9, false)
        );
        let b = constraints.rules(&constraints.features[1]);
        assert_eq!(
            (b.evaluate, b.distance, b.domain, b.compare),
            (false, 0.2, 1.0, true)
        );
    }
}
