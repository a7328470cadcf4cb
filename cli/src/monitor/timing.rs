//! When a monitoring schedule runs, by its expression (API reference, `ScheduleConfig`).

use jiff::{Timestamp, ToSpan as _};

const DAY: i64 = 24;
const HOUR_SECONDS: i64 = 3_600;

/// When a schedule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// Once, when it is made or started.
    Once,
    /// At this hour of the day, UTC, and every so many hours before and after it.
    Every { first: i64, hours: i64 },
    /// By an expression that says nothing of when, or none: `SageMaker` picked an hour of the day.
    Unknown,
}

impl Timing {
    /// Reads an expression.
    pub(super) fn read(expression: Option<&str>) -> Self {
        let Some(expression) = expression else {
            return Self::Unknown;
        };
        if expression == "NOW" {
            return Self::Once;
        }
        let hours = expression
            .strip_prefix("cron(0 ")
            .and_then(|rest| rest.strip_suffix(" ? * * *)"));
        match hours {
            Some("*") => Self::Every { first: 0, hours: 1 },
            Some(hours) => {
                let (first, every) = hours.split_once('/').unwrap_or((hours, "24"));
                match (first.parse(), every.parse()) {
                    (Ok(first), Ok(hours))
                        if (0..DAY).contains(&first) && (1..=DAY).contains(&hours) =>
                    {
                        Self::Every { first, hours }
                    }
                    _ => Self::Unknown,
                }
            }
            None => Self::Unknown,
        }
    }

    /// For people, within a sentence.
    pub(super) fn in_words(self, expression: Option<&str>) -> String {
        match self {
            Self::Once => "once".to_owned(),
            Self::Every { hours: 1, .. } => "every hour".to_owned(),
            Self::Every { first, hours: DAY } => format!("every day at {first:02}:00 UTC"),
            Self::Every { first, hours } => format!("every {hours} hours from {first:02}:00 UTC"),
            Self::Unknown => expression.map_or_else(
                || "every day, at an hour that SageMaker picked".to_owned(),
                str::to_owned,
            ),
        }
    }

    /// The next time after this one, if it is known. "There could be a delay of 0-20 minutes."
    pub(super) fn next(self, after: Timestamp) -> Option<Timestamp> {
        let Self::Every { first, hours } = self else {
            return None;
        };
        let hour = after.as_second().div_euclid(HOUR_SECONDS) + 1;
        // Of a day, the hours that are so many apart from the first, which may be of the day before.
        let is_due = |hour: &i64| (hour - first).rem_euclid(DAY) % hours == 0;
        let next = (hour..hour + DAY).find(is_due)?;
        Timestamp::UNIX_EPOCH.checked_add(next.hours()).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_expressions_of_model_monitor_say_when() {
        let after = "2026-03-01T12:30:00Z".parse().unwrap();
        for (expression, words, next) in [
            ("cron(0 * ? * * *)", "every hour", "2026-03-01T13:00:00Z"),
            (
                "cron(0 12 ? * * *)",
                "every day at 12:00 UTC",
                "2026-03-02T12:00:00Z",
            ),
            (
                "cron(0 17/12 ? * * *)",
                "every 12 hours from 17:00 UTC",
                "2026-03-01T17:00:00Z",
            ),
            (
                "cron(0 0/2 ? * * *)",
                "every 2 hours from 00:00 UTC",
                "2026-03-01T14:00:00Z",
            ),
        ] {
            let timing = Timing::read(Some(expression));
            assert_eq!(timing.in_words(Some(expression)), words);
            assert_eq!(
                timing.next(after).unwrap().to_string(),
                next,
                "{expression}"
            );
        }
    }

    #[test]
    fn what_runs_once_or_at_an_unknown_time_has_no_next_one() {
        let after = Timestamp::UNIX_EPOCH;
        for expression in [
            Some("NOW"),
            None,
            Some("cron(0 25 ? * * *)"),
            Some("rate(1h)"),
        ] {
            assert_eq!(Timing::read(expression).next(after), None, "{expression:?}");
        }
        assert!(Timing::Unknown.in_words(None).contains("picked"));
    }
}
