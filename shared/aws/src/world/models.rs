//! Models in SageMaker's sense: a package, a role and a network.
//!
//! What the policy says counts first, then what the champion's model has, then what the training
//! job ran with. The environment of the champion's model is not copied: its package's own is in
//! force, and what somebody added by hand for one version need not fit the next; the policy's
//! `[serve] environment` is the place for what every version needs.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::operation::describe_model::DescribeModelOutput;
use aws_sdk_sagemaker::types::{ContainerDefinition, VpcConfig};
use tidegate_core::world::{Answer, Model, ModelSpec, Outcome, WorldError};

use super::AwsWorld;
use super::packages::some_map;
use super::tags::inherited;
use super::values::{aws_vpc, required};
use crate::error::{failed, refused};

const CREATE: &str = "CreateModel";
const DESCRIBE: &str = "DescribeModel";

/// What a model runs as and where.
struct Runs {
    role: String,
    vpc: Option<VpcConfig>,
    network_isolation: bool,
}

impl AwsWorld {
    pub(super) async fn model(&self, name: &str) -> Result<Answer, WorldError> {
        let Some(found) = self.described_model(name).await? else {
            return Ok(Answer::Missing);
        };
        let container = first_container(&found);
        Ok(Answer::Model(Box::new(Model {
            name: name.to_owned(),
            package: container.and_then(|c| c.model_package_name.clone()),
            image: container.and_then(|c| c.image.clone()),
            environment: container
                .and_then(|c| c.environment.clone())
                .unwrap_or_default()
                .into_iter()
                .collect(),
            role: found.execution_role_arn.clone(),
        })))
    }

    async fn described_model(&self, name: &str) -> Result<Option<DescribeModelOutput>, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_model()
            .model_name(name)
            .send();
        match asked.await.map_err(failed(DESCRIBE)) {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn create_model(&self, spec: &ModelSpec) -> Result<Outcome, WorldError> {
        // A model that serves may have been deleted: SageMaker allows it, so it is no reason to
        // stop, as long as somebody else says which role to use.
        let like = match &spec.like {
            Some(name) => self.described_model(name).await?,
            None => None,
        };
        let runs = self.runs(spec, like.as_ref()).await?;
        let tags = match like.as_ref().and_then(|model| model.model_arn.as_deref()) {
            Some(arn) => self.tags_of(arn).await?,
            None => BTreeMap::new(),
        };
        let container = ContainerDefinition::builder()
            .model_package_name(&spec.package)
            .set_environment(some_map(&spec.environment))
            .build();
        let made = self
            .clients
            .sagemaker
            .create_model()
            .model_name(&spec.name)
            .containers(container)
            .execution_role_arn(&runs.role)
            .set_vpc_config(runs.vpc)
            .enable_network_isolation(runs.network_isolation)
            .set_tags(Some(inherited(&tags, &spec.tags)).filter(|tags| !tags.is_empty()))
            .send();
        match made.await.map_err(failed(CREATE)) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.already => self.is_the_model(spec, &runs.role).await,
            Err(failure) => Err(failure.into()),
        }
    }

    async fn runs(
        &self,
        spec: &ModelSpec,
        like: Option<&DescribeModelOutput>,
    ) -> Result<Runs, WorldError> {
        let job = match (&spec.job, like) {
            // The champion's model answers everything, also by having no VPC.
            (_, Some(_)) | (None, None) => None,
            (Some(job), None) => match self.training_job(job).await? {
                Answer::TrainingJob(job) => Some(job),
                _ => None,
            },
        };
        let role = spec
            .role
            .clone()
            .or_else(|| like.and_then(|model| model.execution_role_arn.clone()))
            .or_else(|| job.as_ref().map(|job| job.role.clone()))
            .filter(|role| !role.is_empty())
            .ok_or_else(|| {
                refused(
                    CREATE,
                    "no role to run the model as: neither the policy's [serve] role, nor a model \
                     that serves, nor the training job gives one",
                )
            })?;
        let vpc = match (&spec.vpc, like, &job) {
            (Some(vpc), ..) => Some(aws_vpc(vpc)),
            (None, Some(model), _) => model.vpc_config.clone(),
            (None, None, Some(job)) => job.vpc.as_ref().map(aws_vpc),
            (None, None, None) => None,
        };
        let network_isolation = spec
            .network_isolation
            .or_else(|| like.map(|model| model.enable_network_isolation.unwrap_or(false)))
            .or_else(|| job.as_ref().map(|job| job.network_isolation))
            .unwrap_or(false);
        Ok(Runs {
            role,
            vpc,
            network_isolation,
        })
    }

    /// Whether the model of this name, which is there already, is the one that was to be made.
    async fn is_the_model(&self, spec: &ModelSpec, role: &str) -> Result<Outcome, WorldError> {
        let found = required(CREATE, "model", self.described_model(&spec.name).await?)?;
        let package = first_container(&found).and_then(|c| c.model_package_name.as_deref());
        let same_package = package == Some(spec.package.as_str());
        let environment: BTreeMap<String, String> = first_container(&found)
            .and_then(|c| c.environment.clone())
            .unwrap_or_default()
            .into_iter()
            .collect();
        // A describe may add the package's own variables to those that were asked for.
        let same_environment = spec
            .environment
            .iter()
            .all(|(k, v)| environment.get(k) == Some(v));
        let same_role = found.execution_role_arn.as_deref() == Some(role);
        if same_package && same_environment && same_role {
            return Ok(Outcome::Done);
        }
        Err(refused(
            CREATE,
            format!(
                "a model {} is there already and is another one (package {}, role {}); delete it \
                 or let it be and approve the version again",
                spec.name,
                package.unwrap_or("none"),
                found.execution_role_arn.as_deref().unwrap_or("none"),
            ),
        ))
    }

    pub(super) async fn delete_model(&self, name: &str) -> Result<Outcome, WorldError> {
        let sent = self
            .clients
            .sagemaker
            .delete_model()
            .model_name(name)
            .send();
        match sent.await.map_err(failed("DeleteModel")) {
            Ok(_) => Ok(Outcome::Done),
            Err(failure) if failure.is_gone() => Ok(Outcome::Done),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// The container that a package is named in: alone, or the first of a list.
fn first_container(model: &DescribeModelOutput) -> Option<&ContainerDefinition> {
    model
        .primary_container()
        .or_else(|| model.containers().first())
}
