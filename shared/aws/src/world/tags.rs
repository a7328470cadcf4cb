//! Tags: what a thing has, and what its successor gets.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::Tag;
use tidegate_core::world::WorldError;

use super::AwsWorld;
use crate::error::failed;

/// A resource has at most 50 tags; a page has 50 or more.
const MOST_PAGES: usize = 5;
/// `Tags` of every create call: at most 50.
const MOST_TAGS: usize = 50;

impl AwsWorld {
    /// The tags of a SageMaker resource.
    pub(super) async fn tags_of(&self, arn: &str) -> Result<BTreeMap<String, String>, WorldError> {
        let mut tags = BTreeMap::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let page = self
                .clients
                .sagemaker
                .list_tags()
                .resource_arn(arn)
                .set_next_token(next)
                .send()
                .await
                .map_err(failed("ListTags"))?;
            for tag in page.tags.unwrap_or_default() {
                tags.insert(tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
            }
            next = page.next_token;
            if next.is_none() {
                break;
            }
        }
        Ok(tags)
    }
}

/// Tags for a thing that takes another's place: the other's, and on top its own. Those that AWS
/// itself sets (`aws:`) can't be set.
pub(super) fn inherited(
    others: &BTreeMap<String, String>,
    own: &BTreeMap<String, String>,
) -> Vec<Tag> {
    let free = MOST_TAGS.saturating_sub(own.len());
    let others = others
        .iter()
        .filter(|(key, _)| !key.to_ascii_lowercase().starts_with("aws:") && !own.contains_key(*key))
        .take(free);
    let own = own.iter().take(MOST_TAGS);
    others
        .chain(own)
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_gets_the_tags_that_aws_lets_it_have() {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let tags = inherited(
            &map(&[
                ("aws:cloudformation:stack-name", "x"),
                ("team", "risk"),
                ("v", "1"),
            ]),
            &map(&[("v", "2")]),
        );
        let pairs: Vec<_> = tags.iter().map(|t| (t.key(), t.value())).collect();
        assert_eq!(
            pairs,
            [(Some("team"), Some("risk")), (Some("v"), Some("2"))]
        );
        let many: BTreeMap<_, _> = (0..60).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(inherited(&many, &map(&[("mine", "")])).len(), 50);
    }
}
