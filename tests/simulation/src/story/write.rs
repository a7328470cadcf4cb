//! Writes the story of a seed: weeks of trainings and approvals, and people at the worst moments.

use tidegate_core::event::Approval;

use super::{Act, Edits, Fate, Plan, Report, Story, Watching, What, monitors};
use crate::dice::Dice;
use crate::fault::{Fault, Weather};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

pub(super) fn story(seed: u64) -> Story {
    let mut dice = Dice::new(seed);
    let is_plain = dice.chance(200);
    let plans = if is_plain { 1 } else { dice.pick(&[1, 1, 2]) };
    let mut plans: Vec<Plan> = (0..plans)
        .map(|index| plan(index, is_plain, &mut dice))
        .collect();
    let mut acts = Vec::new();
    for plan in &plans {
        trainings(plan, is_plain, &mut dice, &mut acts);
        if !is_plain {
            people(plan, &mut dice, &mut acts);
        }
    }
    let mut apart = Dice::new(!seed);
    monitors::add(&mut plans, &mut acts, is_plain, &mut apart);
    let end = acts.iter().map(|a| a.at).max().unwrap_or_default();
    Story {
        seed,
        plans,
        acts,
        weather: weather(is_plain, &mut dice),
        calm_at: end + DAY,
        longest_delay: if is_plain { 2 * HOUR } else { 3 * DAY },
        is_plain,
        only: None,
    }
}

fn plan(index: usize, is_plain: bool, dice: &mut Dice) -> Plan {
    let is_adopted = dice.chance(250);
    Plan {
        index,
        stages: dice.pick(&[1, 1, 1, 2, 2, 3]),
        canary: dice.pick(&[
            vec![5, 25, 50],
            vec![10],
            vec![20, 60],
            vec![1, 50],
            vec![50],
        ]),
        minutes: dice.pick(&[2, 4, 10]),
        min_requests: dice.pick(&[0, 50, 100, 300]),
        bake: dice.pick(&[0, 5, 15, 30]),
        watch: dice.pick(&[0, 3, 10]),
        settle: dice.pick(&[2, 2, 3]),
        warmup: dice.pick(&[0, 0, 1]),
        replaces: dice.chance(500),
        rejects: dice.chance(750),
        is_manual: !is_plain && dice.chance(300),
        on_low_traffic: if is_plain {
            "hold"
        } else {
            dice.pick(&["hold", "hold", "promote", "roll_back"])
        },
        guards: dice.pick(&[0, 0, 1, 2]),
        has_smoke: dice.chance(700),
        by_prefix: dice.chance(250),
        cooldown_hours: dice.chance(700).then(|| dice.pick(&[6, 24, 72])),
        only_tells: dice.chance(200),
        traffic: if is_plain {
            900
        } else {
            dice.pick(&[150, 400, 900])
        },
        is_adopted,
        says_instance: !is_adopted || dice.chance(500),
        watching: Watching::No,
    }
}

fn trainings(plan: &Plan, is_plain: bool, dice: &mut Dice, acts: &mut Vec<Act>) {
    let mut at = HOUR + i64_of(dice.below(3_600));
    for job in 1..=u32::try_from(dice.between(2, 5)).unwrap_or(2) {
        let fate = match dice.below(100) {
            // The first has nothing to be compared with.
            _ if job == 1 => good(is_plain, dice),
            0..60 => good(is_plain, dice),
            60..90 => Fate::Bad(u32::try_from(dice.between(2_000, 5_000)).unwrap_or(2_000)),
            _ if is_plain => good(is_plain, dice),
            _ => Fate::Dead,
        };
        let auc = if job > 1 && dice.chance(100) {
            700
        } else {
            950
        };
        let act = |at, what| Act {
            at,
            plan: plan.index,
            what,
        };
        acts.push(act(at, What::Train { job, auc, fate }));
        if plan.is_manual {
            let later = at + i64_of(dice.between(600, 40 * 3_600));
            acts.push(act(
                later,
                What::Decide {
                    job,
                    approval: Approval::Approved,
                    is_expected: true,
                },
            ));
        }
        at += if dice.chance(60) {
            // As long after the one before as a dead letter is kept.
            i64_of(dice.between(10 * 86_400, 13 * 86_400))
        } else if is_plain {
            3 * DAY + i64_of(dice.below(3_600))
        } else if dice.chance(400) {
            // In the middle of the rollout before.
            i64_of(dice.between(60, 2 * 3_600))
        } else {
            i64_of(dice.between(6 * 3_600, 4 * 86_400))
        };
    }
}

fn good(is_plain: bool, dice: &mut Dice) -> Fate {
    Fate::Good(if is_plain {
        0
    } else {
        dice.pick(&[0, 20, 50, 100])
    })
}

/// What people, autoscaling, monitors and SageMaker do: most of it soon after a training ended or
/// was approved, when it hurts.
fn people(plan: &Plan, dice: &mut Dice, acts: &mut Vec<Act>) {
    let moments: Vec<(i64, u32)> = acts
        .iter()
        .filter(|a| a.plan == plan.index)
        .filter_map(|a| match a.what {
            What::Train { job, .. } | What::Decide { job, .. } => Some((a.at, job)),
            _ => None,
        })
        .collect();
    let n = dice.pick(&[0, 1, 2, 3, 5, 8]);
    for _ in 0..n {
        let (at, job) = dice.pick(&moments);
        let at = at
            + i64_of(if dice.chance(250) {
                dice.between(2, 600)
            } else {
                dice.between(30, 4 * 3_600)
            });
        let what = deed(plan, job, &moments, dice);
        acts.push(Act {
            at,
            plan: plan.index,
            what,
        });
    }
}

fn deed(plan: &Plan, job: u32, moments: &[(i64, u32)], dice: &mut Dice) -> What {
    let stage = usize::try_from(dice.below(plan.stages as u64)).unwrap_or_default();
    let spell = |fault, dice: &mut Dice, longest| What::Spell {
        fault,
        minutes: i64_of(dice.between(3, longest)),
    };
    match dice.below(110) {
        0..25 => What::Decide {
            job: if dice.chance(700) {
                job
            } else {
                dice.pick(moments).1
            },
            approval: dice.pick(&[
                Approval::Approved,
                Approval::Approved,
                Approval::Rejected,
                Approval::Rejected,
                Approval::PendingManualApproval,
            ]),
            is_expected: false,
        },
        25..29 => What::Delete { stage },
        29..33 => What::Reconfigure { stage },
        33..38 => What::Reweight { stage },
        38..44 => What::Scale {
            stage,
            count: u32::try_from(dice.between(1, 12)).unwrap_or(1),
        },
        44..50 => What::Edit(Edits {
            is_renamed: dice.chance(300),
            is_shorter: dice.chance(200),
            more_bake: u32::try_from(dice.below(20)).unwrap_or_default(),
            is_flipped: dice.chance(300),
        }),
        50..62 => What::Violation {
            stage,
            minutes: dice.pick(&[2, 10, 60]),
            report: Report::Drift,
        },
        62..72 => What::Alarm {
            stage,
            names_variant: dice.chance(500),
            minutes: dice.pick(&[1, 5, 60]),
        },
        72..77 => spell(Fault::Undone, dice, 40),
        77..81 => spell(Fault::SlowDeployment, dice, 60),
        81..85 => spell(Fault::Quota, dice, 40),
        85..90 => spell(Fault::MetricGap, dice, 60),
        90..93 => spell(Fault::Quiet, dice, 240),
        93..100 => spell(Fault::Stopped, dice, 300),
        100..107 => spell(Fault::MetricsDown, dice, 90),
        _ => spell(Fault::Raced, dice, 30),
    }
}

/// Some stories are calm, most are rough in some ways, few in all.
fn weather(is_plain: bool, dice: &mut Dice) -> Weather {
    let mut weather = Weather::default();
    let of_calls = [
        (Fault::Crash, 60),
        (Fault::Duplicate, 300),
        (Fault::Twin, 200),
        (Fault::Delay, 150),
        (Fault::Skew, 100),
        (Fault::Throttle, 40),
        (Fault::ErrorBefore, 20),
        (Fault::ErrorAfter, 30),
        (Fault::Slow, 10),
        (Fault::Stale, 200),
        (Fault::Torn, 50),
        (Fault::LostRace, 40),
        (Fault::Conflict, 40),
        (Fault::TickDoubled, 100),
        (Fault::TickLate, 50),
        (Fault::TickLost, 100),
        (Fault::TickSkew, 100),
        (Fault::StaleDescribe, 200),
        (Fault::NotYet, 60),
        (Fault::Redelivered, 60),
    ];
    let of_sagemaker = [
        (Fault::Undone, 60),
        (Fault::UndoneForGood, 10),
        (Fault::WeightsUndone, 30),
        (Fault::SlowDeployment, 60),
    ];
    let of_sagemaker = if is_plain { &[][..] } else { &of_sagemaker[..] };
    for &(fault, most) in of_calls.iter().chain(of_sagemaker) {
        let rate = match dice.below(4) {
            0 | 1 => 0,
            2 => most / 4 + 1,
            _ => most,
        };
        weather.set(fault, rate);
    }
    weather
}

fn i64_of(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
