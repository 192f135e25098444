//! The look-alike's own scheduler: what one poll of a real server's does. When it polls is the server's thread's affair.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, json};

use super::{
    fault::{Call, Fault},
    life::Behaviour,
    workflow,
    world::{NewRun, World},
};
use crate::{ids::ServerScheduleId, skyvern::scheduled_run_id};

impl World {
    /// Starts what is due, as far as there are places: a place is taken until its run is over.
    pub(super) fn poll_schedules(&mut self) {
        let now = self.now();
        let mut places = self.schedule_runs_max.saturating_sub(self.scheduled_runs_going());
        for (id, instant) in self.schedules.due(now) {
            if places == 0 {
                return;
            }
            places -= usize::from(self.fire(&id, instant, now));
        }
    }

    /// Starts the run of one occurrence; `false`: it took no place.
    fn fire(&mut self, id: &ServerScheduleId, instant: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        if self.fault(Call::Fire) == Some(Fault::Missed) {
            self.schedules.fired(id.as_str(), None, now);
            return false;
        }
        let Some(schedule) = self.schedules.get(id.as_str()).cloned() else { return false };
        let Some(workflow) = self.workflow(schedule.workflow_id.as_str()).filter(|workflow| !workflow.deleted) else {
            return false;
        };
        let accepted = workflow::accept(&workflow, &schedule.parameters);
        // A value of the wrong kind is found only now: the run is made, and fails at once.
        let behaviour = match &accepted {
            Ok(_) => workflow.behaviour.clone(),
            Err(_) => {
                let time = std::time::Duration::ZERO;
                Some(Behaviour { failed_fraction: 1.0, run_time: time, run_time_spread: time, ..Behaviour::default() })
            }
        };
        let run_id = scheduled_run_id(id, instant);
        let new = NewRun {
            workflow_id: schedule.workflow_id.clone(),
            title: workflow.title.clone(),
            behaviour,
            received_at: now,
            request: Map::from_iter([("parameters".to_owned(), json!(schedule.parameters))]),
            parameters: accepted.unwrap_or_else(|_| schedule.parameters.clone()),
            tags: BTreeMap::new(),
            trigger_type: "scheduled",
            scheduled: Some((id.clone(), run_id.clone())),
        };
        self.make_run(new, None);
        self.schedules.fired(id.as_str(), Some(run_id), now);
        true
    }
}
