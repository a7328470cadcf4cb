//! Which calls go wrong, and how: each call of a function to an operation, up to a bound, by each
//! fault that can hit it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::Choice;
use super::round::Ended;
use super::stories::Story;
use crate::proxy::{Call, Fault, Kind, Which};

/// Calls of a kind that write are tried up to this one.
const MOST_WRITES: u32 = 8;
/// Calls of a kind that read are tried up to this one: later ones are the same question again.
const MOST_READS: u32 = 2;
/// Cases of a quick run, each story.
const QUICK: usize = 10;
/// What the SDK makes of one call (`tidegate_aws::config`).
const ATTEMPTS: u32 = 3;
/// A good version's first call that users notice; in the bad story, what comes before is the same.
const SHIFT: &str = "UpdateEndpointWeightsAndCapacities";

/// A call of a story that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Case {
    pub(super) story: Story,
    #[serde(flatten)]
    pub(super) which: Which,
    /// Who made the call when nothing went wrong.
    #[serde(rename = "usually_by")]
    pub(super) function: String,
    pub(super) kind: Kind,
}

impl Case {
    /// The fault as the proxy takes it, for the pipeline of this name. Refusals hit all attempts of
    /// the SDK, so that the function meets them; a late answer hits one, which is late enough.
    pub(super) fn fault(&self, pipeline: &str) -> Fault {
        let attempts = match self.kind {
            Kind::DropAnswer | Kind::Throttle | Kind::Error500 => ATTEMPTS,
            Kind::Delay | Kind::Conflict | Kind::KillBefore | Kind::KillAfter => 1,
        };
        Fault {
            which: self.which.clone(),
            pipeline: pipeline.to_owned(),
            kind: self.kind,
            attempts,
        }
    }
}

/// The faults that make a difference to a call. One that only reads does the same whether its
/// caller dies before or after it.
pub(super) fn kinds(operation: &str) -> Vec<Kind> {
    let mut all = vec![
        Kind::DropAnswer,
        Kind::Delay,
        Kind::Throttle,
        Kind::Error500,
    ];
    if operation == "TransactWriteItems" {
        all.push(Kind::Conflict);
    }
    all.push(Kind::KillBefore);
    if !reads(operation) {
        all.push(Kind::KillAfter);
    }
    all
}

fn reads(operation: &str) -> bool {
    let starts = [
        "Describe",
        "Get",
        "List",
        "Query",
        "BatchGet",
        "Simulate",
        "Head",
        "InvokeEndpoint",
    ];
    starts.iter().any(|start| operation.starts_with(start))
}

/// All cases of a choice, from the calls of the stories without faults, in a mixed order.
pub(super) fn cases(clean: &[Ended], choice: &Choice) -> Result<Vec<Case>> {
    let mut all = Vec::new();
    for story in Story::ALL {
        let runs: Vec<&Ended> = clean.iter().filter(|one| one.story == story).collect();
        let mut seen: BTreeMap<Which, Vec<String>> = BTreeMap::new();
        for run in &runs {
            for (which, function) in distinct(story, &run.calls) {
                seen.entry(which).or_default().push(function);
            }
        }
        ensure!(
            !seen.is_empty(),
            "no call of the {} story was seen",
            story.word()
        );
        // A call that only one run made depends on which function was faster.
        seen.retain(|_, made| made.len() * 2 > runs.len());
        let mut cases = Vec::new();
        for (which, made) in seen {
            for kind in kinds(&which.operation) {
                cases.push(Case {
                    story,
                    which: which.clone(),
                    function: made.first().cloned().unwrap_or_default(),
                    kind,
                });
            }
        }
        let is_chosen = |case: &Case| {
            choice
                .operation
                .as_ref()
                .is_none_or(|only| case.which.operation == *only)
                && choice.kind.is_none_or(|only| case.kind == only)
        };
        cases.retain(is_chosen);
        // So that a batch has some of each kind, and a quick choice is spread over all.
        cases.sort_by_key(|case| mixed(case, choice.seed));
        if choice.quick {
            cases.truncate(QUICK);
        }
        all.extend(cases);
    }
    ensure!(!all.is_empty(), "no call of the stories is of that choice");
    all.sort_by_key(|case| mixed(case, choice.seed));
    Ok(all)
}

/// The calls of a story that are tried, with the function that made them: of each function its first
/// ones, counted among those of all functions.
fn distinct(story: Story, calls: &[Call]) -> BTreeMap<Which, String> {
    let from = match story {
        Story::Good => 0,
        Story::Bad => calls
            .iter()
            .find(|call| call.which.operation == SHIFT)
            .map_or(0, |call| call.order),
    };
    let mut made: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut all = BTreeMap::new();
    let counted = calls.iter().filter(|call| call.order >= from);
    for call in counted.filter(|call| call.attempt == 1) {
        let Some(function) = &call.which.function else {
            continue;
        };
        let operation = &call.which.operation;
        let made = made.entry((function, operation)).or_default();
        *made += 1;
        let most = if reads(operation) {
            MOST_READS
        } else {
            MOST_WRITES
        };
        if *made <= most {
            let which = Which {
                function: None,
                operation: operation.clone(),
                nth: call.nth_of_all,
            };
            all.insert(which, function.clone());
        }
    }
    all
}

/// A number that has nothing to do with the order of cases (FNV-1a, then a finisher).
fn mixed(case: &Case, seed: u64) -> u64 {
    let text = format!("{seed} {} {} {}", case.story.word(), case.which, case.kind);
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(order: u64, operation: &str, nth: u32) -> Call {
        Call {
            order,
            which: Which {
                function: Some("canary-shift".to_owned()),
                operation: operation.to_owned(),
                nth,
            },
            nth_of_all: nth,
            attempt: 1,
            service: "sagemaker".to_owned(),
            pipeline: None,
            status: Some(200),
            fault: None,
        }
    }

    #[test]
    fn a_bad_story_is_tried_from_its_first_shift_on() {
        let calls = [
            call(1, "Query", 1),
            call(2, SHIFT, 1),
            call(3, "Query", 2),
            call(4, "Query", 3),
            call(5, "Query", 4),
            call(6, "Query", 5),
        ];
        let numbers = |story| -> Vec<u32> {
            let all = distinct(story, &calls).into_keys();
            all.filter(|one| one.operation == "Query")
                .map(|one| one.nth)
                .collect()
        };
        assert_eq!(numbers(Story::Good), [1, 2]);
        assert_eq!(numbers(Story::Bad), [2, 3]);
    }

    #[test]
    fn only_transactions_meet_others_and_only_writes_are_cut_off_behind() {
        assert!(kinds("TransactWriteItems").contains(&Kind::Conflict));
        assert!(!kinds("CreateModel").contains(&Kind::Conflict));
        assert!(kinds("CreateModel").contains(&Kind::KillAfter));
        assert!(!kinds("DescribeEndpoint").contains(&Kind::KillAfter));
    }
}
