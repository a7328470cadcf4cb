//! What IAM says of a role and the artifact that it is to read, and what follows from it.
//!
//! Sources: `SimulatePrincipalPolicy` in the IAM API reference, which evaluates the policies of the
//! role itself and takes no bucket's policy for a role; "Policy evaluation logic" in the IAM user
//! guide: a denial goes before all, and within an account a bucket's or a key's policy may allow what
//! no policy of the role does. So what nothing allows is only known to be denied where the bucket's
//! policy can't allow it either; of a key's policy nothing is known.

use serde::{Deserialize, Serialize};
use serde_json::json;

/// What IAM and S3 say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Each call that the role would have to make.
    pub simulated: Vec<Simulated>,
    /// The policy of the object's bucket, as far as it matters.
    pub bucket: BucketPolicy,
}

/// One call of the role, as IAM simulates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulated {
    /// The action, `s3:GetObject` or `kms:Decrypt`.
    pub action: String,
    /// The ARN of the object or the key.
    pub on: String,
    /// What the role's policies say (`EvalDecision`).
    pub decision: Simulation,
    /// What their conditions ask for, and a simulation does not know (`MissingContextValues`).
    pub missing: Vec<String>,
    /// Whether its permissions boundary stands against it.
    pub boundary: bool,
    /// Whether the organization's policies stand against it.
    pub organization: bool,
}

/// What the role's policies say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Simulation {
    /// One allows it, and none denies it.
    Allowed,
    /// One denies it.
    ExplicitDeny,
    /// None allows it.
    ImplicitDeny,
}

/// A bucket's policy, as far as it matters to a role that no policy of its own allows anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketPolicy {
    /// It was not needed.
    NotAsked,
    /// There is none, or it only denies.
    AllowsNobody,
    /// It allows somebody something.
    AllowsSomebody,
    /// Nobody knows: S3 does not show it.
    Unseen {
        /// What S3 said.
        why: String,
    },
}

/// What follows of a role's access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may read.
    May,
    /// It may not.
    MayNot {
        /// What was found, as a clause.
        what: String,
        /// How to mend it, as a clause.
        help: String,
    },
    /// Nobody knows, for this reason.
    Unknown(String),
}

impl Access {
    /// Whether `role` may make all the calls. One that it may not goes before one that nobody knows.
    pub(crate) fn verdict(&self, role: &str) -> Verdict {
        let mut verdict = Verdict::May;
        for call in &self.simulated {
            match call.verdict(role, &self.bucket) {
                Verdict::May => {}
                denied @ Verdict::MayNot { .. } => return denied,
                unknown @ Verdict::Unknown(_) => verdict = unknown,
            }
        }
        verdict
    }
}

impl Simulated {
    fn verdict(&self, role: &str, bucket: &BucketPolicy) -> Verdict {
        let Self { action, on, .. } = self;
        if self.decision == Simulation::Allowed {
            return Verdict::May;
        }
        if !self.missing.is_empty() {
            return Verdict::Unknown(format!(
                "its policies ask for {}, which only the call itself has",
                self.missing.join(", ")
            ));
        }
        let is_key = action.starts_with("kms:");
        if self.decision == Simulation::ImplicitDeny && !self.organization {
            match bucket {
                _ if is_key => {
                    let why = format!("no policy of its own allows {action}, the key's may");
                    return Verdict::Unknown(why);
                }
                BucketPolicy::AllowsNobody => {}
                BucketPolicy::AllowsSomebody => {
                    let why = format!("no policy of its own allows {action}, the bucket's may");
                    return Verdict::Unknown(why);
                }
                BucketPolicy::Unseen { why } => {
                    return Verdict::Unknown(format!(
                        "no policy of its own allows {action}, and the bucket's can't be read: {why}"
                    ));
                }
                BucketPolicy::NotAsked => {
                    return Verdict::Unknown("the bucket's policy was not read".to_owned());
                }
            }
        }
        let (why, help) = self.reason();
        Verdict::MayNot {
            what: format!("the model's role {role} may not call {action} on {on}: {why}"),
            help,
        }
    }

    /// Why it is denied, and how to mend it.
    fn reason(&self) -> (&'static str, String) {
        let Self { action, on, .. } = self;
        if self.organization {
            let help = format!("have the organization's service control policies allow {action}");
            return ("the organization's policies don't allow it", help);
        }
        if self.boundary {
            let help = format!("add {} to that boundary", self.statement());
            return ("its permissions boundary doesn't allow it", help);
        }
        match self.decision {
            Simulation::ExplicitDeny => (
                "a policy of the role denies it",
                format!("take {on} out of the role's statement with the effect Deny for {action}"),
            ),
            Simulation::Allowed | Simulation::ImplicitDeny => (
                "no policy allows it",
                format!("add {} to the role's policies", self.statement()),
            ),
        }
    }

    /// A statement that allows it, of all objects of the bucket: the next version lies beside.
    fn statement(&self) -> String {
        let on = match self.on.split_once('/') {
            Some((bucket, _)) if self.action.starts_with("s3:") => format!("{bucket}/*"),
            _ => self.on.clone(),
        };
        json!({ "Effect": "Allow", "Action": self.action, "Resource": on }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/model";

    fn access(action: &str, decision: Simulation, bucket: BucketPolicy) -> Access {
        let on = match action {
            "s3:GetObject" => "arn:aws:s3:::models/a/model.tar.gz",
            _ => "arn:aws:kms:us-east-1:123456789012:key/1",
        };
        Access {
            simulated: vec![Simulated {
                action: action.to_owned(),
                on: on.to_owned(),
                decision,
                missing: Vec::new(),
                boundary: false,
                organization: false,
            }],
            bucket,
        }
    }

    fn denied(access: &Access) -> String {
        match access.verdict(ROLE) {
            Verdict::MayNot { what, help } => format!("{what}: {help}"),
            other => panic!("{other:?}"),
        }
    }

    fn unknown(access: &Access) -> String {
        match access.verdict(ROLE) {
            Verdict::Unknown(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nothing_allows_is_denied_only_where_the_bucket_allows_nobody() {
        let of = |bucket| access("s3:GetObject", Simulation::ImplicitDeny, bucket);
        let said = denied(&of(BucketPolicy::AllowsNobody));
        assert!(said.contains("role/model may not call s3:GetObject on arn:aws:s3:::models/a/"));
        let statement =
            r#"{"Action":"s3:GetObject","Effect":"Allow","Resource":"arn:aws:s3:::models/*"}"#;
        assert!(said.contains(statement), "{said}");
        assert!(unknown(&of(BucketPolicy::AllowsSomebody)).contains("the bucket's may"));
        let why = "AccessDenied".to_owned();
        assert!(unknown(&of(BucketPolicy::Unseen { why })).contains("AccessDenied"));
        let allowed = access("s3:GetObject", Simulation::Allowed, BucketPolicy::NotAsked);
        assert_eq!(allowed.verdict(ROLE), Verdict::May);
    }

    #[test]
    fn a_denial_counts_whatever_the_bucket_says_unless_it_has_conditions() {
        let mut access = access(
            "s3:GetObject",
            Simulation::ExplicitDeny,
            BucketPolicy::NotAsked,
        );
        assert!(denied(&access).contains("with the effect Deny"));
        access.simulated[0].missing = vec!["aws:SourceVpce".to_owned()];
        assert!(unknown(&access).contains("aws:SourceVpce"));
    }

    #[test]
    fn a_keys_policy_may_allow_what_the_roles_does_not() {
        let of = |decision| access("kms:Decrypt", decision, BucketPolicy::AllowsNobody);
        assert!(unknown(&of(Simulation::ImplicitDeny)).contains("the key's may"));
        assert!(denied(&of(Simulation::ExplicitDeny)).contains("kms:Decrypt"));
    }

    #[test]
    fn boundaries_and_organizations_are_named_and_a_denial_goes_before_what_is_unknown() {
        let mut access = access(
            "s3:GetObject",
            Simulation::ImplicitDeny,
            BucketPolicy::AllowsNobody,
        );
        access.simulated[0].boundary = true;
        assert!(denied(&access).contains("to that boundary"));
        access.simulated[0].organization = true;
        access.bucket = BucketPolicy::AllowsSomebody;
        assert!(denied(&access).contains("service control policies"));
        let key = super::tests::access(
            "kms:Decrypt",
            Simulation::ImplicitDeny,
            BucketPolicy::AllowsSomebody,
        );
        access.simulated.extend(key.simulated);
        assert!(denied(&access).contains("s3:GetObject"));
    }
}
