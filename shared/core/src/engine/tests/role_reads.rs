//! Whether the role that a version would run as may read its artifact.

use serde_json::Value;

use super::stories::{POLICY, Story};
use crate::access::{Access, BucketPolicy, Simulated, Simulation};
use crate::audit::What;
use crate::event::Approval;
use crate::pipeline;
use crate::world::WorldErrorKind;

const ROLE: &str = "arn:aws:iam::123456789012:role/model";

/// What IAM says of the role and an artifact from now on.
fn says(story: &Story, uri: &str, decision: Simulation, bucket: BucketPolicy) {
    let access = Access {
        simulated: vec![Simulated {
            action: "s3:GetObject".to_owned(),
            on: uri.replace("s3://", "arn:aws:s3:::"),
            decision,
            missing: Vec::new(),
            boundary: false,
            organization: false,
        }],
        bucket,
    };
    let mut town = story.town.0.lock().unwrap();
    town.reads.insert(uri.to_owned(), access);
}

fn denies(story: &Story, uri: &str) {
    let nobody = BucketPolicy::AllowsNobody;
    says(story, uri, Simulation::ImplicitDeny, nobody);
}

fn of_job(job: &str) -> String {
    format!("s3://models/{job}/output/model.tar.gz")
}

fn approval_of(story: &Story, version: u32) -> Approval {
    let town = story.town.0.lock().unwrap();
    let package = town.packages.iter().find(|p| p.version.0 == version);
    package.unwrap().approval
}

/// The facts of the newest entry of this kind.
fn facts(story: &Story, what: What) -> Value {
    let trail = story.ledger.all_entries(&story.group);
    let mut drafts = trail.iter().map(|entry| entry.read().unwrap());
    drafts.rfind(|d| d.what == what).unwrap().facts
}

fn is_told(story: &Story, words: &str) -> bool {
    let town = story.town.0.lock().unwrap();
    town.notices.iter().any(|n| n.text().contains(words))
}

fn looks(story: &Story) -> Vec<String> {
    let town = story.town.0.lock().unwrap();
    let looks = town.looks.iter().filter(|l| l.contains(" reads "));
    looks.cloned().collect()
}

#[tokio::test]
async fn a_model_that_its_role_may_not_read_is_rejected_with_the_statement_to_add() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    denies(&story, &of_job("train-2"));
    story.trained("train-2", 0.97).await;
    assert_eq!(approval_of(&story, 2), Approval::Rejected);
    let statement = r#"add {"Action":"s3:GetObject","Effect":"Allow","Resource":"arn:aws:s3:::models/*"} to the role's policies"#;
    assert!(is_told(&story, statement));
    assert!(is_told(
        &story,
        &format!("the model's role {ROLE} may not call s3:GetObject")
    ));
    // Mended, a new version passes.
    says(
        &story,
        &of_job("train-3"),
        Simulation::Allowed,
        BucketPolicy::NotAsked,
    );
    story.trained("train-3", 0.97).await;
    assert_eq!(approval_of(&story, 3), Approval::Approved);
    let reads = facts(&story, What::CandidateGated)["preflight"]["reads"].clone();
    assert_eq!(reads["role"], ROLE);
    assert_eq!(reads["may_read"][0], of_job("train-3").as_str());
    story.check();
}

#[tokio::test]
async fn a_role_that_lost_its_permission_since_the_gate_stops_the_rollout_before_anything_changes()
{
    let mut story = Story::begin().await;
    story.deploy_first().await;
    story.trained("train-2", 0.97).await;
    let uri = story.town.0.lock().unwrap().packages[1].artifacts[0].clone();
    says(
        &story,
        &uri,
        Simulation::ExplicitDeny,
        BucketPolicy::NotAsked,
    );
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    assert!(is_told(&story, "a policy of the role denies it"));
    assert_eq!(story.calls("CreateModel "), 1, "only the first version's");
    // It keeps its approval, and can be tried again.
    assert_eq!(approval_of(&story, 2), Approval::Approved);
    story.check();
}

#[tokio::test]
async fn a_way_back_is_not_held_up_by_what_iam_simulates() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    let uri = story.town.0.lock().unwrap().packages[0].artifacts[0].clone();
    denies(&story, &uri);
    let before = looks(&story).len();
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    assert_eq!(looks(&story).len(), before, "IAM is not asked");
    story.check();
}

#[tokio::test]
async fn what_nobody_can_tell_is_written_down_and_left_to_sagemaker() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    for (job, kind) in [
        ("train-2", WorldErrorKind::Denied),
        ("train-3", WorldErrorKind::Throttled),
    ] {
        let fault = ("SimulatePrincipalPolicy", (1, kind));
        story.town.0.lock().unwrap().faults.calls.extend([fault]);
        story.trained(job, 0.97).await;
        let reads = facts(&story, What::CandidateGated)["preflight"]["reads"].clone();
        let why = reads["not_looked_at"][0].as_str().unwrap().to_owned();
        assert!(
            why.contains("IAM does not say: SimulatePrincipalPolicy"),
            "{why}"
        );
    }
    assert_eq!(approval_of(&story, 2), Approval::Approved);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    let reads = facts(&story, What::RolloutStarted)["reads"].clone();
    let why = reads["not_looked_at"][0].as_str().unwrap();
    assert!(why.contains("IAM knows no role"), "{why}");
    story.check();
}

#[tokio::test]
async fn a_role_of_another_account_is_not_looked_at_and_the_policys_role_goes_before_all() {
    let role = "arn:aws:iam::999999999999:role/model";
    for (role, asked) in [(role, 0), ("arn:aws:iam::123456789012:role/other", 2)] {
        let text = format!("{POLICY}\n[serve]\nrole = \"{role}\"\n");
        let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
        denies(&story, &of_job("of nobody"));
        story.deploy_first().await;
        assert_eq!(story.champion(), 1);
        let looks = looks(&story);
        assert_eq!(looks.len(), asked, "{looks:?}");
        assert!(looks.iter().all(|look| look.starts_with(role)), "{looks:?}");
    }
}

#[tokio::test]
async fn the_role_is_that_of_the_model_that_serves_and_else_the_training_jobs() {
    let mut story = Story::begin().await;
    story.town.train("train-1", 0.95);
    {
        let mut town = story.town.0.lock().unwrap();
        for job in town.jobs.values_mut() {
            job.role = "arn:aws:iam::123456789012:role/training".to_owned();
        }
    }
    story.try_ended("train-1").await.unwrap();
    story.package(1).await;
    story.until_quiet().await;
    story.minutes(30).await;
    assert!(
        looks(&story)
            .iter()
            .all(|look| look.contains("role/training reads"))
    );
    let before = looks(&story).len();
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    let after = looks(&story).split_off(before);
    assert!(!after.is_empty());
    assert!(after.iter().all(|look| look.starts_with(ROLE)), "{after:?}");
}

#[tokio::test]
async fn a_policy_that_does_not_ask_for_it_asks_iam_nothing() {
    let text = format!("{POLICY}\n[preflight]\nrole_reads = false\n");
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    denies(&story, &of_job("train-1"));
    story.deploy_first().await;
    assert_eq!(story.champion(), 1);
    assert_eq!(looks(&story), [""; 0]);
}
