//! What happened to a rollout, in the words that a person reads first at three in the morning: is
//! it still going on, who serves, and why.

use jiff::Timestamp;
use tidegate_core::rollout::{Phase, Rollout};

use super::facts::who;
use crate::render::{span, utc};

/// What happened, in a sentence or two.
pub(crate) fn told(rollout: &Rollout) -> String {
    let who = who(rollout);
    let endpoint = &rollout.endpoint;
    let before = before(rollout);
    match &rollout.phase {
        Phase::Preparing => format!(
            "{who} is on its way to {endpoint}: its instances come up, and no user meets it yet."
        ),
        Phase::Smoke => format!(
            "{who} is on its way to {endpoint}: it answers smoke requests, and no user meets it yet."
        ),
        Phase::Step { index, since } => {
            let steps = rollout.plan.strategy.canary.len();
            let step = format!("step {} of {steps}", index + 1);
            match (since, share(rollout)) {
                (Some(since), Some(share)) => format!(
                    "{who} has {share} % of {endpoint}'s traffic since {}: {step}.",
                    minute(*since)
                ),
                (_, share) => format!(
                    "{who} has {} % of {endpoint}'s traffic and is on its way to {step}.",
                    share.unwrap_or(0)
                ),
            }
        }
        Phase::Promoting => format!("{who} is getting all of {endpoint}'s traffic."),
        Phase::Baking { since } => format!(
            "{who} has all of {endpoint}'s traffic since {}; {before} is kept for an instant way back.",
            minute(*since)
        ),
        Phase::Reducing { .. } => {
            format!(
                "{who} has all of {endpoint}'s traffic; the rest of what served before goes, and {who} is watched a little longer."
            )
        }
        Phase::Done => {
            let since = rollout.all_traffic_since().or(rollout.ended);
            let since = since.map_or_else(String::new, |at| {
                format!(", all the traffic since {}", minute(at))
            });
            format!("{who} is the champion of {endpoint}{since}.")
        }
        Phase::RollingBack { why, .. } => format!(
            "{who} is being taken back from {endpoint}, to {before}. {}",
            sentence(&why.sentence)
        ),
        Phase::RolledBack { why } => format!(
            "{who} was taken back from {endpoint}{}; {before} serves. {}",
            took(rollout),
            sentence(&why.sentence)
        ),
        Phase::Superseded { why } => format!(
            "{who} made way on {endpoint}{} for a newer version. {}",
            took(rollout),
            sentence(&why.sentence)
        ),
        Phase::Failed { why } => format!(
            "{who} got stuck on its way to {endpoint}: a person has to look. {}",
            sentence(why)
        ),
        Phase::Observing { .. } | Phase::Observed { .. } => observed(rollout, &who),
    }
}

/// A canary that somebody else shifts.
fn observed(rollout: &Rollout, who: &str) -> String {
    // One without a version of its own is "the variant ...".
    let who = who
        .strip_prefix("the ")
        .map_or_else(|| who.to_owned(), |rest| format!("The {rest}"));
    let endpoint = &rollout.endpoint;
    if let Phase::Observed { why, .. } = &rollout.phase {
        let why = sentence(why);
        return format!("{who} was observed on {endpoint}; somebody else shifted it. {why}");
    }
    let verdict = match rollout.crossed {
        Some(crossed) => format!("It would have been taken back at {}.", minute(crossed.at)),
        None if rollout.observed.as_ref().is_some_and(|o| o.told_safe) => {
            "It looks safe.".to_owned()
        }
        None => "Neither harm nor safety is sure yet.".to_owned(),
    };
    format!("{who} is observed on {endpoint}; somebody else shifts it. {verdict}")
}

/// What served before, for people.
fn before(rollout: &Rollout) -> String {
    match &rollout.incumbent {
        Some(incumbent) => incumbent.version.map_or_else(
            || "what served before".to_owned(),
            |version| version.to_string(),
        ),
        None => "nothing".to_owned(),
    }
}

/// The candidate's share of traffic now.
fn share(rollout: &Rollout) -> Option<u8> {
    rollout.weights.last().map(|(_, share)| *share)
}

/// How long users met it.
fn took(rollout: &Rollout) -> String {
    let Some((first, _)) = rollout.weights.iter().find(|(_, share)| *share > 0) else {
        return " before any user met it".to_owned();
    };
    let most = rollout
        .weights
        .iter()
        .map(|(_, share)| *share)
        .max()
        .unwrap_or(0);
    let until = rollout
        .weights
        .iter()
        .rev()
        .take_while(|(_, share)| *share == 0)
        .last()
        .map(|(at, _)| *at)
        .or(rollout.ended);
    until.map_or_else(String::new, |until| {
        let seconds = (until.as_second() - first.as_second()).max(0);
        format!(
            " after {} of traffic, {most} % of it at most",
            span(seconds)
        )
    })
}

/// A reason as a sentence of its own.
fn sentence(why: &str) -> String {
    let why = why.trim();
    let mut chars = why.chars();
    let text: String = chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    });
    if text.is_empty() || text.ends_with(['.', '!', '?']) {
        text
    } else {
        text + "."
    }
}

fn minute(at: Timestamp) -> String {
    format!("{} UTC", utc(at).get(..16).unwrap_or_default())
}
