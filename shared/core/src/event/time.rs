//! Times in all the forms that AWS sends: ISO 8601 with or without a fraction or a colon in the
//! offset, and seconds or milliseconds since 1970 as a number or in a string. Source: the examples
//! in "Automating Amazon SageMaker with Amazon EventBridge", which use most of them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// From here on a number counts milliseconds: as seconds it would be in the year 5138.
const FIRST_MILLISECONDS: f64 = 1e11;

/// Reads a time, whatever its form; None if it is none.
pub(super) fn from_json(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => from_epoch(number.as_f64()?),
        Value::String(text) => from_text(text),
        _ => None,
    }
}

fn from_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if text.len() >= 5
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b".-+eE".contains(&b))
        && let Ok(number) = text.parse::<f64>()
    {
        return from_epoch(number);
    }
    // Without an offset AWS means UTC. A bare date is no time.
    let civil: DateTime = text.parse().ok().filter(|_| text.contains(':'))?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[allow(clippy::cast_possible_truncation)] // `as` saturates, and jiff refuses what is out of range
fn from_epoch(number: f64) -> Option<Timestamp> {
    if !number.is_finite() {
        return None;
    }
    let milliseconds = if number.abs() >= FIRST_MILLISECONDS {
        number
    } else {
        number * 1_000.0
    };
    Timestamp::from_millisecond(milliseconds.round() as i64).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn one_moment_is_read_from_every_form() {
        let moment: Timestamp = "2020-03-10T09:18:09.05Z".parse().unwrap();
        for form in [
            json!("2020-03-10T09:18:09.05Z"),
            json!("2020-03-10T09:18:09.050+00:00"),
            json!("2020-03-10T09:18:09.050+0000"),
            json!("2020-03-10T10:18:09.050+01:00"),
            json!("2020-03-10T09:18:09.050000000Z"),
            json!("2020-03-10T09:18:09.05"),
            json!(" 2020-03-10 09:18:09.05Z "),
            json!(1_583_831_889_050_i64),
            json!(1_583_831_889_050.0),
            json!("1583831889050"),
            json!("1583831889050.0"),
            json!(1_583_831_889.05),
            json!("1583831889.05"),
            json!("1.58383188905e12"),
        ] {
            assert_eq!(from_json(&form), Some(moment), "{form}");
        }
        assert_eq!(
            from_json(&json!("2018-10-06T12:26:13Z")),
            "2018-10-06T12:26:13Z".parse().ok()
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        for form in [
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!(""),
            json!("soon"),
            json!("2020"),
            json!("2020-03-10"),
            json!("<aws.scheduler.scheduled-time>"),
            json!("2020-13-10T09:18:09Z"),
            json!(1e300),
            json!("NaN"),
            json!("1e999"),
            json!("-----"),
        ] {
            assert_eq!(from_json(&form), None, "{form}");
        }
    }
}
