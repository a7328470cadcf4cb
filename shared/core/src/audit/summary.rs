//! Facts that are too long for an entry: what fits of them, and the hash of all.

use serde_json::{Map, Value, json};

use super::{Hash, LONGEST_FACTS, written};
use crate::bounds::cut;

/// How much of long facts is kept, the first that fits: items of each list and object, and bytes of
/// each text.
const KEPT: [(usize, usize); 3] = [(100, 500), (30, 200), (10, 100)];

/// The facts, or a summary of them if they are too long.
pub(super) fn bounded(facts: Value) -> Value {
    let text = written(&facts);
    if text.len() <= LONGEST_FACTS {
        return facts;
    }
    let mut about = json!({
        "sha256": Hash::of_text(&text).as_str(),
        "bytes": text.len(),
        "note": "the facts were too long for the audit trail; this is the hash of their JSON, and \
                 what fits of them",
    });
    // By these each change that AWS sees is found in the trail.
    if let Some(calls) = facts.get("calls") {
        about["calls"] = shortened(calls, 60, 200);
    }
    let with = |(items, bytes)| {
        let mut about = about.clone();
        about["summary"] = shortened(&facts, items, bytes);
        about
    };
    let fits = |it: &Value| written(it).len() <= LONGEST_FACTS;
    KEPT.into_iter().map(with).find(fits).unwrap_or(about)
}

/// At most `items` of each list and object, and of each text at most `bytes`; what is left out is
/// counted.
fn shortened(value: &Value, items: usize, bytes: usize) -> Value {
    let more = |n: usize| format!("… ({} more)", n - items);
    match value {
        Value::String(text) => cut(text, bytes).into(),
        Value::Array(list) => {
            let first = list.iter().take(items);
            let mut kept: Vec<Value> = first.map(|v| shortened(v, items, bytes)).collect();
            if list.len() > items {
                kept.push(more(list.len()).into());
            }
            kept.into()
        }
        Value::Object(map) => {
            let first = map.iter().take(items);
            let mut kept: Map<String, Value> = first
                .map(|(key, v)| (cut(key, bytes), shortened(v, items, bytes)))
                .collect();
            if map.len() > items {
                kept.insert(more(map.len()), Value::Null);
            }
            kept.into()
        }
        other => other.clone(),
    }
}
