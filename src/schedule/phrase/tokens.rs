//! The words of a phrase, and what each of them can be: a time, a number, a day, a month.

use std::ops::RangeInclusive;

use super::{EXAMPLES, MONTH_NAMES, ORDINALS, PhraseError, WEEKDAY_NAMES, refuse};

/// Ordinals in words that stand for days, beyond the five of weekdays.
const MORE_ORDINALS: [&str; 5] = ["sixth", "seventh", "eighth", "ninth", "tenth"];

/// The words that are left.
#[derive(Debug, Clone)]
pub(super) struct Tokens {
    words: Vec<String>,
    at: usize,
}

/// Whether a word is a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhatTime {
    /// `9:30`, `9am`, `noon`.
    Sure,
    /// `9`, which can be a number of anything.
    Perhaps,
    None,
}

impl Tokens {
    pub(super) fn of(text: &str) -> Self {
        let mut words = Vec::new();
        for word in text.to_lowercase().split_whitespace() {
            let mut word = word.trim_end_matches('.');
            let comma = word.ends_with([',', ';']);
            word = word.trim_end_matches([',', ';']);
            // `mon-fri`, `1st-7th`, `9:00-17:00`; not a dash inside of anything else.
            match word.split_once(['-', '–']) {
                Some((first, last)) if !first.is_empty() && !last.is_empty() => {
                    words.extend([first.to_owned(), "to".to_owned(), last.to_owned()]);
                }
                _ if word.is_empty() => {}
                _ => words.push(word.to_owned()),
            }
            if comma {
                words.push(",".to_owned());
            }
        }
        Self { words, at: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.words.len()
    }

    /// The next word, or nothing.
    pub(super) fn peek(&self) -> &str {
        self.words.get(self.at).map_or("", String::as_str)
    }

    fn peek_second(&self) -> &str {
        self.words.get(self.at + 1).map_or("", String::as_str)
    }

    pub(super) fn next(&mut self) {
        self.at += 1;
    }

    pub(super) fn word_ahead(&self, word: &str) -> bool {
        self.peek() == word
    }

    /// Steps over the word if it is this one.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let is = self.peek() == word;
        self.at += usize::from(is);
        is
    }

    pub(super) fn take_any(&mut self, words: &[&str]) -> bool {
        let is = words.contains(&self.peek());
        self.at += usize::from(is);
        is
    }

    /// Steps over all of these; whether there was one.
    pub(super) fn skip(&mut self, words: &[&str]) -> bool {
        let mut any = false;
        while self.take_any(words) {
            any = true;
        }
        any
    }

    /// The error of the next word.
    pub(super) fn refuse<T>(&self) -> Result<T, PhraseError> {
        if self.is_done() {
            let last = self.words.last().map_or("", String::as_str);
            return refuse(format!("something is missing after `{last}`"), EXAMPLES);
        }
        refuse(format!("`{}` is not understood", self.peek()), EXAMPLES)
    }

    /// `15`, also in words up to ten.
    pub(super) fn number(&mut self) -> Option<u32> {
        let word = self.peek();
        let words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
        let number = match words.iter().zip(1..).find(|(name, _)| **name == word) {
            Some((_, number)) => number,
            None if !word.is_empty() && word.len() <= 5 && word.bytes().all(|b| b.is_ascii_digit()) => {
                word.parse().ok()?
            }
            None => return None,
        };
        self.next();
        Some(number)
    }

    /// `0, 15 and 30 to 40`.
    pub(super) fn numbers(&mut self, range: RangeInclusive<u32>) -> Result<Vec<u32>, PhraseError> {
        let mut numbers = Vec::new();
        loop {
            let Some(first) = self.number() else { return self.refuse() };
            let last = if self.take("to") {
                let Some(last) = self.number() else { return self.refuse() };
                last
            } else {
                first
            };
            if !range.contains(&first) || !range.contains(&last) || first > last {
                return refuse(
                    format!("{first} to {last} is not in {} to {}", range.start(), range.end()),
                    "say a number of it",
                );
            }
            numbers.extend(first..=last);
            let before = self.clone();
            if !self.skip(&[",", "and"]) || self.number().is_none() {
                *self = before;
                return Ok(numbers);
            }
            self.at -= 1;
        }
    }

    /// What the next word is as a time.
    pub(super) fn what_time(&self) -> WhatTime {
        let word = self.peek();
        let half = ["am", "pm", "a.m", "p.m"].contains(&self.peek_second());
        match time_of(word) {
            None => WhatTime::None,
            Some(_) if half || !word.bytes().all(|b| b.is_ascii_digit()) => WhatTime::Sure,
            Some(_) => WhatTime::Perhaps,
        }
    }

    /// A time of day, in minutes: `9`, `09:30`, `9am`, `5 pm`, `noon`, `midnight`.
    pub(super) fn time(&mut self) -> Option<u32> {
        let (time, half) = time_of(self.peek())?;
        let second = match self.peek_second() {
            "am" | "a.m" => Some(false),
            "pm" | "p.m" => Some(true),
            _ => None,
        };
        let time = match (half, second) {
            (None, Some(afternoon)) => {
                let time = halved(time, afternoon)?;
                self.next();
                time
            }
            _ => time,
        };
        self.next();
        self.take("o'clock");
        Some(time)
    }

    /// Sunday = 0.
    pub(super) fn weekday(&mut self) -> Option<u32> {
        let day = weekday_of(self.peek())?;
        self.next();
        Some(day)
    }

    pub(super) fn weekday_ahead(&self) -> bool {
        weekday_of(self.peek()).is_some()
    }

    /// January = 1.
    pub(super) fn month(&mut self) -> Option<u32> {
        let month = month_of(self.peek())?;
        self.next();
        Some(month)
    }

    pub(super) fn month_ahead(&self) -> bool {
        month_of(self.peek()).is_some()
    }

    /// `1st`, `first`.
    pub(super) fn ordinal(&mut self) -> Option<u32> {
        let number = ordinal_of(self.peek())?;
        self.next();
        Some(number)
    }

    pub(super) fn ordinal_ahead(&self) -> bool {
        let word = if self.peek() == "the" { self.peek_second() } else { self.peek() };
        ordinal_of(word).is_some()
    }

    /// Whether a day follows.
    pub(super) fn day_ahead(&self) -> bool {
        let word = self.peek();
        ["last", "weekday", "weekdays", "workday", "workdays", "weekend", "weekends"].contains(&word)
            || weekday_of(word).is_some()
            || ordinal_of(word).is_some()
    }
}

/// Minutes of the day, and whether the word itself says which half of it.
fn time_of(word: &str) -> Option<(u32, Option<bool>)> {
    match word {
        "noon" | "midday" => return Some((12 * 60, Some(true))),
        "midnight" => return Some((0, Some(false))),
        _ => {}
    }
    let (digits, half) = match (word.strip_suffix("am"), word.strip_suffix("pm")) {
        (Some(digits), _) => (digits, Some(false)),
        (_, Some(digits)) => (digits, Some(true)),
        _ => (word, None),
    };
    let (hour, minute) = digits.split_once(':').unwrap_or((digits, "00"));
    let number = |text: &str, digits: RangeInclusive<usize>| {
        (digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    let (hour, minute) = (number(hour, 1..=2)?, number(minute, 2..=2)?);
    let time = (hour < 24 && minute < 60).then_some(hour * 60 + minute)?;
    match half {
        None => Some((time, None)),
        Some(afternoon) => Some((halved(time, afternoon)?, Some(afternoon))),
    }
}

/// A time on the clock of twelve hours.
fn halved(time: u32, afternoon: bool) -> Option<u32> {
    let (hour, minute) = (time / 60, time % 60);
    (1..=12).contains(&hour).then(|| (hour % 12 + if afternoon { 12 } else { 0 }) * 60 + minute)
}

/// A name, its plural, or its first three letters (and `tues`, `thur`, `thurs`, `sept`).
fn named(word: &str, names: &[&str], more: &[(&str, u32)]) -> Option<u32> {
    if word.len() < 3 {
        return None;
    }
    let short = |name: &str| name.get(..3).is_some_and(|short| short == word);
    let is = |name: &&str| {
        let name = name.to_ascii_lowercase();
        word == name || word.strip_suffix('s') == Some(&name) || short(&name)
    };
    let found = (0..).zip(names).find(|(_, name)| is(name)).map(|(index, _)| index);
    found.or_else(|| more.iter().find(|(name, _)| *name == word).map(|(_, index)| *index))
}

fn weekday_of(word: &str) -> Option<u32> {
    named(word, &WEEKDAY_NAMES, &[("tues", 2), ("thur", 4), ("thurs", 4)])
}

fn month_of(word: &str) -> Option<u32> {
    named(word, &MONTH_NAMES, &[("sept", 8)]).map(|index| index + 1)
}

fn ordinal_of(word: &str) -> Option<u32> {
    let names = ORDINALS.iter().chain(&MORE_ORDINALS);
    if let Some((number, _)) = (1..).zip(names).find(|(_, name)| **name == word) {
        return Some(number);
    }
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending))?;
    (!digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}
