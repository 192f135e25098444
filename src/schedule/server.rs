//! What Skyvern's own scheduler is known to do differently with a timetable that is right: for those who let it fire.
//!
//! Measured on its open-source scheduler, which asks croniter. Rules, not a second evaluation: what it shows as its own
//! preview is compared elsewhere.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::{CronExpression, Gap, LocalTime, Timetable, upcoming::Cadence, zone::instant};

/// How far clock changes are looked for.
const LOOKED_AT: TimeDelta = TimeDelta::days(366);

/// One thing that it does differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerDifference {
    /// A clock change skips the local time: it starts as soon as the clocks have changed, and then blocks what is behind it.
    GapEarly {
        /// The time that the clocks do not show.
        local: NaiveDateTime,
        /// When it starts it.
        server: DateTime<Utc>,
        /// When it is due by the file; `None`: not that day.
        due: Option<DateTime<Utc>>,
    },
    /// A clock change repeats an hour: it starts nothing the second time.
    FoldSkipped {
        /// The first occurrence that is not started.
        first: DateTime<Utc>,
        /// How many.
        count: u64,
    },
    /// A day of the list that a short month does not have hides what is due on the first days of the next month.
    ShortMonth,
    /// It is more than five plain fields: read by the open-source server, not promised by the API.
    Dialect,
}

impl std::fmt::Display for ServerDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::clock::rfc3339;
        match self {
            Self::GapEarly { local, server, due } => {
                write!(f, "the clock change skips {local}: the server starts it at about {}", rfc3339(*server))?;
                match due {
                    Some(due) => write!(f, ", and it is due at {}", rfc3339(*due)),
                    None => write!(f, ", and it is not due that day"),
                }
            }
            Self::FoldSkipped { first, count: 1 } => {
                write!(f, "the clock change repeats an hour: the server skips {}", rfc3339(*first))
            }
            Self::FoldSkipped { first, count } => {
                let first = rfc3339(*first);
                write!(f, "the clock change repeats an hour: the server skips {count} occurrences, from {first} on")
            }
            Self::ShortMonth => write!(
                f,
                "with a day above 28 in the list, the server misses what is due on the first days after a shorter month"
            ),
            Self::Dialect => write!(
                f,
                "the expression is more than five plain fields: the open-source server reads it, the API does not promise it"
            ),
        }
    }
}

/// What is known to differ in the year from an instant on; of each kind of clock change the first.
#[must_use]
pub fn server_differences(timetable: &Timetable, from: DateTime<Utc>) -> Vec<ServerDifference> {
    let Cadence::Cron { expression, gap, .. } = timetable.cadence() else { return Vec::new() };
    let mut found = Vec::new();
    if is_dialect(expression.as_str()) {
        found.push(ServerDifference::Dialect);
    }
    if hides_first_days(expression.as_str()) {
        found.push(ServerDifference::ShortMonth);
    }
    let zone = timetable.zone();
    let changes = zone.changes_between(from.timestamp(), (from + LOOKED_AT).timestamp());
    let skipped = changes.iter().filter(|change| change.after > change.before).find_map(|change| {
        let (start, end) = (change.at + i64::from(change.before), change.at + i64::from(change.after));
        let local = expression.next_local(start - 1).filter(|local| *local < end)?;
        let LocalTime::Gap { shifted } = zone.resolve(local) else { return None };
        // Due through the day: it lands on another time of the expression.
        let lands = expression.matches_local(shifted + i64::from(change.after));
        (!lands).then(|| ServerDifference::GapEarly {
            local: instant(local).naive_utc(),
            server: instant(change.at),
            due: (*gap == Gap::Shift).then(|| instant(shifted)),
        })
    });
    found.extend(skipped);
    let repeated = changes.iter().filter(|change| change.after < change.before).find_map(|change| {
        let length = i64::from(change.before - change.after);
        let (before, last) = (instant(change.at - 1), instant(change.at + length - 1));
        let first = timetable.next_after(before).filter(|first| *first <= last)?;
        Some(ServerDifference::FoldSkipped { first, count: timetable.count_between(before, last) })
    });
    found.extend(repeated);
    found
}

impl CronExpression {
    /// Whether the server refuses it: weekdays together with `d#n` or `Ld`.
    #[must_use]
    pub fn is_refused_by_server(&self) -> bool {
        self.day_of_week().mixed
    }
}

fn is_dialect(text: &str) -> bool {
    let mut fields = text.split_ascii_whitespace().skip(2);
    let (day, weekday) = (fields.next().unwrap_or(""), fields.nth(1).unwrap_or(""));
    text.trim_start().starts_with('@') || [day, weekday].iter().any(|field| field.contains(['?', 'L', 'l', '#']))
}

fn hides_first_days(text: &str) -> bool {
    let day = text.split_ascii_whitespace().nth(2).unwrap_or("");
    let numbers: Vec<u32> = day.split(',').filter_map(|item| item.parse().ok()).collect();
    numbers.iter().any(|day| *day > 28) && numbers.iter().any(|day| *day < 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::parse_rfc3339,
        schedule::{Fold, Zone},
    };

    fn check(expression: &str, zone: &str, expected: &[&str]) {
        let parsed = CronExpression::parse(expression).unwrap();
        let zone = Zone::bundled(zone).unwrap();
        let timetable = Timetable::cron(parsed, zone, Gap::Shift, Fold::Auto).unwrap();
        let from = parse_rfc3339("2026-10-01T00:00:00Z").unwrap();
        let found: Vec<_> = server_differences(&timetable, from).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{expression}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{expression}: {found:?}");
        }
    }

    #[test]
    fn what_the_server_does_differently() {
        let zone = "America/New_York";
        check("0 9 * * 1-5", zone, &[]);
        check(
            "30 2 * * *",
            zone,
            &[
                "skips 2027-03-14 02:30:00: the server starts it at about 2027-03-14T07:00:00Z, and it is due at 2027-03-14T07:30:00Z",
            ],
        );
        check("30 1 * * *", zone, &[]);
        check("0 * * * *", zone, &["the server skips 2026-11-01T06:00:00Z"]);
        check("*/30 * * * *", zone, &["the server skips 2 occurrences, from 2026-11-01T06:00:00Z on"]);
        check("0 * * * *", "UTC", &[]);
        check("0 0 L * *", "UTC", &["five plain fields"]);
        check("@daily", "UTC", &["five plain fields"]);
        check("0 0 1,31 * *", "UTC", &["shorter month"]);
        check("0 0 * jul mon", "UTC", &[]);
    }

    #[test]
    fn what_the_server_refuses() {
        let refused = |text: &str| CronExpression::parse(text).unwrap().is_refused_by_server();
        assert!(refused("0 0 * * 1,5#2"));
        assert!(!refused("0 0 * * 5#2"));
    }
}
