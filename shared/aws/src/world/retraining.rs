//! Retraining: an execution of a SageMaker pipeline, and the event that asks others.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{Parameter, PipelineExecutionStatus};
use tidegate_core::world::{
    Answer, Outcome, PipelineRun, RetrainingRequest, RunStatus, WorldError,
};

use super::AwsWorld;
use super::values::required;
use crate::error::{failed, refused};

const CALL: &str = "StartPipelineExecution";
/// `PipelineExecutionDescription`.
const LONGEST_WHY: usize = 3_072;

impl AwsWorld {
    /// The same token never starts two executions: SageMaker answers with the first one's ARN.
    pub(super) async fn start_retraining(
        &self,
        pipeline: &str,
        token: &str,
        parameters: &BTreeMap<String, String>,
        why: &str,
    ) -> Result<Outcome, WorldError> {
        let parameters = parameters
            .iter()
            .map(|(name, value)| Parameter::builder().name(name).value(value).build())
            .collect::<Vec<_>>();
        let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ");
        let started = self
            .clients
            .sagemaker
            .start_pipeline_execution()
            .pipeline_name(pipeline)
            .client_request_token(token)
            .pipeline_execution_description(why.chars().take(LONGEST_WHY).collect::<String>())
            .set_pipeline_parameters(Some(parameters).filter(|list| !list.is_empty()))
            .send()
            .await
            .map_err(failed(CALL))?;
        let arn = required(CALL, "PipelineExecutionArn", started.pipeline_execution_arn)?;
        Ok(Outcome::Started { arn })
    }

    pub(super) async fn execution(&self, arn: &str) -> Result<Answer, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_pipeline_execution()
            .pipeline_execution_arn(arn)
            .send();
        let found = match asked.await.map_err(failed("DescribePipelineExecution")) {
            Ok(found) => found,
            Err(failure) if failure.is_gone() => return Ok(Answer::Missing),
            Err(failure) => return Err(failure.into()),
        };
        let status = match found.pipeline_execution_status {
            Some(PipelineExecutionStatus::Succeeded) => RunStatus::Succeeded,
            Some(PipelineExecutionStatus::Failed) => RunStatus::Failed,
            Some(PipelineExecutionStatus::Stopped) => RunStatus::Stopped,
            // A status that this version doesn't know is not an end.
            _ => RunStatus::Running,
        };
        Ok(Answer::Execution(Box::new(PipelineRun {
            status,
            failure: found.failure_reason.filter(|why| !why.is_empty()),
        })))
    }

    /// Whoever acts on it may get it twice, and drops repeats by its `id`.
    pub(super) async fn request_retraining(
        &self,
        request: &RetrainingRequest,
    ) -> Result<Outcome, WorldError> {
        let detail = serde_json::to_string(request)
            .map_err(|error| refused("PutEvents", error.to_string()))?;
        self.put_event("Tidegate Retraining Requested", request.at, detail)
            .await
    }
}
