//! How schedules, runs and findings look on a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::finding::{self, FindingKind};
use tidegate_core::monitors::Kept;
use tidegate_core::name::{EndpointName, PackageVersion};
use tidegate_core::world::{Findings, Violation};

use super::aws::{Execution, Schedule};
use crate::audit::Line;
use crate::render::{Paint, Screen, clean, utc, wrap};

/// How many things of a kind are shown; JSON has all that were read.
const SHOWN: usize = 20;

/// A run with what it found and what became of that.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) run: Execution,
    pub(super) findings: Option<Found>,
    /// The entries of the audit trail that name the job.
    pub(super) entries: Vec<Line>,
}

/// What a run found, by kind.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    /// Where the report is.
    report: Option<String>,
    /// Why the report can't be read.
    unreadable: Option<String>,
    kinds: BTreeMap<FindingKind, Vec<Violation>>,
    /// A clause a kind.
    #[serde(skip)]
    in_words: Vec<String>,
}

impl Found {
    pub(super) fn of(findings: &Findings) -> Self {
        let kinds = finding::by_kind(findings);
        let in_words = finding::in_words(&kinds);
        let owned = |all: Vec<&Violation>| all.into_iter().cloned().collect();
        Self {
            report: findings.report.clone(),
            unreadable: findings.unreadable.clone(),
            kinds: kinds.into_iter().map(|(k, all)| (k, owned(all))).collect(),
            in_words,
        }
    }

    /// In a line.
    pub(super) fn in_words(&self) -> String {
        match &self.unreadable {
            Some(why) => format!("something, and its report can't be read: {why}"),
            None if self.in_words.is_empty() => "violations, and its report names none".to_owned(),
            None => self.in_words.join("; "),
        }
    }
}

/// Which champion a monitor of Tidegate's follows, and how far it is.
#[derive(Debug, Serialize)]
pub(super) struct Follows {
    endpoint: EndpointName,
    version: PackageVersion,
    state: String,
}

impl Follows {
    pub(super) fn of(kept: &Kept) -> Self {
        Self {
            endpoint: kept.endpoint.clone(),
            version: kept.version,
            state: kept.in_words(),
        }
    }

    /// `v3 of fraud-prod: running`.
    pub(super) fn in_words(&self) -> String {
        let state = clean(&self.state);
        format!("{} of {}: {state}", self.version, self.endpoint)
    }
}

/// `data quality of fraud-prod`.
pub(super) fn subject(schedule: &Schedule) -> String {
    let kind = match schedule.kind.as_str() {
        "DataQuality" => "data quality",
        "ModelQuality" => "model quality",
        "ModelBias" => "bias",
        "ModelExplainability" => "feature attribution",
        other => other,
    };
    match &schedule.endpoint {
        Some(endpoint) => format!("{kind} of {endpoint}"),
        None => format!("{kind} of batch transform data"),
    }
}

/// A schedule's first line.
pub(super) fn title(schedule: &Schedule, screen: &Screen) -> String {
    let name = screen.paint(Paint::Bold, schedule.name.as_str());
    if schedule.state == "missing" {
        return name;
    }
    if schedule.state == "deleted" {
        return format!("{name}  {}", clean(&subject(schedule)));
    }
    let when = schedule.timing().in_words(schedule.expression.as_deref());
    format!("{name}  {}, {}", clean(&subject(schedule)), clean(&when))
}

/// How a schedule is, and a colour for it.
pub(super) fn state(schedule: &Schedule, screen: &Screen) -> (String, Paint) {
    match schedule.state.as_str() {
        "stopped" => (
            "stopped: nothing is looked for until it is started".to_owned(),
            Paint::Bad,
        ),
        "failed" => {
            let why = schedule.failure.as_deref().unwrap_or("no reason is given");
            (format!("failed: {why}"), Paint::Bad)
        }
        "missing" => (
            "SageMaker has no such schedule: take it out of the policy, or create it".to_owned(),
            Paint::Bad,
        ),
        state => match schedule.next(screen.now) {
            Some(next) => (
                format!("{state}; next {}, up to 20 min late", screen.time(next)),
                Paint::Plain,
            ),
            None => (state.to_owned(), Paint::Plain),
        },
    }
}

/// A run's time and status.
pub(super) fn headline(run: &Execution, screen: &Screen) -> String {
    let status = run.status.replace('_', " ");
    let paint = if run.is_failed() {
        Paint::Bad
    } else if run.has_violations() {
        Paint::Busy
    } else if run.is_over() {
        Paint::Good
    } else {
        Paint::Plain
    };
    let status = screen.paint(paint, &clean(&status));
    format!("{}  {status}", screen.time(run.scheduled))
}

/// Lines with a label.
pub(super) struct Fields<'a> {
    pub(super) text: &'a mut String,
    pub(super) screen: &'a Screen,
    /// Spaces before the label.
    pub(super) indent: usize,
}

impl Fields<'_> {
    /// The columns that a label has.
    const LABEL: usize = 11;

    pub(super) fn add(&mut self, label: &str, value: &str) {
        self.paint(label, value, Paint::Plain);
    }

    pub(super) fn paint(&mut self, label: &str, value: &str, paint: Paint) {
        let used = self.indent + Self::LABEL;
        let value = clean(value);
        let parts = wrap(&value, self.screen.width.saturating_sub(used));
        for (i, part) in parts.iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            let part = self.screen.paint(paint, part);
            let gap = " ".repeat(self.indent);
            let _ = writeln!(self.text, "{gap}{label:<width$}{part}", width = Self::LABEL);
        }
    }
}

/// A run as a paragraph.
pub(super) fn run(shown: &Shown, screen: &Screen) -> String {
    let mut text = headline(&shown.run, screen) + "\n";
    let mut fields = Fields {
        text: &mut text,
        screen,
        indent: 2,
    };
    if let Some(why) = &shown.run.failure {
        fields.paint("why", why, Paint::Bad);
    }
    if let Some(job) = &shown.run.job {
        fields.add("job", job);
    }
    if let Some(found) = &shown.findings {
        if let Some(report) = &found.report {
            fields.add("report", report);
        }
        if found.unreadable.is_some() || found.kinds.is_empty() {
            fields.paint("found", &found.in_words(), Paint::Bad);
        }
        for (kind, violations) in &found.kinds {
            let mut label = label(*kind);
            for violation in violations.iter().take(SHOWN) {
                fields.add(label, &thing(violation));
                label = "";
            }
            if let Some(more) = violations.len().checked_sub(SHOWN).filter(|n| *n > 0) {
                fields.add("", &format!("and {more} more"));
            }
        }
    }
    for (i, line) in shown.entries.iter().enumerate() {
        let label = if i == 0 { "Tidegate" } else { "" };
        let at = line.at.map(utc).unwrap_or_default();
        fields.add(
            label,
            &format!("#{} {at} {}: {}", line.n, line.what, line.why),
        );
    }
    text
}

fn thing(violation: &Violation) -> String {
    let name = if violation.feature.is_empty() {
        &violation.check
    } else {
        &violation.feature
    };
    if violation.description.is_empty() {
        format!("{name} ({})", violation.check)
    } else {
        format!("{name}: {}", violation.description)
    }
}

/// A word for a kind of finding, as in a policy.
fn label(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Schema => "schema",
        FindingKind::Quality => "quality",
        FindingKind::Drift => "drift",
        FindingKind::Values => "values",
        FindingKind::Bias => "bias",
        FindingKind::Attribution => "attribution",
        FindingKind::Unknown => "unknown",
    }
}

/// The latest time that is shown: the ledger's clock and SageMaker's may be ahead of this one's.
pub(super) fn latest(runs: &[Shown]) -> Option<Timestamp> {
    runs.iter().map(|shown| shown.run.changed).max()
}
