//! The table for a terminal: four sections of one shape, a column for each method.

use std::fmt::Write;

use super::{Report, answers, minutes, percent};
use crate::method::Method;
use crate::scenario::Kind;
use crate::trial::{Outcome, Row};

/// The table, with what is missed at its end.
pub(crate) fn text(report: &Report) -> String {
    let mut out = String::new();
    let of = |kinds: &[Kind]| -> Vec<&Row> {
        let rows = report.rows.iter();
        rows.filter(|r| kinds.contains(&r.kind)).collect()
    };
    let healthy = of(&[Kind::Healthy]);
    let worse = of(&[Kind::Regression]);
    let alone = of(&[Kind::HealthyAlone, Kind::RegressionAlone]);
    methods(&mut out);
    section(
        &mut out,
        "Nothing is wrong: rolled back all the same, % of rollouts (95 % interval)",
        &healthy,
        &[],
        |_, o| with_interval(o),
    );
    section(
        &mut out,
        "Something is wrong: minutes until rolled back, median / 95th percentile",
        &worse,
        &[("bound", bound), ("ours/bound", ratio)],
        |row, o| minutes(o, row.minutes),
    );
    section(
        &mut out,
        "The same: found during the rollout, % of rollouts",
        &worse,
        &[],
        |_, o| percent(o.rolled_back.of_runs),
    );
    section(
        &mut out,
        "The same: bad answers of the canary until rolled back (those the champion had not given), mean",
        &worse,
        &[],
        |_, o| with_excess(o),
    );
    section(
        &mut out,
        "Without a live baseline, against yesterday: rolled back %, median minutes (ceiling 2 %; expected of Tidegate)",
        &alone,
        &[("expected", expected)],
        with_median,
    );
    cost(&mut out, report);
    out
}

fn methods(out: &mut String) {
    for method in Method::ALL {
        let _ = writeln!(out, "{:<11} {}", method.name(), method.words());
    }
}

fn with_interval(o: &Outcome) -> String {
    let share = o.rolled_back;
    format!(
        "{} ({}-{})",
        percent(share.of_runs),
        percent(share.low),
        percent(share.high)
    )
}

fn with_excess(o: &Outcome) -> String {
    format!("{} ({})", answers(o.bad_answers), answers(o.excess))
}

fn with_median(_: &Row, o: &Outcome) -> String {
    let share = percent(o.rolled_back.of_runs);
    o.median
        .map_or_else(|| share.clone(), |median| format!("{share}, {median} min"))
}

/// A column that is about the row and not about a method.
type Column = (&'static str, fn(&Row) -> String);

/// One section: a line for each row, columns as wide as they have to be.
fn section(
    out: &mut String,
    title: &str,
    rows: &[&Row],
    more: &[Column],
    cell: impl Fn(&Row, &Outcome) -> String,
) {
    if rows.is_empty() {
        return;
    }
    let mut head = vec![String::new()];
    head.extend(more.iter().map(|(name, _)| (*name).to_owned()));
    head.extend(Method::ALL.map(|m| m.name().to_owned()));
    let mut lines = vec![head];
    for row in rows {
        let mut line = vec![row.words.to_owned()];
        line.extend(more.iter().map(|(_, of)| of(row)));
        line.extend(row.outcomes.iter().map(|o| cell(row, o)));
        lines.push(line);
    }
    let _ = writeln!(out, "\n{title}");
    out.push_str(&aligned(&lines));
    if more.iter().any(|(name, _)| *name == "bound") && rows.iter().any(|r| r.is_bursty) {
        out.push_str("  * the bound of a test that also knows how strong the bursts are\n");
    }
}

fn bound(row: &Row) -> String {
    let mark = if row.is_bursty { "*" } else { "" };
    row.bound
        .map_or_else(|| "-".to_owned(), |bound| format!("{bound:.1}{mark}"))
}

fn ratio(row: &Row) -> String {
    row.ratio()
        .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn expected(row: &Row) -> String {
    row.expected.unwrap_or("-").to_owned()
}

/// The first column to the left, all others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            let cells = lines.iter().filter_map(|line| line.get(c));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (c, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if c == 0 {
                write!(text, "  {cell:<width$}")
            } else {
                write!(text, "  {cell:>width$}")
            };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

fn cost(out: &mut String, report: &Report) {
    let cost = &report.cost;
    let _ = writeln!(
        out,
        "\nA minute of a guard: {:.1} microseconds to judge early in a rollout, {:.1} after 10,000 minutes; {} and {} bytes of state",
        cost.early_microseconds, cost.late_microseconds, cost.early_bytes, cost.late_bytes
    );
    if report.missed.is_empty() {
        out.push_str("All bars hold.\n");
    }
    for missed in &report.missed {
        let _ = writeln!(out, "MISSED  {missed}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let lines = [
            vec![String::new(), "head".into()],
            vec!["a longer name".into(), "1".into()],
            vec!["b".into(), "12,345".into()],
        ];
        let text = aligned(&lines);
        assert_eq!(
            text,
            "                   head\n  a longer name       1\n  b              12,345\n"
        );
    }
}
