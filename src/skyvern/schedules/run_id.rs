//! The id of the run that a server's own scheduler starts for an occurrence: known before there is one.

use chrono::{DateTime, SecondsFormat, Utc};
use ring::digest;

use crate::ids::{RunId, ServerScheduleId};

/// The id of the run that the open-source server makes for this occurrence of a schedule, whose instant is a whole second: so
/// that no instant has two runs. It is so since 1.0.38, the first with a scheduler. Skyvern Cloud, which fires by another scheduler, may have other ids; there the runs of a
/// schedule are told apart by [`crate::skyvern::RunListEntry::server_schedule_id`] and the time of their creation.
#[must_use]
pub fn scheduled_run_id(schedule: &ServerScheduleId, instant: DateTime<Utc>) -> RunId {
    let text = format!("{schedule}:{}", instant.to_rfc3339_opts(SecondsFormat::Secs, false));
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let digits: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    #[expect(clippy::expect_used, reason = "a prefix and 32 hexadecimal digits are a run id")]
    RunId::new(&format!("wr_sched_{digits}")).expect("harmless in a path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_a_real_server() {
        let check = |schedule: &str, instant: &str, expected: &str| {
            let instant = DateTime::parse_from_rfc3339(instant).unwrap().to_utc();
            let found = scheduled_run_id(&ServerScheduleId::new(schedule).unwrap(), instant);
            assert_eq!(found.as_str(), expected, "{schedule} at {instant}");
        };
        // Recorded from Skyvern 1.0.56: one that was due once, and one by an interval.
        let once = "wr_sched_42e54eec756272278aac2c697f427a0c";
        check("wfs_600025688776401306", "2026-11-22T22:47:17Z", once);
        check("wfs_600025688776401306", "2026-11-23T00:47:17+02:00", once);
        check("wfs_600025688776401308", "2026-11-22T22:47:12Z", "wr_sched_e5155b0a46539a5bcf296800199abc7c");
    }
}
