//! How a plan looks on a terminal: one table a guard, then what a healthy canary meets.

use std::fmt::Write as _;

use tidegate_core::rollout::percent;

use super::plan::{GuardSaid, HealthySaid, Plan, Regression, SpreadSaid};
use super::short_percent;
use crate::render::{Paint, Screen, Table, clean, count, number, wrap};

/// What the table's columns are.
const COLUMNS: &str = "minutes until the canary is taken back. BEST is what a test that knew both \
    rates beforehand would need on average (Wald's bound). COMPUTED and SIMULATED: on the average \
    course, in brackets as if the last step went on; and the median of drawn rollouts, 5 % \
    to 95 % of them. FOUND is their share that is taken back by the last step's end. USERS HIT are \
    bad answers above the champion's rate until then, on average.";

/// The plan.
pub(super) fn text(plan: &Plan, screen: &Screen) -> String {
    let mut text = head(plan, screen);
    for guard in &plan.guards {
        text.push('\n');
        text.push_str(&of_guard(guard, plan, screen));
    }
    text.push('\n');
    text.push_str(&paragraph(COLUMNS, "Columns: ", screen));
    text.push('\n');
    text.push_str(&paragraph(
        &healthy(&plan.healthy, plan),
        "Healthy: ",
        screen,
    ));
    if !plan.notes.is_empty() {
        text.push('\n');
    }
    for note in &plan.notes {
        text.push_str(&paragraph(note, "Note: ", screen));
    }
    text
}

fn head(plan: &Plan, screen: &Screen) -> String {
    let mut text = String::new();
    if let (Some(pipeline), Some(stage), Some(endpoint)) =
        (&plan.pipeline, &plan.stage, &plan.endpoint)
    {
        let name = screen.paint(Paint::Bold, &clean(pipeline));
        let _ = writeln!(text, "{name}  stage {stage}, endpoint {endpoint}");
    }
    let steps: Vec<String> = plan
        .steps
        .iter()
        .map(|step| format!("{} % for {} min", step.share, number(step.minutes.into())))
        .collect();
    let guards = count(plan.guards_watched as u64, "guard", "guards");
    let course = format!(
        "{}; then all traffic. {guards}, alpha {}, at most {} min in all.",
        steps.join(", "),
        short_percent(plan.alpha),
        number(plan.minutes.into()),
    );
    text.push_str(&paragraph(&course, "", screen));
    text
}

fn of_guard(guard: &GuardSaid, plan: &Plan, screen: &Screen) -> String {
    let GuardSaid {
        requests_per_minute,
        error_rate,
        dispersion,
        ..
    } = guard;
    let mut traffic = format!(
        "{} requests a minute, {} of them bad",
        rounded(*requests_per_minute),
        if guard.traffic_from == "options" {
            short_percent(*error_rate)
        } else {
            percent(*error_rate)
        }
    );
    if *dispersion > 1.0 {
        let _ = write!(traffic, ", in bursts of {dispersion:.1} times the variance");
    }
    if guard.traffic_from == "cloudwatch" {
        traffic.push_str(" (the last 3 hours)");
    }
    let label = guard
        .guard
        .as_ref()
        .map(|g| format!("{}: ", clean(g)))
        .unwrap_or_default();
    let mut text = paragraph(&format!("{traffic}."), &label, screen);
    let mut table = Table::new(&[
        "WORSE",
        "BEST",
        "COMPUTED",
        "SIMULATED",
        "FOUND",
        "USERS HIT",
    ]);
    for regression in &guard.regressions {
        table.row(row(regression, plan.minutes));
    }
    text.push_str(&table.render(screen, 2));
    let smallest = match (guard.smallest.simulated, guard.smallest.computed) {
        (Some(seen), Some(computed)) => format!(
            "{seen:.2} times the bad answers, found four times of five by the last step's end \
             (computed {computed:.2})."
        ),
        (Some(seen), None) => {
            format!("{seen:.2} times the bad answers, found four times of five (none computed).")
        }
        (None, _) => "none that this rollout finds four times of five.".to_owned(),
    };
    text.push_str(&paragraph(&smallest, "Smallest: ", screen));
    text
}

fn row(regression: &Regression, minutes: u32) -> [(String, Paint); 6] {
    let plain = |text: String| (text, Paint::Plain);
    let best = match regression.best_possible {
        Some(best) if best < 0.1 => "<0.1".to_owned(),
        Some(best) => rounded(best),
        None => "-".to_owned(),
    };
    let computed = match regression.computed {
        Some(computed) if computed > minutes => format!("({})", number(computed.into())),
        Some(computed) => number(computed.into()),
        None => "-".to_owned(),
    };
    let found = regression.simulated_share;
    let paint = if found >= 0.8 {
        Paint::Good
    } else {
        Paint::Busy
    };
    [
        plain(format!("{}x", regression.ratio)),
        plain(best),
        plain(computed),
        plain(spread(regression.simulated, minutes)),
        (share(found), paint),
        plain(rounded(regression.bad_answers.max(0.0))),
    ]
}

/// `12 (7 to 19)`, `>30 (18 to >30)`.
fn spread(spread: SpreadSaid, minutes: u32) -> String {
    let Some(p5) = spread.p5 else {
        return format!(">{}", number(minutes.into()));
    };
    let end = |at: Option<u32>| match at {
        Some(at) => number(at.into()),
        None => format!(">{}", number(minutes.into())),
    };
    format!(
        "{} ({} to {})",
        end(spread.median),
        number(p5.into()),
        end(spread.p95)
    )
}

fn healthy(healthy: &HealthySaid, plan: &Plan) -> String {
    let mut text = format!(
        "{} of {} simulated rollouts were taken back (95 %: {} to {}); alpha allows {}. ",
        percent(healthy.taken_back),
        number(plan.runs.into()),
        percent(healthy.interval[0]),
        percent(healthy.interval[1]),
        short_percent(plan.alpha),
    );
    let computed = |minutes: Option<u32>| {
        minutes.map_or_else(
            || "computed: not by the end".to_owned(),
            |m| format!("computed {}", number(m.into())),
        )
    };
    match healthy.safe_simulated.median {
        Some(median) => {
            let _ = write!(
                text,
                "It is called safe after {} min ({}), in {} of them by the end, and has all \
                 traffic after {} min (computed {}).",
                number(median.into()),
                computed(healthy.safe_computed),
                share(healthy.safe_share),
                healthy
                    .end_simulated
                    .median
                    .map_or_else(|| "-".to_owned(), |m| number(m.into())),
                number(healthy.end_computed.into()),
            );
        }
        None => {
            let _ = write!(
                text,
                "In {} of them it is called safe before the end ({}): it goes on when its time is \
                 over.",
                share(healthy.safe_share),
                computed(healthy.safe_computed),
            );
        }
    }
    text
}

/// A share of runs: no more digits than it has.
fn share(share: f64) -> String {
    if share > 0.0 && share < 0.01 {
        return percent(share);
    }
    // Nearly all is not all.
    let hundred = (share * 1_000.0).floor() / 10.0;
    if (99.0..100.0).contains(&hundred) {
        format!("{hundred:.1} %")
    } else {
        format!("{hundred:.0} %")
    }
}

/// A number to two digits or to the whole: `0.25`, `7.5`, `1,234`.
fn rounded(number_of: f64) -> String {
    if number_of >= 9.95 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        return number(number_of.round() as u64);
    }
    let text = if number_of >= 0.995 {
        format!("{number_of:.1}")
    } else {
        format!("{number_of:.2}")
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text after a label, wrapped to the screen.
fn paragraph(text: &str, label: &str, screen: &Screen) -> String {
    let lines = wrap(&format!("{label}{}", clean(text)), screen.width);
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        match line.strip_prefix(label.trim_end()) {
            Some(rest) if i == 0 && !label.is_empty() => {
                let label = screen.paint(Paint::Bold, label.trim_end());
                let _ = writeln!(out, "{label}{rest}");
            }
            _ => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::plan::tests::example;
    use super::*;

    fn screen(width: usize) -> Screen {
        Screen {
            width,
            color: false,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_plan_fits_the_screen_and_reads_well() {
        let plan = example(600.0, 0.01);
        let narrow = text(&plan, &screen(60));
        assert!(narrow.lines().all(|l| l.chars().count() <= 60), "{narrow}");
        insta::assert_snapshot!(text(&plan, &screen(100)));
    }

    #[test]
    fn numbers_have_the_digits_that_they_deserve() {
        assert_eq!(rounded(0.25), "0.25");
        assert_eq!(rounded(600.0), "600");
        assert_eq!(rounded(1_234.5), "1,235");
        assert_eq!(rounded(7.0), "7");
        assert_eq!(rounded(0.0), "0");
        assert_eq!(share(0.999_6), "99.9 %");
        assert_eq!(share(1.0), "100 %");
        assert_eq!(share(0.834), "83 %");
        assert_eq!(share(0.0), "0 %");
    }
}
