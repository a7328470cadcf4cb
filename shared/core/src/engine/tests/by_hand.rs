//! What people do to monitors by hand, schedules that fail, and what is tried again.

use crate::engine::tests::findings::notices;
use crate::engine::tests::monitors::{
    DATA, baseline_ends, change, given, housekeepings, only, only_what_is_of_one_version_counts,
    phases, policy, said, there, with,
};
use crate::engine::tests::stories::Story;
use crate::monitors::Phase;
use crate::pipeline::Mode;
use crate::world::{RunStatus, ScheduleState, WorldErrorKind};

const DAY: u32 = 24 * 60;

/// A story whose champion has its monitor.
async fn monitored() -> Story {
    let mut story = with(&given()).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    assert_eq!(only(&story), (1, true));
    story
}

/// A version that fails is registered, and its rollout begins.
async fn bad_second(story: &mut Story) {
    story.trained("train-2", 0.96).await;
    let bad = ("v2".to_owned(), 300);
    story.town.0.lock().unwrap().bad_per_mille.extend([bad]);
    story.package(2).await;
}

/// The schedule is so from now on.
fn becomes(story: &Story, shown: &ScheduleState) {
    let mut state = story.town.0.lock().unwrap();
    let runs = *shown == ScheduleState::Scheduled;
    state.set_up.values_mut().for_each(|r| *r = runs);
    let all = state.monitors.values_mut();
    all.for_each(|monitor| monitor.state = shown.clone());
}

/// Somebody deletes the schedule.
fn delete(story: &Story) {
    let mut state = story.town.0.lock().unwrap();
    state.set_up.clear();
    state.monitors.clear();
}

#[tokio::test]
async fn a_monitor_that_somebody_stops_stays_stopped_and_is_told_once_until_it_is_started() {
    let mut story = monitored().await;
    becomes(&story, &ScheduleState::Stopped);
    housekeepings(&mut story, 20).await;
    assert_eq!(phases(&story), [Phase::Stopped]);
    assert_eq!(only(&story), (1, false));
    let told = notices(&story, "monitor-stopped");
    assert_eq!(told.len(), 1);
    let text = told[0].text();
    assert!(text.contains("start-monitoring-schedule --monitoring-schedule-name tidegate-"));
    assert!(text.contains("remove it from the policy"), "{text}");
    // A rollout neither stops nor starts it.
    bad_second(&mut story).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    housekeepings(&mut story, 8).await;
    assert_eq!(only(&story), (1, false));
    becomes(&story, &ScheduleState::Scheduled);
    housekeepings(&mut story, 8).await;
    assert_eq!(phases(&story), [Phase::Running]);
    assert_eq!(said(&story, "monitor-resumed"), 1);
    assert_eq!(notices(&story, "monitor-stopped").len(), 1);
    story.check();
}

#[tokio::test]
async fn a_monitor_that_somebody_stops_right_before_a_rollout_stays_stopped_after_it() {
    let mut story = monitored().await;
    housekeepings(&mut story, 2).await;
    becomes(&story, &ScheduleState::Stopped);
    bad_second(&mut story).await;
    story.minutes(2).await;
    story.housekeeping().await;
    assert_eq!(phases(&story), [Phase::Stopped]);
    assert_eq!(notices(&story, "monitor-stopped").len(), 1);
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    housekeepings(&mut story, 8).await;
    assert_eq!(only(&story), (1, false));
    story.check();
}

#[tokio::test]
async fn what_a_stopped_monitor_finds_of_a_mixture_once_it_is_started_says_nothing_of_the_champion()
{
    let mut story = monitored().await;
    becomes(&story, &ScheduleState::Stopped);
    housekeepings(&mut story, 8).await;
    bad_second(&mut story).await;
    story.minutes(2).await;
    story.housekeeping().await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    becomes(&story, &ScheduleState::Scheduled);
    housekeepings(&mut story, 1).await;
    only_what_is_of_one_version_counts(&mut story).await;
    story.check();
}

#[tokio::test]
async fn a_pause_that_went_through_and_was_called_off_is_not_taken_for_somebodys_stop() {
    let mut story = monitored().await;
    housekeepings(&mut story, 2).await;
    let busy = ("StopMonitoringSchedule", (100, WorldErrorKind::Unavailable));
    story.town.0.lock().unwrap().faults.calls.extend([busy]);
    bad_second(&mut story).await;
    story.minutes(2).await;
    story.housekeeping().await;
    assert_eq!(phases(&story), [Phase::Pausing]);
    // It went through; its answer was lost, and then the policy changed.
    becomes(&story, &ScheduleState::Stopped);
    let mut observes = policy(&given());
    observes.pipeline.mode = Mode::Observe;
    change(&story, observes).await;
    story.housekeeping().await;
    story.town.0.lock().unwrap().faults.calls.clear();
    story.until_quiet().await;
    change(&story, policy(&given())).await;
    housekeepings(&mut story, 8).await;
    assert_eq!(phases(&story), [Phase::Running]);
    assert_eq!(only(&story), (1, true));
    assert!(notices(&story, "monitor-stopped").is_empty());
}

#[tokio::test]
async fn a_monitor_that_somebody_deletes_is_set_up_again_but_not_twice_within_a_day() {
    let mut story = monitored().await;
    let before = there(&story);
    delete(&story);
    housekeepings(&mut story, 10).await;
    assert_eq!(there(&story), before, "with the same name");
    assert_eq!(notices(&story, "monitor-deleted").len(), 1);
    delete(&story);
    housekeepings(&mut story, 20).await;
    assert!(there(&story).is_empty());
    assert_eq!(phases(&story), [Phase::Deleted]);
    let told = notices(&story, "monitor-deleted");
    assert_eq!(told.len(), 2);
    assert!(told[1].text().contains("only when another version serves"));
    // The next version has its own.
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    housekeepings(&mut story, 3).await;
    assert_eq!(only(&story), (2, true));
    story.check();
}

#[tokio::test]
async fn a_monitor_that_is_deleted_after_days_is_set_up_again_each_time() {
    let mut story = monitored().await;
    for n in 1..=2 {
        delete(&story);
        story.minutes(DAY).await;
        housekeepings(&mut story, 8).await;
        assert_eq!(only(&story), (1, true));
        assert_eq!(notices(&story, "monitor-deleted").len(), n);
    }
    story.check();
}

#[tokio::test]
async fn a_paused_monitor_that_is_deleted_is_set_up_again_when_one_version_serves_alone() {
    let mut story = monitored().await;
    bad_second(&mut story).await;
    story.minutes(2).await;
    story.housekeeping().await;
    assert_eq!(phases(&story), [Phase::Paused]);
    delete(&story);
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    housekeepings(&mut story, 10).await;
    assert_eq!(only(&story), (1, true));
    assert_eq!(notices(&story, "monitor-deleted").len(), 1);
    assert!(notices(&story, "monitor-failed").is_empty());
    story.check();
}

#[tokio::test]
async fn what_aws_does_not_answer_is_not_taken_for_deleted() {
    let mut story = monitored().await;
    for kind in [WorldErrorKind::Denied, WorldErrorKind::NotNow] {
        let refused = ("DescribeMonitoringSchedule", (100, kind));
        story.town.0.lock().unwrap().faults.calls.extend([refused]);
        housekeepings(&mut story, 10).await;
        assert_eq!(phases(&story), [Phase::Running]);
    }
    assert!(notices(&story, "monitor-deleted").is_empty());
}

#[tokio::test]
async fn a_schedule_that_failed_is_told_with_the_reason_and_made_anew_a_day_later() {
    let mut story = monitored().await;
    let failed = ScheduleState::Failed("The role can't be assumed.".to_owned());
    becomes(&story, &failed);
    housekeepings(&mut story, 10).await;
    let told = notices(&story, "monitor-failed");
    assert_eq!(told.len(), 1);
    assert!(told[0].text().contains("The role can't be assumed."));
    assert!(told[0].text().contains("once a day, 7 more times"));
    story.minutes(DAY).await;
    housekeepings(&mut story, 10).await;
    assert_eq!(story.calls("DeleteMonitoringSchedule"), 1);
    assert_eq!(story.calls("CreateMonitoringSchedule"), 2);
    assert_eq!(only(&story), (1, true));
    assert_eq!(phases(&story), [Phase::Running]);
    // It ran meanwhile: the same failure is news.
    becomes(&story, &failed);
    housekeepings(&mut story, 10).await;
    assert_eq!(notices(&story, "monitor-failed").len(), 2);
    story.check();
}

#[tokio::test]
async fn a_failed_baseline_is_made_anew_each_day_by_another_job_and_told_for_each_reason_once() {
    let mut story = with(DATA).await;
    story.deploy_first().await;
    housekeepings(&mut story, 1).await;
    for (days, (why, told)) in [
        ("AlgorithmError: no rows in tidegate-1", 1),
        ("AlgorithmError: no rows in tidegate-2", 1),
        ("CapacityError: no instance", 2),
    ]
    .into_iter()
    .enumerate()
    {
        baseline_ends(&story, RunStatus::Failed, Some(why));
        housekeepings(&mut story, 3).await;
        assert_eq!(notices(&story, "monitor-failed").len(), told, "{why}");
        assert_eq!(story.calls("CreateProcessingJob"), days + 1);
        assert_eq!(said(&story, "monitor-failed"), days + 1);
        story.minutes(DAY).await;
        housekeepings(&mut story, 2).await;
    }
    assert_eq!(story.calls("CreateProcessingJob"), 4);
    let jobs = story.town.0.lock().unwrap().baselinings.len();
    assert_eq!(jobs, 4, "each has a name of its own");
    baseline_ends(&story, RunStatus::Succeeded, None);
    housekeepings(&mut story, 2).await;
    assert_eq!(only(&story), (1, true));
    story.check();
}

#[tokio::test]
async fn what_always_fails_is_tried_again_seven_times_and_no_more() {
    let mut story = with(&given()).await;
    story.deploy_first().await;
    let denied = ("CreateMonitoringSchedule", (100, WorldErrorKind::Denied));
    story.town.0.lock().unwrap().faults.calls.extend([denied]);
    for _ in 0..10 {
        housekeepings(&mut story, 3).await;
        story.minutes(DAY).await;
    }
    assert_eq!(said(&story, "monitor-retried"), 7);
    assert_eq!(notices(&story, "monitor-failed").len(), 1);
    story.check();
}

#[tokio::test]
async fn looking_after_a_running_monitor_takes_two_questions_an_hour() {
    let mut story = monitored().await;
    story.minutes(30).await;
    story.housekeeping().await;
    let before = story.town.0.lock().unwrap().asked;
    housekeepings(&mut story, 12).await;
    let asked = story.town.0.lock().unwrap().asked - before;
    assert_eq!(asked, 2);
}
