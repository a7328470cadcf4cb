//! What Tidegate reads in an event and what it would do, without doing it.

use serde::Serialize;

use super::gather::{gather, training_job};
use super::route::{Routed, route};
use super::{EngineError, now_of};
use crate::case::Case;
use crate::decide::{Input, decide};
use crate::event::{self, Kind};
use crate::facts::Facts;
use crate::ledger::Ledger;
use crate::name::GroupName;
use crate::world::{Annotation, Effect, World};

/// What Tidegate makes of an event.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// What it reads in it.
    pub reads: String,
    /// The event as it is parsed.
    pub event: event::Event,
    /// The pipeline's group.
    pub group: Option<GroupName>,
    /// What it would write down, in order.
    pub would_say: Vec<String>,
    /// What it would call, in order.
    pub would_do: Vec<String>,
    /// Why it would do nothing.
    pub nothing_because: Option<String>,
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.reads)?;
        if let Some(group) = &self.group {
            writeln!(f, "It belongs to the pipeline of the group {group}.")?;
        }
        for sentence in &self.would_say {
            writeln!(f, "  {sentence}")?;
        }
        if !self.would_do.is_empty() {
            writeln!(f, "Tidegate would call:")?;
        }
        for call in &self.would_do {
            writeln!(f, "  {call}")?;
        }
        match &self.nothing_because {
            Some(why) => writeln!(f, "Tidegate would do nothing: {why}."),
            None if self.would_do.is_empty() && self.would_say.is_empty() => {
                writeln!(f, "Tidegate would do nothing.")
            }
            None if self.would_do.is_empty() => {
                writeln!(f, "Tidegate would write this down, and call nothing.")
            }
            None => Ok(()),
        }
    }
}

/// Explains an event as it came.
pub async fn explain<L: Ledger, W: World>(
    ledger: &L,
    world: &W,
    bytes: &[u8],
) -> Result<Explained, EngineError> {
    let event = event::parse(bytes)?;
    let mut explained = Explained {
        reads: event::describe(&event),
        group: None,
        would_say: Vec::new(),
        would_do: Vec::new(),
        nothing_because: None,
        event,
    };
    let event = &explained.event;
    if let Kind::Unhandled { why, .. } = &event.kind {
        explained.nothing_because = Some(why.clone());
        return Ok(explained);
    }
    let group = match route(ledger, world, &event.kind).await? {
        Routed::To(group) => group,
        Routed::Nowhere(why) => {
            explained.nothing_because = Some(why);
            return Ok(explained);
        }
    };
    let Some(snapshot) = ledger.load(&group, Some(&event.id)).await? else {
        explained.nothing_because = Some(format!(
            "the model package group {group} belongs to no pipeline"
        ));
        return Ok(explained);
    };
    if snapshot.seen {
        explained.nothing_because = Some("the event took effect before".to_owned());
    } else {
        let mut known = Facts::default();
        let job = match training_job(world, &event.kind, &mut known).await? {
            Some(job) => ledger.job(&group, &job).await?,
            None => None,
        };
        let now = now_of(event, snapshot.head.now);
        let input = Input::Event(event);
        let facts = gather(world, &snapshot, job.as_ref(), &input, now, &known).await?;
        let case = Case {
            snapshot: &snapshot,
            job: job.as_ref(),
            facts: &facts,
            now,
        };
        let decision = decide(&case, &input);
        explained.would_say = decision.notes.iter().map(|n| n.draft.why.clone()).collect();
        explained.would_do = decision.effects.iter().map(|(_, e)| e.in_words()).collect();
        if decision.head.waiting != snapshot.head.waiting {
            explained
                .would_do
                .extend(decision.head.waiting.iter().map(|(stage, waiting)| {
                    let version = waiting.candidate.version;
                    if case.observes() {
                        format!("say how {version} would be rolled out at the stage {stage}")
                    } else {
                        format!("start the rollout of {version} at the stage {stage}")
                    }
                }));
        }
        explained.nothing_because = decision.nothing_because;
    }
    explained.group = Some(group);
    Ok(explained)
}

impl Annotation {
    fn in_words(&self) -> String {
        let life_cycle = self.life_cycle.iter();
        let life_cycle = life_cycle.map(|l| format!("{}/{}", l.stage, l.status));
        let approver = self
            .approved_by
            .as_ref()
            .map(|by| format!("approved by {by}"));
        let all = self.metadata.keys().cloned().chain(life_cycle);
        let all: Vec<String> = all.chain(approver).collect();
        format!("UpdateModelPackage {}: {}", self.arn, all.join(", "))
    }
}

impl Effect {
    /// The call in a line, for people.
    pub fn in_words(&self) -> String {
        match self {
            Self::RegisterPackage(spec) => {
                format!(
                    "CreateModelPackage of {} in {} as {:?}",
                    spec.job, spec.group, spec.approval
                )
            }
            Self::SetApproval { arn, approval, .. } => {
                format!("UpdateModelPackage {arn}: {approval:?}")
            }
            Self::Annotate(annotation) => annotation.in_words(),
            Self::Trace(trace) => format!("AddAssociation: {}", trace.about),
            Self::CreateModel(spec) => format!("CreateModel {} of {}", spec.name, spec.package),
            Self::DeleteModel { name } => format!("DeleteModel {name}"),
            Self::CreateEndpointConfig(spec) => format!("CreateEndpointConfig {}", spec.name),
            Self::DeleteEndpointConfig { name } => format!("DeleteEndpointConfig {name}"),
            Self::CreateEndpoint {
                endpoint, config, ..
            } => {
                format!("CreateEndpoint {endpoint} with {config}")
            }
            Self::UpdateEndpoint {
                endpoint, config, ..
            } => {
                format!("UpdateEndpoint {endpoint} to {config}")
            }
            Self::DeleteEndpoint { endpoint } => format!("DeleteEndpoint {endpoint}"),
            Self::ShiftWeights { endpoint, weights } => {
                let shares: Vec<String> =
                    weights.iter().map(|(v, w)| format!("{v} {w} %")).collect();
                format!(
                    "UpdateEndpointWeightsAndCapacities {endpoint}: {}",
                    shares.join(", ")
                )
            }
            Self::StartTicks { rollout, .. } => format!("CreateSchedule for {rollout}"),
            Self::StopTicks { rollout } => format!("DeleteSchedule of {rollout}"),
            Self::CloneTrainingJob(clone) => {
                format!("CreateTrainingJob {} like {}", clone.name, clone.like)
            }
            Self::CloneTuningJob(clone) => {
                format!(
                    "CreateHyperParameterTuningJob {} like {}",
                    clone.name, clone.like
                )
            }
            Self::RequestRetraining(request) => {
                format!("PutEvents: a retraining for {}", request.endpoint)
            }
            Self::StartRetraining {
                pipeline, token, ..
            } => format!("StartPipelineExecution {pipeline} ({token})"),
            Self::StartBaselining(spec) => format!("CreateProcessingJob {}", spec.name),
            Self::SetUpMonitor(spec) => {
                format!(
                    "CreateMonitoringSchedule {} of {}",
                    spec.name, spec.endpoint
                )
            }
            Self::PauseMonitor { name, pause: true } => format!("StopMonitoringSchedule {name}"),
            Self::PauseMonitor { name, pause: false } => format!("StartMonitoringSchedule {name}"),
            Self::RemoveMonitor { name, .. } => format!("DeleteMonitoringSchedule {name}"),
            Self::Tell { notice, .. } => format!("Publish \"{}\"", notice.headline),
            Self::Announce { notice } => format!("PutEvents \"{}\"", notice.headline),
        }
    }
}
