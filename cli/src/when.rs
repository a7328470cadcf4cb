//! Times on the command line: `2026-11-24T21:00` (UTC if no zone is said), `-3h`, `now`.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time, or how long before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    At(Timestamp),
    Before(SignedDuration),
}

impl When {
    /// The time, by what time it is now.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Before(ago) => now.saturating_sub(ago).unwrap_or(now),
        }
    }

    /// Reads a time; says what it may look like if it isn't one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("now") {
            return Ok(Self::Before(SignedDuration::ZERO));
        }
        if let Some(ago) = text.strip_prefix('-').and_then(before) {
            return Ok(Self::Before(ago));
        }
        let utc = |at: DateTime| TimeZone::UTC.to_timestamp(at).ok();
        let zoned = text.parse::<Timestamp>().ok();
        let civil = || text.parse::<DateTime>().ok().and_then(utc);
        let date = || {
            text.parse::<Date>()
                .ok()
                .and_then(|d| utc(d.at(0, 0, 0, 0)))
        };
        zoned
            .or_else(civil)
            .or_else(date)
            .map(Self::At)
            .ok_or_else(|| {
                "a time is like 2026-11-24T21:00 (UTC), 2026-11-24T21:00+01:00, -90m, -3h, -2d or now"
                    .to_owned()
            })
    }
}

/// `90m`, `3h` and `2d`, up to ten years.
fn before(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().next_back()?;
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 1_440,
        _ => return None,
    };
    let minutes = i64::from(count) * minutes;
    (minutes <= 3_653 * 1_440).then(|| SignedDuration::from_mins(minutes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_is_of_utc_unless_it_says_else() {
        let now: Timestamp = "2026-11-24T22:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2026-11-24T21:00", "2026-11-24T21:00:00Z"),
            ("2026-11-24 21:00:30", "2026-11-24T21:00:30Z"),
            ("2026-11-24T21:00Z", "2026-11-24T21:00:00Z"),
            ("2026-11-24T21:00+01:00", "2026-11-24T20:00:00Z"),
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("-90m", "2026-11-24T20:30:00Z"),
            ("-3h", "2026-11-24T19:00:00Z"),
            ("-2d", "2026-11-22T22:00:00Z"),
            ("now", "2026-11-24T22:00:00Z"),
        ] {
            let read = When::parse(text).unwrap().at(now);
            assert_eq!(read.to_string(), at, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_what_one_is() {
        for text in [
            "",
            "-",
            "-h",
            "3h",
            "-3w",
            "-3",
            "-99999999999h",
            "-4000d",
            "yesterday",
            "-é",
            "21:00",
        ] {
            let complaint = When::parse(text).unwrap_err();
            assert!(
                complaint.contains("2026-11-24T21:00"),
                "{text}: {complaint}"
            );
        }
    }
}
