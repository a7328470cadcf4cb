//! The comparison as a picture: on the left how often each method rolls back a healthy canary, on the
//! right how long it takes to roll back a bad one, in multiples of what the best test needs.

use std::fmt::Write;

use super::Report;
use crate::method::Method;
use crate::scenario::Kind;
use crate::trial::Row;

/// Height of a scenario's line.
const LINE: f64 = 22.0;

/// Where the first line begins.
const TOP: f64 = 110.0;

/// Width that the names of scenarios have.
const NAMES: f64 = 290.0;

/// Width of one plot.
const PLOT: f64 = 360.0;

/// Space between the panels and at the edges.
const GAP: f64 = 30.0;

/// How far below each other the dots of two methods are, so that equal values don't hide each other.
const APART: f64 = 1.8;

/// A logarithmic axis from one value to another, left to right.
struct Axis {
    left: f64,
    low: f64,
    high: f64,
}

impl Axis {
    /// Where a value is drawn; beyond the ends it is drawn at the end.
    fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        self.left + part * PLOT
    }
}

/// The picture.
pub(crate) fn svg(report: &Report) -> String {
    let of = |kind: Kind| -> Vec<&Row> {
        let rows = report.rows.iter().filter(|r| r.kind == kind);
        rows.collect()
    };
    let healthy = of(Kind::Healthy);
    let mut worse = of(Kind::Regression);
    worse.retain(|r| r.bound.is_some());
    let lines = healthy.len().max(worse.len()) as f64;
    let width = 2.0 * (NAMES + PLOT) + 4.0 * GAP;
    let height = TOP + lines * LINE + 60.0;
    let mut out = String::new();
    let _ = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="#222">
<title>False rollbacks and time to roll back, by method</title>
<rect width="100%" height="100%" fill="#fff"/>"##
    );
    legend(&mut out);
    let left = Axis {
        left: GAP + NAMES,
        low: 0.0001,
        high: 1.0,
    };
    panel(
        &mut out,
        "Healthy canaries rolled back",
        &left,
        &[
            (0.0001, "0"),
            (0.001, "0.1 %"),
            (0.01, "1 %"),
            (0.1, "10 %"),
            (1.0, "100 %"),
        ],
        0.01,
        &healthy,
        |row, method| row.outcome(method).map(|o| o.rolled_back.of_runs),
    );
    let right = Axis {
        left: 3.0 * GAP + 2.0 * NAMES + PLOT,
        low: 0.125,
        high: 32.0,
    };
    panel(
        &mut out,
        "Bad canaries: median time to roll back, in multiples of the bound",
        &right,
        &[
            (0.125, "1/8"),
            (0.5, "1/2"),
            (1.0, "1"),
            (1.5, "1.5"),
            (4.0, "4"),
            (32.0, "32, or never"),
        ],
        1.5,
        &worse,
        |row, method| {
            let median = row.outcome(method)?.median;
            // Less than half found: at the far end.
            median.map_or(Some(f64::INFINITY), |m| Some(f64::from(m) / row.bound?))
        },
    );
    let _ = writeln!(
        out,
        r##"<text x="{}" y="{}" fill="#666">The bound is what the best sequential test needs that knows both rates and is wrong in 1 % of healthy rollouts. What is faster pays with false rollbacks, on the left; below 5 minutes whole minutes weigh more than the method.</text>"##,
        GAP,
        height - 14.0
    );
    out.push_str("</svg>\n");
    out
}

fn colour(method: Method) -> &'static str {
    match method {
        Method::Tidegate => "#0b3d91",
        Method::Flagger => "#e69f00",
        Method::Alarm => "#d55e00",
        Method::Guardrails => "#cc79a7",
        Method::Argo => "#8c6d1f",
        Method::Kayenta => "#009e73",
        Method::ZTest => "#999999",
        Method::Wald => "#000000",
    }
}

fn legend(out: &mut String) {
    for (i, method) in Method::ALL.iter().enumerate() {
        let x = GAP + 115.0 * i as f64;
        mark(out, *method, x + 6.0, 26.0);
        let _ = writeln!(
            out,
            r#"<text x="{}" y="30">{}</text>"#,
            x + 18.0,
            method.name()
        );
    }
}

/// Ours is a large dot, the others are small ones that let each other shine through.
fn mark(out: &mut String, method: Method, x: f64, y: f64) {
    let (radius, opacity) = if method == Method::Tidegate {
        (6.0, 1.0)
    } else {
        (4.5, 0.75)
    };
    let _ = writeln!(
        out,
        r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{}" fill-opacity="{opacity}"/>"#,
        colour(method)
    );
}

#[allow(clippy::too_many_arguments)]
fn panel(
    out: &mut String,
    title: &str,
    axis: &Axis,
    ticks: &[(f64, &str)],
    bar: f64,
    rows: &[&Row],
    value: impl Fn(&Row, Method) -> Option<f64>,
) {
    let bottom = TOP + rows.len() as f64 * LINE;
    let _ = writeln!(
        out,
        r#"<text x="{}" y="66" font-weight="bold">{title}</text>"#,
        axis.left - NAMES
    );
    for (at, name) in ticks {
        let x = axis.at(*at);
        let colour = if (at / bar - 1.0).abs() < 1e-9 {
            "#c00"
        } else {
            "#ddd"
        };
        let _ = writeln!(
            out,
            r##"<line x1="{x:.1}" y1="{}" x2="{x:.1}" y2="{bottom}" stroke="{colour}"/>
<text x="{x:.1}" y="{}" text-anchor="middle" fill="#666">{name}</text>"##,
            TOP - 12.0,
            TOP - 18.0
        );
    }
    for (i, row) in rows.iter().enumerate() {
        let y = TOP + (i as f64 + 0.5) * LINE;
        let _ = writeln!(
            out,
            r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            axis.left - 14.0,
            y + 4.0,
            escaped(row.words)
        );
        // Ours last, so that nothing hides it.
        for (m, method) in Method::ALL.into_iter().enumerate().rev() {
            if let Some(value) = value(row, method) {
                mark(out, method, axis.at(value), y + APART * (m as f64 - 3.0));
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_is_logarithmic_and_keeps_to_its_ends() {
        let axis = Axis {
            left: 100.0,
            low: 0.01,
            high: 1.0,
        };
        let at = [0.0, 0.01, 0.1, 1.0, f64::INFINITY].map(|v| axis.at(v));
        let expected = [100.0, 100.0, 100.0 + PLOT / 2.0, 100.0 + PLOT, 100.0 + PLOT];
        for (at, expected) in at.iter().zip(expected) {
            assert!((at - expected).abs() < 1e-9, "{at}");
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a < b & c"), "a &lt; b &amp; c");
    }
}
