//! Schedule expressions of EventBridge Scheduler: `rate(...)`, `at(...)` and `cron(...)`, in UTC.
//!
//! Of cron the fields' lists, ranges, steps, `*` and `?` are understood; `L`, `W` and `#` and time
//! zones are not.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::moment::{Moment, Span};

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Every so often, counted from when the schedule began.
    Rate(Span),
    /// Once.
    At(Moment),
    Cron(Box<Cron>),
}

/// Allowed values of each field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: BTreeSet<i16>,
    hours: BTreeSet<i16>,
    days: Option<BTreeSet<i16>>,
    months: BTreeSet<i16>,
    /// Sunday is 1.
    weekdays: Option<BTreeSet<i16>>,
    years: Option<BTreeSet<i16>>,
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let inner = |name: &str| {
            text.strip_prefix(name)?
                .strip_prefix('(')?
                .strip_suffix(')')
                .map(str::trim)
        };
        if let Some(rate) = inner("rate") {
            return parse_rate(rate).ok_or_else(|| format!("{text} is no rate"));
        }
        if let Some(at) = inner("at") {
            let at: DateTime = at.parse().map_err(|error| format!("{text}: {error}"))?;
            let at = TimeZone::UTC
                .to_timestamp(at)
                .map_err(|error| format!("{text}: {error}"))?;
            return Ok(Self::At(Moment::from_millis(at.as_millisecond())));
        }
        if let Some(cron) = inner("cron") {
            return parse_cron(cron)
                .map(|cron| Self::Cron(Box::new(cron)))
                .ok_or_else(|| format!("{text} is no cron expression that is understood here"));
        }
        Err(format!("{text} is no rate(...), at(...) or cron(...)"))
    }

    /// The first time after `last` for a schedule that began at `begun`.
    pub(crate) fn next(&self, begun: Moment, last: Moment) -> Option<Moment> {
        match self {
            Self::Rate(every) => {
                let passed = (last - begun)
                    .as_millis()
                    .max(0)
                    .div_euclid(every.as_millis());
                Some(begun + Span::millis((passed + 1).saturating_mul(every.as_millis())))
            }
            Self::At(at) => (*at > last).then_some(*at),
            Self::Cron(cron) => cron.next(last),
        }
    }
}

fn parse_rate(text: &str) -> Option<Expression> {
    let (number, unit) = text.split_once(' ')?;
    let number: i64 = number
        .parse()
        .ok()
        .filter(|number| (1..=100_000).contains(number))?;
    let seconds = match unit.trim() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        _ => return None,
    };
    Some(Expression::Rate(Span::seconds(number * seconds)))
}

fn parse_cron(text: &str) -> Option<Cron> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays, years] = fields.as_slice() else {
        return None;
    };
    let optional = |field: &str, low: i16, high: i16, names: &[&str]| {
        if matches!(field, "*" | "?") {
            Some(None)
        } else {
            values(field, low, high, names).map(Some)
        }
    };
    Some(Cron {
        minutes: values(minutes, 0, 59, &[])?,
        hours: values(hours, 0, 23, &[])?,
        days: optional(days, 1, 31, &[])?,
        months: values(
            months,
            1,
            12,
            &[
                "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
            ],
        )?,
        weekdays: optional(
            weekdays,
            1,
            7,
            &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        )?,
        years: optional(years, 1970, 2199, &[])?,
    })
}

/// `*`, `5`, `1-5`, `0/15`, `MON-FRI`, and lists of them.
fn values(field: &str, low: i16, high: i16, names: &[&str]) -> Option<BTreeSet<i16>> {
    let number = |text: &str| -> Option<i16> {
        let position = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        let number = match position {
            Some(index) => low + i16::try_from(index).ok()?,
            None => text.parse().ok()?,
        };
        (low..=high).contains(&number).then_some(number)
    };
    let mut all = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                Some(step.parse::<usize>().ok().filter(|step| *step > 0)?),
            ),
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (low, high),
            (_, Some((from, to))) => (number(from)?, number(to)?),
            (one, None) if step.is_some() => (number(one)?, high),
            (one, None) => (number(one)?, number(one)?),
        };
        all.extend((from..=to).step_by(step.unwrap_or(1)));
    }
    (!all.is_empty()).then_some(all)
}

impl Cron {
    /// Looks day by day for four years, then gives up.
    fn next(&self, last: Moment) -> Option<Moment> {
        let start = Timestamp::from_millisecond((last.minute() + 1).checked_mul(60_000)?).ok()?;
        let start = Offset::UTC.to_datetime(start);
        let mut day = start.date();
        for index in 0..(4 * 366) {
            if self.has_day(day) {
                for hour in &self.hours {
                    for minute in &self.minutes {
                        let at =
                            day.at(i8::try_from(*hour).ok()?, i8::try_from(*minute).ok()?, 0, 0);
                        if index > 0 || at >= start {
                            let at = TimeZone::UTC.to_timestamp(at).ok()?;
                            return Some(Moment::from_millis(at.as_millisecond()));
                        }
                    }
                }
            }
            day = day.checked_add(SignedDuration::from_hours(24)).ok()?;
        }
        None
    }

    fn has_day(&self, day: jiff::civil::Date) -> bool {
        let weekday = i16::from(day.weekday().to_sunday_one_offset());
        self.months.contains(&i16::from(day.month()))
            && self
                .days
                .as_ref()
                .is_none_or(|days| days.contains(&i16::from(day.day())))
            && self
                .weekdays
                .as_ref()
                .is_none_or(|weekdays| weekdays.contains(&weekday))
            && self
                .years
                .as_ref()
                .is_none_or(|years| years.contains(&day.year()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn next(expression: &str, last: &str) -> String {
        let last = Moment::parse(last).unwrap();
        Expression::parse(expression)
            .unwrap()
            .next(last, last)
            .unwrap()
            .iso()
    }

    #[test]
    fn a_rate_is_counted_from_the_beginning() {
        let every = Expression::parse("rate(5 minutes)").unwrap();
        let begun = Moment::parse("2026-03-01T00:01:30Z").unwrap();
        let last = Moment::parse("2026-03-01T00:12:00Z").unwrap();
        assert_eq!(
            every.next(begun, last).unwrap().iso(),
            "2026-03-01T00:16:30Z"
        );
    }

    #[test]
    fn a_cron_expression_finds_its_next_time() {
        assert_eq!(
            next("cron(0 * ? * * *)", "2026-03-01T00:00:00Z"),
            "2026-03-01T01:00:00Z"
        );
        assert_eq!(
            next("cron(0/15 8-17 ? * MON-FRI *)", "2026-03-06T17:50:00Z"),
            "2026-03-09T08:00:00Z"
        );
        assert_eq!(
            next("cron(30 2 1 JAN ? *)", "2026-03-01T00:00:00Z"),
            "2027-01-01T02:30:00Z"
        );
    }

    #[test]
    fn a_single_time_comes_once() {
        let at = Expression::parse("at(2026-03-01T12:00:00)").unwrap();
        let before = Moment::parse("2026-03-01T11:59:59Z").unwrap();
        let when = Moment::parse("2026-03-01T12:00:00Z").unwrap();
        assert_eq!(at.next(before, before), Some(when));
        assert_eq!(at.next(before, when), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "rate(0 minutes)",
            "rate(1 week)",
            "cron(60 * * * ? *)",
            "cron(* *)",
            "at(soon)",
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}
