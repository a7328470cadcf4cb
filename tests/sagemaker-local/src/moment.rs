//! A moment of emulator time, in milliseconds since 1970, and the several ways in which AWS
//! writes one: epoch seconds in its JSON API, ISO 8601 and milliseconds in its events.

use std::ops::{Add, Sub};

use jiff::Timestamp;
use serde_json::{Value, json};

/// Milliseconds since 1970-01-01T00:00:00Z by the emulator's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(i64);

/// A length of emulator time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(i64);

impl Span {
    pub(crate) const fn seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    pub(crate) const fn millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Clamped to what a day count of centuries can hold, so that a wild input can't overflow.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds.clamp(-1e10, 1e10) * 1000.0).round() as i64)
    }

    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub(crate) const fn as_millis(self) -> i64 {
        self.0
    }
}

impl Moment {
    pub(crate) const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From the epoch seconds that the JSON and CBOR protocols carry.
    pub(crate) fn from_epoch_seconds(seconds: f64) -> Self {
        Self(Span::from_secs_f64(seconds.clamp(-6e10, 2e11)).0)
    }

    /// The machine's own time.
    pub(crate) fn real() -> Self {
        Self(Timestamp::now().as_millisecond())
    }

    /// Parses RFC 3339.
    pub(crate) fn parse(text: &str) -> Result<Self, jiff::Error> {
        Ok(Self(text.parse::<Timestamp>()?.as_millisecond()))
    }

    pub(crate) const fn as_millis(self) -> i64 {
        self.0
    }

    /// Epoch seconds with a fraction: how SageMaker's JSON API writes times.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn epoch_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// [`Self::epoch_seconds`] as a JSON number.
    pub(crate) fn json(self) -> Value {
        json!(self.epoch_seconds())
    }

    /// ISO 8601 with a `Z`; without a fraction where there is none.
    pub(crate) fn iso(self) -> String {
        Timestamp::from_millisecond(self.0).map_or_else(|_| self.0.to_string(), |at| at.to_string())
    }

    /// ISO 8601 to the second, as EventBridge Scheduler writes a scheduled time.
    pub(crate) fn iso_seconds(self) -> String {
        Self(self.0.div_euclid(1000) * 1000).iso()
    }

    /// `2026/03/01/12`: captured data and monitoring results are filed by the hour.
    pub(crate) fn hour_folder(self) -> String {
        let hour: String = self.iso_seconds().chars().take(13).collect();
        hour.replace(['-', 'T'], "/")
    }

    /// Milliseconds in a string: how training job events write times.
    pub(crate) fn millis_text(self) -> Value {
        Value::String(self.0.to_string())
    }

    /// The whole minute that holds this moment, counted from 1970.
    pub(crate) const fn minute(self) -> i64 {
        self.0.div_euclid(60_000)
    }

    /// The first moment of a minute counted from 1970.
    pub(crate) const fn of_minute(minute: i64) -> Self {
        Self(minute.saturating_mul(60_000))
    }
}

impl Add<Span> for Moment {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Moment {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub for Moment {
    type Output = Span;

    fn sub(self, other: Self) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_aws_writes_it() {
        let at = Moment::from_millis(1_583_831_889_050);
        assert_eq!(at.iso(), "2020-03-10T09:18:09.05Z");
        assert_eq!(at.iso_seconds(), "2020-03-10T09:18:09Z");
        assert_eq!(at.json(), json!(1_583_831_889.05));
        assert_eq!(at.millis_text(), json!("1583831889050"));
    }

    #[test]
    fn a_wild_number_of_seconds_does_not_overflow() {
        let at = Moment::from_epoch_seconds(f64::INFINITY);
        assert!(at.as_millis() > 0);
        assert!((at + Span::from_secs_f64(f64::MAX)) > at);
    }
}
