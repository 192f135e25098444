//! Why a timetable is not due at an instant: for explanations. It decides nothing: whether it is due, the timetable itself
//! says.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Timetable,
    cron::Mismatch,
    upcoming::Cadence,
    zone::{LocalTime, instant},
};
use crate::clock::rfc3339;

/// Why it is not due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDue {
    /// It was not active yet.
    BeforeStart(DateTime<Utc>),
    /// It was not active any more.
    AfterEnd(DateTime<Utc>),
    /// Whole minutes only.
    WithinMinute,
    /// These fields do not match what the clocks show.
    Fields(Vec<Mismatch>),
    /// The clocks show the time for the second time; it was due at the first.
    Repeated {
        /// The first.
        first: DateTime<Utc>,
    },
    /// A clock change brought it within five minutes of the occurrence before.
    TooClose,
    /// Not a multiple of the interval away from the first occurrence.
    BetweenIntervals,
    /// It is due once, and not then.
    NotTheOne(DateTime<Utc>),
}

impl std::fmt::Display for NotDue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BeforeStart(at) => write!(f, "it is active from {} on (starts_at)", rfc3339(*at)),
            Self::AfterEnd(at) => write!(f, "it was active until {} (ends_at)", rfc3339(*at)),
            Self::WithinMinute => write!(f, "a cron expression is due at whole minutes"),
            Self::Fields(fields) => {
                let one = |m: &Mismatch| format!("the {} is {}, and the expression has {}", m.field, m.shown, m.wanted);
                f.write_str(&fields.iter().map(one).collect::<Vec<_>>().join("; "))
            }
            Self::Repeated { first } => {
                let first = rfc3339(*first);
                write!(f, "a clock change repeats this local time, and it is due at the first of the two, {first}")
            }
            Self::TooClose => write!(f, "a clock change brings it within five minutes of the occurrence before"),
            Self::BetweenIntervals => write!(f, "it is between two occurrences of the interval"),
            Self::NotTheOne(at) => write!(f, "it is due once, at {}", rfc3339(*at)),
        }
    }
}

impl Timetable {
    /// Why it is not due at this second; `None`: it is.
    #[must_use]
    pub fn why_not(&self, at: DateTime<Utc>) -> Option<NotDue> {
        let just_before = at - TimeDelta::seconds(1);
        if self.next_after(just_before) == Some(at) {
            return None;
        }
        if !self.is_active(at) {
            let (starts_at, ends_at) = self.bounds();
            return match (starts_at.filter(|starts_at| at < *starts_at), ends_at) {
                (Some(starts_at), _) => Some(NotDue::BeforeStart(starts_at)),
                (None, Some(ends_at)) => Some(NotDue::AfterEnd(ends_at)),
                (None, None) => Some(NotDue::Fields(Vec::new())),
            };
        }
        Some(match self.cadence() {
            Cadence::Once { at } => NotDue::NotTheOne(instant(*at)),
            Cadence::Interval { .. } => NotDue::BetweenIntervals,
            Cadence::Cron { .. } if at.timestamp() % 60 != 0 => NotDue::WithinMinute,
            Cadence::Cron { expression, .. } => {
                let local = at.timestamp() + i64::from(self.zone().offset_seconds(at.timestamp()));
                let fields = expression.mismatches(local);
                match self.zone().resolve(local) {
                    _ if !fields.is_empty() => NotDue::Fields(fields),
                    _ if self.dropped_between(just_before, at).contains(&at) => NotDue::TooClose,
                    LocalTime::Fold { first, .. } => NotDue::Repeated { first: instant(first) },
                    _ => NotDue::Fields(fields),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::schedule::{CronExpression, Fold, Gap, Timetable, Zone};

    #[track_caller]
    fn check(timetable: &Timetable, at: &str, expected: Option<&str>) {
        let found = timetable.why_not(at.parse().unwrap()).map(|not_due| not_due.to_string());
        assert_eq!(found.as_deref(), expected, "{at}");
    }

    fn cron(expression: &str, zone: &str) -> Timetable {
        let zone = Zone::bundled(zone).unwrap();
        Timetable::cron(CronExpression::parse(expression).unwrap(), zone, Gap::Shift, Fold::Auto).unwrap()
    }

    #[test]
    fn every_reason_has_its_words() {
        let weekdays = cron("0 9 * * 1-5", "America/New_York");
        check(&weekdays, "2026-11-02T14:00:00Z", None);
        check(&weekdays, "2026-11-02T14:00:30Z", Some("a cron expression is due at whole minutes"));
        check(&weekdays, "2026-11-02T14:30:00Z", Some("the minute is 30, and the expression has 0"));
        check(
            &weekdays,
            "2026-11-07T15:00:00Z",
            Some(
                "the hour is 10, and the expression has 9; the day is Saturday the 7., and the expression has * and 1-5",
            ),
        );
        check(
            &cron("@yearly", "UTC"),
            "2026-02-01T00:00:00Z",
            Some("the month is February, and the expression has @yearly"),
        );
        check(
            &cron("0 0 31 * *", "UTC"),
            "2026-04-30T00:00:00Z",
            Some("the day is Thursday the 30., and the expression has 31 and *"),
        );

        // The clocks of New York: 02:30 is skipped on 2026-03-08, 01:30 comes twice on 2026-11-01.
        let gap = cron("30 2 * * *", "America/New_York");
        check(&gap, "2026-03-08T07:30:00Z", None);
        let fold = cron("30 1 * * *", "America/New_York");
        check(&fold, "2026-11-01T05:30:00Z", None);
        check(
            &fold,
            "2026-11-01T06:30:00Z",
            Some("a clock change repeats this local time, and it is due at the first of the two, 2026-11-01T05:30:00Z"),
        );

        let at = |text: &str| text.parse().unwrap();
        let bounded = weekdays.within(Some(at("2026-11-02T00:00:00Z")), Some(at("2026-11-30T00:00:00Z")));
        check(&bounded, "2026-10-30T13:00:00Z", Some("it is active from 2026-11-02T00:00:00Z on (starts_at)"));
        check(&bounded, "2026-12-01T14:00:00Z", Some("it was active until 2026-11-30T00:00:00Z (ends_at)"));
        let interval = Timetable::interval(3600, at("2026-11-02T00:00:00Z"), Zone::utc()).unwrap();
        check(&interval, "2026-11-02T05:00:00Z", None);
        check(&interval, "2026-11-02T05:30:00Z", Some("it is between two occurrences of the interval"));
        let once = Timetable::once(at("2026-11-02T00:00:00Z"), Zone::utc()).unwrap();
        check(&once, "2026-11-03T00:00:00Z", Some("it is due once, at 2026-11-02T00:00:00Z"));
    }
}
