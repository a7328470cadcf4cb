//! What is wrong with a policy file: where, which key, why, and the line itself with a caret.

use std::fmt;
use std::ops::Range;

/// The most errors that are kept of one file: who has more starts with these.
pub(super) const MAX_ERRORS: usize = 100;
/// The most characters of a source line that are shown.
const MAX_LINE: usize = 120;

/// All that was found wrong with a policy file, in its order; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors(pub Vec<PolicyError>);

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file, as the caller called it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The dotted key; empty where the whole file is meant.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// The part of the source line around the place.
    excerpt: String,
    /// Characters of the excerpt before the place.
    before: usize,
    /// Characters to underline, 1 or more.
    width: usize,
}

impl PolicyError {
    pub(super) fn new(
        text: &str,
        file: &str,
        span: Range<usize>,
        key: &str,
        message: String,
    ) -> Self {
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line: Vec<char> = text[line_start..line_end]
            .chars()
            .filter(|c| *c != '\r')
            .map(|c| if c == '\t' { ' ' } else { c })
            .collect();
        let column = text[line_start..start].chars().count();
        // A line that is too long is shown from a little before the place.
        let from = if line.len() <= MAX_LINE {
            0
        } else {
            column.saturating_sub(20).min(line.len())
        };
        let excerpt: String = line.iter().skip(from).take(MAX_LINE).collect();
        let room = excerpt.chars().count().saturating_sub(column - from).max(1);
        let width = text[start..end.min(line_end.max(start))].chars().count();
        Self {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: column + 1,
            key: key.to_owned(),
            message,
            before: column - from,
            width: width.clamp(1, room),
            excerpt: excerpt.trim_end().to_owned(),
        }
    }
}

/// The last place at or before `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|place| text.is_char_boundary(*place))
        .unwrap_or(0)
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        writeln!(f, "{}", self.message)?;
        let number = self.line.to_string();
        writeln!(f, "  {number} | {}", self.excerpt)?;
        let pad = " ".repeat(number.len());
        let indent = " ".repeat(self.before);
        write!(f, "  {pad} | {indent}{}", "^".repeat(self.width))
    }
}

impl std::error::Error for PolicyError {}
