//! A policy file: its text within bounds, and the policy in it, for commands that need just one.

use std::io::Read as _;
use std::path::Path;

use tidegate_core::pipeline::{self, Policy, PolicyError};

use crate::error::{Exit, Problem};

/// The most that is read of a policy file, bytes.
const MOST: u64 = 1 << 20;

/// The file's text.
pub(crate) fn text(path: &Path) -> Result<String, Problem> {
    let problem = |why: String| {
        Problem::new(Exit::Usage, "the policy file can't be read")
            .at(path.display())
            .why(why)
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes))
        .map_err(|error| problem(error.to_string()))?;
    if bytes.len() as u64 > MOST {
        return Err(problem(format!("it is longer than {MOST} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| problem(format!("it is not UTF-8 text: {error}")))
}

/// The policy in the file. Of several mistakes the first is told, and who lists them all.
pub(crate) fn policy(path: &Path) -> Result<Policy, Problem> {
    let name = path.display().to_string();
    pipeline::parse(&text(path)?, &name).map_err(|errors| {
        let first = errors.0.first().map(in_a_line).unwrap_or_default();
        Problem::new(Exit::Usage, "the policy is invalid")
            .at(&name)
            .why(first)
            .help(format!(
                "`tidegate apply --check {name}` lists every mistake"
            ))
    })
}

/// Where a mistake is and what it is, without the source line that `apply` shows.
fn in_a_line(mistake: &PolicyError) -> String {
    let key = if mistake.key.is_empty() {
        String::new()
    } else {
        format!("{}: ", mistake.key)
    };
    format!("line {}: {key}{}", mistake.line, mistake.message)
}
