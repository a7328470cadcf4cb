//! How large a policy may be, so that what is kept of it fits into the ledger.

use super::{MINIMAL, parse};

fn errors(text: &str) -> String {
    parse(text, "fraud.toml").unwrap_err().to_string()
}

#[test]
fn a_stage_that_no_state_has_room_for_is_refused_with_what_to_shorten() {
    let smoke = |characters: usize| {
        let uris: Vec<String> = (0..17)
            .map(|_| format!("\"s3://bucket/{}\"", "x".repeat(characters)))
            .collect();
        format!("{MINIMAL}smoke = [{}]\n", uris.join(", "))
    };
    assert!(parse(&smoke(850), "fraud.toml").is_ok());
    let long = errors(&smoke(1_000));
    assert!(long.contains(": stage[0]: takes 17"), "{long}");
    assert!(
        long.contains("can take 16384: give it fewer or shorter `smoke` requests"),
        "{long}"
    );
}

#[test]
fn there_are_no_more_schedules_than_can_be_exchanged_at_once() {
    let with = |n: usize| {
        let names: Vec<String> = (0..n).map(|n| format!("\"schedule-{n}\"")).collect();
        format!("{MINIMAL}\n[monitor]\nschedules = [{}]\n", names.join(", "))
    };
    assert!(parse(&with(40), "fraud.toml").is_ok());
    let many = errors(&with(41));
    assert!(
        many.contains("monitor.schedules: has 41 entries; expected 40 or fewer"),
        "{many}"
    );
}
