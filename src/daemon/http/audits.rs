//! Promise number one, proved again and again: an audit of the last days, now and then, when somebody scrapes the metrics.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    clock::Stopwatch,
    config::ZoneSource,
    daemon::account,
    history::{HistoryError, Reader},
};

/// How far back an audit looks. `skycron audit` looks at everything.
const DAYS: i64 = 2;
/// Between two audits: at least this long, and this many times as long as one takes.
const APART_SECONDS_MIN: u64 = 600;
const APART_TIMES: u32 = 200;

/// The latest audit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Audited {
    /// When.
    pub(super) at: DateTime<Utc>,
    /// What did not add up.
    pub(super) findings: usize,
    watch: Stopwatch,
    took: std::time::Duration,
}

/// Remembers the latest one.
#[derive(Default)]
pub(super) struct Audits(Mutex<Option<Audited>>);

impl Audits {
    /// The latest audit, or a new one where that is old. Blocks.
    pub(super) fn latest(
        &self,
        reader: &Reader,
        zones: &ZoneSource,
        now: DateTime<Utc>,
    ) -> Result<Audited, HistoryError> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(audited) = *latest {
            let apart = (audited.took * APART_TIMES).max(std::time::Duration::from_secs(APART_SECONDS_MIN));
            if audited.watch.elapsed() < apart {
                return Ok(audited);
            }
        }
        let watch = Stopwatch::start();
        let findings = account::findings(reader, zones, now - TimeDelta::days(DAYS))?;
        let audited = Audited { at: now, findings, watch, took: watch.elapsed() };
        *latest = Some(audited);
        Ok(audited)
    }
}
