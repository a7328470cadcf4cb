//! A monitor that could not be set up is tried again once a day, some times. People are told why it
//! failed, and again only when the reason is another.
//!
//! A processing job's name is taken for ever (`CreateProcessingJob` in the SageMaker API reference),
//! so each time the baseline is made by a job of another name.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Kept, LONGEST_WHY, Phase};
use crate::audit::What;
use crate::bounds::cut;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::ledger::Lane;
use crate::name::{ScheduleName, hex};
use crate::notice::Severity;
use crate::world::Effect;

/// How often a monitor is tried again.
pub const MOST_TRIES: u8 = 7;

const EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Bytes of the hash that a monitor's name ends with.
const HASH: usize = 5;

/// Whether a monitor that failed then is to be tried again now.
pub(super) fn is_due(case: &Case<'_>, kept: &Kept, since: Option<Timestamp>) -> bool {
    kept.tries < MOST_TRIES && since.is_none_or(|since| case.now.duration_since(since) >= EVERY)
}

/// It is set up from the start; what may be there of it is removed first.
pub(super) fn try_again(name: &ScheduleName, kept: &Kept, made: bool, decision: &mut Decision) {
    let Some(next) = decision.head.monitors.kept.get_mut(name) else {
        return;
    };
    next.tries += 1;
    next.phase = Phase::SettingUp;
    let why = format!(
        "The monitor {name} of {} on {} ({}) failed a day ago: it is tried again, {} of \
         {MOST_TRIES} times.",
        kept.version,
        kept.endpoint,
        kept.subject(),
        next.tries,
    );
    let facts = json!({ "monitor": name, "tries": next.tries });
    let note = Note::new(What::MonitorRetried, why, facts);
    decision
        .notes
        .push(note.version(kept.version).endpoint(&kept.endpoint));
    if made {
        let effect = Effect::RemoveMonitor {
            name: name.clone(),
            kind: kept.kind,
        };
        decision.effects.push((Lane::Monitor(name.clone()), effect));
    }
}

/// The name of the job that makes a monitor's baseline, after it was tried again so often: as the
/// monitor's own, with another hash at its end.
pub(super) fn job_name(monitor: &ScheduleName, tries: u8) -> ScheduleName {
    if tries == 0 {
        return monitor.clone();
    }
    let hash = Sha256::digest(format!("{monitor}\n{tries}").as_bytes());
    let start = monitor.as_str().rsplit_once('-').map_or("", |(s, _)| s);
    let name = format!("{start}-{}", hex(hash.as_slice(), HASH));
    ScheduleName::parse(&name).unwrap_or_else(|_| monitor.clone())
}

/// A monitor failed. People are told why, unless they were told the same before.
pub(super) fn could_not(
    case: &Case<'_>,
    name: &ScheduleName,
    why: &str,
    made: bool,
    decision: &mut Decision,
) {
    let Some(kept) = decision.head.monitors.kept.get_mut(name) else {
        return;
    };
    kept.phase = Phase::Failed {
        why: cut(why, LONGEST_WHY),
        made,
        since: Some(case.now),
    };
    let mark = mark(why);
    let is_told = kept.told.as_ref() == Some(&mark);
    kept.told = Some(mark);
    let (endpoint, version, subject) = (kept.endpoint.clone(), kept.version, kept.subject());
    let said = format!(
        "The {subject} of {version} on {endpoint} is not monitored as the policy asks: {why}"
    );
    let next = match MOST_TRIES - kept.tries.min(MOST_TRIES) {
        0 => "It is not tried again until another version serves, or a key of the monitor is \
              changed in the policy."
            .to_owned(),
        left => format!(
            "It is tried again once a day, {left} more times at most, and when another version \
             serves or a key of the monitor is changed in the policy."
        ),
    };
    let facts = json!({ "monitor": name, "made": made, "told_before": is_told });
    let note = Note::new(What::MonitorFailed, said, facts);
    let note = note.version(version).endpoint(&endpoint);
    decision.notes.push(if is_told {
        note
    } else {
        note.tell(
            Severity::Warning,
            format!("No monitor of {subject} on {endpoint}"),
            vec![why.to_owned(), next],
        )
    });
}

/// What a reason is known by. Words with digits in them (names of jobs, ids of requests) differ each
/// time, and don't count.
fn mark(why: &str) -> String {
    let words = why.split_whitespace();
    let lasting: Vec<&str> = words
        .filter(|word| !word.bytes().any(|b| b.is_ascii_digit()))
        .collect();
    hex(Sha256::digest(lasting.join(" ").as_bytes()).as_slice(), 4)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_try_has_a_job_of_its_own_with_a_name_that_fits() {
        let long = format!("tidegate-{}-quality-v4294967295-0123456789", "e".repeat(22));
        let monitor = ScheduleName::parse(&long).unwrap();
        assert_eq!(job_name(&monitor, 0), monitor);
        let (first, second) = (job_name(&monitor, 1), job_name(&monitor, 2));
        assert_ne!(first, second);
        assert_eq!(first.as_str().len(), long.len());
        assert!(first.as_str().starts_with(&long[..long.len() - 10]));
    }

    #[test]
    fn a_reason_is_the_same_whatever_job_or_request_it_names() {
        let failed = "The job tidegate-v1-aa01 failed: no rows. Request 7f31-ab";
        assert_eq!(
            mark(failed),
            mark("The job tidegate-v1-bb02 failed: no rows. Request 12cd-0")
        );
        assert_ne!(
            mark(failed),
            mark("The job tidegate-v1-aa01 failed: denied")
        );
    }
}
