//! Resources without a life of their own: models and endpoint configs. They are kept as the
//! request that made them, and a description gives it all back.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::moment::Moment;

/// Resources of one kind by name.
pub(crate) type Resources = BTreeMap<String, Resource>;

/// One resource.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) arn: String,
    pub(crate) created: Moment,
    /// The request, without tags.
    pub(crate) body: Map<String, Value>,
}

impl Resource {
    /// The request with the members that AWS adds.
    pub(crate) fn describe(&self, arn_member: &str) -> Value {
        let mut body = self.body.clone();
        body.insert(arn_member.to_owned(), Value::String(self.arn.clone()));
        body.insert("CreationTime".to_owned(), self.created.json());
        Value::Object(body)
    }
}
