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
use crate::pipeline::Stage;
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
    head.retrainings
        .retain(|at| now.duration_since(*at) < MONTH);
    let cooldown = SignedDuration::from_hours(i64::from(on_drift.cooldown_hours));
    let newest = head.retrainings.iter().max().copied();
    let in_month = head.retrainings.len();
    let most = usize::try_from(on_drift.at_most_per_month).unwrap_or(usize::MAX);
    let withheld = match newest {
        Some(newest) if now.duration_since(newest) < cooldown => Some(format!(
            "The last retraining began at {newest}, less than {} hours ago.",
            on_drift.cooldown_hours
        )),
        _ if in_month >= most => Some(format!(
            "{in_month} retrainings began in the last 30 days, and the policy allows {most}."
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
