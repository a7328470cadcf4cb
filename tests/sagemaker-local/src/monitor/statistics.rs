//! `statistics.json`: what type a column is, how complete, and how its values are distributed
//! (developer guide, "Schema for Statistics").

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::sketch::{Categories, Distribution, Sketch};
use super::table::{Column, Table};
use crate::json::{list, text};

/// What the analyzer takes a column for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integral,
    Fractional,
    String,
    /// Nothing is present.
    Unknown,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Integral => "Integral",
            Self::Fractional => "Fractional",
            Self::String => "String",
            Self::Unknown => "Unknown",
        }
    }

    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "Integral" => Self::Integral,
            "Fractional" => Self::Fractional,
            "String" => Self::String,
            _ => Self::Unknown,
        }
    }

    /// What one cell is by itself.
    pub(crate) fn of_cell(cell: &str) -> Self {
        if cell.parse::<i64>().is_ok() {
            Self::Integral
        } else if number(cell).is_some() {
            Self::Fractional
        } else {
            Self::String
        }
    }

    /// Whether a cell may stand in a column of this kind: a whole number is a fraction too, and
    /// anything is text.
    pub(crate) fn takes(self, cell: &str) -> bool {
        match self {
            Self::Integral => Self::of_cell(cell) == Self::Integral,
            Self::Fractional => number(cell).is_some(),
            Self::String | Self::Unknown => true,
        }
    }

    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Integral | Self::Fractional)
    }
}

/// A finite number.
pub(crate) fn number(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|number: &f64| number.is_finite())
}

impl Column {
    pub(crate) fn present(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().filter_map(Option::as_deref)
    }

    /// Text if any cell is, fractional if any is, else integral.
    pub(crate) fn kind(&self) -> Kind {
        let mut kind = Kind::Unknown;
        for cell in self.present() {
            kind = match (kind, Kind::of_cell(cell)) {
                (_, Kind::String) => return Kind::String,
                (Kind::Fractional, _) => Kind::Fractional,
                (_, other) => other,
            };
        }
        kind
    }

    pub(crate) fn numbers(&self) -> Vec<f64> {
        self.present().filter_map(number).collect()
    }

    pub(crate) fn categories(&self) -> Categories {
        let mut counts = BTreeMap::new();
        for cell in self.present() {
            *counts.entry(cell.to_owned()).or_default() += 1.0;
        }
        counts
    }

    /// The share of rows that have a value; 1 without rows.
    pub(crate) fn completeness(&self) -> f64 {
        share(self.present().count(), self.cells.len())
    }

    /// Its distribution, as numbers or as categories.
    pub(crate) fn distribution(&self, numeric: bool) -> Distribution {
        if numeric {
            Distribution::Numbers(Sketch::of(&self.numbers()))
        } else {
            Distribution::Categories(self.categories())
        }
    }

    fn json(&self) -> Value {
        let kind = self.kind();
        let present = self.present().count();
        let common = json!({"num_present": present, "num_missing": self.cells.len() - present});
        let mut feature = json!({"name": self.name, "inferred_type": kind.name()});
        match kind {
            Kind::Integral | Kind::Fractional => {
                feature["numerical_statistics"] = numerical(&self.numbers(), &common);
            }
            Kind::String | Kind::Unknown => {
                let categories = self.categories();
                let buckets = categories
                    .iter()
                    .map(|(value, count)| json!({"value": value, "count": count}));
                feature["string_statistics"] = json!({
                    "common": common,
                    "distinct_count": categories.len(),
                    "distribution": {"categorical": {"buckets": buckets.collect::<Vec<_>>()}},
                });
            }
        }
        feature
    }
}

fn numerical(numbers: &[f64], common: &Value) -> Value {
    let count = as_f64(numbers.len());
    let sum: f64 = numbers.iter().sum();
    let mean = sum / count;
    let spread: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    json!({
        "common": common,
        "mean": mean,
        "sum": sum,
        "std_dev": (spread / count).sqrt(),
        "min": numbers.iter().copied().fold(f64::INFINITY, f64::min),
        "max": numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "distribution": {"kll": Sketch::of(numbers).json()},
    })
}

/// A part of a whole; 1 of nothing.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        as_f64(part) / as_f64(whole)
    }
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn as_f64(count: usize) -> f64 {
    count as f64
}

/// The file's content for a table.
pub(crate) fn of(table: &Table) -> Value {
    json!({
        "version": 0.0,
        "dataset": {"item_count": table.rows},
        "features": table.columns.iter().map(Column::json).collect::<Vec<_>>(),
    })
}

/// The distributions in a baseline's file, by feature.
pub(crate) fn distributions(statistics: &Value) -> BTreeMap<String, Distribution> {
    let features = list(statistics, "features").iter().filter_map(|feature| {
        let distribution = |of: &str| feature.get(of)?.get("distribution");
        let read = if let Some(numbers) = distribution("numerical_statistics") {
            Distribution::Numbers(Sketch::read(numbers.get("kll")?)?)
        } else {
            let buckets = distribution("string_statistics")?.get("categorical")?;
            let counts = list(buckets, "buckets").iter().filter_map(|bucket| {
                Some((
                    text(bucket, "value")?.to_owned(),
                    bucket.get("count")?.as_f64()?,
                ))
            });
            Distribution::Categories(counts.collect())
        };
        Some((text(feature, "name")?.to_owned(), read))
    });
    features.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    fn column(cells: &[&str]) -> Column {
        let cells = cells
            .iter()
            .map(|cell| (!cell.is_empty()).then(|| (*cell).to_owned()));
        Column {
            name: "x".to_owned(),
            cells: cells.collect(),
        }
    }

    #[test]
    fn a_column_is_what_its_least_regular_cell_is() {
        assert_eq!(column(&["1", "-2", ""]).kind(), Kind::Integral);
        assert_eq!(column(&["1", "2.5", "3"]).kind(), Kind::Fractional);
        assert_eq!(column(&["1", "2.5", "x"]).kind(), Kind::String);
        assert_eq!(column(&["1", "true"]).kind(), Kind::String);
        assert_eq!(column(&["", ""]).kind(), Kind::Unknown);
        assert_eq!(column(&["NaN", "inf"]).kind(), Kind::String);
    }

    #[test]
    fn the_statistics_of_numbers_are_exact() {
        let table = Table::of_csv("age\n2\n4\n\n4\n4\n5\n5\n7\n9\n", true);
        let statistics = of(&table);
        assert_eq!(statistics["dataset"]["item_count"], 8);
        let feature = &statistics["features"][0];
        assert_eq!(
            (&feature["name"], &feature["inferred_type"]),
            (&json!("age"), &json!("Integral"))
        );
        let numbers = &feature["numerical_statistics"];
        assert_eq!(
            numbers["common"],
            json!({"num_present": 8, "num_missing": 0})
        );
        assert_eq!(
            (&numbers["mean"], &numbers["sum"]),
            (&json!(5.0), &json!(40.0))
        );
        assert_eq!(
            (&numbers["std_dev"], &numbers["min"], &numbers["max"]),
            (&json!(2.0), &json!(2.0), &json!(9.0))
        );
    }

    #[test]
    fn missing_values_and_categories_are_counted() {
        let table = Table::of_csv("id,country\n1,de\n2,\n3,fr\n4,de\n", true);
        let feature = &of(&table)["features"][1]["string_statistics"];
        assert_eq!(
            feature["common"],
            json!({"num_present": 3, "num_missing": 1})
        );
        assert_eq!(feature["distinct_count"], 2);
        assert_eq!(
            feature["distribution"]["categorical"]["buckets"],
            json!([{"value": "de", "count": 2.0}, {"value": "fr", "count": 1.0}])
        );
    }

    #[test]
    fn a_baseline_comes_back_from_its_file() {
        let table = Table::of_csv("id,country\n1,de\n2,fr\n", true);
        let back = distributions(&of(&table));
        assert_eq!(back["id"], table.columns[0].distribution(true));
        assert_eq!(back["country"], table.columns[1].distribution(false));
    }
}
