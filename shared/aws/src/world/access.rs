//! Whether a role may read an artifact, as IAM's policy simulator says of the role's own policies.
//!
//! Sources: `SimulatePrincipalPolicy` in the IAM API reference (it takes no bucket's policy for a
//! role), `GetBucketPolicy` in the S3 API reference. One resource a call: then what is said of all
//! resources is said of this one. The bucket's policy is read only where that decides something, and
//! only of a bucket of the role's account, which S3 checks (`ExpectedBucketOwner`).

use aws_sdk_iam::types::{EvaluationResult, PolicyEvaluationDecisionType, ResourceSpecificResult};
use futures_util::future::try_join_all;
use serde_json::Value;
use tidegate_core::access::{Access, BucketPolicy, Simulated, Simulation};
use tidegate_core::principal::{account_of, partition_of};
use tidegate_core::world::{Answer, WorldError};

use super::AwsWorld;
use super::objects::split;
use crate::error::{Failure, failed, refused};

const SIMULATE: &str = "SimulatePrincipalPolicy";
const READ: &str = "s3:GetObject";
const DECRYPT: &str = "kms:Decrypt";

impl AwsWorld {
    /// What IAM says; nothing of a role that is not there.
    pub(super) async fn role_reads(
        &self,
        role: &str,
        uri: &str,
        kms_key: Option<&str>,
    ) -> Result<Answer, WorldError> {
        let Some((bucket, key)) = split(uri) else {
            return Err(refused(
                SIMULATE,
                format!("{uri} is not like s3://bucket/key"),
            ));
        };
        let object = format!("arn:{}:s3:::{bucket}/{key}", partition_of(role));
        let calls = [(READ, Some(object.as_str())), (DECRYPT, kms_key)];
        let calls = calls
            .into_iter()
            .filter_map(|(action, on)| Some(self.simulated(role, action, on?)));
        let simulated = match try_join_all(calls).await {
            Ok(simulated) => simulated,
            Err(failure) if failure.is_gone() => return Ok(Answer::Missing),
            Err(failure) => return Err(failure.into()),
        };
        let needs_bucket = simulated.iter().any(|call| {
            call.action == READ
                && call.decision == Simulation::ImplicitDeny
                && call.missing.is_empty()
        });
        let bucket = if needs_bucket {
            self.bucket_policy(bucket, account_of(role)).await?
        } else {
            BucketPolicy::NotAsked
        };
        Ok(Answer::RoleReads(Box::new(Access { simulated, bucket })))
    }

    async fn simulated(&self, role: &str, action: &str, on: &str) -> Result<Simulated, Failure> {
        let asked = self
            .clients
            .iam
            .simulate_principal_policy()
            .policy_source_arn(role)
            .action_names(action)
            .resource_arns(on)
            .send();
        let answer = asked.await.map_err(failed(SIMULATE))?;
        let result = answer.evaluation_results().first();
        // An answer that says nothing allows nothing, and is no reason to refuse anything.
        let missing = result.map_or_else(|| vec!["an answer of IAM".to_owned()], missing);
        let boundary = result.and_then(|r| r.permissions_boundary_decision_detail());
        let organization = result.and_then(|r| r.organizations_decision_detail());
        Ok(Simulated {
            action: action.to_owned(),
            on: on.to_owned(),
            decision: match result.map(EvaluationResult::eval_decision) {
                Some(PolicyEvaluationDecisionType::Allowed) => Simulation::Allowed,
                Some(PolicyEvaluationDecisionType::ExplicitDeny) => Simulation::ExplicitDeny,
                _ => Simulation::ImplicitDeny,
            },
            missing,
            boundary: boundary.is_some_and(|b| !b.allowed_by_permissions_boundary()),
            organization: organization.is_some_and(|o| !o.allowed_by_organizations()),
        })
    }

    /// Whether the policy of a bucket may allow anybody anything.
    async fn bucket_policy(&self, bucket: &str, owner: &str) -> Result<BucketPolicy, WorldError> {
        let asked = self
            .clients
            .s3
            .get_bucket_policy()
            .bucket(bucket)
            .expected_bucket_owner(owner)
            .send();
        let failure = match asked.await.map_err(failed("GetBucketPolicy")) {
            Ok(answer) => return Ok(grants(answer.policy().unwrap_or_default())),
            Err(failure) => failure,
        };
        if failure.error.message.starts_with("NoSuchBucketPolicy") {
            return Ok(BucketPolicy::AllowsNobody);
        }
        if failure.error.is_passing() {
            return Err(failure.into());
        }
        let why = failure.error.to_string();
        Ok(BucketPolicy::Unseen { why })
    }
}

/// The context keys that a simulation lacked; IAM says them of a resource or of all.
fn missing(result: &EvaluationResult) -> Vec<String> {
    let of_resources = result.resource_specific_results().iter();
    let of_resources = of_resources.flat_map(ResourceSpecificResult::missing_context_values);
    let mut keys: Vec<String> = result
        .missing_context_values()
        .iter()
        .chain(of_resources)
        .cloned()
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Whether a bucket's policy has a statement that allows something; one that can't be read may.
fn grants(policy: &str) -> BucketPolicy {
    let statements = serde_json::from_str::<Value>(policy)
        .ok()
        .and_then(|policy| policy.get("Statement").cloned());
    let only_denies = |statement: &Value| statement["Effect"] == "Deny";
    let allows_nobody = match &statements {
        Some(Value::Array(all)) => all.iter().all(only_denies),
        Some(one) => only_denies(one),
        None => false,
    };
    if allows_nobody {
        BucketPolicy::AllowsNobody
    } else {
        BucketPolicy::AllowsSomebody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_policy_that_only_denies_allows_nobody() {
        let one = r#"{"Statement": {"Effect": "Deny"}}"#;
        let two = r#"{"Statement": [{"Effect": "Deny"}, {"Effect": "Allow"}]}"#;
        assert_eq!(grants(one), BucketPolicy::AllowsNobody);
        for policy in [two, "", "{}", "no JSON", r#"{"Statement": [{}]}"#] {
            assert_eq!(grants(policy), BucketPolicy::AllowsSomebody, "{policy}");
        }
    }
}
