//! The version that a candidate has to beat, and by which metrics.

use super::of_job;
use crate::candidate::Candidate;
use crate::case::Case;
use crate::facts::Known;
use crate::gate::{self, Metrics};
use crate::world::{Answer, Question, TrainingJob};

/// Where the champion's metrics on the data of this job are; none if there is no champion.
pub(super) fn champion_evaluation_uri(case: &Case<'_>, job: &TrainingJob) -> Option<String> {
    let template = case.policy().gate.champion_evaluation.as_ref()?;
    champion(case).map(|_| of_job(template, job))
}

/// The version to beat: what serves the last stage that serves anything.
fn champion<'a>(case: &Case<'a>) -> Option<&'a Candidate> {
    let champions = &case.snapshot.head.champions;
    case.stages()
        .filter_map(|s| champions.get(&s.name))
        .last()
        .map(|c| &c.candidate)
}

/// The champion's metrics: on the candidate's data where the training says so, else those that it
/// was registered with; and which they are, where the policy asks for the former.
pub(super) fn champion_metrics(
    case: &Case<'_>,
    job: &TrainingJob,
) -> (Option<Metrics>, Option<String>) {
    let old = champion(case).map(|c| c.metrics.clone());
    let Some(uri) = champion_evaluation_uri(case, job) else {
        return (old, None);
    };
    let why_old = match case.facts.object(&uri) {
        Known::Is(text) => match gate::metrics_from_evaluation(text) {
            Ok(metrics) => {
                let said = format!("the champion's metrics are those on the same data, {uri}");
                return (Some(metrics), Some(said));
            }
            Err(error) => format!("{uri} can't be read: {error}"),
        },
        Known::Missing | Known::NotAsked => {
            let question = Question::Object { uri: uri.clone() };
            match case.facts.answer(&question) {
                Some(Answer::Refused(error)) => format!("{uri} can't be read: {}", error.message),
                _ => format!("{uri} does not exist"),
            }
        }
    };
    let said = format!("the champion's metrics are those that it was registered with: {why_old}");
    (old, Some(said))
}
