//! A chart in a terminal: bars of Unicode's block elements, or of ASCII where the locale has no
//! UTF-8; three panels over one axis of time, told apart without colour.

use std::fmt::Write as _;

use tidegate_core::rollout::percent;

use super::chart::{Bucket, Chart};
use crate::render::{Paint, Screen, clean};

/// Columns left of the bars.
const GUTTER: usize = 11;
/// More columns than this show nothing more.
const WIDEST: usize = 132;
const SHARE_ROWS: usize = 2;
const RATE_ROWS: usize = 4;
const EVIDENCE_ROWS: usize = 5;

/// What bars are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glyphs {
    Blocks,
    Ascii,
}

impl Glyphs {
    /// Blocks, unless ASCII is wanted or the locale is not of UTF-8.
    pub(crate) fn of(ascii: bool) -> Self {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(std::env::var_os)
            .find(|value| !value.is_empty());
        let locale = set.map(|value| value.to_string_lossy().into_owned());
        Self::by(ascii, locale.as_deref())
    }

    fn by(ascii: bool, locale: Option<&str>) -> Self {
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        if !ascii && (locale.contains("utf-8") || locale.contains("utf8")) {
            Self::Blocks
        } else {
            Self::Ascii
        }
    }

    /// Parts of a cell, from empty to full.
    fn parts(self) -> &'static [char] {
        match self {
            Self::Blocks => &[' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Self::Ascii => &[' ', '.', '=', '#'],
        }
    }

    fn line(self) -> char {
        match self {
            Self::Blocks => '╌',
            Self::Ascii => '-',
        }
    }

    fn edge(self) -> char {
        match self {
            Self::Blocks => '│',
            Self::Ascii => '|',
        }
    }

    fn pointer(self) -> char {
        match self {
            Self::Blocks => '▲',
            Self::Ascii => '^',
        }
    }
}

/// One panel's values: none where nothing is known.
struct Panel<'a> {
    values: Vec<Option<f64>>,
    top: f64,
    rows: usize,
    paint: Paint,
    /// A line across, by column.
    line: Vec<Option<f64>>,
    /// Labels of rows, from the top.
    labels: Vec<(usize, String)>,
    title: &'a str,
}

impl Chart {
    /// The chart as lines.
    pub(crate) fn terminal(&self, screen: &Screen, glyphs: Glyphs) -> String {
        let columns = screen.width.min(WIDEST).saturating_sub(GUTTER + 2).max(20);
        let buckets = self.buckets(columns);
        let mut text = String::new();
        let _ = writeln!(text, "{}", screen.paint(Paint::Dim, &self.times()));
        let who = clean(&self.who);
        let title = format!("share of traffic of {who}");
        self.put_share(&title, columns, screen, glyphs, &mut text);
        self.put_rates(&buckets, screen, glyphs, &mut text);
        self.put_evidence(&buckets, screen, glyphs, &mut text);
        self.put_axis(columns, screen, glyphs, &mut text);
        text
    }

    fn put_share(
        &self,
        title: &str,
        columns: usize,
        screen: &Screen,
        glyphs: Glyphs,
        text: &mut String,
    ) {
        let panel = Panel {
            values: self.shares_in(columns),
            top: 100.0,
            rows: SHARE_ROWS,
            paint: Paint::Dim,
            line: Vec::new(),
            labels: vec![(0, "100 %".to_owned()), (SHARE_ROWS - 1, "0 %".to_owned())],
            title,
        };
        panel.draw(screen, glyphs, text);
    }

    fn put_rates(&self, buckets: &[Bucket], screen: &Screen, glyphs: Glyphs, text: &mut String) {
        let rates = |of: fn(&Bucket) -> Option<f64>| buckets.iter().map(of).collect::<Vec<_>>();
        let canary = rates(|b| b.canary.rate());
        let beside = rates(|b| b.baseline.rate());
        let top = highest(canary.iter().chain(&beside).flatten().copied());
        let top = if top > 0.0 { top } else { 0.01 };
        let guard = clean(&self.guard);
        for (name, values, paint) in [
            (&self.who, canary, Paint::Busy),
            (&self.beside, beside, Paint::Plain),
        ] {
            let title = format!("{guard}, share on {}", clean(name));
            let panel = Panel {
                values,
                top,
                rows: RATE_ROWS,
                paint,
                line: Vec::new(),
                labels: vec![(0, percent(top)), (RATE_ROWS - 1, "0 %".to_owned())],
                title: &title,
            };
            panel.draw(screen, glyphs, text);
        }
    }

    fn put_evidence(&self, buckets: &[Bucket], screen: &Screen, glyphs: Glyphs, text: &mut String) {
        let values = buckets
            .iter()
            .map(|b| b.evidence.map(|(harm, _)| harm.max(0.0)));
        let line: Vec<_> = buckets
            .iter()
            .map(|b| b.evidence.map(|(_, needed)| needed))
            .collect();
        let needed = highest(line.iter().flatten().copied().filter(|n| n.is_finite()));
        let top = evidence_top(values.clone().flatten(), needed);
        let row = row_of(needed, top, EVIDENCE_ROWS);
        let mut labels = vec![(EVIDENCE_ROWS - 1, "1 in 1".to_owned())];
        if needed > 0.0 {
            labels.push((row, tidegate_core::evidence::odds(needed)));
        }
        let title = format!(
            "evidence against {}, as odds if it were no worse; {} takes it back",
            clean(&self.who),
            glyphs.line().to_string().repeat(3),
        );
        let panel = Panel {
            values: values.collect(),
            top,
            rows: EVIDENCE_ROWS,
            paint: Paint::Plain,
            line,
            labels,
            title: &title,
        };
        panel.draw(screen, glyphs, text);
    }

    fn put_axis(&self, columns: usize, screen: &Screen, glyphs: Glyphs, text: &mut String) {
        let column = |at| column(self.place(at), columns);
        let mut phases = Row::new(columns);
        for band in &self.bands {
            let label = format!("{}{}", glyphs.edge(), clean(&band.label));
            phases.put(column(band.from), &label, true);
        }
        let mut times = Row::new(columns);
        for at in self.ticks((columns / 14).max(2)) {
            times.put(column(at), &self.tick_label(at), false);
        }
        let gutter = " ".repeat(GUTTER + 1);
        let dim = |row: Row| screen.paint(Paint::Dim, row.text().trim_end());
        if !self.bands.is_empty() {
            let _ = writeln!(text, "{:>GUTTER$} {}", "share", dim(phases));
        }
        let _ = writeln!(text, "{:>GUTTER$} {}", "UTC", dim(times));
        for mark in &self.marks {
            let mut row = Row::new(columns);
            let what = format!("{} {}", mark.at.strftime("%H:%M"), clean(&mark.label));
            let at = column(mark.at);
            let pointed = format!("{} {what}", glyphs.pointer());
            if at + pointed.chars().count() <= columns {
                row.put(at, &pointed, true);
            } else {
                let pointed = format!("{what} {}", glyphs.pointer());
                row.put(
                    (at + 1).saturating_sub(pointed.chars().count()),
                    &pointed,
                    true,
                );
            }
            let paint = if mark.is_bad { Paint::Bad } else { Paint::Good };
            let _ = writeln!(
                text,
                "{gutter}{}",
                screen.paint(paint, row.text().trim_end())
            );
        }
    }
}

impl Panel<'_> {
    fn draw(&self, screen: &Screen, glyphs: Glyphs, text: &mut String) {
        let fits = screen.width.saturating_sub(1);
        let title: String = self.title.chars().take(fits).collect();
        let _ = writeln!(text, "{}", screen.paint(Paint::Bold, &title));
        for row in 0..self.rows {
            let label = self.labels.iter().find(|(at, _)| *at == row);
            let label = label.map_or("", |(_, label)| label.as_str());
            let line = format!("{label:>GUTTER$} {}", self.row(row, glyphs, screen));
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }

    fn row(&self, row: usize, glyphs: Glyphs, screen: &Screen) -> String {
        let cells: Vec<(char, Paint)> = (0..self.values.len())
            .map(|column| self.cell(row, column, glyphs))
            .collect();
        painted(&cells, screen)
    }

    fn cell(&self, row: usize, column: usize, glyphs: Glyphs) -> (char, Paint) {
        let parts = glyphs.parts();
        let full = parts.len() - 1;
        let line = self.line.get(column).copied().flatten();
        let value = self.values.get(column).copied().flatten();
        let part = value.map_or(0, |value| {
            let height = height(value, self.top, self.rows * full);
            let below = (self.rows - 1 - row) * full;
            height.saturating_sub(below).min(full)
        });
        let is_over = value.zip(line).is_some_and(|(value, line)| value >= line);
        let paint = if is_over { Paint::Bad } else { self.paint };
        if part == 0 && line.is_some_and(|line| row_of(line, self.top, self.rows) == row) {
            return (glyphs.line(), Paint::Bad);
        }
        (parts[part], paint)
    }
}

/// Runs of one colour, painted together.
fn painted(cells: &[(char, Paint)], screen: &Screen) -> String {
    // Blanks at the end would hide in a colour's escapes.
    let end = cells
        .iter()
        .rposition(|(c, _)| *c != ' ')
        .map_or(0, |i| i + 1);
    cells[..end]
        .chunk_by(|(_, a), (_, b)| a == b)
        .map(|run| {
            let text: String = run.iter().map(|(c, _)| c).collect();
            screen.paint(run[0].1, &text)
        })
        .collect()
}

/// A line of text that labels are put into without running into each other.
struct Row {
    cells: Vec<char>,
}

impl Row {
    fn new(columns: usize) -> Self {
        Self {
            cells: vec![' '; columns],
        }
    }

    /// Puts a label; one that does not fit is cut, or left out if it must be whole.
    fn put(&mut self, at: usize, label: &str, may_cut: bool) {
        let wanted = label.chars().count();
        let free = self.cells.len().saturating_sub(at);
        let taken = self
            .cells
            .iter()
            .skip(at.saturating_sub(1))
            .take(wanted + 1);
        if !may_cut && (free < wanted || taken.into_iter().any(|c| *c != ' ')) {
            return;
        }
        for cell in self.cells.iter_mut().skip(at) {
            *cell = ' ';
        }
        for (cell, c) in self.cells.iter_mut().skip(at).zip(label.chars()) {
            *cell = c;
        }
    }

    fn text(&self) -> String {
        self.cells.iter().collect()
    }
}

/// How high a bar is, in parts of cells; what is there is always seen.
fn height(value: f64, top: f64, most: usize) -> usize {
    #[allow(clippy::cast_precision_loss)]
    let exact = (value / top).clamp(0.0, 1.0) * most as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let parts = exact.round() as usize;
    parts.max(if value > 0.0 { 2 } else { 1 })
}

/// The row, from the top, that a value is in.
fn row_of(value: f64, top: f64, rows: usize) -> usize {
    rows - 1 - column(value / top, rows)
}

/// The cell of `cells` that a place from 0 to 1 is in.
fn column(place: f64, cells: usize) -> usize {
    #[allow(clippy::cast_precision_loss)]
    let exact = place.clamp(0.0, 1.0) * cells as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let cell = exact as usize;
    cell.min(cells.saturating_sub(1))
}

/// The top of the evidence's axis: a little above the line, and twice it at most.
pub(crate) fn evidence_top(values: impl Iterator<Item = f64>, needed: f64) -> f64 {
    let needed = if needed > 0.0 { needed } else { 1.0 };
    highest(values).clamp(needed * 1.35, needed * 2.0)
}

/// The highest of some values, 0 of none.
pub(crate) fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}
