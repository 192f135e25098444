//! Where a run stands at an instant: computed from when it was made and how it is to go. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::fault::chance;
use crate::{clock::delta, engine::RunStatus};

/// How long a run stands at `created`, and then at `queued`.
const STEP: Duration = Duration::from_millis(15);

/// How runs go.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// How long an attempt runs.
    pub run_time: Duration,
    /// Up to this much is added, differently for each run.
    pub run_time_spread: Duration,
    /// The share of runs whose end is `failed`, 0 to 1; the others end as `ending`.
    pub failed_fraction: f64,
    /// How the others end.
    pub ending: RunStatus,
    /// Attempts that fail before the last one, with `retry_pending` between them.
    pub retries: u32,
    /// The wait between two attempts.
    pub retry_delay: Duration,
    /// In the middle of an attempt the run is `paused` for so long.
    pub pause: Duration,
    /// It never gets further than `running`.
    pub endless: bool,
    /// The size of the output, at least.
    pub output_bytes: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            run_time: Duration::from_secs(3),
            run_time_spread: Duration::ZERO,
            failed_fraction: 0.0,
            ending: RunStatus::Completed,
            retries: 0,
            retry_delay: Duration::from_secs(2),
            pause: Duration::ZERO,
            endless: false,
            output_bytes: 0,
        }
    }
}

/// A run's course, fixed when it is made.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) created_at: DateTime<Utc>,
    /// A server that died left it half-made: it stays `created`.
    pub(super) half_made: bool,
    attempt_time: Duration,
    behaviour: Behaviour,
    fails: bool,
    /// When somebody cancelled it, and how it stood then.
    cancelled: Option<Box<View>>,
}

/// A run at an instant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub(super) status: RunStatus,
    pub(super) retry_pending: bool,
    /// From 1.
    pub(super) attempt: u32,
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    pub(super) modified_at: DateTime<Utc>,
    pub(super) queued_at: Option<DateTime<Utc>>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) finished_at: Option<DateTime<Utc>>,
}

impl View {
    /// Whether nothing more is to come.
    pub(super) fn is_over(&self) -> bool {
        self.status.is_final() && !self.retry_pending
    }
}

impl Life {
    pub(super) fn new(
        created_at: DateTime<Utc>,
        behaviour: Behaviour,
        seed: u64,
        number: u64,
        half_made: bool,
    ) -> Self {
        let spread = behaviour.run_time_spread.mul_f64(chance(seed ^ 0x5350_5244, number));
        Self {
            created_at,
            half_made,
            attempt_time: behaviour.run_time + behaviour.pause + spread,
            fails: chance(seed, number) < behaviour.failed_fraction,
            behaviour,
            cancelled: None,
        }
    }

    /// The size of its output.
    pub(super) fn output_bytes(&self) -> usize {
        self.behaviour.output_bytes
    }

    /// Asks it to end. Of no effect on one that is over.
    pub(super) fn cancel(&mut self, now: DateTime<Utc>) {
        let view = self.view(now);
        if view.is_over() {
            return;
        }
        let mut end = View { retry_pending: false, next_attempt_at: None, modified_at: now, ..view };
        // Between two attempts only the retry is revoked: the status stays what the attempt left.
        if !end.status.is_final() {
            end.status = RunStatus::Canceled;
            end.finished_at = Some(now);
        }
        self.cancelled = Some(Box::new(end));
    }

    /// Where it stands.
    pub(super) fn view(&self, now: DateTime<Utc>) -> View {
        if let Some(end) = &self.cancelled {
            return (**end).clone();
        }
        let created_at = self.created_at;
        let mut view = View {
            status: RunStatus::Created,
            retry_pending: false,
            attempt: 1,
            next_attempt_at: None,
            modified_at: created_at,
            queued_at: None,
            started_at: None,
            finished_at: None,
        };
        let queued_at = created_at + delta(STEP);
        if self.half_made || now < queued_at {
            return view;
        }
        (view.status, view.queued_at, view.modified_at) = (RunStatus::Queued, Some(queued_at), queued_at);
        let mut started_at = queued_at + delta(STEP);
        if now < started_at {
            return view;
        }
        loop {
            view.started_at = Some(started_at);
            (view.status, view.modified_at) = (RunStatus::Running, started_at);
            let ends_at = started_at + delta(self.attempt_time);
            if self.behaviour.endless || now < ends_at {
                let pause_from = started_at + delta(self.behaviour.run_time / 2);
                if (pause_from..pause_from + delta(self.behaviour.pause)).contains(&now) {
                    (view.status, view.modified_at) = (RunStatus::Paused, pause_from);
                }
                return view;
            }
            (view.finished_at, view.modified_at) = (Some(ends_at), ends_at);
            if view.attempt > self.behaviour.retries {
                view.status = if self.fails { RunStatus::Failed } else { self.behaviour.ending.clone() };
                return view;
            }
            let next = ends_at + delta(self.behaviour.retry_delay);
            if now < next {
                view.status = RunStatus::Failed;
                view.retry_pending = true;
                // The real server decides first, then says when.
                view.next_attempt_at = (now >= ends_at + delta(STEP)).then_some(next);
                return view;
            }
            view.attempt += 1;
            view.finished_at = None;
            started_at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    fn check(behaviour: &Behaviour, cancelled_at: Option<i64>, expected: &[(i64, &str)]) {
        let mut life = Life::new(at(0), behaviour.clone(), 1, 1, false);
        for (millis, expected) in expected {
            if cancelled_at.is_some_and(|cancelled| cancelled <= *millis) {
                life.cancel(at(cancelled_at.unwrap()));
            }
            let view = life.view(at(*millis));
            let pending = if view.retry_pending { "+retry" } else { "" };
            let over = if view.is_over() { "." } else { "" };
            assert_eq!(format!("{}/{}{pending}{over}", view.status, view.attempt), *expected, "at {millis}");
        }
    }

    #[test]
    fn courses() {
        let plain = Behaviour { run_time: Duration::from_secs(1), ..Behaviour::default() };
        let course =
            [(0, "created/1"), (15, "queued/1"), (30, "running/1"), (1029, "running/1"), (1030, "completed/1.")];
        check(&plain, None, &course);
        check(&plain, Some(500), &[(499, "running/1"), (500, "canceled/1."), (9000, "canceled/1.")]);
        check(&plain, Some(5000), &[(5000, "completed/1.")]);
        let failing = Behaviour { failed_fraction: 1.0, ..plain.clone() };
        check(&failing, None, &[(1030, "failed/1.")]);
        let retried = Behaviour { retries: 1, ..plain.clone() };
        let course = [(1030, "failed/1+retry"), (3029, "failed/1+retry"), (3030, "running/2"), (4030, "completed/2.")];
        check(&retried, None, &course);
        check(&retried, Some(2000), &[(2000, "failed/1."), (9000, "failed/1.")]);
        let paused = Behaviour { pause: Duration::from_secs(10), ..plain.clone() };
        check(
            &paused,
            None,
            &[(530, "paused/1"), (10_529, "paused/1"), (10_530, "running/1"), (11_030, "completed/1.")],
        );
        let endless = Behaviour { endless: true, ..plain };
        check(&endless, Some(2_000_000), &[(1_999_999, "running/1"), (2_000_000, "canceled/1.")]);
    }
}
