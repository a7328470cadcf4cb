//! SageMaker's control plane: one JSON operation per request, told by `X-Amz-Target`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::App;
use crate::errors::ApiError;
use crate::faults::Kind;
use crate::moment::Moment;
use crate::monitor::{definition, execution, schedule};
use crate::world::World;
use crate::{
    arn, configs, endpoints, events, json as members, lineage, models, packages, pipelines,
    processing, tags, training, tuning, validate,
};

/// One request: who asked, and when.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) now: Moment,
    /// The access key of the request's signature; it stands for an IAM user, as `ROLE~SESSION` for a
    /// role's session.
    pub(crate) caller: String,
}

impl Call {
    /// Who did it, as `CreatedBy` and `LastModifiedBy` tell.
    pub(crate) fn user(&self) -> Value {
        let caller = &self.caller;
        let arn = match caller.split_once('~') {
            Some((role, session)) => {
                format!(
                    "arn:aws:sts::{}:assumed-role/{role}/{session}",
                    arn::ACCOUNT
                )
            }
            None => format!("arn:aws:iam::{}:user/{caller}", arn::ACCOUNT),
        };
        json!({"IamIdentity": {
            "Arn": arn,
            "PrincipalId": caller,
        }})
    }
}

/// Does one operation: faults that were ordered, validation, the work, the events it causes.
pub(crate) async fn perform(
    app: &Arc<App>,
    operation: &str,
    mut input: Value,
    caller: String,
) -> Result<Value, ApiError> {
    let fault = app.world().faults.hit_call(operation);
    match fault.as_ref().map(|fault| fault.kind) {
        Some(Kind::Throttle) => return Err(ApiError::throttled()),
        Some(Kind::Deny) => return Err(ApiError::denied(&format!("sagemaker:{operation}"))),
        Some(Kind::Error) => return Err(ApiError::internal()),
        Some(Kind::Delay) => {
            let delay = fault.as_ref().map_or(0, |fault| fault.delay_ms.min(60_000));
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        _ => {}
    }
    members::strip_nulls(&mut input);
    let shape = app
        .model
        .input(operation)
        .ok_or_else(|| ApiError::unsupported(operation))?;
    let work = operation_of(operation).ok_or_else(|| ApiError::unsupported(operation))?;
    validate::request(&app.model, shape, &input)?;
    let call = Call {
        app: app.clone(),
        now: app.clock.now(),
        caller,
    };
    let result = work(&call, &mut app.world(), &input);
    app.wake.notify_one();
    let sender = app.clone();
    tokio::spawn(async move { events::flush(&sender).await });
    if result.is_ok() && matches!(fault.map(|fault| fault.kind), Some(Kind::ErrorAfterSuccess)) {
        return Err(ApiError::internal());
    }
    result
}

type Work = fn(&Call, &mut World, &Value) -> Result<Value, ApiError>;

fn operation_of(name: &str) -> Option<Work> {
    Some(match name {
        "AddTags" => |_, world, input| tags::add(world, input),
        "ListTags" => |_, world, input| tags::list_of(world, input),
        "DeleteTags" => |_, world, input| tags::delete(world, input),
        "CreateTrainingJob" => training::create,
        "DescribeTrainingJob" => training::describe,
        "ListTrainingJobs" => training::list_jobs,
        "StopTrainingJob" => training::stop,
        "CreateHyperParameterTuningJob" => tuning::create,
        "DescribeHyperParameterTuningJob" => tuning::describe,
        "StopHyperParameterTuningJob" => tuning::stop,
        "ListTrainingJobsForHyperParameterTuningJob" => tuning::list_training_jobs,
        "CreateModelPackageGroup" => packages::create_group,
        "DescribeModelPackageGroup" => packages::describe_group,
        "ListModelPackageGroups" => packages::list_groups,
        "DeleteModelPackageGroup" => packages::delete_group,
        "CreateModelPackage" => packages::create,
        "DescribeModelPackage" => packages::describe,
        "UpdateModelPackage" => packages::update,
        "ListModelPackages" => packages::list_packages,
        "DeleteModelPackage" => packages::delete,
        "CreateModel" => models::create,
        "DescribeModel" => models::describe,
        "ListModels" => models::list_models,
        "DeleteModel" => models::delete,
        "CreateEndpointConfig" => configs::create,
        "DescribeEndpointConfig" => configs::describe,
        "ListEndpointConfigs" => configs::list_configs,
        "DeleteEndpointConfig" => configs::delete,
        "CreateEndpoint" => endpoints::create,
        "DescribeEndpoint" => endpoints::describe,
        "UpdateEndpoint" => endpoints::update,
        "UpdateEndpointWeightsAndCapacities" => endpoints::update_weights,
        "ListEndpoints" => endpoints::list_endpoints,
        "DeleteEndpoint" => endpoints::delete,
        "CreatePipeline" => pipelines::create,
        "UpdatePipeline" => pipelines::update,
        "DescribePipeline" => pipelines::describe,
        "ListPipelines" => pipelines::list_pipelines,
        "DeletePipeline" => pipelines::delete,
        "StartPipelineExecution" => pipelines::start,
        "DescribePipelineExecution" => pipelines::describe_execution,
        "ListPipelineExecutions" => pipelines::list_executions,
        "ListPipelineExecutionSteps" => pipelines::list_steps,
        "CreateArtifact" => lineage::create_artifact,
        "DescribeArtifact" => lineage::describe_artifact,
        "ListArtifacts" => lineage::list_artifacts,
        "CreateAction" => lineage::create_action,
        "DescribeAction" => lineage::describe_action,
        "CreateContext" => lineage::create_context,
        "DescribeContext" => lineage::describe_context,
        "ListContexts" => lineage::list_contexts,
        "AddAssociation" => lineage::add_association,
        "ListAssociations" => lineage::list_associations,
        "ListTrialComponents" => lineage::list_components,
        "CreateMonitoringSchedule" => schedule::create,
        "UpdateMonitoringSchedule" => schedule::update,
        "DescribeMonitoringSchedule" => schedule::describe,
        "ListMonitoringSchedules" => schedule::list_schedules,
        "ListMonitoringExecutions" => execution::list_executions,
        "StopMonitoringSchedule" => schedule::stop,
        "StartMonitoringSchedule" => schedule::start,
        "DeleteMonitoringSchedule" => schedule::delete,
        "CreateProcessingJob" => processing::create,
        "DescribeProcessingJob" => processing::describe,
        "ListProcessingJobs" => processing::list_jobs,
        "StopProcessingJob" => processing::stop,
        _ => return definition_operation_of(name),
    })
}

/// Operations on the job definitions of each kind of monitor.
fn definition_operation_of(name: &str) -> Option<Work> {
    use crate::monitor::definition::Kind::{
        DataQuality, ModelBias, ModelExplainability, ModelQuality,
    };
    Some(match name {
        "CreateDataQualityJobDefinition" => {
            |call, world, input| definition::create(DataQuality, call, world, input)
        }
        "DescribeDataQualityJobDefinition" => {
            |_, world, input| definition::describe(DataQuality, world, input)
        }
        "ListDataQualityJobDefinitions" => {
            |_, world, input| definition::list_definitions(DataQuality, world, input)
        }
        "DeleteDataQualityJobDefinition" => {
            |_, world, input| definition::delete(DataQuality, world, input)
        }
        "CreateModelQualityJobDefinition" => {
            |call, world, input| definition::create(ModelQuality, call, world, input)
        }
        "DescribeModelQualityJobDefinition" => {
            |_, world, input| definition::describe(ModelQuality, world, input)
        }
        "ListModelQualityJobDefinitions" => {
            |_, world, input| definition::list_definitions(ModelQuality, world, input)
        }
        "DeleteModelQualityJobDefinition" => {
            |_, world, input| definition::delete(ModelQuality, world, input)
        }
        "CreateModelBiasJobDefinition" => {
            |call, world, input| definition::create(ModelBias, call, world, input)
        }
        "DescribeModelBiasJobDefinition" => {
            |_, world, input| definition::describe(ModelBias, world, input)
        }
        "ListModelBiasJobDefinitions" => {
            |_, world, input| definition::list_definitions(ModelBias, world, input)
        }
        "DeleteModelBiasJobDefinition" => {
            |_, world, input| definition::delete(ModelBias, world, input)
        }
        "CreateModelExplainabilityJobDefinition" => {
            |call, world, input| definition::create(ModelExplainability, call, world, input)
        }
        "DescribeModelExplainabilityJobDefinition" => {
            |_, world, input| definition::describe(ModelExplainability, world, input)
        }
        "ListModelExplainabilityJobDefinitions" => {
            |_, world, input| definition::list_definitions(ModelExplainability, world, input)
        }
        "DeleteModelExplainabilityJobDefinition" => {
            |_, world, input| definition::delete(ModelExplainability, world, input)
        }
        _ => return None,
    })
}
