//! Housekeeping asks the policy's monitoring schedules for findings: an event may be lost, and not
//! every finding has one.
//!
//! A schedule runs once an hour at most ("Schedule monitoring jobs"), so each is asked twice an hour;
//! what was dealt with before is known by its job, and what is old is left alone.

use jiff::SignedDuration;

use super::{react, violation};
use crate::case::Case;
use crate::decision::Decision;
use crate::name::ScheduleName;
use crate::world::{Answer, Question};

/// How often a schedule is asked.
const EVERY: SignedDuration = SignedDuration::from_mins(30);

/// How many schedules are asked in one go; those that waited longest are first.
const AT_ONCE: usize = 10;

/// A finding that is older was before Tidegate's time, or was told long ago.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

/// The schedules whose turn it is.
fn due(case: &Case<'_>) -> Vec<ScheduleName> {
    let mut due: Vec<_> = case.snapshot.head.schedules.iter().collect();
    due.retain(|(_, asked)| case.now.duration_since(**asked) >= EVERY);
    due.sort_by_key(|(name, asked)| (**asked, (*name).clone()));
    due.into_iter()
        .take(AT_ONCE)
        .map(|(name, _)| name.clone())
        .collect()
}

/// The newest job of a schedule that found something, if that is news.
fn news(case: &Case<'_>, schedule: &ScheduleName) -> Option<String> {
    let described = case.facts.schedule(schedule).is()?;
    let job = described.newest_violating_job.clone()?;
    let at = described.newest_violating_at?;
    let is_known = case
        .snapshot
        .head
        .knows_finding(&format!("monitoring/{job}"));
    (case.now.duration_since(at) < OLDEST && !is_known).then_some(job)
}

/// What has to be asked of the schedules whose turn it is.
pub(crate) fn watch_needs(case: &Case<'_>) -> Vec<Question> {
    let mut questions = Vec::new();
    for schedule in due(case) {
        if let Some(job) = news(case, &schedule) {
            questions.push(Question::Violations { job });
            questions.extend(react::needs(case));
        }
        questions.push(Question::MonitoringSchedule(schedule));
    }
    questions
}

/// Deals with what the schedules whose turn it was found.
pub(crate) fn watch(case: &Case<'_>, decision: &mut Decision) {
    for schedule in due(case) {
        let job = news(case, &schedule);
        if is_unanswered(case, &schedule, job.as_deref()) {
            continue;
        }
        if let Some(job) = job {
            violation(case, &schedule, None, Some(&job), decision);
        }
        if let Some(asked) = decision.head.schedules.get_mut(&schedule) {
            *asked = case.now;
        }
    }
}

/// Whether AWS did not answer what has to be known of a schedule, and may the next time.
fn is_unanswered(case: &Case<'_>, schedule: &ScheduleName, job: Option<&str>) -> bool {
    let is_passing = |question: &Question| {
        let answer = case.facts.answer(question);
        matches!(answer, Some(Answer::Refused(error)) if error.is_passing())
    };
    let of_job = |job: &str| Question::Violations {
        job: job.to_owned(),
    };
    is_passing(&Question::MonitoringSchedule(schedule.clone()))
        || job.is_some_and(|job| is_passing(&of_job(job)))
}
