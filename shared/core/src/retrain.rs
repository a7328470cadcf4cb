//! Retraining after a finding: one at a time, at most one per cooldown, so many a month, and within
//! the cost that the policy allows, whatever is reported.
//!
//! What was withheld is in the audit trail each time, and told once for each reason.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::head::{Head, Withheld};
use crate::ledger::Lane;
use crate::mutation::Mutation;
use crate::name::token;
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::{OnDrift, Stage};
use crate::triage::Found;

mod ancestry;
mod follow;
mod remains;
mod start;

pub use start::{Retraining, Run};

pub(crate) use ancestry::{Ancestry, FINDING_KEY, PARENT_KEY, ancestry};
pub(crate) use remains::{Lost, finding_of, lost, remember_model};

pub(crate) use follow::{
    could_not_start, execution_needs, follow, is_own_job, is_own_tuning, job_ended, needs, started,
    tuning_ended,
};

/// The time in which `at_most_per_month` counts.
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Starts a retraining, if the policy has one and its limits allow it.
pub(crate) fn decide(case: &Case<'_>, stage: &Stage, found: &Found, decision: &mut Decision) {
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
    if let Some((because, why)) = limit(case, on_drift, head) {
        return withhold(stage, found, because, why, decision);
    }
    if case.observes() {
        head.would_retrain.push(now);
        decision.notes.push(would_retrain(stage, on_drift, found));
        return;
    }
    let group = &case.policy().pipeline.group;
    let token = token(&format!("{group}\n{}", found.id));
    let (run, effect) = match start::start(case, stage, on_drift, found, &token) {
        Ok(started) => started,
        Err(why) => {
            return withhold(stage, found, "no-way".to_owned(), why, decision);
        }
    };
    let champion = head.champions.get(&stage.name);
    head.retraining = Some(Box::new(Retraining {
        token: token.clone(),
        run,
        since: now,
        give_up_at: now + SignedDuration::from_hours(i64::from(on_drift.give_up_hours)),
        endpoint: stage.endpoint.clone(),
        parent: champion.map(|c| c.candidate.version),
        finding: found.id.clone(),
        models: BTreeSet::new(),
        withheld: head.withheld.take().map_or(0, |w| w.untold),
        ended: None,
    }));
    if Mutation::ForgetRetraining.is_on() {
        head.retraining = None;
    } else {
        head.retrainings.push(now);
    }
    decision.effects.push((Lane::Retraining(token), effect));
}

/// Which of the policy's limits forbids a retraining now: a word for it, and why.
fn limit(case: &Case<'_>, on_drift: &OnDrift, head: &Head) -> Option<(String, String)> {
    let now = case.now;
    if let Some(running) = head.retraining.as_ref().filter(|r| r.is_under_way()) {
        let why = format!(
            "{} has been under way since {}; one runs at a time.",
            running.run.in_words(),
            running.since
        );
        return Some((format!("under-way/{}", running.token), why));
    }
    // What would have been started counts as long as nothing is.
    let would: &[Timestamp] = if case.observes() {
        &head.would_retrain
    } else {
        &[]
    };
    let newest = head.retrainings.iter().chain(would).max().copied();
    let in_month = head.retrainings.len() + would.len();
    let cooldown = SignedDuration::from_hours(i64::from(on_drift.cooldown_hours));
    let most = usize::try_from(on_drift.at_most_per_month).unwrap_or(usize::MAX);
    if let Some(newest) = newest.filter(|newest| now.duration_since(*newest) < cooldown) {
        let why = format!(
            "The last retraining {} at {newest}, less than {} hours ago.",
            began(would.contains(&newest)),
            on_drift.cooldown_hours
        );
        return Some((format!("cooldown/{newest}"), why));
    }
    let last = newest.map_or_else(|| "none".to_owned(), |newest| newest.to_string());
    if in_month >= most {
        let why = format!(
            "{in_month} retrainings {} in the last 30 days, and the policy allows {most}.",
            began(!would.is_empty())
        );
        return Some((format!("month/{last}"), why));
    }
    let each = on_drift.cost_usd_each?;
    let cap = on_drift.cost_cap_usd_per_month?;
    let spent = each * f64::from(u32::try_from(in_month).unwrap_or(u32::MAX));
    (spent + each > cap).then(|| {
        let why = format!(
            "The retrainings of the last 30 days count for {spent} USD, one more for {each}, and \
             the policy allows {cap} USD a month."
        );
        (format!("cost/{last}"), why)
    })
}

/// Writes down that no retraining starts, and tells people once for each reason.
fn withhold(stage: &Stage, found: &Found, because: String, why: String, decision: &mut Decision) {
    let note = Note::new(
        What::RetrainingWithheld,
        why.clone(),
        json!({ "finding": found.id }),
    )
    .endpoint(&stage.endpoint);
    let before = decision.head.withheld.as_mut();
    if let Some(before) = before
        && before.because == because
    {
        before.untold = before.untold.saturating_add(1);
        decision.notes.push(note);
        return;
    }
    let untold = decision.head.withheld.take().map_or(0, |w| w.untold);
    let mut lines = vec![why];
    lines.extend(counted(untold));
    decision.head.withheld = Some(Withheld { because, untold: 0 });
    decision.notes.push(note.tell(
        Severity::Info,
        format!("No retraining for {} now", stage.endpoint),
        lines,
    ));
}

/// How many findings led to no retraining, of which people were not told.
fn counted(untold: u32) -> Option<String> {
    let were = if untold == 1 {
        "finding was"
    } else {
        "findings were"
    };
    (untold > 0).then(|| {
        format!("{untold} more {were} withheld before this; the audit trail has the reasons.")
    })
}

fn began(is_imagined: bool) -> &'static str {
    if is_imagined {
        "would have begun"
    } else {
        "began"
    }
}

fn would_retrain(stage: &Stage, on_drift: &OnDrift, found: &Found) -> Note {
    observe::would(
        Severity::Warning,
        format!("Observed: {} would be retrained", stage.endpoint),
        vec![format!(
            "{} would be started for {}: {}.",
            on_drift.retrain.in_words(),
            stage.endpoint,
            found.sentence
        )],
        json!({ "finding": found.id, "retrain": on_drift.retrain }),
    )
    .endpoint(&stage.endpoint)
}
