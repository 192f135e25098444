//! Which fields keep an expression from being due at a time on the wall clock: for explanations.

use super::{
    CronExpression,
    civil::{DAY_SECONDS, Month},
    in_words::{MONTH_NAMES, WEEKDAY_NAMES},
};

/// A field that does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// `minute`, `hour`, `month`, or `day` for the two day fields together.
    pub field: &'static str,
    /// What the clock or calendar shows: `30`, `Saturday the 7th`.
    pub shown: String,
    /// What the expression has there: `0`, `* and 1-5`.
    pub wanted: String,
}

impl CronExpression {
    /// The fields that do not match the minute of a wall-clock time; empty: all do.
    pub(in crate::schedule) fn mismatches(&self, local: i64) -> Vec<Mismatch> {
        let day = local.div_euclid(DAY_SECONDS);
        let minute_of_day = local.rem_euclid(DAY_SECONDS) / 60;
        let (hour, minute) = (minute_of_day / 60, minute_of_day % 60);
        let month = Month::containing(day);
        let index = day - month.first_day;
        // An alias has no fields: it stands for itself.
        let fields: Vec<&str> = self.text.split_ascii_whitespace().collect();
        let wanted = |number: usize| match fields.as_slice() {
            [_, _, _, _, _] => fields[number].to_owned(),
            _ => self.text.trim().to_owned(),
        };
        let mut found = Vec::new();
        let mut add = |field, shown: String, wanted: String| found.push(Mismatch { field, shown, wanted });
        if self.minutes >> minute & 1 == 0 {
            add("minute", minute.to_string(), wanted(0));
        }
        if self.hours >> hour & 1 == 0 {
            add("hour", hour.to_string(), wanted(1));
        }
        if self.months >> month.month & 1 == 0 {
            add("month", MONTH_NAMES[month.month as usize - 1].to_owned(), wanted(3));
        }
        let row = self.days[month.length as usize - 28][month.first_weekday()];
        if row >> index & 1 == 0 {
            // The weekday of a month's first day, and so many days on.
            let weekday = WEEKDAY_NAMES.iter().cycle().nth(month.first_weekday() + usize::try_from(index).unwrap_or(0));
            let shown = format!("{} the {}.", weekday.unwrap_or(&""), index + 1);
            let both = if fields.len() == 5 { format!("{} and {}", fields[2], fields[4]) } else { wanted(2) };
            add("day", shown, both);
        }
        found
    }
}
