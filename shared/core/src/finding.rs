//! What kind of thing a monitor found, and how it is put for people.
//!
//! Kinds by `constraint_check_type`: "Schema for Violations" (data quality), "Model quality metrics"
//! and the Clarify pages on bias and feature attribution drift, in the SageMaker developer guide. A
//! check of no known type is `Unknown`, which is told and nothing else.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::world::{Findings, Violation};

/// How many things of one kind are named to people; the rest is counted.
const NAMED: usize = 5;

/// The most characters of one thing that was found.
const LONGEST: usize = 160;

/// The start of the name of the metric that Model Monitor publishes of each feature's distance.
const DRIFT_METRIC: &str = "feature_baseline_drift_";

/// What kind of thing was found.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Columns are missing, too many, or of another type.
    Schema,
    /// A metric of the model's quality crossed its limit.
    Quality,
    /// The distribution of a feature is not the baseline's.
    Drift,
    /// Values are missing, or of no known category.
    Values,
    /// A facet is treated otherwise than the baseline allows.
    Bias,
    /// Features count otherwise than in the baseline.
    Attribution,
    /// Something else, or a report that can't be read.
    Unknown,
}

impl FindingKind {
    /// All of them, what matters most first.
    pub const ALL: &'static [Self] = &[
        Self::Schema,
        Self::Quality,
        Self::Drift,
        Self::Values,
        Self::Bias,
        Self::Attribution,
        Self::Unknown,
    ];

    /// The kind of a check, by its `constraint_check_type`.
    pub fn of_check(check: &str) -> Self {
        let folded: String = check
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        match folded.as_str() {
            "baselinedriftcheck" => Self::Drift,
            "datatypecheck" | "missingcolumncheck" | "extracolumncheck" => Self::Schema,
            "completenesscheck" | "categoricalvaluescheck" => Self::Values,
            "lessthanthreshold" | "greaterthanthreshold" => Self::Quality,
            other if other.contains("attribution") => Self::Attribution,
            other if other.contains("bias") => Self::Bias,
            _ => Self::Unknown,
        }
    }

    /// The headline's words: "Drift on fraud-prod".
    pub fn words(self) -> &'static str {
        match self {
            Self::Schema => "Schema error",
            Self::Quality => "Loss of quality",
            Self::Drift => "Drift",
            Self::Values => "Unusual values",
            Self::Bias => "Bias",
            Self::Attribution => "Shifted attribution",
            Self::Unknown => "A finding",
        }
    }

    /// What so many things of this kind are: "3 features drifted".
    fn counted(self, n: usize) -> String {
        let (one, many) = match self {
            Self::Schema => ("column does not fit", "columns do not fit"),
            Self::Quality => (
                "quality metric crossed its limit",
                "quality metrics crossed their limits",
            ),
            Self::Drift => ("feature drifted", "features drifted"),
            Self::Values => (
                "feature has missing or unknown values",
                "features have missing or unknown values",
            ),
            Self::Bias => ("bias metric is worse", "bias metrics are worse"),
            Self::Attribution => (
                "label's feature attribution shifted",
                "labels' feature attributions shifted",
            ),
            Self::Unknown => ("other finding", "other findings"),
        };
        format!("{n} {}", if n == 1 { one } else { many })
    }
}

/// The feature that a metric of Model Monitor measures the drift of, by the metric's name.
pub(crate) fn drifting_feature(metric: &str) -> Option<&str> {
    let name = metric.rsplit(' ').next().unwrap_or(metric);
    name.strip_prefix(DRIFT_METRIC).filter(|f| !f.is_empty())
}

/// The violations by kind, what matters most first.
pub fn by_kind(findings: &Findings) -> BTreeMap<FindingKind, Vec<&Violation>> {
    let mut kinds: BTreeMap<FindingKind, Vec<&Violation>> = BTreeMap::new();
    for violation in &findings.violations {
        let kind = FindingKind::of_check(&violation.check);
        kinds.entry(kind).or_default().push(violation);
    }
    kinds
}

/// One clause a kind: "3 features drifted: age (0.41, limit 0.1), amount (...) and 1 more".
pub fn in_words(kinds: &BTreeMap<FindingKind, Vec<&Violation>>) -> Vec<String> {
    kinds
        .iter()
        .map(|(kind, violations)| {
            let named: Vec<String> = violations
                .iter()
                .take(NAMED)
                .map(|v| one(*kind, v))
                .collect();
            let more = violations.len().saturating_sub(NAMED);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!(
                "{}: {}{more}",
                kind.counted(violations.len()),
                named.join(", ")
            )
        })
        .collect()
}

fn one(kind: FindingKind, violation: &Violation) -> String {
    let name = if violation.feature.is_empty() {
        violation.check.as_str()
    } else {
        violation.feature.as_str()
    };
    if kind == FindingKind::Drift
        && let Some(distance) = number_after(&violation.description, "distance:")
        && let Some(limit) = number_after(&violation.description, "threshold:")
    {
        return cut(&format!("{name} ({distance}, limit {limit})"));
    }
    let description = violation.description.trim().trim_end_matches('.');
    if description.is_empty() {
        cut(&format!("{name} ({})", violation.check))
    } else {
        cut(&format!("{name} ({description})"))
    }
}

/// The number after a word of a description, with up to four digits.
fn number_after(text: &str, word: &str) -> Option<String> {
    let (_, rest) = text.split_once(word)?;
    let number: f64 = rest
        .split_whitespace()
        .next()?
        .trim_end_matches(['.', ',', ';'])
        .parse()
        .ok()?;
    let rounded: f64 = format!("{number:.3e}").parse().ok()?;
    number.is_finite().then(|| rounded.to_string())
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let short: String = text.chars().take(LONGEST).collect();
    format!("{short}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(feature: &str, check: &str, description: &str) -> Violation {
        Violation {
            feature: feature.to_owned(),
            check: check.to_owned(),
            description: description.to_owned(),
        }
    }

    fn findings(violations: Vec<Violation>) -> Findings {
        Findings {
            violations,
            ..Findings::default()
        }
    }

    #[test]
    fn every_check_of_the_guide_has_a_kind() {
        for (check, kind) in [
            ("baseline_drift_check", FindingKind::Drift),
            ("data_type_check", FindingKind::Schema),
            ("missing_column_check", FindingKind::Schema),
            ("extra_column_check", FindingKind::Schema),
            ("completeness_check", FindingKind::Values),
            ("categorical_values_check", FindingKind::Values),
            ("LessThanThreshold", FindingKind::Quality),
            ("GreaterThanThreshold", FindingKind::Quality),
            ("bias_drift_check", FindingKind::Bias),
            ("feature_attribution_drift_check", FindingKind::Attribution),
            ("no_report", FindingKind::Unknown),
            ("", FindingKind::Unknown),
        ] {
            assert_eq!(FindingKind::of_check(check), kind, "{check}");
        }
    }

    #[test]
    fn features_that_drifted_are_told_with_distance_and_limit() {
        let drift = |feature: &str, distance: &str| {
            let text = format!("Baseline drift distance: {distance} exceeds threshold: 0.1");
            violation(feature, "baseline_drift_check", &text)
        };
        let found = findings(vec![
            drift("age", "0.41374"),
            violation(
                "country",
                "missing_column_check",
                "There are missing columns.",
            ),
            drift("amount", "NaN"),
        ]);
        assert_eq!(
            in_words(&by_kind(&found)),
            [
                "1 column does not fit: country (There are missing columns)",
                "2 features drifted: age (0.4137, limit 0.1), amount (Baseline drift distance: NaN \
                 exceeds threshold: 0.1)",
            ]
        );
    }

    #[test]
    fn more_than_can_be_named_is_counted() {
        let many: Vec<Violation> = (0..9)
            .map(|n| violation(&format!("f{n}"), "bias_drift_check", ""))
            .collect();
        let found = findings(many);
        let said = &in_words(&by_kind(&found))[0];
        assert!(said.starts_with("9 bias metrics are worse: f0 ("), "{said}");
        assert!(said.ends_with("f4 (bias_drift_check) and 4 more"), "{said}");
    }

    #[test]
    fn a_metric_of_a_features_drift_names_the_feature() {
        let metric = "aws/sagemaker/Endpoints/data-metrics feature_baseline_drift_amount";
        assert_eq!(drifting_feature(metric), Some("amount"));
        assert_eq!(drifting_feature("AWS/SageMaker ModelLatency"), None);
    }
}
