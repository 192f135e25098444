//! The one file that asks what time it is.
//!
//! Not for waiting: `daemon::timer` waits for an instant. Not for arithmetic on instants: that is chrono's.

use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};

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
    if instant.nanosecond() / 1_000_000 == 0 { written(instant, false) } else { written(instant, true) }
}

/// An instant at which something happened: always with milliseconds, so that the texts sort in the order of time.
#[must_use]
pub fn rfc3339_millis(instant: DateTime<Utc>) -> String {
    written(instant, true)
}

/// Digit by digit: every row of the history has several instants, and chrono's general formatting of them costs as much as
/// SQLite's insertion of the row.
fn written(instant: DateTime<Utc>, millis: bool) -> String {
    let Ok(year @ 0..=9999) = u32::try_from(instant.year()) else {
        return instant.format(if millis { "%Y-%m-%dT%H:%M:%S%.3fZ" } else { "%Y-%m-%dT%H:%M:%SZ" }).to_string();
    };
    let mut text = String::with_capacity(24);
    let mut put = |value: u32, digits: u32, end: char| {
        for place in (0..digits).rev() {
            text.push(char::from_digit(value / 10_u32.pow(place) % 10, 10).unwrap_or('0'));
        }
        text.push(end);
    };
    put(year, 4, '-');
    put(instant.month(), 2, '-');
    put(instant.day(), 2, 'T');
    put(instant.hour(), 2, ':');
    put(instant.minute(), 2, ':');
    put(instant.second(), 2, if millis { '.' } else { 'Z' });
    if millis {
        // A leap second has 1,000 to 1,999 of them in chrono; it is written as the second's last one.
        put((instant.nanosecond() / 1_000_000).min(999), 3, 'Z');
    }
    text
}

/// Reads what [`rfc3339`] wrote; also any RFC 3339 instant with an offset.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.with_timezone(&Utc))
}

/// Whether a clock is surely wrong: it shows a time before this program was written. Machines whose clock stops with them
/// begin there.
#[must_use]
pub fn is_surely_wrong(now: DateTime<Utc>) -> bool {
    now.year() < 2026
}

/// A length of time in two units at most: `4 ms`, `12.3 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
#[must_use]
pub fn length(delta: TimeDelta) -> String {
    let millis = delta.num_milliseconds();
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    let seconds = millis / 1000;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
    };
    let text = match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{} s", millis % 1000 / 100),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    };
    format!("{sign}{text}")
}

/// A standard duration as chrono's, saturating at chrono's largest (292 million years).
#[must_use]
pub fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, seconds: &str, millis: &str) {
        let instant = parse_rfc3339(text).unwrap();
        assert_eq!((rfc3339(instant).as_str(), rfc3339_millis(instant).as_str()), (seconds, millis), "{text}");
    }

    #[test]
    fn instants_are_written_in_utc_to_the_second_or_the_millisecond() {
        check("2026-11-02T14:00:00Z", "2026-11-02T14:00:00Z", "2026-11-02T14:00:00.000Z");
        check("2026-11-02T09:00:00.0049-05:00", "2026-11-02T14:00:00.004Z", "2026-11-02T14:00:00.004Z");
        check("2026-01-02T03:04:05.000999Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z");
        check("0000-12-31T23:59:59.9999Z", "0000-12-31T23:59:59.999Z", "0000-12-31T23:59:59.999Z");
        check("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999Z", "2016-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(DateTime::<Utc>::MAX_UTC), "+262142-12-31T23:59:59.999Z");
    }

    #[test]
    fn lengths() {
        let check = |millis, expected: &str| assert_eq!(length(TimeDelta::milliseconds(millis)), expected);
        check(0, "0 ms");
        check(999, "999 ms");
        check(1000, "1.0 s");
        check(59_999, "59.9 s");
        check(60_000, "1 min");
        check(200_000, "3 min 20 s");
        check(3_600_000, "1 h");
        check(7_500_000, "2 h 5 min");
        check(86_399_999, "23 h 59 min");
        check(277_200_000, "3 d 5 h");
        check(-1500, "-1.5 s");
    }
}
