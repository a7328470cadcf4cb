//! What is written into SageMaker's own records beside the package: lineage, life cycle, ancestry.
//!
//! Nothing waits for any of it, and none of it decides anything: where AWS refuses, the audit trail
//! says so, and nobody is woken.

use std::collections::{BTreeMap, BTreeSet};

use crate::candidate::Candidate;
use crate::case::Case;
use crate::decision::Decision;
use crate::event::Approval;
use crate::ledger::Lane;
use crate::name::{GroupName, PackageVersion};
use crate::origin::{self, APPROVER_KEY, DATA_KEY, DATA_VERSION_KEY};
use crate::retrain::{Ancestry, FINDING_KEY, PARENT_KEY};
use crate::rollout::{Phase, Rollout};
use crate::trace::{self, Deployment, MadeOf, Trace, Traced};
use crate::world::{Annotation, Effect, LifeCycle, Package, PackageSpec, TIDEGATE, TrainingJob};

/// The stage of the life cycle in which a version is until it rolls out.
const DEVELOPMENT: &str = "Development";

impl Effect {
    /// Whether it is a record beside others: nothing waits for it, and its failure is only written
    /// down.
    pub fn is_record(&self) -> bool {
        matches!(self, Self::Trace(_) | Self::Annotate(_))
    }
}

/// Associates a package that was just registered with what it was made of.
pub(crate) fn trace_registered(
    case: &Case<'_>,
    spec: &PackageSpec,
    arn: &str,
    version: PackageVersion,
    decision: &mut Decision,
) {
    let channels = spec.metadata.iter().filter_map(|(key, uri)| {
        let channel = key.strip_prefix(DATA_KEY)?;
        let version = spec.metadata.get(&format!("{DATA_VERSION_KEY}{channel}"))?;
        Some((channel.to_owned(), (uri.clone(), version.clone())))
    });
    let made_of = MadeOf {
        job: spec.job_arn.clone(),
        commit: spec.commit.clone(),
        repository: spec.repository.clone(),
        data: channels.collect(),
    };
    trace_origin(case, arn, &spec.group, version, &made_of, decision);
}

/// The same for a package that somebody else registered.
pub(crate) fn trace_elsewhere(
    case: &Case<'_>,
    package: &Package,
    job: &TrainingJob,
    decision: &mut Decision,
) {
    let data = origin::data(case, job).into_iter();
    let known = data.filter_map(|(channel, source)| {
        let version = source.version.clone()?;
        Some((channel.to_owned(), (source.uri.clone(), version)))
    });
    let made_of = MadeOf {
        job: job.arn.clone(),
        commit: origin::commit(job),
        repository: origin::repository(job),
        data: known.collect(),
    };
    let (group, version) = (&package.group, package.version);
    trace_origin(case, &package.arn, group, version, &made_of, decision);
}

fn trace_origin(
    case: &Case<'_>,
    arn: &str,
    group: &GroupName,
    version: PackageVersion,
    made_of: &MadeOf,
    decision: &mut Decision,
) {
    let package = Traced {
        arn,
        group,
        version,
    };
    trace(case, version, trace::origin(package, made_of), decision);
}

fn trace(case: &Case<'_>, version: PackageVersion, trace: Trace, decision: &mut Decision) {
    if case.policy().governance.lineage && !case.observes() {
        let effect = Effect::Trace(Box::new(trace));
        decision.effects.push((Lane::Record(version), effect));
    }
}

/// Where somebody else registered a retrained model, says in their package what led to it; what they
/// say themselves stays. In the job's lane, since an approval that is to be set first looks at
/// whether anybody changed the package.
pub(crate) fn ancestry(
    package: &Package,
    job: &TrainingJob,
    ancestry: Option<&Ancestry>,
    decision: &mut Decision,
) {
    let Some(ancestry) = ancestry else {
        return;
    };
    let parent = ancestry.parent.as_ref();
    let pairs = [
        Some((FINDING_KEY, &ancestry.finding)),
        parent.map(|parent| (PARENT_KEY, parent)),
    ];
    let missing = |key: &str| !package.metadata.contains_key(key);
    let new = pairs.into_iter().flatten().filter(|(key, _)| missing(key));
    let annotation = Annotation {
        arn: package.arn.clone(),
        metadata: new.map(|(k, v)| (k.to_owned(), v.clone())).collect(),
        life_cycle: None,
        approved_by: None,
    };
    if !annotation.metadata.is_empty() {
        let effect = Effect::Annotate(Box::new(annotation));
        decision.effects.push((Lane::Job(job.name.clone()), effect));
    }
}

/// The life cycle that a package is registered with, if it is kept.
pub(crate) fn first_life_cycle(case: &Case<'_>, approval: Approval) -> Option<LifeCycle> {
    let status = match approval {
        Approval::Approved => "Approved",
        Approval::PendingManualApproval => "PendingApproval",
        Approval::Rejected => "Rejected",
    };
    case.policy().governance.lifecycle.then(|| LifeCycle {
        stage: DEVELOPMENT.to_owned(),
        status: status.to_owned(),
        why: "the gate judged it".to_owned(),
    })
}

/// Says in the package who approved it; those who did before the last one are `voters`.
pub(crate) fn approved(
    case: &Case<'_>,
    package: &Package,
    is_by_gate: bool,
    mut voters: BTreeSet<String>,
    decision: &mut Decision,
) {
    if !case.policy().governance.approver || case.observes() {
        return;
    }
    match package.modified_by.as_deref() {
        _ if is_by_gate => voters = [TIDEGATE.to_owned()].into(),
        // Somebody did, and what Tidegate wrote after it hides who.
        None | Some(TIDEGATE) => return,
        Some(who) => {
            voters.insert(who.to_owned());
        }
    }
    let by: Vec<String> = voters.into_iter().collect();
    let by = by.join(" ");
    if package.metadata.get(APPROVER_KEY) == Some(&by) {
        return;
    }
    let annotation = Annotation {
        arn: package.arn.clone(),
        metadata: BTreeMap::new(),
        life_cycle: None,
        approved_by: Some(by),
    };
    let effect = Effect::Annotate(Box::new(annotation));
    decision
        .effects
        .push((Lane::Record(package.version), effect));
}

/// A person rejected a version that never rolled out.
pub(crate) fn rejected(case: &Case<'_>, package: &Package, decision: &mut Decision) {
    let why = format!("{} was rejected", package.version);
    life_cycle(
        case,
        (&package.arn, package.version),
        (DEVELOPMENT, "Rejected"),
        why,
        decision,
    );
}

/// A rollout began.
pub(crate) fn began(case: &Case<'_>, rollout: &Rollout, decision: &mut Decision) {
    let why = format!(
        "{} rolls out to {}",
        rollout.candidate.version, rollout.endpoint
    );
    of_rollout(
        case,
        rollout,
        &rollout.candidate,
        "InProgress",
        why,
        decision,
    );
}

/// A rollout ended; `previous` is what was the champion until then.
pub(crate) fn ended(
    case: &Case<'_>,
    rollout: &Rollout,
    previous: Option<&Candidate>,
    decision: &mut Decision,
) {
    let (version, endpoint) = (rollout.candidate.version, &rollout.endpoint);
    let (status, why) = match &rollout.phase {
        Phase::Done => ("Serving", format!("{version} serves {endpoint}")),
        Phase::RolledBack { why } => ("RolledBack", why.sentence.clone()),
        Phase::Superseded { why } => ("Superseded", why.sentence.clone()),
        Phase::Failed { why } => ("OnHold", why.clone()),
        _ => return,
    };
    of_rollout(case, rollout, &rollout.candidate, status, why, decision);
    if rollout.phase != Phase::Done || rollout.observed.is_some() {
        return;
    }
    if let Some(previous) = previous.filter(|p| p.version != version) {
        // It may have served for longer than approvals were remembered: the event of this is none.
        if !decision.head.approvals.contains_key(&previous.version) {
            let head = &mut decision.head;
            head.remember_approval(previous.version, Approval::Approved, case.now);
        }
        let why = format!("{version} serves {endpoint} instead");
        of_rollout(case, rollout, previous, "Replaced", why, decision);
    }
    let deployment = Deployment {
        package: Traced {
            arn: &rollout.candidate.package,
            group: &case.policy().pipeline.group,
            version,
        },
        pipeline: &case.policy().pipeline.name,
        stage: &rollout.stage,
        endpoint,
        rollout: &rollout.id,
        since: rollout.all_traffic_since().unwrap_or(case.now),
    };
    if let Some(of) = trace::deployment(&deployment) {
        trace(case, version, of, decision);
    }
}

fn of_rollout(
    case: &Case<'_>,
    rollout: &Rollout,
    candidate: &Candidate,
    status: &str,
    why: String,
    decision: &mut Decision,
) {
    if rollout.observed.is_none() {
        life_cycle(
            case,
            (&candidate.package, candidate.version),
            (rollout.stage.as_str(), status),
            why,
            decision,
        );
    }
}

fn life_cycle(
    case: &Case<'_>,
    (arn, version): (&str, PackageVersion),
    (stage, status): (&str, &str),
    why: String,
    decision: &mut Decision,
) {
    if !case.policy().governance.lifecycle || case.observes() {
        return;
    }
    let annotation = Annotation {
        arn: arn.to_owned(),
        metadata: BTreeMap::new(),
        approved_by: None,
        life_cycle: Some(LifeCycle {
            stage: stage.to_owned(),
            status: status.to_owned(),
            why,
        }),
    };
    let effect = Effect::Annotate(Box::new(annotation));
    decision.effects.push((Lane::Record(version), effect));
}
