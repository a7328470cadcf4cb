//! Gathers the facts that a decision needs, independent questions side by side.

use futures_util::future::join_all;

use super::EngineError;
use crate::case::Case;
use crate::decide::{Input, needs};
use crate::event::Kind;
use crate::facts::Facts;
use crate::ledger::{JobRecord, Snapshot};
use crate::world::{Answer, Question, World, WorldError, WorldErrorKind};

/// How many times answers may lead to further questions: endpoint, config, model, package.
const TURNS: u32 = 6;

/// Whether a decision knows what to make of it that AWS does not answer. A rollout that can't be
/// tried out or watched doesn't hang for ever untold; and while a tick goes without the answer, the
/// next one is a minute away.
fn is_decided_on(question: &Question, error: &WorldError, input: &Input<'_>) -> bool {
    if error.is_passing() {
        return matches!(input, Input::Event(event) if matches!(event.kind, Kind::Tick { .. }));
    }
    matches!(
        question,
        Question::Smoke { .. }
            | Question::Minutes { .. }
            | Question::Hours { .. }
            // Housekeeping asks these beside what a rollout needs.
            | Question::Execution { .. }
            | Question::MonitoringSchedule(_)
            | Question::Violations { .. }
    ) || matches!(question, Question::Object { .. }) && error.kind == WorldErrorKind::Refused
}

/// Asks until the decision has all that it needs.
pub(super) async fn gather<W: World>(
    world: &W,
    snapshot: &Snapshot,
    job: Option<&JobRecord>,
    input: &Input<'_>,
    now: jiff::Timestamp,
) -> Result<Facts, EngineError> {
    let mut facts = Facts::default();
    for _ in 0..TURNS {
        let questions = needs(
            &Case {
                snapshot,
                job,
                facts: &facts,
                now,
            },
            input,
        );
        if questions.is_empty() {
            break;
        }
        let answers = join_all(questions.iter().map(|q| world.ask(q))).await;
        for (question, answer) in questions.into_iter().zip(answers) {
            let answer = match answer {
                Err(error) if is_decided_on(&question, &error, input) => {
                    tracing::info!(%error, "not answered");
                    Answer::Refused(error)
                }
                answer => answer.map_err(EngineError::Fact)?,
            };
            facts.add(question, answer);
        }
    }
    Ok(facts)
}
