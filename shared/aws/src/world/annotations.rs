//! What is written into a package beside its approval: metadata that is not there yet, and how far the
//! version is.
//!
//! Sources: `UpdateModelPackage` and `ModelLifeCycle` in the SageMaker API reference. Each update is an
//! event and names its caller as the last who changed the package, so one that changes nothing is not
//! sent.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::ModelLifeCycle;
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
        let room = MOST_PAIRS.saturating_sub(there.len());
        let new: BTreeMap<String, String> = allowed_pairs(&wanted.metadata)
            .filter(|(key, _)| !there.contains_key(key))
            .take(room)
            .collect();
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
