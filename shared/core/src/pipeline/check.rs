//! What holds between the fields of a policy, and no schema can say.

use std::collections::BTreeMap;

use super::{Policy, Stage};

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
    for (index, guard) in stage.guards.iter().enumerate() {
        let earlier = stage.guards[..index].iter();
        if let Some(first) = earlier.clone().position(|each| each.metric == guard.metric) {
            error(
                &format!("{path}.guard[{index}]"),
                format!("guard[{first}] watches the same already"),
            );
        }
    }
}
