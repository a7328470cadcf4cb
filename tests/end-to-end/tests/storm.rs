//! A small storm: whatever comes at once, nothing is lost and each event takes effect once.
//! `make bench-storm` is the large one.

use tidegate_end_to_end::storm::{self, Choice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_no_event_is_lost_and_each_takes_effect_once() {
    let choice = Choice {
        events: 150,
        groups: 10,
        on_one: 60,
        seed: 1,
    };
    let report = storm::storm(&choice, |line| println!("{line}"))
        .await
        .expect("the storm comes to its end");
    assert_eq!(report.wrong(), Vec::<String>::new(), "\n{}", report.text());
    let (in_storms, without) = report.races();
    assert!(
        in_storms > 0 && without == 0,
        "contention is what makes the difference\n{}",
        report.text()
    );
}
