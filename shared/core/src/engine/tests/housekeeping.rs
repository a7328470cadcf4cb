//! What nobody sees to any more is seen to by housekeeping.

use super::stories::Story;
use crate::engine::anchor;
use crate::event::{Event, Kind};
use crate::name::EventId;
use crate::world::WorldErrorKind;

#[tokio::test]
async fn nothing_unfinished_is_nothing_to_do() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let handled = story.housekeeping().await;
    assert_eq!(
        handled.nothing_because.as_deref(),
        Some("nothing is unfinished")
    );
}

#[tokio::test]
async fn a_rollout_whose_ticks_stopped_goes_on_and_gets_new_ones() {
    let mut story = Story::begin().await;
    story.approve_second().await;
    story.minutes(8).await;
    let schedules = story.town.0.lock().unwrap().schedules.clone();
    assert_eq!(schedules.len(), 1);
    story.town.0.lock().unwrap().schedules.clear();
    for _ in 0..6 {
        story.minute().await;
    }
    story.housekeeping().await;
    assert_eq!(story.town.0.lock().unwrap().schedules, schedules);
    story.until_quiet().await;
    assert_eq!(story.champion(), 2);
    story.check();
}

#[tokio::test]
async fn what_a_crash_left_to_do_is_done() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    // The retries of the event are spent while AWS is unwell.
    story
        .town
        .0
        .lock()
        .unwrap()
        .faults
        .calls
        .insert("RegisterPackage", (9, WorldErrorKind::Unavailable));
    for _ in 0..3 {
        assert!(story.try_trained("train-2", 0.96).await.is_err());
        story.events -= 1;
    }
    story.town.0.lock().unwrap().faults.calls.clear();
    assert_eq!(story.ledger.pending(&story.group).len(), 1);
    let handled = story.housekeeping().await;
    assert_eq!(handled.failed, Vec::<String>::new());
    assert_eq!(story.town.0.lock().unwrap().packages.len(), 2);
    story.check();
}

#[tokio::test]
async fn the_end_of_every_trail_is_anchored_once_an_hour() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let at = |time: &str| Event {
        id: EventId(time.to_owned()),
        at: time.parse().unwrap(),
        kind: Kind::Housekeeping,
    };
    let due: Vec<bool> = (0..12)
        .map(|five| anchor::is_due(&at(&format!("2026-03-02T10:{:02}:07Z", five * 5))))
        .collect();
    assert_eq!(due.iter().filter(|due| **due).count(), 1);
    let tip = story.ledger.head(&story.group).tip;
    assert!(tip.n > 5);
    assert_eq!(
        anchor::ends(&story.ledger).await.unwrap(),
        [(story.group.clone(), tip)]
    );
}

#[tokio::test]
async fn anchors_are_kept_once_an_hour_and_what_could_not_be_kept_is_told() {
    let mut story = Story::begin().await;
    story.deploy_first().await;
    let on_the_hour = |story: &Story, hours: i64| {
        let mut state = story.town.0.lock().unwrap();
        let begun = state.now.as_second() / 3_600 + hours;
        state.now = jiff::Timestamp::from_second(begun * 3_600 + 7).unwrap();
    };
    on_the_hour(&story, 1);
    story.housekeeping().await;
    story.trained("train-2", 0.96).await;
    // Housekeeping may be tried twice.
    story.housekeeping().await;
    let kept = story.town.0.lock().unwrap().anchors.clone();
    assert_eq!(kept.len(), 1);
    let (_, tip) = &kept.values().next().unwrap().ends[0];
    assert!(tip.n < story.ledger.head(&story.group).tip.n);

    on_the_hour(&story, 1);
    let fault = ("PutObject", (1, WorldErrorKind::Denied));
    story.town.0.lock().unwrap().faults.calls.extend([fault]);
    let handled = story.housekeeping().await;
    assert!(
        handled.failed[0].starts_with("audit anchors were not kept: PutObject"),
        "{:?}",
        handled.failed
    );
    on_the_hour(&story, 1);
    story.housekeeping().await;
    assert_eq!(story.town.0.lock().unwrap().anchors.len(), 2);
}
