//! Where a retrained model comes from: the finding that led to it and the version that served then.
//!
//! A training job tells by its tags, else by its name (a clone's is known, jobs of a SageMaker
//! pipeline are called `pipelines-<execution>-...`), else by the time in which it was created.

use serde::Serialize;

use super::{Retraining, Run};
use crate::head::Head;
use crate::name::EndpointName;
use crate::world::TrainingJob;

/// The tag and metadata key of the finding that led to a retraining.
pub(crate) const FINDING_KEY: &str = "tidegate:finding";

/// The tag and metadata key of the version that served then.
pub(crate) const PARENT_KEY: &str = "tidegate:parent";

/// The start of the names that SageMaker gives to the jobs of its pipelines.
const PIPELINES: &str = "pipelines-";

/// Where a retrained model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Ancestry {
    /// The finding, in the characters of a tag.
    pub(crate) finding: String,
    /// The version that served then, as `v3`.
    pub(crate) parent: Option<String>,
    /// The endpoint.
    pub(crate) endpoint: EndpointName,
}

/// Where the model of this job comes from, if it is the newest retraining's.
pub(crate) fn ancestry(head: &Head, job: &TrainingJob) -> Option<Ancestry> {
    let retraining = head.retraining.as_ref()?;
    is_of(retraining, job).then(|| Ancestry {
        finding: tag_value(&retraining.finding),
        parent: retraining.parent.map(|version| version.to_string()),
        endpoint: retraining.endpoint.clone(),
    })
}

fn is_of(retraining: &Retraining, job: &TrainingJob) -> bool {
    if let Some(finding) = job.tags.get(FINDING_KEY) {
        return *finding == tag_value(&retraining.finding);
    }
    match &retraining.run {
        Run::TrainingJob { name } => *name == job.name,
        Run::TuningJob { name } => job.tuning.as_ref() == Some(name),
        Run::Request => false,
        Run::Execution { arn, .. } => {
            let name = job.name.as_str();
            let id = arn.as_deref().and_then(|arn| arn.rsplit('/').next());
            if let Some(id) = id.filter(|_| name.starts_with(PIPELINES)) {
                return name.starts_with(&format!("{PIPELINES}{id}-"));
            }
            job.created >= retraining.since
                && retraining.ended.is_none_or(|ended| job.created <= ended)
        }
    }
}

/// The text in the characters that a tag's value may have, at most 256.
pub(super) fn tag_value(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " _.:/=+-@".contains(c);
    let safe = text.chars().map(|c| if allowed(c) { c } else { '-' });
    safe.take(256).collect()
}
