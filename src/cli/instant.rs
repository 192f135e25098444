//! Instants as people type them on the command line: one form for every option that takes one.
//!
//! Not the file's instants: there a relative one would mean something else at every reading.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use crate::clock::{delta, parse_rfc3339};

/// `2026-11-02T09:00:00-05:00`, `2026-11-02` (midnight UTC), `now`, `-7d`, `+2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstantArg {
    /// As it was typed.
    At(DateTime<Utc>),
    /// The present.
    Now,
    /// So much before the present.
    Before(Duration),
    /// So much after the present.
    After(Duration),
}

/// A text that is none of the forms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give an instant with its offset (2026-11-02T14:00:00Z), a date (2026-11-02, midnight UTC), now, -7d or +2h")]
pub struct InstantArgError;

impl FromStr for InstantArg {
    type Err = InstantArgError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "now" {
            return Ok(Self::Now);
        }
        if let Some(ago) = text.strip_prefix('-') {
            return humantime::parse_duration(ago).map(Self::Before).map_err(|_| InstantArgError);
        }
        if let Some(ahead) = text.strip_prefix('+') {
            return humantime::parse_duration(ahead).map(Self::After).map_err(|_| InstantArgError);
        }
        if let Some(instant) = parse_rfc3339(text) {
            return Ok(Self::At(instant));
        }
        let date: NaiveDate = text.parse().map_err(|_| InstantArgError)?;
        Ok(Self::At(date.and_time(NaiveTime::MIN).and_utc()))
    }
}

impl InstantArg {
    /// The instant, seen from this present.
    #[must_use]
    pub fn resolve(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(instant) => instant,
            Self::Now => now,
            Self::Before(duration) => now.checked_sub_signed(delta(duration)).unwrap_or(DateTime::<Utc>::MIN_UTC),
            Self::After(duration) => now.checked_add_signed(delta(duration)).unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::rfc3339;

    fn check(text: &str, expected: Option<&str>) {
        let now = parse_rfc3339("2026-11-02T14:00:00Z").unwrap();
        let got = text.parse::<InstantArg>().ok().map(|instant| rfc3339(instant.resolve(now)));
        assert_eq!(got.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn forms() {
        check("now", Some("2026-11-02T14:00:00Z"));
        check("2026-11-02", Some("2026-11-02T00:00:00Z"));
        check("2026-11-02T09:00:00-05:00", Some("2026-11-02T14:00:00Z"));
        check("-7d", Some("2026-10-26T14:00:00Z"));
        check("+90m", Some("2026-11-02T15:30:00Z"));
        check("2026-02-30", None);
        check("2026-11-02T09:00:00", None);
        check("tomorrow", None);
        check("-", None);
        check("", None);
    }
}
