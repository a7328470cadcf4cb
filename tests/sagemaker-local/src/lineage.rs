//! ML lineage: artifacts, actions, contexts and trial components, and the associations between them.
//!
//! Source: the API reference of their operations. There is one artifact of a source; actions and
//! contexts have names of their own. What is there already is refused; in which words, no page says.
//! What SageMaker makes by itself is in `automatic.rs`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value, json};

use crate::arn;
use crate::errors::ApiError;
use crate::json::{list, pick, required, text};
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::world::World;

pub(crate) mod automatic;

/// AWS allows this many that a user makes of each kind: artifacts, actions, contexts, associations.
const MOST: [usize; 4] = [6_000, 3_000, 500, 6_000];

/// The graph.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    /// By ARN.
    nodes: BTreeMap<String, Node>,
    edges: Vec<Edge>,
}

#[derive(Debug)]
struct Node {
    what: What,
    arn: String,
    name: Option<String>,
    kind: String,
    /// `Source`, with `SourceUri`.
    source: Value,
    created: Moment,
    /// Who made it; nobody if SageMaker did.
    by: Option<Value>,
    /// Properties, description, status and the like.
    body: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Artifact,
    Action,
    Context,
    Component,
}

#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    kind: Option<String>,
    at: Moment,
    by: Option<Value>,
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::Action => "action",
            Self::Context => "context",
            Self::Component => "experiment-trial-component",
        }
    }

    /// What its members' names begin with.
    const fn member(self) -> &'static str {
        match self {
            Self::Artifact => "Artifact",
            Self::Action => "Action",
            Self::Context => "Context",
            Self::Component => "TrialComponent",
        }
    }
}

impl Node {
    fn source_uri(&self) -> &str {
        text(&self.source, "SourceUri").unwrap_or_default()
    }

    fn summary(&self) -> Map<String, Value> {
        let member = self.what.member();
        let mut body = Map::new();
        body.insert(format!("{member}Arn"), json!(self.arn));
        if let Some(name) = &self.name {
            body.insert(format!("{member}Name"), json!(name));
        }
        if self.what == What::Component {
            let source = json!({"SourceArn": self.source_uri(), "SourceType": self.kind});
            body.insert("TrialComponentSource".into(), source);
        } else {
            body.insert("Source".into(), self.source.clone());
            body.insert(format!("{member}Type"), json!(self.kind));
        }
        body.insert("CreationTime".into(), self.created.json());
        body.insert("LastModifiedTime".into(), self.created.json());
        body
    }

    fn describe(&self) -> Value {
        let mut body = self.summary();
        body.extend(self.body.clone());
        body.extend(
            self.by
                .iter()
                .map(|by| ("CreatedBy".to_owned(), by.clone())),
        );
        Value::Object(body)
    }

    fn row(&self) -> Row {
        Row {
            name: self.name.clone().unwrap_or_default(),
            status: String::new(),
            created: self.created,
            modified: self.created,
            summary: Value::Object(self.summary()),
        }
    }
}

impl Lineage {
    fn count(&self, what: What) -> usize {
        let ours = |node: &&Node| node.what == what && node.by.is_some();
        self.nodes.values().filter(ours).count()
    }
}

/// An artifact's ARN is made of what it is of, the others' of their names.
fn arn_of(what: What, key: &str) -> String {
    let part = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, key).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    match what {
        What::Artifact => arn::sagemaker("artifact", &format!("{}{}", part(0), part(1))),
        _ => arn::sagemaker(what.word(), key),
    }
}

pub(crate) fn create_artifact(
    call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let source = required(&input["Source"], "SourceUri");
    create(call, world, input, What::Artifact, &source)
}

pub(crate) fn create_action(
    call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let name = required(input, "ActionName");
    create(call, world, input, What::Action, &name)
}

pub(crate) fn create_context(
    call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let name = required(input, "ContextName");
    create(call, world, input, What::Context, &name)
}

fn create(
    call: &Call,
    world: &mut World,
    input: &Value,
    what: What,
    key: &str,
) -> Result<Value, ApiError> {
    let member = what.member();
    let arn = arn_of(what, key);
    if world.lineage.nodes.contains_key(&arn) {
        return Err(ApiError::validation(format!(
            "{member} already exists: {arn}"
        )));
    }
    let most = match what {
        What::Artifact => MOST[0],
        What::Action => MOST[1],
        What::Context | What::Component => MOST[2],
    };
    if world.lineage.count(what) >= most {
        return Err(ApiError::limit(format!(
            "The account-level service limit for {}s is {most}.",
            what.word()
        )));
    }
    let kept = ["Description", "Status", "Properties", "MetadataProperties"];
    let node = Node {
        what,
        arn: arn.clone(),
        name: text(input, &format!("{member}Name")).map(str::to_owned),
        kind: required(input, &format!("{member}Type")),
        source: input["Source"].clone(),
        created: call.now,
        by: Some(call.user()),
        body: pick(input, &kept),
    };
    world.tags.create(&arn, input);
    world.lineage.nodes.insert(arn.clone(), node);
    let mut answer = Map::new();
    answer.insert(format!("{member}Arn"), json!(arn));
    Ok(Value::Object(answer))
}

pub(crate) fn describe_artifact(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    describe(world, What::Artifact, &required(input, "ArtifactArn"))
}

pub(crate) fn describe_action(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    describe(world, What::Action, &required(input, "ActionName"))
}

pub(crate) fn describe_context(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    describe(world, What::Context, &required(input, "ContextName"))
}

fn describe(world: &World, what: What, name_or_arn: &str) -> Result<Value, ApiError> {
    let arn = if name_or_arn.starts_with("arn:") {
        name_or_arn.to_owned()
    } else {
        arn_of(what, name_or_arn)
    };
    let node = world.lineage.nodes.get(&arn).filter(|n| n.what == what);
    node.map(Node::describe).ok_or_else(|| missing(&arn))
}

fn missing(arn: &str) -> ApiError {
    ApiError::not_found(format!("{arn} does not exist."))
}

pub(crate) fn list_artifacts(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    list_of(world, input, What::Artifact, "ArtifactSummaries")
}

pub(crate) fn list_contexts(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    list_of(world, input, What::Context, "ContextSummaries")
}

pub(crate) fn list_components(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    list_of(world, input, What::Component, "TrialComponentSummaries")
}

fn list_of(world: &World, input: &Value, what: What, member: &str) -> Result<Value, ApiError> {
    let source = text(input, "SourceUri").or_else(|| text(input, "SourceArn"));
    let kind = text(input, &format!("{}Type", what.member()));
    let is_asked = |node: &&Node| {
        node.what == what
            && source.is_none_or(|source| node.source_uri() == source)
            && kind.is_none_or(|kind| node.kind == kind)
    };
    let nodes = world.lineage.nodes.values().filter(is_asked);
    page::answer(
        input,
        member,
        nodes.map(Node::row).collect(),
        Order::Descending,
    )
}

pub(crate) fn add_association(
    call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let (from, to) = (
        required(input, "SourceArn"),
        required(input, "DestinationArn"),
    );
    let lineage = &mut world.lineage;
    for arn in [&from, &to] {
        if !lineage.nodes.contains_key(arn) {
            return Err(missing(arn));
        }
    }
    if from == to || [&from, &to].iter().all(|arn| arn.contains(":experiment")) {
        return Err(ApiError::validation(format!(
            "{from} can't be associated with {to}."
        )));
    }
    if lineage.edges.iter().any(|e| e.from == from && e.to == to) {
        return Err(ApiError::validation(format!(
            "Association between {from} and {to} already exists."
        )));
    }
    let ours = lineage.edges.iter().filter(|e| e.by.is_some()).count();
    if ours >= MOST[3] {
        return Err(ApiError::limit(format!(
            "The account-level service limit for associations is {}.",
            MOST[3]
        )));
    }
    lineage.edges.push(Edge {
        from: from.clone(),
        to: to.clone(),
        kind: text(input, "AssociationType").map(str::to_owned),
        at: call.now,
        by: Some(call.user()),
    });
    Ok(json!({"SourceArn": from, "DestinationArn": to}))
}

pub(crate) fn list_associations(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let lineage = &world.lineage;
    let is = |member: &str, value: &str| text(input, member).is_none_or(|asked| asked == value);
    let mut edges: Vec<&Edge> = lineage.edges.iter().collect();
    edges.retain(|edge| is("SourceArn", &edge.from) && is("DestinationArn", &edge.to));
    let mut summaries = Vec::new();
    for edge in edges {
        let (Some(from), Some(to)) = (lineage.nodes.get(&edge.from), lineage.nodes.get(&edge.to))
        else {
            continue;
        };
        let kind = edge.kind.as_deref().unwrap_or_default();
        let fits = is("SourceType", &from.kind)
            && is("DestinationType", &to.kind)
            && is("AssociationType", kind);
        if !fits {
            continue;
        }
        let mut summary = json!({
            "SourceArn": edge.from, "DestinationArn": edge.to,
            "SourceType": from.kind, "DestinationType": to.kind,
            "CreationTime": edge.at.json(),
        });
        let names = [("SourceName", &from.name), ("DestinationName", &to.name)];
        for (member, name) in names.iter().filter_map(|(m, n)| Some((*m, n.as_ref()?))) {
            summary[member] = json!(name);
        }
        if let Some(kind) = &edge.kind {
            summary["AssociationType"] = json!(kind);
        }
        if let Some(by) = &edge.by {
            summary["CreatedBy"] = by.clone();
        }
        summaries.push(summary);
    }
    if page::order(input, Order::Descending) == Order::Descending {
        summaries.reverse();
    }
    page::cut(input, "AssociationSummaries", summaries, 10)
}

/// The S3 URIs of a training job's channels.
fn channels(body: &Map<String, Value>) -> Vec<String> {
    let body = Value::Object(body.clone());
    let sources = list(&body, "InputDataConfig").iter();
    let uris = sources.filter_map(|c| text(&c["DataSource"]["S3DataSource"], "S3Uri"));
    uris.map(str::to_owned).collect()
}
