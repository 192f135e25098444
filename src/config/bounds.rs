//! Bounds of numbers and durations: a value outside of them is a problem that names both ends.

use std::{ops::RangeInclusive, time::Duration};

use super::reader::{At, Reading};

/// Bounds in whole seconds.
pub(super) fn seconds(least: u64, most: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(least)..=Duration::from_secs(most)
}

/// A duration within bounds. One outside of them is a problem, and goes on as it is.
pub(super) fn within(at: &At<Duration>, bounds: &RangeInclusive<Duration>, reading: &mut Reading<'_>) -> Duration {
    let text = |bound: &Duration| humantime::format_duration(*bound).to_string();
    if at.value < *bounds.start() {
        reading.bad(at, &format!("is shorter than {}", text(bounds.start())));
    } else if at.value > *bounds.end() {
        reading.bad(at, &format!("is longer than {}", text(bounds.end())));
    }
    at.value
}

/// A duration or its default, all in seconds.
pub(super) fn duration(
    raw: Option<&At<Duration>>,
    default: u64,
    least: u64,
    most: u64,
    reading: &mut Reading<'_>,
) -> Duration {
    raw.map_or(Duration::from_secs(default), |at| within(at, &seconds(least, most), reading))
}

/// A number or its default.
pub(super) fn number(raw: Option<&At<u64>>, default: u64, least: u64, most: u64, reading: &mut Reading<'_>) -> u64 {
    let Some(at) = raw else { return default };
    if !(least..=most).contains(&at.value) {
        reading.bad(at, &format!("is outside of {least} to {most}"));
    }
    at.value
}

/// A small number or its default.
pub(super) fn small(raw: Option<&At<u64>>, default: u32, least: u32, most: u32, reading: &mut Reading<'_>) -> u32 {
    let value = number(raw, default.into(), least.into(), most.into(), reading);
    u32::try_from(value).unwrap_or(most)
}
