//! The model registry: model package groups and model packages, versioned or not.
//!
//! Versioned packages take no tags, count up from 1 in their group and never reuse a number; a
//! client token makes a creation idempotent (API reference, `CreateModelPackage`).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value, json};

use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{list, pick, required, text, without};
use crate::lineage::automatic;
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::world::World;

/// AWS allows this many pairs of customer metadata on one package.
const MOST_METADATA: usize = 50;

/// Groups and packages.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    groups: BTreeMap<String, Group>,
    packages: BTreeMap<String, Package>,
    /// Client tokens with the request they came with and the package they made.
    tokens: BTreeMap<String, (Value, String)>,
}

#[derive(Debug)]
struct Group {
    arn: String,
    created: Moment,
    by: Value,
    body: Map<String, Value>,
    last_version: u32,
}

/// One model package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) arn: String,
    /// The group and version of a versioned package.
    version: Option<(String, u32)>,
    name: String,
    created: Moment,
    modified: Option<(Moment, Value)>,
    by: Value,
    body: Map<String, Value>,
}

impl Registry {
    /// A package by ARN, `group/version` or name.
    pub(crate) fn find(&self, arn_or_name: &str) -> Option<&Package> {
        self.packages.get(&package_arn(arn_or_name))
    }
}

impl Package {
    pub(crate) fn is_versioned(&self) -> bool {
        self.version.is_some()
    }

    /// `Approved`, `Rejected` or `PendingManualApproval`; unversioned packages have none.
    pub(crate) fn approval(&self) -> Option<&str> {
        self.body.get("ModelApprovalStatus").and_then(Value::as_str)
    }

    /// The containers that a model made from this package has.
    pub(crate) fn containers(&self) -> &[Value] {
        self.body
            .get("InferenceSpecification")
            .map_or(&[], |spec| list(spec, "Containers"))
    }

    fn describe(&self, time: impl Fn(Moment) -> Value) -> Map<String, Value> {
        let mut body = self.body.clone();
        body.insert("ModelPackageName".into(), json!(self.name));
        if let Some((group, version)) = &self.version {
            body.insert("ModelPackageGroupName".into(), json!(group));
            body.insert("ModelPackageVersion".into(), json!(version));
        }
        body.insert("ModelPackageArn".into(), json!(self.arn));
        body.insert("CreationTime".into(), time(self.created));
        body.insert("CreatedBy".into(), self.by.clone());
        body.insert("ModelPackageStatus".into(), json!("Completed"));
        body.insert(
            "ModelPackageStatusDetails".into(),
            json!({"ValidationStatuses": [], "ImageScanStatuses": []}),
        );
        body.entry("CertifyForMarketplace").or_insert(json!(false));
        if let Some((at, by)) = &self.modified {
            body.insert("LastModifiedTime".into(), time(*at));
            body.insert("LastModifiedBy".into(), by.clone());
        }
        body
    }

    /// The event names no principal, and its times are ISO 8601.
    fn event(&self, at: Moment) -> Event {
        let mut detail = self.describe(|at| json!(at.iso()));
        detail.remove("CreatedBy");
        detail.remove("LastModifiedBy");
        if self.is_versioned() {
            detail.remove("ModelPackageName");
        }
        detail
            .entry("LastModifiedTime")
            .or_insert_with(|| json!(at.iso()));
        Event::new(
            at,
            "SageMaker Model Package State Change",
            &self.arn,
            Value::Object(detail),
        )
    }

    fn row(&self) -> Row {
        let mut summary = pick(
            &Value::Object(self.describe(Moment::json)),
            &[
                "ModelPackageName",
                "ModelPackageGroupName",
                "ModelPackageVersion",
                "ModelPackageArn",
                "ModelPackageDescription",
                "CreationTime",
                "ModelPackageStatus",
                "ModelApprovalStatus",
            ],
        );
        if self.is_versioned() {
            summary.remove("ModelPackageName");
        }
        Row {
            name: self.name.clone(),
            status: "Completed".to_owned(),
            created: self.created,
            modified: self.modified.as_ref().map_or(self.created, |(at, _)| *at),
            summary: Value::Object(summary),
        }
    }
}

pub(crate) fn create_group(
    call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let name = required(input, "ModelPackageGroupName");
    let arn = arn::sagemaker("model-package-group", &name);
    if world.registry.groups.contains_key(&name) {
        return Err(ApiError::validation(format!(
            "Model Package Group already exists: {arn}"
        )));
    }
    world.tags.create(&arn, input);
    let group = Group {
        arn: arn.clone(),
        created: call.now,
        by: call.user(),
        body: pick(
            input,
            &["ModelPackageGroupName", "ModelPackageGroupDescription"],
        ),
        last_version: 0,
    };
    world.registry.groups.insert(name, group);
    Ok(json!({"ModelPackageGroupArn": arn}))
}

pub(crate) fn describe_group(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let group = group(
        &mut world.registry,
        &required(input, "ModelPackageGroupName"),
    )?;
    let mut body = group.body.clone();
    body.insert("ModelPackageGroupArn".into(), json!(group.arn));
    body.insert("CreationTime".into(), group.created.json());
    body.insert("CreatedBy".into(), group.by.clone());
    body.insert("ModelPackageGroupStatus".into(), json!("Completed"));
    Ok(Value::Object(body))
}

pub(crate) fn list_groups(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let rows = world.registry.groups.iter().map(|(name, group)| {
        let mut summary = group.body.clone();
        summary.insert("ModelPackageGroupArn".into(), json!(group.arn));
        summary.insert("CreationTime".into(), group.created.json());
        summary.insert("ModelPackageGroupStatus".into(), json!("Completed"));
        Row {
            name: name.clone(),
            status: "Completed".to_owned(),
            created: group.created,
            modified: group.created,
            summary: Value::Object(summary),
        }
    });
    page::answer(
        input,
        "ModelPackageGroupSummaryList",
        rows.collect(),
        Order::Ascending,
    )
}

pub(crate) fn delete_group(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let given = required(input, "ModelPackageGroupName");
    let arn = group(&mut world.registry, &given)?.arn.clone();
    let name = arn::name_of("model-package-group", &arn).to_owned();
    let belongs = |package: &Package| {
        package
            .version
            .as_ref()
            .is_some_and(|(group, _)| *group == name)
    };
    if world.registry.packages.values().any(belongs) {
        return Err(ApiError::conflict(
            "Model Package Group cannot be deleted as it still contains some active model packages.",
        ));
    }
    world.registry.groups.remove(&name);
    world.tags.remove(&arn);
    Ok(json!({}))
}

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    if let Some((made_with, arn)) =
        text(input, "ClientToken").and_then(|token| world.registry.tokens.get(token))
    {
        if made_with == input {
            return Ok(json!({"ModelPackageArn": arn}));
        }
        return Err(ApiError::conflict(
            "The client token was used before with different parameters.",
        ));
    }
    let (name, arn, version) = match (
        text(input, "ModelPackageName"),
        text(input, "ModelPackageGroupName"),
    ) {
        (Some(_), Some(_)) => {
            return Err(ApiError::validation(
                "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use.",
            ));
        }
        (None, None) => return Err(ApiError::validation("Missing ARN.")),
        (Some(name), None) => {
            let arn = arn::sagemaker("model-package", name);
            if world.registry.packages.contains_key(&arn) {
                return Err(ApiError::validation(format!(
                    "Model Package already exists: {arn}"
                )));
            }
            (name.to_owned(), arn, None)
        }
        (None, Some(given)) => {
            if !list(input, "Tags").is_empty() {
                return Err(ApiError::validation(
                    "Tags are not supported for a versioned model package. Tag the Model Package Group instead.",
                ));
            }
            let group = group(&mut world.registry, given)?;
            group.last_version += 1;
            let version = group.last_version;
            let name = arn::name_of("model-package-group", &group.arn).to_owned();
            let arn = arn::sagemaker("model-package", &format!("{name}/{version}"));
            (name.clone(), arn, Some((name, version)))
        }
    };
    let mut body = without(
        input,
        &[
            "ClientToken",
            "Tags",
            "ModelPackageName",
            "ModelPackageGroupName",
        ],
    );
    if version.is_some() {
        body.entry("ModelApprovalStatus")
            .or_insert(json!("PendingManualApproval"));
    }
    add_digests(&mut body);
    let package = Package {
        arn: arn.clone(),
        version,
        name,
        created: call.now,
        modified: None,
        by: call.user(),
        body,
    };
    let event = package.event(call.now);
    if !package.is_versioned() {
        world.tags.create(&arn, input);
    }
    world.registry.packages.insert(arn.clone(), package);
    automatic::package_made(world, &arn, call.now);
    if let Some(token) = text(input, "ClientToken") {
        world
            .registry
            .tokens
            .insert(token.to_owned(), (input.clone(), arn.clone()));
    }
    world.emit(event);
    Ok(json!({"ModelPackageArn": arn}))
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let package = package(&mut world.registry, &required(input, "ModelPackageName"))?;
    Ok(Value::Object(package.describe(Moment::json)))
}

/// Sends an event for every update, also one that changes nothing, as AWS may: receivers must
/// compare states, not count events.
pub(crate) fn update(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let package = package(&mut world.registry, &required(input, "ModelPackageArn"))?;
    if text(input, "ModelApprovalStatus").is_some() && !package.is_versioned() {
        return Err(ApiError::validation(
            "ModelApprovalStatus can be updated for a versioned model package only.",
        ));
    }
    let mut metadata = match package.body.get("CustomerMetadataProperties") {
        Some(Value::Object(metadata)) => metadata.clone(),
        _ => Map::new(),
    };
    for key in list(input, "CustomerMetadataPropertiesToRemove")
        .iter()
        .filter_map(Value::as_str)
    {
        metadata.remove(key);
    }
    if let Some(Value::Object(added)) = input.get("CustomerMetadataProperties") {
        metadata.extend(added.clone());
    }
    if metadata.len() > MOST_METADATA {
        return Err(ApiError::validation(format!(
            "A model package can't have more than {MOST_METADATA} customer metadata properties."
        )));
    }
    if metadata.is_empty() {
        package.body.remove("CustomerMetadataProperties");
    } else {
        package
            .body
            .insert("CustomerMetadataProperties".into(), Value::Object(metadata));
    }
    package.body.extend(pick(
        input,
        &[
            "ModelApprovalStatus",
            "ApprovalDescription",
            "ModelPackageRegistrationType",
            "InferenceSpecification",
            "SourceUri",
            "ModelCard",
            "ModelLifeCycle",
        ],
    ));
    package.modified = Some((call.now, call.user()));
    let arn = package.arn.clone();
    let event = package.event(call.now);
    world.emit(event);
    Ok(json!({"ModelPackageArn": arn}))
}

pub(crate) fn list_packages(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let wanted_group = text(input, "ModelPackageGroupName")
        .map(|group| arn::name_of("model-package-group", group).to_owned());
    if let Some(group_name) = &wanted_group {
        group(&mut world.registry, group_name)?;
    }
    let kind = text(input, "ModelPackageType").unwrap_or(if wanted_group.is_some() {
        "Versioned"
    } else {
        "Unversioned"
    });
    let rows = world.registry.packages.values().filter(|package| {
        let group = package.version.as_ref().map(|(group, _)| group);
        wanted_group
            .as_ref()
            .is_none_or(|wanted| group == Some(wanted))
            && (kind == "Both" || (kind == "Versioned") == package.is_versioned())
            && text(input, "ModelApprovalStatus")
                .is_none_or(|status| package.approval() == Some(status))
    });
    // Versions of one moment keep their order: 10 comes after 9.
    let mut rows: Vec<(u32, Row)> = rows
        .map(|package| {
            (
                package.version.as_ref().map_or(0, |(_, number)| *number),
                package.row(),
            )
        })
        .collect();
    rows.sort_by_key(|(version, _)| *version);
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    page::answer(input, "ModelPackageSummaryList", rows, Order::Ascending)
}

pub(crate) fn delete(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let arn = package(&mut world.registry, &required(input, "ModelPackageName"))?
        .arn
        .clone();
    world.registry.packages.remove(&arn);
    world.tags.remove(&arn);
    Ok(json!({}))
}

fn group<'a>(registry: &'a mut Registry, given: &str) -> Result<&'a mut Group, ApiError> {
    let name = arn::name_of("model-package-group", given);
    registry.groups.get_mut(name).ok_or_else(|| {
        let arn = arn::sagemaker("model-package-group", name);
        ApiError::validation(format!("ModelPackageGroup {arn} does not exist."))
    })
}

fn package<'a>(registry: &'a mut Registry, given: &str) -> Result<&'a mut Package, ApiError> {
    let arn = package_arn(given);
    registry
        .packages
        .get_mut(&arn)
        .ok_or_else(|| ApiError::validation(format!("ModelPackage {arn} does not exist.")))
}

fn package_arn(given: &str) -> String {
    arn::sagemaker("model-package", arn::name_of("model-package", given))
}

/// AWS resolves each image to its digest; here the digest is made from the image's name, so that
/// it is there and stays the same.
fn add_digests(body: &mut Map<String, Value>) {
    let containers = body
        .get_mut("InferenceSpecification")
        .and_then(|spec| spec.get_mut("Containers"))
        .and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        let Some(digest) = text(container, "Image").map(image_digest) else {
            continue;
        };
        if let Some(object) = container.as_object_mut() {
            object.entry("ImageDigest").or_insert(json!(digest));
        }
    }
}

/// `sha256:` and 64 digits that depend on the image's name alone.
pub(crate) fn image_digest(image: &str) -> String {
    let part = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, image).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    format!("sha256:{}", (0..4).map(part).collect::<String>())
}
