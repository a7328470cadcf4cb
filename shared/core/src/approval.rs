//! A model package that changed its approval: a rollout starts, waits, is replaced or taken back.
//!
//! What counts is the package as it is described, not the event: events are doubled, late and out
//! of order. A rollout starts when a version *becomes* Approved, so one approval gives one rollout.

use serde_json::json;

use crate::audit::{What, Who};
use crate::candidate::{Candidate, JOB_KEY, approval_time, of_package};
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::event::Approval;
use crate::facts::Known;
use crate::head::{Head, Waiting};
use crate::ledger::Lane;
use crate::mutation::Mutation;
use crate::name::{PackageVersion, StageName};
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::{NewerApproval, Stage};
use crate::preflight;
use crate::record;
use crate::retrain::{self, Lost};
use crate::rollout::{Cause, Phase, Reason, Rollout};
use crate::turn::{enqueue, take_back, would_roll_out};
use crate::world::{Effect, Package, Question, TIDEGATE};

mod approver;
mod tagged;

pub(crate) use approver::remember_trainer;

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
    let described = case.facts.package(arn).is();
    let approved = described.filter(|p| p.approval == Approval::Approved);
    questions.extend(approved.into_iter().flat_map(preflight::needs_at_approval));
    questions.extend(approved.and_then(|package| tagged::needs(case, package)));
    if case.observes() && described.is_some_and(|p| p.approval == Approval::Rejected) {
        questions.extend(observe::needs_of_serving(case));
    }
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
    if is_known(&decision.head, package) {
        return decision.nothing(format!("{version} was known to be {:?}", package.approval));
    }
    if is_being_marked(case, package) {
        return decision.nothing(format!(
            "{version} is about to be marked as Tidegate decided"
        ));
    }
    decision
        .head
        .remember_approval(version, package.approval, at);
    let who = match package.modified_by.as_deref() {
        Some(TIDEGATE) => Who::Tidegate,
        Some(by) => Who::Person(by.to_owned()),
        None => Who::Sagemaker,
    };
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
            let mut note = seen(format!("{version} is Approved."));
            tagged::add_to(&mut note.draft.facts, case, package);
            decision.notes.push(note);
            let is_by_gate = approver::is_by_gate(case, package, &decision.head);
            let voters = decision.head.votes.get(&version).cloned();
            if approver::is_enough(case, package, decision) {
                // An earlier approval that is still to be taken back is none of this one's business.
                decision.cancelled.push(Lane::Version(version));
                let voters = voters.unwrap_or_default();
                record::approved(case, package, is_by_gate, voters, decision);
                approved(case, package, decision);
            }
        }
        Approval::Rejected => {
            decision.notes.push(seen(format!("{version} is Rejected.")));
            decision.head.votes.remove(&version);
            decision.head.gated.remove(&version);
            if before.is_none_or(|(approval, _)| approval != Approval::Approved) {
                record::rejected(case, package, decision);
            }
            rejected(case, package, decision);
        }
        Approval::PendingManualApproval => {
            decision
                .notes
                .push(seen(format!("{version} waits for a person's approval.")));
            decision.head.gated.remove(&version);
            withdrawn(version, decision);
            let by = by(package);
            let sentence = format!("{by} withdrew the approval of {version}");
            take_back_everywhere(case, version, &sentence, decision);
            still_serves(case, version, &sentence, decision);
        }
    }
}

/// Whether this change of the package was dealt with before, or is older than what was.
fn is_known(head: &Head, package: &Package) -> bool {
    let before = head.approvals.get(&package.version);
    before.is_some_and(|(approval, seen)| {
        *approval == package.approval || approval_time(package) <= *seen
    })
}

/// Whether Tidegate has decided what this package is to be, and could not tell SageMaker yet. What
/// changes beside that, such as its life cycle, makes an event that says the old approval still.
fn is_being_marked(case: &Case<'_>, package: &Package) -> bool {
    case.snapshot.pending.iter().any(|pending| {
        matches!(&pending.effect, Effect::SetApproval { arn, approval, seen: None, .. }
            if *arn == package.arn && *approval != package.approval)
    })
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
    let (observed, ours): (Vec<_>, Vec<_>) = running
        .filter(|r| r.candidate.version == version)
        .partition(|r| r.observed.is_some());
    let ours: Vec<StageName> = ours.into_iter().map(|r| r.stage.clone()).collect();
    let would: Vec<Note> = observed
        .into_iter()
        .map(|r| would_take_back(r, sentence))
        .collect();
    decision.notes.extend(would);
    for stage in ours {
        let why = Reason {
            cause: Cause::Rejected,
            sentence: sentence.to_owned(),
        };
        take_back(case, &stage, why, decision);
    }
}

/// The canary that lost its approval is somebody else's.
fn would_take_back(rollout: &Rollout, sentence: &str) -> Note {
    let (name, endpoint) = (rollout.name(), &rollout.endpoint);
    observe::would(
        Severity::Warning,
        format!("Observed: {name} would be taken back from {endpoint}"),
        vec![format!(
            "{sentence} while it is a canary on {endpoint}: Tidegate would take it back now."
        )],
        json!({}),
    )
    .rollout(rollout)
}

fn approved(case: &Case<'_>, package: &Package, decision: &mut Decision) {
    let Some(stage) = case.stages().next() else {
        return;
    };
    let candidate = Candidate {
        artifact: preflight::first_seen(package, case.facts),
        finding: retrain::finding_of(&decision.head, package),
        ..of_package(package)
    };
    let version = candidate.version;
    stays(case, version, decision);
    let described = case.facts.endpoint(&stage.endpoint);
    let is_gone = described == Known::Missing;
    let champion = decision.head.champions.get(&stage.name);
    // Where others deploy, what Tidegate deployed once may have gone.
    let is_past =
        |config: &str| case.observes() && described.is().is_some_and(|e| e.config != config);
    let ignored = champion
        .filter(|c| !is_gone && !is_past(&c.config))
        .and_then(|champion| {
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
            .filter(|r| r.observed.is_none() && !matches!(r.phase, Phase::RollingBack { .. }))
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
    if case.observes()
        && let Some(running) = decision.head.rollouts.get(&stage.name)
    {
        // Nothing waits for what is under way: it is said at once.
        let line = if running.candidate.version == version {
            "It is on its way there already.".to_owned()
        } else {
            would_follow(case, running)
        };
        let note = would_roll_out(case, stage, &candidate, vec![line]);
        decision.notes.push(note);
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

/// What a version that is approved meanwhile would do to what is under way.
fn would_follow(case: &Case<'_>, running: &Rollout) -> String {
    let when = match case.policy().pipeline.newer_approval {
        NewerApproval::Replace => "It would take the place of what is under way there",
        NewerApproval::Queue => "It would wait for what is under way there",
    };
    format!("{when}: {}.", running.name())
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
    drift_remains(case, package, decision);
    if case.observes() {
        would_replace(case, package, decision);
        return;
    }
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

/// A person does not want a retrained model. Of one that rolls out it is told once it is taken back.
fn drift_remains(case: &Case<'_>, package: &Package, decision: &mut Decision) {
    let version = package.version;
    let mut running = decision.head.rollouts.values();
    let rolls_out = running.any(|r| r.candidate.version == version);
    let finding = retrain::finding_of(&decision.head, package).filter(|_| !case.observes());
    let (Some(finding), Some(stage)) = (finding, case.stages().last()) else {
        return;
    };
    if !rolls_out {
        let lost = Lost {
            finding: &finding,
            job: package.metadata.get(JOB_KEY).map(String::as_str),
            version: Some(version),
            endpoint: &stage.endpoint,
            end: "was rejected",
            why: &format!("{} rejected it", by(package)),
        };
        lost.tell(decision);
    }
}

/// What would become of a rejected version that serves, in observe mode: whoever deployed it.
fn would_replace(case: &Case<'_>, package: &Package, decision: &mut Decision) {
    let version = package.version;
    for stage in case.stages() {
        let rollouts = &decision.head.rollouts;
        let is_canary = rollouts
            .get(&stage.name)
            .is_some_and(|r| r.candidate.version == version);
        if is_canary || !observe::serves(case, stage, &package.arn) {
            continue;
        }
        let line = format!(
            "{} rejected {version} while it serves {}. {}",
            by(package),
            stage.endpoint,
            instead(case, stage, version, decision)
        );
        let note = observe::would(
            Severity::Action,
            format!(
                "Observed: {version} would be taken back from {}",
                stage.endpoint
            ),
            vec![line, "Nothing was changed.".to_owned()],
            json!({ "package": package.arn }),
        );
        decision
            .notes
            .push(note.version(version).endpoint(&stage.endpoint));
    }
}

/// What would serve instead of a rejected version.
fn instead(case: &Case<'_>, stage: &Stage, version: PackageVersion, decision: &Decision) -> String {
    let champion = decision.head.champions.get(&stage.name);
    let previous = champion
        .filter(|c| c.candidate.version == version)
        .and_then(|c| c.previous.as_ref())
        .filter(|previous| {
            let package = case.facts.package(&previous.package).is();
            package.is_some_and(|p| p.approval == Approval::Approved)
        });
    match previous {
        Some(previous) => format!(
            "Tidegate would have {} take over at once.",
            previous.version
        ),
        None => "Tidegate would take it back, but it deployed no version before it that is still \
                 Approved: it would ask for the approval of another one."
            .to_owned(),
    }
}
