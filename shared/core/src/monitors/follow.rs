//! One look at the monitors of a pipeline: what is wanted is compared with what there is, and the
//! next call of each is asked for. Only one of a kind is on an endpoint at a time: the old one goes
//! first.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::baseline::{self, Source};
use super::{Kept, LONGEST_WHY, MOST_KEPT, Mixture, Phase, Wanted, wanted};
use crate::audit::What;
use crate::bounds::cut;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::facts::Known;
use crate::ledger::Lane;
use crate::mutation::Mutation;
use crate::name::ScheduleName;
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::{ModelMonitor, MonitorKind};
use crate::world::{
    AnalysisSpec, Answer, BaselineFiles, BaselineSpec, Effect, MonitorSpec, Question, RunStatus,
};

/// How many calls and lines of the trail one look may come to; the rest is next.
const AT_ONCE: usize = 16;

/// How much longer than it may take a baselining job is waited for.
const PATIENCE: SignedDuration = SignedDuration::from_mins(30);

/// What has to be known for a look.
pub(crate) fn needs(case: &Case<'_>) -> Vec<Question> {
    let head = &case.snapshot.head;
    if head.monitors.is_empty() || case.observes() {
        return Vec::new();
    }
    let mut questions = Vec::new();
    for wanted in wanted(case, head) {
        match head.monitors.kept.get(&wanted.name).map(|k| &k.phase) {
            None | Some(Phase::SettingUp) if !wanted.is_mixed => {
                questions.extend(baseline::needs(&wanted));
            }
            Some(Phase::Baselining { .. }) => {
                questions.push(Question::Baselining {
                    job: wanted.name.clone(),
                });
            }
            _ => {}
        }
    }
    questions
}

/// Looks at all monitors, and asks for the next call of each.
pub(crate) fn follow(case: &Case<'_>, decision: &mut Decision) {
    if decision.head.monitors.is_empty() {
        return;
    }
    end_mixtures(case, decision);
    let wanted = wanted(case, &decision.head);
    if case.observes() {
        return say(&wanted, decision);
    }
    let before = size(decision);
    let there: Vec<(ScheduleName, Kept)> =
        decision.head.monitors.kept.clone().into_iter().collect();
    for (name, kept) in there {
        let lane = Lane::Monitor(name.clone());
        let is_busy = case.snapshot.pending.iter().any(|p| p.lane == lane);
        if !is_busy && size(decision) - before < AT_ONCE {
            let wanted = wanted.iter().find(|w| w.name == name);
            step(case, &name, &kept, wanted, decision);
        }
    }
    if Mutation::RemoveForeignMonitor.is_on() {
        for name in &case.policy().monitor.schedules {
            let lane = Lane::Monitor(name.clone());
            let (name, kind) = (name.clone(), MonitorKind::DataQuality);
            let effect = Effect::RemoveMonitor { name, kind };
            decision.effects.push((lane, effect));
        }
    }
    for wanted in &wanted {
        let kept = &decision.head.monitors.kept;
        let is_same =
            |k: &Kept| k.endpoint == wanted.stage.endpoint && k.kind == wanted.monitor.kind;
        let has_room = kept.len() < MOST_KEPT && size(decision) - before < AT_ONCE;
        if !wanted.is_mixed && has_room && !kept.values().any(is_same) {
            begin(case, wanted, decision);
        }
    }
}

fn size(decision: &Decision) -> usize {
    decision.effects.len() + decision.notes.len()
}

/// A mixture ends with its rollout; where the candidate won, when it got all the traffic.
fn end_mixtures(case: &Case<'_>, decision: &mut Decision) {
    let head = &mut decision.head;
    for (endpoint, mixture) in &mut head.monitors.mixtures {
        let stage = case.stages().find(|s| &s.endpoint == endpoint);
        let is_rolling = stage.is_some_and(|s| head.rollouts.contains_key(&s.name));
        if mixture.until.is_none() && !is_rolling {
            let champion = stage.and_then(|s| head.champions.get(&s.name));
            let won = champion.map(|c| c.since).filter(|at| *at > mixture.from);
            mixture.until = won.or(Some(case.now));
        }
    }
    head.monitors.forget_old_mixtures(case.now);
}

/// The next call of a monitor that there is.
fn step(
    case: &Case<'_>,
    name: &ScheduleName,
    kept: &Kept,
    wanted: Option<&Wanted<'_>>,
    decision: &mut Decision,
) {
    let monitors = &mut decision.head.monitors;
    let Some(wanted) = wanted else {
        let is_made = !matches!(
            kept.phase,
            Phase::Baselining { .. } | Phase::Failed { made: false, .. }
        );
        if is_made && Mutation::KeepOldMonitors.is_on() {
            return;
        }
        if is_made {
            leave(case, name, kept, decision);
        } else {
            monitors.kept.remove(name);
        }
        return;
    };
    match &kept.phase {
        Phase::Baselining { since } if !wanted.is_mixed => {
            look_at_baseline(case, wanted, *since, decision);
        }
        // Its calls were called off: from the start.
        Phase::SettingUp => {
            monitors.kept.remove(name);
        }
        Phase::Leaving => leave(case, name, kept, decision),
        Phase::Running if Mutation::MonitorMixture.is_on() => {}
        Phase::Paused if Mutation::NeverResume.is_on() => {}
        Phase::Running | Phase::Pausing if wanted.is_mixed => pause(case, wanted, decision),
        Phase::Pausing => monitors.phase(name, Phase::Running),
        Phase::Paused | Phase::Resuming if !wanted.is_mixed => resume(wanted, decision),
        Phase::Resuming => monitors.phase(name, Phase::Paused),
        Phase::Baselining { .. } | Phase::Running | Phase::Paused | Phase::Failed { .. } => {}
    }
}

/// Its schedule and definition are deleted.
fn leave(case: &Case<'_>, name: &ScheduleName, kept: &Kept, decision: &mut Decision) {
    let Kept {
        kind,
        endpoint,
        version,
        ..
    } = kept;
    if kept.phase != Phase::Leaving {
        let stage = case.stages().find(|s| &s.endpoint == endpoint);
        let champion = stage.and_then(|s| decision.head.champions.get(&s.name));
        let because = if champion.is_some_and(|c| c.candidate.version != *version) {
            "that version serves no more"
        } else {
            "the policy does not ask for it any more"
        };
        let why = format!(
            "The monitor {name} of {version} on {endpoint} ({kind}) is removed: {because}."
        );
        let note = Note::new(
            What::MonitorRemoved,
            why,
            json!({ "monitor": name, "kind": kind }),
        );
        decision
            .notes
            .push(note.version(*version).endpoint(endpoint));
    }
    decision.head.monitors.phase(name, Phase::Leaving);
    let effect = Effect::RemoveMonitor {
        name: name.clone(),
        kind: *kind,
    };
    decision.effects.push((Lane::Monitor(name.clone()), effect));
}

/// The first call of a monitor that there is not.
fn begin(case: &Case<'_>, wanted: &Wanted<'_>, decision: &mut Decision) {
    let phase = match baseline::source(case, wanted) {
        Source::Unknown => return,
        Source::Files(files, analysis, from) => {
            set_up(case, wanted, files, analysis, &from, decision);
            Phase::SettingUp
        }
        Source::Data(data, analysis) => {
            start_baselining(case, wanted, data, analysis, decision);
            Phase::Baselining { since: case.now }
        }
        Source::None(why) => {
            keep(wanted, Phase::SettingUp, decision);
            return could_not(&wanted.name, &why, false, decision);
        }
    };
    keep(wanted, phase, decision);
}

fn keep(wanted: &Wanted<'_>, phase: Phase, decision: &mut Decision) {
    let kept = Kept {
        kind: wanted.monitor.kind,
        endpoint: wanted.stage.endpoint.clone(),
        version: wanted.version,
        phase,
    };
    decision
        .head
        .monitors
        .kept
        .insert(wanted.name.clone(), kept);
}

fn start_baselining(
    case: &Case<'_>,
    wanted: &Wanted<'_>,
    data: String,
    analysis: Option<AnalysisSpec>,
    decision: &mut Decision,
) {
    let Wanted {
        name,
        version,
        monitor,
        stage,
        ..
    } = wanted;
    let why = format!(
        "{version} serves {}: the baseline of its {} is made of {data} by the processing job \
         {name}.",
        stage.endpoint, monitor.kind
    );
    let facts = json!({ "monitor": name, "data": data });
    decision
        .notes
        .push(about(wanted, What::BaselineStarted, why, facts));
    let spec = BaselineSpec {
        name: name.clone(),
        monitor: (*monitor).clone(),
        data,
        output: baseline::output(wanted),
        analysis,
        tags: tags(case, wanted),
    };
    let effect = Effect::StartBaselining(Box::new(spec));
    decision.effects.push((Lane::Monitor(name.clone()), effect));
}

fn look_at_baseline(
    case: &Case<'_>,
    wanted: &Wanted<'_>,
    since: Timestamp,
    decision: &mut Decision,
) {
    let name = &wanted.name;
    let longest = SignedDuration::from_mins(i64::from(wanted.monitor.max_minutes)) + PATIENCE;
    let is_late = case.now.duration_since(since) > longest;
    let fail = |reason: &str, decision: &mut Decision| {
        let why = format!("The baselining job {name} {reason}");
        could_not(name, &why, false, decision);
    };
    match case.facts.baselining(name) {
        Known::Is(run) => match run.status {
            RunStatus::Succeeded => {
                let (files, from) = (baseline::made(wanted), "the baseline that was made");
                set_up(case, wanted, files, None, from, decision);
                decision.head.monitors.phase(name, Phase::SettingUp);
            }
            RunStatus::Running if is_late => fail("does not end.", decision),
            RunStatus::Running => {}
            RunStatus::Stopped => fail("was stopped by somebody.", decision),
            RunStatus::Failed => {
                let why = run
                    .failure
                    .as_deref()
                    .unwrap_or("SageMaker gives no reason");
                fail(&format!("failed: {why}"), decision);
            }
        },
        // What was made seconds ago may not be shown yet.
        Known::Missing if is_late => {
            let question = Question::Baselining { job: name.clone() };
            let reason = match case.facts.answer(&question) {
                Some(Answer::Refused(error)) => {
                    format!(
                        "can't be seen: AWS refused {}: {}",
                        error.call, error.message
                    )
                }
                _ => "is not there any more.".to_owned(),
            };
            fail(&reason, decision);
        }
        Known::Missing | Known::NotAsked => {}
    }
}

fn set_up(
    case: &Case<'_>,
    wanted: &Wanted<'_>,
    baseline: BaselineFiles,
    analysis: Option<AnalysisSpec>,
    from: &str,
    decision: &mut Decision,
) {
    let Wanted {
        name,
        version,
        monitor,
        stage,
        ..
    } = wanted;
    let why = format!(
        "{version} serves {}: its {} is monitored by {name} ({}), compared with {from}.",
        stage.endpoint, monitor.kind, monitor.schedule
    );
    let facts = json!({ "monitor": name, "baseline": baseline, "policy": monitor });
    decision
        .notes
        .push(about(wanted, What::MonitorSetUp, why, facts));
    let spec = MonitorSpec {
        name: name.clone(),
        endpoint: stage.endpoint.clone(),
        monitor: (*monitor).clone(),
        baseline,
        analysis,
        tags: tags(case, wanted),
    };
    let effect = Effect::SetUpMonitor(Box::new(spec));
    decision.effects.push((Lane::Monitor(name.clone()), effect));
}

fn tags(case: &Case<'_>, wanted: &Wanted<'_>) -> BTreeMap<String, String> {
    [
        ("tidegate:pipeline", case.policy().pipeline.name.to_string()),
        ("tidegate:version", wanted.version.0.to_string()),
        ("tidegate:monitor", wanted.name.to_string()),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into()
}

fn pause(case: &Case<'_>, wanted: &Wanted<'_>, decision: &mut Decision) {
    let endpoint = &wanted.stage.endpoint;
    let why = format!(
        "Two versions serve {endpoint}, or will: the monitor {} pauses.",
        wanted.name
    );
    let facts = json!({ "monitor": wanted.name });
    decision
        .notes
        .push(about(wanted, What::MonitorPaused, why, facts));
    let hours = wanted
        .stage
        .monitors
        .iter()
        .map(ModelMonitor::every_hours)
        .max();
    let mixture = Mixture {
        from: case.now,
        until: None,
        hours: hours.unwrap_or(1),
    };
    let mixtures = &mut decision.head.monitors.mixtures;
    if mixtures.get(endpoint).is_none_or(|m| m.until.is_some()) {
        mixtures.insert(endpoint.clone(), mixture);
    }
    run(wanted, Phase::Pausing, decision);
}

fn resume(wanted: &Wanted<'_>, decision: &mut Decision) {
    let endpoint = &wanted.stage.endpoint;
    let why = format!(
        "{} serves {endpoint} alone: the monitor {} runs again.",
        wanted.version, wanted.name
    );
    let facts = json!({ "monitor": wanted.name });
    decision
        .notes
        .push(about(wanted, What::MonitorResumed, why, facts));
    run(wanted, Phase::Resuming, decision);
}

fn run(wanted: &Wanted<'_>, phase: Phase, decision: &mut Decision) {
    let name = &wanted.name;
    let pause = phase == Phase::Pausing;
    let effect = Effect::PauseMonitor {
        name: name.clone(),
        pause,
    };
    decision.effects.push((Lane::Monitor(name.clone()), effect));
    decision.head.monitors.phase(name, phase);
}

fn about(wanted: &Wanted<'_>, what: What, why: String, facts: serde_json::Value) -> Note {
    let note = Note::new(what, why, facts);
    note.version(wanted.version)
        .endpoint(&wanted.stage.endpoint)
}

/// A monitor is given up, and people are told why, once.
pub(super) fn could_not(name: &ScheduleName, why: &str, made: bool, decision: &mut Decision) {
    let Some(kept) = decision.head.monitors.kept.get_mut(name) else {
        return;
    };
    kept.phase = Phase::Failed {
        why: cut(why, LONGEST_WHY),
        made,
    };
    let (kind, endpoint, version) = (kept.kind, kept.endpoint.clone(), kept.version);
    let said =
        format!("The {kind} of {version} on {endpoint} is not monitored as the policy asks: {why}");
    let next = "It is not tried again until another version serves, or a key of the monitor is \
                changed in the policy.";
    decision.notes.push(
        Note::new(
            What::MonitorFailed,
            said,
            json!({ "monitor": name, "made": made }),
        )
        .version(version)
        .endpoint(&endpoint)
        .tell(
            Severity::Warning,
            format!("No monitor of {kind} on {endpoint}"),
            vec![why.to_owned(), next.to_owned()],
        ),
    );
}

/// What would be done, in observe mode; each is said once.
fn say(wanted: &[Wanted<'_>], decision: &mut Decision) {
    let mut lines: Vec<(String, String)> = Vec::new();
    let kept = &decision.head.monitors.kept;
    for wanted in wanted.iter().filter(|w| !kept.contains_key(&w.name)) {
        let (version, endpoint) = (wanted.version, &wanted.stage.endpoint);
        let kind = wanted.monitor.kind;
        lines.push((
            format!("would-monitor/{}", wanted.name),
            format!(
                "The {kind} of {version} on {endpoint} would be monitored by {}.",
                wanted.name
            ),
        ));
    }
    for (name, kept) in kept
        .iter()
        .filter(|(name, _)| wanted.iter().all(|w| &w.name != *name))
    {
        lines.push((
            format!("would-not-monitor/{name}"),
            format!("The monitor {name} on {} would be removed.", kept.endpoint),
        ));
    }
    for (key, line) in lines {
        if !decision.head.is_known_finding(&key) {
            let headline = "Observed: monitors would change";
            decision.notes.push(observe::would(
                Severity::Info,
                headline,
                vec![line],
                json!({}),
            ));
        }
    }
}
