//! The instant that `why` is asked about, as people say it: by the clocks of the schedule's zone.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use crate::{
    clock::parse_rfc3339,
    schedule::{LocalTime, Zone},
};

/// What was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moment {
    /// One instant.
    Instant(DateTime<Utc>),
    /// A local time that a clock change skips; an occurrence that is shifted by the gap is at `shifted`.
    Skipped {
        /// What the clocks do not show.
        local: NaiveDateTime,
        /// The same with the offset from before.
        shifted: DateTime<Utc>,
    },
}

/// Reads an instant: with its offset, or a local date, with or without a time. A date alone is the first occurrence of the
/// day, or its midnight where it has none. `None`: it is none of these.
///
/// `first_due` is asked for the first occurrence from one instant on and before another.
pub(super) fn read(
    text: &str,
    now: DateTime<Utc>,
    zone: &Zone,
    first_due: impl Fn(DateTime<Utc>, DateTime<Utc>) -> Option<DateTime<Utc>>,
) -> Option<Moment> {
    let text = text.trim();
    if text == "now" {
        return Some(Moment::Instant(now));
    }
    if let Some(instant) = parse_rfc3339(text) {
        return Some(Moment::Instant(instant));
    }
    let (day, time) = match text.split_once([' ', 'T']) {
        Some((day, time)) => (day, Some(time.trim())),
        None => (text, None),
    };
    let today = zone.to_local(now).date_naive();
    let day: NaiveDate = match day {
        "today" => today,
        "yesterday" => today.checked_sub_days(Days::new(1))?,
        _ => day.parse().ok()?,
    };
    let Some(time) = time else {
        let midnight = first_instant(zone, day);
        let next_midnight = first_instant(zone, day.checked_add_days(Days::new(1))?);
        return Some(Moment::Instant(first_due(midnight, next_midnight).unwrap_or(midnight)));
    };
    let time = ["%H:%M", "%H:%M:%S"].iter().find_map(|form| NaiveTime::parse_from_str(time, form).ok())?;
    let local = day.and_time(time);
    Some(match zone.at_local(local) {
        LocalTime::Unique(instant) => Moment::Instant(instant),
        LocalTime::Gap { shifted } => Moment::Skipped { local, shifted },
        // The one at which the schedule is due; where it is at neither, the first.
        LocalTime::Fold { first, second } => {
            let due = |at: DateTime<Utc>| first_due(at, at + TimeDelta::seconds(1)) == Some(at);
            Moment::Instant(if !due(first) && due(second) { second } else { first })
        }
    })
}

fn first_instant(zone: &Zone, day: NaiveDate) -> DateTime<Utc> {
    match zone.at_local(day.and_time(NaiveTime::MIN)) {
        LocalTime::Unique(instant) | LocalTime::Fold { first: instant, .. } => instant,
        LocalTime::Gap { shifted } => shifted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::rfc3339,
        schedule::{CronExpression, Fold, Gap, Timetable},
    };

    #[test]
    fn forms() {
        let zone = Zone::bundled("America/New_York").unwrap();
        let timetable = |expression: &str| {
            let expression = CronExpression::parse(expression).unwrap();
            Timetable::cron(expression, zone.clone(), Gap::Shift, Fold::Auto).unwrap()
        };
        let weekdays = timetable("0 9 * * 1-5");
        let now = parse_rfc3339("2026-11-04T02:00:00Z").unwrap();
        let first_due = |from: DateTime<Utc>, until: DateTime<Utc>| {
            weekdays.next_after(from - TimeDelta::seconds(1)).filter(|first| *first < until)
        };
        let check = |text: &str, expected: Option<&str>| {
            let found = read(text, now, &zone, first_due).map(|moment| match moment {
                Moment::Instant(at) => rfc3339(at),
                Moment::Skipped { local, shifted } => format!("{local} skipped, {}", rfc3339(shifted)),
            });
            assert_eq!(found.as_deref(), expected, "{text:?}");
        };
        check("2026-11-03 09:00", Some("2026-11-03T14:00:00Z"));
        check("2026-11-03T09:00:30", Some("2026-11-03T14:00:30Z"));
        check("2026-11-03T09:00:00Z", Some("2026-11-03T09:00:00Z"));
        check("2026-11-03T09:00:00-05:00", Some("2026-11-03T14:00:00Z"));
        // It is still the 3rd in New York.
        check("today 09:00", Some("2026-11-03T14:00:00Z"));
        check("yesterday 9:00", Some("2026-11-02T14:00:00Z"));
        check("yesterday", Some("2026-11-02T14:00:00Z"));
        check("2026-11-07", Some("2026-11-07T05:00:00Z"));
        check("now", Some("2026-11-04T02:00:00Z"));
        check("2026-03-08 02:30", Some("2026-03-08 02:30:00 skipped, 2026-03-08T07:30:00Z"));
        check("2026-11-01 01:30", Some("2026-11-01T05:30:00Z"));
        check("tuesday", None);
        check("2026-11-03 25:00", None);
        check("", None);
    }
}
