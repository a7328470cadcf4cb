//! A version's origin as a tree in the terminal.

use std::fmt::Write as _;

use tidegate_core::event::Approval;

use super::version::{Training, Version};
use crate::render::{Paint, Screen, clean, wrap};

/// Something and what it comes from.
#[derive(Debug)]
pub(super) struct Branch {
    label: &'static str,
    text: String,
    paint: Paint,
    under: Vec<Branch>,
}

/// The width of the labels.
const LABELS: usize = 10;

fn leaf(label: &'static str, text: impl Into<String>) -> Branch {
    Branch {
        label,
        text: text.into(),
        paint: Paint::Plain,
        under: Vec::new(),
    }
}

impl Branch {
    /// A version and the versions that it was retrained from, in that order.
    pub(super) fn of(versions: &[Version]) -> Self {
        let Some((version, parents)) = versions.split_first() else {
            return leaf("", "");
        };
        let mut under = vec![approval(version)];
        under.extend(version.rollouts.iter().map(|went| {
            let what = if went.serves { "serves" } else { "went to" };
            let phase = went.phase.replace('_', " ");
            let text = format!(
                "{} ({}): {phase}, {}",
                went.endpoint, went.stage, went.rollout
            );
            Self {
                paint: if went.serves {
                    Paint::Good
                } else {
                    Paint::Plain
                },
                ..leaf(what, text)
            }
        }));
        if !version.metrics.is_empty() {
            let metrics = version
                .metrics
                .iter()
                .map(|(name, value)| format!("{name} {value}"));
            under.push(leaf("metrics", metrics.collect::<Vec<_>>().join(", ")));
        }
        under.extend(model(version));
        under.extend(version.training.as_ref().map(training));
        under.extend(code(version));
        if let Some(parent) = version.parent {
            let why = version
                .finding
                .as_ref()
                .map_or_else(String::new, |finding| {
                    format!(", retrained after {finding}")
                });
            under.push(match parents {
                [] => leaf("parent", format!("{} {parent}{why}", version.group)),
                _ => Self {
                    label: "parent",
                    text: format!("{} {parent}{why}", version.group),
                    ..Self::of(parents)
                },
            });
        }
        Self {
            paint: Paint::Bold,
            under,
            ..leaf("", version.name())
        }
    }

    /// The tree, a line or more a branch.
    pub(super) fn text(&self, screen: &Screen) -> String {
        let mut out = format!("{}\n", screen.paint(self.paint, &clean(&self.text)));
        self.write(&mut out, "", screen);
        out
    }

    fn write(&self, out: &mut String, indent: &str, screen: &Screen) {
        for (i, branch) in self.under.iter().enumerate() {
            let is_last = i + 1 == self.under.len();
            let (fork, beside) = if is_last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let room = screen
                .width
                .saturating_sub(indent.chars().count() + fork.chars().count() + LABELS)
                .max(24);
            let under = if branch.under.is_empty() {
                "   "
            } else {
                "│  "
            };
            for (n, line) in wrap(&clean(&branch.text), room).iter().enumerate() {
                let line = screen.paint(branch.paint, line);
                let _ = if n == 0 {
                    writeln!(out, "{indent}{fork}{:<LABELS$}{line}", branch.label)
                } else {
                    writeln!(out, "{indent}{beside}{under}{:<1$}{line}", "", LABELS - 3)
                };
            }
            branch.write(out, &format!("{indent}{beside}"), screen);
        }
    }
}

fn approval(version: &Version) -> Branch {
    let approval = &version.approval;
    let by = approval
        .by
        .as_ref()
        .map_or_else(String::new, |by| format!(" by {by}"));
    let why = approval
        .why
        .as_ref()
        .map_or_else(String::new, |why| format!(": {why}"));
    let stage = version
        .life_cycle
        .as_ref()
        .map_or_else(String::new, |stage| format!(", in the stage {stage}"));
    let text = format!(
        "{:?}{by} at {} UTC{stage}{why}",
        approval.status,
        crate::render::utc(approval.at)
    );
    let paint = match approval.status {
        Approval::Approved => Paint::Good,
        Approval::Rejected => Paint::Bad,
        Approval::PendingManualApproval => Paint::Busy,
    };
    Branch {
        paint,
        ..leaf("is", text)
    }
}

fn model(version: &Version) -> Vec<Branch> {
    let model = &version.model;
    let with = |name: &str, value: &Option<String>| {
        value
            .as_ref()
            .map_or_else(String::new, |v| format!(", {name} {v}"))
    };
    let mut branches: Vec<Branch> = model
        .artifacts
        .iter()
        .map(|uri| {
            let etag = with("ETag", &model.etag);
            leaf(
                "model",
                format!("{uri}{etag}{}", with("key", &model.kms_key)),
            )
        })
        .collect();
    branches.extend(model.image.as_ref().map(|image| {
        leaf(
            "image",
            format!("{image}{}", with("digest", &model.image_digest)),
        )
    }));
    branches
}

fn training(training: &Training) -> Branch {
    let mut under = Vec::new();
    for (channel, data) in &training.data {
        let version = match &data.version {
            Some(version) => format!("version {version}"),
            None => "version not recorded".to_owned(),
        };
        under.push(leaf("data", format!("{channel}: {}, {version}", data.uri)));
    }
    if !training.hyperparameters.is_empty() {
        let settings = training
            .hyperparameters
            .iter()
            .map(|(k, v)| format!("{k} = {v}"));
        under.push(leaf("settings", settings.collect::<Vec<_>>().join(", ")));
    }
    under.extend(training.image.iter().map(|image| leaf("image", image)));
    under.extend(training.role.iter().map(|role| leaf("role", role)));
    let ended = training.ended.map_or_else(String::new, |at| {
        format!(", ended {} UTC", crate::render::utc(at))
    });
    let known = if training.is_known {
        ""
    } else {
        " (SageMaker knows no such job any more)"
    };
    Branch {
        under,
        ..leaf("training", format!("{}{ended}{known}", training.job))
    }
}

fn code(version: &Version) -> Option<Branch> {
    let code = &version.code;
    let commit = code.commit.as_ref()?;
    let of = code
        .repository
        .as_ref()
        .map_or_else(String::new, |r| format!(" of {r}"));
    Some(leaf("code", format!("commit {commit}{of}")))
}
