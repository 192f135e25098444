//! One open occurrence, as the engine holds it: what it is, where it stands, and when it must have started.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{
    clock::delta,
    engine::{
        CATCH_UP_RUNS_MAX, Change, Engine, Entry, MANUAL_WINDOW_SECONDS_MAX, Reason, Status, Timer, Trigger, Turn,
        change::{NewOccurrence, ServerCopy},
    },
    ids::{OccurrenceKey, RunId, WorkflowId},
    schedule::Schedule,
};

/// Where an open occurrence stands. Finer than the row's status, which is derived from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for the schedule's live occurrences to end.
    Waiting,
    /// Waits for a moment: the next try, or the retry of a run.
    Later,
    /// Waits for a place.
    Ready,
    /// Skyvern's own scheduler is to start it: its run is looked for.
    Watching {
        /// The server's schedule.
        copy: ServerCopy,
    },
    /// Its request is out.
    Launching,
    /// Its request was out and brought no clear answer; it is being looked for.
    Settling {
        /// The request was an earlier process's.
        from_before: bool,
    },
    /// It has a run.
    Running {
        /// The run.
        run_id: RunId,
    },
}

/// One open occurrence.
#[derive(Debug)]
pub(super) struct Flight {
    /// As it was when the occurrence was decided; absent for one of an earlier process whose schedule is gone.
    pub schedule: Option<Arc<Schedule>>,
    pub workflow_id: WorkflowId,
    pub trigger: Trigger,
    pub stage: Stage,
    /// Attempts begun.
    pub attempt: u32,
    /// When the first attempt began.
    pub first_attempt_at: Option<DateTime<Utc>>,
    /// When the last attempt began.
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// Past this instant it is not started any more.
    pub start_by: DateTime<Utc>,
    /// What a manual start changed.
    pub parameters: Option<Map<String, Value>>,
    /// The run is to be cancelled as soon as it is known.
    pub cancel: Option<String>,
    /// Its place in the ready queue.
    pub ready_rank: Option<(usize, DateTime<Utc>)>,
    /// What is to be said of it even if it ends well.
    pub warning: Option<Reason>,
    /// The instant of its timer: its next try, or its run's time-out.
    pub timer: Option<(DateTime<Utc>, Timer)>,
}

impl Flight {
    /// What its run is started with: the schedule's parameters, and on top what a person replaced.
    pub(super) fn run_parameters(&self) -> Option<Map<String, Value>> {
        let mut merged = self.schedule.as_ref()?.parameters.clone();
        if let Some(changed) = &self.parameters {
            merged.extend(changed.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        Some(merged)
    }
}

/// Until when an occurrence may be started.
pub(super) fn start_by(trigger: Trigger, schedule: &Schedule, from: DateTime<Utc>) -> DateTime<Utc> {
    let window = match trigger {
        Trigger::Manual => TimeDelta::seconds(MANUAL_WINDOW_SECONDS_MAX),
        // A backfill is about the past, and takes as long as it takes.
        Trigger::Backfill => return DateTime::<Utc>::MAX_UTC,
        _ => delta(schedule.policies.catch_up_window),
    };
    from.checked_add_signed(window).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What the overlap rule makes of an occurrence that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may start now.
    Start,
    /// It waits for the live ones to end.
    Wait(Reason),
    /// It is not started.
    Skip(Reason),
}

impl Engine {
    /// Makes the row and the flight of an occurrence that the overlap rule has judged.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one row; a struct for one caller's sake would only rename them"
    )]
    pub(super) fn open(
        &mut self,
        now: DateTime<Utc>,
        key: OccurrenceKey,
        schedule: &Arc<Schedule>,
        trigger: Trigger,
        admission: Admission,
        start_by: DateTime<Utc>,
        parameters: Option<Map<String, Value>>,
        turn: &mut Turn,
    ) {
        let (status, reason) = match &admission {
            Admission::Start => (Status::Pending, None),
            Admission::Wait(reason) => (Status::Pending, Some(reason.clone())),
            Admission::Skip(reason) => (Status::Skipped, Some(reason.clone())),
        };
        turn.changes.push(Change::Occurred(Box::new(NewOccurrence {
            key: key.clone(),
            workflow_id: schedule.workflow_id.clone(),
            trigger,
            status,
            reason,
            at: now,
            count: 1,
            through: None,
            parameters: parameters.clone(),
        })));
        if matches!(admission, Admission::Skip(_)) {
            return;
        }
        let flight = Flight {
            schedule: Some(Arc::clone(schedule)),
            workflow_id: schedule.workflow_id.clone(),
            trigger,
            stage: Stage::Waiting,
            attempt: 0,
            first_attempt_at: None,
            last_attempt_at: None,
            start_by,
            parameters,
            cancel: None,
            ready_rank: None,
            warning: None,
            timer: None,
        };
        self.flights.insert(key.clone(), flight);
        match admission {
            Admission::Start => self.make_ready(now, &key),
            _ => {
                if let Some(entry) = self.entries.get_mut(&key.schedule) {
                    // What is due by the timetable goes before what a backfill still has to do.
                    let behind = |waiting: &OccurrenceKey| {
                        self.flights.get(waiting).is_none_or(|flight| flight.trigger != Trigger::Backfill)
                    };
                    let place = match trigger {
                        Trigger::Backfill => entry.waiting.len(),
                        _ => entry.waiting.iter().rposition(behind).map_or(0, |last| last + 1),
                    };
                    entry.waiting.insert(place, key);
                }
            }
        }
    }

    /// Puts an occurrence into the queue of those that wait for a place, behind the others of its schedule.
    pub(super) fn make_ready(&mut self, now: DateTime<Utc>, key: &OccurrenceKey) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if !matches!(flight.stage, Stage::Waiting | Stage::Later) {
            return;
        }
        flight.stage = Stage::Ready;
        let ahead = match self.entries.get_mut(&key.schedule) {
            Some(entry) => {
                entry.live.insert(key.clone());
                entry.live.len() - 1
            }
            None => 0,
        };
        let rank = (ahead.min(CATCH_UP_RUNS_MAX), now);
        flight.ready_rank = Some(rank);
        self.ready.insert((rank.0, rank.1, key.clone()));
    }

    /// Puts an occurrence aside until `at`. It stays live: the overlap rule counts it.
    pub(super) fn make_later(&mut self, at: DateTime<Utc>, key: &OccurrenceKey) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.stage = Stage::Later;
            if let Some(entry) = self.entries.get_mut(&key.schedule) {
                entry.live.insert(key.clone());
            }
        }
        self.set_timer(key, at, Timer::Ready(key.clone()));
    }

    /// Gives an occurrence its one timer, in place of the one that it had.
    pub(super) fn set_timer(&mut self, key: &OccurrenceKey, at: DateTime<Utc>, timer: Timer) {
        if let Some(flight) = self.flights.get_mut(key) {
            if let Some(old) = flight.timer.replace((at, timer.clone())) {
                self.timers.remove(&old);
            }
            self.timers.insert((at, timer));
        }
    }

    /// Ends an open occurrence: its row gets its last status, and what waited for it may start.
    pub(super) fn end(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        status: Status,
        reason: Option<Reason>,
        turn: &mut Turn,
    ) -> Option<Flight> {
        let flight = self.flights.remove(key)?;
        if let Some((rank, at)) = flight.ready_rank {
            self.ready.remove(&(rank, at, key.clone()));
        }
        if let Some(timer) = &flight.timer {
            self.timers.remove(timer);
        }
        turn.changes.push(Change::StatusChanged { key: key.clone(), status, reason, at: now });
        let next = self.entries.get_mut(&key.schedule).and_then(|entry| {
            entry.live.remove(key);
            entry.waiting.retain(|waiting| waiting != key);
            if entry.live.is_empty() { entry.waiting.pop_front() } else { None }
        });
        if let Some(next) = next {
            // Its reason said what it waited for; it does not wait any more.
            turn.changes.push(Change::StatusChanged {
                key: next.clone(),
                status: Status::Pending,
                reason: None,
                at: now,
            });
            self.make_ready(now, &next);
        }
        Some(flight)
    }
}

impl Entry {
    /// The live occurrence that is named when another one cannot start because of it.
    pub(super) fn live_one(&self) -> Option<&OccurrenceKey> {
        self.live.first()
    }
}
