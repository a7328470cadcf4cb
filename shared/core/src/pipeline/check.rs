//! What holds between the fields of a policy, and no schema can say.

use std::collections::BTreeMap;

use super::governance::LONGEST_CARD;
use super::is_same_key;
use super::walk::join;
use super::{
    Approvers, CustomMetric, Guard, GuardMetric, Policy, Retrain, Stage, TEMPLATE_NAMES, Training,
};
use crate::preflight::is_pinned;

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
    check_monitor(policy, &mut error);
    super::watching::check::check_all(policy, &mut error);
    check_approvers(&policy.approval, &mut error);
    check_card(policy, &mut error);
    check_image(policy, &mut error);
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

/// An image that every version would be refused for.
fn check_image(policy: &Policy, error: &mut impl FnMut(&str, String)) {
    if let Some(image) = &policy.serve.image
        && policy.preflight.pinned_image
        && !is_pinned(image)
    {
        error(
            "serve.image",
            "is not named by its digest, as preflight.pinned_image asks: name it as \
             repository@sha256:..."
                .to_owned(),
        );
    }
}

/// People who are named one by one have to be as many as are asked for; a role or a pattern may
/// stand for several.
fn check_approvers(approvers: &Approvers, error: &mut impl FnMut(&str, String)) {
    let keys: Vec<&String> = approvers.tags.keys().collect();
    let is_twice = |pair: &(usize, &&String)| keys[..pair.0].iter().any(|k| is_same_key(k, pair.1));
    if let Some((_, key)) = keys.iter().enumerate().find(is_twice) {
        error(
            &join("approval.tags", key),
            "is there in another case already, and IAM takes both for one tag".to_owned(),
        );
    }
    let is_one = |name: &String| !name.contains('*') && !name.contains(":role/");
    let named = approvers.by.len();
    // Tags may stand for any number of people.
    let has_tags = !approvers.tags.is_empty();
    if named > 0
        && !has_tags
        && named < usize::from(approvers.people)
        && approvers.by.iter().all(is_one)
    {
        error(
            "approval.people",
            format!(
                "is {}, and `by` names {named}: nothing could ever be approved",
                approvers.people
            ),
        );
    }
}

/// A card's texts together, as JSON, have to be what SageMaker takes.
fn check_card(policy: &Policy, error: &mut impl FnMut(&str, String)) {
    let Some(card) = &policy.governance.card else {
        return;
    };
    let characters = card.content().chars().count();
    if characters > LONGEST_CARD {
        error(
            "governance.card",
            format!("takes {characters} characters as JSON; SageMaker takes {LONGEST_CARD}"),
        );
    }
}

fn check_monitor(policy: &Policy, error: &mut impl FnMut(&str, String)) {
    let Some(on_drift) = &policy.monitor.on_drift else {
        return;
    };
    let path = "monitor.on_drift";
    match (on_drift.cost_usd_each, on_drift.cost_cap_usd_per_month) {
        (Some(_), None) | (None, Some(_)) => error(
            path,
            "give both cost_usd_each and cost_cap_usd_per_month, or none".to_owned(),
        ),
        (Some(each), Some(cap)) if each > cap => error(
            &format!("{path}.cost_usd_each"),
            format!(
                "is {each}, more than cost_cap_usd_per_month, which is {cap}: none would start"
            ),
        ),
        _ => {}
    }
    for (key, text) in on_drift.retrain.texts() {
        if let Some(name) = unknown_name(text) {
            error(
                &format!("{path}.retrain.{key}"),
                format!(
                    "has {{{name}}}, which nothing is filled in for; there are {}",
                    TEMPLATE_NAMES
                        .iter()
                        .map(|name| format!("{{{name}}}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            );
        }
    }
    let (key, prefix) = match &on_drift.retrain {
        Retrain::TrainingJob { training_job: job } => ("training_job", &job.name_prefix),
        Retrain::TuningJob { tuning_job: job } => ("tuning_job", &job.name_prefix),
        Retrain::Pipeline(_) | Retrain::Event { .. } => return,
    };
    if let Training::JobPrefix(jobs) = policy.training_rule()
        && !format!("{}-", prefix.trim_end_matches('-')).starts_with(&jobs)
    {
        error(
            &format!("{path}.retrain.{key}.name_prefix"),
            format!(
                "does not begin with {jobs:?}, by which pipeline.training knows its jobs: the \
                 retrained model would not be known"
            ),
        );
    }
}

/// What is in braces and has the form of a name, but is none of those that are filled in.
fn unknown_name(text: &str) -> Option<&str> {
    let inner = text
        .split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0));
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut names = inner.filter(is_name);
    names.find(|name| !TEMPLATE_NAMES.contains(name))
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
    super::watching::check::check(stage, path, error);
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
