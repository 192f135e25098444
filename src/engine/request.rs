//! What a person asks for: a start now, a pause, going on.
//!
//! Each is answered after its rows are durable. How the request reached the process is not known here.

use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{
    engine::{
        Action, Change, Engine, Timer, Trigger, Turn,
        change::Pause,
        event::RequestId,
        flight::{Admission, start_by},
    },
    ids::ScheduleId,
};

impl Engine {
    /// Starts one now, whatever the overlap rule, a pause or `enabled` say: those are about the timetable.
    pub(super) fn trigger(
        &mut self,
        now: DateTime<Utc>,
        request: RequestId,
        id: &ScheduleId,
        parameters: Map<String, Value>,
        turn: &mut Turn,
    ) {
        let Some(entry) = self.entries.get(id) else {
            turn.actions.push(Action::Answer { request, result: Err(format!("there is no schedule {id}")) });
            return;
        };
        let schedule = Arc::clone(&entry.schedule);
        if entry.unseen {
            // To the history it is a schedule that is not in the daemon's file (yet): the daemon's first look at it counts.
            turn.changes.push(Change::Defined { schedule: id.clone(), at: now, definition: None });
        }
        let scheduled_for = now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(now);
        // Unique without randomness: the instant to the millisecond, and the number of the request within this process.
        let suffix = format!("manual-{}-{}", now.timestamp_millis() - scheduled_for.timestamp_millis(), request.0);
        let key = self.key(id, scheduled_for, suffix);
        let until = start_by(Trigger::Manual, &schedule, now);
        let parameters = (!parameters.is_empty()).then_some(parameters);
        self.open(now, key.clone(), &schedule, Trigger::Manual, Admission::Start, until, parameters, turn);
        turn.actions.push(Action::Answer { request, result: Ok(Some(key)) });
    }

    pub(super) fn pause(
        &mut self,
        now: DateTime<Utc>,
        request: RequestId,
        id: &ScheduleId,
        pause: Option<Pause>,
        turn: &mut Turn,
    ) {
        // What was due a moment ago was due under the old rule.
        self.run_timers(now, turn);
        let Some(entry) = self.entries.get_mut(id) else {
            turn.actions.push(Action::Answer { request, result: Err(format!("there is no schedule {id}")) });
            return;
        };
        if let Some(until) = entry.pause.take().and_then(|old| old.until) {
            self.timers.remove(&(until, Timer::PauseEnds(id.clone())));
        }
        if let Some(until) = pause.as_ref().and_then(|pause| pause.until) {
            self.timers.insert((until, Timer::PauseEnds(id.clone())));
        }
        entry.pause.clone_from(&pause);
        turn.changes.push(Change::Paused { schedule: id.clone(), at: now, pause });
        turn.actions.push(Action::Answer { request, result: Ok(None) });
    }
}
