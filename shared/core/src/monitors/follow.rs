//! One look at the monitors of a pipeline: what is wanted is compared with what there is, and the
//! next call of each is asked for. Only one of a kind is on an endpoint at a time: the old one goes
//! first.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::again::{self, could_not, job_name};
use super::baseline::{self, Source};
use super::settle::{forget, route};
use super::{Kept, MOST_KEPT, Phase, Wanted, by_hand, wanted};
use crate::audit::What;
use crate::case::Case;
use crate::decision::{Decision, Note};
use crate::facts::Known;
use crate::ledger::Lane;
use crate::mutation::Mutation;
use crate::name::ScheduleName;
use crate::notice::Severity;
use crate::observe;
use crate::pipeline::MonitorKind;
use crate::world::{
    AnalysisSpec, Answer, BaselineFiles, BaselineSpec, Effect, MonitorSpec, Question, RunStatus,
};

/// How many calls and lines of the trail one look may come to; the rest is next.
const AT_ONCE: usize = 16;

/// The tag with the monitor's name.
pub(super) const TAG: &str = "tidegate:monitor";

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
        let kept = head.monitors.kept.get(&wanted.name);
        match kept.map(|k| &k.phase) {
            None | Some(Phase::SettingUp) if !wanted.is_mixed => {
                questions.extend(baseline::needs(&wanted));
            }
            Some(Phase::Running) if wanted.is_mixed => {
                questions.extend(by_hand::needs_to_pause(case, &wanted.name));
            }
            Some(Phase::Baselining { .. }) => questions.push(Question::Baselining {
                job: job_name(&wanted.name, kept.map_or(0, |k| k.tries)),
            }),
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
    for one in &wanted {
        let kept = &decision.head.monitors.kept;
        // The one before has to go first.
        let is_before = |name: &ScheduleName, k: &Kept| {
            k.endpoint == one.stage.endpoint
                && k.kind == one.monitor.kind
                && k.batch == one.monitor.batch.is_some()
                && wanted.iter().all(|w| &w.name != name)
        };
        let is_there = kept.contains_key(&one.name) || kept.iter().any(|(n, k)| is_before(n, k));
        let has_room = kept.len() < MOST_KEPT && size(decision) - before < AT_ONCE;
        if !one.is_mixed && has_room && !is_there {
            begin(case, one, decision);
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
            forget(case, name, decision);
        }
        return;
    };
    if by_hand::look(case, name, kept, decision) {
        return;
    }
    match &kept.phase {
        Phase::Baselining { since } if !wanted.is_mixed => {
            look_at_baseline(case, wanted, *since, kept.tries, decision);
        }
        // Its calls were called off, or it has to be made again: from the start.
        Phase::SettingUp if !wanted.is_mixed => begin(case, wanted, decision),
        Phase::Failed { made, since, .. } if !wanted.is_mixed => {
            if again::is_due(case, kept, *since) {
                again::try_again(name, kept, *made, decision);
            }
        }
        Phase::Leaving => leave(case, name, kept, decision),
        Phase::Running if Mutation::MonitorMixture.is_on() => {}
        Phase::Paused if Mutation::NeverResume.is_on() => {}
        Phase::Stopped if Mutation::ResumeStopped.is_on() => resume(wanted, decision),
        // A call that was called off may have gone through.
        Phase::Running | Phase::Pausing | Phase::Resuming if wanted.is_mixed => {
            pause(case, wanted, decision);
        }
        Phase::Stopped if wanted.is_mixed => decision.head.monitors.mix(wanted.stage, case.now),
        Phase::Pausing | Phase::Resuming => resume(wanted, decision),
        Phase::Paused if !wanted.is_mixed => resume(wanted, decision),
        Phase::Baselining { .. }
        | Phase::SettingUp
        | Phase::Running
        | Phase::Paused
        | Phase::Stopped
        | Phase::Deleted
        | Phase::Failed { .. } => {}
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
    let subject = kept.subject();
    if kept.phase != Phase::Leaving {
        let stage = case.stages().find(|s| &s.endpoint == endpoint);
        let champion = stage.and_then(|s| decision.head.champions.get(&s.name));
        let because = if champion.is_some_and(|c| c.candidate.version != *version) {
            "that version serves no more"
        } else {
            "the policy does not ask for it any more"
        };
        let why = format!(
            "The monitor {name} of {version} on {endpoint} ({subject}) is removed: {because}."
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
    let kept = decision.head.monitors.kept.get(&wanted.name);
    let job = job_name(&wanted.name, kept.map_or(0, |kept| kept.tries));
    let phase = match baseline::source(case, wanted, &job) {
        Source::Unknown => return,
        Source::Files(files, analysis, from) => {
            set_up(case, wanted, files, analysis, &from, decision);
            Phase::SettingUp
        }
        Source::Data(data, analysis) => {
            start_baselining(case, wanted, job, data, analysis, decision);
            Phase::Baselining { since: case.now }
        }
        Source::None(why) => {
            keep(wanted, Phase::SettingUp, decision);
            return could_not(case, &wanted.name, &why, false, decision);
        }
    };
    keep(wanted, phase, decision);
}

/// What was remembered of it before stays.
fn keep(wanted: &Wanted<'_>, phase: Phase, decision: &mut Decision) {
    let all = &mut decision.head.monitors.kept;
    if let Some(kept) = all.get_mut(&wanted.name) {
        kept.phase = phase;
        return;
    }
    let kept = Kept {
        kind: wanted.monitor.kind,
        endpoint: wanted.stage.endpoint.clone(),
        version: wanted.version,
        phase,
        batch: wanted.monitor.batch.is_some(),
        tries: 0,
        told: None,
        deleted: None,
    };
    all.insert(wanted.name.clone(), kept);
}

fn start_baselining(
    case: &Case<'_>,
    wanted: &Wanted<'_>,
    job: ScheduleName,
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
         {job}.",
        stage.endpoint,
        wanted.subject()
    );
    let facts = json!({ "monitor": name, "job": job, "data": data });
    decision
        .notes
        .push(about(wanted, What::BaselineStarted, why, facts));
    let spec = BaselineSpec {
        output: baseline::output(wanted, &job),
        name: job,
        monitor: (*monitor).clone(),
        data,
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
    tries: u8,
    decision: &mut Decision,
) {
    let name = &wanted.name;
    let job = &job_name(name, tries);
    let longest = SignedDuration::from_mins(i64::from(wanted.monitor.max_minutes)) + PATIENCE;
    let is_late = case.now.duration_since(since) > longest;
    let fail = |reason: &str, decision: &mut Decision| {
        let why = format!("The baselining job {reason} ({job})");
        could_not(case, name, &why, false, decision);
    };
    match case.facts.baselining(job) {
        Known::Is(run) => match run.status {
            RunStatus::Succeeded => {
                let (files, from) = (baseline::made(wanted, job), "the baseline that was made");
                set_up(case, wanted, files, None, from, decision);
                decision.head.monitors.phase(name, Phase::SettingUp);
            }
            RunStatus::Running if is_late => fail("does not end", decision),
            RunStatus::Running => {}
            RunStatus::Stopped => fail("was stopped by somebody", decision),
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
            let question = Question::Baselining { job: job.clone() };
            let reason = match case.facts.answer(&question) {
                Some(Answer::Refused(error)) => {
                    format!(
                        "can't be seen: AWS refused {}: {}",
                        error.call, error.message
                    )
                }
                _ => "is not there any more".to_owned(),
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
        stage.endpoint,
        wanted.subject(),
        monitor.schedule
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
    if monitor.batch.is_some() {
        decision.routes.push(route(name));
    }
}

fn tags(case: &Case<'_>, wanted: &Wanted<'_>) -> BTreeMap<String, String> {
    [
        ("tidegate:pipeline", case.policy().pipeline.name.to_string()),
        ("tidegate:version", wanted.version.0.to_string()),
        (TAG, wanted.name.to_string()),
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
    decision.head.monitors.mix(wanted.stage, case.now);
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

/// What would be done, in observe mode; each is said once.
fn say(wanted: &[Wanted<'_>], decision: &mut Decision) {
    let mut lines: Vec<(String, String)> = Vec::new();
    let kept = &decision.head.monitors.kept;
    for wanted in wanted.iter().filter(|w| !kept.contains_key(&w.name)) {
        let (version, endpoint) = (wanted.version, &wanted.stage.endpoint);
        let subject = wanted.subject();
        lines.push((
            format!("would-monitor/{}", wanted.name),
            format!(
                "The {subject} of {version} on {endpoint} would be monitored by {}.",
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
