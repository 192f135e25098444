//! The one answer to "when is it due": a timetable and its occurrences, in both directions.
//!
//! Every instant that any part of skycron calls an occurrence comes from here. What is done about one is not decided here.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    CronError, CronExpression, Definition, Fold, Gap,
    interval::{self, TooFrequent},
    wall::Wall,
    zone::{CALENDAR, MIN_INTERVAL_SECONDS, Zone, instant},
};
use crate::clock::{parse_rfc3339, rfc3339};

/// When a schedule is due. Cheap to clone, and to ask.
///
/// Occurrences are whole seconds, strictly increasing, from 1970 to 2199. What an answer is never depends on the instant
/// that a search starts from.
/// ```
/// use skycron::{
///     clock::{parse_rfc3339, rfc3339},
///     schedule::{CronExpression, Fold, Gap, Timetable, Zone},
/// };
///
/// let zone = Zone::bundled("America/New_York").ok_or("no such zone")?;
/// let timetable = Timetable::cron(CronExpression::parse("30 2 * * *")?, zone, Gap::Shift, Fold::Auto)?;
/// // On the night of 14 March 2027 the clocks jump from 2:00 to 3:00.
/// let saturday = parse_rfc3339("2027-03-13T12:00:00Z").ok_or("no instant")?;
/// let sunday = timetable.next_after(saturday).ok_or("never due")?;
/// assert_eq!(timetable.zone().to_local(sunday).to_rfc3339(), "2027-03-14T03:30:00-04:00");
/// assert_eq!(rfc3339(sunday), "2027-03-14T07:30:00Z");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable(Arc<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    cadence: Cadence,
    zone: Zone,
    /// Seconds since 1970: not due before, not due after.
    starts_at: Option<i64>,
    ends_at: Option<i64>,
}

/// What decides when it is due. Instants are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cadence {
    /// By the clocks of the zone.
    Cron { expression: CronExpression, gap: Gap, fold: Fold },
    /// At `first`, and every `seconds` from then on.
    Interval { seconds: i64, first: i64 },
    /// Once.
    Once { at: i64 },
}

/// Why a cadence is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimetableError {
    /// Two occurrences too close.
    #[error(transparent)]
    TooFrequent(#[from] TooFrequent),
    /// An interval too short.
    #[error("an interval of {seconds} s; {MIN_INTERVAL_SECONDS} s is the least")]
    IntervalTooShort {
        /// What was asked for.
        seconds: u64,
    },
    /// An instant beyond the calendar.
    #[error("{} is outside the years 1970 to 2199", rfc3339(*instant))]
    OutsideCalendar {
        /// The instant.
        instant: DateTime<Utc>,
    },
}

/// Why a stored definition is no timetable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The expression is refused.
    #[error("cron_expression: {0}")]
    Cron(#[from] CronError),
    /// The cadence is refused.
    #[error(transparent)]
    Timetable(#[from] TimetableError),
    /// The lookup does not know the zone.
    #[error("the time zone `{0}` is not known")]
    UnknownZone(String),
    /// A word or an instant that cannot be read.
    #[error("`{value}` is not a value of {key}")]
    Value {
        /// Its name in the file.
        key: &'static str,
        /// What is there.
        value: String,
    },
    /// Not exactly one of the three.
    #[error("exactly one of cron_expression, interval_seconds with first_fire_at, and run_at decides")]
    Cadence,
}

impl Timetable {
    /// Due by a cron expression on a zone's clocks.
    ///
    /// # Errors
    ///
    /// Two occurrences closer than five minutes.
    pub fn cron(expression: CronExpression, zone: Zone, gap: Gap, fold: Fold) -> Result<Self, TimetableError> {
        interval::check(&expression, interval::MIN_INTERVAL)?;
        Ok(Self::new(Cadence::Cron { expression, gap, fold }, zone))
    }

    /// Due at `first` and every `seconds` from then on. The zone is for showing local times.
    ///
    /// # Errors
    ///
    /// Less than five minutes, or an instant outside the calendar. A fraction of a second is cut off.
    pub fn interval(seconds: u64, first: DateTime<Utc>, zone: Zone) -> Result<Self, TimetableError> {
        let first = in_calendar(first)?;
        match i64::try_from(seconds) {
            Ok(seconds) if seconds >= MIN_INTERVAL_SECONDS => Ok(Self::new(Cadence::Interval { seconds, first }, zone)),
            Err(_) => Ok(Self::new(Cadence::Interval { seconds: i64::MAX, first }, zone)),
            Ok(_) => Err(TimetableError::IntervalTooShort { seconds }),
        }
    }

    /// Due once. The zone is for showing the local time.
    ///
    /// # Errors
    ///
    /// An instant outside the calendar. A fraction of a second is cut off.
    pub fn once(at: DateTime<Utc>, zone: Zone) -> Result<Self, TimetableError> {
        Ok(Self::new(Cadence::Once { at: in_calendar(at)? }, zone))
    }

    fn new(cadence: Cadence, zone: Zone) -> Self {
        Self(Arc::new(Inner { cadence, zone, starts_at: None, ends_at: None }))
    }

    /// The same, not due before `starts_at` nor after `ends_at`; due at both of them.
    ///
    /// What the five-minute rule drops is decided before that.
    #[must_use]
    pub fn within(mut self, starts_at: Option<DateTime<Utc>>, ends_at: Option<DateTime<Utc>>) -> Self {
        let (starts_at, ends_at) = (starts_at.map(ceiling), ends_at.map(|instant| instant.timestamp()));
        // Thousands of schedules share a timetable until one differs.
        if (self.0.starts_at, self.0.ends_at) != (starts_at, ends_at) {
            let inner = Arc::make_mut(&mut self.0);
            (inner.starts_at, inner.ends_at) = (starts_at, ends_at);
        }
        self
    }

    /// The same wall-clock times by another zone's rules.
    #[must_use]
    pub fn with_zone(mut self, zone: Zone) -> Self {
        Arc::make_mut(&mut self.0).zone = zone;
        self
    }

    /// The zone that it is read in and shown in.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.0.zone
    }

    /// The cron expression, where that is the cadence.
    #[must_use]
    pub fn cron_expression(&self) -> Option<&CronExpression> {
        match &self.0.cadence {
            Cadence::Cron { expression, .. } => Some(expression),
            Cadence::Interval { .. } | Cadence::Once { .. } => None,
        }
    }

    /// What decides when it is due.
    pub(super) fn cadence(&self) -> &Cadence {
        &self.0.cadence
    }

    /// `starts_at` and `ends_at`.
    pub(super) fn bounds(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        (self.0.starts_at.map(instant), self.0.ends_at.map(instant))
    }

    /// Whether an instant is between `starts_at` and `ends_at`.
    pub(super) fn is_active(&self, instant: DateTime<Utc>) -> bool {
        let seconds = instant.timestamp();
        self.0.starts_at.is_none_or(|starts_at| starts_at <= seconds)
            && self.0.ends_at.is_none_or(|ends_at| seconds <= ends_at)
    }

    /// The first occurrence strictly after `instant`; `None` where there is none any more.
    #[must_use]
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next_seconds(instant.timestamp()).map(self::instant)
    }

    /// The last occurrence strictly before `instant`; `None` where there was none yet.
    #[must_use]
    pub fn previous_before(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let inner = &*self.0;
        let before = inner.ends_at.map_or(i64::MAX, |ends_at| ends_at.saturating_add(1)).min(ceiling(instant));
        let found = match &inner.cadence {
            Cadence::Cron { .. } => inner.wall()?.previous_before(before),
            Cadence::Interval { seconds, first } => {
                let last = before.min(CALENDAR.end) - 1;
                (last >= *first).then(|| first + (last - first) / seconds * seconds)
            }
            Cadence::Once { at } => (*at < before).then_some(*at),
        };
        found.filter(|found| inner.starts_at.is_none_or(|starts_at| *found >= starts_at)).map(self::instant)
    }

    /// The occurrences after `after`, up to and including `until`.
    pub fn between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Between {
        Between { timetable: self.clone(), after: after.timestamp(), until: until.timestamp() }
    }

    /// How many occurrences [`Timetable::between`] has, without listing them.
    #[must_use]
    pub fn count_between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> u64 {
        let inner = &*self.0;
        let (after, until) = inner.clamp(after.timestamp(), until.timestamp());
        if until <= after {
            return 0;
        }
        match &inner.cadence {
            Cadence::Cron { .. } => inner.wall().map_or(0, |wall| wall.count_between(after, until)),
            Cadence::Interval { seconds, first } => {
                let up_to = |last: i64| if last < *first { 0 } else { ((last - first) / seconds).unsigned_abs() + 1 };
                up_to(until.min(CALENDAR.end - 1)).saturating_sub(up_to(after))
            }
            Cadence::Once { at } => u64::from(after < *at && *at <= until),
        }
    }

    /// What the five-minute rule drops after `after`, up to and including `until`: occurrences that a clock change brought
    /// too close to the one before. No other method yields them.
    #[must_use]
    pub fn dropped_between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let inner = &*self.0;
        let (after, until) = inner.clamp(after.timestamp(), until.timestamp());
        let dropped = inner.wall().map(|wall| wall.dropped_between(after, until)).unwrap_or_default();
        dropped.into_iter().map(instant).collect()
    }

    /// Refuses a cadence with two occurrences closer than `least`, or than five minutes where that is more.
    ///
    /// # Errors
    ///
    /// The two.
    pub fn check_interval(&self, least: Duration) -> Result<(), TimetableError> {
        match &self.0.cadence {
            Cadence::Cron { expression, .. } => Ok(interval::check(expression, least)?),
            Cadence::Interval { seconds, .. } if seconds.unsigned_abs() < least.as_secs() => {
                Err(TimetableError::IntervalTooShort { seconds: seconds.unsigned_abs() })
            }
            Cadence::Interval { .. } | Cadence::Once { .. } => Ok(()),
        }
    }

    /// As it is written down.
    #[must_use]
    pub fn definition(&self, enabled: bool) -> Definition {
        let inner = &*self.0;
        let text = |seconds: i64| rfc3339(instant(seconds));
        let mut definition = Definition {
            timezone: inner.zone.name().to_owned(),
            gap: Gap::default().word().to_owned(),
            fold: Fold::default().word().to_owned(),
            starts_at: inner.starts_at.map(text),
            ends_at: inner.ends_at.map(text),
            enabled,
            ..Definition::default()
        };
        match &inner.cadence {
            Cadence::Cron { expression, gap, fold } => {
                definition.cron_expression = Some(expression.as_str().to_owned());
                definition.gap = gap.word().to_owned();
                definition.fold = fold.word().to_owned();
            }
            Cadence::Interval { seconds, first } => {
                definition.interval_seconds = Some(seconds.unsigned_abs());
                definition.first_fire_at = Some(text(*first));
            }
            Cadence::Once { at } => definition.run_at = Some(text(*at)),
        }
        definition
    }

    /// The way back from [`Timetable::definition`], with the zones that a lookup knows.
    ///
    /// # Errors
    ///
    /// What in it cannot be read.
    pub fn from_definition(
        definition: &Definition,
        zone: impl FnOnce(&str) -> Option<Zone>,
    ) -> Result<Self, DefinitionError> {
        let name = &definition.timezone;
        let zone = zone(name).ok_or_else(|| DefinitionError::UnknownZone(name.clone()))?;
        let value = |key: &'static str, value: &str| DefinitionError::Value { key, value: value.to_owned() };
        let instant = |key: &'static str, text: &str| parse_rfc3339(text).ok_or_else(|| value(key, text));
        let optional =
            |key: &'static str, text: &Option<String>| text.as_deref().map(|text| instant(key, text)).transpose();
        let timetable = match definition {
            Definition {
                cron_expression: Some(text),
                interval_seconds: None,
                first_fire_at: None,
                run_at: None,
                ..
            } => {
                let gap = Gap::from_word(&definition.gap).ok_or_else(|| value("gap", &definition.gap))?;
                let fold = Fold::from_word(&definition.fold).ok_or_else(|| value("fold", &definition.fold))?;
                Self::cron(CronExpression::parse(text)?, zone, gap, fold)?
            }
            Definition {
                cron_expression: None,
                interval_seconds: Some(seconds),
                first_fire_at: Some(first),
                run_at: None,
                ..
            } => Self::interval(*seconds, instant("first_fire_at", first)?, zone)?,
            Definition {
                cron_expression: None, interval_seconds: None, first_fire_at: None, run_at: Some(at), ..
            } => Self::once(instant("run_at", at)?, zone)?,
            _ => return Err(DefinitionError::Cadence),
        };
        let starts_at = optional("starts_at", &definition.starts_at)?;
        let ends_at = optional("ends_at", &definition.ends_at)?;
        Ok(timetable.within(starts_at, ends_at))
    }

    #[inline]
    fn next_seconds(&self, after: i64) -> Option<i64> {
        let inner = &*self.0;
        let after = inner.starts_at.map_or(after, |starts_at| after.max(starts_at.saturating_sub(1)));
        let found = match &inner.cadence {
            Cadence::Cron { expression, gap, fold } => {
                Wall { expression, zone: &inner.zone, gap: *gap, fold: *fold }.next_after(after)
            }
            Cadence::Interval { first, .. } if after < *first => Some(*first),
            Cadence::Interval { seconds, first } => ((after - first) / seconds)
                .checked_add(1)
                .and_then(|steps| steps.checked_mul(*seconds))
                .and_then(|passed| passed.checked_add(*first))
                .filter(|found| *found < CALENDAR.end),
            Cadence::Once { at } => (after < *at).then_some(*at),
        };
        found.filter(|found| inner.ends_at.is_none_or(|ends_at| *found <= ends_at))
    }
}

impl Inner {
    fn wall(&self) -> Option<Wall<'_>> {
        match &self.cadence {
            Cadence::Cron { expression, gap, fold } => {
                Some(Wall { expression, zone: &self.zone, gap: *gap, fold: *fold })
            }
            Cadence::Interval { .. } | Cadence::Once { .. } => None,
        }
    }

    /// (after, until] without what is before `starts_at` or after `ends_at`.
    fn clamp(&self, after: i64, until: i64) -> (i64, i64) {
        (
            self.starts_at.map_or(after, |starts_at| after.max(starts_at.saturating_sub(1))),
            self.ends_at.map_or(until, |ends_at| until.min(ends_at)),
        )
    }
}

/// The occurrences between two instants, in order; see [`Timetable::between`].
#[derive(Debug, Clone)]
pub struct Between {
    timetable: Timetable,
    after: i64,
    until: i64,
}

impl Iterator for Between {
    type Item = DateTime<Utc>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.timetable.next_seconds(self.after).filter(|found| *found <= self.until)?;
        self.after = found;
        Some(instant(found))
    }
}

/// The first whole second that is not before an instant.
fn ceiling(instant: DateTime<Utc>) -> i64 {
    instant.timestamp().saturating_add(i64::from(instant.timestamp_subsec_nanos() > 0))
}

fn in_calendar(instant: DateTime<Utc>) -> Result<i64, TimetableError> {
    let seconds = instant.timestamp();
    if CALENDAR.contains(&seconds) { Ok(seconds) } else { Err(TimetableError::OutsideCalendar { instant }) }
}
