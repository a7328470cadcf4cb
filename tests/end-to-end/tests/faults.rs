//! A spread part of the kill matrix: whatever goes wrong with a call, or whoever is killed at it,
//! all ends as without. `make kill-matrix` tries the whole.

use tidegate_end_to_end::kill::{self, Choice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_call_all_ends_as_without() {
    let choice = Choice {
        seed: 1,
        batch: 40,
        quick: true,
        ..Choice::default()
    };
    let report = kill::matrix(&choice, None, |line| println!("{line}"))
        .await
        .expect("the stories come true without faults");
    assert!(report.is_fine(), "\n{}", report.text());
    // A plan whose calls are not made would prove nothing; some few depend on which function is faster.
    assert!(
        report.fired() * 4 >= report.len() * 3,
        "\n{}",
        report.text()
    );
}
