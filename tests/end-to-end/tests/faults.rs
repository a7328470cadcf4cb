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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_answers_in_time_however_slow_aws_is() {
    let report = kill::slow_story()
        .await
        .expect("the story goes on when the slowness is over");
    for (function, longest) in &report.longest {
        println!("{function}: at most {longest:.1?} of {:?}", report.timeout);
        assert!(*longest < report.timeout, "{function}: {longest:?}");
    }
    assert_eq!(report.longest.len(), 5);
    println!("{:#?}", report.failed);
    // Each function has two pipelines whose calls are not answered in time.
    for function in report.longest.keys() {
        let mut said = report
            .failed
            .iter()
            .filter(|said| said.starts_with(function.as_str()));
        let is_said = if function == "housekeeping" {
            said.any(|said| said.contains("of 4 pipelines were not looked after"))
        } else {
            said.count() >= 2
        };
        assert!(is_said, "{function} does not say why: {:#?}", report.failed);
    }
    assert!(report.differences.is_empty(), "{:#?}", report.differences);
}
