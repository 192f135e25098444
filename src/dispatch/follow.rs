//! Following a run to its end: brief looks that grow rarer, then one that reads everything.
//!
//! Only news is told: a status that differs from the last one, and the end.

use std::{sync::atomic::Ordering, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    clock::Stopwatch,
    dispatch::{Patience, Shared, hints::Watched},
    engine::{Event, RunReport, RunStatus},
    ids::{OccurrenceKey, RunId},
    skyvern::{ApiErrorKind, Detail},
};

/// A run that the server does not know in this many looks in a row is gone. More than one: a server that is just starting up
/// answers 404 too.
const NOT_FOUND_LOOKS_MAX: u32 = 3;
/// Two looks for the sake of hints are this far apart at least.
const HINT_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// While looks fail, every so many of them is worth a line in the log.
const FAILED_LOOKS_PER_LINE: u32 = 20;

/// A run that is accepted and not taken up for so long was left behind by a server that died: nothing takes it up again.
const CREATED_MINUTES_MAX: u64 = 10;
/// A run that waits in the server's queue for so long is worth a word. The server takes it up again by itself after a crash.
const QUEUED_MINUTES_MAX: u64 = 30;
/// The longest time limit that the API accepts for a run (8 hours), and some more: what is still `running` then is not.
const RUNNING_MINUTES_MAX: u64 = 8 * 60 + 15;

impl Shared {
    pub(super) async fn follow(&self, key: OccurrenceKey, run_id: RunId, since: DateTime<Utc>) {
        let watched = self.hints.get().map(|hints| hints.watch(&key));
        self.look_until_over(&key, run_id, since, watched.as_deref()).await;
        if let Some(hints) = self.hints.get() {
            hints.forget(&key);
        }
    }

    async fn look_until_over(
        &self,
        key: &OccurrenceKey,
        run_id: RunId,
        since: DateTime<Utc>,
        watched: Option<&Watched>,
    ) {
        let mut last_look: Option<Stopwatch> = None;
        let mut told: Option<RunReport> = None;
        let mut asked_to_wait: Option<Duration> = None;
        let mut told_stalled: Option<RunStatus> = None;
        let (mut failed_looks, mut not_found_looks) = (0_u32, 0_u32);
        loop {
            let age = (self.clock.now() - since).to_std().unwrap_or_default();
            let mut wait = poll_wait(&self.patience, key, age);
            if let Some(asked) = asked_to_wait.take() {
                wait = wait.max(asked);
            }
            if failed_looks > 0 {
                wait = wait.saturating_mul(1 << failed_looks.min(4)).min(self.patience.poll_interval_max.max(wait));
            }
            // A run that will tell of its end is looked at more rarely, once it is known that such words arrive.
            let tells = watched.is_some_and(|watched| watched.asked.load(Ordering::Relaxed));
            if tells && self.hints.get().is_some_and(|hints| hints.arrive()) {
                wait = wait.max(self.patience.poll_interval_max);
            }
            let hinted = tokio::select! {
                () = tokio::time::sleep(wait) => false,
                () = news(watched) => true,
            };
            if hinted && let Some(passed) = last_look.map(|watch| watch.elapsed()) {
                // Words may be said again and again.
                tokio::time::sleep(HINT_INTERVAL_MIN.saturating_sub(passed)).await;
            }
            last_look = Some(Stopwatch::start());
            if self.over() {
                return;
            }
            match self.look(&run_id).await {
                Ok(report) => {
                    if failed_looks > 1 {
                        tracing::info!(occurrence = %key, %run_id, "the run can be followed again");
                    }
                    (failed_looks, not_found_looks) = (0, 0);
                    let over = report.is_over();
                    let news = told.as_ref().is_none_or(|told| {
                        (&told.status, told.retry_pending, told.attempt)
                            != (&report.status, report.retry_pending, report.attempt)
                    });
                    if let Some((text, dead)) = stalled(&report, self.clock.now(), since)
                        && told_stalled.as_ref() != Some(&report.status)
                    {
                        told_stalled = Some(report.status.clone());
                        self.tell(Event::RunStalled { key: key.clone(), text, dead }).await;
                    }
                    if over || news {
                        told = Some(report.clone());
                        self.tell(Event::RunReported {
                            key: key.clone(),
                            report: Box::new(self.without_secrets(report)),
                        })
                        .await;
                    }
                    if over {
                        if let Some(hints) = self.hints.get().filter(|_| tells && !hinted) {
                            hints.missed();
                        }
                        return;
                    }
                }
                Err(error) if error.kind == ApiErrorKind::NotFound && not_found_looks + 1 >= NOT_FOUND_LOOKS_MAX => {
                    self.tell(Event::RunGone { key: key.clone(), message: error.message }).await;
                    return;
                }
                Err(error) => {
                    not_found_looks += u32::from(error.kind == ApiErrorKind::NotFound);
                    failed_looks = failed_looks.saturating_add(1);
                    asked_to_wait = error.retry_after;
                    if failed_looks % FAILED_LOOKS_PER_LINE == 2 {
                        tracing::warn!(occurrence = %key, %run_id, %error, hint = error.hint, failed_looks, "the run cannot be followed");
                    }
                }
            }
        }
    }

    /// A brief look; at the end of the run, a full one.
    async fn look(&self, run_id: &RunId) -> Result<RunReport, crate::skyvern::ApiError> {
        let brief = self.client.get_run(run_id, Detail::Brief).await?;
        if !brief.is_over() {
            return Ok(brief);
        }
        match self.client.get_run(run_id, Detail::Full).await {
            // Between the two, the server may have decided to try again.
            Ok(full) => Ok(full),
            // Later perhaps; but an answer that can never be read must not hide that the run is over.
            Err(error) if error.is_passing() => Err(error),
            Err(error) => {
                tracing::warn!(%run_id, %error, hint = error.hint, "the run's output cannot be read");
                Ok(RunReport { truncated: true, ..brief })
            }
        }
    }
}

/// Somebody says that there is news; never, where nobody can.
async fn news(watched: Option<&Watched>) {
    match watched {
        Some(watched) => watched.news.notified().await,
        None => std::future::pending().await,
    }
}

/// Whether a run stands still for so long that its server must have left it behind, and whether that is sure.
fn stalled(report: &RunReport, now: DateTime<Utc>, since: DateTime<Utc>) -> Option<(String, bool)> {
    let (from, minutes_max, dead) = match report.status {
        RunStatus::Created => (since, CREATED_MINUTES_MAX, true),
        RunStatus::Queued => (since, QUEUED_MINUTES_MAX, false),
        // A retry of the server's own begins anew.
        RunStatus::Running => (report.started_at.unwrap_or(since).max(since), RUNNING_MINUTES_MAX, true),
        _ => return None,
    };
    let minutes = u64::try_from((now - from).num_minutes()).unwrap_or(0);
    (minutes >= minutes_max).then(|| {
        let end = if dead { "a server that crashed leaves runs so, and it is cancelled" } else { "look at the server" };
        (format!("it has been {} for {minutes} min: {end}", report.status), dead)
    })
}

/// The wait before the next look at a run of this age: the first interval for two minutes, then a twentieth of its age. Spread
/// by the key over a tenth of it, so that runs that started together are not asked for together.
fn poll_wait(patience: &Patience, key: &OccurrenceKey, age: Duration) -> Duration {
    let wait = (age / 20).max(patience.poll_interval).min(patience.poll_interval_max.max(patience.poll_interval));
    wait - wait / 10 + crate::engine::retry::jitter(key, wait / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_stand_still() {
        let since: DateTime<Utc> = "2026-11-02T14:00:00Z".parse().unwrap();
        let check = |status: &str, minutes: i64, expected: Option<bool>| {
            let report = RunReport::bare(RunId::new("wr_1").unwrap(), RunStatus::from_word(status));
            let now = since + chrono::TimeDelta::minutes(minutes);
            assert_eq!(stalled(&report, now, since).map(|(_, dead)| dead), expected, "{status} for {minutes} min");
        };
        check("created", 9, None);
        check("created", 10, Some(true));
        check("queued", 29, None);
        check("queued", 30, Some(false));
        check("running", 8 * 60, None);
        check("running", 8 * 60 + 15, Some(true));
        check("paused", 100_000, None);
        check("completed", 100_000, None);
        // Its latest attempt began later.
        let mut report = RunReport::bare(RunId::new("wr_1").unwrap(), RunStatus::Running);
        report.started_at = Some(since + chrono::TimeDelta::hours(6));
        assert_eq!(stalled(&report, since + chrono::TimeDelta::hours(9), since), None);
    }

    #[test]
    fn looks_grow_rarer_within_bounds() {
        let patience = Patience {
            poll_interval: Duration::from_secs(5),
            poll_interval_max: Duration::from_secs(60),
            settle_grace: Duration::ZERO,
        };
        let key: OccurrenceKey = "main/daily@2026-11-02T14:00:00Z".parse().unwrap();
        let check = |age_seconds: u64, longest_ms: u128| {
            let wait = poll_wait(&patience, &key, Duration::from_secs(age_seconds)).as_millis();
            assert!(wait <= longest_ms && wait * 10 >= longest_ms * 9, "{age_seconds} s: {wait} ms");
        };
        check(0, 5_000);
        check(100, 5_000);
        check(600, 30_000);
        check(100_000, 60_000);
    }
}
