//! What the past is judged by: a policy's guards and statistics, or the defaults of one.

use std::path::Path;

use tidegate_core::evidence::Rule;
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::{Guard, Judge, Policy};

use crate::error::Problem;
use crate::policy_file;

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
    let policy = policy_file::policy(file)?;
    let name = file.display().to_string();
    Ok(By::of(&policy, endpoint, &name))
}
