//! An item's document: JSON text, deflated where it is long.
//!
//! Most items are some hundred bytes and stay readable in the console. A rollout that keeps a day
//! of minutes is not: deflated it costs a tenth of the write units and stays below `DynamoDB`'s
//! 400 KB an item.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_core::bounds::ITEM;
use tidegate_core::ledger::LedgerError;

use super::keys::{DOC, PACKED, PARTITION, SORT};

/// An item as the SDK has it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// Longer documents are deflated, bytes.
const READABLE: usize = 8 * 1024;
/// The longest document, bytes as stored: `DynamoDB`'s limit less room for keys.
const LONGEST: usize = ITEM - 10 * 1024;
/// The longest document that is read, bytes of JSON: an item that unpacks to more is not ours.
const LONGEST_TEXT: u64 = 32 * 1024 * 1024;

/// An item of these keys with this document.
pub(super) fn item<T: Serialize>(pk: &str, sk: &str, doc: &T) -> Result<Item, LedgerError> {
    let unwritable = |why: String| LedgerError::Unreadable {
        key: format!("{pk} {sk}"),
        why,
    };
    let text = serde_json::to_string(doc).map_err(|error| unwritable(error.to_string()))?;
    let (name, value, size) = if text.len() <= READABLE {
        let size = text.len();
        (DOC, AttributeValue::S(text), size)
    } else {
        let packed = deflate(&text).map_err(|error| unwritable(error.to_string()))?;
        let size = packed.len();
        (PACKED, AttributeValue::B(Blob::new(packed)), size)
    };
    if size > LONGEST {
        return Err(LedgerError::Refused(format!(
            "{pk} {sk} has {size} bytes and an item can have {LONGEST}; a policy with fewer guards \
             or shorter smoke requests and dimensions makes state and records smaller"
        )));
    }
    Ok(HashMap::from([
        (PARTITION.to_owned(), AttributeValue::S(pk.to_owned())),
        (SORT.to_owned(), AttributeValue::S(sk.to_owned())),
        (name.to_owned(), value),
    ]))
}

/// The document of an item.
pub(super) fn read<T: DeserializeOwned>(item: &Item) -> Result<T, LedgerError> {
    let unreadable = |why: String| LedgerError::Unreadable {
        key: key_of(item),
        why,
    };
    if let Some(AttributeValue::S(text)) = item.get(DOC) {
        return serde_json::from_str(text).map_err(|error| unreadable(error.to_string()));
    }
    let Some(AttributeValue::B(packed)) = item.get(PACKED) else {
        return Err(unreadable(format!("it has neither {DOC} nor {PACKED}")));
    };
    let mut text = String::new();
    DeflateDecoder::new(packed.as_ref())
        .take(LONGEST_TEXT)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

/// How many bytes `DynamoDB` counts of an item: its names and values.
pub(super) fn bytes(item: &Item) -> usize {
    let of = |(name, value): (&String, &AttributeValue)| {
        let value = match value {
            AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
            AttributeValue::B(blob) => blob.as_ref().len(),
            _ => 0,
        };
        name.len() + value
    };
    item.iter().map(of).sum()
}

/// A text attribute of an item, empty if it has none.
pub(super) fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map_or("", String::as_str)
}

fn key_of(item: &Item) -> String {
    format!("{} {}", text(item, PARTITION), text(item, SORT))
}

fn deflate(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn short_documents_are_readable_and_long_ones_are_packed() {
        let short = item("p", "s", &"x").unwrap();
        assert_eq!(text(&short, DOC), "\"x\"");
        let long: Vec<f64> = (0..50_000).map(|n| f64::from(n) / 7.0).collect();
        let packed = item("p", "s", &long[..20_000].to_vec()).unwrap();
        assert!(packed.contains_key(PACKED));
        assert_eq!(read::<Vec<f64>>(&packed).unwrap(), long[..20_000]);
    }

    #[test]
    fn what_no_item_can_hold_is_refused_with_advice() {
        let mut state = 1_u64;
        let noise: Vec<u64> = (0..60_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state
            })
            .collect();
        let error = item("p", "s", &noise).unwrap_err();
        assert!(matches!(error, LedgerError::Refused(_)), "{error}");
    }

    #[test]
    fn an_item_that_is_not_ours_is_named() {
        let mut broken = item("p", "s", &1).unwrap();
        broken.insert(DOC.to_owned(), AttributeValue::S("{".to_owned()));
        let error = read::<u8>(&broken).unwrap_err();
        assert!(error.to_string().contains("p s"), "{error}");
        broken.remove(DOC);
        assert!(read::<u8>(&broken).is_err());
    }
}
