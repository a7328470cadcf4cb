//! How a rollout starts: what serves now is looked at, and the first calls are asked for.
//!
//! An endpoint that Tidegate did not make is adopted as it is: what serves is the champion, and
//! every setting is copied by the adapter from the config that serves.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::clear::{cleared, needs_to_clear};
use super::finish::{anew, serving};
use super::names::{rollout_id, stem};
use super::{Asked, HISTORY_MINUTES, Incumbent, Phase, Rollout, judge};
use crate::audit::What;
use crate::candidate::Candidate;
use crate::decision::Note;
use crate::event::Approval;
use crate::evidence::Counts;
use crate::facts::{Facts, Known};
use crate::head::{Champion, Waiting};
use crate::ledger::AppliedPolicy;
use crate::mutation::Mutation;
use crate::name::GroupName;
use crate::notice::Severity;
use crate::pipeline::{Policy, Stage};
use crate::world::{Effect, Question};

mod calls;
mod served;

pub(super) use calls::champion_variant;
use calls::first_calls;
use served::{Served, serves_now};

/// A package that was made or approved less than this ago may be shown as it was before: reads of
/// `SageMaker` are consistent only in the end, and events' times are not exact.
const SHOWN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// What became of a candidate whose turn it was.
pub enum Start {
    /// Facts are missing; ask [`needs_to_start`].
    Unknown,
    /// The endpoint is busy: the candidate waits, for this reason.
    Wait(String),
    /// It can't start; people are told.
    Refused(Box<Note>),
    /// It started.
    Started(Box<Rollout>, Vec<Effect>, Box<Note>),
}

/// What has to be known before a candidate starts, given what is known.
pub fn needs_to_start(
    waiting: &Waiting,
    stage: &Stage,
    policy: &Policy,
    champion: Option<&Champion>,
    facts: &Facts,
    now: Timestamp,
) -> Vec<Question> {
    let mut questions = vec![
        Question::Package {
            arn: waiting.candidate.package.clone(),
        },
        Question::Endpoint(stage.endpoint.clone()),
    ];
    if let Some(champion) = champion.filter(|c| c.candidate.package != waiting.candidate.package) {
        questions.push(Question::Package {
            arn: champion.candidate.package.clone(),
        });
    }
    let package = facts.package(&waiting.candidate.package).is();
    let to_clear = |package| needs_to_clear(waiting, package, stage, policy, facts);
    questions.extend(package.into_iter().flat_map(to_clear));
    if let Some(endpoint) = facts.endpoint(&stage.endpoint).is() {
        questions.push(Question::EndpointConfig {
            name: endpoint.config.clone(),
        });
        if let [variant] = endpoint.variants.as_slice() {
            questions.push(history_question(stage, &variant.name, now));
        }
    }
    questions
}

pub(super) fn history_question(stage: &Stage, variant: &str, now: Timestamp) -> Question {
    let to = judge::settled(now, stage);
    Question::Minutes {
        endpoint: stage.endpoint.clone(),
        variants: vec![variant.to_owned()],
        guards: judge::metrics(stage),
        from: to - SignedDuration::from_mins(HISTORY_MINUTES),
        to,
    }
}

/// Starts the rollout of the candidate whose turn it is.
pub fn start(
    waiting: &Waiting,
    group: &GroupName,
    stage: &Stage,
    applied: &AppliedPolicy,
    champion: Option<&Champion>,
    facts: &Facts,
    now: Timestamp,
) -> Start {
    let candidate = &waiting.candidate;
    if let Err(stop) = may_serve(candidate, stage, facts) {
        return unless_new(stop, candidate, facts, now);
    }
    let (artifacts, reads) = match cleared(waiting, stage, applied, facts) {
        Ok(found) => found,
        Err(stop) => return stop,
    };
    let served = match facts.endpoint(&stage.endpoint) {
        Known::NotAsked => return Start::Unknown,
        Known::Missing => None,
        Known::Is(endpoint) => match serves_now(endpoint, champion, facts) {
            Served::Unknown => return Start::Unknown,
            Served::Busy(why) => return Start::Wait(why),
            Served::Unfit(why) => {
                let why = format!(
                    "{why} To try {} then, {}.",
                    candidate.version,
                    anew(candidate.version)
                );
                let headline = format!(
                    "{} was not rolled out to {}",
                    candidate.version, stage.endpoint
                );
                return refuse(candidate, stage, headline, why);
            }
            Served::By(incumbent, instance_type) => Some((incumbent, instance_type)),
        },
    };
    if served.is_none() && stage.instance.is_none() {
        return refuse(
            candidate,
            stage,
            format!("{} was not deployed: which instances?", candidate.version),
            format!(
                "The endpoint {} does not exist yet, and the policy's stage {} says no `instance`. \
                 Add for example: instance = {{ type = \"ml.m5.large\", count = 2 }}, apply the \
                 policy, and {}.",
                stage.endpoint,
                stage.name,
                anew(candidate.version)
            ),
        );
    }

    let (incumbent, instance_type) = served.unzip();
    let instance_type = instance_type.flatten();
    let history = match &incumbent {
        Some(incumbent) => history(stage, &incumbent.variant, facts, now),
        None => Vec::new(),
    };
    let replaces = incumbent.is_some() && (waiting.urgent || is_unapproved(champion, facts));
    let of = facts.endpoint(&stage.endpoint).is().map(|e| e.modified);
    let rollout = Rollout {
        replaces,
        asked: Some(Asked {
            of: of.flatten(),
            looks: 0,
        }),
        ..new_rollout(waiting, group, stage, incumbent, history, now)
    };
    let effects = first_calls(&rollout, group, applied, instance_type.as_deref());
    let why = started(&rollout);
    let note = Note::new(
        What::RolloutStarted,
        why.clone(),
        json!({
            "candidate": candidate,
            "incumbent": rollout.incumbent,
            "artifacts": artifacts,
            "reads": reads,
            "steps": stage.strategy.canary,
            "urgent": rollout.urgent,
        }),
    )
    .rollout(&rollout)
    .tell(
        Severity::Info,
        format!("{} is on its way to {}", candidate.version, stage.endpoint),
        vec![why],
    );
    Start::Started(Box::new(rollout), effects, Box::new(note))
}

/// Why and over what a rollout starts.
fn started(rollout: &Rollout) -> String {
    match &rollout.incumbent {
        None => format!(
            "{} is approved and the endpoint {} does not exist: it is created.",
            rollout.candidate.version, rollout.endpoint
        ),
        Some(incumbent) if rollout.replaces => format!(
            "{} takes the place of {} on {} at once, with no canary: what serves is not Approved, \
             and SageMaker deploys only Approved packages.",
            rollout.candidate.version,
            serving(incumbent),
            rollout.endpoint
        ),
        Some(incumbent) => format!(
            "{} is approved; {} serves {} on {} instance{}.",
            rollout.candidate.version,
            serving(incumbent),
            rollout.endpoint,
            incumbent.count,
            if incumbent.count == 1 { "" } else { "s" }
        ),
    }
}

/// A refusal, unless its package is so new that it may be shown as it was before.
fn unless_new(stop: Start, candidate: &Candidate, facts: &Facts, now: Timestamp) -> Start {
    let package = facts.package(&candidate.package).is();
    let may_change = package.is_none_or(|p| p.approval != Approval::Approved || !p.usable);
    let is_new = now.duration_since(candidate.approved_at) < SHOWN_AFTER;
    match stop {
        Start::Refused(_) if may_change && is_new && !Mutation::TrustStale.is_on() => {
            Start::Wait(format!(
                "The package {} is not shown as Approved yet.",
                candidate.package
            ))
        }
        stop => stop,
    }
}

/// Refuses a candidate, and tells people why.
fn refuse(candidate: &Candidate, stage: &Stage, headline: String, why: String) -> Start {
    let facts = json!({ "candidate": candidate });
    refuse_by(candidate, stage, headline, why, facts)
}

pub(super) fn refuse_by(
    candidate: &Candidate,
    stage: &Stage,
    headline: String,
    why: String,
    facts: Value,
) -> Start {
    Start::Refused(Box::new(
        Note::new(What::RolloutFailed, why.clone(), facts)
            .version(candidate.version)
            .endpoint(&stage.endpoint)
            .tell(Severity::Action, headline, vec![why]),
    ))
}

/// Whether the candidate's package may serve: only an Approved and usable one does.
fn may_serve(candidate: &Candidate, stage: &Stage, facts: &Facts) -> Result<(), Start> {
    let version = candidate.version;
    let refused = |what: &str, why| {
        Err(refuse(
            candidate,
            stage,
            format!("{version} was not rolled out: {what}"),
            why,
        ))
    };
    match facts.package(&candidate.package) {
        Known::NotAsked => Err(Start::Unknown),
        Known::Missing => refused(
            "its package is gone",
            format!("The package {} does not exist any more.", candidate.package),
        ),
        Known::Is(package)
            if package.approval != Approval::Approved && !Mutation::StartUnapproved.is_on() =>
        {
            Err(Start::Refused(Box::new(
                Note::new(
                    What::ApprovalIgnored,
                    format!("{version} is not Approved any more."),
                    json!({ "package": package.arn, "approval": package.approval }),
                )
                .version(version)
                .endpoint(&stage.endpoint),
            )))
        }
        Known::Is(package) if !package.usable => refused(
            "its package is not usable",
            format!(
                "The package {} is not Completed{}.",
                package.arn,
                package
                    .failure
                    .as_deref()
                    .map(|f| format!(": {f}"))
                    .unwrap_or_default()
            ),
        ),
        Known::Is(package) if package.artifacts.is_empty() && package.image.is_none() => refused(
            "nothing to serve",
            format!(
                "The package {} has no container with an image or artifacts.",
                package.arn
            ),
        ),
        Known::Is(_) => Ok(()),
    }
}

/// A rollout at its beginning, its names derived.
fn new_rollout(
    waiting: &Waiting,
    group: &GroupName,
    stage: &Stage,
    incumbent: Option<Incumbent>,
    history: Vec<Vec<Counts>>,
    now: Timestamp,
) -> Rollout {
    let candidate = &waiting.candidate;
    let id = rollout_id(group, &stage.name, candidate.version, candidate.approved_at);
    let stem = stem(&stage.endpoint, candidate.version, &id);
    let canary = free_name(&candidate.version.to_string(), incumbent.as_ref());
    Rollout {
        model: stem.clone(),
        config: format!("{stem}-c"),
        final_config: format!("{stem}-f"),
        final_variant: match &incumbent {
            // People have alarms on the variant names of an endpoint that they made.
            Some(incumbent) if !is_our_variant(&incumbent.variant) => incumbent.variant.clone(),
            _ => canary.clone(),
        },
        canary,
        id,
        stage: stage.name.clone(),
        endpoint: stage.endpoint.clone(),
        candidate: candidate.clone(),
        plan: stage.clone(),
        urgent: waiting.urgent,
        replaces: false,
        phase: Phase::Preparing,
        started: now,
        ended: None,
        attempts: 1,
        refused: None,
        evidence: judge::aimed_evidence(stage, &history),
        alone: Vec::new(),
        past: None,
        crossed: None,
        observed: None,
        history,
        judged_until: None,
        minutes: Vec::new(),
        weights: Vec::new(),
        went_back_by_own_config: false,
        told_of_wait: false,
        asked: None,
        unanswered: None,
        incumbent,
    }
}

/// Whether the champion's package is known not to be Approved any more.
fn is_unapproved(champion: Option<&Champion>, facts: &Facts) -> bool {
    champion
        .and_then(|c| facts.package(&c.candidate.package).is())
        .is_some_and(|p| p.approval != Approval::Approved)
}

pub(super) fn history(
    stage: &Stage,
    variant: &str,
    facts: &Facts,
    now: Timestamp,
) -> Vec<Vec<Counts>> {
    let minutes = facts
        .minutes(&history_question(stage, variant, now))
        .is()
        .unwrap_or_default();
    let guards = judge::metrics(stage).len();
    let mut history = vec![Vec::with_capacity(minutes.len()); guards];
    // Minutes before the endpoint had any traffic say nothing of it. By any guard: one alone may
    // count something rare.
    let first = minutes
        .iter()
        .position(|m| (0..guards).any(|g| m.of(0, g).requests > 0))
        .unwrap_or(minutes.len());
    for minute in minutes.get(first..).unwrap_or_default() {
        for (g, column) in history.iter_mut().enumerate() {
            column.push(minute.of(0, g));
        }
    }
    history
}

/// Whether a variant's name is one that Tidegate gives: `v` and a number.
fn is_our_variant(name: &str) -> bool {
    name.strip_prefix('v')
        .is_some_and(|n| n.split('-').all(|p| p.parse::<u32>().is_ok()))
}

/// The canary's variant name, told apart from the incumbent's (the same version again).
fn free_name(name: &str, incumbent: Option<&Incumbent>) -> String {
    match incumbent {
        Some(incumbent) if incumbent.variant == name => format!("{name}-2"),
        _ => name.to_owned(),
    }
}
