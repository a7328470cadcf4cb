//! `tidegate explain`: what Tidegate reads in an event, and what it would do, or why nothing.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_core::engine::{self, EngineError};
use tidegate_core::event::{self, EventError, Kind};

use crate::answer::Answer;
use crate::args;
use crate::connect::Connection;
use crate::error::{Exit, Problem, advice};
use crate::render::{Screen, clean, wrap};

/// Explains an event, with the ledger if there is one to ask.
pub(crate) async fn run(
    args: &args::Explain,
    table: Option<&str>,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let bytes = read(&args.event)?;
    if args.offline {
        return offline(
            &bytes,
            "Only read, as asked: without --offline it is said what would be done.",
            screen,
        );
    }
    if table.is_none_or(|table| table.trim().is_empty()) {
        let note = "Only read: no ledger table is named. Set TIDEGATE_TABLE or give --table \
                    NAME to be told what would be done.";
        return offline(&bytes, note, screen);
    }
    let connection = Connection::open(table).await?;
    let explained = engine::explain(connection.ledger(), connection.world(), &bytes)
        .await
        .map_err(|error| failed(&error, &connection))?;
    let text = lines(&explained.to_string(), screen);
    let mut json = serde_json::to_value(&explained).map_err(|error| {
        Problem::new(Exit::Aws, "the answer can't be written as JSON").why(error)
    })?;
    if let Value::Object(fields) = &mut json {
        fields.insert("offline".to_owned(), Value::Bool(false));
    }
    Answer::new(json, text)
}

/// The most that is read of an event; more is refused by the parser, which says so.
const MOST: u64 = event::MAX_BYTES as u64 + 1;

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin().lock().take(MOST).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes))
    };
    result.map_err(|error| {
        Problem::new(Exit::Usage, "the event can't be read")
            .at(path.display())
            .why(error)
    })?;
    Ok(bytes)
}

/// What can be said without the ledger.
fn offline(bytes: &[u8], note: &str, screen: &Screen) -> Result<Answer, Problem> {
    let event = event::parse(bytes).map_err(|error| unreadable(&error))?;
    let reads = event::describe(&event);
    let nothing_because = match &event.kind {
        Kind::Unhandled { why, .. } => Some(why.clone()),
        _ => None,
    };
    let text = lines(&format!("{reads}\n{note}"), screen);
    let json = json!({
        "offline": true,
        "reads": reads,
        "event": event,
        "group": null,
        "would_say": [],
        "would_do": [],
        "nothing_because": nothing_because,
    });
    Answer::new(json, text)
}

fn unreadable(error: &EventError) -> Problem {
    Problem::new(Exit::No, "this can't be read as an event").why(error).help(
        "give one event as EventBridge delivers it: an object with id, time, source, detail-type \
         and detail",
    )
}

fn failed(error: &EngineError, connection: &Connection) -> Problem {
    match error {
        EngineError::Event(error) => unreadable(error),
        EngineError::Ledger(error) => Problem::ledger(error, connection.place()),
        EngineError::Fact(error) => {
            let mut problem = Problem::new(Exit::Aws, format!("AWS did not answer {}", error.call))
                .why(&error.message);
            problem.help = advice(&error.message, None);
            problem.help("`--offline` says what is read without asking AWS")
        }
        other => Problem::new(Exit::Aws, other.to_string()),
    }
}

/// Text made fit for the screen, line by line; what is indented stays so.
fn lines(text: &str, screen: &Screen) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = " ".repeat(line.len() - line.trim_start_matches(' ').len());
        for part in wrap(&clean(line), screen.width.saturating_sub(indent.len())) {
            out.push_str(&indent);
            out.push_str(&part);
            out.push('\n');
        }
    }
    out
}
