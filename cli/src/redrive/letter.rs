//! One dead letter: which event was given up, by whom, why, and what to do about it.
//!
//! A letter comes in two forms: Lambda's record for a failure destination ("Capturing records of
//! asynchronous invocations" in its developer guide), and the bare event with attributes, as
//! EventBridge's rules and Scheduler write it ("Using dead-letter queues" in their user guides).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tidegate_core::event::{self, Event, EventError, Kind};

use super::args::Function;

/// Digits of a letter's ID: of the thousands that a queue may hold, no two begin alike.
const ID_DIGITS: usize = 10;

/// A message as it lies in a queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) body: String,
    /// Message attributes, as text.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) sent: Option<Timestamp>,
    /// What gives it back or deletes it.
    pub(crate) receipt: String,
}

/// Who gave an event up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Lambda,
    EventBridge,
}

/// An event that was given up, with all its copies.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// Made from the function and the event, so copies share it and it stays the same.
    pub(crate) id: String,
    pub(crate) function: Function,
    pub(crate) by: By,
    /// The event as it came.
    pub(crate) payload: String,
    /// It was too long for whoever gave it up.
    pub(crate) is_cut: bool,
    pub(crate) given_up: Option<Timestamp>,
    /// How often it was tried.
    pub(crate) tries: Option<u64>,
    /// Why it was not tried more often: `RetriesExhausted`, for example.
    pub(crate) condition: Option<String>,
    /// The kind of error: `Tidegate.Fact`, `NO_PERMISSIONS`.
    pub(crate) code: Option<String>,
    /// The reason in words.
    pub(crate) reason: String,
    /// What is read in the event.
    pub(crate) event: Result<Event, EventError>,
    /// One for each copy.
    pub(crate) receipts: Vec<String>,
}

/// Lambda's record, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    timestamp: Option<String>,
    request_context: Context,
    request_payload: Box<RawValue>,
    response_payload: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    condition: Option<String>,
    approximate_invoke_count: Option<u64>,
}

impl Letter {
    /// Reads a message of a function's queue. There is none that can't be read: what has neither
    /// form is an event that can't be.
    pub(crate) fn read(function: Function, message: Message) -> Self {
        match serde_json::from_str::<Record>(&message.body) {
            Ok(record) => Self::of_record(function, &record, message),
            Err(_) => Self::of_event(function, message),
        }
    }

    fn of_record(function: Function, record: &Record, message: Message) -> Self {
        let context = &record.request_context;
        let condition = context.condition.clone();
        let answer = record.response_payload.as_ref().unwrap_or(&Value::Null);
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let reason = match (text("errorMessage"), answer, condition.as_deref()) {
            (Some(words), ..) => words,
            (None, Value::Null, Some("EventAgeExceeded")) => {
                "it waited longer than Lambda keeps an event: the function was throttled, or could \
                 not be started"
                    .to_owned()
            }
            (None, Value::Null, Some("ZeroReservedConcurrency")) => {
                "the function's reserved concurrency is 0, so it takes no events".to_owned()
            }
            (None, Value::Null, _) => "Lambda gives no reason".to_owned(),
            (None, other, _) => other.to_string(),
        };
        let mut letter = Self::new(
            function,
            By::Lambda,
            record.request_payload.get().to_owned(),
        );
        letter.given_up = record
            .timestamp
            .as_deref()
            .and_then(|time| time.parse().ok())
            .or(message.sent);
        letter.tries = context.approximate_invoke_count;
        letter.condition = condition;
        letter.code = text("errorType");
        letter.reason = reason;
        letter.receipts = vec![message.receipt];
        letter
    }

    fn of_event(function: Function, message: Message) -> Self {
        let has = |name: &str| message.attributes.get(name).filter(|text| !text.is_empty());
        let code = has("ERROR_CODE").cloned();
        let reason = match (has("ERROR_MESSAGE"), &code) {
            (Some(words), _) => words.clone(),
            (None, Some(code)) => format!("EventBridge says {code}, and no more"),
            (None, None) => "the letter gives no reason".to_owned(),
        };
        // It counts what came after the first.
        let retries = has("RETRY_ATTEMPTS").and_then(|text| text.parse::<u64>().ok());
        let condition = has("EXHAUSTED_RETRY_CONDITION").cloned();
        let is_cut =
            has("IS_PAYLOAD_TRUNCATED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let mut letter = Self::new(function, By::EventBridge, message.body);
        letter.is_cut = is_cut;
        letter.given_up = message.sent;
        letter.tries = retries.map(|retries| retries.saturating_add(1));
        letter.condition = condition;
        letter.code = code;
        letter.reason = reason;
        letter.receipts = vec![message.receipt];
        letter
    }

    fn new(function: Function, by: By, payload: String) -> Self {
        let event = event::parse(payload.as_bytes());
        Self {
            id: id(function, &payload, event.as_ref().ok()),
            function,
            by,
            payload,
            is_cut: false,
            given_up: None,
            tries: None,
            condition: None,
            code: None,
            reason: String::new(),
            event,
            receipts: Vec::new(),
        }
    }

    /// Whether sending it again would fail in the same way.
    pub(crate) fn is_poison(&self) -> bool {
        self.is_cut || self.event.is_err()
    }

    /// What the event is about, in a sentence.
    pub(crate) fn about(&self) -> String {
        match &self.event {
            Ok(event) => event::describe(event),
            Err(_) if self.is_cut => "An event that was cut off.".to_owned(),
            Err(_) => "An event that can't be read.".to_owned(),
        }
    }

    /// The group or pipeline that it names.
    pub(crate) fn belongs_to(&self) -> Option<String> {
        match &self.event.as_ref().ok()?.kind {
            Kind::Package { group, .. } | Kind::Tick { group, .. } => Some(group.to_string()),
            Kind::TrainingJob { tags, .. } | Kind::TuningJob { tags, .. } => {
                tags.get("tidegate:pipeline").cloned()
            }
            _ => None,
        }
    }

    /// What a person should do, one thing a line.
    pub(crate) fn advice(&self, stack: &str) -> Vec<String> {
        let (id, name) = (&self.id, self.function.name());
        let replay = format!("tidegate redrive replay {id}");
        let drop = format!("`tidegate redrive drop {id}` takes it away");
        if self.is_cut {
            return vec![format!("what is left of it can't be sent again; {drop}")];
        }
        if let Err(why) = &self.event {
            return vec![
                format!("mend what sends such events: {why}"),
                format!("sent again it would fail in the same way; {drop}"),
            ];
        }
        if self.is_tick() {
            return vec![format!(
                "nothing is lost: those that came after it have done its work; {drop}"
            )];
        }
        let text = format!(
            "{} {}",
            self.code.as_deref().unwrap_or_default(),
            self.reason
        );
        let text = text.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let cause = if self.by == By::EventBridge {
            format!(
                "EventBridge could not invoke {stack}-{name}; deploy the stack again if it was changed"
            )
        } else if has(&["accessdenied", "access denied", "not authorized"]) {
            format!(
                "allow it to the role of {stack}-{name}: the stack's parameters say what the functions may touch"
            )
        } else if has(&[
            "outoftime",
            "timed out",
            "timeout",
            "throttl",
            "unavailable",
            "internalfailure",
            "contended",
            "dispatch",
        ]) || self.condition.as_deref() != Some("RetriesExhausted")
        {
            "it may have passed by now".to_owned()
        } else {
            format!("the log group /aws/lambda/{stack}-{name} has more")
        };
        vec![cause, format!("then: {replay}")]
    }

    fn is_tick(&self) -> bool {
        let kind = self.event.as_ref().map(|event| &event.kind);
        matches!(kind, Ok(Kind::Tick { .. } | Kind::Housekeeping))
    }
}

/// An event is told by its own id, and one that can't be read by its content, however it is
/// written.
fn id(function: Function, payload: &str, event: Option<&Event>) -> String {
    let what = match event {
        Some(event) => event.id.to_string(),
        None => serde_json::from_str::<Value>(payload)
            .map_or_else(|_| payload.to_owned(), |value| value.to_string()),
    };
    let hash = Sha256::digest(format!("{} {what}", function.name()));
    let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .take(ID_DIGITS)
        .collect()
}

/// Puts copies of one event together, newest event last. Of the copies the last that was given up
/// is told.
pub(crate) fn sorted(mut letters: Vec<Letter>) -> Vec<Letter> {
    letters.sort_by_key(|letter| letter.given_up);
    let mut by_id: BTreeMap<String, Letter> = BTreeMap::new();
    for mut letter in letters {
        if let Some(earlier) = by_id.remove(&letter.id) {
            letter.receipts.splice(0..0, earlier.receipts);
        }
        by_id.insert(letter.id.clone(), letter);
    }
    let mut letters: Vec<Letter> = by_id.into_values().collect();
    letters.sort_by(|a, b| (a.given_up, &a.id).cmp(&(b.given_up, &b.id)));
    letters
}
