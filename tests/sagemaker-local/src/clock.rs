//! The emulator's clock: it runs at a chosen multiple of real time, stands, or is moved by hand.
//!
//! Everything that AWS would date carries this clock's time. Latencies of model servers do not:
//! those are real, so that a 10 ms answer counts as 10 ms at any speed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::moment::{Moment, Span};

/// A clock that is read by many and set by the driver and the admin API.
pub(crate) struct Clock {
    inner: Mutex<Inner>,
}

struct Inner {
    /// Emulator seconds per real second; 0 stands still.
    speed: f64,
    anchor_real: Instant,
    anchor: Moment,
    /// Set while time is moved by hand: the moment of the thing that is being done.
    held: Option<Moment>,
}

impl Clock {
    pub(crate) fn new(start: Moment, speed: f64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                speed: speed.max(0.0),
                anchor_real: Instant::now(),
                anchor: start,
                held: None,
            }),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.lock().now()
    }

    pub(crate) fn speed(&self) -> f64 {
        self.lock().speed
    }

    /// Changes the speed from now on; the time itself does not jump.
    pub(crate) fn set_speed(&self, speed: f64) {
        let mut inner = self.lock();
        inner.anchor = inner.now();
        inner.anchor_real = Instant::now();
        inner.speed = speed.max(0.0);
    }

    /// Stops the clock at a moment, never earlier than now, until [`Self::release`].
    pub(crate) fn hold(&self, at: Moment) {
        let mut inner = self.lock();
        inner.held = Some(at.max(inner.now()));
    }

    /// Lets the clock run again, from a moment that is never earlier than now.
    pub(crate) fn release(&self, at: Moment) {
        let mut inner = self.lock();
        inner.anchor = at.max(inner.now());
        inner.anchor_real = Instant::now();
        inner.held = None;
    }

    /// Real time until a moment; `None` when the clock stands and it will not come by itself.
    pub(crate) fn until(&self, at: Moment) -> Option<Duration> {
        let inner = self.lock();
        let span = (at - inner.now()).as_secs_f64();
        if span <= 0.0 {
            return Some(Duration::ZERO);
        }
        if inner.speed <= 0.0 || inner.held.is_some() {
            return None;
        }
        Some(Duration::from_secs_f64((span / inner.speed).min(86_400.0)))
    }

    /// The real length of a span of emulator time; zero when the clock stands.
    pub(crate) fn real(&self, span: Span) -> Duration {
        let inner = self.lock();
        if inner.speed <= 0.0 || inner.held.is_some() {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((span.as_secs_f64().max(0.0) / inner.speed).min(86_400.0))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn now(&self) -> Moment {
        self.held.unwrap_or_else(|| {
            self.anchor + Span::from_secs_f64(self.anchor_real.elapsed().as_secs_f64() * self.speed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_moves_only_by_hand() {
        let start = Moment::from_millis(1_000_000);
        let clock = Clock::new(start, 0.0);
        assert_eq!(clock.now(), start);
        assert_eq!(clock.until(start + Span::seconds(1)), None);
        clock.hold(start + Span::seconds(5));
        assert_eq!(clock.now(), start + Span::seconds(5));
        clock.release(start + Span::seconds(60));
        assert_eq!(clock.now(), start + Span::seconds(60));
    }

    #[test]
    fn time_never_runs_backwards() {
        let start = Moment::from_millis(1_000_000);
        let clock = Clock::new(start, 0.0);
        clock.hold(start - Span::seconds(5));
        assert_eq!(clock.now(), start);
        clock.release(start - Span::seconds(60));
        assert_eq!(clock.now(), start);
    }

    #[test]
    fn a_fast_clock_reaches_a_minute_in_a_fraction_of_a_second() {
        let start = Moment::from_millis(0);
        let clock = Clock::new(start, 600.0);
        let wait = clock.until(start + Span::seconds(60)).expect("it runs");
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
    }
}
