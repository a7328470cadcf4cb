//! `tidegate diff`: what two versions differ in: metrics, data, code, settings, container.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::answer::Answer;
use crate::args;
use crate::connect::Connection;
use crate::error::Problem;
use crate::lineage::version::{Training, Version};
use crate::render::{Paint, Screen, Table};

/// Compares two versions.
pub(crate) async fn run(
    args: &args::Diff,
    connection: &Connection,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let (from, to) = futures_util::try_join!(
        Version::find(connection, &args.from),
        Version::find(connection, &args.to)
    )?;
    let diff = Diff::of(&from, &to);
    let text = diff.text(screen);
    Answer::new(diff, text)
}

/// What `diff --json` prints.
#[derive(Debug, Serialize)]
struct Diff {
    from: String,
    to: String,
    /// What is not the same, or not known to be.
    differences: Vec<Difference>,
    /// What is the same, in words.
    same: Vec<String>,
}

/// One thing that is not the same.
#[derive(Debug, PartialEq, Serialize)]
struct Difference {
    /// `metric`, `data`, `code`, `setting` or `image`.
    what: &'static str,
    /// Which of them.
    name: String,
    from: Option<String>,
    to: Option<String>,
    /// Of a metric: `to` less `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<f64>,
}

/// Words by their names.
type Words = BTreeMap<String, String>;

impl Diff {
    fn of(from: &Version, to: &Version) -> Self {
        let mut diff = Self {
            from: from.name(),
            to: to.name(),
            differences: Vec::new(),
            same: Vec::new(),
        };
        diff.metrics(from, to);
        let settings = |v: &Version| settings(v.training.as_ref());
        diff.words("data", &data(from), &data(to));
        diff.words("code", &code(from), &code(to));
        diff.words("setting", &settings(from), &settings(to));
        diff.words("image", &images(from), &images(to));
        diff
    }

    fn metrics(&mut self, from: &Version, to: &Version) {
        let names: BTreeSet<_> = from.metrics.keys().chain(to.metrics.keys()).collect();
        let mut same = 0;
        for name in names {
            let (a, b) = (from.metrics.get(name), to.metrics.get(name));
            if a == b {
                same += 1;
                continue;
            }
            self.differences.push(Difference {
                what: "metric",
                name: name.clone(),
                from: a.map(ToString::to_string),
                to: b.map(ToString::to_string),
                change: a.zip(b).map(|(a, b)| rounded(b - a)),
            });
        }
        self.note_same("metric", same);
    }

    fn words(&mut self, what: &'static str, from: &Words, to: &Words) {
        let names: BTreeSet<_> = from.keys().chain(to.keys()).collect();
        let mut same = 0;
        for name in names {
            let (a, b) = (from.get(name), to.get(name));
            if a == b {
                same += 1;
                continue;
            }
            self.differences.push(Difference {
                what,
                name: name.clone(),
                from: a.cloned(),
                to: b.cloned(),
                change: None,
            });
        }
        self.note_same(what, same);
    }

    fn note_same(&mut self, what: &str, n: u64) {
        if n > 0 {
            let many = if what == "data" || what == "code" {
                what.to_owned()
            } else {
                format!("{what}s")
            };
            self.same.push(crate::render::count(n, what, &many));
        }
    }

    fn text(&self, screen: &Screen) -> String {
        if self.differences.is_empty() {
            return format!(
                "{} and {} are the same in all that is recorded.\n",
                self.from, self.to
            );
        }
        let mut table = Table::new(&["WHAT", "NAME", "", "FROM AND TO"]);
        for difference in &self.differences {
            let change = difference
                .change
                .map_or_else(String::new, |change| format!(" ({change:+.4})"));
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            let what = difference.what.to_owned();
            table.row([
                (what, Paint::Dim),
                (difference.name.clone(), Paint::Bold),
                ("-".to_owned(), Paint::Dim),
                (value(&difference.from), Paint::Plain),
            ]);
            table.row([
                (String::new(), Paint::Dim),
                (String::new(), Paint::Dim),
                ("+".to_owned(), Paint::Dim),
                (value(&difference.to) + &change, Paint::Plain),
            ]);
        }
        let title = format!("{} → {}\n", self.from, self.to);
        let mut text = screen.paint(Paint::Bold, &title) + &table.render(screen, 2);
        if !self.same.is_empty() {
            let _ = writeln!(text, "  the same: {}", self.same.join(", "));
        }
        text
    }
}

/// To twelve digits behind the point: what a subtraction leaves beyond them is noise.
fn rounded(change: f64) -> f64 {
    (change * 1e12).round() / 1e12
}

fn data(version: &Version) -> Words {
    let channels = version.training.iter().flat_map(|t| &t.data);
    channels
        .map(|(channel, data)| {
            let text = match &data.version {
                Some(version) => format!("{} version {version}", data.uri),
                None => format!("{} version not recorded", data.uri),
            };
            (channel.clone(), text)
        })
        .collect()
}

fn code(version: &Version) -> Words {
    let named = [
        ("commit", &version.code.commit),
        ("repository", &version.code.repository),
    ];
    named
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
        .collect()
}

fn settings(training: Option<&Training>) -> Words {
    let Some(training) = training else {
        return Words::new();
    };
    let mut words = training.hyperparameters.clone();
    if let Some(role) = &training.role {
        words.insert("role".to_owned(), role.clone());
    }
    words
}

fn images(version: &Version) -> Words {
    let training = version.training.as_ref().and_then(|t| t.image.clone());
    let named = [
        ("inference", version.model.image.clone()),
        ("digest", version.model.image_digest.clone()),
        ("training", training),
    ];
    named
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}
