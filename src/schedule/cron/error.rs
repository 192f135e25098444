//! What is wrong with a cron expression: where, what, and what was probably meant.
//!
//! One kind for each thing that is refused, so that each has a sentence of its own. Drawing it under a line of the file is
//! `cli`'s work.

use std::ops::Range;

/// A cron expression that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct CronError {
    /// The bytes of the expression that are wrong; empty, at the end, where something is missing.
    pub span: Range<usize>,
    /// What is wrong with them.
    pub kind: CronErrorKind,
    /// The whole expression as it was probably meant; it is one that is accepted.
    pub correction: Option<String>,
}

impl CronError {
    /// What to do about it, as a sentence fragment.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let advice = self.kind.advice();
        match (&self.correction, advice) {
            (Some(correction), Some(advice)) => Some(format!("{advice}; did you mean `{correction}`?")),
            (Some(correction), None) => Some(format!("did you mean `{correction}`?")),
            (None, Some(advice)) => Some(advice.to_owned()),
            (None, None) => None,
        }
    }
}

/// What is wrong with a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each says what it is")]
pub enum CronErrorKind {
    #[error("the expression is empty")]
    Empty,
    #[error("the expression is {bytes} bytes long, {bytes_max} is the most")]
    TooLong { bytes: usize, bytes_max: usize },
    #[error("{found} fields, and a cron expression has five: minute, hour, day of month, month, day of week")]
    TooFewFields { found: usize },
    #[error("{found} fields, and a cron expression has five: minute, hour, day of month, month, day of week")]
    TooManyFields { found: usize },
    #[error("`{alias}` is not an alias that is known")]
    UnknownAlias { alias: String },
    #[error("`@reboot` is not a time")]
    Reboot,
    #[error("`@every` is not a time of the calendar")]
    Every,
    #[error("a time zone inside the expression")]
    ZoneInside,
    #[error("a comment inside the expression")]
    Comment,
    #[error("`{}` has no meaning in a cron expression", character.escape_debug())]
    Character { character: char },
    #[error("an empty list item in {field}")]
    EmptyItem { field: &'static str },
    #[error("a sign in {field}")]
    Sign { field: &'static str },
    #[error("a value is missing in {field}")]
    ValueMissing { field: &'static str },
    #[error("`{text}` is not a value of {field}")]
    NotAValue { field: &'static str, text: String },
    #[error("`{text}` is out of range: {field} goes from {min} to {max}")]
    OutOfRange { field: &'static str, text: String, min: u32, max: u32 },
    #[error("the range `{text}` in {field} runs backwards")]
    Backwards { field: &'static str, text: String },
    #[error("the range `{text}` in {field} is not finished")]
    Range { field: &'static str, text: String },
    #[error("a step of 0 in {field}")]
    StepZero { field: &'static str },
    #[error("no number behind the `/` in {field}")]
    StepMissing { field: &'static str },
    #[error("`{text}` is not a step")]
    Step { text: String },
    #[error("the step {step} in {field} is larger than its range, so only {first} is left")]
    StepTooLarge { field: &'static str, step: String, first: u32 },
    #[error("`?` in {field}")]
    QuestionMark { field: &'static str },
    #[error("`?` together with something else in {field}")]
    QuestionMarkInList { field: &'static str },
    #[error("`{text}` is not a name in {field}: names have three letters")]
    FullName { field: &'static str, text: String },
    #[error("`W`, the nearest weekday, is not supported: the server refuses it")]
    NearestWeekday,
    #[error("`{text}`, an offset from the last day, is not supported: the server refuses it")]
    OffsetFromLast { text: String },
    #[error("`{text}` is not how the last weekday of the month is written")]
    LastWritten { text: String },
    #[error("`L` alone in the day of week says nothing")]
    LastAlone,
    #[error("`L` in {field}")]
    LastElsewhere { field: &'static str },
    #[error("`H` is not supported: what it stands for would depend on the program that reads it")]
    Hashed,
    #[error("`R` is not supported: a random time is another one each time it is looked at")]
    Random,
    #[error("`#` in {field}")]
    NthElsewhere { field: &'static str },
    #[error("`{text}`: a month has a first to a fifth of each weekday")]
    Nth { text: String },
    #[error("`{term}` in the day of week together with a day of month")]
    NthWithDay { term: char },
    #[error("this is never due: no month of the expression has such a day")]
    NeverDue,
    #[error("the expression is refused: {reason}")]
    Parser { reason: String },
}

impl CronErrorKind {
    /// What to do, where the sentence itself does not say it.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::TooManyFields { .. } => Some("the API takes five fields: no seconds, no year"),
            Self::Reboot => {
                Some("a start of the machine is no occurrence; `skycron trigger` starts a schedule by hand")
            }
            Self::Every => Some("write `interval_seconds` and `first_fire_at` instead of a cron expression"),
            Self::ZoneInside => Some("the zone is a key of its own: timezone = \"America/New_York\""),
            Self::UnknownAlias { .. } => {
                Some("the aliases are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually")
            }
            Self::QuestionMark { .. } => Some("`?` is for the two day fields only"),
            Self::QuestionMarkInList { .. } => Some("`?` means every day and stands alone"),
            Self::NearestWeekday => Some("write the days themselves, or choose a weekday of the month: `MON#1`"),
            Self::OffsetFromLast { .. } => Some("`L` alone is the last day of the month"),
            Self::LastAlone => Some("`L5` is the last Friday; the last day of the month is `L` in the third field"),
            Self::LastElsewhere { .. } => Some("`L` is for the day of month, `L5` for the day of week"),
            Self::Hashed | Self::Random => Some("choose a value; `jitter` spreads starts"),
            Self::NthElsewhere { .. } => Some("`5#2`, the second Friday, is for the day of week"),
            Self::NthWithDay { .. } => {
                Some("programs disagree on what that means; write two schedules, or one of the two fields as `*`")
            }
            _ => None,
        }
    }
}
