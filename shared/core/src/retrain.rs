//! Retraining after drift: at most one per cooldown and so many a month, whatever is reported.

use jiff::SignedDuration;
use serde_json::json;

use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::ledger::Lane;
use crate::mutation::Mutation;
use crate::name::token;
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::{OnDrift, Stage};
use crate::world::{Effect, Findings};

/// The time in which `at_most_per_month` counts.
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Starts a retraining, if the policy has one and its limits allow it.
pub(crate) fn decide(
    case: &Case<'_>,
    stage: &Stage,
    findings: &Findings,
    sentence: &str,
    decision: &mut Decision,
) {
    let Some(on_drift) = &case.policy().monitor.on_drift else {
        decision.notes.push(Note::new(
            What::RetrainingWithheld,
            "The policy names no retraining ([monitor] on_drift).",
            json!({}),
        ));
        return;
    };
    let now = case.now;
    let head = &mut decision.head;
    for list in [&mut head.retrainings, &mut head.would_retrain] {
        list.retain(|at| now.duration_since(*at) < MONTH);
    }
    let cooldown = SignedDuration::from_hours(i64::from(on_drift.cooldown_hours));
    // What would have been started counts as long as nothing is.
    let would: &[_] = if case.observes() {
        &head.would_retrain
    } else {
        &[]
    };
    let newest = head.retrainings.iter().chain(would).max().copied();
    let in_month = head.retrainings.len() + would.len();
    let most = usize::try_from(on_drift.at_most_per_month).unwrap_or(usize::MAX);
    let withheld = match newest {
        Some(newest) if now.duration_since(newest) < cooldown => Some(format!(
            "The last retraining {} at {newest}, less than {} hours ago.",
            began(would.contains(&newest)),
            on_drift.cooldown_hours
        )),
        _ if in_month >= most => Some(format!(
            "{in_month} retrainings {} in the last 30 days, and the policy allows {most}.",
            began(!would.is_empty())
        )),
        _ => None,
    };
    if let Some(why) = withheld {
        decision.notes.push(
            Note::new(
                What::RetrainingWithheld,
                why.clone(),
                json!({ "finding": findings.job }),
            )
            .endpoint(&stage.endpoint)
            .tell(
                Severity::Info,
                format!("No retraining for {} now", stage.endpoint),
                vec![why],
            ),
        );
        return;
    }
    if case.observes() {
        head.would_retrain.push(now);
        decision
            .notes
            .push(would_retrain(stage, on_drift, findings, sentence));
        return;
    }
    if !Mutation::ForgetRetraining.is_on() {
        head.retrainings.push(now);
    }
    let group = &case.policy().pipeline.group;
    let token = token(&format!("{group}\n{}", findings.job));
    decision.effects.push((
        Lane::Retraining(token.clone()),
        Effect::StartRetraining {
            pipeline: on_drift.retrain.pipeline.clone(),
            token,
            parameters: on_drift.retrain.parameters.clone(),
            why: sentence.chars().take(1_000).collect(),
        },
    ));
}

fn began(is_imagined: bool) -> &'static str {
    if is_imagined {
        "would have begun"
    } else {
        "began"
    }
}

fn would_retrain(stage: &Stage, on_drift: &OnDrift, findings: &Findings, sentence: &str) -> Note {
    let pipeline = &on_drift.retrain.pipeline;
    observe::would(
        Severity::Warning,
        format!("Observed: {} would be retrained", stage.endpoint),
        vec![format!(
            "The SageMaker pipeline {pipeline} would be started for {}: {sentence}.",
            stage.endpoint
        )],
        json!({
            "finding": findings.job,
            "pipeline": pipeline,
            "parameters": on_drift.retrain.parameters,
        }),
    )
    .endpoint(&stage.endpoint)
}
