//! A cadence in a person's words → a cron expression: `weekdays at 9`, `every 15 minutes`, `first of the month at 06:30`.
//!
//! A small grammar that takes what people write and everything that `cron::in_words` says; what it does not understand it
//! refuses with the word at which it stopped, and it never guesses: a cadence that five fields cannot say exactly is refused
//! with a hint. It checks no minimum interval, and knows no zone.
//!
//! | clause | as in |
//! |---|---|
//! | times | `at 9`, `at 9:30 and 5pm`, `noon`, `at 5 minutes past every hour`, `at minutes 0 and 35 of the hours 9 to 17` |
//! | steps | `every 15 minutes`, `hourly`, `every 2 hours from 8:00 to 20:00` |
//! | days | `daily`, `weekdays`, `on mondays and thursdays`, `monday to friday`, `on the first and the 15th of the month`, `on the last friday of January` |
//! | months | `in June and July` |

use super::{
    CronError, CronExpression,
    cron::in_words::{MONTH_NAMES, ORDINALS, WEEKDAY_NAMES},
};

mod fields;
mod tokens;

#[cfg(test)]
mod tests;

use fields::Fields;
use tokens::{Tokens, WhatTime};

/// The longest phrase that is read, in bytes.
pub const PHRASE_BYTES_MAX: usize = 500;

/// Why a phrase is refused: what is not understood, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PhraseError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// What is said where nothing better is known.
const EXAMPLES: &str = "as in \"weekdays at 9\", \"every 15 minutes\", \"first of the month at 06:30\", \
                        \"mondays and thursdays at 18:00\", \"daily at noon\", or five cron fields";

fn refuse<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, PhraseError> {
    Err(PhraseError { message: message.into(), hint: hint.into() })
}

/// Reads a cadence: words, or a cron expression as it is.
///
/// # Errors
/// The first thing that is not understood, or that a cron expression cannot say.
pub fn parse(text: &str) -> Result<CronExpression, PhraseError> {
    if text.len() > PHRASE_BYTES_MAX {
        return refuse(format!("longer than {PHRASE_BYTES_MAX} bytes"), EXAMPLES);
    }
    let as_cron = CronExpression::parse(text);
    match as_cron {
        Ok(expression) => return Ok(expression),
        // What begins like an expression is one, and its own message says more.
        Err(error) if text.trim_start().starts_with(['*', '@']) => return cron_error(&error),
        Err(_) => {}
    }
    let mut tokens = Tokens::of(text);
    if tokens.is_done() {
        return refuse("nothing is said", EXAMPLES);
    }
    let mut said = Said::default();
    while !tokens.is_done() {
        said.clause(&mut tokens)?;
    }
    let fields = said.fields()?;
    CronExpression::parse(&fields).or_else(|error| cron_error(&error))
}

fn cron_error<T>(error: &CronError) -> Result<T, PhraseError> {
    let hint = error.hint().unwrap_or_else(|| EXAMPLES.to_owned());
    refuse(error.to_string(), hint)
}

/// What was understood so far.
#[derive(Debug, Default)]
struct Said {
    /// Minutes of the day.
    times: Vec<u32>,
    /// `at minutes … of …`: minutes, and hours (none: every hour).
    minutes: Option<(Vec<u32>, Vec<u32>)>,
    /// Minutes from one to the next.
    step: Option<u32>,
    from: Option<u32>,
    to: Option<u32>,
    days: Days,
    /// `every day` was said, or something like it.
    every_day: bool,
    /// Bit n: month n; 0: none was named.
    months: u16,
    /// A word after which something else has to come: `weekly`, `monthly`, `yearly`.
    round: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Days {
    /// Bit n: day n of the month.
    numbers: u32,
    last_day: bool,
    /// Bit n: weekday n, Sunday = 0.
    weekdays: u8,
    /// Weekday and n.
    nth: Vec<(u32, u32)>,
    last_weekdays: Vec<u32>,
}

impl Days {
    fn is_empty(&self) -> bool {
        !self.by_number() && !self.by_weekday()
    }

    fn by_number(&self) -> bool {
        self.numbers != 0 || self.last_day
    }

    fn by_weekday(&self) -> bool {
        self.weekdays != 0 || !self.nth.is_empty() || !self.last_weekdays.is_empty()
    }
}

impl Said {
    fn clause(&mut self, tokens: &mut Tokens) -> Result<(), PhraseError> {
        tokens.skip(&[",", "and", "on", "once"]);
        if tokens.is_done() {
            return Ok(());
        }
        if tokens.take("at") {
            return self.at(tokens);
        }
        if tokens.take("from") || tokens.take("between") {
            return self.window(tokens);
        }
        if tokens.take("in") {
            tokens.take("the");
            return self.months(tokens);
        }
        if tokens.take("every") || tokens.take("each") {
            return self.every(tokens);
        }
        match tokens.peek() {
            "hourly" => self.step(60)?,
            "daily" | "nightly" => self.every_day = true,
            "weekly" => self.round = Some("weekly"),
            "monthly" => self.round = Some("monthly"),
            "yearly" | "annually" => self.round = Some("yearly"),
            _ => {
                return match tokens.what_time() {
                    WhatTime::Sure => self.at(tokens),
                    WhatTime::Perhaps | WhatTime::None => self.days(tokens),
                };
            }
        }
        tokens.next();
        Ok(())
    }

    /// After `every`.
    fn every(&mut self, tokens: &mut Tokens) -> Result<(), PhraseError> {
        if tokens.take("day") || tokens.take("night") {
            self.every_day = true;
            return Ok(());
        }
        if tokens.take("month") {
            self.round = Some("monthly");
            return Ok(());
        }
        if tokens.take("week") {
            self.round = Some("weekly");
            return Ok(());
        }
        if tokens.take("year") {
            self.round = Some("yearly");
            return Ok(());
        }
        if tokens.take("hour") {
            return self.step(60);
        }
        if tokens.take("minute") {
            return self.step(1);
        }
        let Some(number) = tokens.number() else { return self.days(tokens) };
        if tokens.take_any(&["minutes", "minute", "min", "mins"]) {
            self.step(number)
        } else if tokens.take_any(&["hours", "hour"]) {
            self.step(number.saturating_mul(60))
        } else if tokens.take_any(&["days", "day", "weeks", "week", "months", "month"]) && number != 1 {
            refuse(
                "five cron fields cannot count days from one month to the next",
                "for a fixed distance write interval_seconds and first_fire_at into the file; else name the days",
            )
        } else {
            tokens.refuse()
        }
    }

    fn step(&mut self, minutes: u32) -> Result<(), PhraseError> {
        if self.step.is_some() {
            return refuse("two steps are said", "one schedule has one: write two schedules");
        }
        let fits = |round: u32| minutes > 0 && round.is_multiple_of(minutes);
        if !(fits(60) || minutes.is_multiple_of(60) && fits(24 * 60)) {
            return refuse(
                format!(
                    "every {minutes} minutes does not come out even with the hour or the day, where cron begins again"
                ),
                format!(
                    "for exactly that, write interval_seconds = {} and first_fire_at into the file",
                    u64::from(minutes) * 60
                ),
            );
        }
        self.step = Some(minutes);
        Ok(())
    }

    /// After `from` or `between`: `08:00 to 20:00`, `00:05 on`.
    fn window(&mut self, tokens: &mut Tokens) -> Result<(), PhraseError> {
        // `from monday to friday` is a stretch of days.
        if tokens.weekday_ahead() {
            return self.days(tokens);
        }
        let Some(from) = tokens.time() else { return tokens.refuse() };
        self.from = Some(from);
        if tokens.take("on") || tokens.take("onwards") {
            return Ok(());
        }
        if !tokens.take_any(&["to", "until", "till", "through", "and"]) {
            return tokens.refuse();
        }
        let Some(to) = tokens.time() else { return tokens.refuse() };
        self.to = Some(to);
        Ok(())
    }

    /// After `at`: times, or minutes of hours.
    fn at(&mut self, tokens: &mut Tokens) -> Result<(), PhraseError> {
        if tokens.take("minutes") || tokens.take("minute") {
            let minutes = tokens.numbers(0..=59)?;
            tokens.take_any(&["of", "past"]);
            tokens.take("the");
            return self.of_hours(minutes, tokens);
        }
        let before = tokens.clone();
        if let Ok(minutes) = tokens.numbers(0..=59)
            && tokens.take_any(&["minutes", "minute"])
            && tokens.take_any(&["past", "after"])
        {
            return self.of_hours(minutes, tokens);
        }
        *tokens = before;
        loop {
            let Some(time) = tokens.time() else { return tokens.refuse() };
            self.times.push(time);
            let before = tokens.clone();
            let goes_on = tokens.skip(&[",", "and", "at"]);
            // `at 9 and on the 1st`: the list is over.
            let is_time = match tokens.what_time() {
                WhatTime::Sure => true,
                WhatTime::Perhaps => !tokens.ordinal_ahead(),
                WhatTime::None => false,
            };
            if !goes_on || !is_time {
                *tokens = before;
                return Ok(());
            }
        }
    }

    fn of_hours(&mut self, minutes: Vec<u32>, tokens: &mut Tokens) -> Result<(), PhraseError> {
        let hours = if tokens.take("hours") || tokens.take("hour") {
            tokens.numbers(0..=23)?
        } else if tokens.take_any(&["every", "each"]) && tokens.take("hour") {
            Vec::new()
        } else {
            return tokens.refuse();
        };
        if self.minutes.replace((minutes, hours)).is_some() {
            return refuse("minutes of the hour are said twice", "say them once, or write two schedules");
        }
        Ok(())
    }

    /// Days: weekdays and numbers, in any mixture.
    fn days(&mut self, tokens: &mut Tokens) -> Result<(), PhraseError> {
        // Of the month, or of the weekday that comes at the end: `first and third monday`.
        let mut numbers: Vec<(u32, u32)> = Vec::new();
        loop {
            tokens.take("the");
            if tokens.take_any(&["weekday", "weekdays", "workday", "workdays"]) {
                self.days.weekdays |= 0b011_1110;
            } else if tokens.take_any(&["weekend", "weekends"]) {
                self.days.weekdays |= 0b100_0001;
            } else if let Some(first) = tokens.weekday() {
                let last = if tokens.take_any(&["to", "through", "until"]) {
                    let Some(last) = tokens.weekday() else { return tokens.refuse() };
                    last
                } else {
                    first
                };
                // A week has no end: from Saturday to Monday goes over Sunday.
                (0..=(last + 7 - first) % 7).for_each(|day| self.days.weekdays |= 1 << ((first + day) % 7));
            } else if tokens.take("last") {
                match tokens.weekday() {
                    Some(weekday) => {
                        self.days.last_weekdays.push(weekday);
                        self.nth_of(weekday, &mut numbers)?;
                    }
                    None if tokens.take("day") || tokens.word_ahead("of") => self.days.last_day = true,
                    None => return tokens.refuse(),
                }
            } else if let Some(number) = tokens.ordinal() {
                numbers.push((number, number));
                if let Some(weekday) = tokens.weekday() {
                    self.nth_of(weekday, &mut numbers)?;
                } else if tokens.take_any(&["to", "through", "until"]) {
                    tokens.take("the");
                    let Some(last) = tokens.ordinal() else { return tokens.refuse() };
                    numbers.pop();
                    numbers.push((number, last));
                } else {
                    tokens.take("day");
                }
            } else {
                return tokens.refuse();
            }
            let before = tokens.clone();
            let goes_on = tokens.skip(&[",", "and", "the"]);
            if !goes_on || !(tokens.day_ahead()) {
                *tokens = before;
                break;
            }
        }
        for (first, last) in numbers {
            if !(1..=31).contains(&first) || !(first..=31).contains(&last) {
                return refuse(format!("a month has no days {first} to {last}"), "days are 1st to 31st");
            }
            (first..=last).for_each(|day| self.days.numbers |= 1 << day);
        }
        if tokens.take("of") {
            tokens.take_any(&["the", "every", "each"]);
            if !tokens.take("month") {
                return self.months(tokens);
            }
        }
        Ok(())
    }

    /// The ordinals so far are of this weekday.
    fn nth_of(&mut self, weekday: u32, numbers: &mut Vec<(u32, u32)>) -> Result<(), PhraseError> {
        for (first, last) in numbers.drain(..) {
            if first < 1 || last > 5 {
                return refuse("a month has no more than five of a weekday", "say first to fifth, or last");
            }
            self.days.nth.extend((first..=last).map(|n| (weekday, n)));
        }
        Ok(())
    }

    fn months(&mut self, tokens: &mut Tokens) -> Result<(), PhraseError> {
        let mut months = 0;
        loop {
            let Some(first) = tokens.month() else { return tokens.refuse() };
            let last = if tokens.take_any(&["to", "through", "until"]) {
                let Some(last) = tokens.month() else { return tokens.refuse() };
                last
            } else {
                first
            };
            (0..=(last + 12 - first) % 12).for_each(|month| months |= 1 << ((first - 1 + month) % 12 + 1));
            let before = tokens.clone();
            if !tokens.skip(&[",", "and"]) || !tokens.month_ahead() {
                *tokens = before;
                break;
            }
        }
        if self.months != 0 && self.months != months {
            return refuse(
                "different days are said for different months",
                "one schedule has one rule: write two schedules",
            );
        }
        self.months = months;
        Ok(())
    }

    /// The five fields.
    fn fields(&self) -> Result<String, PhraseError> {
        let fields = Fields::of(self)?;
        match self.round {
            Some("weekly") if !self.days.by_weekday() => {
                refuse("on which day of the week is not said", "as in \"weekly on mondays at 9\"")
            }
            Some("monthly") if self.days.is_empty() => {
                refuse("on which day of the month is not said", "as in \"monthly on the 1st at 9\"")
            }
            Some("yearly") if self.days.is_empty() || self.months == 0 => {
                refuse("on which day of which month is not said", "as in \"yearly on the 1st of January at 9\"")
            }
            _ => Ok(fields.text()),
        }
    }
}
