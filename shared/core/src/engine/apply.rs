//! Applies a policy: the pipeline's first item, or the next version of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{EngineError, RACES};
use crate::audit::{Context, Draft, What, Who};
use crate::head::{Head, MOST_ROLLOUTS};
use crate::ledger::{AppliedPolicy, Commit, CommitError, Ledger, LedgerError, Route, RouteKind};
use crate::name::{EndpointName, EventId, GroupName, StageName};
use crate::pipeline::{Policy, Stage, Training};

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
    for races in 1..=RACES {
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
        if let Some(old) = &old {
            follow_endpoints(&mut head, &old.policy, &policy);
            may_have_rollouts(&head, &policy)?;
        }
        head.watch(&policy.monitor.schedules);
        head.monitors.mark(&policy);
        head.fit();
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
            Err(CommitError::Lost) => ledger.give_way(races).await,
            Err(error) => return Err(EngineError::Commit(error)),
        }
    }
    Err(EngineError::Contended)
}

/// Refuses a policy that leaves more rollouts behind than a state has room for.
fn may_have_rollouts(head: &Head, policy: &Policy) -> Result<(), EngineError> {
    let named = |name: &EndpointName| policy.stages.iter().any(|s| &s.endpoint == name);
    let left: Vec<&str> = head
        .rollouts
        .values()
        .map(|r| &r.endpoint)
        .filter(|endpoint| !named(endpoint))
        .map(EndpointName::as_str)
        .collect();
    if left.len() + policy.stages.len() <= MOST_ROLLOUTS {
        return Ok(());
    }
    let refused = LedgerError::Refused(format!(
        "rollouts of endpoints that the policy names no more are still under way on {}; wait until \
         one has ended, then apply it again",
        left.join(", ")
    ));
    Err(EngineError::Ledger(refused))
}

/// What is known of an endpoint goes with it when its stage gets another name. What the policy
/// names no more is forgotten, but for a rollout, which ends as it began.
fn follow_endpoints(head: &mut Head, old: &Policy, new: &Policy) {
    let is_same = |a: &&Stage, b: &&Stage| a.name == b.name && a.endpoint == b.endpoint;
    let are_same = old.stages.len() == new.stages.len()
        && old
            .stages
            .iter()
            .zip(&new.stages)
            .all(|(a, b)| is_same(&a, &b));
    if are_same {
        return;
    }
    let name_of = |endpoint: &EndpointName| {
        let mut stages = new.stages.iter();
        stages
            .find(|s| &s.endpoint == endpoint)
            .map(|s| s.name.clone())
    };
    let renamed = |stage: &StageName| name_of(&old.stage(stage)?.1.endpoint);
    head.champions = std::mem::take(&mut head.champions)
        .into_iter()
        .filter_map(|(stage, champion)| Some((renamed(&stage)?, champion)))
        .collect();
    head.waiting = std::mem::take(&mut head.waiting)
        .into_iter()
        .filter_map(|(stage, waiting)| Some((renamed(&stage)?, waiting)))
        .collect();
    let (known, unknown): (Vec<_>, Vec<_>) = std::mem::take(&mut head.rollouts)
        .into_values()
        .partition(|r| name_of(&r.endpoint).is_some());
    for mut rollout in known {
        if let Some(stage) = name_of(&rollout.endpoint) {
            rollout.stage = stage.clone();
            head.rollouts.insert(stage, rollout);
        }
    }
    for mut rollout in unknown {
        // Its stage's name may be another endpoint's by now.
        let taken = |name: &StageName| head.rollouts.contains_key(name);
        let other = |n: u32| StageName::parse(&format!("{:.50}-{n}", rollout.stage.as_str())).ok();
        if taken(&rollout.stage) {
            rollout.stage = (2..100)
                .find_map(|n| other(n).filter(|name| !taken(name)))
                .unwrap_or(rollout.stage);
        }
        head.rollouts.insert(rollout.stage.clone(), rollout);
    }
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
