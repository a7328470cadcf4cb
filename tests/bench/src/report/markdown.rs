//! The table for the documentation: the headline scenarios alone, between two marks.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

use super::{Report, answers, minutes, percent};
use crate::method::Method;
use crate::scenario::Kind;
use crate::trial::{Outcome, Row};

/// Where the table begins in a document.
const BEGIN: &str = "<!-- bench-judge:begin -->";

/// Where it ends.
const END: &str = "<!-- bench-judge:end -->";

/// The text between the marks.
pub(crate) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let rows = |kinds: &[Kind]| -> Vec<&Row> {
        let rows = report.rows.iter().filter(|r| r.is_headline);
        rows.filter(|r| kinds.contains(&r.kind)).collect()
    };
    let runs = |rows: &[&Row]| {
        let runs = rows.iter().map(|r| r.runs).max().unwrap_or(0);
        answers(runs as f64)
    };
    let healthy = rows(&[Kind::Healthy]);
    let title = format!(
        "Nothing is wrong, rolled back all the same (% of {} rollouts; ours with its 95 % interval)",
        runs(&healthy)
    );
    table(&mut out, &title, false, &healthy, |_, o| {
        let share = o.rolled_back;
        if o.method == Method::Tidegate {
            let (low, high) = (percent(share.low), percent(share.high));
            format!("{} ({low} to {high})", percent(share.of_runs))
        } else {
            percent(share.of_runs)
        }
    });
    let worse = rows(&[Kind::Regression]);
    let title = format!(
        "Something is wrong: minutes until rolled back (median / 95th percentile of {} rollouts), and the answers that were worse for it",
        runs(&worse)
    );
    table(&mut out, &title, true, &worse, |row, o| {
        let harm = answers(o.excess.max(0.0));
        format!("{}, {harm}", minutes(o, row.minutes))
    });
    let alone = rows(&[Kind::HealthyAlone, Kind::RegressionAlone]);
    let title = "No live baseline, an hour against yesterday's: rolled back (%), median minutes";
    table(&mut out, title, false, &alone, |_, o| {
        let share = percent(o.rolled_back.of_runs);
        o.median
            .map_or_else(|| share.clone(), |median| format!("{share}, {median} min"))
    });
    let cost = &report.cost;
    let bytes = cost.early_bytes.max(cost.late_bytes);
    let _ = writeln!(
        out,
        "A minute of one guard takes {:.1} microseconds to judge, after 10,000 minutes {:.1}, and {} bytes to keep.",
        cost.early_microseconds,
        cost.late_microseconds,
        answers(bytes as f64)
    );
    out
}

fn table(
    out: &mut String,
    title: &str,
    with_bound: bool,
    rows: &[&Row],
    cell: impl Fn(&Row, &Outcome) -> String,
) {
    if rows.is_empty() {
        return;
    }
    let names = Method::ALL.map(Method::name).join(" | ");
    let bound = if with_bound { " bound |" } else { "" };
    let rule = if with_bound { "---|" } else { "" };
    let columns = "---|".repeat(Method::ALL.len());
    let _ = writeln!(
        out,
        "{title}:\n\n| |{bound} {names} |\n|---|{rule}{columns}"
    );
    for row in rows {
        let _ = write!(out, "| {} |", row.words);
        if with_bound {
            let mark = if row.is_bursty {
                " (knows the bursts)"
            } else {
                ""
            };
            let _ = match row.bound {
                Some(bound) => write!(out, " {bound:.1}{mark} |"),
                None => write!(out, " - |"),
            };
        }
        for outcome in &row.outcomes {
            let _ = write!(out, " {} |", cell(row, outcome));
        }
        out.push('\n');
    }
    out.push('\n');
}

/// A document with what is between its marks replaced.
///
/// # Errors
/// If it has no marks, more than one pair of them, or the end before the beginning.
pub(crate) fn replaced(document: &str, table: &str) -> Result<String> {
    let (before, rest) = document
        .split_once(BEGIN)
        .with_context(|| format!("there is no line {BEGIN}: add it where the table shall be"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("there is no line {END} after {BEGIN}: add it"))?;
    if after.contains(BEGIN) || after.contains(END) || before.contains(END) {
        bail!("{BEGIN} and {END} have to be there once each, in this order");
    }
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_between_the_marks_is_replaced_and_nothing_else() {
        let document = format!("# A\n\n{BEGIN}\nold\ntable\n{END}\n\nrest\n");
        let once = replaced(&document, "new\n").unwrap();
        assert_eq!(once, format!("# A\n\n{BEGIN}\nnew\n{END}\n\nrest\n"));
        assert_eq!(replaced(&once, "new\n").unwrap(), once);
    }

    #[test]
    fn a_document_without_both_marks_is_refused() {
        for document in [
            "nothing".to_owned(),
            BEGIN.to_owned(),
            format!("{END}{BEGIN}"),
            format!("{BEGIN}{END}{BEGIN}{END}"),
        ] {
            assert!(replaced(&document, "x").is_err(), "{document}");
        }
    }
}
