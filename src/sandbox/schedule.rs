//! The look-alike's own schedules: the table of them, when each is due, and what a real server's scheduler would start. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::draft::Draft;
use crate::{
    ids::{RunId, ServerScheduleId, WorkflowId},
    schedule::Timetable,
    skyvern::{DispatchStatus, ServerCadence},
};

/// How many instants the preview has.
const NEXT_RUNS: usize = 5;

/// A schedule as the look-alike knows it: what tests judge by.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRecord {
    /// `wfs_…`
    pub id: String,
    /// `wpid_…`
    pub workflow_id: String,
    /// When it is due.
    pub cadence: ServerCadence,
    /// IANA name.
    pub timezone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// What its runs are started with.
    pub parameters: Map<String, Value>,
    /// When it was last changed.
    pub modified_at: DateTime<Utc>,
}

/// A schedule.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) id: ServerScheduleId,
    pub(super) workflow_id: WorkflowId,
    pub(super) cadence: ServerCadence,
    pub(super) timezone: String,
    pub(super) enabled: bool,
    pub(super) parameters: Map<String, Value>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) modified_at: DateTime<Utc>,
    /// Only of one that is due once.
    pub(super) dispatch_status: Option<DispatchStatus>,
    /// The run that one which is due once has started.
    pub(super) run_id: Option<RunId>,
    timetable: Timetable,
    /// When its last run was made.
    last_run_at: Option<DateTime<Utc>>,
}

impl Schedule {
    pub(super) fn is_once(&self) -> bool {
        matches!(self.cadence, ServerCadence::Once { .. })
    }

    /// Whether it was due once and is over.
    pub(super) fn is_over(&self) -> bool {
        self.dispatch_status.is_some_and(|status| status != DispatchStatus::Pending)
    }

    /// The server's preview, whether or not it fires.
    pub(super) fn next_runs(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        match self.cadence {
            ServerCadence::Once { run_at } => {
                if self.is_over() {
                    vec![]
                } else {
                    vec![run_at]
                }
            }
            _ => std::iter::successors(self.timetable.next_after(now), |at| self.timetable.next_after(*at))
                .take(NEXT_RUNS)
                .collect(),
        }
    }

    /// The next instant as the list of all shows it.
    pub(super) fn next_run(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.enabled || self.is_once() { self.next_runs(now).into_iter().next() } else { None }
    }

    /// The occurrence that the open-source scheduler would start now: of one that repeats the latest, if it was not changed
    /// since and has no run from since then; of one that is due once the only one, however late.
    pub(super) fn due(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.enabled || self.is_over() {
            return None;
        }
        // Strictly before the next nanosecond: the present included.
        let latest = self.timetable.previous_before(now + TimeDelta::nanoseconds(1))?;
        let is_due = self.is_once()
            || (latest >= self.modified_at && self.last_run_at.is_none_or(|last_run_at| last_run_at < latest));
        is_due.then_some(latest)
    }

    fn replace(&mut self, draft: Draft, timetable: Timetable, now: DateTime<Utc>) {
        self.parameters = draft.kept_parameters();
        self.cadence = draft.cadence;
        self.timezone = draft.timezone;
        self.enabled = draft.enabled.unwrap_or(self.enabled);
        self.name = draft.name;
        self.description = draft.description;
        self.timetable = timetable;
        self.modified_at = now;
    }

    fn record(&self) -> ScheduleRecord {
        ScheduleRecord {
            id: self.id.to_string(),
            workflow_id: self.workflow_id.to_string(),
            cadence: self.cadence.clone(),
            timezone: self.timezone.clone(),
            enabled: self.enabled,
            name: self.name.clone(),
            description: self.description.clone(),
            parameters: self.parameters.clone(),
            modified_at: self.modified_at,
        }
    }
}

/// All schedules that were not deleted.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    /// By their number, which is the order in which they were made.
    rows: BTreeMap<u64, Schedule>,
    made: u64,
}

impl Schedules {
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Schedule> {
        self.rows.values()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Schedule> {
        self.rows.values().find(|schedule| schedule.id.as_str() == id)
    }

    /// How many count in a plan's limit.
    pub(super) fn counted(&self) -> usize {
        self.rows.values().filter(|schedule| !schedule.is_over()).count()
    }

    /// Adds one. `first_id` is what ids are counted from.
    pub(super) fn add(
        &mut self,
        first_id: u64,
        workflow_id: WorkflowId,
        draft: Draft,
        timetable: Timetable,
        now: DateTime<Utc>,
    ) -> Option<&Schedule> {
        self.made += 1;
        let number = self.made;
        let schedule = Schedule {
            id: ServerScheduleId::new(&format!("wfs_{}", first_id + number)).ok()?,
            workflow_id,
            parameters: draft.kept_parameters(),
            dispatch_status: matches!(draft.cadence, ServerCadence::Once { .. }).then_some(DispatchStatus::Pending),
            cadence: draft.cadence,
            timezone: draft.timezone,
            enabled: draft.enabled.unwrap_or(true),
            name: draft.name,
            description: draft.description,
            created_at: now,
            modified_at: now,
            run_id: None,
            timetable,
            last_run_at: None,
        };
        Some(self.rows.entry(number).or_insert(schedule))
    }

    pub(super) fn update(&mut self, id: &str, draft: Draft, timetable: Timetable, now: DateTime<Utc>) {
        if let Some(schedule) = self.get_mut(id) {
            schedule.replace(draft, timetable, now);
        }
    }

    pub(super) fn enable(&mut self, id: &str, enabled: bool, now: DateTime<Utc>) {
        if let Some(schedule) = self.get_mut(id) {
            (schedule.enabled, schedule.modified_at) = (enabled, now);
        }
    }

    pub(super) fn cancel(&mut self, id: &str, now: DateTime<Utc>) {
        if let Some(schedule) = self.get_mut(id) {
            (schedule.dispatch_status, schedule.modified_at) = (Some(DispatchStatus::Canceled), now);
        }
    }

    pub(super) fn delete(&mut self, id: &str) {
        self.rows.retain(|_, schedule| schedule.id.as_str() != id);
    }

    /// With a workflow go its schedules.
    pub(super) fn delete_of(&mut self, workflow: &WorkflowId) {
        self.rows.retain(|_, schedule| schedule.workflow_id != *workflow);
    }

    /// The schedules that have something to start now, in the table's order.
    pub(super) fn due(&self, now: DateTime<Utc>) -> Vec<(ServerScheduleId, DateTime<Utc>)> {
        self.all().filter_map(|schedule| Some((schedule.id.clone(), schedule.due(now)?))).collect()
    }

    /// Keeps that an occurrence was started (or, with no run, let pass).
    pub(super) fn fired(&mut self, id: &str, run_id: Option<RunId>, now: DateTime<Utc>) {
        if let Some(schedule) = self.get_mut(id) {
            schedule.last_run_at = Some(now);
            if schedule.is_once() {
                let status = if run_id.is_some() { DispatchStatus::Fired } else { DispatchStatus::Failed };
                (schedule.dispatch_status, schedule.run_id) = (Some(status), run_id);
                schedule.modified_at = now;
            }
        }
    }

    pub(super) fn records(&self) -> Vec<ScheduleRecord> {
        self.all().map(Schedule::record).collect()
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Schedule> {
        self.rows.values_mut().find(|schedule| schedule.id.as_str() == id)
    }
}
