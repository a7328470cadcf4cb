//! Whom IAM keeps tags of: the role or the user that an ARN names, if it is of our account.
//!
//! Sources: "IAM identifiers" in the IAM user guide. The ARN of a role's session has no path
//! (`assumed-role/<name>/<session>`), and a name is its role's or user's alone, whatever the path:
//! so `ListRoleTags` and `ListUserTags` take the name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A role or a user of our account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// A role, by its name without the path.
    Role(String),
    /// A user, by its name without the path.
    User(String),
}

impl Principal {
    /// Who is meant by `who`, a principal's ARN or a Studio user profile's name, in `account`
    /// (12 digits). If it is nobody whose tags can be read, the reason is a clause.
    pub fn of(who: &str, account: &str) -> Result<Self, &'static str> {
        let parts: Vec<&str> = who.splitn(6, ':').collect();
        let ["arn", _, service, _, of, name] = parts.as_slice() else {
            return Err("IAM keeps no tags of a Studio user profile");
        };
        if *of != account {
            return Err("they are of another account, whose tags can't be read");
        }
        let mut path = name.split('/');
        let last = path.clone().next_back().unwrap_or_default();
        let named = match (*service, path.next()) {
            ("sts", Some("assumed-role")) => path.next().map(|role| Self::Role(role.to_owned())),
            ("iam", Some("role")) => Some(Self::Role(last.to_owned())),
            ("iam", Some("user")) => Some(Self::User(last.to_owned())),
            _ => None,
        };
        named.ok_or("they are neither a role nor a user of IAM")
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "the role {name}"),
            Self::User(name) => write!(f, "the user {name}"),
        }
    }
}

/// The account in an ARN; empty for what names none.
pub fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// The partition in an ARN, such as `aws`; empty for what is none.
pub fn partition_of(arn: &str) -> &str {
    arn.split(':').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_users_of_the_account_are_known_by_name_and_nobody_else_is() {
        let role = |name: &str| Ok(Principal::Role(name.to_owned()));
        let user = |name: &str| Ok(Principal::User(name.to_owned()));
        for (who, is) in [
            (
                "arn:aws:sts::123456789012:assumed-role/approvers/ada",
                role("approvers"),
            ),
            ("arn:aws-cn:sts::123456789012:assumed-role/a/b@c", role("a")),
            (
                "arn:aws:iam::123456789012:role/people/approvers",
                role("approvers"),
            ),
            ("arn:aws:iam::123456789012:user/ada", user("ada")),
            ("arn:aws:iam::123456789012:user/risk/eu/ada", user("ada")),
        ] {
            assert_eq!(Principal::of(who, "123456789012"), is, "{who}");
        }
        for (who, why) in [
            ("ada", "Studio"),
            ("arn:aws:iam::999999999999:user/ada", "another account"),
            ("arn:aws:iam::123456789012:root", "neither"),
            ("arn:aws:sts::123456789012:federated-user/ada", "neither"),
            ("arn:aws:sts::123456789012:assumed-role", "neither"),
            ("arn:aws:s3:::123456789012", "another account"),
        ] {
            let said = Principal::of(who, "123456789012").unwrap_err();
            assert!(said.contains(why), "{who}: {said}");
        }
    }
}
