//! The tags that IAM keeps of a role or a user. IAM is one service for all regions, and the SDK
//! knows its address.
//!
//! Sources: `ListRoleTags` and `ListUserTags` in the IAM API reference: a principal has at most 50
//! tags, and IAM may give fewer in a page than are left, however many were asked for.

use std::collections::BTreeMap;

use aws_sdk_iam::types::Tag;
use tidegate_core::principal::Principal;
use tidegate_core::world::{Answer, WorldError};

use super::AwsWorld;
use crate::error::{Failure, failed, refused};

const ROLE: &str = "ListRoleTags";
const USER: &str = "ListUserTags";

/// More than any 50 tags take.
const MOST_PAGES: usize = 10;

/// A page of tags, and where the next one begins.
type Page = (Vec<Tag>, Option<String>);

impl AwsWorld {
    /// All tags; none of who is not there.
    pub(super) async fn principal_tags(&self, who: &Principal) -> Result<Answer, WorldError> {
        let mut tags = BTreeMap::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let (page, marker) = match self.page_of_tags(who, next).await {
                Ok(page) => page,
                Err(failure) if failure.is_gone() => return Ok(Answer::Missing),
                Err(failure) => return Err(failure.into()),
            };
            tags.extend(page.into_iter().map(|tag| (tag.key, tag.value)));
            next = marker;
            if next.is_none() {
                return Ok(Answer::Tags(tags));
            }
        }
        let call = match who {
            Principal::Role(_) => ROLE,
            Principal::User(_) => USER,
        };
        let why = format!("{who} has more pages of tags than 50 tags take");
        Err(refused(call, why))
    }

    async fn page_of_tags(&self, who: &Principal, next: Option<String>) -> Result<Page, Failure> {
        let iam = &self.clients.iam;
        match who {
            Principal::Role(name) => {
                let asked = iam.list_role_tags().role_name(name).set_marker(next);
                let page = asked.send().await.map_err(failed(ROLE))?;
                Ok((page.tags, page.marker.filter(|_| page.is_truncated)))
            }
            Principal::User(name) => {
                let asked = iam.list_user_tags().user_name(name).set_marker(next);
                let page = asked.send().await.map_err(failed(USER))?;
                Ok((page.tags, page.marker.filter(|_| page.is_truncated)))
            }
        }
    }
}
