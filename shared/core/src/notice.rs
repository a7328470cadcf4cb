//! Messages for people: one headline that says what happened, a few lines that say why, and what
//! to do, if anything.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{EndpointName, GroupName, PackageVersion, PipelineName, RolloutId};

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
    /// Why, and what to do, one sentence a line; at most 20.
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
    use super::headline;

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
