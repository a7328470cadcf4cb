//! SageMaker's own records: lineage, life cycle and ancestry are written, and nothing waits for them.

use jiff::SignedDuration;
use serde_json::Value;

use super::findings::found;
use super::stories::{POLICY, Story};
use crate::event::Approval;
use crate::name::JobName;
use crate::origin::APPROVER_KEY;
use crate::pipeline;
use crate::world::{TIDEGATE, WorldErrorKind};

async fn with(governance: &str) -> Story {
    let text = format!("{POLICY}\n[governance]\n{governance}\n");
    Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await
}

fn traces(story: &Story) -> Vec<String> {
    let state = story.town.0.lock().unwrap();
    state.traces.iter().map(|t| t.about.clone()).collect()
}

fn life_cycle(story: &Story, version: usize) -> Option<String> {
    let state = story.town.0.lock().unwrap();
    state.packages[version - 1].origin.life_cycle.clone()
}

fn fails(story: &Story, call: &'static str, kind: WorldErrorKind) {
    let mut state = story.town.0.lock().unwrap();
    state.faults.calls.insert(call, (1_000, kind));
}

/// The facts of entries of this kind.
fn entries(story: &Story, what: &str) -> Vec<Value> {
    let all = story.ledger.all_entries(&story.group);
    let read = all.iter().map(|e| serde_json::from_str(&e.body).unwrap());
    let of_it = read.filter(|body: &Value| body["what"] == what);
    of_it.map(|body| body["facts"].clone()).collect()
}

/// Somebody's pipeline registers the model of this job, which was trained after the finding.
fn registered_by_somebody(story: &Story, version: u32, job: &str, finding: &str) {
    story.town.train(job, 0.96);
    story
        .town
        .set_approval(version, Approval::PendingManualApproval);
    let mut state = story.town.0.lock().unwrap();
    let job = state.jobs.get_mut(&JobName::parse(job).unwrap()).unwrap();
    let tag = ("tidegate:finding".to_owned(), finding.to_owned());
    job.tags.extend([tag]);
    let artifact = job.artifact.clone().unwrap();
    let package = state.packages.last_mut().unwrap();
    package.artifacts = vec![artifact];
}

#[tokio::test]
async fn a_version_is_traced_from_its_data_to_its_endpoint() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.until_quiet().await;
    let told = [
        "where v1 of fraud comes from",
        "v1 of fraud serves fraud-prod",
        "where v2 of fraud comes from",
        "v2 of fraud serves fraud-prod",
    ];
    assert_eq!(traces(&story), told);
    {
        let state = story.town.0.lock().unwrap();
        let sources = state.traces[2].nodes.iter().map(|n| n.source.as_str());
        let sources: Vec<&str> = sources.collect();
        assert_eq!(sources[0], state.packages[1].arn);
        assert!(sources[1].ends_with(":training-job/train-2"));
        assert!(sources[2].starts_with("s3://data/train-2/#"), "{sources:?}");
    }
    // The audit trail names what was asked for.
    let named = entries(&story, "candidate-registered");
    assert!(named[0]["calls"].to_string().contains("AddAssociation"));
    story.check();
}

#[tokio::test]
async fn without_lineage_nothing_is_traced() {
    let mut story = with("lineage = false").await;
    story.deploy_first().await;
    assert_eq!(traces(&story), Vec::<String>::new());
    story.check();
}

#[tokio::test]
async fn lineage_that_aws_throttles_holds_up_nothing_and_is_given_up() {
    let mut story = Story::begin().await;
    fails(&story, "AddAssociation", WorldErrorKind::Throttled);
    // No event fails by it, or its function would be called again and people be woken.
    story.deploy_first().await;
    assert_eq!(story.champion(), 1);
    assert_eq!(story.ledger.pending(&story.group).len(), 2);
    // Ticks leave it to housekeeping.
    let before = story.town.0.lock().unwrap().faults.calls["AddAssociation"].0;
    story.minutes(10).await;
    let after = story.town.0.lock().unwrap().faults.calls["AddAssociation"].0;
    assert_eq!(before, after);
    let told = story.told().len();
    story.town.0.lock().unwrap().now += SignedDuration::from_hours(6);
    story.housekeeping().await;
    assert_eq!(entries(&story, "effect-failed").len(), 2);
    assert_eq!(story.told().len(), told, "nobody is woken for it");
    story.check();
}

#[tokio::test]
async fn lineage_that_passed_by_is_done_by_housekeeping() {
    let mut story = Story::begin().await;
    fails(&story, "AddAssociation", WorldErrorKind::Unavailable);
    story.trained("train-1", 0.95).await;
    story.town.0.lock().unwrap().faults.calls.clear();
    story.housekeeping().await;
    assert_eq!(traces(&story), ["where v1 of fraud comes from"]);
    story.check();
}

#[tokio::test]
async fn lineage_that_aws_denies_is_in_the_trail_alone() {
    let mut story = Story::begin().await;
    fails(&story, "AddAssociation", WorldErrorKind::Denied);
    story.trained("train-1", 0.95).await;
    assert_eq!(entries(&story, "effect-failed").len(), 1);
    assert_eq!(story.told(), ["candidate-registered"]);
    story.check();
}

#[tokio::test]
async fn the_life_cycle_says_how_far_each_version_is() {
    let mut story = with("lifecycle = true").await;
    story.trained("train-1", 0.95).await;
    let cycle = |version| life_cycle(&story, version);
    assert_eq!(cycle(1).as_deref(), Some("Development/Approved"));
    story.package(1).await;
    let cycle = |version| life_cycle(&story, version);
    assert_eq!(cycle(1).as_deref(), Some("production/InProgress"));
    story.until_quiet().await;
    story.minutes(30).await;
    assert_eq!(life_cycle(&story, 1).as_deref(), Some("production/Serving"));
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    let of = |version| life_cycle(&story, version);
    assert_eq!(of(1).as_deref(), Some("production/Replaced"));
    assert_eq!(of(2).as_deref(), Some("production/Serving"));
    // That Tidegate wrote into packages is no approval and no news.
    let before = story.ledger.all_entries(&story.group).len();
    story.package(1).await;
    story.package(2).await;
    assert_eq!(story.ledger.all_entries(&story.group).len(), before);
    story.check();
}

#[tokio::test]
async fn the_life_cycle_of_a_version_that_was_taken_back_or_rejected_says_so() {
    let mut story = with("lifecycle = true").await;
    let bad = [("v2".to_owned(), 300)];
    story.town.0.lock().unwrap().bad_per_mille.extend(bad);
    story.approve_second().await;
    story.until_quiet().await;
    assert_eq!(
        life_cycle(&story, 2).as_deref(),
        Some("production/RolledBack")
    );
    assert_eq!(life_cycle(&story, 1).as_deref(), Some("production/Serving"));
    story.town.set_approval(3, Approval::PendingManualApproval);
    story.package(3).await;
    story.town.set_approval(3, Approval::Rejected);
    story.package(3).await;
    assert_eq!(
        life_cycle(&story, 3).as_deref(),
        Some("Development/Rejected")
    );
    story.check();
}

#[tokio::test]
async fn without_the_key_no_life_cycle_is_kept() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    assert_eq!(life_cycle(&story, 1), None);
}

#[tokio::test]
async fn a_retrained_package_of_somebody_else_says_what_led_to_it() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    found(&mut story, "monitoring-1").await;
    registered_by_somebody(&story, 2, "theirs-1", "monitoring-1");
    story.try_ended("theirs-1").await.unwrap();
    let package = story.town.0.lock().unwrap().packages[1].clone();
    assert_eq!(package.metadata["tidegate:finding"], "monitoring-1");
    assert_eq!(package.metadata["tidegate:parent"], "v1");
    // The gate's approval, which looks at whether anybody changed the package, came first.
    assert_eq!(package.approval, Approval::Approved);
    assert!(traces(&story).contains(&"where v2 of fraud comes from".to_owned()));
    story.check();
}

#[tokio::test]
async fn ancestry_waits_for_an_approval_that_looks_at_who_changed_the_package() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    found(&mut story, "monitoring-1").await;
    registered_by_somebody(&story, 2, "theirs-1", "monitoring-1");
    fails(&story, "SetApproval", WorldErrorKind::Throttled);
    assert!(story.try_ended("theirs-1").await.is_err());
    let finding = |story: &Story| {
        let state = story.town.0.lock().unwrap();
        state.packages[1].metadata.get("tidegate:finding").cloned()
    };
    assert_eq!(finding(&story), None);
    story.town.0.lock().unwrap().faults.calls.clear();
    story.minutes(1).await;
    story.housekeeping().await;
    assert_eq!(finding(&story).as_deref(), Some("monitoring-1"));
    let approval = story.town.0.lock().unwrap().packages[1].approval;
    assert_eq!(approval, Approval::Approved);
    story.check();
}

#[tokio::test]
async fn what_a_package_of_somebody_else_says_of_its_ancestry_stays() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    found(&mut story, "monitoring-1").await;
    registered_by_somebody(&story, 2, "theirs-1", "monitoring-1");
    {
        let mut state = story.town.0.lock().unwrap();
        let pairs = [("tidegate:finding", "theirs"), ("tidegate:parent", "v7")];
        let pairs = pairs.map(|(k, v)| (k.to_owned(), v.to_owned()));
        state.packages[1].metadata.extend(pairs);
    }
    story.try_ended("theirs-1").await.unwrap();
    let package = story.town.0.lock().unwrap().packages[1].clone();
    assert_eq!(package.metadata["tidegate:finding"], "theirs");
    assert_eq!(story.calls("UpdateModelPackage"), 1, "the approval alone");
    story.check();
}

#[tokio::test]
async fn in_observe_mode_no_record_is_written() {
    let text = POLICY.replace("group = \"fraud\"", "group = \"fraud\"\nmode = \"observe\"");
    let text = format!("{text}\n[governance]\nlifecycle = true\n");
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    registered_by_somebody(&story, 1, "theirs-1", "monitoring-1");
    story.try_ended("theirs-1").await.unwrap();
    story.town.set_approval(1, Approval::Rejected);
    story.package(1).await;
    assert_eq!(traces(&story), Vec::<String>::new());
    assert_eq!(story.calls("UpdateModelPackage"), 0);
    assert_eq!(life_cycle(&story, 1), None);
    // Nor was one asked for that the net then held back.
    let all = story.ledger.all_entries(&story.group);
    assert!(all.iter().all(|e| !e.body.contains("was asked for")));
}

fn approver(story: &Story, version: usize) -> Option<String> {
    let state = story.town.0.lock().unwrap();
    let metadata = &state.packages[version - 1].metadata;
    metadata.get(APPROVER_KEY).cloned()
}

/// A person sets the approval of a version, and its event comes.
async fn decides(story: &mut Story, approval: Approval, who: Option<&str>) {
    story.town.set_approval(1, approval);
    let who = who.map(str::to_owned);
    story.town.0.lock().unwrap().packages[0].modified_by = who;
    story.package(1).await;
    story.until_quiet().await;
}

async fn waiting(lines: &str) -> Story {
    let policy = POLICY.replace("approval = \"automatic\"", "approval = \"manual\"");
    let text = format!("{policy}\n{lines}\n");
    let mut story = Story::with(pipeline::parse(&text, "fraud.toml").unwrap()).await;
    story.trained("train-1", 0.95).await;
    story.package(1).await;
    story
}

#[tokio::test]
async fn the_package_says_who_approved_it() {
    let mut story = waiting("").await;
    assert_eq!(approver(&story, 1), None);
    decides(&mut story, Approval::Approved, Some("ada")).await;
    assert_eq!(approver(&story, 1).as_deref(), Some("ada"));
    assert_eq!(story.champion(), 1);
    // Withdrawn, and approved by somebody else.
    decides(&mut story, Approval::PendingManualApproval, Some("ada")).await;
    decides(&mut story, Approval::Approved, Some("grace")).await;
    assert_eq!(approver(&story, 1).as_deref(), Some("grace"));
    // One of whom SageMaker does not say who it was leaves no name, and takes none away.
    decides(&mut story, Approval::PendingManualApproval, None).await;
    decides(&mut story, Approval::Approved, None).await;
    assert_eq!(approver(&story, 1).as_deref(), Some("grace"));
    story.check();
}

#[tokio::test]
async fn the_package_names_all_who_had_to_approve_it() {
    let mut story = waiting("[approval]\npeople = 2").await;
    decides(&mut story, Approval::Approved, Some("grace")).await;
    assert_eq!(approver(&story, 1), None);
    decides(&mut story, Approval::Approved, Some("ada")).await;
    assert_eq!(approver(&story, 1).as_deref(), Some("ada grace"));
    story.check();
}

#[tokio::test]
async fn what_the_gate_approves_is_approved_by_tidegate() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    assert_eq!(approver(&story, 1).as_deref(), Some(TIDEGATE));
    let mut story = with("approver = false").await;
    story.deploy_first().await;
    assert_eq!(approver(&story, 1), None);
    story.check();
}
