//! The one file that asks what time it is.
//!
//! Not for waiting: `daemon::timer` waits for an instant. Not for arithmetic on instants: that is chrono's.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Timelike, Utc};

/// Where the present comes from. Two implementations: the system's, and the one that tests and the simulation move by hand.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, UTC. It may step in both directions between two calls.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one door to the wall clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A stopwatch on the monotonic clock, which no clock step moves. For time-outs and durations, never for deciding when.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "the one door to the monotonic clock")]
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since [`Stopwatch::start`].
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// An instant of a timetable as this program writes it everywhere: RFC 3339, UTC, `Z`, whole seconds. A fraction, which no
/// occurrence has, is written in milliseconds.
#[must_use]
pub fn rfc3339(instant: DateTime<Utc>) -> String {
    let format = if instant.nanosecond() / 1_000_000 == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.3fZ" };
    instant.format(format).to_string()
}

/// An instant at which something happened: always with milliseconds, so that the texts sort in the order of time.
#[must_use]
pub fn rfc3339_millis(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Reads what [`rfc3339`] wrote; also any RFC 3339 instant with an offset.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.with_timezone(&Utc))
}

/// A standard duration as chrono's, saturating at chrono's largest (292 million years).
#[must_use]
pub fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
