//! A rollout's minutes and its past, with hand-made answers of `CloudWatch`.
#![allow(clippy::unwrap_used)]

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::facts::Facts;
use crate::name::{EndpointName, PackageVersion, RolloutId, StageName};
use crate::pipeline;
use crate::world::{Answer, MinuteCounts, Question};

mod blindness;
mod looks;
mod minutes;
mod past_of_champion;

const START: &str = "2026-03-02T10:00:00Z";

fn at(minute: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn plan(extra: &str) -> Stage {
    let text = format!(
        "[pipeline]\nname = \"p\"\ngroup = \"g\"\n[[stage]]\nname = \"production\"\n\
         endpoint = \"e\"\n{extra}"
    );
    pipeline::parse(&text, "p.toml").unwrap().stages.remove(0)
}

/// A canary at 10 % since minute 0, the champion's history quiet.
fn canary(plan: &Stage) -> Rollout {
    let history = vec![vec![Counts::new(1_000, 10); 180]; plan.guards_or_default().len()];
    Rollout {
        id: RolloutId("production-v2-0123456789".to_owned()),
        stage: StageName::parse("production").unwrap(),
        endpoint: EndpointName::parse("e").unwrap(),
        candidate: Candidate {
            version: PackageVersion(2),
            package: "arn:aws:sagemaker:us-east-1:123456789012:model-package/g/2".to_owned(),
            approved_at: at(-60),
            approved_by: None,
            metrics: crate::gate::Metrics::new(),
            job: None,
            artifact: None,
            finding: None,
        },
        model: "e-v2".to_owned(),
        canary: "v2".to_owned(),
        incumbent: Some(Incumbent {
            version: Some(PackageVersion(1)),
            config: "e-v1-f".to_owned(),
            variant: "v1".to_owned(),
            model: "e-v1".to_owned(),
            count: 1,
            ours: true,
        }),
        config: "e-v2-c".to_owned(),
        final_config: "e-v2-f".to_owned(),
        final_variant: "v2".to_owned(),
        plan: plan.clone(),
        urgent: false,
        replaces: false,
        phase: Phase::Step {
            index: 0,
            since: Some(at(0)),
        },
        started: at(-20),
        ended: None,
        attempts: 1,
        refused: None,
        evidence: judge::fresh_evidence(plan, &history),
        history,
        alone: Vec::new(),
        past: None,
        crossed: None,
        observed: None,
        judged_until: Some(at(0)),
        minutes: Vec::new(),
        weights: vec![(at(0), 10)],
        went_back_by_own_config: false,
        told_of_wait: false,
        asked: None,
        unanswered: None,
    }
}

/// What `CloudWatch` says, by variant, guard and minute.
trait Cloud: Fn(&str, usize, Timestamp) -> Counts {}
impl<F: Fn(&str, usize, Timestamp) -> Counts> Cloud for F {}

/// One look at `now`: everything that is asked is answered.
fn look(rollout: &mut Rollout, now: Timestamp, cloud: &impl Cloud) {
    let mut facts = Facts::default();
    let mut questions = past::questions(rollout);
    questions.extend(judge::minutes_question(rollout, now));
    for question in questions {
        let answer = answer(&question, cloud);
        facts.add(question, answer);
    }
    judge::judge(rollout, &facts, now);
}

fn answer(question: &Question, cloud: &impl Cloud) -> Answer {
    let (Question::Minutes {
        variants,
        guards,
        from,
        to,
        ..
    }
    | Question::Hours {
        variants,
        guards,
        from,
        to,
        ..
    }) = question
    else {
        panic!("{question:?}");
    };
    let step = if matches!(question, Question::Hours { .. }) {
        60
    } else {
        1
    };
    let mut answers = Vec::new();
    let mut minute = *from;
    while minute < *to {
        let sum = |variant: &String, guard: usize| {
            (0..step).fold(Counts::default(), |sum, i| {
                sum.plus(cloud(variant, guard, minute + SignedDuration::from_mins(i)))
            })
        };
        answers.push(MinuteCounts {
            at: minute,
            variants: variants
                .iter()
                .map(|v| (0..guards.len()).map(|g| sum(v, g)).collect())
                .collect(),
        });
        minute += SignedDuration::from_mins(step);
    }
    Answer::Minutes(answers)
}
