//! The part of a schedule that decides when it is due, as it is written down: each change of it is kept with its time, so
//! that what was due in the past can be computed again.
//!
//! Plain texts and numbers, to be stored; the checked value is [`super::Timetable`].

use serde::{Deserialize, Serialize};

/// What decides when a schedule is due. Field names are the file's. Absent fields are absent in the stored JSON too, so
/// that a later version can add one without changing what older rows say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// Five fields, as the file has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron_expression: Option<String>,
    /// Seconds between occurrences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u64>,
    /// The first of them, RFC 3339 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_fire_at: Option<String>,
    /// The only occurrence, RFC 3339 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// IANA name.
    pub timezone: String,
    /// `shift` or `skip`.
    pub gap: String,
    /// `auto`, `first` or `both`.
    pub fold: String,
    /// Not due before, RFC 3339 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// Not due after, RFC 3339 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// Whether it is due at all.
    pub enabled: bool,
}
