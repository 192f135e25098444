//! What a person asks for: a start now, occurrences of the past, a pause, going on.
//!
//! Each is answered after its rows are durable. How the request reached the process is not known here.

use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{
    clock::rfc3339,
    engine::{
        Action, BACKFILL_RUNS_MAX, Change, Engine, Entry, Reason, ReasonCode, Timer, Trigger, Turn,
        change::Pause,
        event::RequestId,
        flight::{Admission, start_by},
    },
    ids::{OccurrenceKey, ScheduleId},
    schedule::Overlap,
};

type Answer = Result<Vec<OccurrenceKey>, String>;

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
        let result = self.entry(id).map(|entry| Arc::clone(&entry.schedule)).map(|schedule| {
            self.make_seen(now, id, turn);
            let scheduled_for = now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(now);
            let key = self.key(id, scheduled_for, format!("manual-{}", mark(now, request)));
            let until = start_by(Trigger::Manual, &schedule, now);
            let parameters = (!parameters.is_empty()).then_some(parameters);
            self.open(now, key.clone(), &schedule, Trigger::Manual, Admission::Start, until, parameters, turn);
            vec![key]
        });
        answer(request, result, turn);
    }

    /// Starts the occurrences of a stretch of the past, once each: one after the other, or all at once with
    /// `overlap = "allow"`. What is due by the timetable meanwhile goes first.
    pub(super) fn backfill(
        &mut self,
        now: DateTime<Utc>,
        request: RequestId,
        id: &ScheduleId,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        turn: &mut Turn,
    ) {
        let result = self.backfill_keys(now, request, id, (from, to)).inspect(|keys| {
            self.make_seen(now, id, turn);
            for key in keys {
                let Some(entry) = self.entries.get(id) else { break };
                let schedule = Arc::clone(&entry.schedule);
                let admission = match entry.live_one() {
                    Some(live) if schedule.policies.overlap != Overlap::Allow => {
                        Admission::Wait(Reason::new(ReasonCode::Overlap, format!("{live} is still going")))
                    }
                    _ => Admission::Start,
                };
                let until = start_by(Trigger::Backfill, &schedule, now);
                self.open(now, key.clone(), &schedule, Trigger::Backfill, admission, until, None, turn);
            }
        });
        answer(request, result, turn);
    }

    fn backfill_keys(
        &self,
        now: DateTime<Utc>,
        request: RequestId,
        id: &ScheduleId,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
    ) -> Answer {
        let timetable = &self.entry(id)?.schedule.timetable;
        if to > now || from > to {
            return Err(format!("a backfill is about the past: {} to {} is not", rfc3339(from), rfc3339(to)));
        }
        let after = from - TimeDelta::milliseconds(1);
        let count = timetable.count_between(after, to);
        if count > BACKFILL_RUNS_MAX {
            return Err(format!(
                "{count} occurrences are more than one backfill starts ({BACKFILL_RUNS_MAX}): name a shorter stretch"
            ));
        }
        let suffix = format!("backfill-{}", mark(now, request));
        Ok(timetable.between(after, to).map(|at| self.key(id, at, suffix.clone())).collect())
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
        let result = self.entry(id).map(drop).map(|()| {
            self.make_known(now, id, turn);
            self.account_old_pause(now, id, turn);
            if let Some(entry) = self.entries.get_mut(id) {
                if let Some(until) = entry.pause.take().and_then(|old| old.until) {
                    self.timers.remove(&(until, Timer::PauseEnds(id.clone())));
                }
                if let Some(until) = pause.as_ref().and_then(|pause| pause.until) {
                    self.timers.insert((until, Timer::PauseEnds(id.clone())));
                }
                entry.pause.clone_from(&pause);
            }
            let paused = pause.is_some();
            turn.changes.push(Change::Paused { schedule: id.clone(), at: now, pause });
            if paused {
                self.take_back(now, id, "it is paused", turn);
            } else {
                self.may_be_handed_over(id, turn);
            }
            Vec::new()
        });
        answer(request, result, turn);
    }

    /// Where nothing fires, what a pause held back has no row yet when it ends or is replaced.
    fn account_old_pause(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) {
        let Some(entry) = self.entries.get(id).filter(|entry| !self.options.fires && entry.schedule.enabled) else {
            return;
        };
        let Some(pause) = entry.pause.clone() else { return };
        let (schedule, through) = (Arc::clone(&entry.schedule), pause.until.map_or(now, |until| until.min(now)));
        let first = schedule.timetable.next_after(entry.accounted_through);
        let last = schedule.timetable.previous_before(through + TimeDelta::milliseconds(1));
        if let (Some(first), Some(last)) = (first, last)
            && first <= last
        {
            self.record_paused(now, &schedule, &pause, (first, last), turn);
            turn.changes.push(Change::AccountedThrough { schedule: id.clone(), through: last });
            if let Some(entry) = self.entries.get_mut(id) {
                entry.accounted_through = last;
            }
        }
    }

    fn entry(&self, id: &ScheduleId) -> Result<&Entry, String> {
        self.entries.get(id).ok_or_else(|| format!("there is no schedule {id}"))
    }

    /// A schedule that no daemon has seen gets a row in the history, as one that is not in a daemon's file (yet): the
    /// daemon's own first look at it counts.
    fn make_seen(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) {
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.unseen) {
            entry.unseen = false;
            turn.changes.push(Change::Defined { schedule: id.clone(), at: now, definition: None });
        }
    }

    /// A pause is about what is due from now on, so the schedule is known from now on.
    pub(super) fn make_known(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) {
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.unseen) {
            entry.unseen = false;
            let definition = entry.schedule.timetable.definition(entry.schedule.enabled);
            let definition = Some(Box::new((definition, entry.schedule.workflow_id.clone())));
            turn.changes.push(Change::Defined { schedule: id.clone(), at: now, definition });
            turn.changes.push(Change::AccountedThrough { schedule: id.clone(), through: now });
        }
    }
}

fn answer(request: RequestId, result: Answer, turn: &mut Turn) {
    turn.actions.push(Action::Answer { request, result });
}

/// Unique without randomness: the milliseconds of the instant, and the number of the request within this process.
fn mark(now: DateTime<Utc>, request: RequestId) -> String {
    format!("{}-{}", now.format("%Y%m%dT%H%M%S%3f"), request.0)
}
