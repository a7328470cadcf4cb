//! Whether who approved has the tags that the policy asks for (`[approval] tags`).
//!
//! IAM is asked only where that decides something: whom `by` names needs no tags. What can't be read
//! is not there, so that approval does not count, and the reason says what to do. Sources:
//! `ListRoleTags` and `ListUserTags` in the IAM API reference.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::approver::is_by_gate;
use super::{is_being_marked, is_known};
use crate::case::Case;
use crate::pipeline::is_same_key;
use crate::principal::{Principal, account_of};
use crate::world::{Answer, Package, Question, TIDEGATE, WorldErrorKind};

/// The tags that have to be known to judge the approval of a package, if any.
pub(super) fn needs(case: &Case<'_>, package: &Package) -> Option<Question> {
    let rule = &case.policy().approval;
    let head = &case.snapshot.head;
    let who = package.modified_by.as_deref()?;
    let is_settled = who == TIDEGATE
        || rule.tags.is_empty()
        || rule.include(who)
        || is_known(head, package)
        || is_being_marked(case, package)
        || is_by_gate(case, package, head);
    if is_settled {
        return None;
    }
    Some(question(&principal(package, who).ok()?))
}

/// Whether who approved a package has all the tags; if not, why the approval does not count.
pub(super) fn fits(case: &Case<'_>, package: &Package, who: &str) -> Result<(), String> {
    let rule = &case.policy().approval;
    if rule.tags.is_empty() {
        return Err("the policy does not name them ([approval] by).".to_owned());
    }
    let principal = principal(package, who).map_err(|why| {
        format!(
            "the policy does not name them, and it can't be told whether they have its tags: \
             {why}. Name them in [approval] by, or approve as a role or a user of this account."
        )
    })?;
    let has = match case.facts.answer(&question(&principal)) {
        Some(Answer::Tags(has)) => has,
        answer => return Err(unread(&principal, answer)),
    };
    let Some((key, value)) = rule.lacking(has) else {
        return Ok(());
    };
    let there = has.iter().find(|(k, _)| is_same_key(k, key));
    let there = there.map_or("is not there".to_owned(), |(_, v)| format!("is {v:?}"));
    Err(format!(
        "the policy asks for the tag {key} = {value:?} ([approval] tags), which {there} on \
         {principal}. Tags of a session don't count, those of its role do."
    ))
}

/// Writes down which of the tags asked for were seen, where IAM was asked.
pub(super) fn add_to(facts: &mut Value, case: &Case<'_>, package: &Package) {
    let asked = package
        .modified_by
        .as_deref()
        .and_then(|who| principal(package, who).ok())
        .map(|principal| question(&principal));
    if let Some(Answer::Tags(has)) = asked.and_then(|q| case.facts.answer(&q)) {
        let tags = &case.policy().approval.tags;
        let is_asked = |key: &str| tags.keys().any(|k| is_same_key(k, key));
        let seen: BTreeMap<_, _> = has.iter().filter(|(k, _)| is_asked(k)).collect();
        facts["tags"] = json!(seen);
    }
}

/// Why tags were not read, and what to do.
fn unread(principal: &Principal, answer: Option<&Answer>) -> String {
    let call = match principal {
        Principal::Role(_) => "iam:ListRoleTags",
        Principal::User(_) => "iam:ListUserTags",
    };
    let (why, help) = match answer {
        Some(Answer::Missing) => (
            "IAM knows it no more".to_owned(),
            "Approve as somebody who is there.".to_owned(),
        ),
        Some(Answer::Refused(error)) if error.kind == WorldErrorKind::Denied => (
            error.to_string(),
            format!("Let package-approved's role call {call} on it, then approve once more."),
        ),
        Some(Answer::Refused(error)) => (error.to_string(), "Approve once more.".to_owned()),
        _ => (
            "IAM was not asked".to_owned(),
            "Approve once more.".to_owned(),
        ),
    };
    format!(
        "the policy asks for tags ([approval] tags), and those of {principal} can't be read: {why}. \
         {help}"
    )
}

fn principal(package: &Package, who: &str) -> Result<Principal, &'static str> {
    Principal::of(who, account_of(&package.arn))
}

fn question(principal: &Principal) -> Question {
    Question::PrincipalTags(principal.clone())
}
