//! How answers look on a terminal: tables, times, numbers, colours.
//!
//! Text that comes from the ledger or from AWS is never trusted to be printable: what could steer
//! a terminal is taken out.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use jiff::Timestamp;
use tidegate_core::evidence::grouped;

/// The narrowest that a table's last column is wrapped to.
const NARROWEST: usize = 24;

/// Where answers are shown.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// Columns.
    pub(crate) width: usize,
    /// Whether colours are wanted.
    pub(crate) color: bool,
    /// The present, that ages are counted from.
    pub(crate) now: Timestamp,
}

impl Screen {
    /// The terminal on standard output; 100 columns without colours if it isn't one.
    pub(crate) fn of_stdout(no_color: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = if terminal {
            terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0))
        } else {
            100
        };
        let plain = no_color
            || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self {
            width: width.clamp(60, 200),
            color: terminal && !plain,
            now: Timestamp::now(),
        }
    }

    /// The same screen at a later time: a ledger may be ahead of this machine's clock.
    pub(crate) fn no_earlier_than(&self, time: Option<Timestamp>) -> Self {
        Self {
            now: time.map_or(self.now, |t| t.max(self.now)),
            ..self.clone()
        }
    }

    /// Text in a colour.
    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        match paint.code() {
            Some(code) if self.color => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }

    /// A time, its zone and its age: `2026-11-24 21:36:05 UTC (3 min ago)`.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        format!("{} UTC ({})", utc(at), self.age(at))
    }

    /// The same of what has happened. A time ahead of this machine's clock is said to be so: one
    /// of two clocks is wrong, and nothing is to come.
    pub(crate) fn past(&self, at: Timestamp) -> String {
        let ahead = at.as_second() - self.now.as_second();
        if ahead <= 0 {
            return self.time(at);
        }
        format!(
            "{} UTC ({} ahead of this machine's clock)",
            utc(at),
            span(ahead)
        )
    }

    /// How long ago a time was: `3 min ago`.
    pub(crate) fn age(&self, at: Timestamp) -> String {
        let seconds = self.now.as_second() - at.as_second();
        match seconds {
            0 => "now".to_owned(),
            1.. => format!("{} ago", span(seconds)),
            _ => format!("in {}", span(-seconds)),
        }
    }
}

/// A colour or weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Busy,
}

impl Paint {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Good => Some("32"),
            Self::Bad => Some("1;31"),
            Self::Busy => Some("33"),
        }
    }
}

/// A table whose last column takes the rest of the line and wraps.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<(String, Paint)>>,
}

impl Table {
    /// A table with these column heads.
    pub(crate) fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|&h| h.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it has as many cells as the header.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Paint)>) {
        let cells: Vec<_> = cells
            .into_iter()
            .map(|(text, paint)| (clean(&text), paint))
            .collect();
        debug_assert_eq!(cells.len(), self.header.len());
        self.rows.push(cells);
    }

    /// The table, each line indented by `indent` spaces.
    pub(crate) fn render(&self, screen: &Screen, indent: usize) -> String {
        let last = self.header.len().saturating_sub(1);
        let widths: Vec<usize> = (0..last)
            .map(|i| {
                let cells = self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(i))
                    .map(|(text, _)| text);
                cells
                    .chain(self.header.get(i))
                    .map(|text| width(text))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let used = indent + widths.iter().map(|w| w + 2).sum::<usize>();
        let rest = screen.width.saturating_sub(used).max(NARROWEST);

        let mut out = String::new();
        let header: Vec<_> = self
            .header
            .iter()
            .map(|h| (h.clone(), Paint::Dim))
            .collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let lines = wrap(row.get(last).map_or("", |(text, _)| text), rest);
            for (n, line) in lines.iter().enumerate() {
                let mut cells = " ".repeat(indent);
                for (i, w) in widths.iter().enumerate() {
                    let (text, paint) = row
                        .get(i)
                        .filter(|_| n == 0)
                        .map_or(("", Paint::Plain), |(t, p)| (t, *p));
                    let gap = " ".repeat(w + 2 - width(text).min(*w));
                    let _ = write!(cells, "{}{gap}", screen.paint(paint, text));
                }
                let paint = row.get(last).map_or(Paint::Plain, |(_, paint)| *paint);
                if line.is_empty() {
                    out.push_str(cells.trim_end());
                } else {
                    out.push_str(&cells);
                    out.push_str(&screen.paint(paint, line));
                }
                out.push('\n');
            }
        }
        out
    }
}

/// Text without what could steer a terminal or fake another line.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}'))
        .map(|c| if c == '\n' || c == '\t' { ' ' } else { c })
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Breaks text into lines of at most `columns`, at spaces where there are some.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    for word in words(text) {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().expect("there is always a line");
            let free = columns.saturating_sub(if line.is_empty() { 0 } else { width(line) + 1 });
            if word.len() <= free {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.extend(&word);
                break;
            }
            if line.is_empty() {
                line.extend(word.drain(..columns));
            }
            lines.push(String::new());
        }
    }
    lines
}

/// The words of a text; a number and its per cent sign stay together.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if word.starts_with('%') && last.ends_with(|c: char| c.is_ascii_digit()) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A time to the second, in UTC, without its zone.
pub(crate) fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A length of time, one unit: `40 s`, `12 min`, `7 h`, `3 days`.
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A number with commas: `12,345`.
pub(crate) fn number(n: u64) -> String {
    grouped(n)
}

/// A count and its noun: `1 entry`, `2 entries`.
pub(crate) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn screen(width: usize, color: bool) -> Screen {
        Screen {
            width,
            color,
            now: "2026-11-24T21:36:05Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_table_keeps_its_width_and_wraps_its_last_column() {
        let mut table = Table::new(&["#", "WHAT", "WHY"]);
        table.row([
            ("1".to_owned(), Paint::Plain),
            ("rolled-back".to_owned(), Paint::Bad),
            (
                "4 of 120 requests failed while the champion had 1 of 2,280".to_owned(),
                Paint::Plain,
            ),
        ]);
        table.row([
            ("2".to_owned(), Paint::Plain),
            ("told".to_owned(), Paint::Plain),
            (String::new(), Paint::Plain),
        ]);
        insta::assert_snapshot!(table.render(&screen(60, false), 2), @r"
          #  WHAT         WHY
          1  rolled-back  4 of 120 requests failed while the
                          champion had 1 of 2,280
          2  told
        ");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = Table::new(&["A", "B"]);
        table.row([("xy".to_owned(), Paint::Good), ("z".to_owned(), Paint::Bad)]);
        let text = table.render(&screen(60, true), 0);
        assert!(
            text.contains("\u{1b}[32mxy\u{1b}[0m  \u{1b}[1;31mz\u{1b}[0m"),
            "{text:?}"
        );
        assert!(!table.render(&screen(60, false), 0).contains('\u{1b}'));
    }

    #[test]
    fn what_could_steer_a_terminal_is_taken_out() {
        assert_eq!(
            clean("a\u{1b}[2Jb\nc\u{202e}d\u{9b}"),
            "a\u{fffd}[2Jb cd\u{fffd}"
        );
    }

    #[test]
    fn a_word_longer_than_the_line_is_broken() {
        assert_eq!(wrap("ab cdefghij k", 4), ["ab", "cdef", "ghij", "k"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("at 25 %, now", 6), ["at", "25 %,", "now"]);
    }

    #[test]
    fn ages_say_past_and_future() {
        let screen = screen(80, false);
        let age = |text: &str| screen.age(text.parse().unwrap());
        assert_eq!(age("2026-11-24T21:36:05Z"), "now");
        assert_eq!(age("2026-11-24T21:35:25Z"), "40 s ago");
        assert_eq!(age("2026-11-24T20:36:06Z"), "59 min ago");
        assert_eq!(age("2026-11-23T21:36:05Z"), "24 h ago");
        assert_eq!(age("2026-11-14T21:36:05Z"), "10 days ago");
        assert_eq!(age("2026-11-24T21:46:05Z"), "in 10 min");
    }

    #[test]
    fn what_has_happened_is_ahead_of_a_slow_clock_and_not_to_come() {
        let screen = screen(80, false);
        let past = |text: &str| screen.past(text.parse().unwrap());
        assert_eq!(
            past("2026-11-24T20:36:05Z"),
            "2026-11-24 20:36:05 UTC (1 h ago)"
        );
        assert_eq!(
            past("2026-11-25T00:36:05Z"),
            "2026-11-25 00:36:05 UTC (3 h ahead of this machine's clock)"
        );
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(12_345_678), "12,345,678");
        assert_eq!(count(1, "entry", "entries"), "1 entry");
    }
}
