//! A ledger with a past: a finished rollout, one under way that does badly, and a long trail.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_aws::DynamoLedger;
use tidegate_core::audit::{Context, Draft, What, Who};
use tidegate_core::candidate::Candidate;
use tidegate_core::evidence::{Counts, Evidence, Minute, Rule};
use tidegate_core::head::Champion;
use tidegate_core::ledger::{Commit, Ledger as _};
use tidegate_core::name::{EventId, GroupName, PackageVersion, RolloutId};
use tidegate_core::pipeline::Stage;
use tidegate_core::rollout::{Incumbent, Phase, Rollout};

/// How many entries there are in the end, with the policy's.
const ENTRIES: u64 = 1_202;
/// How many are written at once.
const AT_ONCE: u64 = 90;

/// Puts it on top of a ledger that has the policy and nothing else.
pub(crate) async fn put(ledger: &DynamoLedger) {
    let group = GroupName::parse("fraud-detection").unwrap();
    let snapshot = ledger.load(&group, None).await.unwrap().unwrap();
    let stage = snapshot.applied.policy.stages[1].clone();
    let mut head = snapshot.head;
    let begin = snapshot.applied.at;
    let done = rollout(&stage, 2, begin, Phase::Done);
    let running = rollout(
        &stage,
        3,
        begin,
        Phase::Step {
            index: 0,
            since: Some(begin),
        },
    );
    let champion = Champion {
        candidate: done.candidate.clone(),
        since: begin,
        config: done.final_config.clone(),
        variant: done.final_variant.clone(),
        model: done.model.clone(),
        previous: None,
    };
    head.champions.insert(stage.name.clone(), champion);
    head.rollouts.insert(stage.name.clone(), running);
    let mut finished = vec![done];

    while head.tip.n < ENTRIES {
        let expected = head.version;
        head.version += 1;
        let context = Context {
            group: &group,
            event: &EventId(format!("event-{expected}")),
            at: begin + SignedDuration::from_secs(i64::try_from(expected).unwrap()),
            policy_version: 1,
            commit: None,
        };
        let left = (ENTRIES - head.tip.n).min(AT_ONCE);
        let entries = (0..left)
            .map(|i| {
                let why = format!("Minute {i} was judged.");
                let facts = json!({ "minute": i, "harm": 0.1 });
                head.tip.seal(
                    &context,
                    Draft {
                        who: Who::Tidegate,
                        what: What::StepHeld,
                        why,
                        facts,
                    },
                )
            })
            .collect();
        let commit = Commit {
            entries,
            finished: std::mem::take(&mut finished),
            ..Commit::of(expected, head.clone())
        };
        ledger.commit(&group, &commit).await.unwrap();
    }
}

fn rollout(stage: &Stage, version: u32, started: Timestamp, phase: Phase) -> Rollout {
    let candidate = Candidate {
        version: PackageVersion(version),
        package: format!(
            "arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud-detection/{version}"
        ),
        approved_at: started,
        approved_by: None,
        metrics: BTreeMap::new(),
        job: None,
        artifact: None,
        finding: None,
    };
    let mut evidence = Evidence::new(&Rule::from(&stage.judge), None, 1.0);
    evidence.add(&Minute {
        baseline: Counts {
            requests: 9_500,
            bad: 20,
        },
        canary: Counts {
            requests: 500,
            bad: 50,
        },
    });
    let minute = |n| started + SignedDuration::from_mins(n);
    Rollout {
        id: RolloutId(format!("production-v{version}-0011223344")),
        stage: stage.name.clone(),
        endpoint: stage.endpoint.clone(),
        candidate,
        model: format!("fraud-prod-v{version}-0"),
        canary: format!("v{version}"),
        incumbent: Some(Incumbent {
            version: Some(PackageVersion(version - 1)),
            config: "fraud-prod-before".to_owned(),
            variant: "before".to_owned(),
            model: "before".to_owned(),
            count: 2,
            ours: true,
        }),
        config: format!("fraud-prod-v{version}-0"),
        final_config: format!("fraud-prod-v{version}-0-f"),
        final_variant: format!("v{version}"),
        plan: stage.clone(),
        urgent: false,
        replaces: false,
        refused: None,
        ended: (phase == Phase::Done).then(|| minute(40)),
        phase,
        started,
        attempts: 1,
        history: Vec::new(),
        evidence: vec![evidence],
        alone: Vec::new(),
        judged_until: Some(minute(12)),
        minutes: Vec::new(),
        weights: vec![(minute(10), 5)],
        told_of_wait: false,
        asked: None,
        unanswered: None,
        went_back_by_own_config: false,
        past: None,
        crossed: None,
        observed: None,
    }
}
