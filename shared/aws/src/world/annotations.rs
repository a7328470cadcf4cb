//! What is written into a package beside its approval: metadata that is not there yet, and how far the
//! version is.
//!
//! Sources: `UpdateModelPackage` and `ModelLifeCycle` in the SageMaker API reference. Each update is an
//! event and names its caller as the last who changed the package, so one that changes nothing is not
//! sent.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sagemaker::types::{ModelApprovalStatus, ModelLifeCycle};
use tidegate_core::origin::APPROVER_KEY;
use tidegate_core::world::{Annotation, LifeCycle, Outcome, WorldError};

use super::AwsWorld;
use super::packages::{MOST_PAIRS, allowed_pairs, line, some_map};
use crate::error::failed;

const CALL: &str = "UpdateModelPackage";
/// What the description of a life cycle begins with that Tidegate set.
const OURS: &str = "Tidegate: ";
/// `StageDescription`.
const LONGEST_TEXT: usize = 1_024;

impl AwsWorld {
    pub(super) async fn annotate(&self, wanted: &Annotation) -> Result<Outcome, WorldError> {
        let describe = self.clients.sagemaker.describe_model_package();
        let asked = describe.model_package_name(&wanted.arn).send().await;
        let found = asked.map_err(failed("DescribeModelPackage"))?;
        let there = found.customer_metadata_properties.unwrap_or_default();
        let is_approved = found.model_approval_status == Some(ModelApprovalStatus::Approved);
        let new = pairs(wanted, is_approved, &there);
        let now = found.model_life_cycle.as_ref();
        let wanted_cycle = wanted.life_cycle.as_ref();
        let cycle = wanted_cycle.filter(|wanted| is_ours(now) && !is_so(now, wanted));
        if new.is_empty() && cycle.is_none() {
            return Ok(Outcome::Done);
        }
        let update = self.clients.sagemaker.update_model_package();
        update
            .model_package_arn(&wanted.arn)
            .set_customer_metadata_properties(some_map(&new))
            .set_model_life_cycle(cycle.map(aws_life_cycle))
            .send()
            .await
            .map_err(failed(CALL))?;
        Ok(Outcome::Done)
    }
}

/// The pairs to write: who approved the package, and what is not there yet, as far as there is room.
fn pairs(
    wanted: &Annotation,
    is_approved: bool,
    there: &HashMap<String, String>,
) -> BTreeMap<String, String> {
    let approver = wanted.approved_by.iter().filter(|_| is_approved);
    let approver = approver.map(|by| (APPROVER_KEY.to_owned(), by.clone()));
    let approver: BTreeMap<String, String> = approver.collect();
    let all = allowed_pairs(&approver).chain(allowed_pairs(&wanted.metadata));
    let (known, mut new): (Vec<_>, Vec<_>) = all.partition(|(key, _)| there.contains_key(key));
    new.truncate(MOST_PAIRS.saturating_sub(there.len()));
    let is_newer = |(key, by): &(String, String)| key == APPROVER_KEY && there.get(key) != Some(by);
    known.into_iter().filter(is_newer).chain(new).collect()
}

/// The life cycle as the SDK takes it.
pub(super) fn aws_life_cycle(life_cycle: &LifeCycle) -> ModelLifeCycle {
    ModelLifeCycle::builder()
        .stage(&life_cycle.stage)
        .stage_status(&life_cycle.status)
        .stage_description(line(&format!("{OURS}{}", life_cycle.why), LONGEST_TEXT))
        .build()
}

/// Whether nobody but Tidegate said how far the version is.
fn is_ours(now: Option<&ModelLifeCycle>) -> bool {
    now.is_none_or(|now| now.stage_description().is_some_and(|d| d.starts_with(OURS)))
}

fn is_so(now: Option<&ModelLifeCycle>, wanted: &LifeCycle) -> bool {
    now.is_some_and(|now| {
        now.stage() == Some(wanted.stage.as_str())
            && now.stage_status() == Some(wanted.status.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_approver_stays_and_other_pairs_are_theirs() {
        let of = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            let owned = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            owned.collect()
        };
        let wanted = Annotation {
            arn: String::new(),
            metadata: of(&[("tidegate:parent", "v2")]).into_iter().collect(),
            life_cycle: None,
            approved_by: Some("arn:aws:iam::123456789012:user/ada grace,".to_owned()),
        };
        let written = |is_approved, there: &[(&str, &str)]| {
            let written = pairs(&wanted, is_approved, &of(there));
            written.into_values().collect::<Vec<_>>().join(", ")
        };
        let people = "arn:aws:iam::123456789012:user/ada grace-";
        assert_eq!(written(true, &[]), format!("{people}, v2"));
        assert_eq!(written(false, &[]), "v2", "it is not Approved any more");
        let there = [(APPROVER_KEY, "bob"), ("tidegate:parent", "v1")];
        assert_eq!(written(true, &there), people);
        assert_eq!(written(true, &[(APPROVER_KEY, people)]), "v2");
        let full: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
        let full: Vec<(&str, &str)> = full.iter().map(|k| (k.as_str(), "")).collect();
        assert_eq!(written(true, &full), "");
        let mut full = full;
        full[0] = (APPROVER_KEY, "bob");
        assert_eq!(written(true, &full), people);
    }

    #[test]
    fn a_life_cycle_that_somebody_else_set_is_theirs() {
        let wanted = LifeCycle {
            stage: "production".to_owned(),
            status: "Serving".to_owned(),
            why: "v3 serves\nfraud-prod".to_owned(),
        };
        let ours = aws_life_cycle(&wanted);
        assert_eq!(
            ours.stage_description(),
            Some("Tidegate: v3 serves fraud-prod")
        );
        assert!(is_ours(None) && is_ours(Some(&ours)));
        assert!(is_so(Some(&ours), &wanted) && !is_so(None, &wanted));
        let theirs = ModelLifeCycle::builder().stage("QA").stage_status("OnHold");
        assert!(!is_ours(Some(&theirs.clone().build())));
        let said = theirs.stage_description("checked by hand").build();
        assert!(!is_ours(Some(&said)));
    }
}
