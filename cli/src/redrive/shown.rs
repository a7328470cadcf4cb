//! How dead letters are told: for programs in the shape that docs/cli.md describes, for people as
//! a paragraph each.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use tidegate_core::event::Event;

use super::letter::{By, Letter};
use crate::render::{Paint, Screen, clean, count, wrap};

/// Where the values of a paragraph begin.
const INDENT: usize = 10;
/// The most of a reason that the list shows, characters; `show` has all of it.
const REASON: usize = 400;

/// What `--json` tells of a letter.
#[derive(Debug, Serialize)]
pub(crate) struct Shown<'a> {
    id: &'a str,
    function: &'static str,
    queue: String,
    /// Who gave it up: `lambda` or `eventbridge`.
    by: &'static str,
    given_up: Option<jiff::Timestamp>,
    tries: Option<u64>,
    copies: usize,
    condition: Option<&'a str>,
    code: Option<&'a str>,
    reason: &'a str,
    /// The group or pipeline that the event names.
    group: Option<String>,
    about: String,
    event_id: Option<&'a str>,
    /// Tidegate's own reading.
    event: Option<&'a Event>,
    /// Why the event can't be read.
    unreadable: Option<String>,
    advice: Vec<String>,
    /// The event as it came; text if it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(letter: &'a Letter, stack: &str) -> Self {
        let event = letter.event.as_ref().ok();
        Self {
            id: &letter.id,
            function: letter.function.name(),
            queue: format!("{stack}-dlq-{}", letter.function.name()),
            by: match letter.by {
                By::Lambda => "lambda",
                By::EventBridge => "eventbridge",
            },
            given_up: letter.given_up,
            tries: letter.tries,
            copies: letter.receipts.len(),
            condition: letter.condition.as_deref(),
            code: letter.code.as_deref(),
            reason: &letter.reason,
            group: letter.belongs_to(),
            about: letter.about(),
            event_id: event.map(|event| event.id.0.as_str()),
            event,
            unreadable: letter.event.as_ref().err().map(ToString::to_string),
            advice: letter.advice(stack),
            payload: None,
        }
    }

    /// The same with the event as it came.
    pub(crate) fn with_payload(letter: &'a Letter, stack: &str) -> Self {
        Self {
            payload: Some(payload(letter)),
            ..Self::of(letter, stack)
        }
    }
}

fn payload(letter: &Letter) -> Value {
    serde_json::from_str(&letter.payload).unwrap_or_else(|_| Value::String(letter.payload.clone()))
}

/// A letter as a paragraph, its reason cut to what one reads in a list.
pub(crate) fn paragraph(letter: &Letter, stack: &str, screen: &Screen) -> String {
    lines(letter, stack, screen, &cut(&letter.reason))
}

/// A letter with its event and reason whole.
pub(crate) fn whole(letter: &Letter, stack: &str, screen: &Screen) -> String {
    let mut text = lines(letter, stack, screen, &letter.reason);
    text.push('\n');
    let payload = match payload(letter) {
        Value::String(text) => text,
        json => format!("{json:#}"),
    };
    for line in payload.lines() {
        let spaces = line.len() - line.trim_start_matches(' ').len();
        let _ = writeln!(text, "{}{}", " ".repeat(spaces), clean(&line[spaces..]));
    }
    text
}

fn lines(letter: &Letter, stack: &str, screen: &Screen, reason: &str) -> String {
    let mut head = format!("{}, given up", letter.function.name());
    if letter.by == By::EventBridge {
        head.push_str(" by EventBridge");
    }
    if let Some(at) = letter.given_up {
        let _ = write!(head, " {}", screen.time(at));
    }
    if let Some(tries) = letter.tries {
        let _ = write!(head, " after {}", count(tries, "try", "tries"));
    }
    let copies = letter.receipts.len() as u64;
    if copies > 1 {
        let _ = write!(head, ", {}", count(copies, "copy", "copies"));
    }
    let mut text = format!(
        "{}  {}\n",
        screen.paint(Paint::Bold, &letter.id),
        clean(&head)
    );
    let mut field = |label: &str, value: &str, paint: Paint| {
        let parts = wrap(&clean(value), screen.width.saturating_sub(INDENT));
        for (n, part) in parts.iter().enumerate() {
            let label = if n == 0 { label } else { "" };
            let _ = writeln!(text, "  {label:<7} {}", screen.paint(paint, part));
        }
    };
    field("event", &letter.about(), Paint::Plain);
    if let Ok(event) = &letter.event {
        field("id", &event.id.0, Paint::Dim);
    }
    if let Some(group) = letter.belongs_to() {
        field("group", &group, Paint::Plain);
    }
    field("why", reason, Paint::Bad);
    for (n, advice) in letter.advice(stack).iter().enumerate() {
        field(if n == 0 { "do" } else { "" }, advice, Paint::Plain);
    }
    text
}

/// A reason that is no longer than a few lines.
fn cut(reason: &str) -> String {
    if reason.chars().count() <= REASON {
        return reason.to_owned();
    }
    let begin: String = reason.chars().take(REASON - 3).collect();
    format!("{begin}...")
}
