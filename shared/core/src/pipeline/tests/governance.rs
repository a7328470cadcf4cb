//! `[governance]`: what may be said, what is not understood, and what SageMaker would not take.

use super::{MINIMAL, parse};
use crate::pipeline::{CardStatus, RiskRating};

fn with(lines: &str) -> String {
    format!("{MINIMAL}\n{lines}\n")
}

fn errors(lines: &str) -> String {
    parse(&with(lines), "fraud.toml").unwrap_err().to_string()
}

#[test]
fn lineage_is_kept_and_the_rest_only_where_it_is_asked_for() {
    let usual = parse(MINIMAL, "fraud.toml").unwrap();
    assert!(usual.governance.lineage);
    assert!(!usual.governance.lifecycle);
    assert_eq!(usual.governance.card, None);
    // A policy of before there was the table is the same policy.
    let json = serde_json::to_value(&usual).unwrap();
    assert_eq!(json.get("governance"), None);
    let text = "[governance]\nlineage = false\nlifecycle = true\n[governance.card]\n\
                status = \"pending_review\"\nrisk_rating = \"high\"";
    let said = parse(&with(text), "fraud.toml").unwrap().governance;
    assert!(!said.lineage && said.lifecycle);
    let card = said.card.unwrap();
    assert_eq!(card.status, CardStatus::PendingReview);
    assert_eq!(
        card.content(),
        r#"{"intended_uses":{"risk_rating":"High"}}"#
    );
    assert_eq!(card.risk_rating, Some(RiskRating::High));
}

#[test]
fn a_card_that_sagemaker_would_not_take_is_refused_by_its_key() {
    let key = errors("[governance.card]\nintended_use = \"Payments\"");
    assert!(
        key.contains("unknown key; did you mean \"intended_uses\"?"),
        "{key}"
    );
    let rating = errors("[governance.card]\nrisk_rating = \"severe\"");
    assert!(
        rating.contains("governance.card.risk_rating: is \"severe\"; expected one of"),
        "{rating}"
    );
    let long = |n: usize| format!("[governance.card]\npurpose = \"{}\"", "ä".repeat(n));
    assert!(parse(&with(&long(2_048)), "fraud.toml").is_ok());
    let too_long = errors(&long(2_049));
    assert!(
        too_long.contains("governance.card.purpose: is longer than 2048 characters"),
        "{too_long}"
    );
    // Six characters of JSON each.
    let keys = "purpose intended_uses factors risk_explanation business_problem stakeholders \
                line_of_business ethics caveats";
    let text = "\\u0001".repeat(2_048);
    let all: Vec<String> = keys
        .split_whitespace()
        .map(|key| format!("{key} = \"{text}\""))
        .collect();
    let whole = errors(&format!("[governance.card]\n{}", all.join("\n")));
    assert!(
        whole.contains("governance.card: takes 11") && whole.contains("SageMaker takes 100000"),
        "{whole}"
    );
}
