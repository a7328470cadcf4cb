//! `tidegate rollout show`: one rollout with all that is known of it: what happened, a chart of
//! traffic, rates and evidence, what each guard saw, and the steps.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use tidegate_core::name::{GroupName, PipelineName};
use tidegate_core::rollout::{JudgedMinute, Rollout};

use crate::answer::Answer;
use crate::args;
use crate::connect::Connection;
use crate::error::{Exit, Problem};
use crate::render::{Paint, Screen, clean, span, wrap};
use crate::status::RolloutStatus;

pub(crate) mod chart;
pub(crate) mod facts;
mod find;
#[cfg(test)]
pub(crate) mod sample;
mod steps;
mod story;
mod svg;
pub(crate) mod terminal;
#[cfg(test)]
mod tests;

use chart::Chart;
use facts::{compared_with, who};
use find::Found;
use terminal::Glyphs;

/// Shows one rollout.
pub(crate) async fn run(
    args: &args::RolloutShow,
    connection: &Connection,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let found = find::find(connection, &args.id, args.pipeline.as_deref()).await?;
    let screen = screen.no_earlier_than(found.snapshot.head.now);
    let shown = Shown::of(&found);
    let end = found.rollout.ended.unwrap_or_else(|| {
        // What is not judged yet has nothing to show.
        let last = found.rollout.judged_until.unwrap_or(found.rollout.started);
        found.snapshot.head.now.map_or(last, |now| last.min(now))
    });
    let chart = Chart::of(&found.rollout, &who(&found.rollout), end);
    let mut text = shown.text(
        &found.rollout,
        chart.as_ref(),
        Glyphs::of(args.ascii),
        &screen,
    );
    if let Some(path) = &args.svg {
        let Some(chart) = chart else {
            return Err(Problem::new(
                Exit::No,
                "there is nothing to draw yet: no traffic has reached the candidate",
            ));
        };
        match write_svg(&chart, path)? {
            Some(picture) => text = picture,
            None => {
                let _ = writeln!(text, "\nThe picture is in {}.", path.display());
            }
        }
    }
    Answer::new(shown, text)
}

/// A picture and JSON can't both go to standard output.
pub(crate) fn check_svg(path: Option<&Path>, as_json: bool) -> Result<(), Problem> {
    if as_json && path.is_some_and(|path| path == Path::new("-")) {
        return Err(Problem::new(
            Exit::Usage,
            "a picture and JSON can't both go to standard output",
        )
        .help("give --svg a file's name"));
    }
    Ok(())
}

/// Writes a picture to a file, or gives it back if it goes to standard output.
pub(crate) fn write_svg(chart: &Chart, path: &Path) -> Result<Option<String>, Problem> {
    let picture = chart.svg();
    if path == Path::new("-") {
        return Ok(Some(picture));
    }
    std::fs::write(path, picture).map_err(|error| {
        Problem::new(Exit::Usage, "the picture can't be written")
            .at(path.display())
            .why(error)
    })?;
    Ok(None)
}

/// What `rollout show --json` prints.
#[derive(Debug, Serialize)]
struct Shown {
    pipeline: PipelineName,
    group: GroupName,
    /// What happened, in a sentence or two.
    told: String,
    rollout: RolloutStatus,
    steps: Vec<steps::Step>,
    /// The judged minutes, as far as they are kept.
    judged: Vec<Judged>,
}

/// A judged minute.
#[derive(Debug, Serialize)]
pub(crate) struct Judged {
    at: jiff::Timestamp,
    /// The canary's share of traffic, percent.
    percent: u8,
    /// By guard: the champion's requests and bad ones, then the canary's.
    guards: Vec<[u64; 4]>,
    /// Log-evidence of harm after it, of the guard that objects most.
    harm: f64,
}

impl Judged {
    pub(crate) fn of(minute: &JudgedMinute) -> Self {
        Self {
            at: minute.at,
            percent: minute.weight,
            guards: minute.guards.iter().map(|m| (*m).into()).collect(),
            harm: minute.harm,
        }
    }
}

impl Shown {
    fn of(found: &Found) -> Self {
        let Found {
            group,
            snapshot,
            rollout,
        } = found;
        let policy = &snapshot.applied.policy.pipeline;
        Self {
            pipeline: policy.name.clone(),
            group: group.clone(),
            told: story::told(rollout),
            rollout: RolloutStatus::with_all_guards(rollout),
            steps: steps::of(rollout),
            judged: rollout.minutes.iter().map(Judged::of).collect(),
        }
    }

    fn text(
        &self,
        rollout: &Rollout,
        chart: Option<&Chart>,
        glyphs: Glyphs,
        screen: &Screen,
    ) -> String {
        let mut text = String::new();
        for line in wrap(&clean(&self.told), screen.width) {
            let _ = writeln!(text, "{}", screen.paint(Paint::Bold, &line));
        }
        text.push('\n');
        self.header(rollout, screen, &mut text);
        match chart {
            Some(chart) => {
                text.push('\n');
                text.push_str(&chart.terminal(screen, glyphs));
            }
            None => text.push_str("\nNo traffic has reached it, so there is no chart.\n"),
        }
        if !self.rollout.guards.is_empty() {
            let _ = writeln!(text, "\n{}", screen.paint(Paint::Bold, "Guards"));
            let who = who(rollout);
            let champion = rollout.incumbent.as_ref().and_then(|i| i.version);
            let beside =
                champion.map_or_else(|| "champion".to_owned(), |v| format!("champion {v}"));
            for guard in &self.rollout.guards {
                text.push_str(&guard.text(&who, &beside, screen));
            }
            let note = "Rates and ratios stand with their 95 % intervals, which hold however often one looks.";
            for line in wrap(note, screen.width.saturating_sub(2)) {
                let _ = writeln!(text, "  {}", screen.paint(Paint::Dim, &line));
            }
        }
        if !self.steps.is_empty() {
            let guard = chart::shown(rollout);
            let key = rollout
                .plan
                .guards_or_default()
                .get(guard)
                .map(|g| g.metric.words());
            let title = format!("Steps, {}", key.unwrap_or_default());
            let _ = writeln!(text, "\n{}", screen.paint(Paint::Bold, &clean(&title)));
            text.push_str(&steps::text(&self.steps, guard, screen));
        }
        text
    }

    fn header(&self, rollout: &Rollout, screen: &Screen, text: &mut String) {
        let mut field = |label: &str, value: &str| {
            for (i, part) in wrap(&clean(value), screen.width.saturating_sub(12))
                .iter()
                .enumerate()
            {
                let label = if i == 0 { label } else { "" };
                let _ = writeln!(text, "  {label:<9} {part}");
            }
        };
        field("rollout", &self.rollout.id);
        let stage = &self.rollout.stage;
        field(
            "pipeline",
            &format!(
                "{}, stage {stage}, endpoint {}",
                self.pipeline, self.rollout.endpoint
            ),
        );
        let mode = if self.rollout.observed {
            ", only observed: Tidegate judges and changes nothing"
        } else {
            ""
        };
        field("phase", &format!("{}{mode}", self.rollout.phase_text));
        let started = rollout.started;
        field("started", &screen.time(started));
        if let Some(ended) = rollout.ended {
            let took = span((ended.as_second() - started.as_second()).max(0));
            field("ended", &format!("{}, took {took}", screen.time(ended)));
        }
        if let Some(compared) = compared_with(rollout) {
            field(
                "compared",
                &format!("since it has all the traffic, with {compared}"),
            );
        }
        if let Some(refused) = &rollout.refused {
            field("refused", refused);
        }
    }
}
