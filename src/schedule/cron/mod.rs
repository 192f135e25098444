//! The cron dialect: five fields → sets of minutes, hours and days, and the walk over the local calendar.
//!
//! Knows no zone: it answers in wall-clock time, seconds since 1970-01-01 00:00 *as the clock on the wall counts them*.
//! [`super::zone`] decides which instants those are.
//!
//! | form | meaning |
//! |---|---|
//! | `*` | every value; `?` means the same, alone, in the two day fields |
//! | `a`, `a-b`, `a,b` | value, range, list (lists may mix every form) |
//! | `*/n`, `a-b/n`, `a/n` | every n-th value of the field, of the range, from a to the field's end |
//! | `JAN`..`DEC`, `SUN`..`SAT` | names, any case, also in ranges |
//! | day of week | 0 and 7 are Sunday; 7 or `SUN` as the end of a range is the Sunday after |
//! | `L` (day of month) | the last day of the month |
//! | `d#n`, `Ld` (day of week) | the n-th such weekday of the month, 1 to 5; the last one |
//! | `@hourly @daily @midnight @weekly @monthly @yearly @annually` | aliases, any case |
//!
//! Both day fields restricted: a day matches when **either** does. A field is restricted unless it is `?` or has a bare
//! `*` in it; `*/2` is restricted.

pub(super) mod civil;
mod error;
pub(super) mod in_words;
mod mismatch;
mod parse;
mod piece;
mod sets;
mod walk;

use chrono::{DateTime, NaiveDateTime};

use super::zone::CALENDAR;
pub use error::{CronError, CronErrorKind};
pub use mismatch::Mismatch;

/// A cron expression, checked: when a clock on the wall shows a time of it.
/// ```
/// use skycron::schedule::CronExpression;
///
/// assert!(CronExpression::parse("0 9 * * MON-FRI").is_ok());
/// let error = CronExpression::parse("0 22-2 * * *").expect_err("it runs backwards");
/// assert_eq!(error.span, 2..6);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronExpression {
    /// As it was written.
    text: Box<str>,
    /// Bit n: minute n.
    minutes: u64,
    /// Bit n: hour n.
    hours: u32,
    /// Bit n: month n, 1 to 12.
    months: u16,
    /// The days of a month that match, bit n for day n + 1, by the month's length (28 to 31) and the weekday of its first
    /// day (Sunday = 0). Every rule about days is in here, so that the walk looks up and never decides.
    days: [[u32; 7]; 4],
    /// The first minute of a matching day.
    first_minute: u16,
    /// The last minute of a matching day.
    last_minute: u16,
    /// The hour field is `*` or `*/n`.
    every_hour: bool,
    /// Where the two day fields stand in the text, and what they are; for warnings.
    day_of_month: DayField,
    /// As above.
    day_of_week: DayField,
}

/// What `check` wants to know about a day field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DayField {
    /// Its bytes of the expression.
    pub(super) span: std::ops::Range<usize>,
    /// Neither `*` nor `?`.
    pub(super) restricted: bool,
    /// Has a `*/n`.
    pub(super) starred_step: bool,
    /// Has both plain weekdays and `#` or `L` terms.
    pub(super) mixed: bool,
}

impl CronExpression {
    /// The longest expression that is read.
    pub const BYTES_MAX: usize = 4_096;

    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it, with its place.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        parse::parse(text)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the hour field is `*` or `*/n`: due through the day rather than at fixed times of it.
    #[must_use]
    pub fn every_hour(&self) -> bool {
        self.every_hour
    }

    /// The first wall-clock time of the expression strictly after `after`; `None` past the year 2199.
    #[must_use]
    pub fn next_after(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let after = after.and_utc().timestamp().max(CALENDAR.start - 1);
        let found = (after < CALENDAR.end).then(|| self.next_local(after)).flatten();
        found.and_then(wall_clock)
    }

    /// The last wall-clock time of the expression strictly before `before`; `None` before the year 1970.
    #[must_use]
    pub fn previous_before(&self, before: NaiveDateTime) -> Option<NaiveDateTime> {
        let before = before.and_utc();
        let ceiling = before.timestamp().saturating_add(i64::from(before.timestamp_subsec_nanos() > 0));
        self.previous_local(ceiling.clamp(CALENDAR.start, CALENDAR.end)).and_then(wall_clock)
    }

    /// The day of month field.
    pub(super) fn day_of_month(&self) -> &DayField {
        &self.day_of_month
    }

    /// The day of week field.
    pub(super) fn day_of_week(&self) -> &DayField {
        &self.day_of_week
    }
}

/// Seconds of the calendar as a wall-clock time.
fn wall_clock(seconds: i64) -> Option<NaiveDateTime> {
    CALENDAR.contains(&seconds).then(|| DateTime::from_timestamp(seconds, 0)).flatten().map(|time| time.naive_utc())
}

impl std::str::FromStr for CronExpression {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        Self::parse(text)
    }
}

impl std::fmt::Display for CronExpression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
