//! The JSON of schedules. What a schedule cannot be told apart without must be there; everything else may be missing or new.

use chrono::{DateTime, SubsecRound, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{DispatchStatus, ScheduleDraft, ServerCadence, ServerSchedule};
use crate::{
    clock::rfc3339,
    ids::{RunId, ServerScheduleId, WorkflowId},
    skyvern::wire::{lenient, time},
};

/// A schedule, in lists and alone.
#[derive(Debug, Deserialize)]
pub(super) struct Schedule {
    workflow_schedule_id: String,
    workflow_permanent_id: String,
    enabled: bool,
    timezone: String,
    #[serde(default, deserialize_with = "lenient")]
    cron_expression: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    interval_seconds: Option<u64>,
    #[serde(default, deserialize_with = "time")]
    first_fire_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "time")]
    run_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "lenient")]
    dispatch_status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    workflow_run_id: Option<String>,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "time")]
    created_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "time")]
    modified_at: Option<DateTime<Utc>>,
    /// Only in the list of all.
    #[serde(default, deserialize_with = "time")]
    next_run: Option<DateTime<Utc>>,
}

impl Schedule {
    /// The schedule in our words; `None` where an id is none.
    pub(super) fn into_schedule(self) -> Option<ServerSchedule> {
        let cadence = match (self.cron_expression, self.interval_seconds, self.run_at) {
            (Some(expression), None, None) => Some(ServerCadence::Cron(expression)),
            (None, Some(interval_seconds), None) => {
                Some(ServerCadence::Interval { interval_seconds, first_fire_at: self.first_fire_at })
            }
            (None, None, Some(run_at)) => Some(ServerCadence::Once { run_at }),
            _ => None,
        };
        Some(ServerSchedule {
            id: ServerScheduleId::new(&self.workflow_schedule_id).ok()?,
            workflow_id: WorkflowId::new(&self.workflow_permanent_id).ok()?,
            enabled: self.enabled,
            cadence,
            timezone: self.timezone,
            name: self.name,
            description: self.description,
            parameters: self.parameters.unwrap_or_default(),
            next_runs: self.next_run.into_iter().collect(),
            dispatch_status: self.dispatch_status.as_deref().and_then(DispatchStatus::from_word),
            run_id: self.workflow_run_id.and_then(|id| RunId::new(&id).ok()),
            created_at: self.created_at,
            modified_at: self.modified_at,
        })
    }
}

/// One schedule with the server's preview.
#[derive(Debug, Deserialize)]
pub(super) struct One {
    schedule: Schedule,
    #[serde(default, deserialize_with = "lenient")]
    next_runs: Option<Vec<DateTime<Utc>>>,
}

impl One {
    /// The schedule in our words; `None` where an id is none.
    pub(super) fn into_schedule(self) -> Option<ServerSchedule> {
        let next_runs = self.next_runs.unwrap_or_default();
        self.schedule.into_schedule().map(|schedule| ServerSchedule { next_runs, ..schedule })
    }
}

/// A workflow's schedules: all of them.
#[derive(Debug, Deserialize)]
pub(super) struct OfWorkflow {
    pub(super) schedules: Vec<Schedule>,
}

/// A page of the organisation's schedules.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) schedules: Vec<Schedule>,
    pub(super) total_count: usize,
    pub(super) page: usize,
    pub(super) page_size: usize,
}

/// The answer to a deletion.
#[derive(Debug, Deserialize)]
pub(super) struct Deleted {
    pub(super) ok: bool,
}

/// The body of a create or an update. `enabled` is always there: servers before 1.0.47 enable a schedule whose update is
/// silent about it. Cadences that are not used are left out, since servers before 1.0.55 do not know them.
pub(super) fn body(draft: &ScheduleDraft) -> Vec<u8> {
    // The server cuts instants to the second, and compares what it cut.
    let instant = |at: DateTime<Utc>| rfc3339(at.trunc_subsecs(0));
    let mut body = match &draft.cadence {
        ServerCadence::Cron(expression) => json!({"cron_expression": expression}),
        ServerCadence::Interval { interval_seconds, first_fire_at: None } => {
            json!({"interval_seconds": interval_seconds})
        }
        ServerCadence::Interval { interval_seconds, first_fire_at: Some(first) } => {
            json!({"interval_seconds": interval_seconds, "first_fire_at": instant(*first)})
        }
        ServerCadence::Once { run_at } => json!({"run_at": instant(*run_at)}),
    };
    body["timezone"] = draft.timezone.as_str().into();
    body["name"] = draft.name.as_deref().into();
    body["description"] = draft.description.as_deref().into();
    body["parameters"] = Value::Object(draft.parameters.clone());
    body["enabled"] = draft.enabled.into();
    body.to_string().into_bytes()
}
