//! Days and months of the Gregorian calendar as plain numbers, fast enough for the walk.
//!
//! Only what the walk needs, and only for the years that have occurrences ([`super::super::zone::CALENDAR`]); for anything
//! else there is chrono.

/// Seconds in a day without a clock change.
pub(in crate::schedule) const DAY_SECONDS: i64 = 86_400;

/// A month and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::schedule) struct Month {
    /// The year.
    pub(in crate::schedule) year: i32,
    /// 1 to 12.
    pub(in crate::schedule) month: u32,
    /// Its first day, counted from 1970-01-01.
    pub(in crate::schedule) first_day: i64,
    /// Its days, 28 to 31.
    pub(in crate::schedule) length: u32,
}

impl Month {
    /// The month that a day, counted from 1970-01-01, lies in.
    ///
    /// Years are counted from March, so that the leap day is the last of its year and month lengths follow
    /// `(153 m + 2) / 5`.
    #[expect(clippy::cast_possible_truncation, reason = "each value is bounded by the line above it")]
    #[inline]
    pub(in crate::schedule) fn containing(day: i64) -> Self {
        // Days since 0000-03-01, split into cycles of 400 years.
        let shifted = day + 719_468;
        let cycle = shifted.div_euclid(146_097);
        let day_of_cycle = shifted.rem_euclid(146_097) as u32;
        let year_of_cycle =
            (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * march_month + 2) / 5;
        let (month, year_shift) = if march_month < 10 { (march_month + 3, 0) } else { (march_month - 9, 1) };
        let year = cycle as i32 * 400 + year_of_cycle as i32 + year_shift;
        Self { year, month, first_day: day - i64::from(day_of_month), length: length(year, month) }
    }

    /// The month after it.
    #[inline]
    pub(in crate::schedule) fn next(self) -> Self {
        let (year, month) = if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        Self { year, month, first_day: self.first_day + i64::from(self.length), length: length(year, month) }
    }

    /// The month before it.
    #[inline]
    pub(in crate::schedule) fn previous(self) -> Self {
        let (year, month) = if self.month == 1 { (self.year - 1, 12) } else { (self.year, self.month - 1) };
        let length = length(year, month);
        Self { year, month, first_day: self.first_day - i64::from(length), length }
    }

    /// The weekday of its first day, Sunday = 0.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder by 7")]
    #[inline]
    pub(in crate::schedule) fn first_weekday(self) -> usize {
        // 1970-01-01 was a Thursday.
        (self.first_day + 4).rem_euclid(7) as usize
    }
}

/// How many days a month has.
#[inline]
pub(in crate::schedule) fn length(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}
