//! What a command answers, for a person and for a program, and how it gets out.

use std::io::{ErrorKind, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Exit, Problem};

/// What a command answers.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For a program.
    json: Value,
    /// For a person; ends with a new line unless it is empty.
    text: String,
    /// How the command ends.
    exit: Exit,
    /// What went wrong on the way.
    problems: Vec<Problem>,
    /// What a person should know beside the answer; `json` has it in its own way.
    remarks: String,
}

impl Answer {
    /// An answer with nothing wrong.
    pub(crate) fn new(json: impl Serialize, text: impl Into<String>) -> Result<Self, Problem> {
        let json = serde_json::to_value(json).map_err(|error| {
            Problem::new(Exit::Aws, "the answer can't be written as JSON").why(error)
        })?;
        Ok(Self {
            json,
            text: text.into(),
            exit: Exit::Fine,
            problems: Vec::new(),
            remarks: String::new(),
        })
    }

    /// An answer that was written already.
    pub(crate) fn silent() -> Self {
        Self {
            json: Value::Null,
            text: String::new(),
            exit: Exit::Fine,
            problems: Vec::new(),
            remarks: String::new(),
        }
    }

    /// The same, with remarks for a person beside it; they end with a new line unless empty.
    pub(crate) fn remarking(mut self, remarks: String) -> Self {
        self.remarks = remarks;
        self
    }

    /// The same, with this exit code if it is worse.
    pub(crate) fn ending(mut self, exit: Exit) -> Self {
        self.exit = self.exit.max(exit);
        self
    }

    /// The same, with what went wrong on the way.
    pub(crate) fn with(mut self, problems: Vec<Problem>) -> Self {
        self.exit = problems
            .iter()
            .map(|p| p.exit)
            .max()
            .map_or(self.exit, |e| e.max(self.exit));
        self.problems = problems;
        self
    }
}

/// Writes an answer to standard output and problems to standard error, and says how to end. A
/// reader that went away (`tidegate ... | head`) is no error.
pub(crate) fn deliver(result: Result<Answer, Problem>, as_json: bool) -> Exit {
    let (out, remarks, problems, exit) = match result {
        Ok(answer) => {
            let remarks = if as_json {
                String::new()
            } else {
                answer.remarks
            };
            let out = if as_json && answer.json.is_null() {
                // Problems alone.
                String::new()
            } else if as_json {
                pretty(&answer.json)
            } else {
                answer.text
            };
            (out, remarks, answer.problems, answer.exit)
        }
        Err(problem) => {
            let exit = problem.exit;
            (String::new(), String::new(), vec![problem], exit)
        }
    };
    let problems: String = problems
        .iter()
        .map(|problem| {
            if as_json {
                pretty(&json!({ "error": problem.json() }))
            } else {
                problem.text()
            }
        })
        .collect();
    let wrote = write(&mut std::io::stdout().lock(), &out);
    // Nowhere is left to say that standard error can't be written.
    let _ = write(&mut std::io::stderr().lock(), &(remarks + &problems));
    match wrote {
        Ok(()) => exit,
        Err(error) => {
            let text = Problem::new(Exit::Usage, "the answer can't be written")
                .why(error)
                .text();
            let _ = write(&mut std::io::stderr().lock(), &text);
            exit.max(Exit::Usage)
        }
    }
}

fn pretty(json: &Value) -> String {
    // A `Value` has only string keys, so it can always be printed.
    format!("{json:#}\n")
}

fn write(to: &mut impl Write, text: &str) -> std::io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Gone(ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        assert!(write(&mut Gone(ErrorKind::BrokenPipe), "x").is_ok());
        assert!(write(&mut Gone(ErrorKind::StorageFull), "x").is_err());
    }

    #[test]
    fn the_worst_problem_decides_the_exit_code() {
        let answer = Answer::new(json!({}), "").unwrap().ending(Exit::No);
        assert_eq!(answer.exit, Exit::No);
        let answer = answer.with(vec![
            Problem::new(Exit::Aws, "b"),
            Problem::new(Exit::Usage, "a"),
        ]);
        assert_eq!(answer.exit, Exit::Aws);
    }
}
