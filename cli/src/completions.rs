//! `tidegate completions`: a script that completes commands in a shell.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::answer::Answer;
use crate::args::Cli;
use crate::error::{Exit, Problem};

/// The script for a shell.
pub(crate) fn run(shell: Shell) -> Result<Answer, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
    let script = String::from_utf8(script)
        .map_err(|error| Problem::new(Exit::Usage, "the script can't be written").why(error))?;
    Answer::new(
        json!({ "shell": shell.to_string(), "script": script }),
        script,
    )
}
