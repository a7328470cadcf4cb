//! Reading of fields: each comes back typed, or as an error that names its dotted path.
//!
//! Lenient where AWS varies: null and the empty text are as absent, numbers come as strings and
//! strings as numbers, and the guide's own example has a text in a list of one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{EventError, time};
use crate::name::NameError;

/// The most characters of a text that are kept where it is only for people.
const MAX_PROSE: usize = 1_000;
/// The most bytes of a text that names something: the longest ARN that AWS makes.
const MAX_TEXT: usize = 2_048;

/// An object within an event, with its path.
pub(super) struct Object<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(super) fn root(value: &'a Value) -> Result<Self, EventError> {
        match value {
            Value::Object(map) => Ok(Self {
                path: String::new(),
                map,
            }),
            other => Err(EventError::NotObject {
                found: kind_of(other),
            }),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The raw value; null is as absent.
    pub(super) fn raw(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn missing(&self, key: &str, why: &'static str) -> EventError {
        EventError::Missing {
            path: self.path(key),
            why,
        }
    }

    pub(super) fn invalid(&self, key: &str, found: &Value, expected: &str) -> EventError {
        EventError::Invalid {
            path: self.path(key),
            found: shown(found),
            expected: expected.to_owned(),
        }
    }

    /// A text that names something, at most 2,048 bytes; absent, null and empty are None.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, EventError> {
        let Some(value) = self.raw(key) else {
            return Ok(None);
        };
        let text = plain_text(value).ok_or_else(|| self.invalid(key, value, "a text"))?;
        if text.len() > MAX_TEXT {
            return Err(self.invalid(key, value, "at most 2,048 bytes long"));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    pub(super) fn need_text(&self, key: &str, why: &'static str) -> Result<String, EventError> {
        self.text(key)?.ok_or_else(|| self.missing(key, why))
    }

    /// A text for people: cut where it is long, empty where there is none.
    pub(super) fn prose(&self, key: &str) -> String {
        let text = self.raw(key).and_then(plain_text).unwrap_or_default();
        cut(&text, MAX_PROSE)
    }

    pub(super) fn need_time(&self, key: &str, why: &'static str) -> Result<Timestamp, EventError> {
        let value = self.raw(key).ok_or_else(|| self.missing(key, why))?;
        time::from_json(value).ok_or_else(|| {
            self.invalid(
                key,
                value,
                "a time: ISO 8601, or seconds or milliseconds since 1970",
            )
        })
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Object<'a>>, EventError> {
        match self.raw(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Object {
                path: self.path(key),
                map,
            })),
            Some(other) => Err(self.invalid(key, other, "an object")),
        }
    }

    pub(super) fn need_object(
        &self,
        key: &str,
        why: &'static str,
    ) -> Result<Object<'a>, EventError> {
        self.object(key)?.ok_or_else(|| self.missing(key, why))
    }

    /// An object where there is one, else None, without complaint: for hints, not for needs.
    pub(super) fn hint(&self, key: &str) -> Option<Object<'a>> {
        self.object(key).ok().flatten()
    }

    /// A text where there is one, else None, without complaint.
    pub(super) fn hint_text(&self, key: &str) -> Option<String> {
        self.text(key).ok().flatten()
    }

    /// The objects in a list; what is no object is left out.
    pub(super) fn objects(&self, key: &str) -> Vec<Object<'a>> {
        let Some(Value::Array(items)) = self.raw(key) else {
            return Vec::new();
        };
        let object = |(index, item): (usize, &'a Value)| match item {
            Value::Object(map) => Some(Object {
                path: format!("{}[{index}]", self.path(key)),
                map,
            }),
            _ => None,
        };
        items.iter().enumerate().filter_map(object).collect()
    }

    /// Pairs of texts, from a map or from a list of `{Key, Value}`, `{key, value}` or
    /// `{name, value}`; absent, null and empty are no pairs.
    pub(super) fn pairs(&self, key: &str) -> Result<BTreeMap<String, String>, EventError> {
        let Some(value) = self.raw(key) else {
            return Ok(BTreeMap::new());
        };
        let expected = "a map of texts, or a list of {Key, Value} pairs";
        let pairs = match value {
            Value::Object(map) => map
                .iter()
                .map(|(name, value)| Some((name.clone(), pair_text(Some(value))?)))
                .collect(),
            Value::Array(items) => items.iter().map(pair).collect(),
            Value::String(text) if text.is_empty() => Some(BTreeMap::new()),
            _ => None,
        };
        pairs.ok_or_else(|| self.invalid(key, value, expected))
    }

    /// A name of one of the kinds in [`crate::name`].
    pub(super) fn name<T>(
        &self,
        key: &str,
        text: &str,
        parse: fn(&str) -> Result<T, NameError>,
    ) -> Result<T, EventError> {
        parse(text).map_err(|error| EventError::Invalid {
            path: self.path(key),
            found: shown(&Value::from(text)),
            expected: format!("a name of {}: {}", error.what, error.rule),
        })
    }
}

fn pair(item: &Value) -> Option<(String, String)> {
    let item = item.as_object()?;
    let get = |names: [&str; 3]| names.iter().find_map(|name| item.get(*name));
    let key = plain_text(get(["Key", "key", "name"])?)?;
    Some((key, pair_text(get(["Value", "value", "val"]))?))
}

/// A tag may have no value; that is the empty text.
fn pair_text(value: Option<&Value>) -> Option<String> {
    value
        .filter(|value| !value.is_null())
        .map_or_else(|| Some(String::new()), plain_text)
}

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(items) => match items.as_slice() {
            [Value::String(text)] => Some(text.clone()),
            _ => None,
        },
        Value::Null | Value::Object(_) => None,
    }
}

/// A status in lower case without `_`, `-` and blanks: `IN_SERVICE` and `InService` are one.
pub(super) fn fold(status: &str) -> String {
    status
        .chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The last part of an ARN or path: `arn:...:endpoint/fraud` is `fraud`.
pub(super) fn last_part(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or(arn)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value for an error message, short and on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) | Value::Null => kind_of(value).to_owned(),
        Value::String(text) => format!("{:?}", cut(text, 80)),
        other => cut(&other.to_string(), 80),
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        let mut short: String = text.chars().take(most).collect();
        short.push('…');
        short
    }
}
