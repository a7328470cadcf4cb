//! Rollouts as tests see them: one that is taken back at its second step, and one that ends well.
//! Counts are made up, evidence and verdicts are the judge's own.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tidegate_core::candidate::Candidate;
use tidegate_core::evidence::{Counts, Evidence, Minute, Rule, Verdict, verdict, verdict_alone};
use tidegate_core::name::{EndpointName, PackageVersion, RolloutId, StageName};
use tidegate_core::pipeline::{self, Stage};
use tidegate_core::rollout::{
    Against, Cause, Crossed, Incumbent, JudgedMinute, Past, Phase, Reason, Rollout, Source,
};

const POLICY: &str = "
[pipeline]
name = \"fraud\"
group = \"fraud-detection\"
[[stage]]
name = \"production\"
endpoint = \"fraud-prod\"
strategy = { canary = [5, 25] }
[[stage.guard]]
metric = \"model_errors\"
[[stage.guard]]
slower_than_ms = 200
ceiling = 0.05
";

/// Requests a minute on the endpoint.
const TRAFFIC: u64 = 1_200;

/// v12 fails on 2 % of its requests where v11 fails on 0.8 %, and is taken back.
pub(crate) fn taken_back(begin: Timestamp) -> Rollout {
    let mut rollout = rollout(begin, 12, 20);
    run(&mut rollout, &[(6, 5), (16, 25)], 16..60);
    let crossed = rollout.crossed.expect("that is worse enough");
    let back = crossed.at + SignedDuration::from_mins(4);
    rollout.weights.push((back, 0));
    rollout.ended = Some(back + SignedDuration::from_mins(5));
    let sentence = rollout.guard_reports()[0].sentence("v12");
    rollout.phase = Phase::RolledBack {
        why: Reason {
            cause: Cause::Guard,
            sentence,
        },
    };
    rollout
}

/// v13 is as good as v12, and becomes the champion.
pub(crate) fn done(begin: Timestamp) -> Rollout {
    let mut rollout = rollout(begin, 13, 8);
    run(&mut rollout, &[(6, 5), (16, 25), (36, 100)], 16..96);
    rollout.ended = Some(begin + SignedDuration::from_mins(100));
    rollout.phase = Phase::Done;
    rollout
}

fn stage() -> Stage {
    let policy = pipeline::parse(POLICY, "sample").expect("the sample's policy is valid");
    policy.stages[0].clone()
}

/// Judges minutes from the first share of traffic on. In the minutes `worse` the canary has
/// `rollout.attempts` bad answers in a thousand, else as many as the champion.
fn run(rollout: &mut Rollout, weights: &[(i64, u8)], worse: std::ops::Range<i64>) {
    let begin = rollout.started;
    let minute = |n: i64| begin + SignedDuration::from_mins(n);
    rollout.weights = weights.iter().map(|(n, w)| (minute(*n), *w)).collect();
    let rule = Rule::from(&rollout.plan.judge);
    let ceilings = [None, Some(0.05)];
    rollout.evidence = ceilings.map(|c| Evidence::new(&rule, c, 1.0)).to_vec();
    for n in weights[0].0..worse.end {
        let weight = weights
            .iter()
            .rev()
            .find(|(at, _)| *at <= n)
            .map_or(0, |w| w.1);
        let on_canary = TRAFFIC * u64::from(weight) / 100;
        let jitter = u64::try_from((n * 7) % 5).unwrap_or(0);
        let rate = if worse.contains(&n) {
            u64::from(rollout.attempts)
        } else {
            8
        };
        let counts = |slow: u64, canary_bad: u64| Minute {
            baseline: of(TRAFFIC - on_canary, if slow > 0 { slow } else { 8 }, jitter),
            canary: of(on_canary, canary_bad, (jitter + 2) % 5),
        };
        let guards = vec![counts(0, rate), counts(12, 12)];
        judge(rollout, &rule, minute(n), weight, guards);
        // It takes some minutes to take a canary back, and they are judged, too.
        if rollout.crossed.is_some_and(|c| minute(n - 3) >= c.at) {
            break;
        }
    }
    rollout.judged_until = Some(minute(worse.end));
    rollout.attempts = 1;
}

fn of(requests: u64, bad_in_a_thousand: u64, jitter: u64) -> Counts {
    // Up to a third more or less than expected.
    let bad = (requests * bad_in_a_thousand * (8 + 2 * jitter) + 6_000) / 12_000;
    Counts::new(requests, bad)
}

fn judge(rollout: &mut Rollout, rule: &Rule, at: Timestamp, weight: u8, guards: Vec<Minute>) {
    let is_alone = weight == 100;
    if is_alone && rollout.past.is_none() {
        let past = |bad| (0..90).map(|n| of(TRAFFIC, bad, n % 5)).collect();
        rollout.past = Some(Past {
            source: Source::Yesterday,
            since: at,
            minutes: vec![past(8), past(12)],
            tolerated: vec![1.5, 1.5],
        });
        let rule = Rule {
            tolerated_ratio: 1.5,
            margin_ratio: 2.25,
            ..*rule
        };
        rollout.alone = [None, Some(0.05)]
            .map(|c| Evidence::new(&rule, c, 1.0))
            .to_vec();
    }
    let since = rollout.past.as_ref().map_or(at, |p| p.since);
    for (g, minute) in guards.iter().enumerate() {
        if is_alone {
            let past = rollout.past.as_ref().map(|p| &p.minutes[g]);
            let n = usize::try_from(at.duration_since(since).as_mins()).unwrap_or(0);
            let baseline = past.and_then(|p| p.get(n)).copied().unwrap_or_default();
            rollout.alone[g].add(&Minute {
                baseline,
                canary: minute.canary,
            });
        } else {
            rollout.evidence[g].add(minute);
        }
    }
    let (says, against) = if is_alone {
        (verdict_alone(rule, &rollout.alone), Against::History)
    } else {
        (verdict(rule, &rollout.evidence), Against::Champion)
    };
    if let (Verdict::RollBack { guard }, None) = (says, rollout.crossed) {
        rollout.crossed = Some(Crossed { guard, against, at });
    }
    let harm = if is_alone {
        rollout
            .alone
            .iter()
            .map(Evidence::strongest_harm)
            .fold(f64::MIN, f64::max)
    } else {
        rollout
            .evidence
            .iter()
            .map(Evidence::harm)
            .fold(f64::MIN, f64::max)
    };
    rollout.minutes.push(JudgedMinute {
        at,
        weight,
        guards,
        harm,
    });
}

fn rollout(started: Timestamp, version: u32, bad_in_a_thousand: u8) -> Rollout {
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
    Rollout {
        id: RolloutId(format!("production-v{version}-0011223344")),
        stage: StageName::parse("production").expect("a name"),
        endpoint: EndpointName::parse("fraud-prod").expect("a name"),
        candidate,
        model: format!("fraud-prod-v{version}-0"),
        canary: format!("v{version}"),
        incumbent: Some(Incumbent {
            version: Some(PackageVersion(11)),
            config: "before".to_owned(),
            variant: "before".to_owned(),
            model: "before".to_owned(),
            count: 2,
            ours: true,
        }),
        config: format!("fraud-prod-v{version}-0"),
        final_config: format!("fraud-prod-v{version}-0-f"),
        final_variant: format!("v{version}f"),
        plan: stage(),
        urgent: false,
        replaces: false,
        phase: Phase::Preparing,
        started,
        ended: None,
        attempts: bad_in_a_thousand,
        refused: None,
        history: Vec::new(),
        evidence: Vec::new(),
        alone: Vec::new(),
        past: None,
        crossed: None,
        observed: None,
        judged_until: None,
        minutes: Vec::new(),
        weights: Vec::new(),
        went_back_by_own_config: false,
        told_of_wait: false,
        asked: None,
        unanswered: None,
    }
}
