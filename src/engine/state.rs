//! A look at the engine from outside: what is due next, what is going, what waits. For the log and the status; nothing is
//! decided by it.

use chrono::{DateTime, Utc};

use crate::{
    engine::{Engine, Timer, flight::Stage},
    ids::{OccurrenceKey, RunId, ScheduleId},
};

/// The engine at a moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Schedules of the file.
    pub schedules: usize,
    /// The occurrence that is due next of all, and when it is fired.
    pub next: Option<(ScheduleId, DateTime<Utc>)>,
    /// Every open occurrence, oldest first.
    pub open: Vec<SnapshotFlight>,
}

/// One open occurrence at a moment.
#[derive(Debug, Clone)]
pub struct SnapshotFlight {
    /// Its name.
    pub key: OccurrenceKey,
    /// In a word: `waiting`, `later`, `ready`, `launching`, `settling` or `running`.
    pub stage: &'static str,
    /// Its run.
    pub run_id: Option<RunId>,
}

impl Engine {
    /// Whether an occurrence is not over.
    #[must_use]
    pub fn is_open(&self, key: &OccurrenceKey) -> bool {
        self.flights.contains_key(key)
    }

    /// Whether it is still undecided whether an occurrence starts: it has no run yet, and may get one.
    #[must_use]
    pub fn awaits_launch(&self, key: &OccurrenceKey) -> bool {
        self.flights.get(key).is_some_and(|flight| !matches!(flight.stage, Stage::Running { .. }))
    }

    /// Schedules of the file.
    #[must_use]
    pub fn schedule_count(&self) -> usize {
        self.entries.len()
    }

    /// Occurrences that are not over.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.flights.len()
    }

    /// The occurrence that is due next of all, and when it is fired. Cheap, unlike [`Engine::snapshot`].
    #[must_use]
    pub fn next_due(&self) -> Option<(&ScheduleId, DateTime<Utc>)> {
        self.timers.iter().find_map(|(at, timer)| match timer {
            Timer::Due(id) => Some((id, *at)),
            _ => None,
        })
    }

    /// Looks at the engine.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let next = self
            .entries
            .iter()
            .filter_map(|(id, entry)| entry.due.map(|due| (id, due.fire_at)))
            .min_by_key(|(_, at)| *at);
        let mut open: Vec<SnapshotFlight> = self
            .flights
            .iter()
            .map(|(key, flight)| {
                let (stage, run_id) = match &flight.stage {
                    Stage::Waiting => ("waiting", None),
                    Stage::Later => ("later", None),
                    Stage::Ready => ("ready", None),
                    Stage::Launching => ("launching", None),
                    Stage::Settling { .. } => ("settling", None),
                    Stage::Running { run_id } => ("running", Some(run_id.clone())),
                };
                SnapshotFlight { key: key.clone(), stage, run_id }
            })
            .collect();
        open.sort_by(|a, b| (a.key.scheduled_for, &a.key).cmp(&(b.key.scheduled_for, &b.key)));
        Snapshot { schedules: self.entries.len(), next: next.map(|(id, at)| (id.clone(), at)), open }
    }
}
