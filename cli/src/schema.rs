//! `tidegate schema`: the JSON Schema of a policy file, for editors and other checkers.

use tidegate_core::pipeline;

use crate::answer::Answer;
use crate::error::Problem;

/// The schema; the same with and without `--json`.
pub(crate) fn run() -> Result<Answer, Problem> {
    let schema = pipeline::schema();
    let text = format!("{schema:#}\n");
    Answer::new(schema, text)
}
