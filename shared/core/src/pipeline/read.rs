//! Reading of a policy file: TOML, then the schema, then the rules between fields.

use serde::Deserialize;
use serde_json::Value;
use toml::de::DeTable;

use super::error::MAX_ERRORS;
use super::walk::{Found, Walk};
use super::{Policy, PolicyError, PolicyErrors, check, schema};

/// The most bytes of a policy file.
const MAX_BYTES: usize = 256 * 1024;

/// Reads a policy; `file` is what errors call it. All errors that can be found in one go are
/// returned, in the file's order; a file that is not TOML has just that one.
pub fn parse(text: &str, file: &str) -> Result<Policy, PolicyErrors> {
    let errors = |found: Vec<Found>| {
        let all = found.into_iter().take(MAX_ERRORS);
        let all = all.map(|it| PolicyError::new(text, file, it.span, &it.key, it.message));
        PolicyErrors(all.collect())
    };
    let one = |span: std::ops::Range<usize>, message: String| {
        errors(vec![Found {
            span,
            key: String::new(),
            message,
        }])
    };
    if text.len() > MAX_BYTES {
        let message = format!(
            "a policy has at most {MAX_BYTES} bytes; this has {}",
            text.len()
        );
        return Err(one(0..0, message));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let mut message = error.message().trim().replace('\n', "; ");
        if message.starts_with("invalid boolean") {
            message.push_str(" (a text needs quotes)");
        }
        one(error.span().unwrap_or(0..0), format!("not TOML: {message}"))
    })?;
    let mut walk = Walk::default();
    let kept = walk.table(document.get_ref(), &(0..0), schema::cached(), "");
    let policy = finish(&kept, &mut walk);
    walk.found.sort_by_key(|it| (it.span.start, it.span.end));
    match policy {
        Some(policy) if walk.found.is_empty() => Ok(policy),
        _ => Err(errors(walk.found)),
    }
}

/// The typed policy, checked between its fields, if what the walk kept makes one.
fn finish(kept: &Value, walk: &mut Walk) -> Option<Policy> {
    match Policy::deserialize(kept) {
        Ok(policy) => {
            let mut broken = Vec::new();
            check::check(&policy, |key, message| {
                broken.push((key.to_owned(), message));
            });
            let by_schema = walk.found.len();
            for (key, message) in broken {
                // What was found there was left out of the policy, so this may only follow of it.
                let inside = |it: &Found| it.key.starts_with(&key);
                if walk.found[..by_schema].iter().any(inside) {
                    continue;
                }
                let span = place(walk, &key);
                walk.error(span, &key, message);
            }
            Some(policy)
        }
        Err(error) => {
            // The walk has said what is wrong, in better words; else say what the types say.
            if walk.found.is_empty() {
                walk.error(0..0, "", error.to_string());
            }
            None
        }
    }
}

/// Where a key is; one that isn't in the file (a default) is where its table is.
fn place(walk: &Walk, key: &str) -> std::ops::Range<usize> {
    let mut key = key;
    loop {
        if let Some(span) = walk.places.get(key) {
            return span.clone();
        }
        match key.rfind('.') {
            Some(at) => key = &key[..at],
            None => return 0..0,
        }
    }
}
