//! `[mirror]`: whether and how the server's own schedules are made equal to the file's.

use std::time::Duration;

use super::{
    bounds::duration,
    reader::{Reading, shape},
    settings::{MirrorSettings, OnDrift},
};

const MINUTE: u64 = 60;
const INTERVAL: u64 = 15 * MINUTE;
const INTERVAL_MAX: u64 = 24 * 60 * MINUTE;

shape! {
    /// `[mirror]` as it is written.
    RawMirror as "mirror" {
        enabled: bool,
        prune: bool,
        on_drift: OnDrift,
        interval: Duration,
    }
}

/// Checks `[mirror]`.
pub(super) fn check(raw: &RawMirror, reading: &mut Reading<'_>) -> MirrorSettings {
    MirrorSettings {
        enabled: raw.enabled.as_ref().is_some_and(|at| at.value),
        prune: raw.prune.as_ref().is_some_and(|at| at.value),
        on_drift: raw.on_drift.as_ref().map(|at| at.value).unwrap_or_default(),
        interval: duration(raw.interval.as_ref(), INTERVAL, MINUTE, INTERVAL_MAX, reading),
    }
}
