//! A chart as a picture: SVG in three panels over one axis of time. Colours are of Okabe and Ito's
//! palette, which people with any colour vision can tell apart; names come from AWS, so all text is
//! escaped.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use tidegate_core::evidence::{Counts, Interval, rate_interval};
use tidegate_core::rollout::percent;

use super::chart::{Bucket, Chart};
use super::terminal::{evidence_top, highest};
use crate::render::{clean, number};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 640.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 936.0;
/// The panels' upper and lower edges.
const SHARE: (f64, f64) = (104.0, 184.0);
const RATES: (f64, f64) = (236.0, 386.0);
const EVIDENCE: (f64, f64) = (438.0, 588.0);
/// Rates are pooled into this many parts at most, so that each has some requests.
const RATE_PARTS: i64 = 48;
/// Evidence into this many.
const EVIDENCE_PARTS: i64 = 360;
/// About how wide a character of the small text is, pixels.
const CHARACTER: f64 = 6.4;

const CANARY: &str = "#d55e00";
const CHAMPION: &str = "#0072b2";
const INK: &str = "#1f2933";
const FAINT: &str = "#5a6672";
const GRID: &str = "#e3e7eb";
const GOOD: &str = "#00785a";

impl Chart {
    /// The chart as a document of its own.
    pub(crate) fn svg(&self) -> String {
        let title = escape(&self.title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\" \
             font-size=\"12\" fill=\"{INK}\">\n<title>{title}</title>\n<desc>Share of traffic, {} \
             and evidence by the minute, {}.</desc>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n",
            escape(&self.guard),
            escape(&self.times()),
        );
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"34\" font-size=\"18\" font-weight=\"600\">{}</text>",
            escape(&cut(&self.title, 90))
        );
        text(
            &mut svg,
            LEFT,
            54.0,
            "start",
            FAINT,
            &cut(&self.times(), 120),
        );
        self.draw_bands(&mut svg);
        self.draw_axis(&mut svg);
        self.draw_share(&mut svg);
        self.draw_rates(&mut svg);
        self.draw_evidence(&mut svg);
        self.draw_marks(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn x(&self, at: Timestamp) -> f64 {
        LEFT + (RIGHT - LEFT) * self.place(at)
    }

    /// How many minutes it shows.
    fn minutes(&self) -> i64 {
        ((self.to.as_second() - self.from.as_second()) / 60).max(1)
    }

    fn parts(&self, most: i64) -> usize {
        usize::try_from(self.minutes().min(most)).unwrap_or(1)
    }

    /// Phases, every other one shaded, with their labels above.
    fn draw_bands(&self, svg: &mut String) {
        for (i, band) in self.bands.iter().enumerate() {
            let (from, to) = (self.x(band.from), self.x(band.to));
            if i % 2 == 1 {
                for (top, bottom) in [SHARE, RATES, EVIDENCE] {
                    rect(svg, from, top, to - from, bottom - top, "#f3f6f9");
                }
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let fits = ((to - from - 4.0) / CHARACTER).max(0.0) as usize;
            let label = clean(&band.label);
            if label.chars().count() <= fits {
                let middle = f64::midpoint(from, to);
                text(svg, middle, SHARE.0 - 6.0, "middle", FAINT, &label);
            }
        }
    }

    fn draw_share(&self, svg: &mut String) {
        heading(
            svg,
            SHARE,
            &format!("Share of traffic of {} (percent)", cut(&self.who, 40)),
            20.0,
        );
        let ticks = [0.0, 50.0, 100.0].map(|v| (v, format!("{v:.0} %")));
        scale(svg, SHARE, 100.0, &ticks);
        let mut path = String::new();
        let mut level = 0.0;
        let _ = write!(path, "M{:.1} {:.1}", LEFT, y(SHARE, 0.0, 100.0));
        for &(at, share) in self.shares.iter().filter(|(at, _)| *at <= self.to) {
            let x = self.x(at);
            let _ = write!(
                path,
                "L{x:.1} {:.1}L{x:.1} {:.1}",
                y(SHARE, level, 100.0),
                y(SHARE, share, 100.0)
            );
            level = share;
        }
        let _ = write!(path, "L{RIGHT:.1} {:.1}", y(SHARE, level, 100.0));
        let _ = writeln!(
            svg,
            "<path d=\"{path}L{RIGHT:.1} {:.1}Z\" fill=\"{CANARY}\" fill-opacity=\"0.15\"/>\n\
             <path d=\"{path}\" fill=\"none\" stroke=\"{CANARY}\" stroke-width=\"2\"/>",
            SHARE.1
        );
    }

    fn draw_rates(&self, svg: &mut String) {
        let parts = self.parts(RATE_PARTS);
        let buckets = self.buckets(parts);
        let guard = capital(&cut(&self.guard, 48));
        let note = "share of all; shaded: so far, 95 % interval";
        heading(svg, RATES, &format!("{guard} ({note})"), 8.0);
        let rate = |of: fn(&Bucket) -> Counts| buckets.iter().filter_map(move |b| of(b).rate());
        let top = highest(rate(|b| b.canary).chain(rate(|b| b.baseline)));
        let top = nice(if top > 0.0 { top * 1.3 } else { 0.01 });
        let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| (top * part, percent(top * part)));
        scale(svg, RATES, top, &ticks);
        let beside: (fn(&Bucket) -> Counts, &str) = (|b| b.baseline, CHAMPION);
        let canary: (fn(&Bucket) -> Counts, &str) = (|b| b.canary, CANARY);
        for (of, color) in [beside, canary] {
            self.draw_rate(svg, &buckets, of, color, top);
        }
        let who = cut(&self.who, 32);
        let champion = cut(&self.beside, 40);
        let right = RIGHT - 8.0;
        let second = right - width(&champion) - 44.0;
        let first = second - width(&who) - 44.0;
        legend(svg, first, CANARY, &who);
        legend(svg, second, CHAMPION, &champion);
    }

    /// One variant's rate, over the interval that the counts so far give. Counts begin anew where
    /// the comparison does: the line that takes the candidate back tells.
    fn draw_rate(
        &self,
        svg: &mut String,
        buckets: &[Bucket],
        of: fn(&Bucket) -> Counts,
        color: &str,
        top: f64,
    ) {
        let (mut so_far, mut needed) = (Counts::default(), None);
        let known: Vec<Option<(f64, Interval)>> = buckets
            .iter()
            .map(|bucket| {
                let line = bucket.evidence.map(|(_, needed)| needed);
                if line.is_some() && line != needed {
                    (so_far, needed) = (Counts::default(), line);
                }
                so_far = so_far.plus(of(bucket));
                let rate = of(bucket).rate()?;
                Some((rate, rate_interval(so_far, self.dispersion)))
            })
            .collect();
        let runs = runs(&known, Clone::clone);
        for run in runs {
            let (mut line, mut upper, mut lower) = (String::new(), String::new(), Vec::new());
            for (n, (i, (rate, Interval { low, high }))) in run.iter().enumerate() {
                let x = part_x(*i, buckets.len());
                let joint = if n == 0 { 'M' } else { 'L' };
                let _ = write!(line, "{joint}{x:.1} {:.1}", y(RATES, *rate, top));
                let _ = write!(
                    upper,
                    "{joint}{x:.1} {:.1}",
                    y(RATES, high.unwrap_or(1.0), top)
                );
                lower.push(format!("L{x:.1} {:.1}", y(RATES, low.unwrap_or(0.0), top)));
            }
            let lower: String = lower.into_iter().rev().collect();
            if run.len() == 1 {
                // A line of one point would not be seen.
                line.push_str("h0.1");
            }
            let _ = writeln!(
                svg,
                "<path d=\"{upper}{lower}Z\" fill=\"{color}\" fill-opacity=\"0.13\"/>\n\
                 <path d=\"{line}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" \
                 stroke-linejoin=\"round\" stroke-linecap=\"round\"/>"
            );
        }
    }

    fn draw_evidence(&self, svg: &mut String) {
        let buckets = self.buckets(self.parts(EVIDENCE_PARTS));
        let heading_text = format!(
            "Evidence against {} (how seldom one that is no worse looks so bad)",
            cut(&self.who, 40)
        );
        heading(svg, EVIDENCE, &heading_text, 8.0);
        let evidence = || buckets.iter().filter_map(|b| b.evidence);
        let needed = highest(
            evidence()
                .map(|(_, needed)| needed)
                .filter(|n| n.is_finite()),
        );
        let top = evidence_top(evidence().map(|(harm, _)| harm), needed);
        scale(svg, EVIDENCE, top, &odds_ticks(top));
        if needed > 0.0 {
            let at = y(EVIDENCE, needed, top);
            let over = at - EVIDENCE.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"{}\" height=\"{over:.1}\" fill=\"{CANARY}\" \
                 fill-opacity=\"0.08\"/>",
                EVIDENCE.0,
                RIGHT - LEFT
            );
        }
        // The line that takes it back may differ between phases.
        for run in runs(&buckets, |b| {
            b.evidence.map(|(_, n)| n).filter(|n| n.is_finite())
        }) {
            let mut line = String::new();
            for (n, (i, needed)) in run.iter().enumerate() {
                let half = (RIGHT - LEFT) / real(buckets.len()) / 2.0;
                let (x, y) = (part_x(*i, buckets.len()), y(EVIDENCE, *needed, top));
                let joint = if n == 0 { 'M' } else { 'L' };
                let _ = write!(line, "{joint}{:.1} {y:.1}L{:.1} {y:.1}", x - half, x + half);
            }
            let _ = writeln!(
                svg,
                "<path d=\"{line}\" fill=\"none\" stroke=\"{INK}\" stroke-width=\"1.5\" \
                 stroke-dasharray=\"6 4\"/>"
            );
        }
        for run in runs(&buckets, |b| b.evidence.map(|(harm, _)| harm)) {
            let mut line = String::new();
            for (n, (i, harm)) in run.iter().enumerate() {
                let joint = if n == 0 { 'M' } else { 'L' };
                let (x, y) = (part_x(*i, buckets.len()), y(EVIDENCE, *harm, top));
                let _ = write!(line, "{joint}{x:.1} {y:.1}");
            }
            if run.len() == 1 {
                line.push_str("h0.1");
            }
            let _ = writeln!(
                svg,
                "<path d=\"{line}\" fill=\"none\" stroke=\"{CANARY}\" stroke-width=\"2.5\" \
                 stroke-linejoin=\"round\" stroke-linecap=\"round\"/>"
            );
        }
        if needed > 0.0 {
            let label = "takes it back";
            text(
                svg,
                RIGHT - 6.0,
                y(EVIDENCE, needed, top) - 5.0,
                "end",
                INK,
                label,
            );
        }
    }

    fn draw_axis(&self, svg: &mut String) {
        for at in self.ticks(9) {
            let x = self.x(at);
            for (top, bottom) in [SHARE, RATES, EVIDENCE] {
                let _ = writeln!(
                    svg,
                    "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"{GRID}\"/>\
                     <path d=\"M{x:.1} {bottom}v4\" stroke=\"{FAINT}\"/>"
                );
            }
            text(
                svg,
                x,
                EVIDENCE.1 + 18.0,
                "middle",
                FAINT,
                &self.tick_label(at),
            );
        }
        text(
            svg,
            f64::midpoint(LEFT, RIGHT),
            HEIGHT - 12.0,
            "middle",
            FAINT,
            "time (UTC)",
        );
    }

    fn draw_marks(&self, svg: &mut String) {
        for (i, mark) in self.marks.iter().enumerate() {
            // The evidence of a minute is known at its end.
            let x = self.x(mark.at + SignedDuration::from_mins(1));
            let color = if mark.is_bad { CANARY } else { GOOD };
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {}V{}\" stroke=\"{color}\" stroke-width=\"1.5\" stroke-dasharray=\"2 3\"/>",
                SHARE.0, EVIDENCE.1
            );
            let label = format!("{} {}", mark.at.strftime("%H:%M"), cut(&mark.label, 60));
            let is_left = x + width(&label) + 10.0 > RIGHT;
            let (x, anchor) = if is_left {
                (x - 6.0, "end")
            } else {
                (x + 6.0, "start")
            };
            // Where the evidence is not: it is high where it suffices.
            let y = if mark.is_bad {
                EVIDENCE.1 - 10.0 - 16.0 * real(i)
            } else {
                EVIDENCE.0 + 16.0 + 16.0 * real(i)
            };
            text(svg, x, y, anchor, color, &label);
        }
    }
}

/// Neighbouring parts that have a value, with their places.
fn runs<P, T: Clone>(parts: &[P], of: impl Fn(&P) -> Option<T>) -> Vec<Vec<(usize, T)>> {
    let values: Vec<(usize, Option<T>)> = parts.iter().map(of).enumerate().collect();
    values
        .chunk_by(|(_, a), (_, b)| a.is_some() == b.is_some())
        .map(|run| {
            run.iter()
                .filter_map(|(i, v)| Some((*i, v.clone()?)))
                .collect()
        })
        .filter(|run: &Vec<_>| !run.is_empty())
        .collect()
}

/// The middle of part `i` of `count`.
fn part_x(i: usize, count: usize) -> f64 {
    LEFT + (RIGHT - LEFT) * (real(i) + 0.5) / real(count.max(1))
}

/// The height of a value in a panel, kept within it.
fn y((top, bottom): (f64, f64), value: f64, most: f64) -> f64 {
    bottom - (bottom - top) * (value / most).clamp(0.0, 1.0)
}

/// A panel's edge, its grid and the labels of its axis.
fn scale(svg: &mut String, panel: (f64, f64), most: f64, ticks: &[(f64, String)]) {
    for (value, label) in ticks {
        let at = y(panel, *value, most);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"{GRID}\"/>"
        );
        text(svg, LEFT - 8.0, at + 4.0, "end", FAINT, label);
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{LEFT} {}V{}H{RIGHT}\" fill=\"none\" stroke=\"{FAINT}\"/>",
        panel.0, panel.1
    );
}

/// Powers of ten as odds, not more than fit.
fn odds_ticks(top: f64) -> Vec<(f64, String)> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let powers = (top / std::f64::consts::LN_10).clamp(0.0, 300.0) as usize;
    let step = powers / 6 + 1;
    (0..=powers)
        .step_by(step)
        .map(|power| {
            let label = match u32::try_from(power) {
                Ok(power) if power <= 6 => format!("1 in {}", number(10_u64.pow(power))),
                _ => format!("1 in 1e{power}"),
            };
            (real(power) * std::f64::consts::LN_10, label)
        })
        .collect()
}

/// The next higher number of the kind that axes end with.
fn nice(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|s| value <= s * unit * 1.000_001);
    (step.unwrap_or(10.0) * unit).min(1.0)
}

fn heading(svg: &mut String, panel: (f64, f64), label: &str, above: f64) {
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-size=\"13\" font-weight=\"600\">{}</text>",
        panel.0 - above,
        escape(label)
    );
}

fn legend(svg: &mut String, x: f64, color: &str, label: &str) {
    let at = 50.0;
    let _ = writeln!(
        svg,
        "<path d=\"M{x:.1} {at}h22\" stroke=\"{color}\" stroke-width=\"3\"/>"
    );
    text(svg, x + 28.0, at + 4.0, "start", INK, label);
}

fn rect(svg: &mut String, x: f64, y: f64, width: f64, height: f64, fill: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, fill: &str, label: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{}</text>",
        escape(label)
    );
}

/// About how wide a label is.
fn width(label: &str) -> f64 {
    real(label.chars().count()) * CHARACTER
}

/// Text that fits.
fn cut(text: &str, most: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept + "\u{2026}"
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// Text in XML: what XML can't have is taken out, what means something to it is spelled out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Small counts are exact.
#[allow(clippy::cast_precision_loss)]
fn real(count: usize) -> f64 {
    count as f64
}
