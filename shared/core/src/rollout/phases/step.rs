//! The steps of a canary: each has its share of the traffic for as long as its evidence needs.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{FEWEST_MINUTES, has_share, hold_blind};
use crate::audit::What;
use crate::decision::Note;
use crate::evidence::Verdict;
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::pipeline::OnLowTraffic;
use crate::rollout::moves::Moves;
use crate::rollout::share::{share_before, shift};
use crate::rollout::{Cause, Phase, Reason, Rollout, judge, undo};
use crate::world::Endpoint;

pub(super) fn start_step(rollout: &mut Rollout, index: usize, moves: &mut Moves) {
    rollout.attempts = 1;
    rollout.told_of_wait = false;
    if let Some(share) = rollout.plan.strategy.canary.get(index).copied() {
        rollout.phase = Phase::Step { index, since: None };
        shift(rollout, share, moves);
    } else {
        rollout.phase = Phase::Promoting;
        shift(rollout, 100, moves);
    }
}

pub(in crate::rollout) fn step(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    index: usize,
    since: Option<Timestamp>,
    now: Timestamp,
    moves: &mut Moves,
) {
    let shares = rollout.plan.strategy.canary.clone();
    let Some(&share) = shares.get(index) else {
        start_step(rollout, index, moves);
        return;
    };
    let before = share_before(rollout, index);
    if !has_share(
        rollout,
        endpoint,
        share,
        before,
        since.is_some(),
        now,
        moves,
    ) {
        return;
    }
    let Some(since) = since else {
        rollout.phase = Phase::Step {
            index,
            since: Some(now),
        };
        rollout.weights.push((now, share));
        moves.notes.push(
            Note::new(
                What::StepStarted,
                format!(
                    "Step {} of {}: {} has {share} % of the traffic of {}.",
                    index + 1,
                    shares.len(),
                    rollout.candidate.version,
                    rollout.endpoint
                ),
                json!({ "share": share, "guards": judge::summary(rollout) }),
            )
            .rollout(rollout),
        );
        return;
    };
    let strategy = rollout.plan.strategy.clone();
    let requests = judge::requests_since(rollout, since);
    let judged = judge::judged_since(rollout, since, now);
    let blind = judge::blind_guard(rollout, since);
    // What was safe at a smaller share is no word on a guard that has gone blind since.
    let is_safe = blind.is_none() && judge::says(rollout) == Verdict::Safe;
    let early = is_safe && judged >= FEWEST_MINUTES.min(strategy.minutes);
    if early || Mutation::EndStepEarly.is_on() {
        start_step(rollout, index + 1, moves);
        return;
    }
    if judge::minutes_since(rollout, since, now) < strategy.minutes {
        return;
    }
    if let Some(guard) = blind {
        hold_blind(rollout, guard, share, moves);
        return;
    }
    if requests >= strategy.min_requests {
        if judged >= strategy.minutes {
            start_step(rollout, index + 1, moves);
        }
        return;
    }
    let longest = SignedDuration::from_mins(i64::from(strategy.longest_minutes()));
    if now.duration_since(since) >= longest {
        low_traffic(rollout, index, share, requests, now, moves);
    }
}

/// A step had too few requests by its longest time: the policy decides, and people are told.
fn low_traffic(
    rollout: &mut Rollout,
    index: usize,
    share: u8,
    requests: u64,
    now: Timestamp,
    moves: &mut Moves,
) {
    let strategy = rollout.plan.strategy.clone();
    let sentence = format!(
        "{} had {requests} requests in {} minutes of step {}, fewer than the {} that the policy \
         asks for",
        rollout.candidate.version,
        strategy.longest_minutes(),
        index + 1,
        strategy.min_requests
    );
    match strategy.on_low_traffic {
        _ if Mutation::PromoteOnHold.is_on() => start_step(rollout, index + 1, moves),
        OnLowTraffic::Promote => {
            let next = match strategy.canary.get(index + 1) {
                Some(next) => format!("{next} %"),
                None => "all".to_owned(),
            };
            moves.notes.push(
                Note::new(
                    What::StepHeld,
                    format!("{sentence}; the policy promotes then"),
                    json!({ "requests": requests, "guards": judge::summary(rollout) }),
                )
                .rollout(rollout)
                .tell(
                    Severity::Warning,
                    format!(
                        "{} goes on to {next} of {} with too little traffic to tell",
                        rollout.candidate.version, rollout.endpoint
                    ),
                    vec![
                        format!("{sentence}."),
                        "The policy says `on_low_traffic = \"promote\"`.".to_owned(),
                    ],
                ),
            );
            start_step(rollout, index + 1, moves);
        }
        OnLowTraffic::RollBack => {
            undo::roll_back(
                rollout,
                Reason {
                    cause: Cause::LowTraffic,
                    sentence,
                },
                now,
                moves,
            );
        }
        OnLowTraffic::Hold if rollout.told_of_wait => {}
        OnLowTraffic::Hold => {
            rollout.told_of_wait = true;
            moves.notes.push(
                Note::new(
                    What::StepHeld,
                    sentence.clone(),
                    json!({ "requests": requests }),
                )
                .rollout(rollout)
                .tell(
                    Severity::Warning,
                    format!(
                        "{} holds at {share} % on {}: too little traffic",
                        rollout.candidate.version, rollout.endpoint
                    ),
                    vec![
                        format!("{sentence}."),
                        "It goes on by itself when there is enough; `on_low_traffic` in the \
                             policy can say otherwise."
                            .to_owned(),
                    ],
                ),
            );
        }
    }
}
