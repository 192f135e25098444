//! What may surprise the reader of a schedule that is right: for `check`.
//!
//! A function of the timetable and an instant. Nothing here refuses anything.

use std::ops::Range;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::{
    CronExpression, Fold, Gap, Timetable, Zone,
    cron::civil::Month,
    upcoming::Cadence,
    wall::Wall,
    zone::{LocalTime, instant},
};
use crate::clock::rfc3339;

#[cfg(test)]
mod tests;

/// How far gaps and folds are looked for.
const LOOKED_AT: TimeDelta = TimeDelta::days(366);
/// A schedule that is due many times in the hours of a clock change is told about the first of them.
const EXAMPLES_MAX: usize = 2;

/// Something that may surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The bytes of the cron expression that it is about, where it is about a part of it.
    pub span: Option<Range<usize>>,
    /// What it is.
    pub kind: WarningKind,
}

/// What may surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarningKind {
    /// Both day fields are restricted, and a day matches when either does.
    EitherDay,
    /// `*/n` in a day field counts from the first of each month or week, and restricts the field.
    DayStep,
    /// Weekdays together with `d#n` or `Ld`: the server does not take it.
    NotForServer,
    /// A clock change skips the local time.
    Gap {
        /// The time that the clocks do not show.
        local: NaiveDateTime,
        /// When it is due instead; `None`: not that day.
        due: Option<DateTime<Utc>>,
    },
    /// A clock change repeats the local time.
    Fold {
        /// The time that the clocks show twice.
        local: NaiveDateTime,
        /// The first of the two, at which it is due.
        first: DateTime<Utc>,
        /// The second.
        second: DateTime<Utc>,
        /// Whether it is due at the second too.
        both: bool,
    },
    /// A clock change brings an occurrence within five minutes of the one before, and it is dropped.
    Dropped {
        /// The occurrence that is not due.
        at: DateTime<Utc>,
    },
    /// Due less than once a year.
    Rare {
        /// The next occurrence.
        next: DateTime<Utc>,
    },
    /// Not due any more.
    NeverAgain,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            WarningKind::EitherDay => {
                write!(f, "both day fields are restricted: due on the days of the month AND on the weekdays")
            }
            WarningKind::DayStep => {
                write!(f, "a step in a day field starts again with each month or week, and restricts the field")
            }
            WarningKind::NotForServer => {
                write!(f, "weekdays together with `#` or `L` terms: Skyvern's own scheduler refuses that")
            }
            WarningKind::Gap { local, due: Some(due) } => {
                write!(f, "the clock change skips {local}; due at {} instead", rfc3339(*due))
            }
            WarningKind::Gap { local, due: None } => write!(f, "the clock change skips {local}; not due then"),
            WarningKind::Fold { local, first, second, both: false } => {
                let (first, second) = (rfc3339(*first), rfc3339(*second));
                write!(f, "the clock change repeats {local}; due once, at {first}, not again at {second}")
            }
            WarningKind::Fold { local, first, second, both: true } => {
                let (first, second) = (rfc3339(*first), rfc3339(*second));
                write!(f, "the clock change repeats {local}; due at both, {first} and {second}")
            }
            WarningKind::Dropped { at } => {
                let at = rfc3339(*at);
                write!(f, "the clock change brings {at} within five minutes of the occurrence before; it is dropped")
            }
            WarningKind::Rare { next } => write!(f, "due less than once a year; next at {}", rfc3339(*next)),
            WarningKind::NeverAgain => write!(f, "never due any more"),
        }
    }
}

/// Everything about a timetable that may surprise, seen from an instant.
#[must_use]
pub fn warnings(timetable: &Timetable, from: DateTime<Utc>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |span: Option<Range<usize>>, kind: WarningKind| warnings.push(Warning { span, kind });
    let next = timetable.next_after(from);
    if next.is_none() {
        warn(None, WarningKind::NeverAgain);
    }
    let Cadence::Cron { expression, gap, fold } = timetable.cadence() else { return warnings };
    let (day_of_month, day_of_week) = (expression.day_of_month(), expression.day_of_week());
    if day_of_month.restricted && day_of_week.restricted {
        warn(Some(day_of_month.span.start..day_of_week.span.end), WarningKind::EitherDay);
    }
    for field in [day_of_month, day_of_week] {
        if field.starred_step {
            warn(Some(field.span.clone()), WarningKind::DayStep);
        }
        if field.mixed {
            warn(Some(field.span.clone()), WarningKind::NotForServer);
        }
    }
    if let Some(next) = next
        && is_rare(expression)
    {
        warn(None, WarningKind::Rare { next });
    }
    let until = from + LOOKED_AT;
    for kind in changes(timetable, expression, timetable.zone(), *gap, *fold, from, until) {
        warn(None, kind);
    }
    for at in timetable.dropped_between(from, until).into_iter().take(EXAMPLES_MAX) {
        warn(None, WarningKind::Dropped { at });
    }
    warnings
}

/// Local times of the expression that a clock change in (from, until] skips or repeats, while the timetable is active.
///
/// Where the change makes no difference, nothing is said: a skipped time of an expression that is due through the day
/// lands on another time of it, and a repeated one is due at both as anybody would expect.
fn changes(
    timetable: &Timetable,
    expression: &CronExpression,
    zone: &Zone,
    gap: Gap,
    fold: Fold,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<WarningKind> {
    let wall = Wall { expression, zone, gap, fold };
    let mut found = Vec::new();
    for change in zone.changes_between(from.timestamp(), until.timestamp()) {
        let (before, after) = (change.at + i64::from(change.before), change.at + i64::from(change.after));
        let mut told = 0;
        let mut local = before.min(after) - 1;
        while told < EXAMPLES_MAX
            && let Some(matching) = expression.next_local(local).filter(|matching| *matching < before.max(after))
        {
            local = matching;
            let shown = instant(matching).naive_utc();
            let kind = match zone.resolve(matching) {
                LocalTime::Unique(_) => continue,
                LocalTime::Gap { shifted } => {
                    let due = instant(shifted);
                    let shown_too = expression.matches_local(shifted + i64::from(change.after));
                    if (gap == Gap::Shift && shown_too) || !timetable.is_active(due) {
                        continue;
                    }
                    WarningKind::Gap { local: shown, due: (gap == Gap::Shift).then_some(due) }
                }
                LocalTime::Fold { first, second } => {
                    let (first, second, both) = (instant(first), instant(second), wall.repeats());
                    if (both && expression.every_hour()) || !timetable.is_active(first) {
                        continue;
                    }
                    WarningKind::Fold { local: shown, first, second, both }
                }
            };
            told += 1;
            found.push(kind);
        }
    }
    found
}

/// Whether there are fewer occurrences than years in the 400 years after which the calendar repeats.
fn is_rare(expression: &CronExpression) -> bool {
    let mut month = Month::containing(0);
    let mut days = 0;
    for _ in 0..400 * 12 {
        days += expression.days_in(month).count_ones();
        if days >= 400 {
            return false;
        }
        month = month.next();
    }
    u64::from(days) * expression.per_day() < 400
}
