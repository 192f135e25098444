//! How each schedule and its copy stand to one another: a plan, seen from the schedules.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::plan::{CopyState, Deed, Origin, Plan, Step};
use crate::{clock::rfc3339_millis, ids::ScheduleId, schedule::Schedule, words::words};

words! {
    /// How a schedule and its copy stand to one another.
    StateWord {
        /// Equal.
        InSync = "in_sync",
        /// The copy was changed at the server.
        Drift = "drift",
        /// The file is ahead.
        Pending = "pending",
        /// What the file wants cannot be had.
        Blocked = "blocked",
        /// It has no copy, and is to have none.
        NotMirrored = "not_mirrored",
        /// Gone from the file, the copy is there.
        Kept = "kept",
    }
}

impl StateWord {
    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::InSync | Self::NotMirrored | Self::Kept)
    }
}

/// A schedule and its copy.
#[derive(Debug)]
pub struct Status<'a> {
    /// The schedule of the file, or that was in it.
    pub schedule: ScheduleId,
    /// The file's word; `None`: it is gone from the file.
    pub fires: Option<&'static str>,
    /// How they stand.
    pub state: StateWord,
    /// The copy.
    pub copy: Option<&'a CopyState>,
    /// What is to be done, or why nothing can be.
    pub details: Vec<String>,
}

/// Every schedule of the file, in its order, then those that are gone and have a copy.
#[must_use]
pub fn status<'a>(plan: &'a Plan, schedules: &[Arc<Schedule>]) -> Vec<Status<'a>> {
    let mut steps: HashMap<&ScheduleId, Vec<&Step>> = HashMap::new();
    plan.steps.iter().for_each(|step| steps.entry(&step.schedule).or_default().push(step));
    let copies: HashMap<&ScheduleId, &CopyState> =
        plan.copies.iter().filter(|copy| copy.current).map(|copy| (&copy.schedule, copy)).collect();
    let mut lines: Vec<Status<'a>> = Vec::new();
    for schedule in schedules {
        let steps = steps.remove(&schedule.id).unwrap_or_default();
        let blocked: Vec<_> = plan.blocked.iter().filter(|blocked| blocked.schedule == schedule.id).collect();
        let copy = copies.get(&schedule.id).copied();
        let state = if !blocked.is_empty() {
            StateWord::Blocked
        } else if steps.iter().any(|step| step.origin == Origin::Server) {
            StateWord::Drift
        } else if !steps.is_empty() {
            StateWord::Pending
        } else if copy.is_none() {
            StateWord::NotMirrored
        } else {
            StateWord::InSync
        };
        let details = blocked.iter().map(|blocked| blocked.reason.clone()).chain(steps.iter().map(|step| detail(step)));
        let fires = Some(schedule.policies.fires.word());
        lines.push(Status { schedule: schedule.id.clone(), fires, state, copy, details: details.collect() });
    }
    // What is gone from the file, and not from the server.
    let known: HashSet<ScheduleId> = lines.iter().map(|line| line.schedule.clone()).collect();
    for copy in plan.copies.iter().filter(|copy| !copy.current && !known.contains(&copy.schedule)) {
        let steps = steps.get(&copy.schedule).into_iter().flatten();
        let details: Vec<_> =
            steps.filter(|step| step.server_id.as_ref() == Some(&copy.copy.id)).map(|s| detail(s)).collect();
        let state = if details.is_empty() { StateWord::Kept } else { StateWord::Pending };
        lines.push(Status { schedule: copy.schedule.clone(), fires: None, state, copy: Some(copy), details });
    }
    lines
}

fn detail(step: &Step) -> String {
    let fields: Vec<&str> = step.changes.iter().map(|change| change.field).collect();
    if fields.is_empty() || step.deed != Deed::Update {
        return format!("to {}: {}", step.deed, step.reason);
    }
    format!("to {}: {} ({})", step.deed, step.reason, fields.join(", "))
}

impl Status<'_> {
    /// `schedule`, `fires`, `state`, `server_schedule_id`, `enabled`, `modified_at`, `details`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "schedule": self.schedule.as_str(),
            "fires": self.fires,
            "state": self.state.word(),
            "server_schedule_id": self.copy.map(|copy| copy.copy.id.as_str()),
            "enabled": self.copy.map(|copy| copy.enabled),
            "modified_at": self.copy.and_then(|copy| copy.modified_at).map(rfc3339_millis),
            "details": self.details,
        })
    }
}
