//! Job definitions of the four kinds of monitors: what each of the `Create...JobDefinition` calls
//! takes, and whether a definition that is there already is the one that was to be made.

use aws_sdk_sagemaker::types::{
    BatchTransformInput, DataQualityAppSpecification, DataQualityBaselineConfig,
    DataQualityJobInput, EndpointInput, ModelBiasAppSpecification, ModelBiasBaselineConfig,
    ModelBiasJobInput, ModelExplainabilityAppSpecification, ModelExplainabilityBaselineConfig,
    ModelExplainabilityJobInput, ModelQualityBaselineConfig, ModelQualityJobInput,
    MonitoringOutputConfig, MonitoringStatisticsResource,
};
use tidegate_core::name::ScheduleName;
use tidegate_core::pipeline::MonitorKind;
use tidegate_core::world::{MonitorSpec, Outcome, WorldError};

use super::parts::{
    aws_tags, batch, constraints, endpoint, ground_truth, model_quality, monitoring_network,
    output, resources, stopping,
};
use crate::error::{Failure, failed, refused};
use crate::world::AwsWorld;

/// What tells one definition from another.
#[derive(Debug, PartialEq)]
struct Definition {
    data: Option<String>,
    output: Option<String>,
    image: Option<String>,
    role: Option<String>,
}

/// The endpoint or the batch data, the answers' parts and the time that is looked at.
fn looked_at(
    endpoint: Option<&EndpointInput>,
    batch: Option<&BatchTransformInput>,
) -> Option<String> {
    if let Some(batch) = batch {
        let captured = batch.data_captured_destination_s3_uri()?;
        let (inference, from) = (batch.inference_attribute(), batch.start_time_offset());
        let format = batch.dataset_format();
        return Some(format!("{captured} {format:?} {inference:?} {from:?}"));
    }
    let endpoint = endpoint?;
    let name = endpoint.endpoint_name()?;
    let (inference, from) = (endpoint.inference_attribute(), endpoint.start_time_offset());
    Some(format!("{name} {inference:?} {from:?}"))
}

fn folder(output: &MonitoringOutputConfig) -> Option<String> {
    let first = output.monitoring_outputs().first()?;
    Some(first.s3_output()?.s3_uri()?.to_owned())
}

/// The members that all four kinds have in common.
macro_rules! create {
    ($self:ident, $spec:ident, $call:literal, $create:ident, $($set:ident($value:expr)),+) => {
        $self
            .clients
            .sagemaker
            .$create()
            .job_definition_name($spec.name.as_str())
            .job_resources(resources(&$spec.monitor))
            .set_network_config(monitoring_network(&$spec.monitor))
            .role_arn(&$spec.monitor.role)
            .stopping_condition(stopping(&$spec.monitor))
            .set_tags(aws_tags(&$spec.tags))
            $(.$set($value))+
            .send()
            .await
            .map(|_| ())
            .map_err(failed($call))
    };
}

macro_rules! describe {
    ($self:ident, $name:ident, $describe:ident, $app:ident, $input:ident, $output:ident) => {{
        let asked = $self.clients.sagemaker.$describe();
        let asked = asked.job_definition_name($name.as_str()).send();
        asked
            .await
            .map_err(failed(DESCRIBE))
            .map(|found| Definition {
                data: found.$input.and_then(|input| {
                    looked_at(input.endpoint_input(), input.batch_transform_input())
                }),
                output: found.$output.as_ref().and_then(folder),
                image: found.$app.and_then(|app| app.image_uri),
                role: found.role_arn,
            })
    }};
}

macro_rules! delete {
    ($self:ident, $name:ident, $delete:ident) => {{
        let delete = $self.clients.sagemaker.$delete();
        let delete = delete.job_definition_name($name.as_str()).send();
        delete.await.map(|_| ()).map_err(failed(DELETE))
    }};
}

const DESCRIBE: &str = "DescribeJobDefinition";
const DELETE: &str = "DeleteJobDefinition";

impl AwsWorld {
    /// Makes the definition, if it is not there.
    pub(super) async fn ensure_definition(&self, spec: &MonitorSpec) -> Result<(), WorldError> {
        let made = match spec.monitor.kind {
            MonitorKind::DataQuality => self.create_data_quality(spec).await,
            MonitorKind::ModelQuality => self.create_model_quality(spec).await,
            MonitorKind::Bias => self.create_bias(spec).await,
            MonitorKind::Attribution => self.create_attribution(spec).await,
        };
        match made {
            Ok(()) => Ok(()),
            Err(failure) if failure.already => self.is_the_definition(spec).await,
            Err(failure) => Err(failure.into()),
        }
    }

    async fn create_data_quality(&self, spec: &MonitorSpec) -> Result<(), Failure> {
        let statistics = spec.baseline.statistics.as_ref();
        let statistics =
            statistics.map(|uri| MonitoringStatisticsResource::builder().s3_uri(uri).build());
        let baseline = DataQualityBaselineConfig::builder()
            .set_constraints_resource(constraints(spec))
            .set_statistics_resource(statistics);
        let app = DataQualityAppSpecification::builder().image_uri(&spec.monitor.image);
        let input = DataQualityJobInput::builder()
            .set_endpoint_input(endpoint(spec))
            .set_batch_transform_input(batch(spec));
        create!(
            self,
            spec,
            "CreateDataQualityJobDefinition",
            create_data_quality_job_definition,
            data_quality_baseline_config(baseline.build()),
            data_quality_app_specification(app.build()),
            data_quality_job_input(input.build()),
            data_quality_job_output_config(output(&spec.monitor))
        )
    }

    async fn create_model_quality(&self, spec: &MonitorSpec) -> Result<(), Failure> {
        let baseline =
            ModelQualityBaselineConfig::builder().set_constraints_resource(constraints(spec));
        let input = ModelQualityJobInput::builder()
            .set_endpoint_input(endpoint(spec))
            .set_batch_transform_input(batch(spec))
            .ground_truth_s3_input(ground_truth(&spec.monitor));
        create!(
            self,
            spec,
            "CreateModelQualityJobDefinition",
            create_model_quality_job_definition,
            model_quality_baseline_config(baseline.build()),
            model_quality_app_specification(model_quality(&spec.monitor)),
            model_quality_job_input(input.build()),
            model_quality_job_output_config(output(&spec.monitor))
        )
    }

    async fn create_bias(&self, spec: &MonitorSpec) -> Result<(), Failure> {
        let baseline =
            ModelBiasBaselineConfig::builder().set_constraints_resource(constraints(spec));
        let app = ModelBiasAppSpecification::builder()
            .image_uri(&spec.monitor.image)
            .set_config_uri(spec.baseline.config.clone());
        let input = ModelBiasJobInput::builder()
            .set_endpoint_input(endpoint(spec))
            .set_batch_transform_input(batch(spec))
            .ground_truth_s3_input(ground_truth(&spec.monitor));
        create!(
            self,
            spec,
            "CreateModelBiasJobDefinition",
            create_model_bias_job_definition,
            model_bias_baseline_config(baseline.build()),
            model_bias_app_specification(app.build()),
            model_bias_job_input(input.build()),
            model_bias_job_output_config(output(&spec.monitor))
        )
    }

    async fn create_attribution(&self, spec: &MonitorSpec) -> Result<(), Failure> {
        let baseline = ModelExplainabilityBaselineConfig::builder()
            .set_constraints_resource(constraints(spec));
        let app = ModelExplainabilityAppSpecification::builder()
            .image_uri(&spec.monitor.image)
            .set_config_uri(spec.baseline.config.clone());
        let input = ModelExplainabilityJobInput::builder()
            .set_endpoint_input(endpoint(spec))
            .set_batch_transform_input(batch(spec));
        create!(
            self,
            spec,
            "CreateModelExplainabilityJobDefinition",
            create_model_explainability_job_definition,
            model_explainability_baseline_config(baseline.build()),
            model_explainability_app_specification(app.build()),
            model_explainability_job_input(input.build()),
            model_explainability_job_output_config(output(&spec.monitor))
        )
    }

    /// The definition of this name, which is there already, if it is the one that was to be made.
    async fn is_the_definition(&self, spec: &MonitorSpec) -> Result<(), WorldError> {
        let there = self
            .described_definition(&spec.name, spec.monitor.kind)
            .await?;
        let wanted = Definition {
            data: looked_at(endpoint(spec).as_ref(), batch(spec).as_ref()),
            output: folder(&output(&spec.monitor)),
            image: Some(spec.monitor.image.clone()),
            role: Some(spec.monitor.role.clone()),
        };
        if there == wanted {
            return Ok(());
        }
        Err(refused(
            "CreateJobDefinition",
            format!(
                "a job definition {} is there already and is another; delete it",
                spec.name
            ),
        ))
    }

    async fn described_definition(
        &self,
        name: &ScheduleName,
        kind: MonitorKind,
    ) -> Result<Definition, Failure> {
        match kind {
            MonitorKind::DataQuality => describe!(
                self,
                name,
                describe_data_quality_job_definition,
                data_quality_app_specification,
                data_quality_job_input,
                data_quality_job_output_config
            ),
            MonitorKind::ModelQuality => describe!(
                self,
                name,
                describe_model_quality_job_definition,
                model_quality_app_specification,
                model_quality_job_input,
                model_quality_job_output_config
            ),
            MonitorKind::Bias => describe!(
                self,
                name,
                describe_model_bias_job_definition,
                model_bias_app_specification,
                model_bias_job_input,
                model_bias_job_output_config
            ),
            MonitorKind::Attribution => describe!(
                self,
                name,
                describe_model_explainability_job_definition,
                model_explainability_app_specification,
                model_explainability_job_input,
                model_explainability_job_output_config
            ),
        }
    }

    pub(super) async fn delete_definition(
        &self,
        name: &ScheduleName,
        kind: MonitorKind,
    ) -> Result<Outcome, WorldError> {
        let deleted = match kind {
            MonitorKind::DataQuality => delete!(self, name, delete_data_quality_job_definition),
            MonitorKind::ModelQuality => delete!(self, name, delete_model_quality_job_definition),
            MonitorKind::Bias => delete!(self, name, delete_model_bias_job_definition),
            MonitorKind::Attribution => {
                delete!(self, name, delete_model_explainability_job_definition)
            }
        };
        match deleted {
            Ok(()) => Ok(Outcome::Done),
            Err(failure) if failure.is_gone() => Ok(Outcome::Done),
            Err(failure) => Err(failure.into()),
        }
    }
}
