//! An expression in words: `At 09:00 on weekdays`.
//!
//! Made from the sets that the walk goes by, not from the text, so that it says what is due and not what was meant. The
//! days are read back from the table of months; where putting them together again does not give that table, there are no
//! words rather than wrong ones. Not for zones: `schedule::in_words` adds those.

use super::{
    CronExpression,
    sets::{Parsed, Sets},
};

/// Times of day that are listed one by one; more are told by their rule.
const TIMES_LISTED_MAX: usize = 6;
const ALL_MINUTES: u64 = (1 << 60) - 1;
const ALL_HOURS: u32 = (1 << 24) - 1;
const ALL_MONTHS: u16 = 0b1_1111_1111_1110;
const WEEKDAYS: u8 = 0b011_1110;
const WEEKENDS: u8 = 0b100_0001;

/// Names as they are written, Sunday first; also what `cadence` reads.
pub(in crate::schedule) const WEEKDAY_NAMES: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// January first.
pub(in crate::schedule) const MONTH_NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The n-th weekday of a month.
pub(in crate::schedule) const ORDINALS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

impl CronExpression {
    /// When it is due, in words, by the clocks of its zone; `None` where there are no words that say exactly this.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let days = Days::of(self)?;
        let (time, all_day) = self.time_in_words();
        let months = (self.months != ALL_MONTHS).then(|| {
            let names: Vec<String> = runs(1..=12, |month| self.months >> month & 1 == 1)
                .into_iter()
                .flat_map(|run| named_run(run, |month| MONTH_NAMES[month as usize - 1].to_owned()))
                .collect();
            listed(&names)
        });
        Some(match days.in_words(months.as_deref()) {
            Some(days) => format!("{time} {days}"),
            None => match (months, all_day) {
                (Some(months), true) => format!("{time} in {months}"),
                (Some(months), false) => format!("{time} every day in {months}"),
                (None, true) => time,
                (None, false) => format!("{time} every day"),
            },
        })
    }

    /// Whether the other is due at the same times.
    #[cfg(test)]
    pub(in crate::schedule) fn means(&self, other: &Self) -> bool {
        let sets = |of: &Self| (of.minutes, of.hours, of.months, of.days);
        sets(self) == sets(other)
    }

    /// The times of a day, and whether they go on all through it.
    fn time_in_words(&self) -> (String, bool) {
        let minutes: Vec<u32> = (0..60).filter(|minute| self.minutes >> minute & 1 == 1).collect();
        let hours: Vec<u32> = (0..24).filter(|hour| self.hours >> hour & 1 == 1).collect();
        let all_day = self.hours == ALL_HOURS;
        if !all_day && minutes.len() * hours.len() <= TIMES_LISTED_MAX {
            let times: Vec<String> = self.minutes_of_day().map(|minute| clock(minute / 60, minute % 60)).collect();
            return (format!("At {}", listed(&times)), false);
        }
        // A list without members does not occur: an expression that is never due is refused.
        let (first_minute, last_minute) = ends(&minutes);
        let (first_hour, last_hour) = ends(&hours);
        let step = match (minutes.as_slice(), grid(&minutes, 60)) {
            ([_], _) => Some("hour".to_owned()),
            (_, Some(step)) => Some(format!("{step} minutes")),
            _ => None,
        };
        let span = |first: i64, last: i64| {
            let (first, last) = (clock(i64::from(first_hour), first), clock(i64::from(last_hour), last));
            format!("from {first} to {last}")
        };
        let (first, last) = (i64::from(first_minute), i64::from(last_minute));
        match (step, minutes.len()) {
            (Some(_), 1) if all_day && first_minute == 0 => ("Every hour".to_owned(), true),
            (Some(_), 1) if all_day => (format!("At {first_minute} minutes past every hour"), true),
            (Some(step), _) if all_day && first_minute == 0 => (format!("Every {step}"), true),
            (Some(step), _) if all_day => (format!("Every {step} from {} on", clock(0, first)), true),
            (Some(step), _) if is_run(&hours) => (format!("Every {step} {}", span(first, last)), false),
            (Some(_), 1) if let Some(hour_step) = grid(&hours, 24) => {
                let from = clock(i64::from(first_hour), first);
                (format!("Every {hour_step} hours from {from} on"), true)
            }
            (Some(_), 1) if let Some(hour_step) = even(&hours) => {
                (format!("Every {hour_step} hours {}", span(first, last)), false)
            }
            _ => {
                let numbers = |runs: Vec<(u32, u32)>| -> Vec<String> {
                    runs.into_iter().flat_map(|run| named_run(run, |number| number.to_string())).collect()
                };
                let of = if all_day {
                    "every hour".to_owned()
                } else {
                    format!("the hours {}", listed(&numbers(runs(0..=23, |hour| self.hours >> hour & 1 == 1))))
                };
                let minutes = if self.minutes == ALL_MINUTES {
                    "0 to 59".to_owned()
                } else {
                    listed(&numbers(runs(0..=59, |minute| self.minutes >> minute & 1 == 1)))
                };
                (format!("At minutes {minutes} of {of}"), all_day)
            }
        }
    }
}

/// The rule of the days, read back from the table.
#[derive(Debug, Default)]
struct Days {
    every: bool,
    /// Bit n: day n of the month.
    numbers: u32,
    last_day: bool,
    /// Bit n: weekday n, Sunday = 0.
    weekdays: u8,
    /// n and weekday.
    nth: Vec<(u32, u32)>,
    last_weekdays: Vec<u32>,
}

impl Days {
    /// `None`: this reading does not give the expression's table.
    fn of(expression: &CronExpression) -> Option<Self> {
        let table = &expression.days;
        let full = |length: usize| u32::MAX >> (32 - length);
        if (0..4).all(|index| table[index].iter().all(|days| *days == full(index + 28))) {
            return Some(Self { every: true, ..Self::default() });
        }
        // What matches whatever weekday the month begins with, is a matter of the day's number.
        let always = |index: usize| table[index].iter().fold(u32::MAX, |all, days| all & days);
        let mut numbers = always(3);
        let last_day = (0..3).all(|index| always(index) >> (index + 27) & 1 == 1)
            && (0..3).any(|index| numbers >> (index + 27) & 1 == 0);
        if last_day {
            numbers &= !(1 << 30);
        }
        let everywhere = |day: &dyn Fn(usize, usize) -> u32| {
            table.iter().enumerate().all(|(index, row)| {
                row.iter().enumerate().all(|(first, days)| {
                    let wanted = day(index + 28, first);
                    days & wanted == wanted
                })
            })
        };
        // The days of a weekday in a month.
        let each = |weekday: u32, length: usize, first: usize| {
            let offset = (weekday as usize + 7 - first) % 7;
            (0b1_0000001_0000001_0000001_0000001_u32 << offset) & full(length)
        };
        let mut days = Self { numbers: numbers << 1, last_day, ..Self::default() };
        for weekday in 0..7 {
            if everywhere(&|length, first| each(weekday, length, first)) {
                days.weekdays |= 1 << weekday;
                continue;
            }
            if days.numbers != 0 || last_day {
                // The dialect has no n-th weekdays beside days of the month.
                continue;
            }
            let week = |n: u32| (0b111_1111_u32 << (7 * (n - 1))) & full(31);
            let mut nth: Vec<u32> =
                (1..=5).filter(|n| everywhere(&|length, first| each(weekday, length, first) & week(*n))).collect();
            let last = everywhere(&|length, first| 1 << each(weekday, length, first).ilog2());
            // The last is the fourth or the fifth: said as the two, or as the last.
            if last && !nth.contains(&4) {
                nth.retain(|n| *n != 5);
                days.last_weekdays.push(weekday);
            }
            days.nth.extend(nth.into_iter().map(|n| (n, weekday)));
        }
        days.nth.sort_unstable();
        days.gives(expression).then_some(days)
    }

    /// Whether it puts the expression's table together again.
    fn gives(&self, expression: &CronExpression) -> bool {
        let by_day =
            Parsed { every: self.numbers == 0 && !self.last_day, last_day: self.last_day, ..Parsed::default() };
        let by_weekday = Parsed {
            every: self.weekdays == 0 && self.nth.is_empty() && self.last_weekdays.is_empty(),
            nth: self.nth.iter().map(|(n, weekday)| (*weekday, *n)).collect(),
            last_weekdays: self.last_weekdays.clone(),
            ..Parsed::default()
        };
        if by_day.every && by_weekday.every {
            return false;
        }
        let sets = Sets { minutes: 0, hours: 0, days: self.numbers, months: 0, weekdays: self.weekdays };
        (28..=31_u32).zip(&expression.days).all(|(length, row)| {
            (0..7_u32).zip(row).all(|(first, days)| sets.days_of_month(length, first, &by_day, &by_weekday) == *days)
        })
    }

    /// `None`: every day.
    fn in_words(&self, months: Option<&str>) -> Option<String> {
        if self.every {
            return None;
        }
        let mut numbered: Vec<String> = runs(1..=31, |day| self.numbers >> day & 1 == 1)
            .into_iter()
            .flat_map(|run| named_run(run, ordinal))
            .map(|day| format!("the {day}"))
            .collect();
        if self.last_day {
            numbered.push("the last day".to_owned());
        }
        let name = |weekday: u32| WEEKDAY_NAMES[weekday as usize % 7];
        let nth = self.nth.iter().map(|(n, weekday)| format!("the {} {}", ORDINALS[*n as usize - 1], name(*weekday)));
        let last = self.last_weekdays.iter().map(|weekday| format!("the last {}", name(*weekday)));
        numbered.extend(nth.chain(last));
        let mut parts = Vec::new();
        if !numbered.is_empty() {
            parts.push(format!("on {} of {}", listed(&numbered), months.unwrap_or("the month")));
        }
        let weekdays = match self.weekdays {
            0 => None,
            WEEKDAYS => Some("weekdays".to_owned()),
            WEEKENDS => Some("weekends".to_owned()),
            some => {
                // The week begins on Monday.
                let days = (1..=7_u32).map(|day| day % 7).filter(|day| some >> day & 1 == 1);
                Some(listed(&days.map(|day| format!("{}s", name(day))).collect::<Vec<_>>()))
            }
        };
        if let Some(weekdays) = weekdays {
            let months = months.map_or_else(String::new, |months| format!(" in {months}"));
            parts.push(format!("on {weekdays}{months}"));
        }
        Some(parts.join(" and "))
    }
}

/// `09:05`.
fn clock(hour: i64, minute: i64) -> String {
    format!("{hour:02}:{minute:02}")
}

fn ends(values: &[u32]) -> (u32, u32) {
    (values.first().copied().unwrap_or_default(), values.last().copied().unwrap_or_default())
}

/// Whether they follow one another without a gap.
fn is_run(values: &[u32]) -> bool {
    even(values) == Some(1)
}

/// The one distance between them, three or more.
fn even(values: &[u32]) -> Option<u32> {
    let step = values.get(1)? - values.first()?;
    (values.len() > 2 && values.windows(2).all(|pair| pair[1] - pair[0] == step)).then_some(step)
}

/// The distance between them, if it is the same also from the last to the first of the next round.
fn grid(values: &[u32], round: u32) -> Option<u32> {
    let step = values.get(1)? - values.first()?;
    let even = values.windows(2).all(|pair| pair[1] - pair[0] == step);
    (even && step * u32::try_from(values.len()).ok()? == round).then_some(step)
}

/// The stretches of neighbours, each with its first and last.
fn runs(values: std::ops::RangeInclusive<u32>, is_in: impl Fn(u32) -> bool) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for value in values.filter(|value| is_in(*value)) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == value => *last = value,
            _ => runs.push((value, value)),
        }
    }
    runs
}

/// Three neighbours and more as `a to b`.
fn named_run((first, last): (u32, u32), name: impl Fn(u32) -> String) -> Vec<String> {
    if last - first >= 2 {
        vec![format!("{} to {}", name(first), name(last))]
    } else {
        (first..=last).map(name).collect()
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// `1st`, `22nd`.
fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}
