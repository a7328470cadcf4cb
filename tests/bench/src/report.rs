//! What is told of all rows: a table for the terminal, one for the documentation, a picture, JSON.

mod markdown;
mod svg;
mod text;

pub(crate) use markdown::{markdown, replaced};
pub(crate) use svg::svg;
pub(crate) use text::text;

use serde::Serialize;

use crate::cost::Cost;
use crate::method::Method;
use crate::trial::{Outcome, Row};

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// What every random draw comes from.
    pub(crate) seed: u64,
    /// How each method is set up.
    pub(crate) methods: Vec<SetUp>,
    /// One for each scenario.
    pub(crate) rows: Vec<Row>,
    /// What our judge costs.
    pub(crate) cost: Cost,
    /// Bars that are missed, a sentence each.
    pub(crate) missed: Vec<String>,
}

/// A method and how it is set up.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SetUp {
    method: Method,
    words: &'static str,
}

/// How each method is set up.
pub(crate) fn set_up() -> Vec<SetUp> {
    Method::ALL
        .map(|method| SetUp {
            method,
            words: method.words(),
        })
        .to_vec()
}

/// A share in percent, as short as it can be told.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent >= 99.95 {
        "100".to_owned()
    } else if percent >= 9.95 {
        format!("{percent:.0}")
    } else if percent >= 1.0 {
        format!("{percent:.1}")
    } else {
        format!("{percent:.2}")
    }
}

/// A number of answers: three digits are enough, thousands have a comma.
fn answers(count: f64) -> String {
    if count.abs() < 9.95 {
        return format!("{count:.1}");
    }
    let digits = format!("{:.0}", count.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if count < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

/// A minute that may lie beyond the end.
fn minute(at: Option<u32>, end: u32) -> String {
    at.map_or_else(|| format!(">{end}"), |at| at.to_string())
}

/// "12 / 31": the median and the 95th percentile.
fn minutes(outcome: &Outcome, end: u32) -> String {
    let (median, p95) = (minute(outcome.median, end), minute(outcome.p95, end));
    if outcome.median.is_none() {
        median
    } else {
        format!("{median} / {p95}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_in_as_few_digits_as_say_it() {
        let shares = [0.0, 0.0031, 0.0123, 0.0996, 0.4567, 0.9996].map(percent);
        assert_eq!(shares, ["0.00", "0.31", "1.2", "10", "46", "100"]);
        let counts = [0.0, 9.94, 9.96, 1_234.4, 1_234_567.0, -1_000.0].map(answers);
        assert_eq!(counts, ["0.0", "9.9", "10", "1,234", "1,234,567", "-1,000"]);
        assert_eq!(
            (minute(Some(7), 60), minute(None, 60)),
            ("7".into(), ">60".into())
        );
    }
}
