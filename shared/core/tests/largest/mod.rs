//! The largest things that a policy, AWS and the bounds in the code allow, of letters and digits
//! that no compression helps.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use tidegate_core::candidate::{Candidate, LONGEST_METRICS};
use tidegate_core::event::Approval;
use tidegate_core::evidence::{Counts, Evidence, MOST_COUNT, Minute, Rule};
use tidegate_core::finding::FindingKind;
use tidegate_core::gate::Metrics;
use tidegate_core::head::{Champion, Head, Waiting};
use tidegate_core::monitors::{Kept, LONGEST_WHY, MOST_KEPT, MOST_TRIES, Monitors};
use tidegate_core::name::{
    EndpointName, JobName, PackageVersion, RolloutId, ScheduleName, StageName, TuningName,
};
use tidegate_core::pipeline::{MonitorKind, Policy, Stage, parse};
use tidegate_core::rollout::{
    Asked, HISTORY_MINUTES, Incumbent, JudgedMinute, MOST_WEIGHTS, Past, Phase, Reason, Rollout,
    Source, kept_minutes,
};

/// Numbers that look random, the same in each run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Self(42)
    }

    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        // Knuth's constants; the low digits of such a sequence repeat, the high ones don't.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % below
    }

    /// A text of so many characters that every name and ARN may have.
    pub(crate) fn word(&mut self, characters: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let mut letter = || LETTERS[usize::try_from(self.roll(62)).unwrap()] as char;
        (0..characters).map(|_| letter()).collect()
    }

    fn counts(&mut self) -> Counts {
        Counts::new(self.roll(MOST_COUNT), self.roll(MOST_COUNT))
    }

    fn minute(&mut self) -> Minute {
        Minute {
            baseline: self.counts(),
            canary: self.counts(),
        }
    }

    fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.roll(1 << 32)).unwrap()) / 7.0
    }
}

pub(crate) fn start() -> Timestamp {
    "2026-01-01T00:00:00.123456789Z".parse().unwrap()
}

/// A policy of five stages, each as long as it may be, and of so many guards each.
pub(crate) fn policy(dice: &mut Dice, guards: usize) -> Policy {
    let mut text = format!(
        "[pipeline]\nname = \"{}\"\ngroup = \"{}\"\n[monitor]\nschedules = [",
        dice.word(63),
        dice.word(63)
    );
    for _ in 0..40 {
        write!(text, "\"{}\", ", dice.word(63)).unwrap();
    }
    text.push_str("]\n");
    for _ in 0..5 {
        let (name, endpoint) = (dice.word(63), dice.word(63));
        let smoke: Vec<String> = (0..4)
            .map(|_| format!("\"s3://bucket/{}\"", dice.word(900)))
            .collect();
        let smoke = smoke.join(", ");
        write!(
            text,
            "[[stage]]\nname = \"{name}\"\nendpoint = \"{endpoint}\"\nsmoke = [{smoke}]\n"
        )
        .unwrap();
        for _ in 0..guards {
            let [name, space, bad, all] = [(); 4].map(|()| dice.word(255));
            let value = dice.word(11_000 / guards - 1_200);
            write!(
                text,
                "[[stage.guard]]\ncustom = {{ name = \"{name}\", namespace = \"{space}\", \
                 bad = \"{bad}\", all = \"{all}\", dimensions = {{ V = \"{{variant}}\" "
            )
            .unwrap();
            for (n, part) in value.as_bytes().chunks(800).enumerate() {
                let part = std::str::from_utf8(part).unwrap();
                write!(text, ", d{n} = \"{part}\"").unwrap();
            }
            text.push_str(" } }\n");
        }
    }
    parse(&text, "largest.toml").unwrap()
}

pub(crate) fn candidate(dice: &mut Dice) -> Candidate {
    let names = LONGEST_METRICS / 156;
    Candidate {
        version: PackageVersion(u32::MAX - u32::try_from(dice.roll(1_000)).unwrap()),
        package: format!("arn:aws:sagemaker:{}", dice.word(170)),
        approved_at: start(),
        approved_by: Some(dice.word(512)),
        metrics: (0..names)
            .map(|_| (dice.word(128), dice.fraction()))
            .collect::<Metrics>(),
        job: Some(dice.word(256)),
        artifact: Some(dice.word(64)),
        finding: Some(dice.word(256)),
    }
}

/// A rollout that keeps all that it may.
pub(crate) fn rollout(dice: &mut Dice, stage: &Stage) -> Rollout {
    let guards = stage.guards.len();
    let minutes = kept_minutes(guards);
    let evidence = |dice: &mut Dice| -> Vec<Evidence> {
        let new = |_| Evidence::new(&Rule::from(&stage.judge), Some(0.123_456_789), 1.234_567_89);
        let mut all: Vec<Evidence> = (0..guards).map(new).collect();
        for evidence in &mut all {
            (0..3).for_each(|_| evidence.add(&dice.minute()));
        }
        all
    };
    let columns = |dice: &mut Dice, n: usize| -> Vec<Vec<Counts>> {
        (0..guards)
            .map(|_| (0..n).map(|_| dice.counts()).collect())
            .collect()
    };
    let at = |n: usize| start() + SignedDuration::from_mins(i64::try_from(n).unwrap());
    Rollout {
        id: RolloutId(dice.word(63)),
        stage: stage.name.clone(),
        endpoint: stage.endpoint.clone(),
        candidate: candidate(dice),
        model: dice.word(63),
        canary: dice.word(63),
        incumbent: Some(Incumbent {
            version: Some(PackageVersion(u32::MAX)),
            config: dice.word(63),
            variant: dice.word(63),
            model: dice.word(63),
            count: 1_000,
            ours: true,
        }),
        config: dice.word(63),
        final_config: dice.word(63),
        final_variant: dice.word(63),
        plan: stage.clone(),
        urgent: false,
        replaces: false,
        phase: Phase::RollingBack {
            why: Reason {
                cause: tidegate_core::rollout::Cause::Deployment,
                sentence: dice.word(10_000),
            },
            undo: tidegate_core::rollout::Undo::Shift,
        },
        started: start(),
        ended: Some(start()),
        attempts: 2,
        refused: Some(dice.word(10_000)),
        history: columns(dice, usize::try_from(HISTORY_MINUTES).unwrap()),
        evidence: evidence(dice),
        alone: evidence(dice),
        past: Some(Past {
            source: Source::Yesterday,
            since: start(),
            minutes: columns(dice, minutes / 3),
            tolerated: (0..guards).map(|_| dice.fraction()).collect(),
        }),
        crossed: None,
        observed: None,
        judged_until: Some(start()),
        minutes: (0..minutes)
            .map(|n| JudgedMinute {
                at: at(n),
                weight: u8::try_from(n % 100).unwrap(),
                guards: (0..guards).map(|_| dice.minute()).collect(),
                harm: dice.fraction(),
            })
            .collect(),
        weights: (0..10 * MOST_WEIGHTS)
            .map(|n| (at(n), u8::try_from(n % 100).unwrap()))
            .collect(),
        went_back_by_own_config: true,
        told_of_wait: true,
        unanswered: None,
        asked: Some(Asked {
            of: Some(start()),
            looks: 5,
        }),
    }
}

/// As many monitors as are kept, each given up with a long reason.
fn monitors(dice: &mut Dice) -> Monitors {
    let kept = |dice: &mut Dice| {
        let kept = Kept {
            kind: MonitorKind::DataQuality,
            endpoint: EndpointName::parse(&dice.word(63)).unwrap(),
            version: PackageVersion(u32::MAX),
            phase: tidegate_core::monitors::Phase::Failed {
                why: dice.word(LONGEST_WHY),
                made: true,
                since: Some(start()),
            },
            batch: true,
            tries: MOST_TRIES,
            told: Some(dice.word(8)),
            deleted: Some(start()),
        };
        (ScheduleName::parse(&dice.word(63)).unwrap(), kept)
    };
    Monitors {
        are_wanted: true,
        kept: (0..MOST_KEPT).map(|_| kept(dice)).collect(),
        ..Monitors::default()
    }
}

/// A state with everything in it that there may be, before it was made to fit.
pub(crate) fn head(dice: &mut Dice, policy: &Policy) -> Head {
    let stages = &policy.stages;
    let champions: BTreeMap<StageName, Champion> = stages
        .iter()
        .map(|stage| {
            let champion = Champion {
                candidate: candidate(dice),
                since: start(),
                config: dice.word(63),
                variant: dice.word(63),
                model: dice.word(63),
                previous: Some(candidate(dice)),
            };
            (stage.name.clone(), champion)
        })
        .collect();
    let waiting = |dice: &mut Dice, stage: &Stage| {
        let waiting = Waiting {
            candidate: candidate(dice),
            urgent: true,
            told: true,
        };
        (stage.name.clone(), waiting)
    };
    let carrier = |dice: &mut Dice, stage: &Stage| -> (EndpointName, String) {
        (stage.endpoint.clone(), dice.word(63))
    };
    let month = |n: u64| start() + SignedDuration::from_secs(i64::try_from(n * 2_591).unwrap());
    let mut head = Head {
        version: u64::from(u32::MAX),
        now: Some(start()),
        champions,
        rollouts: stages
            .iter()
            .map(|stage| (stage.name.clone(), rollout(dice, stage)))
            .collect(),
        waiting: stages.iter().map(|stage| waiting(dice, stage)).collect(),
        retrainings: (0..1_000).map(month).collect(),
        would_retrain: (0..1_000).map(month).collect(),
        carriers: stages.iter().map(|stage| carrier(dice, stage)).collect(),
        monitors: monitors(dice),
        ..Head::default()
    };
    for n in 0..200 {
        let version = PackageVersion(u32::MAX - n);
        head.remember_approval(version, Approval::PendingManualApproval, start());
        head.is_known_finding(&dice.word(145));
        head.remember_gated(version);
        for _ in 0..5 {
            head.vote(version, &dice.word(60));
        }
        head.wait_for(&TuningName::parse(&dice.word(63)).unwrap());
        head.remember_creator(JobName::parse(&dice.word(63)).unwrap(), &dice.word(60));
    }
    head.watch(&policy.monitor.schedules);
    // A storm of each kind on each endpoint, of earlier versions too, and by each listed schedule.
    for kind in FindingKind::ALL {
        let words = kind.words();
        let of_stage = |stage: &Stage| {
            let endpoint = &stage.endpoint;
            [
                format!("{endpoint}/{words}"),
                format!("{endpoint}/earlier/{words}"),
            ]
        };
        let endpoint = &stages.last().unwrap().endpoint;
        let schedules = policy.monitor.schedules.iter();
        let of_schedules = schedules.map(|name| format!("{endpoint}/{name}/{words}"));
        let keys: Vec<String> = stages
            .iter()
            .flat_map(of_stage)
            .chain(of_schedules)
            .collect();
        for key in keys {
            head.is_to_be_told(&key, SignedDuration::ZERO, start());
        }
    }
    head
}
