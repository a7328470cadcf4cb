//! The limits of AWS that what Tidegate keeps and sends has to stay below, and how a text that is
//! too long is cut.
//!
//! Sources: "Quotas in Amazon DynamoDB" (items, transactions); `Publish` in the SNS API reference
//! and `PutEvents` in EventBridge's (messages). The bounds of a thing are constants beside it; the
//! largest things that they allow are tested against these limits.

/// An item of `DynamoDB`, bytes of its names and values.
pub const ITEM: usize = 400 * 1024;

/// The items of one transaction (`TransactWriteItems`).
pub const TRANSACTION_ITEMS: usize = 100;

/// The bytes of one transaction's items: 4 MB.
pub const TRANSACTION: usize = 4_000_000;

/// A message to a topic and an event to the bus, bytes with all that is around them. `EventBridge`
/// takes 1 MB since 2026; what subscribes may still take no more than this.
pub const MESSAGE: usize = 256 * 1024;

/// How many bytes the text takes in JSON, without its quotes.
pub fn json_bytes(text: &str) -> usize {
    text.chars().map(json_bytes_of).sum()
}

fn json_bytes_of(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

/// The most bytes of `… (N more characters)`.
const CUT_MARK: usize = 42;

/// The text, cut between characters so that it takes at most `most` bytes in JSON (50 or more);
/// what was cut says how much is missing.
pub fn cut(text: &str, most: usize) -> String {
    if json_bytes(text) <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(CUT_MARK);
    let fits = |c: &char| {
        let rest = left.checked_sub(json_bytes_of(*c));
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    let kept: String = text.chars().take_while(fits).collect();
    let more = text[kept.len()..].chars().count();
    format!("{kept}… ({more} more characters)")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{cut, json_bytes};

    #[test]
    fn a_text_that_is_cut_says_how_much_is_missing() {
        assert_eq!(cut("short", 50), "short");
        let long = cut(&"ä".repeat(100), 50);
        assert_eq!(long, "ääää… (96 more characters)");
        assert_eq!(cut(&long, 50), long, "what was cut stays as it is");
    }

    proptest! {
        #[test]
        fn a_cut_text_fits_in_json_whatever_is_in_it(text in "\\PC*|[\"\\\\\u{0}-\u{1f}]{0,300}", most in 50_usize..200) {
            let cut = cut(&text, most);
            let json = serde_json::to_string(&cut).unwrap_or_default();
            prop_assert!(json.len() - 2 <= most, "{} of {most}: {cut}", json.len());
            prop_assert_eq!(json.len() - 2, json_bytes(&cut));
        }
    }
}
