//! Numbers as decimal text that reads back to the same bits.
//!
//! JSON readers may be off by the last bit of a number; evidence is read and written every minute,
//! and a state has to be equal to what was stored of it.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

fn parse<E: Error>(text: &str) -> Result<f64, E> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(E::custom(format!(
            "{:?} is not a finite number",
            text.get(..40).unwrap_or(text)
        ))),
    }
}

/// One number.
pub(super) mod number {
    use super::{Deserialize, Deserializer, Serializer, parse};

    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(in crate::evidence) fn serialize<S: Serializer>(n: &f64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(n)
    }

    pub(in crate::evidence) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<f64, D::Error> {
        parse(&String::deserialize(d)?)
    }
}

/// A number or none.
pub(super) mod maybe {
    use super::{Deserialize, Deserializer, Serializer, parse};

    #[allow(clippy::ref_option)]
    pub(in crate::evidence) fn serialize<S: Serializer>(
        n: &Option<f64>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match n {
            Some(n) => s.collect_str(n),
            None => s.serialize_none(),
        }
    }

    pub(in crate::evidence) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<f64>, D::Error> {
        Option::<String>::deserialize(d)?
            .map(|text| parse(&text))
            .transpose()
    }
}

/// A row of numbers, separated by spaces.
pub(super) mod row {
    use super::super::GRID;
    use super::{Deserialize, Deserializer, Error, Serializer, parse};

    pub(in crate::evidence) fn serialize<S: Serializer>(
        row: &[f64; GRID],
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.serialize_str(&row.map(|n| n.to_string()).join(" "))
    }

    pub(in crate::evidence) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<[f64; GRID], D::Error> {
        let text = String::deserialize(d)?;
        let numbers = text
            .split(' ')
            .take(GRID + 1)
            .map(parse)
            .collect::<Result<Vec<f64>, D::Error>>()?;
        <[f64; GRID]>::try_from(numbers)
            .map_err(|got| D::Error::custom(format!("{} numbers, not {GRID}", got.len())))
    }
}
