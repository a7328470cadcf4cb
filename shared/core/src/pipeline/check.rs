//! What holds between the fields of a policy, and no schema can say.

use std::collections::BTreeMap;

use super::walk::join;
use super::{CustomMetric, Guard, GuardMetric, Policy, Stage};

/// Calls `error` with the dotted key and the message for each rule that is broken.
pub(super) fn check(policy: &Policy, mut error: impl FnMut(&str, String)) {
    for (index, rule) in policy.gate.require.iter().enumerate() {
        if let (Some(least), Some(most)) = (rule.at_least, rule.at_most)
            && least > most
        {
            error(
                &format!("gate.require[{index}]"),
                format!("no value is at least {least} and at most {most}"),
            );
        }
    }
    let mut names = BTreeMap::new();
    let mut endpoints = BTreeMap::new();
    for (index, stage) in policy.stages.iter().enumerate() {
        if let Some(first) = names.insert(stage.name.clone(), index) {
            let message = format!(
                "stage[{first}] has the name {:?} already",
                stage.name.as_str()
            );
            error(&format!("stage[{index}].name"), message);
        }
        if let Some(first) = endpoints.insert(stage.endpoint.clone(), index) {
            let message = format!(
                "stage[{first}] has the endpoint {:?} already; a stage has an endpoint of its own",
                stage.endpoint.as_str()
            );
            error(&format!("stage[{index}].endpoint"), message);
        }
        check_stage(stage, &format!("stage[{index}]"), &mut error);
    }
}

fn check_stage(stage: &Stage, path: &str, error: &mut impl FnMut(&str, String)) {
    let bytes = serde_json::to_string(stage).map_or(0, |json| json.len());
    if bytes > LONGEST_STAGE {
        error(
            path,
            format!(
                "takes {bytes} bytes in the state of a rollout, which keeps it; a stage can take \
                 {LONGEST_STAGE}: give it fewer or shorter `smoke` requests, or custom guards with \
                 fewer or shorter `dimensions`"
            ),
        );
    }
    let strategy = &stage.strategy;
    let falls = |pair: &[u8]| pair[1] <= pair[0];
    if let Some(at) = strategy.canary.windows(2).position(falls) {
        error(
            &format!("{path}.strategy.canary[{}]", at + 1),
            format!(
                "is {} after {}; the shares have to rise",
                strategy.canary[at + 1],
                strategy.canary[at]
            ),
        );
    }
    if let Some(longest) = strategy.max_minutes
        && longest < strategy.minutes
    {
        error(
            &format!("{path}.strategy.max_minutes"),
            format!(
                "is {longest}, less than minutes, which is {}",
                strategy.minutes
            ),
        );
    }
    let judge = &stage.judge;
    if judge.margin_ratio <= judge.tolerated_ratio {
        error(
            &format!("{path}.judge.margin_ratio"),
            format!(
                "is {}; it has to be more than tolerated_ratio, which is {}",
                judge.margin_ratio, judge.tolerated_ratio
            ),
        );
    }
    if judge.warmup_minutes >= strategy.minutes {
        error(
            &format!("{path}.judge.warmup_minutes"),
            format!(
                "is {}; it has to be less than strategy.minutes, which is {}, or a step could end \
                 without a minute that counts",
                judge.warmup_minutes, strategy.minutes
            ),
        );
    }
    for (index, guard) in stage.guards.iter().enumerate() {
        let path = format!("{path}.guard[{index}]");
        check_guard(guard, &stage.guards[..index], &path, error);
    }
}

fn check_guard(guard: &Guard, earlier: &[Guard], path: &str, error: &mut impl FnMut(&str, String)) {
    let words = guard.metric.words();
    let same = |each: &Guard| watches(&each.metric, &guard.metric);
    if let Some(first) = earlier.iter().position(same) {
        error(path, format!("guard[{first}] watches the same already"));
    } else if let Some(first) = earlier.iter().position(|each| each.metric.words() == words) {
        error(
            path,
            format!(
                "is called {words:?} as guard[{first}] is; give it a custom.name of its own, so \
                 that people can tell them apart"
            ),
        );
    }
    if let GuardMetric::Custom(custom) = &guard.metric {
        check_custom(custom, &format!("{path}.custom"), error);
    }
}

/// Whether two guards watch the same counts, whatever they are called.
fn watches(one: &GuardMetric, other: &GuardMetric) -> bool {
    match (one, other) {
        (GuardMetric::Custom(one), GuardMetric::Custom(other)) => {
            let of = |custom: &CustomMetric| CustomMetric {
                name: None,
                ..custom.clone()
            };
            of(one) == of(other)
        }
        _ => one == other,
    }
}

fn check_custom(custom: &CustomMetric, path: &str, error: &mut impl FnMut(&str, String)) {
    if custom.bad == custom.all {
        error(
            &format!("{path}.bad"),
            format!(
                "is {:?}, as all is; bad counts the bad events and all counts all events, in two \
                 metrics",
                custom.bad
            ),
        );
    }
    let values = || custom.dimensions.values();
    if !values().any(|value| value.contains("{variant}")) {
        error(
            &format!("{path}.dimensions"),
            "has no {variant} in a value, so champion and canary would have the same counts and \
             no canary would look bad; put {variant} where the variant's name is, for example \
             Variant = \"{variant}\""
                .to_owned(),
        );
    }
    for (name, value) in &custom.dimensions {
        let name_of_any = "n".repeat(LONGEST_NAME);
        let filled = value
            .replace("{endpoint}", &name_of_any)
            .replace("{variant}", &name_of_any)
            .len();
        if filled > LONGEST_VALUE {
            error(
                &join(&format!("{path}.dimensions"), name),
                format!(
                    "may have {filled} characters when it is filled in; CloudWatch takes \
                     {LONGEST_VALUE}"
                ),
            );
        }
    }
}

/// The longest stage, bytes of JSON: up to five rollouts keep theirs in one item of the ledger.
pub(crate) const LONGEST_STAGE: usize = 16 * 1024;
/// The longest name of an endpoint or a variant.
const LONGEST_NAME: usize = 63;
/// The longest value of a dimension.
const LONGEST_VALUE: usize = 1_024;
