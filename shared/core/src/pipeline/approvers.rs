//! `[approval]`: whose approval counts, wherever it is given: in the console, by the SDK, by a link.
//!
//! Who approved is what `DescribeModelPackage` says (`LastModifiedBy`): a Studio user profile's name,
//! else the ARN of the IAM principal, with its session. Tags are those that IAM keeps of the role or
//! the user; it knows nothing of a session's.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Whose approval counts. The gate's own approval (`approval = "automatic"`) always does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Approvers {
    /// Principals' ARNs or Studio user profiles' names, `*` for any characters; a role stands for
    /// all its sessions. None, and no `tags`, means anybody who may change the package. At most 50.
    #[schemars(schema_with = "schema::principals")]
    pub by: Vec<String>,
    /// Tags of the role or the user who approves; all have to be there. Who fits `by` or these may
    /// approve. At most 5.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::tags")]
    pub tags: BTreeMap<String, String>,
    /// How many different people have to approve, 1 to 5.
    #[schemars(range(min = 1, max = 5))]
    pub people: u8,
    /// Who started the training job may not approve its model.
    pub not_the_trainer: bool,
}

impl Default for Approvers {
    fn default() -> Self {
        Self {
            by: Vec::new(),
            tags: BTreeMap::new(),
            people: 1,
            not_the_trainer: false,
        }
    }
}

impl Approvers {
    /// Whether it does not matter who approves.
    pub fn are_anyone(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this person's approval counts by `by`, whatever their tags are.
    pub fn include(&self, who: &str) -> bool {
        let role = role_of(who);
        let fits = |pattern: &String| {
            matches(pattern, who) || role.as_ref().is_some_and(|role| matches(pattern, role))
        };
        (self.by.is_empty() && self.tags.is_empty()) || self.by.iter().any(fits)
    }

    /// The first of the `tags` asked for that is not among those that a principal has. IAM does not
    /// tell upper from lower case in a tag's key, but does in its value.
    pub(crate) fn lacking(&self, has: &BTreeMap<String, String>) -> Option<(&str, &str)> {
        let is_had = |(key, value): &(&String, &String)| {
            has.iter().any(|(k, v)| v == *value && is_same_key(k, key))
        };
        let lacking = self.tags.iter().find(|asked| !is_had(asked))?;
        Some((lacking.0, lacking.1))
    }
}

/// Whether two keys are those of one tag in IAM.
pub(crate) fn is_same_key(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The role whose session this is; `STS` leaves the path of a role out of a session's ARN.
fn role_of(who: &str) -> Option<String> {
    let (before, rest) = who.split_once(":sts::")?;
    let (account, session) = rest.split_once(":assumed-role/")?;
    let (role, _) = session.split_once('/')?;
    Some(format!("{before}:iam::{account}:role/{role}"))
}

/// Whether a text is as the pattern says, `*` standing for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "arn:aws:sts::123456789012:assumed-role/approvers/ada";

    fn by(pattern: &str) -> Approvers {
        Approvers {
            by: vec![pattern.to_owned()],
            ..Approvers::default()
        }
    }

    #[test]
    fn a_role_stands_for_its_sessions_and_nobody_else() {
        for (pattern, who, fits) in [
            (ADA, ADA, true),
            ("arn:aws:iam::123456789012:role/approvers", ADA, true),
            ("arn:aws:iam::*:role/appr*", ADA, true),
            ("*assumed-role/approvers/*", ADA, true),
            ("arn:aws:iam::123456789012:role/approve", ADA, false),
            ("arn:aws:iam::999999999999:role/approvers", ADA, false),
            ("ada", "ada", true),
            ("ada", "adam", false),
            ("*", "", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(by(pattern).include(who), fits, "{pattern} {who}");
        }
        assert!(Approvers::default().include(ADA));
    }

    #[test]
    fn all_tags_have_to_be_there_and_keys_have_no_case() {
        let tags = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            pairs.iter().map(owned).collect()
        };
        let rule = Approvers {
            tags: tags(&[("level", "2"), ("team", "risk")]),
            ..Approvers::default()
        };
        assert!(!rule.include(ADA) && !rule.are_anyone());
        let both = tags(&[("Team", "risk"), ("level", "2"), ("x", "y")]);
        assert_eq!(rule.lacking(&both), None);
        let one = tags(&[("level", "2"), ("team", "Risk")]);
        assert_eq!(rule.lacking(&one), Some(("team", "risk")));
        assert_eq!(rule.lacking(&tags(&[])), Some(("level", "2")));
    }
}
