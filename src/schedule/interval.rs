//! The five-minute rule: the two nearest occurrences of a cron expression, whatever day it is looked at.
//!
//! Exact, not sampled: within a day the times are listed; from one day to another the shortest distance between two
//! matching days is found over the 400 years after which the calendar repeats. Clock changes are not looked at: what they
//! bring closer is dropped where it happens (`wall`).

use std::time::Duration;

use chrono::NaiveDate;

use super::{
    cron::{
        CronExpression,
        civil::{DAY_SECONDS, Month},
    },
    zone::MIN_INTERVAL_SECONDS,
};

/// The least time between two occurrences of one schedule: the API's.
pub const MIN_INTERVAL: Duration = Duration::from_secs(MIN_INTERVAL_SECONDS.unsigned_abs());

/// Two occurrences that are closer than allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("due at {} and again at {}{}, {} later; {} is the least", time(*first_minute), time(*second_minute), days(*distance_days, *example), duration(*seconds), duration(*least_seconds))]
pub struct TooFrequent {
    /// The minute of the day of the one.
    pub first_minute: i64,
    /// The minute of the day of the other.
    pub second_minute: i64,
    /// How many days later the other is.
    pub distance_days: i64,
    /// A day on which the first of them is due.
    pub example: NaiveDate,
    /// Seconds between them.
    pub seconds: i64,
    /// Seconds that are the least.
    pub least_seconds: i64,
}

/// Refuses an expression whose two nearest occurrences are less than `least` apart; a `least` under [`MIN_INTERVAL`]
/// counts as that.
///
/// # Errors
///
/// The pair.
pub fn check(expression: &CronExpression, least: Duration) -> Result<(), TooFrequent> {
    let least_seconds = i64::try_from(least.max(MIN_INTERVAL).as_secs()).unwrap_or(i64::MAX);
    let times: Vec<i64> = expression.minutes_of_day().collect();
    let pair = times.windows(2).map(|pair| (pair[0], pair[1])).min_by_key(|(first, second)| second - first);
    let refuse = |first_minute: i64, second_minute: i64, distance_days: i64, day: i64| TooFrequent {
        first_minute,
        second_minute,
        distance_days,
        example: NaiveDate::default() + chrono::TimeDelta::days(day),
        seconds: distance_days * DAY_SECONDS + (second_minute - first_minute) * 60,
        least_seconds,
    };
    if let Some((first, second)) = pair
        && (second - first) * 60 < least_seconds
    {
        let (_, day) = nearest_days(expression, 1).unwrap_or_default();
        return Err(refuse(first, second, 0, day));
    }
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Ok(()) };
    // Days that are this far apart are far enough.
    let enough = (least_seconds + (last - first) * 60 + DAY_SECONDS - 1) / DAY_SECONDS;
    match nearest_days(expression, enough) {
        Some((distance, day)) if distance * DAY_SECONDS + (first - last) * 60 < least_seconds => {
            Err(refuse(*last, *first, distance, day))
        }
        _ => Ok(()),
    }
}

/// The shortest distance between two matching days, with the first of them, counted from 1970-01-01; searched no further
/// where distances are `enough` anyway. The days start in 2026, so that an example is near.
fn nearest_days(expression: &CronExpression, enough: i64) -> Option<(i64, i64)> {
    if enough <= 1 {
        let day = expression.next_local(START_DAY * DAY_SECONDS - 1)?.div_euclid(DAY_SECONDS);
        return Some((1, day));
    }
    let mut nearest: Option<(i64, i64)> = None;
    let mut previous: Option<i64> = None;
    let mut month = Month::containing(START_DAY);
    // One month more than the cycle, for the step from its end to its beginning; sparse ones have their next day far on.
    for _ in 0..400 * 12 + 100 * 12 {
        let mut days = expression.days_in(month);
        while days != 0 {
            let day = month.first_day + i64::from(days.trailing_zeros());
            days &= days - 1;
            if let Some(previous) = previous
                && nearest.is_none_or(|(distance, _)| day - previous < distance)
            {
                nearest = Some((day - previous, previous));
            }
            previous = Some(day);
        }
        if nearest.is_some_and(|(distance, _)| distance == 1) {
            break;
        }
        month = month.next();
    }
    nearest
}

/// 2026-01-01.
const START_DAY: i64 = 20_454;

fn time(minute: i64) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn days(distance: i64, example: NaiveDate) -> String {
    match distance {
        0 => String::new(),
        1 => format!(" the next day (as from {example} on)"),
        _ => format!(" {distance} days after (as from {example} on)"),
    }
}

fn duration(seconds: i64) -> String {
    humantime::format_duration(Duration::from_secs(seconds.unsigned_abs())).to_string()
}
