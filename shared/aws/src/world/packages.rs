//! Model packages: reading, registering and judging them.
//!
//! Sources: `CreateModelPackage`, `DescribeModelPackage` and `UpdateModelPackage` in the SageMaker
//! API reference, for the limits of descriptions and of `CustomerMetadataProperties`.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sagemaker::operation::describe_model_package::DescribeModelPackageOutput;
use aws_sdk_sagemaker::types::{
    InferenceSpecification, MetadataProperties, MetricsSource, ModelApprovalStatus,
    ModelCardStatus, ModelLifeCycle, ModelMetrics, ModelPackageContainerDefinition,
    ModelPackageModelCard, ModelPackageSecurityConfig, ModelPackageSortBy, ModelPackageStatus,
    ModelQuality, SortOrder, UserContext,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tidegate_core::event::Approval;
use tidegate_core::name::{GroupName, PackageVersion};
use tidegate_core::origin::Origin;
use tidegate_core::pipeline::{Card, CardStatus};
use tidegate_core::world::{
    Answer, Outcome, Package, PackageSpec, TIDEGATE, WorldError, WorldErrorKind,
};

use super::annotations::aws_life_cycle;
use super::values::{aws_time, name_of_arn, required, time};
use super::{AwsWorld, baselines};
use crate::error::{failed, refused};

const DESCRIBE: &str = "DescribeModelPackage";
/// How many packages of a group are looked into for an artifact, the newest.
const MOST_PACKAGES: usize = 100;
const AT_ONCE: usize = 4;
/// `ModelPackageDescription` and `ApprovalDescription`.
const LONGEST_TEXT: usize = 1_024;
/// `CustomerMetadataProperties`: pairs, and characters of a key and of a value.
pub(super) const MOST_PAIRS: usize = 50;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

impl AwsWorld {
    pub(super) async fn package(&self, arn: &str) -> Result<Answer, WorldError> {
        Ok(self
            .described(arn)
            .await?
            .map_or(Answer::Missing, |p| Answer::Package(Box::new(p))))
    }

    /// The package of a version of a group; none if there is no such version or group.
    ///
    /// # Errors
    /// What AWS answered, if it is no answer.
    pub async fn package_of(
        &self,
        group: &GroupName,
        version: PackageVersion,
    ) -> Result<Option<Package>, WorldError> {
        const CALL: &str = "DescribeModelPackageGroup";
        let asked = self
            .clients
            .sagemaker
            .describe_model_package_group()
            .model_package_group_name(group.as_str())
            .send();
        let arn = match asked.await.map_err(failed(CALL)) {
            Ok(found) => required(CALL, "ModelPackageGroupArn", found.model_package_group_arn)?,
            Err(failure) if failure.is_gone() => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        // A group's packages have its ARN with another word and the version.
        let arn = arn.replacen(":model-package-group/", ":model-package/", 1);
        self.described(&format!("{arn}/{}", version.0)).await
    }

    pub(super) async fn packages_of(
        &self,
        group: &GroupName,
        artifact: &str,
        since: Timestamp,
    ) -> Result<Answer, WorldError> {
        let arns = self.arns_since(group, since).await?;
        let found: Vec<Option<Package>> = stream::iter(arns)
            .map(|arn| async move { self.described(&arn).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let of_it = |package: &Package| package.artifacts.iter().any(|a| a == artifact);
        Ok(Answer::Packages(
            found.into_iter().flatten().filter(of_it).collect(),
        ))
    }

    async fn arns_since(
        &self,
        group: &GroupName,
        since: Timestamp,
    ) -> Result<Vec<String>, WorldError> {
        // The filter excludes its own second.
        let after = since
            .saturating_sub(SignedDuration::from_secs(1))
            .unwrap_or(since);
        let mut arns = Vec::new();
        let mut next = None;
        loop {
            let asked = self
                .clients
                .sagemaker
                .list_model_packages()
                .model_package_group_name(group.as_str())
                .creation_time_after(aws_time(after))
                .sort_by(ModelPackageSortBy::CreationTime)
                .sort_order(SortOrder::Descending)
                .max_results(100)
                .set_next_token(next)
                .send();
            let page = match asked.await.map_err(failed("ListModelPackages")) {
                Ok(page) => page,
                // No group, no packages.
                Err(failure) if failure.is_gone() => return Ok(Vec::new()),
                Err(failure) => return Err(failure.into()),
            };
            let list = page.model_package_summary_list.unwrap_or_default();
            arns.extend(
                list.into_iter()
                    .filter_map(|package| package.model_package_arn),
            );
            next = page.next_token;
            if next.is_none() || arns.len() >= MOST_PACKAGES {
                arns.truncate(MOST_PACKAGES);
                return Ok(arns);
            }
        }
    }

    async fn described(&self, arn: &str) -> Result<Option<Package>, WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_model_package()
            .model_package_name(arn)
            .send();
        match asked.await.map_err(failed(DESCRIBE)) {
            Ok(found) => Ok(package(found)?.map(|found| self.says_own(found))),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The same package, with Tidegate's own functions called by one name.
    fn says_own(&self, package: Package) -> Package {
        let by = package.modified_by.as_deref();
        let is_own = by.is_some_and(|by| is_own(by, &self.settings.shift_function));
        Package {
            modified_by: if is_own {
                Some(TIDEGATE.to_owned())
            } else {
                package.modified_by
            },
            ..package
        }
    }

    pub(super) async fn register_package(&self, spec: &PackageSpec) -> Result<Outcome, WorldError> {
        const CALL: &str = "CreateModelPackage";
        self.ensure_group(&spec.group).await?;
        let container = ModelPackageContainerDefinition::builder()
            .image(&spec.image)
            .model_data_url(&spec.artifact)
            .set_environment(some_map(&spec.environment))
            .build();
        let inference = InferenceSpecification::builder()
            .containers(container)
            .set_supported_content_types(Some(spec.content_types.clone()))
            .set_supported_response_mime_types(Some(spec.response_types.clone()))
            .build();
        let metrics = spec.evaluation.as_ref().map(|uri| {
            let source = MetricsSource::builder()
                .content_type("application/json")
                .s3_uri(uri);
            let quality = ModelQuality::builder().statistics(source.build()).build();
            ModelMetrics::builder().model_quality(quality).build()
        });
        let made = self
            .clients
            .sagemaker
            .create_model_package()
            .model_package_group_name(spec.group.as_str())
            // The same token gives the same package, so that a second try makes no second one.
            .client_token(&spec.token)
            .model_package_description(description(spec))
            .inference_specification(inference)
            .model_approval_status(aws_approval(spec.approval))
            .metadata_properties(
                MetadataProperties::builder()
                    .generated_by(&spec.job_arn)
                    .set_commit_id(spec.commit.clone())
                    .set_repository(spec.repository.clone())
                    .build(),
            )
            .set_model_metrics(metrics)
            .set_customer_metadata_properties(some_map(&metadata(spec)))
            .set_model_life_cycle(spec.life_cycle.as_ref().map(aws_life_cycle))
            .set_model_card(spec.card.as_ref().map(model_card))
            .send()
            .await
            .map_err(|sent| token_is_taken(failed(CALL)(sent).into(), &spec.token))?;
        let arn = required(CALL, "ModelPackageArn", made.model_package_arn)?;
        let version = name_of_arn(&arn).parse().map(PackageVersion).map_err(|_| {
            refused(
                CALL,
                format!(
                    "{arn} does not end in a version: is {} a group?",
                    spec.group
                ),
            )
        })?;
        Ok(Outcome::Registered { arn, version })
    }

    async fn ensure_group(&self, group: &GroupName) -> Result<(), WorldError> {
        let asked = self
            .clients
            .sagemaker
            .describe_model_package_group()
            .model_package_group_name(group.as_str())
            .send();
        match asked.await.map_err(failed("DescribeModelPackageGroup")) {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_gone() => {}
            Err(failure) => return Err(failure.into()),
        }
        let made = self
            .clients
            .sagemaker
            .create_model_package_group()
            .model_package_group_name(group.as_str())
            .model_package_group_description("Versions that Tidegate gates and rolls out")
            .send();
        match made.await.map_err(failed("CreateModelPackageGroup")) {
            Ok(_) => Ok(()),
            Err(failure) if failure.already => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn set_approval(
        &self,
        arn: &str,
        approval: Approval,
        why: &str,
        seen: Option<Timestamp>,
    ) -> Result<Outcome, WorldError> {
        let why = line(why, LONGEST_TEXT);
        if let Some(now) = self.described(arn).await? {
            // Every update is an event, so one that changes nothing is not sent. No reason leaves the
            // one that is there.
            let is_so = now.approval == approval
                && (why.is_empty() || now.approval_description.as_deref() == Some(why.as_str()));
            if is_so || seen.is_some_and(|seen| now.is_changed_by_others(approval, seen)) {
                return Ok(Outcome::Done);
            }
        }
        self.clients
            .sagemaker
            .update_model_package()
            .model_package_arn(arn)
            .model_approval_status(aws_approval(approval))
            .set_approval_description(Some(why).filter(|why| !why.is_empty()))
            .send()
            .await
            .map_err(failed("UpdateModelPackage"))?;
        Ok(Outcome::Done)
    }
}

/// A conflict over the token stays one, however often the call is tried again.
fn token_is_taken(error: WorldError, token: &str) -> WorldError {
    if error.kind != WorldErrorKind::NotNow || !error.message.to_lowercase().contains("token") {
        return error;
    }
    let message = format!(
        "another package was registered with the token {token} ({}); look for the training job's \
         package in the group",
        error.message
    );
    WorldError {
        kind: WorldErrorKind::Refused,
        message,
        ..error
    }
}

/// A package of a group; none if it is a package without one, which is no candidate.
fn package(found: DescribeModelPackageOutput) -> Result<Option<Package>, WorldError> {
    let (Some(group), Some(version)) =
        (found.model_package_group_name, found.model_package_version)
    else {
        return Ok(None);
    };
    let group = GroupName::parse(&group).map_err(|error| refused(DESCRIBE, error.to_string()))?;
    let version = u32::try_from(version)
        .map_err(|_| refused(DESCRIBE, format!("{version} is not a version")))?;
    let created = required(DESCRIBE, "CreationTime", time(found.creation_time.as_ref()))?;
    let containers = found
        .inference_specification
        .and_then(|spec| spec.containers)
        .unwrap_or_default();
    let status = found.model_package_status;
    let usable = status == Some(ModelPackageStatus::Completed);
    let origin = origin(
        found.metadata_properties,
        containers.first(),
        found.security_config.as_ref(),
        found.model_life_cycle.as_ref(),
    );
    let failure = found
        .model_package_status_details
        .map(|details| {
            let (validation, scan) = (details.validation_statuses, details.image_scan_statuses);
            let all = validation
                .unwrap_or_default()
                .into_iter()
                .chain(scan.unwrap_or_default());
            all.filter_map(|item| item.failure_reason)
                .collect::<Vec<_>>()
                .join("; ")
        })
        .filter(|why| !why.is_empty())
        .or_else(|| status.map(|status| format!("its status is {}", status.as_str())));
    Ok(Some(Package {
        arn: required(DESCRIBE, "ModelPackageArn", found.model_package_arn)?,
        group,
        version: PackageVersion(version),
        approval: approval(found.model_approval_status.as_ref()),
        usable,
        failure: failure.filter(|_| !usable),
        approval_description: found.approval_description.filter(|text| !text.is_empty()),
        created,
        modified: time(found.last_modified_time.as_ref()).unwrap_or(created),
        modified_by: found.last_modified_by.or(found.created_by).and_then(person),
        image: containers
            .first()
            .and_then(|container| container.image.clone()),
        artifacts: containers.iter().filter_map(artifact).collect(),
        metadata: found
            .customer_metadata_properties
            .unwrap_or_default()
            .into_iter()
            .collect(),
        origin,
        drift_baselines: baselines::by_kind(found.drift_check_baselines),
    }))
}

fn origin(
    properties: Option<MetadataProperties>,
    container: Option<&ModelPackageContainerDefinition>,
    security: Option<&ModelPackageSecurityConfig>,
    life_cycle: Option<&ModelLifeCycle>,
) -> Origin {
    let properties = properties.unwrap_or_else(|| MetadataProperties::builder().build());
    let text = |text: Option<&str>| text.filter(|t| !t.is_empty()).map(str::to_owned);
    Origin {
        job: properties.generated_by,
        commit: properties.commit_id,
        repository: properties.repository,
        image_digest: text(container.and_then(|c| c.image_digest())),
        artifact_etag: text(container.and_then(|c| c.model_data_e_tag())),
        kms_key: text(security.and_then(|s| s.kms_key_id())),
        life_cycle: life_cycle.and_then(|l| Some(format!("{}/{}", l.stage()?, l.stage_status()?))),
    }
}

fn artifact(container: &ModelPackageContainerDefinition) -> Option<String> {
    let source = || container.model_data_source()?.s3_data_source()?.s3_uri();
    container
        .model_data_url()
        .or_else(source)
        .map(str::to_owned)
}

/// Whether this is a function of the stack that the function of this ARN is one of. Lambda names the
/// session of a function's role after the function, and the template begins functions' names with
/// the stack's.
fn is_own(by: &str, shift_function: &str) -> bool {
    const FUNCTIONS: [&str; 5] = [
        "training-complete",
        "package-approved",
        "canary-shift",
        "monitor-violation",
        "housekeeping",
    ];
    let shift = shift_function.rsplit(':').next().unwrap_or_default();
    let Some(stack) = shift.strip_suffix("canary-shift") else {
        return false;
    };
    let session = by.rsplit_once('/').map_or("", |(_, session)| session);
    let function = session.strip_prefix(stack).filter(|_| !stack.is_empty());
    by.contains(":assumed-role/") && function.is_some_and(|f| FUNCTIONS.contains(&f))
}

fn person(user: UserContext) -> Option<String> {
    user.user_profile_name
        .or(user.iam_identity.and_then(|identity| identity.arn))
}

/// A status that this version doesn't know is not an approval.
fn approval(status: Option<&ModelApprovalStatus>) -> Approval {
    match status {
        Some(ModelApprovalStatus::Approved) => Approval::Approved,
        Some(ModelApprovalStatus::Rejected) => Approval::Rejected,
        _ => Approval::PendingManualApproval,
    }
}

fn aws_approval(approval: Approval) -> ModelApprovalStatus {
    match approval {
        Approval::Approved => ModelApprovalStatus::Approved,
        Approval::Rejected => ModelApprovalStatus::Rejected,
        Approval::PendingManualApproval => ModelApprovalStatus::PendingManualApproval,
    }
}

fn model_card(card: &Card) -> ModelPackageModelCard {
    let status = match card.status {
        CardStatus::Draft => ModelCardStatus::Draft,
        CardStatus::PendingReview => ModelCardStatus::Pendingreview,
        CardStatus::Approved => ModelCardStatus::Approved,
    };
    ModelPackageModelCard::builder()
        .model_card_content(card.content())
        .model_card_status(status)
        .build()
}

/// `CreateModelPackage` takes no `ApprovalDescription`, and an update only for it would be another
/// event: the gate's reason is part of the description.
fn description(spec: &PackageSpec) -> String {
    let text = if spec.why.is_empty() || spec.description.contains(&spec.why) {
        spec.description.clone()
    } else {
        format!("{} {}", spec.description, spec.why)
    };
    line(&text, LONGEST_TEXT)
}

/// One line of at most `characters`: descriptions take no control characters.
pub(super) fn line(text: &str, characters: usize) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clean.trim().chars().take(characters).collect()
}

fn metadata(spec: &PackageSpec) -> BTreeMap<String, String> {
    allowed_pairs(&spec.metadata).take(MOST_PAIRS).collect()
}

/// The pairs as metadata takes them; what nothing is left of is left out.
pub(super) fn allowed_pairs(
    pairs: &BTreeMap<String, String>,
) -> impl Iterator<Item = (String, String)> {
    let fit = |(key, value): (&String, &String)| {
        (allowed(key, LONGEST_KEY), allowed(value, LONGEST_VALUE))
    };
    let pairs = pairs.iter().map(fit);
    pairs.filter(|(key, value)| !key.is_empty() && !value.is_empty())
}

/// Metadata takes letters, digits, spaces and `_.:/=+-@`; anything else becomes a hyphen.
fn allowed(text: &str, characters: usize) -> String {
    let fits = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    text.trim()
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .take(characters)
        .collect()
}

/// AWS refuses a map that is there and empty in some calls; none is always fine.
pub(super) fn some_map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_to_the_characters_and_lengths_that_aws_takes() {
        assert_eq!(allowed("99,5 % \"ok\"", 256), "99-5 - -ok-");
        assert_eq!(
            allowed(&"\u{e4}".repeat(300), LONGEST_VALUE)
                .chars()
                .count(),
            256
        );
        assert_eq!(allowed("s3://b/k@v=1+2", 256), "s3://b/k@v=1+2");
    }

    #[test]
    fn a_function_of_the_stack_is_tidegate_and_nobody_else_is() {
        let shift = "arn:aws:lambda:us-east-1:123456789012:function:tidegate-canary-shift";
        let role = "arn:aws:sts::123456789012:assumed-role/tidegate-Role-1A2B";
        assert!(is_own(&format!("{role}/tidegate-housekeeping"), shift));
        assert!(is_own(&format!("{role}/tidegate-canary-shift"), shift));
        assert!(!is_own(&format!("{role}/other-housekeeping"), shift));
        assert!(!is_own(&format!("{role}/tidegate-ada"), shift));
        let user = "arn:aws:iam::123456789012:user/tidegate-housekeeping";
        assert!(!is_own(user, shift));
        // The command line has no such function.
        assert!(!is_own(&format!("{role}/housekeeping"), "arn:none"));
        assert!(!is_own(&format!("{role}/housekeeping"), ""));
    }

    #[test]
    fn a_description_is_one_line_and_says_why() {
        assert_eq!(line("a\nb\tc ", 1_024), "a b c");
        assert_eq!(
            line(&"\u{4e2d}".repeat(2_000), LONGEST_TEXT)
                .chars()
                .count(),
            LONGEST_TEXT
        );
    }
}
