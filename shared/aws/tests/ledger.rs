//! The ledger against a `DynamoDB` of moto's: every method, and every way a commit is refused.
#![allow(clippy::unwrap_used)]

mod support;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_aws::ledger::{DynamoLedger, create_table};
use tidegate_core::audit::{Context, Draft, Entry, Tip, What, Who};
use tidegate_core::candidate::Candidate;
use tidegate_core::gate::{Judgement, Metrics};
use tidegate_core::head::Head;
use tidegate_core::ledger::{
    AppliedPolicy, Commit, CommitError, JobRecord, Lane, Ledger, LedgerError, Pending, Route,
    RouteKind,
};
use tidegate_core::name::{EventId, GroupName, JobName, PackageVersion, RolloutId};
use tidegate_core::pipeline::{Policy, parse};
use tidegate_core::rollout::{Phase, Rollout};
use tidegate_core::world::Effect;

/// A ledger of its own; the server ends with it.
struct Fixture {
    ledger: DynamoLedger,
    client: aws_sdk_dynamodb::Client,
    table: String,
    group: GroupName,
    _moto: support::Server,
}

async fn fixture() -> Fixture {
    let moto = support::moto();
    let client = support::clients(&moto).dynamodb;
    let table = support::unique("ledger");
    create_table(&client, &table).await.unwrap();
    create_table(&client, &table)
        .await
        .expect("making it twice is fine");
    let ledger = DynamoLedger::new(client.clone(), table.clone());
    Fixture {
        ledger,
        client,
        table,
        group: group("fraud-detection"),
        _moto: moto,
    }
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn policy() -> Policy {
    let text = r#"
        [pipeline]
        name = "fraud"
        group = "fraud-detection"
        [[stage]]
        name = "production"
        endpoint = "fraud-prod"
        instance = { type = "ml.m5.large", count = 2 }
    "#;
    parse(text, "fraud.toml").unwrap()
}

fn applied() -> AppliedPolicy {
    AppliedPolicy {
        version: 1,
        commit: Some("abc".to_owned()),
        at: now(),
        by: "someone".to_owned(),
        policy: policy(),
    }
}

/// The first commit of a pipeline.
fn first() -> Commit {
    let head = Head {
        version: 1,
        now: Some(now()),
        ..Head::default()
    };
    Commit {
        policy: Some(applied()),
        ..Commit::of(0, head)
    }
}

/// The commit after that of this head, with `entries` lines for the audit trail.
fn next(head: &Head, group: &GroupName, entries: usize) -> Commit {
    let mut new = Head {
        version: head.version + 1,
        now: Some(now()),
        ..head.clone()
    };
    let event = EventId("e".to_owned());
    let context = Context {
        group,
        event: &event,
        at: now(),
        policy_version: 1,
        commit: None,
    };
    let entries: Vec<Entry> = (0..entries)
        .map(|n| {
            let draft = Draft {
                who: Who::Tidegate,
                what: What::PolicyApplied,
                why: format!("line {n}"),
                facts: json!({"third": 1.0 / 3.0}),
            };
            new.tip.seal(&context, draft)
        })
        .collect();
    Commit {
        entries,
        ..Commit::of(head.version, new)
    }
}

fn effect(id: &str) -> Pending {
    Pending {
        id: id.to_owned(),
        lane: Lane::Notice("n".to_owned()),
        at: now(),
        effect: Effect::DeleteModel {
            name: "m".to_owned(),
        },
    }
}

fn route(kind: RouteKind, name: &str) -> Route {
    Route {
        kind,
        name: name.to_owned(),
    }
}

/// A gated training job, registered as version 3 with this ARN.
fn record(job: &str, arn: &str) -> JobRecord {
    JobRecord {
        job: JobName::parse(job).unwrap(),
        at: now(),
        metrics: Metrics::from([("auc".to_owned(), 1.0 / 3.0)]),
        judgement: Judgement { checks: Vec::new() },
        package: Some((arn.to_owned(), PackageVersion(3))),
    }
}

fn rollout(id: &str, ended: Timestamp) -> Rollout {
    let stage = policy().stages.remove(0);
    Rollout {
        id: RolloutId(id.to_owned()),
        stage: stage.name.clone(),
        endpoint: stage.endpoint.clone(),
        candidate: Candidate {
            version: PackageVersion(2),
            package: "arn".to_owned(),
            approved_at: now(),
            approved_by: None,
            metrics: Metrics::from([("auc".to_owned(), 0.1 + 0.2)]),
            job: None,
            artifact: None,
            finding: None,
        },
        model: "m".to_owned(),
        canary: "v2".to_owned(),
        incumbent: None,
        config: "c".to_owned(),
        final_config: "f".to_owned(),
        final_variant: "v2".to_owned(),
        plan: stage,
        urgent: false,
        replaces: false,
        refused: None,
        phase: Phase::Done,
        started: now(),
        ended: Some(ended),
        attempts: 0,
        history: Vec::new(),
        evidence: Vec::new(),
        alone: Vec::new(),
        judged_until: None,
        minutes: Vec::new(),
        weights: (0..4_000)
            .map(|n| (now() + SignedDuration::from_secs(n), 5))
            .collect(),
        told_of_wait: false,
        asked: None,
        unanswered: None,
        went_back_by_own_config: false,
        past: None,
        crossed: None,
        observed: None,
    }
}

#[tokio::test]
async fn what_was_committed_is_loaded() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    let event = EventId("event-1".to_owned());
    assert_eq!(ledger.load(group, Some(&event)).await.unwrap(), None);

    let mut commit = first();
    commit.seen = Some(event.clone());
    commit.add = vec![effect("0000000001-001"), effect("0000000001-000")];
    ledger.commit(group, &commit).await.unwrap();

    let loaded = ledger.load(group, Some(&event)).await.unwrap().unwrap();
    assert_eq!(loaded.applied, applied());
    assert_eq!(loaded.head, commit.head);
    assert_eq!(
        loaded.pending,
        [effect("0000000001-000"), effect("0000000001-001")]
    );
    assert!(loaded.seen);
    let other = EventId("event-2".to_owned());
    assert!(
        !ledger
            .load(group, Some(&other))
            .await
            .unwrap()
            .unwrap()
            .seen
    );

    let mut settled = next(&commit.head, group, 0);
    settled.done = vec!["0000000001-000".to_owned()];
    ledger.commit(group, &settled).await.unwrap();
    let loaded = ledger.load(group, None).await.unwrap().unwrap();
    assert_eq!(loaded.pending, [effect("0000000001-001")]);
    assert!(!loaded.seen);
}

#[tokio::test]
async fn of_two_writers_one_loses() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    assert_eq!(ledger.commit(group, &first()).await, Ok(()));
    assert_eq!(ledger.commit(group, &first()).await, Err(CommitError::Lost));
    let (a, b) = (next(&first().head, group, 1), next(&first().head, group, 1));
    let (a, b) = futures_util::join!(ledger.commit(group, &a), ledger.commit(group, &b));
    assert_eq!(
        [a.is_ok(), b.is_ok()].iter().filter(|ok| **ok).count(),
        1,
        "{a:?} {b:?}"
    );
    assert_eq!(a.and(b), Err(CommitError::Lost));
}

#[tokio::test]
async fn an_event_takes_effect_once() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    let mut commit = first();
    commit.seen = Some(EventId("event".to_owned()));
    ledger.commit(group, &commit).await.unwrap();
    let mut again = next(&commit.head, group, 0);
    again.seen = commit.seen.clone();
    assert_eq!(ledger.commit(group, &again).await, Err(CommitError::Seen));
    // Even if the head moved on meanwhile.
    assert_eq!(ledger.commit(group, &commit).await, Err(CommitError::Seen));
}

#[tokio::test]
async fn a_refused_commit_leaves_nothing_behind() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    ledger.commit(group, &first()).await.unwrap();
    let mut stale = next(
        &Head {
            version: 7,
            ..Head::default()
        },
        group,
        1,
    );
    stale.add = vec![effect("x")];
    stale.routes = vec![route(RouteKind::Endpoint, "e")];
    assert_eq!(ledger.commit(group, &stale).await, Err(CommitError::Lost));
    assert_eq!(ledger.entries(group, 0, 10).await.unwrap(), []);
    assert_eq!(ledger.load(group, None).await.unwrap().unwrap().pending, []);
    assert_eq!(
        ledger
            .route(&route(RouteKind::Endpoint, "e"))
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn a_training_job_that_must_be_new_is_gated_by_one_alone() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    ledger.commit(group, &first()).await.unwrap();
    let gated = |head: &Head, arn: &str| {
        let job = record("fraud-train-1", arn);
        Commit {
            new_jobs: vec![job.job.clone()],
            jobs: vec![job],
            ..next(head, group, 1)
        }
    };
    let one = gated(&first().head, "one");
    ledger.commit(group, &one).await.unwrap();
    let known = |arn: &str| Some(record("fraud-train-1", arn));
    let job = &one.new_jobs[0];
    assert_eq!(ledger.job(group, job).await.unwrap(), known("one"));

    // Who read the newest head and missed the job alone loses too, and writes nothing.
    let other = gated(&one.head, "other");
    assert_eq!(ledger.commit(group, &other).await, Err(CommitError::Lost));
    assert_eq!(ledger.job(group, job).await.unwrap(), known("one"));
    assert_eq!(ledger.entries(group, 0, 10).await.unwrap().len(), 1);

    // What is known may be written again by who says so.
    let mut again = gated(&one.head, "again");
    again.new_jobs.clear();
    ledger.commit(group, &again).await.unwrap();
    assert_eq!(ledger.job(group, job).await.unwrap(), known("again"));
}

#[tokio::test]
async fn effects_are_forgotten_without_a_race_for_the_state() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    let commit = Commit {
        add: vec![effect("a"), effect("b"), effect("c")],
        ..first()
    };
    ledger.commit(group, &commit).await.unwrap();
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();

    for time in ["first", "second"] {
        let forgotten = ledger.forget(group, &ids(&["a", "c", "never-there"])).await;
        assert_eq!(forgotten, Ok(()), "{time} time");
    }
    let loaded = ledger.load(group, None).await.unwrap().unwrap();
    assert_eq!(loaded.pending, [effect("b")]);
    assert_eq!(loaded.head, commit.head);

    // Who read the state before loses no race for it.
    let after = next(&commit.head, group, 1);
    assert_eq!(ledger.commit(group, &after).await, Ok(()));
}

#[tokio::test]
async fn a_route_leads_to_one_group() {
    let fixture = fixture().await;
    let Fixture {
        ledger,
        group: ours,
        ..
    } = &fixture;
    let endpoint = route(RouteKind::Endpoint, "fraud-prod");
    let tag = route(RouteKind::Tag, "tidegate:pipeline=fraud");
    let mut commit = first();
    commit.routes = vec![endpoint.clone(), tag.clone()];
    ledger.commit(ours, &commit).await.unwrap();
    assert_eq!(ledger.route(&endpoint).await.unwrap(), Some(ours.clone()));
    let found = ledger.routes(RouteKind::Tag).await.unwrap();
    assert_eq!(found, [(tag.clone(), ours.clone())]);

    let theirs = group("other");
    let mut taken = first();
    taken.routes = vec![endpoint.clone()];
    let error = ledger.commit(&theirs, &taken).await.unwrap_err();
    let expected = CommitError::Taken {
        route: endpoint.clone(),
        group: ours.to_string(),
    };
    assert_eq!(error, expected);

    // Ours again is fine, and dropped it is free.
    let mut again = next(&commit.head, ours, 0);
    again.routes = vec![endpoint.clone()];
    again.dropped_routes = vec![tag.clone(), endpoint.clone()];
    ledger.commit(ours, &again).await.unwrap();
    assert_eq!(ledger.route(&tag).await.unwrap(), None);
    assert_eq!(ledger.route(&endpoint).await.unwrap(), Some(ours.clone()));
    let mut dropped = next(&again.head, ours, 0);
    dropped.dropped_routes = vec![endpoint];
    ledger.commit(ours, &dropped).await.unwrap();
    ledger.commit(&theirs, &taken).await.unwrap();
}

#[tokio::test]
async fn jobs_and_finished_rollouts_are_found_again() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    let job = JobName::parse("fraud-train-1").unwrap();
    let record = record("fraud-train-1", "arn");
    let hours = |n: i64| now() + SignedDuration::from_hours(n);
    // Ended in an order that is not that of their ids, one within the second of another.
    let half = hours(2) + SignedDuration::from_millis(500);
    let rollouts = [
        rollout("b", hours(1)),
        rollout("c", hours(2)),
        rollout("a", half),
    ];
    let mut commit = first();
    commit.jobs = vec![record.clone()];
    commit.finished = rollouts.to_vec();
    ledger.commit(group, &commit).await.unwrap();

    assert_eq!(ledger.job(group, &job).await.unwrap(), Some(record));
    let other = JobName::parse("other").unwrap();
    assert_eq!(ledger.job(group, &other).await.unwrap(), None);
    let newest = ledger.rollouts(group, 2).await.unwrap();
    assert_eq!(newest, [rollouts[2].clone(), rollouts[1].clone()]);
    assert_eq!(ledger.rollouts(group, 100).await.unwrap().len(), 3);
    let id = RolloutId("b".to_owned());
    assert_eq!(
        ledger.rollout(group, &id).await.unwrap(),
        Some(rollouts[0].clone())
    );
    let none = RolloutId("z".to_owned());
    assert_eq!(ledger.rollout(group, &none).await.unwrap(), None);
}

#[tokio::test]
async fn ten_thousand_entries_are_read_page_by_page() {
    let fixture = fixture().await;
    let Fixture {
        ledger,
        client,
        table,
        group,
        ..
    } = &fixture;
    // Put as a commit does, but not by one: moto copies the table for each transaction.
    let written = next(&Head::default(), group, 10_000).entries;
    for entries in written.chunks(25) {
        let put = |entry: &Entry| {
            let doc = serde_json::to_string(entry).unwrap();
            let put = PutRequest::builder()
                .item("pk", AttributeValue::S("group#fraud-detection".to_owned()))
                .item("sk", AttributeValue::S(format!("audit#{:010}", entry.n)))
                .item("doc", AttributeValue::S(doc))
                .build()
                .unwrap();
            WriteRequest::builder().put_request(put).build()
        };
        let puts = entries.iter().map(put).collect();
        client
            .batch_write_item()
            .request_items(table, puts)
            .send()
            .await
            .unwrap();
    }
    // The last is written by a commit, whose keys the others' must be like.
    let tip = Tip {
        n: 10_000,
        ..Tip::default()
    };
    let last = next(
        &Head {
            tip,
            ..Head::default()
        },
        group,
        1,
    );
    ledger.commit(group, &last).await.unwrap();
    let written = [written, last.entries].concat();
    let mut read = Vec::new();
    loop {
        let after = read.last().map_or(0, |entry: &Entry| entry.n);
        let page = ledger.entries(group, after, 1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert_eq!(page.len(), if after < 10_000 { 1_000 } else { 1 });
        read.extend(page);
    }
    assert_eq!(read, written);
    assert_eq!(
        ledger.entries(group, 9_998, 1_000).await.unwrap(),
        written[9_998..]
    );
}

#[tokio::test]
async fn a_decision_that_is_too_large_is_refused_whole() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    let mut commit = first();
    commit.add = (0..100).map(|n| effect(&format!("{n:03}"))).collect();
    let error = ledger.commit(group, &commit).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Ledger(LedgerError::Refused(_))),
        "{error}"
    );
    assert_eq!(ledger.load(group, None).await.unwrap(), None);
}

#[tokio::test]
async fn pending_effects_are_in_the_sparse_index_and_markers_expire() {
    let fixture = fixture().await;
    let Fixture {
        ledger,
        client,
        table,
        group,
        ..
    } = &fixture;
    let mut commit = first();
    commit.add = vec![effect("0000000001-000")];
    commit.seen = Some(EventId("event".to_owned()));
    ledger.commit(group, &commit).await.unwrap();
    let found = client
        .query()
        .table_name(table)
        .index_name("pending")
        .key_condition_expression("pending = :p")
        .expression_attribute_values(":p", AttributeValue::S("effect".to_owned()))
        .send()
        .await
        .unwrap();
    let items = found.items();
    assert_eq!(items.len(), 1);
    assert_eq!(
        items[0]["pk"],
        AttributeValue::S("group#fraud-detection".to_owned())
    );
    let marker = client
        .get_item()
        .table_name(table)
        .key("pk", AttributeValue::S("group#fraud-detection".to_owned()))
        .key("sk", AttributeValue::S("seen#event".to_owned()))
        .send()
        .await
        .unwrap()
        .item
        .unwrap();
    let expires: i64 = marker["expires"].as_n().unwrap().parse().unwrap();
    assert_eq!(expires, now().as_second() + 30 * 86_400);
}

#[tokio::test]
async fn a_pipeline_is_unfinished_while_an_effect_or_a_rollout_is_left() {
    let fixture = fixture().await;
    let Fixture { ledger, group, .. } = &fixture;
    let unfinished = async || ledger.unfinished(10).await.unwrap();
    let mut commit = first();
    ledger.commit(group, &commit).await.unwrap();
    assert_eq!(unfinished().await, []);

    commit = next(&commit.head, group, 0);
    commit.add = vec![effect("0000000002-000"), effect("0000000002-001")];
    ledger.commit(group, &commit).await.unwrap();
    assert_eq!(unfinished().await, std::slice::from_ref(group));

    let mut head = commit.head.clone();
    let running = rollout("production-v2", now());
    head.rollouts.insert(running.stage.clone(), running);
    commit = next(&head, group, 0);
    commit.done = vec!["0000000002-000".to_owned(), "0000000002-001".to_owned()];
    ledger.commit(group, &commit).await.unwrap();
    assert_eq!(unfinished().await, std::slice::from_ref(group));

    let mut head = commit.head.clone();
    head.rollouts.clear();
    commit = next(&head, group, 0);
    ledger.commit(group, &commit).await.unwrap();
    assert_eq!(unfinished().await, []);
}

#[tokio::test]
async fn an_item_changed_by_hand_is_an_error_that_names_it() {
    let fixture = fixture().await;
    let Fixture {
        ledger,
        client,
        table,
        group,
        ..
    } = &fixture;
    ledger.commit(group, &first()).await.unwrap();
    client
        .put_item()
        .table_name(table)
        .item("pk", AttributeValue::S("group#fraud-detection".to_owned()))
        .item("sk", AttributeValue::S("head".to_owned()))
        .item("doc", AttributeValue::S("{\"version\":\"x\"}".to_owned()))
        .send()
        .await
        .unwrap();
    let error = ledger.load(group, None).await.unwrap_err();
    assert!(
        error.to_string().contains("group#fraud-detection head"),
        "{error}"
    );
}

#[tokio::test]
async fn a_table_that_is_not_there_is_named() {
    let fixture = fixture().await;
    let Fixture { client, group, .. } = &fixture;
    let nowhere = DynamoLedger::new(client.clone(), "nowhere");
    let error = nowhere.load(group, None).await.unwrap_err();
    assert!(matches!(error, LedgerError::Refused(_)), "{error}");
    assert!(error.to_string().contains("TIDEGATE_TABLE"), "{error}");
}
