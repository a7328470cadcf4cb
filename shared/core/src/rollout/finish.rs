//! How a rollout ends, and what it takes away when it does: nothing that it made is left behind,
//! and nothing that somebody else made is touched.

use jiff::Timestamp;
use serde_json::json;

use super::moves::Moves;
use super::names::is_our_model;
use super::{Cause, Incumbent, Phase, Reason, Rollout, judge};
use crate::audit::What;
use crate::decision::Note;
use crate::event::Approval;
use crate::mutation::Mutation;
use crate::name::PackageVersion;
use crate::notice::Severity;
use crate::world::{Effect, Endpoint};

/// The candidate is the champion: the old one goes, as far as Tidegate made it.
pub(crate) fn done(rollout: &mut Rollout, now: Timestamp, moves: &mut Moves) {
    rollout.phase = Phase::Done;
    rollout.ended = Some(now);
    if let Some(incumbent) = &rollout.incumbent {
        if rollout.has_canary() {
            delete_config(&rollout.config, moves);
        }
        if incumbent.ours {
            delete_config(&incumbent.config, moves);
            moves.effects.push(Effect::DeleteModel {
                name: incumbent.model.clone(),
            });
        }
    }
    stop_ticks(rollout, moves);
    let what_went = match &rollout.incumbent {
        None => "It was deployed for the first time.".to_owned(),
        Some(i) if i.ours => format!("The old model {} and its config are deleted.", i.model),
        // Somebody took our model into a config of their own, and may go back by it.
        Some(i) if is_our_model(&rollout.endpoint, &i.model) => format!(
            "The config {} was not made by Tidegate. It is left as it is, and so is the model {}, \
             which it needs: delete both when nothing uses them.",
            i.config, i.model
        ),
        Some(i) => format!(
            "The model {} and the config {} were not made by Tidegate and are left as they are.",
            i.model, i.config
        ),
    };
    moves.notes.push(
        Note::new(
            What::RolloutDone,
            format!(
                "{} serves {}. {what_went}",
                rollout.candidate.version, rollout.endpoint
            ),
            json!({
                "minutes": minutes(rollout, now),
                "weights": rollout.weights,
                "guards": judge::summary(rollout),
                "config": rollout.served_config(),
            }),
        )
        .rollout(rollout)
        .tell(
            Severity::Info,
            format!("{} serves {}", rollout.candidate.version, rollout.endpoint),
            vec![
                what_went,
                format!("The rollout took {} minutes.", minutes(rollout, now)),
            ],
        ),
    );
}

/// The champion is back: the canary goes, and the package is rejected if it is to blame.
pub(super) fn rolled_back(
    rollout: &mut Rollout,
    why: Reason,
    now: Timestamp,
    reject: bool,
    moves: &mut Moves,
) {
    rollout.ended = Some(now);
    clean_up_candidate(rollout, moves);
    if let Some(incumbent) = &rollout.incumbent
        && (rollout.went_back_by_own_config || Mutation::DeleteChampionsConfig.is_on())
        && incumbent.ours
    {
        // The champion serves by another config now.
        delete_config(&incumbent.config, moves);
    }
    let is_rejected = reject && why.cause.blames() && !Mutation::KeepHarmfulApproved.is_on();
    if is_rejected {
        moves.effects.push(Effect::SetApproval {
            arn: rollout.candidate.package.clone(),
            approval: Approval::Rejected,
            why: format!(
                "Tidegate rolled it back on {}: {}",
                rollout.endpoint, why.sentence
            )
            .chars()
            .take(1_024)
            .collect(),
            seen: None,
        });
    }
    stop_ticks(rollout, moves);
    let back = match &rollout.incumbent {
        Some(i) => format!(
            "{} serves all the traffic of {} again.",
            i.version
                .map_or_else(|| format!("The model {}", i.model), |v| v.to_string()),
            rollout.endpoint
        ),
        None => format!("The endpoint {} was taken away again.", rollout.endpoint),
    };
    let version = rollout.candidate.version;
    let package = if is_rejected {
        format!("{} is marked Rejected.", rollout.candidate.version)
    } else if why.cause == Cause::Rejected {
        format!("To try {} again, approve it.", rollout.candidate.version)
    } else {
        format!(
            "{version} keeps its approval. To try it again, {}.",
            anew(version)
        )
    };
    let mut lines = vec![
        back.clone(),
        format!("Why: {}.", why.sentence.trim_end_matches('.')),
        package.clone(),
    ];
    let mut headline = format!(
        "{version} {} on {}",
        match why.cause {
            Cause::Newer => "made way",
            _ => "was rolled back",
        },
        rollout.endpoint
    );
    let mut severity = match why.cause {
        Cause::Newer => Severity::Info,
        _ => Severity::Warning,
    };
    if let Some(incumbent) = rollout.incumbent.as_ref().filter(|_| rollout.urgent)
        && why.cause != Cause::Newer
    {
        let name = serving(incumbent);
        severity = Severity::Action;
        headline = format!("{name} is Rejected and still serves {}", rollout.endpoint);
        lines.push(format!(
            "{} was to take over from {name}, which was rejected. Approve another version, or \
             approve {name} again.",
            rollout.candidate.version
        ));
    }
    let what = if why.cause == Cause::Newer {
        What::Superseded
    } else {
        What::RolledBack
    };
    moves.notes.push(
        Note::new(
            what,
            format!("{back} {package} Why: {}", why.sentence),
            json!({
                "cause": why.cause,
                "minutes": minutes(rollout, now),
                "weights": rollout.weights,
                "guards": judge::summary(rollout),
            }),
        )
        .rollout(rollout)
        .tell(severity, headline, lines),
    );
    rollout.phase = match why.cause {
        Cause::Newer => Phase::Superseded { why },
        _ => Phase::RolledBack { why },
    };
}

/// How a person has a version tried again that is Approved already: only a change is an approval.
pub(super) fn anew(version: PackageVersion) -> String {
    format!("set {version} to PendingManualApproval and back to Approved")
}

/// What served, in a word or three.
pub(super) fn serving(incumbent: &Incumbent) -> String {
    incumbent.version.map_or_else(
        || format!("the model {}", incumbent.model),
        |v| v.to_string(),
    )
}

/// It stops where a person has to look; the endpoint is left as it is.
pub(super) fn fail(rollout: &mut Rollout, why: String, now: Timestamp, moves: &mut Moves) {
    let left = format!(
        "Tidegate leaves the model {} and the config {} as they are: delete them when nothing uses \
         them.",
        rollout.model, rollout.config
    );
    stop(rollout, why, left, now, moves);
}

/// The endpoint is gone: with it goes what was made for the candidate.
pub(super) fn gone(rollout: &mut Rollout, now: Timestamp, moves: &mut Moves) {
    let why = format!(
        "The endpoint {} was deleted during the rollout.",
        rollout.endpoint
    );
    let next = format!(
        "The next version that is approved creates it anew; to have {} do so, {}.",
        rollout.candidate.version,
        anew(rollout.candidate.version)
    );
    stop(rollout, why, next, now, moves);
    clean_up_candidate(rollout, moves);
}

fn stop(rollout: &mut Rollout, why: String, next: String, now: Timestamp, moves: &mut Moves) {
    moves.cancel = true;
    moves.effects.clear();
    rollout.ended = Some(now);
    stop_ticks(rollout, moves);
    moves.notes.push(
        Note::new(
            What::RolloutFailed,
            why.clone(),
            json!({ "phase": rollout.phase_word(), "guards": judge::summary(rollout) }),
        )
        .rollout(rollout)
        .tell(
            Severity::Action,
            format!(
                "The rollout of {} to {} stopped",
                rollout.candidate.version, rollout.endpoint
            ),
            vec![why.clone(), next],
        ),
    );
    rollout.phase = Phase::Failed { why };
}

/// Somebody else changed the endpoint: the rollout stops, nothing of theirs is overwritten.
pub(super) fn foreign(
    rollout: &mut Rollout,
    endpoint: &Endpoint,
    what: &str,
    now: Timestamp,
    moves: &mut Moves,
) {
    if Mutation::IgnoreForeignConfig.is_on() && what == "its config" {
        return;
    }
    let weights: Vec<String> = endpoint
        .variants
        .iter()
        .map(|v| format!("{} at weight {}", v.name, v.desired_weight))
        .collect();
    let why = format!(
        "Somebody else changed {what}: {} serves by the config {} with {}. The rollout stopped and \
         overwrites nothing. To try {} again when the endpoint is as you want it, {}.",
        endpoint.name,
        endpoint.config,
        weights.join(", "),
        rollout.candidate.version,
        anew(rollout.candidate.version),
    );
    moves.notes.push(
        Note::new(
            What::ForeignChange,
            why.clone(),
            json!({ "endpoint": endpoint }),
        )
        .rollout(rollout),
    );
    fail(rollout, why, now, moves);
}

/// Deletes what the rollout made for its candidate.
pub(super) fn clean_up_candidate(rollout: &Rollout, moves: &mut Moves) {
    if !Mutation::LeaveConfig.is_on() {
        delete_config(&rollout.config, moves);
    }
    if !rollout.alone.is_empty() || rollout.all_traffic_since().is_some() {
        delete_config(&rollout.final_config, moves);
    }
    if !Mutation::LeaveModel.is_on() {
        moves.effects.push(Effect::DeleteModel {
            name: rollout.model.clone(),
        });
    }
}

fn delete_config(name: &str, moves: &mut Moves) {
    moves.effects.push(Effect::DeleteEndpointConfig {
        name: name.to_owned(),
    });
}

fn stop_ticks(rollout: &Rollout, moves: &mut Moves) {
    if Mutation::LeaveSchedule.is_on() {
        return;
    }
    moves.effects.push(Effect::StopTicks {
        rollout: rollout.id.clone(),
    });
}

fn minutes(rollout: &Rollout, now: Timestamp) -> i64 {
    now.duration_since(rollout.started).as_mins()
}
