//! A model package that changed its approval: a rollout starts, waits, is replaced or taken back.
//!
//! What counts is the package as it is described, not the event: events are doubled, late and out
//! of order. A rollout starts when a version *becomes* Approved, so one approval gives one rollout.

use serde_json::json;

use crate::audit::{What, Who};
use crate::candidate::{Candidate, approval_time, of_package};
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::Approval;
use crate::facts::Known;
use crate::head::Waiting;
use crate::mutation::Mutation;
use crate::name::{PackageVersion, StageName};
use crate::notice::Severity;
use crate::rollout::{Cause, Phase, Reason};
use crate::turn::{enqueue, take_back};
use crate::world::{Package, Question};

/// What has to be known of a package that changed.
pub(crate) fn needs(case: &Case<'_>, arn: &str, version: PackageVersion) -> Vec<Question> {
    let mut questions = vec![Question::Package {
        arn: arn.to_owned(),
    }];
    // Whether what is known to serve is there still.
    let first = case.stages().next();
    questions.extend(first.map(|stage| Question::Endpoint(stage.endpoint.clone())));
    // What would serve instead, if this one is rejected while it serves.
    questions.extend(
        case.snapshot
            .head
            .champions
            .values()
            .filter_map(|champion| {
                let previous = champion.previous.as_ref()?;
                (champion.candidate.version == version).then(|| Question::Package {
                    arn: previous.package.clone(),
                })
            }),
    );
    questions
}

/// Decides what the approval means.
pub(crate) fn decide(case: &Case<'_>, arn: &str, version: PackageVersion, decision: &mut Decision) {
    let package = match case.facts.package(arn) {
        Known::NotAsked => return decision.nothing("the package is not known yet"),
        Known::Missing => {
            return decision.nothing(format!("the package {arn} does not exist"));
        }
        Known::Is(package) => package,
    };
    let at = approval_time(package);
    let before = decision.head.approvals.get(&version).copied();
    if before.is_some_and(|(approval, seen)| approval == package.approval || at <= seen) {
        return decision.nothing(format!("{version} was known to be {:?}", package.approval));
    }
    decision
        .head
        .remember_approval(version, package.approval, at);
    let who = package
        .modified_by
        .clone()
        .map_or(Who::Sagemaker, Who::Person);
    let seen = |why: String| {
        Note::new(
            What::ApprovalSeen,
            why,
            json!({
                "package": package.arn,
                "approval": package.approval,
                "description": package.approval_description,
                "modified": package.modified,
            }),
        )
        .by(who.clone())
        .version(version)
    };
    match package.approval {
        Approval::Approved => {
            decision.notes.push(seen(format!("{version} is Approved.")));
            approved(case, package, decision);
        }
        Approval::Rejected => {
            decision.notes.push(seen(format!("{version} is Rejected.")));
            rejected(case, package, decision);
        }
        Approval::PendingManualApproval => {
            decision
                .notes
                .push(seen(format!("{version} waits for a person's approval.")));
            withdrawn(version, decision);
            let by = by(package);
            let sentence = format!("{by} withdrew the approval of {version}");
            take_back_everywhere(case, version, &sentence, decision);
            still_serves(case, version, &sentence, decision);
        }
    }
}

/// Tells people of the endpoints that a version without approval serves. Only a rejection takes a
/// champion away: withdrawn, it may be approved again.
fn still_serves(case: &Case<'_>, version: PackageVersion, sentence: &str, decision: &mut Decision) {
    for stage in case.stages() {
        let champion = decision.head.champions.get(&stage.name);
        if champion.is_none_or(|c| c.candidate.version != version) {
            continue;
        }
        let line = format!(
            "{sentence}, and it serves {}. Reject it to have the version before it take over, or \
             approve it or another one.",
            stage.endpoint
        );
        decision.notes.push(
            Note::new(What::ApprovalSeen, line.clone(), json!({}))
                .version(version)
                .endpoint(&stage.endpoint)
                .tell(
                    Severity::Action,
                    format!(
                        "{version} is not Approved any more and still serves {}",
                        stage.endpoint
                    ),
                    vec![line],
                ),
        );
    }
}

fn by(package: &Package) -> &str {
    package.modified_by.as_deref().unwrap_or("somebody")
}

/// Takes a version back wherever it rolls out.
fn take_back_everywhere(
    case: &Case<'_>,
    version: PackageVersion,
    sentence: &str,
    decision: &mut Decision,
) {
    if Mutation::IgnoreRejection.is_on() {
        return;
    }
    let running = decision.head.rollouts.values();
    let of_version: Vec<StageName> = running
        .filter(|r| r.candidate.version == version)
        .map(|r| r.stage.clone())
        .collect();
    for stage in of_version {
        let why = Reason {
            cause: Cause::Rejected,
            sentence: sentence.to_owned(),
        };
        take_back(case, &stage, why, decision);
    }
}

fn approved(case: &Case<'_>, package: &Package, decision: &mut Decision) {
    let Some(stage) = case.stages().next() else {
        return;
    };
    let candidate = of_package(package);
    let version = candidate.version;
    stays(case, version, decision);
    let is_gone = case.facts.endpoint(&stage.endpoint) == Known::Missing;
    let champion = decision.head.champions.get(&stage.name);
    let ignored = champion.filter(|_| !is_gone).and_then(|champion| {
        if champion.candidate.version == version {
            Some(format!("{version} serves {} already.", stage.endpoint))
        } else if candidate.approved_at < champion.candidate.approved_at
            && !Mutation::AcceptOldApproval.is_on()
        {
            Some(format!(
                "{version} was approved before {}, which serves {}: the newer approval counts.",
                champion.candidate.version, stage.endpoint
            ))
        } else {
            None
        }
    });
    let is_newer = |other: &Candidate| other.approved_at > candidate.approved_at;
    let waiting = decision.head.waiting.get(&stage.name);
    let running = decision.head.rollouts.get(&stage.name);
    let newer = waiting
        .map(|w| &w.candidate)
        .filter(|c| is_newer(c))
        .or(running
            .filter(|r| !matches!(r.phase, Phase::RollingBack { .. }))
            .map(|r| &r.candidate)
            .filter(|c| is_newer(c)));
    let ignored = ignored.or_else(|| {
        newer.map(|newer| {
            format!(
                "{version} was approved before {}, which is on its way to {}: the newer approval \
                 counts.",
                newer.version, stage.endpoint
            )
        })
    });
    if let Some(why) = ignored {
        decision.notes.push(
            Note::new(
                What::ApprovalIgnored,
                why,
                json!({ "package": package.arn }),
            )
            .version(version)
            .endpoint(&stage.endpoint),
        );
        return;
    }
    enqueue(
        case,
        stage,
        Waiting {
            candidate,
            urgent: false,
            told: false,
        },
        decision,
    );
}

/// A version that was rejected while it serves is approved again: what was to take its place does
/// not.
fn stays(case: &Case<'_>, version: PackageVersion, decision: &mut Decision) {
    for stage in case.stages() {
        let champion = decision.head.champions.get(&stage.name);
        if champion.is_none_or(|c| c.candidate.version != version) {
            continue;
        }
        let waiting = &mut decision.head.waiting;
        if waiting.get(&stage.name).is_some_and(|w| w.urgent) {
            waiting.remove(&stage.name);
        }
        let running = decision.head.rollouts.get(&stage.name);
        if running.is_some_and(|r| r.urgent) {
            let why = Reason {
                cause: Cause::Newer,
                sentence: format!("{version} was approved again and stays"),
            };
            take_back(case, &stage.name, why, decision);
        }
    }
}

/// A version lost its approval: what waits with it does not start.
fn withdrawn(version: PackageVersion, decision: &mut Decision) {
    decision
        .head
        .waiting
        .retain(|_, waiting| waiting.candidate.version != version);
}

/// A version must not serve: it is taken back wherever it rolls out or serves.
fn rejected(case: &Case<'_>, package: &Package, decision: &mut Decision) {
    let version = package.version;
    withdrawn(version, decision);
    let by = by(package);
    take_back_everywhere(case, version, &format!("{by} rejected {version}"), decision);
    for stage in case.stages() {
        let Some(champion) = decision.head.champions.get(&stage.name).cloned() else {
            continue;
        };
        if champion.candidate.version != version {
            continue;
        }
        let previous = champion.previous.filter(|previous| {
            case.facts
                .package(&previous.package)
                .is()
                .is_some_and(|p| p.approval == Approval::Approved)
        });
        let (headline, line) = match &previous {
            Some(previous) => (
                format!("{} comes back to {}", previous.version, stage.endpoint),
                format!(
                    "{by} rejected {version} while it serves: {} takes over at once.",
                    previous.version
                ),
            ),
            None => (
                format!("{version} is Rejected and still serves {}", stage.endpoint),
                format!(
                    "{by} rejected {version} while it serves {}, and there is no earlier version \
                     that is still Approved. Approve another version or delete the endpoint.",
                    stage.endpoint
                ),
            ),
        };
        let severity = if previous.is_some() {
            Severity::Warning
        } else {
            Severity::Action
        };
        decision.notes.push(
            Note::new(
                What::RollingBack,
                line.clone(),
                json!({ "package": package.arn }),
            )
            .version(version)
            .endpoint(&stage.endpoint)
            .tell(severity, headline, vec![line]),
        );
        if let Some(candidate) = previous {
            // The way back counts as an approval of now: it is newer than what it replaces.
            let candidate = Candidate {
                approved_at: case.now,
                ..candidate
            };
            enqueue(
                case,
                stage,
                Waiting {
                    candidate,
                    urgent: true,
                    told: false,
                },
                decision,
            );
        }
    }
}
