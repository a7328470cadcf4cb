//! Small helpers for resources that are kept as the JSON they came with, so that a description
//! gives back every member of the request, known to the emulator or not.

use serde_json::{Map, Value};

/// The text of a member, if it is there and is text.
pub(crate) fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

/// The text of a member that validation has proved to be there; empty otherwise.
pub(crate) fn required(value: &Value, member: &str) -> String {
    text(value, member).unwrap_or_default().to_owned()
}

/// The elements of a list member; none if it is absent.
pub(crate) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value
        .get(member)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A copy of an object without some members.
pub(crate) fn without(value: &Value, members: &[&str]) -> Map<String, Value> {
    value
        .as_object()
        .map(|object| {
            object
                .iter()
                .filter(|(key, _)| !members.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        })
        .unwrap_or_default()
}

/// A copy of an object with only some members.
pub(crate) fn pick(value: &Value, members: &[&str]) -> Map<String, Value> {
    members
        .iter()
        .filter_map(|member| Some(((*member).to_owned(), value.get(member)?.clone())))
        .collect()
}

/// Removes null members, which AWS takes as absent.
pub(crate) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}
