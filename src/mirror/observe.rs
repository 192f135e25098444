//! Looking: what the server has, put beside what the database knows. Nothing is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{plan::Observed, server::Server};
use crate::{
    engine::change::MirrorCopy,
    ids::{ScheduleId, ServerScheduleId},
    schedule::{Fires, Schedule},
    skyvern::ApiError,
};

/// The first release with intervals and one-time schedules.
const NEWER_CADENCES: (u32, u32, u32) = (1, 0, 55);
/// For so many schedules that the server fires its own preview is asked for, which is a call each.
const PREVIEWS_MAX: usize = 50;

/// Looks at the server.
///
/// # Errors
/// It could not be read, or has no schedules at all.
pub async fn observe(
    server: &impl Server,
    wanted: &[Arc<Schedule>],
    rows: Vec<MirrorCopy>,
    paused: BTreeSet<ScheduleId>,
) -> Result<Observed, ApiError> {
    let schedules = server.all().await?;
    let newer = wanted.iter().any(|schedule| schedule.timetable.cron_expression().is_none());
    let has_newer_cadences = if newer { server.version().await?.map(|version| is_newer(&version)) } else { None };
    Ok(Observed { server: schedules, rows, paused, next_runs: BTreeMap::new(), has_newer_cadences })
}

/// Adds the server's own previews of the schedules that it fires or is to fire, so that the plan can compare them: for people, who read
/// them. One that cannot be had is left out.
pub async fn add_previews(server: &impl Server, wanted: &[Arc<Schedule>], observed: &mut Observed) {
    let fired: BTreeSet<_> = wanted
        .iter()
        .filter(|schedule| schedule.policies.fires == Fires::Server)
        .map(|schedule| &schedule.workflow_id)
        .collect();
    let mut next_runs: BTreeMap<ServerScheduleId, Vec<DateTime<Utc>>> = BTreeMap::new();
    let shown = observed.server.iter().filter(|copy| fired.contains(&copy.workflow_id));
    for copy in shown.take(PREVIEWS_MAX) {
        if let Ok(copy) = server.one(&copy.workflow_id, &copy.id).await {
            next_runs.insert(copy.id, copy.next_runs);
        }
    }
    observed.next_runs = next_runs;
}

/// A version that cannot be read is taken for a new one: the server will say no by itself.
fn is_newer(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(major), Some(minor), Some(patch)) => (major, minor, patch) >= NEWER_CADENCES,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::is_newer;

    #[test]
    fn versions() {
        for (version, newer) in
            [("1.0.54", false), ("1.0.55", true), ("1.1.0", true), ("0.2.99", false), ("v1.0.56", true), ("dev", true)]
        {
            assert_eq!(is_newer(version), newer, "{version}");
        }
    }
}
