//! A look at the engine from outside: what is due next, what is going, what waits. For the log and the status; nothing is
//! decided by it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    engine::{Engine, Timer, change::Pause, flight::Flight, flight::Stage},
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

/// The engine at a moment, within bounds, however many schedules and open occurrences there are.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// Schedules of the file.
    pub schedules: usize,
    /// What is due next: the schedule, the instant that it is due at, and when it is fired.
    pub upcoming: Vec<Upcoming>,
    /// Schedules that were to be fired seconds ago and are not decided yet.
    pub overdue: usize,
    /// The oldest open occurrences.
    pub open: Vec<SnapshotFlight>,
    /// How many are open at each stage, in the order of [`STAGES`].
    pub stages: [usize; STAGES.len()],
    /// The schedules that were asked about, those of them that there are.
    pub asked: Vec<ScheduleState>,
    /// The clock showed less at boot than the history does, and is not believed yet.
    pub clock_doubted: bool,
}

/// What is fired at this moment is not overdue: a turn of the loop may be under way.
const OVERDUE_SECONDS_MIN: i64 = 5;

/// Where an open occurrence can stand, in a word.
pub const STAGES: [&str; 7] = ["waiting", "later", "ready", "watching", "launching", "settling", "running"];

/// What an overview is to hold, at most.
#[derive(Debug, Clone, Default)]
pub struct OverviewOf {
    /// Occurrences that are due next.
    pub upcoming_max: usize,
    /// Open occurrences.
    pub open_max: usize,
    /// These schedules.
    pub schedules: Vec<ScheduleId>,
}

/// An occurrence to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upcoming {
    /// The schedule.
    pub schedule: ScheduleId,
    /// When it is due.
    pub scheduled_for: DateTime<Utc>,
    /// When it is fired: later by the jitter.
    pub fire_at: DateTime<Utc>,
}

/// One schedule at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// The schedule.
    pub schedule: ScheduleId,
    /// When it is due next.
    pub next: Option<DateTime<Utc>>,
    /// The pause in force.
    pub pause: Option<Pause>,
}

/// One open occurrence at a moment.
#[derive(Debug, Clone)]
pub struct SnapshotFlight {
    /// Its name.
    pub key: OccurrenceKey,
    /// In a word: `waiting`, `later`, `ready`, `watching`, `launching`, `settling` or `running`.
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
        let mut open: Vec<SnapshotFlight> =
            self.flights.iter().map(|(key, flight)| snapshot_flight(key, flight)).collect();
        open.sort_by(|a, b| (a.key.scheduled_for, &a.key).cmp(&(b.key.scheduled_for, &b.key)));
        Snapshot { schedules: self.entries.len(), next: next.map(|(id, at)| (id.clone(), at)), open }
    }

    /// Looks at the engine within bounds.
    #[must_use]
    pub fn overview(&self, now: DateTime<Utc>, of: &OverviewOf) -> Overview {
        let due = self.timers.iter().filter_map(|(at, timer)| match timer {
            Timer::Due(schedule) => Some((*at, schedule)),
            _ => None,
        });
        let upcoming = due.clone().take(of.upcoming_max).filter_map(|(fire_at, schedule)| {
            let due = self.entries.get(schedule)?.due?;
            Some(Upcoming { schedule: schedule.clone(), scheduled_for: due.scheduled_for, fire_at })
        });
        let overdue_before = now - TimeDelta::seconds(OVERDUE_SECONDS_MIN);
        let mut stages = [0; STAGES.len()];
        // The oldest, without sorting all of them.
        let mut oldest: BTreeSet<(DateTime<Utc>, &OccurrenceKey)> = BTreeSet::new();
        for (key, flight) in &self.flights {
            stages[stage_index(&flight.stage)] += 1;
            if oldest.len() < of.open_max || oldest.last().is_some_and(|last| (key.scheduled_for, key) < *last) {
                oldest.insert((key.scheduled_for, key));
                if oldest.len() > of.open_max {
                    oldest.pop_last();
                }
            }
        }
        let open = oldest.iter().filter_map(|(_, key)| Some(snapshot_flight(key, self.flights.get(key)?)));
        let asked = of.schedules.iter().filter_map(|id| {
            let entry = self.entries.get(id)?;
            let next = entry.due.map(|due| due.scheduled_for);
            Some(ScheduleState { schedule: id.clone(), next, pause: entry.pause.clone() })
        });
        Overview {
            schedules: self.entries.len(),
            upcoming: upcoming.collect(),
            overdue: due.take_while(|(at, _)| *at < overdue_before).count(),
            open: open.collect(),
            stages,
            asked: asked.collect(),
            clock_doubted: !self.doubted.is_empty(),
        }
    }
}

fn stage_index(stage: &Stage) -> usize {
    match stage {
        Stage::Waiting => 0,
        Stage::Later => 1,
        Stage::Ready => 2,
        Stage::Watching { .. } => 3,
        Stage::Launching => 4,
        Stage::Settling { .. } => 5,
        Stage::Running { .. } => 6,
    }
}

fn snapshot_flight(key: &OccurrenceKey, flight: &Flight) -> SnapshotFlight {
    let run_id = match &flight.stage {
        Stage::Running { run_id } => Some(run_id.clone()),
        _ => None,
    };
    SnapshotFlight { key: key.clone(), stage: STAGES[stage_index(&flight.stage)], run_id }
}
