//! A violation or an alarm on a live endpoint: what was found, on what data, and whom it is about.
//!
//! Blame: a finding counts against a candidate only if the data that it looked at begins after the
//! candidate took all the traffic, or if it names the candidate's variant. Before that it describes
//! the champion, or a mixture of both. What it then leads to is `react.rs`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note, Tell};
use crate::event::{Event, Kind, MonitoringOutcome};
use crate::facts::Known;
use crate::finding::{self, FindingKind};
use crate::mutation::Mutation;
use crate::name::{EndpointName, ScheduleName};
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::{OnAlarm, Stage};
use crate::rollout::{Cause, Reason, Rollout};
use crate::turn::take_back;
use crate::world::{Answer, Findings, Question};

mod batch;
mod react;
mod watch;

use react::react;

pub(crate) use watch::{watch, watch_needs};

/// How far back an alarm looked, if it doesn't say.
const ALARM_WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// How far back a monitoring job looked, if it doesn't say.
const MONITORING_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Something that was found on the endpoint of a stage.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The monitoring job, or the alarm and its minute.
    pub(crate) id: String,
    /// In one sentence, without a full stop.
    pub(crate) sentence: String,
    /// In lines.
    pub(crate) lines: Vec<String>,
    /// The kinds of what was found; none if it can't be read.
    pub(crate) kinds: BTreeSet<FindingKind>,
    /// The first feature.
    pub(crate) feature: Option<String>,
    /// The variant, if it names one.
    pub(crate) variant: Option<String>,
    /// The start of the data.
    pub(crate) since: Timestamp,
}

/// What has to be known of a finding.
pub(crate) fn needs(case: &Case<'_>, kind: &Kind) -> Vec<Question> {
    match kind {
        Kind::Monitoring {
            schedule,
            job,
            outcome: MonitoringOutcome::Violations,
            ..
        } => {
            let mut questions = vec![Question::MonitoringSchedule(schedule.clone())];
            if let Some(job) = finding_job(case, schedule, job.as_deref()) {
                questions.push(Question::Violations { job });
            }
            questions.extend(react::needs(case));
            questions
        }
        Kind::Alarm { .. } => react::needs(case),
        _ => Vec::new(),
    }
}

fn finding_job(case: &Case<'_>, schedule: &ScheduleName, named: Option<&str>) -> Option<String> {
    named.map(str::to_owned).or_else(|| {
        case.facts
            .schedule(schedule)
            .is()
            .and_then(|s| s.newest_violating_job.clone())
    })
}

/// Decides what a finding leads to.
pub(crate) fn decide(case: &Case<'_>, event: &Event, decision: &mut Decision) {
    match &event.kind {
        Kind::Monitoring {
            schedule,
            endpoint,
            job,
            outcome,
        } => {
            // Policies that an older version applied have theirs asked from now on.
            decision.head.watch(&case.policy().monitor.schedules);
            match outcome {
                MonitoringOutcome::Quiet => {
                    decision.nothing(format!("the monitoring schedule {schedule} found nothing"));
                }
                MonitoringOutcome::Failed(why) => {
                    monitoring_failed(schedule, job.as_deref(), why, decision);
                }
                MonitoringOutcome::Violations => {
                    let job = finding_job(case, schedule, job.as_deref());
                    violation(case, schedule, endpoint.as_ref(), job.as_deref(), decision);
                }
            }
        }
        Kind::Alarm { .. } => alarm(case, event, decision),
        _ => {}
    }
}

fn alarm(case: &Case<'_>, event: &Event, decision: &mut Decision) {
    let Kind::Alarm {
        alarm,
        endpoint,
        variant,
        metric,
        reason,
        data_since,
    } = &event.kind
    else {
        return;
    };
    let id = format!("alarm/{alarm}/{}", event.at.as_second() / 60);
    if decision.head.is_known_finding(&id) {
        return decision.nothing(format!("the alarm {alarm} was dealt with before"));
    }
    let Some(stage) = case.stages().find(|s| &s.endpoint == endpoint) else {
        return decision.nothing(format!("no stage has the endpoint {endpoint}"));
    };
    let feature = finding::drifting_feature(metric);
    let kind = case.policy().monitor.alarms.get(alarm).copied();
    let kind = kind.or_else(|| feature.map(|_| FindingKind::Drift));
    let found = Found {
        id,
        sentence: format!("the alarm {alarm} on {metric} went off: {reason}"),
        lines: vec![format!("Alarm {alarm} on {metric}: {reason}")],
        kinds: kind.into_iter().collect(),
        feature: feature.map(str::to_owned),
        variant: variant.clone(),
        since: data_since.unwrap_or(event.at - ALARM_WINDOW),
    };
    if kind.is_some() {
        let facts =
            json!({ "alarm": alarm, "variant": variant, "data_since": found.since, "kind": kind });
        let note = alarm_note(endpoint, &found, facts);
        react(case, stage, &found, note, decision);
    } else {
        operational_alarm(case, stage, alarm, reason, &found, decision);
    }
}

fn alarm_note(endpoint: &EndpointName, found: &Found, facts: Value) -> Note {
    let why = format!("On {endpoint}: {}", found.sentence);
    Note::new(What::AlarmSeen, why, facts).endpoint(endpoint)
}

/// An alarm on errors, latency and the like: it is the candidate's, or told.
fn operational_alarm(
    case: &Case<'_>,
    stage: &Stage,
    alarm: &str,
    reason: &str,
    found: &Found,
    decision: &mut Decision,
) {
    let running = decision.head.rollouts.get(&stage.name);
    let blamed = running.filter(|r| is_to_blame(r, found.variant.as_deref(), found.since));
    let blamed = blamed.filter(|_| case.policy().monitor.on_alarm == OnAlarm::RollBack);
    let facts = json!({
        "alarm": alarm,
        "variant": found.variant,
        "data_since": found.since,
        "blamed": blamed.is_some(),
    });
    let note = alarm_note(&stage.endpoint, found, facts);
    if let Some(rollout) = blamed.cloned() {
        decision.notes.push(note);
        take_candidate_back(case, &rollout, found, decision);
        return;
    }
    let tell = Tell {
        severity: Severity::Warning,
        headline: format!("Alarm {alarm} on {}", stage.endpoint),
        lines: vec![reason.to_owned(), why_only_told(decision, stage)],
    };
    tell_once(case, stage, "alarm", note, tell, decision);
}

/// A candidate that is to blame is taken back; of an observed one, people are told what they would
/// be spared.
fn take_candidate_back(case: &Case<'_>, rollout: &Rollout, found: &Found, decision: &mut Decision) {
    let sentence = &found.sentence;
    if rollout.observed.is_none() {
        let why = Reason {
            cause: Cause::Violation,
            sentence: sentence.clone(),
        };
        take_back(case, &rollout.stage, why, decision);
        return;
    }
    let (name, endpoint) = (rollout.name(), &rollout.endpoint);
    let would = observe::would(
        Severity::Warning,
        format!("Observed: {name} would be rolled back on {endpoint}"),
        vec![
            format!("Tidegate would roll {name} back on {endpoint} now: {sentence}."),
            "Nothing was changed.".to_owned(),
        ],
        json!({}),
    );
    decision.notes.push(would.rollout(rollout));
}

/// Tells people, unless they were told of the like on this endpoint a short while ago.
fn tell_once(
    case: &Case<'_>,
    stage: &Stage,
    word: &str,
    note: Note,
    mut tell: Tell,
    decision: &mut Decision,
) {
    let window = SignedDuration::from_mins(i64::from(case.policy().monitor.storm_minutes));
    let key = format!("{}/{word}", stage.endpoint);
    let head = &mut decision.head;
    let Some(untold) = head.is_to_be_told(&key, window, case.now) else {
        decision.notes.push(note);
        return;
    };
    if untold > 0 {
        let s = if untold == 1 { "" } else { "s" };
        tell.lines.push(format!(
            "And {untold} more notice{s} of the kind since the last one; the audit trail has them."
        ));
    }
    decision
        .notes
        .push(note.tell(tell.severity, tell.headline, tell.lines));
}

fn why_only_told(decision: &Decision, stage: &Stage) -> String {
    let running = decision.head.rollouts.get(&stage.name);
    if running.is_some_and(|r| r.observed.is_some()) {
        "A canary is under way, and this says nothing of it alone; its guards are judged."
            .to_owned()
    } else if running.is_some() {
        "A rollout is under way, and this says nothing of its candidate alone; its guards watch it."
            .to_owned()
    } else {
        "No rollout is under way: nothing was changed.".to_owned()
    }
}

fn is_to_blame(rollout: &Rollout, variant: Option<&str>, data_since: Timestamp) -> bool {
    if !rollout.serves_candidate() || rollout.is_lone() {
        return false;
    }
    if variant == Some(rollout.canary.as_str()) {
        return true;
    }
    let is_other_variant = variant.is_some_and(|v| v != rollout.final_variant);
    !is_other_variant
        && rollout
            .all_traffic_since()
            .is_some_and(|since| data_since >= since)
        || Mutation::BlameMixture.is_on()
}

fn monitoring_failed(
    schedule: &ScheduleName,
    job: Option<&str>,
    why: &str,
    decision: &mut Decision,
) {
    let finding = format!("failed/{}", job.unwrap_or(schedule.as_str()));
    if decision.head.is_known_finding(&finding) {
        return decision.nothing("people were told of it before");
    }
    decision.notes.push(
        Note::new(
            What::ViolationSeen,
            format!("The monitoring schedule {schedule} could not run: {why}"),
            json!({ "job": job }),
        )
        .tell(
            Severity::Warning,
            format!("Monitoring {schedule} could not run"),
            vec![
                why.to_owned(),
                "Until it runs again, drift goes unseen.".to_owned(),
            ],
        ),
    );
}

fn violation(
    case: &Case<'_>,
    schedule: &ScheduleName,
    endpoint: Option<&EndpointName>,
    job: Option<&str>,
    decision: &mut Decision,
) {
    let Some(job) = job else {
        return decision.nothing(format!(
            "the schedule {schedule} names no job with violations"
        ));
    };
    if decision.head.is_known_finding(&format!("monitoring/{job}")) {
        return decision.nothing(format!("the findings of {job} were dealt with before"));
    }
    let findings = match case.facts.findings(job) {
        Known::Is(findings) => findings.clone(),
        Known::Missing | Known::NotAsked => Findings {
            job: job.to_owned(),
            unreadable: Some(why_unknown(case, job)),
            ..Findings::default()
        },
    };
    let found = found_in(case, schedule, &findings);
    let described = case
        .facts
        .schedule(schedule)
        .is()
        .and_then(|s| s.endpoint.as_ref());
    // Of a schedule that is gone AWS says nothing; of one that Tidegate made it is known.
    let kept = decision.head.monitors.known(schedule);
    let is_batch = kept.is_some_and(|kept| kept.batch);
    let own = kept.filter(|kept| !kept.batch).map(|k| k.endpoint.clone());
    let endpoint = endpoint.or(described).or(own.as_ref());
    let stage = endpoint.and_then(|e| case.stages().find(|s| &s.endpoint == e));
    let mut note = Note::new(
        What::ViolationSeen,
        found.sentence.clone(),
        json!({ "schedule": schedule, "findings": findings, "kinds": found.kinds }),
    );
    if let Some(endpoint) = endpoint {
        note = note.endpoint(endpoint);
    }
    if let Some(stage) = stage {
        react(case, stage, &found, note, decision);
        return;
    }
    let is_known = is_batch || case.facts.schedule(schedule) != Known::NotAsked;
    if endpoint.is_none() && is_known {
        return batch::react(case, schedule, &found, note, decision);
    }
    let unwatched = "It watches no endpoint of this pipeline: nothing was changed.";
    let lines = [found.lines, vec![unwatched.to_owned()]].concat();
    decision.notes.push(note.tell(
        Severity::Warning,
        format!("{schedule} found violations"),
        lines,
    ));
}

/// Why nothing is known of what a job found.
fn why_unknown(case: &Case<'_>, job: &str) -> String {
    let question = Question::Violations {
        job: job.to_owned(),
    };
    match case.facts.answer(&question) {
        Some(Answer::Refused(error)) => {
            format!("AWS refused {}: {}", error.call, error.message)
        }
        _ => format!("the job {job} does not exist any more"),
    }
}

/// What a monitoring job found.
fn found_in(case: &Case<'_>, schedule: &ScheduleName, findings: &Findings) -> Found {
    let kinds = finding::by_kind(findings);
    let mut lines = finding::in_words(&kinds);
    let said = match &findings.unreadable {
        Some(why) => format!("something, and its report can't be read: {why}"),
        None if lines.is_empty() => "violations, and its report names none".to_owned(),
        None => lines.join("; "),
    };
    let sentence = format!("{schedule} found {said}");
    if findings.unreadable.is_some() || lines.is_empty() {
        lines.push(sentence.clone());
    }
    if let Some(report) = &findings.report {
        lines.push(format!("Report: {report}"));
    }
    // The first of the kind that matters most.
    let first = kinds.values().flatten().find(|v| !v.feature.is_empty());
    Found {
        id: findings.job.clone(),
        sentence,
        lines,
        feature: first.map(|v| v.feature.clone()),
        kinds: kinds.into_keys().collect(),
        variant: None,
        since: findings.data_since.unwrap_or(case.now - MONITORING_WINDOW),
    }
}
