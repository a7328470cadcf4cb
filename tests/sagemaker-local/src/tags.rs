//! Tags of resources, by ARN.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::errors::ApiError;
use crate::json::{list, required, text};
use crate::page;
use crate::world::World;

/// AWS allows this many on one resource.
const MOST_TAGS: usize = 50;

/// Every resource that exists has an entry, also one without tags.
#[derive(Debug, Default)]
pub(crate) struct Tags(BTreeMap<String, BTreeMap<String, String>>);

impl Tags {
    /// A resource comes into being, with the `Tags` of its request.
    pub(crate) fn create(&mut self, arn: &str, request: &Value) {
        self.0.insert(arn.to_owned(), parse(list(request, "Tags")));
    }

    pub(crate) fn remove(&mut self, arn: &str) {
        self.0.remove(arn);
    }

    /// As a map: how events carry tags.
    pub(crate) fn map(&self, arn: &str) -> Value {
        let tags = self.0.get(arn).into_iter().flatten();
        Value::Object(
            tags.map(|(key, value)| (key.clone(), json!(value)))
                .collect::<Map<_, _>>(),
        )
    }

    /// As a list: how requests carry them.
    pub(crate) fn pairs(&self, arn: &str) -> Vec<Value> {
        let tags = self.0.get(arn).into_iter().flatten();
        tags.map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect()
    }
}

fn parse(pairs: &[Value]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .filter_map(|pair| {
            Some((
                text(pair, "Key")?.to_owned(),
                text(pair, "Value")?.to_owned(),
            ))
        })
        .collect()
}

pub(crate) fn add(world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let arn = required(input, "ResourceArn");
    let tags = existing(world, &arn)?;
    let mut merged = tags.clone();
    merged.extend(parse(list(input, "Tags")));
    if merged.len() > MOST_TAGS {
        return Err(ApiError::limit(format!(
            "{arn} can't have more than {MOST_TAGS} tags."
        )));
    }
    *tags = merged;
    Ok(json!({"Tags": world.tags.pairs(&arn)}))
}

pub(crate) fn list_of(world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let arn = required(input, "ResourceArn");
    existing(world, &arn)?;
    page::cut(input, "Tags", world.tags.pairs(&arn), 50)
}

pub(crate) fn delete(world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let tags = existing(world, &required(input, "ResourceArn"))?;
    for key in list(input, "TagKeys").iter().filter_map(Value::as_str) {
        tags.remove(key);
    }
    Ok(json!({}))
}

fn existing<'a>(
    world: &'a mut World,
    arn: &str,
) -> Result<&'a mut BTreeMap<String, String>, ApiError> {
    world
        .tags
        .0
        .get_mut(arn)
        .ok_or_else(|| ApiError::validation(format!("Could not find resource \"{arn}\".")))
}
