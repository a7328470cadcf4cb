//! A pipeline with a long past beside a new one: each call of the ledger makes as many requests and
//! moves as many bytes for both. `VERSIONS` and `ENTRIES` in the environment say how long the past
//! is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::future::try_join_all;
use jiff::SignedDuration;
use serde_json::json;
use tidegate_aws::ledger::{DynamoLedger, create_table};
use tidegate_core::audit::{Context, Draft, Entry, What, Who};
use tidegate_core::gate::{Judgement, Metrics};
use tidegate_core::head::Head;
use tidegate_core::ledger::{AppliedPolicy, Commit, JobRecord, Ledger, Pending};
use tidegate_core::name::{EventId, GroupName, JobName, PackageVersion, RolloutId};
use tidegate_core::pipeline::parse;
use tidegate_core::world::Effect;

use crate::largest::start;
use crate::support;

/// What a new pipeline has, so that both can be asked for the same.
const FEW_VERSIONS: u32 = 20;
const FEW_ENTRIES: u64 = 60;

/// Counts what goes over the wire.
#[derive(Debug, Clone, Default)]
struct Meter(Arc<[AtomicUsize; 3]>);

impl Meter {
    /// Requests, bytes out and bytes in since it was last asked.
    fn read(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.0[i].swap(0, Ordering::Relaxed))
    }

    fn add(&self, place: usize, n: usize) {
        self.0[place].fetch_add(n, Ordering::Relaxed);
    }
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "meter"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.add(0, 1);
        self.add(1, context.request().body().bytes().map_or(0, <[u8]>::len));
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.add(2, context.response().body().bytes().map_or(0, <[u8]>::len));
        Ok(())
    }
}

struct Town {
    client: aws_sdk_dynamodb::Client,
    ledger: DynamoLedger,
    meter: Meter,
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn write(group: &GroupName, sk: String, doc: &impl serde::Serialize) -> WriteRequest {
    let put = PutRequest::builder()
        .item("pk", text(format!("group#{group}")))
        .item("sk", text(sk))
        .item("doc", text(serde_json::to_string(doc).unwrap()));
    WriteRequest::builder()
        .put_request(put.build().unwrap())
        .build()
}

fn entry(head: &mut Head, group: &GroupName) -> Entry {
    let event = EventId("0123abcd-0123-0123-0123-0123456789ab".to_owned());
    let context = Context {
        group,
        event: &event,
        at: start(),
        policy_version: 1,
        commit: None,
    };
    let draft = Draft {
        who: Who::Tidegate,
        what: What::CandidateGated,
        why: "The model passed.".to_owned(),
        facts: json!({ "auc": 0.93 }),
    };
    head.tip.seal(&context, draft)
}

fn job(group: &GroupName, version: u32) -> JobRecord {
    JobRecord {
        job: JobName::parse(&format!("train-{version:07}")).unwrap(),
        at: start(),
        metrics: Metrics::from([("auc".to_owned(), 0.93)]),
        judgement: Judgement::default(),
        package: Some((format!("arn:{group}/{version:07}"), PackageVersion(version))),
    }
}

impl Town {
    /// A pipeline of so many versions, each with its job, its rollout and an event's marker, and of
    /// so many entries.
    async fn pipeline(&self, name: &str, versions: u32, entries: u64) -> (GroupName, Head) {
        let group = GroupName::parse(name).unwrap();
        let policy = format!(
            "[pipeline]\nname = \"{name}\"\ngroup = \"{name}\"\n[[stage]]\nname = \"production\"\n\
             endpoint = \"{name}\"\n"
        );
        let policy = parse(&policy, "p.toml").unwrap();
        let mut dice = crate::largest::Dice::new();
        let mut rollout = crate::largest::rollout(&mut dice, &policy.stages[0]);
        // All but its record of minutes, so that the table stays small.
        rollout.minutes.truncate(3);
        rollout.past = None;
        rollout.fit();
        let mut head = Head {
            version: 1_000_000,
            now: Some(start()),
            ..Head::default()
        };
        let mut writes = Vec::new();
        for _ in 0..entries {
            let entry = entry(&mut head, &group);
            writes.push(write(&group, format!("audit#{:010}", entry.n), &entry));
        }
        for version in 1..=versions {
            let job = job(&group, version);
            rollout.id = RolloutId(format!("rollout-{version:07}"));
            let ended = start() + SignedDuration::from_mins(i64::from(version));
            let past = format!("past#{:015}#{}", ended.as_millisecond(), rollout.id);
            writes.push(write(&group, format!("job#{}", job.job), &job));
            writes.push(write(&group, format!("rollout#{}", rollout.id), &rollout));
            writes.push(write(&group, past, &()));
            writes.push(write(&group, format!("seen#event-{version}"), &1));
        }
        let calls = writes.chunks(25).map(|chunk| {
            self.client
                .batch_write_item()
                .request_items("tidegate", chunk.to_vec())
                .send()
        });
        let mut calls = calls.peekable();
        while calls.peek().is_some() {
            try_join_all(calls.by_ref().take(8)).await.unwrap();
        }
        let first = Commit {
            policy: Some(AppliedPolicy {
                version: 1,
                commit: None,
                at: start(),
                by: "someone".to_owned(),
                policy,
            }),
            ..Commit::of(0, head.clone())
        };
        self.ledger.commit(&group, &first).await.unwrap();
        (group, head)
    }

    /// Each call of an event and of `tidegate status` and `history`, with what it cost.
    async fn costs(&self, group: &GroupName, head: &Head) -> Vec<(&'static str, [usize; 3])> {
        let ledger = &self.ledger;
        let mut costs = Vec::new();
        self.meter.read();
        let event = EventId("event-new".to_owned());
        let loaded = ledger.load(group, Some(&event)).await.unwrap().unwrap();
        assert_eq!(&loaded.head, head);
        costs.push(("load", self.meter.read()));

        let mut next = Head {
            version: head.version + 1,
            ..head.clone()
        };
        let entries = vec![entry(&mut next, group), entry(&mut next, group)];
        let id = format!("{:012}-000", next.version);
        let commit = Commit {
            seen: Some(event),
            entries,
            add: vec![Pending {
                lane: tidegate_core::ledger::Lane::Notice(id.clone()),
                id,
                at: start(),
                effect: Effect::DeleteModel {
                    name: "m".to_owned(),
                },
            }],
            jobs: vec![job(group, 9_999_999)],
            ..Commit::of(head.version, next)
        };
        ledger.commit(group, &commit).await.unwrap();
        costs.push(("commit", self.meter.read()));

        let last = ledger.entries(group, head.tip.n - 50, 50).await.unwrap();
        assert_eq!(last.len(), 50);
        costs.push(("entries, the newest 50", self.meter.read()));
        let first = ledger.entries(group, 0, 50).await.unwrap();
        assert_eq!(first.len(), 50);
        costs.push(("entries, the oldest 50", self.meter.read()));
        assert_eq!(ledger.rollouts(group, 10).await.unwrap().len(), 10);
        costs.push(("rollouts, the newest 10", self.meter.read()));
        let known = job(group, 1).job;
        assert!(ledger.job(group, &known).await.unwrap().is_some());
        costs.push(("job", self.meter.read()));
        costs
    }
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test]
async fn a_pipeline_with_a_long_past_costs_what_a_new_one_does() {
    let moto = support::moto();
    let client = support::clients(&moto).dynamodb;
    create_table(&client, "tidegate").await.unwrap();
    let meter = Meter::default();
    let config = aws_sdk_dynamodb::config::Builder::from(&support::config(&moto.url))
        .interceptor(meter.clone())
        .build();
    let metered = aws_sdk_dynamodb::Client::from_conf(config);
    let town = Town {
        client,
        ledger: DynamoLedger::new(metered, "tidegate"),
        meter,
    };
    let (versions, entries) = (number("VERSIONS", 1_000), number("ENTRIES", 10_000));
    let (new, new_head) = town.pipeline("new", FEW_VERSIONS, FEW_ENTRIES).await;
    let (old, old_head) = town.pipeline("old", versions, u64::from(entries)).await;
    let new = Box::pin(town.costs(&new, &new_head)).await;
    let old = Box::pin(town.costs(&old, &old_head)).await;
    println!("old: {versions} versions, {entries} entries; new: {FEW_VERSIONS}, {FEW_ENTRIES}");
    println!("{:24} {:>24} {:>24}", "requests, out, in", "new", "old");
    for ((what, new), (_, old)) in new.iter().zip(&old) {
        println!(
            "{what:24} {:>24} {:>24}",
            format!("{new:?}"),
            format!("{old:?}")
        );
        assert_eq!(new[0], old[0], "{what}: requests");
        assert!(
            new[0] > 0 && new[1] > 0 && new[2] > 0,
            "{what}: nothing was counted"
        );
        for place in [1, 2] {
            // Its numbers have more digits.
            let apart = new[place].abs_diff(old[place]);
            assert!(
                apart * 50 <= new[place].max(2_000),
                "{what}: {new:?}, {old:?}"
            );
        }
    }
}
