//! The walk: from one matching wall-clock minute to the next, in both directions, and counting them.
//!
//! No allocation, no zone, no clock change: every day has 24 hours here. Months are stepped over whole, so that an
//! expression that is due once in forty years costs some hundred look-ups.

use super::{
    CronExpression,
    civil::{DAY_SECONDS, Month},
};

/// Minutes in a day.
const DAY_MINUTES: i64 = 1_440;
/// The walk ends after this year, one more than the calendar has, since a zone may be behind UTC.
const LAST_YEAR: i32 = 2_200;
/// The walk back ends before this year.
const FIRST_YEAR: i32 = 1_969;

impl CronExpression {
    /// The days of a month that match, bit n for day n + 1.
    #[inline]
    pub(in crate::schedule) fn days_in(&self, month: Month) -> u32 {
        if self.months >> month.month & 1 == 1 {
            self.days[month.length as usize - 28][month.first_weekday()]
        } else {
            0
        }
    }

    /// The first matching wall-clock time strictly after `after`.
    #[inline]
    pub(in crate::schedule) fn next_local(&self, after: i64) -> Option<i64> {
        let minute = after.div_euclid(60) + 1;
        let day = minute.div_euclid(DAY_MINUTES);
        let mut month = Month::containing(day);
        let mut days = self.days_in(month);
        let index = day - month.first_day;
        if days >> index & 1 == 1
            && let Some(minute) = self.minute_from(minute.rem_euclid(DAY_MINUTES))
        {
            return Some(day * DAY_SECONDS + minute * 60);
        }
        // The bits above `index`; two shifts, since index may be 31 - 1.
        days &= (u32::MAX << index) << 1;
        while days == 0 {
            month = month.next();
            if month.year > LAST_YEAR {
                return None;
            }
            days = self.days_in(month);
        }
        Some((month.first_day + i64::from(days.trailing_zeros())) * DAY_SECONDS + i64::from(self.first_minute) * 60)
    }

    /// The last matching wall-clock time strictly before `before`.
    pub(in crate::schedule) fn previous_local(&self, before: i64) -> Option<i64> {
        // The last minute that begins before it.
        let minute = (before - 1).div_euclid(60);
        let day = minute.div_euclid(DAY_MINUTES);
        let mut month = Month::containing(day);
        let mut days = self.days_in(month);
        let index = day - month.first_day;
        if days >> index & 1 == 1
            && let Some(minute) = self.minute_until(minute.rem_euclid(DAY_MINUTES))
        {
            return Some(day * DAY_SECONDS + minute * 60);
        }
        days &= (1 << index) - 1;
        while days == 0 {
            month = month.previous();
            if month.year < FIRST_YEAR {
                return None;
            }
            days = self.days_in(month);
        }
        let day = month.first_day + i64::from(days.ilog2());
        Some(day * DAY_SECONDS + i64::from(self.last_minute) * 60)
    }

    /// Whether a wall-clock time is the beginning of a matching minute.
    pub(in crate::schedule) fn matches_local(&self, local: i64) -> bool {
        self.next_local(local - 1) == Some(local)
    }

    /// How many matching wall-clock times there are after `after`, up to and including `until`. Does not list them.
    pub(in crate::schedule) fn count_local(&self, after: i64, until: i64) -> u64 {
        if until <= after {
            return 0;
        }
        // Minutes that begin in (after, until] are those from `first` to `last`.
        let first = after.div_euclid(60) + 1;
        let last = until.div_euclid(60);
        let (first_day, last_day) = (first.div_euclid(DAY_MINUTES), last.div_euclid(DAY_MINUTES));
        let mut month = Month::containing(first_day);
        let before_first = self.matches_on(first_day, month, first.rem_euclid(DAY_MINUTES));
        // The days from the first to before the last, a month at a time.
        let mut days = self.days_in(month) & (u32::MAX << (first_day - month.first_day));
        let mut matching = 0;
        while month.first_day + i64::from(month.length) <= last_day {
            matching += u64::from(days.count_ones());
            month = month.next();
            days = self.days_in(month);
        }
        matching += u64::from((days & ((1 << (last_day - month.first_day)) - 1)).count_ones());
        matching * self.per_day() + self.matches_on(last_day, month, last.rem_euclid(DAY_MINUTES) + 1) - before_first
    }

    /// How many times before minute `before` of it a day has, which lies in `month`.
    fn matches_on(&self, day: i64, month: Month, before: i64) -> u64 {
        if self.days_in(month) >> (day - month.first_day) & 1 == 1 { self.minutes_before(before) } else { 0 }
    }

    /// How many times a matching day has.
    pub(in crate::schedule) fn per_day(&self) -> u64 {
        u64::from(self.minutes.count_ones()) * u64::from(self.hours.count_ones())
    }

    /// The first minute of a matching day that is `from` or later.
    #[inline]
    fn minute_from(&self, from: i64) -> Option<i64> {
        let (hour, minute) = (from / 60, from % 60);
        if self.hours >> hour & 1 == 1 {
            let minutes = self.minutes & (u64::MAX << minute);
            if minutes != 0 {
                return Some(hour * 60 + i64::from(minutes.trailing_zeros()));
            }
        }
        let hours = self.hours & ((u32::MAX << hour) << 1);
        (hours != 0).then(|| i64::from(hours.trailing_zeros()) * 60 + i64::from(self.minutes.trailing_zeros()))
    }

    /// The last minute of a matching day that is `until` or earlier.
    fn minute_until(&self, until: i64) -> Option<i64> {
        let (hour, minute) = (until / 60, until % 60);
        if self.hours >> hour & 1 == 1 {
            let minutes = self.minutes & !((u64::MAX << minute) << 1);
            if minutes != 0 {
                return Some(hour * 60 + i64::from(minutes.ilog2()));
            }
        }
        let hours = self.hours & ((1 << hour) - 1);
        (hours != 0).then(|| i64::from(hours.ilog2()) * 60 + i64::from(self.minutes.ilog2()))
    }

    /// How many times of a matching day are before minute `before` of it.
    fn minutes_before(&self, before: i64) -> u64 {
        let (hour, minute) = (before / 60, before % 60);
        let whole = u64::from((self.hours & ((1 << hour) - 1)).count_ones()) * u64::from(self.minutes.count_ones());
        let part = u64::from((self.minutes & ((1 << minute) - 1)).count_ones());
        whole + part * u64::from(self.hours >> hour & 1)
    }

    /// The minutes of a matching day, in order.
    pub(in crate::schedule) fn minutes_of_day(&self) -> impl Iterator<Item = i64> + '_ {
        std::iter::successors(Some(i64::from(self.first_minute)), |minute| {
            (minute + 1 < DAY_MINUTES).then(|| self.minute_from(minute + 1)).flatten()
        })
    }
}
