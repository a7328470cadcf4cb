//! The largest state, record and notice that there can be stay within what AWS takes. How large
//! they are as items of the ledger is tested there (`bounds.rs` of the adapters).
#![allow(clippy::unwrap_used)]

mod largest;

use largest::Dice;
use serde::Serialize;
use tidegate_core::bounds::{ITEM, MESSAGE};
use tidegate_core::head::{
    LONG, REMEMBERED_APPROVALS, REMEMBERED_FINDINGS, REMEMBERED_STORMS, REMEMBERED_TUNINGS,
};
use tidegate_core::notice::{MOST_LINES, fitting};
use tidegate_core::rollout::{LONGEST_SENTENCE, MOST_WEIGHTS, Phase, Rollout};

fn bytes<T: Serialize>(value: &T) -> usize {
    serde_json::to_string(value).unwrap().len()
}

fn canary_requests(rollout: &Rollout) -> u64 {
    let of_first = rollout.minutes.iter().filter_map(|m| m.guards.first());
    of_first.map(|m| m.canary.requests).sum()
}

#[test]
fn the_largest_state_is_made_smaller_and_keeps_what_the_verdict_needs() {
    for guards in [1, 2, 8] {
        let mut dice = Dice::new();
        let policy = largest::policy(&mut dice, guards);
        let mut head = largest::head(&mut dice, &policy);
        let before = head.clone();
        assert!(bytes(&head) > 2 * LONG, "it would not be the largest");
        head.fit();
        println!(
            "{guards} guards: {} bytes of JSON, {} before",
            bytes(&head),
            bytes(&before)
        );
        assert!(bytes(&head) <= 750_000, "{guards}: {}", bytes(&head));
        for (now, then) in head.rollouts.values().zip(before.rollouts.values()) {
            assert_eq!((&now.evidence, &now.alone), (&then.evidence, &then.alone));
            assert_eq!(now.past, then.past);
            assert_eq!(now.minutes.last(), then.minutes.last());
            assert_eq!(
                canary_requests(now),
                canary_requests(then),
                "added up, not dropped"
            );
        }
        let again = head.clone();
        head.fit();
        assert_eq!(head, again, "what fits is left as it is");
    }
}

#[test]
fn a_state_remembers_no_more_than_it_says() {
    let mut dice = Dice::new();
    let policy = largest::policy(&mut dice, 1);
    let head = largest::head(&mut dice, &policy);
    assert_eq!(head.approvals.len(), REMEMBERED_APPROVALS);
    assert_eq!(head.findings.len(), REMEMBERED_FINDINGS);
    assert_eq!(head.storms.len(), REMEMBERED_STORMS);
    assert_eq!(head.tunings.len(), REMEMBERED_TUNINGS);
}

#[test]
fn a_finding_with_a_long_name_is_known_again() {
    let mut head = tidegate_core::head::Head::default();
    let name = "ä".repeat(10_000);
    assert!(!head.is_known_finding(&name));
    assert!(head.is_known_finding(&name));
    assert!(!head.is_known_finding(&format!("{name}!")));
    assert!(bytes(&head.findings) < 100);
}

#[test]
fn the_largest_record_of_a_rollout_fits_even_if_it_is_not_deflated() {
    for guards in [1, 2, 8] {
        let mut dice = Dice::new();
        let policy = largest::policy(&mut dice, guards);
        let mut rollout = largest::rollout(&mut dice, &policy.stages[0]);
        rollout.fit();
        println!("{guards} guards: {} bytes of JSON", bytes(&rollout));
        assert!(bytes(&rollout) < ITEM, "{guards}: {}", bytes(&rollout));
    }
}

#[test]
fn a_rollout_keeps_its_newest_shares_and_when_it_got_all_the_traffic() {
    let mut dice = Dice::new();
    let policy = largest::policy(&mut dice, 1);
    let mut rollout = largest::rollout(&mut dice, &policy.stages[0]);
    rollout.weights[1].1 = 100;
    let (newest, all_since) = (rollout.weights.last().copied(), rollout.all_traffic_since());
    rollout.fit();
    assert_eq!(rollout.weights.len(), MOST_WEIGHTS);
    assert_eq!(rollout.weights.last().copied(), newest);
    assert_eq!(rollout.all_traffic_since(), all_since);
    let Phase::RollingBack { why, .. } = &rollout.phase else {
        panic!("{:?}", rollout.phase);
    };
    assert!(why.sentence.len() <= LONGEST_SENTENCE);
    assert!(
        why.sentence.ends_with(" more characters)"),
        "{}",
        why.sentence
    );
}

#[test]
fn a_notice_fits_into_a_message_in_all_its_forms() {
    for letter in ["x", "\"", "\u{1}", "ä", "\u{1f600}", "\\"] {
        let lines = fitting(vec![letter.repeat(50_000); 200]);
        assert_eq!(lines.len(), MOST_LINES);
        let text = lines.join("\n");
        // Text, JSON for software twice, a card for chat; each is JSON in JSON.
        let json = serde_json::to_string(&lines).unwrap();
        let forms = serde_json::json!([text, json, json, serde_json::json!([text]).to_string()]);
        assert!(
            bytes(&forms) < MESSAGE * 3 / 4,
            "{letter:?}: {}",
            bytes(&forms)
        );
    }
}
