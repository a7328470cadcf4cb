//! `tidegate monitor show`: a schedule's definition, its runs, what they found and what came of it.

use serde::Serialize;
use tidegate_core::name::{GroupName, PipelineName};

use super::args::Show;
use super::aws::{Execution, Monitors, Schedule};
use super::definition::{self, Definition, Input};
use super::shown::{self, Fields, Follows, Found, Shown};
use super::trail::{self, FAR, Trail};
use crate::answer::Answer;
use crate::connect::{Connection, latest};
use crate::error::Problem;
use crate::render::{Screen, number};

/// What `monitor show --json` prints.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    schedule: Schedule,
    /// The pipeline that its findings belong to.
    pipeline: Option<PipelineName>,
    group: Option<GroupName>,
    /// How it follows the champion, if Tidegate made it.
    follows: Option<Follows>,
    definition: Option<Definition>,
    /// Newest first.
    runs: Vec<Shown>,
}

/// Shows a schedule.
pub(super) async fn run(
    args: &Show,
    connection: &Connection,
    monitors: &Monitors,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let name = super::named(&args.schedule, monitors).await?;
    let found = monitors.find(&name).await?;
    let executions = monitors.executions(&name, args.runs).await?;
    // Runs stay known when their schedule is deleted.
    let schedule = match (found, executions.first()) {
        (Some(schedule), _) => schedule,
        (None, Some(run)) => Schedule::deleted(&name, run),
        (None, None) => return Err(monitors.no_schedule(&args.schedule).await),
    };
    let definition = definition::of(monitors, &schedule).await?;
    let pipeline = trail::pipeline_of(connection, &schedule).await?;
    let trail = match &pipeline {
        Some((group, snapshot)) => Some(Trail::of(connection, group, snapshot).await?),
        None => None,
    };
    let mut runs = Vec::new();
    for run in executions {
        let entries = match (&run.job, &trail) {
            (Some(job), Some(trail)) => trail.about(job),
            _ => Vec::new(),
        };
        runs.push(Shown {
            entries,
            ..read(run, monitors).await
        });
    }
    let ledger = latest(pipeline.iter().map(|(_, snapshot)| snapshot));
    let screen = screen.no_earlier_than(ledger.max(shown::latest(&runs)));
    let policy = pipeline.as_ref().map(|(_, s)| &s.applied.policy.pipeline);
    let whole = Whole {
        schedule,
        pipeline: policy.map(|policy| policy.name.clone()),
        group: pipeline.as_ref().map(|(group, _)| group.clone()),
        follows: pipeline
            .as_ref()
            .and_then(|(_, s)| s.head.monitors.kept.get(&name))
            .map(Follows::of),
        definition,
        runs,
    };
    let mut remarks = String::new();
    if trail.is_some_and(|trail| trail.is_cut) {
        remarks = format!(
            "What Tidegate did is looked for in the newest {} entries of the trail.\n",
            number(FAR)
        );
    }
    let text = text(&whole, &screen);
    Ok(Answer::new(whole, text)?.remarking(remarks))
}

/// A run with what it found.
pub(super) async fn read(run: Execution, monitors: &Monitors) -> Shown {
    let findings = match &run.job {
        Some(job) if run.has_violations() => Some(Found::of(&monitors.findings(job).await)),
        _ => None,
    };
    Shown {
        run,
        findings,
        entries: Vec::new(),
    }
}

fn text(whole: &Whole, screen: &Screen) -> String {
    let mut text = shown::title(&whole.schedule, screen) + "\n";
    let mut fields = Fields {
        text: &mut text,
        screen,
        indent: 2,
    };
    let (state, paint) = shown::state(&whole.schedule, screen);
    fields.paint("state", &state, paint);
    match (&whole.pipeline, &whole.group) {
        (Some(pipeline), Some(group)) => {
            fields.add("pipeline", &format!("{pipeline} (group {group})"));
        }
        _ => fields.add(
            "pipeline",
            "none: no policy has its endpoint or lists it, so Tidegate does nothing about what it \
             finds",
        ),
    }
    if let Some(follows) = &whole.follows {
        fields.add("follows", &follows.in_words());
    }
    if let Some(definition) = &whole.definition {
        defined(definition, &mut fields);
    }
    if whole.runs.is_empty() {
        fields.add("runs", "none yet");
    }
    for run in &whole.runs {
        text.push('\n');
        text.push_str(&shown::run(run, screen));
    }
    text
}

fn defined(definition: &Definition, fields: &mut Fields<'_>) {
    if let Some(name) = &definition.name {
        fields.add("definition", name);
    }
    fields.add("data", &data(&definition.input));
    if let Some(labels) = &definition.labels {
        fields.add("labels", labels);
    }
    for (i, file) in definition.baseline.iter().enumerate() {
        fields.add(if i == 0 { "baseline" } else { "" }, file);
    }
    if definition.baseline.is_empty() {
        fields.add("baseline", "none: nothing is compared");
    }
    if let Some(image) = &definition.image {
        fields.add("image", image);
    }
    if let Some(instances) = &definition.instances {
        let longest = definition.longest_seconds;
        let longest = longest.map(|seconds| format!(", for {seconds} s at most"));
        fields.add(
            "runs on",
            &format!("{instances}{}", longest.unwrap_or_default()),
        );
    }
    for output in &definition.output {
        fields.add("writes to", output);
    }
    if let Some(role) = &definition.role {
        fields.add("role", role);
    }
}

/// Which data a job looks at, in words.
fn data(input: &Input) -> String {
    let source = match (&input.endpoint, &input.batch) {
        (Some(endpoint), _) => format!("what {endpoint} captured"),
        (None, Some(batch)) => format!("what batch transform captured to {batch}"),
        (None, None) => "unknown".to_owned(),
    };
    match offsets(input) {
        Some(offsets) => format!("{source}, {offsets}"),
        None => source,
    }
}

/// The definition's own window, if it has one.
pub(super) fn offsets(input: &Input) -> Option<String> {
    let from = input.from.as_deref();
    let to = input.to.as_deref();
    (from.is_some() || to.is_some()).then(|| {
        format!(
            "from {} to {} of each run",
            from.unwrap_or("the run before"),
            to.unwrap_or("the time")
        )
    })
}
