//! `[mirror]`: whether and how the server's own schedules are made equal to the file's.

use std::{ops::Range, sync::Arc, time::Duration};

use super::{
    bounds::duration,
    problem::{Code, Problem},
    reader::{Reading, shape},
    settings::{MirrorSettings, OnDrift},
};
use crate::schedule::{Fires, Schedule};

const MINUTE: u64 = 60;
const INTERVAL: u64 = 15 * MINUTE;
const INTERVAL_MAX: u64 = 24 * 60 * MINUTE;

shape! {
    /// `[mirror]` as it is written.
    RawMirror as "mirror" {
        /// The daemon keeps a copy of each schedule among Skyvern's own. Needed by `fires = "server"`.
        enabled: bool = false,
        /// Copies of schedules that are gone from the file are deleted; else they are kept, disabled.
        prune: bool = false,
        /// What the daemon does about a copy that was changed at the server.
        on_drift: OnDrift = "report",
        /// How often the daemon compares.
        interval: Duration ["1m", "1day"] = "15m",
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

/// Where the server is to fire, the mirror has to be on: nobody would fire otherwise. Said once, for the first schedule.
pub(super) fn check_needed(
    settings: &MirrorSettings,
    schedules: &[Arc<Schedule>],
    places: &[Range<usize>],
    reading: &mut Reading<'_>,
) {
    if settings.enabled {
        return;
    }
    let mut fired = schedules.iter().zip(places).filter(|(schedule, _)| schedule.policies.fires == Fires::Server);
    if let Some((schedule, place)) = fired.next() {
        let problem = Problem::error(Code::Conflict, "fires = \"server\" needs the mirror, which is not enabled");
        let problem = problem.hint("add [mirror] with enabled = true");
        reading.add(place, Problem { schedule: Some(schedule.id.as_str().into()), ..problem });
    }
}
