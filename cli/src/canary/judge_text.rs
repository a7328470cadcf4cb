//! How judged cases look on a terminal: a verdict, why, and the facts of each metric.

use std::fmt::Write as _;

use tidegate_core::evidence::{Interval, Report, Side, odds};
use tidegate_core::rollout::percent;

use super::judge::{Judged, JudgedMetric, Word};
use super::short_percent;
use crate::render::{Paint, Screen, Table, clean, count, number, wrap};

/// All cases, and how many of each verdict if there is more than one.
pub(super) fn text(cases: &[Judged], screen: &Screen) -> String {
    let mut text: Vec<String> = cases.iter().map(|case| of_case(case, screen)).collect();
    if cases.len() > 1 {
        let of = |word| cases.iter().filter(|case| case.verdict == word).count() as u64;
        let crossed =
            |case: &&Judged| case.rolled_back_at.is_some() && case.verdict != Word::RollBack;
        let earlier = cases.iter().filter(crossed).count() as u64;
        let mut total = format!(
            "{}: {} to roll back, {} safe, {} to continue",
            count(cases.len() as u64, "case", "cases"),
            number(of(Word::RollBack)),
            number(of(Word::Safe)),
            number(of(Word::Continue)),
        );
        if earlier > 0 {
            let _ = write!(
                total,
                "; {} taken back at an earlier minute",
                number(earlier)
            );
        }
        text.push(format!("{total}.\n"));
    }
    text.join("\n")
}

fn of_case(case: &Judged, screen: &Screen) -> String {
    let (verdict, paint) = match case.verdict {
        Word::RollBack => ("ROLL BACK", Paint::Bad),
        Word::Safe => ("SAFE", Paint::Good),
        Word::Continue => ("CONTINUE", Paint::Busy),
    };
    let minutes = count(case.minutes as u64, "minute", "minutes");
    let mut head = format!("{} after {minutes}", screen.paint(paint, verdict));
    if let Some(name) = &case.name {
        head = format!("{}: {head}", screen.paint(Paint::Bold, &clean(name)));
    }
    head.push('\n');
    for line in wrap(&clean(&case.why), screen.width.saturating_sub(2)) {
        let _ = writeln!(head, "  {line}");
    }
    for metric in &case.metrics {
        head.push_str(&of_metric(metric, case, screen));
    }
    head
}

fn of_metric(metric: &JudgedMetric, case: &Judged, screen: &Screen) -> String {
    let Report {
        canary, baseline, ..
    } = &metric.report;
    let mut text = format!("\n  {}\n", screen.paint(Paint::Bold, &clean(&metric.name)));
    let mut table = Table::new(&["", "BAD", "OF", "RATE", "95 % INTERVAL"]);
    let other = if case.rule.alone { "past" } else { "champion" };
    for (who, side) in [("canary", canary), (other, baseline)] {
        table.row([
            (who.to_owned(), Paint::Plain),
            (number(side.bad), Paint::Plain),
            (number(side.requests), Paint::Plain),
            (
                side.rate.map_or_else(|| "-".to_owned(), percent),
                Paint::Plain,
            ),
            (rates(side), Paint::Plain),
        ]);
    }
    text.push_str(&table.render(screen, 4));
    let mut facts = Table::new(&["EVIDENCE", ""]);
    for (label, fact, paint) in facts_of(metric, case) {
        facts.row([(label.to_owned(), Paint::Plain), (fact, paint)]);
    }
    text.push_str(&facts.render(screen, 4));
    text
}

fn facts_of(metric: &JudgedMetric, case: &Judged) -> Vec<(&'static str, String, Paint)> {
    let report = &metric.report;
    let rule = &case.rule;
    let alone = rule.alone;
    let harm = metric.looked_at(alone);
    // What is shown as 0.00 says nothing.
    let how_likely = if harm >= 0.005 {
        format!("{} if the canary were no worse", odds(harm))
    } else {
        "nothing speaks for harm".to_owned()
    };
    let mut of_harm = format!(
        "{harm:.2}, and {:.2} take it back: {how_likely}",
        metric.needed
    );
    if alone && let Some(ceiling) = report.harm_ceiling {
        let _ = write!(
            of_harm,
            " (by ratio {:.2}, by ceiling {ceiling:.2})",
            report.harm
        );
    }
    if let Some(minute) = metric.crossed {
        let _ = write!(of_harm, "; first crossed after minute {minute}");
    }
    let mut of_safe = format!(
        "by ratio {:.2}{}",
        report.safe_ratio,
        reached(report.safe_ratio, rule.safe_needed)
    );
    if let (Some(ceiling), Some(safe)) = (report.ceiling, report.safe_ceiling) {
        let _ = write!(
            of_safe,
            ", by the ceiling of {} {safe:.2}{}",
            short_percent(ceiling),
            reached(safe, rule.safe_needed)
        );
    }
    let _ = write!(of_safe, "; {:.2} are needed", rule.safe_needed);
    let harm_paint = if metric.crossed.is_some() {
        Paint::Bad
    } else {
        Paint::Plain
    };
    let bursts = if report.dispersion > 1.0 {
        format!(
            "{:.2}: bad answers come in bursts, and the evidence is divided by this",
            report.dispersion
        )
    } else {
        "1: no bursts are known of".to_owned()
    };
    let mut facts = vec![
        (
            "ratio",
            ratio(report.ratio, report.ratio_interval),
            Paint::Plain,
        ),
        ("harm", of_harm, harm_paint),
        ("safe", of_safe, Paint::Plain),
        ("dispersion", bursts, Paint::Plain),
    ];
    if metric.not_compared > 0 {
        let left_out = format!(
            "{} of {} not compared: only one side had requests in them",
            number(metric.not_compared as u64),
            number(case.minutes as u64)
        );
        facts.push(("minutes", left_out, Paint::Busy));
    }
    facts
}

fn reached(evidence: f64, needed: f64) -> &'static str {
    if evidence >= needed { " (safe)" } else { "" }
}

/// `2.6 % to 8.2 %`.
fn rates(side: &Side) -> String {
    match (side.interval.low, side.interval.high) {
        (Some(low), Some(high)) => format!("{} to {}", percent(low), percent(high)),
        (Some(low), None) => format!("at least {}", percent(low)),
        (None, Some(high)) => format!("at most {}", percent(high)),
        (None, None) => "-".to_owned(),
    }
}

/// `5.6 times (3.2 to 9.8)`.
fn ratio(ratio: Option<f64>, interval: Interval) -> String {
    let range = match (interval.low, interval.high) {
        (Some(low), Some(high)) => format!("{low:.2} to {high:.2} times"),
        (Some(low), None) => format!("at least {low:.2} times"),
        (None, Some(high)) => format!("at most {high:.2} times"),
        (None, None) => "it may be anything".to_owned(),
    };
    match ratio {
        Some(ratio) => format!("{ratio:.2} times the rate; at 95 % {range}"),
        None => format!("not known; at 95 % {range}"),
    }
}
