//! Training jobs, packages, models and configs.

use std::collections::BTreeMap;

use tidegate_core::event::{Approval, EndpointStatus, JobStatus};
use tidegate_core::name::{GroupName, JobName, PackageVersion};
use tidegate_core::origin::{APPROVER_KEY, Origin};
use tidegate_core::world::{
    Annotation, Answer, ConfigSpec, ModelSpec, Outcome, Package, PackageSpec, TIDEGATE,
    TrainingJob, WorldError, WorldErrorKind,
};

use super::{By, Town, time_of};
use crate::aws::{Place, Registered};
use crate::fault::Fault;
use crate::invariant::Invariant;
use crate::story::Fate;

/// How long a list may lack the newest, milliseconds.
const STALE: i64 = 5_000;

pub(crate) fn refusal(kind: WorldErrorKind, call: &str, why: impl Into<String>) -> WorldError {
    WorldError {
        kind,
        call: call.to_owned(),
        message: why.into(),
    }
}

impl Town {
    /// A training job ended.
    pub(super) fn train(&mut self, plan: usize, n: u32, auc: u32, fate: Fate) {
        let text = self.plan(plan).job(n);
        let Ok(name) = JobName::parse(&text) else {
            return;
        };
        let artifact = format!("s3://models/{text}/output/model.tar.gz");
        self.aws.fates.insert(artifact.clone(), fate);
        let by_prefix = self.plan(plan).by_prefix;
        let mut tags = BTreeMap::from([("team".to_owned(), "risk".to_owned())]);
        if !by_prefix {
            tags.insert("tidegate:pipeline".to_owned(), self.plan(plan).name());
        }
        let created = time_of(self.now - super::HOUR);
        let job = TrainingJob {
            arn: format!("arn:aws:sagemaker:eu-west-1:123456789012:training-job/{text}"),
            name: name.clone(),
            status: JobStatus::Completed,
            failure: None,
            tags: tags.clone(),
            created,
            ended: Some(self.time()),
            metrics: BTreeMap::from([("validation:auc".to_owned(), f64::from(auc) / 1_000.0)]),
            artifact: Some(artifact),
            output: "s3://models".to_owned(),
            image: Some("1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1".to_owned()),
            hyperparameters: BTreeMap::new(),
            role: "arn:aws:iam::123456789012:role/model".to_owned(),
            vpc: None,
            network_isolation: false,
            inputs: BTreeMap::new(),
            kms_key: None,
            tuning: None,
        };
        self.say(|| format!("== {text} ends: auc 0.{auc}, its model is {fate:?}"));
        self.aws.jobs.insert(name, job);
        self.post_training(&text, &tags);
    }

    /// `DescribeModelPackage` and `ListModelPackages` by artifact.
    pub(crate) fn packages_of(&mut self, artifact: &str, key: u64) -> Answer {
        let newest = self
            .aws
            .packages
            .values()
            .filter(|p| p.package.artifacts.iter().any(|a| a == artifact))
            .map(|p| p.created)
            .max();
        // A list is consistent in the end.
        let is_new = newest.is_some_and(|at| self.now - at < STALE);
        let lacks_new = is_new && self.strikes(Fault::Stale, key);
        let now = self.now;
        Answer::Packages(
            self.aws
                .packages
                .values()
                .filter(|p| p.package.artifacts.iter().any(|a| a == artifact))
                .filter(|p| !lacks_new || now - p.created >= STALE)
                .map(|p| p.package.clone())
                .collect(),
        )
    }

    /// `CreateModelPackage`: the same token makes one.
    pub(crate) fn register(&mut self, spec: &PackageSpec) -> Outcome {
        if let Some(arn) = self.aws.tokens.get(&spec.token) {
            let version = self.aws.packages[arn].package.version;
            let arn = arn.clone();
            return Outcome::Registered { arn, version };
        }
        self.is_explained(&spec.group, "CreateModelPackage", &[spec.job.as_str()]);
        let auc = self
            .aws
            .jobs
            .get(&spec.job)
            .and_then(|j| j.metrics.get("validation:auc").copied())
            .unwrap_or_default();
        self.hold(
            Invariant::GateHolds,
            auc >= 0.9 || spec.approval == Approval::Rejected,
            || {
                format!(
                    "{} has auc {auc} and was registered as {:?}",
                    spec.job, spec.approval
                )
            },
        );
        let doubled = self
            .aws
            .packages
            .values()
            .find(|p| p.package.artifacts.contains(&spec.artifact));
        let doubled = doubled.map(|p| p.package.version.to_string());
        self.hold(Invariant::OnePackagePerJob, doubled.is_none(), || {
            format!("{} has the package {doubled:?} already", spec.job)
        });
        let group = spec.group.as_str().to_owned();
        let n = self.aws.versions.entry(group.clone()).or_default();
        *n += 1;
        let version = PackageVersion(*n);
        let arn = format!("arn:aws:sagemaker:eu-west-1:123456789012:model-package/{group}/{n}");
        let now = self.time();
        let package = Package {
            arn: arn.clone(),
            group: spec.group.clone(),
            version,
            approval: spec.approval,
            usable: true,
            failure: None,
            approval_description: None,
            created: now,
            modified: now,
            modified_by: None,
            image: Some(spec.image.clone()),
            artifacts: vec![spec.artifact.clone()],
            metadata: spec.metadata.clone(),
            origin: Origin::default(),
            drift_baselines: BTreeMap::new(),
        };
        self.say(|| {
            format!(
                "   {group} {version} is made of {}: {:?}",
                spec.job, spec.approval
            )
        });
        let created = self.now;
        self.package_was(&arn);
        self.is_made(&arn);
        self.aws.packages.insert(
            arn.clone(),
            Registered {
                package,
                approved_until: None,
                created,
            },
        );
        self.aws.tokens.insert(spec.token.clone(), arn.clone());
        self.post_package(&arn);
        Outcome::Registered { arn, version }
    }

    /// `UpdateModelPackage`.
    pub(crate) fn set_approval(
        &mut self,
        by: By,
        arn: &str,
        approval: Approval,
        why: Option<&str>,
    ) -> Result<(), WorldError> {
        if by == By::Us
            && let Some(group) = self.aws.packages.get(arn).map(|p| p.package.group.clone())
        {
            let words = format!("{approval:?}");
            self.is_explained(&group, "UpdateModelPackage", &[arn, &words]);
        }
        let now = self.now;
        self.package_was(arn);
        let Some(found) = self.aws.packages.get_mut(arn) else {
            return Err(refusal(
                WorldErrorKind::Gone,
                "UpdateModelPackage",
                format!("ModelPackage {arn} does not exist."),
            ));
        };
        let package = &mut found.package;
        if package.approval == Approval::Approved && approval != Approval::Approved {
            found.approved_until = Some(now);
        } else if approval == Approval::Approved {
            found.approved_until = None;
        }
        package.approval = approval;
        package.approval_description = why.map(str::to_owned);
        package.modified = time_of(now);
        let who = if by == By::People { "ada" } else { TIDEGATE };
        package.modified_by = Some(who.to_owned());
        let line = format!(
            "{} {} is {approval:?} by {by:?}",
            package.group, package.version
        );
        self.say(|| format!("   {line}"));
        self.post_package(arn);
        Ok(())
    }

    /// `UpdateModelPackage` of what is no approval.
    pub(crate) fn annotate(&mut self, wanted: &Annotation) -> Result<(), WorldError> {
        let now = self.now;
        self.package_was(&wanted.arn);
        let Some(found) = self.aws.packages.get_mut(&wanted.arn) else {
            let why = format!("ModelPackage {} does not exist.", wanted.arn);
            return Err(refusal(WorldErrorKind::Gone, "UpdateModelPackage", why));
        };
        let package = &mut found.package;
        let before = package.metadata.clone();
        package.metadata.extend(wanted.metadata.clone());
        let is_approved = package.approval == Approval::Approved;
        let by = wanted.approved_by.clone().filter(|_| is_approved);
        package
            .metadata
            .extend(by.map(|by| (APPROVER_KEY.to_owned(), by)));
        // What changes nothing is not sent.
        if package.metadata != before {
            package.modified = time_of(now);
            package.modified_by = Some(TIDEGATE.to_owned());
            self.post_package(&wanted.arn);
        }
        Ok(())
    }

    /// The package of a plan's training job.
    pub(crate) fn package_of_job(&self, plan: usize, job: u32) -> Option<String> {
        let artifact = format!(
            "s3://models/{}/output/model.tar.gz",
            self.plan(plan).job(job)
        );
        let mut all = self.aws.packages.values();
        all.find(|p| p.package.artifacts.contains(&artifact))
            .map(|p| p.package.arn.clone())
    }

    /// `CreateModel`.
    pub(crate) fn create_model(&mut self, spec: &ModelSpec) -> Result<(), WorldError> {
        let call = "CreateModel";
        if let Some(there) = self.aws.models.get(&spec.name) {
            let is_same = there.as_deref() == Some(spec.package.as_str());
            return if is_same {
                Ok(())
            } else {
                let why = format!("a model {} is there already", spec.name);
                Err(refusal(WorldErrorKind::Refused, call, why))
            };
        }
        if !self.aws.packages.contains_key(&spec.package) {
            let why = format!("ModelPackage {} does not exist.", spec.package);
            return Err(refusal(WorldErrorKind::Gone, call, why));
        }
        if let Some(like) = spec
            .like
            .as_ref()
            .filter(|l| !self.aws.models.contains_key(*l))
        {
            let why = format!("Could not find model \"{like}\".");
            return Err(refusal(WorldErrorKind::Gone, call, why));
        }
        self.note_orphan(&spec.name);
        self.is_made(&spec.name);
        self.is_thing_explained("CreateModel ", &[&spec.name]);
        self.copy_model_settings(spec);
        let package = Some(spec.package.clone());
        self.aws.models.insert(spec.name.clone(), package.clone());
        self.aws.made_from.insert(spec.name.clone(), package);
        Ok(())
    }

    /// `CreateEndpointConfig`.
    pub(crate) fn create_config(&mut self, spec: &ConfigSpec) -> Result<(), WorldError> {
        let call = "CreateEndpointConfig";
        if let Some(there) = self.aws.configs.get(&spec.name) {
            return if there.variants == spec.variants {
                Ok(())
            } else {
                let why = format!("{} is there already and has other variants", spec.name);
                Err(refusal(WorldErrorKind::Refused, call, why))
            };
        }
        if let Some(like) = spec
            .like
            .as_ref()
            .filter(|l| !self.aws.configs.contains_key(*l))
        {
            let why = format!("the config {like} was deleted");
            return Err(refusal(WorldErrorKind::Gone, call, why));
        }
        let mut models = spec.variants.iter().map(|v| &v.model);
        if let Some(absent) = models.find(|m| !self.aws.models.contains_key(*m)) {
            let why = format!("Could not find model \"{absent}\".");
            return Err(refusal(WorldErrorKind::Gone, call, why));
        }
        self.note_orphan(&spec.name);
        self.is_made(&spec.name);
        self.is_thing_explained("CreateEndpointConfig ", &[&spec.name]);
        self.copy_settings(spec);
        self.aws.configs.insert(spec.name.clone(), spec.clone());
        self.aws.shelf.insert(spec.name.clone(), spec.clone());
        Ok(())
    }

    /// A function that began before a rollout ended may make a thing after another took it away.
    fn note_orphan(&mut self, name: &str) {
        let partition = self.books.groups.get(&self.group(self.plan_of(name)));
        let is_over = partition.is_some_and(|p| {
            p.finished.values().any(|r| {
                r.model == name
                    || r.config == name
                    || r.final_config == name
                    || r.back_config() == name
            })
        });
        if is_over {
            self.say(|| format!("!! {name} is made for a rollout that is over"));
            self.aws.orphans.insert(name.to_owned());
        }
    }

    /// `DeleteEndpointConfig`, by Tidegate.
    pub(crate) fn delete_config(&mut self, name: &str) {
        let user = self.user_of(|config| config == name, |_| false);
        self.hold(Invariant::NothingInUseDeleted, user.is_none(), || {
            format!("the config {name} was deleted while {user:?} serves by it")
        });
        if self.aws.configs.remove(name).is_some() {
            self.is_thing_explained("DeleteEndpointConfig ", &[name]);
        }
    }

    /// `DeleteModel`, by Tidegate.
    pub(crate) fn delete_model(&mut self, name: &str) {
        let user = self.user_of(|_| false, |model| model == name);
        self.hold(Invariant::NothingInUseDeleted, user.is_none(), || {
            format!("the model {name} was deleted while {user:?} serves it")
        });
        if self.aws.models.remove(name).is_some() {
            self.is_thing_explained("DeleteModel ", &[name]);
        }
    }

    /// The endpoint that serves by, or is on its way to, such a config or model.
    fn user_of(
        &self,
        is_config: impl Fn(&str) -> bool,
        is_model: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let uses = |config: &str| {
            is_config(config)
                || self
                    .aws
                    .shelf
                    .get(config)
                    .is_some_and(|c| c.variants.iter().any(|v| is_model(&v.model)))
        };
        // What is being deleted serves nobody.
        let is_there = |p: &&Place| p.is.status != EndpointStatus::Deleting;
        let mut all = self.aws.endpoints.values().filter(is_there);
        all.find(|p| uses(&p.is.config) || p.is.pending_config.as_deref().is_some_and(&uses))
            .map(|p| p.is.name.to_string())
    }

    /// The group of a plan.
    pub(crate) fn group(&self, plan: usize) -> GroupName {
        GroupName::parse(&self.plan(plan).group()).expect("a plan's group is a name")
    }
}
