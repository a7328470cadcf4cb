//! What becomes of a rollout whose questions AWS does not answer for now: throttled, down, or slow.
//!
//! A minute of that is nothing: the next look asks again. If it lasts, the rollout holds, since
//! nobody watches it, and people are told. It goes on by itself when the answers are there.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Moves, Rollout, advance};
use crate::audit::What;
use crate::decision::Note;
use crate::facts::Facts;
use crate::mutation::Mutation;
use crate::notice::Severity;
use crate::world::{Answer, WorldError};

/// How long AWS may not answer before people are told.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// AWS does not answer, and may again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// Since when.
    pub since: Timestamp,
    /// Whether people were told.
    pub told: bool,
}

/// Notes whether AWS answers what has to be known of a rollout, and tells people once if it has not
/// for long.
pub(super) fn note(rollout: &mut Rollout, facts: &Facts, now: Timestamp, moves: &mut Moves) {
    let questions = advance::needs(rollout, facts, now);
    let mut answers = questions.iter().filter_map(|q| facts.answer(q)).peekable();
    if answers.peek().is_none() {
        return;
    }
    let Some(error) = answers.find_map(not_now) else {
        rollout.unanswered = None;
        return;
    };
    let unanswered = rollout.unanswered.get_or_insert(Unanswered {
        since: now,
        told: false,
    });
    let lasted = now.duration_since(unanswered.since);
    if lasted >= PATIENCE
        && !Mutation::SilenceUntold.is_on()
        && !std::mem::replace(&mut unanswered.told, true)
    {
        tell(rollout, error, lasted, moves);
    }
}

/// Why there is no answer yet, if there may be one later.
pub(super) fn not_now(answer: &Answer) -> Option<&WorldError> {
    match answer {
        Answer::Refused(error) if error.is_passing() => Some(error),
        _ => None,
    }
}

fn tell(rollout: &Rollout, error: &WorldError, lasted: SignedDuration, moves: &mut Moves) {
    let (name, endpoint) = (rollout.name(), &rollout.endpoint);
    let why = format!(
        "AWS has not answered for {} minutes ({error}). Nobody sees how {name} does on {endpoint}",
        lasted.as_mins()
    );
    let (headline, why, what_now) = if rollout.observed.is_some() {
        (
            format!("Observed: nobody sees how {name} does"),
            format!("{why}."),
            "Tidegate goes on looking, and judges these minutes when they can be read.".to_owned(),
        )
    } else {
        (
            format!("{name} holds on {endpoint}: AWS does not answer"),
            format!("{why}, and it stays where it is."),
            format!(
                "It goes on by itself when AWS answers. To take it back before, reject {name}."
            ),
        )
    };
    moves.notes.push(
        Note::new(What::StepHeld, why.clone(), json!({ "error": error }))
            .rollout(rollout)
            .tell(Severity::Action, headline, vec![why, what_now]),
    );
}
