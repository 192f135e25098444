//! `[history]`: how much of the past is kept.

use std::time::Duration;

use super::{
    bounds::{duration, number},
    reader::{Reading, shape},
    settings::HistorySettings,
};

const DAY: u64 = 24 * 3600;

shape! {
    /// `[history]` as it is written.
    RawHistory as "history" {
        /// What has ended is removed when it is older than this.
        keep_for: Duration ["1day", "3660days"] = "365days",
        /// What has ended is removed, the oldest first, when there are more rows than this.
        rows_max: u64 [1_000, 1_000_000_000] = 10_000_000,
        /// The longest output or error of a run that is kept, in bytes.
        body_bytes_max: u64 [0, 67_108_864] = 1_048_576,
    }
}

/// Checks `[history]`.
pub(super) fn check(raw: &RawHistory, reading: &mut Reading<'_>) -> HistorySettings {
    HistorySettings {
        keep_for: duration(raw.keep_for.as_ref(), 365 * DAY, DAY, 3660 * DAY, reading),
        rows_max: number(raw.rows_max.as_ref(), 10_000_000, 1_000, 1_000_000_000, reading),
        body_bytes_max: number(raw.body_bytes_max.as_ref(), 1 << 20, 0, 64 << 20, reading),
    }
}
