//! A time zone: from the clock on the wall to instants and back.
//!
//! The one place that decides whether a local time is unique, falls in a gap, or in a fold ([`LocalTime`]); what a schedule
//! does about the last two is `wall`'s. Pure: rules come from chrono-tz, which carries them, or from bytes that are
//! handed in. Whose rules are used is decided by `config::zones`.
//!
//! All rules are turned into one table of clock changes over [`CALENDAR`] when the zone is made, so that a look-up is an
//! index and a comparison, and the two sources can be compared change by change.

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};

use super::cron::civil::DAY_SECONDS;

/// The years that have occurrences, in seconds since 1970: 1970-01-01 to before 2200-01-01, UTC.
pub const CALENDAR: Range<i64> = 0..7_258_118_400;
/// Two occurrences of one schedule are never closer than this.
pub const MIN_INTERVAL_SECONDS: i64 = 300;
/// A zone file is some kilobytes.
const RULES_BYTES_MAX: usize = 1024 * 1024;
/// Rules that change the clock every week would have 12,000 changes; the busiest real zone has some 500.
const CHANGES_MAX: usize = 20_000;
/// Two to the power of this is the width of a bucket of the index: 194 days, about one clock change each.
const BUCKET_BITS: u32 = 24;

/// A time zone's name and rules. Cheap to clone.
#[derive(Clone)]
pub struct Zone(Arc<Rules>);

struct Rules {
    name: Box<str>,
    /// The offset at the calendar's beginning.
    first_offset: i32,
    changes: Vec<Change>,
    /// The stretches of time that no clock change disturbs, in order; what is between two of them is disturbed.
    calm: Vec<Calm>,
    /// For each bucket of the calendar, the first calm stretch that ends after its beginning.
    index: Vec<u16>,
}

/// A clock change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// The first second of the new offset.
    pub(super) at: i64,
    /// Seconds east of UTC before it.
    pub(super) before: i32,
    /// Seconds east of UTC from it on.
    pub(super) after: i32,
}

/// A stretch of time in which wall clock and instants differ by a constant, far enough from clock changes that nothing in
/// it depends on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calm {
    /// Its first second.
    pub(super) from: i64,
    /// The second after its last.
    pub(super) until: i64,
    /// Seconds east of UTC.
    pub(super) offset: i64,
}

/// Where an instant lies.
pub(super) enum Stretch {
    /// Away from clock changes.
    Calm(Calm),
    /// Near one, or near several that are near one another: the instants, from the first to before the last.
    Disturbed(Range<i64>),
    /// Outside [`CALENDAR`].
    Outside,
}

/// What a time on the wall clock means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalTime<T = DateTime<Utc>> {
    /// One instant.
    Unique(T),
    /// A clock change skips it.
    Gap {
        /// The local time read with the offset from before the change: later by the length of the gap (RFC 5545).
        shifted: T,
    },
    /// A clock change repeats it.
    Fold {
        /// The first of the two.
        first: T,
        /// The second.
        second: T,
    },
}

impl<T> LocalTime<T> {
    fn map<U>(self, f: impl Fn(T) -> U) -> LocalTime<U> {
        match self {
            Self::Unique(instant) => LocalTime::Unique(f(instant)),
            Self::Gap { shifted } => LocalTime::Gap { shifted: f(shifted) },
            Self::Fold { first, second } => LocalTime::Fold { first: f(first), second: f(second) },
        }
    }
}

/// Why bytes are not a zone's rules.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// Not TZif.
    #[error("not a zone file (TZif): {0}")]
    NotTzif(String),
    /// Far larger than any zone's rules.
    #[error("larger than any zone file: {bytes} bytes, {RULES_BYTES_MAX} is the most")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Rules that no zone has.
    #[error("more than {CHANGES_MAX} clock changes")]
    TooManyChanges,
}

impl Zone {
    /// No zone is further from UTC.
    pub(super) const OFFSET_SECONDS_MAX: i64 = 26 * 3_600;

    /// UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self::from_changes("UTC", 0, Vec::new())
    }

    /// A zone by the rules that chrono-tz carries, [`Zone::BUNDLED_RELEASE`]; `None`: it has no such zone.
    ///
    /// The crate does not hand out its table, so it is asked for every other day (no two clock changes in it are closer
    /// than six), and each change is then found by halving.
    #[must_use]
    pub fn bundled(name: &str) -> Option<Self> {
        let rules: chrono_tz::Tz = name.parse().ok()?;
        let offset_at = |at: i64| {
            DateTime::from_timestamp(at, 0)
                .map_or(0, |instant| rules.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc())
        };
        // The crate's rules end with the year 2100.
        let end = 4_133_980_800;
        let first_offset = offset_at(CALENDAR.start);
        let mut changes = Vec::new();
        let (mut at, mut before) = (CALENDAR.start, first_offset);
        while at < end {
            let step = at + 2 * DAY_SECONDS;
            let after = offset_at(step);
            if after != before {
                // `low` has the old offset, `high` another one.
                let (mut low, mut high) = (at, step);
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    if offset_at(middle) == before { low = middle } else { high = middle }
                }
                let after = offset_at(high);
                changes.push(Change { at: high, before, after });
                before = after;
                at = high;
            } else {
                at = step;
            }
        }
        Some(Self::from_changes(name, first_offset, changes))
    }

    /// The tzdata release that chrono-tz carries, as `2025b`.
    pub const BUNDLED_RELEASE: &str = chrono_tz::IANA_TZDB_VERSION;

    /// A zone by the rules of a zone file (TZif, RFC 9636, slim ones that end in a rule too).
    ///
    /// # Errors
    ///
    /// What the bytes are instead.
    pub fn from_tzif(name: &str, bytes: &[u8]) -> Result<Self, ZoneError> {
        if bytes.len() > RULES_BYTES_MAX {
            return Err(ZoneError::TooLarge { bytes: bytes.len() });
        }
        let rules = jiff::tz::TimeZone::tzif(name, bytes).map_err(|error| ZoneError::NotTzif(error.to_string()))?;
        let start = jiff::Timestamp::UNIX_EPOCH;
        let first_offset = rules.to_offset(start).seconds();
        let mut changes: Vec<Change> = Vec::new();
        let mut before = first_offset;
        for transition in rules.following(start) {
            let at = transition.timestamp().as_second();
            if at >= CALENDAR.end {
                break;
            }
            let after = transition.offset().seconds();
            // A new name or a new flag with the same offset is no change of the clock.
            if after != before {
                if changes.len() == CHANGES_MAX {
                    return Err(ZoneError::TooManyChanges);
                }
                changes.push(Change { at, before, after });
                before = after;
            }
        }
        Ok(Self::from_changes(name, first_offset, changes))
    }

    /// Makes the tables. `changes` are in order, each beginning with the offset that the one before it ended with.
    fn from_changes(name: &str, first_offset: i32, changes: Vec<Change>) -> Self {
        let mut calm = Vec::with_capacity(changes.len() + 1);
        let (mut from, mut offset) = (CALENDAR.start, first_offset);
        for change in &changes {
            let disturbed = change.disturbed();
            // Two changes so near one another that nothing between them is calm share one disturbed stretch.
            if disturbed.start > from {
                calm.push(Calm { from, until: disturbed.start, offset: i64::from(offset) });
            }
            from = from.max(disturbed.end);
            offset = change.after;
        }
        // Always there and never empty: it answers for what comes after the last change, and ends the search in the index.
        calm.push(Calm { from, until: CALENDAR.end.max(from + 1), offset: i64::from(offset) });
        let mut index = Vec::new();
        let (mut bucket, mut position) = (CALENDAR.start, 0_u16);
        while bucket < CALENDAR.end {
            while calm.get(usize::from(position)).is_some_and(|stretch| stretch.until <= bucket) {
                position += 1;
            }
            index.push(position);
            bucket += 1 << BUCKET_BITS;
        }
        Self(Arc::new(Rules { name: name.into(), first_offset, changes, calm, index }))
    }

    /// The IANA name, as it was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How far the zone's clocks are from UTC.
    #[must_use]
    pub fn offset_at(&self, instant: DateTime<Utc>) -> FixedOffset {
        FixedOffset::east_opt(self.offset_seconds(instant.timestamp())).unwrap_or_else(|| Utc.fix())
    }

    /// What the zone's clocks show.
    #[must_use]
    pub fn to_local(&self, instant: DateTime<Utc>) -> DateTime<FixedOffset> {
        instant.with_timezone(&self.offset_at(instant))
    }

    /// What a time on the zone's clocks means.
    #[must_use]
    pub fn at_local(&self, local: NaiveDateTime) -> LocalTime {
        let fraction = TimeDelta::nanoseconds(i64::from(local.and_utc().timestamp_subsec_nanos()));
        self.resolve(local.and_utc().timestamp()).map(|seconds| instant(seconds) + fraction)
    }

    /// The first instant from `from` on, before `until`, at which the two zones' clocks differ.
    #[must_use]
    pub fn first_difference(&self, other: &Self, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = from.timestamp();
        while at < until.timestamp() {
            if self.offset_seconds(at) != other.offset_seconds(at) {
                return Some(instant(at));
            }
            let next = |zone: &Self| zone.0.changes.get(zone.changes_until(at)).map_or(i64::MAX, |change| change.at);
            at = next(self).min(next(other));
        }
        None
    }

    /// How many changes there were up to and including an instant.
    fn changes_until(&self, at: i64) -> usize {
        self.0.changes.partition_point(|change| change.at <= at)
    }

    /// Seconds east of UTC.
    pub(super) fn offset_seconds(&self, at: i64) -> i32 {
        match self.changes_until(at) {
            0 => self.0.first_offset,
            position => self.0.changes[position - 1].after,
        }
    }

    /// The clock changes in (after, until].
    pub(super) fn changes_between(&self, after: i64, until: i64) -> &[Change] {
        let (from, to) = (self.changes_until(after), self.changes_until(until));
        self.0.changes.get(from..to).unwrap_or_default()
    }

    /// The earliest and the latest local time that has to do with the instants from `start` to before `end`: shown then, or
    /// shifted there.
    pub(super) fn local_bounds(&self, start: i64, end: i64) -> (i64, i64) {
        let first = i64::from(self.offset_seconds(start - 1));
        let (mut least, mut most) = (first, first);
        for change in self.changes_between(start - 1, end) {
            least = least.min(i64::from(change.after));
            most = most.max(i64::from(change.after));
        }
        (start + least, end + most)
    }

    /// What a time on the wall clock means: **the** decision about gaps and folds.
    pub(super) fn resolve(&self, local: i64) -> LocalTime<i64> {
        let near = self.changes_between(local - Self::OFFSET_SECONDS_MAX, local + Self::OFFSET_SECONDS_MAX);
        // Between two changes the offset is constant: the local time is there if it is, read with that offset, between them.
        let mut from = i64::MIN;
        let mut offset = self.offset_seconds(local - Self::OFFSET_SECONDS_MAX);
        let mut first = None;
        let mut shifted = None;
        for change in near {
            let read = local - i64::from(offset);
            if (from..change.at).contains(&read) {
                if let Some(first) = first {
                    return LocalTime::Fold { first, second: read };
                }
                first = Some(read);
            }
            if read >= change.at && local - i64::from(change.after) < change.at {
                shifted = Some(read);
            }
            (from, offset) = (change.at, change.after);
        }
        let read = local - i64::from(offset);
        match (first, read >= from, shifted) {
            (Some(first), true, _) => LocalTime::Fold { first, second: read },
            (Some(unique), false, _) => LocalTime::Unique(unique),
            (None, false, Some(shifted)) => LocalTime::Gap { shifted },
            (None, _, _) => LocalTime::Unique(read),
        }
    }

    /// Where an instant lies, and up to where that holds.
    #[inline]
    pub(super) fn stretch(&self, at: i64) -> Stretch {
        if !CALENDAR.contains(&at) {
            return Stretch::Outside;
        }
        let Rules { calm, index, .. } = &*self.0;
        let mut position = usize::from(index[usize::try_from(at >> BUCKET_BITS).unwrap_or_default()]);
        while calm[position].until <= at {
            position += 1;
        }
        if calm[position].from <= at {
            return Stretch::Calm(calm[position]);
        }
        let start = position.checked_sub(1).map_or(CALENDAR.start, |before| calm[before].until);
        Stretch::Disturbed(start..calm[position].from)
    }
}

impl Change {
    /// The instants that depend on the change: those whose local time is repeated or was shifted, and those that may be
    /// too close to one of them.
    fn disturbed(self) -> Range<i64> {
        let length = i64::from(self.after - self.before).abs();
        self.at - MIN_INTERVAL_SECONDS..self.at + length + MIN_INTERVAL_SECONDS
    }
}

impl PartialEq for Zone {
    /// The same name with the same rules.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.name == other.0.name
                && self.0.first_offset == other.0.first_offset
                && self.0.changes == other.0.changes)
    }
}

impl Eq for Zone {}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Zone({:?}, {} changes)", self.0.name, self.0.changes.len())
    }
}

/// Seconds since 1970 as an instant; those beyond chrono's years, which no caller has, become 1970.
#[inline]
pub(super) fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}
