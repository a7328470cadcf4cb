//! Whether a request is valid: each constraint of its shape, with the message AWS answers.
//!
//! AWS reports every broken constraint of a request at once, as `N validation errors detected:
//! Value '...' at 'path' failed to satisfy constraint: ...`, with paths in lower camel case.

use serde_json::Value;

use crate::errors::ApiError;
use crate::shapes::{Model, Shape};

/// More than this many broken constraints are not collected, as AWS too cuts its list.
const MOST_ERRORS: usize = 10;

/// Checks a request against the input shape of its operation.
pub(crate) fn request(model: &Model, shape: &str, input: &Value) -> Result<(), ApiError> {
    if !input.is_object() {
        return Err(ApiError::serialization("The request is no JSON object."));
    }
    let mut check = Check {
        model,
        errors: Vec::new(),
    };
    if !shape.is_empty() {
        check.value(shape, input, "")?;
    }
    if check.errors.is_empty() {
        return Ok(());
    }
    let count = check.errors.len();
    let plural = if count == 1 { "" } else { "s" };
    Err(ApiError::validation(format!(
        "{count} validation error{plural} detected: {}",
        check.errors.join("; ")
    )))
}

struct Check<'a> {
    model: &'a Model,
    errors: Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, name: &str, value: &Value, path: &str) -> Result<(), ApiError> {
        let Some(shape) = self.model.shapes.get(name) else {
            return Ok(());
        };
        match shape.kind.as_str() {
            "structure" => self.structure(shape, value, path),
            "list" => self.list(shape, value, path),
            "map" => self.map(shape, value, path),
            "string" => {
                let text = value.as_str().ok_or_else(|| wrong_type(path, "a string"))?;
                for constraint in broken_by(shape, text) {
                    self.broken(text, path, &constraint);
                }
                Ok(())
            }
            "integer" | "long" => {
                let number = value
                    .as_f64()
                    .filter(|number| number.fract() == 0.0)
                    .ok_or_else(|| wrong_type(path, "a whole number"))?;
                self.number(shape, number, path);
                Ok(())
            }
            "float" | "double" => {
                let number = value.as_f64().ok_or_else(|| wrong_type(path, "a number"))?;
                self.number(shape, number, path);
                Ok(())
            }
            "timestamp" if !value.is_number() => Err(wrong_type(path, "a time in epoch seconds")),
            "boolean" if !value.is_boolean() => Err(wrong_type(path, "true or false")),
            _ => Ok(()),
        }
    }

    fn structure(&mut self, shape: &Shape, value: &Value, path: &str) -> Result<(), ApiError> {
        let object = value
            .as_object()
            .ok_or_else(|| wrong_type(path, "an object"))?;
        for required in &shape.required {
            if !object.contains_key(required) {
                let at = join(path, required);
                self.push(format!(
                    "Value null at '{at}' failed to satisfy constraint: Member must not be null"
                ));
            }
        }
        for (member, value) in object {
            // AWS ignores members that it does not know.
            if let Some(reference) = shape.members.get(member) {
                self.value(&reference.shape, value, &join(path, member))?;
            }
        }
        Ok(())
    }

    fn list(&mut self, shape: &Shape, value: &Value, path: &str) -> Result<(), ApiError> {
        let items = value.as_array().ok_or_else(|| wrong_type(path, "a list"))?;
        self.length(shape, items.len(), value, path);
        if let Some(member) = &shape.member {
            for (index, item) in items.iter().enumerate() {
                self.value(&member.shape, item, &format!("{path}.{}.member", index + 1))?;
            }
        }
        Ok(())
    }

    fn map(&mut self, shape: &Shape, value: &Value, path: &str) -> Result<(), ApiError> {
        let object = value
            .as_object()
            .ok_or_else(|| wrong_type(path, "an object"))?;
        self.length(shape, object.len(), value, path);
        for (key, item) in object {
            if let Some(reference) = &shape.key {
                self.entry("key", &reference.shape, key, value, path);
            }
            let Some(reference) = &shape.value else {
                continue;
            };
            match self.model.shapes.get(&reference.shape) {
                Some(inner) if inner.kind == "string" => {
                    let text = item
                        .as_str()
                        .ok_or_else(|| wrong_type(path, "a map of strings"))?;
                    self.entry("value", &reference.shape, text, value, path);
                }
                _ => self.value(&reference.shape, item, &format!("{path}.{key}.member"))?,
            }
        }
        Ok(())
    }

    /// Constraints on a map's keys and values are reported for the map as a whole.
    fn entry(&mut self, which: &str, name: &str, text: &str, map: &Value, path: &str) {
        let Some(shape) = self.model.shapes.get(name) else {
            return;
        };
        let constraints = broken_by(shape, text);
        if !constraints.is_empty() {
            let shown = show(map);
            let constraint = format!(
                "Map {which} must satisfy constraint: [{}]",
                constraints.join(", ")
            );
            self.broken(&shown, path, &constraint);
        }
    }

    fn number(&mut self, shape: &Shape, number: f64, path: &str) {
        if let Some(max) = shape.max.filter(|max| number > *max) {
            self.broken(
                &number.to_string(),
                path,
                &format!("Member must have value less than or equal to {max}"),
            );
        }
        if let Some(min) = shape.min.filter(|min| number < *min) {
            self.broken(
                &number.to_string(),
                path,
                &format!("Member must have value greater than or equal to {min}"),
            );
        }
    }

    fn length(&mut self, shape: &Shape, length: usize, value: &Value, path: &str) {
        let length = small(length);
        if let Some(max) = shape.max.filter(|max| length > *max) {
            self.broken(
                &show(value),
                path,
                &format!("Member must have length less than or equal to {max}"),
            );
        }
        if let Some(min) = shape.min.filter(|min| length < *min) {
            self.broken(
                &show(value),
                path,
                &format!("Member must have length greater than or equal to {min}"),
            );
        }
    }

    fn broken(&mut self, value: &str, path: &str, constraint: &str) {
        self.push(format!(
            "Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"
        ));
    }

    fn push(&mut self, error: String) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(error);
        }
    }
}

/// The constraints of its shape that a text breaks.
fn broken_by(shape: &Shape, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let length = small(text.chars().count());
    if let Some(max) = shape.max.filter(|max| length > *max) {
        broken.push(format!(
            "Member must have length less than or equal to {max}"
        ));
    }
    if let Some(min) = shape.min.filter(|min| length < *min) {
        broken.push(format!(
            "Member must have length greater than or equal to {min}"
        ));
    }
    if !shape.matches(text) {
        let pattern = shape.pattern.as_deref().unwrap_or_default();
        broken.push(format!(
            "Member must satisfy regular expression pattern: {pattern}"
        ));
    }
    if !shape.values.is_empty() && !shape.values.iter().any(|value| value == text) {
        broken.push(format!(
            "Member must satisfy enum value set: [{}]",
            shape.values.join(", ")
        ));
    }
    broken
}

fn wrong_type(path: &str, expected: &str) -> ApiError {
    ApiError::serialization(format!("'{path}' must be {expected}."))
}

fn join(path: &str, member: &str) -> String {
    let mut letters = member.chars();
    let lower: String = letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default();
    if path.is_empty() {
        lower
    } else {
        format!("{path}.{lower}")
    }
}

fn show(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 200 {
        let end = (0..=200)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// Lengths are small; a float holds them exactly.
#[allow(clippy::cast_precision_loss)]
fn small(length: usize) -> f64 {
    length as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model() -> Model {
        serde_json::from_value(json!({
            "operations": {"Create": {"input": {"shape": "Input"}}},
            "shapes": {
                "Input": {"type": "structure", "required": ["Name"], "members": {
                    "Name": {"shape": "Name"}, "Variants": {"shape": "Variants"}, "Count": {"shape": "Count"}}},
                "Name": {"type": "string", "max": 5},
                "Variants": {"type": "list", "min": 1, "member": {"shape": "Variant"}},
                "Variant": {"type": "structure", "members": {"Mode": {"shape": "Mode"}}},
                "Mode": {"type": "string", "enum": ["A", "B"]},
                "Count": {"type": "integer", "min": 1}
            }
        }))
        .unwrap()
    }

    #[test]
    fn every_broken_constraint_is_reported_at_its_path() {
        let input = json!({"Variants": [{"Mode": "C"}], "Count": 0});
        let error = request(&model(), "Input", &input).unwrap_err();
        assert_eq!(error.code, "ValidationException");
        assert!(
            error.message.starts_with("3 validation errors detected: "),
            "{error}"
        );
        assert!(error.message.contains(
            "Value null at 'name' failed to satisfy constraint: Member must not be null"
        ));
        assert!(error.message.contains("Value 'C' at 'variants.1.member.mode' failed to satisfy constraint: Member must satisfy enum value set: [A, B]"));
        assert!(error.message.contains("Value '0' at 'count'"));
    }

    #[test]
    fn members_that_aws_does_not_know_are_ignored() {
        assert_eq!(
            request(&model(), "Input", &json!({"Name": "x", "New": 1})),
            Ok(())
        );
    }

    #[test]
    fn a_wrong_type_is_a_serialization_error() {
        let error = request(&model(), "Input", &json!({"Name": 5})).unwrap_err();
        assert_eq!(error.code, "SerializationException");
    }
}
