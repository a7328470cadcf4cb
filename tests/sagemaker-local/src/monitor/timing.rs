//! When a monitoring schedule runs, and which data an execution looks at (API reference,
//! `ScheduleConfig`).

use jiff::Span as Length;

use crate::json::text;
use crate::moment::{Moment, Span};
use serde_json::Value;

const HOUR: i64 = 3_600_000;
const DAY_HOURS: i64 = 24;
/// "The start time must not precede the end time by more than 24 hours."
const LONGEST_WINDOW: Span = Span::seconds(24 * 3600);

/// When executions are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Timing {
    /// `NOW`: once, when the schedule is created or started.
    Once,
    /// At these hours of each day, UTC.
    Hours(Vec<i64>),
}

impl Timing {
    /// Reads `NOW` or one of the cron expressions that Model Monitor takes; `None` for others.
    pub(crate) fn parse(expression: &str) -> Option<Self> {
        if expression == "NOW" {
            return Some(Self::Once);
        }
        let hours = expression
            .strip_prefix("cron(0 ")?
            .strip_suffix(" ? * * *)")?;
        if hours == "*" {
            return Some(Self::Hours((0..DAY_HOURS).collect()));
        }
        let (first, every) = hours.split_once('/').unwrap_or((hours, "24"));
        let (first, every): (i64, i64) = (first.parse().ok()?, every.parse().ok()?);
        if !(0..DAY_HOURS).contains(&first) || !(1..=DAY_HOURS).contains(&every) {
            return None;
        }
        // "Every 12 hours, starting at 5pm" runs at 5am too, unlike in other crons.
        let steps = (0..DAY_HOURS).filter(|step| step % every == 0);
        let mut hours: Vec<i64> = steps.map(|step| (first + step) % DAY_HOURS).collect();
        hours.sort_unstable();
        Some(Self::Hours(hours))
    }

    /// Daily at an hour that SageMaker picks, for a schedule without an expression.
    pub(crate) fn daily(hour: i64) -> Self {
        Self::Hours(vec![hour.rem_euclid(DAY_HOURS)])
    }

    /// The first time after a moment.
    pub(crate) fn next(&self, after: Moment) -> Option<Moment> {
        let Self::Hours(hours) = self else {
            return None;
        };
        let next = after.as_millis().div_euclid(HOUR) + 1;
        (next..next + DAY_HOURS)
            .find(|hour| hours.contains(&hour.rem_euclid(DAY_HOURS)))
            .map(|hour| Moment::from_millis(hour * HOUR))
    }

    /// How long it is since the time before a scheduled one.
    pub(crate) fn period(&self, scheduled: Moment) -> Span {
        let Self::Hours(hours) = self else {
            return Span::millis(HOUR);
        };
        let last = scheduled.as_millis().div_euclid(HOUR);
        let before =
            (1..=DAY_HOURS).find(|back| hours.contains(&(last - back).rem_euclid(DAY_HOURS)));
        Span::millis(before.unwrap_or(DAY_HOURS) * HOUR)
    }

    /// The shortest time between two executions; none for a single one.
    pub(crate) fn shortest(&self) -> Option<Span> {
        let Self::Hours(hours) = self else {
            return None;
        };
        hours
            .iter()
            .map(|hour| self.period(Moment::from_millis(hour * HOUR)))
            .min()
    }
}

/// An offset such as `-PT1H` or `P1D`: how far back.
fn back(offset: &str) -> Option<Span> {
    let length: Length = offset.parse().ok()?;
    if length.get_years() != 0 || length.get_months() != 0 {
        return None;
    }
    let days = i64::from(length.get_days()) + 7 * i64::from(length.get_weeks());
    let hours = days * DAY_HOURS + i64::from(length.get_hours());
    let seconds = (hours * 60 + length.get_minutes()) * 60 + length.get_seconds();
    Some(Span::seconds(seconds.abs()))
}

/// The first and the last moment of the data that an execution looks at: offsets of the endpoint's
/// input, else of the schedule, else the time since the execution before.
pub(crate) fn window(
    timing: &Timing,
    schedule: &Value,
    input: &Value,
    at: Moment,
) -> (Moment, Moment) {
    let offset = |holder: &Value, member: &str| back(text(holder, member)?);
    let start =
        offset(input, "StartTimeOffset").or_else(|| offset(schedule, "DataAnalysisStartTime"));
    let end = offset(input, "EndTimeOffset").or_else(|| offset(schedule, "DataAnalysisEndTime"));
    (
        at - start.unwrap_or_else(|| timing.period(at)),
        at - end.unwrap_or(Span::millis(0)),
    )
}

/// What is wrong with a schedule's window, if anything.
pub(crate) fn complaint(timing: &Timing, schedule: &Value) -> Option<String> {
    let mut bounds = Vec::new();
    for member in ["DataAnalysisStartTime", "DataAnalysisEndTime"] {
        match text(schedule, member) {
            None if *timing == Timing::Once => {
                return Some(format!(
                    "{member} must be specified when ScheduleExpression is NOW."
                ));
            }
            None => {}
            Some(offset) => match back(offset) {
                None => {
                    return Some(format!(
                        "{member} {offset} is not an ISO 8601 duration of days and times."
                    ));
                }
                Some(bound) => bounds.push(bound),
            },
        }
    }
    match bounds.as_slice() {
        [start, end] if start <= end => {
            Some("DataAnalysisStartTime must be before DataAnalysisEndTime.".to_owned())
        }
        [start, end]
            if Moment::from_millis(start.as_millis()) - Moment::from_millis(end.as_millis())
                > LONGEST_WINDOW =>
        {
            Some(
                "DataAnalysisStartTime must not precede DataAnalysisEndTime by more than 24 hours."
                    .to_owned(),
            )
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    fn next(expression: &str, after: &str) -> String {
        Timing::parse(expression)
            .unwrap()
            .next(at(after))
            .unwrap()
            .iso()
    }

    #[test]
    fn an_hourly_a_daily_and_a_twelve_hourly_schedule_find_their_next_time() {
        assert_eq!(
            next("cron(0 * ? * * *)", "2026-03-01T12:00:00Z"),
            "2026-03-01T13:00:00Z"
        );
        assert_eq!(
            next("cron(0 12 ? * * *)", "2026-03-01T12:30:00Z"),
            "2026-03-02T12:00:00Z"
        );
        assert_eq!(
            next("cron(0 17/12 ? * * *)", "2026-03-01T18:00:00Z"),
            "2026-03-02T05:00:00Z"
        );
        assert_eq!(
            next("cron(0 0/2 ? * * *)", "2026-03-01T23:59:59Z"),
            "2026-03-02T00:00:00Z"
        );
    }

    #[test]
    fn expressions_that_model_monitor_does_not_take_are_refused() {
        for text in [
            "",
            "now",
            "cron(5 * ? * * *)",
            "cron(0 24 ? * * *)",
            "cron(0 1/0 ? * * *)",
            "cron(0 9-17 ? * * *)",
            "rate(1 hour)",
            "Hourly: cron(0 * ? * * *)",
        ] {
            assert_eq!(Timing::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_execution_looks_at_the_time_since_the_one_before() {
        let noon = at("2026-03-01T12:00:00Z");
        let since = |expression: &str| {
            let timing = Timing::parse(expression).unwrap();
            let (start, end) = window(&timing, &json!({}), &json!({}), noon);
            (start.iso(), end.iso())
        };
        assert_eq!(
            since("cron(0 * ? * * *)"),
            ("2026-03-01T11:00:00Z".into(), "2026-03-01T12:00:00Z".into())
        );
        assert_eq!(since("cron(0 12 ? * * *)").0, "2026-02-28T12:00:00Z");
        assert_eq!(since("cron(0 0/6 ? * * *)").0, "2026-03-01T06:00:00Z");
    }

    #[test]
    fn offsets_move_the_window_back() {
        let noon = at("2026-03-01T12:00:00Z");
        let hourly = Timing::parse("cron(0 * ? * * *)").unwrap();
        let input = json!({"StartTimeOffset": "-PT48H", "EndTimeOffset": "-P1D"});
        let (start, end) = window(&hourly, &json!({}), &input, noon);
        assert_eq!(
            (start.iso().as_str(), end.iso().as_str()),
            ("2026-02-27T12:00:00Z", "2026-02-28T12:00:00Z")
        );
        let once = json!({"DataAnalysisStartTime": "-PT3H", "DataAnalysisEndTime": "-PT1H"});
        let (start, end) = window(&Timing::Once, &once, &json!({}), noon);
        assert_eq!(
            (start.iso().as_str(), end.iso().as_str()),
            ("2026-03-01T09:00:00Z", "2026-03-01T11:00:00Z")
        );
    }

    #[test]
    fn a_window_that_can_not_be_is_complained_of() {
        let complaint = |start: &str, end: &str| {
            complaint(
                &Timing::Once,
                &json!({"DataAnalysisStartTime": start, "DataAnalysisEndTime": end}),
            )
        };
        assert_eq!(complaint("-PT1H", "-PT0H"), None);
        assert!(complaint("-PT1H", "-PT1H").unwrap().contains("before"));
        assert!(complaint("-P2D", "-PT1H").unwrap().contains("24 hours"));
        assert!(complaint("-P1Y", "-PT1H").unwrap().contains("ISO 8601"));
        assert!(
            super::complaint(&Timing::Once, &json!({}))
                .unwrap()
                .contains("NOW")
        );
    }
}
