//! Where a version comes from is kept in its package and in the audit trail.

use super::stories::Story;
use crate::audit::What;
use crate::name::GroupName;

#[tokio::test]
async fn a_package_says_which_data_and_which_commit_it_comes_from() {
    let mut story = Story::begin().await;
    story.town.train("train-1", 0.95);
    {
        let mut town = story.town.0.lock().unwrap();
        let job = town.jobs.values_mut().next().unwrap();
        let tags = [
            ("tidegate:commit", "3f2a9c1"),
            ("tidegate:repository", "https://git.example/fraud"),
        ];
        job.tags
            .extend(tags.map(|(key, value)| (key.to_owned(), value.to_owned())));
        job.kms_key = Some("arn:aws:kms:us-east-1:123456789012:key/k".to_owned());
        // More than a package's metadata takes: what the gate asks for is kept all the same.
        let many = (0..60).map(|n| (format!("a{n:02}"), f64::from(n)));
        job.metrics.extend(many);
    }
    story.try_ended("train-1").await.unwrap();

    let package = story.town.0.lock().unwrap().packages[0].clone();
    let metadata = &package.metadata;
    assert!(metadata.len() <= 50, "{}", metadata.len());
    assert!(metadata.contains_key("metric:validation:auc"));
    assert_eq!(metadata["data:train"], "s3://data/train-1/");
    assert_eq!(metadata["data-version:train"].len(), 32);
    assert!(metadata["tidegate:kms-key"].ends_with("key/k"));
    assert_eq!(package.origin.commit.as_deref(), Some("3f2a9c1"));
    assert_eq!(
        package.origin.repository.as_deref(),
        Some("https://git.example/fraud")
    );

    let entries = story
        .ledger
        .all_entries(&GroupName::parse("fraud").unwrap());
    let gated = entries
        .iter()
        .map(|entry| entry.read().unwrap())
        .find(|read| read.what == What::CandidateGated)
        .unwrap();
    let origin = &gated.facts["origin"];
    assert_eq!(origin["data"]["train"]["objects"], 3);
    assert_eq!(origin["commit"], "3f2a9c1");
}
