//! A version of a group with all that is known of where it comes from and where it went.

use serde::Serialize;
use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate_core::candidate::of_package;
use tidegate_core::gate::Metrics;
use tidegate_core::head::Champion;
use tidegate_core::ledger::Ledger as _;
use tidegate_core::name::{GroupName, JobName, PackageVersion};
use tidegate_core::origin::{
    APPROVER_KEY, DATA_KEY, DATA_VERSION_KEY, FINDING_KEY, KMS_KEY, PARENT_KEY,
};
use tidegate_core::rollout::Rollout;
use tidegate_core::world::{Answer, Package, Question, TrainingJob, World as _, WorldError};

use crate::connect::Connection;
use crate::error::{Exit, Problem, short};
use crate::status::phase_word;

/// How many finished rollouts of a group are looked at, the newest; the ledger gives no more.
const MOST_ROLLOUTS: u32 = 100;

/// A version as it is named on the command line: `fraud-detection/12`, `fraud/v12`, an ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// A model package group or its pipeline.
    pub(crate) group: String,
    pub(crate) version: PackageVersion,
}

impl Named {
    /// Reads one; says what it may look like if it isn't one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let name = match text.split_once(":model-package/") {
            Some((arn, name)) if arn.starts_with("arn:") => name,
            _ => text,
        };
        let read = name.rsplit_once('/').and_then(|(group, version)| {
            let version = number(version)?;
            (!group.is_empty() && !group.contains('/')).then(|| Self {
                group: group.to_owned(),
                version,
            })
        });
        read.ok_or_else(|| {
            "a version is like fraud-detection/12: a model package group or pipeline, and a number \
             from 1"
                .to_owned()
        })
    }
}

/// `12` or `v12`.
fn number(text: &str) -> Option<PackageVersion> {
    let n: u32 = text.strip_prefix('v').unwrap_or(text).parse().ok()?;
    (n > 0).then_some(PackageVersion(n))
}

/// A version and its origin.
#[derive(Debug, Clone, Serialize)]
#[allow(clippy::struct_field_names)]
pub(crate) struct Version {
    pub(crate) group: GroupName,
    pub(crate) version: PackageVersion,
    pub(crate) package: String,
    pub(crate) created: Timestamp,
    pub(crate) approval: Approval,
    /// `Stage/Status` of its `ModelLifeCycle`.
    pub(crate) life_cycle: Option<String>,
    pub(crate) metrics: Metrics,
    pub(crate) model: Model,
    pub(crate) code: Code,
    pub(crate) training: Option<Training>,
    /// The version that it was retrained from.
    pub(crate) parent: Option<PackageVersion>,
    /// The finding that led to that.
    pub(crate) finding: Option<String>,
    pub(crate) rollouts: Vec<Went>,
}

/// Whether it may serve, by whom, since when and why.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Approval {
    pub(crate) status: tidegate_core::event::Approval,
    pub(crate) by: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) why: Option<String>,
}

/// What serves.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Model {
    pub(crate) artifacts: Vec<String>,
    pub(crate) etag: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) image_digest: Option<String>,
    /// The key that the artifact is encrypted with.
    pub(crate) kms_key: Option<String>,
}

/// What it was trained from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Code {
    pub(crate) commit: Option<String>,
    pub(crate) repository: Option<String>,
}

/// The training job.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Training {
    pub(crate) job: String,
    pub(crate) arn: Option<String>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) role: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) hyperparameters: BTreeMap<String, String>,
    pub(crate) data: BTreeMap<String, Data>,
    /// Whether `SageMaker` still knows the job.
    pub(crate) is_known: bool,
}

/// A channel's data as it was when the model was gated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Data {
    pub(crate) uri: String,
    /// Changes whenever an object does; none if it was not recorded.
    pub(crate) version: Option<String>,
}

/// A rollout of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Went {
    pub(crate) rollout: String,
    pub(crate) stage: String,
    pub(crate) endpoint: String,
    pub(crate) phase: String,
    pub(crate) started: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    /// Whether it serves there now.
    pub(crate) serves: bool,
}

impl Version {
    /// Asks `SageMaker` and the ledger.
    pub(crate) async fn find(connection: &Connection, named: &Named) -> Result<Self, Problem> {
        let (group, snapshot) = connection.find(&named.group).await?;
        let Some(package) = connection
            .world()
            .package_of(&group, named.version)
            .await
            .map_err(|error| refused(&error))?
        else {
            return Err(Problem::new(
                Exit::No,
                format!("the group {group} has no {}", named.version),
            )
            .help(format!(
                "aws sagemaker list-model-packages --model-package-group-name {group} lists them"
            )));
        };
        let job = match job_name(&package) {
            Some(name) => described(connection, &name).await?,
            None => None,
        };
        let finished = connection
            .ledger()
            .rollouts(&group, MOST_ROLLOUTS)
            .await
            .map_err(connection.failed())?;
        let running = snapshot.head.rollouts.values();
        let champions = &snapshot.head.champions;
        let mut of_it: Vec<&Rollout> = finished
            .iter()
            .chain(running)
            .filter(|rollout| rollout.candidate.version == named.version)
            .collect();
        of_it.sort_by_key(|rollout| rollout.started);
        let package = approved_as(package, of_it.last().copied());
        let went = |rollout: &&Rollout| {
            let champion = champions.get(&rollout.stage);
            Went::of(rollout, champion.is_some_and(|c| serves(c, rollout)))
        };
        let rollouts = of_it.iter().map(went).collect();
        Ok(Self::of(group, package, job.as_ref(), rollouts))
    }

    fn of(
        group: GroupName,
        package: Package,
        job: Option<&TrainingJob>,
        rollouts: Vec<Went>,
    ) -> Self {
        let candidate = of_package(&package);
        let metadata = &package.metadata;
        let kept = |key: &str| metadata.get(key).cloned();
        let training = job_name(&package).map(|name| Training {
            job: name,
            arn: job
                .map(|job| job.arn.clone())
                .or_else(|| package.origin.job.clone()),
            ended: job.and_then(|job| job.ended),
            role: job
                .map(|job| job.role.clone())
                .filter(|role| !role.is_empty()),
            image: job.and_then(|job| job.image.clone()),
            hyperparameters: job
                .map(|job| job.hyperparameters.clone())
                .unwrap_or_default(),
            data: data(metadata, job),
            is_known: job.is_some(),
        });
        Self {
            version: package.version,
            created: package.created,
            approval: Approval {
                status: package.approval,
                by: package.modified_by.clone(),
                at: package.modified,
                why: package.approval_description.clone(),
            },
            life_cycle: package.origin.life_cycle.clone(),
            metrics: candidate.metrics,
            model: Model {
                artifacts: package.artifacts.clone(),
                etag: package.origin.artifact_etag.clone(),
                image: package.image.clone(),
                image_digest: package.origin.image_digest.clone(),
                kms_key: kept(KMS_KEY).or_else(|| package.origin.kms_key.clone()),
            },
            code: Code {
                commit: package.origin.commit.clone(),
                repository: package.origin.repository.clone(),
            },
            training,
            parent: metadata
                .get(PARENT_KEY)
                .and_then(|parent| number(parent.rsplit('/').next().unwrap_or(parent))),
            finding: kept(FINDING_KEY),
            rollouts,
            package: package.arn,
            group,
        }
    }

    /// `fraud-detection v12`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.group, self.version)
    }
}

/// The package with who approved it, as its metadata or a rollout say, since who changed it last may
/// be Tidegate.
fn approved_as(package: Package, newest: Option<&Rollout>) -> Package {
    if package.approval != tidegate_core::event::Approval::Approved {
        return package;
    }
    let candidate = newest.map(|rollout| &rollout.candidate);
    let said = package.metadata.get(APPROVER_KEY).cloned();
    let has_moved = said.is_some() || package.origin.life_cycle.is_some();
    let known = candidate.filter(|_| has_moved);
    let rolled_out = known.and_then(|candidate| candidate.approved_by.clone());
    Package {
        modified: known.map_or(package.modified, |candidate| candidate.approved_at),
        modified_by: rolled_out.or(said).or_else(|| package.modified_by.clone()),
        ..package
    }
}

impl Went {
    fn of(rollout: &Rollout, serves: bool) -> Self {
        Self {
            rollout: rollout.id.to_string(),
            stage: rollout.stage.to_string(),
            endpoint: rollout.endpoint.to_string(),
            phase: phase_word(&rollout.phase),
            started: rollout.started,
            ended: rollout.ended,
            serves,
        }
    }
}

/// Whether an endpoint still serves by what a rollout left; an older rollout of the same version
/// left another config.
fn serves(champion: &Champion, rollout: &Rollout) -> bool {
    champion.candidate.version == rollout.candidate.version
        && champion.config == rollout.served_config()
}

/// The training job's name, by the package's own account.
fn job_name(package: &Package) -> Option<String> {
    let of_arn = || {
        let (_, name) = package.origin.job.as_ref()?.split_once(":training-job/")?;
        Some(name.to_owned())
    };
    of_package(package).job.or_else(of_arn)
}

async fn described(connection: &Connection, name: &str) -> Result<Option<TrainingJob>, Problem> {
    let Ok(name) = JobName::parse(name) else {
        return Ok(None);
    };
    match connection.world().ask(&Question::TrainingJob(name)).await {
        Ok(Answer::TrainingJob(job)) => Ok(Some(*job)),
        Ok(_) => Ok(None),
        Err(error) => Err(refused(&error)),
    }
}

/// What was recorded of the data, else where the job says it was.
fn data(metadata: &BTreeMap<String, String>, job: Option<&TrainingJob>) -> BTreeMap<String, Data> {
    let of_job = job.map(|job| job.inputs.clone()).unwrap_or_default();
    let recorded = metadata
        .iter()
        .filter_map(|(key, uri)| Some((key.strip_prefix(DATA_KEY)?.to_owned(), uri.clone())));
    let version = |channel: &str| {
        metadata
            .get(&format!("{DATA_VERSION_KEY}{channel}"))
            .cloned()
    };
    recorded
        // The job's own words come last: metadata has no room for every character of a URI.
        .chain(of_job)
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .map(|(channel, uri)| {
            let version = version(&channel);
            (channel, Data { uri, version })
        })
        .collect()
}

fn refused(error: &WorldError) -> Problem {
    let problem =
        Problem::new(Exit::Aws, "SageMaker does not answer").why(short(&error.to_string()));
    if error.is_passing() {
        problem.help("try again")
    } else {
        problem.help(
            "your role needs sagemaker:DescribeModelPackage, DescribeModelPackageGroup, \
             DescribeTrainingJob and ListTags: the stack's OperatorPolicy has them",
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_version_is_named_in_several_ways() {
        let wanted = Named {
            group: "fraud-detection".to_owned(),
            version: PackageVersion(12),
        };
        for text in [
            "fraud-detection/12",
            "fraud-detection/v12",
            "arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud-detection/12",
        ] {
            assert_eq!(Named::parse(text).unwrap(), wanted, "{text}");
        }
        for text in [
            "", "12", "fraud", "fraud/", "/12", "fraud/0", "fraud/-1", "a/b/12", "fraud/v",
        ] {
            let complaint = Named::parse(text).unwrap_err();
            assert!(
                complaint.contains("fraud-detection/12"),
                "{text}: {complaint}"
            );
        }
    }

    #[test]
    fn a_version_serves_by_the_config_that_its_rollout_left_also_if_it_is_the_first() {
        let at: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
        let canary = crate::rollout::sample::done(at);
        let mut first = canary.clone();
        first.incumbent = None;
        for rollout in [canary, first] {
            let mut champion = Champion {
                candidate: rollout.candidate.clone(),
                since: at,
                config: rollout.served_config().to_owned(),
                variant: rollout.final_variant.clone(),
                model: rollout.model.clone(),
                previous: None,
            };
            assert!(serves(&champion, &rollout), "{}", champion.config);
            champion.config = "another".to_owned();
            assert!(!serves(&champion, &rollout));
        }
    }

    #[test]
    fn who_approved_is_known_where_tidegate_changed_the_package_since() {
        let at: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
        let mut rollout = crate::rollout::sample::done(at);
        rollout.candidate.approved_by = Some("ada".to_owned());
        let package = |life_cycle: Option<&str>| Package {
            arn: rollout.candidate.package.clone(),
            group: GroupName::parse("fraud").unwrap(),
            version: rollout.candidate.version,
            approval: tidegate_core::event::Approval::Approved,
            usable: true,
            failure: None,
            approval_description: None,
            created: at,
            modified: at,
            modified_by: Some("tidegate".to_owned()),
            image: None,
            artifacts: Vec::new(),
            metadata: BTreeMap::new(),
            drift_baselines: BTreeMap::new(),
            origin: tidegate_core::origin::Origin {
                life_cycle: life_cycle.map(str::to_owned),
                ..tidegate_core::origin::Origin::default()
            },
        };
        let by = |package, newest| approved_as(package, newest).modified_by.unwrap();
        assert_eq!(
            by(package(Some("production/Serving")), Some(&rollout)),
            "ada"
        );
        assert_eq!(by(package(Some("QA/OnHold")), None), "tidegate");
        assert_eq!(by(package(None), Some(&rollout)), "tidegate");
        let said = |by: &str| Package {
            metadata: [(APPROVER_KEY.to_owned(), by.to_owned())].into(),
            ..package(None)
        };
        assert_eq!(by(said("grace"), None), "grace");
        assert_eq!(
            by(said("grace"), Some(&rollout)),
            "ada",
            "the ledger goes first"
        );
    }
}
