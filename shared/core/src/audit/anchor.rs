//! Anchors: what the ends of all audit trails were at a time, kept where who can write to the ledger
//! can't. An entry that was anchored can't be rewritten unnoticed, whatever is hashed anew.
//!
//! They are lines of JSON, as `housekeeping` logs them; `docs/verify_audit.py` reads them too.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Hash, Tip};
use crate::name::GroupName;

/// What tells an anchor from other lines of a log.
pub const ANCHOR: &str = "audit anchor";

/// The start of the keys of all anchors in their bucket.
pub const ANCHORS: &str = "anchors/";

/// How deep a document is looked through: `aws logs` answers with lines in texts in a list.
const DEEPEST: u8 = 8;

/// What an entry was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The group, one trail each.
    pub group: GroupName,
    /// The entry's number, from 1; 0 is a trail without entries.
    pub n: u64,
    /// Its hash.
    pub hash: Hash,
    /// When it was the last one; not in lines of a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// The ends of all trails at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchors {
    /// When.
    pub at: Timestamp,
    /// The ends; at most 10,000, some 250 bytes a line.
    pub ends: Vec<(GroupName, Tip)>,
}

impl Anchors {
    /// The key that they are kept under, one for each hour.
    pub fn key(&self) -> String {
        // RFC 3339, in UTC, up to the hour.
        let hour: String = self.at.to_string().chars().take(13).collect();
        format!("{ANCHORS}{hour}Z.jsonl")
    }

    /// A line of JSON for each.
    pub fn lines(&self) -> String {
        let line = |(group, tip): &(GroupName, Tip)| {
            let line = json!({
                "message": ANCHOR,
                "at": self.at,
                "group": group,
                "n": tip.n,
                "hash": tip.hash,
            });
            format!("{line}\n")
        };
        self.ends.iter().map(line).collect()
    }
}

/// The anchors in a text: lines of JSON, or one document such as `aws logs filter-log-events`
/// answers. What is no anchor is passed over.
///
/// # Errors
/// What is not JSON, or says that it is an anchor and is none.
pub fn anchors_in(text: &str) -> Result<Vec<Anchor>, serde_json::Error> {
    let mut found = Vec::new();
    if let Ok(document) = serde_json::from_str::<Value>(text) {
        gather(&document, DEEPEST, &mut found)?;
        return Ok(found);
    }
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        gather(&serde_json::from_str(line)?, DEEPEST, &mut found)?;
    }
    Ok(found)
}

fn gather(value: &Value, deepest: u8, found: &mut Vec<Anchor>) -> Result<(), serde_json::Error> {
    let Some(deeper) = deepest.checked_sub(1) else {
        return Ok(());
    };
    match value {
        Value::Object(map) if map.get("message").and_then(Value::as_str) == Some(ANCHOR) => {
            found.push(Anchor::deserialize(value)?);
            Ok(())
        }
        Value::Object(map) => map.values().try_for_each(|v| gather(v, deeper, found)),
        Value::Array(list) => list.iter().try_for_each(|v| gather(v, deeper, found)),
        // A line of a log is a text in what `aws logs` answers, and may be no JSON.
        Value::String(text) if text.contains(ANCHOR) => match serde_json::from_str::<Value>(text) {
            Ok(value) if !value.is_string() => gather(&value, deeper, found),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn anchors() -> Anchors {
        let group = |name| GroupName::parse(name).unwrap();
        Anchors {
            at: "2026-11-28T10:02:03Z".parse().unwrap(),
            ends: vec![
                (group("fraud"), Tip::default()),
                (group("churn"), Tip::default()),
            ],
        }
    }

    #[test]
    fn an_hour_has_one_key_and_all_ends_in_it_are_read_again() {
        let anchors = anchors();
        assert_eq!(anchors.key(), "anchors/2026-11-28T10Z.jsonl");
        let read = anchors_in(&anchors.lines()).unwrap();
        let groups: Vec<&str> = read.iter().map(|a| a.group.as_str()).collect();
        assert_eq!(groups, ["fraud", "churn"]);
        assert!(read.iter().all(|a| a.at == Some(anchors.at) && a.n == 0));
    }

    #[test]
    fn lines_of_a_log_are_read_as_they_are_answered() {
        let line = format!(
            r#"{{"level":"INFO","message":"audit anchor","group":"fraud","n":7,"hash":"{}"}}"#,
            Tip::default().hash
        );
        let answer = serde_json::json!({ "events": [
            { "timestamp": 1, "message": line },
            { "timestamp": 2, "message": "no audit anchors now" },
        ] });
        let read = anchors_in(&answer.to_string()).unwrap();
        assert_eq!((read.len(), read[0].n, read[0].at), (1, 7, None));
        assert!(anchors_in("no JSON").is_err());
        assert!(anchors_in(r#"{"message":"audit anchor","n":-1}"#).is_err());
        assert_eq!(anchors_in("").unwrap(), []);
    }
}
