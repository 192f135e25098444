//! The one answer to "when is it due": a timetable and its occurrences, in both directions.
//!
//! Every instant that any part of skycron calls an occurrence comes from here. What is done about one is not decided here.

use chrono::{DateTime, Utc};

/// When a schedule is due.
#[derive(Debug, Clone)]
pub struct Timetable {}

impl Timetable {
    /// The first occurrence strictly after `instant`; `None` where there is none any more.
    #[must_use]
    pub fn next_after(&self, _instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        None
    }

    /// placeholder
    #[must_use]
    pub fn previous_before(&self, _instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        None
    }

    /// placeholder
    #[must_use]
    pub fn count_between(&self, _after: DateTime<Utc>, _until: DateTime<Utc>) -> u64 {
        0
    }

    /// placeholder
    #[must_use]
    pub fn dropped_between(&self, _after: DateTime<Utc>, _until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        Vec::new()
    }

    /// placeholder
    #[must_use]
    pub fn definition(&self, enabled: bool) -> super::Definition {
        super::Definition { enabled, ..super::Definition::default() }
    }
}
