//! SageMaker's lineage: nodes and associations, made as far as they aren't there.
//!
//! Sources: `CreateArtifact`, `CreateAction`, `CreateContext`, `AddAssociation` and the lists beside
//! them in the API reference; "Manually Create Tracking Entities" in the developer guide: what exists
//! is an error, and an account has 6,000 associations of its own. Which error it is no page says, so
//! a refusal is looked into. One call after the other, since AWS throttles them early, and all in a
//! short time, since nobody waits for them.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_sagemaker::types::{
    ActionSource, ActionStatus, ArtifactSource, ArtifactSourceIdType, ArtifactSourceType,
    AssociationEdgeType, ContextSource, SortArtifactsBy, SortContextsBy, SortOrder,
};
use tidegate_core::trace::{Entity, LinkKind, Trace, TraceLink, TraceNode};
use tidegate_core::world::{Outcome, WorldError, WorldErrorKind};

use super::AwsWorld;
use super::packages::some_map;
use super::values::required;
use crate::error::{Failure, error, failed};

/// How long all calls of a trace may take together: what is left is done later.
const TOGETHER: Duration = Duration::from_secs(15);
/// `SourceTypes` takes this much of a value.
const LONGEST_VALUE: usize = 256;

/// An association by its ends' ARNs.
type Edge<'a> = (&'a str, &'a str, LinkKind);

impl AwsWorld {
    pub(super) async fn trace(&self, trace: &Trace) -> Result<Outcome, WorldError> {
        match tokio::time::timeout(TOGETHER, self.make(trace)).await {
            Ok(made) => made,
            Err(_) => Err(error(
                WorldErrorKind::Unavailable,
                "AddAssociation",
                format!("it took more than {} s", TOGETHER.as_secs()),
            )),
        }
    }

    async fn make(&self, trace: &Trace) -> Result<Outcome, WorldError> {
        let mut arns = Vec::with_capacity(trace.nodes.len());
        for node in &trace.nodes {
            arns.push(self.node(node).await?);
        }
        for (from, to, how) in edges(&trace.links, &arns) {
            self.associate(from, to, how).await?;
        }
        Ok(Outcome::Done)
    }

    /// The node's ARN; none if it isn't there and only SageMaker makes it.
    async fn node(&self, node: &TraceNode) -> Result<Option<String>, WorldError> {
        match node.entity {
            Entity::Job => self.trial_component(&node.source).await,
            Entity::Artifact => self.artifact_of(node).await.map(Some),
            Entity::Action => self.action(node).await.map(Some),
            Entity::Context => self.context(node).await.map(Some),
        }
    }

    async fn trial_component(&self, job: &str) -> Result<Option<String>, WorldError> {
        let list = self.clients.sagemaker.list_trial_components();
        let found = list.source_arn(job).max_results(1).send().await;
        let found = found.map_err(failed("ListTrialComponents"))?;
        let mut all = found.trial_component_summaries.unwrap_or_default();
        Ok(all
            .pop()
            .and_then(|component| component.trial_component_arn))
    }

    async fn artifact_of(&self, node: &TraceNode) -> Result<String, WorldError> {
        const CALL: &str = "CreateArtifact";
        if let Some(arn) = self.known_artifact(&node.source).await? {
            return Ok(arn);
        }
        let kind = node.version.as_ref().map(|version| {
            ArtifactSourceType::builder()
                .source_id_type(ArtifactSourceIdType::Custom)
                .value(version.chars().take(LONGEST_VALUE).collect::<String>())
                .build()
        });
        let source = ArtifactSource::builder()
            .source_uri(&node.source)
            .set_source_types(kind.map(|kind| vec![kind]));
        let create = self.clients.sagemaker.create_artifact();
        let made = create
            .artifact_name(&node.name)
            .artifact_type(&node.kind)
            .source(source.build())
            .set_properties(some_map(&node.properties))
            .send();
        match made.await.map_err(failed(CALL)) {
            Ok(made) => required(CALL, "ArtifactArn", made.artifact_arn),
            // Somebody was faster, maybe SageMaker itself.
            Err(failure) => {
                self.after_refusal(failure, self.known_artifact(&node.source))
                    .await
            }
        }
    }

    /// There is one artifact of a source; were there several, it is the oldest.
    async fn known_artifact(&self, source: &str) -> Result<Option<String>, WorldError> {
        let list = self.clients.sagemaker.list_artifacts();
        let found = list
            .source_uri(source)
            .sort_by(SortArtifactsBy::CreationTime)
            .sort_order(SortOrder::Ascending)
            .max_results(1)
            .send()
            .await;
        let summaries = match found.map_err(failed("ListArtifacts")) {
            Ok(found) => found.artifact_summaries.unwrap_or_default(),
            Err(failure) if failure.is_gone() => Vec::new(),
            Err(failure) => return Err(failure.into()),
        };
        let first = summaries.into_iter().next();
        Ok(first.and_then(|artifact| artifact.artifact_arn))
    }

    async fn action(&self, node: &TraceNode) -> Result<String, WorldError> {
        const CALL: &str = "CreateAction";
        if let Some(arn) = self.known_action(&node.name).await? {
            return Ok(arn);
        }
        let source = ActionSource::builder()
            .source_uri(&node.source)
            .source_type("ARN");
        let create = self.clients.sagemaker.create_action();
        let made = create
            .action_name(&node.name)
            .action_type(&node.kind)
            .source(source.build())
            .status(ActionStatus::Completed)
            .set_properties(some_map(&node.properties))
            .send();
        match made.await.map_err(failed(CALL)) {
            Ok(made) => required(CALL, "ActionArn", made.action_arn),
            Err(failure) => {
                self.after_refusal(failure, self.known_action(&node.name))
                    .await
            }
        }
    }

    async fn known_action(&self, name: &str) -> Result<Option<String>, WorldError> {
        let describe = self.clients.sagemaker.describe_action();
        let found = describe.action_name(name).send().await;
        match found.map_err(failed("DescribeAction")) {
            Ok(found) => Ok(found.action_arn),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn context(&self, node: &TraceNode) -> Result<String, WorldError> {
        const CALL: &str = "CreateContext";
        if let Some(arn) = self.known_context(&node.source).await? {
            return Ok(arn);
        }
        let source = ContextSource::builder()
            .source_uri(&node.source)
            .source_type("ARN");
        let create = self.clients.sagemaker.create_context();
        let made = create
            .context_name(&node.name)
            .context_type(&node.kind)
            .source(source.build())
            .set_properties(some_map(&node.properties))
            .send();
        match made.await.map_err(failed(CALL)) {
            Ok(made) => required(CALL, "ContextArn", made.context_arn),
            Err(failure) => {
                self.after_refusal(failure, self.known_context(&node.source))
                    .await
            }
        }
    }

    /// The newest context of a source: an endpoint that was made anew has one more.
    async fn known_context(&self, source: &str) -> Result<Option<String>, WorldError> {
        let list = self.clients.sagemaker.list_contexts();
        let found = list
            .source_uri(source)
            .sort_by(SortContextsBy::CreationTime)
            .sort_order(SortOrder::Descending)
            .max_results(1)
            .send()
            .await;
        let summaries = match found.map_err(failed("ListContexts")) {
            Ok(found) => found.context_summaries.unwrap_or_default(),
            Err(failure) if failure.is_gone() => Vec::new(),
            Err(failure) => return Err(failure.into()),
        };
        let first = summaries.into_iter().next();
        Ok(first.and_then(|context| context.context_arn))
    }

    /// What was not made may be there by now; else the refusal stands.
    async fn after_refusal(
        &self,
        failure: Failure,
        look: impl Future<Output = Result<Option<String>, WorldError>>,
    ) -> Result<String, WorldError> {
        if failure.error.is_passing() && !failure.already {
            return Err(failure.into());
        }
        look.await?.ok_or(failure.error)
    }

    async fn associate(&self, from: &str, to: &str, how: LinkKind) -> Result<(), WorldError> {
        let how = match how {
            LinkKind::ContributedTo => AssociationEdgeType::ContributedTo,
            LinkKind::AssociatedWith => AssociationEdgeType::AssociatedWith,
            LinkKind::Produced => AssociationEdgeType::Produced,
        };
        let add = self.clients.sagemaker.add_association();
        let added = add
            .source_arn(from)
            .destination_arn(to)
            .association_type(how)
            .send();
        let Err(failure) = added.await.map_err(failed("AddAssociation")) else {
            return Ok(());
        };
        if failure.already {
            return Ok(());
        }
        if failure.error.is_passing() {
            return Err(failure.into());
        }
        let list = self.clients.sagemaker.list_associations();
        let there = list
            .source_arn(from)
            .destination_arn(to)
            .max_results(1)
            .send();
        let there = there.await.map_err(failed("ListAssociations"))?;
        if there.association_summaries().is_empty() {
            return Err(failure.error);
        }
        Ok(())
    }
}

/// The links between the nodes that are there. One that isn't is stepped over: what leads to it leads
/// to where it leads.
fn edges<'a>(links: &[TraceLink], arns: &'a [Option<String>]) -> Vec<Edge<'a>> {
    let arn = |node: usize| arns.get(node).and_then(Option::as_deref);
    let mut edges = Vec::with_capacity(links.len());
    for link in links {
        let Some(from) = arn(link.from) else {
            continue;
        };
        if let Some(to) = arn(link.to) {
            edges.push((from, to, link.how));
            continue;
        }
        let onwards = links.iter().filter(|next| next.from == link.to);
        let ends = onwards.filter_map(|next| arn(next.to));
        edges.extend(ends.map(|to| (from, to, link.how)));
    }
    // What is told twice is the same link.
    let mut seen = HashSet::new();
    edges.retain(|(from, to, _)| seen.insert((*from, *to)));
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_a_job_that_sagemaker_does_not_know_leads_to_the_package() {
        let link = |from, to, how| TraceLink { from, to, how };
        let links = [
            link(2, 1, LinkKind::ContributedTo),
            link(3, 1, LinkKind::ContributedTo),
            link(1, 0, LinkKind::Produced),
        ];
        let mut arns = ["package", "job", "data", "code"].map(|arn| Some(arn.to_owned()));
        assert_eq!(edges(&links, &arns).len(), 3);
        arns[1] = None;
        let expected = [
            ("data", "package", LinkKind::ContributedTo),
            ("code", "package", LinkKind::ContributedTo),
        ];
        assert_eq!(edges(&links, &arns), expected);
    }
}
