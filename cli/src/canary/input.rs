//! What `tidegate canary judge` reads: counts by the minute, and how sure a verdict has to be.
//!
//! Reading is strict, since counts that are misread are judged wrongly: every mistake is named with
//! its place and with what to do, up to a bound. The forms are those of the golden cases in
//! `shared/core/fixtures/evidence/golden.json`; the limits of the ratios are those of a policy.

use std::io::Read as _;
use std::path::Path;

use tidegate_core::evidence::{Counts, Minute, Rule};
use tidegate_core::pipeline::Judge;

use super::json::{Object, Tree};
use crate::error::{Exit, Problem, short};

/// The most that is read, bytes.
const MOST_BYTES: u64 = 16 << 20;

/// The most mistakes that are named one by one.
const MOST_MISTAKES: usize = 20;

/// The most cases in one file.
const MOST_CASES: usize = 10_000;

/// The most metrics of a case.
const MOST_METRICS: usize = 100;

/// The most minutes of a metric: some two months.
const MOST_MINUTES: usize = 100_000;

/// Above this not every whole number has a double of its own.
const MOST_EVENTS: u64 = 1 << 53;

/// What there is to judge.
#[derive(Debug, PartialEq)]
pub(super) struct Input {
    /// The cases.
    pub(super) cases: Vec<Case>,
    /// Whether they came in `cases`, so that the answer has them in `cases`.
    pub(super) is_many: bool,
}

/// One canary.
#[derive(Debug, PartialEq)]
pub(super) struct Case {
    pub(super) name: Option<String>,
    pub(super) rule: Rule,
    /// The share of bad answers that is fine whatever the champion's is.
    pub(super) ceiling: Option<f64>,
    /// There is no live baseline.
    pub(super) alone: bool,
    pub(super) metrics: Vec<Metric>,
}

/// What one guard counted.
#[derive(Debug, PartialEq)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) history: Vec<Counts>,
    pub(super) minutes: Vec<Minute>,
}

/// Reads a file, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Input, Vec<Problem>> {
    let shown = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let problem = |what: &str| Problem::new(Exit::Usage, what).at(&shown);
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MOST_BYTES + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
    };
    result.map_err(|error| vec![problem("the counts can't be read").why(error)])?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(vec![problem("the file is longer than 16 MB").help(
            "judge fewer cases at once, or sum the counts up by the minute",
        )]);
    }
    parse(&bytes).map_err(|mistakes| mistakes.problems(&shown))
}

/// Reads JSON text.
fn parse(bytes: &[u8]) -> Result<Input, Mistakes> {
    let mut mistakes = Mistakes::default();
    if bytes.iter().all(u8::is_ascii_whitespace) {
        mistakes.add("", "there is nothing in it", FORM);
        return Err(mistakes);
    }
    let tree: Tree = match serde_json::from_slice(bytes) {
        Ok(tree) => tree,
        Err(error) => {
            let help = if error.to_string().contains("is there twice") {
                "keep one of them"
            } else {
                "give whole JSON text; it has no NaN, no Infinity, no comments and no commas at an end"
            };
            mistakes.add("", format!("{error}"), help);
            return Err(mistakes);
        }
    };
    let input = read_input(&tree, &mut mistakes);
    match input {
        Some(input) if mistakes.count == 0 => Ok(input),
        _ => Err(mistakes),
    }
}

const FORM: &str = "give an object with policy and metrics, or one with many of them in cases; \
                    `tidegate canary judge --help` shows one";

/// What is wrong, in the order in which it was found.
#[derive(Debug, Default)]
struct Mistakes {
    /// Place, what is wrong, what to do.
    first: Vec<(String, String, String)>,
    /// All of them, also those that are not kept.
    count: usize,
}

impl Mistakes {
    fn add(&mut self, place: &str, what: impl Into<String>, help: &str) {
        self.count += 1;
        if self.first.len() < MOST_MISTAKES {
            self.first
                .push((place.to_owned(), what.into(), help.to_owned()));
        }
    }

    fn problems(&self, at: &str) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self
            .first
            .iter()
            .map(|(place, what, help)| {
                let what = if place.is_empty() {
                    what.clone()
                } else {
                    format!("{place}: {what}")
                };
                Problem::new(Exit::Usage, what).at(at).help(help.clone())
            })
            .collect();
        if self.count > self.first.len() {
            let more = self.count - self.first.len();
            problems.push(
                Problem::new(Exit::Usage, format!("and {more} more mistakes"))
                    .at(at)
                    .help("mend the first ones: they are often all of a kind"),
            );
        }
        problems
    }
}

fn read_input(tree: &Tree, mistakes: &mut Mistakes) -> Option<Input> {
    let Tree::Object(object) = tree else {
        mistakes.add("", format!("it is {}, not an object", tree.kind()), FORM);
        return None;
    };
    if object.get("cases").is_none() {
        let case = read_case(tree, "", mistakes)?;
        return Some(Input {
            cases: vec![case],
            is_many: false,
        });
    }
    known(object, "", &["cases", "note"], mistakes);
    let list = list(object, "", "cases", "a list of cases", MOST_CASES, mistakes)?;
    if list.is_empty() {
        mistakes.add("cases", "there is no case in it", FORM);
    }
    let cases = list
        .iter()
        .enumerate()
        .filter_map(|(i, case)| read_case(case, &format!("cases[{i}]"), mistakes))
        .collect();
    Some(Input {
        cases,
        is_many: true,
    })
}

fn read_case(tree: &Tree, place: &str, mistakes: &mut Mistakes) -> Option<Case> {
    let Tree::Object(object) = tree else {
        let help = "a case is an object with policy and metrics";
        mistakes.add(place, format!("is {}, not an object", tree.kind()), help);
        return None;
    };
    let keys = ["name", "note", "policy", "metrics", "expected"];
    known(object, place, &keys, mistakes);
    let name = text(object, place, "name", mistakes);
    let policy = read_policy(object, place, mistakes);
    let metrics = list(
        object,
        place,
        "metrics",
        "a list of metrics, each with history and minutes",
        MOST_METRICS,
        mistakes,
    )?;
    let at = join(place, "metrics");
    if metrics.is_empty() {
        mistakes.add(&at, "there is no metric in it", "give at least one");
    }
    let metrics: Vec<Metric> = metrics
        .iter()
        .enumerate()
        .filter_map(|(i, metric)| read_metric(metric, i, &format!("{at}[{i}]"), mistakes))
        .collect();
    if let Some(first) = metrics.first() {
        for (i, metric) in metrics.iter().enumerate().skip(1) {
            if metric.minutes.len() != first.minutes.len() {
                mistakes.add(
                    &format!("{at}[{i}].minutes"),
                    format!(
                        "{} minutes, and {at}[0] has {}",
                        metric.minutes.len(),
                        first.minutes.len()
                    ),
                    "a verdict looks at all metrics of a minute: give each the same minutes, \
                     [0, 0, 0, 0] where nothing was counted",
                );
            }
        }
    }
    let Policy {
        rule,
        ceiling,
        alone,
    } = policy?;
    Some(Case {
        name,
        rule,
        ceiling,
        alone,
        metrics,
    })
}

struct Policy {
    rule: Rule,
    ceiling: Option<f64>,
    alone: bool,
}

fn read_policy(case: &Object, place: &str, mistakes: &mut Mistakes) -> Option<Policy> {
    let mut policy = Policy {
        rule: Rule::from(&Judge::default()),
        ceiling: None,
        alone: false,
    };
    let at = join(place, "policy");
    let object = match case.get("policy") {
        None => return Some(policy),
        Some(Tree::Object(object)) => object,
        Some(other) => {
            let help = "give an object, or leave it out for the defaults";
            mistakes.add(&at, format!("is {}, not an object", other.kind()), help);
            return None;
        }
    };
    let keys = [
        "alpha",
        "beta",
        "tolerated_ratio",
        "margin_ratio",
        "ceiling",
        "alone",
    ];
    known(object, &at, &keys, mistakes);
    let before = mistakes.count;
    let mut real = |key: &str, is_fine: &dyn Fn(f64) -> bool, range: &str| {
        let value = match object.get(key)? {
            Tree::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            Tree::Null if key == "ceiling" => return None,
            other => {
                let what = format!("is {}, not a number", other.kind());
                mistakes.add(&join(&at, key), what, &format!("give {range}"));
                return None;
            }
        };
        if is_fine(value) {
            Some(value)
        } else {
            let what = format!("{value} is out of range");
            mistakes.add(&join(&at, key), what, &format!("give {range}"));
            None
        }
    };
    let rule = &mut policy.rule;
    let open = |n: f64| n > 0.0 && n < 0.5;
    if let Some(alpha) = real(
        "alpha",
        &open,
        "the chance of a false rollback, above 0 and below 0.5",
    ) {
        rule.alpha = alpha;
    }
    if let Some(beta) = real(
        "beta",
        &|n| n > 0.0 && n <= 0.5,
        "the chance that a harmful canary is called safe, above 0, up to 0.5",
    ) {
        rule.beta = beta;
    }
    if let Some(ratio) = real(
        "tolerated_ratio",
        &|n| (1.0..=10.0).contains(&n),
        "a ratio of rates, 1 to 10",
    ) {
        rule.tolerated_ratio = ratio;
    }
    if let Some(ratio) = real(
        "margin_ratio",
        &|n| n > 1.0 && n <= 100.0,
        "a ratio of rates, above tolerated_ratio, up to 100",
    ) {
        rule.margin_ratio = ratio;
    }
    policy.ceiling = real(
        "ceiling",
        &|n| n > 0.0 && n < 1.0,
        "a share of bad answers, above 0 and below 1, or leave it out",
    );
    match object.get("alone") {
        None => {}
        Some(Tree::Bool(alone)) => policy.alone = *alone,
        Some(other) => {
            let what = format!("is {}, not true or false", other.kind());
            let help = "true if there is no champion beside the canary";
            mistakes.add(&join(&at, "alone"), what, help);
        }
    }
    let Rule {
        tolerated_ratio,
        margin_ratio,
        ..
    } = policy.rule;
    if margin_ratio <= tolerated_ratio && mistakes.count == before {
        mistakes.add(
            &join(&at, "margin_ratio"),
            format!("{margin_ratio} is not more than tolerated_ratio, which is {tolerated_ratio}"),
            "\"safe\" has to rule out more than what is tolerated",
        );
    }
    Some(policy)
}

fn read_metric(tree: &Tree, index: usize, place: &str, mistakes: &mut Mistakes) -> Option<Metric> {
    let Tree::Object(object) = tree else {
        let help = "a metric is an object with history and minutes";
        mistakes.add(place, format!("is {}, not an object", tree.kind()), help);
        return None;
    };
    known(
        object,
        place,
        &["name", "note", "history", "minutes"],
        mistakes,
    );
    let name = text(object, place, "name", mistakes);
    let history = rows::<2, Counts>(
        object,
        place,
        "history",
        "rows [requests, bad] of the champion before the canary, [] if there are none",
        mistakes,
    );
    let minutes = rows::<4, Minute>(
        object,
        place,
        "minutes",
        "rows [champion's requests, its bad ones, canary's requests, its bad ones]",
        mistakes,
    );
    Some(Metric {
        name: name.unwrap_or_else(|| format!("metric-{}", index + 1)),
        history: history?,
        minutes: minutes?,
    })
}

/// Rows of pairs: requests, and the bad ones among them.
fn rows<const N: usize, T: From<[u64; N]>>(
    object: &Object,
    place: &str,
    key: &str,
    what: &str,
    mistakes: &mut Mistakes,
) -> Option<Vec<T>> {
    let list = list(object, place, key, what, MOST_MINUTES, mistakes)?;
    let at = join(place, key);
    let before = mistakes.count;
    let mut rows = Vec::with_capacity(list.len());
    for (i, row) in list.iter().enumerate() {
        if let Some(row) = read_row::<N>(row, &format!("{at}[{i}]"), mistakes) {
            rows.push(T::from(row));
        }
    }
    (mistakes.count == before).then_some(rows)
}

fn read_row<const N: usize>(tree: &Tree, place: &str, mistakes: &mut Mistakes) -> Option<[u64; N]> {
    let help = if N == 2 {
        "give [requests, bad]"
    } else {
        "give [champion's requests, its bad ones, canary's requests, its bad ones]"
    };
    let Tree::List(items) = tree else {
        mistakes.add(place, format!("is {}, not a row", tree.kind()), help);
        return None;
    };
    if items.len() != N {
        let what = format!("has {} numbers, not {N}", items.len());
        mistakes.add(place, what, help);
        return None;
    }
    let mut row = [0; N];
    for (k, (item, cell)) in items.iter().zip(&mut row).enumerate() {
        match count(item) {
            Ok(count) => *cell = count,
            Err(why) => {
                mistakes.add(
                    &format!("{place}[{k}]"),
                    why,
                    "counts are whole numbers, 0 to 9007199254740992",
                );
                return None;
            }
        }
    }
    for (side, pair) in row.chunks_exact(2).enumerate() {
        if pair[1] > pair[0] {
            let whose = match (N, side) {
                (2, _) => "its",
                (_, 0) => "the champion's",
                _ => "the canary's",
            };
            mistakes.add(
                place,
                format!("bad {} is more than {whose} {} requests", pair[1], pair[0]),
                "count bad ones among the requests of the same minute; cut off what is more",
            );
            return None;
        }
    }
    Some(row)
}

/// A count, also if it is spelt as a float with nothing behind the point.
fn count(tree: &Tree) -> Result<u64, String> {
    let Tree::Number(number) = tree else {
        return Err(format!("is {}, not a number", tree.kind()));
    };
    let most = |n: u64| {
        if n <= MOST_EVENTS {
            Ok(n)
        } else {
            Err(format!("{n} is too large"))
        }
    };
    if let Some(n) = number.as_u64() {
        return most(n);
    }
    let value = number.as_f64().unwrap_or(f64::NAN);
    if value < 0.0 {
        Err(format!("{number} is negative"))
    } else if value.fract() != 0.0 {
        Err(format!("{number} is not a whole number"))
    } else {
        // Saturates, and is too large then.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        most(value as u64).map_err(|_| format!("{number} is too large"))
    }
}

fn text(object: &Object, place: &str, key: &str, mistakes: &mut Mistakes) -> Option<String> {
    match object.get(key)? {
        Tree::Text(text) => Some(text.clone()),
        other => {
            let what = format!("is {}, not text", other.kind());
            mistakes.add(&join(place, key), what, "give text, or leave it out");
            None
        }
    }
}

fn list<'a>(
    object: &'a Object,
    place: &str,
    key: &str,
    what: &str,
    most: usize,
    mistakes: &mut Mistakes,
) -> Option<&'a [Tree]> {
    let at = join(place, key);
    match object.get(key) {
        None => {
            let place = if place.is_empty() {
                "the object"
            } else {
                place
            };
            mistakes.add(
                place,
                format!("has no {key}"),
                &format!("add {key}: {what}"),
            );
            None
        }
        Some(Tree::List(items)) if items.len() > most => {
            let long = format!("has {} entries, more than {most}", items.len());
            mistakes.add(&at, long, "judge a part of it at a time");
            None
        }
        Some(Tree::List(items)) => Some(items),
        Some(other) => {
            let kind = format!("is {}, not a list", other.kind());
            mistakes.add(&at, kind, &format!("give {what}"));
            None
        }
    }
}

/// Names the keys that nothing knows.
fn known(object: &Object, place: &str, keys: &[&str], mistakes: &mut Mistakes) {
    for (key, _) in &object.0 {
        if !keys.contains(&key.as_str()) {
            let near = nearest(key, keys)
                .map(|near| format!("is it {near}? "))
                .unwrap_or_default();
            mistakes.add(
                &join(place, &short(key)),
                "this key is not known",
                &format!("{near}known are {}", keys.join(", ")),
            );
        }
    }
}

/// The key that was meant: the same but for one letter more, less, changed or swapped.
fn nearest<'a>(key: &str, keys: &[&'a str]) -> Option<&'a str> {
    let edits = |other: &str| {
        let (a, b): (Vec<char>, Vec<char>) = (key.chars().collect(), other.chars().collect());
        let same = |x: &char, y: &char| x == y;
        let start = a.iter().zip(&b).take_while(|(x, y)| same(x, y)).count();
        let rest = a.len().min(b.len()) - start;
        let end = (a.iter().rev().zip(b.iter().rev()))
            .take(rest)
            .take_while(|(x, y)| same(x, y))
            .count();
        a.len().max(b.len()) - start - end
    };
    keys.iter().copied().find(|other| edits(other) <= 2)
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

#[cfg(test)]
mod tests;
