//! The largest things fit into the ledger, and a pipeline with a long past is as cheap as a new one:
//! against a `DynamoDB` of moto's, counted in calls and bytes, since moto's time says nothing.
#![allow(clippy::unwrap_used)]

#[path = "../../../core/tests/largest/mod.rs"]
mod largest;
mod long_past;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use largest::{Dice, start};
use serde_json::json;
use tidegate_aws::ledger::{DynamoLedger, create_table};
use tidegate_core::audit::{Context, Draft, Entry, What, Who};
use tidegate_core::bounds::{ITEM, TRANSACTION_ITEMS};
use tidegate_core::gate::{Judgement, Metrics};
use tidegate_core::head::Head;
use tidegate_core::ledger::{
    AppliedPolicy, Commit, CommitError, JobRecord, Lane, Ledger, LedgerError, Pending, Route,
    RouteKind,
};
use tidegate_core::name::{EventId, GroupName, JobName};
use tidegate_core::notice::{Notice, Severity, fitting};
use tidegate_core::pipeline::Policy;
use tidegate_core::world::{Effect, ModelSpec};

/// Effects of the largest decision, as the engine allows it.
const EFFECTS: usize = 60;

fn entry(head: &mut Head, group: &GroupName, dice: &mut Dice) -> Entry {
    let event = EventId(dice.word(2_000));
    let commit = dice.word(2_000);
    let context = Context {
        group,
        event: &event,
        at: start(),
        policy_version: u32::MAX,
        commit: Some(&commit),
    };
    let draft = Draft {
        who: Who::Person(dice.word(2_000)),
        what: What::PolicyApplied,
        why: dice.word(20_000),
        facts: json!((0..300).map(|_| dice.word(500)).collect::<Vec<_>>()),
    };
    head.tip.seal(&context, draft)
}

fn notice(policy: &Policy, dice: &mut Dice) -> Box<Notice> {
    Box::new(Notice {
        id: dice.word(80),
        at: start(),
        severity: Severity::Action,
        what: dice.word(30),
        headline: dice.word(100),
        lines: fitting((0..100).map(|_| dice.word(5_000)).collect()),
        pipeline: policy.pipeline.name.clone(),
        group: policy.pipeline.group.clone(),
        version: None,
        endpoint: None,
        rollout: None,
    })
}

/// The model of a policy whose `[serve.environment]` is as large as AWS takes one.
fn model(dice: &mut Dice) -> Box<ModelSpec> {
    let pairs = |dice: &mut Dice, n: usize, key: usize, value: usize| -> BTreeMap<_, _> {
        (0..n).map(|_| (dice.word(key), dice.word(value))).collect()
    };
    Box::new(ModelSpec {
        name: dice.word(63),
        package: dice.word(170),
        like: None,
        role: Some(dice.word(2_048)),
        vpc: None,
        network_isolation: None,
        job: None,
        environment: pairs(dice, 100, 1_024, 1_024),
        tags: pairs(dice, 50, 128, 256),
    })
}

/// The largest decision: all lists as long as one transaction takes.
fn largest_commit(policy: &Policy, dice: &mut Dice) -> Commit {
    let group = &policy.pipeline.group;
    let mut head = largest::head(dice, policy);
    let finished: Vec<_> = head.rollouts.values().cloned().collect();
    head.fit();
    head.version = 2;
    let effect = |n: usize, dice: &mut Dice| Pending {
        id: format!("000000000002-{n:03}"),
        lane: Lane::Notice(dice.word(80)),
        at: start(),
        // One model for each stage, and notices of all that happened.
        effect: if n < 5 {
            Effect::CreateModel(model(dice))
        } else {
            Effect::Tell {
                topic: Some(dice.word(256)),
                notice: notice(policy, dice),
            }
        },
    };
    let mut commit = Commit {
        seen: Some(EventId(dice.word(5_000))),
        entries: (0..10).map(|_| entry(&mut head, group, dice)).collect(),
        add: (0..EFFECTS).map(|n| effect(n, dice)).collect(),
        done: (0..10).map(|n| format!("000000000001-{n:03}")).collect(),
        finished: finished
            .into_iter()
            .map(|mut rollout| {
                rollout.fit();
                rollout
            })
            .collect(),
        jobs: vec![JobRecord {
            job: JobName::parse(&dice.word(63)).unwrap(),
            at: start(),
            metrics: (0..500).map(|n| (dice.word(250), f64::from(n))).collect(),
            judgement: Judgement::default(),
            package: Some((
                dice.word(170),
                tidegate_core::name::PackageVersion(u32::MAX),
            )),
        }],
        ..Commit::of(1, head)
    };
    // What one transaction still has room for.
    commit
        .done
        .truncate(TRANSACTION_ITEMS - commit.items() + commit.done.len());
    commit
}

fn bytes(item: &std::collections::HashMap<String, AttributeValue>) -> usize {
    let of = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(blob) => blob.as_ref().len(),
        other => panic!("{other:?}"),
    };
    item.iter()
        .map(|(name, value)| name.len() + of(value))
        .sum()
}

#[tokio::test]
async fn the_largest_decision_there_can_be_is_written_and_read_back() {
    let moto = support::moto();
    let client = support::clients(&moto).dynamodb;
    for guards in [1, 2, 8] {
        let table = format!("largest-{guards}");
        create_table(&client, &table).await.unwrap();
        let ledger = DynamoLedger::new(client.clone(), table.clone());
        let mut dice = Dice::new();
        let policy = largest::policy(&mut dice, guards);
        let group = policy.pipeline.group.clone();
        let first = Commit {
            policy: Some(AppliedPolicy {
                version: 1,
                commit: Some(dice.word(512)),
                at: start(),
                by: dice.word(512),
                policy: policy.clone(),
            }),
            ..Commit::of(
                0,
                Head {
                    version: 1,
                    ..Head::default()
                },
            )
        };
        ledger.commit(&group, &first).await.unwrap();
        let commit = largest_commit(&policy, &mut dice);
        assert!(
            commit.items() > TRANSACTION_ITEMS - 10,
            "{}",
            commit.items()
        );
        ledger.commit(&group, &commit).await.unwrap();
        let loaded = ledger.load(&group, None).await.unwrap().unwrap();
        assert_eq!(loaded.head, commit.head);
        assert_eq!(loaded.pending, commit.add);
        let items = client
            .scan()
            .table_name(&table)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .unwrap();
        let largest = items
            .iter()
            .map(|item| (bytes(item), item["sk"].as_s().unwrap().clone()))
            .max()
            .unwrap();
        let all: usize = items.iter().map(bytes).sum();
        println!(
            "{guards} guards: {} items, {all} bytes; the largest {largest:?}",
            items.len()
        );
        assert!(largest.0 < ITEM, "{largest:?}");
    }
}

#[tokio::test]
async fn what_is_too_much_for_one_transaction_is_refused_with_the_way_out() {
    let moto = support::moto();
    let client = support::clients(&moto).dynamodb;
    create_table(&client, "refused").await.unwrap();
    let ledger = DynamoLedger::new(client, "refused");
    let mut dice = Dice::new();
    let group = GroupName::parse("g").unwrap();
    let names = |n| {
        (0..n).map(|n| Route {
            kind: RouteKind::Schedule,
            name: format!("schedule-{n}"),
        })
    };
    let head = || Head {
        version: 1,
        ..Head::default()
    };
    let many = Commit {
        routes: names(100).collect(),
        ..Commit::of(0, head())
    };
    let job = |dice: &mut Dice| JobRecord {
        job: JobName::parse(&dice.word(63)).unwrap(),
        at: start(),
        metrics: (0..1_500)
            .map(|n| (dice.word(250), f64::from(n)))
            .collect::<Metrics>(),
        judgement: Judgement::default(),
        package: None,
    };
    let heavy = Commit {
        jobs: (0..16).map(|_| job(&mut dice)).collect(),
        ..Commit::of(0, head())
    };
    for commit in [many, heavy] {
        let error = ledger.commit(&group, &commit).await.unwrap_err();
        assert!(
            matches!(&error, CommitError::Ledger(LedgerError::Refused(_)))
                && error.to_string().contains("fewer changes of names"),
            "{error}"
        );
    }
}
