//! Retraining: an execution of a SageMaker pipeline.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::Parameter;
use tidegate_core::world::{Outcome, WorldError};

use super::AwsWorld;
use super::values::required;
use crate::error::failed;

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
}
