//! What the past is judged by: a policy's guards and statistics, or the defaults of one.

use std::path::Path;

use tidegate_core::evidence::Rule;
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::{self, Guard, Judge, Policy};

use super::super::source::first_mistake;
use crate::error::{Exit, Problem};

/// The most that is read of a policy file, bytes.
const MOST_BYTES: u64 = 1 << 20;

/// What is judged by.
pub(super) struct By {
    pub(super) guards: Vec<Guard>,
    pub(super) rule: Rule,
    /// How long a minute takes to settle.
    pub(super) settle_minutes: u32,
    /// Where it comes from, for people.
    pub(super) source: String,
}

impl Default for By {
    fn default() -> Self {
        let judge = Judge::default();
        Self {
            guards: vec![Guard::default()],
            rule: Rule::beside(&judge),
            settle_minutes: judge.settle_minutes,
            source: "the defaults of a policy".to_owned(),
        }
    }
}

impl By {
    /// The policy's stage of this endpoint, else its last.
    pub(super) fn of(policy: &Policy, endpoint: &EndpointName, name: &str) -> Self {
        let stages = &policy.stages;
        let own = stages.iter().find(|stage| stage.endpoint == *endpoint);
        own.or(stages.last())
            .map_or_else(Self::default, |stage| Self {
                guards: stage.guards_or_default(),
                rule: Rule::beside(&stage.judge),
                settle_minutes: stage.judge.settle_minutes,
                source: format!("the stage {} of {name}", stage.name),
            })
    }
}

/// Reads a policy file.
pub(super) fn read(file: &Path, endpoint: &EndpointName) -> Result<By, Problem> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(file)
        .and_then(|opened| opened.take(MOST_BYTES).read_to_string(&mut text));
    read.map_err(|error| {
        Problem::new(Exit::Usage, "the policy can't be read")
            .at(file.display())
            .why(error)
    })?;
    let name = file.display().to_string();
    let policy = pipeline::parse(&text, &name).map_err(|errors| {
        Problem::new(Exit::Usage, "the policy is invalid")
            .at(&name)
            .why(errors.0.first().map(first_mistake).unwrap_or_default())
            .help(format!(
                "`tidegate apply --check {name}` lists every mistake"
            ))
    })?;
    Ok(By::of(&policy, endpoint, &name))
}
