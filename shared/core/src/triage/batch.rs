//! What a finding on the data of batch transform jobs leads to: such a monitor watches no endpoint
//! (`BatchTransformInput` in the API reference). The policy lists its schedule, or it follows the
//! champion of a stage.
//!
//! Nobody says which version answered a transform job. So it is never charged to a candidate and
//! takes no champion back; data that drifted calls for a retraining all the same, for the monitor's
//! stage, or for the last one, where its model is compared with what serves there.

use super::react::reaction;
use super::{Found, tell_once};
use crate::case::Case;
use crate::decision::{Decision, Note, Tell};
use crate::name::ScheduleName;
use crate::notice::Severity;
use crate::pipeline::Reaction;
use crate::retrain;
use crate::run_once;

/// Does what the policy says about a finding on batch data.
pub(super) fn react(
    case: &Case<'_>,
    schedule: &ScheduleName,
    found: &Found,
    note: Note,
    decision: &mut Decision,
) {
    let kept = decision.head.monitors.known(schedule);
    let own = kept.and_then(|kept| case.stages().find(|s| s.endpoint == kept.endpoint));
    let Some(stage) = own.or_else(|| case.stages().last()) else {
        return decision.nothing("the policy has no stage");
    };
    let (reaction, why) = reaction(&case.policy().monitor.on_finding, &found.kinds);
    let champion = decision.head.champions.get(&stage.name);
    let rollout = decision.head.rollouts.get(&stage.name);
    let held_back = if champion.is_some_and(|c| found.since < c.since) {
        Some(
            "Its data is from before the present version had all the traffic: nothing was changed.",
        )
    } else if rollout.is_some_and(|r| r.all_traffic_since().is_some()) {
        Some(
            "A new version is just taking over: nothing was changed. What is found after that counts.",
        )
    } else {
        None
    };
    let words = found.kinds.first().map_or("A finding", |k| k.words());
    let mut lines = found.lines.clone();
    match held_back {
        Some(why) => lines.push(why.to_owned()),
        None if reaction == Reaction::Tell => lines.push(why),
        None => {}
    }
    let tell = Tell {
        severity: Severity::Warning,
        headline: format!("{words} in batch data, by {schedule}"),
        lines,
    };
    // A run by hand is of its schedule's storm.
    let of = run_once::origin(schedule).unwrap_or_else(|| schedule.clone());
    let word = format!("{of}/{words}");
    tell_once(case, stage, &word, note, tell, decision);
    if held_back.is_none() && reaction != Reaction::Tell {
        retrain::decide(case, stage, found, decision);
    }
}
