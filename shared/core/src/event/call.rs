//! API calls that `CloudTrail` tells of: who started a training or tuning job, which SageMaker does not
//! say.
//!
//! Source: "CloudTrail record contents" and "AWS service events delivered via CloudTrail" in the
//! `EventBridge` user guide. They come only where a trail records management events.

use super::field::Object;
use super::{EventError, Kind, unhandled};
use crate::name::JobName;

/// What a call is about.
pub(super) fn kind(root: &Object<'_>, source: &str, detail_type: &str) -> Result<Kind, EventError> {
    let detail = root.need_object("detail", "it holds the call")?;
    let name = detail.need_text("eventName", "it names the call")?;
    let (field, is_tuning) = match name.as_str() {
        "CreateTrainingJob" => ("trainingJobName", false),
        "CreateHyperParameterTuningJob" => ("hyperParameterTuningJobName", true),
        _ => {
            let why = format!("of {name} Tidegate needs no more than the change that it makes");
            return Ok(unhandled(source, detail_type, why));
        }
    };
    if let Some(error) = detail.hint_text("errorCode") {
        let why = format!("the call was refused: {error}");
        return Ok(unhandled(source, detail_type, why));
    }
    let request = detail.need_object("requestParameters", "it names the job")?;
    let job = request.need_text(field, "it names the job")?;
    let job = request.name(field, &job, JobName::parse)?;
    let caller = detail.need_object("userIdentity", "it says who called")?;
    let Some(by) = caller.hint_text("arn") else {
        // A service that calls for itself has `invokedBy` alone.
        let why = format!("no principal started the job {job}");
        return Ok(unhandled(source, detail_type, why));
    };
    Ok(Kind::TrainingStarted {
        job,
        is_tuning,
        by,
        tags: request.pairs("tags")?,
    })
}
