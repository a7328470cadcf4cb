//! Applies a policy: the pipeline's first item, or the next version of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{EngineError, RACES};
use crate::audit::{Context, Draft, What, Who};
use crate::head::Head;
use crate::ledger::{AppliedPolicy, Commit, CommitError, Ledger, Route, RouteKind};
use crate::name::{EventId, GroupName};
use crate::pipeline::{Policy, Training};

/// What applying a policy came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The pipeline's group.
    pub group: GroupName,
    /// The policy's version now.
    pub version: u32,
    /// Whether it differs from what was applied before.
    pub changed: bool,
}

/// Applies `policy`; `by` says who did, `commit` which Git commit it is from.
pub async fn apply<L: Ledger>(
    ledger: &L,
    policy: Policy,
    by: &str,
    commit: Option<&str>,
    now: Timestamp,
) -> Result<Applied, EngineError> {
    let group = policy.pipeline.group.clone();
    for _ in 0..RACES {
        let before = ledger.load(&group, None).await?;
        let (mut head, old) = match before {
            Some(snapshot) => (snapshot.head, Some(snapshot.applied)),
            None => (Head::default(), None),
        };
        if let Some(old) = old.as_ref().filter(|old| old.policy == policy) {
            return Ok(Applied {
                group,
                version: old.version,
                changed: false,
            });
        }
        let applied = AppliedPolicy {
            version: old.as_ref().map_or(1, |o| o.version + 1),
            commit: commit.map(str::to_owned),
            at: now,
            by: by.to_owned(),
            policy: policy.clone(),
        };
        let version = applied.version;
        let expected = head.version;
        let now = head.now.map_or(now, |before| before.max(now));
        head.version += 1;
        head.now = Some(now);
        let event = EventId(format!("apply/{group}/{version}"));
        let entry = head.tip.seal(
            &Context {
                group: &group,
                event: &event,
                at: now,
                policy_version: version,
                commit,
            },
            Draft {
                who: Who::Person(by.to_owned()),
                what: What::PolicyApplied,
                why: format!(
                    "Version {version} of the policy {} was applied.",
                    policy.pipeline.name
                ),
                facts: json!({ "policy": policy }),
            },
        );
        let wanted = routes(&policy);
        let dropped = old.map(|old| routes(&old.policy)).unwrap_or_default();
        let commit = Commit {
            entries: vec![entry],
            policy: Some(applied),
            dropped_routes: dropped.difference(&wanted).cloned().collect(),
            routes: wanted.into_iter().collect(),
            ..Commit::of(expected, head)
        };
        match ledger.commit(&group, &commit).await {
            Ok(()) => {
                return Ok(Applied {
                    group,
                    version,
                    changed: true,
                });
            }
            Err(CommitError::Lost) => {}
            Err(error) => return Err(EngineError::Commit(error)),
        }
    }
    Err(EngineError::Contended)
}

/// The names that lead to a pipeline.
fn routes(policy: &Policy) -> BTreeSet<Route> {
    let route = |kind, name: String| Route { kind, name };
    let mut routes: BTreeSet<Route> =
        [route(RouteKind::Pipeline, policy.pipeline.name.to_string())].into();
    routes.insert(match policy.training_rule() {
        Training::Tag(tag) => route(RouteKind::Tag, tag),
        Training::JobPrefix(prefix) => route(RouteKind::Prefix, prefix),
    });
    for stage in &policy.stages {
        routes.insert(route(RouteKind::Endpoint, stage.endpoint.to_string()));
    }
    for schedule in &policy.monitor.schedules {
        routes.insert(route(RouteKind::Schedule, schedule.to_string()));
    }
    routes
}
