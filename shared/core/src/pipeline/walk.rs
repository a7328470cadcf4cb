//! Checks a parsed TOML document against the policy's schema and gathers every error with its
//! place. What is left after the errors is handed on as JSON, so that the checks between fields
//! can still run where only a range or an unknown key was wrong.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::form::Form;

/// An error found, without its file.
pub(super) struct Found {
    pub(super) span: Range<usize>,
    pub(super) key: String,
    pub(super) message: String,
}

/// What the walk gathers.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) found: Vec<Found>,
    /// Where each dotted key's value is.
    pub(super) places: BTreeMap<String, Range<usize>>,
}

impl Walk {
    pub(super) fn error(&mut self, span: Range<usize>, key: &str, message: impl Into<String>) {
        self.found.push(Found {
            span,
            key: key.to_owned(),
            message: message.into(),
        });
    }

    /// Checks a table. `at` is where it is said to begin.
    pub(super) fn table(
        &mut self,
        table: &DeTable<'_>,
        at: &Range<usize>,
        schema: &Value,
        path: &str,
    ) -> Value {
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let others = schema
            .get("additionalProperties")
            .filter(|it| it.is_object());
        let names = &schema["propertyNames"];
        let mut kept = Map::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let dotted = join(path, name);
            if let Some(schema) = properties.get(name).or(others) {
                let free = !properties.contains_key(name);
                let usable = !free || self.text(name, &key.span(), names, &dotted);
                if let Some(value) = self.value(value, schema, &dotted).filter(|_| usable) {
                    kept.insert(name.to_owned(), value);
                }
            } else {
                self.error(key.span(), &dotted, unknown_key(name, properties));
            }
        }
        self.required(table, at, schema, path);
        if let Some(most) = schema["maxProperties"].as_u64()
            && table.len() as u64 > most
        {
            self.error(
                at.clone(),
                path,
                format!("has {} entries; at most {most} are allowed", table.len()),
            );
        }
        Value::Object(kept)
    }

    fn required(&mut self, table: &DeTable<'_>, at: &Range<usize>, schema: &Value, path: &str) {
        for name in strings(&schema["required"]) {
            if !table.contains_key(name) {
                let what = missing(&schema["properties"][name]);
                self.error(at.clone(), &join(path, name), what);
            }
        }
        for (rule, least, most) in [("oneOf", 1, 1), ("anyOf", 1, usize::MAX)] {
            let names: Vec<&str> = schema[rule]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|branch| strings(&branch["required"]))
                .collect();
            let given = names
                .iter()
                .filter(|name| table.contains_key(**name))
                .count();
            if names.is_empty() || (least..=most).contains(&given) {
                continue;
            }
            let listed = quoted(&names);
            let message = match (given, most) {
                (0, 1) => format!("give one of {listed}"),
                (0, _) => format!("give at least one of {listed}"),
                _ => format!("give only one of {listed}"),
            };
            self.error(at.clone(), path, message);
        }
    }

    fn value(&mut self, node: &Spanned<DeValue<'_>>, schema: &Value, path: &str) -> Option<Value> {
        let span = node.span();
        self.places.insert(path.to_owned(), span.clone());
        let kind = kind_of(schema);
        match (kind, node.get_ref()) {
            ("object", DeValue::Table(table)) => Some(self.table(table, &span, schema, path)),
            ("array", DeValue::Array(items)) => {
                self.count(items.len(), schema, &span, path);
                let values: Vec<Option<Value>> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        self.value(item, &schema["items"], &format!("{path}[{index}]"))
                    })
                    .collect();
                values
                    .into_iter()
                    .collect::<Option<Vec<_>>>()
                    .map(Value::Array)
            }
            ("string", DeValue::String(text)) => self
                .text(text, &span, schema, path)
                .then(|| Value::from(text.as_ref())),
            ("boolean", DeValue::Boolean(flag)) => Some(Value::from(*flag)),
            ("integer" | "number", DeValue::Integer(integer)) => {
                let Ok(number) = i64::from_str_radix(integer.as_str(), integer.radix()) else {
                    self.error(span, path, "is too large a number");
                    return None;
                };
                #[allow(clippy::cast_precision_loss)] // bounds are far below 2^52
                self.range(number as f64, schema, span, path)
                    .then(|| Value::from(number))
            }
            ("number", DeValue::Float(float)) => {
                let number: f64 = float.as_str().parse().unwrap_or(f64::NAN);
                let finite = Number::from_f64(number);
                if finite.is_none() {
                    self.error(span, path, "is not a finite number");
                    return None;
                }
                self.range(number, schema, span, path)
                    .then_some(finite)
                    .flatten()
                    .map(Value::Number)
            }
            (expected, other) => {
                let found = article(other.type_str());
                let wanted = match expected {
                    "object" => self::expected(schema),
                    _ => toml_word(expected).to_owned(),
                };
                self.error(span, path, format!("is {found}; expected {wanted}"));
                None
            }
        }
    }

    /// Whether the text is usable; what is wrong with it is an error.
    fn text(&mut self, text: &str, span: &Range<usize>, schema: &Value, path: &str) -> bool {
        let choices = choices(schema);
        if !choices.is_empty() {
            if choices.contains(&text) {
                return true;
            }
            let hint = nearest(text, choices.iter().copied())
                .map(|near| format!("; did you mean {near:?}?"))
                .unwrap_or_default();
            let message = format!(
                "is {}; expected one of {}{hint}",
                short(text),
                quoted(&choices)
            );
            self.error(span.clone(), path, message);
            return false;
        }
        if let Some(form) = schema["format"].as_str().and_then(Form::named) {
            if !form.fits(text) {
                let message = format!("is {}; expected {}", short(text), form.rule);
                self.error(span.clone(), path, message);
                return false;
            }
        } else if let Some(most) = schema["maxLength"].as_u64()
            && text.chars().count() as u64 > most
        {
            self.error(
                span.clone(),
                path,
                format!("is longer than {most} characters"),
            );
            return false;
        }
        true
    }

    fn range(&mut self, number: f64, schema: &Value, span: Range<usize>, path: &str) -> bool {
        let bound = |name: &str| schema[name].as_f64();
        let above = bound("exclusiveMinimum");
        let below = bound("exclusiveMaximum");
        let (least, most) = (bound("minimum"), bound("maximum"));
        let fits = least.is_none_or(|least| number >= least)
            && most.is_none_or(|most| number <= most)
            && above.is_none_or(|above| number > above)
            && below.is_none_or(|below| number < below);
        if !fits {
            let rule = match (least, most, above, below) {
                (Some(least), Some(most), ..) => format!("expected {least} to {most}"),
                (.., Some(above), Some(below)) => {
                    format!("expected more than {above} and less than {below}")
                }
                (Some(least), ..) => format!("expected {least} or more"),
                (_, Some(most), ..) => format!("expected {most} or less"),
                _ => "out of range".to_owned(),
            };
            self.error(span, path, format!("is {number}; {rule}"));
        }
        fits
    }

    fn count(&mut self, count: usize, schema: &Value, span: &Range<usize>, path: &str) {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
        if !(least..=most).contains(&(count as u64)) {
            let rule = if (count as u64) < least {
                format!("expected {least} or more")
            } else {
                format!("expected {most} or fewer")
            };
            self.error(span.clone(), path, format!("has {count} entries; {rule}"));
        }
    }
}

/// The dotted key; a part with other than bare characters is quoted, as in TOML.
pub(super) fn join(path: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let name = if bare { name.to_owned() } else { short(name) };
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

fn kind_of(schema: &Value) -> &str {
    schema["type"].as_str().unwrap_or_else(|| {
        // An enum of documented texts is a `oneOf` without a type of its own.
        if choices(schema).is_empty() {
            ""
        } else {
            "string"
        }
    })
}

fn choices(schema: &Value) -> Vec<&str> {
    let documented = schema["oneOf"].as_array().into_iter().flatten();
    documented
        .filter_map(|branch| branch["const"].as_str())
        .chain(strings(&schema["enum"]))
        .collect()
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// What is to be written where a key is missing: its rule, and what the schema says of it.
fn missing(schema: &Value) -> String {
    let said = schema["description"].as_str().unwrap_or_default();
    let said = said.trim_end_matches('.').replace('\n', " ");
    let said = if said.is_empty() {
        said
    } else {
        format!(" ({})", uncapitalized(&said))
    };
    format!("is missing; expected {}{said}", expected(schema))
}

fn expected(schema: &Value) -> String {
    let choices = choices(schema);
    if !choices.is_empty() {
        return format!("one of {}", quoted(&choices));
    }
    if let Some(form) = schema["format"].as_str().and_then(Form::named) {
        return form.rule.to_owned();
    }
    match (kind_of(schema), schema["examples"][0].as_object()) {
        ("object", Some(example)) => {
            let each = example
                .iter()
                .map(|(key, value)| format!("{key} = {value}"));
            format!(
                "a table such as {{ {} }}",
                each.collect::<Vec<_>>().join(", ")
            )
        }
        (kind @ ("integer" | "number"), _) => match (&schema["minimum"], &schema["maximum"]) {
            (Value::Number(least), Value::Number(most)) => format!("{least} to {most}"),
            _ => toml_word(kind).to_owned(),
        },
        ("array", _) if kind_of(&schema["items"]) == "object" => "one table or more".to_owned(),
        (kind, _) => toml_word(kind).to_owned(),
    }
}

/// The text as the middle of a sentence; what begins with more than one capital stays.
fn uncapitalized(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(next)) if next.is_lowercase() || next == ' ' => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

fn unknown_key(name: &str, properties: &Map<String, Value>) -> String {
    if let Some(near) = nearest(name, properties.keys().map(String::as_str)) {
        return format!("unknown key; did you mean {near:?}?");
    }
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    format!("unknown key; the keys here are {}", quoted(&names))
}

/// The candidate most like `name`, if one is like it at all.
fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > 64 {
        return None;
    }
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn quoted(names: &[&str]) -> String {
    let all: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    all.join(", ")
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

fn toml_word(kind: &str) -> &str {
    match kind {
        "object" => "a table",
        "array" => "an array",
        "string" => "a string",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}
