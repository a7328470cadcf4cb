//! What SageMaker's lineage is told of a version: where it comes from, and where it went.
//!
//! SageMaker makes a job's trial component, a package's artifact and an endpoint's context by itself,
//! and tracks data by its S3 URI alone ("Amazon SageMaker AI-Created Tracking Entities" in the
//! developer guide). Missing are the state that the data was in, the code, and every deployment after
//! the endpoint's first. Types and directions are those of SageMaker's own graph.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{EndpointName, GroupName, PackageVersion, PipelineName, RolloutId, StageName};

/// The most channels of data that a version is traced to.
pub const MOST_DATA: usize = 4;

/// A part of the graph to make, as far as it isn't there: at most 7 nodes and 6 links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// What it is of, for people.
    pub about: String,
    /// The nodes.
    pub nodes: Vec<TraceNode>,
    /// The links between them.
    pub links: Vec<TraceLink>,
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceNode {
    /// What it is to SageMaker.
    pub entity: Entity,
    /// What it stands for (`SourceUri`): what an artifact, a context or a job is found by.
    pub source: String,
    /// Its type, such as `DataSet`.
    pub kind: String,
    /// Its name, if it is made; what an action is found by.
    pub name: String,
    /// The state that the source is in, if that is told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its properties, if it is made.
    pub properties: BTreeMap<String, String>,
}

/// What a node is to SageMaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A thing with a URI; made if it isn't there.
    Artifact,
    /// Something that was done; made if it isn't there.
    Action,
    /// What others are grouped by; made if it isn't there.
    Context,
    /// A training job. Only SageMaker makes it: without it, what leads to it leads to what it leads
    /// to.
    Job,
}

/// A link: an association from one node to another, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceLink {
    /// The source.
    pub from: usize,
    /// The destination.
    pub to: usize,
    /// What the source is to the destination.
    pub how: LinkKind,
}

/// What a link's source is to its destination (`AddAssociation` in the API reference).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// It had a part in it.
    ContributedTo,
    /// It is connected to it.
    AssociatedWith,
    /// It made it.
    Produced,
}

impl TraceLink {
    fn new(from: usize, how: LinkKind, to: usize) -> Self {
        Self { from, to, how }
    }
}

/// A package as the graph knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traced<'a> {
    pub(crate) arn: &'a str,
    pub(crate) group: &'a GroupName,
    pub(crate) version: PackageVersion,
}

impl Traced<'_> {
    fn node(self) -> TraceNode {
        TraceNode {
            entity: Entity::Artifact,
            source: self.arn.to_owned(),
            kind: "Model".to_owned(),
            name: format!("{}-{}", self.group, self.version),
            version: None,
            properties: BTreeMap::new(),
        }
    }
}

/// What a package was made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct MadeOf {
    pub(crate) job: String,
    pub(crate) commit: Option<String>,
    pub(crate) repository: Option<String>,
    /// The data's URI and version, by channel.
    pub(crate) data: BTreeMap<String, (String, String)>,
}

/// Where a version comes from: its data as it was and its code, by way of the training job.
pub(crate) fn origin(package: Traced<'_>, made_of: &MadeOf) -> Trace {
    const PACKAGE: usize = 0;
    const JOB: usize = 1;
    let job = TraceNode {
        entity: Entity::Job,
        source: made_of.job.clone(),
        kind: "TrainingJob".to_owned(),
        name: String::new(),
        version: None,
        properties: BTreeMap::new(),
    };
    let mut nodes = vec![package.node(), job];
    nodes.extend(made_of.data.iter().take(MOST_DATA).map(data));
    nodes.extend(code(made_of));
    let inputs = JOB + 1..nodes.len();
    let mut links: Vec<TraceLink> = inputs
        .map(|input| TraceLink::new(input, LinkKind::ContributedTo, JOB))
        .collect();
    links.push(TraceLink::new(JOB, LinkKind::Produced, PACKAGE));
    Trace {
        about: format!("where {} of {} comes from", package.version, package.group),
        nodes,
        links,
    }
}

/// Data in the state that it was in: an artifact beside SageMaker's own of the same URI.
fn data((channel, (uri, version)): (&String, &(String, String))) -> TraceNode {
    TraceNode {
        entity: Entity::Artifact,
        source: format!("{uri}#{version}"),
        kind: "DataSet".to_owned(),
        name: name(channel, version),
        version: Some(version.clone()),
        properties: properties(&[("channel", channel), ("uri", uri), ("version", version)]),
    }
}

fn code(made_of: &MadeOf) -> Option<TraceNode> {
    let commit = made_of.commit.as_ref()?;
    let repository = made_of.repository.as_deref();
    let mut told = vec![("commit", commit.as_str())];
    told.extend(repository.map(|repository| ("repository", repository)));
    Some(TraceNode {
        entity: Entity::Artifact,
        source: format!("{}@{commit}", repository.unwrap_or("commit")),
        kind: "Code".to_owned(),
        name: name("code", commit),
        version: Some(commit.clone()),
        properties: properties(&told),
    })
}

/// A version that became an endpoint's champion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deployment<'a> {
    pub(crate) package: Traced<'a>,
    pub(crate) pipeline: &'a PipelineName,
    pub(crate) stage: &'a StageName,
    pub(crate) endpoint: &'a EndpointName,
    pub(crate) rollout: &'a RolloutId,
    pub(crate) since: Timestamp,
}

/// Where a version went: its package, the deployment, the endpoint. None if the package's ARN tells
/// no account.
pub(crate) fn deployment(of: &Deployment<'_>) -> Option<Trace> {
    const PACKAGE: usize = 0;
    const ACTION: usize = 1;
    const ENDPOINT: usize = 2;
    let (account, _) = of.package.arn.split_once(":model-package/")?;
    // SageMaker folds an endpoint's name to lower case in its ARN.
    let name = of.endpoint.as_str();
    let arn = format!("{account}:endpoint/{}", name.to_lowercase());
    let version = of.package.version.to_string();
    let since = of.since.to_string();
    let action = TraceNode {
        entity: Entity::Action,
        source: arn.clone(),
        kind: "ModelDeployment".to_owned(),
        name: format!("tidegate-{}", of.rollout),
        version: None,
        properties: properties(&[
            ("pipeline", of.pipeline.as_str()),
            ("stage", of.stage.as_str()),
            ("version", &version),
            ("since", &since),
        ]),
    };
    let endpoint = TraceNode {
        entity: Entity::Context,
        source: arn,
        kind: "Endpoint".to_owned(),
        name: name.to_owned(),
        version: None,
        properties: BTreeMap::new(),
    };
    Some(Trace {
        about: format!("{version} of {} serves {name}", of.package.group),
        nodes: vec![of.package.node(), action, endpoint],
        links: vec![
            TraceLink::new(PACKAGE, LinkKind::ContributedTo, ACTION),
            TraceLink::new(ACTION, LinkKind::AssociatedWith, ENDPOINT),
        ],
    })
}

fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    owned.collect()
}

/// A name as SageMaker takes it: letters, digits and inner hyphens, at most 120.
fn name(what: &str, version: &str) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric();
    let text = format!("{what}-{}", version.chars().take(12).collect::<String>());
    let safe: String = text
        .chars()
        .map(|c| if is_fine(c) { c } else { '-' })
        .take(120)
        .collect();
    safe.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:model-package/Fraud/3";

    fn made_of(channels: usize) -> MadeOf {
        let data = |n: usize| {
            let source = (format!("s3://data/{n}/"), format!("etag{n}"));
            (format!("channel_{n}"), source)
        };
        MadeOf {
            job: "arn:job".to_owned(),
            commit: Some("3f2a9c1".to_owned()),
            repository: Some("https://git.example/fraud".to_owned()),
            data: (0..channels).map(data).collect(),
        }
    }

    #[test]
    fn data_and_code_lead_by_way_of_the_job_to_the_package() {
        let group = GroupName::parse("Fraud").unwrap();
        let package = Traced {
            arn: ARN,
            group: &group,
            version: PackageVersion(3),
        };
        let trace = origin(package, &made_of(1));
        let sources: Vec<&str> = trace.nodes.iter().map(|n| n.source.as_str()).collect();
        let code = "https://git.example/fraud@3f2a9c1";
        assert_eq!(sources, [ARN, "arn:job", "s3://data/0/#etag0", code]);
        let links: Vec<(usize, usize)> = trace.links.iter().map(|l| (l.from, l.to)).collect();
        assert_eq!(links, [(2, 1), (3, 1), (1, 0)]);
        assert_eq!(trace.nodes[2].name, "channel-0-etag0");
        let many = origin(package, &made_of(40));
        assert_eq!((many.nodes.len(), many.links.len()), (7, 6));
    }

    #[test]
    fn a_deployment_leads_to_the_endpoint_by_the_arn_that_sagemaker_has_of_it() {
        let group = GroupName::parse("Fraud").unwrap();
        let of = Deployment {
            package: Traced {
                arn: ARN,
                group: &group,
                version: PackageVersion(3),
            },
            pipeline: &PipelineName::parse("fraud").unwrap(),
            stage: &StageName::parse("production").unwrap(),
            endpoint: &EndpointName::parse("Fraud-Prod").unwrap(),
            rollout: &RolloutId("production-v3-00".to_owned()),
            since: Timestamp::UNIX_EPOCH,
        };
        let trace = deployment(&of).unwrap();
        let endpoint = &trace.nodes[2];
        assert_eq!(
            endpoint.source,
            "arn:aws:sagemaker:us-east-1:123456789012:endpoint/fraud-prod"
        );
        assert_eq!(endpoint.name, "Fraud-Prod");
        assert_eq!(trace.nodes[1].name, "tidegate-production-v3-00");
    }
}
