//! A violation or an alarm on a live endpoint: roll back if the candidate is to blame, else
//! retrain, else tell.
//!
//! Blame: a finding counts against a candidate only if the data that it looked at begins after the
//! candidate took all the traffic, or if it names the candidate's variant. Before that it describes
//! the champion, or a mixture of both.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::{Event, Kind, MonitoringOutcome};
use crate::facts::Known;
use crate::mutation::Mutation;
use crate::name::{EndpointName, ScheduleName};
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::{OnAlarm, Stage};
use crate::retrain;
use crate::rollout::{Cause, Reason, Rollout};
use crate::turn::take_back;
use crate::world::{Findings, Question};

/// How far back an alarm looked, if it doesn't say.
const ALARM_WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// How many findings are named to people; the rest is counted.
const NAMED_FINDINGS: usize = 5;

/// What has to be known of a finding.
pub(crate) fn needs(case: &Case<'_>, kind: &Kind) -> Vec<Question> {
    let Kind::Monitoring {
        schedule,
        job,
        outcome: MonitoringOutcome::Violations,
        ..
    } = kind
    else {
        return Vec::new();
    };
    let mut questions = vec![Question::MonitoringSchedule(schedule.clone())];
    if let Some(job) = finding_job(case, schedule, job.as_deref()) {
        questions.push(Question::Violations { job });
    }
    questions
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
        } => match outcome {
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
        },
        Kind::Alarm {
            alarm,
            endpoint,
            variant,
            metric,
            reason,
            data_since,
        } => {
            let since = data_since.unwrap_or(event.at - ALARM_WINDOW);
            let finding = format!("alarm/{alarm}/{}", event.at.as_second() / 60);
            if decision.head.is_known_finding(&finding) {
                return decision.nothing(format!("the alarm {alarm} was dealt with before"));
            }
            let Some(stage) = case.stages().find(|s| &s.endpoint == endpoint) else {
                return decision.nothing(format!("no stage has the endpoint {endpoint}"));
            };
            let sentence = format!("the alarm {alarm} on {metric} went off: {reason}");
            let rolls_back = case.policy().monitor.on_alarm == OnAlarm::RollBack
                && decision
                    .head
                    .rollouts
                    .get(&stage.name)
                    .is_some_and(|r| is_to_blame(r, variant.as_deref(), since));
            let note = Note::new(
                What::AlarmSeen,
                format!("On {endpoint}: {sentence}"),
                json!({ "alarm": alarm, "variant": variant, "data_since": since, "blamed": rolls_back }),
            )
            .endpoint(endpoint);
            let running = decision.head.rollouts.get(&stage.name);
            if let Some(rollout) = running.filter(|r| rolls_back && r.observed.is_some()) {
                let would = would_roll_back(rollout, &sentence);
                decision.notes.extend([note, would]);
            } else if rolls_back {
                decision.notes.push(note);
                let why = Reason {
                    cause: Cause::Violation,
                    sentence,
                };
                take_back(case, &stage.name, why, decision);
            } else {
                decision.notes.push(note.tell(
                    Severity::Warning,
                    format!("Alarm {alarm} on {endpoint}"),
                    vec![reason.clone(), why_only_told(decision, stage)],
                ));
            }
        }
        _ => {}
    }
}

/// An observed canary is to blame: people are told what they would be spared.
fn would_roll_back(rollout: &Rollout, sentence: &str) -> Note {
    let (name, endpoint) = (rollout.name(), &rollout.endpoint);
    observe::would(
        Severity::Warning,
        format!("Observed: {name} would be rolled back on {endpoint}"),
        vec![
            format!("Tidegate would roll {name} back on {endpoint} now: {sentence}."),
            "Nothing was changed.".to_owned(),
        ],
        json!({}),
    )
    .rollout(rollout)
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
            report: None,
            data_since: None,
            violations: Vec::new(),
        },
    };
    let described = case
        .facts
        .schedule(schedule)
        .is()
        .and_then(|s| s.endpoint.as_ref());
    let endpoint = endpoint.or(described);
    let stage = endpoint.and_then(|e| case.stages().find(|s| &s.endpoint == e));
    let (sentence, lines) = in_words(schedule, &findings);
    let mut note = Note::new(
        What::ViolationSeen,
        sentence.clone(),
        json!({ "schedule": schedule, "findings": findings }),
    );
    if let Some(endpoint) = endpoint {
        note = note.endpoint(endpoint);
    }
    let Some(stage) = stage else {
        decision.notes.push(
            note.tell(
                Severity::Warning,
                format!("{schedule} found violations"),
                [
                    lines,
                    vec![
                        "It watches no endpoint of this pipeline: nothing was changed.".to_owned(),
                    ],
                ]
                .concat(),
            ),
        );
        return;
    };
    let since = findings
        .data_since
        .unwrap_or(case.now - SignedDuration::from_hours(1));
    let rolling = decision.head.rollouts.get(&stage.name);
    if let Some(rollout) = rolling.filter(|r| is_to_blame(r, None, since)) {
        if rollout.observed.is_some() {
            let would = would_roll_back(rollout, &sentence);
            decision.notes.extend([note, would]);
            return;
        }
        decision.notes.push(note);
        take_back(
            case,
            &stage.name,
            Reason {
                cause: Cause::Violation,
                sentence,
            },
            decision,
        );
        return;
    }
    let champion = decision.head.champions.get(&stage.name);
    let is_of_champion = rolling.is_none_or(|r| r.all_traffic_since().is_none())
        && champion.is_none_or(|c| since >= c.since);
    if !is_of_champion {
        decision.notes.push(
            note.tell(
                Severity::Info,
                format!("{schedule} found violations of an earlier model"),
                [
                    lines,
                    vec![
                    "Its data is from before the present version had all the traffic: nothing was \
                     changed."
                        .to_owned(),
                ],
                ]
                .concat(),
            ),
        );
        return;
    }
    decision.notes.push(note.tell(
        Severity::Warning,
        format!("Drift on {}", stage.endpoint),
        lines,
    ));
    retrain::decide(case, stage, &findings, &sentence, decision);
}

/// The findings in one sentence, and in lines.
fn in_words(schedule: &ScheduleName, findings: &Findings) -> (String, Vec<String>) {
    let n = findings.violations.len();
    let mut lines: Vec<String> = findings
        .violations
        .iter()
        .take(NAMED_FINDINGS)
        .map(|v| format!("{} ({}): {}", v.feature, v.check, v.description))
        .collect();
    if n > NAMED_FINDINGS {
        lines.push(format!("and {} more", n - NAMED_FINDINGS));
    }
    if let Some(report) = &findings.report {
        lines.push(format!("Report: {report}"));
    }
    let first = match findings.violations.first() {
        Some(v) => format!(
            "{} violation{}, first {} ({})",
            n,
            if n == 1 { "" } else { "s" },
            v.feature,
            v.check
        ),
        None => "violations, whose report can't be read".to_owned(),
    };
    (format!("{schedule} reports {first}"), lines)
}
