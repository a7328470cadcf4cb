//! Messages for people: one headline that says what happened, a few lines that say why, and what
//! to do, if anything.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::{cut, json_bytes};
use crate::name::{EndpointName, GroupName, PackageVersion, PipelineName, RolloutId};

/// The most lines of a notice.
pub const MOST_LINES: usize = 20;

/// The most that a notice's lines take together, bytes of JSON. A topic gets them in four forms for
/// its receivers, two of them JSON in JSON, which has to fit into one message.
pub const LONGEST_LINES: usize = 16 * 1024;

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// `<group>/<audit entry>`: receivers drop repeats by it.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, a word for filters, the audit trail's (`rolled-back`).
    pub what: String,
    /// One sentence, at most 100 characters of plain ASCII, so that it fits an SNS subject.
    pub headline: String,
    /// Why, and what to do, one sentence a line; as many as [`fitting`] leaves.
    pub lines: Vec<String>,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Its group.
    pub group: GroupName,
    /// The version that it is about.
    pub version: Option<PackageVersion>,
    /// The endpoint that it is about.
    pub endpoint: Option<EndpointName>,
    /// The rollout that it is about.
    pub rollout: Option<RolloutId>,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something was refused or taken back, and is in order now.
    Warning,
    /// A person has to do something.
    Action,
}

impl Notice {
    /// The message as a person reads it.
    pub fn text(&self) -> String {
        let mut text = self.headline.clone();
        for line in &self.lines {
            text.push('\n');
            text.push_str(line);
        }
        text
    }
}

/// The lines, or what of them fits into a notice: of too many the first, and if all together are too
/// long, none is longer than its part.
pub fn fitting(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MOST_LINES {
        let more = lines.len() - (MOST_LINES - 1);
        lines.truncate(MOST_LINES - 1);
        lines.push(format!("… ({more} more lines)"));
    }
    let bytes: usize = lines.iter().map(|line| json_bytes(line)).sum();
    if bytes > LONGEST_LINES {
        let part = LONGEST_LINES / lines.len();
        for line in &mut lines {
            *line = cut(line, part);
        }
    }
    lines
}

/// Makes a headline out of any text: one line, ASCII, at most 100 characters (`Publish`, Subject).
pub fn headline(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| {
            if c.is_ascii() && !c.is_ascii_control() {
                c
            } else {
                ' '
            }
        })
        .collect();
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.len() <= 100 {
        words
    } else {
        format!("{}...", words[..97].trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINES, MOST_LINES, fitting, headline};
    use crate::bounds::json_bytes;

    #[test]
    fn too_many_lines_end_with_how_many_more_there_are() {
        let lines = |n: usize| (0..n).map(|i| format!("line {i}")).collect::<Vec<_>>();
        assert_eq!(fitting(lines(MOST_LINES)), lines(MOST_LINES));
        let some = fitting(lines(MOST_LINES + 5));
        assert_eq!(some.len(), MOST_LINES);
        assert_eq!(some[MOST_LINES - 2..], ["line 18", "… (6 more lines)"]);
    }

    #[test]
    fn of_lines_that_are_too_long_the_short_ones_stay_whole() {
        let long = "\u{1}".repeat(LONGEST_LINES);
        let some = fitting(vec!["why".to_owned(), long.clone(), long]);
        assert_eq!(some[0], "why");
        assert!(some[1].ends_with(" more characters)"), "{}", some[1]);
        let bytes: usize = some.iter().map(|line| json_bytes(line)).sum();
        assert!(bytes <= LONGEST_LINES, "{bytes}");
        let one = vec!["x".repeat(LONGEST_LINES)];
        assert_eq!(fitting(one.clone()), one);
    }

    #[test]
    fn a_headline_fits_an_sns_subject() {
        assert_eq!(
            headline("v3 rolled\nback \u{2014} now"),
            "v3 rolled back now"
        );
        let long = headline(&"word ".repeat(60));
        assert!(long.len() <= 100 && long.ends_with("..."), "{long}");
    }
}
