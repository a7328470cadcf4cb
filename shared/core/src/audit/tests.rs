//! Whatever is done to a trail, it shows.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn draft(i: usize) -> Draft {
    Draft {
        who: if i.is_multiple_of(2) {
            Who::Tidegate
        } else {
            Who::Person(format!("ana-{i}"))
        },
        what: What::ALL[i % What::ALL.len()],
        why: format!("reason \"{i}\" \u{2192} ü"),
        facts: json!({ "i": i, "rate": 0.1 * 3.0, "nested": [null, { "a": "b" }] }),
    }
}

fn seal(tip: &mut Tip, draft: Draft) -> Entry {
    let group = GroupName::parse("fraud-detection").unwrap();
    let event = EventId(format!("event-{}", tip.n));
    let context = Context {
        group: &group,
        event: &event,
        at: Timestamp::from_second(1_800_000_000).unwrap(),
        policy_version: 3,
        commit: Some("0123abc"),
    };
    tip.seal(&context, draft)
}

fn chain(len: usize) -> (Vec<Entry>, Tip) {
    let mut tip = Tip::default();
    let entries = (0..len).map(|i| seal(&mut tip, draft(i))).collect();
    (entries, tip)
}

fn verify(entries: &[Entry], tip: &Tip) -> Result<u64, Broken> {
    let mut verifier = Verifier::new();
    for entry in entries {
        verifier.push(entry)?;
    }
    verifier.finish(tip)
}

fn text(hash: &Hash) -> String {
    hash.as_str().to_owned()
}

#[test]
fn a_whole_trail_is_confirmed_with_its_length() {
    assert_eq!(verify(&[], &Tip::default()), Ok(0));
    let (entries, tip) = chain(40);
    assert_eq!(verify(&entries, &tip), Ok(40));
    assert_eq!(entries[39].hash, tip.hash);
}

#[test]
fn an_entry_says_who_did_what_when_and_why_and_what_was_before() {
    let (entries, _) = chain(2);
    let read = entries[1].read().unwrap();
    assert_eq!(read.n, 2);
    assert_eq!(read.prev, entries[0].hash);
    assert_eq!(read.who, Who::Person("ana-1".to_owned()));
    assert_eq!(read.what, What::ALL[1]);
    assert_eq!(read.event, EventId("event-1".to_owned()));
    assert_eq!(
        read.policy,
        PolicyMark {
            version: 3,
            commit: Some("0123abc".to_owned())
        }
    );
    insta::assert_snapshot!(entries[0].body, @r#"{"n":1,"at":"2027-01-15T08:00:00Z","group":"fraud-detection","event":"event-0","who":"tidegate","what":"policy-applied","why":"reason \"0\" → ü","facts":{"i":0,"nested":[null,{"a":"b"}],"rate":0.30000000000000004},"policy":{"version":3,"commit":"0123abc"},"prev":"370f7e6726b437ad18cba8127e4a9ce6bd6ebf4e6c14bce4bcd41c09d6bfbeea"}"#);
}

#[test]
fn trails_that_are_stored_already_can_be_verified_for_ever() {
    // These hashes were computed apart, with Python's hashlib: a change here breaks every trail.
    let (entries, _) = chain(1);
    assert_eq!(
        text(&Tip::default().hash),
        "370f7e6726b437ad18cba8127e4a9ce6bd6ebf4e6c14bce4bcd41c09d6bfbeea"
    );
    assert_eq!(
        text(&entries[0].hash),
        "5cf4ed282f0cafc800a0e33c71a0fad265801525321fc798a65223f00e669a25"
    );
}

#[test]
fn an_entry_can_be_read_and_verified_after_it_was_stored() {
    let (entries, tip) = chain(5);
    let stored = serde_json::to_string(&(&entries, &tip)).unwrap();
    let (entries, tip): (Vec<Entry>, Tip) = serde_json::from_str(&stored).unwrap();
    assert_eq!(verify(&entries, &tip), Ok(5));
}

#[test]
fn each_kind_of_break_is_told_apart() {
    let (entries, tip) = chain(6);

    let mut changed = entries.clone();
    changed[2].body = changed[2].body.replace("reason", "excuse");
    assert_eq!(verify(&changed, &tip), Err(Broken::Hash { n: 3 }));

    let mut dropped = entries.clone();
    dropped.remove(2);
    assert_eq!(verify(&dropped, &tip), Err(Broken::Missing { n: 3 }));

    let mut renumbered = entries.clone();
    renumbered.remove(2);
    renumbered[2].n = 3;
    assert_eq!(verify(&renumbered, &tip), Err(Broken::Link { n: 3 }));

    let cut = verify(&entries[..4], &tip).unwrap_err();
    assert!(matches!(&cut, Broken::Tail { expected, found } if expected.n == 6 && found.n == 4));
    assert!(
        cut.to_string()
            .starts_with("the audit trail ends with entry 4 ("),
        "{cut}"
    );

    let mut forged = entries[..2].to_vec();
    let body = "{}".to_owned();
    forged.push(Entry {
        n: 3,
        hash: Hash::of_entry(&entries[1].hash, &body),
        body,
    });
    assert!(matches!(
        verify(&forged, &tip),
        Err(Broken::Unreadable { n: 3, .. })
    ));

    let mut misplaced = entries[..2].to_vec();
    let body = format!("{{\"n\":3,\"prev\":\"{}\"}}", entries[0].hash);
    misplaced.push(Entry {
        n: 3,
        hash: Hash::of_entry(&entries[1].hash, &body),
        body,
    });
    assert_eq!(verify(&misplaced, &tip), Err(Broken::Link { n: 3 }));
}

#[test]
fn a_break_is_reported_again_whatever_comes_after() {
    let (entries, tip) = chain(3);
    let mut verifier = Verifier::new();
    assert_eq!(verifier.push(&entries[1]), Err(Broken::Missing { n: 1 }));
    assert_eq!(verifier.push(&entries[0]), Err(Broken::Missing { n: 1 }));
    assert_eq!(verifier.finish(&tip), Err(Broken::Missing { n: 1 }));
}

#[test]
fn a_newer_versions_words_do_not_break_the_chain() {
    let mut tip = Tip::default();
    let body = format!(
        "{{\"n\":1,\"prev\":\"{}\",\"what\":\"unheard-of\"}}",
        tip.hash
    );
    let entry = Entry {
        n: 1,
        hash: Hash::of_entry(&tip.hash, &body),
        body,
    };
    tip = Tip {
        n: 1,
        hash: entry.hash.clone(),
    };
    assert_eq!(verify(std::slice::from_ref(&entry), &tip), Ok(1));
    assert!(matches!(
        entry.read(),
        Err(AuditError::Unreadable { n: 1, .. })
    ));
}

#[test]
fn what_is_too_long_is_cut_and_its_facts_are_summarised_with_their_hash() {
    let mut tip = Tip::default();
    let facts = json!({ "log": "ä".repeat(LONGEST_FACTS) });
    let entry = seal(
        &mut tip,
        Draft {
            who: Who::Person("p".repeat(9_999)),
            what: What::Told,
            why: "ä".repeat(9_999),
            facts: facts.clone(),
        },
    );
    assert!(entry.body.len() < 8_000, "{}", entry.body.len());
    let read = entry.read().unwrap();
    assert!(read.why.len() <= LONGEST_WHY && read.why.ends_with("more characters)"));
    let json = facts.to_string();
    assert_eq!(read.facts["bytes"], json.len());
    assert_eq!(read.facts["sha256"], text(&Hash::of_text(&json)));
    let kept = read.facts["summary"]["log"].as_str().unwrap();
    assert!(
        kept.starts_with("ää") && kept.ends_with("more characters)"),
        "{kept}"
    );
    assert_eq!(verify(&[entry], &tip), Ok(1));
}

#[test]
fn facts_of_just_the_longest_size_are_kept() {
    let facts = |len: usize| json!("x".repeat(len - 2));
    let bounded = super::summary::bounded;
    assert_eq!(bounded(facts(LONGEST_FACTS)), facts(LONGEST_FACTS));
    assert_ne!(bounded(facts(LONGEST_FACTS + 1)), facts(LONGEST_FACTS + 1));
}

#[test]
fn of_long_facts_the_first_are_kept_and_the_others_counted() {
    let line = |n: usize| json!({ "feature": format!("f{n}"), "description": "d".repeat(400) });
    let facts = json!({ "findings": (0..100).map(line).collect::<Vec<_>>(), "job": "j" });
    let summary = &super::summary::bounded(facts)["summary"];
    assert_eq!(summary["job"], "j");
    let findings = summary["findings"].as_array().unwrap();
    assert_eq!(findings[0]["feature"], "f0");
    assert_eq!(findings[30], "… (70 more)");
    assert_eq!(findings.len(), 31);
}

#[test]
fn whatever_it_is_of_an_entry_stays_within_its_bound() {
    let worst = || "\u{1}\"".repeat(5_000);
    let deep = |inner: Value| json!({ "a": vec![inner; 40], "b": worst(), worst(): worst() });
    for facts in [
        json!(worst()),
        deep(json!(1)),
        deep(deep(json!("\u{1}".repeat(300)))),
        json!(vec!["x"; 100_000]),
        json!(
            (0..20_000)
                .map(|n| (format!("key {n}"), 1))
                .collect::<std::collections::BTreeMap<_, _>>()
        ),
    ] {
        let draft = Draft {
            who: Who::Person(worst()),
            what: What::Told,
            why: worst(),
            facts,
        };
        let context = Context {
            group: &GroupName::parse(&"g".repeat(63)).unwrap(),
            event: &EventId(worst()),
            at: "2026-01-01T00:00:00.123456789Z".parse().unwrap(),
            policy_version: u32::MAX,
            commit: Some(&worst()),
        };
        let mut tip = Tip {
            n: u64::MAX / 2,
            ..Tip::default()
        };
        let entry = tip.seal(&context, draft);
        assert!(entry.body.len() <= LONGEST_BODY, "{}", entry.body.len());
        assert!(entry.read().unwrap().why.ends_with("more characters)"));
    }
}

#[test]
fn the_words_are_what_is_stored() {
    for what in What::ALL {
        assert_eq!(serde_json::to_value(what).unwrap(), what.word());
        assert!(
            what.word()
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-')
        );
    }
    let person = Who::Person("ana".to_owned());
    assert_eq!(
        serde_json::to_string(&person).unwrap(),
        r#"{"person":"ana"}"#
    );
    assert_eq!(
        serde_json::to_string(&Who::Sagemaker).unwrap(),
        r#""sagemaker""#
    );
}

#[test]
fn only_a_hash_is_read_as_one() {
    let good = "0123456789abcdef".repeat(4);
    assert!(Hash::try_from(good.clone()).is_ok());
    for bad in [
        good.to_uppercase(),
        good[1..].to_owned(),
        good.replace('a', "g"),
        String::new(),
    ] {
        assert!(Hash::try_from(bad.clone()).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_changed_byte_shows(
        len in 1..12_usize,
        entry in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        new in any::<u8>(),
        in_hash in any::<bool>(),
    ) {
        let (mut entries, tip) = chain(len);
        let entry = &mut entries[entry.index(len)];
        let mut bytes = if in_hash { text(&entry.hash) } else { entry.body.clone() }.into_bytes();
        let at = byte.index(bytes.len());
        prop_assume!(bytes[at] != new);
        bytes[at] = new;
        // What is no text, or no hash, the ledger can't even hold as one.
        let Ok(changed) = String::from_utf8(bytes) else { return Ok(()) };
        if in_hash {
            let Ok(hash) = Hash::try_from(changed) else { return Ok(()) };
            entry.hash = hash;
        } else {
            entry.body = changed;
        }
        prop_assert!(verify(&entries, &tip).is_err());
    }

    #[test]
    fn dropping_swapping_doubling_and_cutting_show(
        len in 2..12_usize,
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        renumber in any::<bool>(),
        how in 0..4_u8,
    ) {
        let (mut entries, tip) = chain(len);
        let (one, other) = (one.index(len), other.index(len));
        match how {
            0 => drop(entries.remove(one)),
            1 => {
                prop_assume!(one != other);
                entries.swap(one, other);
            }
            2 => entries.insert(other, entries[one].clone()),
            _ => entries.truncate(one),
        }
        if renumber {
            for (entry, n) in entries.iter_mut().zip(1..) {
                entry.n = n;
            }
        }
        prop_assert!(verify(&entries, &tip).is_err());
    }

    #[test]
    fn a_trail_rewritten_from_the_middle_shows_by_its_tip(
        len in 1..12_usize,
        from in any::<prop::sample::Index>(),
    ) {
        let (entries, tip) = chain(len);
        let from = from.index(len);
        let mut forged = entries[..from].to_vec();
        let mut forged_tip = match forged.last() {
            Some(last) => Tip { n: last.n, hash: last.hash.clone() },
            None => Tip::default(),
        };
        for i in from..len {
            forged.push(seal(&mut forged_tip, Draft { why: "nothing happened".to_owned(), ..draft(i) }));
        }
        // It is a sound chain, only not the one that the head knows.
        prop_assert_eq!(verify(&forged, &forged_tip), Ok(len as u64));
        let shown = matches!(verify(&forged, &tip), Err(Broken::Tail { .. }));
        prop_assert!(shown);
    }
}
